#include "net/rpc/decode.hpp"

#include "net/json/names.hpp"
#include "net/rpc/params.hpp"

// The envelope and batches; params.cpp has the methods.

namespace portcullis::net {
namespace {

using core::error_code;
using core::method;
using json::token_kind;

enum envelope_key : std::size_t { key_jsonrpc, key_method, key_id, key_params, envelope_keys };
constexpr json::name_table envelope_names(std::array<std::string_view, envelope_keys>{
    "jsonrpc", "method", "id", "params"});

constexpr json::name_table method_names(std::array<std::string_view, core::method_count>{
#define X(id, name, roles) name,
    PORTCULLIS_METHODS(X)
#undef X
});

/// The members of one call: where the values stand (0: absent), and what is wrong with the whole.
struct envelope {
  std::array<std::uint32_t, envelope_keys> places{};
  unsigned duplicates = 0;  // a bit an envelope_key
  std::string_view ambiguity;
};

envelope read_envelope(json::document& document, std::size_t index) {
  envelope read;
  bool unknown = false;
  const std::size_t end = document.at(index).next;
  for (std::size_t key = index + 1; key < end; key = document.at(key + 1).next) {
    if (document.at(key).lone_surrogate) read.ambiguity = "lone_surrogate";
    const std::size_t which = envelope_names.find(document.text(key));
    if (which == envelope_keys) {
      unknown = true;
      const std::string_view inside = document.ambiguity(key + 1);
      if (!inside.empty()) read.ambiguity = inside;
    } else if (read.places[which] != 0) {
      read.duplicates |= 1U << which;
      read.ambiguity = "duplicate_key";
    } else {
      read.places[which] = static_cast<std::uint32_t>(key + 1);
    }
  }
  if (unknown && read.ambiguity.empty() && document.has_duplicate_keys(index))
    read.ambiguity = "duplicate_key";
  return read;
}

/// Reads `id`. False when it is no id at all: of a wrong type, too long, twice there.
bool read_id(const json::document& document, const envelope& call, call_id& out) {
  const std::size_t index = call.places[key_id];
  if ((call.duplicates >> key_id & 1U) != 0) return false;
  if (index == 0) {
    out.notification = true;
    return true;
  }
  const json::token& id = document.at(index);
  if (id.kind == token_kind::literal_null) {
    out.notification = true;
    return true;
  }
  if ((id.kind != token_kind::string && id.kind != token_kind::number) || id.lone_surrogate)
    return false;
  const std::string_view raw = document.raw(index);
  if (raw.size() > core::limits::request_id_bytes_max) return false;
  out.raw = raw;
  return true;
}

/// The first thing that makes the call no request; `field` empty: none.
struct form_fault {
  std::string_view field;
  std::string_view rule;
};

form_fault check_form(json::document& document, const envelope& call, bool id_usable) {
  if (!call.ambiguity.empty()) return {"envelope", call.ambiguity};
  if (!id_usable) return {"id", "string_or_number_within_limit"};
  const auto is_string = [&](std::size_t index) {
    return index != 0 && document.at(index).kind == token_kind::string &&
           !document.at(index).lone_surrogate;
  };
  const std::size_t version = call.places[key_jsonrpc];
  if (!is_string(version) || document.text(version) != "2.0") return {"jsonrpc", "2.0"};
  if (!is_string(call.places[key_method])) return {"method", "string"};
  return {};
}

void decode_call(json::document& document, std::size_t index, const message_limits& limits,
                 message_visitor& visitor) {
  call_id id;
  if (document.at(index).kind != token_kind::object)
    return visitor.on_error(id, {}, core::fail(error_code::INVALID_REQUEST, "request", "object"),
                            {});
  const envelope call = read_envelope(document, index);
  const bool id_usable = read_id(document, call, id);
  const form_fault fault = check_form(document, call, id_usable);
  params_reader params(document, limits);
  const std::size_t params_at = call.places[key_params];
  if (!fault.field.empty()) {
    // What is no request is no notification either: it is answered.
    id.notification = false;
    params.read_correlation_id(params_at);
    return visitor.on_error(id, {},
                            core::fail(error_code::INVALID_REQUEST, fault.field, fault.rule),
                            params.correlation_id());
  }
  const std::size_t found = method_names.find(document.text(call.places[key_method]));
  const auto called =
      found == core::method_count ? std::nullopt : std::optional(static_cast<method>(found));
  auto refused = visitor.forbids(called);
  if (!refused && !called) refused = error_code::METHOD_NOT_FOUND;
  if (refused) {
    params.read_correlation_id(params_at);
    return visitor.on_error(id, called, core::fail(*refused), params.correlation_id());
  }
  core::request request;
  const auto error = params.read(*called, params_at, request);
  if (error) return visitor.on_error(id, called, *error, params.correlation_id());
  visitor.on_request(id, request);
}

}  // namespace

void decoder::decode(std::span<char> value, std::span<json::token> tape, message_visitor& visitor) {
  json::document document(value, tape, scratch_);
  if (document.at(0).kind != token_kind::array) return decode_call(document, 0, limits_, visitor);

  const std::size_t end = document.at(0).next;
  std::size_t entries = 0;
  for (std::size_t i = 1; i < end; i = document.at(i).next) ++entries;
  if (entries == 0)
    return visitor.on_error({}, {}, core::fail(error_code::INVALID_REQUEST, "batch", "not_empty"),
                            {});
  if (entries > limits_.batch_entries_max)
    return visitor.on_error({}, {},
                            core::fail(error_code::BATCH_TOO_LARGE, "batch", "entries_max",
                                       static_cast<std::int64_t>(limits_.batch_entries_max)),
                            {});
  visitor.begin_batch(entries);
  for (std::size_t i = 1; i < end; i = document.at(i).next)
    decode_call(document, i, limits_, visitor);
  visitor.end_batch();
}

}  // namespace portcullis::net

#include "apps/log/export_form.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>

#include "apps/log/text_file.hpp"
#include "store/source_columns.hpp"

namespace portcullis::apps {
namespace {

namespace ondemand = simdjson::ondemand;
static_assert(line_source::padding >= simdjson::SIMDJSON_PADDING);

// --- writing

/// The members of one object.
class object_writer {
 public:
  explicit object_writer(core::byte_buffer& out) : out_(out) { out_.append('{'); }
  void text(std::string_view name, std::string_view value) {
    key(name);
    core::append_json_string(out_, value);
  }
  template <class Int>
  void number(std::string_view name, Int value) {
    key(name);
    out_.append_int(value);
  }
  void bytes(std::string_view name, core::byte_view value) {
    key(name);
    out_.append('"');
    const auto size = core::base64url_size(value.size());
    core::to_base64url(value, out_.reserve(size));
    out_.commit(size);
    out_.append('"');
  }
  void raw(std::string_view name, std::string_view json) {
    key(name);
    out_.append(json);
  }
  void end() { out_.append("}\n"); }

 private:
  void key(std::string_view name) {
    if (!std::exchange(first_, false)) out_.append(',');
    out_.append('"');
    out_.append(name);
    out_.append("\":");
  }
  core::byte_buffer& out_;
  bool first_ = true;
};

/// Of a part, on one line.
constexpr std::size_t piece_bytes = 1024 * 1024;

/// Whether the text is a JSON object that fits on a line. Everything is looked at.
bool is_object_of_a_line(std::string_view text) {
  if (std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20; })) return false;
  thread_local simdjson::dom::parser parser;
  simdjson::dom::element found;
  return parser.parse(text.data(), text.size()).get(found) == simdjson::SUCCESS &&
         found.is_object();
}

}  // namespace

void append_header(core::byte_buffer& out, const export_header& what) {
  object_writer to(out);
  to.number("portcullis_export", what.version);
  to.number("schema", what.schema);
  to.text("node_id", what.node_id);
  to.bytes("keyring_check", what.keyring_check);
  to.number("first_seq", what.first_seq);
  if (what.cut) to.raw("cut", "true");
  to.end();
}

void append_user(core::byte_buffer& out, const core::user_row& what) {
  object_writer to(out);
  to.text("table", "users");
  to.bytes("subject", what.subject.bytes);
  to.bytes("lookup", what.lookup);
  to.text("tenant_id", what.tenant_id);
  to.number("ring_key", what.ring_key);
  to.bytes("wrapped", core::as_bytes(what.wrapped));
  to.end();
}

void append_source(core::byte_buffer& out, const core::breaker_source_record& what) {
  object_writer to(out);
  to.text("table", "breaker_sources");
  to.text("service", what.service);
  to.text("breaker", what.breaker);
  to.text("source", what.source);
  to.number("source_epoch", what.what.source_epoch);
  to.number("highest_seq", what.what.seen.highest());
  to.number("seen", what.what.seen.bits());
  to.number("state", static_cast<unsigned>(what.what.state));
  to.number("open_since_ms", what.what.open_since_ms);
  to.number("last_report_at_ms", what.what.last_report_at_ms);
  to.bytes("counts", store::pack_counts(what.what));
  to.bytes("gaps", store::pack_gaps(what.what));
  to.end();
}

void append_seal(core::byte_buffer& out, const core::snapshot_seal& what, std::uint64_t parts) {
  object_writer to(out);
  to.bytes("snapshot", core::as_bytes(core::to_bytes(what)));
  to.number("parts", parts);
  to.end();
}

void append_part(core::byte_buffer& out, std::uint64_t number, std::string_view bytes) {
  do {
    const auto piece = bytes.substr(0, piece_bytes);
    bytes.remove_prefix(piece.size());
    object_writer to(out);
    to.number("part", number);
    to.bytes("bytes", core::as_bytes(piece));
    if (!bytes.empty()) to.raw("more", "true");
    to.end();
  } while (!bytes.empty());
}

void append_untold(core::byte_buffer& out, const store::untold_session& what) {
  object_writer to(out);
  to.text("table", "sessions");
  to.number("created_seq", what.seq);
  if (what.last_seen_at_ms != 0) to.number("last_seen_at_ms", what.last_seen_at_ms);
  if (!what.sealed.empty()) to.bytes("sealed", core::as_bytes(what.sealed));
  to.end();
}

bool append_event(core::byte_buffer& out, const store::log_row& what) {
  const bool whole = core::parse_event_type(what.type) && what.mac.size() == sizeof(core::digest) &&
                     is_object_of_a_line(what.body);
  if (!whole) return false;
  object_writer to(out);
  to.number("seq", what.seq);
  to.number("at_ms", what.at_ms);
  to.text("type", what.type);
  if (!what.subject.empty()) to.bytes("subject", what.subject);
  to.raw("body", what.body);
  if (!what.sealed.empty()) to.bytes("sealed", what.sealed);
  to.bytes("mac", what.mac);
  to.end();
  return true;
}

void append_trailer(core::byte_buffer& out, const export_trailer& what) {
  std::string missing, damaged;
  for (const auto& [from, to] : what.missing)
    missing += fmt::format("{}[{},{}]", missing.empty() ? "" : ",", from, to);
  for (const auto& each : what.damaged)
    damaged += fmt::format("{}\"{}\"", damaged.empty() ? "" : ",", each);
  object_writer to(out);
  to.raw("end", "true");
  to.number("users", what.users);
  to.number("breaker_sources", what.breaker_sources);
  to.number("events", what.events);
  if (what.sessions > 0) to.number("sessions", what.sessions);
  to.number("last_seq", what.last_seq);
  to.raw("missing", "[" + missing + "]");
  to.raw("damaged", "[" + damaged + "]");
  to.end();
}

// --- reading

namespace {

/// Reads members of one object; the first that is not as it has to be is remembered.
class object_reader {
 public:
  explicit object_reader(ondemand::object& from) : from_(from) {}

  template <class Int>
  void number(std::string_view name, Int& to) {
    ondemand::value value;
    if (!find(name, value)) return;
    if constexpr (std::is_signed_v<Int>) {
      std::int64_t got = 0;
      keep(name, value.get_int64().get(got) == simdjson::SUCCESS && std::in_range<Int>(got));
      to = static_cast<Int>(got);
    } else {
      std::uint64_t got = 0;
      keep(name, value.get_uint64().get(got) == simdjson::SUCCESS && std::in_range<Int>(got));
      to = static_cast<Int>(got);
    }
  }
  void text(std::string_view name, std::string& to) {
    ondemand::value value;
    std::string_view got;
    if (!find(name, value)) return;
    keep(name, value.get_string().get(got) == simdjson::SUCCESS);
    to = got;
  }
  void bytes(std::string_view name, std::string& to) {
    std::string coded;
    text(name, coded);
    if (!wrong_.empty()) return;
    auto got = core::from_base64url(coded);
    keep(name, got.has_value());
    if (got) to = std::move(*got);
  }
  void bytes(std::string_view name, std::span<std::uint8_t> to) {
    std::string coded;
    text(name, coded);
    if (wrong_.empty()) keep(name, core::from_base64url(coded, to));
  }
  void object(std::string_view name, std::string_view& to) {
    ondemand::value value;
    ondemand::object got;
    if (!find(name, value)) return;
    keep(name, value.get_object().get(got) == simdjson::SUCCESS &&
                   got.raw_json().get(to) == simdjson::SUCCESS);
  }
  [[nodiscard]] bool has(std::string_view name) {
    ondemand::value value;
    return from_.find_field_unordered(name).get(value) == simdjson::SUCCESS;
  }
  void keep(std::string_view name, bool good) {
    if (!good && wrong_.empty()) wrong_ = name;
  }
  /// The member that is wrong or not there; empty: all is well.
  [[nodiscard]] const std::string& wrong() const noexcept { return wrong_; }

 private:
  bool find(std::string_view name, ondemand::value& to) {
    if (!wrong_.empty()) return false;
    keep(name, from_.find_field_unordered(name).get(to) == simdjson::SUCCESS);
    return wrong_.empty();
  }
  ondemand::object& from_;
  std::string wrong_;
};

export_header read_header(object_reader& from) {
  export_header out;
  from.number("portcullis_export", out.version);
  if (out.version != export_version) return out;  // who knows what else it has
  from.number("schema", out.schema);
  from.text("node_id", out.node_id);
  from.bytes("keyring_check", out.keyring_check);
  from.number("first_seq", out.first_seq);
  out.cut = from.has("cut");
  return out;
}

core::user_row read_user(object_reader& from) {
  core::user_row out;
  from.bytes("subject", out.subject.bytes);
  from.bytes("lookup", out.lookup);
  from.text("tenant_id", out.tenant_id);
  from.number("ring_key", out.ring_key);
  from.bytes("wrapped", out.wrapped);
  return out;
}

core::breaker_source_record read_source(object_reader& from) {
  core::breaker_source_record out;
  std::uint64_t highest = 0, bits = 0;
  std::uint8_t state = 0;
  std::string counts, gaps;
  from.text("service", out.service);
  from.text("breaker", out.breaker);
  from.text("source", out.source);
  from.number("source_epoch", out.what.source_epoch);
  from.number("highest_seq", highest);
  from.number("seen", bits);
  from.number("state", state);
  from.number("open_since_ms", out.what.open_since_ms);
  from.number("last_report_at_ms", out.what.last_report_at_ms);
  from.bytes("counts", counts);
  from.bytes("gaps", gaps);
  from.keep("state", state < core::breaker_state_names.size());
  from.keep("counts", store::unpack_counts(core::as_bytes(counts), out.what));
  from.keep("gaps", store::unpack_gaps(core::as_bytes(gaps), out.what));
  out.what.seen = {highest, bits};
  out.what.state = static_cast<core::breaker_state>(state);
  return out;
}

exported_event read_event(object_reader& from) {
  exported_event out;
  from.number("seq", out.seq);
  from.number("at_ms", out.at_ms);
  from.text("type", out.type);
  if (from.has("subject")) from.bytes("subject", out.subject);
  from.object("body", out.body);
  if (from.has("sealed")) from.bytes("sealed", out.sealed);
  from.bytes("mac", out.mac);
  return out;
}

exported_seal read_seal(object_reader& from) {
  exported_seal out;
  std::string bytes;
  from.bytes("snapshot", bytes);
  from.number("parts", out.parts);
  const auto seal = core::parse_snapshot_seal(bytes);
  from.keep("snapshot", seal.has_value());
  if (seal) out.what = *seal;
  return out;
}

exported_part read_part(object_reader& from) {
  exported_part out;
  from.number("part", out.number);
  from.bytes("bytes", out.bytes);
  out.more = from.has("more");
  return out;
}

exported_session read_session(object_reader& from) {
  exported_session out;
  from.number("created_seq", out.seq);
  if (from.has("last_seen_at_ms")) from.number("last_seen_at_ms", out.last_seen_at_ms);
  if (from.has("sealed")) from.bytes("sealed", out.sealed);
  from.keep("last_seen_at_ms", out.last_seen_at_ms >= 0);
  return out;
}

/// Which seqs are missing is for people: import only asks whether any are.
export_trailer read_trailer(ondemand::object& object, object_reader& from) {
  export_trailer out;
  from.number("users", out.users);
  from.number("breaker_sources", out.breaker_sources);
  from.number("events", out.events);
  if (from.has("sessions")) from.number("sessions", out.sessions);
  from.number("last_seq", out.last_seq);
  ondemand::array gaps, tables;
  from.keep("missing",
            object.find_field_unordered("missing").get_array().get(gaps) == simdjson::SUCCESS);
  if (from.wrong().empty())
    for (auto gap : gaps) {
      static_cast<void>(gap);
      out.missing.emplace_back(0, 0);
    }
  from.keep("damaged",
            object.find_field_unordered("damaged").get_array().get(tables) == simdjson::SUCCESS);
  if (from.wrong().empty())
    for (auto table : tables) {
      std::string_view name;
      from.keep("damaged", table.get_string().get(name) == simdjson::SUCCESS);
      out.damaged.emplace_back(name);
    }
  return out;
}

}  // namespace

struct export_reader::parser {
  ondemand::parser json;
};
export_reader::export_reader() : parser_(std::make_unique<parser>()) {}
export_reader::~export_reader() = default;

std::optional<export_line> export_reader::read(std::string_view line, std::string& why) {
  ondemand::document document;
  ondemand::object object;
  const simdjson::padded_string_view padded(line.data(), line.size(),
                                            line.size() + simdjson::SIMDJSON_PADDING);
  if (parser_->json.iterate(padded).get(document) != simdjson::SUCCESS ||
      document.get_object().get(object) != simdjson::SUCCESS) {
    why = "is no JSON object";
    return std::nullopt;
  }
  object_reader from(object);
  std::optional<export_line> out;
  const char* what = "event";
  std::string table;
  if (from.has("seq")) {
    out = read_event(from);
  } else if (from.has("table")) {
    from.text("table", table);
    what = "table row";
    if (table == "users") out = read_user(from);
    if (table == "breaker_sources") out = read_source(from);
    if (table == "sessions") out = read_session(from);
    from.keep("table", out.has_value());
  } else if (from.has("snapshot")) {
    what = "snapshot";
    out = read_seal(from);
  } else if (from.has("part")) {
    what = "part of a snapshot";
    out = read_part(from);
  } else if (from.has("end")) {
    what = "trailer";
    out = read_trailer(object, from);
  } else if (from.has("portcullis_export")) {
    what = "header";
    out = read_header(from);
  } else {
    why = "is nothing that an export has";
    return std::nullopt;
  }
  if (from.wrong().empty()) return out;
  why = fmt::format("is no {}: \"{}\" is missing or malformed", what, from.wrong());
  return std::nullopt;
}

}  // namespace portcullis::apps

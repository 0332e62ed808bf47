#include "net/authz/answer.hpp"

#include <array>

#include "core/limits.hpp"
#include "net/authz/percent.hpp"
#include "net/authz/reply_line.hpp"
#include "net/json/document.hpp"

namespace portcullis::net {
namespace {

using core::error_code;

constexpr std::string_view line_end = "\r\n";

// An escape is at most six times what it stands for.
constexpr std::size_t escaped_bytes_max = 6 * core::limits::user_id_bytes_max;
static_assert(core::limits::tenant_id_bytes_max <= core::limits::user_id_bytes_max);

/// False when the text is longer than any name.
bool append_name(core::byte_buffer& fields, std::string_view field, std::string_view escaped) {
  if (escaped.size() > escaped_bytes_max) return false;
  fields.append(field);
  if (escaped.find('\\') == std::string_view::npos) {
    append_percent_encoded(fields, escaped);
  } else {
    std::array<char, escaped_bytes_max> text;
    const auto size = json::unescape(escaped.data(), escaped.size(), text.data());
    append_percent_encoded(fields, {text.data(), size});
  }
  fields.append(line_end);
  return true;
}

void append_signals(core::byte_buffer& fields, const replied_valid& reply) {
  fields.append("X-Portcullis-Signals: ");
  bool first = true;
  for (unsigned i = 0; i < 8; ++i) {
    const auto bit = static_cast<core::field_set>(1U << i);
    if (((reply.observed | reply.challenged) & bit) == 0) continue;
    if (!first) fields.append(',');
    first = false;
    const bool challenged = (reply.challenged & bit) != 0;
    fields.append(
        to_string(challenged ? core::signal_action::challenge : core::signal_action::observe));
    fields.append('=');
    fields.append(bit == core::ip_bit ? "ip" : core::context_field_names.at(i));
  }
  if (first) fields.append("none");
  fields.append(line_end);
}

/// Status and the fields that every answer has.
void begin(authz_answer& into, int status) {
  into.status = status;
  into.fields.clear();
  into.body.clear();
  into.fields.append("Cache-Control: no-store\r\n");
}

void begin_refusal(authz_answer& into, int status, std::int64_t retry_after_ms) {
  begin(into, status);
  into.fields.append("Content-Type: application/json\r\n");
  if (status == 401) into.fields.append("WWW-Authenticate: Bearer\r\n");
  if (retry_after_ms < 0) return;
  into.fields.append("Retry-After: ");
  into.fields.append_int(retry_after_ms / 1'000 + (retry_after_ms % 1'000 != 0 ? 1 : 0));
  into.fields.append(line_end);
}

/// False where the reply cannot be one of ours.
bool pass(const replied_valid& reply, authz_answer& into) {
  begin(into, 200);
  if (!append_name(into.fields, "X-Portcullis-Tenant: ", reply.tenant_id) ||
      !append_name(into.fields, "X-Portcullis-User: ", reply.user_id) ||
      !append_name(into.fields, "X-Portcullis-Handle: ", reply.handle))
    return false;
  into.fields.append("X-Portcullis-Expires-At: ");
  into.fields.append(reply.expires_at_ms);
  into.fields.append(line_end);
  append_signals(into.fields, reply);
  return true;
}

error_code error_of(core::invalid_reason reason) noexcept {
  switch (reason) {
    case core::invalid_reason::not_found:
      return error_code::SESSION_NOT_FOUND;
    case core::invalid_reason::expired:
      return error_code::SESSION_EXPIRED;
    case core::invalid_reason::revoked:
      return error_code::SESSION_REVOKED;
    case core::invalid_reason::ip_mismatch:
      return error_code::SESSION_IP_MISMATCH;
    case core::invalid_reason::fingerprint_mismatch:
      return error_code::SESSION_FINGERPRINT_MISMATCH;
    case core::invalid_reason::locked_out:
      return error_code::USER_LOCKED_OUT;
  }
  __builtin_unreachable();
}

/// The error object as it came, with its correlation id, and with the answer's status.
void pass_on(authz_kind kind, const replied_error& reply, authz_answer& into) {
  begin_refusal(into, authz_status(kind, reply.code), reply.retry_after_ms);
  const auto before = static_cast<std::size_t>(reply.status.data() - reply.object.data());
  into.body.append(reply.object.substr(0, before));
  into.body.append_int(into.status);
  into.body.append(reply.object.substr(before + reply.status.size()));
}

}  // namespace

int authz_status(authz_kind kind, error_code code) noexcept {
  if (code == error_code::SESSION_NOT_FOUND) return 401;
  const int status = core::describe(code).status;
  const bool unknown_to_nginx = status < 500 && status != 401;
  return kind == authz_kind::auth_request && unknown_to_nginx ? 403 : status;
}

void refuse_authz(authz_kind kind, const core::error& why, std::string_view correlation_id,
                  const encode_options& options, authz_answer& into) {
  begin_refusal(into, authz_status(kind, why.code), why.retry_after_ms);
  encode_error_object(into.body, why, correlation_id, options, into.status);
}

void answer_authz(authz_kind kind, std::string_view reply_line, std::string_view correlation_id,
                  const encode_options& options, authz_answer& into) {
  const replied reply = read_reply_line(reply_line);
  if (const auto* valid = std::get_if<replied_valid>(&reply)) {
    if (pass(*valid, into)) return;
  } else if (const auto* invalid = std::get_if<replied_invalid>(&reply)) {
    auto why = core::fail(error_of(invalid->reason));
    why.retry_after_ms = invalid->retry_after_ms;
    return refuse_authz(kind, why, correlation_id, options, into);
  } else if (const auto* error = std::get_if<replied_error>(&reply)) {
    return pass_on(kind, *error, into);
  }
  refuse_authz(kind, core::fail(error_code::INTERNAL), correlation_id, options, into);
}

}  // namespace portcullis::net

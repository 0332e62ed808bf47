#include "net/authz/ask.hpp"

#include <algorithm>
#include <cstring>

#include "core/contract/texts.hpp"
#include "core/limits.hpp"
#include "net/json/text_run.hpp"
#include "net/rpc/fields.hpp"
#include "net/rpc/json_writer.hpp"

namespace portcullis::net {
namespace {

using core::error_code;

core::error invalid(std::string_view field, std::string_view rule, std::int64_t limit = -1,
                    unsigned line = __builtin_LINE()) {
  return core::fail(error_code::INVALID_PARAMS, field, rule, limit, __builtin_FILE(), line);
}

/// UTF-8 without controls but tabs: what a JSON string can hold and a field may have.
bool is_field_text(std::string_view text) noexcept {
  for (std::size_t at = 0; at < text.size();) {
    at = json::skip_plain_text(text.data(), at, text.size());
    if (at == text.size()) break;
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x20 && byte != '\t') return false;
    const auto sequence = json::read_utf8(text.data(), at, text.size());
    if (!sequence.complete) return false;
    at += sequence.size;
  }
  return text.find('\x7F') == std::string_view::npos;
}

std::optional<core::error> check_text(std::string_view field, std::string_view text) {
  constexpr auto most = core::limits::context_field_bytes_max;
  if (text.size() > most) return invalid(field, "bytes_max", static_cast<std::int64_t>(most));
  if (!is_field_text(text)) return invalid(field, "utf8_without_controls");
  return std::nullopt;
}

/// A list that is spread over fields, as one text (RFC 9110, 5.3). Of one field, the usual case,
/// nothing is copied.
class joined_fields {
 public:
  void take(std::string_view value) noexcept {
    if (value.empty()) return;
    if (first_.empty()) {
      first_ = value;
      return;
    }
    if (size_ == 0) append(first_);
    append(", ");
    append(value);
  }
  /// Longer than any that is taken where it was cut.
  [[nodiscard]] std::string_view text() const noexcept {
    return size_ == 0 ? first_ : std::string_view(bytes_.data(), size_);
  }

 private:
  void append(std::string_view part) noexcept {
    const auto taken = part.substr(0, bytes_.size() - size_);
    std::memcpy(bytes_.data() + size_, taken.data(), taken.size());
    size_ += taken.size();
  }
  std::string_view first_;
  std::array<char, core::limits::context_field_bytes_max + 1> bytes_;
  std::size_t size_ = 0;
};

}  // namespace

authz_correlation::authz_correlation(std::string_view text) noexcept {
  size_ = static_cast<std::uint8_t>(std::min(text.size(), text_.size()));
  std::memcpy(text_.data(), text.data(), size_);
}

authz_correlation::authz_correlation(correlation_maker& made_up) noexcept {
  const std::uint64_t number = made_up.next();
  core::byte_array<sizeof number> bytes;
  std::memcpy(bytes.data(), &number, bytes.size());
  core::to_hex(bytes, text_.data());
  size_ = 2 * sizeof number;
}

/// What the header fields of a request say.
struct forward_auth::found {
  session_value session;
  std::string_view user_agent;
  std::string_view traceparent;
  joined_fields language;
  int user_agents = 0;
  int traceparents = 0;
  bool forwarded = false;  // an X-Forwarded-For

  [[nodiscard]] authz_correlation correlation(correlation_maker& made_up) const {
    const auto trace = traceparents == 1 ? trace_id_of(traceparent) : std::string_view();
    return trace.empty() ? authz_correlation(made_up) : authz_correlation(trace);
  }
  [[nodiscard]] std::optional<core::error> fault() const {
    if (user_agents > 1) return invalid("context.user_agent", "one_field");
    if (auto fault = check_text("context.user_agent", user_agent)) return fault;
    return check_text("context.accept_language", language.text());
  }
};

forward_auth::forward_auth(const authz_settings& settings)
    : cookie_(settings.cookie),
      header_(settings.header),
      trusted_(settings.trusted_proxies),
      values_(settings.cookie_secrets) {
  std::transform(header_.begin(), header_.end(), header_.begin(), to_lower_ascii);
}

authz_correlation forward_auth::correlation_of(std::span<const header_field> fields,
                                               correlation_maker& made_up) {
  found request;
  for (const auto& field : fields) take_trace(field, request);
  return request.correlation(made_up);
}

void forward_auth::take_trace(const header_field& field, found& into) noexcept {
  if (!is_named(field.name, "traceparent")) return;
  into.traceparent = trim_ows(field.value);
  ++into.traceparents;
}

void forward_auth::look_at(const header_field& field, found& into) const noexcept {
  const auto name = field.name;
  const auto value = trim_ows(field.value);
  if (is_named(name, "cookie")) {
    if (!cookie_.empty()) into.session.take_cookies(value, cookie_);
  } else if (is_named(name, "user-agent")) {
    into.user_agent = value;
    ++into.user_agents;
  } else if (is_named(name, "accept-language")) {
    into.language.take(value);
  } else if (is_named(name, "x-forwarded-for")) {
    into.forwarded = true;
  } else {
    take_trace(field, into);
  }
  // Beside the others: it may be one of them.
  if (!header_.empty() && is_named(name, header_)) into.session.take(value);
}

authz_asked forward_auth::ask(std::span<const header_field> fields, const core::ip_address& from,
                              correlation_maker& made_up, core::byte_buffer& out) const {
  found request;
  for (const auto& field : fields) look_at(field, request);
  authz_asked asked{request.correlation(made_up), std::nullopt, false};
  const auto refuse = [&](const core::error& why) {
    asked.refused = why;
    return asked;
  };
  if (request.session.empty()) return refuse(core::fail(error_code::AUTH_REQUIRED));
  if (request.session.ambiguous())
    return refuse(core::fail(error_code::SESSION_NOT_FOUND, "session_id", "one_value"));
  const auto id = values_.read(request.session.text());
  if (!id) return refuse(id.error());
  if (const auto fault = request.fault()) return refuse(*fault);
  asked.forwarded_unread = request.forwarded && !trusted_.contains(from);
  const auto address = client_address(from, fields, trusted_);
  if (!address) return refuse(invalid("context.ip", "ipv4_or_ipv6_text"));

  json_writer to(out);
  to.raw(R"({"jsonrpc":"2.0","id":1,"method":"session.validate","params":{"session_id":")");
  to.raw({id->data(), id->size()});
  to.raw(R"(","context":{"ip":")").raw(address_text(*address).view()).raw("\"");
  if (!request.user_agent.empty()) to.raw(R"(,"user_agent":)").text(request.user_agent);
  const auto language = request.language.text();
  if (!language.empty()) to.raw(R"(,"accept_language":)").text(language);
  to.raw(R"(},"_meta":{"correlation_id":")").raw(asked.correlation.view()).raw(R"("}}})");
  return asked;
}

}  // namespace portcullis::net

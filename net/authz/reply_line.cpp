#include "net/authz/reply_line.hpp"

#include <charconv>
#include <cstring>

#include "net/json/text_run.hpp"

namespace portcullis::net {
namespace {

constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

/// What is left to read of the line. A step that does not fit takes nothing.
class rest_of_line {
 public:
  explicit rest_of_line(std::string_view text) noexcept : text_(text) {}

  [[nodiscard]] bool take(std::string_view literal) noexcept {
    if (!text_.starts_with(literal)) return false;
    text_.remove_prefix(literal.size());
    return true;
  }
  /// The inside of a string, and its closing quote. Not empty.
  [[nodiscard]] bool take_text(std::string_view& inside) noexcept {
    for (std::size_t at = 0; at < text_.size(); ++at) {
      at = json::skip_plain_text(text_.data(), at, text_.size());
      if (at == text_.size()) return false;
      if (text_[at] == '\\') {
        ++at;
      } else if (text_[at] == '"') {
        inside = text_.substr(0, at);
        text_.remove_prefix(at + 1);
        return !inside.empty();
      }
    }
    return false;
  }
  [[nodiscard]] bool take_digits(std::string_view& digits) noexcept {
    std::size_t size = 0;
    while (size < text_.size() && is_digit(text_[size])) ++size;
    digits = text_.substr(0, size);
    text_.remove_prefix(size);
    return size > 0;
  }
  [[nodiscard]] bool take_number(std::int64_t& number) noexcept {
    std::string_view digits;
    return take_digits(digits) && to_number(digits, number);
  }
  [[nodiscard]] bool at_end() const noexcept { return text_.empty(); }
  [[nodiscard]] std::string_view text() const noexcept { return text_; }

 private:
  static bool to_number(std::string_view digits, std::int64_t& number) noexcept {
    return std::from_chars(digits.data(), digits.data() + digits.size(), number).ec == std::errc();
  }
  std::string_view text_;
};

/// A field's name and action, up to the brace's end.
bool take_signal(rest_of_line& from, replied_valid& into) noexcept {
  std::string_view field;
  if (!from.take(R"({"field":")") || !from.take_text(field)) return false;
  const auto which = core::parse_context_field(field);
  if (!which && field != "ip") return false;
  const auto bit = which ? core::bit(*which) : core::ip_bit;
  std::string_view action;
  if (!from.take(R"(,"action":")") || !from.take_text(action) || !from.take("}")) return false;
  if (action == to_string(core::signal_action::challenge))
    into.challenged |= bit;
  else if (action == to_string(core::signal_action::observe))
    into.observed |= bit;
  else
    return false;
  return true;
}

bool take_signals(rest_of_line& from, replied_valid& into) noexcept {
  if (!from.take(R"(,"signals":[)")) return true;
  do {
    if (!take_signal(from, into)) return false;
  } while (from.take(","));
  return from.take("]");
}

constexpr std::string_view after_data = R"(,"version":)";

/// From `,"version":` on, which stands there for the last time: nothing that follows it is of a
/// caller's choice. Empty: not found.
std::string_view tail_of(std::string_view text) noexcept {
  const auto at = text.rfind(after_data);
  return at == std::string_view::npos ? std::string_view() : text.substr(at);
}

replied read_valid(rest_of_line from) noexcept {
  replied_valid reply;
  std::string_view number;
  if (!from.take_text(reply.tenant_id)) return {};
  if (!from.take(R"(,"user_id":")") || !from.take_text(reply.user_id)) return {};
  if (!from.take(R"(,"handle":")") || !from.take_text(reply.handle)) return {};
  rest_of_line tail(tail_of(from.text()));
  const auto data = from.text().substr(0, from.text().size() - tail.text().size());
  if (!data.empty() && !(data.starts_with(R"(,"data":{)") && data.ends_with('}'))) return {};
  if (!tail.take(after_data) || !tail.take_digits(number)) return {};
  if (!tail.take(R"(,"created_at_ms":)") || !tail.take_digits(number)) return {};
  if (!tail.take(R"(,"expires_at_ms":)") || !tail.take_digits(reply.expires_at_ms)) return {};
  static_cast<void>(tail.take(R"(,"rotated":true)"));
  if (!take_signals(tail, reply) || !tail.take("}}") || !tail.at_end()) return {};
  return reply;
}

std::optional<core::invalid_reason> parse_reason(std::string_view text) noexcept {
  using enum core::invalid_reason;
  for (const auto each :
       {not_found, expired, revoked, ip_mismatch, fingerprint_mismatch, locked_out})
    if (to_string(each) == text) return each;
  return std::nullopt;
}

replied read_invalid(rest_of_line from) noexcept {
  replied_invalid reply;
  std::string_view text;
  if (!from.take_text(text)) return {};
  const auto reason = parse_reason(text);
  if (!reason) return {};
  reply.reason = *reason;
  if (from.take(R"(,"retry_after_ms":)") && !from.take_number(reply.retry_after_ms)) return {};
  if (!from.take("}}") || !from.at_end()) return {};
  return reply;
}

/// What stands behind the first `name` of an error object, whose texts are all ours.
rest_of_line member(std::string_view object, std::string_view name) noexcept {
  const auto at = object.find(name);
  return rest_of_line(at == std::string_view::npos ? std::string_view()
                                                   : object.substr(at + name.size()));
}

replied read_error(std::string_view text) noexcept {
  replied_error reply;
  if (!text.ends_with("}}}")) return {};
  reply.object = text.substr(0, text.size() - 1);
  rest_of_line from(reply.object);
  if (!from.take(R"({"code":)")) return {};
  const bool negative = from.take("-");
  std::int64_t number = 0;
  if (!from.take_number(number) || number > 0xFFFF) return {};
  const auto code = core::error_from_wire(static_cast<std::int32_t>(negative ? -number : number));
  if (!code) return {};
  reply.code = *code;
  if (!member(reply.object, R"(,"status":)").take_digits(reply.status)) return {};
  auto retry = member(reply.object, R"(,"retry_after_ms":)");
  if (!retry.at_end() && !retry.take_number(reply.retry_after_ms)) return {};
  return reply;
}

}  // namespace

replied read_reply_line(std::string_view line) noexcept {
  if (line.ends_with('\n')) line.remove_suffix(1);
  rest_of_line from(line);
  std::string_view id;
  if (!from.take(R"({"jsonrpc":"2.0","id":)")) return {};
  if (!from.take("null") && !from.take_digits(id)) return {};
  if (from.take(R"(,"result":{"valid":true,"tenant_id":")")) return read_valid(from);
  if (from.take(R"(,"result":{"valid":false,"reason":")")) return read_invalid(from);
  if (from.take(R"(,"error":)")) return read_error(from.text());
  return {};
}

}  // namespace portcullis::net

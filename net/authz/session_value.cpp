#include "net/authz/session_value.hpp"

#include <algorithm>

#include "net/http/header_field.hpp"
#include "net/json/text_run.hpp"

namespace portcullis::net {
namespace {

constexpr std::size_t id_size = std::tuple_size_v<session_id_text>;
constexpr std::size_t signature_size = core::base64url_size(std::tuple_size_v<core::digest>);
constexpr std::string_view signed_mark = "s:";
constexpr std::size_t value_size_max = signed_mark.size() + id_size + 1 + signature_size;

/// A value without its percent-encoding. Empty when that is malformed or the value too long.
class decoded_value {
 public:
  explicit decoded_value(std::string_view text) noexcept {
    std::size_t size = 0;
    for (std::size_t at = 0; at < text.size(); ++size) {
      if (size == value_size_max) return;
      char c = text[at++];
      if (c == '%') {
        if (text.size() - at < 2) return;
        const int high = json::hex_value(text[at]);
        const int low = json::hex_value(text[at + 1]);
        if (high < 0 || low < 0) return;
        c = static_cast<char>(high << 4 | low);
        at += 2;
      }
      bytes_[size] = c;
    }
    size_ = size;
  }
  [[nodiscard]] std::string_view view() const noexcept { return {bytes_.data(), size_}; }

 private:
  std::array<char, value_size_max> bytes_;
  std::size_t size_ = 0;
};

core::error not_found(std::string_view rule, unsigned line = __builtin_LINE()) {
  return core::fail(core::error_code::SESSION_NOT_FOUND, "session_id", rule, -1, __builtin_FILE(),
                    line);
}

std::string_view without_quotes(std::string_view value) noexcept {
  const bool quoted = value.size() >= 2 && value.front() == '"' && value.back() == '"';
  return quoted ? value.substr(1, value.size() - 2) : value;
}

}  // namespace

void session_value::take(std::string_view value) noexcept {
  if (value.empty()) return;
  ambiguous_ = ambiguous_ || (!value_.empty() && value_ != value);
  if (value_.empty()) value_ = value;
}

void session_value::take_cookies(std::string_view field, std::string_view name) noexcept {
  for (;;) {
    const auto end = field.find(';');
    const auto pair = field.substr(0, end);
    const auto equals = pair.find('=');
    if (equals != std::string_view::npos && trim_ows(pair.substr(0, equals)) == name)
      take(without_quotes(trim_ows(pair.substr(equals + 1))));
    if (end == std::string_view::npos) return;
    field.remove_prefix(end + 1);
  }
}

session_value_reader::session_value_reader(const std::vector<std::string>& secrets) {
  keys_.reserve(secrets.size());
  for (const auto& secret : secrets) keys_.emplace_back(core::as_bytes(secret));
}

bool session_value_reader::is_signed(std::string_view id,
                                     std::string_view signature) const noexcept {
  // Which of the secrets it was is no secret: the first that fits is enough.
  return std::any_of(keys_.begin(), keys_.end(), [&](const core::hmac_key& key) {
    char expected[signature_size];
    core::to_base64url(key(id), expected);
    // Standard base64 differs in two characters (RFC 4648, 4 and 5).
    for (char& c : expected) c = c == '-' ? '+' : c == '_' ? '/' : c;
    return core::equal_secrets(core::as_bytes({expected, sizeof expected}),
                               core::as_bytes(signature));
  });
}

core::result<session_id_text> session_value_reader::read(std::string_view value) const noexcept {
  const decoded_value decoded(value);
  std::string_view text = decoded.view();
  const bool marked = text.starts_with(signed_mark);
  if (marked != !keys_.empty()) return not_found(marked ? "unsigned" : "signed");
  std::string_view signature;
  if (marked) {
    text.remove_prefix(signed_mark.size());
    const auto dot = text.rfind('.');
    if (dot == std::string_view::npos) return not_found("signed");
    signature = text.substr(dot + 1);
    text = text.substr(0, dot);
  }
  core::session_id id;
  if (!core::from_hex(text, id.bytes)) return not_found("64_lower_case_hex_digits");
  if (marked && !is_signed(text, signature)) return not_found("signed");
  session_id_text read;
  std::copy_n(text.data(), id_size, read.data());
  return read;
}

}  // namespace portcullis::net

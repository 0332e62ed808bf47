// The session id that a request carries: in a cookie, or in a header field; plain, or signed as
// express-session does.
#pragma once
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "core/contract/types.hpp"
#include "core/crypto/hmac.hpp"
#include "core/result.hpp"

namespace portcullis::net {

/// Gathers the values that may be the session id. A request has one: the same value may come twice,
/// another one is refused, for whoever can plant a second cookie (from a sibling domain, or for
/// another path) must not choose which of the two is looked at. Views the request.
class session_value {
 public:
  /// A value as it came. An empty one is none.
  void take(std::string_view value) noexcept;
  /// The values of the cookies with that name, case and all, in one Cookie field (RFC 6265, 4.2.1,
  /// 5.4). Cookies are apart by semicolons; white space around them, and one pair of quotes around
  /// a value, do not count.
  void take_cookies(std::string_view field, std::string_view name) noexcept;

  [[nodiscard]] bool empty() const noexcept { return value_.empty(); }
  [[nodiscard]] bool ambiguous() const noexcept { return ambiguous_; }
  [[nodiscard]] std::string_view text() const noexcept { return value_; }

 private:
  std::string_view value_;
  bool ambiguous_ = false;
};

/// The text of a session id: 64 lower-case hex digits.
using session_id_text = std::array<char, 64>;

/// Reads values. Keeps of each secret only what a signature needs. Thread-safe once made.
class session_value_reader {
 public:
  /// `secrets`: those that cookies may be signed with, the newest first; more than one while they
  /// are rotated. None: cookies are not signed.
  explicit session_value_reader(const std::vector<std::string>& secrets);

  /// Percent-decodes the value (as the npm package `cookie` does), then takes it as
  /// - without secrets: 64 lower-case hex digits;
  /// - with secrets: `s:`, those digits, `.`, and the HMAC-SHA-256 of the digits under one of the
  ///   secrets, in base64 without padding (as the npm package `cookie-signature` writes it).
  /// Compared in constant time (ASVS 11.2.4). SESSION_NOT_FOUND for any other value, an unsigned
  /// one where there are secrets and a signed one where there are none.
  [[nodiscard]] core::result<session_id_text> read(std::string_view value) const noexcept;

 private:
  [[nodiscard]] bool is_signed(std::string_view id, std::string_view signature) const noexcept;
  std::vector<core::hmac_key> keys_;
};

}  // namespace portcullis::net

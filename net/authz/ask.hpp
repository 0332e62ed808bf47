// From a forwarded HTTP request to the JSON text of one session.validate call (protocol.md).
#pragma once
#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/bytes.hpp"
#include "core/error/catalogue.hpp"
#include "net/authz/client_address.hpp"
#include "net/authz/session_value.hpp"
#include "net/authz/settings.hpp"
#include "net/http/header_field.hpp"
#include "net/rpc/encode.hpp"

namespace portcullis::net {

/// A correlation id: a trace id or one that was made up. No memory of its own: it is kept until the
/// answer.
class authz_correlation {
 public:
  authz_correlation() = default;
  /// `text`: at most 32 characters.
  explicit authz_correlation(std::string_view text) noexcept;
  explicit authz_correlation(correlation_maker& made_up) noexcept;
  [[nodiscard]] std::string_view view() const noexcept { return {text_.data(), size_}; }

 private:
  std::array<char, 32> text_;
  std::uint8_t size_ = 0;
};

struct authz_asked {
  authz_correlation correlation;       // for answer() or refuse()
  std::optional<core::error> refused;  // nothing was written: refuse() with this
  bool forwarded_unread = false;       // X-Forwarded-For came from who is no trusted proxy
};

/// What does not change between requests. Thread-safe once made.
class forward_auth {
 public:
  /// Keeps no secret, but what a signature needs of it.
  explicit forward_auth(const authz_settings& settings);

  /// Appends `{"jsonrpc":"2.0","id":1,"method":"session.validate",...}` for a request with these
  /// header fields, of any method, that came over a connection from `from`. Allocates nothing but
  /// the buffer's growth.
  ///
  /// The context has address, user agent and language, and nothing that varies between the
  /// requests of one page. The call's correlation id is the trace id of `traceparent`, or made up
  /// where there is none that is well-formed (Trace Context, 3.2; two fields are none).
  ///
  /// Refused:
  /// - AUTH_REQUIRED: the request carries no session id;
  /// - SESSION_NOT_FOUND: one that is malformed or wrongly signed, or two different ones;
  /// - INVALID_PARAMS: an entry of X-Forwarded-For that is reached and no address (field
  ///   context.ip); two User-Agent fields; a user agent or language of more than 1,024 bytes
  ///   (which session.validate would refuse), that is no UTF-8 (which would be no JSON), or with
  ///   control characters other than tabs (which are in no field, RFC 9110, 5.5).
  /// Several Accept-Language fields are one list (RFC 9110, 5.3).
  [[nodiscard]] authz_asked ask(std::span<const header_field> fields, const core::ip_address& from,
                                correlation_maker& made_up, core::byte_buffer& out) const;
  /// The correlation id of a request with these header fields, by the same rule.
  [[nodiscard]] static authz_correlation correlation_of(std::span<const header_field> fields,
                                                        correlation_maker& made_up);

 private:
  struct found;
  void look_at(const header_field& field, found& into) const noexcept;
  static void take_trace(const header_field& field, found& into) noexcept;

  std::string cookie_, header_;  // header_ in lower case
  core::address_set trusted_;
  session_value_reader values_;
};

}  // namespace portcullis::net

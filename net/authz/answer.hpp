// From the reply to session.validate to the HTTP answer that a proxy understands.
#pragma once
#include <string_view>

#include "core/bytes.hpp"
#include "core/error/catalogue.hpp"
#include "net/authz/kind.hpp"
#include "net/rpc/encode.hpp"

namespace portcullis::net {

/// An HTTP answer but for its framing: whoever writes it adds the status line, Content-Length (of
/// the body, also where HEAD leaves it out) and Connection. Reused, it allocates nothing.
struct authz_answer {
  int status = 500;
  core::byte_buffer fields;  // "Name: value\r\n" each, ASCII
  core::byte_buffer body;    // empty, or the error object, whose data.status is `status`
};

/// Makes `into` the answer for a reply line of the RPC server, with or without its LF.
///
/// - valid: 200 without a body, and X-Portcullis-Tenant, -User, -Handle, -Expires-At (ms), -Signals
///   ("none", or such as "observe=ja4,challenge=user_agent"). All five, none ever empty: proxies
///   keep a request's own field where the answer's is missing, and so would let forged ones
///   through. Bytes that are not visible ASCII, and `%`, are percent-encoded (RFC 3986).
/// - not valid: 401 with the error object of the reason (SESSION_EXPIRED, ...); locked_out:
///   USER_LOCKED_OUT.
/// - an error: that error.
/// - anything else: INTERNAL; a bug, which lets nobody pass.
///
/// Status: SESSION_NOT_FOUND 401, for a proxy would take 404 for a missing page. To nginx all other
/// 4xx are 403 where they are not 401, for it makes 500 of what it does not know; 5xx stay. Else
/// the error's own. Retry-After (seconds, rounded up) wherever the wait is known, WWW-Authenticate
/// with every 401 (RFC 9110, 15.5.2), and `Cache-Control: no-store` always.
///
/// `correlation_id`: what ask() gave for the request.
void answer_authz(authz_kind kind, std::string_view reply_line, std::string_view correlation_id,
                  const encode_options& options, authz_answer& into);

/// The same for an error without a reply: what ask() refused, or what kept the call from being
/// made.
void refuse_authz(authz_kind kind, const core::error& why, std::string_view correlation_id,
                  const encode_options& options, authz_answer& into);

/// The status that a proxy of that kind is given for an error.
[[nodiscard]] int authz_status(authz_kind kind, core::error_code code) noexcept;

}  // namespace portcullis::net

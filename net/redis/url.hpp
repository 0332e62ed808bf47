// Where a Redis server is, as one line of configuration says it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace portcullis::net::redis {

/// A host and port, or the path of a Unix socket.
struct address {
  std::string host;  // a name, or an IP address without brackets
  std::uint16_t port = 6379;
  std::string path;  // not empty: the Unix socket, and nothing else counts

  [[nodiscard]] bool is_unix() const noexcept { return !path.empty(); }
  friend auto operator<=>(const address&, const address&) = default;
};

/// "host:port", "[::1]:port" or "unix:/path".
[[nodiscard]] std::string to_text(const address& where);

/// Whether it is a host name's form (RFC 1035, 2.3.4; underscores, too) or an IP address.
[[nodiscard]] bool is_host(std::string_view text) noexcept;

/// Who one is to the server: an ACL user, or the default user where `user` is empty. Without a
/// password no AUTH is sent.
struct login {
  std::string user, password;
};

struct url {
  address at;
  bool tls = false;
  login who;
  std::uint32_t db = 0;
};

/// `redis://[user[:password]@]host[:port][/db]`, `rediss://` the same over TLS,
/// `unix:///path[?db=N]`. User, password and path may be percent-encoded (RFC 3986, 2.1); an IPv6
/// address stands in brackets. CONFIG_INVALID with one of the rules "length", "scheme", "user",
/// "percent_encoding", "host", "port", "db", "path", "query"; no field: the caller knows the key.
/// Not an error: a user without a password, which may come from elsewhere. Pure.
[[nodiscard]] core::result<url> parse_url(std::string_view text);

}  // namespace portcullis::net::redis

// Which proxy asks: each takes other status codes.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace portcullis::net {

enum class authz_kind : std::uint8_t {
  auth_request,  // nginx: knows 2xx, 401 and 403; all else is a 500 of its own
  forward_auth,  // Traefik, Caddy, HAProxy: 2xx passes, all else goes to the client
  ext_authz      // Envoy: 200 passes; the path of the request follows ours
};

/// By the path of a request, without query: "/authz/auth-request" and "/authz/forward-auth"
/// exactly,
/// "/authz/ext-authz" and whatever comes after it and a slash. Absent for any other.
[[nodiscard]] constexpr std::optional<authz_kind> authz_kind_of(std::string_view path) noexcept {
  constexpr std::string_view folder = "/authz/";
  if (!path.starts_with(folder)) return std::nullopt;
  path.remove_prefix(folder.size());
  if (path == "auth-request") return authz_kind::auth_request;
  if (path == "forward-auth") return authz_kind::forward_auth;
  constexpr std::string_view ext = "ext-authz";
  if (path.starts_with(ext) && (path.size() == ext.size() || path[ext.size()] == '/'))
    return authz_kind::ext_authz;
  return std::nullopt;
}

}  // namespace portcullis::net

// What a browser that was lured here may not do: rules for Host, Origin and media types. Pure.
//
// A page of another site can make a browser send requests to this machine. By DNS rebinding (its
// own name, resolved anew to 127.0.0.1) it may even read the answers, for the browser takes us for
// that site; the Host field then still has that name. A request across sites has an Origin. One
// that is made without asking first (a "simple request" of the Fetch standard) cannot have the
// media type application/json.
//
// Not for /authz/*: proxies pass the browser's Host and Origin on.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/contract/types.hpp"
#include "net/http/header_field.hpp"

namespace portcullis::net {

class host_rules {
 public:
  struct settings {
    std::vector<std::string> hosts = {};    // names or addresses, without port
    std::vector<std::string> origins = {};  // such as "https://console.example.com"
    // The listener's; absent where it listens on all of the machine's or on none.
    std::optional<core::ip_address> listener = std::nullopt;
  };
  explicit host_rules(settings from);

  /// Whether `host`, the value of a Host field, names this server: one of the listed names (case
  /// does not count) or addresses, the listener's own address, and where that is a loopback
  /// address, `localhost` and all loopback addresses. With any port or none: the browser got here.
  /// False for what is no uri-host (RFC 3986, 3.2.2), and for an empty one.
  [[nodiscard]] bool host_allowed(std::string_view host) const noexcept;

  /// Whether a request with this Origin may be served: only one that is listed, byte for byte (RFC
  /// 6454, 6.2 has one text for an origin); never "null". A request without the field is not asked
  /// about.
  [[nodiscard]] bool origin_allowed(std::string_view origin) const noexcept;

 private:
  [[nodiscard]] bool address_allowed(const core::ip_address& address) const noexcept;

  std::vector<std::string> names_;  // in lower case
  std::vector<core::ip_address> addresses_;
  std::vector<std::string> origins_;
  bool on_loopback_;
};

/// Whether a browser says that another site's page made the request (Fetch Metadata, 2.4). A GET
/// that is made without asking first has no Origin, but this; a browser too old for it has neither.
[[nodiscard]] bool is_cross_site(std::span<const header_field> fields) noexcept;

/// Whether the value of a Content-Type field is application/json, with any parameters (RFC 9110,
/// 8.3.1). False for a list: two fields that were joined.
[[nodiscard]] bool is_json_media_type(std::string_view content_type) noexcept;

/// ::1 and 127.0.0.0/8.
[[nodiscard]] bool is_loopback(const core::ip_address& address) noexcept;

}  // namespace portcullis::net

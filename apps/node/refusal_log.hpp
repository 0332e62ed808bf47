// The log's lines about connections that were turned away. A stranger decides how many come: of a
// kind, one line in so many seconds, which says how many there were.
#pragma once
#include <array>
#include <cstdint>
#include <memory>

#include "core/clock.hpp"
#include "core/limits.hpp"
#include "core/session/keyring.hpp"
#include "core/tallies.hpp"
#include "net/stream/opening.hpp"

namespace portcullis::apps {

/// Of one loop, on its thread.
class refusal_log {
 public:
  /// `clock` must outlive it.
  refusal_log(core::clock& clock, std::shared_ptr<const core::key_material> keys)
      : clock_(clock), keys_(std::move(keys)) {}

  void refused(const net::refusal& what) noexcept;
  /// X-Forwarded-For came from `proxy`, which authz.trusted_proxies does not have: the users'
  /// address is the proxy's.
  void forwarded_unread(const core::ip_address& proxy) noexcept;

 private:
  /// How many of a kind came since its last line.
  struct kind {
    core::millis quiet_until_ms = 0;
    std::int64_t untold = 0;
  };
  [[nodiscard]] std::int64_t tell(kind& of) noexcept;

  core::clock& clock_;
  std::shared_ptr<const core::key_material> keys_;
  // How a handshake failed is part of its kind.
  std::array<std::array<kind, core::rejection_names.size() + core::tls_failure_names.size()>,
             core::listener_names.size()>
      kinds_{};
  kind forwarded_;
};

}  // namespace portcullis::apps

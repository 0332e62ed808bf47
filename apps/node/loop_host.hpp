// One event loop with everything that lives on it: the pinned actors' unit, the gateway, the
// servers and the thread.
#pragma once
#include <atomic>
#include <memory>
#include <thread>

#include "actors/gateway.hpp"
#include "actors/loop_unit.hpp"
#include "net/http/routes.hpp"
#include "net/http/server.hpp"
#include "net/loop/loop.hpp"
#include "net/tcp/server.hpp"
#include "net/tls/context.hpp"

namespace portcullis::apps {

struct loop_host_options {
  net::tcp_options tcp;
  net::http_options http;
  net::http_route_options routes;
  bool with_http = false;                  // the first loop only
  const net::tls_contexts* tls = nullptr;  // whose state this loop tells; the first loop only
};

class loop_host {
 public:
  loop_host(caf::actor_system& system, core::clock& clock, actors::gateway_options gateway,
            const loop_host_options& options);
  ~loop_host();

  /// Starts the loop's thread. Everything must be wired.
  void start();
  /// Stops the loop and joins its thread.
  void stop();
  /// Closes every connection after writing what is queued. Any thread; takes effect on the loop.
  void close_connections() noexcept;
  /// Whether that is done, but for peers that do not close; only told after close_connections().
  [[nodiscard]] bool taken_leave() const noexcept {
    return taken_leave_.load(std::memory_order_acquire);
  }
  /// Whether nothing is in flight; only told while draining.
  [[nodiscard]] bool drained() const noexcept { return drained_.load(std::memory_order_acquire); }

  [[nodiscard]] actors::loop_unit& unit() noexcept { return unit_; }
  [[nodiscard]] actors::gateway& gateway() noexcept { return gateway_; }
  [[nodiscard]] net::tcp_server& tcp() noexcept { return *tcp_; }
  /// Opens an HTTP listener, where the loop has HTTP; its port. Before start().
  [[nodiscard]] core::result<std::uint16_t> listen_http(const core::endpoint& where,
                                                        core::listener as,
                                                        net::listener_rules rules);
  /// A copy of the loop's counters. On the loop.
  [[nodiscard]] core::loop_tallies tallies() const;

 private:
  void begin_drain();

  net::loop loop_;
  actors::loop_unit unit_;
  actors::gateway gateway_;
  std::unique_ptr<net::loop::hook> run_;
  std::unique_ptr<net::tcp_server> tcp_;
  std::unique_ptr<net::http_routes> routes_;  // of http_, as that is absent or not
  std::unique_ptr<net::http_server> http_;
  std::unique_ptr<net::loop::timer> drain_timer_;
  const net::tls_contexts* tls_ = nullptr;
  std::atomic<bool> drained_{false}, close_{false}, taken_leave_{false};
  std::thread thread_;
};

}  // namespace portcullis::apps

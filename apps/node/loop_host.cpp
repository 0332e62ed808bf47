#include "apps/node/loop_host.hpp"

#include <pthread.h>

namespace portcullis::apps {
namespace {

constexpr std::uint64_t drain_look_ms = 10;

actors::gateway_options with_stop(actors::gateway_options options,
                                  std::function<void()> stop_accepting) {
  options.stop_accepting = std::move(stop_accepting);
  return options;
}

}  // namespace

loop_host::loop_host(caf::actor_system& system, core::clock& clock, actors::gateway_options gateway,
                     const loop_host_options& options)
    : loop_(clock),
      unit_(system, [this] { loop_.wake(); }),
      gateway_(with_stop(std::move(gateway), [this] { begin_drain(); })),
      run_(std::make_unique<net::loop::hook>(loop_, net::phase::run,
                                             [this] { return unit_.run(); })),
      tcp_(std::make_unique<net::tcp_server>(loop_, options.tcp, gateway_)) {
  tls_ = options.tls;
  gateway_.attach(*tcp_);
  if (options.with_http) {
    routes_ = std::make_unique<net::http_routes>(loop_, options.routes, gateway_, *tcp_);
    http_ = std::make_unique<net::http_server>(loop_, options.http, *routes_);
  }
  drain_timer_ = std::make_unique<net::loop::timer>(loop_, [this] {
    if (close_.load(std::memory_order_acquire)) {
      tcp_->close_all();
      taken_leave_.store(tcp_->taken_leave(), std::memory_order_release);
    }
    drained_.store(tcp_->drained() && (!http_ || http_->drained()), std::memory_order_release);
  });
}

loop_host::~loop_host() { stop(); }

void loop_host::start() {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "portcullis-loop");
    unit_.bind();
    loop_.run();
  });
}

void loop_host::stop() {
  if (!thread_.joinable()) return;
  loop_.stop();
  thread_.join();
}

void loop_host::close_connections() noexcept { close_.store(true, std::memory_order_release); }

void loop_host::begin_drain() {
  tcp_->stop_accepting();
  if (http_) http_->stop_accepting();
  drain_timer_->every(drain_look_ms);
}

core::result<std::uint16_t> loop_host::listen_http(const core::endpoint& where, core::listener as,
                                                   net::listener_rules rules) {
  routes_->set_address(as, where.address);
  return http_->listen(where, as, std::move(rules));
}

core::loop_tallies loop_host::tallies() const {
  auto all = tcp_->tallies();
  if (!http_) return all;
  for (const auto row : {core::listener::http, core::listener::https}) {
    const auto at = static_cast<std::size_t>(row);
    const auto& from = http_->connections();
    all.connections.live[at] = from.live[at];
    all.connections.opened[at] = from.opened[at];
    all.connections.rejected[at] = from.rejected[at];
  }
  all.tls.add(http_->handshakes());
  all.http = http_->requests();
  if (const auto context = tls_ != nullptr ? tls_->current() : nullptr) {
    all.tls.reloads = tls_->replaced() - 1;
    all.tls.certificate_ends_at_s = context->ends_at_s();
    all.tls.lists_end_at_s = context->lists_end_at_s();
  }
  return all;
}

}  // namespace portcullis::apps

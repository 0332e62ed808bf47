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
  if (options.with_http) http_ = std::make_unique<net::http_server>(loop_, options.http, gateway_);
  drain_timer_ = std::make_unique<net::loop::timer>(loop_, [this] {
    if (close_.load(std::memory_order_acquire)) tcp_->close_all();
    drained_.store(tcp_->drained(), std::memory_order_release);
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

core::loop_tallies loop_host::tallies() const {
  auto all = tcp_->tallies();
  if (http_) {
    const auto at = static_cast<std::size_t>(core::listener::http);
    const auto& from = http_->tallies();
    all.connections.live[at] = from.live[at];
    all.connections.opened[at] = from.opened[at];
    all.connections.rejected[at] = from.rejected[at];
  }
  if (const auto context = tls_ != nullptr ? tls_->current() : nullptr) {
    all.tls.reloads = tls_->replaced() - 1;
    all.tls.certificate_ends_at_s = context->ends_at_s();
  }
  return all;
}

}  // namespace portcullis::apps

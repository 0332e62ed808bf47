// The loop, with its thread, on which a node of several reads and writes the log that they share.
#pragma once
#include <pthread.h>

#include <thread>

#include "actors/loop_unit.hpp"
#include "net/loop/loop.hpp"

namespace portcullis::apps {

class link_host {
 public:
  link_host(caf::actor_system& system, core::clock& clock)
      : loop_(clock),
        unit_(system, [this] { loop_.wake(); }),
        run_(loop_, net::phase::run, [this] { return unit_.run(); }) {}
  ~link_host() { stop(); }

  /// Starts the thread. The actor must be there.
  void start() {
    thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), "portcullis-link");
      unit_.bind();
      loop_.run();
    });
  }
  void stop() {
    if (!thread_.joinable()) return;
    loop_.stop();
    thread_.join();
  }
  [[nodiscard]] net::loop& loop() noexcept { return loop_; }
  [[nodiscard]] actors::loop_unit& unit() noexcept { return unit_; }

 private:
  net::loop loop_;
  actors::loop_unit unit_;
  net::loop::hook run_;
  std::thread thread_;
};

}  // namespace portcullis::apps

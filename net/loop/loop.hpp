// One event loop: who may run when in a turn, timers, watched descriptors, and the time of the
// turn. libuv stays behind this door.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/contract/types.hpp"

namespace portcullis::net {

/// When in a turn a hook runs. All hooks of a phase run before those of the next, in the order they
/// were registered.
enum class phase : std::uint8_t {
  submit,  // what was read is handed on: gateway_port::turn_ended
  run,     // actors that live on the loop
  write    // answers leave
};

/// An event loop, run by the thread that calls run(). Turn: timers; hooks; wait for sockets; reads;
/// hooks. Everything but stop() and wake() belongs to that thread (and to the constructing thread
/// before run() and after it returned). Everything made from a loop (timers, watches, hooks,
/// servers) must be destroyed before it.
class loop {
 public:
  /// `time` must outlive the loop. Throws std::runtime_error when the kernel refuses the
  /// descriptors a loop needs.
  explicit loop(core::clock& time);
  ~loop();
  loop(const loop&) = delete;
  loop& operator=(const loop&) = delete;

  /// Runs turns until stop(). May be called again afterwards.
  void run();
  /// Runs one turn: waits for something to do unless work is left. For tests and for whoever owns
  /// the thread.
  void run_once();
  /// Makes run() return after the present turn, or the next run() return at once. Thread safe.
  void stop() noexcept;
  /// Makes the loop take a turn soon. Thread safe; several calls may become one turn.
  void wake() noexcept;

  /// Wall clock and monotonic clock, each read at most once between two waits.
  [[nodiscard]] core::millis now_ms() noexcept;
  [[nodiscard]] std::int64_t mono_ns() noexcept;
  /// The monotonic clock, read now.
  [[nodiscard]] std::int64_t fresh_mono_ns() noexcept;

  class hook;
  class timer;
  class watch;
  class lookup;

 private:
  friend class hook;
  friend class timer;
  friend class watch;
  friend class lookup;
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// Runs a function twice a turn, before and after waiting, until destroyed. The function returns
/// whether work is left: then the loop does not wait. It may not destroy hooks.
class loop::hook {
 public:
  hook(loop& on, phase when, std::function<bool()> run);
  ~hook();
  hook(const hook&) = delete;
  hook& operator=(const hook&) = delete;

 private:
  loop& loop_;
  std::size_t id_;
};

/// Calls a function once or repeatedly on the loop's thread, until stopped or destroyed. Counts the
/// kernel's monotonic time, not the injected clock's. The function may stop, restart or destroy the
/// timer.
class loop::timer {
 public:
  timer(loop& on, std::function<void()> fire);
  ~timer();
  timer(const timer&) = delete;
  timer& operator=(const timer&) = delete;

  /// Once, after `ms`. Replaces what was started before.
  void after(std::uint64_t ms);
  /// After `ms`, and then every `ms` (at least 1).
  void every(std::uint64_t ms);
  void stop() noexcept;

 private:
  struct impl;
  impl* impl_;
};

/// Watches one descriptor. Does not own it: the watch must be destroyed before the descriptor is
/// closed.
class loop::watch {
 public:
  struct ready {
    bool readable = false;
    bool writable = false;  // both are set when the descriptor failed: a call on it says how, once
                            // what came before has been read
  };
  using function = void (*)(void* context, ready what);

  /// Watches for nothing yet. `call` may destroy the watch.
  watch(loop& on, int descriptor, function call, void* context);
  ~watch();
  watch(const watch&) = delete;
  watch& operator=(const watch&) = delete;

  /// Sets what to watch for; level triggered. Changing it costs two system calls, repeating it
  /// none.
  void want(bool readable, bool writable);

 private:
  struct impl;
  impl* impl_;
};

/// Finds the addresses of a host once, without waiting: getaddrinfo(3) on a thread of libuv's pool.
class loop::lookup {
 public:
  /// In the system's order, without duplicates; empty: none, or the name server does not answer.
  using function = std::function<void(std::vector<core::ip_address> found)>;

  /// `done` is called once, in a later turn, unless this is destroyed before; it may destroy this.
  /// What was begun goes on in the pool: the destructor of the loop waits for it.
  lookup(loop& on, const std::string& host, function done);
  ~lookup();
  lookup(const lookup&) = delete;
  lookup& operator=(const lookup&) = delete;

 private:
  struct impl;
  impl* impl_;
};

}  // namespace portcullis::net

// Runs CAF actors on the thread of one event loop (docs/decisions/0001). Knows no libuv: whoever
// owns the loop passes `wake` and calls run(). Two faces: as a context (what actors see as
// self->context()) it sends whatever is not pinned to CAF's scheduler; through inbox() a pinned
// actor queues itself here. With one face only, whatever a pinned actor sends to would run on the
// loop too.
#pragma once
#include <caf/all.hpp>
#include <cassert>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

namespace portcullis::actors {

/// Must outlive every actor spawned on it.
class loop_unit final : public caf::execution_unit {
 public:
  /// `wake` is called from foreign threads, at most once between two calls of run(); it must make
  /// the loop call run().
  loop_unit(caf::actor_system& system, std::function<void()> wake);
  loop_unit(const loop_unit&) = delete;
  loop_unit& operator=(const loop_unit&) = delete;
  ~loop_unit() override;

  void exec_later(caf::resumable* job) override;
  [[nodiscard]] caf::execution_unit* inbox() noexcept { return &inbox_; }

  /// Call once on the loop's thread before its first run().
  void bind() noexcept;
  /// Runs what is ready, for a bounded number of sweeps so that two chatty actors cannot starve the
  /// sockets. True: work is left, come back without blocking. On the loop's thread.
  bool run();

  /// Sends every pinned actor an exit message, in no order. Any thread.
  void exit_all(caf::exit_reason why = caf::exit_reason::user_shutdown);
  /// How many pinned actors live. Any thread.
  [[nodiscard]] std::size_t live() const;

  /// For pinned actors: the unit holds a handle of each from launch to cleanup, so that none is
  /// collected as unreachable, which would destroy its state on whatever thread dropped the last
  /// handle.
  void joined(caf::strong_actor_ptr actor);
  [[nodiscard]] caf::strong_actor_ptr left(caf::actor_id id);

 private:
  struct inbox_unit final : caf::execution_unit {
    explicit inbox_unit(loop_unit& owner) : execution_unit(&owner.system()), owner_(owner) {}
    void exec_later(caf::resumable* job) override { owner_.post(job); }
    loop_unit& owner_;
  };
  void post(caf::resumable* job);
  static loop_unit*& here() noexcept;

  inbox_unit inbox_;
  std::function<void()> wake_;
  mutable std::mutex mutex_;
  std::map<caf::actor_id, caf::strong_actor_ptr> live_;  // guarded by mutex_
  std::vector<caf::resumable*> remote_;                  // guarded by mutex_
  std::atomic<bool> remote_waiting_{false};              // spares run() the mutex
  std::vector<caf::resumable*> local_, sweep_;
};

}  // namespace portcullis::actors

// Pinned actors: always on their loop's thread, woken from other threads, ended in order, and
// bounded a turn. Real threads: the TSan preset looks at the same tests.
#include <gtest/gtest.h>

#include <condition_variable>
#include <thread>

#include "actors/handlers.hpp"
#include "actors/pinned.hpp"

namespace portcullis::actors {
namespace {

using add_atom = caf::atom_constant<caf::atom("add")>;
using get_atom = caf::atom_constant<caf::atom("get")>;
using spin_atom = caf::atom_constant<caf::atom("spin")>;
using throw_atom = caf::atom_constant<caf::atom("throw")>;
using counter_actor =
    caf::typed_actor<caf::reacts_to<add_atom>, caf::replies_to<get_atom>::with<std::uint64_t>,
                     caf::reacts_to<spin_atom>, caf::reacts_to<throw_atom>>;

struct counter_state {
  std::uint64_t count = 0;
  std::thread::id born;
  std::atomic<int>* dead = nullptr;
  std::thread::id* died_on = nullptr;
  static constexpr const char* name = "counter";
  counter_state() = default;
  counter_state(const counter_state&) = delete;
  ~counter_state() {
    if (died_on != nullptr) *died_on = std::this_thread::get_id();
    if (dead != nullptr) dead->fetch_add(1);
  }
};
using counter_self = pinned_actor<counter_actor, counter_state>;

counter_actor::behavior_type counting(counter_self* self, std::atomic<int>* dead,
                                      std::thread::id* died_on) {
  set_default_handlers(self);
  self->state.born = std::this_thread::get_id();
  self->state.dead = dead;
  self->state.died_on = died_on;
  return {
      [self](add_atom) {
        ASSERT_EQ(std::this_thread::get_id(), self->state.born);
        ++self->state.count;
      },
      [self](get_atom) { return self->state.count; },
      [self](spin_atom) { self->send(self, spin_atom::value); },
      [](throw_atom) { throw std::runtime_error("on request"); },
  };
}

struct mirror_state {
  static constexpr const char* name = "mirror";
};

/// A thread that runs a unit whenever it is woken, as a loop does.
class loop_thread {
 public:
  explicit loop_thread(caf::actor_system& system) : unit(system, [this] { wake(); }) {
    thread_ = std::thread([this] { run(); });
  }
  ~loop_thread() {
    if (thread_.joinable()) stop();
  }
  void stop() {
    {
      std::lock_guard guard{mutex_};
      stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }
  [[nodiscard]] std::thread::id id() const { return thread_.get_id(); }
  /// Waits until no pinned actor is left.
  void wait_empty() {
    std::unique_lock guard{mutex_};
    swept_.wait(guard, [this] { return unit.live() == 0; });
  }
  loop_unit unit;
  std::atomic<int> wakes{0};

 private:
  void wake() {
    wakes.fetch_add(1);
    {
      std::lock_guard guard{mutex_};
      woken_ = true;
    }
    changed_.notify_one();
  }
  void run() {
    unit.bind();
    for (;;) {
      while (unit.run()) {
      }
      std::unique_lock guard{mutex_};
      swept_.notify_all();
      changed_.wait(guard, [this] { return woken_ || stopping_; });
      if (!woken_) return;
      woken_ = false;
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_, swept_;
  bool woken_ = false, stopping_ = false;
  std::thread thread_;
};

struct running_system {
  struct config : caf::actor_system_config {
    config() {
      set("scheduler.policy", caf::atom("sharing"));
      set("scheduler.max-threads", std::size_t{2});
    }
  } settings;
  caf::actor_system system{settings};
};

TEST(loop_unit, runs_what_foreign_threads_send_on_its_own_thread_and_loses_nothing) {
  running_system s;
  loop_thread loop(s.system);
  std::atomic<int> dead{0};
  std::thread::id died_on;
  auto counter = spawn_pinned<counter_actor, counter_state>(loop.unit, counting, &dead, &died_on);
  constexpr int threads = 4, each = 5'000;
  std::vector<std::thread> senders;
  for (int i = 0; i < threads; ++i)
    senders.emplace_back([counter] {
      for (int n = 0; n < each; ++n) caf::anon_send(counter, add_atom::value);
    });
  for (auto& sender : senders) sender.join();
  {
    caf::scoped_actor self{s.system};
    self->request(counter, caf::infinite, get_atom::value)
        .receive([](std::uint64_t count) { EXPECT_EQ(count, threads * each); },
                 [](const caf::error&) { FAIL() << "no answer"; });
  }
  counter = counter_actor{};
  loop.unit.exit_all();
  loop.wait_empty();
  EXPECT_EQ(dead.load(), 1);
  EXPECT_EQ(died_on, loop.id());
  EXPECT_LE(loop.wakes.load(), threads * each + 3);
  loop.stop();
}

TEST(loop_unit, two_loops_that_talk_to_each_other_lose_nothing) {
  running_system s;
  std::atomic<int> dead{0};
  std::thread::id died_a, died_b;
  {
    loop_thread a(s.system), b(s.system);
    auto counter = spawn_pinned<counter_actor, counter_state>(b.unit, counting, &dead, &died_b);
    std::vector<counter_actor> mirrors;
    // Each message to a mirror on loop a sends one on to loop b.
    using mirror_self = pinned_actor<counter_actor, mirror_state>;
    counter_actor::behavior_type (*mirror)(mirror_self*, counter_actor) = [](mirror_self* self,
                                                                             counter_actor to) {
      set_default_handlers(self);
      return counter_actor::behavior_type{[self, to](add_atom) { self->send(to, add_atom::value); },
                                          [](get_atom) { return std::uint64_t{0}; },
                                          [](spin_atom) {}, [](throw_atom) {}};
    };
    for (int i = 0; i < 8; ++i)
      mirrors.push_back(spawn_pinned<counter_actor, mirror_state>(a.unit, mirror, counter));
    for (int n = 0; n < 2'000; ++n)
      for (const auto& each : mirrors) caf::anon_send(each, add_atom::value);
    // FIFO per sender: when each mirror has answered, all of its messages are with the counter.
    caf::scoped_actor self{s.system};
    for (const auto& each : mirrors)
      self->request(each, caf::infinite, get_atom::value)
          .receive([](std::uint64_t) {}, [](const caf::error&) { FAIL(); });
    self->request(counter, caf::infinite, get_atom::value)
        .receive([](std::uint64_t count) { EXPECT_EQ(count, 16'000U); },
                 [](const caf::error&) { FAIL(); });
    mirrors.clear();
    counter = counter_actor{};
    a.unit.exit_all();
    b.unit.exit_all();
    a.wait_empty();
    b.wait_empty();
    a.stop();
    b.stop();
  }
  EXPECT_EQ(dead.load(), 1);
}

TEST(loop_unit, gives_the_loop_back_although_actors_would_talk_for_ever) {
  running_system s;
  loop_unit unit(s.system, [] {});
  unit.bind();
  std::atomic<int> dead{0};
  std::thread::id died_on;
  auto chatty = spawn_pinned<counter_actor, counter_state>(unit, counting, &dead, &died_on);
  caf::anon_send(chatty, spin_atom::value);
  for (int i = 0; i < 10; ++i)
    EXPECT_TRUE(unit.run());  // each call returns, and says that work is left
  caf::anon_send_exit(chatty, caf::exit_reason::user_shutdown);
  chatty = counter_actor{};
  while (unit.run()) {
  }
  EXPECT_EQ(unit.live(), 0U);
  EXPECT_EQ(dead.load(), 1);
}

TEST(loop_unit, an_exception_ends_the_actor_and_its_monitor_hears_why) {
  running_system s;
  loop_thread loop(s.system);
  std::atomic<int> dead{0};
  std::thread::id died_on;
  auto counter = spawn_pinned<counter_actor, counter_state>(loop.unit, counting, &dead, &died_on);
  {
    caf::scoped_actor self{s.system};
    self->monitor(counter);
    self->send(counter, throw_atom::value);
    self->receive([](const caf::down_msg& message) {
      EXPECT_NE(to_string(message.reason).find("on request"), std::string::npos);
    });
  }
  loop.wait_empty();
  EXPECT_EQ(dead.load(), 1);
  loop.stop();
}

TEST(loop_unit, keeps_an_actor_alive_that_nobody_else_holds) {
  running_system s;
  loop_unit unit(s.system, [] {});
  unit.bind();
  std::atomic<int> dead{0};
  std::thread::id died_on;
  (void)spawn_pinned<counter_actor, counter_state>(unit, counting, &dead, &died_on);
  while (unit.run()) {
  }
  EXPECT_EQ(unit.live(), 1U);
  EXPECT_EQ(dead.load(), 0);
  unit.exit_all();
  while (unit.run()) {
  }
  EXPECT_EQ(unit.live(), 0U);
  EXPECT_EQ(dead.load(), 1);
}

}  // namespace
}  // namespace portcullis::actors

#include "actors/loop_unit.hpp"

#include <caf/scheduler/abstract_coordinator.hpp>

namespace portcullis::actors {
namespace {

constexpr int sweeps_max = 16;
constexpr std::size_t messages_max = 300;

}  // namespace

loop_unit::loop_unit(caf::actor_system& system, std::function<void()> wake)
    : execution_unit(&system), inbox_(*this), wake_(std::move(wake)) {}

loop_unit::~loop_unit() {
  assert(local_.empty() && remote_.empty());
  if (here() == this) here() = nullptr;
}

loop_unit*& loop_unit::here() noexcept {
  static thread_local loop_unit* unit = nullptr;
  return unit;
}

void loop_unit::bind() noexcept { here() = this; }

void loop_unit::exec_later(caf::resumable* job) { system().scheduler().enqueue(job); }

void loop_unit::post(caf::resumable* job) {
  if (here() == this) {
    local_.push_back(job);
    return;
  }
  bool first;
  {
    std::lock_guard guard{mutex_};
    first = remote_.empty();
    remote_.push_back(job);
    remote_waiting_.store(true, std::memory_order_release);
  }
  if (first) wake_();
}

bool loop_unit::run() {
  for (int sweep = 0; sweep < sweeps_max; ++sweep) {
    if (remote_waiting_.load(std::memory_order_acquire)) {
      std::lock_guard guard{mutex_};
      local_.insert(local_.end(), remote_.begin(), remote_.end());
      remote_.clear();
      remote_waiting_.store(false, std::memory_order_relaxed);
    }
    if (local_.empty()) return false;
    sweep_.swap(local_);
    for (auto* job : sweep_) {
      switch (job->resume(this, messages_max)) {
        case caf::resumable::resume_later:
          local_.push_back(job);
          break;
        case caf::resumable::shutdown_execution_unit:
          break;
        case caf::resumable::done:
        case caf::resumable::awaiting_message:
          caf::intrusive_ptr_release(job);
          break;
      }
    }
    sweep_.clear();
  }
  return !local_.empty();
}

void loop_unit::exit_all(caf::exit_reason why) {
  std::vector<caf::strong_actor_ptr> all;
  {
    std::lock_guard guard{mutex_};
    for (const auto& [id, actor] : live_) all.push_back(actor);
  }
  for (const auto& actor : all) caf::anon_send_exit(actor, why);
}

std::size_t loop_unit::live() const {
  std::lock_guard guard{mutex_};
  return live_.size();
}

void loop_unit::joined(caf::strong_actor_ptr actor) {
  const auto id = actor->id();
  std::lock_guard guard{mutex_};
  live_.emplace(id, std::move(actor));
}

caf::strong_actor_ptr loop_unit::left(caf::actor_id id) {
  std::lock_guard guard{mutex_};
  auto node = live_.extract(id);
  return node ? std::move(node.mapped()) : nullptr;
}

}  // namespace portcullis::actors

// The breakers of one shard: by name, in the order of their creation, and what time does to them.
// Pure, like what it holds.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "core/breaker/hosted.hpp"
#include "core/breaker/stored.hpp"
#include "core/session/slot_index.hpp"
#include "core/session/wheel.hpp"

namespace portcullis::core {

/// What all shards of a node share: how many breakers there are, and their numbers by creation.
class breaker_quota {
 public:
  virtual ~breaker_quota() = default;
  /// False: there are `most` already.
  [[nodiscard]] virtual bool take(std::uint32_t most) noexcept = 0;
  /// One that was there before the limit was asked for.
  virtual void take_stored() noexcept = 0;
  virtual void give_back() noexcept = 0;
  [[nodiscard]] virtual std::uint64_t next_number() noexcept = 0;
  /// Which order the numbers are of: another one after a start, and when a shard was loaded anew.
  [[nodiscard]] virtual std::uint64_t order() const noexcept = 0;
  virtual void reordered() noexcept = 0;
};

using breaker_slot = std::uint32_t;
inline constexpr breaker_slot no_breaker = slot_index::none;

/// One thread. A breaker belongs to it from its first call until it is retired.
class breaker_set {
 public:
  struct entry {
    std::variant<std::monostate, hosted_breaker, observed_breaker> what;
    std::uint64_t number = 0;  // by creation
    millis used_at_ms = 0;
    millis scheduled_ms = 0;     // when the wheel comes by; 0: it does not
    std::uint32_t in_wheel = 0;  // how often it is there: an earlier time does not undo a later one
    bool busy = false;           // its owner makes it wait
    [[nodiscard]] hosted_breaker* hosted() noexcept { return std::get_if<hosted_breaker>(&what); }
    [[nodiscard]] observed_breaker* observed() noexcept {
      return std::get_if<observed_breaker>(&what);
    }
  };

  /// `seed`: random, so that no choice of names makes them slow to find. `own`: what the breaker of
  /// the server's own store is called; where several nodes share a log, as this node.
  explicit breaker_set(std::shared_ptr<breaker_quota> quota, std::uint64_t seed = 0,
                       std::string own = std::string(store_breaker))
      : quota_(std::move(quota)), seed_(seed), own_(std::move(own)) {}
  ~breaker_set();
  breaker_set(const breaker_set&) = delete;
  breaker_set& operator=(const breaker_set&) = delete;

  /// Whether it is the one of the server's own store, which takes no caller's place.
  [[nodiscard]] bool is_own(const breaker_name& name) const noexcept {
    return name == breaker_name{own_service, own_};
  }
  /// By which policy it is judged: the stores of all nodes by that of portcullis/store.
  [[nodiscard]] const breaker_policy& policy_in(const breaker_book& book,
                                                const breaker_name& name) const {
    const bool of_a_node = name.service == own_service && own_ != store_breaker;
    return book.of(of_a_node ? breaker_name{own_service, store_breaker} : name);
  }
  [[nodiscard]] breaker_slot find(const breaker_name& name) const noexcept;
  [[nodiscard]] entry& at(breaker_slot slot) noexcept { return *entries_[slot]; }
  [[nodiscard]] const entry& at(breaker_slot slot) const noexcept { return *entries_[slot]; }
  [[nodiscard]] breaker_name name_of(breaker_slot slot) const noexcept;
  [[nodiscard]] breaker_slot slots() const noexcept {
    return static_cast<breaker_slot>(entries_.size());
  }
  [[nodiscard]] bool used(breaker_slot slot) const noexcept {
    return !std::holds_alternative<std::monostate>(entries_[slot]->what);
  }

  /// The one that was found. BREAKER_KIND_CONFLICT: it is of the other kind.
  [[nodiscard]] result<breaker_slot> of_kind(breaker_kind kind, breaker_slot slot) const;
  /// The breaker, made where there is none. BREAKER_KIND_CONFLICT: it is of the other kind;
  /// BREAKER_LIMIT: the node has book.breakers_max. The store's own is not one of them.
  [[nodiscard]] result<breaker_slot> need(breaker_kind kind, const breaker_name& name,
                                          const breaker_book& book, millis now_ms);
  void load(const stored_breaker& stored, const breaker_book& book, millis now_ms);
  void erase(breaker_slot slot);

  /// When it is given up for lack of use, if nothing happens. Absent: an override is in force, a
  /// call under way holds a permit, or it is the store's own.
  [[nodiscard]] std::optional<millis> retires_at_ms(breaker_slot slot,
                                                    const breaker_policy& policy) const noexcept;
  /// To be called after whatever may have moved the time at which something is due.
  void schedule(breaker_slot slot, const breaker_policy& policy, millis now_ms);
  /// Calls `due(slot)` for each that may have something due, at most `limit`. True: there are more.
  template <class Due>
  bool advance(millis now_ms, std::size_t limit, Due&& due) {
    return wheel_.advance(now_ms, limit, [&](breaker_slot slot) {
      auto& each = at(slot);
      --each.in_wheel;
      if (!used(slot) || each.scheduled_ms == 0) return;
      if (each.scheduled_ms <= now_ms) {
        each.scheduled_ms = 0;
        due(slot);
      } else if (each.in_wheel == 0) {  // it is further away than the wheel is wide
        put(slot, each.scheduled_ms, now_ms);
      }
    });
  }

 private:
  breaker_slot add(std::variant<std::monostate, hosted_breaker, observed_breaker> what,
                   const breaker_name& name, std::uint64_t number, millis now_ms);
  [[nodiscard]] std::uint32_t place_of(const breaker_name& name) const noexcept {
    return static_cast<std::uint32_t>(hash_of(name, seed_));
  }

  void put(breaker_slot slot, millis due_ms, millis now_ms) {
    ++at(slot).in_wheel;
    wheel_.add(slot, due_ms, now_ms);
  }

  std::shared_ptr<breaker_quota> quota_;
  std::uint64_t seed_;
  std::string own_;
  std::vector<std::unique_ptr<entry>> entries_;
  std::vector<breaker_slot> free_;
  slot_index by_name_;
  timer_wheel wheel_{4096, 100};  // six minutes by tenths of a second: waits are of seconds
};

}  // namespace portcullis::core

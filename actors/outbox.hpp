// What a shard has to log, in the order applied, until it is handed to the hub and the journal's
// word comes back.
#pragma once
#include <algorithm>
#include <cassert>
#include <deque>
#include <utility>

#include "actors/messages.hpp"

namespace portcullis::actors {

class outbox {
 public:
  outbox(std::uint32_t shard, std::uint64_t incarnation, bool of_breakers = false)
      : shard_(shard), incarnation_(incarnation), of_breakers_(of_breakers) {}

  /// Applied already; waits for space when the disk is full.
  void add(core::event what) { open(plain_, false).events.push_back(std::move(what)); }
  void purge(std::uint64_t session_seq) { open(plain_, false).purges.push_back(session_seq); }
  void add_source(core::breaker_source_record row) {
    open(plain_, false).sources.push_back(std::move(row));
  }
  /// Who waits until what was added with add() is durable.
  void wait_for_applied(awaited whose) { waiting_for_applied_.push_back(whose); }
  /// Applied when it is durable; refused as a whole when the disk is full.
  void add_durable(std::vector<core::event> events, awaited whose) {
    auto& batch = open(durable_, true);
    for (auto& each : events) batch.events.push_back(std::move(each));
    waiting_.push_back(whose);
  }
  /// The same where nodes share a log: a batch of its own, which may be overtaken. Its number.
  std::uint64_t add_shared(std::vector<core::event> events, awaited whose, core::entry_tags tags,
                           std::uint64_t as_of, const core::user_row* made = nullptr,
                           std::optional<core::subject_id> forgotten = std::nullopt) {
    auto batch = std::make_shared<event_batch>();
    batch->durable = true;
    batch->events = std::move(events);
    if (made != nullptr) batch->users.push_back(*made);
    batch->tags = std::move(tags);
    batch->as_of = as_of;
    batch->whose = whose;
    batch->forgotten = forgotten;
    events_in_flight_ += batch->events.size();
    shared_.push_back(number(std::move(batch), {}));
    return last_number_;
  }
  void add_user(core::user_row row) { open(durable_, true).users.push_back(std::move(row)); }

  [[nodiscard]] bool has_applied() const noexcept { return plain_ != nullptr; }
  [[nodiscard]] bool has_durable() const noexcept {
    return durable_ != nullptr || !shared_.empty();
  }
  /// Hands over what has gathered, in order: what is applied already was decided first.
  template <class Send>
  void flush(Send&& send) {
    if (plain_) {
      events_in_flight_ += plain_->events.size();
      send(number(std::move(plain_), std::exchange(waiting_for_applied_, {})));
    }
    if (durable_) {
      events_in_flight_ += durable_->events.size();
      send(number(std::move(durable_), std::exchange(waiting_, {})));
    }
    for (auto& each : std::exchange(shared_, {})) send(std::move(each));
  }
  /// A batch is done with: who waited for it. Nearly always the oldest; with a full disk durable
  /// ones are refused at once while plain ones before them wait for space.
  [[nodiscard]] std::vector<awaited> done(const event_batch& batch) {
    const auto found = std::find_if(in_flight_.begin(), in_flight_.end(),
                                    [&](const sent& each) { return each.number == batch.number; });
    assert(found != in_flight_.end());
    auto whose = std::move(found->waiting);
    in_flight_.erase(found);
    events_in_flight_ -= batch.events.size();
    return whose;
  }
  /// Whether anything is not yet handed over, or handed over and not yet done with.
  [[nodiscard]] bool is_waiting() const noexcept {
    return has_applied() || has_durable() || !in_flight_.empty();
  }
  [[nodiscard]] std::size_t events_in_flight() const noexcept { return events_in_flight_; }
  [[nodiscard]] std::uint64_t incarnation() const noexcept { return incarnation_; }

 private:
  struct sent {
    std::uint64_t number;
    std::vector<awaited> waiting;
  };
  event_batch& open(batch_ptr& which, bool durable) {
    if (!which) {
      which = std::make_shared<event_batch>();
      which->durable = durable;
    }
    return *which;
  }
  batch_ptr number(batch_ptr batch, std::vector<awaited> waiting) {
    batch->shard = shard_;
    batch->incarnation = incarnation_;
    batch->of_breakers = of_breakers_;
    batch->number = ++last_number_;
    in_flight_.push_back({batch->number, std::move(waiting)});
    return batch;
  }

  std::uint32_t shard_;
  std::uint64_t incarnation_;
  bool of_breakers_;
  std::uint64_t last_number_ = 0;
  batch_ptr plain_, durable_;
  std::vector<batch_ptr> shared_;
  std::vector<awaited> waiting_, waiting_for_applied_;
  std::deque<sent> in_flight_;
  std::size_t events_in_flight_ = 0;
};

}  // namespace portcullis::actors

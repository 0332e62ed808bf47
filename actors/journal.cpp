#include "actors/journal.hpp"

#include <algorithm>
#include <cassert>
#include <chrono>

#include "actors/handlers.hpp"
#include "actors/shards.hpp"
#include "actors/stopwatch.hpp"
#include "core/event/checkpoint.hpp"
#include "core/planted.hpp"
#include "monitoring/log.hpp"

namespace portcullis::actors {
namespace {

using monitoring::store_operation;

constexpr auto retry_every = std::chrono::milliseconds(250);
constexpr auto tell_attempts_every = std::chrono::milliseconds(100);
constexpr std::int64_t insist_ns = 1'000'000'000, propose_again_ns = 5'000'000'000;

bool forgets(const event_batch& batch) {
  return std::any_of(batch.events.begin(), batch.events.end(), [](const core::event& each) {
    return each.type() == core::event_type::user_forgotten;
  });
}

}  // namespace

journal_actor::behavior_type journal_behaviour(journal_actor::stateful_pointer<journal_worker> self,
                                               journal_actor_options options) {
  set_default_handlers(self);
  auto& state = self->state;
  state.start(self, std::move(options));
  return {
      [&state](log_events& order) { state.on(order); },
      [&state](flush_atom) { state.flush_due(); },
      [&state](slice_atom) { state.slice(); },
      [&state](read_sessions& question) { return state.on(question); },
      [&state](query_log& question) { return state.on(question); },
      [&state](find_in_store& question) { return state.on(question); },
      [&state](back_up& order) { return state.on(order); },
      [&state](rewrap_keys& order) { return state.on(order); },
      [&state](load_shards& question) { return state.on(question); },
      [&state](read_tenants& question) { return state.on(question); },
      [&state](load_breakers& question) { return state.on(question); },
      [&state](await_commits& question) { return state.on(question); },
      [&state](collect_journal& question) { return state.on(question); },
      [&state](store_gate& gate) { state.on(gate); },
      [&state](want_log_time& wanted) { state.on(wanted); },
      [&state](decision_refused& refused) { state.on(refused); },
      [&state](read_snapshot& question) { return state.on(question); },
      [&state](tick_atom) { state.tell_attempts(); },
      [&state](sign_atom) { state.sign_due(); },
      [&state](erase_atom) { state.erase_due(); },
      [&state](node_peers& peers) { state.on(peers); },
      [&state](stop_atom) { return state.stop(); },
  };
}

void journal_worker::start(journal_actor::stateful_pointer<journal_worker> self,
                           journal_actor_options options) {
  self_ = self;
  options_ = std::move(options);
  tallies_.incarnation = 1;
  tallies_.replay_ns = options_.replay_ns;
  checkpoint_seq_ = options_.log->last_seq();
  checkpoint_at_ms_ = std::max(options_.log->last_at_ms(),
                               options_.clock != nullptr ? options_.clock->now_ms() : 0);
}

void journal_worker::on(log_events& order) {
  auto batch = std::move(order.batch);
  if (degraded_ && batch->durable && !batch->numbered) return refuse(std::move(batch), trouble_);
  queued_events_ += batch->events.size();
  if (batch->numbered && queued_events_ > core::limits::journal_queue_events_max)
    return options_.fatal(trouble_);  // it cannot follow the log that is shared
  queue_.push_back(std::move(batch));
  if (flush_sent_ || degraded_) return;
  flush_sent_ = true;
  // Goes behind whatever waits in the mailbox by now: that becomes part of the same commit.
  self_->send(self_, flush_atom::value);
}

void journal_worker::on(node_peers& peers) {
  peers_ = std::move(peers);
  // Who was started again meanwhile has not heard of it.
  if (degraded_) tell_shards({true, trouble_});
}

void journal_worker::number(event_batch& batch) {
  if (batch.numbered) {
    if (batch.events.empty()) return;
    assert(batch.events.front().seq == options_.log->last_seq() + 1);
    if (batch.events.front().type() == core::event_type::checkpoint) {
      checkpoint_seq_ = batch.events.front().seq;
      checkpoint_at_ms_ = batch.events.front().at_ms;
    }
    for (const auto& each : batch.events)
      if (each.type() == core::event_type::user_forgotten) traces_left_ = true;
    return;
  }
  auto seq = options_.log->last_seq();
  auto at_ms = options_.log->last_at_ms();
  for (auto& each : batch.events) {
    each.seq = ++seq;
    at_ms = std::max(at_ms, each.decided_at_ms);
    each.at_ms = at_ms;
    if (each.type() == core::event_type::session_created) each.session_seq = seq;
    if (auto* checkpoint = std::get_if<core::checkpoint>(&each.body)) {  // alone in its batch
      *checkpoint = core::make_checkpoint(
          {options_.log->last_seq(), options_.log->last_at_ms(), options_.log->last_mac()},
          *options_.signer);
      checkpoint_seq_ = seq;
      checkpoint_at_ms_ = at_ms;
    }
    if (each.type() == core::event_type::user_forgotten) traces_left_ = true;
  }
}

bool journal_worker::append(event_batch& batch, core::error& why) {
  number(batch);
  const stopwatch watch;
  const auto ok = options_.log->append(batch.events, batch.users, batch.purges, batch.sources);
  tallies_.took(store_operation::append, watch.ns());
  if (ok) return true;
  why = ok.error();
  fail(store_operation::append, why);
  return false;
}

void journal_worker::flush_due() {
  flush_sent_ = false;
  if (degraded_ && !gate_.open) return;  // the breaker says when
  flush();
}

void journal_worker::flush_now() {
  if (!degraded_) flush();  // otherwise it is tried every while already
}

void journal_worker::flush() {
  if (dead_) return;
  std::vector<batch_ptr> appended;
  std::size_t events = 0;
  while (!queue_.empty() && !dead_) {
    core::error why;
    if (!append(*queue_.front(), why)) {
      if (store::is_fatal(why)) return;
      if (why.code == core::error_code::STORE_FULL) {
        give_back(appended);
        attempted(false, 0);
        return degrade(why);
      }
      if (queue_.front()->numbered) return options_.fatal(why);  // the log has it all the same
      // The rows themselves were refused: nobody else's are lost with them.
      auto bad = std::move(queue_.front());
      queue_.pop_front();
      queued_events_ -= bad->events.size();
      refuse(std::move(bad), why);
      if (!options_.log->in_transaction()) {  // a damaged page takes the whole transaction along
        give_back(appended);
        events = 0;
      }
      continue;
    }
    events += queue_.front()->events.size();
    queued_events_ -= queue_.front()->events.size();
    appended.push_back(std::move(queue_.front()));
    queue_.pop_front();
    if (core::is_planted("early_ack")) acknowledge(std::exchange(appended, {}));
    if (events < core::limits::commit_events_max) continue;
    if (!commit(appended)) return;
    events = 0;
  }
  if (!appended.empty() && !commit(appended)) return;
  if (options_.log->in_transaction()) options_.log->rollback();  // only refused rows were in it
  if (degraded_) recover();
  checkpoint_if_due();
  retain_if_due();
  move_log_if_wanted();
}

/// The write-ahead log into the database file.
void journal_worker::move_log_if_wanted() {
  if (dead_ || !options_.log->wants_checkpoint()) return;
  const stopwatch watch;
  const auto ok = options_.log->checkpoint();
  tallies_.took(store_operation::checkpoint, watch.ns());
  if (!ok) fail(store_operation::checkpoint, ok.error());
}

bool journal_worker::commit(std::vector<batch_ptr>& appended) {
  const stopwatch watch;
  const auto ok = options_.log->commit();
  tallies_.took(store_operation::commit, watch.ns());
  if (!dead_) attempted(static_cast<bool>(ok), watch.ns());
  if (ok) {
    if (traces_left_) erase_traces();
    acknowledge(std::exchange(appended, {}));
    return true;
  }
  fail(store_operation::commit, ok.error());
  if (dead_) return false;
  give_back(appended);
  degrade(ok.error());
  return false;
}

void journal_worker::acknowledge(std::vector<batch_ptr> done) {
  for (const auto& batch : done) {
    tallies_.appends += batch->events.size();
    if (traces_left_ && forgets(*batch))
      unerased_.push_back(batch);
    else
      tell_owner(batch, {batch, false, {}});
    if (batch != checkpoint_) continue;
    checkpoint_.reset();
    tell_log_time();
  }
  self_->send(peers_.hub, events_durable{std::move(done)});
}

/// The pages that held a forgotten user's row are not on the disk any more when it is told.
void journal_worker::erase_traces() {
  const stopwatch watch;
  const auto ok = options_.log->truncate_log();
  tallies_.took(store_operation::checkpoint, watch.ns());
  if (!ok) {
    fail(store_operation::checkpoint, ok.error());
    if (dead_ || std::exchange(erase_sent_, true)) return;
    return self_->delayed_send(self_, retry_every, erase_atom::value);
  }
  traces_left_ = false;
  for (const auto& batch : std::exchange(unerased_, {})) tell_owner(batch, {batch, false, {}});
}

void journal_worker::erase_due() {
  erase_sent_ = false;
  if (traces_left_ && !dead_) erase_traces();
}

/// Looks again by the clock as long as anything is not signed: the last event of a day may have
/// none after it.
void journal_worker::checkpoint_if_due() {
  if (!options_.signer || dead_ || degraded_ || checkpoint_) return;
  if (checkpoint_behind_ != 0) return propose_again();
  const auto seq = options_.log->committed_seq();
  if (seq <= checkpoint_seq_) return;
  const auto now_ms = std::max(options_.clock->now_ms(), options_.log->committed_at_ms());
  const auto left_ms = checkpoint_at_ms_ + core::limits::checkpoint_ms - now_ms;
  if (seq >= checkpoint_seq_ + core::limits::checkpoint_events || left_ms <= 0)
    return add_checkpoint();
  if (std::exchange(sign_sent_, true)) return;
  self_->delayed_send(self_,
                      std::chrono::milliseconds(std::min(left_ms, core::limits::checkpoint_ms)),
                      sign_atom::value);
}

void journal_worker::sign_due() {
  sign_sent_ = false;
  checkpoint_if_due();
}

void journal_worker::add_checkpoint() {
  if (!options_.signer || degraded_ || checkpoint_) return;
  auto batch = std::make_shared<event_batch>();
  core::event what;
  what.at_ms = what.decided_at_ms = std::max(options_.clock->now_ms(), options_.log->last_at_ms());
  what.body = core::checkpoint{};
  if (peers_.fleet) {
    if (const auto left_ns = propose_not_before_ns_ - options_.clock->mono_ns(); left_ns > 0) {
      if (!std::exchange(sign_sent_, true))
        self_->delayed_send(self_, std::chrono::nanoseconds(left_ns), sign_atom::value);
      return;
    }
    return propose_checkpoint(std::move(batch), std::move(what));
  }
  batch->events.push_back(std::move(what));
  checkpoint_ = batch;
  log_events order{std::move(batch)};
  on(order);
}

/// Where nodes share the log: only as the very next event, as it tells of the one before.
void journal_worker::propose_checkpoint(batch_ptr batch, core::event what) {
  what.body = core::make_checkpoint(
      {options_.log->last_seq(), options_.log->last_at_ms(), options_.log->last_mac()},
      *options_.signer);
  batch->as_of = options_.log->last_seq();
  batch->exact = true;
  batch->events.push_back(std::move(what));
  checkpoint_ = batch;
  proposed_after_ = checkpoint_seq_;
  self_->send(peers_.fleet, log_events{std::move(batch)});
}

/// Another node was faster. The others are kept back for a moment: as soon as the end is known it
/// is proposed once more, and then not for some time.
void journal_worker::on(const decision_refused& refused) {
  if (refused.batch != checkpoint_) return;
  checkpoint_.reset();
  const auto mono_ns = options_.clock->mono_ns();
  if (!refused.overtaken || mono_ns < insist_until_ns_) {
    propose_not_before_ns_ = mono_ns + propose_again_ns;
    return checkpoint_if_due();  // sets the timer: nothing else may come to do so
  }
  insist_until_ns_ = mono_ns + insist_ns;
  checkpoint_behind_ = refused.end;
  propose_again();
}

void journal_worker::propose_again() {
  if (options_.log->last_seq() < checkpoint_behind_) return;
  checkpoint_behind_ = 0;
  if (checkpoint_seq_ == proposed_after_) add_checkpoint();  // else another node has made one
}

void journal_worker::on(const want_log_time& wanted) {
  if (dead_) return;
  if (options_.log->committed_at_ms() >= wanted.at_ms) return tell_log_time();
  add_checkpoint();
}

/// A shard hears of its own events only: a quiet one would keep what has ended for ever.
void journal_worker::tell_log_time() {
  for (const auto& session : peers_.sessions)
    self_->send(session, log_time{options_.log->committed_at_ms()});
}

void journal_worker::refuse(batch_ptr batch, const core::error& why) {
  if (!batch->durable)  // what it tells has happened: the log lacks it
    monitoring::log::write(core::log_level::error, monitoring::component::store,
                           "Events were refused by the store and are lost.",
                           {{"event.action", "events_lost"},
                            {"events", static_cast<std::int64_t>(batch->events.size())},
                            {"rule", std::string(why.rule)}});
  if (batch == checkpoint_) checkpoint_.reset();
  tell_owner(batch, {batch, true, why});
}

void journal_worker::tell_owner(const batch_ptr& batch, events_committed done) {
  if (batch->shard == event_batch::node || (batch->numbered && !batch->events.empty())) return;
  if (batch->of_breakers)
    self_->send(peers_.breakers[batch->shard], std::move(done));
  else
    self_->send(peers_.sessions[batch->shard], std::move(done));
}

void journal_worker::give_back(std::vector<batch_ptr>& appended) {
  for (auto at = appended.rbegin(); at != appended.rend(); ++at) {
    queued_events_ += (*at)->events.size();
    queue_.push_front(std::move(*at));
  }
  appended.clear();
}

void journal_worker::degrade(const core::error& why) {
  trouble_ = why;
  // Durable decisions are refused undecided, in their order; what is applied already waits for
  // space.
  std::deque<batch_ptr> kept;
  for (auto& batch : queue_) {
    if (batch->durable && !batch->numbered) {
      queued_events_ -= batch->events.size();
      refuse(std::move(batch), why);
    } else {
      kept.push_back(std::move(batch));
    }
  }
  queue_ = std::move(kept);
  if (!degraded_) {
    degraded_ = true;
    if (!peers_.fleet) tell_shards({true, why});  // else the log is there all the same
    if (peers_.log) self_->send(peers_.log, store_state_changed{true, why});
    auto batch = std::make_shared<event_batch>();
    core::event what;
    what.decided_at_ms = options_.log->last_at_ms();
    what.body = core::store_degraded{std::string(core::describe(why.code).name)};
    batch->events.push_back(std::move(what));
    if (peers_.fleet) {
      self_->send(peers_.fleet, log_events{std::move(batch)});
    } else {
      queued_events_ += 1;
      queue_.push_back(std::move(batch));
    }
  }
  try_again();
}

/// While the breaker is closed; when it has opened, it says when.
void journal_worker::try_again() {
  if (flush_sent_ || !gate_.open) return;
  flush_sent_ = true;
  self_->delayed_send(self_, retry_every, flush_atom::value);
}

void journal_worker::on(const store_gate& gate) {
  gate_ = gate;
  if (!degraded_ || !gate_.open) return;
  // A permit is for now. Without one the way is free again: as before.
  if (gate_.permit)
    flush();
  else
    try_again();
}

/// Tells the breaker. Failures at once, successes now and then: there are a thousand a second.
void journal_worker::attempted(bool good, std::uint64_t ns) {
  attempts_.all.push_back({good, static_cast<core::millis>(ns / 1'000'000)});
  attempts_.permit = std::exchange(gate_.permit, std::nullopt);
  const auto now = std::chrono::steady_clock::now();
  if (!good || attempts_.permit || now - attempts_told_ >= tell_attempts_every)
    return tell_attempts();
  if (std::exchange(tell_sent_, true)) return;
  self_->delayed_send(self_, tell_attempts_every, tick_atom::value);
}

void journal_worker::tell_attempts() {
  tell_sent_ = false;
  attempts_told_ = std::chrono::steady_clock::now();
  if (attempts_.all.empty() || peers_.breakers.empty()) return;
  const auto shards = static_cast<std::uint32_t>(peers_.breakers.size());
  self_->send(peers_.breakers[shard_of_service(core::own_service, shards)],
              std::exchange(attempts_, {}));
}

void journal_worker::recover() {
  degraded_ = false;
  if (!peers_.fleet) tell_shards({false, {}});
  if (peers_.log) self_->send(peers_.log, store_state_changed{false, {}});
  auto batch = std::make_shared<event_batch>();
  core::event what;
  what.decided_at_ms = options_.log->last_at_ms();
  what.body = core::store_recovered{};
  batch->events.push_back(std::move(what));
  log_events order{std::move(batch)};
  if (peers_.fleet) return self_->send(peers_.fleet, std::move(order));
  on(order);
}

void journal_worker::tell_shards(const store_state_changed& change) {
  for (const auto& session : peers_.sessions) self_->send(session, change);
  for (const auto& breakers : peers_.breakers) self_->send(breakers, change);
  for (const auto& gateway : peers_.gateways) self_->send(gateway, change);
}

void journal_worker::fail(store_operation operation, const core::error& why) {
  using monitoring::store_failure;
  auto kind = store_failure::unavailable;
  if (why.code == core::error_code::STORE_FULL) kind = store_failure::full;
  if (why.code == core::error_code::STORE_INTEGRITY || why.code == core::error_code::LOG_CORRUPT)
    kind = store_failure::integrity;
  tallies_.failed(operation, kind);
  if (!store::is_fatal(why) || dead_) return;
  dead_ = true;
  options_.fatal(why);
}

journal_collected journal_worker::on(const collect_journal&) {
  auto tallies = tallies_;
  tallies.queue_events = queued_events_;
  tallies.log_bytes = options_.log->size_bytes();
  tallies.degraded = degraded_ || dead_;
  return {tallies, self_->mailbox().size()};
}

bool journal_worker::stop() {
  flush();
  if (!dead_ && !peers_.fleet &&
      options_.log->last_seq() > checkpoint_seq_) {  // signed to its very end
    add_checkpoint();
    flush();
  }
  if (dead_ || degraded_) return false;
  dead_ = true;
  return static_cast<bool>(options_.log->close());
}

}  // namespace portcullis::actors

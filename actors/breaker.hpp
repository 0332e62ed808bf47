// The breaker actor: one a shard, pinned to its loop. Owns the breakers of the shard's services;
// decisions are core's, this is who waits for what. No reply tells a change of state that is not
// durable, as long as the disk takes events.
#pragma once
#include <deque>
#include <set>
#include <unordered_map>

#include "actors/breaker_probers.hpp"
#include "actors/interfaces.hpp"
#include "actors/outbox.hpp"
#include "actors/pinned.hpp"
#include "actors/replier.hpp"
#include "core/breaker/set.hpp"
#include "core/clock.hpp"
#include "core/replay/breaker_standings.hpp"

namespace portcullis::actors {

struct breaker_options {
  std::uint32_t shard = 0, shards = 1, loop = 0;
  std::uint64_t incarnation = 1;
  std::shared_ptr<const core::policy_book> policies;
  core::random_source random;
  core::clock* clock = nullptr;
  std::shared_ptr<core::breaker_quota> quota;  // the node's
  std::vector<core::stored_breaker> stored;
  net::reply_port* replies = nullptr;
  std::function<void(const core::reply&, std::string&)> encode;
  std::shared_ptr<batch_pool> pool;
  std::size_t events_in_flight_max = core::limits::journal_queue_events_max;
  std::shared_ptr<const core::fleet_keys> fleet;  // where nodes share a log; null: alone
  std::string node_id;                            // there: this node's
  std::uint64_t position = 0;                     // there: of the log, that `stored` is of
  std::shared_ptr<known_probers> probers;         // there: the shard's
};

class breaker_shard;
using breaker_self = pinned_actor<breaker_actor, breaker_shard>;
breaker_actor::behavior_type breaker_behaviour(breaker_self* self, breaker_options options);

class breaker_shard {
 public:
  void start(breaker_self* self, breaker_options options);
  void on(request_batch& batch);
  void on(events_committed& done);
  void on(log_advanced& news);
  void on(decision_refused& refused);
  void on(const caught_up& answer);
  caf::result<breakers_listed> on(const list_breakers_after& question);
  breakers_collected on(const collect_breakers&);
  void on(policies_changed& change);
  void on(const store_state_changed& change);
  void on(const store_attempts& attempts);
  void on(wire_breakers& peers);
  caf::result<stood_still> on(const stand_still& order);
  breakers_digested on(const take_digest& question) const;
  void on(const go_on& order);
  void tick();
  void finish();
  static constexpr const char* name = "breaker";

 private:
  /// An override or a reset, until it is durable.
  struct command {
    inbound request;
    core::event what;
    std::uint64_t awaits = 0;
  };
  struct held_reply {
    inbound request;
    core::reply reply;
  };
  /// Requests of one breaker, in order. What has changed and what was decided wait for the disk,
  /// the others for that.
  struct hold {
    std::uint64_t changed_awaits = 0;  // the last of the batches that must be durable; 0: none
    std::optional<command> decided;
    std::vector<held_reply> replies;
    std::deque<inbound> waiting;
    // Where nodes share a log.
    std::uint64_t behind = 0;  // > 0: one was overtaken; all is taken again when that was read
    bool changed_overtaken = false, decided_overtaken = false;
    bool retires = false;  // what has changed is that it is given up
  };
  /// breaker.list, until what it tells is durable.
  struct held_listing {
    list_breakers_after question;
    std::uint64_t awaits = 0;  // all holds up to this one
    caf::typed_response_promise<breakers_listed> promise;
  };

  void take(inbound& request);
  void acquire(inbound& request, core::breaker_slot slot);
  void report(inbound& request, core::breaker_slot slot, const core::report_call& call);
  void report(inbound& request, core::breaker_slot slot, const core::report_calls& batch);
  void observe(inbound& request, core::breaker_slot slot, const core::observe_breaker& report);
  void advance(core::breaker_slot slot);
  void show(inbound& request, core::breaker_slot slot);
  void command_override(inbound& request, core::breaker_slot slot,
                        const core::override_breaker& order);
  void command_reset(inbound& request, core::breaker_slot slot, const core::reset_breaker& order);
  void decide(inbound& request, core::breaker_slot slot, std::optional<core::event_body> body);
  void answer(inbound& request, core::breaker_slot slot, core::reply reply);
  void fail(const inbound& request, const core::error& why) { replies_->fail(request, why); }
  void log_changes(core::breaker_slot slot, const std::string& correlation_id);
  void tell_journal();
  void save_sources(core::breaker_slot slot);
  void due(core::breaker_slot slot);
  void release(core::breaker_slot slot);
  void settled(awaited whose, bool refused, const core::error& why);
  void forget(core::breaker_slot slot);
  void answer_listings();
  [[nodiscard]] breakers_listed list(const list_breakers_after& question);
  void age(core::breaker_slot slot);
  void take_attempts(const store_attempts& attempts);
  /// Past it nothing changes by time any more, and new requests are refused.
  [[nodiscard]] bool is_full() const {
    return outbox_->events_in_flight() > options_.events_in_flight_max;
  }
  void tally_calls();
  void tally(core::breaker_slot slot, core::calls_tallied& to);

  // Where nodes share a log: breaker_nodes.cpp.
  void join_nodes();
  [[nodiscard]] core::result<core::breaker_slot> need(core::breaker_kind kind,
                                                      core::breaker_name whose);
  void adopt(core::breaker_slot slot);
  [[nodiscard]] bool decides_alone(core::breaker_slot slot) const {
    return store_trouble_ || catching_up_ || diverged_.contains(slot);
  }
  /// What policy says of all calls while the shared log is away; absent: this node decides.
  [[nodiscard]] std::optional<core::hosted_breaker::admission> admitted_without_log(
      core::breaker_slot slot);
  [[nodiscard]] bool is_mine(std::string_view service) const;
  /// The one that stands before this node's own store, or another node's.
  [[nodiscard]] bool is_of_a_store(core::breaker_slot slot) const {
    if (!options_.fleet) return slot == store_;
    return breakers_->name_of(slot).service == core::own_service;
  }
  [[nodiscard]] bool is_gone(std::uint64_t writer, core::millis since_ms) const;
  [[nodiscard]] bool is_alone(core::breaker_slot slot) const;
  [[nodiscard]] static bool is_observed_elsewhere(const core::stored_breaker& stored);
  [[nodiscard]] bool is_awaited(const awaited& whose) const;
  [[nodiscard]] core::breaker_standings::name key_of(core::breaker_slot slot) const;
  void look_who_is_alone();
  void learn_prober(const core::event& what, std::uint64_t writer);
  void learn_probers(const event_batch& batch);
  [[nodiscard]] std::uint64_t writer_of(const event_batch& batch) const;
  void let_try(core::breaker_slot slot);
  [[nodiscard]] core::entry_tags tags_of(core::breaker_slot slot) const;
  void share_changes(core::breaker_slot slot, const std::string& correlation_id);
  std::uint64_t share(core::breaker_slot slot, std::vector<core::event> events);
  void share_retirement(core::breaker_slot slot);
  void take_own(const event_batch& batch);
  void take_others(const event_batch& batch, std::set<core::breaker_slot>& counted);
  void take_others(const core::event& what, std::uint64_t writer);
  void take_over_logged(core::breaker_slot slot);
  void try_overtaken();
  void resume(core::breaker_slot slot);
  void want_end();
  void look_for_probers();
  [[nodiscard]] core::millis tally_every_ms() const;
  void look_whether_still();
  void flush();
  [[nodiscard]] core::event draft(core::event_body body) const;
  [[nodiscard]] const core::breaker_policy& policy_of(core::breaker_slot slot) const;
  [[nodiscard]] core::breaker_row describe(core::breaker_slot slot) const;

  breaker_self* self_ = nullptr;
  breaker_options options_;
  std::optional<core::breaker_set> breakers_;
  std::optional<outbox> outbox_;
  std::optional<replier> replies_;
  wire_breakers peers_;
  std::unordered_map<core::breaker_slot, hold> holds_;
  std::vector<held_listing> listings_;
  std::uint64_t last_wait_ = 0;
  mutable std::vector<const core::breaker_policy*> policies_;  // by slot, as found; null: look
  core::breaker_slot store_ = core::no_breaker;  // the store's own breaker, where it lives here
  std::vector<store_attempts> attempts_;         // that came while it was being overruled
  std::optional<core::breaker_permit> store_permit_;  // that the journal was told last
  bool was_full_ = false;
  std::vector<core::event_body> changes_;     // of the call under way
  std::vector<core::breaker_slot> reported_;  // observed, with sources to be saved
  std::optional<core::error> store_trouble_;
  stillness still_;
  caf::typed_response_promise<stood_still> still_promise_;
  bool wired_still_ = false;                // while it stood still
  std::vector<request_batch> kept_;         // that came while it stood still
  std::vector<core::call_counts> tallied_;  // by slot, as the log was told last
  core::millis now_ms_ = 0, saved_at_ms_ = 0, tallied_at_ms_ = 0;

  // Where nodes share a log.
  std::uint64_t position_ = 0;             // of it, that this actor knows
  core::breaker_standings logged_;         // what it says; what is in force here may be ahead
  std::set<core::breaker_slot> guests_;    // half-open, and another node's to try
  std::set<core::breaker_slot> diverged_;  // decided on without the log, which is taken over next
  std::unordered_map<core::breaker_slot, unsigned> overtaken_;  // how often in a row
  std::shared_ptr<const fleet_members> members_;
  bool catching_up_ = false, end_asked_ = false;
};

}  // namespace portcullis::actors

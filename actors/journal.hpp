// The journal actor: on its own thread, the only one that touches the store. Numbers events,
// commits in groups, tells the shards and the hub, and serves reads in slices between commits
// (docs/decisions/0004: why it numbers, not the hub).
#pragma once
#include <chrono>
#include <deque>

#include "actors/interfaces.hpp"
#include "core/clock.hpp"
#include "core/crypto/sign.hpp"
#include "store/journal.hpp"

namespace portcullis::actors {

struct journal_actor_options {
  std::shared_ptr<store::journal> log;  // opened; used by this actor's thread only from here on
  std::uint32_t shards = 1;
  core::random_source random;
  std::function<void(const core::error&)> fatal;  // an IO error: the process must stop (hazards H9)
  std::uint64_t replay_ns = 0;
  core::clock* clock = nullptr;                            // may be null without a signer
  std::optional<core::signing_key> signer = std::nullopt;  // absent: no checkpoints, no retention
  core::millis touches_kept_ms = 0, events_kept_ms = 0;    // 0: for ever
};

class journal_worker {
 public:
  void start(journal_actor::stateful_pointer<journal_worker> self, journal_actor_options options);
  void on(log_events& order);
  void flush_due();
  void tell_attempts();
  void sign_due();
  void erase_due();
  void slice();
  caf::result<sessions_read> on(read_sessions& question);
  caf::result<log_queried> on(query_log& question);
  caf::result<found_in_store> on(find_in_store& question);
  caf::result<backup_done> on(back_up& order);
  caf::result<keys_rewrapped> on(rewrap_keys& order);
  shards_loaded on(const load_shards& question);
  breakers_loaded on(const load_breakers& question);
  tenants_read on(const read_tenants&);
  commits_done on(const await_commits&);
  void on(const store_gate& gate);
  void on(const want_log_time& wanted);
  void on(const decision_refused& refused);
  snapshot_read on(const read_snapshot& question);
  journal_collected on(const collect_journal&);
  void on(node_peers& peers);
  bool stop();
  static constexpr const char* name = "journal";

 private:
  void flush();
  void flush_now();
  struct read_job {
    std::function<bool()> step;  // true: done, and delivered
  };
  void number(event_batch& batch);
  bool append(event_batch& batch, core::error& why);
  bool commit(std::vector<batch_ptr>& appended);
  void acknowledge(std::vector<batch_ptr> done);
  void checkpoint_if_due();
  void add_checkpoint();
  void propose_checkpoint(batch_ptr batch, core::event what);
  void propose_again();
  void tell_log_time();
  void erase_traces();
  void move_log_if_wanted();
  void retain_if_due();
  template <class Job>
  void add_retention(std::shared_ptr<Job> work, void (journal_worker::*then)());
  void cut_log();
  void retention_done() { retaining_ = false; }
  void log_is_cut();
  void retention_failed(const core::error& why);
  void attempted(bool good, std::uint64_t ns);
  void try_again();
  void tell_owner(const batch_ptr& batch, events_committed done);
  void refuse(batch_ptr batch, const core::error& why);
  void give_back(std::vector<batch_ptr>& appended);
  void degrade(const core::error& why);
  void recover();
  void tell_shards(const store_state_changed& change);
  void add_job(read_job job);
  void fail(monitoring::store_operation operation, const core::error& why);

  journal_actor::stateful_pointer<journal_worker> self_ = nullptr;
  journal_actor_options options_;
  node_peers peers_;
  std::deque<batch_ptr> queue_;
  std::size_t queued_events_ = 0;
  store_gate gate_;
  store_attempts attempts_;
  std::chrono::steady_clock::time_point attempts_told_;
  // To itself; the first, while degraded, and the third delayed.
  bool flush_sent_ = false, slice_sent_ = false, tell_sent_ = false;
  bool sign_sent_ = false, erase_sent_ = false;  // delayed
  bool degraded_ = false, dead_ = false;
  std::uint64_t checkpoint_seq_ = 0;  // of the last checkpoint, or of where this process began
  core::millis checkpoint_at_ms_ = 0;
  batch_ptr checkpoint_;  // that is not on the disk yet
  // Where nodes share the log: one was refused, and is proposed again when this was read.
  std::uint64_t checkpoint_behind_ = 0, proposed_after_ = 0;
  std::int64_t insist_until_ns_ = 0, propose_not_before_ns_ = 0;
  bool retaining_ = false, log_is_corrupt_ = false;
  core::millis retained_at_ms_ = 0;
  std::uint64_t cut_told_ = 0;
  // Of a forgotten user, in the write-ahead log; at the start, too: the process before may have
  // died between the commit and the erasing.
  bool traces_left_ = true;
  std::vector<batch_ptr> unerased_;  // committed; their owners hear of it when that is gone
  core::error trouble_;
  std::deque<read_job> jobs_;
  monitoring::journal_tallies tallies_;
};

journal_actor::behavior_type journal_behaviour(journal_actor::stateful_pointer<journal_worker> self,
                                               journal_actor_options options);

}  // namespace portcullis::actors

// The fleet actor: one node's hand on the log that several nodes share (docs/cluster.md). What this
// node decides goes there through it, and what all decide comes from there: to the shards, which
// apply it, and to the journal, which keeps it in the node's own store. Pinned to a loop of its
// own.
#pragma once
#include <deque>
#include <map>
#include <set>

#include "actors/alias_book.hpp"
#include "actors/interfaces.hpp"
#include "actors/pinned.hpp"
#include "core/clock.hpp"
#include "store/fleet/shared_log.hpp"

namespace portcullis::actors {

struct fleet_options {
  core::clock* clock = nullptr;
  std::shared_ptr<alias_book> aliases = std::make_shared<alias_book>();  // the node's
  std::uint64_t position = 0;                                            // of the node's own store
  core::millis last_at_ms = 0;                                           // and its last event's
  std::string node_id;
  core::millis started_at_ms = 0;
  /// Opens the shared log on the actor's loop, for this reader.
  std::function<core::result<std::unique_ptr<store::fleet::shared_log>>(
      store::fleet::shared_log_reader&, std::uint64_t position)>
      open;
  std::function<void()> first_read;               // the log has been read for the first time
  std::function<void(const core::error&)> fatal;  // the process stops at once
};

class fleet_link;
using fleet_self = pinned_actor<fleet_actor, fleet_link>;
fleet_actor::behavior_type fleet_behaviour(fleet_self* self, fleet_options options);

class fleet_link : public store::fleet::shared_log_reader {
 public:
  void start(fleet_self* self, fleet_options options);
  void on(log_events& order);
  void on(const catch_up& question);
  caf::result<shards_loaded> on(load_shards& question);
  caf::result<tenants_read> on(read_tenants& question);
  caf::result<breakers_loaded> on(load_breakers& question);
  caf::result<commits_done> on(await_commits& question);
  fleet_collected on(const collect_fleet&) const;
  log_held on(const hold_log& order);
  void on(const go_on& order);
  members_listed on(const list_members&) const {
    return {reachable_ ? members_ : std::vector<store::fleet::member>()};
  }
  void on(const shard_down& change);
  void on(const breakers_down& change);
  void on(const login_changed& change);
  void on(const log_was_cut& change);
  void on(node_peers& peers);
  void close();
  caf::result<bool> stop();
  static constexpr const char* name = "fleet";

  void read(std::vector<store::fleet::entry> entries, std::uint64_t position,
            std::int64_t fresh_ns) override;
  void refused(const store::fleet::refusal& what) override;
  void reached(bool reachable, const core::error& why) override;
  void describe(store::fleet::member& self) override;
  void met(const std::vector<store::fleet::member>& members) override;
  void broken(const core::error& why) override;

 private:
  /// What waits for all that was sent before.
  struct behind {
    std::uint64_t number = 0;
    bool all = false;  // also for what only tells: that can last for as long as Redis is away
    std::function<void()> go;
  };

  template <class Answer, class Question>
  caf::result<Answer> behind_all(Question& question);
  void look_who_waits();
  [[nodiscard]] bool is_through(const behind& what) const;
  void ask_for_end();
  void tell_caught_up();
  void publish_cut();
  void publish(std::uint64_t seq, std::uint64_t part);
  void tell(std::vector<store::fleet::entry> entries, std::uint64_t position,
            std::int64_t fresh_ns);
  void open();
  void append(batch_ptr batch);
  [[nodiscard]] batch_ptr batch_of(store::fleet::entry& from);
  void number(event_batch& batch, std::uint64_t first_seq);
  [[nodiscard]] std::vector<bool> shards_of(const event_batch& batch) const;
  void look_at_load();
  void tell_store(bool degraded, const core::error& why);
  void tell_breakers(std::vector<batch_ptr> batches);
  [[nodiscard]] log_advanced news_for_breakers(std::vector<batch_ptr> batches) const;
  void answer(const catch_up& who, caught_up what);

  fleet_self* self_ = nullptr;
  fleet_options options_;
  std::unique_ptr<store::fleet::shared_log> log_;
  node_peers peers_;
  std::map<std::uint64_t, batch_ptr> sent_;  // by the shared log's numbers
  std::deque<behind> behind_;
  // Shards that want to know all that is in the log.
  std::vector<catch_up> wants_end_;  // asked of the store next
  struct told_at {
    std::uint64_t end = 0;
    std::vector<catch_up> who;
  };
  std::deque<told_at> ends_;  // known, and not yet read
  bool asking_end_ = false;
  // What was read while the log was held.
  struct reading {
    std::vector<store::fleet::entry> entries;
    std::uint64_t position = 0;
    std::int64_t fresh_ns = 0;
  };
  std::vector<reading> held_;
  stillness still_;
  std::uint64_t last_number_ = 0;
  std::uint64_t position_ = 0;
  core::millis last_at_ms_ = 0;
  std::int64_t fresh_ns_ = 0;
  std::vector<std::optional<std::vector<log_advanced>>> kept_;  // by shard, while it is down
  std::vector<std::optional<std::vector<log_advanced>>> kept_for_breakers_;
  std::uint64_t breakers_know_ = 0,
                breakers_want_ = 0;  // up to where they are, and have to be told
  std::vector<store::fleet::member> members_;
  struct load {
    std::uint64_t sessions = 0, connections = 0, next_sessions = 0, next_connections = 0;
    std::size_t missing = 0;
  };
  load load_;
  std::optional<caf::typed_response_promise<bool>> stopping_;
  std::uint64_t cut_seq_ = 0, published_seq_ = 0;
  std::shared_ptr<const fleet_members> live_;  // the same, for breaker actors
  std::optional<store_state_changed> store_told_;
  bool publishing_ = false, namesake_ = false, leaves_ = false, all_told_ = false;
  bool sweeps_ = false, reachable_ = false, degraded_ = false;
  monitoring::fleet_tallies tallies_;
};

}  // namespace portcullis::actors

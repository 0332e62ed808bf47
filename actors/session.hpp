// The session actor: one a shard, pinned to its loop. Owns the shard's sessions; every request of
// the shard enters here and every event of the shard leaves from here. Decisions are core's; this
// is who waits for what.
#pragma once
#include <deque>
#include <map>
#include <set>
#include <unordered_map>

#include "actors/alias_book.hpp"
#include "actors/coalescer.hpp"
#include "actors/condemned.hpp"
#include "actors/interfaces.hpp"
#include "actors/outbox.hpp"
#include "actors/pinned.hpp"
#include "actors/replier.hpp"
#include "actors/stillness.hpp"
#include "core/clock.hpp"
#include "core/session/decide.hpp"

namespace portcullis::actors {

struct session_options {
  std::uint32_t shard = 0, shards = 1, loop = 0;
  std::uint64_t incarnation = 1;
  std::shared_ptr<const core::key_material> keys;
  std::shared_ptr<const core::policy_book> policies;
  core::random_source random;  // cryptographic
  core::clock* clock = nullptr;
  std::shared_ptr<shard_image> image;
  net::reply_port* replies = nullptr;                            // this loop's
  std::function<void(const core::reply&, std::string&)> encode;  // for other loops' connections
  std::shared_ptr<batch_pool> pool;                              // this loop's
  std::shared_ptr<alias_book> aliases = std::make_shared<alias_book>();  // the node's
  std::size_t events_in_flight_max = core::limits::journal_queue_events_max;
  // Where nodes share a log; null: this node is alone.
  std::shared_ptr<const core::fleet_keys> fleet;
  std::int64_t staleness_ns_max = 0;  // longer without a word from the log: nothing is answered
};

class session_shard;
using session_self = pinned_actor<session_actor, session_shard>;
session_actor::behavior_type session_behaviour(session_self* self, session_options options);

class session_shard {
 public:
  void start(session_self* self, session_options options);

  void on(request_batch& batch);
  void on(events_committed& done);
  void on(log_advanced& news);
  void on(decision_refused& refused);
  void on(const caught_up& answer);
  void on(const tenant_condemned& news);
  void on(attempt_answer& answer);
  void on(user_looked_up& answer);
  void on(lockout_answer& answer);
  void on(lock_changed& change);
  tenant_answer on(const tenant_question& question);
  tenant_answer on(const tenant_revoked& order);
  caf::result<sessions_described> on(describe_sessions& question);
  caf::result<subject_found> on(const find_subject& question);
  caf::result<subjects_named> on(const name_subjects& question);
  sessions_counted on(const count_sessions&);
  ring_key_answer on(const ring_key_question& question);
  caf::result<stood_still> on(const stand_still& order);
  caf::result<digest_taken> on(const take_digest& question);
  void on(const go_on& order);
  void on(const log_time& time) { log_at_ms_ = std::max(log_at_ms_, time.at_ms); }
  shard_collected on(const collect_shard&);
  void on(const source_limit_changed& change);
  void on(policies_changed& change);
  void on(keys_changed& change);
  void on(const store_state_changed& change);
  void on(wire_session& peers);
  void tick();
  void flush();
  void go_on_with_failures();
  void finish();
  static constexpr const char* name = "session";

 private:
  // What a user's decision in progress waits for.
  enum class stage : std::uint8_t {
    opening,     // the user's row: then the request starts again
    admitting,   // create: who the user is, and which sessions there are
    listing,     // revoke_user, list: which sessions there are
    counting,    // a failed attempt: its count
    asking,      // lockout.status, lockout.clear: the counters
    committing,  // a durable decision
    overtaken,   // by another node: what it has decided is to be read first
    doubting,    // what is not so here may be so: the log is to be read to its end first
  };
  struct operation {
    inbound request;
    stage waits_for = stage::opening;
    core::judgement judged;
    core::session_id id;          // create, rotate: the id to show
    core::session_handle handle;  // create
    std::uint64_t count = 0;      // revoke: how many
    // Where nodes share a log:
    std::uint64_t as_of = 0;   // the log's place when the decision was begun
    std::uint64_t batch = 0;   // that it waits for
    std::uint64_t behind = 0;  // overtaken: what is to be read first
    bool renamed = false;      // the user, meanwhile: what was looked up is of no use
    std::optional<attempt_answer> attempt;
  };
  // Requests of one user, in order: `current` is being decided, the others wait.
  struct hold {
    operation current;
    std::deque<inbound> waiting;
    unsigned overtaken = 0;  // so often
  };
  struct tenant_operation {
    inbound request;
    std::uint64_t live = 0;
    std::size_t answers_missing = 0;
    bool failed = false;
    std::uint64_t behind = 0;  // overtaken: what is to be read first
  };

  // session.cpp: what a request meets first
  void look_ahead(std::span<inbound> window);
  void take(inbound& request);
  template <class Params>
  void judge_and(inbound& request, Params& params);
  void accepted(inbound& request, core::validate_session& params, const core::judgement& judged);
  void accepted(inbound& request, core::update_session& params, const core::judgement& judged);
  void accepted(inbound& request, core::rotate_session& params, const core::judgement& judged);
  void rejected(const inbound& request, core::verdict verdict, core::millis retry_after_ms = -1);
  void unknown(inbound& request, const core::context& presented, const core::session_id& id);
  void start_attempt(inbound& request, const core::context& presented,
                     const core::judgement& judged);
  void start_reuse(inbound& request, const core::judgement& judged);
  void start_opening(inbound& request, core::user_slot user);
  bool open_address(core::session_slot slot);
  void note_use(const core::judgement& judged, const core::session_id& presented,
                const inbound& request);
  void signal(const core::judgement& judged, const core::context& presented,
              const inbound& request);
  void move_activity(core::session_slot slot);
  void expire(core::session_slot slot, core::expiry_kind kind);
  [[nodiscard]] core::millis lock_left_ms(core::user_slot user,
                                          const core::short_hash& source) const;

  // session_commands.cpp: what is durable or names a user
  void create(inbound& request, core::create_session& params);
  void admit(core::user_slot user, const user_looked_up& answer);
  void revoke(inbound& request, core::revoke_session& params);
  void revoke_user(inbound& request, core::revoke_user& params);
  void forget_user(inbound& request, core::forget_user& params);
  void forget_listed(core::user_slot user, const user_looked_up& answer);
  [[nodiscard]] std::vector<core::session_slot> live_of(std::span<const core::session_slot> listed,
                                                        std::vector<core::event>& run_out);
  [[nodiscard]] core::event about_user(core::user_slot user, const inbound& request);
  void revoke_listed(core::user_slot user, const user_looked_up& answer);
  void list(inbound& request, core::list_sessions& params);
  void show_listed(core::user_slot user, const user_looked_up& answer);
  void ask_lockout(inbound& request, const core::user_name& whom);
  void commit(core::user_slot user, std::vector<core::event> events);
  void finish(core::user_slot user);
  void refuse(core::user_slot user, const core::error& why);
  void applied(const core::event& what);

  // session_fleet.cpp: where nodes share a log
  [[nodiscard]] bool is_stale() const;
  void take_if_fresh(inbound& request);
  [[nodiscard]] core::entry_tags tags_of(core::user_slot user,
                                         std::span<const core::event> events = {}) const;
  void propose(core::user_slot user, std::vector<core::event> events);
  void propose_use(const core::judgement& judged, const core::session_id& presented,
                   const inbound& request);
  void proposal_done(const event_batch& batch);
  void take_own(const event_batch& batch);
  void take_others(const event_batch& batch);
  void learn_user(const core::user_row& row);
  void applied_lock(const core::event& what);
  [[nodiscard]] bool knows_as_over(core::user_slot user,
                                   const std::optional<core::short_hash>& source) const;
  void try_overtaken();
  void conclude_attempt(core::user_slot user, const attempt_answer& answer);

  // session_doubts.cpp: requests about what is not so here
  // Of one connection's requests with one routing byte; a user's have one.
  struct line_name {
    std::uint64_t connection = 0;
    std::uint32_t routing = 0;
    auto operator<=>(const line_name&) const = default;
  };
  struct doubts {
    std::set<line_name> lines;
    std::vector<core::user_slot> users;  // whose current requests they are
    [[nodiscard]] bool empty() const noexcept { return lines.empty() && users.empty(); }
  };
  [[nodiscard]] static line_name line_of(const inbound& request) noexcept;
  [[nodiscard]] bool stands_in_line(inbound& request);
  void enter_line(inbound& request);
  [[nodiscard]] bool waits_for_log(inbound& request);
  [[nodiscard]] bool waits_for_log(core::user_slot user);
  [[nodiscard]] bool waits_for_log(core::user_slot user, inbound& request);
  void ask_for_log();
  void move_line(const line_name& which, const std::optional<core::error>& why);
  void refuse_in_doubt(inbound& request, const core::error& why);
  void refuse_user_in_doubt(core::user_slot user, const core::error& why);

  // session_postponed.cpp: revocations that the shared log could not be told of
  [[nodiscard]] bool is_postponed(const inbound& request) const noexcept;
  [[nodiscard]] condemnations::order order_of(const inbound& request) const noexcept;
  void postpone(const inbound& request, core::user_slot user, core::session_slot slot);
  void postpone_refused(core::user_slot user);
  void tell_condemned(const inbound& request, bool over);
  void look_for_new_shards(const std::vector<session_actor>& before);
  [[nodiscard]] core::session_slot spared_of(core::user_slot user, const inbound& request) const;
  [[nodiscard]] bool is_condemned(core::session_slot slot) const;
  void carry_out_postponed();
  void carried_out(const inbound& request);
  void own_texts(inbound& kept);
  void forget_texts(const inbound& request);
  void not_carried_out(const inbound& request, const core::error& why);

  // session_tenants.cpp: a tenant's revocation
  void revoke_tenant(inbound& request);
  void next_tenant_operation();
  void tenant_counted();
  void tenant_committed(bool refused, const core::error& why);
  void tenant_answered(bool ok, std::uint64_t live, void (session_shard::*then)());
  void finish_tenant();
  // and questions that come in the order of a user's requests
  struct waiting_question {
    find_subject what;
    std::uint64_t last = 0;  // behind what had arrived by then
    caf::typed_response_promise<subject_found> promise;
  };
  [[nodiscard]] std::optional<core::subject_id> known_subject(core::user_slot user) const;
  [[nodiscard]] core::user_slot user_of(const find_subject& question) const;
  void find_behind(waiting_question question);

  // session_aliases.cpp: sessions that their callers named
  [[nodiscard]] core::session_id alias_id_of(const core::create_session& params) const;
  [[nodiscard]] bool has_alias_still(const core::create_session& params) const;
  [[nodiscard]] bool waits_for_creation(inbound& request, const core::session_id& id);
  [[nodiscard]] bool begins_creation(inbound& request, const core::create_session& params,
                                     core::user_slot user);
  [[nodiscard]] bool is_of_another_creation(const inbound& request,
                                            const core::create_session& params) const;
  [[nodiscard]] bool is_led_elsewhere(inbound& request);
  [[nodiscard]] bool is_forgotten(core::session_slot slot) const;
  void create_ended(const inbound& request, bool made);

  void keep_log_time();
  void look_whether_still();
  [[nodiscard]] bool stands_for(const take_digest& question) const noexcept;
  void add_lockouts(const take_digest& question, const std::shared_ptr<core::shard_digests>& to,
                    caf::typed_response_promise<digest_taken> promise);

  // Who waits for whom.
  [[nodiscard]] bool held(core::user_slot user, inbound& request);
  operation& begin(core::user_slot user, inbound& request, stage waits_for);
  void resume(core::user_slot user);   // the current request starts again
  void release(core::user_slot user);  // the current request is done with

  void answer(const inbound& request, const core::reply& reply);
  void fail(const inbound& request, core::error why);
  void flush_soon();
  void log_failures(std::size_t most);
  [[nodiscard]] core::decision_input input() const;
  [[nodiscard]] std::string correlation_of(const inbound& request);
  [[nodiscard]] bool refuses_durable(const inbound& request);
  [[nodiscard]] bool visible(const inbound& request, core::session_slot slot) const;

  session_self* self_ = nullptr;
  session_options options_;
  std::unique_ptr<core::session_state> state_;
  std::optional<outbox> outbox_;
  bool flush_sent_ = false;
  std::uint64_t arrivals_ = 0;
  wire_session peers_;
  core::millis now_ms_ = 0;
  static constexpr std::size_t window_requests = 16;
  struct ahead {
    const core::session_id* id = nullptr;
    core::id_hash hash;
    core::session_slot slot = core::no_slot;
    core::user_slot user = core::no_slot;
  };
  std::array<ahead, window_requests> ahead_;  // of the window being taken
  const ahead* known_ = nullptr;              // of the request being taken
  core::memo_key memo_key_;
  core::timer_wheel wheel_;
  coalescer failures_;
  core::millis coalesced_at_ms_ = 0;
  bool slice_sent_ = false;  // to itself, for the rest of what was coalesced
  std::unordered_map<core::user_slot, hold> holds_;
  std::unordered_map<core::user_slot, core::user_row> unsaved_users_;
  struct creation {
    core::user_slot user = core::no_slot;
    net::ticket to;
    std::uint32_t loop = 0;
    [[nodiscard]] bool is_of(const inbound& request) const noexcept {
      return loop == request.loop && to.slot == request.to.slot &&
             to.generation == request.to.generation;
    }
  };
  std::map<core::session_id, creation> creating_;  // with an alias, from their arrival on
  std::map<core::tenant_slot, std::vector<core::session_touched::touch>> touched_;
  struct source_lock {
    core::short_hash source;
    core::millis until_ms;
  };
  std::unordered_map<core::user_slot, std::vector<source_lock>> source_locks_;
  struct signalled {
    core::field_set fields = 0;
    core::millis again_at_ms = 0;
  };
  std::unordered_map<core::session_slot, signalled> signals_;
  std::map<core::short_hash, core::millis> limited_sources_;
  std::deque<tenant_operation> tenant_operations_;
  std::optional<replier> replies_;
  std::optional<core::error> store_trouble_;
  core::millis log_at_ms_ = 0;  // of the last event on the disk, as far as this shard has heard
  core::millis told_log_at_ms_ = 0, asked_log_time_at_ms_ = 0;
  core::millis wanted_log_time_ms_ =
      0;  // what has ended goes when the log is there; 0: nothing has
  stillness still_;
  bool lockout_still_ = false, lockout_asked_ = false;
  caf::typed_response_promise<stood_still> still_promise_;
  std::vector<request_batch> kept_;  // that came while it stood still
  // Where nodes share a log:
  std::uint64_t position_ = 0;  // that is applied here
  std::int64_t fresh_ns_ = 0;   // all that was acknowledged before is
  bool sweeps_ = false;
  std::vector<core::user_slot> overtaken_;
  std::set<core::session_handle> proposed_uses_;  // neither read nor refused
  std::deque<inbound> postponed_;                 // to be told when the store is back
  std::uint32_t last_postponed_ = 0;
  std::map<std::uint32_t, std::string> postponed_texts_;  // by their number: what they view
  std::vector<decltype(postponed_texts_)::node_type> spent_texts_;
  condemnations condemned_;  // what they are to end
  // The first of a line is in doubt, the others came behind it: by their arrival.
  std::map<line_name, std::deque<inbound>> lines_;
  doubts unsure_, unsure_next_;  // of the question under way, and of the next one
  bool asked_for_log_ = false;
  struct refusal {
    std::uint64_t arrival = 0;
    core::error why;
  };
  std::optional<refusal> no_log_;  // of the request being taken, where the log could not be read
  std::vector<waiting_question> behind_lines_;
  monitoring::shard_tallies tallies_;
};

}  // namespace portcullis::actors

// Every message that actors exchange. None leaves the process: they are declared unsafe to
// serialise and carry C++ values.
#pragma once
#include <caf/all.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/breaker/observed.hpp"
#include "core/event/event.hpp"
#include "core/fleet/entry.hpp"
#include "core/lockout/state.hpp"
#include "core/session/directory.hpp"
#include "core/session/policy_book.hpp"
#include "core/session/state.hpp"
#include "monitoring/tallies.hpp"
#include "net/ports.hpp"
#include "store/readers.hpp"

namespace portcullis::actors {

/// A request on its way to its shard. Its views point into `block`.
struct inbound {
  net::ticket to;
  const core::caller* who = nullptr;
  net::block_ref block;
  core::request what;
  std::uint32_t loop = 0;
  bool certain = false;         // where nodes share a log: it was read to its end since this came
  std::uint8_t routing = 0;     // the routing byte of what it names: of one user, always the same
  net::connection_id from = 0;  // 0: none's any more, a postponed revocation
  std::uint64_t arrival = 0;    // at its shard, from 1 on
};

/// All requests of one loop's turn for one shard.
struct request_batch {
  std::vector<inbound> requests;
  std::uint32_t loop = 0;
  core::millis now_ms = 0;
};

/// Emptied batches of one loop, whose memory the next ones use. Touched on that loop only.
struct batch_pool {
  static constexpr std::size_t spare_max = 8;
  std::vector<std::vector<inbound>> spare;

  void give(std::vector<inbound>&& emptied) {
    emptied.clear();
    if (spare.size() < spare_max) spare.push_back(std::move(emptied));
  }
  [[nodiscard]] std::vector<inbound> take() {
    if (spare.empty()) return {};
    auto out = std::move(spare.back());
    spare.pop_back();
    return out;
  }
};

/// Answers to requests of another loop, encoded; `outcomes` holds them one after the other.
struct reply_batch {
  struct entry {
    net::ticket to;
    std::size_t size = 0;
  };
  std::vector<entry> entries;
  std::string outcomes;
};

/// Whose decision waits for its batch: a user's, or (no user) a tenant's; or which of a breaker's.
struct awaited {
  core::user_slot user = core::no_slot;
  std::uint64_t tenant_operation = 0;
};

/// What a shard (or the node) hands to the log: in the order applied. Immutable once numbered.
struct event_batch {
  static constexpr std::uint32_t node = 0xffff'ffff;  // not a shard's
  std::uint32_t shard = node;
  bool of_breakers = false;  // its breaker actor's; otherwise its session actor's
  std::uint64_t number = 0;  // the owner's own count, 1, 2, ...
  std::uint64_t incarnation = 0;
  bool durable = false;  // refused as a whole when the disk is full; otherwise it waits for space
  std::vector<core::event> events;
  std::vector<core::user_row> users;
  std::vector<std::uint64_t> purges;
  std::vector<core::breaker_source_record> sources;
  // Only where several nodes share a log. There a durable batch is one decision.
  core::entry_tags tags;
  std::uint64_t as_of = 0;  // the log's place that it was decided by
  bool exact = false;       // the log must end there
  awaited whose;
  bool numbered = false;     // read from the shared log: its place there is given
  std::uint64_t writer = 0;  // the life of a node that another one's is of
  std::optional<core::subject_id> forgotten;
};
using batch_ptr = std::shared_ptr<event_batch>;
struct log_events {
  batch_ptr batch;
};
/// To the shard: its batch is durable, or was refused.
struct events_committed {
  batch_ptr batch;
  bool refused = false;
  core::error why;
};
/// To the hub: these are durable, in order.
struct events_durable {
  std::vector<batch_ptr> batches;
};
/// To live readers.
struct events_published {
  std::vector<batch_ptr> batches;
};
struct interest_changed {
  std::uint32_t loop = 0;
  bool interested = false;
};

/// To the shards, the gateways and the log: whether durable commands can be taken.
struct store_state_changed {
  bool degraded = false;
  core::error why;
};

struct failed_attempt {
  core::user_slot user = core::no_slot;
  core::attempt what;
  core::event draft;  // validation_failed, to be completed with the count
  core::millis now_ms = 0;
};
struct attempt_answer {
  core::user_slot user = core::no_slot;
  core::attempt_judged judged;
  std::vector<core::event> events;
  std::optional<core::attempt> noted = std::nullopt;  // where nodes share a log: once it is there
};
/// A lock of a user, or of one of its sources, began or ended.
struct lock_changed {
  core::subject_id subject;
  std::optional<core::short_hash> source;
  core::millis locked_until_ms = 0;  // 0: ended
  std::vector<core::event> events;
};
struct lockout_question {
  core::user_slot user = core::no_slot;
  core::subject_id subject;
};
struct lockout_answer {
  core::user_slot user = core::no_slot;
  core::lockout_state_reply state;
};
struct clear_counters {
  core::event cleared;  // committed
};
/// Where a user stands in lockout.list: by when counting began (the end of the first failure's
/// window tells), then by subject. Stays the same while anything counts against the user.
struct lock_place {
  core::millis first_window_ends_at_ms = 0;
  core::subject_id subject;
  friend auto operator<=>(const lock_place&, const lock_place&) = default;
};
struct list_locks {
  std::optional<lock_place> after;
  std::uint32_t limit = 0;
};
struct lock_row {
  lock_place place;
  std::uint32_t failed_attempts = 0;
  core::millis locked_until_ms = 0;
};
struct locks_listed {
  std::vector<lock_row> rows;
  bool more = false;
};

struct look_up_user {
  core::user_slot user = core::no_slot;
  std::string tenant_id, user_id;  // set: make the user when it is new
  bool with_sessions = false;
};
struct user_looked_up {
  core::user_slot user = core::no_slot;
  core::identity_ptr who;  // null: unknown, or its row cannot be opened
  std::optional<core::user_row> made;
  std::vector<core::session_slot> sessions;
};
struct session_listed {
  core::user_slot user = core::no_slot;
  core::session_slot session = core::no_slot;
  bool gone = false;
};
/// A user is forgotten; the user's ended sessions stay until they are purged.
struct user_gone {
  core::user_slot user = core::no_slot;
};
struct identify_users {
  std::vector<core::user_slot> users;
};
struct users_identified {
  std::vector<core::identity_ptr> users;  // null: unknown
};
struct name_subjects {
  std::vector<core::subject_id> subjects;
};
struct named_user {
  std::string tenant_id, user_id;
};
struct subjects_named {
  std::vector<named_user> names;  // without user_id: unknown
};
/// Answered when every request of the user that came before is: what it did is committed.
struct find_subject {
  std::string tenant_id, user_id;
  std::optional<core::session_handle> handle;  // set: the user of this session
};
struct subject_found {
  std::optional<core::subject_id> subject;
};
/// Completes rows that the store found: drops what is not live, opens addresses and names.
struct describe_sessions {
  std::vector<store::session_display> rows;
};
struct sessions_described {
  std::vector<core::session_row> rows;
};

/// How many sessions of these tenants live in the shard.
struct tenant_question {
  std::vector<std::string> tenant_ids;
};
/// Nothing happens when the shard has heard of this generation, or a newer one, before.
struct tenant_revoked {
  std::string tenant_id;
  std::uint32_t generation = 0;
};
struct tenant_answer {
  std::uint64_t live = 0;
};

/// A session id that nobody knows came from here; only with lockout.source_threshold.
struct unknown_id_seen {
  core::short_hash source{};
  core::short_hash id{};
  std::string correlation_id;
};
struct source_limit_changed {
  core::short_hash source{};
  core::millis until_ms = 0;
  std::string correlation_id = {};  // of the request that reached the limit
};

struct policies_changed {
  std::shared_ptr<const core::policy_book> book;
};
struct keys_changed {
  std::shared_ptr<const core::key_material> keys;
};

/// Reads on the journal's thread.
struct query_log {
  store::event_filter filter;
};
struct log_queried {
  std::vector<core::event> events;
  std::uint64_t scanned_seq = 0;
  std::uint64_t committed_seq = 0;
  core::millis committed_at_ms = 0;  // of that event
  std::uint64_t cut_seq = 0;         // the log begins after it
  bool at_end = false;
  std::optional<core::error> why;  // set: failed
};
struct read_sessions {
  std::vector<std::uint64_t> seqs;
};
struct sessions_read {
  std::vector<store::session_display> rows;
  std::optional<core::error> why;
};
struct find_in_store {
  store::session_filter filter;
};
struct found_in_store {
  std::vector<store::session_display> rows;
  bool at_end = true;
  std::optional<core::error> why;
};
struct back_up {
  std::string path;
};
struct backup_done {
  std::uint64_t seq = 0, bytes = 0;
  std::optional<core::error> why;
};
/// Wraps every user's key anew under the newest ring key, in slices.
struct rewrap_keys {
  std::shared_ptr<const core::key_material> keys;
};
struct keys_rewrapped {
  std::optional<core::error> why;
};
/// Whether a session, or a rotation in grace, still needs this ring key.
struct ring_key_question {
  std::uint32_t ring_key = 0;
};
struct ring_key_answer {
  bool in_use = false;
};

/// An alias of a session that is remembered until then.
struct known_alias {
  core::short_hash tag{};
  std::uint8_t byte = 0;  // the routing byte of the session's user
  core::millis until_ms = 0;
};
/// The state of one shard, rebuilt from the journal.
struct shard_image {
  core::millis log_at_ms = 0;  // of the log's last event
  std::uint64_t position = 0;  // its seq
  std::unique_ptr<core::session_state> sessions;
  std::unique_ptr<core::directory_state> directory;
  std::unique_ptr<core::lockout_state> lockouts;
  std::vector<known_alias> aliases;
};
struct load_shards {
  std::vector<std::uint32_t> shards;
};
struct shards_loaded {
  std::vector<std::shared_ptr<shard_image>> images;
  std::optional<core::error> why;
};
/// Which generation each tenant that was ever revoked has, by what is committed.
struct read_tenants {};
struct tenants_read {
  std::vector<tenant_revoked> tenants;
  std::optional<core::error> why;
};
/// Answered when all that was handed to the hub before is committed, or refused.
struct await_commits {};
struct commits_done {};

/// Asked of every owner at a scrape; the answer comes with how much mail waits.
template <class Tallies>
struct collected {
  Tallies tallies;
  std::uint64_t mailbox_depth = 0;
};
using shard_collected = collected<monitoring::shard_tallies>;
using journal_collected = collected<monitoring::journal_tallies>;
using subscriptions_collected = collected<monitoring::subscription_tallies>;
using loop_collected = collected<core::loop_tallies>;
/// The same of an owner that keeps no tallies.
struct count_mail {};
struct mail_counted {
  std::uint64_t mailbox_depth = 0;
};
struct count_locks {};
struct locks_counted {
  std::uint64_t active = 0;
  std::uint64_t mailbox_depth = 0;
};
/// Connections of one loop, for server.connections and server.info.
struct list_loop {
  net::connection_id after = 0;
  std::uint32_t limit = 0;
};
struct loop_listed {
  std::vector<core::connection_row> rows;
  std::uint64_t count = 0;
};
struct collect_shard {};
struct collect_journal {};
struct scrape {};
struct scraped {
  std::string text;
};

struct count_sessions {};
struct sessions_counted {
  core::session_counts counts;
  std::uint64_t records = 0;
};

}  // namespace portcullis::actors

namespace portcullis::actors {
struct wire_shard;
struct wire_session;
struct wire_breakers;
struct breakers_down;
struct breakers_moved;
struct node_peers;
struct shard_moved;
struct shard_down;
struct subscriptions_moved;
struct metrics_moved;
struct cold_request;
struct http_scrape;
struct collect_loop;
struct admin_request;
struct admin_answer;
struct callers_changed;
struct subscribe;
struct unsubscribe;
struct connection_gone;
struct collect_subscriptions;
}  // namespace portcullis::actors

#define PORTCULLIS_LOCAL(type) CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::type)
PORTCULLIS_LOCAL(shard_collected)
PORTCULLIS_LOCAL(count_mail)
PORTCULLIS_LOCAL(mail_counted)
PORTCULLIS_LOCAL(journal_collected)
PORTCULLIS_LOCAL(subscriptions_collected)
PORTCULLIS_LOCAL(loop_collected)
PORTCULLIS_LOCAL(count_locks)
PORTCULLIS_LOCAL(locks_counted)
PORTCULLIS_LOCAL(list_loop)
PORTCULLIS_LOCAL(loop_listed)
PORTCULLIS_LOCAL(inbound)
PORTCULLIS_LOCAL(request_batch)
PORTCULLIS_LOCAL(reply_batch)
PORTCULLIS_LOCAL(log_events)
PORTCULLIS_LOCAL(events_committed)
PORTCULLIS_LOCAL(events_durable)
PORTCULLIS_LOCAL(events_published)
PORTCULLIS_LOCAL(interest_changed)
PORTCULLIS_LOCAL(store_state_changed)
PORTCULLIS_LOCAL(failed_attempt)
PORTCULLIS_LOCAL(attempt_answer)
PORTCULLIS_LOCAL(lock_changed)
PORTCULLIS_LOCAL(lockout_question)
PORTCULLIS_LOCAL(lockout_answer)
PORTCULLIS_LOCAL(clear_counters)
PORTCULLIS_LOCAL(list_locks)
PORTCULLIS_LOCAL(locks_listed)
PORTCULLIS_LOCAL(look_up_user)
PORTCULLIS_LOCAL(user_looked_up)
PORTCULLIS_LOCAL(session_listed)
PORTCULLIS_LOCAL(user_gone)
PORTCULLIS_LOCAL(identify_users)
PORTCULLIS_LOCAL(users_identified)
PORTCULLIS_LOCAL(name_subjects)
PORTCULLIS_LOCAL(subjects_named)
PORTCULLIS_LOCAL(find_subject)
PORTCULLIS_LOCAL(subject_found)
PORTCULLIS_LOCAL(describe_sessions)
PORTCULLIS_LOCAL(sessions_described)
PORTCULLIS_LOCAL(tenant_revoked)
PORTCULLIS_LOCAL(tenant_answer)
PORTCULLIS_LOCAL(tenant_question)
PORTCULLIS_LOCAL(unknown_id_seen)
PORTCULLIS_LOCAL(source_limit_changed)
PORTCULLIS_LOCAL(policies_changed)
PORTCULLIS_LOCAL(keys_changed)
PORTCULLIS_LOCAL(query_log)
PORTCULLIS_LOCAL(log_queried)
PORTCULLIS_LOCAL(read_sessions)
PORTCULLIS_LOCAL(sessions_read)
PORTCULLIS_LOCAL(find_in_store)
PORTCULLIS_LOCAL(found_in_store)
PORTCULLIS_LOCAL(back_up)
PORTCULLIS_LOCAL(backup_done)
PORTCULLIS_LOCAL(rewrap_keys)
PORTCULLIS_LOCAL(keys_rewrapped)
PORTCULLIS_LOCAL(ring_key_question)
PORTCULLIS_LOCAL(ring_key_answer)
PORTCULLIS_LOCAL(wire_shard)
PORTCULLIS_LOCAL(wire_session)
PORTCULLIS_LOCAL(wire_breakers)
PORTCULLIS_LOCAL(breakers_down)
PORTCULLIS_LOCAL(breakers_moved)
PORTCULLIS_LOCAL(node_peers)
PORTCULLIS_LOCAL(shard_moved)
PORTCULLIS_LOCAL(shard_down)
PORTCULLIS_LOCAL(subscriptions_moved)
PORTCULLIS_LOCAL(metrics_moved)
PORTCULLIS_LOCAL(cold_request)
PORTCULLIS_LOCAL(http_scrape)
PORTCULLIS_LOCAL(collect_loop)
PORTCULLIS_LOCAL(admin_request)
PORTCULLIS_LOCAL(admin_answer)
PORTCULLIS_LOCAL(callers_changed)
PORTCULLIS_LOCAL(subscribe)
PORTCULLIS_LOCAL(unsubscribe)
PORTCULLIS_LOCAL(connection_gone)
PORTCULLIS_LOCAL(collect_subscriptions)
PORTCULLIS_LOCAL(load_shards)
PORTCULLIS_LOCAL(shards_loaded)
PORTCULLIS_LOCAL(read_tenants)
PORTCULLIS_LOCAL(tenants_read)
PORTCULLIS_LOCAL(await_commits)
PORTCULLIS_LOCAL(commits_done)
PORTCULLIS_LOCAL(collect_shard)
PORTCULLIS_LOCAL(collect_journal)
PORTCULLIS_LOCAL(scrape)
PORTCULLIS_LOCAL(scraped)
PORTCULLIS_LOCAL(count_sessions)
PORTCULLIS_LOCAL(sessions_counted)
#undef PORTCULLIS_LOCAL

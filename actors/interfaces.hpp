// What each actor can be asked, a line a message. The hot handler comes first: each earlier one
// costs some 10 ns.
#pragma once
#include <variant>

#include "actors/auth.hpp"
#include "actors/breaker_messages.hpp"
#include "actors/fleet_messages.hpp"
#include "actors/messages.hpp"
#include "actors/stillness.hpp"
#include "core/config/config.hpp"

namespace portcullis::actors {

/// fn<R(Ts...)> as later versions of CAF spell it: this alias is the one line to change then.
namespace detail {
template <class F>
struct interface_line;
template <class R, class... Ts>
struct interface_line<R(Ts...)> {
  using type = typename caf::replies_to<Ts...>::template with<R>;
};
}  // namespace detail
template <class F>
using fn = typename detail::interface_line<F>::type;

using tick_atom = caf::atom_constant<caf::atom("tick")>;
using flush_atom = caf::atom_constant<caf::atom("flush")>;
using slice_atom = caf::atom_constant<caf::atom("slice")>;
using sign_atom = caf::atom_constant<caf::atom("sign")>;
using erase_atom = caf::atom_constant<caf::atom("erase")>;
using crash_atom = caf::atom_constant<caf::atom("crash")>;  // admin.crash: dies of an exception
using stop_atom = caf::atom_constant<caf::atom("stop")>;

using lockout_actor =
    caf::typed_actor<fn<void(failed_attempt)>,      // counts; answers attempt_answer to the shard's
                                                    // session actor
                     fn<void(lockout_question)>,    // answers lockout_answer to the session actor
                     fn<void(clear_counters)>,      // a cleared lockout is committed
                     fn<void(lockouts_logged)>,     // attempts and locks of the shared log
                     fn<locks_listed(list_locks)>,  // users with a lock, as counting began
                     fn<locks_counted(count_locks)>,      //
                     fn<stood_still(stand_still)>,        // no time passes, until go_on
                     fn<lockouts_digested(take_digest)>,  //
                     fn<void(go_on)>,                     //
                     fn<void(log_time)>,                  // counters that ended before then may go
                     fn<void(policies_changed)>,          //
                     fn<void(wire_shard)>,                // who the session actor is
                     fn<void(crash_atom)>,                //
                     fn<void(tick_atom)>>;                // locks and counters that end

using directory_actor =
    caf::typed_actor<fn<void(look_up_user)>,    // answers user_looked_up to the session actor
                     fn<void(session_listed)>,  // a session began, or was forgotten
                     fn<void(user_gone)>,       // a user is forgotten
                     fn<void(user_learned)>,    // another node has made a user
                     fn<users_identified(identify_users)>,         //
                     fn<core::directory_listing(list_directory)>,  //
                     fn<mail_counted(count_mail)>,                 //
                     fn<void(keys_changed)>,                       //
                     fn<void(wire_shard)>,                         //
                     fn<void(crash_atom)>>;                        //

using sources_actor =
    caf::typed_actor<fn<void(unknown_id_seen)>,   // counts distinct unknown ids of a source
                     fn<void(policies_changed)>,  //
                     fn<void(node_peers)>,        // whom to tell of limits
                     fn<void(tick_atom)>>;        // windows that end

using session_actor =
    caf::typed_actor<fn<void(request_batch)>,     // the shard's requests of one loop's turn
                     fn<void(events_committed)>,  // a batch of this shard is durable, or refused
                     fn<void(log_advanced)>,      // the shared log went on
                     fn<void(decision_refused)>,  // another node was faster, or none can be reached
                     fn<void(caught_up)>,         // the shared log was read to its end
                     fn<void(tenant_condemned)>,  // a revocation that it could not be told of
                     fn<void(attempt_answer)>,    // how a failed attempt was counted
                     fn<void(user_looked_up)>,    // who a user is, and the user's sessions
                     fn<void(lockout_answer)>,    // a user's counters
                     fn<void(lock_changed)>,      // a lock ended, or one is told at the start
                     fn<void(flush_atom)>,        // to itself: hands on what is to be committed
                     fn<void(slice_atom)>,        // to itself: more of the coalesced failures
                     fn<tenant_answer(tenant_question)>,         // how many of a tenant live here
                     fn<tenant_answer(tenant_revoked)>,          // a tenant's sessions are over
                     fn<sessions_described(describe_sessions)>,  // completes rows that the store
                                                                 // found
                     fn<subject_found(find_subject)>,       // a user's subject, in the order of the
                                                            // user's requests
                     fn<subjects_named(name_subjects)>,     // who subjects are
                     fn<sessions_counted(count_sessions)>,  //
                     fn<ring_key_answer(ring_key_question)>,  //
                     fn<shard_collected(collect_shard)>,
                     fn<stood_still(stand_still)>,    // for the digest of the state
                     fn<digest_taken(take_digest)>,   //
                     fn<void(go_on)>,                 //
                     fn<void(log_time)>,              // what ended before then may go
                     fn<void(source_limit_changed)>,  // a source's unknown ids are limited
                     fn<void(policies_changed)>,      //
                     fn<void(keys_changed)>,          //
                     fn<void(store_state_changed)>,   // whether durable commands can be taken
                     fn<void(wire_session)>,          // the other actors
                     fn<void(crash_atom)>,            //
                     fn<void(tick_atom)>,             // expiries, coalesced failures
                     fn<bool(stop_atom)>>;            // hands on all that it still holds

using breaker_actor =
    caf::typed_actor<fn<void(request_batch)>,     // the shard's requests of one loop's turn
                     fn<void(events_committed)>,  // a batch of this actor is durable, or refused
                     fn<void(log_advanced)>,      // the shared log went on
                     fn<void(decision_refused)>,  // it did not take a decision
                     fn<void(caught_up)>,         // it was read to its end
                     fn<breakers_listed(list_breakers_after)>,
                     fn<breakers_collected(collect_breakers)>,
                     fn<stood_still(stand_still)>,        // for the digest of the state
                     fn<breakers_digested(take_digest)>,  //
                     fn<void(go_on)>,                     //
                     fn<void(policies_changed)>,          //
                     fn<void(store_state_changed)>,       // whether durable commands can be taken
                     fn<void(store_attempts)>,            // what became of the journal's writes
                     fn<void(wire_breakers)>,             // the other actors
                     fn<void(crash_atom)>,                //
                     fn<void(tick_atom)>,                 // waits, permits and overrides that end
                     fn<bool(stop_atom)>>;                // hands on all that it still holds

using journal_actor =
    caf::typed_actor<fn<void(log_events)>,  // appends; commits when nothing more waits or enough
                                            // has gathered
                     fn<void(flush_atom)>,  //
                     fn<void(slice_atom)>,  // goes on with reads
                     fn<sessions_read(read_sessions)>,    //
                     fn<log_queried(query_log)>,          //
                     fn<found_in_store(find_in_store)>,   //
                     fn<backup_done(back_up)>,            //
                     fn<keys_rewrapped(rewrap_keys)>,     //
                     fn<shards_loaded(load_shards)>,      // commits what waits, then reads
                     fn<tenants_read(read_tenants)>,      // so does this
                     fn<breakers_loaded(load_breakers)>,  // and this
                     fn<commits_done(await_commits)>,     // commits what waits
                     fn<journal_collected(collect_journal)>,
                     fn<void(store_gate)>,        // the store's breaker
                     fn<void(want_log_time)>,     // answers log_time to all session actors, with a
                                                  // checkpoint when there is no event of that time
                     fn<void(decision_refused)>,  // its checkpoint is not in the shared log
                     fn<snapshot_read(read_snapshot)>,  // for the nodes that share the log
                     fn<void(tick_atom)>,   // tells it of commits that it was not told of
                     fn<void(sign_atom)>,   // to itself: a checkpoint may be due
                     fn<void(erase_atom)>,  // to itself: empties the write-ahead log
                     fn<void(node_peers)>,  //
                     fn<bool(stop_atom)>>;  // commits, closes

using subscriptions_actor =
    caf::typed_actor<fn<void(events_published)>,  // durable events, in order
                     fn<void(subscribe)>,         // answers the request itself
                     fn<void(unsubscribe)>,       //
                     fn<void(connection_gone)>,   //
                     fn<subscriptions_collected(collect_subscriptions)>,
                     fn<void(shard_moved)>,  // where names are to be had
                     fn<void(crash_atom)>,   //
                     fn<void(tick_atom)>>;   // slow readers, cursor-only notifications

using log_actor = caf::typed_actor<fn<void(events_published)>,      // renders each event once
                                   fn<mail_counted(count_mail)>,    //
                                   fn<void(store_state_changed)>>;  //

using hub_actor =
    caf::typed_actor<fn<void(log_events)>,            // to the journal
                     fn<void(events_durable)>,        // to whoever listens
                     fn<void(interest_changed)>,      // whether a loop has subscribers
                     fn<shards_loaded(load_shards)>,  // by the journal, after all that came before
                     fn<tenants_read(read_tenants)>,  // so are these
                     fn<breakers_loaded(load_breakers)>,
                     fn<commits_done(await_commits)>,  //
                     fn<mail_counted(count_mail)>,     //
                     fn<void(node_peers)>,             // the other actors
                     fn<bool(stop_atom)>>;             // everything has been handed on

using fleet_actor =
    caf::typed_actor<fn<void(log_events)>,            // to the log that nodes share
                     fn<void(catch_up)>,              // answers caught_up to the session actor
                     fn<shards_loaded(load_shards)>,  // by the journal, after all
                     fn<tenants_read(read_tenants)>,  // that came before
                     fn<breakers_loaded(load_breakers)>, fn<commits_done(await_commits)>,
                     fn<fleet_collected(collect_fleet)>, fn<members_listed(list_members)>,
                     fn<void(login_changed)>,  // after a reload
                     fn<void(log_was_cut)>,    // the shared one is to be cut, too
                     fn<log_held(hold_log)>,   // for the digest of the state
                     fn<void(go_on)>,          //
                     fn<void(shard_down)>,     // keeps what is for it, until it is wired again
                     fn<void(breakers_down)>,  // the same of a shard's breakers
                     fn<void(node_peers)>,     //
                     fn<void(flush_atom)>,     // to itself: waits no longer
                     fn<bool(stop_atom)>>;     // everything is in the log

using gateway_actor =
    caf::typed_actor<fn<void(reply_batch)>,   // answers that another loop's shard made
                     fn<void(cold_request)>,  // to itself: what needs more than one actor
                     fn<void(http_scrape)>,   // to itself
                     fn<loop_collected(collect_loop)>,
                     fn<loop_listed(list_loop)>,  // this loop's connections
                     fn<void(shard_down)>,        // answers what is in flight there with OVERLOADED
                     fn<void(shard_moved)>,       // a shard is (again) here
                     fn<void(breakers_down)>,     // the same of a shard's breakers
                     fn<void(breakers_moved)>,    //
                     fn<void(subscriptions_moved)>,  // the loop's subscriptions began anew
                     fn<void(metrics_moved)>,        // so did metrics
                     fn<void(caught_up)>,            // the shared log was read to its end
                     fn<void(callers_changed)>,      // tokens after a reload
                     fn<void(keys_changed)>,         //
                     fn<void(store_state_changed)>,  // for /readyz
                     fn<void(stop_atom)>>;           // draining: no new requests

using metrics_actor = caf::typed_actor<fn<scraped(scrape)>,    // collects from every owner, renders
                                       fn<void(node_peers)>,   // the other actors
                                       fn<void(shard_moved)>,  //
                                       fn<void(breakers_moved)>>;

using supervisor_actor =
    caf::typed_actor<fn<admin_answer(admin_request)>,  // reload, drain, backup, rotate_keys, crash
                     fn<digest_answer(digest_request)>,  // of all state, at one sequence number
                     fn<bool(stop_atom)>>;  // everything has been handed on, the log is closed

struct wire_shard {
  session_actor session;
};
struct wire_session {
  lockout_actor lockout;
  directory_actor directory;
  hub_actor hub;
  journal_actor journal;
  sources_actor sources;
  std::vector<gateway_actor> gateways;  // by loop
  std::vector<session_actor> sessions;  // by shard; this one too
  fleet_actor fleet;                    // where nodes share a log
};
struct wire_breakers {
  hub_actor hub;
  journal_actor journal;
  std::vector<gateway_actor> gateways;  // by loop
  fleet_actor fleet;                    // where nodes share a log
};
struct node_peers {
  hub_actor hub;
  journal_actor journal;
  fleet_actor fleet;  // where nodes share a log
  log_actor log;
  std::vector<session_actor> sessions;
  std::vector<breaker_actor> breakers;             // by shard
  std::vector<subscriptions_actor> subscriptions;  // by loop
  std::vector<gateway_actor> gateways;             // by loop
};
struct shard_down {
  std::uint32_t shard = 0;
};
struct shard_moved {
  std::uint32_t shard = 0;
  session_actor session;
  lockout_actor lockout;
  directory_actor directory;
};
struct breakers_down {
  std::uint32_t shard = 0;
};
struct breakers_moved {
  std::uint32_t shard = 0;
  breaker_actor breakers;
};
struct subscriptions_moved {
  subscriptions_actor subscriptions;
};
struct metrics_moved {
  metrics_actor metrics;
};
struct cold_request {
  inbound request;
};
struct http_scrape {
  std::function<void(core::result<net::http_page>)> then;
};
struct collect_loop {};
struct admin_request {
  core::request_params what;  // views into `block`
  net::block_ref block;
  std::string actor, correlation_id;
};
struct admin_answer {
  std::optional<core::error> why;
  std::vector<std::string> changed;
  std::uint64_t number = 0, bytes = 0;
};
struct callers_changed {
  known_callers known;
  std::vector<const core::caller*> gone;
};
struct subscribe {
  inbound request;
};
struct unsubscribe {
  inbound request;
};
struct connection_gone {
  net::connection_id id = 0;
};
struct collect_subscriptions {};

}  // namespace portcullis::actors

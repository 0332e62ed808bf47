// Actors in virtual time: CAF's test scheduler, a loop_unit driven by hand, a clock that is a
// number, and scripted actors in the place of hub and journal. Nothing here sleeps and nothing runs
// unless settle() is called.
#pragma once
#include <gtest/gtest.h>

#include <caf/all.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <deque>
#include <random>

#include "actors/directory.hpp"
#include "actors/lockout.hpp"
#include "actors/session.hpp"
#include "actors/shards.hpp"

namespace portcullis::actors {

/// Not where the sessions of shard_world were made.
inline constexpr const char* elsewhere = "198.51.100.9";

struct fake_clock final : core::clock {
  core::millis at_ms = 1'700'000'000'000;
  core::millis now_ms() noexcept override { return at_ms; }
  std::int64_t mono_ns() noexcept override { return at_ms * 1'000'000; }
};

/// Bytes that are the same in every run, and never the same twice.
inline core::random_source counted_random(std::uint64_t seed = 1) {
  auto engine = std::make_shared<std::mt19937_64>(seed);
  return [engine](std::span<std::uint8_t> out) {
    for (auto& byte : out) byte = static_cast<std::uint8_t>((*engine)());
  };
}

/// What a reply said, with its own copies of what it only viewed.
struct seen_reply {
  core::reply reply;
  std::string user_id, data;
};

/// Keeps the replies by ticket, and the order they came in.
class recording_port final : public net::connections_port {
 public:
  std::map<std::uint32_t, seen_reply> replies;
  std::vector<std::uint32_t> order;
  std::vector<std::string> outcomes;
  std::map<net::connection_id, std::vector<std::string>> lines;
  std::map<net::connection_id, std::size_t> unread_bytes;
  std::map<net::connection_id, const core::caller*> callers;
  std::vector<std::uint32_t> failed_tags;
  std::map<std::uint32_t, std::uint32_t> owners;  // as told since submit(), by ticket
  std::vector<const core::caller*> closed_callers;

  void answer(net::ticket to, const core::reply& reply) override {
    ASSERT_EQ(replies.count(to.slot), 0U) << "answered twice: " << to.slot;
    seen_reply seen{reply, {}, {}};
    if (const auto* valid = std::get_if<core::session_valid>(&reply)) {
      seen.user_id = valid->user_id;
      seen.data = valid->data;
    }
    replies.emplace(to.slot, std::move(seen));
    order.push_back(to.slot);
  }
  void answer_encoded(net::ticket to, std::string_view outcome) override {
    outcomes.emplace_back(outcome);
    order.push_back(to.slot);
  }
  std::size_t push(net::connection_id to, std::string_view line) override {
    lines[to].emplace_back(line);
    return unread(to);
  }
  [[nodiscard]] std::size_t unread(net::connection_id of) const override {
    const auto found = unread_bytes.find(of);
    return found == unread_bytes.end() ? 0 : found->second;
  }
  void set_caller(net::connection_id of, const core::caller* caller) override {
    callers[of] = caller;
  }
  void close(net::connection_id) override {}
  void close_callers(const core::caller* caller) override { closed_callers.push_back(caller); }
  void fail_in_flight(std::uint32_t tag, const core::error&) override {
    failed_tags.push_back(tag);
  }
  [[nodiscard]] bool set_owner(net::ticket of, std::uint32_t tag) override {
    owners[of.slot] = tag;
    return replies.count(of.slot) == 0;
  }
  [[nodiscard]] std::vector<core::connection_row> list(net::connection_id,
                                                       std::size_t) const override {
    return {};
  }
  [[nodiscard]] std::size_t count() const override { return 0; }
};

/// The system, the loop, and time.
class virtual_loop {
 public:
  struct config : caf::actor_system_config {
    config() { set("scheduler.policy", caf::atom("testing")); }
  };
  config settings;
  caf::actor_system system{settings};
  caf::scheduler::test_coordinator& scheduler =
      dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  fake_clock clock;
  loop_unit unit{system, [] {}};

  virtual_loop() { unit.bind(); }
  ~virtual_loop() {
    unit.exit_all();
    settle();
    EXPECT_EQ(unit.live(), 0U);
  }
  void settle() {
    do {
      while (unit.run()) {
      }
    } while (scheduler.run() > 0);
  }
  /// Time passes in steps that no timer is faster than.
  void pass(core::millis ms) {
    for (core::millis gone = 0; gone < ms; gone += 50) {
      clock.at_ms += 50;
      scheduler.advance_time(std::chrono::milliseconds(50));
      settle();
    }
  }
  /// A long time in which nothing ticks, then a second in which everything does.
  void leap(core::millis ms) {
    clock.at_ms += ms - 1000;
    pass(1000);
  }
};

/// One or two shards with scripted hub, journal and sources around them.
class shard_world : public virtual_loop {
 public:
  explicit shard_world(std::uint32_t shards = 1) : shards_(shards) {
    admin.name = "root";
    admin.role = core::role::admin;
    book = std::make_shared<core::policy_book>();
  }
  ~shard_world() {
    for (auto& each : moved) each = {};
    unit.exit_all();
    settle();
    for (const auto& each :
         {caf::actor_cast<caf::actor>(hub), caf::actor_cast<caf::actor>(journal),
          caf::actor_cast<caf::actor>(sources), caf::actor_cast<caf::actor>(fleet_), gateway_})
      if (each) caf::anon_send_exit(each, caf::exit_reason::user_shutdown);
    settle();
  }

  core::policy_book& policy() { return *book; }
  void start();
  void spawn_shard(std::uint32_t shard, std::uint64_t incarnation);

  // Requests. Each returns its ticket; `submit` sends what was made as one batch a shard and
  // settles.
  std::uint32_t create(std::string user, std::string tenant = "acme", std::string data = {});
  /// As the gateway passes it on: the alias is reserved.
  std::uint32_t create_as(std::string alias, std::string user, std::int64_t idle_ttl_s = 900);
  /// The id that the alias stands for, of a session of this user.
  [[nodiscard]] core::session_id id_of(std::string_view alias, std::string_view user) const {
    return keys->alias_id("acme", alias, routing("acme", user));
  }
  [[nodiscard]] std::optional<std::uint8_t> where_is(std::string_view alias) {
    return aliases->find(keys->alias_tag("acme", alias), clock.at_ms);
  }
  std::uint32_t validate(const core::session_id& id, std::string_view ip = home);
  std::uint32_t validate_as(const core::caller& who, const core::session_id& id);
  /// The request that was made last: it named its session by this alias.
  std::uint32_t by_alias(std::uint32_t ticket, std::string_view alias);
  std::uint32_t update(const core::session_id& id, std::string data);
  std::uint32_t rotate(const core::session_id& id, bool grace = true);
  std::uint32_t revoke(const core::session_handle& handle);
  std::uint32_t revoke(const core::session_id& id);
  std::uint32_t revoke_user(std::string user, std::string tenant = "acme",
                            std::optional<core::session_id> except = std::nullopt);
  std::uint32_t revoke_tenant(std::string tenant);
  std::uint32_t list(std::string user, std::string tenant = "acme", std::uint32_t limit = 100,
                     std::string cursor = {});
  void store_answers();
  std::uint32_t status(std::string user, std::string tenant = "acme");
  std::uint32_t clear(std::string user, std::string tenant = "acme");
  std::uint32_t forget(std::string user, std::string tenant = "acme");
  void submit();
  /// One request, sent alone.
  std::uint32_t alone(std::uint32_t ticket) {
    submit();
    return ticket;
  }

  // What the journal would do with the oldest batches that were logged.
  std::size_t commit_all();
  void commit_one();
  void refuse_one(core::error_code code = core::error_code::STORE_FULL);
  /// Where nodes share a log: these stand in it; none: nothing new does.
  void read(std::vector<batch_ptr> batches = {});
  /// The same: another node was faster than the oldest that was logged.
  void overtake_one();
  /// All events of a type, committed or not, in order.
  [[nodiscard]] std::vector<core::event> events(core::event_type type) const;

  [[nodiscard]] bool answered(std::uint32_t ticket) const { return port.replies.count(ticket) > 0; }
  template <class Reply>
  const Reply& reply(std::uint32_t ticket) const {
    static const Reply none{};
    const auto found = port.replies.find(ticket);
    if (found == port.replies.end()) {
      ADD_FAILURE() << "no answer to " << ticket;
      return none;
    }
    const auto* got = std::get_if<Reply>(&found->second.reply);
    if (got == nullptr) {
      const auto* failed = std::get_if<core::failed>(&found->second.reply);
      ADD_FAILURE() << "another answer to " << ticket << ": index " << found->second.reply.index()
                    << " " << (failed != nullptr ? core::describe(failed->why.code).name : "");
      return none;
    }
    return *got;
  }
  [[nodiscard]] core::error_code error(std::uint32_t ticket) const {
    return reply<core::failed>(ticket).why.code;
  }
  [[nodiscard]] core::invalid_reason reason(std::uint32_t ticket) const {
    return reply<core::session_invalid>(ticket).reason;
  }
  [[nodiscard]] bool valid(std::uint32_t ticket) const {
    const auto found = port.replies.find(ticket);
    return found != port.replies.end() &&
           std::holds_alternative<core::session_valid>(found->second.reply);
  }
  /// Creates, commits, and gives what came back.
  core::session_made made(std::string user, std::string tenant = "acme", std::string data = {}) {
    const auto ticket = alone(create(std::move(user), std::move(tenant), std::move(data)));
    commit_all();
    return reply<core::session_made>(ticket);
  }
  template <class Answer, class Handle, class Question>
  Answer ask(const Handle& whom, Question question);
  [[nodiscard]] core::session_counts counts(std::uint32_t shard = 0) {
    return ask<sessions_counted>(moved[shard].session, count_sessions{}).counts;
  }

  static constexpr const char* home = "192.0.2.7";
  core::caller admin;
  std::shared_ptr<core::policy_book> book;
  core::keyring ring = core::generate_keyring(counted_random(77), 1);
  std::shared_ptr<const core::key_material> keys = std::make_shared<const core::key_material>(ring);
  std::shared_ptr<alias_book> aliases = std::make_shared<alias_book>();
  recording_port port;
  std::deque<batch_ptr> logged;  // not committed yet
  std::vector<core::event> history;
  std::vector<core::user_row> saved_users;
  std::vector<std::uint64_t> purged;
  std::vector<unknown_id_seen> unknown_ids;
  std::vector<core::millis> log_times;       // that the journal was asked for
  std::vector<store::event_filter> queries;  // of the log
  std::vector<caf::typed_response_promise<commits_done>> awaiting;  // until nothing is logged
  std::map<std::uint64_t, store::session_display> stored;           // what the fake journal shows
  bool store_waits = false;  // reads of rows are answered by store_answers()
  std::vector<std::pair<caf::typed_response_promise<sessions_read>, sessions_read>> reading;
  std::vector<shard_moved> moved;
  hub_actor hub;
  journal_actor journal;
  sources_actor sources;
  std::uint64_t seq = 0;
  std::size_t events_in_flight_max = core::limits::journal_queue_events_max;
  // Before start(): as one of several nodes that share a log.
  bool shared = false;
  bool sweeps = true;
  std::int64_t staleness_ns_max = 1'000'000'000'000'000;
  std::size_t ends_asked = 0;       // how often its end was asked for
  std::vector<inbound> given_back;  // to the gateway
  net::connection_id from = 0;      // whose requests are made

 private:
  std::uint32_t add(core::method method, core::request_params params, std::uint8_t routing,
                    const core::caller* who = nullptr);
  std::string_view keep(std::string text) { return texts_.emplace_back(std::move(text)); }
  [[nodiscard]] core::context context_of(std::string_view ip);
  [[nodiscard]] std::uint8_t routing(std::string_view tenant, std::string_view user) const {
    return keys->routing_byte(tenant, user);
  }
  wire_session peers_of() const;
  void start_fleet();
  void tell_of_commits();

  std::uint32_t shards_;
  fleet_actor fleet_;
  caf::actor gateway_;
  std::uint32_t last_ticket_ = 0;
  std::deque<std::string> texts_;
  std::map<std::uint32_t, request_batch> batches_;  // by shard
  std::shared_ptr<batch_pool> pool_ = std::make_shared<batch_pool>();
};

template <class Answer, class Handle, class Question>
Answer shard_world::ask(const Handle& whom, Question question) {
  // scoped_actor would block; a small event-based actor asks and keeps what comes.
  auto out = std::make_shared<std::optional<Answer>>();
  auto asker = system.spawn([whom, question, out](caf::event_based_actor* self) {
    self->request(whom, caf::infinite, question).then([out](Answer& answer) {
      *out = std::move(answer);
    });
  });
  settle();
  EXPECT_TRUE(out->has_value());
  return out->value_or(Answer{});
}

}  // namespace portcullis::actors

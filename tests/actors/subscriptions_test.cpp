// Live readers: every durable event that passes the filter, none missing, none twice, whatever the
// interleaving; who does not read is let go.
#include "actors/subscriptions.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "fixture.hpp"

namespace portcullis::actors {
namespace {

using core::event_type;

class subscriber_world : public virtual_loop {
 public:
  explicit subscriber_world(std::size_t lag_events_max = 100'000) {
    journal = system.spawn([this]() -> journal_actor::behavior_type {
      return {[](log_events&) {},
              [](flush_atom) {},
              [](slice_atom) {},
              [](read_sessions&) { return sessions_read{}; },
              [this](query_log& question) { return answer(question.filter); },
              [](find_in_store&) { return found_in_store{}; },
              [](back_up&) { return backup_done{}; },
              [](rewrap_keys&) { return keys_rewrapped{}; },
              [](load_shards&) { return shards_loaded{}; },
              [](read_tenants&) { return tenants_read{}; },
              [](load_breakers&) { return breakers_loaded{}; },
              [](await_commits&) { return commits_done{}; },
              [](collect_journal&) { return journal_collected{}; },
              [](store_gate&) {},
              [](decision_refused&) {},
              [](read_snapshot&) { return snapshot_read{}; },
              [](want_log_time&) {},
              [](tick_atom) {},
              [](sign_atom) {},
              [](erase_atom) {},
              [](node_peers&) {},
              [](stop_atom) { return true; }};
    });
    // As the real one: hands on what is durable while somebody listens.
    hub = system.spawn([this](caf::event_based_actor* self) {
      return caf::behavior{[this, self](events_durable& done) {
                             if (interested)
                               self->send(subscriptions, events_published{std::move(done.batches)});
                           },
                           [this](interest_changed& change) { interested = change.interested; }};
    });
    subscriptions_options options;
    options.node_id = "node-1";
    options.clock = &clock;
    options.connections = &port;
    options.hub = caf::actor_cast<hub_actor>(hub);
    options.journal = journal;
    options.lag_events_max = lag_events_max;
    shard = system.spawn([this](caf::event_based_actor*) {
      return caf::behavior{[this](name_subjects& question) -> caf::result<subjects_named> {
        ++questions;
        subjects_named out;
        for (const auto& subject : question.subjects)
          out.names.push_back({"acme", "user-" + std::to_string(subject.bytes[15])});
        return out;
      }};
    });
    options.sessions = {caf::actor_cast<session_actor>(shard)};
    options.codec.event = [](core::byte_buffer& out, std::string_view id, std::string_view cursor,
                             std::string_view event) {
      out.append(id);
      out.append(event.empty() ? " only " : " event ");
      out.append(cursor);
      constexpr std::string_view field = R"("user_id":")";
      if (const auto at = event.find(field); at != event.npos) {
        const auto name = event.substr(at + field.size());
        out.append(' ');
        out.append(name.substr(0, name.find('"')));
      }
    };
    options.codec.ended = [](core::byte_buffer& out, std::string_view id, std::string_view,
                             const core::error& why) {
      out.append(id);
      out.append(" ended ");
      out.append(core::describe(why.code).name);
    };
    subscriptions = spawn_pinned<subscriptions_actor, subscriptions_loop>(
        unit, subscriptions_behaviour, std::move(options));
    observer.role = core::role::observer;
    settle();
  }
  ~subscriber_world() {
    settle();
    unit.exit_all();
    subscriptions = subscriptions_actor{};
    settle();
    caf::anon_send_exit(hub, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(shard, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(caf::actor_cast<caf::actor>(journal), caf::exit_reason::user_shutdown);
    settle();
  }
  log_queried answer(const store::event_filter& filter) {
    log_queried out;
    out.committed_seq = log.size();
    for (auto seq = filter.after;
         seq < log.size() && out.events.size() < std::min<std::size_t>(filter.limit, 3); ++seq) {
      out.scanned_seq = seq + 1;
      const auto& each = log[seq];
      if (filter.types.any() && !filter.types[static_cast<std::size_t>(each.type())]) continue;
      if (!filter.tenants.empty() && each.tenant_id != filter.tenants[0]) continue;
      out.events.push_back(each);
    }
    out.scanned_seq = std::max(out.scanned_seq, std::min<std::uint64_t>(filter.after, log.size()));
    return out;
  }
  /// An event of a user that the session actor has not opened since its start, or has.
  void publish_of(std::uint8_t user, std::string known = {}) {
    about.bytes[15] = user;
    whose = std::move(known);
    publish(1, core::session_expired{}, "acme");
    about = {};
    whose.clear();
  }
  void publish(int events, core::event_body body = core::node_stopped{}, std::string tenant = {}) {
    auto batch = std::make_shared<event_batch>();
    for (int i = 0; i < events; ++i) {
      core::event what;
      what.seq = log.size() + 1;
      what.at_ms = what.decided_at_ms = clock.at_ms;
      what.tenant_id = tenant;
      what.body = body;
      if (about.bytes[15] != 0) what.subject = about;
      what.user_id = whose;
      log.push_back(what);
      batch->events.push_back(what);
    }
    caf::anon_send(hub, events_durable{{batch}});
  }
  std::uint32_t subscribe(net::connection_id from = 1,
                          std::optional<std::string_view> after = std::nullopt,
                          std::vector<std::string_view> types = {}, std::string_view tenant = {}) {
    inbound request;
    request.to = {++ticket, 1};
    request.who = &observer;
    request.what.method = core::method::events_subscribe;
    request.what.params = core::subscribe_events{after, std::move(types), tenant};
    request.from = from;
    caf::anon_send(subscriptions, actors::subscribe{std::move(request)});
    return ticket;
  }
  void unsubscribe(net::connection_id from, std::string_view id) {
    inbound request;
    request.to = {++ticket, 1};
    request.who = &observer;
    request.what.params = core::unsubscribe_events{id};
    request.from = from;
    caf::anon_send(subscriptions, actors::unsubscribe{std::move(request)});
    settle();
  }
  [[nodiscard]] core::error_code error(std::uint32_t of) const {
    const auto* failed = std::get_if<core::failed>(&port.replies.at(of).reply);
    return failed != nullptr ? failed->why.code : core::error_code::INTERNAL;
  }
  /// Cursors of the events that a connection got.
  [[nodiscard]] std::vector<std::uint64_t> got(net::connection_id of = 1,
                                               std::string_view kind = " event e") const {
    std::vector<std::uint64_t> out;
    const auto lines = port.lines.find(of);
    if (lines == port.lines.end()) return out;
    for (const auto& line : lines->second)
      if (const auto at = line.find(kind); at != std::string::npos)
        out.push_back(std::stoull(line.substr(at + kind.size())));
    return out;
  }

  std::vector<core::event> log;
  bool interested = false;
  recording_port port;
  core::caller observer;
  journal_actor journal;
  caf::actor hub, shard;
  std::size_t questions = 0;  // of names
  core::subject_id about;
  std::string whose;
  subscriptions_actor subscriptions;
  std::uint32_t ticket = 0;
};

std::vector<std::uint64_t> range(std::uint64_t from, std::uint64_t to) {
  std::vector<std::uint64_t> out;
  for (; from <= to; ++from) out.push_back(from);
  return out;
}

TEST(a_subscription, without_a_cursor_gets_only_what_comes) {
  subscriber_world w;
  w.publish(5);
  w.settle();
  const auto ticket = w.subscribe();
  w.settle();
  EXPECT_EQ(std::get<core::subscribed>(w.port.replies.at(ticket).reply).cursor, "e5");
  w.publish(2);
  w.publish(1);
  w.settle();
  EXPECT_EQ(w.got(), range(6, 8));
}

TEST(a_subscription, catches_up_from_its_cursor_and_goes_on_live) {
  subscriber_world w;
  w.publish(20);
  w.settle();
  w.subscribe(1, "e4");
  w.settle();
  w.publish(3);
  w.settle();
  w.pass(500);
  EXPECT_EQ(w.got(), range(5, 23));
}

RC_GTEST_PROP(a_subscription, misses_nothing_and_repeats_nothing_whatever_the_interleaving, ()) {
  subscriber_world w;
  const auto before = *rc::gen::inRange(0, 12);
  if (before > 0) w.publish(before);
  if (*rc::gen::arbitrary<bool>()) w.settle();
  const auto after = static_cast<std::uint64_t>(*rc::gen::inRange(0, before + 1));
  const auto cursor = "e" + std::to_string(after);
  bool subscribed = false;
  const auto steps = *rc::gen::inRange(1, 30);
  for (int i = 0; i < steps; ++i) {
    switch (*rc::gen::inRange(0, 6)) {
      case 0:
      case 1:
        w.publish(*rc::gen::inRange(1, 4));
        break;
      case 2:
        if (!std::exchange(subscribed, true)) w.subscribe(1, cursor);
        break;
      case 3:
        w.port.unread_bytes[1] = *rc::gen::arbitrary<bool>() ? core::limits::unread_pause_bytes : 0;
        break;
      case 4:  // a few steps of the actors, in one order or the other
        for (int n = *rc::gen::inRange(1, 4); n > 0; --n) {
          if (*rc::gen::arbitrary<bool>())
            (void)w.scheduler.try_run_once();
          else
            (void)w.unit.run();
        }
        break;
      case 5:
        w.pass(100);
        break;
    }
  }
  if (!subscribed) w.subscribe(1, cursor);
  w.port.unread_bytes[1] = 0;
  w.settle();
  w.pass(300);
  w.publish(1);
  w.settle();
  w.pass(300);
  RC_ASSERT(w.got() == range(after + 1, w.log.size()));
}

// Regression: after a restart, live events came without the user whom a query named.
TEST(a_subscription, gets_live_events_with_the_names_that_only_the_directory_knows) {
  subscriber_world w;
  w.subscribe();
  w.settle();
  w.publish(1);
  w.publish_of(7);
  w.publish_of(8, "ada");
  w.publish_of(9);
  w.publish(1);
  w.settle();
  EXPECT_EQ(w.port.lines[1], (std::vector<std::string>{"sub-1 event e1", "sub-1 event e2 user-7",
                                                       "sub-1 event e3 ada",
                                                       "sub-1 event e4 user-9", "sub-1 event e5"}));
  EXPECT_EQ(w.questions, 2U);
}

TEST(a_subscription, goes_on_without_names_when_the_shard_is_gone) {
  subscriber_world w;
  w.subscribe();
  w.settle();
  caf::anon_send_exit(w.shard, caf::exit_reason::kill);
  w.publish_of(7);
  w.publish(1);
  w.settle();
  EXPECT_EQ(w.port.lines[1], (std::vector<std::string>{"sub-1 event e1", "sub-1 event e2"}));
}

TEST(a_subscription, misses_nothing_when_names_come_more_slowly_than_events) {
  subscriber_world w;
  w.subscribe();
  w.settle();
  std::size_t answered = 0;
  auto slow = w.system.spawn([&answered](caf::event_based_actor* self) {
    return caf::behavior{[&answered, self](name_subjects&) -> caf::result<subjects_named> {
      ++answered;
      return self->make_response_promise<subjects_named>();  // and never a word
    }};
  });
  caf::anon_send(w.subscriptions, shard_moved{0, caf::actor_cast<session_actor>(slow), {}, {}});
  w.publish_of(7);
  w.publish(static_cast<int>(core::limits::recent_events_max));  // too many to be kept
  w.settle();
  EXPECT_TRUE(w.got().empty());
  w.pass(9'000);
  EXPECT_EQ(answered, 1U);
  EXPECT_EQ(w.got(), range(1, w.log.size()));
  caf::anon_send_exit(slow, caf::exit_reason::user_shutdown);
  w.settle();
}

// Regression: an event that was published before the hub heard that nobody listens, followed by
// one after it heard that somebody does again, passed for all that there was.
TEST(a_subscription, that_begins_while_the_hub_lags_misses_nothing) {
  subscriber_world w;
  w.subscribe();
  w.settle();
  const auto run_loop = [&w] {
    while (w.unit.run()) {
    }
  };
  w.publish(1);
  inbound request;
  request.to = {++w.ticket, 1};
  request.who = &w.observer;
  request.what.params = core::unsubscribe_events{"sub-1"};
  request.from = 1;
  caf::anon_send(w.subscriptions, actors::unsubscribe{std::move(request)});
  run_loop();
  w.publish(1);
  w.subscribe(2, "e1");
  run_loop();
  w.settle();
  w.pass(300);
  EXPECT_EQ(w.got(2), range(2, 2));
  w.publish(1);
  w.settle();
  w.pass(300);
  EXPECT_EQ(w.got(2), range(2, 3));
}

TEST(a_subscription, that_falls_too_far_behind_ends_with_its_cursor) {
  subscriber_world w(10);
  w.subscribe();
  w.settle();
  w.port.unread_bytes[1] = core::limits::unread_pause_bytes;
  w.publish(10);
  w.settle();
  w.pass(300);
  EXPECT_TRUE(w.port.lines[1].empty());
  w.publish(1);
  w.settle();
  w.pass(300);
  ASSERT_EQ(w.port.lines[1].size(), 1U);
  EXPECT_EQ(w.port.lines[1][0], "sub-1 ended SUBSCRIBER_TOO_SLOW");
  EXPECT_FALSE(w.interested);
}

TEST(a_subscription, filters_by_type_and_tenant) {
  subscriber_world w;
  w.subscribe(1, std::nullopt, {"session_expired"});
  w.subscribe(2, std::nullopt, {}, "acme");
  w.subscribe(3);
  w.settle();
  w.publish(1, core::session_evicted{}, "acme");
  w.publish(1, core::session_expired{}, "other");
  w.publish(1, core::session_touched{}, "acme");
  w.publish(1, core::node_stopped{});
  w.settle();
  EXPECT_EQ(w.got(1), (std::vector<std::uint64_t>{2}));
  EXPECT_EQ(w.got(2), (std::vector<std::uint64_t>{1}));
  EXPECT_EQ(w.got(3), (std::vector<std::uint64_t>{1, 2, 4}));  // touches only when named
}

TEST(a_subscription, of_a_caller_with_tenants_sees_only_those) {
  subscriber_world w;
  w.observer.tenants = {"acme"};
  w.subscribe();
  w.settle();
  w.publish(1, core::session_evicted{}, "acme");
  w.publish(1, core::session_evicted{}, "other");
  w.publish(1, core::node_stopped{});
  w.settle();
  EXPECT_EQ(w.got(), (std::vector<std::uint64_t>{1}));
}

TEST(a_subscription, that_nothing_passes_hears_of_its_cursor_every_30_s) {
  subscriber_world w;
  w.subscribe(1, std::nullopt, {"session_expired"});
  w.settle();
  w.publish(7);
  w.settle();
  w.leap(31'000);
  EXPECT_EQ(w.got(1, " only e"), (std::vector<std::uint64_t>{7}));
  w.leap(31'000);
  EXPECT_EQ(w.got(1, " only e"), (std::vector<std::uint64_t>{7, 7}));
}

TEST(a_subscription, is_refused_for_what_it_may_not_see_or_does_not_exist) {
  subscriber_world w;
  w.publish(2);
  w.settle();
  const auto refused = [&](std::uint32_t ticket) {
    w.settle();
    return w.error(ticket);
  };
  EXPECT_EQ(refused(w.subscribe(1, std::nullopt, {"no_such_event"})),
            core::error_code::INVALID_PARAMS);
  EXPECT_EQ(refused(w.subscribe(1, "e3")), core::error_code::CURSOR_INVALID);
  EXPECT_EQ(refused(w.subscribe(1, "s1")), core::error_code::CURSOR_INVALID);
  EXPECT_EQ(refused(w.subscribe(1, "")), core::error_code::CURSOR_INVALID);
  w.observer.role = core::role::app;
  EXPECT_EQ(refused(w.subscribe(1, std::nullopt, {"session_created"})),
            core::error_code::FORBIDDEN);
  EXPECT_FALSE(w.interested);
}

TEST(a_subscription, ends_when_asked_or_when_its_connection_goes) {
  subscriber_world w;
  w.subscribe(1);
  w.subscribe(2);
  w.settle();
  w.unsubscribe(1, "sub-2");  // another connection's
  EXPECT_EQ(w.error(w.ticket), core::error_code::SUBSCRIPTION_NOT_FOUND);
  w.unsubscribe(1, "sub-1");
  EXPECT_TRUE(std::holds_alternative<core::done>(w.port.replies.at(w.ticket).reply));
  w.publish(1);
  w.settle();
  EXPECT_TRUE(w.got(1).empty());
  EXPECT_EQ(w.got(2).size(), 1U);
  caf::anon_send(w.subscriptions, connection_gone{2});
  w.settle();
  EXPECT_FALSE(w.interested);
}

TEST(subscriptions, of_one_connection_are_bounded) {
  subscriber_world w;
  for (std::size_t i = 0; i < core::limits::subscriptions_per_connection_max; ++i) w.subscribe(1);
  const auto one_more = w.subscribe(1), other = w.subscribe(2);
  w.settle();
  EXPECT_EQ(w.error(one_more), core::error_code::SUBSCRIPTION_LIMIT);
  EXPECT_TRUE(std::holds_alternative<core::subscribed>(w.port.replies.at(other).reply));
}

}  // namespace
}  // namespace portcullis::actors

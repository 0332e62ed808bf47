// The gateway's cold paths in front of real shards: what is gathered from all of them, in which
// order it comes, and who may see it.
#include "actors/gateway.hpp"
#include "fixture.hpp"

namespace portcullis::actors {
namespace {

using core::error_code;
using core::method;

class voice_world : public shard_world {
 public:
  voice_world() : shard_world(2) { policy().session.idle_ttl_s = 43'200; }
  ~voice_world() {
    settle();
    door->wire({}, {});
    unit.exit_all();
    voice = gateway_actor{};
    for (const auto& each : others) caf::anon_send_exit(each, caf::exit_reason::user_shutdown);
    settle();
  }
  void open() {
    start();
    gateway_options options;
    options.shards = 2;
    options.keys = keys;
    options.clock = &clock;
    options.limiter = std::make_shared<auth_limiter>();
    options.pool = std::make_shared<batch_pool>();
    door = std::make_unique<gateway>(std::move(options));
    door->attach(port);
    voice = spawn_pinned<gateway_actor, gateway_voice>(
        unit, gateway_behaviour, door.get(),
        std::function<core::loop_tallies()>([] { return core::loop_tallies{}; }));
    peers.hub = hub;
    peers.journal = journal;
    peers.shards = moved;
    peers.gateways = {voice};
    peers.supervisor = caf::actor_cast<supervisor_actor>(scripted({[this](admin_request& order) {
      EXPECT_EQ(order.actor, "root");
      ++orders;
      return admin_answer{};
    }}));
    peers.subscriptions = caf::actor_cast<subscriptions_actor>(scripted(
        {[this](subscribe& order) {
           told.push_back("subscribe " + std::to_string(order.request.from));
         },
         [this](unsubscribe& order) {
           told.push_back("unsubscribe " + std::to_string(order.request.from));
         },
         [this](connection_gone& gone) { told.push_back("gone " + std::to_string(gone.id)); }}));
    door->wire(std::exchange(peers, {}), voice);
    settle();
  }
  caf::actor scripted(caf::behavior does) {
    others.push_back(system.spawn([does](caf::event_based_actor*) { return does; }));
    return others.back();
  }
  /// Hands a request in; nothing runs yet.
  std::uint32_t hand(const core::caller& who, method which, core::request_params params) {
    core::request request;
    request.method = which;
    request.params = std::move(params);
    (void)door->submit(9, who, {++last, 1}, request, {});
    return last;
  }
  std::uint32_t call(const core::caller& who, method which, core::request_params params) {
    const auto ticket = hand(who, which, std::move(params));
    settle();
    return ticket;
  }
  void lock(const core::session_made& session) { (void)alone(validate(session.id, elsewhere)); }
  static core::query_events about(std::string_view user) {
    core::query_events query;
    query.tenant_id = "acme";
    query.user_id = user;
    query.limit = 100;
    return query;
  }

  gateway_peers peers;
  std::unique_ptr<gateway> door;
  gateway_actor voice;
  std::vector<caf::actor> others;
  std::vector<std::string> told;
  std::size_t orders = 0;
  std::uint32_t last = 1'000'000;  // apart from shard_world's tickets
};

// Regression: the query was answered before the create was durable, and did not show it.
TEST(events_query, that_names_a_user_waits_for_what_was_sent_before_it) {
  voice_world w;
  w.open();
  core::create_session params;
  params.user = {"acme", "alice"};
  params.context.ip = *core::parse_ip(shard_world::home);
  const auto create = w.hand(w.admin, method::session_create, params);
  const auto query = w.hand(w.admin, method::events_query, voice_world::about("alice"));
  const auto other = w.hand(w.admin, method::events_query, core::query_events{});
  w.settle();
  EXPECT_FALSE(w.answered(create));
  EXPECT_FALSE(w.answered(query));
  EXPECT_TRUE(w.answered(other));  // names nobody: waits for nobody
  w.commit_all();
  EXPECT_TRUE(w.answered(create));
  EXPECT_EQ(w.reply<core::event_page>(query).cursor, "e1");
  ASSERT_EQ(w.queries.size(), 2U);
  EXPECT_TRUE(w.queries[1].subject);
  EXPECT_EQ(
      w.reply<core::event_page>(w.call(w.admin, method::events_query, voice_world::about("nobody")))
          .cursor,
      "e0");
}

TEST(events_query, that_names_a_session_waits_for_its_user_and_for_what_came_before_only) {
  voice_world w;
  w.open();
  const auto s = w.made("alice");
  const auto revoke = w.hand(w.admin, method::session_revoke, core::revoke_session{s.handle});
  core::query_events by_handle;
  by_handle.handle = s.handle;
  by_handle.limit = 100;
  const auto query = w.hand(w.admin, method::events_query, by_handle);
  w.settle();
  EXPECT_FALSE(w.answered(query));
  // Behind the query: it must not wait for this one.
  core::create_session params;
  params.user = {"acme", "alice"};
  params.context.ip = *core::parse_ip(shard_world::home);
  const auto later = w.hand(w.admin, method::session_create, params);
  w.door->turn_ended();
  w.settle();
  w.commit_one();
  ASSERT_FALSE(w.logged.empty());
  EXPECT_TRUE(w.answered(revoke));
  EXPECT_FALSE(w.answered(later));
  // The question goes round once more behind the batch that is on its way, and no further.
  w.commit_all();
  EXPECT_TRUE(w.answered(query));
  by_handle.handle->bytes[9] ^= 1;
  EXPECT_TRUE(w.answered(w.call(w.admin, method::events_query, by_handle)));
}

// Regression: pages went by subjects, which are random.
TEST(lockout_list, goes_by_when_counting_began_over_all_shards) {
  voice_world w;
  w.policy().lockout.threshold = 1;
  w.open();
  std::vector<core::session_made> sessions;
  for (int i = 0; i < 10; ++i)
    sessions.push_back(w.made("user-" + std::to_string(i), i % 2 == 0 ? "acme" : "other"));
  for (const auto& each : sessions) {
    w.lock(each);
    w.clock.at_ms += 10;
  }
  const auto names = [&w](const core::caller& who, std::string_view tenant, std::uint32_t limit) {
    std::vector<std::string> out;
    std::string cursor;
    do {
      const auto ticket =
          w.call(who, method::lockout_list, core::list_lockouts{tenant, {limit, cursor}});
      const auto& page = w.reply<core::lockout_page>(ticket);
      EXPECT_LE(page.rows.size(), limit);
      for (const auto& row : page.rows) out.push_back(row.user_id);
      cursor = page.cursor;
    } while (!cursor.empty() && out.size() < 50);
    return out;
  };
  std::vector<std::string> all, some;
  for (int i = 0; i < 10; ++i) all.push_back("user-" + std::to_string(i));
  for (int i = 0; i < 10; i += 2) some.push_back("user-" + std::to_string(i));
  for (const std::uint32_t limit : {1U, 3U, 10U, 100U}) {
    EXPECT_EQ(names(w.admin, {}, limit), all) << limit;
    EXPECT_EQ(names(w.admin, "acme", limit), some) << limit;
  }
  auto limited = w.admin;
  limited.tenants = {"acme"};
  EXPECT_EQ(names(limited, {}, 2), some);
  for (const auto* cursor : {"l", "l00", "e1", "lzz"})
    EXPECT_EQ(w.error(w.call(w.admin, method::lockout_list, core::list_lockouts{{}, {10, cursor}})),
              error_code::CURSOR_INVALID);
}

TEST(lockout_list, shows_nobody_twice_while_locks_begin_and_end) {
  voice_world w;
  w.policy().lockout.threshold = 1;
  w.open();
  std::vector<core::session_made> sessions;
  for (int i = 0; i < 6; ++i) sessions.push_back(w.made("user-" + std::to_string(i)));
  for (int i = 0; i < 4; ++i) {
    w.lock(sessions[static_cast<std::size_t>(i)]);
    w.clock.at_ms += 10;
  }
  const auto first = w.call(w.admin, method::lockout_list, core::list_lockouts{{}, {2, {}}});
  const auto cursor = w.reply<core::lockout_page>(first).cursor;
  const auto clear = w.alone(w.clear("user-2"));
  w.commit_all();
  EXPECT_TRUE(w.answered(clear));
  w.lock(sessions[4]);
  const auto second = w.call(w.admin, method::lockout_list, core::list_lockouts{{}, {9, cursor}});
  const auto& page = w.reply<core::lockout_page>(second);
  ASSERT_EQ(page.rows.size(), 2U);
  EXPECT_EQ(page.rows[0].user_id, "user-3");
  EXPECT_EQ(page.rows[1].user_id, "user-4");
  EXPECT_TRUE(page.cursor.empty());
}

TEST(callers_with_tenants, get_nothing_that_concerns_all_tenants) {
  voice_world w;
  w.open();
  w.made("alice");
  w.made("bob", "other");
  w.made("carol", "other");
  auto limited = w.admin;
  limited.tenants = {"other", "unheard-of"};
  const std::pair<method, core::request_params> whole[] = {
      {method::session_stats, core::session_stats{}},
      {method::server_connections, core::list_connections{}},
      {method::admin_reload, core::reload_config{}},
      {method::admin_drain, core::drain{}},
      {method::admin_backup, core::backup{"/backups/1"}},
      {method::admin_rotate_keys, core::rotate_keys{}},
      {method::admin_crash, core::crash_actor{"session"}}};
  for (const auto& [which, params] : whole) {
    EXPECT_EQ(w.error(w.call(limited, which, params)), error_code::FORBIDDEN)
        << core::to_string(which);
    EXPECT_FALSE(std::holds_alternative<core::failed>(
        w.port.replies.at(w.call(w.admin, which, params)).reply))
        << core::to_string(which);
  }
  EXPECT_EQ(w.orders, 5U);
  EXPECT_EQ(w.reply<core::info_reply>(w.call(limited, method::server_info, core::info_request{}))
                .sessions,
            2U);
  EXPECT_EQ(w.reply<core::info_reply>(w.call(w.admin, method::server_info, core::info_request{}))
                .sessions,
            3U);
}

TEST(stats, add_up_all_shards_and_fail_when_one_is_away) {
  voice_world w;
  w.open();
  for (int i = 0; i < 8; ++i) w.made("user-" + std::to_string(i));
  const auto ticket = w.call(w.admin, method::session_stats, core::session_stats{});
  EXPECT_EQ(w.reply<core::session_counts>(ticket).live, 8U);
  caf::anon_send_exit(w.moved[1].session, caf::exit_reason::kill);
  w.settle();
  EXPECT_EQ(w.error(w.call(w.admin, method::session_stats, core::session_stats{})),
            error_code::OVERLOADED);
  EXPECT_EQ(w.error(w.call(w.admin, method::events_query,
                           [] {
                             core::query_events query;
                             query.handle.emplace().bytes[0] = 255;
                             return query;
                           }())),
            error_code::OVERLOADED);
}

TEST(subscriptions_of_a_connection, are_passed_on_and_end_with_it) {
  voice_world w;
  w.open();
  w.call(w.admin, method::events_subscribe, core::subscribe_events{});
  w.call(w.admin, method::events_unsubscribe, core::unsubscribe_events{"sub-1"});
  w.door->closed(9);
  w.settle();
  EXPECT_EQ(w.told, (std::vector<std::string>{"subscribe 9", "unsubscribe 9", "gone 9"}));
}

TEST(a_scrape_over_http, goes_to_the_metrics_actor_that_there_is_now) {
  voice_world w;
  w.open();
  std::string seen;
  const auto get = [&] {
    w.door->scrape([&seen](const core::result<net::http_page>& page) {
      seen = page ? page->text : std::string(core::describe(page.error().code).name);
    });
    w.settle();
    return std::exchange(seen, {});
  };
  const auto first = w.scripted({[](scrape) { return scraped{"first"}; }});
  caf::anon_send(w.voice, metrics_moved{caf::actor_cast<metrics_actor>(first)});
  EXPECT_EQ(get(), "first");
  caf::anon_send_exit(first, caf::exit_reason::kill);
  w.settle();
  EXPECT_EQ(get(), "OVERLOADED");
  const auto second = w.scripted({[](scrape) { return scraped{"second"}; }});
  caf::anon_send(w.voice, metrics_moved{caf::actor_cast<metrics_actor>(second)});
  EXPECT_EQ(get(), "second");
}

}  // namespace
}  // namespace portcullis::actors

// Sessions that their callers named: what a gateway makes of an alias, what a shard gives it to,
// and in which order.
#include <array>
#include <atomic>
#include <thread>

#include "gateway_world.hpp"

namespace portcullis::actors {
namespace {

using core::error_code;
using core::event_type;
using core::method;

constexpr std::string_view alias = "an alias of sixteen bytes or more";

struct a_shard : testing::Test, shard_world {
  a_shard() { start(); }
  [[nodiscard]] core::session_id id() const { return id_of(alias, "ada"); }
  std::uint32_t create_it(std::string user = "ada") {
    return create_as(std::string(alias), std::move(user));
  }
  void expect_taken(std::uint32_t ticket) {
    const auto& why = reply<core::failed>(ticket).why;
    EXPECT_EQ(why.code, error_code::INVALID_PARAMS);
    EXPECT_EQ(why.field, "alias");
    EXPECT_EQ(why.rule, "unique");
  }
};

TEST_F(a_shard, makes_the_session_whose_id_is_what_the_alias_stands_for) {
  const auto made = alone(create_it());
  commit_all();
  EXPECT_EQ(reply<core::session_made>(made).id, id());
  EXPECT_EQ(where_is(alias), id().bytes[0]);
  EXPECT_TRUE(valid(alone(validate(id()))));
  EXPECT_EQ(std::get<core::session_created>(events(event_type::session_created)[0].body).alias,
            keys->alias_tag("acme", alias));
}

TEST_F(a_shard, executes_what_names_the_alias_behind_its_creation_as_sent) {
  const auto made = create_it();
  const auto first = validate(id());
  const auto gone = revoke_user("ada");
  const auto second = validate(id());
  submit();
  EXPECT_FALSE(answered(first)) << "its creation is not committed";
  while (!logged.empty()) commit_all();
  EXPECT_EQ(reply<core::session_made>(made).id, id());
  EXPECT_TRUE(valid(first));
  EXPECT_EQ(reply<core::sessions_revoked>(gone).count, 1U);
  EXPECT_EQ(reason(second), core::invalid_reason::revoked);
  EXPECT_EQ(port.order, (std::vector<std::uint32_t>{made, first, gone, second}));
}

TEST_F(a_shard, executes_all_that_takes_an_id_behind_the_creation) {
  for (int which = 0; which < 3; ++which) {
    const auto name = std::string(alias) + std::to_string(which);
    const auto it = id_of(name, "ada");
    const auto made = create_as(name, "ada");
    const auto second = which == 0 ? update(it, "{}") : which == 1 ? rotate(it) : revoke(it);
    submit();
    while (!logged.empty()) commit_all();
    EXPECT_EQ(reply<core::session_made>(made).id, it);
    if (which == 0) {
      EXPECT_EQ(reply<core::session_changed>(second).version, 2U);
    }
    if (which == 1) {
      EXPECT_NE(reply<core::session_made>(second).id, it);
    }
    if (which == 2) {
      EXPECT_EQ(reply<core::sessions_revoked>(second).count, 1U);
    }
  }
}

TEST_F(a_shard, keeps_what_names_the_alias_behind_a_creation_that_waits_itself) {
  const auto before = create("ada");
  const auto made = create_it();
  const auto asked = validate(id());
  submit();
  while (!logged.empty()) commit_all();
  EXPECT_TRUE(answered(before));
  EXPECT_TRUE(answered(made));
  EXPECT_TRUE(valid(asked));
}

TEST_F(a_shard, frees_the_alias_of_a_create_that_the_disk_refused) {
  const auto made = create_it();
  const auto asked = validate(id());
  submit();
  EXPECT_TRUE(where_is(alias));
  refuse_one();
  EXPECT_EQ(error(made), error_code::STORE_FULL);
  EXPECT_EQ(reason(asked), core::invalid_reason::not_found);
  EXPECT_FALSE(where_is(alias));
  const auto again = alone(create_it("bob"));
  commit_all();
  EXPECT_EQ(reply<core::session_made>(again).id, id_of(alias, "bob"));
}

TEST_F(a_shard, frees_the_alias_of_a_create_that_the_policy_refused) {
  EXPECT_EQ(error(alone(create_as(std::string(alias), "ada", 1'000'000))),
            error_code::TTL_OUT_OF_RANGE);
  EXPECT_FALSE(where_is(alias));
  policy().session.max_sessions_per_user = 1;
  (void)made("ada");
  const auto over = alone(create_it());
  commit_all();
  EXPECT_EQ(error(over), error_code::SESSION_CAP_REACHED);
  EXPECT_FALSE(where_is(alias));
}

TEST_F(a_shard, gives_an_alias_that_is_asked_for_twice_to_the_first_whose_create_succeeds) {
  const auto first = create_it();
  const auto second = create_it();
  std::string other;
  for (int i = 0; other.empty() || id_of(alias, other).bytes[0] != id().bytes[0]; ++i)
    other = "user" + std::to_string(i);
  const auto third = create_it(other);  // whose requests may come before the second one's
  submit();
  refuse_one();
  while (!logged.empty()) commit_all();
  EXPECT_EQ(error(first), error_code::STORE_FULL);
  const bool second_has_it = !std::holds_alternative<core::failed>(port.replies[second].reply);
  if (second_has_it) {
    EXPECT_EQ(reply<core::session_made>(second).id, id());
    expect_taken(third);
  } else {
    EXPECT_EQ(reply<core::session_made>(third).id, id());
    expect_taken(second);
  }
  EXPECT_EQ(events(event_type::session_created).size(), 1U);
  EXPECT_TRUE(where_is(alias));
}

TEST_F(a_shard, does_not_make_a_destroyed_session_anew) {
  (void)alone(create_it());
  commit_all();
  (void)alone(revoke(id()));
  commit_all();
  EXPECT_EQ(reason(alone(validate(id()))), core::invalid_reason::revoked);
  const auto tag = keys->alias_tag("acme", alias);
  EXPECT_FALSE(aliases->reserve(tag, id().bytes[0], clock.at_ms)) << "no gateway passes it on";
}

TEST_F(a_shard, has_the_alias_free_again_when_the_session_is_forgotten) {
  const auto made = alone(create_it());
  commit_all();
  const auto until_ms =
      reply<core::session_made>(made).absolute_expires_at_ms + core::limits::tombstone_keep_ms;
  leap(until_ms - clock.at_ms - 2'000);
  while (!logged.empty()) commit_all();
  EXPECT_TRUE(where_is(alias));
  leap(3'000);
  EXPECT_FALSE(where_is(alias));
  EXPECT_EQ(reason(alone(validate(id()))), core::invalid_reason::not_found);
  // Until the log's time has come so far the session's record is still here: not a second one.
  expect_taken([&] {
    const auto ticket = alone(create_it());
    while (!logged.empty()) commit_all();
    return ticket;
  }());
  EXPECT_FALSE(where_is(alias));
  caf::anon_send(moved[0].session, log_time{clock.at_ms});
  pass(2 * core::limits::log_time_again_ms + 2'000);
  const auto again = alone(create_it());
  while (!logged.empty()) commit_all();
  EXPECT_EQ(reply<core::session_made>(again).id, id());
}

struct a_shard_of_several_nodes : testing::Test, shard_world {
  a_shard_of_several_nodes() {
    shared = true;
    start();
    read();
  }
  /// What another node has made of its own create with the alias, as it stands in the log.
  batch_ptr made_elsewhere() {
    core::event what;
    what.seq = ++seq;
    what.at_ms = what.decided_at_ms = clock.at_ms;
    what.tenant_id = "acme";
    what.session_seq = what.seq;
    what.subject.emplace().bytes[0] = static_cast<std::uint8_t>(id_of(alias, "ada").bytes[0] ^ 1);
    what.handle.emplace().bytes = what.subject->bytes;
    core::session_created body;
    body.alias = keys->alias_tag("acme", alias);
    body.absolute_expires_at_ms = clock.at_ms + 60'000;
    what.body = body;
    auto batch = std::make_shared<event_batch>();
    batch->shard = event_batch::node;
    batch->writer = 7;
    batch->events.push_back(std::move(what));
    return batch;
  }
};

TEST_F(a_shard_of_several_nodes, names_the_alias_among_what_its_decision_must_not_be_overtaken_by) {
  (void)alone(create_as(std::string(alias), "ada"));
  ASSERT_EQ(logged.size(), 1U);
  const core::fleet_keys fleet(*keys);
  EXPECT_THAT(logged[0]->tags.writes,
              testing::Contains(fleet.of_alias(keys->alias_tag("acme", alias))));
  EXPECT_NE(fleet.of_alias(keys->alias_tag("acme", alias)),
            fleet.of_user(keys->alias_tag("acme", alias)));
  commit_all();
  (void)alone(create("ada"));
  EXPECT_THAT(logged[0]->tags.writes, testing::SizeIs(1)) << "a create without one has none";
}

TEST_F(a_shard_of_several_nodes, leaves_the_alias_to_the_node_that_was_faster) {
  const auto late = alone(create_as(std::string(alias), "ada"));
  ASSERT_EQ(logged.size(), 1U);
  const auto faster = made_elsewhere();
  overtake_one();
  EXPECT_FALSE(answered(late)) << "what was faster is to be read first";
  aliases->keep(faster->events[0]);  // the fleet actor, before any shard is told
  read({faster});
  settle();
  ASSERT_TRUE(answered(late));
  EXPECT_EQ(reply<core::failed>(late).why.rule, "unique");
  EXPECT_TRUE(logged.empty());
  EXPECT_EQ(where_is(alias), faster->events[0].handle->bytes[0]) << "it is the other one's";
}

TEST_F(a_shard_of_several_nodes, goes_on_with_its_create_when_what_was_faster_is_about_another) {
  const auto ticket = alone(create_as(std::string(alias), "ada"));
  overtake_one();
  read();
  settle();
  ASSERT_EQ(logged.size(), 1U);
  commit_all();
  EXPECT_EQ(reply<core::session_made>(ticket).id, id_of(alias, "ada"));
}

TEST(the_book_of_aliases, gives_each_alias_to_one_of_several_loops) {
  alias_book book;
  constexpr std::size_t aliases = 2'000, loops = 4;
  std::array<std::atomic<int>, aliases> winners{};
  std::vector<std::thread> running;
  for (std::size_t loop = 0; loop < loops; ++loop)
    running.emplace_back([&, loop] {
      for (std::size_t i = 0; i < aliases; ++i) {
        core::short_hash tag{static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(i >> 8)};
        if (book.reserve(tag, static_cast<std::uint8_t>(loop), 1'000)) ++winners[i];
        book.sweep(1'000);
        if (!book.find(tag, 1'000)) ++winners[i];
      }
    });
  for (auto& each : running) each.join();
  for (std::size_t i = 0; i < aliases; ++i) EXPECT_EQ(winners[i], 1) << i;
  EXPECT_EQ(book.size(), aliases);
}

struct a_gateway : testing::Test {
  explicit a_gateway(bool shared = false) : w(2, shared) {}
  core::caller app = gateway_world::with_role(core::role::app);

  std::uint32_t validate(std::string_view by, net::connection_id from = 1) {
    core::request request;
    request.method = method::session_validate;
    request.has_alias = true;
    core::validate_session params;
    params.by = {"acme", by};
    request.params = params;
    return w.submit(app, std::move(request), from);
  }
  std::uint32_t create(std::string_view user) {
    core::request request;
    request.method = method::session_create;
    request.has_alias = true;
    core::create_session params;
    params.user = {"acme", user};
    params.alias = alias;
    request.params = params;
    return w.submit(app, std::move(request));
  }
  std::uint32_t revoke_user(net::connection_id from = 1) {
    core::request request;
    request.method = method::session_revoke_user;
    request.params = core::revoke_user{{"acme", "alice"}, {}};
    return w.submit(app, std::move(request), from);
  }
  [[nodiscard]] core::short_hash tag(std::string_view of = alias) const {
    return w.keys->alias_tag("acme", of);
  }
  /// A user whose shard is, or is not, alice's.
  [[nodiscard]] std::string another(bool same_shard) const {
    const auto mine = w.keys->routing_byte("acme", "alice");
    for (int i = 0;; ++i) {
      auto name = "user" + std::to_string(i);
      const auto byte = w.keys->routing_byte("acme", name);
      if (byte != mine && (shard_of(byte, 2) == shard_of(mine, 2)) == same_shard) return name;
    }
  }
  /// What went to the shards since, in the order of each.
  std::vector<inbound> passed_on() {
    w.door->turn_ended();
    w.settle();
    std::vector<inbound> out;
    for (auto& [shard, all] : std::exchange(w.batches, {}))
      for (auto& batch : all)
        for (auto& each : batch.requests) {
          EXPECT_EQ(each.loop, 0U);
          out.push_back(std::move(each));
        }
    return out;
  }
  gateway_world w;
};

TEST_F(a_gateway, puts_the_id_in_the_place_of_the_alias) {
  w.aliases->keep(tag(), 200, w.clock.at_ms + 1'000);
  (void)validate(alias);
  EXPECT_EQ(w.last_tag, shard_of(200, 2) + 1);
  const auto all = passed_on();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(std::get<core::validate_session>(all[0].what.params).id,
            w.keys->alias_id("acme", alias, 200));
}

TEST_F(a_gateway, takes_an_alias_that_nobody_has_for_an_id_that_nobody_knows) {
  (void)validate(alias);
  const auto all = passed_on();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(std::get<core::validate_session>(all[0].what.params).id,
            w.keys->alias_id("acme", alias, tag()[0]));
}

TEST_F(a_gateway, puts_the_id_of_all_that_names_a_session) {
  w.aliases->keep(tag(), 200, w.clock.at_ms + 1'000);
  const auto id = w.keys->alias_id("acme", alias, 200);
  core::request request;
  request.has_alias = true;
  const core::session_alias by{"acme", alias};
  request.method = method::session_update;
  core::update_session update;
  update.by = by;
  request.params = update;
  (void)w.submit(app, request);
  request.method = method::session_rotate;
  core::rotate_session rotate;
  rotate.by = by;
  request.params = rotate;
  (void)w.submit(app, request);
  request.method = method::session_revoke;
  core::revoke_session revoke;
  revoke.by = by;
  request.params = revoke;
  (void)w.submit(app, request);
  const auto all = passed_on();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(std::get<core::update_session>(all[0].what.params).id, id);
  EXPECT_EQ(std::get<core::rotate_session>(all[1].what.params).id, id);
  EXPECT_EQ(std::get<core::session_id>(std::get<core::revoke_session>(all[2].what.params).target),
            id);
}

TEST_F(a_gateway, sends_what_names_an_alias_behind_the_create_that_has_just_given_it) {
  (void)create("alice");
  const auto tag_of_create = w.last_tag;
  (void)validate(alias);
  EXPECT_EQ(w.last_tag, tag_of_create);
  const auto all = passed_on();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].what.method, method::session_create);
  EXPECT_EQ(std::get<core::validate_session>(all[1].what.params).id,
            w.keys->alias_id("acme", alias, w.keys->routing_byte("acme", "alice")));
}

TEST_F(a_gateway, refuses_an_alias_that_is_taken_or_about_to_be) {
  (void)create("alice");
  EXPECT_EQ(passed_on().size(), 1U);
  const auto other = create(another(false));
  EXPECT_EQ(w.error(other), error_code::INVALID_PARAMS);
  EXPECT_EQ(std::get<core::failed>(w.port.replies.at(other).reply).why.rule, "unique");
  EXPECT_FALSE(w.error(create("alice"))) << "its shard puts these in order";
  EXPECT_EQ(passed_on().size(), 1U);
  w.aliases->keep(tag(), w.keys->routing_byte("acme", "alice"), w.clock.at_ms + 1'000);
  EXPECT_EQ(w.error(create("alice")), error_code::INVALID_PARAMS);
  EXPECT_EQ(w.error(create(another(true))), error_code::INVALID_PARAMS);
  EXPECT_TRUE(passed_on().empty());
}

TEST_F(a_gateway, reserves_nothing_for_a_shard_that_is_away) {
  caf::anon_send(w.voice, shard_down{shard_of(w.keys->routing_byte("acme", "alice"), 2)});
  w.settle();
  EXPECT_EQ(w.error(create("alice")), error_code::OVERLOADED);
  EXPECT_EQ(w.aliases->size(), 0U);
}

TEST_F(a_gateway, forbids_an_alias_of_a_tenant_outside) {
  app = gateway_world::with_role(core::role::app, {"globex"});
  EXPECT_EQ(w.error(validate(alias)), error_code::FORBIDDEN);
  EXPECT_EQ(w.error(create("alice")), error_code::FORBIDDEN);
  EXPECT_EQ(w.aliases->size(), 0U);
}

struct a_gateway_of_several_nodes : a_gateway {
  a_gateway_of_several_nodes() : a_gateway(true) {
    (void)w.door->greet(2, {"127.0.0.1", true, "rpc"});
  }
  void answer(std::optional<core::error> why = std::nullopt) {
    caf::anon_send(w.voice, caught_up{why, 0});
    w.settle();
  }
};

TEST_F(a_gateway_of_several_nodes, looks_before_it_says_that_nobody_has_an_alias) {
  (void)validate(alias);
  EXPECT_TRUE(passed_on().empty());
  ASSERT_EQ(w.questions.size(), 1U);
  EXPECT_TRUE(w.questions[0].of_gateway);
  answer();
  const auto all = passed_on();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_TRUE(all[0].certain) << "the shard need not look again";
}

TEST_F(a_gateway_of_several_nodes, keeps_a_connections_order_while_it_looks_and_holds_up_no_other) {
  const auto first = validate(alias);
  const auto second = revoke_user();
  const auto others = revoke_user(2);
  auto all = passed_on();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].to.slot, others);
  w.aliases->keep(tag(), w.keys->routing_byte("acme", "alice"), w.clock.at_ms + 1'000);
  answer();
  all = passed_on();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].to.slot, first);
  EXPECT_EQ(all[1].to.slot, second);
  EXPECT_FALSE(all[0].certain) << "that shard may not have read so far";
  const auto later = revoke_user();
  all = passed_on();
  ASSERT_EQ(all.size(), 1U) << "the line is gone";
  EXPECT_EQ(all[0].to.slot, later);
}

TEST_F(a_gateway_of_several_nodes, does_not_look_for_what_it_knows_or_makes) {
  w.aliases->keep(tag(), 200, w.clock.at_ms + 1'000);
  (void)validate(alias);
  (void)create("alice");
  EXPECT_EQ(passed_on().size(), 1U);
  EXPECT_TRUE(w.questions.empty());
}

TEST_F(a_gateway_of_several_nodes, asks_anew_for_what_came_while_it_was_asking) {
  (void)validate(alias);
  (void)validate("another alias, as long as that", 2);
  const auto behind = validate("a third alias, as long as these");
  EXPECT_TRUE(passed_on().empty());
  EXPECT_EQ(w.questions.size(), 1U);
  answer();
  EXPECT_EQ(passed_on().size(), 1U);
  EXPECT_EQ(w.questions.size(), 2U);
  answer();
  EXPECT_EQ(passed_on().size(), 1U) << "the second connection's";
  EXPECT_EQ(w.questions.size(), 3U);
  answer();
  const auto all = passed_on();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].to.slot, behind);
  EXPECT_EQ(w.questions.size(), 3U);
}

TEST_F(a_gateway_of_several_nodes, says_so_when_it_cannot_look_and_goes_on_with_the_rest) {
  const auto first = validate(alias);
  const auto second = revoke_user();
  (void)passed_on();
  answer(core::fail(error_code::STORE_UNAVAILABLE, {}, "not_connected"));
  EXPECT_EQ(w.error(first), error_code::STORE_UNAVAILABLE);
  const auto all = passed_on();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].to.slot, second);
}

TEST_F(a_gateway_of_several_nodes, forgets_the_line_of_a_connection_that_is_gone) {
  (void)validate(alias);
  (void)revoke_user();
  w.door->closed(1);
  answer();
  EXPECT_TRUE(passed_on().empty());
}

}  // namespace
}  // namespace portcullis::actors

// Sessions that their callers named: what a gateway makes of an alias, and what it knows before it
// says that nobody has it.
#include <deque>
#include <span>

#include "gateway_world.hpp"

namespace portcullis::actors {
namespace {

using core::error_code;
using core::method;

constexpr std::string_view some_alias = "an alias of sixteen bytes or more";

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
    params.alias = some_alias;
    request.params = params;
    return w.submit(app, std::move(request));
  }
  std::uint32_t revoke_user(net::connection_id from = 1) {
    core::request request;
    request.method = method::session_revoke_user;
    request.params = core::revoke_user{{"acme", "alice"}, {}};
    return w.submit(app, std::move(request), from);
  }
  [[nodiscard]] core::short_hash tag(std::string_view of = some_alias) const {
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
  (void)validate(some_alias);
  EXPECT_EQ(w.last_tag, shard_of(200, 2) + 1);
  const auto all = passed_on();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(std::get<core::validate_session>(all[0].what.params).id,
            w.keys->alias_id("acme", some_alias, 200));
}

// By these two a shard keeps the order of what it does not know (docs/decisions/0029).
TEST_F(a_gateway, says_whose_each_request_is_and_the_routing_byte_of_what_it_names) {
  w.aliases->keep(tag(), 200, w.clock.at_ms + 1'000);
  (void)validate(some_alias, 7);
  (void)revoke_user(8);
  auto all = passed_on();
  ASSERT_EQ(all.size(), 2U);
  if (all[0].from == 8) std::swap(all[0], all[1]);
  EXPECT_EQ(all[0].from, 7U);
  EXPECT_EQ(all[0].routing, 200);
  EXPECT_EQ(all[1].from, 8U);
  EXPECT_EQ(all[1].routing, w.keys->routing_byte("acme", "alice"));
}

TEST_F(a_gateway, takes_an_alias_that_nobody_has_for_an_id_that_nobody_knows) {
  (void)validate(some_alias);
  const auto all = passed_on();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(std::get<core::validate_session>(all[0].what.params).id,
            w.keys->alias_id("acme", some_alias, tag()[0]));
}

TEST_F(a_gateway, puts_the_id_of_all_that_names_a_session) {
  w.aliases->keep(tag(), 200, w.clock.at_ms + 1'000);
  const auto id = w.keys->alias_id("acme", some_alias, 200);
  core::request request;
  request.has_alias = true;
  const core::session_alias by{"acme", some_alias};
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
  (void)validate(some_alias);
  EXPECT_EQ(w.last_tag, tag_of_create);
  const auto all = passed_on();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].what.method, method::session_create);
  EXPECT_EQ(std::get<core::validate_session>(all[1].what.params).id,
            w.keys->alias_id("acme", some_alias, w.keys->routing_byte("acme", "alice")));
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
  EXPECT_EQ(w.error(validate(some_alias)), error_code::FORBIDDEN);
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
  (void)validate(some_alias);
  EXPECT_TRUE(passed_on().empty());
  ASSERT_EQ(w.questions.size(), 1U);
  EXPECT_TRUE(w.questions[0].of_gateway);
  answer();
  const auto all = passed_on();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_TRUE(all[0].certain) << "the shard need not look again";
}

TEST_F(a_gateway_of_several_nodes, keeps_a_connections_order_while_it_looks_and_holds_up_no_other) {
  const auto first = validate(some_alias);
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
  (void)validate(some_alias);
  (void)create("alice");
  EXPECT_EQ(passed_on().size(), 1U);
  EXPECT_TRUE(w.questions.empty());
}

TEST_F(a_gateway_of_several_nodes, asks_anew_for_what_came_while_it_was_asking) {
  (void)validate(some_alias);
  (void)validate("another alias, as long as that", 2);
  const auto behind = validate("a third alias, as long as these");
  EXPECT_TRUE(passed_on().empty());
  EXPECT_EQ(w.questions.size(), 1U);
  answer();
  EXPECT_EQ(passed_on().size(), 1U);
  EXPECT_EQ(w.questions.size(), 2U);
  answer();
  EXPECT_EQ(passed_on().size(), 2U) << "of both connections";
  EXPECT_TRUE(w.port.owners.contains(behind));
  EXPECT_EQ(w.questions.size(), 2U);
}

TEST_F(a_gateway_of_several_nodes, asks_once_for_all_that_stands_in_line) {
  std::deque<std::string> kept;
  std::vector<std::uint32_t> all;
  for (int i = 0; i < 100; ++i)
    all.push_back(validate(kept.emplace_back(std::string(some_alias) + std::to_string(i))));
  answer();
  EXPECT_EQ(passed_on().size(), 1U) << "the others came after the question";
  answer();
  std::vector<std::uint32_t> sure;
  for (const auto& each : passed_on()) {
    EXPECT_TRUE(each.certain);
    sure.push_back(each.to.slot);
  }
  EXPECT_THAT(sure, testing::UnorderedElementsAreArray(std::span(all).subspan(1)));
  EXPECT_EQ(w.questions.size(), 2U);
}

TEST_F(a_gateway_of_several_nodes, tells_who_has_what_stood_in_line) {
  const auto first = validate(some_alias);
  const auto second = revoke_user();
  const auto in_line = w.last_tag;
  answer();
  EXPECT_EQ(passed_on().size(), 2U);
  const auto where = shard_of(w.keys->routing_byte("acme", "alice"), 2) + 1;
  EXPECT_NE(in_line, where);
  EXPECT_EQ(w.port.owners.at(second), where) << "its shard's death fails it";
  EXPECT_EQ(w.port.owners.at(first), shard_of(tag()[0], 2) + 1);
}

TEST_F(a_gateway_of_several_nodes, passes_on_again_what_a_shard_gave_back) {
  w.aliases->keep(tag(), 3, w.clock.at_ms + 1'000);
  const auto ticket = validate(some_alias);
  auto all = passed_on();
  ASSERT_EQ(all.size(), 1U);
  all[0].certain = true;  // the log was read to its end for it
  w.aliases->keep(tag(), 200, w.clock.at_ms + 2'000);
  caf::anon_send(w.voice, cold_request{std::move(all[0])});
  w.settle();
  const auto again = passed_on();
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].to.slot, ticket);
  EXPECT_FALSE(again[0].certain) << "its shard may not have read so far";
  EXPECT_EQ(std::get<core::validate_session>(again[0].what.params).id,
            w.keys->alias_id("acme", some_alias, 200));
  EXPECT_EQ(w.port.owners.at(ticket), shard_of(200, 2) + 1);
}

TEST_F(a_gateway_of_several_nodes, drops_what_a_shard_gave_back_when_nobody_waits_for_it) {
  w.aliases->keep(tag(), 3, w.clock.at_ms + 1'000);
  const auto ticket = validate(some_alias);
  auto all = passed_on();
  ASSERT_EQ(all.size(), 1U);
  w.port.answer({ticket, 1}, core::failed{core::fail(error_code::OVERLOADED), {}});
  caf::anon_send(w.voice, cold_request{std::move(all[0])});
  w.settle();
  EXPECT_TRUE(passed_on().empty());
}

TEST_F(a_gateway_of_several_nodes, says_so_when_it_cannot_look_and_goes_on_with_the_rest) {
  const auto first = validate(some_alias);
  const auto second = revoke_user();
  (void)passed_on();
  answer(core::fail(error_code::STORE_UNAVAILABLE, {}, "not_connected"));
  EXPECT_EQ(w.error(first), error_code::STORE_UNAVAILABLE);
  const auto all = passed_on();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].to.slot, second);
}

TEST_F(a_gateway_of_several_nodes, forgets_the_line_of_a_connection_that_is_gone) {
  (void)validate(some_alias);
  (void)revoke_user();
  w.door->closed(1);
  answer();
  EXPECT_TRUE(passed_on().empty());
}

}  // namespace
}  // namespace portcullis::actors

// Sessions that their callers named: what a shard gives an alias to, and in which order.
#include <gmock/gmock.h>

#include <array>
#include <atomic>
#include <thread>

#include "fixture.hpp"

namespace portcullis::actors {
namespace {

using core::error_code;
using core::event_type;

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

TEST_F(a_shard, gives_an_alias_that_a_user_asks_for_twice_to_the_first_create_that_succeeds) {
  const auto first = create_it(), second = create_it(), third = create_it();
  submit();
  refuse_one();
  while (!logged.empty()) commit_all();
  EXPECT_EQ(error(first), error_code::STORE_FULL);
  EXPECT_EQ(reply<core::session_made>(second).id, id());
  expect_taken(third);
  EXPECT_EQ(events(event_type::session_created).size(), 1U);
  EXPECT_TRUE(where_is(alias));
}

// It waited for the other user's create once, and what named its own user overtook it.
TEST_F(a_shard, refuses_the_alias_that_it_is_about_to_give_to_another_user) {
  std::string other;
  for (int i = 0; other.empty() || id_of(alias, other).bytes[0] != id().bytes[0]; ++i)
    other = "user" + std::to_string(i);
  const auto first = create_it();
  const auto second = create_it(other);
  const auto gone = revoke_user(other);
  submit();
  expect_taken(second);
  EXPECT_EQ(reply<core::sessions_revoked>(gone).count, 0U);
  EXPECT_TRUE(where_is(alias)) << "the first one's reservation stays";
  refuse_one();
  EXPECT_EQ(error(first), error_code::STORE_FULL);
  EXPECT_FALSE(where_is(alias)) << "nobody has it";
  const auto again = alone(create_it(other));
  commit_all();
  EXPECT_EQ(reply<core::session_made>(again).id, id_of(alias, other));
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
  // The record stays until the log's time has come so far; the alias does not wait for that.
  EXPECT_EQ(reason(alone(validate(id()))), core::invalid_reason::not_found);
  const auto again = create_it();
  const auto seen = validate(id());
  const auto gone = revoke(id());
  submit();
  EXPECT_FALSE(answered(seen)) << "not by what was before";
  while (!logged.empty()) commit_all();
  EXPECT_EQ(reply<core::session_made>(again).id, id());
  EXPECT_TRUE(valid(seen));
  EXPECT_EQ(reply<core::sessions_revoked>(gone).count, 1U);
  EXPECT_TRUE(where_is(alias));
  EXPECT_TRUE(purged.empty()) << "the record before was there all the time";
  caf::anon_send(moved[0].session, log_time{clock.at_ms});
  pass(2 * core::limits::log_time_again_ms + 2'000);
  while (!logged.empty()) commit_all();
  EXPECT_EQ(purged.size(), 1U);
  EXPECT_EQ(reason(alone(validate(id()))), core::invalid_reason::revoked)
      << "it leads to the later";
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

TEST_F(a_shard_of_several_nodes, gives_back_what_waited_for_a_create_that_lost_its_alias) {
  const auto late = create_as(std::string(alias), "ada");
  const auto seen = by_alias(validate(id_of(alias, "ada")), alias);
  const auto gone = by_alias(revoke(id_of(alias, "ada")), alias);
  submit();
  const auto faster = made_elsewhere();
  overtake_one();
  aliases->keep(faster->events[0]);
  read({faster});
  settle();
  EXPECT_EQ(reply<core::failed>(late).why.rule, "unique");
  ASSERT_EQ(given_back.size(), 2U) << "not not_found: another session has it";
  EXPECT_EQ(given_back[0].to.slot, seen);
  EXPECT_EQ(given_back[1].to.slot, gone);
  EXPECT_FALSE(answered(seen) || answered(gone));
}

TEST_F(a_shard_of_several_nodes, gives_back_what_waited_for_the_log_that_said_whose_the_alias_is) {
  const auto seen = alone(by_alias(validate(id_of(alias, "ada")), alias));
  EXPECT_EQ(ends_asked, 1U);
  aliases->keep(made_elsewhere()->events[0]);
  caf::anon_send(moved[0].session, caught_up{std::nullopt, 1});
  settle();
  ASSERT_EQ(given_back.size(), 1U);
  EXPECT_EQ(given_back[0].to.slot, seen);
  EXPECT_FALSE(answered(seen));
}

TEST_F(a_shard_of_several_nodes, keeps_what_waited_while_the_alias_is_its_own_or_nobodys) {
  const auto none = alone(by_alias(validate(id_of(alias, "ada")), alias));
  caf::anon_send(moved[0].session, caught_up{std::nullopt, 1});
  settle();
  EXPECT_EQ(reason(none), core::invalid_reason::not_found);
  (void)create_as(std::string(alias), "ada");
  const auto seen = alone(by_alias(validate(id_of(alias, "ada")), alias));
  while (!logged.empty()) commit_all();
  EXPECT_TRUE(valid(seen));
  EXPECT_TRUE(given_back.empty());
}

// It found the session before, which it had not forgotten yet, and answered by that.
TEST_F(a_shard_of_several_nodes, knows_a_session_whose_alias_was_used_before) {
  const auto first = alone(create_as(std::string(alias), "ada"));
  commit_all();
  const auto before = reply<core::session_made>(first).handle;
  leap(reply<core::session_made>(first).absolute_expires_at_ms + core::limits::tombstone_keep_ms -
       clock.at_ms + 1'000);
  while (!logged.empty()) commit_all();
  auto again = std::make_shared<event_batch>();
  again->shard = event_batch::node;
  again->writer = 7;
  again->events = {events(event_type::session_created)[0]};
  auto& what = again->events[0];
  what.seq = what.session_seq = ++seq;
  what.at_ms = what.decided_at_ms = clock.at_ms;
  what.handle->bytes[9] ^= 1;
  std::get<core::session_created>(what.body).absolute_expires_at_ms = clock.at_ms + 60'000;
  aliases->keep(what);
  read({again});
  settle();
  const auto gone = alone(revoke(id_of(alias, "ada")));
  ASSERT_EQ(logged.size(), 1U) << "there is something to revoke";
  EXPECT_EQ(logged[0]->events[0].handle, what.handle);
  EXPECT_NE(logged[0]->events[0].handle, before);
  commit_all();
  EXPECT_EQ(reply<core::sessions_revoked>(gone).count, 1U);
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

}  // namespace
}  // namespace portcullis::actors

// Requests about what a node of several does not know: what one connection sent about one user is
// decided as sent, also where the node learns meanwhile whom it is about.
#include "fixture.hpp"

namespace portcullis::actors {
namespace {

struct a_node_in_doubt : testing::Test {
  a_node_in_doubt() {
    for (auto* each : {&node, &other}) {
      each->shared = true;
      each->start();
      each->read();
      each->settle();
    }
    node.from = 5;
  }
  struct made_elsewhere {
    core::session_made session;
    batch_ptr entry;
  };
  /// A session that the other node has made, and how it stands in the log.
  made_elsewhere elsewhere_made(std::string user) {
    const auto ticket = other.alone(other.create(std::move(user)));
    const auto entry = std::make_shared<event_batch>(*other.logged.front());
    other.commit_all();
    for (auto& each : entry->events) each.at_ms = each.decided_at_ms;
    entry->shard = event_batch::node;
    entry->writer = 7;
    return {other.reply<core::session_made>(ticket), entry};
  }
  void reads(const batch_ptr& entry) {
    for (auto& each : entry->events) each.seq = each.session_seq = ++node.seq;
    node.read({entry});
    node.settle();
  }
  void answer_question(std::optional<core::error> why = std::nullopt) {
    caf::anon_send(node.moved[0].session, caught_up{std::move(why), 1});
    node.settle();
  }
  shard_world node, other;
};

TEST_F(a_node_in_doubt,
       keeps_what_was_sent_behind_it_behind_it_when_the_log_tells_whom_it_is_about) {
  const auto [session, entry] = elsewhere_made("ada");
  const auto seen = node.alone(node.validate(session.id));
  reads(entry);
  const auto gone = node.revoke(session.handle), all = node.list("ada");
  node.submit();
  EXPECT_FALSE(node.answered(gone)) << "sent behind the validation";
  EXPECT_TRUE(node.logged.empty());
  answer_question();
  EXPECT_TRUE(node.valid(seen)) << "it was asked for before the revocation";
  node.commit_all();
  EXPECT_EQ(node.reply<core::sessions_revoked>(gone).count, 1U);
  answer_question();  // whether there are none left
  EXPECT_EQ(node.port.order, (std::vector{seen, gone, all}));
}

TEST_F(a_node_in_doubt, lets_another_connection_and_other_users_pass) {
  const auto [session, entry] = elsewhere_made("ada");
  const auto bob = node.made("bob");
  ASSERT_NE(bob.id.bytes[0], session.id.bytes[0]) << "choose other names";
  const auto seen = node.validate(session.id), his = node.validate(bob.id);
  node.submit();
  EXPECT_FALSE(node.answered(seen));
  EXPECT_TRUE(node.valid(his));
  reads(entry);
  node.from = 6;
  EXPECT_TRUE(node.valid(node.alone(node.validate(session.id)))) << "no order between connections";
  node.from = 0;
  EXPECT_TRUE(node.valid(node.alone(node.validate(session.id)))) << "nor with one at a time";
  EXPECT_FALSE(node.answered(seen));
  answer_question();
  EXPECT_TRUE(node.valid(seen));
}

TEST_F(a_node_in_doubt, creates_a_user_behind_the_question_who_that_is) {
  const auto ended = node.revoke_user("ada"), made = node.create("ada"), listed = node.list("ada");
  node.submit();
  EXPECT_TRUE(node.logged.empty()) << "in the order sent";
  answer_question();
  EXPECT_EQ(node.reply<core::sessions_revoked>(ended).count, 0U);
  node.commit_all();
  EXPECT_EQ(node.port.order, (std::vector{ended, made, listed}));
}

// One question is enough for all that waited when it was asked.
TEST_F(a_node_in_doubt, asks_once_for_a_row_of_unknown_ids) {
  core::session_id id;
  std::vector<std::uint32_t> all;
  all.push_back(node.alone(node.validate(id)));
  EXPECT_EQ(node.ends_asked, 1U);
  for (std::uint8_t i = 1; i < 5; ++i) {
    id.bytes[9] = i;
    all.push_back(node.validate(id));
  }
  node.submit();
  EXPECT_EQ(node.ends_asked, 1U);
  answer_question();
  EXPECT_EQ(node.reason(all[0]), core::invalid_reason::not_found);
  EXPECT_FALSE(node.answered(all[1])) << "it came after the question";
  EXPECT_EQ(node.ends_asked, 2U);
  answer_question();
  EXPECT_EQ(node.ends_asked, 2U);
  for (const auto each : all) EXPECT_EQ(node.reason(each), core::invalid_reason::not_found);
  EXPECT_EQ(node.port.order, all);
}

TEST_F(a_node_in_doubt, refuses_each_that_it_cannot_be_sure_of_and_goes_on_with_the_others) {
  const auto [session, entry] = elsewhere_made("ada");
  auto strange = session.id;
  strange.bytes[9] ^= 1;
  const auto first = node.alone(node.validate(strange));
  reads(entry);
  const auto known = node.validate(session.id), last = node.validate(strange);
  node.submit();
  answer_question(core::fail(core::error_code::STORE_UNAVAILABLE));
  EXPECT_EQ(node.error(first), core::error_code::STORE_UNAVAILABLE);
  EXPECT_TRUE(node.valid(known));
  EXPECT_FALSE(node.answered(last)) << "it has a question of its own";
  answer_question();
  EXPECT_EQ(node.reason(last), core::invalid_reason::not_found);
  EXPECT_EQ(node.port.order, (std::vector{first, known, last}));
}

TEST_F(a_node_in_doubt, does_not_take_an_answer_for_what_came_after_its_question) {
  const auto [session, entry] = elsewhere_made("ada");
  const auto bob = node.made("bob");
  const auto first = node.alone(node.revoke_user("nobody"));
  EXPECT_EQ(node.ends_asked, 1U);
  const auto second = node.alone(node.validate(session.id));
  answer_question();
  EXPECT_TRUE(node.answered(first));
  EXPECT_FALSE(node.answered(second)) << "the log was read before it came";
  EXPECT_EQ(node.ends_asked, 2U);
  reads(entry);
  answer_question();
  EXPECT_TRUE(node.valid(second));
  EXPECT_TRUE(node.valid(node.alone(node.validate(bob.id)))) << "nothing waits any more";
}

// Regression: those that were released together were turned round, or passed by the next.
TEST_F(a_node_in_doubt, keeps_those_in_order_that_waited_for_a_user_who_is_forgotten) {
  (void)node.made("ada");
  const auto gone = node.forget("ada"), ended = node.revoke_user("ada"), none = node.list("ada"),
             made = node.create("ada"), all = node.list("ada");
  node.submit();
  ASSERT_EQ(node.logged.size(), 1U);
  node.commit_one();
  EXPECT_TRUE(node.answered(gone));
  EXPECT_TRUE(node.logged.empty()) << "the create was sent behind what is in doubt";
  while (!node.answered(all)) {
    const auto before = node.ends_asked;
    answer_question();
    node.commit_all();
    ASSERT_TRUE(node.ends_asked > before || node.answered(all)) << "nothing goes on";
  }
  EXPECT_EQ(node.reply<core::sessions_revoked>(ended).count, 0U) << "not of the new session";
  EXPECT_TRUE(node.reply<core::session_page>(none).rows.empty());
  EXPECT_EQ(node.reply<core::session_page>(all).rows.size(), 1U);
  node.port.order.erase(node.port.order.begin());  // the create before
  EXPECT_EQ(node.port.order, (std::vector{gone, ended, none, made, all}));
}

TEST_F(a_node_in_doubt, refuses_all_that_were_asked_for_when_the_log_cannot_be_read) {
  core::session_id id;
  const auto first = node.alone(node.validate(id));
  id.bytes[9] = 1;
  const auto second = node.validate(id), third = node.revoke(id), fourth = node.revoke_user("ada");
  node.submit();
  answer_question();
  EXPECT_TRUE(node.answered(first));
  EXPECT_EQ(node.ends_asked, 2U) << "for the others";
  answer_question(core::fail(core::error_code::STORE_UNAVAILABLE));
  for (const auto each : {second, third, fourth})
    EXPECT_EQ(node.error(each), core::error_code::STORE_UNAVAILABLE);
  EXPECT_EQ(node.ends_asked, 2U);
}

TEST_F(a_node_in_doubt, tells_who_a_user_is_when_what_stands_in_line_is_done) {
  const auto [session, entry] = elsewhere_made("ada");
  const auto seen = node.alone(node.validate(session.id));
  reads(entry);
  const auto ended = node.alone(node.revoke_user("ada"));
  auto found = std::make_shared<std::optional<subject_found>>();
  const auto asker = node.system.spawn([&, found](caf::event_based_actor* self) {
    self->request(node.moved[0].session, caf::infinite, find_subject{"acme", "ada", {}})
        .then([found](subject_found& answer) { *found = answer; });
  });
  node.settle();
  EXPECT_FALSE(found->has_value()) << "a query would not see what was sent before it";
  answer_question();
  EXPECT_TRUE(node.valid(seen));
  EXPECT_FALSE(found->has_value());
  node.commit_all();
  node.settle();
  EXPECT_EQ(node.reply<core::sessions_revoked>(ended).count, 1U);
  ASSERT_TRUE(found->has_value());
  EXPECT_EQ((*found)->subject, entry->events[0].subject);
}

TEST(a_stale_node, refuses_at_once_what_stands_behind_a_request_in_doubt) {
  shard_world node;
  node.shared = true;
  node.staleness_ns_max = 1'000'000'000;
  node.from = 5;
  node.start();
  node.read();
  node.settle();
  core::session_id id;
  const auto first = node.alone(node.validate(id));
  EXPECT_FALSE(node.answered(first));
  node.clock.at_ms += 2'000;
  const auto second = node.alone(node.validate(id));
  EXPECT_EQ(node.error(second), core::error_code::STORE_UNAVAILABLE);
  EXPECT_FALSE(node.answered(first));
}

}  // namespace
}  // namespace portcullis::actors

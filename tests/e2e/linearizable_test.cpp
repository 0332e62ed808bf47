// The checker itself: what can have happened is taken, each kind of what cannot is not.
#include "linearizable.hpp"

#include <gtest/gtest.h>

namespace portcullis::e2e {
namespace {

constexpr std::int64_t bound = 100;

/// Histories are written as one reads them: when, what, what was told.
struct history {
  std::vector<operation> ops;

  operation& add(std::int64_t begun, std::int64_t ended, action what, told answer) {
    operation op;
    op.what = what;
    op.answer = answer;
    op.begun_ns = begun;
    op.ended_ns = ended;
    return ops.emplace_back(op);
  }
  history& create(std::int64_t begun, std::int64_t ended) {
    add(begun, ended, action::create, told::done).value = 7;
    return *this;
  }
  history& valid(std::int64_t begun, std::int64_t ended, std::int64_t version, std::int64_t value,
                 int id = 0) {
    auto& op = add(begun, ended, action::validate, told::done);
    op.version = version;
    op.value = value;
    op.id = id;
    return *this;
  }
  history& is(std::int64_t begun, std::int64_t ended, told answer, int id = 0) {
    add(begun, ended, action::validate, answer).id = id;
    return *this;
  }
  history& update(std::int64_t begun, std::int64_t ended, std::int64_t version, std::int64_t value,
                  told answer = told::done, int id = 0) {
    auto& op = add(begun, ended, action::update, answer);
    op.version = version;
    op.value = value;
    op.id = id;
    return *this;
  }
  history& rotate(std::int64_t begun, std::int64_t ended, int made, told answer = told::done,
                  int id = 0) {
    auto& op = add(begun, ended, action::rotate, answer);
    op.made = made;
    op.id = id;
    return *this;
  }
  history& revoke(std::int64_t begun, std::int64_t ended, told answer = told::done) {
    add(begun, ended, action::revoke, answer);
    return *this;
  }
  history& settled() {
    ops.back().settled = true;
    return *this;
  }
  [[nodiscard]] bool holds() const {
    return linearizability(ops, bound).judge().verdict == judged::as::linearizable;
  }
};

history born() { return history{}.create(0, 10); }

TEST(a_history, of_one_call_after_the_other_is_linearizable) {
  EXPECT_TRUE(history{}.holds());
  EXPECT_TRUE(born()
                  .valid(20, 30, 1, 7)
                  .update(40, 50, 2, 8)
                  .valid(60, 70, 2, 8)
                  .rotate(80, 90, 1)
                  .valid(300, 310, 2, 8, 1)
                  .update(320, 330, 3, 9, told::done, 1)
                  .revoke(340, 350)
                  .is(360, 370, told::revoked, 1)
                  .revoke(380, 390, told::nothing)
                  .holds());
}

TEST(a_history, of_a_session_that_nobody_made_is_never_valid) {
  EXPECT_TRUE(history{}.is(20, 30, told::not_found).holds());
  EXPECT_FALSE(history{}.valid(20, 30, 1, 7).holds());
  EXPECT_FALSE(history{}.valid(20, 30, 1, 7).create(40, 50).holds()) << "before it was made";
  EXPECT_TRUE(history{}.valid(20, 45, 1, 7).create(40, 50).holds()) << "while it was made";
  EXPECT_FALSE(history{}.revoke(20, 30).holds());
}

TEST(a_history, of_what_was_acknowledged_is_never_not_found) {
  EXPECT_FALSE(born().is(11, 30, told::not_found).holds());
  EXPECT_TRUE(born().is(5, 30, told::not_found).holds()) << "begun before";
  EXPECT_FALSE(born().update(20, 30, 2, 8, told::not_found).holds());
}

TEST(a_history, may_see_what_is_out_of_date_for_as_long_as_the_bound) {
  EXPECT_TRUE(born().update(20, 30, 2, 8).valid(130, 140, 1, 7).holds());
  EXPECT_FALSE(born().update(20, 30, 2, 8).valid(131, 140, 1, 7).holds());
  EXPECT_TRUE(born().revoke(20, 30).valid(130, 140, 1, 7).holds());
  EXPECT_FALSE(born().revoke(20, 30).valid(131, 140, 1, 7).holds());
  EXPECT_FALSE(born().rotate(20, 30, 1).valid(131, 140, 1, 7, 0).holds()) << "an old id";
  EXPECT_FALSE(born().revoke(20, 30).valid(40, 50, 1, 7).settled().holds());
}

TEST(a_history, sees_no_data_that_was_never_there) {
  EXPECT_FALSE(born().valid(20, 30, 1, 8).holds()) << "another one's";
  EXPECT_FALSE(born().update(20, 30, 2, 8).valid(40, 50, 2, 7).holds()) << "halves of two";
  EXPECT_FALSE(born().valid(20, 30, 2, 8).update(40, 50, 2, 8).holds()) << "of later";
  EXPECT_FALSE(born().valid(20, 30, 1, 7, 1).rotate(40, 50, 1).holds()) << "an id of later";
}

TEST(a_history, loses_no_update_and_does_none_twice) {
  EXPECT_FALSE(born().update(20, 30, 2, 8).update(40, 50, 2, 9).holds()) << "lost";
  EXPECT_FALSE(born().update(20, 30, 3, 8).holds()) << "twice";
  EXPECT_TRUE(born().update(20, 50, 3, 8).update(20, 50, 2, 9).valid(200, 210, 3, 8).holds());
  EXPECT_FALSE(born().update(20, 50, 3, 8).update(20, 50, 2, 9).valid(200, 210, 3, 9).holds());
  EXPECT_FALSE(born().update(20, 30, 2, 8).valid(200, 210, 1, 7).settled().holds());
}

TEST(a_history, has_one_successor_of_an_id) {
  EXPECT_FALSE(born().rotate(20, 50, 1).rotate(20, 50, 2).holds());
  EXPECT_TRUE(born().rotate(20, 50, 1).rotate(20, 50, 0, told::revoked).holds());
  EXPECT_FALSE(born()
                   .rotate(20, 50, 1)
                   .rotate(20, 50, 0, told::revoked)
                   .valid(60, 70, 1, 7, 1)
                   .settled()
                   .holds())
      << "the use of an old id ends the session";
  EXPECT_FALSE(born().rotate(20, 30, 1).update(40, 50, 2, 8, told::done, 0).holds());
}

TEST(a_history, revokes_once_and_for_ever) {
  EXPECT_FALSE(born().revoke(20, 30).revoke(40, 50).holds());
  EXPECT_FALSE(born().revoke(20, 30, told::nothing).holds());
  EXPECT_FALSE(born().is(20, 30, told::revoked).holds()) << "nobody revoked it";
  EXPECT_TRUE(born().is(20, 30, told::revoked).revoke(25, 40).holds());
  EXPECT_FALSE(born().revoke(20, 30).update(40, 50, 2, 8).holds());
  EXPECT_FALSE(
      born().is(20, 30, told::revoked).revoke(25, 40).valid(45, 50, 1, 7).settled().holds());
}

TEST(a_history, may_have_had_what_nobody_answered_later_or_never) {
  const auto asked = [](action what) {
    auto made = born();
    auto& op = made.add(20, 30, what, told::unknown);
    op.value = 8;
    return made;
  };
  EXPECT_TRUE(asked(action::update).valid(300, 310, 1, 7).holds()) << "never";
  EXPECT_TRUE(asked(action::update).valid(300, 310, 1, 7).valid(500, 510, 2, 8).holds());
  EXPECT_FALSE(asked(action::update).valid(300, 310, 2, 8).valid(500, 510, 1, 7).holds())
      << "and then not any more";
  EXPECT_FALSE(asked(action::update).valid(300, 310, 3, 8).holds()) << "twice";
  EXPECT_TRUE(asked(action::revoke).is(300, 310, told::revoked).holds());
  EXPECT_TRUE(asked(action::rotate).is(300, 310, told::revoked).holds()) << "its id is old";
  EXPECT_FALSE(asked(action::rotate).valid(300, 310, 1, 7, 1).holds()) << "nobody has that id";
  EXPECT_FALSE(history{}.is(5, 8, told::revoked).create(10, 20).holds());
}

}  // namespace
}  // namespace portcullis::e2e

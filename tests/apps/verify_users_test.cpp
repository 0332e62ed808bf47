// The table of users is the one that the log cannot rebuild: verify says who must have a row, and
// who must not.
#include "log_folder.hpp"

namespace portcullis::apps {
namespace {

class users_of_a_log : public log_folder {
 protected:
  [[nodiscard]] std::string subject(std::size_t row) const {
    return blob(w.rows[row].subject.bytes);
  }
  void put_back(std::size_t row) {
    const auto& r = w.rows[row];
    edit("INSERT INTO users(subject,lookup,tenant_id,ring_key,wrapped) VALUES(" + subject(row) +
         "," + blob(r.lookup) + ",'acme'," + std::to_string(r.ring_key) + "," + blob(r.wrapped) +
         ")");
  }
  void remove(std::size_t row) { edit("DELETE FROM users WHERE subject=" + subject(row)); }
};

TEST_F(users_of_a_log, a_user_without_a_row_is_found) {
  (void)w.create("ada");
  (void)w.create("bob");
  commit();
  expect_whole();
  remove(1);
  expect_wrong(2, "the row of a user of this event is not there, 1 missing");
}

TEST_F(users_of_a_log, a_forgotten_user_who_has_a_row_again_is_found) {
  (void)w.create("ada");
  (void)w.create("bob");
  w.forget_user(w.user("bob"));
  commit();
  expect_whole();
  put_back(1);
  expect_wrong(3, "the user who was forgotten here has a row again");
}

TEST_F(users_of_a_log, a_user_whose_session_is_older_than_the_log_must_have_a_row) {
  (void)w.create("ada");
  (void)w.create("bob");
  const auto gone = w.create("cyd");
  w.revoke(gone.handle);
  w.forget_user(w.user("cyd"));
  sign();
  cut(w.now_ms);
  (void)w.create("dan");
  commit();
  expect_whole();
  remove(1);
  expect_wrong(2, "the row of a user of this event is not there");
}

TEST_F(users_of_a_log, a_user_of_whom_only_failures_are_older_than_the_log_must_have_a_row) {
  const auto made = w.create("ada");
  core::validation_failed failed;
  failed.reason = core::invalid_reason::ip_mismatch;
  failed.attempt = 1;
  failed.source = core::short_hash{3};
  failed.window_ends_at_ms = w.now_ms + 900'000;
  w.about_session(made.handle, failed);
  w.revoke(made.handle);
  const auto signed_at = sign().of.seq + 1;
  cut(w.now_ms);
  expect_whole();
  remove(0);
  expect_wrong(signed_at, "the row of a user of this event is not there");
}

TEST_F(users_of_a_log, a_session_of_a_revoked_tenant_needs_no_row_of_a_user_who_was_forgotten) {
  (void)w.create("ada");
  w.apply(w.tenant_revocation("acme"));
  w.forget_user(w.user("ada"));
  sign();
  cut(w.now_ms);
  (void)w.create("bob");
  commit();
  expect_whole();
}

TEST_F(users_of_a_log, what_is_sealed_for_another_session_of_the_same_user_is_found) {
  (void)w.create("ada");
  (void)w.create("ada");
  sign();
  edit("UPDATE sessions SET sealed=(SELECT sealed FROM sessions WHERE seq=1) WHERE seq=2");
  expect_wrong(2, "sealed");
}

TEST_F(users_of_a_log, what_the_key_file_is_known_by_must_be_there) {
  (void)w.create("ada");
  commit();
  edit("DELETE FROM meta WHERE key='keyring_check'");
  expect_wrong(0, "keyring_check");
  const auto refused = store::journal::open(options());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, core::error_code::STORE_INTEGRITY);
  EXPECT_EQ(refused.error().rule, store::keyring_check_key);
}

TEST_F(users_of_a_log, an_empty_one_is_given_what_its_key_file_is_known_by) {
  open();
  edit("DELETE FROM meta WHERE key='keyring_check'");
  open();
  close();
  expect_whole();
}

}  // namespace
}  // namespace portcullis::apps

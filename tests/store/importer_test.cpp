// The store's side of an import: rows of one store make another that loads the same.
#include "store/importer.hpp"

#include <sqlite3.h>

#include "core/event/codec.hpp"
#include "core/limits.hpp"
#include "journal_fixture.hpp"

namespace portcullis::store {
namespace {

core::keyring some_keys() {
  std::uint8_t next = 0;
  return core::generate_keyring(
      [&](std::span<std::uint8_t> out) {
        for (auto& byte : out) byte = ++next;
      },
      1);
}

std::string rows_in(const std::string& database, const std::string& sql) {
  sqlite3* db = nullptr;
  EXPECT_EQ(sqlite3_open_v2(database.c_str(), &db, SQLITE_OPEN_READWRITE, nullptr), SQLITE_OK);
  sqlite3_stmt* rows = nullptr;
  EXPECT_EQ(sqlite3_prepare_v2(db, sql.c_str(), -1, &rows, nullptr), SQLITE_OK) << sql;
  std::string out;
  while (sqlite3_step(rows) == SQLITE_ROW) {
    for (int i = 0; i < sqlite3_column_count(rows); ++i) {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(rows, i));
      out += std::string(text == nullptr ? "NULL" : text) + (i > 0 ? " " : "");
    }
    out += "\n";
  }
  sqlite3_finalize(rows);
  sqlite3_close(db);
  return out;
}

/// A journal is written, closed and read; what it held is imported beside it.
class importer_test : public testing::Test {
 protected:
  importer_test() {
    options.data_dir = folder.path() + "/source";
    options.node_id = "node-1";
    options.chain = keys.chain();
    options.keyring_check.fill(7);
    auto opened = journal::open(options);
    log = std::move(*opened);
    target.data_dir = folder.path() + "/copy";
    target.node_id = "node-1";
    target.keyring_check = options.keyring_check;
    target.keys = &keys;
  }
  void commit(std::vector<core::event> events, std::vector<core::user_row> users = {},
              std::vector<std::uint64_t> purged = {},
              std::vector<core::breaker_source_record> sources = {}) {
    ASSERT_TRUE(log->append(events, users, purged, sources));
    ASSERT_TRUE(log->commit());
  }
  /// A session that its tenant's revocations have not ended.
  core::event created(std::uint64_t user = 1) {
    auto out = make.created(user);
    std::get<core::session_created>(out.body).tenant_generation = 0;
    return out;
  }
  struct source_rows final : breaker_visitor {
    void on_breaker(core::breaker_record&&) override {}
    void on_source(core::breaker_source_record&& row) override { all.push_back(std::move(row)); }
    std::vector<core::breaker_source_record> all;
  };
  /// Everything of the source but the event `without`, as the caller of an importer gives it.
  core::status import(std::uint64_t without = 0) {
    if (log) {
      EXPECT_TRUE(log->close());
      log.reset();
    }
    const auto file = log_file::open(options.data_dir);
    EXPECT_TRUE(file);
    auto begun = importer::begin(target);
    if (!begun) return begun.error();
    to = std::move(*begun);
    core::status went = core::nothing{};
    EXPECT_TRUE((*file)->read_users([&](const user_line& each) {
      if (went) went = to->add(each.row);
    }));
    source_rows sources;
    EXPECT_TRUE((*file)->load_breakers(sources));
    for (const auto& each : sources.all)
      if (went) went = to->add(each);
    EXPECT_TRUE((*file)->read(0, [&](const log_row& row) {
      if (went && row.seq != without) went = to->add(row);
      return static_cast<bool>(went);
    }));
    return went ? to->finish() : went;
  }
  void expect_same(const std::string& sql) {
    to.reset();  // which has the copy open
    EXPECT_EQ(rows_in(target.data_dir + "/portcullis.db", sql),
              rows_in(options.data_dir + "/portcullis.db", sql))
        << sql;
  }
  [[nodiscard]] bool made() const {
    return std::filesystem::exists(target.data_dir + "/portcullis.db");
  }

  temporary_folder folder;
  core::keyring ring = some_keys();
  core::key_material keys{ring};
  journal_options options;
  import_options target;
  event_maker make;
  std::unique_ptr<journal> log;
  std::unique_ptr<importer> to;
};

const std::string sessions_sql =
    "SELECT seq,hex(subject),hex(id),state,ended_seq,version,last_seen_at_ms,hex(predecessor),"
    "successor_used,hex(data) FROM sessions ORDER BY seq";

TEST_F(importer_test, rows_of_sessions_are_found_by_what_events_name) {
  std::vector<core::event> all;
  std::vector<std::pair<std::uint64_t, core::session_handle>> made_sessions;
  for (int i = 0; i < 6; ++i) {
    all.push_back(created(i < 4 ? 1 : 2));
    made_sessions.emplace_back(all.back().seq, *all.back().handle);
  }
  const auto about = [&](std::size_t which, core::event_body body) {
    auto what = make.about(std::move(body), made_sessions[which].first);
    what.handle = made_sessions[which].second;
    all.push_back(std::move(what));
  };
  core::session_touched touched;
  touched.touches = {{made_sessions[0].second, 1'200'000, made_sessions[0].first},
                     {made_sessions[4].second, 1'300'000, made_sessions[4].first}};
  all.push_back(make.about(touched));
  all.back().subject.reset();
  core::session_rotated rotated;
  rotated.id = {numbered<32>(900)};
  rotated.predecessor = {numbered<32>(2)};
  rotated.ring_key = 1;
  rotated.nonce = numbered<16>(5);
  rotated.grace_ends_at_ms = 2'000'000;
  about(1, rotated);
  about(1, core::session_successor_used{1'800'000});
  about(2, core::session_updated{2, "new data"});
  about(3, core::session_evicted{});
  core::session_revoked user;
  user.scope = core::revoke_scope::user;
  user.count = 2;
  user.except_handle = made_sessions[1].second;
  user.tenant_generation = 0;
  user.session_seqs = {made_sessions[0].first, made_sessions[2].first};
  all.push_back(make.about(user));
  core::user_forgotten forgotten;
  forgotten.count = 2;
  forgotten.session_seqs = {made_sessions[4].first, made_sessions[5].first};
  all.push_back(make.about(forgotten));
  all.back().subject = event_maker::subject(2);
  commit(all, {event_maker::user(1), event_maker::user(2)});
  const auto went = import();
  ASSERT_TRUE(went) << core::describe(went.error().code).name;
  expect_same(sessions_sql);
  expect_same("SELECT hex(subject),hex(lookup),tenant_id,ring_key,hex(wrapped) FROM users");
  expect_same("SELECT seq,at_ms,type,hex(subject),body,hex(sealed),hex(mac) FROM events");
  expect_same("SELECT * FROM meta");
  expect_same("SELECT type,name FROM sqlite_master ORDER BY name");
}

TEST_F(importer_test, sessions_past_their_tombstones_are_purged_as_replay_does) {
  auto early = created();
  auto over = make.about(core::session_revoked{}, early.seq);
  over.handle = early.handle;
  auto live = created();
  auto late = make.about(core::node_stopped{});
  late.subject.reset();
  const auto& body = std::get<core::session_created>(early.body);
  late.at_ms = late.decided_at_ms =
      body.absolute_expires_at_ms + core::limits::tombstone_keep_ms + 20'000;
  // Of the session that is gone by then: changes nothing.
  auto after = make.about(core::session_touched{{{*early.handle, late.at_ms, early.seq}}});
  after.subject.reset();
  after.at_ms = after.decided_at_ms = late.at_ms;
  commit({early, over, live, late, after}, {event_maker::user(1)}, {early.seq});
  ASSERT_TRUE(import());
  to.reset();
  EXPECT_EQ(rows_in(target.data_dir + "/portcullis.db", "SELECT seq FROM sessions"),
            std::to_string(live.seq) + "\n");
  expect_same(sessions_sql);
}

TEST_F(importer_test,
       what_sources_reported_survives_that_an_earlier_breaker_of_the_name_was_retired) {
  core::breaker_opened opened;
  opened.service = "mail";
  opened.breaker = "default";
  opened.kind = core::breaker_kind::observed;
  opened.source = "app";
  opened.epoch = 2;
  core::breaker_retired retired;
  retired.service = opened.service;
  retired.breaker = opened.breaker;
  retired.epoch = 2;
  const auto of_nobody = [&](core::event_body body) {
    auto what = make.about(std::move(body));
    what.subject.reset();
    what.tenant_id.clear();
    return what;
  };
  core::breaker_source_record source{"mail", "default", "app", {}};
  source.what.source_epoch = 3;
  source.what.seen = {9, 0xf0f0f0f0f0f0f0f1};
  source.what.state = core::breaker_state::open;
  source.what.gaps.push_back({1, 3, core::breaker_state::closed, core::breaker_state::open});
  commit({of_nobody(opened), of_nobody(retired), of_nobody(opened)}, {}, {}, {source});
  ASSERT_TRUE(import());
  expect_same("SELECT *,hex(counts),hex(gaps) FROM breaker_sources");
  expect_same("SELECT service,breaker,state,epoch FROM breakers");
}

TEST_F(importer_test, more_rows_than_a_transaction_has_come_all) {
  std::vector<core::event> all;
  for (int i = 0; i < 10'500; ++i) all.push_back(make.created());
  commit(all, {event_maker::user(1)});
  ASSERT_TRUE(import());
  EXPECT_EQ(to->state().seq(), 10'500U);
  expect_same("SELECT count(*),max(seq),sum(length(body)) FROM events");
  expect_same("SELECT count(*) FROM sessions");
  target.data_dir = options.data_dir;
  to.reset();
  const auto again = importer::begin(target);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().rule, "not_empty");
}

TEST_F(importer_test, an_import_that_is_not_finished_leaves_no_store) {
  commit({make.created(), make.created(), make.created()}, {event_maker::user(1)});
  const auto gap = import(2);
  ASSERT_FALSE(gap);
  EXPECT_EQ(gap.error().code, core::error_code::LOG_CORRUPT);
  ASSERT_TRUE(to->trouble());
  EXPECT_EQ(to->trouble()->seq, 2U);
  EXPECT_EQ(to->trouble()->what, log_trouble::kind::missing);
  EXPECT_FALSE(made());
  const auto busy = importer::begin(target);
  ASSERT_FALSE(busy) << "the folder is locked";
  EXPECT_EQ(busy.error().code, core::error_code::DATA_DIR_IN_USE);
  to.reset();
  EXPECT_FALSE(made());
  EXPECT_FALSE(std::filesystem::exists(target.data_dir + "/portcullis.db.import"));
  EXPECT_TRUE(import()) << "and it can be tried again";
  EXPECT_TRUE(made());
}

TEST_F(importer_test, a_row_that_the_chain_does_not_vouch_for_is_refused) {
  commit({make.created(), make.created()}, {event_maker::user(1)});
  target.keys = nullptr;
  const core::keyring other = core::generate_keyring(
      [](std::span<std::uint8_t> out) { std::fill(out.begin(), out.end(), std::uint8_t{3}); }, 1);
  const core::key_material wrong(other);
  target.keys = &wrong;
  ASSERT_FALSE(import());
  EXPECT_EQ(to->trouble()->seq, 1U);
  EXPECT_EQ(to->trouble()->what, log_trouble::kind::mac);
}

TEST_F(importer_test, a_user_that_is_there_twice_is_refused) {
  commit({make.created()}, {event_maker::user(1), event_maker::user(1)});
  const auto twice = import();
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().code, core::error_code::STORE_INTEGRITY);
}

TEST_F(importer_test, an_empty_log_makes_an_empty_store) {
  ASSERT_TRUE(import());
  auto opened = options;
  opened.data_dir = target.data_dir;
  to.reset();
  const auto journal = journal::open(opened);
  ASSERT_TRUE(journal);
  EXPECT_EQ((*journal)->last_seq(), 0U);
}

}  // namespace
}  // namespace portcullis::store

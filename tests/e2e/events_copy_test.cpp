// `portcullis events export` and `import`: a store as lines of JSON, and a store again.
#include <fstream>

#include "history.hpp"
#include "load.hpp"

namespace portcullis::e2e {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = text.find('\n', at);
    out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

/// Every row of what an import makes, as text; of the order within a table nothing is said.
std::string rows_of(const std::string& data_dir) {
  sqlite3* db = nullptr;
  EXPECT_EQ(sqlite3_open((data_dir + "/portcullis.db").c_str(), &db), SQLITE_OK);
  std::string out;
  for (const char* sql :
       {"SELECT * FROM events ORDER BY seq",
        "SELECT subject,lookup,tenant_id,ring_key,wrapped FROM users ORDER BY subject",
        "SELECT * FROM sessions ORDER BY seq",
        "SELECT * FROM retired_ids ORDER BY session_seq,place",
        "SELECT * FROM lockouts WHERE locked_until_ms>0 OR window_ends_at_ms>(SELECT max(at_ms) "
        "FROM events) ORDER BY subject,source",
        "SELECT * FROM tenants ORDER BY tenant_id",
        "SELECT service,breaker,kind,state,epoch,cause,since_ms,until_ms,failed_rounds,mode,scope,"
        "actor,reason,expires_at_ms FROM breakers ORDER BY id",
        "SELECT * FROM breaker_sources ORDER BY service,breaker,source",
        "SELECT * FROM meta WHERE key<>'clock' ORDER BY key",
        "SELECT type,name FROM sqlite_master ORDER BY name"}) {
    sqlite3_stmt* rows = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(db, sql, -1, &rows, nullptr), SQLITE_OK) << sql;
    out += sql;
    while (sqlite3_step(rows) == SQLITE_ROW) {
      out += '\n';
      for (int i = 0; i < sqlite3_column_count(rows); ++i) {
        const auto* data = static_cast<const char*>(sqlite3_column_blob(rows, i));
        out += std::to_string(sqlite3_column_type(rows, i)) + ":" +
               std::string(data == nullptr ? "" : data,
                           static_cast<std::size_t>(sqlite3_column_bytes(rows, i))) +
               "|";
      }
    }
    out += '\n';
    sqlite3_finalize(rows);
  }
  sqlite3_close(db);
  return out;
}

/// A stopped node with some history, its export, and a place for a copy.
struct events_copy : testing::Test {
  server node{{.set = {"lockout.threshold=5", "server.loops=2"}}};
  json session;  // of ada, with data
  place end;
  std::string exported = node.folder().file("export.ndjson");
  std::string copy = node.folder().file("copy");
  std::string keys = " --keys-file " + node.data_dir() + "/portcullis.keys";

  void SetUp() override {
    auto client = node.connect();
    session = create(client, "ada", {{"data", {{"cart", 3}}}});
    for (int round = 0; round < 4; ++round)
      live_a_little(client, "t" + std::to_string(round % 2), round);
    end = digest_of(client);
    node.kill_at_once();
    const auto done = run_export("--out " + exported);
    ASSERT_EQ(done.status, 0) << done.out;
    ASSERT_EQ(done.out, "");
  }
  ran run_export(const std::string& more) const {
    return run(binary() + " events export --data-dir " + node.data_dir() + " " + more);
  }
  ran run_import(const std::string& in) const {
    return run(binary() + " events import --in " + in + " --data-dir " + copy + keys);
  }
  /// The import is refused with a sentence that has `why`, and leaves no store.
  void expect_refused(const std::string& in, const std::string& why) const {
    const auto tried = run_import(in);
    EXPECT_EQ(tried.status, 1) << tried.out;
    EXPECT_THAT(tried.out, HasSubstr(why));
    EXPECT_THAT(tried.out, testing::StartsWith("portcullis: "));
    for (const char* each : {"/portcullis.db", "/portcullis.db.import", "/portcullis.db-wal"})
      EXPECT_FALSE(std::filesystem::exists(copy + each)) << each << " after " << why;
  }
  /// The export with its line `number` (from 1) replaced by `change` of it.
  std::string changed(std::size_t number,
                      const std::function<std::string(std::string)>& change) const {
    auto lines = lines_of(bytes_of(exported));
    lines.at(number - 1) = change(lines.at(number - 1));
    std::string all;
    for (const auto& each : lines)
      if (!each.empty()) all += each + "\n";
    return node.folder().write("changed.ndjson", all);
  }
  /// The number of the line of the event `seq`.
  std::size_t line_of(std::uint64_t seq) const {
    const auto lines = lines_of(bytes_of(exported));
    for (std::size_t i = 0; i < lines.size(); ++i)
      if (lines[i].starts_with("{\"seq\":" + std::to_string(seq) + ",")) return i + 1;
    ADD_FAILURE() << seq;
    return 1;
  }
};

TEST_F(events_copy, an_import_has_every_row_of_the_source_and_its_digest) {
  const auto done = run_import(exported);
  ASSERT_EQ(done.status, 0) << done.out;
  EXPECT_EQ(last_line(done.out), replayed(node.data_dir(), end.seq));
  EXPECT_EQ(replayed(copy, end.seq), end.digest);
  const auto checked = run(binary() + " verify --data-dir " + copy + keys);
  EXPECT_EQ(checked.status, 0) << checked.out;
  EXPECT_TRUE(rows_of(copy) == rows_of(node.data_dir()));
  const auto again = run(binary() + " events export --data-dir " + copy);
  EXPECT_TRUE(again.out == bytes_of(exported)) << "an export of it is the same again";
}

TEST_F(events_copy, compressed_through_a_pipe_it_is_the_same) {
  const auto packed = node.folder().file("export.gz");
  ASSERT_EQ(run_export("--gzip --out " + packed).status, 0);
  EXPECT_LT(std::filesystem::file_size(packed), std::filesystem::file_size(exported) / 2);
  EXPECT_TRUE(run("gzip -dc " + packed).out == bytes_of(exported)) << "any gzip reads it";
  const auto piped = run(binary() + " events export --gzip --data-dir " + node.data_dir() + " | " +
                         binary() + " events import --in - --data-dir " + copy + keys);
  EXPECT_EQ(piped.status, 0) << piped.out;
  EXPECT_EQ(replayed(copy, end.seq), end.digest);
  // Two members, as `cat a.gz b.gz` makes them.
  const auto all = bytes_of(exported);
  const auto head = node.folder().write("head", all.substr(0, all.size() / 2));
  const auto tail = node.folder().write("tail", all.substr(all.size() / 2));
  const auto both = node.folder().file("both.gz");
  ASSERT_EQ(run("(gzip -c " + head + "; gzip -c " + tail + ") > " + both).status, 0);
  std::filesystem::remove_all(copy);
  EXPECT_EQ(run_import(both).status, 0);
}

TEST_F(events_copy, a_server_goes_on_with_it) {
  ASSERT_EQ(run_import(exported).status, 0);
  std::filesystem::copy(node.data_dir() + "/portcullis.keys", copy + "/portcullis.keys");
  server other({.set = {"lockout.threshold=5", "server.loops=2"}, .data_dir = copy});
  auto client = other.connect();
  const auto checked = validate(client, session["session_id"]);
  EXPECT_EQ(checked["valid"], true) << checked;
  EXPECT_EQ(checked["data"]["cart"], 3);
  EXPECT_EQ(checked["user_id"], "ada");
  const auto found = client.result("session.find", {{"tenant_id", "acme"}, {"ip", "192.0.2.1"}});
  ASSERT_EQ(found["sessions"].size(), 1U) << "what is not in the log is made again";
  EXPECT_EQ(found["sessions"][0]["handle"], session["handle"]);
  client.result("session.revoke", {{"session_id", session["session_id"]}});
  const auto now = digest_of(client);
  other.kill_at_once();
  EXPECT_EQ(replayed(copy, now.seq), now.digest);
  EXPECT_EQ(verify(copy).status, 0);
}

TEST_F(events_copy, what_has_ended_stays_ended) {
  server old({.set = {"session.idle_ttl_s=2", "session.absolute_ttl_s=2", "lockout.window_s=1",
                      "session.max_sessions_per_user=2", "session.on_cap=evict_oldest",
                      "session.touch_granularity_s=1"}});
  auto client = old.connect();
  for (int i = 0; i < 4; ++i) create(client, "ada");
  const auto id = create(client, "bob")["session_id"];
  for (int i = 0; i < 4; ++i) validate(client, id, context("198.51.100.9"));
  EXPECT_EQ(events_at_least(client, 3, {{"types", {"session_expired"}}}).size(), 3U);
  const auto last = digest_of(client);
  old.kill_at_once();
  const auto with = " --data-dir " + copy + " --keys-file " + old.data_dir() + "/portcullis.keys";
  const auto piped = run(binary() + " events export --data-dir " + old.data_dir() + " | " +
                         binary() + " events import --in -" + with);
  EXPECT_EQ(piped.status, 0) << piped.out;
  EXPECT_EQ(replayed(copy, last.seq), last.digest);
  EXPECT_EQ(run(binary() + " verify" + with).status, 0);
  EXPECT_TRUE(rows_of(copy) == rows_of(old.data_dir()));
}

TEST_F(events_copy, until_a_moment_it_is_the_store_of_then) {
  for (const auto until : {std::uint64_t{1}, end.seq / 3, end.seq / 2, end.seq - 1}) {
    std::filesystem::remove_all(copy);
    const auto cut = node.folder().file("cut.ndjson" + std::to_string(until));
    ASSERT_EQ(run_export("--until " + std::to_string(until) + " --out " + cut).status, 0);
    const auto done = run_import(cut);
    ASSERT_EQ(done.status, 0) << done.out;
    EXPECT_EQ(replayed(copy, until), replayed(node.data_dir(), until));
    const auto checked = run(binary() + " verify --data-dir " + copy + keys);
    EXPECT_EQ(checked.status, 0) << until << ": " << checked.out;
  }
  const auto never = run_export("--until 2001-09-10T00:00:00Z");
  EXPECT_EQ(never.status, 0);
  EXPECT_THAT(never.out, HasSubstr("\"events\":0,"));
  EXPECT_EQ(run_export("--until 99999999").status, 1);
  EXPECT_EQ(run_export("--until soon").status, 64);
}

TEST_F(events_copy, shown_are_the_events_as_a_query_shows_them) {
  const auto shown = run_export("--shown");
  ASSERT_EQ(shown.status, 0);
  ASSERT_TRUE(node.start());
  auto client = node.connect();
  const auto asked =
      run(binary() + " events query --address 127.0.0.1:" + std::to_string(node.rpc_port)).out;
  EXPECT_EQ(asked.substr(0, shown.out.size()), shown.out);
  EXPECT_THAT(shown.out, HasSubstr("\"user_id\":\"ada\""));
}

TEST_F(events_copy, shown_without_a_key_file_has_no_names_and_says_so) {
  std::filesystem::rename(node.data_dir() + "/portcullis.keys", node.folder().file("elsewhere"));
  const auto shown = run_export("--shown");
  EXPECT_EQ(shown.status, 0);
  EXPECT_THAT(shown.out, HasSubstr("portcullis: without a key file"));
  EXPECT_THAT(shown.out, Not(HasSubstr("user_id")));
  EXPECT_EQ(run_export("--shown --keys-file " + node.folder().file("nowhere")).status, 1);
  EXPECT_EQ(run_export("--shown --keys-file " + node.folder().file("elsewhere")).status, 0);
}

/// The page of the table `events` that holds row `seq`, from SQLite's own view of its pages.
struct leaf {
  std::uint64_t page = 0, first = 0, last = 0;
};
leaf middle_leaf(const std::string& data_dir) {
  sqlite3* db = nullptr;
  EXPECT_EQ(sqlite3_open((data_dir + "/portcullis.db").c_str(), &db), SQLITE_OK);
  sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", nullptr, nullptr, nullptr);
  sqlite3_stmt* rows = nullptr;
  // Leaves of a table come in the order of their rows.
  EXPECT_EQ(sqlite3_prepare_v2(db,
                               "SELECT pageno,ncell FROM dbstat WHERE name='events' AND "
                               "pagetype='leaf' ORDER BY path",
                               -1, &rows, nullptr),
            SQLITE_OK)
      << sqlite3_errmsg(db);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> leaves;
  while (sqlite3_step(rows) == SQLITE_ROW)
    leaves.emplace_back(sqlite3_column_int64(rows, 0), sqlite3_column_int64(rows, 1));
  sqlite3_finalize(rows);
  sqlite3_close(db);
  EXPECT_GT(leaves.size(), 2U);
  leaf out;
  for (std::size_t i = 0; i <= leaves.size() / 2; ++i) {
    out.page = leaves[i].first;
    out.first = out.last + 1;
    out.last += leaves[i].second;
  }
  return out;
}

void flip(const std::string& path, std::uint64_t at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const auto byte = static_cast<char>(file.get());
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(byte ^ 0x40));
}

TEST_F(events_copy, what_a_damaged_page_held_is_named_and_the_rest_is_exported) {
  const auto damaged = middle_leaf(node.data_dir());
  flip(node.data_dir() + "/portcullis.db", (damaged.page - 1) * 8192);  // what kind of page it is
  const auto out = node.folder().file("rest.ndjson");
  const auto done = run_export("--out " + out);
  EXPECT_EQ(done.status, 1);
  EXPECT_EQ(done.out, "portcullis: seq " + std::to_string(damaged.first) + " to " +
                          std::to_string(damaged.last) + " cannot be read\n");
  const auto lines = lines_of(bytes_of(out));
  std::uint64_t expected = 1;
  for (const auto& each : lines) {
    const auto row = json::parse(each);
    if (!row.contains("seq")) continue;
    EXPECT_EQ(row["seq"], expected);
    expected = expected + 1 == damaged.first ? damaged.last + 1 : expected + 1;
  }
  EXPECT_EQ(expected, end.seq + 1);
  const auto trailer = json::parse(lines.back());
  EXPECT_EQ(trailer["missing"], json::array({{damaged.first, damaged.last}}));
  EXPECT_EQ(trailer["events"], end.seq - (damaged.last + 1 - damaged.first));
  const auto shown = run_export("--shown");
  EXPECT_EQ(shown.status, 1);
  expect_refused(out, "seq " + std::to_string(damaged.first) + " is missing");
}

TEST_F(events_copy, an_event_that_is_no_json_any_more_is_named_alone) {
  edit(node.data_dir(), "UPDATE events SET body=substr(body,2) WHERE seq=7");
  const auto before = bytes_of(exported);
  EXPECT_THAT(run_export("--out " + exported).out, HasSubstr("it is there already"));
  EXPECT_TRUE(bytes_of(exported) == before) << "the good one is not replaced";
  const auto done = run_export("--out " + exported + ".damaged");
  EXPECT_EQ(done.status, 1);
  EXPECT_EQ(done.out, "portcullis: seq 7 cannot be read\n");
}

TEST_F(events_copy, a_folder_with_a_store_is_refused_and_left_as_it_is) {
  ASSERT_EQ(run_import(exported).status, 0);
  const auto before = bytes_of(copy + "/portcullis.db");
  const auto tried = run_import(exported);
  EXPECT_EQ(tried.status, 1);
  EXPECT_THAT(tried.out, HasSubstr("there is a store already"));
  EXPECT_EQ(bytes_of(copy + "/portcullis.db"), before);
  ASSERT_TRUE(node.start());
  const auto in_use =
      run(binary() + " events import --in " + exported + " --data-dir " + node.data_dir());
  EXPECT_EQ(in_use.status, 1);
  EXPECT_THAT(in_use.out, HasSubstr("DATA_DIR_IN_USE"));
  EXPECT_THAT(run_export("").out, HasSubstr("DATA_DIR_IN_USE"));
}

TEST_F(events_copy, an_empty_file_in_the_store_s_place_is_no_store) {
  std::filesystem::create_directory(copy);
  for (const char* each : {"/portcullis.db", "/portcullis.db-wal", "/portcullis.db-journal"})
    std::ofstream(copy + each).flush();
  ASSERT_EQ(run_import(exported).status, 0);
  EXPECT_EQ(replayed(copy, end.seq), end.digest);
  std::filesystem::remove_all(copy);
  std::filesystem::create_directory(copy);
  std::ofstream(copy + "/portcullis.db-wal") << "what a crash left of a store";
  EXPECT_THAT(run_import(exported).out, HasSubstr("there is a store already"));
}

TEST_F(events_copy, a_broken_chain_is_named_and_nothing_is_imported) {
  const auto line = line_of(9);
  const auto why = "line " + std::to_string(line) + ": seq 9: the chain is broken here";
  expect_refused(changed(line,
                         [](std::string row) {
                           const auto at = row.find("\"node\":\"node-1\"");
                           return row.replace(at, 15, "\"node\":\"node-2\"");
                         }),
                 why);
  expect_refused(changed(line,
                         [](std::string row) {
                           const auto at = row.find("\"body\":{") + 8;
                           return row.insert(at, " ");
                         }),
                 why);
  expect_refused(changed(line, [](const std::string&) { return std::string(); }),
                 "seq 9 is missing");
}

TEST_F(events_copy, what_is_cut_or_no_export_is_refused) {
  const auto all = bytes_of(exported);
  const auto& folder = node.folder();
  const auto trailer = all.rfind('\n', all.size() - 2) + 1;
  expect_refused(folder.write("cut", all.substr(0, trailer)), "ends before its trailer");
  expect_refused(folder.write("cut", all.substr(0, all.size() / 2)), "ends in the middle");
  expect_refused(folder.write("more", all + "{}\n"), "comes after the trailer");
  expect_refused(folder.write("empty", ""), "ends before its trailer");
  expect_refused(folder.write("garbage", "hello\n"), "line 1: is no JSON object");
  expect_refused(folder.write("garbage", "{\"a\":1}\n"), "is nothing that an export has");
  expect_refused(folder.write("headless", all.substr(all.find('\n') + 1)), "is no header");
  expect_refused(folder.write("later", R"({"portcullis_export":2})"
                                       "\n"),
                 "version 2");
  expect_refused(folder.file("nowhere"), "No such file");
  expect_refused(changed(2, [](std::string) { return std::string(); }), "the export had");
  expect_refused(
      changed(2, [](std::string row) { return row.replace(row.find("lookup"), 6, "l"); }),
      "\"lookup\" is missing or malformed");
  expect_refused(changed(3, [&](const std::string&) { return lines_of(all)[1]; }), "there twice");
  expect_refused(changed(1,
                         [](std::string row) {
                           return row.replace(row.find("\"schema\":"), 9, "\"schema\":9");
                         }),
                 "SCHEMA_TOO_NEW");
  expect_refused(changed(1,
                         [](std::string row) {
                           return row.replace(row.find("\"first_seq\":1"), 13, "\"first_seq\":5");
                         }),
                 "begins at seq 5");
  const auto shown = folder.file("shown");
  ASSERT_EQ(run_export("--shown --out " + shown).status, 0);
  expect_refused(shown, "is no ");
  const auto packed = folder.file("packed.gz");
  ASSERT_EQ(run_export("--gzip --out " + packed).status, 0);
  const auto gzip = bytes_of(packed);
  expect_refused(folder.write("cut.gz", gzip.substr(0, gzip.size() / 2)),
                 "gzip data ends too early");
  auto wrong = gzip;
  wrong[wrong.size() - 6] = static_cast<char>(wrong[wrong.size() - 6] ^ 1);  // of its check sum
  expect_refused(folder.write("wrong.gz", wrong), "gzip data is damaged");
}

TEST_F(events_copy, a_line_without_an_end_takes_no_more_memory_than_a_line_may) {
  // A sanitizer's shadow needs more than there is.
  const std::string limit = is_sanitized() ? "" : "ulimit -v 1000000; ";
  const auto tried =
      run(limit + "{ head -n 1 " + exported + "; head -c 3000000000 /dev/zero | tr '\\0' x; } | " +
          binary() + " events import --in - --data-dir " + copy + keys);
  EXPECT_EQ(tried.status, 1);
  EXPECT_THAT(tried.out, HasSubstr("line 2: is longer than 64 MiB"));
  EXPECT_FALSE(std::filesystem::exists(copy + "/portcullis.db"));
}

TEST_F(events_copy, another_key_file_is_refused) {
  const auto other = node.folder().file("other.keys");
  ASSERT_EQ(run(binary() + " keys new --out " + other).status, 0);
  const auto tried = run(binary() + " events import --in " + exported + " --data-dir " + copy +
                         " --keys-file " + other);
  EXPECT_EQ(tried.status, 1);
  EXPECT_THAT(tried.out, HasSubstr("KEYRING_MISMATCH"));
  EXPECT_FALSE(std::filesystem::exists(copy + "/portcullis.db"));
  const auto none = run(binary() + " events import --in " + exported + " --data-dir " + copy);
  EXPECT_EQ(none.status, 1);
  EXPECT_THAT(none.out, HasSubstr("portcullis.keys"));
}

TEST_F(events_copy, an_import_that_was_killed_leaves_no_store_and_can_be_repeated) {
  const auto half = bytes_of(exported).substr(0, std::filesystem::file_size(exported) / 2);
  const auto part = node.folder().write("part", half.substr(0, half.rfind('\n') + 1));
  const auto script = node.folder().write(
      "kill.sh", "mkfifo $1/pipe; " + binary() + " events import --in $1/pipe --data-dir " + copy +
                     keys + " & pid=$!\n exec 3>$1/pipe; cat " + part + " >&3; while [ ! -e " +
                     copy + "/portcullis.db.import ]; do :; done; kill -9 $pid; wait $pid; true");
  run("bash " + script + " " + node.folder().path().string());
  EXPECT_FALSE(std::filesystem::exists(copy + "/portcullis.db"));
  EXPECT_TRUE(std::filesystem::exists(copy + "/portcullis.db.import"));
  ASSERT_EQ(run_import(exported).status, 0);
  EXPECT_FALSE(std::filesystem::exists(copy + "/portcullis.db.import"));
  EXPECT_EQ(replayed(copy, end.seq), end.digest);
}

/// Import refused the folder from then on, so the copy stayed, and forgetting did not reach it.
TEST(events_copy_of_a_server, what_a_killed_import_left_goes_when_a_server_starts_there) {
  server node({.start = false});
  std::filesystem::create_directories(node.data_dir());
  for (const char* ending : {"", "-journal"})
    std::ofstream(node.data_dir() + "/portcullis.db.import" + ending) << "users and events";
  ASSERT_TRUE(node.start()) << node.log();
  for (const char* ending : {"", "-journal"})
    EXPECT_FALSE(std::filesystem::exists(node.data_dir() + "/portcullis.db.import" + ending));
}

TEST(events_copy_of_a_cut_log, has_the_state_of_its_source_serves_explains_and_exports_the_same) {
  cut_node source;
  source.make();
  auto& node = source.node;
  place end;
  json find = {{"tenant_id", "stays"}, {"ip", "192.0.2.1"}};
  json found;
  {
    auto client = node.connect();
    live_a_little(client, "acme", 5);
    found = client.result("session.find", find);
    ASSERT_EQ(found["sessions"].size(), 1U);
    end = digest_of(client);
  }
  node.kill_at_once();
  const auto copy = node.folder().file("copy");
  const auto keys = " --keys-file " + node.data_dir() + "/portcullis.keys";
  const auto first = node.folder().file("first.ndjson"), again = node.folder().file("again.ndjson");
  const auto out =
      run(binary() + " events export --data-dir " + node.data_dir() + " --out " + first);
  ASSERT_EQ(out.status, 0) << out.out;
  const auto in = run(binary() + " events import --in " + first + " --data-dir " + copy + keys);
  ASSERT_EQ(in.status, 0) << in.out;
  EXPECT_EQ(last_line(in.out), replayed(node.data_dir(), end.seq));
  EXPECT_EQ(replayed(copy, end.seq), end.digest);
  const auto checked = run(binary() + " verify --data-dir " + copy + keys);
  EXPECT_EQ(checked.status, 0) << checked.out;
  ASSERT_EQ(run(binary() + " events export --data-dir " + copy + " --out " + again).status, 0);
  EXPECT_TRUE(bytes_of(first) == bytes_of(again));

  std::filesystem::copy(node.data_dir() + "/portcullis.keys", copy + "/portcullis.keys");
  for (const auto* command : {" explain --all", " state --user stays/kept"}) {
    const auto of_source = run(binary() + command + " --data-dir " + node.data_dir());
    const auto of_copy = run(binary() + command + " --data-dir " + copy);
    EXPECT_EQ(of_copy.status, 0) << of_copy.out;
    EXPECT_EQ(of_copy.out, of_source.out);
  }
  server other({.set = {"store.event_retention_h=1", "session.idle_ttl_s=86400",
                        "session.absolute_ttl_s=864000"},
                .data_dir = copy});
  auto client = other.connect();
  EXPECT_EQ(client.result("session.find", find)["sessions"], found["sessions"])
      << "address and user agent, too";
  EXPECT_EQ(validate(client, source.kept_id)["data"]["n"], 1) << "created in an event that is gone";
  create(client, "next");
  const auto now = digest_of(client);
  other.kill_at_once();
  EXPECT_EQ(replayed(copy, now.seq), now.digest);
  EXPECT_EQ(verify(copy).status, 0);
}

}  // namespace
}  // namespace portcullis::e2e

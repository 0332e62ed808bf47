// The system's clock is stepped while the server runs, over a restart and over a reboot
// (docs/decisions/0008): a step changes nothing until the next boot, and no time goes backwards.
#include <sqlite3.h>
#include <time.h>

#include "harness.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::chrono::seconds hour = 3'600s;
constexpr std::chrono::seconds day = 24 * hour;
constexpr std::chrono::seconds ten_years = 3'652 * day;
constexpr auto steps = {hour, -hour, day, -day, -ten_years};
constexpr auto stepped = "The system's clock was stepped since this machine's start";

/// A time that the server gave is the machine's, whatever its clock says.
void expect_now(const json& at_ms) {
  EXPECT_NEAR(at_ms.get<double>(), static_cast<double>(now_ms()), 30'000);
}

void expect_no_event_before_its_predecessor(line_client& client) {
  std::int64_t last = 0;
  for (const auto& each : events(client)) {
    EXPECT_GE(each["at_ms"], last) << each;
    last = each["at_ms"];
  }
  EXPECT_GT(last, 0);
}

/// A session, and nobody connected any more.
json sign_in(const server& node) {
  auto client = node.connect();
  return create(client, "ada");
}

void fail(line_client& client, const json& id, int times) {
  for (int i = 0; i < times; ++i)
    EXPECT_EQ(state_of(client, id, context("198.51.100.1")), "ip_mismatch");
}

/// Whether the session expires by itself; asking is no activity.
bool runs_out(line_client& client, const json& id) {
  return eventually([&] {
    const auto state = client.result(
        "session.validate", {{"session_id", id}, {"context", context()}, {"touch", false}});
    return state.value("reason", "") == "expired";
  });
}

/// Date and hour as a log line begins, `off` from now.
std::string hour_text(std::chrono::seconds off) {
  const time_t at = static_cast<time_t>(now_ms() / 1'000 + off.count());
  tm parts{};
  gmtime_r(&at, &parts);
  char text[20];
  strftime(text, sizeof text, "%Y-%m-%dT%H", &parts);
  return text;
}

/// That the step has reached the process: lines of its log carry the system's time.
void expect_logged_with(server& node, line_client& client, std::chrono::seconds off) {
  const auto before = node.log().size();
  const auto earliest = hour_text(off);
  EXPECT_EQ(client.error("admin.crash", {{"actor", "directory"}}), "");
  std::string line;
  EXPECT_TRUE(eventually([&] {
    const auto log = node.log();
    const auto at = log.find("The shard is back.", before);
    const auto end = log.find('\n', at);
    if (at == std::string::npos || end == std::string::npos) return false;
    line = log.substr(log.rfind('\n', at) + 1);
    line.resize(line.find('\n'));
    return true;
  }));
  const auto time = json::parse(line)["@timestamp"].get<std::string>();
  EXPECT_THAT(time.substr(0, 13), testing::AnyOf(earliest, hour_text(off)));
  // The line says that the loops were told, not that they have heard.
  EXPECT_TRUE(eventually([&] { return client.error("lockout.status", user("ada")).empty(); }));
}

/// Makes the next start the first of a boot.
void forget_boot(const server& node) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((node.data_dir() + "/portcullis.db").c_str(), &db), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(db,
                         "UPDATE meta SET value = CAST('another-boot ' || "
                         "substr(value, instr(value, ' ') + 1) AS BLOB) WHERE key = 'clock'",
                         nullptr, nullptr, nullptr),
            SQLITE_OK);
  EXPECT_EQ(sqlite3_changes(db), 1);
  sqlite3_close(db);
}

TEST(system_clock, a_step_while_the_node_runs_ends_no_session_early_and_lets_none_live_on) {
  server node({.set = {"lockout.threshold=2"}, .own_clock = true});
  auto client = node.connect();
  const auto kept = create(client, "ada");
  const auto id = kept["session_id"];
  const auto locked = create(client, "bob")["session_id"];
  fail(client, locked, 2);
  const auto locked_until = client.result("lockout.status", user("bob"))["locked_until_ms"];
  std::int64_t last_expiry = 0;
  int round = 0;
  for (const auto off : steps) {
    SCOPED_TRACE(off.count());
    const auto who = "short" + std::to_string(++round);
    const auto short_lived = create(client, who, {{"idle_ttl_s", 1}})["session_id"];
    const auto counted = create(client, "count" + std::to_string(round))["session_id"];
    fail(client, counted, 1);
    node.step_clock(off);
    expect_logged_with(node, client, off);
    // Not early, and at most as far as the machine's time has gone on.
    const auto answer = validate(client, id);
    ASSERT_EQ(answer["valid"], true) << answer;
    EXPECT_EQ(answer["created_at_ms"], kept["created_at_ms"]);
    EXPECT_GE(answer["expires_at_ms"], last_expiry);
    last_expiry = answer["expires_at_ms"];
    expect_now(last_expiry - 900'000);
    const auto fresh = create(client, who);
    expect_now(fresh["created_at_ms"]);
    EXPECT_EQ(state_of(client, fresh["session_id"]), "valid");
    // Nor late: it runs out by the time that passes, though the date says otherwise.
    EXPECT_TRUE(runs_out(client, short_lived));
    // A lock and a counter stand as they stood.
    EXPECT_EQ(state_of(client, locked), "locked_out");
    EXPECT_EQ(client.result("lockout.status", user("bob"))["locked_until_ms"], locked_until);
    EXPECT_EQ(
        client.result("lockout.status", user("count" + std::to_string(round)))["failed_attempts"],
        1);
  }
  events_at_least(client, std::size(steps), {{"types", {"session_expired"}}});
  expect_no_event_before_its_predecessor(client);
}

TEST(system_clock, a_lock_ends_by_the_time_that_passes_though_the_clock_goes_back) {
  server node({.set = {"lockout.threshold=1", "lockout.duration_s=1"}, .own_clock = true});
  auto client = node.connect();
  for (const auto off : steps) {
    const auto id = create(client, "ada")["session_id"];
    fail(client, id, 1);
    EXPECT_EQ(state_of(client, id), "locked_out");
    node.step_clock(off);
    EXPECT_TRUE(eventually([&] { return state_of(client, id) == "valid"; })) << off.count();
  }
}

TEST(system_clock, a_step_before_a_restart_of_the_same_boot_is_told_and_changes_nothing) {
  server node({.own_clock = true});
  const auto made = sign_in(node);
  for (const auto off : steps) {
    SCOPED_TRACE(off.count());
    node.kill_at_once();
    node.step_clock(off);
    const auto before = node.log().size();
    ASSERT_TRUE(node.start()) << node.log();
    const auto log = node.log().substr(before);
    EXPECT_THAT(log, HasSubstr(stepped));
    const auto ahead = log.find("\"ahead_ms\":");
    ASSERT_NE(ahead, std::string::npos);
    EXPECT_NEAR(std::stod(log.substr(ahead + 11)), static_cast<double>(off.count()) * 1e3, 30'000);
    auto client = node.connect();
    const auto answer = validate(client, made["session_id"]);
    ASSERT_EQ(answer["valid"], true) << answer;
    EXPECT_EQ(answer["created_at_ms"], made["created_at_ms"]);
    expect_now(create(client, "bob")["created_at_ms"]);
    expect_no_event_before_its_predecessor(client);
  }
}

TEST(system_clock, a_clock_set_back_before_the_first_start_of_a_boot_is_not_behind_the_log) {
  server node({.own_clock = true});
  const auto id = sign_in(node)["session_id"];
  for (const auto off : {-hour, -day, -ten_years}) {
    SCOPED_TRACE(off.count());
    node.kill_at_once();
    forget_boot(node);
    node.step_clock(off);
    ASSERT_TRUE(node.start()) << node.log();
    auto client = node.connect();
    EXPECT_EQ(state_of(client, id), "valid") << "time stood still over the boot at the worst";
    const auto fresh = create(client, "bob", {{"idle_ttl_s", 1}});
    expect_now(fresh["created_at_ms"]);
    EXPECT_TRUE(runs_out(client, fresh["session_id"]));
    expect_no_event_before_its_predecessor(client);
  }
}

TEST(system_clock, a_clock_set_forward_before_the_first_start_of_a_boot_is_believed) {
  server node({.own_clock = true});
  const auto id = sign_in(node)["session_id"];
  node.kill_at_once();
  forget_boot(node);
  node.step_clock(hour);
  const auto before = node.log().size();
  ASSERT_TRUE(node.start()) << node.log();
  EXPECT_THAT(node.log().substr(before), Not(HasSubstr(stepped)));
  auto client = node.connect();
  EXPECT_EQ(state_of(client, id), "expired") << "the machine was off for an hour, by all it knows";
  const auto later = create(client, "bob");
  EXPECT_NEAR(later["created_at_ms"].get<double>(), static_cast<double>(now_ms() + 3'600'000),
              30'000);
  // The rest of that boot goes by it, also once the clock has been put right.
  node.kill_at_once();
  node.step_clock(0s);
  ASSERT_TRUE(node.start()) << node.log();
  auto again = node.connect();
  EXPECT_EQ(state_of(again, later["session_id"]), "valid");
  EXPECT_EQ(state_of(again, id), "expired");
  expect_no_event_before_its_predecessor(again);
}

}  // namespace
}  // namespace portcullis::e2e

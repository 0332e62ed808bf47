// What takes many clients or a long wait: connections past the limit, a race for a lock, a process
// that stands still. scripts/test --long makes each of them large.
#include <signal.h>
#include <sys/resource.h>

#include <atomic>
#include <iostream>
#include <map>
#include <random>
#include <set>

#include "load.hpp"

namespace portcullis::e2e {
namespace {

/// Raises this process's limit of descriptors, which a server of it inherits; what it is then.
std::size_t descriptors_allowed() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

std::string request(int id, const char* method, const json& params = json::object()) {
  return json{{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", params}}.dump() + "\n";
}

TEST(connections, those_past_the_limit_are_closed_at_accept_and_the_others_all_stay_usable) {
  std::size_t limit = long_tests() ? 10'000 : 500;
  const auto allowed = descriptors_allowed();
  if (limit * 6 / 5 + 500 > allowed) {
    limit = (allowed - 500) * 5 / 6;
    std::cout << allowed << " descriptors are allowed here: the limit is " << limit
              << " connections in place of 10000\n";
  }
  const auto past = limit / 5;
  server_options options;
  // The long run takes the default, which is what is promised.
  if (limit != 10'000) options.set = {"listen.rpc.max_connections=" + std::to_string(limit)};
  server node(options);
  json id;
  {
    auto first = node.connect();
    id = create(first, "ada")["session_id"];
  }
  const auto rpc = std::string(R"({listener="rpc"})");
  const auto count = [&] { return node.metric("portcullis_connections" + rpc); };
  EXPECT_TRUE(eventually([&] { return count() == 0; }));
  const auto descriptors_before = node.metric("process_open_fds");

  std::vector<line_client> all;
  all.reserve(limit + past);
  for (std::size_t i = 0; i < limit + past; ++i) all.push_back(node.connect());
  const auto rejected = [&] {
    return node.metric(R"(portcullis_connection_rejections_total{listener="rpc",reason="limit"})");
  };
  EXPECT_TRUE(eventually([&] { return rejected() >= static_cast<double>(past); }));
  EXPECT_EQ(rejected(), past);
  EXPECT_EQ(count(), limit);

  // Who is taken and who is closed: every one of them answers, or has ended without a byte.
  std::vector<line_client*> taken;
  std::size_t closed = 0;
  for (auto& each : all) {
    if (each.ended(0ms)) {
      EXPECT_EQ(each.rest(0ms), "");
      ++closed;
    } else {
      taken.push_back(&each);
    }
  }
  EXPECT_EQ(closed, past);
  ASSERT_EQ(taken.size(), limit);
  const auto taken_count = taken.size();
  for (auto* each : taken) ASSERT_TRUE(each->send(request(1, "server.ping")));
  for (auto* each : taken) ASSERT_EQ(each->reply()["result"], json::object());
  for (std::size_t i = 0; i < limit; i += limit / 250)
    ASSERT_EQ(state_of(*taken[i], id), "valid") << i;
  EXPECT_EQ(rejected(), past);

  all.clear();
  EXPECT_TRUE(eventually([&] { return count() == 0; }));
  EXPECT_TRUE(eventually([&] { return node.metric("process_open_fds") == descriptors_before; }))
      << node.metric("process_open_fds") << " descriptors, before: " << descriptors_before;
  EXPECT_EQ(node.connect().call("server.ping")["result"], json::object()) << "there is room again";
  std::cout << limit + past << " connections: " << taken_count << " taken and usable, " << closed
            << " closed at accept\n";
}

/// What 64 connections were told of the same few users.
struct told {
  std::mutex mutex;
  std::map<std::string, std::map<std::string, int>> answers;  // by user, then by answer
  std::atomic<int> attempts = 0;
};

/// Bursts of validations, right and wrong, of sessions of `ids`' users in turn.
void attempt(server& node, const std::vector<std::pair<std::string, json>>& ids, unsigned seed,
             int bursts, told& all) {
  std::mt19937 random(seed);
  auto client = node.connect();
  std::map<std::string, std::map<std::string, int>> own;
  std::set<std::string> locked;
  constexpr int burst = 16;
  for (int i = 0; i < bursts; ++i) {
    std::vector<std::string> users(burst);
    std::vector<int> kinds(burst);
    std::string sent;
    for (int j = 0; j < burst; ++j) {
      const auto& [user_id, id] = ids[random() % ids.size()];
      users[static_cast<std::size_t>(j)] = user_id;
      const auto kind = static_cast<int>(random() % 4);
      kinds[static_cast<std::size_t>(j)] = kind;
      const auto ctx = kind == 0   ? context()
                       : kind == 1 ? context("192.0.2.1", "other")
                                   // few enough that a second's never share the overflow bucket
                                   : context("198.51.100." + std::to_string(random() % 50));
      sent += request(j, "session.validate", {{"session_id", id}, {"context", ctx}});
    }
    ASSERT_TRUE(client.send(sent));
    std::map<int, std::string> replies;
    for (int j = 0; j < burst; ++j) {
      const auto reply = client.reply();
      ASSERT_TRUE(reply.is_object() && reply.contains("result")) << reply;
      const auto& result = reply["result"];
      replies[reply["id"]] = result["valid"] == true ? "valid" : result["reason"];
    }
    ASSERT_EQ(replies.size(), static_cast<std::size_t>(burst));
    for (const auto& [j, answer] : replies) {
      const auto& user_id = users[static_cast<std::size_t>(j)];
      const auto kind = kinds[static_cast<std::size_t>(j)];
      const std::string evaluated = kind == 0   ? "valid"
                                    : kind == 1 ? "fingerprint_mismatch"
                                                : "ip_mismatch";
      EXPECT_TRUE(answer == "locked_out" || answer == evaluated) << answer << " for kind " << kind;
      // Of one user a connection is answered in its order: after the first, all are locked out.
      if (answer == "locked_out") locked.insert(user_id);
      EXPECT_TRUE(answer == "locked_out" || locked.count(user_id) == 0) << user_id;
      ++own[user_id][answer];
      ++all.attempts;
    }
  }
  std::lock_guard guard{all.mutex};
  for (const auto& [user_id, answers] : own)
    for (const auto& [answer, count] : answers) all.answers[user_id][answer] += count;
}

TEST(lockout_race, exactly_threshold_attempts_of_a_user_are_evaluated_over_64_connections) {
  const int rounds = long_tests() ? 10 : 1;
  const int bursts = long_tests() ? 5 : 2;
  constexpr int users_a_round = 4;
  constexpr int threshold = 10;
  server node;
  auto client = node.connect();
  told all;
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::pair<std::string, json>> ids;
    for (int i = 0; i < users_a_round * 2; ++i) {
      const auto user_id = "r" + std::to_string(round) + "u" + std::to_string(i / 2);
      ids.emplace_back(user_id, create(client, user_id)["session_id"]);
    }
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < 64; ++i)
      threads.emplace_back(
          [&, i] { attempt(node, ids, static_cast<unsigned>(round) * 64 + i, bursts, all); });
  }
  EXPECT_EQ(all.attempts, rounds * 64 * bursts * 16);
  ASSERT_EQ(all.answers.size(), static_cast<std::size_t>(rounds * users_a_round));
  for (auto& [user_id, answers] : all.answers) {
    SCOPED_TRACE(user_id);
    EXPECT_EQ(answers["ip_mismatch"] + answers["fingerprint_mismatch"], threshold);
    const auto status = client.result("lockout.status", user(user_id));
    EXPECT_EQ(status["locked"], true);
    EXPECT_EQ(status["failed_attempts"], threshold);
    auto filter = user(user_id);
    filter["types"] = {"validation_failed", "lockout_started"};
    // What came while locked is told as counts, up to a second later.
    std::vector<int> numbers;
    std::map<std::string, int> told_of;
    int started = 0;
    EXPECT_TRUE(eventually([&] {
      numbers.clear();
      told_of.clear();
      started = 0;
      for (const auto& each : events(client, filter)) {
        if (each["type"] == "lockout_started") {
          EXPECT_EQ(each["attempts"], threshold);
          ++started;
          continue;
        }
        told_of[each["reason"]] += each.value("count", 1);
        if (each.contains("attempt")) numbers.push_back(each["attempt"]);
      }
      return told_of["locked_out"] >= answers["locked_out"];
    }));
    EXPECT_EQ(numbers, (std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
    EXPECT_EQ(started, 1);
    for (const auto* reason : {"ip_mismatch", "fingerprint_mismatch", "locked_out"})
      EXPECT_EQ(told_of[reason], answers[reason]) << reason;
  }
  const auto users = rounds * users_a_round;
  EXPECT_EQ(node.metric("portcullis_failed_attempts_total"), users * threshold);
  EXPECT_EQ(node.metric("portcullis_lockouts_total"), users);
  std::cout << all.attempts << " attempts, " << users << " users, 64 connections\n";
}

/// Stops the process for `pause` and asks `client`, who waits, `sessions` at its end; the answers.
/// Asked earlier, an answer could be of the moment before all threads had stopped.
std::vector<json> asked_while_stopped(server& node, line_client& client,
                                      const std::vector<json>& sessions,
                                      std::chrono::milliseconds pause) {
  node.signal(SIGSTOP);
  EXPECT_FALSE(client.ended(pause));
  for (std::size_t i = 0; i < sessions.size(); ++i)
    client.send(request(static_cast<int>(i), "session.validate",
                        {{"session_id", sessions[i]}, {"context", context()}}));
  EXPECT_FALSE(client.line(100ms)) << "nobody hears anything of a stopped process";
  node.signal(SIGCONT);
  std::vector<json> answers(sessions.size());
  for (std::size_t i = 0; i < sessions.size(); ++i) {
    const auto reply = client.reply(pause + patience);
    EXPECT_EQ(error_of(reply), "") << reply;
    if (error_of(reply).empty()) answers.at(reply["id"]) = reply["result"];
  }
  return answers;
}

TEST(standstill, a_process_that_stood_still_under_load_tells_no_untruth_and_answers_what_is_due) {
  const auto pause = long_tests() ? 60'000ms : 2'000ms;
  const auto within = pause + patience;
  server node(
      {.set = {"limits.request_timeout_ms=1000", "lockout.threshold=1", "lockout.duration_s=1"},
       .own_disk = true});
  auto client = node.connect();
  const auto lasting = create(client, "ada", {{"data", {{"a", 1}}}})["session_id"];
  const auto revoked = create(client, "ada")["session_id"];
  client.result("session.revoke", {{"session_id", revoked}});
  load writing(node, 4, "busy", within);
  ASSERT_TRUE(eventually([&] { return writing.acknowledged() >= 200; }));
  const auto brief = create(client, "cyd", {{"idle_ttl_s", 1}})["session_id"];
  const auto guessed = create(client, "bob")["session_id"];
  EXPECT_EQ(state_of(client, guessed, context("198.51.100.1")), "ip_mismatch");
  const auto told = asked_while_stopped(node, client, {lasting, revoked, brief, guessed}, pause);
  EXPECT_EQ(told[0].value("data", json()), (json{{"a", 1}})) << told[0];
  EXPECT_EQ(told[1].value("reason", ""), "revoked") << told[1];
  EXPECT_EQ(told[2].value("reason", ""), "expired") << "it ran out meanwhile: " << told[2];
  EXPECT_EQ(told[3].value("valid", false), true) << "so did the lock: " << told[3];
  const auto before = writing.acknowledged();
  EXPECT_TRUE(eventually([&] { return writing.acknowledged() >= before + 200; })) << "work goes on";

  // What waits for the disk while the process stands still past its deadline is told so after.
  auto waiting = node.connect();
  node.disk("held");
  auto params = user("dan");
  params["context"] = context();
  waiting.send(request(0, "session.create", params));
  ASSERT_TRUE(eventually([&] { return node.metric("portcullis_requests_in_flight") >= 1; }));
  asked_while_stopped(node, client, {lasting}, 2'000ms);
  EXPECT_EQ(error_of(waiting.reply(within)), "REQUEST_TIMEOUT");
  node.disk("");
  writing.stop();
  const auto kept = writing.take();
  std::cout << "stopped for " << pause.count() << " ms: " << writing.acknowledged()
            << " acknowledged, " << writing.excused() << " refused or late\n";
  expect_kept(client, kept);
  EXPECT_EQ(http_get(node.http_port, "/readyz").status, 200);
  node.restart();
  auto again = node.connect();
  expect_kept(again, kept);
  expect_rotated_away(again, kept);
}

}  // namespace
}  // namespace portcullis::e2e

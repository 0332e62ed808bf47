// `portcullis check` and `top` against servers that answer wrongly, late or with malice, and with
// nobody to read what they print.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <thread>

#include "http_script.hpp"
#include "shell.hpp"
#include "tls_server.hpp"

namespace portcullis::apps {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const std::string overloaded =
    R"({"jsonrpc":"2.0","id":1,"error":{"code":9001,"message":"The server has too much to do.",)"
    R"("data":{"error":"OVERLOADED"}}})";
const std::string pong = R"({"jsonrpc":"2.0","id":1,"result":{}})";
// A busy machine is no fault of the node's.
const std::string patient = " --warn ping_ms=none --crit ping_ms=none ";

/// A node in order, but for what a test wants otherwise.
struct pretended {
  int ready = 200;
  std::string ping = pong, metrics = "portcullis_sessions 7\n";
  std::string operator()(const std::string& target) const {
    if (target == "/rpc") return http_answer(200, ping);
    if (target == "/metrics") return http_answer(200, metrics);
    return http_answer(ready, "{}");
  }
};

ran check(const http_script& node, const std::string& more = "") {
  return run("check --http " + node.address() + patient + more);
}

bool is_printable(const std::string& text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c == '\n' || (c >= 0x20 && c < 0x7f); });
}

TEST(check_command, is_ok_with_the_node_that_is_pretended_here) {
  const http_script node(pretended{});
  const auto told = check(node);
  EXPECT_EQ(told.status, 0) << told.out;
  EXPECT_THAT(told.out, HasSubstr("live sessions: 7"));
}

TEST(check_command, names_the_error_that_its_ping_met_and_still_looks_at_the_metrics) {
  const http_script node(pretended{.ping = overloaded});
  const auto told = check(node);
  EXPECT_EQ(told.status, 2);
  EXPECT_THAT(told.out, AllOf(StartsWith("PORTCULLIS CRITICAL - server.ping: The server has too "
                                         "much to do. (OVERLOADED)"),
                              HasSubstr("[OK] sessions: live sessions: 7")));
}

TEST(check_command, does_so_over_json_rpc_too) {
  const http_script node(pretended{});
  const tls_server rpc({}, [](const std::string&, SSL*) { return overloaded + "\n"; });
  const auto told = check(node, "--address " + rpc.address());
  EXPECT_EQ(told.status, 2);
  EXPECT_THAT(told.out, AllOf(StartsWith("PORTCULLIS CRITICAL - server.ping: The server has too "
                                         "much to do. (OVERLOADED)"),
                              HasSubstr("[OK] sessions: live sessions: 7")));
}

TEST(check_command, does_not_know_whether_a_ping_that_is_not_allowed_would_have_been_answered) {
  const http_script node(pretended{
      .ping = R"({"id":1,"error":{"code":2004,"message":"No.","data":{"error":"FORBIDDEN"}}})"});
  EXPECT_EQ(check(node).status, 3);
}

TEST(check_command, takes_an_address_that_is_none_for_wrong_usage) {
  const http_script node(pretended{});
  for (const auto* bad : {"nonsense", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", ":80:x",
                          "ftp://127.0.0.1:1", "unix:"}) {
    for (const auto& words : {std::string("check --http ") + bad,
                              "check --http " + node.address() + " --address " + bad}) {
      const auto told = run(words);
      EXPECT_EQ(told.status, 3) << words;
      EXPECT_THAT(told.out, AllOf(StartsWith("PORTCULLIS UNKNOWN - "), HasSubstr(bad))) << words;
    }
  }
}

/// Found in review: UNKNOWN and WARNING together ended with 0, UNKNOWN alone with 3.
TEST(check_command, forgives_with_critical_only_a_warning_and_nothing_beside_it) {
  const std::string dropped = "portcullis_log_dropped_total 1\n";
  const http_script unclear(pretended{.ready = 404, .metrics = dropped});
  EXPECT_EQ(check(unclear).status, 1);
  const auto told = check(unclear, "--critical-only");
  EXPECT_EQ(told.status, 3);
  EXPECT_THAT(told.out, StartsWith("PORTCULLIS UNKNOWN - "));
  const http_script warned(pretended{.metrics = dropped});
  const auto forgiven = check(warned, "--critical-only");
  EXPECT_EQ(forgiven.status, 0);
  EXPECT_THAT(forgiven.out, AllOf(StartsWith("PORTCULLIS OK - log lines dropped"),
                                  HasSubstr("[WARNING] log_dropped")));
}

/// Each answer comes within the timeout, all of them together do not.
TEST(check_command, ends_all_it_asks_within_one_timeout) {
  const http_script node([](const std::string& target) {
    std::this_thread::sleep_for(std::chrono::milliseconds(600));  // the time is what is tested
    return pretended{}(target);
  });
  const auto told = check(node, "--timeout 1");
  EXPECT_EQ(told.status, 2) << told.out;
  // The second where the machine let the check itself wait for another second.
  EXPECT_THAT(told.out, AllOf(StartsWith("PORTCULLIS CRITICAL - "),
                              AnyOf(HasSubstr("is not reached: no answer in time"),
                                    HasSubstr("no answer within 1 s"))));
}

/// Resolving a name cannot be given a time, and neither can opening a file: this one is a pipe
/// that nobody writes to.
TEST(check_command, speaks_though_something_in_it_hangs) {
  const auto pipe =
      std::filesystem::temp_directory_path() / ("portcullis_hang_" + std::to_string(getpid()));
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const auto told =
      shell("timeout 60 " PORTCULLIS_BINARY " check --timeout 0.2 --token-file " + pipe.string());
  EXPECT_EQ(told.status, 2);
  EXPECT_EQ(told.out, "PORTCULLIS CRITICAL - no answer within 0.2 s\n");
  std::filesystem::remove(pipe);
}

TEST(check_command, is_unknown_when_nobody_reads_its_line) {
  const http_script node(pretended{});
  std::array<int, 2> ends{-1, -1};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  close(ends[0]);
  const auto words = "exec " PORTCULLIS_BINARY " check --http " + node.address() + patient;
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    execl("/bin/sh", "sh", "-c", words.c_str(), nullptr);
    _exit(127);
  }
  close(ends[1]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 3);
  EXPECT_EQ(check(node, ">/dev/full").status, 3);
}

/// std::bad_alloc comes from anywhere: here from an answer for which there is no memory.
TEST(check_command, is_unknown_when_an_exception_ends_it) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer needs more memory than the limit leaves";
#endif
  const auto all = http_answer(200, std::string(60 * 1024 * 1024, 'x'));
  const http_script node([&](const std::string&) { return all; });
  const auto told =
      shell("ulimit -v 60000; exec " PORTCULLIS_BINARY " check --http " + node.address());
  EXPECT_EQ(told.status, 3);
  EXPECT_THAT(told.out, StartsWith("PORTCULLIS UNKNOWN - std::bad_alloc\n"));
}

TEST(check_command, lets_no_answer_move_a_terminals_cursor) {
  const std::string error = R"({"message":"\u001b[2J\u009b2J\r\nPORTCULLIS OK",)"
                            R"("data":{"error":"\u001b]0;owned\u0007\u202e"}})";
  for (const auto& body : {error, R"({"jsonrpc":"2.0","id":1,"error":)" + error + "}"}) {
    const http_script node([&](const std::string&) { return http_answer(500, body); });
    for (const auto* words : {"top --once --interval 0.1 --http ", "check --http "}) {
      const auto told = run(words + node.address());
      EXPECT_THAT(told.status, testing::AnyOf(1, 2)) << words;
      EXPECT_THAT(told.out, HasSubstr("owned")) << words;
      EXPECT_TRUE(is_printable(told.out)) << words << told.out;
    }
  }
  const tls_server rpc({}, [&](const std::string&, SSL*) {
    return R"({"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"\u001b[2J","data":{"error":)"
           R"("\u009b2J","details":{"a\u001b[2J":"\u202eowned"}}}})"
           "\n";
  });
  const auto told = run("nodes --address " + rpc.address());
  EXPECT_THAT(told.out, HasSubstr("owned"));
  EXPECT_TRUE(is_printable(told.out)) << told.out;
}

}  // namespace
}  // namespace portcullis::apps

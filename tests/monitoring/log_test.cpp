// The log under threads, floods and readers that stall.
#include "monitoring/log.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

namespace portcullis::monitoring {
namespace {

using core::log_level;
using testing::HasSubstr;
using testing::Not;

/// A pipe whose reading end the test holds.
class log_pipe {
 public:
  log_pipe() {
    if (pipe2(ends_, O_CLOEXEC) != 0) std::abort();
    fcntl(ends_[0], F_SETFL, O_NONBLOCK);
  }
  ~log_pipe() {
    close_reader();
    close(ends_[1]);
  }
  [[nodiscard]] int writer() const { return ends_[1]; }
  void close_reader() {
    if (ends_[0] >= 0) close(ends_[0]);
    ends_[0] = -1;
  }
  /// All that can be read now.
  std::string read_all() {
    std::string text;
    char piece[4096];
    for (ssize_t got = 0; (got = read(ends_[0], piece, sizeof piece)) > 0;)
      text.append(piece, static_cast<std::size_t>(got));
    return text;
  }
  /// Fills the pipe so that no further line fits.
  std::size_t stuff() {
    fcntl(ends_[1], F_SETFL, O_NONBLOCK);
    const std::string page(4096, '.');
    std::size_t bytes = 0;
    for (ssize_t put = 0; (put = write(ends_[1], page.data(), page.size())) > 0;)
      bytes += static_cast<std::size_t>(put);
    fcntl(ends_[1], F_SETFL, 0);
    return bytes;
  }

 private:
  int ends_[2]{-1, -1};
};

std::size_t count_lines(std::string_view text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

core::millis fixed_now() { return 1'709'210'096'789; }

TEST(log, works_before_configuration_and_writes_json_where_there_is_no_terminal) {
  log_pipe out;
  logger under_test({out.writer(), 64, fixed_now});
  under_test.write(log_level::error, component::config, "The configuration is not valid.",
                   {{"config.key", "session.idle_ttl_s"}, {"config.line", 7}});
  ASSERT_TRUE(under_test.flush());
  EXPECT_EQ(out.read_all(), R"({"@timestamp":"2024-02-29T12:34:56.789Z","log.level":"error",)"
                            R"("message":"The configuration is not valid.","ecs.version":"8.11.0",)"
                            R"("log.logger":"config","service.name":"portcullis",)"
                            R"("config.key":"session.idle_ttl_s","config.line":7})"
                            "\n");
}

TEST(log, a_configured_log_names_its_node_and_may_write_text) {
  log_pipe out;
  logger under_test({out.writer(), 64, fixed_now});
  log_settings settings;
  settings.node_id = "node-9";
  settings.version = "0.1.0";
  EXPECT_TRUE(under_test.configure(settings).empty());
  under_test.write(log_level::info, component::server, "Ready.");
  settings.format = core::log_format::text;
  under_test.configure(settings);
  under_test.write(log_level::info, component::server, "Ready.");
  ASSERT_TRUE(under_test.flush());
  const auto text = out.read_all();
  EXPECT_THAT(text, HasSubstr(R"("service.node.name":"node-9","service.version":"0.1.0"})"));
  EXPECT_THAT(text, HasSubstr("\n2024-02-29T12:34:56.789Z INFO  server: Ready.\n"));
}

TEST(log, levels_hold_a_component_and_change_at_run_time) {
  log_pipe out;
  logger under_test({out.writer(), 64, fixed_now});
  EXPECT_FALSE(under_test.enabled(log_level::debug, component::net));
  EXPECT_TRUE(under_test.enabled(log_level::info, component::net));

  log_settings settings;
  settings.level = log_level::warn;
  settings.levels = {
      {"net", log_level::debug}, {"store", log_level::off}, {"nett", log_level::trace}};
  EXPECT_THAT(under_test.configure(settings), testing::ElementsAre("nett"));
  EXPECT_TRUE(under_test.enabled(log_level::debug, component::net));
  EXPECT_FALSE(under_test.enabled(log_level::trace, component::net));
  EXPECT_FALSE(under_test.enabled(log_level::info, component::http));
  EXPECT_FALSE(under_test.enabled(log_level::error, component::store));
  EXPECT_FALSE(under_test.enabled(log_level::off, component::store));

  under_test.write(log_level::debug, component::net, "Seen.");
  under_test.write(log_level::error, component::store, "Not seen.");
  ASSERT_TRUE(under_test.flush());
  const auto text = out.read_all();
  EXPECT_EQ(count_lines(text), 1U);
  EXPECT_THAT(text, HasSubstr("\"Seen.\""));
  EXPECT_EQ(under_test.tallies().messages, (std::array<std::uint64_t, 5>{0, 1, 0, 0, 0}));
}

TEST(log, an_event_is_one_line_with_its_own_time_and_a_touch_is_none) {
  log_pipe out;
  logger under_test({out.writer(), 64, fixed_now});
  log_settings settings;
  settings.level = log_level::trace;
  under_test.configure(settings);
  core::event event;
  event.seq = 5;
  event.at_ms = 1'000;
  event.user_id = "ann";
  event.body = core::session_touched{};
  under_test.event(event);
  event.body = core::session_evicted{};
  under_test.event(event);
  ASSERT_TRUE(under_test.flush());
  const auto text = out.read_all();
  EXPECT_EQ(count_lines(text), 1U);
  EXPECT_THAT(text, HasSubstr(R"("@timestamp":"1970-01-01T00:00:01.000Z")"));
  EXPECT_THAT(text, HasSubstr(R"("event.action":"session_evicted")"));
  EXPECT_THAT(text, Not(HasSubstr("ann")));
}

TEST(log, user_hashes_of_two_processes_without_a_key_do_not_agree) {
  core::event event;
  event.user_id = "ann";
  event.body = core::session_evicted{};
  std::string lines[2];
  for (auto& line : lines) {
    log_pipe out;
    logger under_test({out.writer(), 64, fixed_now});
    under_test.event(event);
    ASSERT_TRUE(under_test.flush());
    line = out.read_all();
    EXPECT_THAT(line, HasSubstr("user.hash"));
  }
  EXPECT_NE(lines[0], lines[1]);
}

TEST(log, lines_of_many_threads_stay_whole) {
  log_pipe out;
  logger under_test({out.writer(), 4'096, fixed_now});
  std::string got;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i)
        under_test.write(log_level::info, component::net, "Hello.", {{"text", "a\nb"}, {"i", i}});
    });
  for (auto& thread : threads) thread.join();
  while (!under_test.flush(std::chrono::milliseconds(1))) got += out.read_all();
  got += out.read_all();
  EXPECT_EQ(count_lines(got), 2'000U);
  for (std::size_t at = 0; at < got.size();) {
    const auto end = got.find('\n', at);
    const auto line = std::string_view(got).substr(at, end - at);
    ASSERT_TRUE(line.starts_with("{\"@timestamp\"") && line.ends_with("}")) << line;
    at = end + 1;
  }
  EXPECT_EQ(under_test.tallies().messages[2], 2'000U);
  EXPECT_EQ(under_test.tallies().dropped, 0U);
}

TEST(log, a_reader_that_stalls_delays_no_writer_and_what_it_misses_is_counted_and_said) {
  log_pipe out;
  const auto stuffed = out.stuff();
  logger under_test({out.writer(), 100, fixed_now});
  constexpr std::uint64_t lines = 10'000;
  for (std::uint64_t i = 0; i < lines; ++i)
    under_test.write(log_level::info, component::net, "Flood.", {{"i", i}});
  // That we are here is the point: the pipe has taken nothing yet.
  EXPECT_FALSE(under_test.flush(std::chrono::milliseconds(1)));
  const auto dropped = under_test.tallies().dropped;
  EXPECT_GE(dropped, lines - 101);  // the queue, and one in the writing thread's hands
  EXPECT_LE(dropped, lines - 100);

  std::string got = out.read_all();
  while (!under_test.flush(std::chrono::milliseconds(1))) got += out.read_all();
  under_test.write(log_level::info, component::net, "After.");
  while (!under_test.flush(std::chrono::milliseconds(1))) got += out.read_all();
  got += out.read_all();
  got.erase(0, stuffed);
  EXPECT_EQ(count_lines(got), lines - dropped + 2);
  EXPECT_THAT(got, HasSubstr("\"i\":9999}"));  // the newest are kept
  EXPECT_THAT(got, HasSubstr("\"message\":\"Log lines were dropped.\""));
  EXPECT_THAT(got, HasSubstr("\"log.dropped\":" + std::to_string(dropped) + ","));
  EXPECT_EQ(under_test.tallies().dropped, dropped);
}

TEST(log, a_reader_that_stays_away_does_not_hold_up_the_end) {
  log_pipe out;
  out.stuff();
  const auto start = std::chrono::steady_clock::now();
  {
    logger under_test({out.writer(), 100, fixed_now});
    for (int i = 0; i < 200; ++i) under_test.write(log_level::info, component::net, "Flood.");
  }
  const auto took = std::chrono::steady_clock::now() - start;
  EXPECT_LT(took, std::chrono::milliseconds(core::limits::log_flush_ms_max * 5));
}

TEST(log, a_reader_that_goes_away_loses_lines_and_not_the_process) {
  log_pipe out;
  logger under_test({out.writer(), 100, fixed_now});
  out.close_reader();
  under_test.write(log_level::error, component::net, "Nobody reads this.");
  ASSERT_TRUE(under_test.flush());
  EXPECT_EQ(under_test.tallies().dropped, 1U);
}

TEST(log, a_line_longer_than_a_pipe_takes_at_once_arrives_whole) {
  log_pipe out;
  logger under_test({out.writer(), 100, fixed_now});
  const std::string text(5'000, '\x01');
  under_test.write(log_level::info, component::net, "Long.", {{"a", text}, {"b", text}});
  ASSERT_TRUE(under_test.flush());
  const auto got = out.read_all();
  EXPECT_GT(got.size(), 2 * 6 * core::limits::log_value_bytes_max);
  EXPECT_LT(got.size(), 2 * 6 * core::limits::log_value_bytes_max + 300);
  EXPECT_THAT(got, testing::EndsWith("\u2026\"}\n"));
}

TEST(log, messages_and_names_are_texts_of_the_program) {
  static_assert(!std::is_convertible_v<std::string, fixed_text>);
  static_assert(!std::is_convertible_v<std::string_view, fixed_text>);
  static_assert(!std::is_constructible_v<field, std::string, int>);
  log_pipe out;
  logger under_test({out.writer(), 100, fixed_now});
  under_test.write(log_level::info, component::net, "Fixed.");
  ASSERT_TRUE(under_test.flush());
  EXPECT_THAT(out.read_all(), HasSubstr("Fixed."));
}

}  // namespace
}  // namespace portcullis::monitoring

// What top makes of two pages and a size, without a server and without a terminal.
#include "apps/metrics_page/frame.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>

#include "apps/metrics_page/shown.hpp"
#include "apps/terminal.hpp"

namespace portcullis::apps {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::Not;

/// The series of one breaker.
std::string breaker(const std::string& service, const std::string& state, double since,
                    const std::string& ratio = "NaN") {
  const auto who = "breaker=\"default\",service=\"" + service + "\"";
  std::string text;
  for (const auto* each : {"closed", "open", "half_open", "forced_open"})
    text += "circuit_breaker_state_active{" + who + ",source=\"hosted\",state=\"" + each + "\"} " +
            (state == each ? "1" : "0") + "\n";
  text += "circuit_breaker_failure_ratio{" + who + "} " + ratio + "\n";
  text += "circuit_breaker_last_transition_timestamp_seconds{" + who + "} " +
          std::to_string(since) + "\n";
  return text;
}

scrape at(double unix_s, const std::string& text) {
  std::string why;
  auto page = metrics_page::parse("process_start_time_seconds 1000\n" + text, why);
  EXPECT_TRUE(page) << why;
  return {std::move(*page), unix_s, unix_s};
}

overview shown(const std::string& before, const std::string& after) {
  return make_overview(at(2000, before), at(2002, after));
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& each : lines) text += each + "\n";
  return text;
}

frame_request plain(std::size_t columns = 100, std::size_t rows = 0) {
  frame_request how;
  how.server = "127.0.0.1:7480";
  how.size = {columns, rows};
  return how;
}

std::string frame(const overview& of, const frame_request& how = plain()) {
  return joined(frame_lines(of, how));
}

TEST(top, shows_sessions_lockouts_and_validations_a_second) {
  const auto text = frame(shown(
      "portcullis_sessions_created_total 10\nportcullis_validations_total{result=\"valid\"} 0\n"
      "portcullis_validations_total{result=\"ip_mismatch\"} 0\nportcullis_lockouts_total 0\n",
      "portcullis_sessions 123\nportcullis_sessions_created_total 15\n"
      "portcullis_sessions_ended_total{reason=\"revoked\"} 4\n"
      "portcullis_validations_total{result=\"valid\"} 20\n"
      "portcullis_validations_total{result=\"ip_mismatch\"} 1\n"
      "portcullis_lockouts_total 1\nportcullis_lockouts_active 2\n"
      "portcullis_build_info{revision=\"abc\",version=\"1.2.3\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("portcullis 1.2.3  127.0.0.1:7480  up 16min 42s  every 2s"));
  EXPECT_THAT(text, HasSubstr("sessions     123 live  created 2.50/s  ended 2/s  revoked 2/s"));
  EXPECT_THAT(text, HasSubstr("users locked 2  lockouts 0.50/s"));
  EXPECT_THAT(text, HasSubstr("validations  10.5/s  valid 10/s  ip_mismatch 0.50/s"));
}

TEST(top, shows_open_breakers_first_and_for_how_long) {
  const auto after = breaker("aaa", "closed", 1990, "0.1") + breaker("mail", "open", 1942, "0.75") +
                     breaker("pay", "half_open", 2001);
  const auto text = frame(shown("", after));
  EXPECT_THAT(text, HasSubstr("BREAKERS 3, 2 not closed"));
  EXPECT_THAT(text, testing::ContainsRegex("open +75% +1min 0s +.*mail/default"));
  EXPECT_THAT(text, testing::ContainsRegex("half_open +- +1s .*pay/default"));
  EXPECT_LT(text.find("mail/default"), text.find("pay/default"));
  EXPECT_LT(text.find("pay/default"), text.find("aaa/default"));
}

TEST(top, lists_methods_with_their_errors_and_latencies_busy_ones_first) {
  const std::string duration = "portcullis_request_duration_seconds_bucket{method=\"a.b\",le=\"";
  const auto text = frame(shown("",
                                "portcullis_requests_total{method=\"a.b\",error=\"none\"} 2\n"
                                "portcullis_requests_total{method=\"c.d\",error=\"none\"} 8\n"
                                "portcullis_requests_total{method=\"c.d\",error=\"OVERLOADED\"} 2\n"
                                "portcullis_requests_total{method=\"e.f\",error=\"none\"} 0\n" +
                                    duration + "0.001\"} 2\n" + duration + "0.01\"} 2\n" +
                                    duration + "+Inf\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("REQUESTS 6/s, errors 1/s"));
  EXPECT_THAT(text, HasSubstr("OVERLOADED 1/s"));
  EXPECT_THAT(text, testing::ContainsRegex("a\\.b +1/s +0/s +500us +990us"));
  EXPECT_LT(text.find("c.d"), text.find("a.b"));
  EXPECT_THAT(text, Not(HasSubstr("e.f"))) << "nobody called it";
}

TEST(top, shows_what_the_node_does_not_serve_as_absent) {
  const auto text = frame(shown("", ""));
  EXPECT_THAT(text, HasSubstr("sessions     - live"));
  EXPECT_THAT(text, Not(HasSubstr("nan")));
  EXPECT_THAT(text, Not(HasSubstr("fleet"))) << "a node alone";
  EXPECT_THAT(text, Not(HasSubstr("id reuse")));
}

TEST(top, shows_a_fleet_a_degraded_store_and_a_failed_reload) {
  const auto text =
      frame(shown("",
                  "portcullis_fleet_nodes 3\nportcullis_fleet_staleness_seconds 0.012\n"
                  "portcullis_store_degraded 1\nportcullis_config_last_reload_success 0\n"
                  "breaker_shared_store_degraded 1\nportcullis_log_write_errors_total 4\n"));
  EXPECT_THAT(text, AllOf(HasSubstr("3 nodes  behind 12.0ms"), HasSubstr("DEGRADED"),
                          HasSubstr("LAST RELOAD FAILED"), HasSubstr("SHARED LOG NOT REACHED"),
                          HasSubstr("not written 2/s")));
}

/// A name with an escape sequence in it could have written anywhere on the screen.
TEST(top, lets_nothing_that_a_server_says_move_the_cursor) {
  const auto hostile = breaker("a\x1b[2J\\\"b\\nc\xc3\xa4\xff", "open", 1990);
  auto how = plain();
  how.server = "x\x1b]0;t\x07";
  how.trouble = "\r\x1b[1;1H";
  for (const auto& line : frame_lines(shown("", hostile), how))
    for (const char c : line) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << testing::PrintToString(line);
  EXPECT_THAT(frame(shown("", hostile)), HasSubstr("a?[2J\"b?c?" "?/default"));
}

/// How many columns a line takes: colours take none.
std::size_t width_of(const std::string& line) {
  std::size_t width = 0;
  for (std::size_t i = 0; i < line.size(); ++i)
    if (line[i] == '\x1b')
      i = line.find('m', i);
    else
      ++width;
  return width;
}

TEST(top, fits_every_size_of_terminal) {
  std::string many;
  for (int i = 0; i < 40; ++i)
    many += breaker("service-with-a-long-name-" + std::to_string(i), i % 2 == 0 ? "open" : "closed",
                    1990) +
            "portcullis_requests_total{method=\"m" + std::to_string(i) + "\",error=\"E" +
            std::to_string(i) + "\"} 2\n";
  const auto of = shown("", many);
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int i = 0; i < 500; ++i) {
    auto how = plain(random() % 150, random() % 70 + 1);
    how.colours = random() % 2 == 0;
    how.keys = random() % 2 == 0;
    how.view = random() % 2 == 0 ? top_view::overview : top_view::breakers;
    if (random() % 2 == 0) how.trouble = "Connection refused";
    const auto lines = frame_lines(of, how);
    EXPECT_LE(lines.size(), how.size.rows);
    for (const auto& line : lines)
      EXPECT_LE(width_of(line), std::max<std::size_t>(how.size.columns, 1)) << line;
  }
}

TEST(top, says_how_many_breakers_have_no_room_and_shows_all_in_their_own_view) {
  std::string many;
  for (int i = 0; i < 60; ++i) many += breaker("s" + std::to_string(i), "open", 1990);
  const auto of = shown("", many);
  EXPECT_THAT(frame(of, plain(100, 40)), testing::ContainsRegex("and [0-9]+ more"));
  auto own = plain(100, 70);
  own.view = top_view::breakers;
  const auto text = frame(of, own);
  EXPECT_THAT(text, Not(HasSubstr(" more")));
  for (int i = 0; i < 60; ++i) EXPECT_THAT(text, HasSubstr(" s" + std::to_string(i) + "/default"));
}

TEST(top, has_colours_only_where_they_are_asked_for) {
  const auto of = shown("", breaker("mail", "open", 1990));
  EXPECT_THAT(frame_lines(of, plain()), Each(Not(HasSubstr("\x1b"))));
  auto how = plain();
  how.colours = true;
  EXPECT_THAT(frame(of, how), HasSubstr("\x1b[1;31mopen"));
}

TEST(top, tells_of_a_server_that_is_not_reached_and_keeps_what_it_knew) {
  auto how = plain();
  how.trouble = "Connection refused";
  how.trouble_s = 12;
  EXPECT_THAT(
      frame(shown("", "portcullis_sessions 5\n"), how),
      AllOf(HasSubstr("not reached, trying again (12s): Connection refused"), HasSubstr("5 live")));
  EXPECT_THAT(joined(frame_lines(std::nullopt, how)), HasSubstr("not reached, trying again"));
}

TEST(top, tells_of_a_restart_and_counts_from_then) {
  std::string why;
  const scrape again{*metrics_page::parse("process_start_time_seconds 2001\n"
                                          "portcullis_sessions_created_total 4\n",
                                          why),
                     2002, 2002};
  const auto of = make_overview(at(2000, "portcullis_sessions_created_total 900\n"), again);
  EXPECT_THAT(frame(of), AllOf(HasSubstr("started again"), HasSubstr("created 2/s")));
}

TEST(top, gives_the_same_as_one_line_of_json_with_null_for_what_is_absent) {
  const auto text =
      overview_json(shown("", breaker("m\xff", "open", 1990, "0.5") + "portcullis_sessions 7\n"));
  EXPECT_THAT(text, Not(HasSubstr("\n")));
  const auto parsed = nlohmann::json::parse(text);
  EXPECT_EQ(parsed["sessions"]["live"], 7);
  EXPECT_EQ(parsed["interval_s"], 2);
  EXPECT_TRUE(parsed["store"]["queue"].is_null());
  EXPECT_EQ(parsed["breakers"][0]["state"], "open");
  EXPECT_EQ(parsed["breakers"][0]["failure_ratio"], 0.5);
  EXPECT_EQ(parsed["breakers"][0]["in_state_s"], 12);
}

TEST(a_frame_on_the_screen, clears_what_was_there_and_does_not_scroll) {
  EXPECT_EQ(screen_text({"a", "b"}), "\x1b[H\x1b[2Ka\r\n\x1b[Jb");
}

/// U+009B begins a control sequence, U+202E turns the rest of a line around.
TEST(an_overview_as_json, has_nothing_that_a_terminal_would_obey) {
  const auto text =
      overview_json(shown("", breaker("m\xc2\x9b\xe2\x80\xae", "open", 1990, "0.5")));
  EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; }))
      << text;
  EXPECT_THAT(text, HasSubstr("m\\u009b\\u202e"));
}

TEST(a_terminal, is_known_by_its_environment) {
  EXPECT_TRUE(abilities_of("xterm-256color", nullptr, nullptr).colours);
  EXPECT_TRUE(abilities_of("linux", nullptr, "").colours) << "an empty NO_COLOR is none";
  EXPECT_FALSE(abilities_of("xterm", nullptr, "1").colours);
  EXPECT_TRUE(abilities_of("xterm", nullptr, "1").moves);
  EXPECT_FALSE(abilities_of("vt100", nullptr, nullptr).colours);
  EXPECT_TRUE(abilities_of("vt100", nullptr, nullptr).moves);
  EXPECT_TRUE(abilities_of("vt100", "truecolor", nullptr).colours);
  EXPECT_FALSE(abilities_of("xterm-mono", nullptr, nullptr).colours);
  for (const auto* none : {"dumb", "", "unknown"})
    EXPECT_FALSE(abilities_of(none, "truecolor", nullptr).moves) << none;
  EXPECT_FALSE(abilities_of(nullptr, nullptr, nullptr).moves);
}

TEST(numbers, are_shown_short) {
  EXPECT_EQ(number_text(0), "0");
  EXPECT_EQ(number_text(0.004), "<0.01");
  EXPECT_EQ(number_text(0.25), "0.25");
  EXPECT_EQ(number_text(12.34), "12.3");
  EXPECT_EQ(number_text(4567), "4567");
  EXPECT_EQ(number_text(12'345), "12.3k");
  EXPECT_EQ(number_text(1'200'000), "1.20M");
  EXPECT_EQ(number_text(std::nullopt), "-");
  EXPECT_EQ(number_text(std::nan("")), "-");
  EXPECT_EQ(latency_text(0.00034), "340us");
  EXPECT_EQ(latency_text(0.0012), "1.20ms");
  EXPECT_EQ(latency_text(quantile_value{10, true}), ">10.0s");
  EXPECT_EQ(duration_text(59.9), "59s");
  EXPECT_EQ(duration_text(184), "3min 4s");
  EXPECT_EQ(duration_text(7'500), "2h 5min");
  EXPECT_EQ(duration_text(273'600), "3d 4h");
  EXPECT_EQ(duration_text(-1), "0s");
  EXPECT_EQ(bytes_text(512), "512B");
  EXPECT_EQ(bytes_text(4 * 1024 * 1024), "4.0MiB");
  EXPECT_EQ(percent_text(0.123), "12%");
  EXPECT_EQ(cut_to("abcdef", 4), "abc~");
  EXPECT_EQ(cut_to("abcd", 4), "abcd");
  EXPECT_EQ(cut_to("abcd", 0), "");
}

}  // namespace
}  // namespace portcullis::apps

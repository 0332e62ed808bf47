// `portcullis top`: a node's metrics as they change, on a terminal or as text and JSON lines.
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "apps/cli/scraper.hpp"
#include "apps/cli/signal_queue.hpp"
#include "apps/commands.hpp"
#include "apps/http_client.hpp"
#include "apps/metrics_page/frame.hpp"
#include "apps/metrics_page/overview.hpp"
#include "apps/terminal.hpp"

namespace portcullis::apps {
namespace {

using steady = std::chrono::steady_clock;
constexpr std::size_t pipe_columns = 100;  // where COLUMNS does not say

struct top_options {
  server_options server;
  double interval_s = 1;
  bool once = false, json = false;
};

/// What is known of the node: two pages at most, and whether it can be reached.
class watched_node {
 public:
  void take(scraped result) {
    if (!result.page) {
      if (trouble_.empty()) trouble_since_ = steady::now();
      trouble_ = std::move(result.why);
      return;
    }
    trouble_.clear();
    if (last_) shown_ = make_overview(*last_, *result.page);
    last_ = std::move(result.page);
  }
  [[nodiscard]] const std::optional<overview>& shown() const noexcept { return shown_; }
  [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }
  [[nodiscard]] double trouble_s() const {
    return std::chrono::duration<double>(steady::now() - trouble_since_).count();
  }

 private:
  std::optional<scrape> last_;
  std::optional<overview> shown_;
  std::string trouble_;  // empty: the last scrape was good
  steady::time_point trouble_since_;
};

class live_view {
 public:
  live_view(const top_options& given, const http_client& server, bool colours)
      : scraper_(server),
        interval_(std::chrono::duration_cast<steady::duration>(
            std::chrono::duration<double>(given.interval_s))) {
    how_.server = given.server.address;
    how_.keys = true;
    how_.colours = colours;
  }

  int run() {
    {
      terminal_screen screen;
      next_ = steady::now();
      while (!ended_ && draw(screen)) wait(screen);
    }
    // A name server may keep a scrape for its whole time; nothing of it is wanted any more.
    if (scraper_.busy()) std::_Exit(exit_ok);
    return exit_ok;
  }

 private:
  bool draw(const terminal_screen& screen) {
    how_.size = screen.size();
    how_.trouble = node_.trouble();
    how_.trouble_s = node_.trouble_s();
    return screen.draw(frame_lines(node_.shown(), how_));
  }

  void wait(terminal_screen& screen) {
    const auto now = steady::now();
    if (!how_.paused && now >= next_) {
      if (!scraper_.busy()) scraper_.begin();
      next_ = std::max(next_ + interval_, now);  // a slow node is not asked twice at once
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_ - now).count();
    const int wait_ms =
        how_.paused ? -1 : static_cast<int>(std::clamp<std::int64_t>(left, 1, 3'600'000));
    std::array<pollfd, 3> watched = {{{signals_.descriptor(), POLLIN, 0},
                                      {scraper_.descriptor(), POLLIN, 0},
                                      {keys_, POLLIN, 0}}};
    if (poll(watched.data(), watched.size(), wait_ms) <= 0) return;
    while (const int number = signals_.next()) take_signal(number, screen);
    if (watched[1].revents != 0)
      if (auto result = scraper_.take()) node_.take(std::move(*result));
    if (watched[2].revents != 0) take_keys();
  }

  void take_signal(int number, terminal_screen& screen) {
    if (ended_) return;  // what comes with it, as SIGCONT, must not take the terminal again
    if (number == SIGTSTP) return screen.stop_here();
    if (number == SIGCONT) return screen.take_again();
    if (number != SIGWINCH) ended_ = true;  // drawn anew with the new size in any case
  }

  void take_keys() {
    std::array<char, 64> typed;
    const auto got = read(keys_, typed.data(), typed.size());
    if (got <= 0) {
      keys_ = -1;  // poll() leaves it out
      return;
    }
    // A key that is no character comes as an escape sequence, which may have our letters in it.
    for (const char key : std::string_view(typed.data(), static_cast<std::size_t>(got))) {
      if (key == '\x1b') return;
      if (key == 'q' || key == 'Q') ended_ = true;
      if (key == 'p' || key == 'P' || key == ' ') how_.paused = !how_.paused;
      if (key == 'b' || key == 'B') how_.view = top_view::breakers;
      if (key == 'o' || key == 'O') how_.view = top_view::overview;
    }
  }

  signal_queue signals_;  // before the thread, which takes over what is blocked
  background_scraper scraper_;
  watched_node node_;
  frame_request how_;
  steady::duration interval_;
  steady::time_point next_;
  int keys_ = isatty(STDIN_FILENO) != 0 ? STDIN_FILENO : -1;
  bool ended_ = false;
};

std::size_t columns_of_pipe() {
  const char* given = std::getenv("COLUMNS");
  const std::string_view text = given == nullptr ? "" : given;
  std::size_t columns = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), columns);
  const bool good = failed == std::errc{} && end == text.data() + text.size();
  return good && columns > 0 ? std::min<std::size_t>(columns, 10'000) : pipe_columns;
}

/// False when nobody reads any more.
bool print_frame(const top_options& given, const watched_node& node) {
  if (given.json) {
    fmt::print("{}\n", overview_json(*node.shown()));
  } else {
    frame_request how;
    how.server = given.server.address;
    how.size = {columns_of_pipe(), 0};
    for (const auto& line : frame_lines(node.shown(), how)) fmt::print("{}\n", line);
    if (!given.once) fmt::print("\n");
  }
  return std::fflush(stdout) == 0;
}

/// Waits for the next turn; false when standard output has no reader any more.
bool wait_until(steady::time_point when) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(when - steady::now()).count();
    if (left <= 0) return true;
    pollfd out{STDOUT_FILENO, 0, 0};
    if (poll(&out, 1, static_cast<int>(left)) > 0 && (out.revents & (POLLERR | POLLNVAL)) != 0)
      return false;
  }
}

int print_frames(const top_options& given, const http_client& server) {
  watched_node node;
  const auto say = [&](std::string_view what) {
    fmt::print(stderr, "portcullis: {}: {}\n", given.server.address, what);
  };
  const auto interval =
      std::chrono::duration_cast<steady::duration>(std::chrono::duration<double>(given.interval_s));
  auto next = steady::now();
  for (bool reached = false;;) {
    auto result = scrape_node(server);
    const bool good = result.page.has_value(), was_lost = !node.trouble().empty();
    if (!good && (!reached || given.once)) {
      say(result.why);
      return result.status;
    }
    if (!good && !was_lost) say("not reached, trying again: " + result.why);
    if (good && was_lost) say("reached again");
    node.take(std::move(result));
    if (good && node.shown()) {
      if (!print_frame(given, node) || given.once) return exit_ok;
    }
    reached = true;
    next = std::max(next + interval, steady::now());
    if (!wait_until(next)) return exit_ok;
  }
}

int run_top(const top_options& given) {
  std::string why;
  const auto server = http_client::make(given.server, why);
  if (!server) {
    fmt::print(stderr, "portcullis: {}\n", why);
    return exit_usage;
  }
  const auto terminal =
      abilities_of(std::getenv("TERM"), std::getenv("COLORTERM"), std::getenv("NO_COLOR"));
  const bool live = isatty(STDOUT_FILENO) != 0 && terminal.moves && !given.once && !given.json;
  return live ? live_view(given, *server, terminal.colours).run() : print_frames(given, *server);
}

}  // namespace

void add_top(CLI::App& root, int& status) {
  auto given = std::make_shared<top_options>();
  auto* command = root.add_subcommand(
      "top",
      "Watch a node: rates, latencies, sessions, lockouts, breakers, store. On a terminal a view "
      "that keeps up (keys: q quits, p pauses, b breakers, o overview); in a pipe a frame of text "
      "an interval");
  add_http_options(*command, given->server);
  command->add_option("--interval", given->interval_s, "Seconds between two looks")
      ->type_name("S")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  command->add_flag("--once", given->once, "Look twice, an interval apart, print that and end");
  command->add_flag("--json", given->json, "A JSON object a line instead of text");
  command->callback([given, &status] { status = run_top(*given); });
}

}  // namespace portcullis::apps

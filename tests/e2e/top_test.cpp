// `portcullis top` on a terminal of its own and in a pipe, against a real server.
#include "breakers.hpp"
#include "process.hpp"
#include "tcp_proxy.hpp"

namespace portcullis::e2e {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const std::string taken = "\x1b[?1049h", given_back = "\x1b[?1049l";

std::vector<std::string> words(std::uint16_t port, std::vector<std::string> more = {},
                               const std::string& variable = "COLORTERM=") {
  std::vector<std::string> all{"env",
                               "-u",
                               "NO_COLOR",
                               "-u",
                               "COLUMNS",
                               "TERM=xterm",
                               variable,
                               tested_binary(),
                               "top",
                               "--http",
                               "127.0.0.1:" + std::to_string(port),
                               "--interval",
                               "0.1"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// Lines are edited and shown again.
bool is_given_back(const running& view) {
  return (view.modes().c_lflag & (ICANON | ECHO)) == (ICANON | ECHO);
}

void lock_out(line_client& client, const std::string& who) {
  const auto id = create(client, who)["session_id"];
  for (int i = 0; i < 10; ++i) validate(client, id, context("198.51.100.7"));
}

struct top : testing::Test {
  server node;
  line_client client = node.connect();
};

TEST_F(top, shows_a_lockout_and_an_open_breaker_as_they_happen_and_q_gives_the_terminal_back) {
  running view(words(node.http_port), running::to::terminal);
  ASSERT_TRUE(view.shows(taken));
  EXPECT_TRUE(view.shows("users locked 0"));
  EXPECT_EQ(view.modes().c_lflag & (ICANON | ECHO), 0U) << "keys come at once and are not shown";
  lock_out(client, "ada");
  EXPECT_TRUE(view.shows("users locked 1"));
  EXPECT_TRUE(view.shows("BREAKERS 1, 0 not closed"));
  breaker(client, "mail").trip();
  EXPECT_TRUE(view.shows("BREAKERS 2, 1 not closed"));
  EXPECT_TRUE(view.shows("\x1b[1;31mopen"));
  EXPECT_TRUE(view.shows("mail/default"));
  EXPECT_THAT(view.seen(), HasSubstr("100%"));
  EXPECT_TRUE(view.shows("q quit"));
  view.type("b");
  EXPECT_TRUE(view.shows("\x1b[0m\r\r\n\x1b[2K\x1b[1mBREAKERS 2")) << "behind the first line";
  view.type("q");
  EXPECT_TRUE(view.shows(given_back));
  EXPECT_TRUE(is_given_back(view));
  EXPECT_EQ(view.end(), 0);
}

TEST_F(top, goes_on_through_kill_and_restart_of_the_server) {
  tcp_proxy door(node.http_port);
  running view(words(door.port), running::to::terminal);
  ASSERT_TRUE(view.shows("0 live"));
  create(client, "ada");
  ASSERT_TRUE(view.shows("1 live"));
  node.kill_at_once();
  EXPECT_TRUE(view.shows("not reached, trying again"));
  EXPECT_TRUE(view.shows("1 live")) << "what it knew is still there";
  ASSERT_TRUE(node.start());
  door.lead_to(node.http_port);
  EXPECT_TRUE(view.shows("the server was started again: counted from then"));
  EXPECT_TRUE(view.shows("1 live"));
  EXPECT_THAT(view.seen(), Not(HasSubstr("not reached")));
  view.type("q");
  EXPECT_EQ(view.end(), 0);
}

TEST_F(top, waits_for_a_server_that_is_not_there_yet) {
  tcp_proxy door(node.http_port);
  door.refuse();
  running view(words(door.port), running::to::terminal);
  EXPECT_TRUE(view.shows("not reached, trying again"));
  EXPECT_TRUE(view.shows("Connection refused"));
  door.pass();
  EXPECT_TRUE(view.shows("0 live"));
}

TEST_F(top, answers_keys_while_the_server_does_not_answer) {
  tcp_proxy door(node.http_port);
  door.freeze(tcp_proxy::which::all);
  running view(words(door.port, {"--timeout", "3600"}), running::to::terminal);
  EXPECT_TRUE(view.shows("waiting for the second scrape"));
  view.type("q");
  EXPECT_TRUE(view.shows(given_back));
  EXPECT_EQ(view.end(), 0);
}

TEST_F(top, gives_the_terminal_back_whatever_ends_it) {
  for (const int number : {0, SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    running view(words(node.http_port), running::to::terminal);
    ASSERT_TRUE(view.shows("sessions"));
    if (number == 0)
      view.type("\x03");  // Ctrl-C
    else
      view.signal(number);
    EXPECT_TRUE(view.shows(given_back)) << number;
    EXPECT_TRUE(is_given_back(view)) << number;
    EXPECT_EQ(view.end(), 0) << number;
  }
  running bug(words(node.http_port), running::to::terminal);
  ASSERT_TRUE(bug.shows("sessions"));
  bug.signal(SIGABRT);
  EXPECT_TRUE(bug.shows(given_back));
  EXPECT_TRUE(is_given_back(bug));
  EXPECT_EQ(bug.end(), 128 + SIGABRT);
}

TEST_F(top, stops_with_control_z_and_goes_on_where_it_was) {
  running view(words(node.http_port), running::to::terminal);
  ASSERT_TRUE(view.shows("sessions"));
  view.type("\x1a");
  EXPECT_TRUE(view.shows(given_back));
  ASSERT_TRUE(view.stopped());
  EXPECT_TRUE(is_given_back(view));
  view.signal(SIGCONT);
  EXPECT_TRUE(view.shows(taken));
  EXPECT_TRUE(view.shows("sessions"));
  EXPECT_EQ(view.modes().c_lflag & ICANON, 0U);
  view.type("q");
  EXPECT_EQ(view.end(), 0);
}

/// A shell with jobs on a terminal, in which the view was started.
struct top_in_a_shell : top {
  running shell{{"env", "PS1=$ ", "HISTFILE=", "bash", "--noprofile", "--norc", "-i"},
                running::to::terminal};
  void start() {
    std::string line;
    for (const auto& each : words(node.http_port)) line += each + " ";
    shell.type(line + "\n");
    ASSERT_TRUE(shell.shows(taken));
    ASSERT_TRUE(shell.shows("sessions"));
  }
  void stop() {
    shell.type("\x1a");
    ASSERT_TRUE(shell.shows(given_back));
    ASSERT_TRUE(shell.shows("Stopped"));
  }
  /// Only what the shell says then has the sum in it. wait alone may end with the stop before.
  void end_by(const std::string& signal) {
    shell.type("p=$(jobs -p); kill -" + signal +
               " $p; kill -CONT $p; while kill -0 $p 2>&-; do :; done; wait $p; "
               "echo ended-$((40 + $?))\n");
  }
};

/// Found in review: the shell has the terminal again, so giving it back stopped the view once more,
/// whenever it was continued; only SIGKILL ended it.
TEST_F(top_in_a_shell, ends_by_a_signal_while_it_is_stopped) {
  for (const auto* number : {"TERM", "HUP", "INT", "QUIT"}) {
    start();
    stop();
    end_by(number);
    EXPECT_TRUE(shell.shows("ended-40")) << number;
    EXPECT_THAT(shell.seen(), Not(HasSubstr(taken))) << number;
  }
}

TEST_F(top_in_a_shell, takes_no_terminal_in_the_background_and_takes_it_in_the_foreground) {
  start();
  stop();
  shell.type("bg\n");
  // It stops again, which jobs tells; until then it runs.
  shell.type("until jobs | grep -q Stopped; do :; done; echo again-$((40 + 2))\n");
  EXPECT_TRUE(shell.shows("again-42"));
  EXPECT_THAT(shell.seen(), Not(HasSubstr(taken)));
  shell.type("fg\n");
  EXPECT_TRUE(shell.shows(taken));
  EXPECT_TRUE(shell.shows("sessions"));
  shell.type("q");
  EXPECT_TRUE(shell.shows(given_back));
  shell.type("echo ended-$((40 + $?))\n");
  EXPECT_TRUE(shell.shows("ended-40"));
}

TEST_F(top_in_a_shell, ends_by_a_signal_that_was_started_in_the_background) {
  std::string line;
  for (const auto& each : words(node.http_port)) line += each + " ";
  shell.type(line + "&\n");
  shell.type("until jobs | grep -q Stopped; do :; done; echo stopped-$((40 + 2))\n");
  EXPECT_TRUE(shell.shows("stopped-42"));
  EXPECT_THAT(shell.seen(), Not(HasSubstr(taken)));
  end_by("TERM");
  EXPECT_TRUE(shell.shows("ended-40"));
  EXPECT_THAT(shell.seen(), Not(HasSubstr(taken)));
}

TEST_F(top, follows_the_size_of_its_terminal) {
  running view(words(node.http_port), running::to::terminal);
  ASSERT_TRUE(view.shows("q quit"));
  view.resize(10, 30);
  // The first frame of ten lines, up to where the next one begins.
  std::vector<std::string> lines;
  for (int frame = 0; frame < 100 && lines.size() != 10; ++frame) {
    ASSERT_TRUE(view.shows("\x1b[H"));
    lines.clear();
    for (std::size_t at = 0; at != std::string::npos;) {
      const auto end = view.seen().find("\r\n", at);
      lines.push_back(view.seen().substr(at, end - at));
      at = end == std::string::npos ? end : end + 2;
    }
  }
  ASSERT_EQ(lines.size(), 10U);
  for (const auto& line : lines) {
    std::size_t width = 0;
    for (std::size_t i = 0; i < line.size(); ++i)
      if (line[i] == '\x1b')
        i = line.find_first_of("KmJH", i);
      else if (line[i] >= ' ')
        ++width;
    EXPECT_LE(width, 30U) << line;
  }
}

TEST_F(top, pauses) {
  running view(words(node.http_port), running::to::terminal);
  ASSERT_TRUE(view.shows("0 live"));
  view.type("p");
  ASSERT_TRUE(view.shows("PAUSED"));
  create(client, "ada");
  view.type("p");
  EXPECT_TRUE(view.shows("1 live"));
}

TEST_F(top, has_no_colours_where_they_are_not_wanted) {
  running view(words(node.http_port, {}, "NO_COLOR=1"), running::to::terminal);
  ASSERT_TRUE(view.shows("q quit"));
  EXPECT_THAT(view.seen(), Not(testing::ContainsRegex("\x1b\\[[0-9;]*[1-9]m")));
  view.type("q");
  EXPECT_EQ(view.end(), 0);
}

TEST_F(top, writes_plain_frames_to_a_terminal_that_cannot_place_its_cursor) {
  running view(words(node.http_port, {}, "TERM=dumb"), running::to::terminal);
  ASSERT_TRUE(view.shows("sessions"));
  EXPECT_THAT(view.seen(), Not(HasSubstr("\x1b")));
}

TEST_F(top, once_prints_one_frame_and_ends) {
  lock_out(client, "ada");
  breaker(client, "mail").trip();
  running command(words(node.http_port, {"--once"}), running::to::pipe);
  const auto text = command.rest();
  EXPECT_EQ(command.end(), 0);
  EXPECT_THAT(text, AllOf(HasSubstr("users locked 1"), Not(HasSubstr("\x1b")),
                          testing::ContainsRegex("open +100% .*mail/default")));
  EXPECT_THAT(text, testing::ContainsRegex("store +ok"));
}

TEST_F(top, prints_a_line_of_json_an_interval_into_a_pipe) {
  running command(words(node.http_port, {"--json"}), running::to::pipe);
  auto first = json::parse(command.line());
  EXPECT_EQ(first["sessions"]["live"], 0);
  EXPECT_EQ(first["store"]["degraded"], 0);
  EXPECT_GT(first["uptime_s"], 0);
  create(client, "ada");
  EXPECT_TRUE(eventually([&] { return json::parse(command.line())["sessions"]["live"] == 1; }));
}

TEST_F(top, tells_of_a_lost_server_beside_its_frames_in_a_pipe) {
  tcp_proxy door(node.http_port);
  running command(words(door.port), running::to::pipe);
  ASSERT_TRUE(command.shows("sessions"));
  door.refuse();
  EXPECT_TRUE(command.shows("not reached, trying again: "));
  door.pass();
  EXPECT_TRUE(command.shows("reached again"));
  EXPECT_TRUE(command.shows("sessions"));
}

TEST_F(top, says_why_it_cannot_begin_in_a_pipe) {
  const auto ask = [](const std::vector<std::string>& all) {
    running command(all, running::to::pipe);
    ran result;
    result.out = command.rest();
    result.status = command.end();
    return result;
  };
  const auto other_door = ask(words(node.rpc_port, {"--once"}));
  EXPECT_EQ(other_door.status, 2);
  EXPECT_THAT(other_door.out, HasSubstr("is that the address of listen.http?"));
  EXPECT_EQ(ask(words(node.http_port, {"--interval", "0"})).status, 64);
  EXPECT_EQ(ask(words(node.http_port, {"--token-file", "/nowhere"})).status, 64);
  const auto port = node.http_port;
  ASSERT_EQ(node.terminate(), 0);
  const auto gone = ask(words(port));
  EXPECT_EQ(gone.status, 2);
  EXPECT_THAT(gone.out, HasSubstr("Connection refused"));
}

TEST(top_with_a_token, sees_what_an_observer_may_see) {
  const auto eye = make_token("eye");
  server node({.set = {"server.environment=development", "listen.http.auth=token"},
               .config = token_toml(eye, "eye", "observer"),
               .open = false});
  const auto base = tested_binary() + " top --once --interval 0.1 --http http://127.0.0.1:" +
                    std::to_string(node.http_port) + "/";
  const auto refused = run(base);
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.out, AllOf(HasSubstr("AUTH_REQUIRED"), HasSubstr("--token-file")));
  const auto seen = run(base + " --token-file " + node.folder().write("eye", eye.text));
  EXPECT_EQ(seen.status, 0);
  EXPECT_THAT(seen.out, HasSubstr("0 live"));
}

}  // namespace
}  // namespace portcullis::e2e

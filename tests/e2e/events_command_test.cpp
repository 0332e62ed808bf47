// `portcullis events tail` and `query`, as a person and as a script call them.
#include <netinet/in.h>
#include <sys/socket.h>

#include <fstream>
#include <set>

#include "history.hpp"
#include "load.hpp"
#include "process.hpp"

namespace portcullis::e2e {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

/// Not one of those that the system hands out: nobody takes it while a server is down.
std::uint16_t unused_port() {
  for (int i = 0;; ++i) {
    const int port = 20'000 + (getpid() * 7 + i) % 12'000;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<std::uint16_t>(port));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool free = bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0;
    ::close(fd);
    if (free) return static_cast<std::uint16_t>(port);
  }
}

std::string address_of(std::uint16_t port) { return "127.0.0.1:" + std::to_string(port); }

std::vector<std::string> events_words(const std::string& what, std::uint16_t port,
                                      std::vector<std::string> more) {
  std::vector<std::string> all{tested_binary(), "events", what, "--address", address_of(port)};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// Lines of the command's own; what it says on standard error begins with its name.
bool is_event(const std::string& line) { return line.starts_with("{"); }

struct events_tail : testing::Test {
  server node{{.listen = address_of(unused_port())}};

  std::vector<std::string> words(std::vector<std::string> more) const {
    return events_words("tail", node.rpc_port, std::move(more));
  }
  /// The next event of a command; null at the end.
  static json next(running& command) {
    for (;;) {
      const auto line = command.line();
      if (line.empty()) return {};
      if (is_event(line)) return json::parse(line);
    }
  }
};

TEST_F(events_tail, prints_events_as_they_come_with_their_cursors) {
  auto client = node.connect();
  running tail(words({"--after", "e0"}), running::to::pipe);
  EXPECT_EQ(next(tail)["type"], "node_started");
  const auto made = create(client, "ada");
  const auto event = next(tail);
  EXPECT_EQ(event["type"], "session_created");
  EXPECT_EQ(event["handle"], made["handle"]);
  EXPECT_EQ(event["cursor"], "e" + event["seq"].dump());
  EXPECT_EQ(tail.end(SIGINT), 0) << "Ctrl-C is no failure";
  running later(words({"--after", event["cursor"]}), running::to::pipe);
  create(client, "bob");
  EXPECT_EQ(next(later)["user_id"], "bob") << "what was before the cursor is not told again";
}

TEST_F(events_tail, types_and_tenant_filter) {
  auto client = node.connect();
  running tail(
      words({"--after", "e0", "--types", "session_created,session_revoked", "--tenant", "other"}),
      running::to::pipe);
  create(client, "ada");
  const auto made = create(client, "bob", {{"tenant_id", "other"}});
  validate(client, made["session_id"], context("198.51.100.9"));
  client.result("session.revoke", {{"handle", made["handle"]}});
  EXPECT_EQ(next(tail)["user_id"], "bob");
  EXPECT_EQ(next(tail)["type"], "session_revoked");
  const auto wrong = run(binary() + " events tail --types session_made");
  EXPECT_EQ(wrong.status, 64);
  EXPECT_THAT(wrong.out, HasSubstr("there is no event of type session_made"));
}

TEST_F(events_tail, a_terminal_gets_readable_lines_and_json_when_asked) {
  auto client = node.connect();
  create(client, "ada");
  const auto handle = create(client, "eve\\u001b")["handle"];
  running tail(words({"--after", "e0", "--types", "session_created"}), running::to::terminal);
  const auto line = tail.line();
  EXPECT_THAT(line,
              testing::ContainsRegex("^[0-9-]+T[0-9:.]+Z +[0-9]+  session_created +acme/ada  s_"));
  EXPECT_THAT(line, HasSubstr("expires_at_ms="));
  EXPECT_EQ(tail.end(SIGTERM), 0);
  running raw(words({"--after", "e0", "--types", "session_created", "--json"}),
              running::to::terminal);
  EXPECT_EQ(json::parse(raw.line())["user_id"], "ada");
}

TEST_F(events_tail, through_kill_9_and_restarts_every_event_comes_once) {
  const auto kept = node.folder().file("cursor");
  running tail(words({"--after", "e0", "--cursor-file", kept}), running::to::pipe);
  std::vector<std::uint64_t> seqs;
  std::string said;
  const auto read = [&] {
    const auto line = tail.line();
    if (is_event(line))
      seqs.push_back(json::parse(line)["seq"]);
    else
      said += line + "\n";
    return !line.empty();
  };
  for (int round = 0; round < 4; ++round) {
    load writing(node, 2, "round" + std::to_string(round));
    const auto before = seqs.size();
    while (seqs.size() < before + 100 && read()) {
    }
    node.kill_at_once();
    writing.stop();
    ASSERT_TRUE(node.start()) << node.log();
  }
  auto client = node.connect();
  create(client, "the last");
  std::vector<std::uint64_t> there;
  for (const auto& each :
       events_at_least(client, 1, {{"tenant_id", "acme"}, {"user_id", "the last"}}))
    there.push_back(each["seq"]);
  ASSERT_EQ(there.size(), 1U);
  const auto last = there.back();
  while ((seqs.empty() || seqs.back() < last) && read()) {
  }
  there.clear();
  for (const auto& each : events(client))
    if (each["type"] != "session_touched" && each["seq"] <= last) there.push_back(each["seq"]);
  EXPECT_EQ(seqs, there) << "each once, in order, none missing";
  EXPECT_THAT(said, HasSubstr("connecting again, going on after e"));
  EXPECT_THAT(said, HasSubstr("connected again"));
  EXPECT_EQ(tail.end(SIGTERM), 0);
  std::ifstream file(kept);
  std::string cursor;
  std::getline(file, cursor);
  EXPECT_EQ(cursor, "e" + std::to_string(last));
  // What the file says comes before --after.
  running again(words({"--after", "e0", "--cursor-file", kept}), running::to::pipe);
  create(client, "one more");
  EXPECT_EQ(next(again)["user_id"], "one more");
}

TEST_F(events_tail, ends_quietly_when_nobody_reads_its_output) {
  auto client = node.connect();
  create(client, "ada");
  const auto piped = run(binary() + " events tail --after e0 --address " +
                         address_of(node.rpc_port) + " | head -n 1");
  EXPECT_EQ(piped.status, 0);
  EXPECT_EQ(std::count(piped.out.begin(), piped.out.end(), '\n'), 1) << piped.out;
  EXPECT_TRUE(is_event(piped.out)) << piped.out;
}

TEST_F(events_tail, says_what_stands_in_its_way) {
  const auto address = " --address " + address_of(node.rpc_port);
  const auto invalid = run(binary() + " events tail --after e99999" + address);
  EXPECT_EQ(invalid.status, 1);
  EXPECT_THAT(invalid.out, HasSubstr("CURSOR_INVALID"));
  const auto bad = node.folder().write("bad", "no cursor at all\n");
  const auto no_cursor = run(binary() + " events tail --cursor-file " + bad + address);
  EXPECT_EQ(no_cursor.status, 1);
  EXPECT_THAT(no_cursor.out, HasSubstr("bad: holds no cursor"));
  const auto nowhere = run(binary() + " events tail --cursor-file /nowhere/cursor" + address);
  EXPECT_EQ(nowhere.status, 1);
  EXPECT_THAT(nowhere.out, HasSubstr("/nowhere/cursor"));
  const auto future = node.folder().write("future", "e99999\n");
  const auto other = run(binary() + " events tail --cursor-file " + future + address);
  EXPECT_EQ(other.status, 1);
  EXPECT_THAT(other.out, HasSubstr("the cursor came from " + future));
  EXPECT_EQ(run(binary() + " events tail --address " + address_of(unused_port())).status, 2);
}

TEST(events_tail_with_a_token, logs_in_and_a_wrong_one_ends_it) {
  const auto right = make_token("observer"), wrong = make_token("nobody");
  server node({.set = {"server.environment=development"},
               .config = token_toml(right, "watcher", "observer"),
               .open = false,
               .listen = address_of(unused_port())});
  const auto file = node.folder().write("token", right.text + "\n");
  const auto bad = node.folder().write("bad", wrong.text + "\n");
  running tail(events_words("tail", node.rpc_port, {"--after", "e0", "--token-file", file}),
               running::to::pipe);
  EXPECT_EQ(json::parse(tail.line())["type"], "node_started");
  node.restart();
  std::string line;
  while (!is_event(line = tail.line()) && !line.empty()) {
  }
  EXPECT_EQ(json::parse(line)["type"], "node_started") << "logged in again";
  const auto with = [&](const std::string& token_file) {
    return run(binary() + " events tail --address " + address_of(node.rpc_port) + token_file);
  };
  const auto refused = with(" --token-file " + bad);
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.out, HasSubstr("AUTH_FAILED"));
  const auto without = with("");
  EXPECT_EQ(without.status, 1);
  EXPECT_THAT(without.out, testing::AllOf(HasSubstr("AUTH_REQUIRED"), HasSubstr("--token-file")));
}

/// A server that says what it was told, to connections one after the other.
class scripted_server {
 public:
  /// A step a connection: lines to wait for, each with what to say then.
  using step = std::vector<std::pair<std::string, std::string>>;
  explicit scripted_server(std::vector<step> steps) : steps_(std::move(steps)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size);
    port = ntohs(at.sin_port);
    thread_ = std::jthread([this] { serve(); });
  }
  ~scripted_server() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  std::uint16_t port = 0;

 private:
  void serve() {
    for (const auto& each : steps_) {
      const int fd = accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      for (const auto& [awaited, said] : each) {
        std::string line;
        for (char c = 0; line.find('\n') == std::string::npos && recv(fd, &c, 1, 0) == 1;)
          line += c;
        EXPECT_THAT(line, HasSubstr(awaited));
        EXPECT_EQ(send(fd, said.data(), said.size(), MSG_NOSIGNAL), ssize_t(said.size()));
      }
      ::close(fd);
    }
  }
  std::vector<step> steps_;
  int listener_ = -1;
  std::jthread thread_;
};

std::string subscribed(const std::string& cursor) {
  return R"({"jsonrpc":"2.0","id":1,"result":{"subscription":"sub-1","cursor":")" + cursor +
         "\"}}\n";
}
std::string pushed(int seq) {
  const auto n = std::to_string(seq);
  return R"({"jsonrpc":"2.0","method":"event","params":{"subscription":"sub-1","cursor":"e)" + n +
         R"(","event":{"seq":)" + n +
         R"(,"at_ms":1,"type":"node_stopped"}}})"
         "\n";
}
std::string error_object(const std::string& name, int code, bool retryable) {
  return R"({"code":)" + std::to_string(code) + R"(,"message":"A sentence.","data":{"error":")" +
         name + R"(","retryable":)" + (retryable ? "true" : "false") + "}}";
}
std::string ended(const std::string& cursor, const std::string& error) {
  return R"({"jsonrpc":"2.0","method":"events.ended","params":{"subscription":"sub-1","cursor":")" +
         cursor + R"(","error":)" + error + "}}\n";
}

TEST(events_tail_of_a_script, too_slow_goes_on_from_where_it_was_and_an_expired_cursor_is_told) {
  const auto expired = error_object("EVENTS_CURSOR_EXPIRED", 6001, false);
  scripted_server script(
      {{{"\"after\":\"e3\"", subscribed("e3") + pushed(4) + pushed(5) +
                                 ended("e9", error_object("SUBSCRIBER_TOO_SLOW", 6004, true))}},
       {{"\"after\":\"e9\"", subscribed("e9") + pushed(10).substr(0, 40)}},  // and is gone
       {{"\"after\":\"e9\"",
         R"({"jsonrpc":"2.0","id":1,"error":)" + error_object("OVERLOADED", 9001, true) + "}\n"}},
       {{"\"after\":\"e9\"", subscribed("e9") + pushed(10)}},
       {{"\"after\":\"e10\"", R"({"jsonrpc":"2.0","id":1,"error":)" + expired + "}\n"},
        {"events.query",
         R"({"jsonrpc":"2.0","id":1,"result":{"events":[{"seq":21}],"cursor":"e21"}})"
         "\n"}}});
  running tail(events_words("tail", script.port, {"--after", "e3"}), running::to::pipe);
  std::vector<int> seqs;
  std::string said;
  for (auto line = tail.line(); !line.empty(); line = tail.line()) {
    if (is_event(line))
      seqs.push_back(json::parse(line)["seq"]);
    else
      said += line + "\n";
  }
  EXPECT_EQ(tail.end(), 1);
  EXPECT_EQ(seqs, (std::vector{4, 5, 10}));
  EXPECT_THAT(said, HasSubstr("fell too far behind"));
  EXPECT_THAT(said, HasSubstr("EVENTS_CURSOR_EXPIRED"));
  EXPECT_THAT(said, EndsWith("the oldest cursor left is e20\n"));
}

// --- query

struct events_query : testing::Test {
  server node;
  line_client client = node.connect();

  ran query(std::vector<std::string> more) const {
    running command(events_words("query", node.rpc_port, std::move(more)), running::to::pipe);
    ran result;
    result.out = command.rest();
    result.status = command.end();
    return result;
  }
  std::vector<json> rows(std::vector<std::string> more) const {
    const auto asked = query(std::move(more));
    EXPECT_EQ(asked.status, 0) << asked.out;
    std::vector<json> out;
    for (std::size_t at = 0; at < asked.out.size();) {
      const auto end = asked.out.find('\n', at);
      const auto line = asked.out.substr(at, end - at);
      if (is_event(line)) out.push_back(json::parse(line));
      at = end + 1;
    }
    return out;
  }
};

TEST_F(events_query, pages_through_the_whole_log_and_stops_at_the_limit) {
  std::string all;
  for (int i = 0; i < 2'300; ++i)
    all += json{{"jsonrpc", "2.0"},
                {"method", "session.create"},
                {"params",
                 {{"tenant_id", "acme"},
                  {"user_id", "u" + std::to_string(i % 40)},
                  {"context", context()}}}}
               .dump();
  client.send(all);
  events_at_least(client, 2'300, {{"types", {"session_created"}}});
  const auto created = rows({"--types", "session_created"});
  ASSERT_EQ(created.size(), 2'300U);
  for (std::size_t i = 1; i < created.size(); ++i)
    EXPECT_LT(created[i - 1]["seq"], created[i]["seq"]);
  const auto some = query({"--types", "session_created", "--limit", "1200"});
  EXPECT_EQ(std::count(some.out.begin(), some.out.end(), '{'), 1200);
  const auto at = some.out.find("--after ");
  ASSERT_NE(at, std::string::npos) << "how to go on is said";
  const auto cursor = some.out.substr(at + 8, some.out.find(' ', at + 8) - at - 8);
  EXPECT_EQ(rows({"--types", "session_created", "--after", cursor}).size(), 1'100U);
}

/// Each page had more events than the one before, and a query without a limit never ended.
TEST(events_query_of_a_script, ends_where_the_log_ended_when_it_began) {
  const auto page = [](int from, int to) {
    json events = json::array();
    for (int seq = from; seq <= to; ++seq)
      events.push_back({{"seq", seq}, {"at_ms", 1}, {"type", "node_stopped"}});
    return json{{"jsonrpc", "2.0"},
                {"id", 1},
                {"result", {{"events", events}, {"cursor", "e" + std::to_string(to)}}}}
               .dump() +
           "\n";
  };
  const auto info = json{{"jsonrpc", "2.0"}, {"id", 1}, {"result", {{"seq", 5}}}}.dump() + "\n";
  scripted_server script({{{"events.query", page(1, 2)},
                           {"server.info", info},
                           {"\"after\":\"e2\"", page(3, 4)},
                           {"\"after\":\"e4\"", page(5, 8)}}});
  running query(events_words("query", script.port, {}), running::to::pipe);
  std::vector<int> seqs;
  for (auto line = query.line(); !line.empty(); line = query.line())
    if (is_event(line)) seqs.push_back(json::parse(line)["seq"]);
  EXPECT_EQ(query.end(), 0);
  EXPECT_EQ(seqs, (std::vector{1, 2, 3, 4, 5}));
}

TEST_F(events_query, filters_by_everything_that_it_names) {
  const auto a = create(client, "ada");
  const auto b = create(client, "bob");
  const auto c = create(client, "ada", {{"tenant_id", "other"}});
  client.result("session.revoke", {{"handle", a["handle"]}});
  client.result("breaker.override",
                {{"service", "mail"}, {"mode", "forced_open"}, {"reason", "drill"}});
  events_at_least(client, 5, json::object());
  const auto count = [&](std::vector<std::string> more) { return rows(std::move(more)).size(); };
  EXPECT_EQ(count({"--types", "session_created,session_revoked"}), 4U);
  EXPECT_EQ(count({"--tenant", "other"}), 1U);
  EXPECT_EQ(count({"--tenant", "acme", "--user", "ada"}), 2U);
  EXPECT_EQ(count({"--handle", b["handle"]}), 1U);
  EXPECT_EQ(count({"--service", "mail"}), 1U);
  const auto at = std::to_string(c["created_at_ms"].get<std::int64_t>());
  EXPECT_EQ(count({"--from", at, "--to", at, "--handle", c["handle"]}), 1U);
  EXPECT_EQ(count({"--from", "2099-01-01T00:00:00Z"}), 0U);
  EXPECT_EQ(count({"--to", "2001-09-09T01:46:40Z"}), 0U);
}

TEST_F(events_query, a_mistake_is_told_where_it_is) {
  EXPECT_EQ(query({"--user", "ada"}).status, 64) << "whose?";
  EXPECT_THAT(query({"--from", "17"}).out, HasSubstr("17: is no time"));
  EXPECT_EQ(query({"--limit", "0"}).status, 64);
  const auto refused = query({"--handle", "nonsense"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.out, StartsWith("portcullis: "));
  EXPECT_THAT(refused.out, HasSubstr("INVALID_PARAMS"));
}

}  // namespace
}  // namespace portcullis::e2e

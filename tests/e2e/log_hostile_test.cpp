// Hostile texts in every field that a client reaches, on every output of the log: whatever comes
// in, a line is one line, and nothing secret is in it.
#include "http_client.hpp"
#include "log_lines.hpp"
#include "tls_node.hpp"

#include <fstream>
#include <regex>
#include <set>
#include <sstream>

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

const token boss = make_token("hostile admin");
const token wrong = make_token("nobody has this one");

/// As they stand between the quotes of a JSON string: what is raw here goes out raw.
const std::vector<std::string>& hostile_texts() {
  static const std::vector<std::string> all = {
      R"(a\nb)",
      R"(a\r\n{\"@timestamp\":\"2026-01-01T00:00:00.000Z\",\"message\":\"forged\"})",
      R"(\",\"forged\":\"yes)",
      R"(\\\",\\\"forged\\\":\\\"yes)",
      R"(\u001b[31mred\u001b[0m\u0007)",
      R"(nul\u0000nul)",
      R"(\u2028line\u2029paragraph\u0085next)",
      R"(\u202eevil\u202c\u2066x\u2069\u200f\u061c)",
      R"(\ufeffbom\u009bcsi\u007fdel)",
      R"(%s%n%d%x{}{0}${jndi:ldap://x/y}$(id)`id`)",
      R"(MESSAGE=forged\n_PID=1\nPRIORITY=0)",
      R"(event.action\":\"forged\",\"@timestamp)",
      R"(x=\"y\" log.level=error)",
      R"(\ud83d\ude00 \u00fc \u4e2d)",
      R"('\"><script>alert(1)</script>\\)",
      std::string(900, 'L'),
      std::string(2'000, '\\') + "\\",
      "raw\xff\xfe\xc0\xaf\xed\xa0\x80",
      "raw\x01\x1b[2J",
      "raw\xe2\x80\xa8\xe2\x80\xae\xc2\x85\xef\xbb\xbf",
      "raw\xf0\x9f\x98\x80",
  };
  return all;
}

constexpr auto placeholder = "@hostile@";
constexpr auto user_mark = "umark", reason_mark = "rmark", agent_mark = "secret-agent-77";
constexpr auto secret_address = "203.0.113.77", other_address = "198.51.100.177";

std::string put_in(std::string text, const std::string& what) {
  const std::string_view place = placeholder;
  for (std::size_t at = 0; (at = text.find(place, at)) != text.npos; at += what.size())
    text.replace(at, place.size(), what);
  return text;
}

json context_with(const std::string& ip = secret_address) {
  return {{"ip", ip},
          {"user_agent", agent_mark},
          {"accept", "text/html"},
          {"accept_language", "de"},
          {"accept_encoding", "gzip"},
          {"ja3", "0123456789abcdef0123456789abcdef"},
          {"ja4", "t13d1516h2_8daaf6152771_b186095e22b6"}};
}

/// Every method that takes texts, with all of its fields.
std::vector<std::pair<std::string, json>> requests(const json& session) {
  const json who = {{"tenant_id", "acme"}, {"user_id", "ada"}};
  const auto with = [&](json more) {
    auto all = who;
    all.update(more);
    return all;
  };
  const json meta = {{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
                     {"correlation_id", "mine"}};
  const json id = {{"session_id", session["session_id"]}, {"context", context_with()}};
  auto wrong_place = id;
  wrong_place["context"] = context_with(other_address);
  auto update = id;
  update["data"] = {{"cart", "x"}};
  const json breaker = {{"service", "pay"}, {"breaker", "card"}};
  const auto of_breaker = [&](json more) {
    auto all = breaker;
    all.update(more);
    return all;
  };
  const json counts = {{"success", 1}, {"failure", 0}};
  std::vector<std::pair<std::string, json>> all = {
      {"session.create", with({{"context", context_with()}, {"data", {{"cart", "x"}}}})},
      {"session.validate", id},
      {"session.validate", wrong_place},
      {"session.update", update},
      {"session.rotate", id},
      {"session.revoke", {{"handle", session["handle"]}}},
      {"session.revoke_user", with({{"except_session_id", session["session_id"]}})},
      {"session.revoke_tenant", {{"tenant_id", "none"}}},
      {"session.list", with({{"cursor", "x"}})},
      {"session.find", {{"tenant_id", "acme"}, {"user_agent", agent_mark}}},
      {"lockout.status", who},
      {"lockout.clear", with({{"reason", "why"}})},
      {"breaker.acquire", breaker},
      {"breaker.report",
       of_breaker({{"outcome", "failure"}, {"duration_ms", 1}, {"error_kind", "x"}})},
      {"breaker.observe",
       of_breaker({{"source", "web-1"},
                   {"source_epoch", 1},
                   {"seq", 1},
                   {"state", "open"},
                   {"counts", counts},
                   {"transition", {{"from", "closed"}, {"to", "open"}, {"at_ms", 1}}}})},
      {"breaker.override", of_breaker({{"mode", "forced_open"}, {"reason", "why"}})},
      {"breaker.reset", of_breaker({{"reason", "why"}})},
      {"events.query", {{"types", {"session_created"}}, {"after", "e0"}}},
      {"admin.backup", {{"path", "/nowhere/at/all"}}},
      {"admin.forget", with({{"user_id", "gone"}, {"reason", "why"}})},
      {"admin.crash", {{"actor", "none"}}},
      {"auth.login", {{"token", wrong.text}}},
      {"no.such.method", {{"field", "x"}}},
  };
  for (auto& [method, params] : all) params["_meta"] = meta;
  return all;
}

/// Calls `use` with each copy of `whole` that has the placeholder in place of one text.
void each_with_one_text_replaced(json& part, const json& whole,
                                 const std::function<void(const json&)>& use) {
  if (part.is_string()) {
    const auto before = part;
    // A path of its own would be a file in the server's working folder.
    const auto text = before.get<std::string>();
    part = text.starts_with('/') ? text + "/" + placeholder : std::string(placeholder);
    use(whole);
    part = before;
  } else if (part.is_object() || part.is_array()) {
    for (auto& [key, value] : part.items()) each_with_one_text_replaced(value, whole, use);
  }
}

/// What a user's name or a reason is recognised by in the log.
json marked(const json& params) {
  auto made = params;
  if (made.contains("user_id")) made["user_id"] = made["user_id"].get<std::string>() + user_mark;
  if (made.contains("reason")) made["reason"] = made["reason"].get<std::string>() + reason_mark;
  return made;
}

/// Sends it whatever it is; a connection that was closed for it is made anew.
void say(server& node, std::optional<line_client>& client, const std::string& text) {
  if (!client) {
    client.emplace(node.connect());
    client->result("auth.login", {{"token", boss.text}});
  }
  if (!client->send(text + "\n") || !client->line(5s)) client.reset();
}

void be_hostile_over_tcp(server& node, const json& session) {
  std::optional<line_client> client;
  for (const auto& [method, params] : requests(session))
    for (const auto& text : hostile_texts()) {
      auto whole = params;
      each_with_one_text_replaced(whole, whole, [&](const json& now) {
        say(node, client, put_in(message(method, marked(now)).dump(), text));
      });
      auto named = params;  // keys
      named[placeholder] = "x";
      say(node, client, put_in(message(method, named).dump(), text));
      if (named.contains("data")) {
        named.erase(placeholder);
        named["data"][placeholder] = placeholder;
        say(node, client, put_in(message(method, marked(named)).dump(), text));
      }
    }
  for (const auto& text : hostile_texts()) {
    say(node, client, put_in(R"({"jsonrpc":"2.0","id":"@hostile@","method":"@hostile@"})", text));
    auto stranger = node.connect();
    stranger.send(text + "\n");
    (void)stranger.ended();
  }
}

void be_hostile_over_http(server& node) {
  const auto port = node.http_port;
  for (const auto& raw : hostile_texts()) {
    // Both as JSON writes it and with the characters themselves.
    std::string text = raw;
    const auto meant = json::parse("\"" + raw + "\"", nullptr, false);
    if (meant.is_string()) text = meant.get<std::string>();
    for (const auto& each : {raw, text}) {
      (void)http_ask(port, "GET /" + each);
      (void)http_ask(port, each + " /livez");
      (void)http_ask(port, "GET /authz/forward-auth",
                     "User-Agent: " + std::string(agent_mark) + each + "\r\nX-Forwarded-For: " +
                         secret_address + "\r\nCookie: portcullis_session=" + each + "\r\n");
      for (const auto* name : {"traceparent", "X-Forwarded-For", "Host", "Origin", "Cookie",
                               "Accept-Language", "X-Original-URI"})
        (void)http_ask(port, "GET /authz/auth-request", std::string(name) + ": " + each + "\r\n");
      (void)http_ask(port, "GET /livez", each + ": x\r\n");
      (void)http_ask(port, "GET /events?after=" + each, bearer(boss.text));
      (void)http_ask(port, "GET /events", "Last-Event-ID: " + each + "\r\n");
      (void)http_ask(port, "POST /rpc", "Content-Type: " + each + "\r\n", "{}");
    }
    auto params = json{{"tenant_id", placeholder},
                       {"user_id", std::string(placeholder) + user_mark},
                       {"context", context_with()}};
    (void)http_ask(port, "POST /rpc", "Content-Type: application/json\r\n" + bearer(boss.text),
                   put_in(message("session.create", params).dump(), raw));
  }
  // Last, since a source is refused for a minute after a few.
  for (const auto& raw : hostile_texts()) (void)http_ask(port, "GET /events", bearer(raw));
  (void)http_ask(port, "GET /events", bearer(wrong.text));
}

void be_hostile_over_tls(const server& node) {
  for (const auto* name : {"a'\\\"b", "%s%n{}", "x\x1b[31m", "{\"forged\":1}"})
    (void)run(
        "timeout 20 openssl s_client -connect 127.0.0.1:" + std::to_string(node.rpc_tls_port) +
        " -servername '" + put_in(name, "") + "' -alpn '" + name + "' </dev/null");
  line_client client(node.rpc_tls_port);
  client.send("\x16\x03\x01\x00\x20\x01\nforged: {\"forged\":true}\r\n\x1b[31m" +
              std::string(64, '\xff'));
  (void)client.ended();
}

/// Where the log goes, and how it is read there.
struct place {
  std::string output;
  bool hashed;
  friend void PrintTo(const place& of, std::ostream* to) { *to << of.output; }
};

class a_log_under_attack : public testing::TestWithParam<place> {
 protected:
  a_log_under_attack() {
    if (GetParam().output == "journald") journal_.emplace(folder_.file("journal"));
  }
  server_options options(std::vector<std::string> set, std::string config) {
    set.insert(set.end(),
               {"log.level=trace", "log.output=" + GetParam().output,
                std::string("log.hash_user_ids=") + (GetParam().hashed ? "true" : "false")});
    server_options made{.config = std::move(config), .open = false};
    if (GetParam().output == "file") {
      set.push_back("log.file=" + folder_.file("log"));
      made.more_log = [this] { return file_.more(); };
    }
    if (journal_) {
      set.push_back("log.journald_socket=" + folder_.file("journal"));
      made.more_log = [this] { return journal_->more(); };
    }
    made.set = std::move(set);
    return made;
  }
  /// What the place holds, byte for byte.
  std::string raw(const server& node) const {
    if (!journal_) return GetParam().output == "file" ? content() : node.log();
    std::string all;
    for (const auto& each : journal_->entries()) all += each;
    return all;
  }
  std::string content() const {
    std::ifstream from(folder_.file("log"));
    return {std::istreambuf_iterator<char>(from), {}};
  }
  std::vector<log_fields> lines(const server& node) const {
    if (!journal_) return lines_of(raw(node));
    std::vector<log_fields> all;
    for (const auto& each : journal_->entries()) all.push_back(fields_of_entry(each));
    return all;
  }

  temp_folder folder_;
  growing_file file_{folder_.file("log")};
  std::optional<fake_journald> journal_;
};

TEST_P(a_log_under_attack, has_whole_lines_and_nothing_secret) {
  const dev_certificates certificates;
  server node(
      options({"server.environment=development", "lockout.threshold=3", "lockout.duration_s=1"},
              token_toml(boss, "boss", "admin") + tls_toml(certificates, "none")));
  ASSERT_NE(node.rpc_port, 0) << node.log();
  auto admin = node.connect();
  admin.result("auth.login", {{"token", boss.text}});
  const auto session = create(admin, std::string("ada") + user_mark, {{"context", context_with()}});
  be_hostile_over_tcp(node, session);
  be_hostile_over_http(node);
  be_hostile_over_tls(node);

  const auto page = http_get(node.http_port, "/metrics").body;
  EXPECT_EQ(node.metric("portcullis_log_dropped_total"), 0) << "all lines were seen";
  ASSERT_EQ(node.terminate(), 0);

  const auto all = lines(node);
  std::set<std::string> actions;
  bool reason_seen = false, hostile_seen = false;
  for (const auto& line : all) {
    expect_ecs(line);
    actions.insert(line.at("EVENT_ACTION"));
    const auto reason = line.find("EVENT_REASON");
    reason_seen |= reason != line.end() && reason->second.find(reason_mark) != std::string::npos;
    const auto tenant = line.find("TENANT_ID");
    hostile_seen |= tenant != line.end() && tenant->second.find("jndi") != std::string::npos;
    for (const auto& [name, value] : line) EXPECT_THAT(name, Not(HasSubstr("FORGED")));
    if (HasFailure()) break;
  }
  EXPECT_GT(all.size(), 100U);
  EXPECT_TRUE(reason_seen && hostile_seen) << "what clients say does come into the log";
  EXPECT_THAT(actions, testing::IsSupersetOf({"node_ready", "session_created", "validation_failed",
                                              "lockout_started", "lockout_cleared", "auth_failed",
                                              "breaker_override_set", "user_forgotten",
                                              "connections_refused", "node_draining"}));
  const auto text = raw(node);
  for (const auto* secret : {agent_mark, secret_address, other_address})
    EXPECT_THAT(text, Not(HasSubstr(secret)));
  EXPECT_EQ(text.find(boss.text), text.npos);
  EXPECT_EQ(text.find(wrong.text), text.npos);
  static const std::regex session_id("[0-9a-f]{64}");
  EXPECT_FALSE(std::regex_search(text, session_id));
  EXPECT_EQ(text.find(user_mark) != text.npos, !GetParam().hashed);

  for (const auto* secret : {agent_mark, secret_address, other_address, user_mark, reason_mark})
    EXPECT_THAT(page, Not(HasSubstr(secret)));
  static const std::regex sample(
      R"(# (HELP|TYPE) [a-z_:]+ .*|[a-z_:]+(\{([a-z_]+="[A-Za-z0-9_.+ :,/-]*",?)*\})? \S+)");
  std::istringstream samples(page);
  std::size_t count = 0;
  for (std::string line; std::getline(samples, line); ++count)
    ASSERT_TRUE(std::regex_match(line, sample) && harm_in(line).empty()) << line;
  EXPECT_GT(count, 100U);
}

TEST_P(a_log_under_attack, has_whole_lines_whatever_a_proxys_header_says) {
  server node(options({"server.environment=development", "auth.mode=none"},
                      "[listen]\nproxy_sources = [\"127.0.0.1\"]\n[listen.rpc]\n"
                      "proxy_protocol = true\n"));
  ASSERT_NE(node.rpc_port, 0) << node.log();
  const std::string v2("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x20", 16);
  for (const auto& each : hostile_texts())
    for (const auto& header :
         {"PROXY TCP4 " + each + " 127.0.0.1 1 2\r\n", "PROXY " + each + "\r\n", each + "\r\n",
          "PROXY TCP4 203.0.113.77 127.0.0.1 1 2\r\n" + each + "\n",
          v2 + std::string("\xcb\x00\x71\x4d\x7f\0\0\1\0\1\0\2\x02\0\x11", 15) + each +
              std::string(32, 'x')}) {
      auto client = node.connect();
      client.send(header);
      client.finish();
      (void)client.ended();
    }
  EXPECT_EQ(node.metric("portcullis_log_dropped_total"), 0);
  ASSERT_EQ(node.terminate(), 0);
  const auto all = lines(node);
  std::set<std::string> actions;
  for (const auto& line : all) {
    expect_ecs(line);
    actions.insert(line.at("EVENT_ACTION"));
  }
  EXPECT_THAT(actions, testing::Contains("connections_refused"));
  EXPECT_THAT(raw(node), Not(HasSubstr(secret_address)));
}

INSTANTIATE_TEST_SUITE_P(outputs, a_log_under_attack,
                         testing::Values(place{"stderr", true}, place{"file", false},
                                         place{"journald", true}),
                         [](const auto& each) { return each.param.output; });

}  // namespace
}  // namespace portcullis::e2e

// Every row of the error table: provoked here, or the reason why no caller can be told it by this
// version.
#include <map>
#include <set>

#include "breakers.hpp"
#include "core/error/catalogue.hpp"
#include "history.hpp"

namespace portcullis::e2e {
namespace {

/// Gives the error object that a caller was told.
using provocation = std::function<json()>;

json error_in(const json& reply) {
  return reply.is_object() && reply.contains("error") ? reply["error"] : json(nullptr);
}

json asked(server_options options, const std::string& method, const json& params) {
  server node(std::move(options));
  return error_in(node.connect().call(method, params));
}
json sent(const std::string& bytes) {
  server node;
  auto client = node.connect();
  client.send(bytes);
  return error_in(client.reply());
}
json create_params(json more = json::object()) {
  json params{{"tenant_id", "acme"}, {"user_id", "ada"}, {"context", context()}};
  params.update(more);
  return params;
}

/// What session.rotate says of a session that `spoil` has had its way with.
json rotating(std::vector<std::string> set, json more,
              const std::function<void(line_client&, const json&)>& spoil,
              const json& ctx = context()) {
  server node({.set = std::move(set)});
  auto client = node.connect();
  const auto id = create(client, "ada", more)["session_id"];
  spoil(client, id);
  return error_in(client.call("session.rotate", {{"session_id", id}, {"context", ctx}}));
}
void leave_alone(line_client&, const json&) {}

server_options with_tokens(const std::string& more = "") {
  return {.set = {"server.environment=development"},
          .config = token_toml(make_token("app"), "web", "app") +
                    token_toml(make_token("admin"), "boss", "admin") + more,
          .open = false};
}

/// Asks again until it is an error of that name.
json until(const std::string& name, const std::function<json()>& ask) {
  json told;
  EXPECT_TRUE(eventually([&] {
    told = error_in(ask());
    return told.is_object() && told["data"]["error"] == name;
  })) << name
      << ", last: " << told;
  return told;
}

json login_failures(int before) {
  server node(with_tokens());
  auto client = node.connect();
  for (int i = 0; i < before; ++i) client.call("auth.login", {{"token", "x"}});
  return error_in(client.call("auth.login", {{"token", "x"}}));
}

json over_tcp_from_elsewhere() {
  const auto address = run("hostname -I").out;
  auto options = with_tokens();
  options.listen = "0.0.0.0:0";
  server node(options);
  line_client far(node.rpc_port, address.substr(0, address.find_first_of(" \n")));
  return error_in(far.call("auth.login", {{"token", make_token("admin").text}}));
}

json forbidden() {
  server node(with_tokens());
  auto client = node.connect();
  client.result("auth.login", {{"token", make_token("app").text}});
  return error_in(client.call("admin.drain"));
}

json of_unknown_ids() {
  server node({.set = {"lockout.source_threshold=1"}});
  auto client = node.connect();
  int tries = 0;
  return until("RATE_LIMITED", [&] {
    auto id = std::to_string(++tries);
    return client.call("session.validate", {{"session_id", std::string(64 - id.size(), '0') + id},
                                            {"context", context()}});
  });
}

json with_a_disk(const std::string& state, std::vector<std::string> set, const std::string& name,
                 const std::function<json(line_client&)>& ask) {
  server node({.set = std::move(set), .own_disk = true});
  auto client = node.connect();
  node.disk(state);
  auto told = until(name, [&] { return ask(client); });
  node.disk("");
  return told;
}

json with_a_full_queue() {
  server node({.set = {"store.journal_queue_events=1000"}, .own_disk = true});
  auto client = node.connect();
  const auto id = create(client, "ada")["session_id"];
  node.disk("held");
  std::string all;
  for (int i = 0; i < 1200; ++i)
    all += json{{"jsonrpc", "2.0"},
                {"method", "session.create"},
                {"params", create_params({{"user_id", "u" + std::to_string(i)}})}}
               .dump();
  auto writer = node.connect();
  writer.send(all);
  auto other = node.connect();
  auto told = until("STORE_UNAVAILABLE", [&] {
    return other.call("session.validate", {{"session_id", id}, {"context", context()}});
  });
  node.disk("");
  return told;
}

json of_a_reader_behind_the_disk() {
  server node({.own_disk = true});
  auto client = node.connect();
  auto reader = node.connect();
  create(client, "ada");
  node.disk("held");
  client.send(
      json{{"jsonrpc", "2.0"}, {"id", 1}, {"method", "session.create"}, {"params", create_params()}}
          .dump());
  EXPECT_TRUE(eventually([&] { return node.metric("portcullis_requests_in_flight") >= 1; }));
  auto told = error_in(reader.call("session.find", {{"tenant_id", "acme"}, {"ip", "::1"}}));
  node.disk("");
  return told;
}

json from_a_draining_node() {
  server node({.own_disk = true});
  auto busy = node.connect();
  auto late = node.connect();
  late.call("server.ping");
  node.disk("held");
  busy.send(
      json{{"jsonrpc", "2.0"}, {"id", 1}, {"method", "session.create"}, {"params", create_params()}}
          .dump());
  EXPECT_TRUE(eventually([&] { return node.metric("portcullis_requests_in_flight") >= 1; }));
  late.call("admin.drain");
  // The order reaches the loop after its answer; from then on the node waits for what the disk
  // holds.
  json told;
  EXPECT_TRUE(eventually([&] {
    told = error_in(late.call("session.stats"));
    return told.is_object();
  }));
  node.disk("");
  return told;
}

json from_a_crashed_shard() {
  server node;
  auto client = node.connect();
  const auto id = create(client, "ada")["session_id"];
  json told;
  EXPECT_TRUE(eventually([&] {
    client.call("admin.crash", {{"actor", "session"}});
    for (int i = 0; i < 50 && !told.is_object(); ++i)
      told =
          error_in(client.call("session.validate", {{"session_id", id}, {"context", context()}}));
    if (!told.is_object())
      EXPECT_TRUE(eventually([&] { return http_get(node.http_port, "/readyz").status == 200; }));
    return told.is_object();
  }));
  return told;
}

json of_a_bad_file() {
  server node(with_tokens());
  node.configure("no TOML");
  auto client = node.connect();
  client.result("auth.login", {{"token", make_token("admin").text}});
  return error_in(client.call("admin.reload"));
}

json of_the_third_rotation() {
  server node;
  auto client = node.connect();
  create(client, "ada");
  for (int i = 0; i < 2; ++i) client.result("admin.rotate_keys");
  return error_in(client.call("admin.rotate_keys"));
}

/// A log that was cut three hours after it was signed.
json of_a_cursor_that_is_too_old() {
  server node({.set = {"store.event_retention_h=1"}, .own_clock = true});
  {
    auto client = node.connect();
    create(client, "ada");
  }
  EXPECT_EQ(node.terminate(), 0);
  boot_later(node, std::chrono::hours(3));
  EXPECT_TRUE(node.start());
  auto client = node.connect();
  json told;
  EXPECT_TRUE(eventually([&] {
    create(client, "ada");
    told = client.call("events.query", {{"after", "e1"}});
    return told.contains("error");
  }));
  return error_in(told);
}

json of_an_event_that_was_overwritten() {
  server node;
  {
    auto client = node.connect();
    create(client, "ada");
  }
  EXPECT_EQ(node.terminate(), 0);
  edit(node.data_dir(), "UPDATE events SET body='{}' WHERE seq=1");
  EXPECT_TRUE(node.start());
  auto client = node.connect();
  return error_in(client.call("events.query"));
}

json over_the_http_limit() {
  server node({.set = {"listen.http.max_connections=1"}});
  line_client held(node.http_port);
  held.send("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
  held.line();
  return json::parse(http_get(node.http_port, "/livez").body);
}

json of_too_many_subscriptions() {
  server node;
  auto client = node.connect();
  for (int i = 0; i < 16; ++i) client.result("events.subscribe");
  return error_in(client.call("events.subscribe"));
}

/// What a call is told where there are `count` hosted breakers; it names the last of them, or one
/// more where it acquires.
json of_breaker_calls(int count, const std::string& method, const json& more) {
  server node;
  auto client = node.connect();
  for (int i = 1; i <= count; ++i) breaker(client, std::to_string(i)).acquire();
  const auto named = std::to_string(method == "acquire" ? count + 1 : count);
  return error_in(client.call("breaker." + method, breaker(client, named).params(more)));
}

/// What `report` is told where 64 sources, s0 to s63, have reported two successes each.
json of_a_report(const json& report) {
  server node;
  auto client = node.connect();
  const breaker observed(client, "observed");
  for (int i = 0; i < 64; ++i)
    observed.observe(observation("s" + std::to_string(i), 1, "closed", {{"success", 2}}));
  return error_in(client.call("breaker.observe", observed.params(report)));
}

const std::map<std::string, provocation>& provoked() {
  static const json nobody{{"session_id", std::string(64, '0')}, {"context", context()}};
  static const std::map<std::string, provocation> rows{
      {"PARSE_ERROR", [] { return sent("nonsense\n"); }},
      {"INVALID_REQUEST", [] { return sent("[]"); }},
      {"METHOD_NOT_FOUND", [] { return asked({}, "no.such", json::object()); }},
      {"INVALID_PARAMS", [] { return asked({}, "session.validate", json::object()); }},
      {"VALUE_TOO_LARGE", [] { return sent("{\"a\":\"" + std::string(70'000, 'x')); }},
      {"NESTING_TOO_DEEP", [] { return sent(std::string(17, '[')); }},
      {"BATCH_TOO_LARGE",
       [] {
         std::string all = "[1";
         for (int i = 0; i < 100; ++i) all += ",1";
         return sent(all + "]");
       }},
      {"DATA_TOO_LARGE",
       [] {
         return asked({}, "session.create",
                      create_params({{"data", {{"d", std::string(17'000, 'x')}}}}));
       }},
      {"TTL_OUT_OF_RANGE",
       [] {
         return asked({}, "session.create", create_params({{"idle_ttl_s", 5000}}));
       }},
      {"CURSOR_INVALID",
       [] {
         return asked({}, "lockout.list", {{"cursor", "?"}});
       }},
      {"AUTH_REQUIRED", [] { return asked(with_tokens(), "session.stats", json::object()); }},
      {"AUTH_FAILED", [] { return login_failures(0); }},
      {"AUTH_RATE_LIMITED", [] { return login_failures(5); }},
      {"FORBIDDEN", forbidden},
      {"TLS_REQUIRED", over_tcp_from_elsewhere},
      {"SESSION_NOT_FOUND", [] { return asked({}, "session.rotate", nobody); }},
      {"SESSION_EXPIRED",
       [] {
         return rotating({}, {{"idle_ttl_s", 1}}, [](line_client& client, const json& id) {
           EXPECT_TRUE(eventually([&] {
             return client.result("session.validate", {{"session_id", id},
                                                       {"context", context()},
                                                       {"touch", false}})["valid"] == false;
           }));
         });
       }},
      {"SESSION_REVOKED",
       [] {
         return rotating({}, json::object(), [](line_client& client, const json& id) {
           client.result("session.revoke", {{"session_id", id}});
         });
       }},
      {"SESSION_IP_MISMATCH",
       [] { return rotating({}, json::object(), leave_alone, context("198.51.100.1")); }},
      {"SESSION_FINGERPRINT_MISMATCH",
       [] { return rotating({}, json::object(), leave_alone, context("192.0.2.1", "x")); }},
      {"SESSION_VERSION_CONFLICT",
       [] {
         server node;
         auto client = node.connect();
         const auto id = create(client, "ada")["session_id"];
         return error_in(client.call("session.update", {{"session_id", id},
                                                        {"context", context()},
                                                        {"data", json::object()},
                                                        {"version", 7}}));
       }},
      {"SESSION_CAP_REACHED",
       [] {
         server node({.set = {"session.max_sessions_per_user=1"}});
         auto client = node.connect();
         create(client, "ada");
         return error_in(client.call("session.create", create_params()));
       }},
      {"SESSION_REUSE_DETECTED",
       [] {
         return rotating({"session.rotation_grace_s=0"}, json::object(),
                         [](line_client& client, const json& id) {
                           const auto next = client.result(
                               "session.rotate", {{"session_id", id}, {"context", context()}});
                           validate(client, next["session_id"]);
                         });
       }},
      {"USER_LOCKED_OUT",
       [] {
         return rotating({"lockout.threshold=1"}, json::object(),
                         [](line_client& client, const json& id) {
                           validate(client, id, context("198.51.100.1"));
                         });
       }},
      {"RATE_LIMITED", of_unknown_ids},
      {"BREAKER_NOT_FOUND",
       [] {
         return asked({}, "breaker.status", {{"service", "nobody"}});
       }},
      {"BREAKER_LIMIT", [] { return of_breaker_calls(500, "acquire", json::object()); }},
      {"BREAKER_PERMIT_INVALID",
       [] {
         return of_breaker_calls(
             1, "report",
             {{"outcome", "success"}, {"duration_ms", 1}, {"permit", "p_" + std::string(22, 'A')}});
       }},
      {"BREAKER_COUNTS_DECREASED",
       [] {
         return of_a_report(observation("s0", 2, "closed", {{"success", 1}}));
       }},
      {"BREAKER_SOURCE_LIMIT",
       [] {
         return of_a_report(observation("s64", 1, "closed", {{"success", 1}}));
       }},
      {"BREAKER_KIND_CONFLICT",
       [] { return of_breaker_calls(1, "observe", observation("a", 1, "open", json::object())); }},
      {"SUBSCRIPTION_NOT_FOUND",
       [] {
         return asked({}, "events.unsubscribe", {{"subscription", "x"}});
       }},
      {"SUBSCRIPTION_LIMIT", of_too_many_subscriptions},
      {"EVENTS_CURSOR_EXPIRED", of_a_cursor_that_is_too_old},
      {"LOG_CORRUPT", of_an_event_that_was_overwritten},
      {"STORE_UNAVAILABLE", with_a_full_queue},
      {"STORE_TIMEOUT", of_a_reader_behind_the_disk},
      {"STORE_FULL",
       [] {
         return with_a_disk("full", {}, "STORE_FULL", [](line_client& client) {
           return client.call("session.create", create_params());
         });
       }},
      {"KEYRING_MISMATCH", of_the_third_rotation},
      {"NODE_DRAINING", from_a_draining_node},
      {"OVERLOADED", from_a_crashed_shard},
      {"CONFIG_INVALID", of_a_bad_file},
      {"CONNECTION_LIMIT", over_the_http_limit},
      {"REQUEST_TIMEOUT",
       [] {
         return with_a_disk(
             "held", {"limits.request_timeout_ms=200"}, "REQUEST_TIMEOUT",
             [](line_client& client) { return client.call("session.create", create_params()); });
       }},
  };
  return rows;
}

/// Rows that no caller of this version is told, each with its reason.
const std::map<std::string, std::string> unprovoked{
    {"INTERNAL", "a defect of the server: none is known that can be asked for"},
    {"CERTIFICATE_REJECTED", "ends a handshake: mutual_tls.*"},
    {"BREAKER_OPEN", "for clients that wrap calls; the server never sends it"},
    {"SUBSCRIBER_TOO_SLOW",
     "needs a reader 100,000 events behind: tests/actors does it with fewer"},
    {"STORE_INTEGRITY", "durability.a_forged_record_is_reported_and_never_accepted"},
    {"DATA_DIR_IN_USE",
     "refuses the start: durability.a_second_server_on_a_folder_is_refused_and_harms_nothing"},
    {"SCHEMA_TOO_NEW", "refuses the start: durability.a_folder_of_a_newer_version_is_refused"},
    {"NODE_INCOMPATIBLE", "refuses the start: a_store_of_nodes.of_another_version_is_refused"},
};

TEST(errors, every_row_is_provoked_or_has_a_reason_not_to_be) {
  for (const auto& row : core::error_catalogue()) {
    const std::string name(row.name);
    EXPECT_EQ(provoked().count(name) + unprovoked.count(name), 1U) << name;
    if (core::is_reserved(row.id)) EXPECT_EQ(unprovoked.count(name), 1U) << name;
  }
  EXPECT_EQ(provoked().size() + unprovoked.size(), core::error_catalogue().size());
}

struct error_row : testing::TestWithParam<std::string> {};

TEST_P(error_row, is_told_as_the_table_says) {
  const auto told = provoked().at(GetParam())();
  ASSERT_TRUE(told.is_object()) << told;
  const core::error_row* row = nullptr;
  for (const auto& each : core::error_catalogue())
    if (each.name == GetParam()) row = &each;
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(told["data"]["error"], row->name) << told;
  EXPECT_EQ(told["code"], row->code);
  EXPECT_EQ(told["message"], row->message);
  EXPECT_EQ(told["data"]["status"], row->status);
  EXPECT_EQ(told["data"]["severity"], core::to_string(row->severity));
  EXPECT_EQ(told["data"]["retryable"], row->retryable);
  EXPECT_NE(told["data"].value("correlation_id", ""), "");
  for (const auto& [key, value] : told["data"].items())
    EXPECT_THAT(key, testing::AnyOf("error", "status", "severity", "retryable", "correlation_id",
                                    "retry_after_ms", "details", "stack"));
  if (told["data"].contains("details"))
    for (const auto& [key, value] : told["data"]["details"].items())
      EXPECT_THAT(key, testing::AnyOf("field", "rule", "limit"));
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& [name, how] : provoked()) all.push_back(name);
  return all;
}
INSTANTIATE_TEST_SUITE_P(each, error_row, testing::ValuesIn(names()),
                         [](const auto& each) { return each.param; });

TEST(errors, in_development_an_error_shows_where_it_was_decided) {
  server node;
  auto client = node.connect();
  const auto told = client.call("session.create", create_params({{"idle_ttl_s", 5000}}));
  ASSERT_TRUE(told["error"]["data"].contains("stack")) << told;
  for (const auto& place : told["error"]["data"]["stack"])
    EXPECT_THAT(place.get<std::string>(), testing::MatchesRegex("[a-z_/]+\\.[ch]pp:[0-9]+ .+"));
}

TEST(errors, a_message_never_repeats_what_came_in) {
  server node;
  auto client = node.connect();
  const std::string mark = "zanzibar";
  for (const auto& [method, params] : std::vector<std::pair<std::string, json>>{
           {mark, json::object()},
           {"session.create", create_params({{mark, mark}})},
           {"session.create", create_params({{"context", {{"ip", mark}}}})},
           {"session.create", create_params({{"context", {{"ip", "::1"}, {mark, mark}}}})},
           {"session.create", create_params({{"user_id", mark + "\n"}})},
           {"session.validate", {{"session_id", mark}, {"context", context()}}},
           {"session.list", {{"tenant_id", mark}, {"user_id", mark}, {"cursor", mark}}},
           {"events.query", {{"types", {mark}}}},
           {"events.unsubscribe", {{"subscription", mark}}},
           {"auth.login", {{"token", mark}}},
           {"admin.backup", {{"path", "/" + mark + "/" + mark}}},
           {"admin.crash", {{"actor", mark}}},
           {"session.revoke", {{"_meta", {{mark, mark}}}}}}) {
    const auto told = client.call(method, params);
    ASSERT_NE(error_of(told), "") << method << params;
    EXPECT_EQ(told.dump().find(mark), std::string::npos) << told;
  }
}

}  // namespace
}  // namespace portcullis::e2e

// POST /rpc against the real binary, by raw sockets and by curl.
#include "http_client.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;

TEST(http_rpc, does_what_the_rpc_port_does) {
  server node;
  const auto made = http_rpc(
      node.http_port, message("session.create",
                              {{"tenant_id", "acme"}, {"user_id", "ada"}, {"context", context()}}));
  EXPECT_EQ(made.status, 200) << made.body;
  const auto id = json::parse(made.body)["result"]["session_id"];
  auto client = node.connect();
  EXPECT_EQ(state_of(client, id), "valid");
  const auto seen = http_rpc(
      node.http_port, message("session.validate", {{"session_id", id}, {"context", context()}}));
  EXPECT_EQ(json::parse(seen.body)["result"]["valid"], true);
  const auto batch =
      http_rpc(node.http_port, json::array({message("server.ping"), message("session.stats")}));
  EXPECT_EQ(json::parse(batch.body).size(), 2u);
  auto silent = message("session.revoke", {{"session_id", id}});
  silent.erase("id");
  const auto revoked = http_rpc(node.http_port, silent);
  EXPECT_EQ(revoked.status, 204);
  EXPECT_EQ(state_of(client, id), "revoked") << "204 says that it was executed";
  const auto unknown = http_rpc(node.http_port, message("no.such"));
  EXPECT_EQ(unknown.status, 200) << "the envelope has the error";
  EXPECT_EQ(json::parse(unknown.body)["error"]["data"]["error"], "METHOD_NOT_FOUND");
  EXPECT_EQ(node.metric(R"(portcullis_http_requests_total{route="rpc",status="2xx"})"), 5);
}

TEST(http_rpc, knows_its_callers_by_their_tokens) {
  const auto web = make_token("web"), eyes = make_token("eyes");
  server node({.set = {"server.environment=development"},
               .config = token_toml(web, "web", "app") + token_toml(eyes, "eyes", "observer"),
               .open = false});
  const auto create_as = [&](const std::string& fields) {
    const auto answer =
        http_rpc(node.http_port,
                 message("session.create",
                         {{"tenant_id", "acme"}, {"user_id", "ada"}, {"context", context()}}),
                 fields);
    if (answer.status != 200) return refusal_of(answer);
    const auto reply = json::parse(answer.body);
    return reply.contains("error") ? error_of(reply) : "made";
  };
  EXPECT_EQ(create_as(""), "AUTH_REQUIRED");
  EXPECT_EQ(create_as(bearer(web.text)), "made");
  EXPECT_EQ(create_as(bearer(eyes.text)), "FORBIDDEN");
  EXPECT_EQ(json::parse(http_rpc(node.http_port, message("server.ping")).body)["result"],
            json::object())
      << "before login, too";
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(create_as(bearer(make_token("other").text)), "AUTH_FAILED 401");
  EXPECT_EQ(create_as(bearer(web.text)), "AUTH_RATE_LIMITED 429");
}

TEST(http_rpc, forgets_a_caller_whose_token_a_reload_removes) {
  const auto web = make_token("web"), root = make_token("root");
  server node({.set = {"server.environment=development"},
               .config = token_toml(web, "web", "app") + token_toml(root, "root", "admin"),
               .open = false});
  line_client kept(node.http_port);
  const auto body = message("session.stats").dump();
  const auto ask = [&] {
    kept.send("POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
              bearer(web.text) + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
              body);
    const auto status = kept.line().value_or("");
    for (auto line = kept.line(); line && *line != "\r"; line = kept.line()) {
    }
    return status;
  };
  EXPECT_EQ(ask(), "HTTP/1.1 200 OK\r");
  node.configure(token_toml(root, "root", "admin"));
  const auto reloaded = http_rpc(node.http_port, message("admin.reload"), bearer(root.text));
  EXPECT_EQ(reloaded.status, 200) << reloaded.body;
  // Behind the body before it, which has no line end.
  EXPECT_THAT(ask(), testing::EndsWith("HTTP/1.1 401 Unauthorized\r"));
}

TEST(http_rpc, refuses_what_a_page_of_another_site_could_send) {
  server node({.set = {"listen.http.hosts=[\"portcullis.test\"]",
                       "listen.http.origins=[\"https://console.test\"]"}});
  const auto with = [&](const std::string& fields) {
    const auto answer =
        http_ask(node.http_port, "POST /rpc", fields, message("server.ping").dump());
    EXPECT_EQ(answer.head.find("Access-Control"), std::string::npos);
    return answer.status == 200 ? "200" : refusal_of(answer);
  };
  const std::string type = "Content-Type: application/json\r\n";
  EXPECT_EQ(with(type), "200");
  EXPECT_EQ(with(type + "Host: portcullis.test\r\n"), "200");
  EXPECT_EQ(with(type + "Host: rebound.test\r\n"), "FORBIDDEN 403");
  EXPECT_EQ(with(type + "Origin: https://console.test\r\n"), "200");
  EXPECT_EQ(with(type + "Origin: https://other.test\r\n"), "FORBIDDEN 403");
  EXPECT_EQ(with("Content-Type: text/plain\r\n"), "INVALID_REQUEST 415");
  EXPECT_EQ(with(""), "INVALID_REQUEST 415");
}

TEST(http_rpc, is_spoken_by_curl) {
  server node;
  const auto url = "http://localhost:" + std::to_string(node.http_port);
  const auto large = R"({"jsonrpc":"2.0","id":1,"method":"session.create","params":{"tenant_id":)"
                     R"("acme","user_id":"ada","context":{"ip":"192.0.2.1"},"data":{"x":")" +
                     std::string(10'000, 'x') + "\"}}}";
  const auto file = node.folder().write("body.json", large);
  const std::string curl = "curl -sS -4 -m 20 -H 'Content-Type: application/json' ";
  // Of more than a KiB it asks for 100 Continue.
  for (const auto* more :
       {"", "-H 'Transfer-Encoding: chunked' ", "--http1.0 ", "-H 'Expect: 100-continue' "}) {
    const auto answer = run(curl + more + "--data-binary @" + file + " " + url + "/rpc");
    EXPECT_EQ(answer.status, 0) << more << answer.out;
    EXPECT_THAT(answer.out, HasSubstr("\"session_id\"")) << more;
  }
  const auto twice = run(curl + "-d '" + message("server.ping").dump() + "' " + url + "/rpc " +
                         url + "/rpc -w '%{num_connects}\\n'");
  EXPECT_THAT(twice.out, HasSubstr("}0\n")) << "the connection is kept";
}

}  // namespace
}  // namespace portcullis::e2e

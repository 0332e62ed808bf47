// HTTPS against the real binary: curl, with certificates of `certs dev`.
#include "http_client.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;

/// A server that speaks HTTPS, to clients with or without a certificate.
struct https {
  https()
      : web(make_token("web")),
        made(run(tested_binary() + " certs dev --client web --out " + folder.file("c"))),
        node({.set = {"server.environment=development", "listen.https.address=127.0.0.1:0"},
              .config = token_toml(web, "web-by-token", "app") + tls_toml(),
              .open = false}) {
    EXPECT_EQ(made.status, 0) << made.out;
    const auto log = node.log();
    const auto at = log.find("\"https\":\"127.0.0.1:");
    EXPECT_NE(at, std::string::npos) << log;
    port = log.substr(at + 19, log.find('"', at + 19) - at - 19);
  }
  [[nodiscard]] std::string tls_toml() const {
    return "[tls]\ncertificate_file = \"" + folder.file("c/server.pem") + "\"\nkey_file = \"" +
           folder.file("c/server-key.pem") + "\"\nclient_ca_file = \"" + folder.file("c/ca.pem") +
           "\"\nclient_certificates = \"optional\"\n[[auth.certificate]]\nname = \"web\"\n"
           "role = \"app\"\nsan = \"URI:spiffe://portcullis.dev/web\"\n";
  }
  [[nodiscard]] std::string curl(const std::string& path, const std::string& more = "") const {
    return run("curl -sS -m 20 --cacert " + folder.file("c/ca.pem") + " " + more +
               " https://localhost:" + port + path)
        .out;
  }
  [[nodiscard]] std::string call(const std::string& more = "") const {
    return curl("/rpc", "-H 'Content-Type: application/json' " + more + " -d '" +
                            message("session.stats").dump() + "'");
  }
  temp_folder folder;
  token web;
  ran made;
  server node;
  std::string port;
};

TEST(over_https, pages_and_calls_are_had) {
  https w;
  EXPECT_EQ(w.curl("/livez"), "ok\n");
  EXPECT_EQ(w.curl("/livez", "--tls-max 1.2"), "ok\n");
  EXPECT_THAT(w.curl("/metrics"), HasSubstr(R"(portcullis_connections_total{listener="https"})"));
  EXPECT_THAT(w.call(), HasSubstr("AUTH_REQUIRED"));
  EXPECT_THAT(w.call("-H 'Authorization: Bearer " + w.web.text + "'"), HasSubstr("\"live\":0"));
  EXPECT_THAT(
      w.call("--cert " + w.folder.file("c/web.pem") + " --key " + w.folder.file("c/web-key.pem")),
      HasSubstr("\"live\":0"))
      << "a certificate is a login";
}

TEST(over_https, large_bodies_go_both_ways) {
  https w;
  const auto body = w.folder.write(
      "body", R"({"jsonrpc":"2.0","id":1,"method":"session.create","params":{"tenant_id":"acme",)"
              R"("user_id":"ada","context":{"ip":"192.0.2.1"},"data":{"x":")" +
                  std::string(16'000, 'x') + "\"}}}");
  EXPECT_THAT(w.curl("/rpc", "-H 'Content-Type: application/json' -H 'Authorization: Bearer " +
                                 w.web.text + "' --data-binary @" + body),
              HasSubstr("\"session_id\""));
  EXPECT_GT(w.curl("/metrics").size(), 50'000u);
}

TEST(over_https, who_speaks_http_is_told_so) {
  https w;
  const auto answer = http_get(static_cast<std::uint16_t>(std::stoi(w.port)), "/livez");
  EXPECT_EQ(refusal_of(answer), "TLS_REQUIRED 403");
  for (const auto* part : {"Connections were refused.", "\"listener\":\"https\"",
                           "\"reason\":\"handshake\"", "\"tls_failure\":\"not_tls\""})
    EXPECT_TRUE(w.node.logged(part)) << part;
}

}  // namespace
}  // namespace portcullis::e2e

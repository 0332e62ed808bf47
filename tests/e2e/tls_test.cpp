// The TLS listener and mutual TLS of the real binary: who comes in, as whom, and until when.
#include "tls_node.hpp"

namespace portcullis::e2e {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

struct mutual_tls : testing::Test {
  mutual_tls()
      : node({.set = {"server.environment=development"},
              .config = config(callers()),
              .open = false}) {}
  void SetUp() override { ASSERT_NE(node.rpc_tls_port, 0) << node.log(); }

  static std::string callers() {
    return certificate_toml("admin", "admin") + certificate_toml("web", "app");
  }
  std::string config(const std::string& who) const {
    return "[auth]\nmode = \"mtls\"\n" + tls_toml(certificates, "required") + who;
  }
  ran call(const std::string& who, const std::string& what) const {
    return call_as(node, certificates, who, what);
  }

  dev_certificates certificates;
  server node;
};

TEST_F(mutual_tls, callers_are_who_their_certificates_say) {
  const auto listed = json::parse(call("admin", "server.connections").out);
  const auto& row = listed.at("connections").at(0);
  EXPECT_EQ(row.at("name"), "admin");
  EXPECT_EQ(row.at("role"), "admin");
  EXPECT_EQ(row.at("listener"), "rpc_tls");
  EXPECT_THAT(row.at("ja4").get<std::string>(), StartsWith("t13d"));
  EXPECT_EQ(row.at("ja3").get<std::string>().size(), 32u);

  const auto made = call(
      "web", R"(session.create '{"tenant_id":"a","user_id":"u","context":{"ip":"192.0.2.1"}}')");
  EXPECT_EQ(made.status, 0) << made.out;
  const auto forbidden = call("web", "server.connections");
  EXPECT_EQ(forbidden.status, 1);
  EXPECT_THAT(forbidden.out, HasSubstr("FORBIDDEN"));
}

TEST_F(mutual_tls, what_a_certificate_did_is_told_of_by_its_name) {
  EXPECT_EQ(call("admin", R"(session.revoke_user '{"tenant_id":"a","user_id":"u"}')").status, 0);
  EXPECT_EQ(call("web", R"(session.create '{"tenant_id":"a","user_id":"u","context":)"
                        R"({"ip":"192.0.2.1"}}')")
                .status,
            0);
  const auto cleared =
      call("admin", R"(lockout.clear '{"tenant_id":"a","user_id":"u","reason":"a test"}')");
  EXPECT_EQ(cleared.status, 0) << cleared.out;
  const auto revoked = call("admin", R"(session.revoke_user '{"tenant_id":"a","user_id":"u"}')");
  EXPECT_THAT(revoked.out, HasSubstr("\"revoked\":1"));
  const auto told = call("admin", R"(events.query '{"types":["session_revoked"]}')");
  EXPECT_THAT(told.out, HasSubstr("\"actor\":\"admin\"")) << told.out;
}

TEST_F(mutual_tls, a_certificate_that_nobody_is_named_by_is_rejected_and_told_of) {
  const auto stranger = call("stranger", "server.ping");
  EXPECT_NE(stranger.status, 0);
  EXPECT_THAT(stranger.out, HasSubstr("CERTIFICATE_REJECTED"));
  EXPECT_TRUE(eventually([&] {
    return call("admin", R"(events.query '{"types":["auth_failed"]}')").out.find("auth_failed") !=
           std::string::npos;
  }));
  EXPECT_EQ(node.metric(R"(portcullis_connection_rejections_total{listener="rpc_tls",)"
                        R"(reason="certificate"})"),
            1);
}

TEST_F(mutual_tls, without_a_certificate_nobody_comes_in) {
  const auto none = call("", "server.ping");
  EXPECT_EQ(none.status, 2) << none.out;
  EXPECT_THAT(none.out, HasSubstr("client certificate"));
  EXPECT_TRUE(eventually([&] {
    return node.metric(
               R"(portcullis_tls_handshake_failures_total{reason="certificate_missing"})") == 1;
  }));
  auto plain = node.connect();
  EXPECT_EQ(plain.error("session.stats"), "AUTH_REQUIRED") << "nor in clear";
}

TEST_F(mutual_tls, a_revoked_certificate_comes_in_until_the_reload_and_not_after) {
  EXPECT_EQ(call("web", "server.ping").status, 0);
  certificates.make("--revoke web");
  EXPECT_EQ(call("admin", "admin.reload").status, 0);
  const auto refused = call("web", "server.ping");
  EXPECT_EQ(refused.status, 2) << refused.out;
  EXPECT_EQ(call("admin", "server.ping").status, 0);
  EXPECT_EQ(node.metric("portcullis_tls_reloads_total"), 1);
}

TEST_F(mutual_tls, a_reload_that_no_longer_names_a_certificate_closes_its_connections) {
  const auto watching =
      std::string("timeout 20 ") + tested_binary() +
      " events tail --address tls://localhost:" + std::to_string(node.rpc_tls_port) + " --ca " +
      certificates.file("ca.pem") + " --cert " + certificates.file("web.pem") + " --key " +
      certificates.file("web-key.pem") + " --types breaker_opened 2>&1";
  std::thread later([&] {
    EXPECT_TRUE(eventually(
        [&] { return node.metric(R"(portcullis_connections{listener="rpc_tls"})") == 1; }));
    node.configure(config(certificate_toml("admin", "admin")));
    node.signal(SIGHUP);
  });
  const auto ended = run(watching);
  later.join();
  EXPECT_NE(ended.status, 124) << "it was told";
  EXPECT_THAT(call("web", "server.ping").out, HasSubstr("CERTIFICATE_REJECTED"));
}

TEST_F(mutual_tls, a_reload_of_files_that_are_none_changes_nothing_and_says_why) {
  std::filesystem::rename(certificates.file("server.pem"), certificates.file("server.pem.away"));
  const auto reloaded = call("admin", "admin.reload");
  EXPECT_EQ(reloaded.status, 1);
  EXPECT_THAT(reloaded.out, HasSubstr("CONFIG_INVALID"));
  EXPECT_TRUE(node.logged("tls.certificate_file"));
  EXPECT_EQ(call("admin", "server.ping").status, 0);
}

TEST(tokens_over_tls, are_taken_from_anywhere_and_certificates_beside_them) {
  const dev_certificates certificates;
  const auto secret = make_token("over tls");
  temp_folder folder;
  const server node({.set = {"server.environment=development"},
                     .config = tls_toml(certificates, "optional") +
                               token_toml(secret, "ops", "admin") + certificate_toml("web", "app"),
                     .open = false});
  const auto file = folder.write("token", secret.text + "\n");
  std::filesystem::permissions(file, std::filesystem::perms::owner_read);
  const auto by_token =
      call_as(node, certificates, "", "--token-file " + file + " server.connections");
  EXPECT_EQ(by_token.status, 0) << by_token.out;
  EXPECT_THAT(by_token.out, HasSubstr("\"name\":\"ops\""));
  const auto by_certificate = call_as(node, certificates, "web", "lockout.list");
  EXPECT_EQ(by_certificate.status, 1);
  EXPECT_THAT(by_certificate.out, HasSubstr("FORBIDDEN")) << "an app, and logged in";
  const auto stranger = call_as(node, certificates, "stranger", "session.stats");
  EXPECT_THAT(stranger.out, HasSubstr("AUTH_REQUIRED")) << "may still log in by token";
}

TEST(a_tls_listener, without_its_files_does_not_start_and_says_which) {
  server node({.set = {"listen.rpc_tls.address=127.0.0.1:0", "tls.certificate_file=/nowhere.pem",
                       "tls.key_file=/nowhere-key.pem"},
               .start = false});
  EXPECT_FALSE(node.start());
  EXPECT_TRUE(node.logged("tls.certificate_file /nowhere.pem: No such file or directory"));
}

TEST(a_unix_listener, serves_the_same_protocol) {
  temp_folder folder;
  const auto path = folder.file("rpc.sock");
  server node({.set = {"listen.rpc_unix.path=" + path}});
  const auto asked = run(tested_binary() + " call --address unix:" + path + " server.connections");
  EXPECT_EQ(asked.status, 0) << asked.out;
  EXPECT_THAT(asked.out, AllOf(HasSubstr("\"listener\":\"rpc_unix\""), Not(HasSubstr("ja4"))));
  EXPECT_EQ(node.terminate(), 0);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(a_bound_listener, takes_the_address_from_the_connection) {
  server node({.set = {"listen.rpc.bind_to_connection=true"}});
  auto client = node.connect();
  const auto made = create(client, "ada", {{"context", {{"ip", "203.0.113.9"}}}});
  const auto listed = client.result("session.list", user("ada"));
  EXPECT_EQ(listed.at("sessions").at(0).at("ip"), "127.0.0.1");
  EXPECT_EQ(state_of(client, made.at("session_id"), {{"ip", "198.51.100.1"}}), "valid");
}

}  // namespace
}  // namespace portcullis::e2e

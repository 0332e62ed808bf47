// The TLS listener as tools of others see it: openssl, sslscan, HAProxy; and as floods meet it.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.hpp"
#include "process.hpp"
#include "proxy.hpp"
#include "tls_node.hpp"

namespace portcullis::e2e {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

struct a_tls_door : testing::Test {
  explicit a_tls_door(std::vector<std::string> set = {})
      : node({.set = std::move(set), .config = tls_toml(certificates, "none")}) {}

  /// What `openssl s_client` prints, given `input` once the handshake is over.
  [[nodiscard]] ran s_client(const std::string& options, const std::string& input = "") const {
    return run("(printf '%s' '" + input +
               "'; sleep 0.3) | timeout 20 openssl s_client -connect 127.0.0.1:" +
               std::to_string(node.rpc_tls_port) + " -CAfile " + certificates.file("ca.pem") +
               " -verify_return_error " + options + " 2>&1");
  }
  dev_certificates certificates;
  server node;
};

TEST_F(a_tls_door, answers_openssl_over_1_2_and_1_3_and_nothing_older) {
  const std::string ping = R"({"jsonrpc":"2.0","id":1,"method":"server.ping"})";
  for (const std::string version : {"-tls1_2", "-tls1_3"}) {
    const auto asked = s_client(version + " -quiet -no_ign_eof -servername localhost", ping);
    EXPECT_THAT(asked.out, HasSubstr(R"({"jsonrpc":"2.0","id":1,"result":{}})")) << version;
  }
  for (const std::string version : {"-tls1", "-tls1_1"}) {
    const auto refused = s_client(version + " -cipher ALL:@SECLEVEL=0", ping);
    EXPECT_THAT(refused.out, AllOf(Not(HasSubstr("\"result\"")), HasSubstr("alert"))) << version;
  }
  EXPECT_EQ(node.metric(R"(portcullis_tls_handshake_failures_total{reason="version"})"), 2);
}

TEST_F(a_tls_door, has_no_cipher_without_forward_secrecy_or_authentication) {
  for (const std::string cipher :
       {"AES128-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "aNULL", "3DES"}) {
    const auto refused = s_client("-tls1_2 -cipher " + cipher + ":@SECLEVEL=0");
    EXPECT_THAT(refused.out, Not(HasSubstr("BEGIN CERTIFICATE"))) << cipher;
  }
}

TEST_F(a_tls_door, renegotiates_with_nobody) {
  const auto asked = s_client("-tls1_2", "R\n");
  EXPECT_THAT(asked.out, HasSubstr("no renegotiation")) << asked.out.substr(0, 2'000);
}

TEST_F(a_tls_door, resumes_by_ticket) {
  temp_folder folder;
  const auto kept = folder.file("session");
  (void)s_client("-tls1_2 -sess_out " + kept, R"({"jsonrpc":"2.0","id":1,"method":"server.ping"})");
  EXPECT_THAT(s_client("-tls1_2 -sess_in " + kept).out, HasSubstr("Reused, TLSv1.2"));
  EXPECT_EQ(node.metric(R"(portcullis_tls_handshakes_total{resumed="yes",version="TLSv1.2"})"), 1);
}

TEST_F(a_tls_door, is_reported_by_sslscan_without_a_finding) {
  if (run("command -v sslscan").status != 0) GTEST_SKIP() << "sslscan is not installed";
  const auto found = run(
      "timeout 120 sslscan --no-colour 127.0.0.1:" + std::to_string(node.rpc_tls_port) + " 2>&1");
  for (const char* off :
       {"SSLv2     disabled", "SSLv3     disabled", "TLSv1.0   disabled", "TLSv1.1   disabled",
        "TLSv1.2   enabled", "TLSv1.3   enabled", "Session renegotiation not supported"})
    EXPECT_THAT(found.out, HasSubstr(off)) << found.out;
  for (const char* bad : {"CBC", "RC4", "3DES", "MD5", "SHA1WithRSA", "NULL"})
    EXPECT_THAT(found.out, Not(HasSubstr(bad)));
  // "not vulnerable to heartbleed" is how it says that all is well.
  for (std::size_t at = 0; (at = found.out.find("vulnerable to", at)) != std::string::npos; ++at)
    EXPECT_EQ(found.out.substr(at - 4, 4), "not ") << found.out.substr(at, 60);
}

struct behind_haproxy : testing::TestWithParam<const char*> {};

TEST_P(behind_haproxy, users_keep_their_addresses) {
  if (run("command -v haproxy").status != 0) GTEST_SKIP() << "haproxy is not installed";
  const dev_certificates certificates;
  server node({.set = {"listen.rpc.proxy_protocol=true", "listen.rpc_tls.proxy_protocol=true",
                       "listen.proxy_sources=127.0.0.1", "listen.rpc.bind_to_connection=true"},
               .config = tls_toml(certificates, "none")});
  temp_folder folder;
  const auto front = free_port(), tls_front = free_port();
  const auto listen = [&](const char* name, std::uint16_t from, std::uint16_t to) {
    return std::string("listen ") + name + "\n bind 127.0.0.1:" + std::to_string(from) +
           "\n server node 127.0.0.1:" + std::to_string(to) + " " + GetParam() + "\n";
  };
  const auto file = folder.write("haproxy.cfg",
                                 "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n"
                                 " timeout server 30s\n" +
                                     listen("plain", front, node.rpc_port) +
                                     listen("tls", tls_front, node.rpc_tls_port));
  running proxy({"haproxy", "-db", "-f", file}, running::to::pipe);
  ASSERT_TRUE(eventually([&] { return line_client(front).error("server.ping").empty(); }));
  line_client user(front);
  const auto made = create(user, "ada", {{"context", {{"ip", "203.0.113.9"}}}});
  EXPECT_EQ(
      user.result("session.list", ::portcullis::e2e::user("ada")).at("sessions").at(0).at("ip"),
      "127.0.0.1");
  const auto over_tls =
      run(tested_binary() + " call --address tls://localhost:" + std::to_string(tls_front) +
          " --ca " + certificates.file("ca.pem") + " server.connections");
  EXPECT_THAT(over_tls.out,
              AllOf(HasSubstr("\"listener\":\"rpc_tls\""), HasSubstr("\"ja4\":\"t13d")));
  auto direct = node.connect();
  direct.send("{}");
  EXPECT_TRUE(direct.ended()) << "without a header nobody is served";
}

INSTANTIATE_TEST_SUITE_P(both_versions, behind_haproxy,
                         testing::Values("send-proxy", "send-proxy-v2",
                                         "send-proxy-v2 proxy-v2-options crc32c,unique-id"),
                         [](const auto& which) {
                           const std::string text = which.param;
                           return text.find("crc32c") != text.npos ? "version_2_with_checksum"
                                  : text.find("v2") != text.npos   ? "version_2"
                                                                   : "version_1";
                         });

/// Connections that send the beginning of a ClientHello and then nothing.
class half_handshakes {
 public:
  half_handshakes(std::uint16_t port, int count) {
    for (int i = 0; i < count; ++i) {
      const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(port);
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) ++connected_;
      const std::string_view half("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03half", 15);
      (void)!::send(fd, half.data(), half.size(), MSG_NOSIGNAL);
      open_.push_back(fd);
    }
  }
  ~half_handshakes() {
    for (const int fd : open_) ::close(fd);
  }
  [[nodiscard]] int connected() const { return connected_; }

 private:
  std::vector<int> open_;
  int connected_ = 0;
};

TEST_F(a_tls_door, two_thousand_half_handshakes_cost_little_and_hold_up_nobody) {
  auto client = node.connect();
  EXPECT_EQ(client.error("server.ping"), "");
  const auto before = node.resident();
  const half_handshakes flood(node.rpc_tls_port, 2'000);
  ASSERT_EQ(flood.connected(), 2'000);
  ASSERT_TRUE(eventually([&] {
    return node.metric(R"(portcullis_connections{listener="rpc_tls"})") >= 1'990 ||
           node.metric(R"(portcullis_tls_handshake_failures_total{reason="timeout"})") > 0;
  }));
  EXPECT_EQ(client.error("server.ping"), "");
  EXPECT_EQ(call_as(node, certificates, "", "server.ping").status, 0) << "others come in meanwhile";
  const auto grown = node.resident() - before;
  EXPECT_LT(grown, 2'000u * 16 * 1024) << "bytes resident for 2,000 of them";
  EXPECT_TRUE(eventually([&] {
    return node.metric(R"(portcullis_tls_handshake_failures_total{reason="timeout"})") == 2'000;
  })) << "each is cut off in time";
}

}  // namespace
}  // namespace portcullis::e2e

// The client over TLS, against a real redis-server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "net/tls/client_context.hpp"
#include "tests/net/certificates.hpp"
#include "tests/net/redis_fake.hpp"

namespace portcullis::net {
namespace {

using testing::HasSubstr;

struct a_client_over_tls : test::redis_test {
  static void SetUpTestSuite() {
    ours = new test::authority;
    ours->sign("server", "DNS:localhost,IP:127.0.0.1");
    ours->sign("named", "DNS:redis.test");
    ours->sign("old", "DNS:localhost,IP:127.0.0.1", -1);
    ours->sign("node", "DNS:node.test");
    theirs = new test::authority("Another CA");
    theirs->sign("node", "DNS:node.test");
  }
  static void TearDownTestSuite() {
    delete ours;
    delete theirs;
  }
  void start(const std::string& certificate, const std::string& clients = "no") {
    tls_port = test::free_port();
    server.emplace(test::redis_server::arguments{
        "--tls-port", std::to_string(tls_port), "--tls-cert-file", ours->path(certificate + ".pem"),
        "--tls-key-file", ours->path(certificate + "-key.pem"), "--tls-ca-cert-file", ours->ca(),
        "--tls-auth-clients", clients});
  }
  static tls_client_options trusting() {
    tls_client_options made;
    made.ca_file = ours->ca();
    return made;
  }
  static tls_client_options as(const test::authority& who) {
    auto made = trusting();
    made.certificate_file = who.path("node.pem");
    made.key_file = who.path("node-key.pem");
    return made;
  }
  static std::shared_ptr<const tls_client_context> context(const tls_client_options& from) {
    std::string why;
    auto made = tls_client_context::make(from, why);
    if (!made) throw std::runtime_error(why);
    return *std::move(made);
  }
  redis::client_options over(const tls_client_options& from,
                             const std::string& host = "127.0.0.1") {
    auto made = to("rediss://" + host + ":" + std::to_string(tls_port));
    made.tls = context(from);
    return made;
  }
  /// The first loss's reason.
  std::string refusal(redis::client_options options) {
    lost.clear();
    make(std::move(options));
    if (!until([&] { return !lost.empty() || client->connected(); })) return "nothing happens";
    return last_loss();
  }

  inline static test::authority* ours = nullptr;
  inline static test::authority* theirs = nullptr;
  std::optional<test::redis_server> server;
  std::uint16_t tls_port = 0;
};

TEST_F(a_client_over_tls, trusts_a_server_by_its_authority_and_its_name) {
  start("server");
  for (const auto* host : {"127.0.0.1", "localhost"}) {
    connect(over(trusting(), host));
    EXPECT_EQ(ask({"SET", "key", "value"}), "+OK");
    EXPECT_EQ(ask({"GET", "key"}), "value");
  }
}

TEST_F(a_client_over_tls, refuses_a_server_of_another_name) {
  start("named");
  EXPECT_EQ(refusal(over(trusting())), "tls: IP address mismatch");
  EXPECT_EQ(refusal(over(trusting(), "localhost")), "tls: hostname mismatch");
  auto options = over(trusting());
  options.tls_server_name = "redis.test";
  connect(std::move(options));
  EXPECT_EQ(ask({"PING"}), "+PONG");
}

TEST_F(a_client_over_tls, refuses_a_server_of_another_authority) {
  start("server");
  auto from = trusting();
  from.ca_file = theirs->ca();
  EXPECT_EQ(refusal(over(from)), "tls: self-signed certificate in certificate chain");
  from.ca_file.clear();  // the system's
  EXPECT_EQ(refusal(over(from)), "tls: self-signed certificate in certificate chain");
  EXPECT_EQ(client->counts().connects, 0U);
}

TEST_F(a_client_over_tls, refuses_a_server_whose_certificate_is_over) {
  start("old");
  EXPECT_EQ(refusal(over(trusting())), "tls: certificate has expired");
}

TEST_F(a_client_over_tls, shows_its_own_certificate_where_it_is_asked_to) {
  start("server", "yes");
  EXPECT_THAT(refusal(over(trusting())), HasSubstr("tls: "));
  EXPECT_EQ(client->counts().connects, 0U);
  EXPECT_THAT(refusal(over(as(*theirs))), HasSubstr("tls: "));
  EXPECT_EQ(client->counts().connects, 0U);
  connect(over(as(*ours)));
  EXPECT_EQ(ask({"PING"}), "+PONG");
}

TEST_F(a_client_over_tls, does_not_speak_to_a_server_without_it) {
  test::fake_redis plain;
  tls_port = plain.port();
  make(over(trusting()));
  ASSERT_TRUE(until([&] { return plain.accept(); }));
  ASSERT_TRUE(until([&] { return !plain.received().empty(); }));
  EXPECT_EQ(plain.received()[0], '\x16');  // a record of a handshake, and nothing in clear
  plain.send("-ERR unknown command\r\n");
  ASSERT_TRUE(until([&] { return !lost.empty(); }));
  EXPECT_EQ(last_loss(), "tls: wrong version number");
}

TEST_F(a_client_over_tls, moves_much_in_both_directions) {
  start("server");
  connect(over(trusting()));
  const std::string large(3'000'000, 'x');
  EXPECT_EQ(ask({"SET", "key", large}), "+OK");
  EXPECT_EQ(ask({"GET", "key"}), large);
  int answered = 0, wrong = 0;
  constexpr int count = 5'000;
  for (int i = 0; i < count; ++i) {
    const auto word = std::to_string(i) + std::string(static_cast<std::size_t>(i % 1000), '.');
    client->ask({"ECHO", word}, "", test::long_ms, [&, i, word](test::got reply) {
      if (!reply || reply->text != word || answered != i) ++wrong;
      ++answered;
    });
  }
  ASSERT_TRUE(until([&] { return answered == count; }));
  EXPECT_EQ(wrong, 0);
}

TEST_F(a_client_over_tls, connects_again_with_the_certificate_that_it_has_then) {
  start("server", "yes");
  connect(over(as(*ours)));
  client->replace_tls(context(as(*theirs)));
  EXPECT_EQ(ask({"PING"}), "+PONG");
  server->kill();
  server->start();
  ASSERT_TRUE(until([&] { return !lost.empty() && lost.back().why.rule == "tls"; })) << last_loss();
  client->replace_tls(context(as(*ours)));
  ASSERT_TRUE(until([&] { return client->connected(); })) << last_loss();
}

TEST_F(a_client_over_tls, gives_up_on_a_handshake_in_time) {
  test::fake_redis silent;
  tls_port = silent.port();
  auto options = over(trusting());
  options.connect_ms = 30;
  EXPECT_THAT(refusal(std::move(options)), HasSubstr("connect_timeout"));
}

std::string refused(const tls_client_options& options) {
  std::string why;
  const auto made = tls_client_context::make(options, why);
  if (made) return "made";
  EXPECT_EQ(made.error().code, core::error_code::CONFIG_INVALID);
  return std::string(made.error().field) + " " + std::string(made.error().rule);
}

TEST_F(a_client_over_tls, tells_which_file_cannot_be_used) {
  EXPECT_EQ(refused({}), "made");
  EXPECT_EQ(refused(as(*ours)), "made");
  auto from = trusting();
  from.ca_file = ours->path("none.pem");
  EXPECT_EQ(refused(from), "ca_file file");
  from = as(*ours);
  from.key_file.clear();
  EXPECT_EQ(refused(from), "key_file file");
  from = as(*ours);
  from.certificate_file.clear();
  EXPECT_EQ(refused(from), "certificate_file file");
  from = as(*ours);
  from.certificate_file = ours->path("server-key.pem");
  EXPECT_EQ(refused(from), "certificate_file file");
  from = as(*ours);
  from.key_file = ours->path("server-key.pem");  // of another certificate
  EXPECT_EQ(refused(from), "key_file file");
  from.key_file = ours->encrypted_key("node");
  EXPECT_EQ(refused(from), "key_file file");
  from = as(*ours);
  from.private_key_file = true;
  EXPECT_EQ(refused(from), "made");
  std::filesystem::permissions(from.key_file, std::filesystem::perms::group_read,
                               std::filesystem::perm_options::add);
  EXPECT_EQ(refused(from), "key_file file");
  std::filesystem::permissions(from.key_file, std::filesystem::perms::owner_read);
}

}  // namespace
}  // namespace portcullis::net

// The RPC server behind TLS: what is spoken, who may come in, what is bounded, what is counted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "net/tcp/server.hpp"
#include "tests/net/tls_door.hpp"

namespace portcullis::net {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

TEST_F(tls_door, serves_the_protocol_over_both_versions) {
  start(files());
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    auto wishes = trusting();
    wishes.version = version;
    tls_client c(port, wishes);
    ASSERT_TRUE(shake(c)) << c.reason();
    EXPECT_EQ(SSL_get_verify_result(c.ssl()), X509_V_OK);
    c.send(call("1") + call("2"));
    ASSERT_TRUE(until_received(c, done("2") + "\n"));
    EXPECT_EQ(c.receive(), done("1") + "\n" + done("2") + "\n");
    c.goodbye();
    EXPECT_TRUE(n->until([&] {
      c.receive();
      return c.ended();
    })) << "the server says goodbye, too";
    EXPECT_TRUE(n->until([&] { return c.closed(); }));
  }
  EXPECT_EQ(tls().handshakes[0][0], 1u);
  EXPECT_EQ(tls().handshakes[1][0], 1u);
  EXPECT_TRUE(n->gateway.last_peer.encrypted);
  EXPECT_EQ(n->gateway.last_peer.listener, "rpc_tls");
}

TEST_F(tls_door, speaks_no_older_version) {
  start(files());
  for (const int version : {TLS1_VERSION, TLS1_1_VERSION}) {
    auto wishes = trusting();
    wishes.version = version;
    tls_client c(port, wishes);
    EXPECT_FALSE(shake(c));
  }
  ASSERT_TRUE(n->until([&] { return failures(core::tls_failure::version) == 2; }));
  EXPECT_EQ(rejected(core::rejection::handshake), 2u);
  auto strict = files();
  strict.min_version = core::tls_version::v1_3;
  load(strict);
  auto wishes = trusting();
  wishes.version = TLS1_2_VERSION;
  tls_client c(port, wishes);
  EXPECT_FALSE(shake(c));
  EXPECT_EQ(failures(core::tls_failure::version), 3u);
}

TEST_F(tls_door, renegotiates_with_nobody) {
  start(files());
  auto wishes = trusting();
  wishes.version = TLS1_2_VERSION;
  tls_client c(port, wishes);
  ASSERT_TRUE(shake(c));
  SSL_renegotiate(c.ssl());
  (void)c.turn();
  (void)n->until([&] {
    (void)c.turn();
    return c.failed() || c.closed();
  });
  EXPECT_EQ(tls().handshakes[0][0], 1u) << "the connection goes on as it was, or ends";
  EXPECT_TRUE(c.failed() || c.closed());
}

TEST_F(tls_door, a_large_answer_crosses_many_records_to_a_slow_reader) {
  start(files());
  core::event_page page;
  page.events.push_back("{\"x\":\"" + std::string(3'000'000, 'x') + "\"}");
  n->gateway.reply = page;
  tls_client c(port, trusting(), 4'096);
  ASSERT_TRUE(shake(c));
  c.send(call("1", "events.query"));
  ASSERT_TRUE(until_received(c, "}\n"));
  EXPECT_GT(c.receive().size(), 3'000'000u);
  c.send(call("2"));
  n->gateway.reply = core::done{};
  ASSERT_TRUE(until_received(c, "\"id\":2"));
}

TEST_F(tls_door, pipelined_requests_past_every_bound_are_all_answered) {
  auto options = quick();
  options.in_flight_per_connection_max = 16;
  start(files(), options);
  n->gateway.hold = true;
  tls_client c(port, trusting());
  ASSERT_TRUE(shake(c));
  std::string all;
  for (int i = 0; i < 2'000; ++i) all += call(std::to_string(i));
  c.send(all);
  ASSERT_TRUE(n->until([&] {
    c.flush();
    n->gateway.answer_all();
    const auto& got = c.receive();
    return got.ends_with(done("1999") + "\n");
  }));
  EXPECT_EQ(std::count(c.receive().begin(), c.receive().end(), '\n'), 2'000);
}

TEST_F(tls_door, a_handshake_may_come_a_byte_at_a_time) {
  start(files());
  tls_client c(port, trusting());
  c.drip(1);
  ASSERT_TRUE(n->until([&] { return c.turn() || c.failed() || c.closed(); })) << c.reason();
  EXPECT_TRUE(n->until([&] {
    c.flush();
    return tls().handshakes[1][0] == 1;
  }));
}

TEST_F(tls_door, a_handshake_that_is_not_over_in_time_is_cut_off) {
  start(files());
  client silent(port), half(port);
  half.send(std::string_view("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11));
  ASSERT_TRUE(n->until([&] { return n->server->count() == 2; }));
  n->clock.advance_ms(core::limits::opening_ms_max - 1);
  n->settle();
  EXPECT_EQ(n->server->count(), 2u);
  n->clock.advance_ms(1);
  ASSERT_TRUE(n->until([&] { return silent.closed() && half.closed(); }));
  EXPECT_EQ(failures(core::tls_failure::timeout), 2u);
  EXPECT_EQ(rejected(core::rejection::opening_slow), 2u);
  EXPECT_TRUE(n->gateway.greeted.empty()) << "nobody was told of them";
}

TEST_F(tls_door, openings_at_once_are_bounded) {
  auto options = quick();
  options.openings_max = 3;
  start(files(), options);
  client a(port), b(port), c(port);
  ASSERT_TRUE(n->until([&] { return n->server->count() == 3; }));
  client d(port);
  ASSERT_TRUE(n->until([&] { return d.closed(); }));
  EXPECT_EQ(rejected(core::rejection::limit), 1u);
  a.reset();
  ASSERT_TRUE(n->until([&] { return n->server->count() == 2; }));
  tls_client e(port, trusting());
  EXPECT_TRUE(shake(e));
}

TEST_F(tls_door, a_message_in_clear_is_told_that_tls_is_required) {
  start(files());
  client c(port);
  c.send(call("1"));
  ASSERT_TRUE(n->until([&] { return c.closed(); }));
  ASSERT_EQ(c.lines().size(), 1u);
  EXPECT_THAT(c.lines()[0], StartsWith(R"({"jsonrpc":"2.0","id":null,"error":{"code":2005,)"));
  EXPECT_FALSE(c.was_reset());
  EXPECT_EQ(failures(core::tls_failure::not_tls), 1u);
  EXPECT_TRUE(n->gateway.requests.empty());
}

TEST_F(tls_door, anything_else_in_clear_is_a_parse_error) {
  start(files());
  client c(port);
  c.send("GET / HTTP/1.1\r\n\r\n");
  ASSERT_TRUE(n->until([&] { return c.closed(); }));
  ASSERT_EQ(c.lines().size(), 1u);
  EXPECT_THAT(c.lines()[0], HasSubstr(R"("id":null,"error":{"code":-32700,)"));
}

TEST_F(tls_door, broken_records_end_the_connection_alone) {
  start(files());
  tls_client good(port, trusting()), bad(port, trusting());
  ASSERT_TRUE(shake(good));
  ASSERT_TRUE(shake(bad));
  bad.socket().send(std::string_view("\x17\x03\x03\x00\x20", 5));
  bad.socket().send(std::string(32, 'x'));
  ASSERT_TRUE(n->until([&] { return bad.closed(); }));
  good.send(call("1"));
  EXPECT_TRUE(until_received(good, done("1")));
}

TEST_F(tls_door, what_the_peer_offers_is_known_by_its_fingerprints) {
  start(files());
  auto wishes = trusting();
  wishes.server_name = "localhost";
  wishes.alpn = std::string("\x0eportcullis-rpc", 15);
  tls_client c(port, wishes);
  ASSERT_TRUE(shake(c));
  ASSERT_TRUE(n->until([&] { return !n->gateway.greeted.empty(); }));
  const auto row = n->server->list(0, 1).at(0);
  EXPECT_THAT(row.ja4, StartsWith("t13d"));
  EXPECT_EQ(row.ja4.substr(8, 2), "pc") << "first and last letter of what it wants to speak";
  EXPECT_EQ(row.ja4.size(), 36u);
  EXPECT_EQ(row.ja3.size(), 32u);
  const unsigned char* chosen = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(c.ssl(), &chosen, &size);
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(chosen), size), "portcullis-rpc");
}

TEST_F(tls_door, a_bound_context_is_the_connections_own) {
  auto options = quick();
  options.bind_to_connection = options.message.context_ip_optional = true;
  start(files(), options);
  n->gateway.keep_blocks = true;
  core::context seen;
  std::string ja4;
  n->gateway.on_request = [&](const core::request& request) {
    seen = std::get<core::validate_session>(request.params).context;
    ja4 = seen.fields[static_cast<std::size_t>(core::context_field::ja4)];
  };
  tls_client c(port, trusting());
  ASSERT_TRUE(shake(c));
  c.send(call("1", "session.validate",
              R"({"session_id":")" + std::string(64, 'a') +
                  R"(","context":{"ip":"203.0.113.9","user_agent":"me","ja4":"forged"}})"));
  ASSERT_TRUE(until_received(c, "\"id\":1"));
  EXPECT_EQ(core::to_text(seen.ip), "127.0.0.1");
  EXPECT_EQ(ja4, n->server->list(0, 1).at(0).ja4);
  c.send(call("2", "session.validate",
              R"({"session_id":")" + std::string(64, 'a') + R"(","context":{}})"));
  EXPECT_TRUE(until_received(c, done("2"))) << "an address need not be told";
  client plain(n->port);
  plain.send(call("3", "session.validate",
                  R"({"session_id":")" + std::string(64, 'a') +
                      R"(","context":{"ip":"203.0.113.9","ja4":"forged"}})"));
  ASSERT_TRUE(n->until_lines(plain, 1));
  EXPECT_EQ(core::to_text(seen.ip), "127.0.0.1");
  EXPECT_EQ(ja4, "") << "no TLS, no fingerprint";
}

TEST_F(tls_door, sessions_are_resumed_by_tickets_until_the_rules_for_clients_change) {
  start(mutual(core::client_certificates::required));
  const auto wishes = as(*ours, "web", TLS1_2_VERSION);
  tls_client first(port, wishes);
  ASSERT_TRUE(shake(first)) << first.reason();
  auto* session = SSL_get1_session(first.ssl());
  first.goodbye();  // else OpenSSL takes the session for a bad one
  auto again = wishes;
  again.resume = session;
  {
    tls_client second(port, again);
    ASSERT_TRUE(shake(second));
    EXPECT_EQ(SSL_session_reused(second.ssl()), 1);
    ASSERT_TRUE(n->until([&] { return n->gateway.greeted.size() == 2; }));
    EXPECT_THAT(n->gateway.last_names, ElementsAre("URI:spiffe://test/web", "DNS:web.test"))
        << "the certificate is in the ticket";
    second.goodbye();
  }
  EXPECT_EQ(tls().handshakes[0][1], 1u);
  load(mutual(core::client_certificates::required));  // the same files: tickets stay good
  {
    tls_client third(port, again);
    ASSERT_TRUE(shake(third));
    EXPECT_EQ(SSL_session_reused(third.ssl()), 1);
    third.goodbye();
  }
  ours->revoke({web_serial});
  auto listed = mutual(core::client_certificates::required);
  listed.crl_file = ours->path("crl.pem");
  load(listed);
  tls_client fourth(port, again);
  EXPECT_FALSE(shake(fourth)) << "a revoked certificate comes in by no ticket";
  EXPECT_EQ(failures(core::tls_failure::certificate_refused), 1u);
  SSL_SESSION_free(session);
}

TEST_F(tls_door, a_reload_changes_what_new_connections_see_and_no_old_one) {
  start(files());
  tls_client before(port, trusting());
  ASSERT_TRUE(shake(before));
  theirs->sign("server", "DNS:localhost");
  tls_options next;
  next.certificate_file = theirs->path("server.pem");
  next.key_file = theirs->path("server-key.pem");
  load(next);
  tls_client after(port, trusting());
  EXPECT_FALSE(shake(after)) << "signed by whom this client does not trust";
  ASSERT_TRUE(n->until([&] { return failures(core::tls_failure::refused_by_peer) == 1; }));
  tls_client trusts(port, {.ca = theirs->ca()});
  EXPECT_TRUE(shake(trusts));
  before.send(call("1"));
  EXPECT_TRUE(until_received(before, done("1")));
}

TEST_F(tls_door, only_certificates_of_the_authority_come_in_where_they_must) {
  start(mutual(core::client_certificates::required));
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    tls_client good(port, as(*ours, "web", version));
    ASSERT_TRUE(shake(good)) << good.reason();
    good.send(call("1"));
    ASSERT_TRUE(until_received(good, done("1")));
    EXPECT_THAT(n->gateway.last_names, ElementsAre("URI:spiffe://test/web", "DNS:web.test"));
    const auto refused = [&](const tls_wishes& wishes) {
      tls_client c(port, wishes);
      (void)shake(c);  // TLS 1.3: its own handshake is over before the server looks
      return n->until([&] {
        c.receive();
        return c.closed();
      });
    };
    auto none = trusting();
    none.version = version;
    EXPECT_TRUE(refused(none));
    EXPECT_TRUE(refused(as(*theirs, "web", version)));
    EXPECT_TRUE(refused(as(*ours, "old", version)));
  }
  EXPECT_EQ(failures(core::tls_failure::certificate_missing), 2u);
  EXPECT_EQ(failures(core::tls_failure::certificate_refused), 4u);
  EXPECT_EQ(n->gateway.greeted.size(), 2u);
}

TEST_F(tls_door, a_revocation_list_that_is_out_of_date_lets_nobody_in) {
  auto options = mutual(core::client_certificates::optional);
  ours->revoke({}, -1);
  options.crl_file = ours->path("crl.pem");
  start(options);
  tls_client c(port, as(*ours, "web", TLS1_2_VERSION));
  EXPECT_FALSE(shake(c));
  tls_client without(port, trusting());
  EXPECT_TRUE(shake(without)) << "a certificate is optional here";
  EXPECT_TRUE(n->gateway.last_names.empty());
}

TEST_F(tls_door, a_certificate_that_names_nobody_is_told_so) {
  start(mutual(core::client_certificates::required));
  n->gateway.greeting = core::fail(core::error_code::CERTIFICATE_REJECTED);
  tls_client c(port, as(*ours, "other"));
  ASSERT_TRUE(shake(c));
  ASSERT_TRUE(n->until([&] {
    c.receive();
    return c.closed();
  }));
  EXPECT_THAT(c.receive(), HasSubstr(R"("id":null,"error":{"code":2006,)"));
  EXPECT_EQ(rejected(core::rejection::certificate), 1u);
}

TEST_F(tls_door, files_that_are_none_are_named) {
  const auto why_not = [&](tls_options options) {
    std::string why;
    const auto made = tls_context::make(options, contexts.tickets(), why);
    EXPECT_FALSE(made);
    return why;
  };
  auto options = files();
  options.certificate_file = "/nowhere/server.pem";
  EXPECT_EQ(why_not(options),
            "tls.certificate_file /nowhere/server.pem: No such file or directory");
  options = files();
  options.key_file = ours->path("web-key.pem");
  EXPECT_THAT(why_not(options), HasSubstr("is not the key of tls.certificate_file"));
  options.key_file = ours->path("web.pem");
  EXPECT_THAT(why_not(options), StartsWith("tls.key_file "));
  options = mutual(core::client_certificates::required);
  options.client_ca_file = ours->path("server-key.pem");
  EXPECT_THAT(why_not(options), StartsWith("tls.client_ca_file "));
  options = mutual(core::client_certificates::required);
  options.crl_file = ours->ca();
  EXPECT_THAT(why_not(options), StartsWith("tls.crl_file "));
  options = files();
  options.private_key_file = true;
  std::filesystem::permissions(options.key_file, std::filesystem::perms::others_read,
                               std::filesystem::perm_options::add);
  EXPECT_THAT(why_not(options), HasSubstr("chmod 600"));
  std::filesystem::permissions(options.key_file, std::filesystem::perms::others_read,
                               std::filesystem::perm_options::remove);
}

TEST_F(tls_door, a_proxy_header_comes_before_tls) {
  load(files());
  n.emplace();
  listener_rules rules;
  rules.opening.tls = &contexts;
  rules.opening.proxy = true;
  rules.opening.proxy_sources.add(*core::address_set::parse_one("127.0.0.0/8"));
  auto opened = n->server->listen(any_port(), core::listener::rpc_tls, false, std::move(rules));
  ASSERT_TRUE(opened);
  tls_client c(*opened, trusting());
  c.socket().send("PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n");
  ASSERT_TRUE(shake(c));
  c.send(call("1"));
  ASSERT_TRUE(until_received(c, done("1")));
  EXPECT_EQ(n->gateway.last_peer.address, "198.51.100.7");
  EXPECT_FALSE(n->gateway.last_peer.loopback);
}

TEST_F(tls_door, behind_a_proxy_a_source_over_its_cap_costs_no_handshake) {
  load(files());
  auto options = quick();
  options.sources = std::make_shared<source_counts>(1);
  std::vector<refusal> told;
  options.on_refused = [&](const refusal& what) { told.push_back(what); };
  n.emplace(options);
  listener_rules rules;
  rules.opening.tls = &contexts;
  rules.opening.proxy = true;
  rules.opening.proxy_sources.add(*core::address_set::parse_one("127.0.0.0/8"));
  auto opened = n->server->listen(any_port(), core::listener::rpc_tls, false, std::move(rules));
  ASSERT_TRUE(opened);
  const std::string header = "PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n";
  tls_client first(*opened, trusting());
  first.socket().send(header);
  ASSERT_TRUE(shake(first));
  client second(*opened);
  second.send(header);  // and no word of TLS
  EXPECT_TRUE(n->until([&] { return second.closed(); }));
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].why, core::rejection::source_limit);
  EXPECT_EQ(told[0].at, core::listener::rpc_tls);
  EXPECT_EQ(core::to_text(told[0].from), "198.51.100.7");
  EXPECT_FALSE(told[0].how);
}

}  // namespace
}  // namespace portcullis::net

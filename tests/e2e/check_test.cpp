// `portcullis check` as a monitoring system calls it: each exit status is made for real.
#include "breakers.hpp"
#include "tcp_proxy.hpp"
#include "tls_node.hpp"

namespace portcullis::e2e {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;
using testing::StartsWith;

// A busy machine is no fault of the node's.
const std::string patient = " --warn ping_ms=none --crit ping_ms=none ";

ran check(std::uint16_t port, const std::string& more = "") {
  return run(tested_binary() + " check --http 127.0.0.1:" + std::to_string(port) + patient + more);
}

/// The monitoring system reads this.
std::string first_line(const ran& of) { return of.out.substr(0, of.out.find('\n')); }

TEST(check, is_ok_with_a_healthy_node_and_prints_figures) {
  server node;
  const auto told = check(node.http_port);
  EXPECT_EQ(told.status, 0) << told.out;
  EXPECT_THAT(first_line(told), StartsWith("PORTCULLIS OK - ready, ping "));
  // 'label'=value[UOM];[warn];[crit];[min];[max] (Monitoring Plugins' guidelines).
  const auto bar = first_line(told).find(" | ");
  ASSERT_NE(bar, std::string::npos);
  EXPECT_THAT(
      first_line(told).substr(bar + 3),
      MatchesRegex("([a-z_]+=-?[0-9.e+-]+(ms|s|%|MB|c)?;[0-9.]*:?;[0-9.]*:?(;0;100)?( |$))+"));
  EXPECT_THAT(told.out, AllOf(HasSubstr("[OK] ready: ready\n"), HasSubstr("[OK] store_degraded: "),
                              Not(HasSubstr("certificate_days")), Not(HasSubstr("staleness"))));
}

TEST(check, warns_of_an_open_breaker_unless_it_is_told_not_to) {
  server node;
  auto client = node.connect();
  breaker(client, "mail").trip();
  const auto told = check(node.http_port);
  EXPECT_EQ(told.status, 1) << told.out;
  EXPECT_THAT(first_line(told), StartsWith("PORTCULLIS WARNING - 1 breaker is open: mail/default"));
  const auto forgiven = check(node.http_port, "--critical-only");
  EXPECT_EQ(forgiven.status, 0);
  EXPECT_THAT(first_line(forgiven), StartsWith("PORTCULLIS OK - 1 breaker is open"));
  EXPECT_EQ(check(node.http_port, "--warn breakers_open=none").status, 0);
  EXPECT_EQ(check(node.http_port, "--warn breakers_open=1").status, 0);
  EXPECT_EQ(check(node.http_port, "--only ready,store_degraded").status, 0);
  EXPECT_EQ(check(node.http_port, "--crit breakers_open=0").status, 2);
  EXPECT_EQ(check(node.http_port, "--crit breakers_open=0 --critical-only").status, 2);
}

TEST(check, counts_locked_users_against_the_limits_given) {
  server node;
  auto client = node.connect();
  const auto id = create(client, "ada")["session_id"];
  for (int i = 0; i < 10; ++i) validate(client, id, context("198.51.100.7"));
  EXPECT_EQ(check(node.http_port).status, 0) << "no limit of its own";
  EXPECT_EQ(check(node.http_port, "--warn lockouts_active=0 --crit lockouts_active=1").status, 1);
  EXPECT_EQ(check(node.http_port, "--crit lockouts_active=0").status, 2);
}

TEST(check, is_critical_while_the_store_is_degraded) {
  server node({.own_disk = true});
  auto client = node.connect();
  node.disk("full");
  EXPECT_EQ(client.error("session.create",
                         {{"tenant_id", "acme"}, {"user_id", "ada"}, {"context", context()}}),
            "STORE_FULL");
  const auto told = check(node.http_port);
  EXPECT_EQ(told.status, 2);
  EXPECT_THAT(first_line(told), StartsWith("PORTCULLIS CRITICAL - "));
  EXPECT_THAT(told.out, AllOf(HasSubstr("[CRITICAL] store_degraded"), HasSubstr("STORE_FULL")));
  node.disk("");
  EXPECT_TRUE(
      eventually([&] { return check(node.http_port, "--warn breakers_open=none").status == 0; }));
}

TEST(check, is_critical_when_the_node_is_not_reached_or_does_not_answer) {
  server node;
  tcp_proxy door(node.http_port);
  EXPECT_EQ(check(door.port).status, 0);
  door.freeze(tcp_proxy::which::all);
  const auto silent = check(door.port, "--timeout 0.2");
  EXPECT_EQ(silent.status, 2);
  EXPECT_THAT(first_line(silent), HasSubstr("no answer in time"));
  ASSERT_EQ(node.terminate(), 0);
  const auto gone = check(node.http_port);
  EXPECT_EQ(gone.status, 2);
  EXPECT_THAT(first_line(gone), AllOf(StartsWith("PORTCULLIS CRITICAL - "),
                                      HasSubstr("is not reached: Connection refused")));
}

TEST(check, is_unknown_when_it_may_not_look) {
  const auto eye = make_token("eye");
  server node({.set = {"server.environment=development", "listen.http.auth=token"},
               .config = token_toml(eye, "eye", "observer"),
               .open = false});
  const auto refused = check(node.http_port);
  EXPECT_EQ(refused.status, 3);
  EXPECT_THAT(first_line(refused),
              AllOf(StartsWith("PORTCULLIS UNKNOWN - "), HasSubstr("AUTH_REQUIRED")));
  const auto seen = check(node.http_port, "--token-file " + node.folder().write("eye", eye.text));
  EXPECT_EQ(seen.status, 0) << seen.out;
}

TEST(check, is_unknown_when_it_is_called_wrongly_and_says_so_on_standard_output) {
  for (const auto* bad :
       {"--no-such-option", "--warn nonsense=1", "--crit ping_ms=fast", "--warn=", "--only ''",
        "--only nonsense", "--token-file /nowhere", "--timeout 0", "--scraped-within soon", "more",
        "--ca x", "--http nonsense", "--address nonsense"}) {
    const auto told = run(tested_binary() + " check " + bad + " 2>/dev/null");
    EXPECT_EQ(told.status, 3) << bad;
    EXPECT_THAT(told.out, StartsWith("PORTCULLIS UNKNOWN - ")) << bad;
  }
  EXPECT_EQ(run(tested_binary() + " check --help").status, 0);
  server node;
  EXPECT_EQ(check(node.http_port, ">/dev/full").status, 3) << "a line that did not arrive";
}

TEST(check, warns_when_the_last_reload_failed_until_one_succeeds) {
  const std::string good = "[lockout]\nthreshold = 10\n";
  server node({.config = good});
  EXPECT_EQ(check(node.http_port).status, 0);
  node.configure("[lockout]\nthreshold = 0\n");
  node.signal(SIGHUP);
  EXPECT_TRUE(eventually([&] { return check(node.http_port).status == 1; }));
  EXPECT_THAT(check(node.http_port).out,
              HasSubstr("[WARNING] reload_failed: the last reload of the configuration failed"));
  node.configure(good);
  node.signal(SIGHUP);
  EXPECT_TRUE(eventually([&] { return check(node.http_port).status == 0; }));
}

TEST(check, tells_when_nobody_asked_for_metrics_before_it) {
  server node;
  const auto never = check(node.http_port, "--scraped-within 3600");
  EXPECT_EQ(never.status, 1);
  EXPECT_THAT(never.out, HasSubstr("[WARNING] scrape_age_s: /metrics was never asked for before"));
  EXPECT_THAT(first_line(never), Not(HasSubstr("scrape_age_s="))) << "a figure that is none";
  EXPECT_EQ(check(node.http_port, "--scraped-within 3600").status, 0) << "the check before asked";
}

TEST(check, is_unknown_when_nothing_of_what_it_is_asked_for_is_there) {
  server node;
  const auto told = check(node.http_port, "--only certificate_days");
  EXPECT_EQ(told.status, 3) << "green for ever at the wrong door";
  EXPECT_THAT(first_line(told), StartsWith("PORTCULLIS UNKNOWN - "));
}

TEST(check, sends_its_ping_where_it_is_told_to) {
  server node;
  const auto rpc = "--address 127.0.0.1:" + std::to_string(node.rpc_port);
  EXPECT_EQ(check(node.http_port, rpc).status, 0);
  EXPECT_THAT(node.metric("portcullis_connections_total{listener=\"rpc\"}"), 1);
  const auto other = check(node.http_port, "--address 127.0.0.1:1");
  EXPECT_EQ(other.status, 2);
  EXPECT_THAT(first_line(other), HasSubstr("127.0.0.1:1 is not reached"));
}

TEST(check, knows_when_the_certificate_ends_over_https) {
  const dev_certificates certificates;
  server node({.set = {"server.environment=development", "listen.https.address=127.0.0.1:0"},
               .config = tls_toml(certificates, "optional", certificate_toml("admin", "admin")),
               .open = false});
  const auto log = node.log();
  const std::string before = "\"https\":\"127.0.0.1:";
  const auto at = log.find(before);
  ASSERT_NE(at, std::string::npos) << log;
  const auto port =
      log.substr(at + before.size(), log.find('"', at + before.size()) - at - before.size());
  const auto ask = [&](const std::string& more) {
    return run(tested_binary() + " check --http https://localhost:" + port + " --ca " +
               certificates.file("ca.pem") + patient + more);
  };
  const auto good = ask("");
  EXPECT_EQ(good.status, 0) << good.out;
  EXPECT_THAT(good.out, AllOf(HasSubstr("[OK] certificate_days: the certificate ends in 29d"),
                              HasSubstr("certificate_days=29."), HasSubstr("[OK] crl_days: ")));
  EXPECT_EQ(ask("--warn certificate_days=31").status, 1);
  EXPECT_EQ(ask("--crit certificate_days=31").status, 2);
  EXPECT_EQ(run(tested_binary() + " check --http https://localhost:" + port).status, 2)
      << "an authority that nobody trusts";
}

}  // namespace
}  // namespace portcullis::e2e

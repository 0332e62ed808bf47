#include "core/config/checks.hpp"

#include "entries.hpp"

namespace portcullis::core {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::vector<config_entry> production_entries() {
  return {given("auth.token.0.name", "web"), given("auth.token.0.role", "app"),
          given("auth.token.0.sha256", a_sha256.c_str()),
          given("crypto.keys_file", "/etc/portcullis/keys"),
          given("server.data_dir", "/var/lib/portcullis")};
}

parsed_config in_production(std::vector<config_entry> extra) {
  auto entries = production_entries();
  for (auto& entry : extra) entries.push_back(std::move(entry));
  return parse_config(entries, {.working_dir = "/srv", .source = "p.toml"});
}

TEST(config_checks, touches_are_at_most_half_of_the_idle_time_apart) {
  EXPECT_THAT(
      texts(parse({given("session.idle_ttl_s", 100), given("session.touch_granularity_s", 51)})
                .problems),
      ElementsAre(
          "a.toml:1: session.touch_granularity_s: must be at most half of idle_ttl_s (50)"));
  EXPECT_THAT(
      parse({given("session.idle_ttl_s", 100), given("session.touch_granularity_s", 50)}).problems,
      IsEmpty());
}

TEST(config_checks, a_tenants_policy_is_checked_as_a_whole) {
  EXPECT_THAT(
      texts(parse({given("session.absolute_ttl_s", 1000),
                   given("tenant.acme.session.idle_ttl_s", 1001)})
                .problems),
      ElementsAre(
          "defaults: tenant.acme.session.absolute_ttl_s: must be at least idle_ttl_s (1001)"));
}

TEST(config_checks, a_field_is_in_one_list_only) {
  const config_value agent = std::vector<std::string>{"user_agent"};
  EXPECT_THAT(texts(parse({given("session.observe_fields", agent)}).problems),
              ElementsAre(HasSubstr("session.observe_fields: \"user_agent\" may be in one of")));
  EXPECT_THAT(texts(parse({given("session.challenge_fields", agent)}).problems),
              ElementsAre(HasSubstr("session.challenge_fields: \"user_agent\"")));
}

TEST(config_checks, a_whole_production_configuration_has_no_problem) {
  EXPECT_THAT(texts(in_production({}).problems), IsEmpty());
}

TEST(config_checks, production_without_anything_says_what_to_configure) {
  EXPECT_THAT(texts(parse_config({}).problems),
              ElementsAre(HasSubstr("portcullis token new"), HasSubstr("portcullis keys new")));
}

TEST(config_checks, no_login_is_refused_in_production_and_off_loopback) {
  EXPECT_THAT(texts(in_production({given("auth.mode", "none")}).problems),
              ElementsAre(HasSubstr(
                  "auth.mode: \"none\" is refused with server.environment = \"production\"")));
  EXPECT_THAT(parse({given("auth.mode", "none")}).problems, IsEmpty());
  EXPECT_THAT(texts(parse({given("auth.mode", "none"), given("listen.rpc.address", "0.0.0.0:7420")})
                        .problems),
              ElementsAre(HasSubstr("only where listen.rpc.address is loopback")));
  // POST /rpc makes an admin of whoever reaches it, too.
  EXPECT_THAT(
      texts(parse({given("auth.mode", "none"), given("listen.http.address", "0.0.0.0:7480")})
                .problems),
      ElementsAre(HasSubstr("only where listen.http.address is loopback")));
  EXPECT_THAT(
      parse({given("auth.mode", "none"), given("listen.rpc.address", "[::1]:7420")}).problems,
      IsEmpty());
}

TEST(config_checks, keys_inside_the_data_folder_are_refused_in_production) {
  for (const auto* inside : {"/var/lib/portcullis/keys", "/var/lib/portcullis/a/../b/keys",
                             "../var/lib/portcullis/keys"})
    EXPECT_THAT(texts(in_production({given("crypto.keys_file", inside)}).problems),
                ElementsAre(HasSubstr("crypto.keys_file: must not be inside server.data_dir")))
        << inside;
  for (const auto* outside : {"/var/lib/portcullis-keys", "keys", "/var/lib/portcullis/../keys"})
    EXPECT_THAT(texts(in_production({given("crypto.keys_file", outside)}).problems), IsEmpty())
        << outside;
  EXPECT_THAT(in_production({given("server.data_dir", "/var/lib/portcullis/"),
                             given("crypto.keys_file", "/var/lib/portcullis/keys")})
                  .problems,
              testing::SizeIs(1));
}

TEST(config_checks, where_the_log_goes_is_said_once_and_whole) {
  EXPECT_THAT(texts(parse({given("log.output", "file")}).problems),
              ElementsAre("a.toml:1: log.output: \"file\" needs log.file: which one"));
  EXPECT_THAT(texts(parse({given("log.file", "/var/log/p.log")}).problems),
              ElementsAre("a.toml:1: log.file: does nothing without log.output = \"file\""));
  EXPECT_THAT(
      texts(parse({given("log.output", "journald"), given("log.file", "/var/log/p.log")}).problems),
      ElementsAre(HasSubstr("log.file: does nothing without log.output = \"file\"")));
  EXPECT_THAT(texts(parse({given("log.output", "file"), given("log.file", "/var/log/")}).problems),
              ElementsAre(HasSubstr("log.file: must be the path of a file")));
  EXPECT_THAT(texts(parse({given("log.output", "journald"), given("log.format", "text")}).problems),
              ElementsAre(HasSubstr("log.format: \"text\" is not possible with log.output = "
                                    "\"journald\"")));
  EXPECT_THAT(texts(parse({given("log.journald_socket", "/host/journal")}).problems),
              ElementsAre(HasSubstr("log.journald_socket: does nothing without log.output = ")));
  EXPECT_THAT(
      texts(parse({given("log.output", "journald"), given("log.journald_socket", "j")}).problems),
      ElementsAre(HasSubstr("log.journald_socket: must be an absolute path")));
  EXPECT_THAT(texts(parse({given("log.output", "syslog")}).problems),
              ElementsAre(HasSubstr("log.output: must be one of \"stderr\", \"journald\", ")));
  EXPECT_THAT(texts(parse({given("log.output", "journald"), given("log.format", "json")}).problems),
              IsEmpty());
  EXPECT_THAT(texts(parse({given("log.output", "file"), given("log.file", "p.log"),
                           given("log.format", "text")})
                        .problems),
              IsEmpty());
}

TEST(config_checks, a_store_that_nodes_share_is_told_all_that_it_needs) {
  EXPECT_THAT(texts(parse({given("store.mode", "redis")}).problems),
              ElementsAre(HasSubstr("store.redis.url"), HasSubstr("crypto.keys_file")));
  const auto with = [](std::vector<config_entry> more) {
    more.push_back(given("store.mode", "redis"));
    more.push_back(given("store.redis.url", "redis://127.0.0.1"));
    more.push_back(given("crypto.keys_file", "/etc/keys"));
    return parse(std::move(more));
  };
  const auto good = with({});
  EXPECT_THAT(texts(good.problems), testing::IsEmpty());
  EXPECT_EQ(good.value.store.event_retention_h, 168) << "a log in memory is bounded";
  EXPECT_THAT(texts(with({given("store.redis.master_name", "main")}).problems),
              ElementsAre(HasSubstr("store.redis.master_name")));
}

TEST(config_checks, mutual_tls_is_told_all_that_it_needs) {
  EXPECT_THAT(texts(parse({given("auth.mode", "mtls")}).problems),
              ElementsAre(HasSubstr("needs listen.rpc_tls.address"),
                          HasSubstr("needs tls.client_certificates = \"required\""),
                          HasSubstr("needs an [[auth.certificate]]")));
  std::vector<config_entry> whole = {given("auth.mode", "mtls"),
                                     given("listen.rpc_tls.address", "0.0.0.0:7421"),
                                     given("tls.certificate_file", "/s.pem"),
                                     given("tls.key_file", "/s-key.pem"),
                                     given("tls.client_ca_file", "/ca.pem"),
                                     given("tls.client_certificates", "required"),
                                     given("auth.certificate.0.name", "web"),
                                     given("auth.certificate.0.role", "app"),
                                     given("auth.certificate.0.san", "URI:spiffe://a/web")};
  EXPECT_THAT(texts(parse(whole).problems), IsEmpty());
  auto twice = whole;
  twice.push_back(given("auth.certificate.1.name", "web"));
  twice.push_back(given("auth.certificate.1.role", "app"));
  twice.push_back(given("auth.certificate.1.san", "URI:spiffe://a/web"));
  EXPECT_THAT(texts(parse(twice).problems),
              ElementsAre(HasSubstr("two callers have the name \"web\""),
                          HasSubstr("has the san of another")));
}

TEST(config_checks, tls_listeners_need_a_certificate_and_proxied_ones_somebody_to_believe) {
  EXPECT_THAT(texts(parse({given("listen.https.address", "127.0.0.1:7443")}).problems),
              ElementsAre(HasSubstr("needs tls.certificate_file and tls.key_file")));
  EXPECT_THAT(texts(parse({given("listen.http.proxy_protocol", config_value{true})}).problems),
              ElementsAre(HasSubstr("needs listen.proxy_sources")));
  EXPECT_THAT(
      texts(parse({given("listen.rpc_tls.address", "127.0.0.1:7480"),
                   given("tls.certificate_file", "/s.pem"), given("tls.key_file", "/k.pem")})
                .problems),
      ElementsAre(HasSubstr("listen.http.address: must differ from listen.rpc_tls.address")));
}

TEST(config_checks, addresses_origins_and_names_have_their_forms) {
  const auto problem = [](const char* key, const char* value) {
    return texts(parse({given(key, config_value{std::vector<std::string>{value}})}).problems);
  };
  EXPECT_THAT(problem("authz.trusted_proxies", "10.0.0.0/8"), IsEmpty());
  EXPECT_THAT(problem("authz.trusted_proxies", "10.0.0.1/8"), SizeIs(1)) << "most likely a slip";
  EXPECT_THAT(problem("authz.trusted_proxies", "proxy.internal"), SizeIs(1));
  EXPECT_THAT(problem("listen.http.origins", "https://console.example:8443"), IsEmpty());
  EXPECT_THAT(problem("listen.http.origins", "https://console.example/"), SizeIs(1));
  EXPECT_THAT(problem("listen.http.origins", "*"), SizeIs(1));
  EXPECT_THAT(problem("listen.http.hosts", "portcullis.internal"), IsEmpty());
  EXPECT_THAT(problem("listen.http.hosts", "portcullis.internal:7480"), SizeIs(1));
}

TEST(config_checks, tokens_have_names_and_hashes_of_their_own) {
  const auto twice = [](const char* name, const std::string& hash) {
    return texts(
        in_production({given("auth.token.1.name", name), given("auth.token.1.role", "admin"),
                       given("auth.token.1.sha256", hash.c_str())})
            .problems);
  };
  EXPECT_THAT(twice("web", std::string(64, 'b')),
              ElementsAre(HasSubstr("two tokens have the name \"web\"")));
  EXPECT_THAT(twice("ops", a_sha256), ElementsAre(HasSubstr("has the sha256 of another")));
  EXPECT_THAT(twice("ops", std::string(64, 'b')), IsEmpty());
}

TEST(config_checks, a_tokens_tenants_are_ones_that_requests_can_name) {
  const auto limited_to = [](const std::string& tenant) {
    return texts(in_production({given("auth.token.0.tenants",
                                      config_value{std::vector<std::string>{tenant}})})
                     .problems);
  };
  EXPECT_THAT(limited_to("a b"), IsEmpty());
  EXPECT_THAT(limited_to("a\xe2\x80\xae"), ElementsAre(HasSubstr("a tenant of \"web\" must be")));
}

TEST(config_checks, bounds_that_relate_are_compared) {
  EXPECT_THAT(
      texts(parse({given("limits.value_bytes", 2048), given("limits.data_bytes", 2048)}).problems),
      ElementsAre(HasSubstr("must be less than limits.value_bytes (2048)")));
  EXPECT_THAT(
      texts(parse({given("lockout.scope", "user_source"), given("lockout.user_threshold", 9)})
                .problems),
      ElementsAre(HasSubstr("must be at least lockout.threshold (10)")));
  EXPECT_THAT(
      texts(parse({given("lockout.window_s", 5), given("lockout.repeat_collapse_s", 6)}).problems),
      ElementsAre(HasSubstr("must be at most lockout.window_s (5)")));
  EXPECT_THAT(texts(parse({given("listen.http.address", "localhost:7420")}).problems),
              ElementsAre(HasSubstr("must differ from listen.rpc.address")));
}

TEST(config_paths, keys_lie_beside_the_data_unless_configured) {
  EXPECT_EQ(parse({}).value.keys_path(), "./data/portcullis.keys");
  EXPECT_EQ(parse({given("server.data_dir", "d/")}).value.keys_path(), "d/portcullis.keys");
  EXPECT_EQ(parse({given("crypto.keys_file", "/k")}).value.keys_path(), "/k");
}

TEST(config_loops, few_cores_have_one_loop) {
  EXPECT_EQ(config{}.loop_count(2), 1U);
  EXPECT_EQ(config{}.loop_count(4), 1U);
  EXPECT_EQ(config{}.loop_count(8), 4U);
  EXPECT_EQ(config{}.loop_count(64), 16U);
  EXPECT_EQ(parse({given("server.loops", 3)}).value.loop_count(64), 3U);
}

TEST(config_loops, are_at_most_what_a_connections_id_can_name) {
  EXPECT_THAT(parse({given("server.loops", 16)}).problems, IsEmpty());
  EXPECT_THAT(texts(parse({given("server.loops", 17)}).problems),
              ElementsAre(HasSubstr("server.loops: must be an integer from 0 to 16")));
}

TEST(config_limits, nesting_is_at_most_what_the_scanner_can_follow) {
  EXPECT_THAT(parse({given("limits.depth", 64)}).problems, IsEmpty());
  EXPECT_THAT(texts(parse({given("limits.depth", 65)}).problems),
              ElementsAre(HasSubstr("limits.depth: must be an integer from 4 to 64")));
}

}  // namespace
}  // namespace portcullis::core

#include "core/config/checks.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "core/config/names.hpp"
#include "core/contract/texts.hpp"

namespace portcullis::core {
namespace {

class checker {
 public:
  checker(parsed_config& parsed, const parse_options& options)
      : parsed_(parsed), options_(options) {}

  void run() {
    policy({"session"}, value().session);
    for (const auto& [name, own] : value().tenants) policy({"tenant", name, "session"}, own);
    breaker({"breaker"}, value().breakers.fallback);
    for (const auto& [pattern, own] : value().breakers.patterns) breaker({"breaker", pattern}, own);
    lockout();
    bounds();
    listeners();
    tls();
    tokens();
    certificates();
    store();
    keys();
    log();
  }

 private:
  [[nodiscard]] const config& value() const { return parsed_.value; }
  [[nodiscard]] bool production() const {
    return value().server.environment == environment::production;
  }

  void report(const std::string& key, std::string message) {
    const auto found = parsed_.origins.find(key);
    parsed_.problems.push_back({found == parsed_.origins.end() ? options_.source : found->second,
                                key, std::move(message)});
  }

  void policy(std::vector<std::string> prefix, const session_policy& own) {
    const auto key = [&](const char* last) {
      auto path = prefix;
      path.emplace_back(last);
      return dotted(path);
    };
    if (own.touch_granularity_s > own.idle_ttl_s / 2)
      report(key("touch_granularity_s"),
             fmt::format("must be at most half of idle_ttl_s ({})", own.idle_ttl_s / 2));
    if (own.absolute_ttl_s < own.idle_ttl_s)
      report(key("absolute_ttl_s"),
             fmt::format("must be at least idle_ttl_s ({})", own.idle_ttl_s));
    const field_set twice = static_cast<field_set>(
        (own.enforced & own.observed) | ((own.enforced | own.observed) & own.challenged));
    for (std::size_t i = 0; i < context_field_count; ++i) {
      const auto field = bit(static_cast<context_field>(i));
      if ((twice & field) == 0) continue;
      report(key((own.challenged & field) != 0 ? "challenge_fields" : "observe_fields"),
             fmt::format(
                 "\"{}\" may be in one of fingerprint_fields, observe_fields and challenge_fields",
                 context_field_names[i]));
    }
  }

  void breaker(const std::vector<std::string>& prefix, const breaker_policy& own) {
    const auto key = [&](const char* last) {
      auto path = prefix;
      path.emplace_back(last);
      return dotted(path);
    };
    const auto buckets_max = own.window_s * 1000 / limits::breaker_bucket_ms_min;
    if (own.window_buckets > buckets_max)
      report(key("window_buckets"),
             fmt::format("must be at most {}: {} ms each in a window of {} s", buckets_max,
                         limits::breaker_bucket_ms_min, own.window_s));
    if (own.open_wait_max_ms < own.open_wait_ms)
      report(key("open_wait_max_s"),
             fmt::format("must be at least open_wait_s ({})", own.open_wait_ms / 1000));
    if (own.half_open_concurrency > own.half_open_permits)
      report(key("half_open_concurrency"),
             fmt::format("must be at most half_open_permits ({})", own.half_open_permits));
  }

  void lockout() {
    const auto& own = value().lockout;
    if (own.scope == lockout_scope::user_source && own.user_threshold < own.threshold)
      report("lockout.user_threshold",
             fmt::format("must be at least lockout.threshold ({})", own.threshold));
    if (own.repeat_collapse_s > own.window_s)
      report("lockout.repeat_collapse_s",
             fmt::format("must be at most lockout.window_s ({})", own.window_s));
  }

  void bounds() {
    if (value().limits.data_bytes >= value().limits.value_bytes)
      report("limits.data_bytes",
             fmt::format("must be less than limits.value_bytes ({})", value().limits.value_bytes));
  }

  void listeners() {
    const auto& listen = value().listen;
    const std::pair<const char*, const std::string*> addresses[] = {
        {"listen.rpc.address", &listen.rpc.address},
        {"listen.rpc_tls.address", &listen.rpc_tls.address},
        {"listen.http.address", &listen.http.address},
        {"listen.https.address", &listen.https.address}};
    for (const auto* at = std::begin(addresses); at != std::end(addresses); ++at) {
      const auto here = parse_endpoint(*at->second);
      if (!here || here->port == 0) continue;
      for (const auto* other = std::begin(addresses); other != at; ++other)
        if (parse_endpoint(*other->second) == here)
          report(at->first, fmt::format("must differ from {}", other->first));
    }
    const std::pair<const char*, bool> proxied[] = {
        {"listen.rpc.proxy_protocol", listen.rpc.proxy_protocol},
        {"listen.rpc_tls.proxy_protocol", listen.rpc_tls.proxy_protocol},
        {"listen.http.proxy_protocol", listen.http.proxy_protocol},
        {"listen.https.proxy_protocol", listen.https.proxy_protocol}};
    for (const auto& [key, on] : proxied)
      if (on && listen.proxy_sources.empty())
        report(key, "needs listen.proxy_sources: whose headers are believed");
    authentication();
  }

  void authentication() {
    const auto& listen = value().listen;
    const auto rpc = parse_endpoint(listen.rpc.address);
    if (listen.http.auth == http_auth::token && value().auth.mode != auth_mode::token)
      report("listen.http.auth", "\"token\" needs auth.mode = \"token\"");
    if (value().auth.mode != auth_mode::none) return;
    constexpr auto remedy =
        "set auth.mode = \"token\" and an [[auth.token]] made by `portcullis token new`";
    if (production())
      report(
          "auth.mode",
          fmt::format("\"none\" is refused with server.environment = \"production\"; {}", remedy));
    const std::pair<const char*, std::optional<endpoint>> open[] = {
        {"listen.rpc.address", rpc},
        {"listen.rpc_tls.address", parse_endpoint(listen.rpc_tls.address)},
        {"listen.http.address", parse_endpoint(listen.http.address)},
        {"listen.https.address", parse_endpoint(listen.https.address)}};
    for (const auto& [key, where] : open)
      if (where && !where->loopback())
        report("auth.mode",
               fmt::format("\"none\" is allowed only where {} is loopback; {}", key, remedy));
  }

  void tls() {
    const auto& own = value().tls;
    const bool listens =
        !value().listen.rpc_tls.address.empty() || !value().listen.https.address.empty();
    const auto key =
        value().listen.rpc_tls.address.empty() ? "listen.https.address" : "listen.rpc_tls.address";
    if (listens && (own.certificate_file.empty() || own.key_file.empty()))
      report(key,
             "needs tls.certificate_file and tls.key_file; for development `portcullis certs dev "
             "--out DIR` makes them");
    if (own.client_certificates != client_certificates::none && own.client_ca_file.empty())
      report("tls.client_certificates", "needs tls.client_ca_file: who may sign them");
    if (!own.crl_file.empty() && own.client_ca_file.empty())
      report("tls.crl_file", "needs tls.client_ca_file: whose lists they are");
    if (!own.client_ca_file.empty() && own.client_certificates == client_certificates::none)
      report("tls.client_ca_file",
             "does nothing with tls.client_certificates = \"none\": make it \"optional\" or "
             "\"required\"");
    if (!value().auth.certificates.empty() && own.client_certificates == client_certificates::none)
      report("auth.certificate", "needs tls.client_certificates = \"optional\" or \"required\"");
    if (value().auth.mode != auth_mode::mtls) return;
    if (value().listen.rpc_tls.address.empty())
      report("auth.mode", "\"mtls\" needs listen.rpc_tls.address");
    if (own.client_certificates != client_certificates::required)
      report("auth.mode", "\"mtls\" needs tls.client_certificates = \"required\"");
    if (value().auth.certificates.empty())
      report("auth.mode", "\"mtls\" needs an [[auth.certificate]]: nobody could log in");
    if (!value().auth.tokens.empty())
      report("auth.token", "auth.mode = \"mtls\" takes no tokens; set it to \"token\" for both");
  }

  void certificates() {
    std::set<std::string> names, found;
    for (const auto& token : value().auth.tokens) names.insert(token.name);
    if (value().auth.certificates.size() > limits::tokens_max)
      report("auth.certificate", fmt::format("must be at most {}", limits::tokens_max));
    for (const auto& each : value().auth.certificates) {
      if (!each.name.empty() && !names.insert(each.name).second)
        report("auth.certificate", fmt::format("two callers have the name \"{}\"", each.name));
      if (!each.san.empty() && !found.insert(each.san).second)
        report("auth.certificate", fmt::format("\"{}\" has the san of another", each.name));
      seen("auth.certificate", each);
    }
  }

  /// What a caller may be limited to.
  template <class Caller>
  void seen(const std::string& key, const Caller& who) {
    for (const auto& tenant : who.tenants)
      if (!is_tenant_name(tenant))
        report(key, fmt::format("a tenant of \"{}\" must be 1 to {} bytes without control "
                                "characters and bidirectional overrides",
                                who.name, limits::tenant_id_bytes_max));
    for (const auto& service : who.services)
      if (!is_name(service, limits::breaker_name_bytes_max))
        report(key, fmt::format("a service of \"{}\" must be 1 to 64 of A-Z, a-z, 0-9, _ . and -",
                                who.name));
  }

  void tokens() {
    const auto& all = value().auth.tokens;
    if (all.empty() && value().auth.certificates.empty() && value().auth.mode == auth_mode::token &&
        production())
      report("auth.token",
             "nobody could log in: add an [[auth.token]] with name, role and sha256, made by "
             "`portcullis token new`");
    if (all.size() > limits::tokens_max)
      report("auth.token", fmt::format("must be at most {} tokens", limits::tokens_max));
    std::set<std::string> names;
    std::set<byte_array<32>> hashes;
    for (const auto& token : all) {
      if (!token.name.empty() && !names.insert(token.name).second)
        report("auth.token", fmt::format("two tokens have the name \"{}\"", token.name));
      if (token.sha256 != byte_array<32>{} && !hashes.insert(token.sha256).second)
        report("auth.token", fmt::format("the token \"{}\" has the sha256 of another", token.name));
      seen("auth.token", token);
    }
  }

  void store() {
    if (value().store.mode != store_mode::redis) return;
    const auto& redis = value().store.redis;
    if (redis.url.empty()) report("store.redis.url", "store.mode = \"redis\" needs it");
    if (value().crypto.keys_file.empty())
      report("crypto.keys_file",
             "store.mode = \"redis\" needs a key file that all nodes have: make one with "
             "`portcullis keys new --out FILE`");
    if (redis.sentinels.empty() != redis.master_name.empty())
      report("store.redis.master_name", "goes with store.redis.sentinels");
    if (redis.cluster && !redis.sentinels.empty())
      report("store.redis.cluster", "a cluster has no Sentinels");
  }

  // Lexical: whether links lead into the data folder is checked at the start, by what opens the
  // file.
  [[nodiscard]] std::filesystem::path absolute(const std::string& path) const {
    return (std::filesystem::path(options_.working_dir) / path).lexically_normal();
  }

  void keys() {
    if (!production()) return;
    const auto& file = value().crypto.keys_file;
    if (file.empty()) {
      report("crypto.keys_file",
             "production needs a key file outside server.data_dir: make one with `portcullis keys "
             "new --out FILE`");
      return;
    }
    const auto relative =
        absolute(file).lexically_relative(absolute(value().server.data_dir + "/."));
    if (!relative.empty() && *relative.begin() != "..")
      report("crypto.keys_file",
             "must not be inside server.data_dir in production: a copy of the data would carry its "
             "keys");
  }

  void log() {
    const auto& own = value().log;
    const bool to_file = own.output == log_output::file;
    const bool to_journald = own.output == log_output::journald;
    if (to_file && own.file.empty()) report("log.output", "\"file\" needs log.file: which one");
    if (!to_file && !own.file.empty())
      report("log.file", "does nothing without log.output = \"file\"");
    if (own.file.find('\0') != std::string::npos || own.file.ends_with('/'))
      report("log.file", "must be the path of a file");
    if (to_journald && own.format == log_format::text)
      report("log.format",
             "\"text\" is not possible with log.output = \"journald\": its entries are fields");
    if (!to_journald && own.journald_socket != journald_socket_path)
      report("log.journald_socket", "does nothing without log.output = \"journald\"");
    if (!own.journald_socket.starts_with('/'))
      report("log.journald_socket", "must be an absolute path");
  }

  parsed_config& parsed_;
  const parse_options& options_;
};

}  // namespace

void check_together(parsed_config& parsed, const parse_options& options) {
  checker(parsed, options).run();
}

}  // namespace portcullis::core

#include "core/config/checks.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <set>

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
    tokens();
    store();
    keys();
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
    const auto rpc = parse_endpoint(value().listen.rpc.address),
               http = parse_endpoint(value().listen.http.address);
    if (rpc && http && *rpc == *http && rpc->port != 0)
      report("listen.http.address", "must differ from listen.rpc.address");
    if (value().auth.mode == auth_mode::mtls)
      report("auth.mode",
             "\"mtls\" needs a TLS listener, which comes in a later version; use \"token\"");
    if (value().auth.mode != auth_mode::none) return;
    constexpr auto remedy =
        "set auth.mode = \"token\" and an [[auth.token]] made by `portcullis token new`";
    if (production())
      report(
          "auth.mode",
          fmt::format("\"none\" is refused with server.environment = \"production\"; {}", remedy));
    if (rpc && !rpc->loopback())
      report(
          "auth.mode",
          fmt::format("\"none\" is allowed only where listen.rpc.address is loopback; {}", remedy));
    if (value().listen.http.auth == http_auth::token)
      report("listen.http.auth", "\"token\" needs auth.mode = \"token\"");
  }

  void tokens() {
    const auto& all = value().auth.tokens;
    if (all.empty() && value().auth.mode == auth_mode::token && production())
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
      for (const auto& tenant : token.tenants)
        if (!is_tenant_name(tenant))
          report("auth.token",
                 fmt::format("a tenant of \"{}\" must be 1 to {} bytes without control characters "
                             "and bidirectional overrides",
                             token.name, limits::tenant_id_bytes_max));
      for (const auto& service : token.services)
        if (!is_name(service, limits::breaker_name_bytes_max))
          report("auth.token",
                 fmt::format("a service of \"{}\" must be 1 to 64 of A-Z, a-z, 0-9, _ . and -",
                             token.name));
    }
  }

  void store() {
    if (value().store.mode == store_mode::redis)
      report("store.mode", "\"redis\" comes in a later version; this one has \"embedded\"");
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

  parsed_config& parsed_;
  const parse_options& options_;
};

}  // namespace

void check_together(parsed_config& parsed, const parse_options& options) {
  checker(parsed, options).run();
}

}  // namespace portcullis::core

#include "apps/node/redis_options.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "apps/cli/secret_file.hpp"
#include "apps/node/keys.hpp"
#include "net/tls/client_context.hpp"

namespace portcullis::apps {
namespace {

core::result<net::redis::url> parse(std::string_view key, const std::string& text,
                                    std::string& why) {
  auto parsed = net::redis::parse_url(text);
  if (!parsed)  // not the text: it may hold a password
    why = fmt::format("{}: not a URL of Redis ({})", key, parsed.error().rule);
  return parsed;
}

}  // namespace

core::result<net::redis::login> redis_login_of(const core::config& config, std::string& why) {
  const auto& from = config.store.redis;
  auto url = parse("store.redis.url", from.url, why);
  if (!url) return url.error();
  auto who = (*url).who;
  if (from.password_file.empty()) return who;
  std::string trouble;
  auto text = read_secret(from.password_file, trouble);
  if (!text) {
    why = fmt::format("store.redis.password_file {}", trouble);
    return core::fail(core::error_code::CONFIG_INVALID, {}, "store.redis.password_file");
  }
  while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
  who.password = *std::move(text);
  return who;
}

core::result<net::redis::client_options> redis_options_of(const core::config& config,
                                                          std::string& why) {
  const auto& from = config.store.redis;
  net::redis::client_options options;
  auto url = parse("store.redis.url", from.url, why);
  if (!url) return url.error();
  const auto who = redis_login_of(config, why);
  if (!who) return who.error();
  options.who = *who;
  options.db = (*url).db;
  if (from.sentinels.empty()) {
    options.topology = from.cluster ? net::redis::topology::cluster : net::redis::topology::single;
    options.servers.push_back(*url);
  } else {
    options.topology = net::redis::topology::sentinel;
    options.master_name = from.master_name;
    for (const auto& each : from.sentinels) {
      auto sentinel = parse("store.redis.sentinels", each, why);
      if (!sentinel) return sentinel.error();
      options.servers.push_back(*std::move(sentinel));
    }
  }
  const bool tls = std::any_of(options.servers.begin(), options.servers.end(),
                               [](const net::redis::url& each) { return each.tls; });
  if (tls) {
    net::tls_client_options files;
    files.ca_file = from.ca_file;
    auto made = net::tls_client_context::make(files, why);
    if (!made) return made.error();
    options.tls = *std::move(made);
  }
  options.name = "portcullis-" + config.server.node_id;
  options.random = random_seed;
  return options;
}

core::result<store::fleet::contact_options> fleet_contact(
    const core::config& config, std::shared_ptr<const core::key_material> keys, std::string& why) {
  auto redis = redis_options_of(config, why);
  if (!redis) return redis.error();
  store::fleet::contact_options with;
  with.redis = *std::move(redis);
  with.prefix = config.store.redis.prefix;
  with.timeout_ms = config.store.redis.timeout_ms;
  with.key_ttl_ms = config.store.redis.key_ttl_h * 3'600'000;
  with.keys = std::make_shared<const core::fleet_keys>(*keys);
  with.random = buffered_random;
  with.rewrap = [keys = std::move(keys)](core::user_row& row) {
    return core::wrap_anew(row, *keys, buffered_random);
  };
  return with;
}

}  // namespace portcullis::apps

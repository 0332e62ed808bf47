// What makes a node one of several: its own store is brought up to the log that they share, and
// then follows it.
#include <fmt/format.h>

#include <chrono>
#include <filesystem>

#include "actors/fleet.hpp"
#include "apps/node/link_host.hpp"
#include "apps/node/node.hpp"
#include "apps/node/parts.hpp"
#include "apps/node/redis_options.hpp"
#include "monitoring/log.hpp"
#include "store/fleet/first_contact.hpp"

namespace portcullis::apps {
namespace {

constexpr std::int64_t hour_in_ms = 3'600'000;

}  // namespace

core::result<core::nothing> node::make_store(const core::digest& keyring_check, std::string& why) {
  if (config_.store.mode != core::store_mode::redis) return core::nothing{};
  fleet_keys_ = std::make_shared<const core::fleet_keys>(*keys_);
  if (std::filesystem::exists(config_.server.data_dir + "/portcullis.db")) return core::nothing{};
  const auto with = fleet_contact(config_, keys_, why);
  if (!with) return with.error();
  store::import_options into;
  into.data_dir = config_.server.data_dir;
  into.node_id = config_.server.node_id;
  into.keyring_check = keyring_check;
  into.keys = keys_.get();
  into.random = buffered_random;
  return store::fleet::make_store(into, clock_, *with, why);
}

core::result<core::nothing> node::join_fleet(std::string& why) {
  if (!fleet_keys_) return core::nothing{};
  const auto with = fleet_contact(config_, keys_, why);
  if (!with) return with.error();
  const auto before = log_->last_seq();
  const auto mark = store::fleet::bring_up(*log_, clock_, *with, why);
  if (!mark) return mark.error();
  fleet_mark_ = *mark;
  monitoring::log::write(core::log_level::info, monitoring::component::store,
                         "The node's own store is up to the log that nodes share.",
                         {{"event.action", "store_caught_up"},
                          {"from", static_cast<std::int64_t>(before)},
                          {"to", static_cast<std::int64_t>(log_->last_seq())}});
  if (const auto ok = wrap_users_anew(); !ok) {
    why = fmt::format("{}: users' keys cannot be wrapped anew", config_.server.data_dir);
    return ok.error();
  }
  fleet_position_ = log_->last_seq();
  fleet_at_ms_ = log_->last_at_ms();
  return core::nothing{};
}

/// After a rotation of the ring while all nodes stood still.
core::status node::wrap_users_anew() {
  if (ring_.ring.size() < 2) return core::nothing{};
  struct all final : store::journal::rewrapper {
    explicit all(const core::key_material& ring) : keys(ring) {}
    bool rewrap(core::user_row& row) override {
      return core::wrap_anew(row, keys, buffered_random);
    }
    const core::key_material& keys;
  } with(*keys_);
  std::uint64_t after = 0;
  do {
    const auto next = log_->rewrap_users(after, with);
    if (!next) return next.error();
    after = *next;
  } while (after != 0);
  return core::nothing{};
}

void node::spawn_fleet() {
  if (!fleet_keys_) return;
  link_ = std::make_unique<link_host>(*system_, clock_);
  actors::fleet_options options;
  options.clock = &clock_;
  options.aliases = aliases_;
  options.position = fleet_position_;
  options.last_at_ms = fleet_at_ms_;
  options.node_id = config_.server.node_id;
  options.started_at_ms = clock_.now_ms();
  options.first_read = [this] { fleet_read_.store(true, std::memory_order_release); };
  options.fatal = [](const core::error& why) {
    die(fmt::format("The shared log has failed: {} {}.", core::describe(why.code).name, why.rule));
  };
  options.open = [this, started_at_ms = options.started_at_ms](store::fleet::shared_log_reader& to,
                                                               std::uint64_t position) {
    using made = core::result<std::unique_ptr<store::fleet::shared_log>>;
    std::string why;
    auto redis = redis_options_of(config_, why);
    if (!redis) return made(redis.error());
    store::fleet::shared_log_options from;
    from.redis = *std::move(redis);
    from.prefix = config_.store.redis.prefix;
    from.timeout_ms = config_.store.redis.timeout_ms;
    from.key_ttl_ms = config_.store.redis.key_ttl_h * hour_in_ms;
    from.keys = fleet_keys_;
    from.random = buffered_random;
    from.position = position;
    from.mark = fleet_mark_;
    from.self.node_id = config_.server.node_id;
    from.self.version = PORTCULLIS_VERSION;
    from.self.started_at_ms = started_at_ms;
    return store::fleet::shared_log::make(link_->loop(), clock_, std::move(from), to);
  };
  all_.fleet = actors::spawn_pinned<actors::fleet_actor, actors::fleet_link>(
      link_->unit(), actors::fleet_behaviour, std::move(options));
}

/// Before clients are served: a node that has not heard from the log answers nothing.
bool node::await_fleet() {
  if (!link_) return true;
  link_->start();
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!fleet_read_.load(std::memory_order_acquire)) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace portcullis::apps

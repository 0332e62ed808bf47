// A server that is connected to again, and what all links share.
#include <algorithm>
#include <utility>

#include "net/redis/faults.hpp"
#include "net/redis/inside.hpp"

namespace portcullis::net::redis {

void common::tell_connected(const server_info& info) {
  down.erase(info.at);
  const auto told = options.connected;  // it may destroy the client
  if (told) told(info);
}

void common::tell_lost(const address& at, const failure& why) {
  if (down.size() >= limits::nodes_max) down.clear();
  auto& rule = down[at];
  if (rule == why.why.rule) return;
  rule = why.why.rule;
  const auto told = options.lost;
  if (told) told(address(at), why);
}

std::int64_t common::back_off_ms(unsigned attempts) {
  auto most = options.back_off_ms_min;
  for (unsigned i = 0; i < attempts && most < options.back_off_ms_max; ++i) most *= 2;
  most = std::min(most, options.back_off_ms_max);
  const auto half = most / 2;
  return half + static_cast<std::int64_t>(options.random() % static_cast<std::uint64_t>(half + 1));
}

channel_options common::channel_to(const address& at, check asks, const login* of,
                                   std::uint32_t db) const {
  channel_options made;
  made.where.to = at;
  made.where.tls = options.servers.front().tls ? tls : nullptr;
  made.where.server_name = options.tls_server_name;
  made.who = of != nullptr ? *of : who;
  made.name = options.name;
  made.db = db;
  made.asks = asks;
  made.connect_ms = options.connect_ms;
  made.commands_max = options.commands_max;
  made.bytes_max = options.bytes_max;
  made.reply_bytes_max = options.reply_bytes_max;
  return made;
}

link::link(common& all, address at, check asks, std::uint32_t db, events told)
    : all_(all),
      at_(std::move(at)),
      asks_(asks),
      db_(db),
      told_(std::make_shared<const events>(std::move(told))),
      again_(all.on, [this] { begin(); }) {
  begin();
}

void link::begin() {
  channel::events heard;
  heard.ready = [this](const server_info& info) {
    attempts_ = 0;
    const auto told = told_;  // it may destroy this
    told->ready(info);
  };
  heard.lost = [this](const failure& why) { lost(why); };
  heard.message = all_.options.message;
  channel_ = std::make_unique<channel>(all_.on, all_.channel_to(at_, asks_, nullptr, db_),
                                       std::move(heard), all_.counts);
}

void link::lost(const failure& why) {
  channel_.reset();  // what was in flight is answered when this returns
  if (!retired_) again_.after(static_cast<std::uint64_t>(all_.back_off_ms(attempts_++)));
  const auto told = told_;
  told->lost(why);
}

void link::retire() noexcept {
  retired_ = true;
  again_.stop();
}

}  // namespace portcullis::net::redis

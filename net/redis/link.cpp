// A server that is connected to again, and what all links share.
#include <algorithm>
#include <cassert>
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

link::link(common& all, address at, check asks, const login& who, std::uint32_t db, events told)
    : all_(all),
      at_(std::move(at)),
      asks_(asks),
      who_(who),
      db_(db),
      told_(std::make_shared<const events>(std::move(told))),
      again_(all.on, [this] { begin(); }) {
  begin();
}

void link::begin() {
  channel_options made;
  made.where.to = at_;
  made.where.tls = all_.options.servers.front().tls ? all_.options.tls : nullptr;
  made.where.server_name = all_.options.tls_server_name;
  made.who = who_;
  made.name = all_.options.name;
  made.db = db_;
  made.asks = asks_;
  made.connect_ms = all_.options.connect_ms;
  made.commands_max = all_.options.commands_max;
  made.bytes_max = all_.options.bytes_max;
  made.reply_bytes_max = all_.options.reply_bytes_max;
  channel::events heard;
  heard.ready = [this](const server_info& info) {
    attempts_ = 0;
    const auto told = told_;
    told->ready(info);
  };
  heard.lost = [this](const failure& why) { lost(why); };
  heard.message = all_.options.message;
  channel_ = std::make_unique<channel>(all_.on, std::move(made), std::move(heard), all_.counts);
}

void link::lost(const failure& why) {
  channel_.reset();  // which answers what was in flight when this returns
  again_.after(static_cast<std::uint64_t>(all_.back_off_ms(attempts_++)));
  const auto told = told_;
  told->lost(why);
}

void link::ask(const command& what, std::int64_t deadline_ms, client::answer done) {
  assert(channel_);
  channel_->ask(what, deadline_ms, std::move(done));
}

void link::go_to(address at) {
  at_ = std::move(at);
  again_.stop();
  const auto old = std::move(channel_);  // answers what was in flight once the new one is there
  begin();
}

}  // namespace portcullis::net::redis

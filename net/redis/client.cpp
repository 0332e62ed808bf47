#include "net/redis/client.hpp"

#include <cassert>
#include <utility>

#include "net/redis/faults.hpp"
#include "net/redis/inside.hpp"

namespace portcullis::net::redis {
namespace {

core::error refuse(std::string_view rule) {
  return core::fail(core::error_code::CONFIG_INVALID, {}, rule);
}

core::status judge(const client_options& options) {
  const bool one = options.topology == topology::single;
  if (options.servers.empty() || options.servers.size() > limits::nodes_max ||
      (one && options.servers.size() > 1))
    return refuse("servers");
  for (const auto& each : options.servers) {
    if (!one && each.at.is_unix()) return refuse("servers");
    if (each.tls != options.servers.front().tls) return refuse("tls");
  }
  if (options.topology == topology::sentinel && options.master_name.empty())
    return refuse("master_name");
  if (options.servers.front().tls && !options.tls) return refuse("tls");
  return core::nothing{};
}

}  // namespace

void finish(const request& what, core::result<reply> got) {
  if (got)
    if (const auto fault = fault_of(*got)) return what.done(*fault);
  what.done(std::move(got));
}

bool turned_into_eval(request& what, const core::result<reply>& got) {
  if (what.program == nullptr || !got || got->error_code() != "NOSCRIPT") return false;
  what.what = what.what.renamed("EVAL", what.program->text);
  what.program = nullptr;
  return true;
}

void client::impl::close() {
  closed = true;
  way.reset();
  all.refused.flush();
}

core::result<std::unique_ptr<client>> client::make(loop& on, client_options options) {
  assert(options.random);
  if (auto fine = judge(options); !fine) return fine.error();
  if (options.who.password.empty() && options.topology != topology::sentinel)
    options.who = options.servers.front().who;
  auto made = std::make_shared<impl>(on, std::move(options));
  switch (made->all.options.topology) {
    case topology::single:
      made->way = make_single(made->all);
      break;
    case topology::sentinel:
      made->way = make_sentinel(made->all);
      break;
    case topology::cluster:
      made->way = make_cluster(made->all);
      break;
  }
  return std::unique_ptr<client>(new client(std::move(made)));
}

client::client(std::shared_ptr<impl> made) : impl_(std::move(made)) {}
client::~client() { impl_->close(); }

void client::ask(command what, std::string_view key, std::int64_t deadline_ms, answer done) {
  auto& it = *impl_;
  auto made = std::make_shared<request>(request{
      .what = std::move(what),
      .key = std::string(key),
      .deadline_ns = it.all.on.mono_ns() + deadline_ms * 1'000'000,
      .done = std::move(done),
  });
  if (it.closed) return made->done(unavailable("closed"));
  it.way->ask(std::move(made));
}

void client::eval(const script& what, std::span<const std::string_view> keys,
                  std::span<const std::string_view> args, std::int64_t deadline_ms, answer done) {
  auto& it = *impl_;
  auto made = std::make_shared<request>(request{
      .what = {"EVALSHA", what.sha1},
      .key = std::string(keys.empty() ? std::string_view() : keys.front()),
      .deadline_ns = it.all.on.mono_ns() + deadline_ms * 1'000'000,
      .done = std::move(done),
      .program = &what,
  });
  made->what.add(static_cast<std::int64_t>(keys.size())).add(keys).add(args);
  if (it.closed) return made->done(unavailable("closed"));
  it.way->ask(std::move(made));
}

bool client::connected() const noexcept { return impl_->way && impl_->way->connected(); }
void client::replace_login(login who) { impl_->all.who = std::move(who); }
void client::replace_tls(std::shared_ptr<const tls_client_context> context) {
  if (impl_->all.options.servers.front().tls) impl_->all.tls = std::move(context);
}
const tallies& client::counts() const noexcept { return impl_->all.counts; }

}  // namespace portcullis::net::redis

#include "net/http/server.hpp"

#include <stdexcept>
#include <utility>

#include "net/http/server_impl.hpp"

namespace portcullis::net {

http_server::impl::impl(loop& on, const http_options& options, http_handler& handler)
    : loop_(on),
      options_(options),
      handler_(handler),
      made_up_(options.correlation_seed),
      encoding_{made_up_, options.development},
      write_hook_(on, phase::write, [this] { return write_hook(); }),
      tick_(on, [this] { tick(); }) {
  tick_.every(options_.tick_ms);
}

http_server::impl::~impl() {
  for (auto& [id, each] : connections_)
    if (each->counted) options_.sources->leave(each->from.source);
}

core::result<std::uint16_t> http_server::impl::listen(const core::endpoint& where,
                                                      core::listener as, listener_rules rules) {
  rules_[static_cast<std::size_t>(as)] = std::move(rules);
  auto opened = acceptor::open(
      loop_, where, false,
      [this, as](descriptor socket, remote_end from) {
        accept(as, std::move(socket), std::move(from));
      },
      [this, as] { connections_tally_.reject(as, core::rejection::descriptors); });
  if (!opened) return opened.error();
  acceptors_.push_back(*std::move(opened));
  return acceptors_.back()->port();
}

void http_server::impl::stop_accepting() {
  acceptors_.clear();
  stopping_ = true;
}

bool http_server::impl::drained() const {
  for (const auto& [id, each] : connections_)
    if (!each->dead &&
        (each->step == http_step::answering || each->unread() > 0 || each->wire.unsent()))
      return false;
  return true;
}

void http_server::impl::accept(core::listener as, descriptor socket, remote_end from) {
  const auto row = static_cast<std::size_t>(as);
  const auto& rules = rules_[row];
  const auto source = core::parse_ip(from.address).value_or(core::ip_address{});
  const auto turn_away = [&](core::rejection why) { reject({as, why, {}, source}); };
  const bool over = connections_tally_.live[row] >= rules.connections_max;
  const bool immediate = rules.opening.immediate();
  if (over) turn_away(core::rejection::limit);
  // In clear it is told so; but not at the price of a handshake.
  if (over && (!immediate ||
               connections_tally_.live[row] >= rules.connections_max + refused_connections_max))
    return;
  if (!immediate && opening_ >= options_.openings_max) return turn_away(core::rejection::limit);
  if (rules.opening.proxy && !rules.opening.proxy_sources.contains(source))
    return turn_away(core::rejection::proxy_header);
  std::unique_ptr<http_connection> made;
  try {
    made = std::make_unique<http_connection>(*this, loop_, std::move(socket), &impl::ready,
                                             options_.message);
  } catch (const std::runtime_error&) {
    return turn_away(core::rejection::descriptors);
  }
  auto& fresh = *made;
  fresh.id = next_id_++;
  fresh.from.address = std::move(from.address);
  fresh.from.source = source;
  fresh.from.loopback = from.loopback;
  fresh.from.listener = as;
  connections_.emplace(fresh.id, std::move(made));
  ++connections_tally_.live[row];
  if (!over) ++connections_tally_.opened[row];
  mark(fresh);
  if (immediate) return opened(fresh, nullptr, over);
  // Before the handshake, which costs us more than them; behind a proxy the source is not known
  // yet.
  if (!rules.opening.proxy && !admits(fresh, source)) return;
  fresh.opening = std::make_unique<opening>(rules.opening);
  fresh.deadline_ns = in_ms(options_.opening_ms_max);
  ++opening_;
}

/// Whether its source may have one more connection; counted then, once. Else it is closed.
bool http_server::impl::admits(http_connection& which, const core::ip_address& source) {
  which.from.source = source;
  if (!options_.sources || which.counted) return true;
  which.counted = options_.sources->enter(source);
  if (which.counted) return true;
  reject(which, core::rejection::source_limit);
  which.dead = true;
  mark(which);
  return false;
}

void http_server::impl::go_on_opening(http_connection& which) {
  if (openings_left_ == 0) return;  // the socket stays readable: in the next turn
  --openings_left_;
  auto how = which.opening->advance(which.wire, tls_tally_);
  if (how == opening::status::sourced) {
    if (!admits(which, *which.opening->found().source)) return;
    how = which.opening->advance(which.wire, tls_tally_);
  }
  if (how == opening::status::waiting) return;
  const auto over = std::exchange(which.opening, nullptr);
  --opening_;
  mark(which);
  if (how == opening::status::refused) {
    reject({which.from.listener, over->why(), over->how(), which.from.source});
    which.dead = !over->in_clear();
    if (!which.dead) turn_away(which, *over->in_clear(), 0);
    return;
  }
  auto& found = over->found();
  auto& from = which.from;
  if (found.source) {
    from.address = core::to_text(*found.source);
    from.source = *found.source;
    from.loopback = from.loopback && core::endpoint{*found.source, 0}.loopback();
  }
  from.ja3 = std::move(found.ja3);
  from.ja4 = std::move(found.ja4);
  opened(which, found.certificate ? &*found.certificate : nullptr, false);
}

/// `certificate` is null where there is none. `over`: it is one too many.
void http_server::impl::opened(http_connection& which, const peer_certificate* certificate,
                               bool over) {
  auto& from = which.from;
  from.encrypted = which.wire.encrypted();
  which.step = http_step::reading;
  which.deadline_ns = in_ms(options_.header_ms_max);
  const auto full = core::fail(core::error_code::CONNECTION_LIMIT);
  if (over) return turn_away(which, full, 0);
  if (options_.sources && !which.counted) {
    which.counted = options_.sources->enter(from.source);
    if (!which.counted) {
      reject(which, core::rejection::source_limit);
      return turn_away(which, full, 0);
    }
  }
  const auto name = core::listener_names[static_cast<std::size_t>(from.listener)];
  const auto caller =
      handler_.greet({from.address, from.loopback, name, from.encrypted, certificate});
  if (caller) {
    from.caller = *caller;
  } else {
    reject(which, core::rejection::certificate);
    turn_away(which, caller.error(), 0);
  }
}

void http_server::impl::tick() {
  const auto now = loop_.fresh_mono_ns();
  for (auto& [id, each] : connections_)
    if (!each->dead) check_deadline(*each, now);
}

void http_server::impl::check_deadline(http_connection& which, std::int64_t now) {
  const auto cut = [&](std::optional<core::rejection> why) {
    if (why) reject(which, *why);
    which.dead = true;
    mark(which);
  };
  if (which.blocked && now >= which.write_deadline_ns) return cut(core::rejection::slow_reader);
  switch (which.step) {
    case http_step::opening:
      if (now < which.deadline_ns) return;
      which.opening->expire(tls_tally_);
      reject({which.from.listener, core::rejection::opening_slow, which.opening->how(),
              which.from.source});
      return cut(std::nullopt);
    case http_step::reading:
      if (!which.started) which.wire.rest();
      if (which.blocked || now < which.deadline_ns) return;
      // A connection that nobody asks for anything is no fault of its peer's.
      return cut(which.started ? std::optional(core::rejection::slow_sender) : std::nullopt);
    case http_step::answering:
      if (now < which.deadline_ns) return;
      return turn_away(which, core::fail(core::error_code::REQUEST_TIMEOUT), 0);
    case http_step::streaming:
      which.wire.rest();
      if (now - which.said_ns < options_.stream_silence_ms * 1'000'000) return;
      return stream(which, which.heartbeat);
    case http_step::closing:
      return;
    case http_step::lingering:
      if (now >= which.deadline_ns) cut(std::nullopt);
      return;
  }
}

http_server::http_server(loop& on, const http_options& options, http_handler& handler)
    : impl_(std::make_shared<impl>(on, options, handler)) {}
http_server::~http_server() = default;
core::result<std::uint16_t> http_server::listen(const core::endpoint& where, core::listener as,
                                                listener_rules rules) {
  return impl_->listen(where, as, std::move(rules));
}
void http_server::stop_accepting() { impl_->stop_accepting(); }
bool http_server::drained() const { return impl_->drained(); }
std::size_t http_server::count() const { return impl_->connections_.size(); }
const core::connection_tallies& http_server::connections() const {
  return impl_->connections_tally_;
}
const core::tls_tallies& http_server::handshakes() const { return impl_->tls_tally_; }
const core::http_tallies& http_server::requests() const { return impl_->requests_tally_; }

}  // namespace portcullis::net

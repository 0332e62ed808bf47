// How connections begin: what is told and asked before the first message, who may come, and the
// callers inside of the process, who begin at once.
#include <utility>

#include "net/tcp/server_impl.hpp"

namespace portcullis::net {
namespace {

const core::caller nobody_yet{"", core::role::none, {}, {}};

}  // namespace

void tcp_server::impl::begin(connection& fresh) {
  const auto& rules = rules_[static_cast<std::size_t>(fresh.listener)].opening;
  fresh.caller = &nobody_yet;
  // Before the handshake, which costs us more than them; behind a proxy the source is not known
  // yet.
  if (!rules.proxy && !counts(fresh, fresh.source)) {
    fresh.dead = true;
    return mark(fresh);
  }
  if (rules.immediate()) return opened_as(fresh, nullptr);
  fresh.opening = std::make_unique<opening>(rules);
  fresh.opening_until_ns = loop_.mono_ns() + options_.opening_ms_max * 1'000'000;
  ++opening_;
  mark(fresh);  // the turn's end starts watching it
}

/// Whether its source may have one more connection; counted then, once.
bool tcp_server::impl::counts(connection& which, const core::ip_address& source) {
  if (!options_.sources || which.counted || which.listener == core::listener::rpc_unix) return true;
  which.source = source;
  which.counted = options_.sources->enter(source);
  if (!which.counted) reject({which.listener, core::rejection::source_limit, {}, source});
  return which.counted;
}

/// The same of whom a PROXY header may name; else it is closed.
bool tcp_server::impl::admits(connection& which, const core::ip_address& source) {
  which.source = source;
  which.dead = !counts(which, source);
  if (which.dead) mark(which);
  return !which.dead;
}

void tcp_server::impl::go_on_opening(connection& which) {
  if (openings_left_ == 0) return;  // the socket stays readable: in the next turn
  --openings_left_;
  auto how = which.opening->advance(which.wire->bytes, tallies_.tls);
  if (how == opening::status::sourced) {
    if (!admits(which, *which.opening->found().source)) return;
    how = which.opening->advance(which.wire->bytes, tallies_.tls);
  }
  if (how == opening::status::waiting) return;
  const auto over = std::exchange(which.opening, nullptr);
  --opening_;
  mark(which);
  if (how == opening::status::refused) {
    reject({which.listener, over->why(), over->how(), which.source});
    which.last_error = over->in_clear();
    which.ending = ending::after_answers;
    return;
  }
  auto& found = over->found();
  if (!admits(which, found.source.value_or(which.source))) return;
  if (found.source) {
    which.address = core::to_text(*found.source);
    which.loopback = which.loopback && core::endpoint{*found.source, 0}.loopback();
  }
  which.ja3 = std::move(found.ja3);
  which.ja4 = std::move(found.ja4);
  opened_as(which, found.certificate ? &*found.certificate : nullptr);
}

/// `certificate` is null where there is none.
void tcp_server::impl::opened_as(connection& which, const peer_certificate* certificate) {
  mark(which);
  which.bound = options_.bind_to_connection && which.listener != core::listener::rpc_unix;
  which.active_ns = loop_.mono_ns();
  const auto row = static_cast<std::size_t>(which.listener);
  const bool encrypted =
      which.wire->bytes.encrypted() || which.listener == core::listener::rpc_unix;
  const auto caller = gateway_.greet(
      which.id, {which.address, which.loopback, core::listener_names[row], encrypted, certificate});
  if (!caller) {
    reject({which.listener, core::rejection::certificate, {}, which.source});
    which.caller = &nobody_yet;
    which.last_error = caller.error();
    which.ending = ending::after_answers;
    return;
  }
  if (which.caller == nullptr || which.caller == &nobody_yet) which.caller = *caller;
}

connection_id tcp_server::impl::open_inside(const core::caller* caller, calls_port::origin from,
                                            lines_port& to) {
  auto& fresh = place(std::make_unique<connection>(options_.message));
  fresh.lines = &to;
  fresh.caller = caller;
  fresh.listener = from.listener;
  fresh.bound = from.bound && options_.bind_to_connection;
  fresh.calls_only = from.calls_only;
  fresh.source = core::parse_ip(from.address).value_or(core::ip_address{});
  fresh.address = std::move(from.address);
  fresh.ja3 = std::move(from.ja3);
  fresh.ja4 = std::move(from.ja4);
  return fresh.id;
}

void tcp_server::impl::ask(connection& from, std::string_view bytes) {
  if (from.ending != ending::none) return;
  mark(from);  // also what is answered by nothing is told as settled
  if (from.paused || from.starved) return from.undecoded.append(bytes);
  const auto before = from.undecoded.size();
  const auto own = from.bound ? from.ja3.size() + from.ja4.size() : 0;
  char* const at = space_.take(own + before + bytes.size());
  if (at == nullptr) {
    from.undecoded.append(bytes);
    from.paused = true;
    return starve(from);
  }
  char* const begin = with_own_context(from, at);
  if (before > 0) std::memcpy(begin, from.undecoded.data(), before);
  std::memcpy(begin + before, bytes.data(), bytes.size());
  consume(from, begin, before + bytes.size());
}

void tcp_server::impl::hang_up(connection& which) {
  which.lines = nullptr;
  which.dead = true;
  mark(which);
}

}  // namespace portcullis::net

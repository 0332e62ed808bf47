#include "net/tcp/server.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <stdexcept>
#include <string>
#include <utility>

#include "net/tcp/server_impl.hpp"

namespace portcullis::net {
namespace {

constexpr std::size_t read_block_bytes_for(const message_limits& limits) {
  return std::max(core::limits::read_block_bytes, 4 * limits.value_bytes_max);
}

void set_send_buffer(const descriptor& socket, int bytes) {
  [[maybe_unused]] const int status =
      ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

}  // namespace

tcp_server::impl::impl(loop& on, const tcp_options& options, gateway_port& gateway)
    : loop_(on),
      options_(options),
      gateway_(gateway),
      decoder_(options.message),
      made_up_(options.correlation_seed),
      encoding_{made_up_, options.development},
      space_(read_block_bytes_for(options.message),
             std::max<std::size_t>(options.read_blocks_max, 1)),
      submit_hook_(on, phase::submit, [this] { return submit_hook(); }),
      write_hook_(on, phase::write, [this] { return write_hook(); }),
      tick_(on, [this] { tick(); }),
      look_again_(on, [this] { check_deadlines(loop_.fresh_mono_ns()); }) {
  assert(options.loop_index < (1U << connection_loop_bits));
  assert(options.connections_max < (1U << connection_slot_bits));
  dirty_.reserve(1024);
  settling_.reserve(1024);
  answered_.reserve(4096);
  tick_.every(options_.tick_ms);
}

tcp_server::impl::~impl() {
  for (auto& each : connections_)
    if (each) {
      if (!each->ended_by) each->ended_by = core::fail(core::error_code::NODE_DRAINING);
      destroy(*each);
    }
}

core::result<std::uint16_t> tcp_server::impl::listen(const core::endpoint& where, core::listener as,
                                                     bool shared, listener_rules rules) {
  rules_[static_cast<std::size_t>(as)] = std::move(rules);
  auto opened = acceptor::open(
      loop_, where, shared,
      [this, as](descriptor socket, remote_end from) {
        accept(as, std::move(socket), std::move(from));
      },
      [this, as] { tallies_.connections.reject(as, core::rejection::descriptors); });
  if (!opened) return opened.error();
  acceptors_.push_back(*std::move(opened));
  return acceptors_.back()->port();
}

core::status tcp_server::impl::listen_unix(const std::string& path, listener_rules rules) {
  constexpr auto as = core::listener::rpc_unix;
  rules_[static_cast<std::size_t>(as)] = std::move(rules);
  auto opened = acceptor::open_unix(
      loop_, path,
      [this](descriptor socket, remote_end from) {
        accept(as, std::move(socket), std::move(from));
      },
      [this] { tallies_.connections.reject(as, core::rejection::descriptors); });
  if (!opened) return opened.error();
  acceptors_.push_back(*std::move(opened));
  return core::nothing{};
}

void tcp_server::impl::accept(core::listener as, descriptor socket, remote_end from) {
  const auto row = static_cast<std::size_t>(as);
  const auto& rules = rules_[row];
  const auto source = core::parse_ip(from.address).value_or(core::ip_address{});
  const auto turn_away = [&](core::rejection why) { reject({as, why, {}, source}); };
  if (live_ >= options_.connections_max ||
      tallies_.connections.live[row] >= rules.connections_max ||
      (!rules.opening.immediate() && opening_ >= options_.openings_max))
    return turn_away(core::rejection::limit);  // closes it
  if (rules.opening.proxy && !rules.opening.proxy_sources.contains(source))
    return turn_away(core::rejection::proxy_header);
  auto made = std::make_unique<connection>(options_.message);
  try {
    if (options_.send_buffer_bytes > 0) set_send_buffer(socket, options_.send_buffer_bytes);
    made->wire.emplace(loop_, std::move(socket), &impl::ready, made.get());
  } catch (const std::runtime_error&) {
    return turn_away(core::rejection::descriptors);
  }
  auto& fresh = place(std::move(made));
  fresh.listener = as;
  fresh.address = std::move(from.address);
  fresh.source = source;
  fresh.loopback = from.loopback;
  ++live_;
  ++tallies_.connections.opened[row];
  ++tallies_.connections.live[row];
  begin(fresh);
}

/// Gives a connection its slot and id.
connection& tcp_server::impl::place(std::unique_ptr<connection> made) {
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<std::uint32_t>(connections_.size()));
    connections_.emplace_back();
  }
  const auto slot = free_slots_.back();
  free_slots_.pop_back();
  auto& fresh = *made;
  connections_[slot] = std::move(made);
  fresh.id = (next_sequence_++ << (connection_slot_bits + connection_loop_bits)) |
             (connection_id{options_.loop_index} << connection_slot_bits) | slot;
  fresh.owner = this;
  fresh.since_ms = loop_.now_ms();
  return fresh;
}

void tcp_server::impl::tick() {
  const auto now = loop_.fresh_mono_ns();
  if (tick_due_ns_ != 0) {
    tallies_.lag.add(now > tick_due_ns_ ? static_cast<std::uint64_t>(now - tick_due_ns_) : 0);
  }
  tick_due_ns_ = now + static_cast<std::int64_t>(options_.tick_ms) * 1'000'000;

  const auto oldest_allowed = now - options_.request_timeout_ms * 1'000'000;
  for (auto slot = tickets_.oldest();
       slot != 0 && tickets_.at(slot).started_ns <= oldest_allowed;) {
    const auto next = tickets_.next(slot);
    if (!core::goes_over_the_store(tickets_.at(slot).method))
      answer_error(tickets_.name(slot), core::fail(core::error_code::REQUEST_TIMEOUT));
    slot = next;
  }

  feed_starved();
  check_deadlines(now);
}

void tcp_server::impl::check_deadlines(std::int64_t now) {
  // What a connection owes in seconds is looked at every so many ticks: there may be many.
  const bool all = ++ticks_ % ticks_between_looks == 0;
  if (!all && blocked_ + lingering_ + opening_ == 0) return;
  ends_left_ = ends_per_look_max;
  for (auto& each : connections_) {
    if (ends_left_ == 0) return look_again_.after(look_again_ms);
    if (each && !each->dead && each->wire) check_deadlines(*each, now);
  }
}

void tcp_server::impl::check_deadlines(connection& which, std::int64_t now) {
  if (!which.resting && !which.opening && now - which.active_ns >= rest_after_ns) {
    which.resting = true;
    which.wire->bytes.rest();
  }
  const auto cut = [&](core::rejection why) {
    tallies_.connections.reject(which.listener, why);
    which.dead = true;
  };
  if (which.opening) {
    if (now < which.opening_until_ns) return;
    which.opening->expire(tallies_.tls);
    reject({which.listener, core::rejection::opening_slow, which.opening->how(), which.source});
    which.dead = true;
  } else if (which.blocked && now - which.progress_ns >= options_.unread_stall_ms_max * 1'000'000) {
    cut(core::rejection::slow_reader);
  } else if (which.ending == ending::lingering) {
    which.dead = now >= which.linger_until_ns;
  } else if (which.ending == ending::none && which.message_since_ns != 0 &&
             now - which.message_since_ns >= options_.message_ms_max * 1'000'000) {
    cut(core::rejection::slow_sender);
  } else if (which.ending == ending::none && options_.idle_ms_max > 0 && !which.subscribed &&
             which.in_flight == 0 && now - which.active_ns >= options_.idle_ms_max * 1'000'000) {
    tallies_.connections.reject(which.listener, core::rejection::idle);
    close(which);
  }
  if (!which.dead) return;
  --ends_left_;
  mark(which);
}

connection* tcp_server::impl::find(connection_id id) const noexcept {
  const auto slot = slot_of(id);
  if (slot >= connections_.size()) return nullptr;
  auto* at = connections_[slot].get();
  return at != nullptr && at->id == id && !at->dead ? at : nullptr;
}

std::vector<core::connection_row> tcp_server::impl::list(connection_id after,
                                                         std::size_t limit) const {
  std::vector<const connection*> found;
  for (const auto& each : connections_)
    if (each && !each->dead && each->wire && each->id > after) found.push_back(each.get());
  const auto kept = std::min(limit, found.size());
  std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(kept), found.end(),
                    [](const auto* a, const auto* b) { return a->id < b->id; });
  found.resize(kept);
  std::vector<core::connection_row> rows;
  rows.reserve(kept);
  for (const auto* each : found)
    rows.push_back(
        {each->id, std::string(core::listener_names[static_cast<std::size_t>(each->listener)]),
         each->address, each->caller->name, std::string(core::to_string(each->caller->role)),
         each->since_ms, each->in_flight, each->requests, each->ja3, each->ja4});
  return rows;
}

bool tcp_server::impl::drained() const {
  if (tickets_.count() > 0 || !resumable_.empty() || !rereadable_.empty()) return false;
  return std::all_of(connections_.begin(), connections_.end(), [](const auto& each) {
    // Unless decoding is paused, what is not decoded is the beginning of a value: no work yet.
    return !each || each->dead ||
           (each->unread() == 0 && !each->parked && !(each->wire && each->wire->bytes.unsent()) &&
            !(each->paused && !each->undecoded.empty()));
  });
}

void tcp_server::impl::close_when(const core::caller* caller, bool all) {
  using enum core::error_code;
  for (auto& each : connections_) {
    if (!each || each->dead || (!all && each->caller != caller)) continue;
    if (!each->ended_by) each->ended_by = core::fail(all ? NODE_DRAINING : AUTH_FAILED);
    close(*each);
  }
}

void tcp_server::impl::fail_in_flight(std::uint32_t tag, const core::error& why) {
  for (auto slot = tickets_.oldest(); slot != 0;) {
    const auto next = tickets_.next(slot);
    if (tickets_.at(slot).tag == tag) answer_error(tickets_.name(slot), why);
    slot = next;
  }
}

tcp_server::tcp_server(loop& on, const tcp_options& options, gateway_port& gateway)
    : impl_(std::make_unique<impl>(on, options, gateway)) {}
tcp_server::~tcp_server() = default;

core::result<std::uint16_t> tcp_server::listen(const core::endpoint& where, core::listener as,
                                               bool shared, listener_rules rules) {
  return impl_->listen(where, as, shared, std::move(rules));
}
core::status tcp_server::listen_unix(const std::string& path, listener_rules rules) {
  return impl_->listen_unix(path, std::move(rules));
}
void tcp_server::stop_accepting() { impl_->acceptors_.clear(); }
bool tcp_server::drained() const { return impl_->drained(); }
void tcp_server::close_all() { impl_->close_when(nullptr, true); }
bool tcp_server::taken_leave() const {
  return std::all_of(impl_->connections_.begin(), impl_->connections_.end(), [](const auto& each) {
    return !each || each->dead || !each->wire || each->ending == ending::lingering;
  });
}
const loop_tallies& tcp_server::tallies() const { return impl_->tallies_; }

void tcp_server::answer(ticket to, const core::reply& reply) { impl_->answer(to, reply); }
void tcp_server::answer_encoded(ticket to, std::string_view outcome) {
  impl_->answer_encoded(to, outcome);
}
std::size_t tcp_server::push(connection_id to, std::string_view line) {
  auto* found = impl_->find(to);
  return found != nullptr ? impl_->push(*found, line) : 0;
}
std::size_t tcp_server::unread(connection_id of) const {
  const auto* found = impl_->find(of);
  return found != nullptr ? found->unread() : 0;
}
void tcp_server::set_caller(connection_id of, const core::caller* caller) {
  if (auto* found = impl_->find(of)) found->caller = caller;
}
void tcp_server::close(connection_id which) {
  if (auto* found = impl_->find(which)) impl_->close(*found);
}
void tcp_server::close_callers(const core::caller* caller) { impl_->close_when(caller, false); }
void tcp_server::fail_in_flight(std::uint32_t tag, const core::error& why) {
  impl_->fail_in_flight(tag, why);
}
bool tcp_server::set_owner(ticket of, std::uint32_t tag) {
  auto* found = impl_->tickets_.find(of);
  if (found != nullptr) found->tag = tag;
  return found != nullptr;
}
std::vector<core::connection_row> tcp_server::list(connection_id after, std::size_t limit) const {
  return impl_->list(after, limit);
}
std::size_t tcp_server::count() const { return impl_->live_; }
connection_id tcp_server::open(const core::caller* caller, origin from, lines_port& to) {
  return impl_->open_inside(caller, std::move(from), to);
}
void tcp_server::ask(connection_id from, std::string_view bytes) {
  if (auto* found = impl_->find(from)) impl_->ask(*found, bytes);
}
void tcp_server::hang_up(connection_id which) {
  if (auto* found = impl_->find(which)) impl_->hang_up(*found);
}

}  // namespace portcullis::net

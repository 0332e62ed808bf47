// From bytes to requests: reading, framing, decoding, the login barrier, and when all this waits.
#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "net/tcp/server_impl.hpp"

namespace portcullis::net {
namespace {

// One connection reads at most so much in a turn, so that a flood does not hold up the others.
constexpr std::size_t read_bytes_max = 64 * 1024;
constexpr std::size_t read_bytes_min = 16 * 1024;

constexpr bool is_of_a_connection(core::method called) noexcept {
  return called == core::method::auth_login || called == core::method::events_subscribe ||
         called == core::method::events_unsubscribe;
}

}  // namespace

void tcp_server::impl::ready(void* context, loop::watch::ready what) {
  auto& which = *static_cast<connection*>(context);
  auto& self = *static_cast<impl*>(which.owner);
  if (which.dead) return;
  if (which.opening) return self.go_on_opening(which);
  if (what.writable && which.blocked) {
    self.set_blocked(which, false);
    self.mark(which);
  }
  if (what.readable) self.read(which);
}

void tcp_server::impl::read(connection& from) {
  const bool dropping = from.ending != ending::none;
  if (from.paused || from.eof || (dropping && from.ending != ending::lingering)) return;
  if (dropping) return drop(from);
  if (!may_decode(from)) {
    from.paused = true;
    return mark(from);
  }
  const auto before = from.undecoded.size();
  const auto own = from.bound ? from.ja3.size() + from.ja4.size() : 0;
  char* const space = space_.take(own + before + read_bytes_min);
  if (space == nullptr) return starve(from);
  char* const bytes = space + own;
  const auto room = std::min(space_.room() - own - before, read_bytes_max);
  auto& wire = from.wire->bytes;
  const auto got = wire.read(bytes + before, room);
  switch (got.how) {
    case transfer::status::again:
      if (wire.unsent()) mark(from);  // what TLS has to answer: who does not read it stalls
      return;
    case transfer::status::failed:
      from.dead = true;  // a reset is no error of ours
      return mark(from);
    case transfer::status::ended:
      from.eof = true;
      break;
    case transfer::status::moved:
      from.resting = false;
      if (wire.readable()) mark(from);
      break;
  }
  (void)with_own_context(from, space);
  if (before > 0) std::memcpy(bytes, from.undecoded.data(), before);
  consume(from, bytes, before + got.bytes);
}

/// Where contexts are the connection's own, its fingerprints stand in front of what they go into,
/// so that requests keep both alive. Returns where the bytes go.
char* tcp_server::impl::with_own_context(const connection& of, char* at) {
  if (!of.bound) return at;
  own_ja3_ = {at, of.ja3.size()};
  own_ja4_ = {at + of.ja3.size(), of.ja4.size()};
  std::memcpy(at, of.ja3.data(), of.ja3.size());
  std::memcpy(at + of.ja3.size(), of.ja4.data(), of.ja4.size());
  space_.keep(of.ja3.size() + of.ja4.size());
  return at + of.ja3.size() + of.ja4.size();
}

void tcp_server::impl::drop(connection& from) {
  const auto how = from.wire->bytes.drop();
  if (how == transfer::status::moved || how == transfer::status::again) return;
  from.dead = true;
  mark(from);
}

void tcp_server::impl::consume(connection& from, char* bytes, std::size_t size) {
  std::size_t used = 0;
  current_ = &from;
  while (from.ending == ending::none && !from.dead) {
    if (!may_decode(from)) {
      from.paused = true;
      mark(from);
      break;
    }
    const auto found = from.frames.next({bytes + used, size - used}, from.eof);
    if (found.kind == frame_kind::value) {
      from.message_since_ns = 0;
      from.active_ns = loop_.mono_ns();
      decoder_.decode({bytes + used + found.begin, found.end - found.begin}, found.tape, *this);
    }
    used += found.consumed;
    if (found.kind == frame_kind::need_more) break;
    if (found.kind == frame_kind::form_error) form_error(from, found);
    if (found.kind == frame_kind::end) {
      from.ending = ending::after_answers;
      mark(from);
    }
  }
  current_ = nullptr;
  space_.keep(used);
  if (used == size || from.paused)
    from.message_since_ns = 0;
  else if (from.message_since_ns == 0)
    from.message_since_ns = loop_.mono_ns();
  keep_undecoded(from, from.ending == ending::none && !from.dead
                           ? std::string_view(bytes + used, size - used)
                           : std::string_view());
}

void tcp_server::impl::form_error(connection& from, const frame& what) {
  requests().refused(what.error.code);
  if (!what.close) return refuse(from, {}, what.error, {});
  if (!from.eof) tallies_.connections.reject(from.listener, core::rejection::protocol);
  from.last_error = what.error;
  from.ending = ending::after_answers;
  mark(from);
}

void tcp_server::impl::keep_undecoded(connection& from, std::string_view rest) {
  from.undecoded.clear();
  if (rest.empty()) {
    if (from.undecoded.capacity() > 0) recycle(from.undecoded);
    return;
  }
  if (from.undecoded.capacity() == 0 && !spare_buffers_.empty()) {
    std::swap(from.undecoded, spare_buffers_.back());
    spare_buffers_.pop_back();
  }
  from.undecoded.append(rest);
}

bool tcp_server::impl::may_decode(const connection& from) const noexcept {
  return !from.barrier && !from.parked && from.in_flight < options_.in_flight_per_connection_max &&
         from.queued() <= options_.unread_pause_bytes;
}

bool tcp_server::impl::may_resume(const connection& from) const noexcept {
  // Below the bounds that paused it: resuming for every single answer would copy the undecoded
  // bytes each time.
  return !from.barrier && from.ending == ending::none &&
         from.in_flight <= options_.in_flight_per_connection_max / 4 * 3 &&
         from.queued() <= options_.unread_pause_bytes / 2;
}

void tcp_server::impl::begin_batch(std::size_t) {
  current_batch_ = std::make_shared<reply_batch>();
}

void tcp_server::impl::end_batch() {
  const auto batch = std::exchange(current_batch_, nullptr);
  batch->seal();
  if (batch->complete()) finish_batch(*current_, *batch);
}

void tcp_server::impl::on_request(const call_id& id, core::request& request) {
  auto& from = *current_;
  if (from.bound) bind(request, from);
  reply_place where{id.raw, id.notification, nullptr, 0};
  if (current_batch_ && !id.notification) {
    where.batch = current_batch_;
    where.batch_index = current_batch_->expect();
  }
  const bool waits =
      from.behind_login() || (request.method == core::method::auth_login && from.in_flight > 0);
  if (!waits) return submit(from, std::move(where), request, space_.block());
  park(from, {std::move(where), std::move(request), space_.block()});
}

/// listen.rpc.bind_to_connection: what a caller says of itself counts for nothing.
void tcp_server::impl::bind(core::request& request, const connection& to) const {
  std::visit(
      [&](auto& params) {
        if constexpr (requires { params.context.ip; }) {
          auto& fields = params.context.fields;
          params.context.ip = to.source;
          fields[static_cast<std::size_t>(core::context_field::ja3)] = own_ja3_;
          fields[static_cast<std::size_t>(core::context_field::ja4)] = own_ja4_;
        }
      },
      request.params);
}

void tcp_server::impl::park(connection& from, parked_call call) {
  if (!from.parked) from.parked = std::make_unique<std::deque<parked_call>>();
  from.parked->push_back(std::move(call));
}

std::optional<core::error_code> tcp_server::impl::forbids(std::optional<core::method> called) {
  if (current_->calls_only && called && is_of_a_connection(*called))
    return core::error_code::METHOD_NOT_FOUND;
  if (current_->behind_login()) return std::nullopt;  // judged when its turn comes
  return core::refusal(current_->caller->role, called);
}

void tcp_server::impl::on_error(const call_id& id, std::optional<core::method> called,
                                const core::error& why, std::string_view correlation_id) {
  auto& from = *current_;
  reply_place where{id.raw, id.notification, nullptr, 0};
  if (current_batch_ && !id.notification) {
    where.batch = current_batch_;
    where.batch_index = current_batch_->expect();
  }
  const bool reached_a_name = called || why.code == core::error_code::METHOD_NOT_FOUND;
  if (!reached_a_name || !from.behind_login())
    return refuse_call(from, where, called, why, correlation_id);
  parked_call call{std::move(where), {}, space_.block(), why, called};
  call.request.correlation_id = correlation_id;
  park(from, std::move(call));
}

void tcp_server::impl::refuse_call(connection& from, const reply_place& where,
                                   std::optional<core::method> called, const core::error& why,
                                   std::string_view correlation_id) {
  using core::error_code;
  ++from.requests;
  if (called && (why.code == error_code::AUTH_REQUIRED || why.code == error_code::FORBIDDEN))
    requests().finished(called, why.code, 0);
  else
    requests().refused(why.code);
  refuse(from, where, why, correlation_id);
}

void tcp_server::impl::submit(connection& from, reply_place where, core::request& request,
                              const block_ref& block) {
  ++from.requests;
  if (is_overloaded()) {
    auto why = core::fail(core::error_code::OVERLOADED);
    why.retry_after_ms = options_.turn_ms_max;
    requests().finished(request.method, why.code, 0);
    return refuse(from, where, why, request.correlation_id);
  }
  std::uint32_t slot = 0;
  auto& entry = tickets_.open(slot);
  entry.connection = from.id;
  entry.started_ns = loop_.mono_ns();
  entry.method = request.method;
  entry.notification = where.notification;
  entry.raw_id.assign(where.raw_id);
  entry.correlation_id.assign(request.correlation_id);
  entry.batch = std::move(where.batch);
  entry.batch_index = static_cast<std::uint16_t>(where.batch_index);
  ++from.in_flight;
  ++requests().in_flight;
  if (request.method == core::method::auth_login) from.barrier = true;
  submitted_ = true;
  const auto name = tickets_.name(slot);
  const auto tag = gateway_.submit(from.id, *from.caller, name, request, block);
  if (auto* still = tickets_.find(name)) still->tag = tag;
}

/// Whether there is more to do than can be done in time. What a loop finds to read when it looks
/// has waited already; once working on it has taken long enough, the rest is refused, which is
/// cheaper, and so the next turn finds requests that are fresh. Without that a burst would delay
/// all that come after it by as long as it lasts.
bool tcp_server::impl::is_overloaded() {
  constexpr std::uint32_t requests_between_looks = 64;
  if (tickets_.count() >= options_.in_flight_per_loop_max) return true;
  if (shedding_ || until_look_-- > 0) return shedding_;
  until_look_ = requests_between_looks - 1;
  shedding_ = loop_.fresh_mono_ns() - loop_.mono_ns() > options_.turn_ms_max * 1'000'000;
  return shedding_;
}

bool tcp_server::impl::submit_hook() {
  if (!resumable_.empty()) resume_all();
  if (!rereadable_.empty()) reread_all();
  if (submitted_) {
    submitted_ = false;
    gateway_.turn_ended();
  }
  return false;
}

/// Bytes that TLS holds already: no socket will tell of them.
void tcp_server::impl::reread_all() {
  rereading_.swap(rereadable_);
  for (const auto id : rereading_) {
    auto* which = find(id);
    if (which == nullptr) continue;
    which->rereading = false;
    if (which->wire->bytes.readable()) read(*which);
    mark(*which);
  }
  rereading_.clear();
}

void tcp_server::impl::resume_all() {
  resuming_.swap(resumable_);
  for (const auto id : resuming_)
    if (auto* which = find(id)) resume(*which);
  resuming_.clear();
}

void tcp_server::impl::resume(connection& which) {
  which.resuming = false;
  mark(which);
  while (which.parked && !which.barrier) {
    auto& first = which.parked->front();
    if (first.request.method == core::method::auth_login && which.in_flight > 0) return;
    auto call = std::move(first);
    which.parked->pop_front();
    if (which.parked->empty()) which.parked.reset();
    if (!call.fault) {
      submit(which, std::move(call.place), call.request, call.block);
      continue;
    }
    if (const auto code = core::refusal(which.caller->role, call.called))
      call.fault = core::fail(*code);
    refuse_call(which, call.place, call.called, *call.fault, call.request.correlation_id);
  }
  if (which.parked || !which.paused || !may_resume(which)) return;
  const auto size = which.undecoded.size();
  const auto own = which.bound ? which.ja3.size() + which.ja4.size() : 0;
  char* const space = space_.take(own + size);
  if (space == nullptr) return starve(which);
  char* const bytes = with_own_context(which, space);
  which.paused = false;
  if (size > 0) std::memcpy(bytes, which.undecoded.data(), size);
  consume(which, bytes, size);
}

void tcp_server::impl::starve(connection& which) {
  if (!which.starved) starved_.push_back(which.id);
  which.starved = true;
  mark(which);
}

void tcp_server::impl::feed_starved() {
  if (starved_.empty() || !space_.available()) return;
  for (const auto id : starved_) {
    if (auto* which = find(id)) {
      which->starved = false;
      mark(*which);
    }
  }
  starved_.clear();
}

}  // namespace portcullis::net

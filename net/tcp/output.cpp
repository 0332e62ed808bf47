// From replies to bytes: encoding in place, one write a connection a turn, slow readers, and how
// connections end.
#include <charconv>
#include <utility>

#include "core/contract/reply.hpp"
#include "net/tcp/server_impl.hpp"

namespace portcullis::net {
namespace {

constexpr std::size_t spare_buffers_max = 256;
constexpr std::size_t spare_buffer_bytes_max = 64 * 1024;
constexpr std::size_t no_error = core::request_tallies::no_error;

std::size_t error_row_of(const core::reply& reply) noexcept {
  const auto* failure = std::get_if<core::failed>(&reply);
  return failure == nullptr ? no_error : static_cast<std::size_t>(failure->why.code);
}

std::size_t error_row_of(std::string_view outcome) noexcept {
  constexpr std::string_view head = R"("error":{"code":)";
  if (!outcome.starts_with(head)) return no_error;
  std::int32_t code = 0;
  std::from_chars(outcome.data() + head.size(), outcome.data() + outcome.size(), code);
  return static_cast<std::size_t>(core::error_from_wire(code).value_or(core::error_code::INTERNAL));
}

}  // namespace

void tcp_server::impl::mark(connection& changed) {
  if (changed.dirty) return;
  changed.dirty = true;
  dirty_.push_back(&changed);
}

core::byte_buffer& tcp_server::impl::out_of(connection& to) {
  if (to.out.capacity() == 0 && !spare_buffers_.empty()) {
    std::swap(to.out, spare_buffers_.back());
    spare_buffers_.pop_back();
  }
  return to.out;
}

void tcp_server::impl::recycle(core::byte_buffer& buffer) {
  buffer.clear();
  if (buffer.capacity() > spare_buffer_bytes_max || spare_buffers_.size() >= spare_buffers_max)
    return buffer.release();
  std::swap(spare_buffers_.emplace_back(), buffer);
}

template <class Encode>
void tcp_server::impl::reply(connection& to, const reply_place& where, Encode encode) {
  if (where.notification || to.ending == ending::lingering) return;
  if (!where.batch) {
    auto& out = out_of(to);
    encode(out);
    out.append('\n');
  } else {
    auto& out = where.batch->place(where.batch_index);
    encode(out);
    to.held += out.size();
    where.batch->fulfil(where.batch_index);
    if (where.batch->complete()) return finish_batch(to, *where.batch);
  }
  grown(to);
}

void tcp_server::impl::finish_batch(connection& to, reply_batch& batch) {
  to.held -= batch.bytes();
  batch.write(out_of(to));
  if (batch.holds_pushes() && --to.withholding == 0 && !to.withheld.empty()) {
    to.out.append(to.withheld.view());
    recycle(to.withheld);
  }
  grown(to);
}

void tcp_server::impl::refuse(connection& to, const reply_place& where, const core::error& why,
                              std::string_view correlation_id) {
  reply(to, where, [&](core::byte_buffer& out) {
    encode_error_reply(out, where.raw_id, why, correlation_id, encoding_);
  });
}

template <class Encode>
void tcp_server::impl::finish(ticket which, pending_request& entry, std::size_t error_row,
                              Encode encode) {
  ++requests().by_error[static_cast<std::size_t>(entry.method)][error_row];
  --requests().in_flight;
  answered_.push_back({entry.method, entry.started_ns});
  if (auto* to = find(entry.connection)) {
    --to->in_flight;
    if (entry.method == core::method::auth_login) to->barrier = false;
    if (entry.method == core::method::events_subscribe && error_row == no_error)
      to->subscribed = true;
    // From here on there may be events, and the reply to a subscribe precedes its first event.
    if (entry.method == core::method::events_subscribe && entry.batch &&
        !entry.batch->holds_pushes()) {
      entry.batch->hold_pushes();
      ++to->withholding;
    }
    reply(*to, {entry.raw_id.view(), entry.notification, entry.batch, entry.batch_index}, encode);
    mark(*to);
  }
  tickets_.close(which.slot);
}

void tcp_server::impl::answer(ticket to, const core::reply& reply) {
  auto* entry = tickets_.find(to);
  if (entry == nullptr) return;
  finish(to, *entry, error_row_of(reply), [&](core::byte_buffer& out) {
    const auto* failure = std::get_if<core::failed>(&reply);
    if (failure != nullptr && failure->correlation_id.empty())
      encode_error_reply(out, entry->raw_id.view(), failure->why, entry->correlation_id.view(),
                         encoding_);
    else
      encode_reply(out, entry->raw_id.view(), reply, encoding_);
  });
}

void tcp_server::impl::answer_error(ticket to, const core::error& why) {
  answer(to, core::failed{why, {}});
}

void tcp_server::impl::answer_encoded(ticket to, std::string_view outcome) {
  auto* entry = tickets_.find(to);
  if (entry == nullptr) return;
  finish(to, *entry, error_row_of(outcome), [&](core::byte_buffer& out) {
    begin_envelope(out, entry->raw_id.view());
    out.append(outcome);
    end_envelope(out);
  });
}

std::size_t tcp_server::impl::push(connection& to, std::string_view line) {
  if (to.ending == ending::lingering) return 0;
  auto& out = to.withholding > 0 ? to.withheld : out_of(to);
  out.append(line);
  out.append('\n');
  grown(to);
  return to.dead ? 0 : to.unread();
}

void tcp_server::impl::close(connection& which) {
  if (which.ending != ending::lingering) which.ending = ending::after_output;
  which.dead |= which.opening != nullptr;  // it has been told nothing yet
  mark(which);
}

void tcp_server::impl::grown(connection& which) {
  mark(which);
  if (which.unread() <= options_.unread_close_bytes) return;
  send(which);  // the kernel may have room for the excess
  if (which.dead || which.unread() <= options_.unread_close_bytes) return;
  tallies_.connections.reject(which.listener, core::rejection::slow_reader);
  which.ended_by = core::fail(core::error_code::VALUE_TOO_LARGE, {}, "replies",
                              static_cast<std::int64_t>(options_.unread_close_bytes));
  which.dead = true;
}

void tcp_server::impl::set_blocked(connection& which, bool blocked) {
  if (which.blocked == blocked) return;
  which.blocked = blocked;
  blocked ? ++blocked_ : --blocked_;
}

void tcp_server::impl::send(connection& to) {
  if (to.lines != nullptr) return hand_over(to);
  auto& wire = to.wire->bytes;
  bool progress = !to.blocked;  // else the time without progress starts now
  if (wire.unsent()) {
    const auto how = wire.flush();
    progress |= how == transfer::status::moved;
    to.dead = how == transfer::status::failed;
  }
  while (!to.dead && to.sent < to.out.size() && !wire.unsent()) {
    const auto put = wire.write(to.out.view().substr(to.sent));
    to.sent += put.bytes;
    progress |= put.bytes > 0;
    to.dead = put.how == transfer::status::failed;  // nothing to tell, no one to tell it
    if (put.how == transfer::status::again || !wire.encrypted()) break;
  }
  if (to.dead) return;
  to.resting = false;
  if (progress) to.progress_ns = loop_.mono_ns();
  if (to.sent == to.out.size() && !wire.unsent()) {
    if (to.sent == 0) return set_blocked(to, false);
    to.sent = 0;
    recycle(to.out);
    return set_blocked(to, false);
  }
  set_blocked(to, true);
  if (to.sent > spare_buffer_bytes_max && to.sent > to.out.size() / 2) {
    to.out.consume(to.sent);
    to.sent = 0;
  }
}

/// To a caller inside of the process, who may ask again, or hang up, at each line.
void tcp_server::impl::hand_over(connection& to) {
  while (to.lines != nullptr && to.sent < to.out.size()) {
    const auto rest = to.out.view().substr(to.sent);
    const auto end = rest.find('\n');  // every line ends in one
    to.sent += end + 1;
    to.lines->line(rest.substr(0, end));
  }
  if (to.sent > 0) {
    to.sent = 0;
    recycle(to.out);
  }
  const bool settled = to.in_flight == 0 && !to.parked && !to.paused && to.undecoded.empty();
  if (to.lines != nullptr && settled && to.ending == ending::none) to.lines->settled();
}

bool tcp_server::impl::write_hook() {
  openings_left_ = openings_per_turn_max;
  shedding_ = false;
  if (!starved_.empty()) feed_starved();
  // Settling may close connections, and the gateway, told of it, may queue output on others.
  while (!dirty_.empty()) {
    settling_.swap(dirty_);
    for (auto* each : settling_) settle(*each);
    settling_.clear();
  }
  if (!answered_.empty()) {
    const auto now = loop_.fresh_mono_ns();
    for (const auto& each : answered_)
      requests().duration[static_cast<std::size_t>(each.method)].add(
          static_cast<std::uint64_t>(now - each.started_ns));
    answered_.clear();
  }
  return !resumable_.empty() || !rereadable_.empty();
}

void tcp_server::impl::settle(connection& which) {
  which.dirty = false;
  if (!which.dead && !which.blocked) send(which);
  if (!which.dead && which.ending != ending::none) end(which);
  if (which.dead) return destroy(which);
  const bool parked_go = which.parked && !which.barrier && which.in_flight == 0;
  const bool bytes_go = which.paused && !which.parked && !which.starved && may_resume(which);
  if ((parked_go || bytes_go) && !which.resuming) {
    which.resuming = true;
    resumable_.push_back(which.id);
  }
  if (!which.wire) return;
  if (which.opening) return which.wire->watch.want(true, which.opening->unsent());
  const bool reading =
      which.ending == ending::lingering ||
      (which.ending == ending::none && !which.paused && !which.eof && !which.starved);
  if (reading && which.ending == ending::none && !which.rereading && which.wire->bytes.readable()) {
    which.rereading = true;
    rereadable_.push_back(which.id);
  }
  which.wire->watch.want(reading, which.blocked);
}

void tcp_server::impl::end(connection& which) {
  if (which.ending == ending::after_answers && which.in_flight == 0 && !which.parked) {
    which.ending = ending::after_output;
    if (which.last_error) {
      auto& out = out_of(which);
      encode_error_reply(out, {}, *which.last_error, {}, encoding_);
      out.append('\n');
      if (!which.blocked) send(which);
    }
  }
  if (which.dead || which.ending != ending::after_output || which.out.size() > which.sent) return;
  if (which.lines != nullptr) {
    which.dead = true;
    return;
  }
  if (which.wire->bytes.unsent()) return;
  // Closing a socket with unread input sends a reset, which may overtake the replies: shut our side
  // and drain theirs.
  if (!which.wire->bytes.end_output() || which.eof) {
    which.dead = true;
    return;
  }
  which.ending = ending::lingering;
  which.starved = which.paused = false;
  which.linger_until_ns = loop_.fresh_mono_ns() + options_.linger_ms * 1'000'000;
  ++lingering_;
}

void tcp_server::impl::destroy(connection& which) {
  const auto id = which.id;
  const auto slot = slot_of(id);
  set_blocked(which, false);
  if (which.ending == ending::lingering) --lingering_;
  if (which.out.capacity() > 0) recycle(which.out);
  if (which.undecoded.capacity() > 0) recycle(which.undecoded);
  if (which.withheld.capacity() > 0) recycle(which.withheld);
  if (which.opening) --opening_;
  if (which.counted) options_.sources->leave(which.source);
  if (which.wire) {
    --live_;
    --tallies_.connections.live[static_cast<std::size_t>(which.listener)];
  }
  auto* const lines = which.lines;
  const auto why = std::move(which.ended_by);
  connections_[slot].reset();
  free_slots_.push_back(slot);
  gateway_.closed(id);
  if (lines != nullptr) lines->ended(why);
}

}  // namespace portcullis::net

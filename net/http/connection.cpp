// From bytes to requests, from answers to bytes: one write a connection a turn, slow clients, and
// how connections end.
#include <algorithm>
#include <utility>

#include "net/http/server_impl.hpp"

namespace portcullis::net {
namespace {

constexpr std::string_view continue_answer = "HTTP/1.1 100 Continue\r\n\r\n";
constexpr std::size_t kept_buffer_bytes_max = 16 * 1024;  // of a connection without output

}  // namespace

void http_connection::answer(const http_answer& what) { owner.answer(*this, what); }
void http_connection::refuse(const core::error& why, int status, std::string_view fields,
                             std::string_view correlation_id) {
  owner.refuse(*this, why, status, fields, correlation_id);
}
std::function<void(const core::result<http_page>&)> http_connection::later() {
  return [server = owner.weak_from_this(), id = id,
          number = requests](const core::result<http_page>& page) {
    const auto alive = server.lock();
    auto* const to = alive ? alive->waiting(id, number) : nullptr;
    if (to == nullptr) return;
    if (!page) return to->refuse(page.error(), 0, {}, {});
    to->answer({200, page->content_type, page->text});
  };
}
void http_connection::wait(std::int64_t ms) noexcept { deadline_ns = owner.in_ms(ms); }
void http_connection::begin_stream(std::string_view content_type, std::string_view beat) {
  owner.begin_stream(*this, content_type, beat);
}
void http_connection::stream(std::string_view part) { owner.stream(*this, part); }
void http_connection::end_stream() { owner.end_stream(*this); }

void http_server::impl::ready(void* context, loop::watch::ready what) {
  auto& which = *static_cast<http_connection*>(context);
  auto& self = which.owner;
  if (which.dead) return;
  if (which.opening) return self.go_on_opening(which);
  if (what.writable && which.blocked) {
    which.blocked = false;
    self.mark(which);
  }
  if (what.readable) self.read(which);
}

void http_server::impl::read(http_connection& from) {
  if (from.step == http_step::lingering || from.step == http_step::streaming) return drop(from);
  if (from.step != http_step::reading || from.blocked || from.unparsed || from.eof) {
    // Not looked at now. Watching goes on until there is something: most answers come in the same
    // turn, and each change of what is watched for costs two system calls.
    from.paused = true;
    return mark(from);
  }
  const bool fresh = from.in.empty();
  char* const at = fresh ? space_.get() : from.in.reserve(read_bytes_max);
  const auto got = from.wire.read(at, read_bytes_max);
  if (got.how == transfer::status::again) {
    if (from.wire.unsent()) mark(from);  // what TLS has to answer: who does not read it stalls
    return;
  }
  mark(from);
  if (got.how != transfer::status::moved) {
    from.eof = true;
    from.dead = got.how == transfer::status::failed;
    return;
  }
  if (!fresh) {
    from.in.commit(got.bytes);
    return consume_kept(from);
  }
  const auto used = consume(from, {at, got.bytes});
  from.in.append({at + used, got.bytes - used});
}

void http_server::impl::drop(http_connection& from) {
  auto how = transfer::status::again;
  if (from.step == http_step::lingering)
    how = from.wire.drop();
  else
    how = from.wire.read(space_.get(), read_bytes_max).how;
  if (how == transfer::status::moved || how == transfer::status::again) return;
  from.dead = true;
  mark(from);
}

void http_server::impl::consume_kept(http_connection& from) {
  from.in.consume(consume(from, from.in.view()));
  if (from.in.empty()) from.in.release();
}

/// Handles the requests that `bytes` begin with, as long as each is answered at once. Returns how
/// many bytes they had.
std::size_t http_server::impl::consume(http_connection& from, std::string_view bytes) {
  std::size_t used = 0;
  from.unparsed = false;
  for (unsigned left = requests_per_turn_max; used < bytes.size(); --left) {
    if (from.step != http_step::reading) {
      from.unparsed = from.step == http_step::answering;
      return from.unparsed ? used : bytes.size();
    }
    if (left == 0 || from.blocked || from.unread() > core::limits::unread_pause_bytes) {
      from.unparsed = true;
      return used;
    }
    if (!std::exchange(from.started, true)) from.deadline_ns = in_ms(options_.header_ms_max);
    const bool had_head = from.reader.has_head();
    const auto found = from.reader.read(bytes.substr(used), fields_);
    if (found == http_request_reader::status::need_more) {
      if (!had_head && from.reader.has_head()) from.deadline_ns = in_ms(options_.body_ms_max);
      if (from.reader.take_continue()) from.out.append(continue_answer);
      return used;
    }
    if (found == http_request_reader::status::refused) {
      reject(from, core::rejection::protocol);
      from.head = from.reader.request().is_head();
      from.route = core::http_route::other;
      from.step = http_step::answering;
      from.keep_alive = false;
      handler_.refuse(from, from.reader.error(), from.reader.http_status());
      return bytes.size();
    }
    used += from.reader.size();
    handle(from);
    from.reader.reset();
  }
  return used;
}

void http_server::impl::handle(http_connection& from) {
  const auto& request = from.reader.request();
  from.head = request.is_head();
  from.http_1_0 = request.http_1_0;
  from.keep_alive = request.keep_alive;
  from.route = core::http_route::other;
  from.step = http_step::answering;
  from.deadline_ns = in_ms(options_.answer_ms_max);
  ++from.requests;
  handler_.handle(from);
  asked_ |= from.step == http_step::answering;
}

void http_server::impl::answer(http_connection& to, const http_answer& what) {
  if (!to.waiting()) return;
  to.keep_alive = to.keep_alive && !stopping_;
  write_answer(to.out, what, {to.head, to.keep_alive, to.http_1_0}, date());
  requests_tally_.answered(to.route, what.status);
  to.started = false;
  to.step = to.keep_alive ? http_step::reading : http_step::closing;
  to.deadline_ns = in_ms(options_.idle_ms_max);
  mark(to);
}

http_connection* http_server::impl::waiting(std::uint64_t id, std::uint64_t request) const {
  const auto found = connections_.find(id);
  if (found == connections_.end() || found->second->requests != request) return nullptr;
  return found->second->waiting() ? found->second.get() : nullptr;
}

void http_server::impl::refuse(http_connection& to, const core::error& why, int status,
                               std::string_view fields, std::string_view correlation_id) {
  if (status == 0) status = core::describe(why.code).status;
  error_body_.clear();
  encode_error_object(error_body_, why, correlation_id, encoding_, status);
  error_fields_.clear();
  error_fields_.append(fields);
  write_error_fields(error_fields_, why, status);
  answer(to, {status, "application/json", error_body_.view(), error_fields_.view()});
}

void http_server::impl::turn_away(http_connection& to, const core::error& why, int status) {
  to.step = http_step::answering;
  to.keep_alive = false;
  refuse(to, why, status, {}, {});
}

void http_server::impl::begin_stream(http_connection& to, std::string_view content_type,
                                     std::string_view heartbeat) {
  if (!to.waiting()) return;
  write_stream_head(to.out, {200, content_type}, to.http_1_0, date());
  requests_tally_.answered(to.route, 200);
  to.step = http_step::streaming;
  to.heartbeat = heartbeat;
  to.said_ns = loop_.mono_ns();
  mark(to);
}

void http_server::impl::stream(http_connection& to, std::string_view part) {
  if (to.dead || to.step != http_step::streaming || part.empty()) return;
  write_part(to.out, part, to.http_1_0);
  to.said_ns = loop_.mono_ns();
  mark(to);
}

void http_server::impl::end_stream(http_connection& to) {
  if (to.dead || to.step != http_step::streaming) return;
  write_part(to.out, {}, to.http_1_0);
  to.step = http_step::closing;
  mark(to);
}

void http_server::impl::send(http_connection& to) {
  auto& wire = to.wire;
  bool progress = false;
  if (wire.unsent()) {
    const auto how = wire.flush();
    progress = how == transfer::status::moved;
    to.dead = how == transfer::status::failed;
  }
  while (!to.dead && to.sent < to.out.size() && !wire.unsent()) {
    const auto put = wire.write(to.out.view().substr(to.sent));
    to.sent += put.bytes;
    progress |= put.bytes > 0;
    to.dead = put.how == transfer::status::failed;
    if (put.how == transfer::status::again || !wire.encrypted()) break;
  }
  if (to.dead) return;
  to.blocked = to.sent < to.out.size() || wire.unsent();
  if (progress || to.write_deadline_ns == 0) to.write_deadline_ns = in_ms(options_.write_ms_max);
  if (!to.blocked) return sent_all(to);
  if (to.sent > to.out.size() / 2) {
    to.out.consume(to.sent);
    to.sent = 0;
  }
}

void http_server::impl::sent_all(http_connection& to) {
  to.sent = 0;
  to.write_deadline_ns = 0;
  to.out.capacity() > kept_buffer_bytes_max ? to.out.release() : to.out.clear();
  if (to.step != http_step::closing) return;
  drop_guest(to);
  // Closing a socket with unread input sends a reset, which may overtake the answer.
  if (!to.wire.end_output() || to.eof) {
    to.dead = true;
    return;
  }
  to.in.release();
  to.step = http_step::lingering;
  to.deadline_ns = in_ms(options_.linger_ms);
}

void http_server::impl::settle(http_connection& which) {
  // It stays in no list while it counts as dirty: what is marked here is settled here.
  if (!which.dead && which.unparsed && which.step == http_step::reading && !which.blocked)
    consume_kept(which);
  if (!which.dead && !which.blocked && !which.opening) send(which);
  const bool reading = which.step == http_step::reading && !which.blocked;
  if (reading && which.eof && !which.unparsed) which.dead = true;
  if (which.dead) return destroy(which);
  which.dirty = false;
  if (reading && which.unparsed) mark(which);  // more requests than a turn takes
  if (reading) which.paused = false;
  const bool dropping = which.step == http_step::lingering || which.step == http_step::streaming;
  const bool watching = dropping || which.opening ||
                        (!which.eof && !which.paused && which.step != http_step::closing);
  if ((reading || dropping) && !which.unparsed && !which.rereading && which.wire.readable()) {
    which.rereading = true;
    rereadable_.push_back(which.id);
  }
  which.watch.want(watching, which.blocked || (which.opening && which.opening->unsent()));
}

void http_server::impl::destroy(http_connection& which) {
  if (which.opening) --opening_;
  if (which.counted) options_.sources->leave(which.from.source);
  --connections_tally_.live[static_cast<std::size_t>(which.from.listener)];
  drop_guest(which);
  connections_.erase(which.id);
}

bool http_server::impl::write_hook() {
  openings_left_ = openings_per_turn_max;
  asked_ = false;
  rereading_.swap(rereadable_);
  for (const auto id : rereading_) {
    const auto found = connections_.find(id);
    if (found == connections_.end() || found->second->dead) continue;
    found->second->rereading = false;
    mark(*found->second);
    if (found->second->wire.readable()) read(*found->second);
  }
  rereading_.clear();
  settling_.swap(dirty_);
  for (auto* each : settling_) settle(*each);
  settling_.clear();
  // What was asked after the RPC server's hooks of this turn would wait for the next event.
  return asked_ || !dirty_.empty() || !rereadable_.empty();
}

}  // namespace portcullis::net

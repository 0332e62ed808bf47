#include "net/http/server.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/bytes.hpp"
#include "net/http/answer.hpp"
#include "net/http/request_reader.hpp"
#include "net/loop/descriptor.hpp"
#include "net/tcp/acceptor.hpp"

namespace portcullis::net {
namespace {

constexpr std::size_t read_bytes_max = 8 * 1024;
constexpr std::size_t refused_connections_max = 64;  // beyond the cap, while they are told so
constexpr auto http_row = static_cast<std::size_t>(core::listener::http);

enum class step : std::uint8_t { reading, answering, writing, lingering };

struct http_connection {
  http_connection(loop& on, descriptor connected, loop::watch::function ready,
                  std::size_t header_bytes_max)
      : socket(std::move(connected)),
        watch(on, socket.get(), ready, this),
        reader(header_bytes_max) {}

  descriptor socket;
  loop::watch watch;
  http_request_reader reader;
  void* owner = nullptr;
  std::uint64_t id = 0;
  std::uint64_t requests = 0;  // of them the last is being answered
  remote_end from;
  core::byte_buffer in, out;
  std::size_t sent = 0;
  std::int64_t deadline_ns = 0;
  net::step step = net::step::reading;
  bool head = false;
  bool keep_alive = false;
  bool eof = false;
  bool blocked = false;
  bool dead = false;
  bool dirty = false;
};

}  // namespace

class http_server::impl : public std::enable_shared_from_this<impl> {
 public:
  impl(loop& on, const http_options& options, http_port& port)
      : loop_(on),
        options_(options),
        port_(port),
        made_up_(options.correlation_seed),
        encoding_{made_up_, options.development},
        write_hook_(on, phase::write, [this] { return settle_all(); }),
        tick_(on, [this] { tick(); }) {
    tick_.every(options_.tick_ms);
  }

  core::result<std::uint16_t> listen(const core::endpoint& where) {
    auto opened = acceptor::open(
        loop_, where, false,
        [this](descriptor socket, remote_end from) { accept(std::move(socket), std::move(from)); },
        [this] { tallies_.reject(core::listener::http, core::rejection::descriptors); });
    if (!opened) return opened.error();
    acceptors_.push_back(*std::move(opened));
    return acceptors_.back()->port();
  }
  void stop_accepting() {
    acceptors_.clear();
    stopping_ = true;
  }
  [[nodiscard]] std::size_t count() const { return connections_.size(); }
  [[nodiscard]] const core::connection_tallies& tallies() const { return tallies_; }

 private:
  void accept(descriptor socket, remote_end from);
  static void ready(void* connection, loop::watch::ready what);
  void read(http_connection& from);
  void parse(http_connection& from);
  void answer(std::uint64_t id, std::uint64_t request, const http_response& response);
  void refuse(http_connection& to, const core::error& why, int status);
  void write(http_connection& to, const http_response& response);
  void send(http_connection& to);
  void sent_all(http_connection& to);
  void settle(http_connection& which);
  bool settle_all();
  void tick();
  void mark(http_connection& which) {
    if (!std::exchange(which.dirty, true)) dirty_.push_back(which.id);
  }
  [[nodiscard]] std::int64_t in_ms(std::int64_t ms) { return loop_.mono_ns() + ms * 1'000'000; }

  loop& loop_;
  http_options options_;
  http_port& port_;
  correlation_maker made_up_;
  encode_options encoding_;
  core::connection_tallies tallies_;
  std::vector<std::unique_ptr<acceptor>> acceptors_;
  std::unordered_map<std::uint64_t, std::unique_ptr<http_connection>> connections_;
  std::vector<std::uint64_t> dirty_;
  std::uint64_t next_id_ = 1;
  bool stopping_ = false;
  loop::hook write_hook_;
  loop::timer tick_;
};

void http_server::impl::accept(descriptor socket, remote_end from) {
  const bool over = connections_.size() >= options_.connections_max;
  if (over) tallies_.reject(core::listener::http, core::rejection::limit);
  if (connections_.size() >= options_.connections_max + refused_connections_max) return;
  std::unique_ptr<http_connection> made;
  try {
    made = std::make_unique<http_connection>(loop_, std::move(socket), &impl::ready,
                                             options_.header_bytes_max);
  } catch (const std::runtime_error&) {
    tallies_.reject(core::listener::http, core::rejection::descriptors);
    return;
  }
  auto& fresh = *made;
  fresh.owner = this;
  fresh.id = next_id_++;
  fresh.from = std::move(from);
  fresh.deadline_ns = in_ms(options_.header_ms_max);
  connections_.emplace(fresh.id, std::move(made));
  ++tallies_.live[http_row];
  if (over)
    refuse(fresh, core::fail(core::error_code::CONNECTION_LIMIT), 503);
  else
    ++tallies_.opened[http_row];
  mark(fresh);
}

void http_server::impl::ready(void* context, loop::watch::ready what) {
  auto& which = *static_cast<http_connection*>(context);
  auto& self = *static_cast<impl*>(which.owner);
  if (which.dead) return;
  if (what.writable && which.blocked) {
    which.blocked = false;
    self.mark(which);
  }
  if (what.readable) self.read(which);
}

void http_server::impl::read(http_connection& from) {
  if (from.step == step::answering || from.step == step::writing) return;
  const bool dropping = from.step == step::lingering;
  char* at = from.in.reserve(read_bytes_max);
  const auto got = ::recv(from.socket.get(), at, read_bytes_max, 0);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
  mark(from);
  if (got <= 0) {
    from.dead = got < 0 || dropping;
    from.eof = true;
    return;
  }
  if (dropping) return;
  from.in.commit(static_cast<std::size_t>(got));
}

void http_server::impl::parse(http_connection& from) {
  if (from.in.empty()) return;
  if (!from.reader.started()) from.deadline_ns = in_ms(options_.header_ms_max);
  std::size_t used = 0;
  const auto status = from.reader.feed(from.in.view(), used);
  from.in.consume(used);
  from.head = from.reader.head();
  switch (status) {
    case http_request_reader::status::need_more:
      return;
    case http_request_reader::status::refused:
      tallies_.reject(core::listener::http, core::rejection::protocol);
      return refuse(from, from.reader.error(), from.reader.http_status());
    case http_request_reader::status::complete:
      break;
  }
  auto request = std::move(from.reader.request());
  request.remote_address = from.from.address;
  request.loopback = from.from.loopback;
  from.keep_alive = from.reader.keep_alive() && !stopping_;
  from.reader.reset();
  from.step = step::answering;
  from.deadline_ns = in_ms(options_.answer_ms_max);
  port_.handle(std::move(request), [self = weak_from_this(), id = from.id,
                                    number = ++from.requests](const http_response& response) {
    if (const auto alive = self.lock()) alive->answer(id, number, response);
  });
}

void http_server::impl::answer(std::uint64_t id, std::uint64_t request,
                               const http_response& response) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  auto& to = *found->second;
  if (to.dead || to.step != step::answering || to.requests != request) return;
  write(to, response);
}

void http_server::impl::refuse(http_connection& to, const core::error& why, int status) {
  to.keep_alive = false;
  write(to, error_response(why, status, encoding_));
}

void http_server::impl::write(http_connection& to, const http_response& response) {
  to.step = step::writing;
  to.keep_alive = to.keep_alive && !stopping_;
  write_response(to.out, response, to.head, to.keep_alive);
  to.deadline_ns = in_ms(options_.write_ms_max);
  mark(to);
}

void http_server::impl::send(http_connection& to) {
  const auto left = to.out.size() - to.sent;
  const auto put = ::send(to.socket.get(), to.out.data() + to.sent, left, MSG_NOSIGNAL);
  if (put < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
    to.dead = true;
    return;
  }
  if (put > 0) {
    to.sent += static_cast<std::size_t>(put);
    to.deadline_ns = in_ms(options_.write_ms_max);
  }
  to.blocked = to.sent < to.out.size();
  if (!to.blocked) sent_all(to);
}

void http_server::impl::sent_all(http_connection& to) {
  to.out.release();
  to.sent = 0;
  if (to.keep_alive) {
    to.step = step::reading;
    to.deadline_ns = in_ms(options_.idle_ms_max);
    return;
  }
  if (to.eof || ::shutdown(to.socket.get(), SHUT_WR) != 0) {
    to.dead = true;
    return;
  }
  to.in.release();
  to.step = step::lingering;
  to.deadline_ns = in_ms(options_.linger_ms);
}

void http_server::impl::settle(http_connection& which) {
  which.dirty = false;
  if (!which.dead && which.step == step::reading) parse(which);
  if (!which.dead && which.step == step::writing && !which.blocked) send(which);
  if (which.step == step::reading) {
    // A pipelined request is parsed in the next turn.
    if (!which.in.empty() && !which.reader.started()) mark(which);
    if (which.in.empty()) which.in.release();
    if (which.eof && which.in.empty()) which.dead = true;
  }
  if (which.dead) {
    --tallies_.live[http_row];
    connections_.erase(which.id);
    return;
  }
  const bool reading = which.step == step::lingering || (which.step == step::reading && !which.eof);
  which.watch.want(reading, which.blocked);
}

bool http_server::impl::settle_all() {
  const auto settling = std::exchange(dirty_, {});
  for (const auto id : settling)
    if (const auto found = connections_.find(id); found != connections_.end())
      settle(*found->second);
  return !dirty_.empty();
}

void http_server::impl::tick() {
  const auto now = loop_.fresh_mono_ns();
  for (auto& [id, each] : connections_) {
    if (each->dead || now < each->deadline_ns) continue;
    if (each->step == step::answering)
      refuse(*each, core::fail(core::error_code::REQUEST_TIMEOUT), 504);
    else
      each->dead = true;
    mark(*each);
  }
}

http_server::http_server(loop& on, const http_options& options, http_port& port)
    : impl_(std::make_shared<impl>(on, options, port)) {}
http_server::~http_server() = default;
core::result<std::uint16_t> http_server::listen(const core::endpoint& where) {
  return impl_->listen(where);
}
void http_server::stop_accepting() { impl_->stop_accepting(); }
std::size_t http_server::count() const { return impl_->count(); }
const core::connection_tallies& http_server::tallies() const { return impl_->tallies(); }

}  // namespace portcullis::net

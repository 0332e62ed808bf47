#include "net/stream/opening.hpp"

#include <array>

#include "core/limits.hpp"
#include "net/proxy/header.hpp"
#include "net/tls/client_hello.hpp"
#include "net/tls/fingerprint.hpp"

namespace portcullis::net {
namespace {

constexpr std::size_t read_bytes = 4 * 1024;
// Room for the headers of records: the largest ClientHello in records of 10 bytes. Smaller ones
// nobody sends.
constexpr std::size_t head_bytes_max = core::limits::client_hello_bytes_max * 3 / 2;

}  // namespace

struct opening::hello_reader {
  client_hello_reader reader;
};

opening::opening(const opening_rules& rules)
    : rules_(rules), phase_(rules.proxy ? phase::proxy : phase::hello) {}
opening::~opening() = default;

opening::status opening::refuse(core::rejection why) noexcept {
  why_ = why;
  return status::refused;
}

opening::status opening::fail_tls(core::tls_failure how, core::tls_tallies& tallies) noexcept {
  tallies.failed(how);
  how_ = how;
  return refuse(core::rejection::handshake);
}

void opening::expire(core::tls_tallies& tallies) noexcept {
  if (phase_ != phase::proxy) (void)fail_tls(core::tls_failure::timeout, tallies);
}

opening::status opening::advance(stream& on, core::tls_tallies& tallies) {
  if (phase_ == phase::proxy) {
    const auto after = read_proxy(on);
    if (after != status::done) return after;
    if (rules_.tls == nullptr) {
      on.put_back(head_);
      return status::done;
    }
    phase_ = phase::hello;
    if (!head_.empty()) {
      // Less than one reading: read_hello() takes it before the socket is asked again.
      on.put_back(std::exchange(head_, {}));
    }
    if (found_.source) return status::sourced;
  }
  if (phase_ == phase::hello) {
    const auto after = read_hello(on, tallies);
    if (after != status::done) return after;
    phase_ = phase::handshake;
    return start_handshake(on, tallies);
  }
  return shake_hands(on, tallies);
}

opening::status opening::read_proxy(stream& on) {
  for (;;) {
    std::array<char, read_bytes> part;
    const auto got = on.receive(part.data(), part.size());
    if (got.how == transfer::status::again) return status::waiting;
    if (got.how != transfer::status::moved) return refuse(core::rejection::proxy_header);
    head_.append(part.data(), got.bytes);
    const auto header = read_proxy_header(core::as_bytes(head_));
    switch (header.state) {
      case proxy_header::status::need_more:
        continue;
      case proxy_header::status::malformed:
        return refuse(core::rejection::proxy_header);
      case proxy_header::status::complete:
        break;
    }
    if (!header.local) found_.source = header.source.address;
    head_.erase(0, header.consumed);
    return status::done;
  }
}

opening::status opening::read_hello(stream& on, core::tls_tallies& tallies) {
  if (!hello_) hello_ = std::make_unique<hello_reader>();
  for (;;) {
    std::array<char, read_bytes> part;
    const auto got = on.read(part.data(), part.size());
    if (got.how == transfer::status::again) return status::waiting;
    // Nothing at all: a health check of a load balancer, or a port scan.
    if (got.how != transfer::status::moved) return fail_tls(core::tls_failure::closed, tallies);
    head_.append(part.data(), got.bytes);
    switch (hello_->reader.feed(core::as_bytes({part.data(), got.bytes}))) {
      case client_hello_reader::status::need_more:
        if (head_.size() > head_bytes_max) return fail_tls(core::tls_failure::other, tallies);
        continue;
      case client_hello_reader::status::not_tls:
        return plain_text(tallies);
      case client_hello_reader::status::malformed:
      case client_hello_reader::status::too_large:
        return fail_tls(core::tls_failure::other, tallies);
      case client_hello_reader::status::complete:
        break;
    }
    found_.ja3 = ja3(hello_->reader.hello());
    found_.ja4 = ja4(hello_->reader.hello());
    hello_.reset();
    return status::done;
  }
}

/// protocol.md, Transport: what opens with neither a message nor a ClientHello is PARSE_ERROR; a
/// message in clear must learn that this door wants TLS.
opening::status opening::plain_text(core::tls_tallies& tallies) {
  const char first = head_.front();
  const bool message = rules_.use == tls_use::http || first == '{' || first == '[' ||
                       first == ' ' || first == '\n' || first == '\r' || first == '\t';
  in_clear_ = core::fail(message ? core::error_code::TLS_REQUIRED : core::error_code::PARSE_ERROR);
  return fail_tls(core::tls_failure::not_tls, tallies);
}

opening::status opening::start_handshake(stream& on, core::tls_tallies& tallies) {
  session_ = std::make_unique<tls_session>(rules_.tls->current(), rules_.use);
  session_->feed(head_);
  const auto after = step(on, tallies);
  session_->keep_left();
  std::string().swap(head_);
  return after == status::done ? finish(on, tallies) : after;
}

opening::status opening::shake_hands(stream& on, core::tls_tallies& tallies) {
  if (unsent() && !flush(on)) return fail_tls(core::tls_failure::closed, tallies);
  for (;;) {
    std::array<char, read_bytes> part;
    const auto got = on.receive(part.data(), part.size());
    if (got.how == transfer::status::again) return status::waiting;
    if (got.how == transfer::status::moved)
      session_->feed({part.data(), got.bytes});
    else
      session_->end_feed();
    const auto after = step(on, tallies);
    session_->keep_left();
    if (after == status::done) return finish(on, tallies);
    if (after == status::refused) return after;
  }
}

bool opening::unsent() const noexcept { return session_ && !session_->pending().empty(); }

/// False: the peer has gone.
bool opening::flush(stream& on) {
  auto& pending = session_->pending();
  const auto put = on.send(pending.view());
  if (put.how == transfer::status::failed) return false;
  pending.consume(put.bytes);
  if (pending.empty()) pending.release();
  return true;
}

opening::status opening::step(stream& on, core::tls_tallies& tallies) {
  const auto after = session_->shake_hands();
  const bool there = !unsent() || flush(on);
  if (after == tls_session::status::failed) return fail_tls(session_->failure(), tallies);
  if (!there || session_->pending().size() > core::limits::tls_pending_bytes_max)
    return fail_tls(core::tls_failure::closed, tallies);
  return after == tls_session::status::done ? status::done : status::waiting;
}

opening::status opening::finish(stream& on, core::tls_tallies& tallies) {
  ++tallies.handshakes[session_->is_tls_1_3() ? 1 : 0][session_->resumed() ? 1 : 0];
  found_.certificate = session_->certificate();
  on.start_tls(std::move(session_));
  return status::done;
}

}  // namespace portcullis::net

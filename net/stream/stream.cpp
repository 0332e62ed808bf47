#include "net/stream/stream.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "core/limits.hpp"

namespace portcullis::net {
namespace {

using status = transfer::status;

constexpr std::size_t drop_bytes = 64 * 1024;

bool is_temporary(int reason) noexcept {
  return reason == EAGAIN || reason == EWOULDBLOCK || reason == EINTR;
}

/// Where encrypted bytes are received into: of the thread, because they are fed and left at once.
std::array<char, core::limits::tls_feed_bytes_max>& feed_space() {
  thread_local std::array<char, core::limits::tls_feed_bytes_max> space;
  return space;
}

}  // namespace

transfer stream::receive(char* into, std::size_t room) const noexcept {
  const auto got = ::recv(socket_.get(), into, room, 0);
  if (got > 0) return {status::moved, static_cast<std::size_t>(got)};
  if (got == 0) return {status::ended, 0};
  return {is_temporary(errno) ? status::again : status::failed, 0};
}

transfer stream::send(std::string_view bytes) const noexcept {
  const auto put = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (put > 0) return {status::moved, static_cast<std::size_t>(put)};
  return {put == 0 || is_temporary(errno) ? status::again : status::failed, 0};
}

transfer stream::read(char* into, std::size_t room) {
  if (tls_) return read_tls(into, room);
  if (early_.empty()) return receive(into, room);
  const auto part = std::min(room, early_.size());
  std::memcpy(into, early_.data(), part);
  early_.erase(0, part);
  if (early_.empty()) std::string().swap(early_);
  return {status::moved, part};
}

transfer stream::read_tls(char* into, std::size_t room) {
  std::size_t got = 0;
  auto how = tls_->readable() ? tls_->read(into, room, got) : tls_session::status::more;
  if (got == 0 && how == tls_session::status::more) {
    auto& space = feed_space();
    const auto from = receive(space.data(), space.size());
    if (from.how == status::again || from.how == status::failed) return from;
    if (from.how == status::ended)
      tls_->end_feed();
    else
      tls_->feed({space.data(), from.bytes});
    how = tls_->read(into, room, got);
    tls_->keep_left();
  }
  // Reading may have to be answered: with a key update, or an alert.
  if (unsent() && flush() == status::failed) return {status::failed, 0};
  // Who asks for ever more answers and reads none of them is no client (hazards H11).
  if (unsent() && tls_->pending().size() - sent_ >= core::limits::tls_pending_bytes_max)
    return {status::failed, 0};
  if (got > 0) return {status::moved, got};
  switch (how) {
    case tls_session::status::done:
    case tls_session::status::more:
      return {status::again, 0};
    case tls_session::status::ended:
      return {status::ended, 0};
    case tls_session::status::failed:
      return {status::failed, 0};
  }
  __builtin_unreachable();
}

transfer stream::write(std::string_view bytes) {
  if (!tls_) return send(bytes);
  std::size_t taken = 0;
  if (tls_->write(bytes, taken) == tls_session::status::failed || flush() == status::failed)
    return {status::failed, 0};
  return {taken > 0 ? status::moved : status::again, taken};
}

status stream::flush() {
  if (!tls_) return status::moved;
  auto& pending = tls_->pending();
  if (pending.empty()) return status::moved;
  const auto put = send(pending.view().substr(sent_));
  if (put.how == status::failed) return put.how;
  sent_ += put.bytes;
  if (sent_ < pending.size()) return status::again;
  sent_ = 0;
  tls_->all_sent();
  return status::moved;
}

status stream::drop() {
  // MSG_TRUNC: the kernel throws the bytes away (tcp(7)); a Unix socket needs a place for them.
  const auto got = ::recv(socket_.get(), nullptr, drop_bytes, MSG_TRUNC);
  if (got > 0) return status::moved;
  if (got == 0) return status::ended;
  if (errno != EFAULT) return is_temporary(errno) ? status::again : status::failed;
  auto& space = feed_space();
  return receive(space.data(), space.size()).how;
}

bool stream::end_output() {
  if (tls_) {
    tls_->say_goodbye();
    // One record of a few bytes: if the kernel takes no more, the peer is not reading anyway.
    if (flush() == status::failed) return false;
  }
  return ::shutdown(socket_.get(), SHUT_WR) == 0;
}

}  // namespace portcullis::net

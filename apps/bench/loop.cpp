#include "apps/bench/loop.hpp"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <queue>

namespace portcullis::apps {
namespace {

struct connection {
  int fd = -1;
  SSL* tls = nullptr;
  bool waits_to_write = false;
  std::size_t awaited = 0;      // replies still to come of what was written last
  std::size_t written = 0;      // requests written last
  std::uint64_t due_at_ns = 0;  // when what was written last was to be written
  core::byte_buffer out;
  core::byte_buffer rest;  // the start of a reply whose end has not come
};

class load_loop {
 public:
  load_loop(const std::vector<bench_peer>& peers, const bench_pace& pace, bench_script& script,
            const bench_window& window, std::atomic<std::uint64_t>& replies)
      : depth_(pace.depth),
        step_ns_(pace.rate > 0 ? static_cast<double>(pace.depth) * 1e9 / pace.rate : 0),
        script_(script),
        window_(window),
        replies_(replies),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        connections_(peers.size()),
        block_(new char[block_bytes]) {
    for (std::size_t i = 0; i < peers.size(); ++i) {
      const int fd = peers[i].fd;
      connections_[i].fd = fd;
      connections_[i].tls = peers[i].tls;
      fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
      epoll_event wanted{};
      wanted.events = EPOLLIN;
      wanted.data.ptr = &connections_[i];
      epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &wanted);
    }
  }
  ~load_loop() { close(epoll_); }
  load_loop(const load_loop&) = delete;
  load_loop& operator=(const load_loop&) = delete;

  bench_outcome run() {
    const auto begun = monotonic_ns();
    for (std::size_t i = 0; i < connections_.size(); ++i)
      ask(connections_[i], begun + static_cast<std::uint64_t>(step_ns_ * static_cast<double>(i)));
    std::array<epoll_event, 512> events;
    while (busy_ > 0 || !resting_.empty()) {
      const auto now = monotonic_ns();
      if (now >= window_.until_ns) break;
      for (; !resting_.empty() && resting_.top()->due_at_ns <= now; resting_.pop())
        if (resting_.top()->fd >= 0) say(*resting_.top());
      const auto patience = patience_of(now);
      const int ready =
          epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), &patience, nullptr);
      for (int i = 0; i < ready; ++i) {
        auto& each = *static_cast<connection*>(events[static_cast<std::size_t>(i)].data.ptr);
        const auto what = events[static_cast<std::size_t>(i)].events;
        if ((what & EPOLLOUT) != 0) flush(each);
        if (each.fd >= 0 && (what & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) hear(each);
      }
    }
    return std::move(outcome_);
  }

 private:
  static constexpr std::size_t block_bytes = 256 * 1024;

  /// How long to wait for replies: until the window's end or until the next connection is due.
  [[nodiscard]] timespec patience_of(std::uint64_t now) const {
    auto until = std::min(window_.until_ns, now + 1'000'000'000);
    if (!resting_.empty()) until = std::min(until, resting_.top()->due_at_ns);
    const auto ns = until > now ? until - now : 0;
    return {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
  }

  /// Says the next requests of a connection when they are due: at once without a rate.
  void ask(connection& to, std::uint64_t due_at_ns) {
    to.due_at_ns = due_at_ns;
    if (step_ns_ > 0)
      resting_.push(&to);
    else
      say(to);
  }

  void say(connection& to) {
    to.written = 0;
    while (to.written < depth_ && script_.append(to.out)) ++to.written;
    to.awaited = to.written;
    if (to.written == 0) return;
    ++busy_;
    flush(to);
  }

  void flush(connection& to) {
    std::size_t sent = 0;
    while (sent < to.out.size()) {
      const auto n = send_some(to, {to.out.data() + sent, to.out.size() - sent});
      if (n == over) return lose(to);
      if (n == later_on) break;
      sent += static_cast<std::size_t>(n);
    }
    if (sent == to.out.size())
      to.out.clear();
    else
      to.out.consume(sent);
    if (to.waits_to_write == !to.out.empty()) return;
    to.waits_to_write = !to.out.empty();
    epoll_event wanted{};
    wanted.events = to.waits_to_write ? EPOLLIN | EPOLLOUT : EPOLLIN;
    wanted.data.ptr = &to;
    epoll_ctl(epoll_, EPOLL_CTL_MOD, to.fd, &wanted);
  }

  void hear(connection& from) {
    do {
      const auto got = receive_some(from);
      if (got == later_on) break;
      if (got == over) return lose(from);
      take(from, {block_.get(), static_cast<std::size_t>(got)});
      // epoll does not see what OpenSSL has read already.
    } while (from.tls != nullptr && from.fd >= 0 && SSL_has_pending(from.tls) != 0);
    if (from.tls != nullptr && from.fd >= 0 && !from.out.empty()) flush(from);
  }

  // What a call on a connection comes to, other than a number of bytes.
  static constexpr ssize_t later_on = -1, over = -2;

  static ssize_t send_some(const connection& to, std::string_view bytes) {
    if (to.tls != nullptr) {
      ERR_clear_error();
      const int n = SSL_write(to.tls, bytes.data(), static_cast<int>(bytes.size()));
      return n > 0 ? n : outcome_of(to, n);
    }
    for (;;) {
      const auto n = send(to.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n >= 0) return n;
      if (errno != EINTR) return errno == EAGAIN ? later_on : over;
    }
  }

  ssize_t receive_some(const connection& from) {
    if (from.tls != nullptr) {
      ERR_clear_error();
      const int n = SSL_read(from.tls, block_.get(), static_cast<int>(block_bytes));
      return n > 0 ? n : outcome_of(from, n);
    }
    const auto got = recv(from.fd, block_.get(), block_bytes, 0);
    if (got > 0) return got;
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? later_on : over;
  }

  /// Either may also wait for what the other waits for: hear() flushes, too, and a write that waits
  /// for bytes to come is done again when they have.
  static ssize_t outcome_of(const connection& of, int result) {
    const int kind = SSL_get_error(of.tls, result);
    return kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE ? later_on : over;
  }

  void take(connection& from, std::string_view bytes) {
    bench_tally heard;
    if (from.rest.empty()) {
      const auto taken = script_.take(bytes, heard);
      from.rest.append(bytes.substr(taken));
    } else {
      from.rest.append(bytes);
      from.rest.consume(script_.take(from.rest.view(), heard));
    }
    if (heard.replies > 0) count(from, heard);
  }

  void count(connection& from, const bench_tally& heard) {
    const auto now = monotonic_ns();
    const bool counts = now >= window_.from_ns;
    if (counts) {
      outcome_.tally.replies += heard.replies;
      outcome_.tally.errors += heard.errors;
      outcome_.tally.unexpected += heard.unexpected;
      replies_.fetch_add(heard.replies, std::memory_order_relaxed);
    }
    from.awaited -= std::min<std::size_t>(from.awaited, heard.replies);
    if (from.awaited > 0) return;
    if (counts) outcome_.latencies.add(now - from.due_at_ns, from.written);
    --busy_;
    const auto turn =
        static_cast<std::uint64_t>(step_ns_ * static_cast<double>(connections_.size()));
    if (now < window_.until_ns) ask(from, step_ns_ > 0 ? from.due_at_ns + turn : now);
  }

  void lose(connection& which) {
    epoll_ctl(epoll_, EPOLL_CTL_DEL, which.fd, nullptr);
    which.fd = -1;
    ++outcome_.lost_connections;
    if (which.awaited > 0) --busy_;
    which.awaited = 0;
  }

  std::size_t depth_;
  double step_ns_;  // between one connection's requests and the next's; 0: no rate is kept
  bench_script& script_;
  const bench_window& window_;
  std::atomic<std::uint64_t>& replies_;
  int epoll_;
  std::vector<connection> connections_;
  std::unique_ptr<char[]> block_;
  std::size_t busy_ = 0;  // connections that await replies
  struct later {
    bool operator()(const connection* a, const connection* b) const {
      return a->due_at_ns > b->due_at_ns;
    }
  };
  std::priority_queue<connection*, std::vector<connection*>, later> resting_;  // not due yet
  bench_outcome outcome_;
};

}  // namespace

std::uint64_t monotonic_ns() noexcept {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

bench_outcome run_loop(const std::vector<bench_peer>& peers, const bench_pace& pace,
                       bench_script& script, const bench_window& window,
                       std::atomic<std::uint64_t>& replies) {
  return load_loop(peers, pace, script, window, replies).run();
}

}  // namespace portcullis::apps

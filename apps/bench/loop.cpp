#include "apps/bench/loop.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>

namespace portcullis::apps {
namespace {

struct connection {
  int fd = -1;
  bool waits_to_write = false;
  std::size_t awaited = 0;  // replies still to come of what was written last
  std::size_t written = 0;  // requests written last
  std::uint64_t sent_at_ns = 0;
  core::byte_buffer out;
  core::byte_buffer rest;  // the start of a reply whose end has not come
};

class load_loop {
 public:
  load_loop(const std::vector<int>& descriptors, std::size_t depth, bench_script& script,
            const bench_window& window, std::atomic<std::uint64_t>& replies)
      : depth_(depth),
        script_(script),
        window_(window),
        replies_(replies),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        connections_(descriptors.size()),
        block_(new char[block_bytes]) {
    for (std::size_t i = 0; i < descriptors.size(); ++i) {
      connections_[i].fd = descriptors[i];
      fcntl(descriptors[i], F_SETFL, fcntl(descriptors[i], F_GETFL) | O_NONBLOCK);
      epoll_event wanted{};
      wanted.events = EPOLLIN;
      wanted.data.ptr = &connections_[i];
      epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptors[i], &wanted);
    }
  }
  ~load_loop() { close(epoll_); }
  load_loop(const load_loop&) = delete;
  load_loop& operator=(const load_loop&) = delete;

  bench_outcome run() {
    for (auto& each : connections_) say(each, monotonic_ns());
    std::array<epoll_event, 512> events;
    while (busy_ > 0) {
      const auto now = monotonic_ns();
      if (now >= window_.until_ns) break;
      const int ready =
          epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout_ms(now));
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

  [[nodiscard]] int timeout_ms(std::uint64_t now) const {
    return static_cast<int>(
        std::min<std::uint64_t>((window_.until_ns - now) / 1'000'000 + 1, 1'000));
  }

  void say(connection& to, std::uint64_t now) {
    to.written = 0;
    while (to.written < depth_ && script_.append(to.out)) ++to.written;
    to.awaited = to.written;
    to.sent_at_ns = now;
    if (to.written == 0) return;
    ++busy_;
    flush(to);
  }

  void flush(connection& to) {
    std::size_t sent = 0;
    while (sent < to.out.size()) {
      const auto n = send(to.fd, to.out.data() + sent, to.out.size() - sent, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno != EAGAIN) return lose(to);
      if (n < 0) break;
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
    const auto got = recv(from.fd, block_.get(), block_bytes, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) return lose(from);
    bench_tally heard;
    const std::string_view bytes(block_.get(), static_cast<std::size_t>(got));
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
    if (counts) outcome_.latencies.add(now - from.sent_at_ns, from.written);
    --busy_;
    if (now < window_.until_ns) say(from, now);
  }

  void lose(connection& which) {
    epoll_ctl(epoll_, EPOLL_CTL_DEL, which.fd, nullptr);
    which.fd = -1;
    ++outcome_.lost_connections;
    if (which.awaited > 0) --busy_;
    which.awaited = 0;
  }

  std::size_t depth_;
  bench_script& script_;
  const bench_window& window_;
  std::atomic<std::uint64_t>& replies_;
  int epoll_;
  std::vector<connection> connections_;
  std::unique_ptr<char[]> block_;
  std::size_t busy_ = 0;  // connections that await replies
  bench_outcome outcome_;
};

}  // namespace

std::uint64_t monotonic_ns() noexcept {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

bench_outcome run_loop(const std::vector<int>& descriptors, std::size_t depth, bench_script& script,
                       const bench_window& window, std::atomic<std::uint64_t>& replies) {
  return load_loop(descriptors, depth, script, window, replies).run();
}

}  // namespace portcullis::apps

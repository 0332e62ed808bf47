// A TCP proxy on loopback, on a thread of its own, whose user decides how badly the network does.
#pragma once
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace portcullis::e2e {

/// In front of one server. Each command has happened when it returns, and holds until pass().
class tcp_proxy {
 public:
  /// Connections of a node to Redis are told apart by the name that they give themselves.
  enum class which { all, commands, reader };

  explicit tcp_proxy(std::uint16_t target)
      : target_(target), listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    const int on = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    // A port that was asked for stays ours while refuse() holds; one that the kernel chose does
    // not.
    auto at = loopback(port = unused_port());
    (void)::bind(listener_, reinterpret_cast<sockaddr*>(&at), sizeof at);
    (void)::listen(listener_, 64);
    thread_ = std::thread([this] { live(); });
  }
  ~tcp_proxy() {
    tell([this] { over_ = true; });
    thread_.join();
    for (auto& each : connections_) reset(each);
    ::close(listener_);
    ::close(wake_);
  }
  tcp_proxy(const tcp_proxy&) = delete;
  tcp_proxy& operator=(const tcp_proxy&) = delete;

  /// All goes through again, what was held back first.
  void pass() {
    tell([this] {
      delay_ = {};
      frozen_ = truncated_ = std::nullopt;
      for (auto& each : connections_) each.held = false, each.left = std::nullopt;
      if (std::exchange(refusing_, false)) (void)::listen(listener_, 64);
    });
  }
  /// What comes is handed on so much later, each way.
  void delay(std::chrono::milliseconds by) {
    tell([this, by] { delay_ = by; });
  }
  /// Resets.
  void cut(which those) {
    tell([this, those] { cut_those(those); });
  }
  /// Connections are taken, and nothing is read from either end; bytes stay where they are.
  void freeze(which those) {
    tell([this, those] { frozen_ = those; });
  }
  /// The same for those that are there; new ones pass.
  void hold() {
    tell([this] {
      for (auto& each : connections_) each.held = true;
    });
  }
  /// Each connection is reset behind so many more bytes of replies.
  void truncate(which those, std::size_t bytes) {
    tell([this, those, bytes] {
      truncated_ = those;
      bytes_ = bytes;
      for (auto& each : connections_)
        if (is_of(each, those)) each.left = bytes;
    });
  }
  /// New connections go to that server; those that are there stay.
  void lead_to(std::uint16_t target) {
    tell([this, target] { target_ = target; });
  }
  /// No new connection; those that are there stay.
  void refuse() {
    tell([this] {
      // The port stays ours, and a SYN to it is answered by a reset.
      if (!std::exchange(refusing_, true)) (void)::shutdown(listener_, SHUT_RD);
    });
  }

  std::uint16_t port = 0;

 private:
  using clock = std::chrono::steady_clock;
  static constexpr std::size_t buffered_bytes_max = 1 << 20;

  struct chunk {
    clock::time_point due;
    std::string bytes;
  };
  struct direction {
    std::deque<chunk> chunks;
    std::size_t bytes = 0;
    bool ended = false, told = false;
  };
  struct connection {
    std::array<int, 2> ends{-1, -1};  // the client's, the server's
    std::array<direction, 2> from;    // what came from that end
    std::string begin;                // of what the client said
    bool held = false, broken = false;
    std::optional<std::size_t> left;  // bytes of replies until it is cut
  };

  static std::uint16_t unused_port() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto at = loopback(0);
    socklen_t size = sizeof at;
    (void)::bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at);
    (void)::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size);
    ::close(fd);
    return ntohs(at.sin_port);
  }
  static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    at.sin_port = htons(port);
    return at;
  }
  static void reset(connection& which) {
    const linger hard{1, 0};
    for (auto& fd : which.ends) {
      if (fd < 0) continue;
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
      ::close(std::exchange(fd, -1));
    }
    which.broken = true;
  }
  static bool is_of(const connection& one, which those) {
    if (those == which::all) return true;
    const bool reader = one.begin.find("-reader") != std::string::npos;
    return reader == (those == which::reader);
  }
  [[nodiscard]] bool is_still(const connection& one) const {
    return one.held || (frozen_ && is_of(one, *frozen_));
  }
  void cut_those(which those) {
    for (auto& each : connections_)
      if (is_of(each, those)) reset(each);
  }

  void tell(std::function<void()> what) {
    std::packaged_task<void()> task(std::move(what));
    auto done = task.get_future();
    {
      const std::lock_guard guard{mutex_};
      orders_.push_back(std::move(task));
    }
    const std::uint64_t one = 1;
    (void)!::write(wake_, &one, sizeof one);
    done.wait();
  }

  void live() {
    while (!over_) {
      std::vector<pollfd> watched{{wake_, POLLIN, 0}, {listener_, POLLIN, 0}};
      if (refusing_) watched[1].fd = -1;
      auto next = clock::time_point::max();
      for (auto& each : connections_) watch(each, watched, next);
      int wait_ms = -1;
      if (next != clock::time_point::max()) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - clock::now()).count();
        wait_ms = static_cast<int>(std::max<std::int64_t>(0, left));
      }
      (void)::poll(watched.data(), watched.size(), wait_ms);
      std::uint64_t ignored = 0;
      if (watched[0].revents != 0) (void)!::read(wake_, &ignored, sizeof ignored);
      if (watched[1].revents != 0) take();
      for (auto& each : connections_) {
        move(each, 0);
        move(each, 1);
      }
      obey();
      connections_.remove_if([](const connection& each) { return each.broken; });
    }
  }
  void obey() {
    std::vector<std::packaged_task<void()>> orders;
    {
      const std::lock_guard guard{mutex_};
      orders.swap(orders_);
    }
    for (auto& each : orders) each();
  }
  /// What may be read or written of it, and when.
  void watch(const connection& each, std::vector<pollfd>& watched, clock::time_point& next) const {
    if (each.broken || is_still(each)) return;
    for (std::size_t end = 0; end < 2; ++end) {
      short wanted = 0;
      if (!each.from[end].ended && each.from[end].bytes < buffered_bytes_max) wanted |= POLLIN;
      if (const auto& to_it = each.from[1 - end].chunks; !to_it.empty()) {
        if (to_it.front().due <= clock::now())
          wanted |= POLLOUT;
        else
          next = std::min(next, to_it.front().due);
      }
      if (wanted != 0) watched.push_back({each.ends[end], wanted, 0});
    }
  }
  void take() {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    const int there = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto at = loopback(target_);
    connection made;
    made.ends = {fd, there};
    if (::connect(there, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) return reset(made);
    const int on = 1;
    for (const auto each : made.ends) setsockopt(each, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(there, F_SETFL, O_NONBLOCK);
    if (truncated_ == which::all) made.left = bytes_;
    connections_.push_back(std::move(made));
  }
  /// From this end to the other.
  void move(connection& one, std::size_t end) {
    if (one.broken || is_still(one)) return;
    auto& queue = one.from[end];
    std::array<char, 65536> block;
    if (!queue.ended && queue.bytes < buffered_bytes_max) {
      const auto got = ::recv(one.ends[end], block.data(), block.size(), 0);
      if (got > 0) {
        std::string bytes(block.data(), static_cast<std::size_t>(got));
        if (end == 0) heard(one, bytes);
        queue.bytes += bytes.size();
        queue.chunks.push_back({clock::now() + delay_, std::move(bytes)});
      } else if (got == 0 || errno != EAGAIN) {
        queue.ended = true;  // what it sent before still goes on
      }
    }
    while (!queue.chunks.empty() && queue.chunks.front().due <= clock::now()) {
      auto& next = queue.chunks.front().bytes;
      auto most = next.size();
      if (end == 1 && one.left) most = std::min(most, *one.left);
      const auto sent = ::send(one.ends[1 - end], next.data(), most, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0 && errno == EAGAIN) return;
      if (sent < 0) return reset(one);
      const auto count = static_cast<std::size_t>(sent);
      queue.bytes -= count;
      if (end == 1 && one.left && (*one.left -= count) == 0) return reset(one);
      next.erase(0, count);
      if (next.empty()) queue.chunks.pop_front();
    }
    if (queue.ended && queue.chunks.empty() && !std::exchange(queue.told, true))
      ::shutdown(one.ends[1 - end], SHUT_WR);
    if (one.from[0].told && one.from[1].told) reset(one);
  }
  void heard(connection& one, const std::string& bytes) {
    if (one.begin.size() >= 512) return;
    one.begin += bytes;
    if (truncated_ && *truncated_ != which::all && !one.left && is_of(one, *truncated_))
      one.left = bytes_;
  }

  std::uint16_t target_;
  int listener_;
  int wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::mutex mutex_;
  std::vector<std::packaged_task<void()>> orders_;  // guarded by mutex_
  // The thread's.
  std::list<connection> connections_;
  std::chrono::milliseconds delay_{0};
  std::optional<which> frozen_, truncated_;
  std::size_t bytes_ = 0;
  bool refusing_ = false, over_ = false;
  std::thread thread_;
};

}  // namespace portcullis::e2e

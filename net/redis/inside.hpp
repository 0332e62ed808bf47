// What the client consists of: links that are connected again, and a router that knows which of
// them has a key. Only for this folder.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/redis/client.hpp"

namespace portcullis::net::redis {

/// One command on its way, until it is answered.
struct request {
  command what;
  std::string key;
  std::int64_t deadline_ns = 0;
  client::answer done;
  const script* program = nullptr;  // what EVAL is for where EVALSHA finds none
  int redirections = 0;
};
using request_ptr = std::shared_ptr<request>;

/// Answers in a later turn what cannot be sent. May be destroyed by what it calls.
class deferred {
 public:
  explicit deferred(loop& on) : timer_(on, [this] { flush(); }) {}
  void add(request_ptr what, core::error why) {
    waiting_.emplace_back(std::move(what), why);
    timer_.after(0);
  }
  void flush() {
    for (const auto& [what, why] : std::exchange(waiting_, {})) what->done(why);
  }

 private:
  std::vector<std::pair<request_ptr, core::error>> waiting_;
  loop::timer timer_;
};

/// What all parts of a client share.
struct common {
  common(loop& loop_of, client_options given)
      : on(loop_of), options(std::move(given)), who(options.who), tls(options.tls), refused(on) {}

  /// Tells the owner. The client may be gone afterwards.
  void tell_connected(const server_info& info);
  void tell_lost(const address& at, const failure& why);
  /// Between half of it and all of what `attempts` in a row make wait.
  [[nodiscard]] std::int64_t back_off_ms(unsigned attempts);
  /// For a server with data where `of` is null.
  [[nodiscard]] channel_options channel_to(const address& at, check asks, const login* of,
                                           std::uint32_t db) const;
  [[nodiscard]] std::int64_t left_ms(const request& what) {
    return (what.deadline_ns - on.mono_ns() + 999'999) / 1'000'000;
  }

  loop& on;
  const client_options options;
  login who;  // of servers with data
  std::shared_ptr<const tls_client_context> tls;
  tallies counts;
  deferred refused;
  std::map<address, std::string_view> down;  // why, as last told
};

/// One server with data, and a connection to it that is made again when it is lost. `all` outlives
/// it.
class link {
 public:
  struct events {
    std::function<void(const server_info&)> ready;
    std::function<void(const failure&)> lost;  // each time, also where it was never ready
  };
  /// Begins to connect.
  link(common& all, address at, check asks, std::uint32_t db, events told);

  [[nodiscard]] bool ready() const noexcept { return channel_ && channel_->ready(); }
  [[nodiscard]] const address& at() const noexcept { return at_; }
  /// Null between two attempts to connect.
  [[nodiscard]] channel* open() const noexcept { return channel_.get(); }
  /// Connects no more, once the present connection is lost.
  void retire() noexcept;
  /// Nothing is in flight.
  [[nodiscard]] bool idle() const noexcept { return !channel_ || channel_->unanswered() == 0; }

 private:
  void begin();
  void lost(const failure& why);

  common& all_;
  const address at_;
  const check asks_;
  const std::uint32_t db_;
  const std::shared_ptr<const events> told_;
  unsigned attempts_ = 0;  // in vain, one after the other
  bool retired_ = false;
  loop::timer again_;
  std::unique_ptr<channel> channel_;
};

/// Which server has a key.
class router {
 public:
  router() = default;
  router(const router&) = delete;
  router& operator=(const router&) = delete;
  virtual ~router() = default;
  virtual void ask(request_ptr what) = 0;
  [[nodiscard]] virtual bool connected() const noexcept = 0;
};

/// Answers `what`; a reply that tells of a fault of the server comes as an error.
void finish(const request& what, core::result<reply> got);
/// Whether the reply says that a script is missing; then `what` is now the EVAL to ask next.
[[nodiscard]] bool turned_into_eval(request& what, const core::result<reply>& got);

[[nodiscard]] std::unique_ptr<router> make_single(common& all);
[[nodiscard]] std::unique_ptr<router> make_sentinel(common& all);
[[nodiscard]] std::unique_ptr<router> make_cluster(common& all);

struct client::impl {
  impl(loop& on, client_options options) : all(on, std::move(options)) {}
  void close();

  common all;
  std::unique_ptr<router> way;
  bool closed = false;
};

}  // namespace portcullis::net::redis

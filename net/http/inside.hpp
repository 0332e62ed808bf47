// An HTTP connection as a caller inside of the RPC server.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "net/http/exchange.hpp"

namespace portcullis::net {

enum class inside_purpose : std::uint8_t { rpc, authz, events };

/// Kept with its HTTP connection; opens when made, hangs up when destroyed.
class inside_caller : public http_guest, public lines_port {
 public:
  inside_caller(calls_port& calls, http_exchange& on, const core::caller* who,
                inside_purpose what_for)
      : on_(on), calls_(calls), who_(who), what_for_(what_for) {
    const auto& peer = on.peer();
    calls_port::origin from{peer.address, peer.ja3, peer.ja4, peer.listener};
    from.bound = what_for == inside_purpose::rpc;
    from.calls_only = what_for != inside_purpose::events;
    id_ = calls.open(who, std::move(from), *this);
  }
  ~inside_caller() override {
    if (open_) calls_.hang_up(id_);
  }
  inside_caller(const inside_caller&) = delete;
  inside_caller& operator=(const inside_caller&) = delete;

  /// Whether it may be used for a request of that kind and caller.
  [[nodiscard]] bool serves(const core::caller* who, inside_purpose what_for) const noexcept {
    return open_ && who == who_ && what_for == what_for_;
  }
  void ask(std::string_view json) {
    asked_ = true;
    calls_.ask(id_, json);
  }

  void ended(std::optional<core::error> why) override {
    open_ = false;
    if (take_asked()) return fail(why.value_or(core::fail(core::error_code::INTERNAL)));
    over();
  }
  [[nodiscard]] std::size_t unread() const override { return on_.unread(); }

 protected:
  /// Whether what was asked is not answered yet; it counts as answered then. It is kept between
  /// requests: what the RPC server says later must not answer one that asked somebody else.
  [[nodiscard]] bool take_asked() noexcept { return std::exchange(asked_, false); }
  /// Answers with an error.
  virtual void fail(const core::error& why) = 0;
  /// Ended, and nothing was to be answered.
  virtual void over() {}

  http_exchange& on_;

 private:
  calls_port& calls_;
  const core::caller* who_;
  inside_purpose what_for_;
  connection_id id_ = 0;
  bool open_ = true;
  bool asked_ = false;
};

/// What the connection keeps for such requests: what it had, or a new one made of `more`.
template <class Kept, class... More>
Kept& inside(calls_port& calls, http_exchange& on, const core::caller* who, More&&... more) {
  // Every guest is an inside_caller, and what it is for says which.
  auto* kept = static_cast<inside_caller*>(on.guest.get());
  if (kept == nullptr || !kept->serves(who, Kept::what_for)) {
    on.guest.reset();
    auto made = std::make_unique<Kept>(calls, on, who, std::forward<More>(more)...);
    kept = made.get();
    on.guest = std::move(made);
  }
  return static_cast<Kept&>(*kept);
}

}  // namespace portcullis::net

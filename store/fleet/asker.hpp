// Asking Redis from a thread that waits: before a node starts, and for commands.
#pragma once
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>

#include "net/loop/loop.hpp"
#include "store/fleet/first_contact.hpp"
#include "store/fleet/scripts.hpp"

namespace portcullis::store::fleet {

/// Entries of one reading, none of which is asked for again: also with the longest `data` they are
/// half of what a reply may hold.
inline constexpr std::size_t entries_asked = 96;

inline constexpr std::string_view entry_format = "1";

/// One question at a time, waited for. A reply of type error is an error here.
class asker {
 public:
  asker(core::clock& clock, const contact_options& with)
      : loop_(clock), with_(with), tick_(loop_, [] {}) {
    auto wanted = with.redis;
    wanted.lost = [this](const net::redis::address& at, const net::redis::failure& what) {
      trouble_ = fmt::format("{}: {}{}{}", net::redis::to_text(at), what.why.rule,
                             what.detail.empty() ? "" : ": ", what.detail);
    };
    auto made = net::redis::client::make(loop_, std::move(wanted));
    if (made)
      client_ = *std::move(made);
    else
      trouble_ = std::string(made.error().rule);
    tick_.every(20);
  }
  [[nodiscard]] bool connect() {
    const auto until = loop_.fresh_mono_ns() + with_.patience_ms * 1'000'000;
    while (client_ && !client_->connected() && loop_.fresh_mono_ns() < until) loop_.run_once();
    return client_ && client_->connected();
  }
  [[nodiscard]] core::result<net::redis::reply> ask(net::redis::command what,
                                                    std::string_view key) {
    std::optional<core::result<net::redis::reply>> answer;
    client_->ask(std::move(what), key, patient_ms(),
                 [&](core::result<net::redis::reply> got) { answer = std::move(got); });
    return wait(answer);
  }
  [[nodiscard]] core::result<net::redis::reply> eval(const net::redis::script& what,
                                                     std::span<const std::string_view> keys,
                                                     std::span<const std::string_view> args) {
    std::optional<core::result<net::redis::reply>> answer;
    client_->eval(what, keys, args, patient_ms(),
                  [&](core::result<net::redis::reply> got) { answer = std::move(got); });
    return wait(answer);
  }
  [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }
  /// For people: why there is no answer.
  [[nodiscard]] std::string words_for(const core::error& why) const {
    if (why.rule == "noperm")
      return "Redis refuses a command to this user (noperm): configs/cluster/users.acl has the "
             "rights";
    if (why.rule == "noreplicas")
      return "Redis takes no writes: it has too few replicas (noreplicas)";
    return fmt::format("Redis does not answer: {} {}", why.rule, trouble_);
  }

 private:
  [[nodiscard]] std::int64_t patient_ms() const {
    return std::max<std::int64_t>(with_.timeout_ms, 5'000);
  }
  core::result<net::redis::reply> wait(std::optional<core::result<net::redis::reply>>& answer) {
    while (!answer) loop_.run_once();
    if (*answer && (*answer)->is(net::redis::reply_type::error)) {
      trouble_ = (*answer)->text;
      return core::fail(core::error_code::STORE_UNAVAILABLE, {}, "refused");
    }
    return *std::move(answer);
  }

  net::loop loop_;
  const contact_options& with_;
  net::loop::timer tick_;
  std::string trouble_ = "no answer";
  std::unique_ptr<net::redis::client> client_;
};

}  // namespace portcullis::store::fleet

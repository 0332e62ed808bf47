// How a shard's actor answers: connections of its own loop at once, those of other loops in one
// batch a turn.
#pragma once
#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "actors/messages.hpp"
#include "core/mix.hpp"

namespace portcullis::actors {

/// One thread: its loop's.
class replier {
 public:
  struct options {
    std::uint32_t loop = 0;
    net::reply_port* own = nullptr;                                // this loop's
    std::function<void(const core::reply&, std::string&)> encode;  // for other loops' connections
    std::uint64_t correlation_seed = 1;
  };
  explicit replier(options how) : options_(std::move(how)) {}

  void answer(const inbound& request, const core::reply& reply) {
    if (request.loop == options_.loop) return options_.own->answer(request.to, reply);
    if (waiting_.size() <= request.loop) waiting_.resize(request.loop + 1);
    auto& batch = waiting_[request.loop];
    const auto before = batch.outcomes.size();
    options_.encode(reply, batch.outcomes);
    batch.entries.push_back({request.to, batch.outcomes.size() - before});
  }
  void fail(const inbound& request, const core::error& why) {
    const auto correlation = correlation_of(request);
    answer(request, core::failed{why, correlation});
  }
  /// The request's own, or one made from what names the request, so that its events and its error
  /// carry the same one; not secret.
  [[nodiscard]] std::string correlation_of(const inbound& request) const {
    if (!request.what.correlation_id.empty()) return std::string(request.what.correlation_id);
    const auto mixed = core::mix64(options_.correlation_seed + (std::uint64_t{request.loop} << 48) +
                                   (std::uint64_t{request.to.slot} << 32) + request.to.generation);
    return core::to_hex({reinterpret_cast<const std::uint8_t*>(&mixed), sizeof mixed});
  }
  [[nodiscard]] bool has_waiting() const {
    return std::any_of(waiting_.begin(), waiting_.end(),
                       [](const auto& each) { return !each.entries.empty(); });
  }
  /// Hands each other loop's answers to `send(loop, reply_batch)`.
  template <class Send>
  void flush(Send&& send) {
    for (std::size_t loop = 0; loop < waiting_.size(); ++loop)
      if (!waiting_[loop].entries.empty()) send(loop, std::exchange(waiting_[loop], reply_batch{}));
  }

 private:
  options options_;
  std::vector<reply_batch> waiting_;  // by loop
};

}  // namespace portcullis::actors

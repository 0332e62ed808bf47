// One-time tickets for event streams: a browser's EventSource cannot send a token, and a token in a
// URL would be logged by whoever sees one.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/bytes.hpp"
#include "core/contract/caller.hpp"
#include "core/crypto/hmac.hpp"
#include "core/limits.hpp"

namespace portcullis::net {

/// Keeps hashes, at most limits::event_tickets_max. Single thread. Time is given in nanoseconds of
/// the monotonic clock.
class event_tickets {
 public:
  using secret = core::byte_array<32>;

  /// The text of a ticket for `who`, made of random bytes; good once, for limits::event_ticket_ms.
  /// Absent while there are too many that nobody used.
  [[nodiscard]] std::optional<std::string> give(const core::caller* who, const secret& random,
                                                std::int64_t now_ns) {
    std::erase_if(given_, [&](const auto& each) { return each.second.until_ns <= now_ns; });
    if (given_.size() >= core::limits::event_tickets_max) return std::nullopt;
    auto text = core::to_base64url(random);
    given_[core::sha256(core::as_bytes(text))] = {
        who, now_ns + core::limits::event_ticket_ms * 1'000'000};
    return text;
  }
  /// Whose it is; null for one that was never given, was used, or is too old.
  [[nodiscard]] const core::caller* take(std::string_view ticket, std::int64_t now_ns) {
    const auto found = given_.find(core::sha256(core::as_bytes(ticket)));
    if (found == given_.end()) return nullptr;
    const auto known = found->second;
    given_.erase(found);
    return now_ns < known.until_ns ? known.who : nullptr;
  }

 private:
  struct entry {
    const core::caller* who;
    std::int64_t until_ns;
  };
  // By hash: looking one up tells nothing of another (ASVS 11.2.4).
  std::map<core::digest, entry> given_;
};

}  // namespace portcullis::net

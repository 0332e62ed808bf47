// Who may log in: tokens by their hash, and how often a source may fail. Shared by the gateways of
// all loops.
#pragma once
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "actors/messages.hpp"
#include "core/limits.hpp"

namespace portcullis::actors {

/// The caller that a token stands for; the pointer lives as long as the process.
struct caller_token {
  core::byte_array<32> sha256{};
  const core::caller* who = nullptr;
};

/// The caller that a subject alternative name stands for; the pointer lives as long as the process.
struct caller_certificate {
  std::string san;
  const core::caller* who = nullptr;
};

/// The caller of a certificate by its alternative names, in their order; null when none is known.
[[nodiscard]] inline const core::caller* find_caller(
    const std::vector<caller_certificate>& known, const std::vector<std::string>& names) noexcept {
  for (const auto& name : names)
    for (const auto& each : known)
      if (each.san == name) return each.who;
  return nullptr;
}

/// Everyone who may come, and how each shows who it is.
struct known_callers {
  std::vector<caller_token> tokens;
  std::vector<caller_certificate> certificates;
};

/// 32 random bytes in base64url, as `portcullis token new` makes them. Anything else is refused
/// unhashed.
[[nodiscard]] inline bool is_token_form(std::string_view text) noexcept {
  core::byte_array<32> decoded;
  return core::from_base64url(text, decoded);
}

/// The caller of a token; null when there is none. Every known hash is compared, in constant time
/// (ASVS 11.2.4).
[[nodiscard]] inline const core::caller* find_caller(const std::vector<caller_token>& tokens,
                                                     std::string_view token) {
  const auto presented = core::sha256(core::as_bytes(token));
  const core::caller* found = nullptr;
  for (const auto& known : tokens)
    if (core::equal_secrets(known.sha256, presented)) found = known.who;
  return found;
}

/// Failed logins by source: limits::auth_failures_per_source_max in a window. Thread-safe: logins
/// are rare.
class auth_limiter {
 public:
  /// How long the source must wait; 0: it may try.
  [[nodiscard]] core::millis wait_ms(const core::short_hash& source, core::millis now_ms) {
    std::lock_guard guard{mutex_};
    const auto found = sources_.find(source);
    if (found == sources_.end() || now_ms >= found->second.ends_at_ms) return 0;
    if (found->second.failures < core::limits::auth_failures_per_source_max) return 0;
    return found->second.ends_at_ms - now_ms;
  }
  void failed(const core::short_hash& source, core::millis now_ms) {
    std::lock_guard guard{mutex_};
    if (sources_.size() >= core::limits::source_counters_max)
      std::erase_if(sources_, [&](const auto& entry) { return now_ms >= entry.second.ends_at_ms; });
    if (sources_.size() >= core::limits::source_counters_max) sources_.erase(sources_.begin());
    auto& current = sources_[source];
    if (now_ms >= current.ends_at_ms) current = {0, now_ms + core::limits::auth_failure_window_ms};
    ++current.failures;
  }

 private:
  struct window {
    std::size_t failures = 0;
    core::millis ends_at_ms = 0;
  };
  std::mutex mutex_;
  std::map<core::short_hash, window> sources_;  // guarded by mutex_
};

}  // namespace portcullis::actors

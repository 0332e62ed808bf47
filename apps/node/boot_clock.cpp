#include "apps/node/boot_clock.hpp"

#include <time.h>

#include <algorithm>
#include <charconv>
#include <fstream>

namespace portcullis::apps {
namespace {

constexpr std::string_view meta_key = "clock";

std::int64_t read_ns(clockid_t which) noexcept {
  timespec now{};
  clock_gettime(which, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  file >> id;
  return id;
}

}  // namespace

boot_clock::boot_clock()
    : wall_at_boot_ms_((read_ns(CLOCK_REALTIME) - read_ns(CLOCK_BOOTTIME)) / 1'000'000) {}

core::millis boot_clock::now_ms() noexcept {
  return wall_at_boot_ms_ + read_ns(CLOCK_BOOTTIME) / 1'000'000;
}

std::int64_t boot_clock::mono_ns() noexcept { return read_ns(CLOCK_MONOTONIC); }

core::result<core::millis> boot_clock::settle(store::journal& log) {
  const auto system_ms = wall_at_boot_ms_;
  const auto id = boot_id();
  auto kept = log.meta_get(meta_key);
  if (!kept) return kept.error();
  core::millis stored = 0;
  bool known = false;
  if (*kept) {
    const std::string_view text = **kept;
    const auto space = text.find(' ');
    if (space != std::string_view::npos && !id.empty() && text.substr(0, space) == id)
      known = std::from_chars(text.data() + space + 1, text.data() + text.size(), stored).ec ==
              std::errc{};
  }
  if (known) wall_at_boot_ms_ = stored;
  // A clock that was set back must not make old events lie in the future.
  const auto behind_ms = log.last_at_ms() - now_ms();
  if (behind_ms > 0) wall_at_boot_ms_ += behind_ms;
  if (!known || behind_ms > 0) {
    const auto ok = log.meta_set(meta_key, id + " " + std::to_string(wall_at_boot_ms_));
    if (!ok) return ok.error();
  }
  return system_ms - wall_at_boot_ms_;
}

}  // namespace portcullis::apps

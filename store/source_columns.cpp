#include "store/source_columns.hpp"

namespace portcullis::store {
namespace {

void put(std::vector<std::uint8_t>& to, std::uint64_t value) {
  for (int i = 0; i < 8; ++i) to.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}
std::uint64_t get(core::byte_view& from) noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) value |= std::uint64_t{from[i]} << (8 * i);
  from = from.subspan(8);
  return value;
}
constexpr std::size_t counts_size = 8 * (core::call_result_count + core::duration_bucket_count);
constexpr std::size_t gap_size = 18;

}  // namespace

std::vector<std::uint8_t> pack_counts(const core::breaker_source& of) {
  std::vector<std::uint8_t> out;
  for (const auto each : of.counts.by_result) put(out, each);
  for (const auto each : of.durations) put(out, each);
  return out;
}

bool unpack_counts(core::byte_view from, core::breaker_source& to) noexcept {
  if (from.size() != counts_size) return false;
  for (auto& each : to.counts.by_result) each = get(from);
  for (auto& each : to.durations) each = get(from);
  return true;
}

std::vector<std::uint8_t> pack_gaps(const core::breaker_source& of) {
  std::vector<std::uint8_t> out;
  for (const auto& each : of.gaps) {
    put(out, each.after);
    put(out, each.before);
    out.push_back(static_cast<std::uint8_t>(each.from));
    out.push_back(static_cast<std::uint8_t>(each.to));
  }
  return out;
}

bool unpack_gaps(core::byte_view from, core::breaker_source& to) {
  if (from.size() % gap_size != 0 || from.size() / gap_size > core::seen_sequence::width)
    return false;
  while (!from.empty()) {
    auto& gap = to.gaps.emplace_back();
    gap.after = get(from);
    gap.before = get(from);
    if (from[0] >= core::breaker_state_names.size() || from[1] >= core::breaker_state_names.size())
      return false;
    gap.from = static_cast<core::breaker_state>(from[0]);
    gap.to = static_cast<core::breaker_state>(from[1]);
    from = from.subspan(2);
  }
  return true;
}

}  // namespace portcullis::store

#include "core/session/alias_table.hpp"

#include <algorithm>
#include <limits>

#include "core/limits.hpp"
#include "core/session/slot_index.hpp"

namespace portcullis::core {
namespace {

constexpr std::size_t places_min = 16;
constexpr std::size_t sweeps_a_turn =
    16;  // however long the table is: what is over does not pile up

/// Rounded up: never over too early.
std::uint32_t seconds_of(millis at_ms) noexcept {
  constexpr millis last = std::numeric_limits<std::uint32_t>::max();
  return static_cast<std::uint32_t>(std::clamp<millis>((at_ms + 999) / 1000, 0, last));
}

}  // namespace

// The first byte chose the table. A share of the length, as in slot_index.
std::size_t alias_table::home(const short_hash& tag) const noexcept {
  return static_cast<std::size_t>(std::uint64_t{hash_at(tag, 4)} * places_.size() >> 32);
}

std::size_t alias_table::at(const short_hash& tag) const noexcept {
  if (places_.empty()) return none;
  for (auto at = home(tag);; at = next(at)) {
    if (places_[at].is == state::empty) return none;
    if (places_[at].tag == tag) return at;
  }
}

alias_table::place& alias_table::need(const short_hash& tag) {
  if (const auto found = at(tag); found != none) return places_[found];
  if ((size_ + 1) * 4 > places_.size() * 3)
    rehash(places_.empty() ? places_min : places_.size() / 2 * 3);
  auto to = home(tag);
  while (places_[to].is != state::empty) to = next(to);
  places_[to].tag = tag;
  ++size_;
  return places_[to];
}

void alias_table::erase(std::size_t at) noexcept {
  const auto distance = [this](std::size_t from, std::size_t to) {
    return to >= from ? to - from : to + places_.size() - from;
  };
  // Backward shift: no grave stones that would lengthen later searches.
  for (auto after = next(at); places_[after].is != state::empty; after = next(after)) {
    if (distance(home(places_[after].tag), after) < distance(at, after)) continue;
    places_[at] = places_[after];
    at = after;
  }
  places_[at] = {};
  --size_;
}

void alias_table::rehash(std::size_t length) {
  auto old = std::move(places_);
  places_.assign(length, place{});
  for (const auto& each : old) {
    if (each.is == state::empty) continue;
    auto to = home(each.tag);
    while (places_[to].is != state::empty) to = next(to);
    places_[to] = each;
  }
  swept_ = 0;
}

bool alias_table::reserve(const short_hash& tag, std::uint8_t byte, millis now_ms) {
  auto& there = need(tag);
  const bool free = there.is == state::empty || is_over(there, now_ms);
  if (!free && (there.is == state::taken || there.byte != byte ||
                there.creates == std::numeric_limits<std::uint16_t>::max()))
    return false;
  there.creates = static_cast<std::uint16_t>(free ? 1 : there.creates + 1);
  there.byte = byte;
  there.is = state::reserved;
  there.until_s = seconds_of(now_ms + limits::alias_reservation_ms);
  return true;
}

bool alias_table::renew(const short_hash& tag, std::uint8_t byte, millis now_ms) {
  const auto found = at(tag);
  if (found == none || is_over(places_[found], now_ms)) return reserve(tag, byte, now_ms);
  return places_[found].byte == byte;
}

void alias_table::release(const short_hash& tag, std::uint8_t byte) noexcept {
  const auto found = at(tag);
  if (found == none) return;
  auto& there = places_[found];
  if (there.is != state::reserved || there.byte != byte) return;
  if (--there.creates == 0) erase(found);
}

void alias_table::keep(const short_hash& tag, std::uint8_t byte, millis until_ms) {
  auto& there = need(tag);
  const auto until_s = seconds_of(until_ms);
  if (there.is == state::taken && there.until_s > until_s) return;
  there.until_s = until_s;
  there.creates = 0;
  there.byte = byte;
  there.is = state::taken;
}

std::optional<std::uint8_t> alias_table::find(const short_hash& tag, millis now_ms) const {
  const auto found = at(tag);
  if (found == none || is_over(places_[found], now_ms)) return std::nullopt;
  return places_[found].byte;
}

std::optional<std::uint8_t> alias_table::holder(const short_hash& tag, millis now_ms) const {
  const auto found = at(tag);
  if (found == none || places_[found].is != state::taken) return std::nullopt;
  return find(tag, now_ms);
}

void alias_table::drop_reservations(const std::bitset<256>& bytes) noexcept {
  // What erase() moves to a place that was looked at comes from behind it, or, past the table's
  // end, from its beginning: that was looked at, too.
  for (std::size_t i = 0; i < places_.size(); ++i)
    while (places_[i].is == state::reserved && bytes.test(places_[i].byte)) erase(i);
}

void alias_table::sweep(millis now_ms, std::size_t least) {
  for (auto most = std::max(least, places_.size() / sweeps_a_turn); most > 0 && !places_.empty();
       --most) {
    if (swept_ >= places_.size()) swept_ = 0;
    if (places_[swept_].is != state::empty && is_over(places_[swept_], now_ms))
      erase(swept_);  // another one may be there now
    else
      ++swept_;
  }
  if (size_ * 4 < places_.size() && places_.size() > places_min)
    rehash(std::max(places_min, size_ * 2));
  if (size_ == 0) std::vector<place>().swap(places_);
}

}  // namespace portcullis::core

// Cursors of lists: opaque to callers, told apart by method, checked strictly (CURSOR_INVALID).
#pragma once
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "actors/messages.hpp"
#include "core/session/identity.hpp"
#include "core/session/state.hpp"
#include "store/records.hpp"

namespace portcullis::actors {

enum class cursor_kind : char {
  events = 'e',
  sessions = 's',
  found = 'f',
  lockouts = 'l',
  connections = 'c',
  breakers = 'b'
};

[[nodiscard]] inline std::string make_cursor(cursor_kind kind, std::uint64_t position) {
  return static_cast<char>(kind) + std::to_string(position);
}

/// The position in a cursor that make_cursor() made; 0 for an empty text. Absent: not one of this
/// kind.
[[nodiscard]] inline std::optional<std::uint64_t> read_cursor(cursor_kind kind,
                                                              std::string_view text) {
  if (text.empty()) return 0;
  std::uint64_t position = 0;
  if (text.size() < 2 || text[0] != static_cast<char>(kind)) return std::nullopt;
  const auto* end = text.data() + text.size();
  const auto [at, failure] = std::from_chars(text.data() + 1, end, position);
  if (failure != std::errc{} || at != end || make_cursor(kind, position) != text)
    return std::nullopt;
  return position;
}

/// breaker.list goes on behind a number, of an order that ends with the process, or with a shard's
/// actor.
struct breaker_place {
  std::uint64_t order = 0, number = 0;
};
[[nodiscard]] inline std::string make_breaker_cursor(const breaker_place& place) {
  return make_cursor(cursor_kind::breakers, place.order) + '.' + std::to_string(place.number);
}
/// Absent: not a cursor that make_breaker_cursor() made.
[[nodiscard]] inline std::optional<breaker_place> read_breaker_cursor(std::string_view text) {
  const auto dot = text.find('.');
  if (dot == std::string_view::npos || dot == 0) return std::nullopt;
  const auto order = read_cursor(cursor_kind::breakers, text.substr(0, dot));
  const auto number =
      read_cursor(cursor_kind::breakers,
                  std::string(1, static_cast<char>(cursor_kind::breakers)).append(text, dot + 1));
  if (!order || !number) return std::nullopt;
  return breaker_place{*order, *number};
}

/// lockout.list goes on behind a place, not a number.
[[nodiscard]] inline std::string make_lock_cursor(const lock_place& place) {
  core::byte_array<24> bytes;
  auto number = static_cast<std::uint64_t>(place.first_window_ends_at_ms);
  for (std::size_t i = 8; i-- > 0; number >>= 8) bytes[i] = static_cast<std::uint8_t>(number);
  std::copy(place.subject.bytes.begin(), place.subject.bytes.end(), bytes.begin() + 8);
  return static_cast<char>(cursor_kind::lockouts) + core::to_hex(bytes);
}

/// Absent: not a cursor that make_lock_cursor() made.
[[nodiscard]] inline std::optional<lock_place> read_lock_cursor(std::string_view text) {
  core::byte_array<24> bytes;
  if (text.empty() || text[0] != static_cast<char>(cursor_kind::lockouts) ||
      !core::from_hex(text.substr(1), bytes))
    return std::nullopt;
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < 8; ++i) number = number << 8 | bytes[i];
  lock_place place{static_cast<core::millis>(number), {}};
  std::copy(bytes.begin() + 8, bytes.end(), place.subject.bytes.begin());
  return place;
}

/// A row as session.list and session.find show it: the store's sealed part opened, the rest as
/// memory has it.
[[nodiscard]] inline core::session_row describe(const core::user_identity& who,
                                                const core::session_record& s,
                                                const store::session_display& stored) {
  core::session_row row;
  row.handle = s.handle;
  row.created_at_ms = s.created_at_ms;
  row.last_seen_at_ms = s.last_seen_at_ms;
  row.expires_at_ms = s.expires_at_ms();
  if (const auto shown = core::open_shown(who, stored.sealed)) {
    row.ip = core::to_text(shown->ip);
    row.user_agent = shown->user_agent;
  }
  return row;
}

/// The log was cut after a cursor: details.limit is the number in the oldest one left ("e" and it).
[[nodiscard]] inline core::error cursor_expired(std::uint64_t cut_seq) {
  return core::fail(core::error_code::EVENTS_CURSOR_EXPIRED, "after", "oldest",
                    static_cast<std::int64_t>(cut_seq));
}

}  // namespace portcullis::actors

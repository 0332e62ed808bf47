// Where the sessions are that callers named themselves: which routing byte each alias leads to, by
// the keyed hash of the alias. An alias is taken for as long as its session is remembered, ended or
// not, so that nobody can make a destroyed session anew under it.
#pragma once
#include <bitset>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/event/event.hpp"

namespace portcullis::core {

/// One part of all aliases: an open-addressing table, 24 bytes a place, between half and three
/// quarters of them used. Nobody without the key can aim at a chain. One thread.
class alias_table {
 public:
  /// Reserves an alias for a create whose user has this routing byte, until release(), or keep(),
  /// or for alias_reservation_ms (a create that was lost with its shard). Creates of users with one
  /// routing byte share the reservation: their shard lets one of them have it, in their order.
  /// False: it is another session's, or reserved for a user elsewhere.
  [[nodiscard]] bool reserve(const short_hash& tag, std::uint8_t byte, millis now_ms);
  /// Whether the reservation stands; one that ran out is made again where nobody else has it.
  /// False: a session that leads elsewhere has the alias by now.
  [[nodiscard]] bool renew(const short_hash& tag, std::uint8_t byte, millis now_ms);
  /// A create with a reservation came to nothing. Nothing happens where a session has the alias.
  void release(const short_hash& tag, std::uint8_t byte) noexcept;
  /// A session has the alias, and is remembered until then; of two the later one counts.
  void keep(const short_hash& tag, std::uint8_t byte, millis until_ms);
  /// The routing byte of the session's user; also while the session is only being made. Absent: no
  /// session that is remembered has the alias.
  [[nodiscard]] std::optional<std::uint8_t> find(const short_hash& tag, millis now_ms) const;
  /// The same, of a session that is made.
  [[nodiscard]] std::optional<std::uint8_t> holder(const short_hash& tag, millis now_ms) const;
  /// Reservations for users with these bytes are void: the shard that had them is another one now.
  void drop_reservations(const std::bitset<256>& bytes) noexcept;
  /// Looks at the next `least` places, or at a sixteenth of a table that has more, drops what is
  /// over there, and gives memory back that has become too much.
  void sweep(millis now_ms, std::size_t least);

  /// Also those that are over and have not been swept.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return places_.capacity() * sizeof(place); }

 private:
  enum class state : std::uint8_t { empty, reserved, taken };
  struct place {
    short_hash tag{};
    std::uint32_t until_s = 0;  // Unix time; over from then on
    std::uint16_t creates = 0;  // that share a reservation
    std::uint8_t byte = 0;
    state is = state::empty;
  };
  static_assert(sizeof(place) == 24);
  static constexpr std::size_t none = ~std::size_t{0};

  [[nodiscard]] static bool is_over(const place& what, millis now_ms) noexcept {
    return now_ms >= millis{what.until_s} * 1000;
  }
  [[nodiscard]] std::size_t home(const short_hash& tag) const noexcept;
  [[nodiscard]] std::size_t next(std::size_t at) const noexcept {
    return at + 1 == places_.size() ? 0 : at + 1;
  }
  [[nodiscard]] std::size_t at(const short_hash& tag) const noexcept;
  place& need(const short_hash& tag);
  void erase(std::size_t at) noexcept;
  void rehash(std::size_t length);

  std::vector<place> places_;
  std::size_t size_ = 0;
  std::size_t swept_ = 0;  // where sweep() goes on
};

}  // namespace portcullis::core

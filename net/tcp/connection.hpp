// One TCP connection: what came and is not yet decoded, what is to be sent, and how it will end.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/bytes.hpp"
#include "core/contract/request.hpp"
#include "core/tallies.hpp"
#include "net/loop/descriptor.hpp"
#include "net/loop/loop.hpp"
#include "net/ports.hpp"
#include "net/rpc/framing.hpp"
#include "net/tcp/batch.hpp"

namespace portcullis::net {

/// Where the reply to a call goes.
struct reply_place {
  std::string_view raw_id;
  bool notification = false;
  std::shared_ptr<reply_batch> batch;  // null: a call of its own
  std::size_t batch_index = 0;
};

/// A call decoded behind a login that has to wait; its views are kept alive by `block`.
struct parked_call {
  reply_place place;
  core::request request;
  block_ref block;
};

// A connection's id: its number, then the loop, then the slot. Ascending with time, never reused.
inline constexpr unsigned connection_slot_bits = 20;
inline constexpr unsigned connection_loop_bits = 4;
[[nodiscard]] constexpr std::uint32_t slot_of(connection_id id) noexcept {
  return static_cast<std::uint32_t>(id & ((1U << connection_slot_bits) - 1));
}

enum class ending : std::uint8_t {
  none,
  after_answers,  // everything in flight is answered first, then comes `last_error`
  after_output,   // what is queued is written, then it is closed
  lingering       // our side is shut; what the peer still sends is dropped until it closes
};

struct connection {
  connection(loop& on, descriptor connected, loop::watch::function ready,
             const message_limits& limits)
      : socket(std::move(connected)), watch(on, socket.get(), ready, this), frames(limits) {}

  connection_id id = 0;
  descriptor socket;
  loop::watch watch;
  void* owner = nullptr;
  const core::caller* caller = nullptr;
  std::size_t in_flight = 0;
  std::uint64_t requests = 0;

  framer frames;
  core::byte_buffer undecoded;
  std::unique_ptr<std::deque<parked_call>> parked;  // null: none

  core::byte_buffer out;
  std::size_t sent = 0;          // of `out`
  std::size_t held = 0;          // bytes of batches that wait for their last reply
  core::byte_buffer withheld;    // pushes that must not overtake a subscribe's reply in a batch
  std::size_t withholding = 0;   // batches with such a reply, not written yet
  std::int64_t progress_ns = 0;  // when the peer last took something, while `blocked`
  std::int64_t linger_until_ns = 0;

  net::ending ending = net::ending::none;
  std::optional<core::error> last_error;
  bool eof = false;       // the peer has sent its last byte
  bool paused = false;    // decoding, and so reading, waits
  bool starved = false;   // no block to read into
  bool barrier = false;   // a login is in flight
  bool blocked = false;   // the kernel took no more
  bool dead = false;      // to be destroyed at the end of the turn
  bool dirty = false;     // stands in the list of the turn's end
  bool resuming = false;  // stands in the list of those that go on decoding

  std::string address;
  core::listener listener = core::listener::rpc;
  core::millis since_ms = 0;

  [[nodiscard]] std::size_t unread() const noexcept {
    return out.size() - sent + held + withheld.size();
  }
};

}  // namespace portcullis::net

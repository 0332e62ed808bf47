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
#include "core/limits.hpp"
#include "core/tallies.hpp"
#include "net/loop/descriptor.hpp"
#include "net/loop/loop.hpp"
#include "net/ports.hpp"
#include "net/rpc/framing.hpp"
#include "net/stream/opening.hpp"
#include "net/stream/stream.hpp"
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
  /// What is wrong with the call: told only if the caller, known by then, may call the method.
  std::optional<core::error> fault = std::nullopt;
  std::optional<core::method> called = std::nullopt;  // with a fault; absent: no such method
};

// A connection's id: its number, then the loop, then the slot. Ascending with time, never reused.
inline constexpr unsigned connection_slot_bits = 20;
inline constexpr unsigned connection_loop_bits = 4;
static_assert(core::limits::loops_max <= 1U << connection_loop_bits);
[[nodiscard]] constexpr std::uint32_t slot_of(connection_id id) noexcept {
  return static_cast<std::uint32_t>(id & ((1U << connection_slot_bits) - 1));
}

enum class ending : std::uint8_t {
  none,
  after_answers,  // everything in flight is answered first, then comes `last_error`
  after_output,   // what is queued is written, then it is closed
  lingering       // our side is shut; what the peer still sends is dropped until it closes
};

/// What carries a connection's bytes.
struct connection_wire {
  connection_wire(loop& on, descriptor connected, loop::watch::function ready, void* context)
      : bytes(std::move(connected)), watch(on, bytes.descriptor_number(), ready, context) {}

  stream bytes;
  loop::watch watch;
};

struct connection {
  explicit connection(const message_limits& limits) : frames(limits) {}

  connection_id id = 0;
  std::optional<connection_wire> wire;  // absent: a caller inside of the process, `lines`
  lines_port* lines = nullptr;
  // Why `lines` is ended.
  std::optional<core::error> ended_by;
  std::unique_ptr<net::opening> opening;  // null: messages may come
  std::int64_t opening_until_ns = 0;
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
  bool eof = false;         // the peer has sent its last byte
  bool paused = false;      // decoding, and so reading, waits
  bool starved = false;     // no block to read into
  bool barrier = false;     // a login is in flight
  bool blocked = false;     // the kernel took no more
  bool dead = false;        // to be destroyed at the end of the turn
  bool dirty = false;       // stands in the list of the turn's end
  bool resuming = false;    // stands in the list of those that go on decoding
  bool rereading = false;   // stands in the list of those that have bytes without the socket's word
  bool resting = false;     // has given back what it needs only while it is used
  bool subscribed = false;  // has asked for events: silence is no idleness
  bool loopback = false;

  std::int64_t active_ns = 0;         // when the last whole message came
  std::int64_t message_since_ns = 0;  // when the message began that is not whole yet; 0: none

  std::string address;
  std::string ja3, ja4;  // empty: no TLS
  bool bound = false;    // contexts are the connection's own
  bool calls_only = false;
  core::ip_address source;
  bool counted = false;  // among the connections of its source
  core::listener listener = core::listener::rpc;
  core::millis since_ms = 0;

  /// Whether a login has yet to be answered: who is calling then is not known now.
  [[nodiscard]] bool behind_login() const noexcept { return barrier || parked != nullptr; }
  [[nodiscard]] std::size_t unread() const noexcept {
    return queued() + (lines != nullptr ? lines->unread() : 0);
  }
  /// What of that stands here. A caller inside asks nothing while too much waits beyond it, and
  /// does not tell when less does: only this may hold up what it has asked.
  [[nodiscard]] std::size_t queued() const noexcept {
    return out.size() - sent + held + withheld.size();
  }
};

}  // namespace portcullis::net

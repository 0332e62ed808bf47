// Bytes of a Redis server to replies. hiredis reads, within bounds of ours.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>

#include "net/redis/reply.hpp"

namespace portcullis::net::redis {

/// Single thread. No sockets. What it holds is bounded: a reply's bytes by `reply_bytes_max`, its
/// values and its depth by limits.hpp, whatever hiredis' own bounds are.
class reply_reader {
 public:
  enum class status : std::uint8_t {
    complete,  // one reply came out
    more,      // it needs more bytes
    broken,    // no RESP2, or out of bounds: nothing more will come out, why() tells
  };

  explicit reply_reader(std::size_t reply_bytes_max);
  ~reply_reader();
  reply_reader(const reply_reader&) = delete;
  reply_reader& operator=(const reply_reader&) = delete;

  /// Takes the connection's next bytes, copied, in pieces of any size. Then next() must be called
  /// until it wants more.
  void feed(std::string_view bytes);
  [[nodiscard]] status next(reply& into);
  /// "protocol", "reply_bytes", "reply_elements", "reply_depth"; empty: not broken.
  [[nodiscard]] std::string_view why() const noexcept;
  /// What hiredis says of it, for people.
  [[nodiscard]] std::string_view detail() const noexcept;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace portcullis::net::redis

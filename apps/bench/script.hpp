// What a load generator says and what it takes for an answer. One object a thread; the loop knows
// no protocol.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/bytes.hpp"

namespace portcullis::apps {

struct bench_tally {
  std::uint64_t replies = 0;
  std::uint64_t errors = 0;      // error replies
  std::uint64_t unexpected = 0;  // answers that are no error and not what the request must get
};

class bench_script {
 public:
  virtual ~bench_script() = default;
  /// Appends one request. False when there is nothing left to say.
  virtual bool append(core::byte_buffer& out) = 0;
  /// Cuts whole replies off the front of `bytes` and judges each. Returns how many bytes they were.
  virtual std::size_t take(std::string_view bytes, bench_tally& into) = 0;
};

/// A small, fast generator (xorshift64*): the sequence matters to nobody, its cost does.
class bench_random {
 public:
  explicit bench_random(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15U + 1) {}
  std::uint64_t next() noexcept {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1DU;
  }
  /// 0 .. bound-1.
  std::size_t below(std::size_t bound) noexcept {
    return static_cast<std::size_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }

 private:
  std::uint64_t state_;
};

/// The browsers that sessions come from: session i has context i % bench_context_count.
struct bench_context {
  std::string_view ip, user_agent, accept, accept_language, accept_encoding;
};
inline constexpr std::size_t bench_context_count = 8;
[[nodiscard]] const bench_context& bench_context_of(std::size_t session) noexcept;

/// Session ids by index: filled once, read by all threads.
using bench_ids = std::vector<core::byte_array<32>>;

/// A share of what is sent.
struct bench_weight {
  std::string_view kind;
  unsigned weight;
};

/// The kinds of request that the JSON-RPC script knows.
[[nodiscard]] const std::vector<std::string_view>& rpc_kinds();
/// Creates the sessions `first`, `first + step`, ... below ids.size() and keeps their ids.
[[nodiscard]] std::unique_ptr<bench_script> rpc_fill(bench_ids& ids, std::size_t first,
                                                     std::size_t step);
/// Sends a mix without end.
[[nodiscard]] std::unique_ptr<bench_script> rpc_mix(const bench_ids& ids,
                                                    const std::vector<bench_weight>& mix,
                                                    std::uint64_t seed);

/// Writes the records of sessions `first`, `first + step`, ... below `count`, and with `index` a
/// set of ids for each user.
[[nodiscard]] std::unique_ptr<bench_script> redis_fill(std::size_t count, std::size_t first,
                                                       std::size_t step, bool index);
/// Sends one command without end: get, set or lua.
[[nodiscard]] std::unique_ptr<bench_script> redis_load(std::string_view command, std::size_t count,
                                                       std::uint64_t seed,
                                                       std::string_view lua_digest);
/// The script that does validate's checks, and the request that loads it.
[[nodiscard]] std::string redis_script_load();

}  // namespace portcullis::apps

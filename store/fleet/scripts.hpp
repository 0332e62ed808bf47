// What runs inside of Redis: each is one atomic step on keys of one slot. No policy
// (architecture.md).
#pragma once
#include <string>
#include <string_view>

#include "net/redis/command.hpp"

namespace portcullis::store::fleet {

/// Appends units that were decided, unless another writer was faster. scripts.cpp says how.
[[nodiscard]] const net::redis::script& append_script();
/// Leaves a writer's earlier connections behind, whatever of them is still on its way.
[[nodiscard]] const net::redis::script& fence_script();
/// Tells that a node lives, and asks who else does.
[[nodiscard]] const net::redis::script& heartbeat_script();
/// Makes the log's description where there is none, and returns it.
[[nodiscard]] const net::redis::script& hello_script();
/// What the log is, as hello_script and heartbeat_script tell it.
namespace look {
enum field : std::size_t { format, check, snapshot, first, last, name, ring, mark, moved, count };
}
/// Puts a user's row in the place of the one that was read.
[[nodiscard]] const net::redis::script& replace_script();
/// Puts a snapshot in the place of what came before it.
[[nodiscard]] const net::redis::script& cut_script();

/// The answer of append_script where it appended nothing: its first number.
inline constexpr std::int64_t log_is_shorter = -1, too_far_behind = -2, fenced_off = -3,
                              not_now = -4;

/// Keys of one fleet. The part in braces makes them one slot of a Redis Cluster.
class key_names {
 public:
  explicit key_names(std::string_view prefix)
      : begin_(std::string(prefix) + ":{" + std::string(prefix) + "}:") {}
  [[nodiscard]] std::string log() const { return begin_ + "log"; }
  [[nodiscard]] std::string users() const { return begin_ + "users"; }
  [[nodiscard]] std::string meta() const { return begin_ + "meta"; }
  [[nodiscard]] std::string nodes() const { return begin_ + "nodes"; }
  [[nodiscard]] std::string fences() const { return begin_ + "fences"; }
  [[nodiscard]] std::string snapshot(std::uint64_t seq) const {
    return begin_ + "snapshot:" + std::to_string(seq);
  }

 private:
  std::string begin_;
};

}  // namespace portcullis::store::fleet

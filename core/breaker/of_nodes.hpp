// What one node of several knows of a hosted breaker beyond its own calls: those of all nodes, and
// who tries it while it is half-open. Pure; one thread.
#pragma once
#include <map>
#include <string>

#include "core/breaker/window.hpp"
#include "core/limits.hpp"

namespace portcullis::core {

struct breaker_of_nodes {
  /// What a node has told of its calls: when it had any, whatever became of them, and whether those
  /// that are judged failed.
  struct node {
    millis called_at_ms = 0, failed_at_ms = 0;  // last; failed or was slow
    bool failing = false;                       // all that it told last had failed
  };
  enum class prober : std::uint8_t {
    here,
    elsewhere,
    nobody,  // it is gone, or nobody calls there: whoever is called begins the phase anew
  };

  call_window calls;  // of all nodes, this one too
  std::map<std::string, node, std::less<>> others;
  node self;
  call_counts counted;            // by others, as long as this process runs
  millis open_here_until_ms = 0;  // open on this node alone; 0: it is not
  bool used = false;              // on this node, since it opened
  prober tries = prober::elsewhere;
  std::uint64_t writer = 0;    // of the node that tries; 0: not known
  millis waited_until_ms = 0;  // the end of the wait before it was half-open; 0: not known
  epoch_calls judged;          // here, and not yet told the others
  bool alone = false;          // no other node lives
  millis began_ms = 0;         // the windows
  millis judge_at_ms = 0;      // anew, when others had time to tell of their calls; 0: need not

  /// Whether as many nodes as the policy asks for, or all that had calls, have failures of their
  /// own. `in_a_row`: and nothing but failures, last. While is_early() one node is not all.
  [[nodiscard]] bool has_quorum(const breaker_policy& policy, bool in_a_row,
                                millis now_ms) const noexcept;
  /// Others may have calls that they had no time to tell of.
  [[nodiscard]] bool is_early(millis now_ms) const noexcept {
    return !alone && now_ms < settled_ms();
  }
  [[nodiscard]] millis settled_ms() const noexcept {
    return began_ms + 2 * limits::fleet_tally_calls_every_ms;
  }
  /// The one of that name, which has had calls.
  node& called(std::string_view name, const breaker_policy& policy, millis now_ms);
};

}  // namespace portcullis::core

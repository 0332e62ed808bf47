// What one node of several knows of a hosted breaker beyond its own calls: those of all nodes, and
// who tries it while it is half-open. Pure; one thread.
#pragma once
#include <map>
#include <string>

#include "core/breaker/window.hpp"

namespace portcullis::core {

struct breaker_of_nodes {
  /// What a node has told of its calls since the window began.
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
  std::uint64_t writer = 0;  // of the node that tries; 0: not known

  /// Whether as many nodes as the policy asks for, or all that had calls, have failures of their
  /// own. `in_a_row`: and nothing but failures, last.
  [[nodiscard]] bool has_quorum(const breaker_policy& policy, bool in_a_row,
                                millis now_ms) const noexcept;
  void add(std::string_view name, const call_counts& more, millis now_ms);
};

}  // namespace portcullis::core

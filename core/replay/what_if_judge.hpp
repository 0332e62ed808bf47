// What a recorded mismatch is under another policy, and what the log cannot tell of that policy.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/session/policy_book.hpp"
#include "core/session/state.hpp"

namespace portcullis::core {

/// Who a user is; null: forgotten, or the row cannot be opened.
using identity_lookup = std::function<identity_ptr(const subject_id&)>;

struct judged_anew {
  bool fails = true;
  bool estimated = false;  // something was not known: the recorded finding was taken
};
/// A counted mismatch of the log. `session`: as it was; null: not known. An address that had to be
/// opened stays open in it.
[[nodiscard]] judged_anew judge_anew(const event& what, const validation_failed& failed,
                                     session_record* session, const session_policy& recorded,
                                     const session_policy& other, const identity_lookup& who);

/// Where the attempt was made from; absent: that cannot be opened.
[[nodiscard]] std::optional<ip_address> presented_address(const event& what,
                                                          const identity_lookup& who);

/// Whether a request whose findings were only signalled would have been a failed attempt.
[[nodiscard]] bool fails_under(const validation_signalled& signal, const session_policy& other);

/// What the numbers leave out, a sentence each.
[[nodiscard]] std::vector<std::string> blind_spots(const policy_book& recorded,
                                                   const policy_book& other);

}  // namespace portcullis::core

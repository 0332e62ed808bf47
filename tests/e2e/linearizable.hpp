// Whether what clients saw of one session can have happened in one order (Wing and Gong, "Testing
// and Verifying Concurrent Objects", 1993; with states remembered, Lowe 2017).
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace portcullis::e2e {

enum class action { create, validate, update, rotate, revoke };

/// What the caller was told.
enum class told {
  done,       // validate: valid
  revoked,    // the session is over, or was ended for the use of an old id
  nothing,    // revoke: there was nothing to revoke
  not_found,  // the id is unknown
  unknown,    // an error of the store, or no answer: it may have happened, later too, or not
};

/// One call. Ids of a session are numbered, the one that create returned is 0.
struct operation {
  action what = action::create;
  told answer = told::done;
  int id = 0;                // presented
  int made = 0;              // rotate: the number of the id returned
  std::int64_t version = 0;  // update, validate: as returned
  std::int64_t value = 0;    // create, update: the data written; validate: the data seen
  std::int64_t begun_ns = 0, ended_ns = 0;
  int node = 0;
  bool settled = false;  // validate: all nodes have read the same, and nothing else goes on
};

inline std::string to_text(const operation& op) {
  static constexpr const char* actions[] = {"create", "validate", "update", "rotate", "revoke"};
  static constexpr const char* answers[] = {"done", "revoked", "nothing", "not_found", "unknown"};
  return std::to_string(op.begun_ns / 1'000) + ".." + std::to_string(op.ended_ns / 1'000) +
         " us, node " + std::to_string(op.node) + ": " + actions[static_cast<int>(op.what)] +
         " id " + std::to_string(op.id) + " -> " + answers[static_cast<int>(op.answer)] +
         (op.what == action::rotate ? " made " + std::to_string(op.made) : "") + " version " +
         std::to_string(op.version) + " value " + std::to_string(op.value) +
         (op.settled ? " (settled)" : "") + "\n";
}

/// The specification: one session.
struct session_model {
  enum class is { absent, live, over } state = is::absent;
  int id = 0;
  std::int64_t version = 0, value = 0;

  friend auto operator<=>(const session_model&, const session_model&) = default;

  /// What `op` makes of it; absent where the caller cannot have been told that. Of what nobody
  /// knows: what it makes where it happens. `hidden`: the id that a rotation without answer made.
  [[nodiscard]] std::optional<session_model> after(const operation& op, int hidden) const {
    const bool sure = op.answer != told::unknown;
    auto next = *this;
    if (op.what == action::create) {
      if (state != is::absent) return std::nullopt;
      return session_model{is::live, 0, 1, op.value};
    }
    if (state == is::absent) {
      if (sure && op.answer != told::not_found) return std::nullopt;
      return next;
    }
    if (op.answer == told::not_found) return std::nullopt;
    if (op.what == action::revoke) {
      if (sure && (op.answer == told::done) != (state == is::live)) return std::nullopt;
      next.state = is::over;
      return next;
    }
    if (state == is::over || op.id != id) {  // an old id ends the session: reuse
      if (sure && op.answer != told::revoked) return std::nullopt;
      next.state = is::over;
      return next;
    }
    if (sure && op.answer != told::done) return std::nullopt;
    if (op.what == action::validate) {
      if (sure && (op.version != version || op.value != value)) return std::nullopt;
    } else if (op.what == action::update) {
      if (sure && op.version != version + 1) return std::nullopt;
      ++next.version;
      next.value = op.value;
    } else {
      next.id = sure ? op.made : hidden;
    }
    return next;
  }
};

struct judged {
  enum class as { linearizable, impossible, too_large } verdict = as::linearizable;
  std::uint64_t steps = 0;
};

/// Histories of one session. A validation may have seen what was current up to `staleness_ns`
/// before it began; all else is strict.
class linearizability {
 public:
  linearizability(std::vector<operation> history, std::int64_t staleness_ns)
      : history_(std::move(history)) {
    for (auto& op : history_) {
      if (op.answer == told::unknown) op.ended_ns = std::numeric_limits<std::int64_t>::max();
      // That something is over stays true: only what was valid can be stale.
      if (op.what == action::validate && op.answer == told::done && !op.settled)
        op.begun_ns -= staleness_ns;
    }
    std::sort(history_.begin(), history_.end(),
              [](const operation& a, const operation& b) { return a.begun_ns < b.begun_ns; });
  }
  [[nodiscard]] judged judge(std::uint64_t steps_max = 2'000'000) {
    judged out;
    steps_max_ = steps_max;
    const bool found = search(std::vector<bool>(history_.size()), session_model{});
    out.steps = steps_;
    out.verdict = found                  ? judged::as::linearizable
                  : steps_ >= steps_max_ ? judged::as::too_large
                                         : judged::as::impossible;
    return out;
  }

 private:
  /// The latest moment at which the next one can have happened.
  [[nodiscard]] std::int64_t horizon(const std::vector<bool>& done) const {
    auto first = std::numeric_limits<std::int64_t>::max();
    for (std::size_t i = 0; i < history_.size(); ++i)
      if (!done[i]) first = std::min(first, history_[i].ended_ns);
    return first;
  }
  [[nodiscard]] bool all_sure(const std::vector<bool>& done) const {
    for (std::size_t i = 0; i < history_.size(); ++i)
      if (!done[i] && history_[i].answer != told::unknown) return false;
    return true;
  }
  /// What changes nothing now may as well happen now: nothing is lost by it.
  void absorb(std::vector<bool>& done, const session_model& now) const {
    for (bool more = true; more;) {
      more = false;
      const auto until = horizon(done);
      for (std::size_t i = 0; i < history_.size() && history_[i].begun_ns <= until; ++i) {
        if (done[i] || history_[i].answer == told::unknown) continue;
        if (now.after(history_[i], hidden(i)) != now) continue;
        done[i] = more = true;
      }
    }
  }
  [[nodiscard]] static int hidden(std::size_t i) { return -1 - static_cast<int>(i); }

  bool search(std::vector<bool> done, const session_model& now) {
    absorb(done, now);
    if (all_sure(done)) return true;
    if (++steps_ >= steps_max_ || !seen_.emplace(done, now).second) return false;
    const auto until = horizon(done);
    for (std::size_t i = 0; i < history_.size() && history_[i].begun_ns <= until; ++i) {
      if (done[i]) continue;
      const auto next = now.after(history_[i], hidden(i));
      if (!next || next == now) continue;
      done[i] = true;
      if (search(done, *next)) return true;
      done[i] = false;
      if (steps_ >= steps_max_) return false;
    }
    return false;
  }

  std::vector<operation> history_;
  std::set<std::pair<std::vector<bool>, session_model>> seen_;
  std::uint64_t steps_ = 0, steps_max_ = 0;
};

}  // namespace portcullis::e2e

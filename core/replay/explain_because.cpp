// Which earlier events led to one: a choice from what the log said of the same thing.
#include <algorithm>
#include <set>

#include "core/replay/explain_parts.hpp"

namespace portcullis::core::explaining {
namespace {

constexpr std::size_t told_max = 32;  // attempts: those of a usual threshold and more

bool is_activity(event_type type) {
  return type == event_type::session_touched || type == event_type::session_rotated ||
         type == event_type::session_updated;
}
bool is_life(event_type type) {
  switch (type) {
    case event_type::session_created:
    case event_type::session_rotated:
    case event_type::session_successor_used:
    case event_type::session_rekeyed:
    case event_type::session_updated:
    case event_type::session_revoked:
    case event_type::session_expired:
    case event_type::session_evicted:
    case event_type::session_reuse_detected:
    case event_type::user_forgotten:
      return true;
    default:
      return false;  // NOLINT: all others
  }
}
bool is_lock(event_type type) {
  return type == event_type::lockout_started || type == event_type::lockout_ended ||
         type == event_type::lockout_cleared;
}

class choice {
 public:
  explicit choice(const past_events& from) : from_(from) {}

  /// The last `count` that are like this.
  template <class Like>
  void last(std::size_t count, Like&& like) {
    const auto& all = from_.all();
    for (auto each = all.rbegin(); each != all.rend() && count > 0; ++each)
      if (like(*each)) {
        add(*each);
        --count;
      }
  }
  void add(const past_event& one) {
    if (!seqs_.insert(one.seq).second) return;
    out_.push_back(one);
  }
  void add(const std::optional<past_event>& one) {
    if (one) add(*one);
  }
  [[nodiscard]] std::vector<past_event> take() {
    std::sort(out_.begin(), out_.end(),
              [](const past_event& a, const past_event& b) { return a.seq < b.seq; });
    return std::move(out_);
  }

 private:
  const past_events& from_;
  std::set<std::uint64_t> seqs_;
  std::vector<past_event> out_;
};

/// Attempts that count in the window or lock that this is about, and locks before.
void add_attempts(choice& to, std::size_t count) {
  to.last(std::min(count, told_max), [](const past_event& each) { return each.is_attempt; });
  to.last(1, [](const past_event& each) { return is_lock(each.type); });
}

/// How the session came about and when it was last used.
void add_session(choice& to, const past_events& past, const std::optional<session_handle>& handle) {
  to.add(past.creation());
  to.last(1,
          [&](const past_event& each) { return each.handle == handle && is_activity(each.type); });
  to.last(2, [&](const past_event& each) { return each.handle == handle && is_life(each.type); });
}

}  // namespace

std::vector<past_event> what_led_to(const event& what, const past_events& past) {
  choice out(past);
  switch (what.type()) {
    case event_type::validation_failed: {
      const auto& body = std::get<validation_failed>(what.body);
      add_session(out, past, what.handle);
      if (body.attempt)
        add_attempts(out, std::max(*body.attempt, body.user_attempt) - 1);
      else
        out.last(1, [](const past_event& each) { return is_lock(each.type); });
      if (!what.handle) out.last(4, [](const past_event& each) { return is_life(each.type); });
      out.add(past.policy());
      break;
    }
    case event_type::validation_signalled:
      add_session(out, past, what.handle);
      out.add(past.policy());
      break;
    case event_type::lockout_started:
      add_attempts(out, std::get<lockout_started>(what.body).attempts);
      out.add(past.policy());
      break;
    case event_type::lockout_ended:
    case event_type::lockout_cleared:
      add_attempts(out, told_max);
      break;
    case event_type::session_created:
    case event_type::session_evicted:
      out.last(told_max, [](const past_event& each) { return is_life(each.type); });
      out.add(past.policy());
      break;
    case event_type::session_revoked:
      if (std::get<session_revoked>(what.body).reason == "lockout") add_attempts(out, told_max);
      if (what.handle)
        add_session(out, past, what.handle);
      else
        out.last(told_max, [](const past_event& each) { return is_life(each.type); });
      break;
    case event_type::user_forgotten:
      out.last(told_max, [](const past_event& each) { return is_life(each.type); });
      break;
    case event_type::config_reloaded:
    case event_type::node_started:
      out.add(past.policy());
      break;
    default:  // NOLINT: of one session, or of one breaker
      if (what.handle) {
        add_session(out, past, what.handle);
      } else if (!service_of(what).empty()) {
        out.last(6, [](const past_event& each) { return each.type != event_type::calls_tallied; });
        out.add(past.policy());
      }
      break;
  }
  return out.take();
}

}  // namespace portcullis::core::explaining

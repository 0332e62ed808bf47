#include "core/replay/what_if_sessions.hpp"

#include <algorithm>
#include <limits>

#include "core/session/decide.hpp"
#include "core/session/recorded.hpp"

namespace portcullis::core {
namespace {

/// Ends that are nearer to each other are one: events of one decision have times of their own.
constexpr millis same_end_ms = 1'000;

bool same_cap(const session_policy& a, const session_policy& b) noexcept {
  return a.max_sessions_per_user == b.max_sessions_per_user && a.on_cap == b.on_cap;
}

}  // namespace

what_if_sessions::twin* what_if_sessions::find(session_slot slot) {
  if (slot >= twins_.size()) return nullptr;
  auto& one = twins_[slot];
  return one.seq != 0 && one.seq == recorded_.sessions().at(slot).seq ? &one : nullptr;
}
const what_if_sessions::twin* what_if_sessions::find(session_slot slot) const {
  return const_cast<what_if_sessions*>(this)->find(slot);  // NOLINT: changes nothing
}

bool what_if_sessions::lives(const twin& one, session_slot slot, millis at_ms) const {
  const auto& sessions = recorded_.sessions();
  return one.ended_ms == 0 && at_ms < expires_ms(one) && !sessions.outlived(sessions.at(slot));
}

bool what_if_sessions::lives(session_slot slot, millis at_ms) const {
  const auto* one = find(slot);
  return one == nullptr || lives(*one, slot, at_ms);  // of before the log: as it says
}

bool what_if_sessions::lived_for(session_slot slot, millis at_ms) const {
  const auto* one = find(slot);
  if (one == nullptr) return true;
  if (one->ended_ms == 0) return at_ms < expires_ms(*one);
  return at_ms < one->ended_ms || !one->ended_alone;
}

const std::string& what_if_sessions::tenant_of(session_slot slot) const {
  const auto& sessions = recorded_.sessions();
  return sessions.tenant(sessions.user(sessions.at(slot).user).tenant).name;
}

what_if_sessions::twin& what_if_sessions::make(session_slot slot, const session_policy& recorded,
                                               const session_policy& other) {
  if (slot >= twins_.size()) twins_.resize(slot + 1);
  // A time to live that is the policy's was not asked for: it is the other policy's there.
  const auto ttl = [](std::int64_t given, std::int64_t policy_s, std::int64_t other_s,
                      std::int64_t unit) {
    if (policy_s == other_s) return given;
    return given >= policy_s * unit ? other_s * unit : std::min(given, other_s * unit);
  };
  const auto& s = recorded_.sessions().at(slot);
  auto& one = twins_[slot] = {};
  one.seq = s.seq;
  one.last_seen_ms = s.last_seen_at_ms;
  one.idle_ttl_s =
      static_cast<std::uint32_t>(ttl(s.idle_ttl_s, recorded.idle_ttl_s, other.idle_ttl_s, 1));
  one.absolute_ms = s.created_at_ms + ttl(s.absolute_expires_at_ms - s.created_at_ms,
                                          recorded.absolute_ttl_s, other.absolute_ttl_s, 1000);
  return one;
}

void what_if_sessions::begin(const policy_book& recorded, const policy_book& other) {
  now_ms_ = recorded_.at_ms();
  for (session_slot slot = 0; slot < recorded_.sessions().slots_used(); ++slot) {
    if (recorded_.sessions().at(slot).status != session_status::live) continue;
    const auto& tenant = tenant_of(slot);
    auto& one = make(slot, recorded.of(tenant), other.of(tenant));
    if (expires_ms(one) <= now_ms_)
      one.ended_ms = expires_ms(one);  // before what is counted
    else
      watch(slot, one);
  }
}

void what_if_sessions::created(session_slot slot, const session_policy& recorded,
                               const session_policy& other) {
  watch(slot, make(slot, recorded, other));
  if (other.max_sessions_per_user > 0)
    keep_to_cap(slot, recorded_.sessions().at(slot).created_at_ms, recorded, other);
}

bool what_if_sessions::has_doubtful(user_slot user, millis at_ms) const {
  const auto all = recorded_.sessions_of(user);
  return std::any_of(all.begin(), all.end(), [&](session_slot each) {
    const auto* one = find(each);
    return one != nullptr && is_doubtful(*one, each, at_ms);
  });
}

void what_if_sessions::keep_to_cap(session_slot slot, millis at_ms, const session_policy& recorded,
                                   const session_policy& other) {
  const bool doubtful = has_doubtful(recorded_.sessions().at(slot).user, at_ms);
  if (doubtful && same_cap(recorded, other)) return;  // evicted() follows the log
  std::vector<session_slot> live;
  for (const auto each : recorded_.sessions_of(recorded_.sessions().at(slot).user))
    if (const auto* one = find(each); each != slot && one != nullptr && lives(*one, each, at_ms))
      live.push_back(each);
  const std::size_t cap = other.max_sessions_per_user;
  if (live.size() < cap) return;
  if (other.on_cap == cap_action::deny) return other_ended(slot, at_ms, "cap", doubtful);
  for (std::size_t i = 0; i + cap <= live.size(); ++i) other_ended(live[i], at_ms, "cap", doubtful);
}

void what_if_sessions::evicted(session_slot slot, millis at_ms, const session_policy& recorded,
                               const session_policy& other) {
  const auto user = recorded_.sessions().at(slot).user;
  if (same_cap(recorded, other) && has_doubtful(user, at_ms)) return ended(slot, at_ms);
  recorded_ended(slot, at_ms, "cap", false);
}

/// Activity that is missing here may end it earlier than in the log.
void what_if_sessions::watch(session_slot slot, twin& one) {
  const bool earlier =
      one.expires_ms(one.last_seen_ms) < recorded_.sessions().at(slot).expires_at_ms();
  if (earlier) look_again(slot, one);
}

void what_if_sessions::look_again(session_slot slot, twin& one) {
  if (one.ended_ms != 0 || one.watched) return;
  one.watched = true;
  wheel_.add(slot, std::max(expires_ms(one), now_ms_ + 1), now_ms_);
}

void what_if_sessions::expire(session_slot slot, twin& one) {
  one.ended_ms = expires_ms(one);
  one.ended_alone = true;
  const bool idle = one.ended_ms < one.absolute_ms;
  part(slot, one, true, one.ended_ms, idle ? "idle" : "absolute", idle);
}

void what_if_sessions::used(session_slot slot, millis at_ms, bool locked, bool touches) {
  auto* one = find(slot);
  if (one == nullptr || one->skip_ms == at_ms) return;  // counted already
  if (!lives(*one, slot, at_ms)) {
    if (one->ended_ms == 0 && at_ms >= expires_ms(*one)) expire(slot, *one);
    return count_use(slot, *one, at_ms);
  }
  if (locked) {
    one->skip_ms = at_ms;
    look_again(slot, *one);  // the log is about to move its activity, and here it stays
    if (!tally_.counts(at_ms)) return;
    auto& row = tally_.row(tenant_of(slot), at_ms);
    ++row.refused;
    row.approximate = true;
    return;
  }
  if (touches) one->last_seen_ms = std::max(one->last_seen_ms, at_ms);
  watch(slot, *one);
}

void what_if_sessions::failed(session_slot slot, millis at_ms) {
  auto* one = find(slot);
  if (one == nullptr) return;
  one->skip_ms = at_ms;
  look_again(slot, *one);
}

void what_if_sessions::passed(session_slot slot, millis at_ms, const session_policy& other) {
  auto* one = find(slot);
  if (one == nullptr || !lives(*one, slot, at_ms)) return;
  if (at_ms - one->last_seen_ms >= touch_granularity_ms(one->idle_ttl_s, other))
    one->last_seen_ms = at_ms;
}

void what_if_sessions::asked_for_ended(const subject_id& subject, millis at_ms) {
  const auto user = recorded_.sessions().find_user(subject);
  if (user == no_slot) return;
  for (const auto slot : recorded_.sessions_of(user)) {
    auto* one = find(slot);
    if (one == nullptr || one->in_use || !lives(*one, slot, at_ms)) continue;
    const bool over = one->parted == parting::lived || one->parted == parting::pending;
    if (!over || recorded_.sessions().at(slot).status == session_status::live) continue;
    return count_use(slot, *one, at_ms);
  }
}

/// It is used after the worlds parted; told once a session.
void what_if_sessions::count_use(session_slot slot, twin& one, millis at_ms) {
  if (!tally_.counts(at_ms) || std::exchange(one.in_use, true) || !one.counts) return;
  if (one.parted == parting::died || one.parted == parting::lived)  // else settle() will
    tell_use(slot, one);
}

void what_if_sessions::tell_use(session_slot slot, const twin& one) {
  auto& row = tally_.row(tenant_of(slot), one.parted_ms);
  if (one.parted == parting::died) {
    ++row.sessions.died_in_use;
  } else {
    ++row.sessions.lived_in_use;
    row.approximate = true;
  }
}

void what_if_sessions::ended(session_slot slot, millis at_ms) {
  auto* one = find(slot);
  if (one == nullptr || one->ended_ms != 0) return;
  one->ended_ms = std::min(at_ms, std::max<millis>(expires_ms(*one), 1));
  one->ended_alone = one->ended_ms < at_ms;
}

void what_if_sessions::recorded_ended(session_slot slot, millis at_ms, std::string_view cause,
                                      bool approximate) {
  auto* one = find(slot);
  if (one == nullptr || !lives(*one, slot, at_ms)) return;
  const auto& s = recorded_.sessions().at(slot);
  const bool idle = cause.empty() && s.idle_expires_at_ms() < s.absolute_expires_at_ms;
  if (idle && one->last_seen_ms < unknown_until_ms_) {
    one->ended_ms = at_ms;
    return;
  }
  if (cause.empty()) cause = idle ? "idle" : "absolute";
  part(slot, *one, false, at_ms, cause, approximate || idle);
}

void what_if_sessions::other_ended(session_slot slot, millis at_ms, std::string_view cause,
                                   bool approximate) {
  auto* one = find(slot);
  if (one == nullptr || !lives(*one, slot, at_ms)) return;
  one->ended_ms = at_ms;
  one->ended_alone = recorded_.sessions().at(slot).status == session_status::live;
  part(slot, *one, true, at_ms, cause, approximate);
}

void what_if_sessions::part(session_slot slot, twin& one, bool died, millis at_ms,
                            std::string_view cause, bool approximate) {
  if (one.parted != parting::none) return;
  one.parted = parting::pending;
  open_.push_back(
      {slot, one.seq, tally_.seq(), at_ms, cause, died, approximate, tally_.counts(at_ms)});
}

void what_if_sessions::settle(const open_parting& what) {
  auto* one = find(what.slot);
  if (one == nullptr || one->seq != what.seq) return;
  const auto after_ms = what.at_ms + same_end_ms;
  const bool differs = what.died ? is_live(recorded_.sessions(), what.slot, after_ms)
                                 : lives(*one, what.slot, after_ms);
  one->parted = parting::none;
  if (!differs) return;
  one->parted = what.died ? parting::died : parting::lived;
  one->parted_ms = what.at_ms;
  one->counts = what.counts;
  if (!what.counts) return;
  const auto& tenant = tenant_of(what.slot);
  auto& row = tally_.row(tenant, what.at_ms);
  ++(what.died ? row.sessions.died : row.sessions.lived);
  row.approximate = row.approximate || what.approximate;
  const auto& s = recorded_.sessions().at(what.slot);
  tally_.add(
      {what.died ? what_if_example::kind::session_died : what_if_example::kind::session_lived,
       tenant, recorded_.sessions().user(s.user).subject, s.handle, what.at_ms, what.at_seq,
       what.cause, false, what.approximate});
  if (one->in_use) tell_use(what.slot, *one);
}

void what_if_sessions::advance(millis now_ms) {
  now_ms_ = now_ms;
  wheel_.advance(now_ms, std::numeric_limits<std::size_t>::max(), [this](session_slot slot) {
    auto* one = find(slot);
    if (one == nullptr) return;
    one->watched = false;
    if (one->ended_ms != 0) return;
    if (now_ms_ < expires_ms(*one)) return watch(slot, *one);
    if (is_live(recorded_.sessions(), slot, expires_ms(*one))) expire(slot, *one);
  });
  while (!open_.empty() && open_.front().at_ms + same_end_ms <= now_ms) {
    const auto what = open_.front();
    open_.pop_front();
    settle(what);
  }
}

bool what_if_sessions::settled() const noexcept {
  return std::none_of(open_.begin(), open_.end(), [](const auto& each) { return each.counts; });
}

void what_if_sessions::finish(millis now_ms) {
  advance(now_ms);
  for (const auto& each : open_) settle(each);
  open_.clear();
}

}  // namespace portcullis::core

// Requests about what is not so here, where several nodes share a log: another node may have made
// it so a moment ago. The log is read to its end before that is an answer; what the same connection
// sent behind such a request about the same user, whoever that will turn out to be, stays behind.
#include <algorithm>

#include "actors/session.hpp"

namespace portcullis::actors {

/// What is postponed has a line for itself.
session_shard::line_name session_shard::line_of(const inbound& request) noexcept {
  constexpr std::uint32_t for_itself = 256;
  if (request.from != 0) return {request.from, request.routing};
  return {std::uint64_t{request.to.slot} << 32 | request.to.generation, for_itself};
}

/// True: one that may be about the same user came before it, and waits.
bool session_shard::stands_in_line(inbound& request) {
  if (lines_.empty()) return false;
  const auto found = lines_.find(line_of(request));
  if (found == lines_.end() || found->second.front().arrival > request.arrival) return false;
  enter_line(request);
  return true;
}

/// At its place: what waited for a user before may come from there later than what stands here.
void session_shard::enter_line(inbound& request) {
  auto& line = lines_[line_of(request)];
  const auto behind_it = std::find_if(line.rbegin(), line.rend(), [&](const inbound& each) {
    return each.arrival < request.arrival;
  });
  line.insert(behind_it.base(), std::move(request));
}

/// True: it waits until the log was read to its end, and is then taken again, or it is refused
/// because the log could not be read.
bool session_shard::waits_for_log(inbound& request) {
  if (!options_.fleet || request.certain) return false;
  if (no_log_ && no_log_->arrival == request.arrival) {
    refuse_in_doubt(request, no_log_->why);
    return true;
  }
  unsure_next_.lines.insert(line_of(request));
  enter_line(request);
  ask_for_log();
  return true;
}

/// The same of what is not so here for a user who is known, whose current request it is: those that
/// came behind it wait for the user.
bool session_shard::waits_for_log(core::user_slot user) {
  auto& current = holds_[user].current;
  if (!options_.fleet || current.request.certain) return false;
  if (no_log_ && no_log_->arrival == current.request.arrival) {
    refuse_user_in_doubt(user, no_log_->why);
    return true;
  }
  current.waits_for = stage::doubting;
  unsure_next_.users.push_back(user);
  ask_for_log();
  return true;
}

/// The same of a request that does not hold its user yet.
bool session_shard::waits_for_log(core::user_slot user, inbound& request) {
  if (!options_.fleet || request.certain) return false;
  begin(user, request, stage::doubting);
  return waits_for_log(user);
}

/// One question at a time: who comes while it is under way needs the next one. Its answer is good
/// for all that wait by now.
void session_shard::ask_for_log() {
  if (asked_for_log_) return;
  asked_for_log_ = true;
  unsure_ = std::exchange(unsure_next_, {});
  for (const auto& line : unsure_.lines)
    if (const auto found = lines_.find(line); found != lines_.end())
      for (auto& each : found->second) each.certain = true;
  for (const auto user : unsure_.users)
    if (const auto found = holds_.find(user);
        found != holds_.end() && found->second.current.waits_for == stage::doubting)
      found->second.current.request.certain = true;
  self_->send(peers_.fleet, catch_up{options_.shard, false, outbox_->incarnation()});
}

void session_shard::on(const caught_up& answer) {
  if (answer.life != outbox_->incarnation()) return;  // asked by a life before this one
  now_ms_ = std::max(now_ms_, options_.clock->now_ms());
  const auto sure = std::exchange(unsure_, {});
  for (const auto& line : sure.lines) move_line(line, answer.why);
  for (const auto user : sure.users) {
    const auto found = holds_.find(user);
    if (found == holds_.end() || found->second.current.waits_for != stage::doubting) continue;
    if (answer.why)
      refuse_user_in_doubt(user, *answer.why);
    else
      resume(user);
  }
  asked_for_log_ = false;
  if (!unsure_next_.empty()) ask_for_log();
  for (auto& each : std::exchange(behind_lines_, {})) find_behind(std::move(each));
  flush();
  look_whether_still();
}

/// Takes the first one, and those behind it up to the next that is in doubt. Where the log could
/// not be read, those that were asked for and are in doubt still are refused.
void session_shard::move_line(const line_name& line, const std::optional<core::error>& why) {
  for (auto at = lines_.find(line); at != lines_.end(); at = lines_.find(line)) {
    auto next = std::move(at->second.front());
    at->second.pop_front();
    if (at->second.empty()) lines_.erase(at);
    const auto arrival = next.arrival;
    if (why && std::exchange(next.certain, false)) no_log_ = refusal{arrival, *why};
    take_if_fresh(next);
    no_log_.reset();
    at = lines_.find(line);
    if (at != lines_.end() && at->second.front().arrival <= arrival) return;
  }
}

void session_shard::refuse_in_doubt(inbound& request, const core::error& why) {
  if (request.what.method == core::method::session_revoke_tenant)
    postpone(request, core::no_slot, core::no_slot);
  fail(request, core::fail(core::error_code::STORE_UNAVAILABLE, {}, why.rule));
}

void session_shard::refuse_user_in_doubt(core::user_slot user, const core::error& why) {
  postpone_refused(user);
  refuse(user, core::fail(core::error_code::STORE_UNAVAILABLE, {}, why.rule));
}

}  // namespace portcullis::actors

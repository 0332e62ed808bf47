// Requests about what is not so here, where several nodes share a log: another node may have made
// it so a moment ago. The log is read to its end before that is an answer; what the same connection
// sent behind such a request about the same user, whoever that will turn out to be, stays behind.
#include <algorithm>

#include "actors/session.hpp"

namespace portcullis::actors {

/// A request of no connection has a line for itself.
session_shard::line_name session_shard::line_of(const inbound& request) noexcept {
  constexpr std::uint32_t for_itself = 256;
  if (request.from != 0) return {request.from, request.loop, request.routing};
  return {std::uint64_t{request.to.slot} << 32 | request.to.generation, request.loop, for_itself};
}

/// True: one that may be about the same user came before it, and waits.
bool session_shard::stands_in_line(inbound& request) {
  if (lines_.empty()) return false;
  const auto found = lines_.find(line_of(request));
  if (found == lines_.end()) return false;
  found->second.push_back(std::move(request));
  return true;
}

/// True: it waits until the log was read to its end, and is then taken again. It is the first of
/// its line: none is taken while another one is before it.
bool session_shard::waits_for_log(inbound& request) {
  if (!options_.fleet || request.certain) return false;
  const auto line = line_of(request);
  lines_[line].push_front(std::move(request));
  unsure_next_.lines.push_back(line);
  ask_for_log();
  return true;
}

/// The same of what is not so here for a user who is known, whose current request it is: those that
/// came behind it wait for the user.
bool session_shard::waits_for_log(core::user_slot user) {
  auto& current = holds_[user].current;
  if (!options_.fleet || current.request.certain) return false;
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
    if (!answer.why) {
      resume(user);
      continue;
    }
    postpone_refused(user);
    refuse(user, core::fail(core::error_code::STORE_UNAVAILABLE, {}, answer.why->rule));
  }
  asked_for_log_ = false;
  if (!unsure_next_.empty()) ask_for_log();
  flush();
  look_whether_still();
}

/// Takes the first one, and those behind it up to the next that is in doubt.
void session_shard::move_line(const line_name& line, const std::optional<core::error>& why) {
  bool refused = why.has_value();
  for (auto at = lines_.find(line); at != lines_.end(); at = lines_.find(line)) {
    auto next = std::move(at->second.front());
    at->second.pop_front();
    if (at->second.empty()) lines_.erase(at);
    if (std::exchange(refused, false)) {
      refuse_in_doubt(next, *why);
      continue;
    }
    if (why) next.certain = false;
    const auto before = static_cast<std::ptrdiff_t>(unsure_next_.lines.size());
    take_if_fresh(next);
    const auto& in_doubt = unsure_next_.lines;
    if (std::find(in_doubt.begin() + before, in_doubt.end(), line) != in_doubt.end()) return;
  }
}

void session_shard::refuse_in_doubt(inbound& request, const core::error& why) {
  if (request.what.method == core::method::session_revoke_tenant)
    postpone(request, core::no_slot, core::no_slot);
  fail(request, core::fail(core::error_code::STORE_UNAVAILABLE, {}, why.rule));
}

}  // namespace portcullis::actors

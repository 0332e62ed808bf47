// What other actors ask of a shard's session actor.
#include <algorithm>

#include "actors/cursors.hpp"
#include "actors/session.hpp"
#include "actors/timeouts.hpp"

namespace portcullis::actors {
caf::result<subject_found> session_shard::on(const find_subject& question) {
  auto promise = self_->make_response_promise<subject_found>();
  find_behind({question, arrivals_, promise});
  return promise;
}

core::user_slot session_shard::user_of(const find_subject& question) const {
  if (!question.handle)
    return state_->find_user(options_.keys->lookup(question.tenant_id, question.user_id));
  const auto slot = state_->find(*question.handle);
  return slot != core::no_slot ? state_->at(slot).user : core::no_slot;
}

std::optional<core::subject_id> session_shard::known_subject(core::user_slot user) const {
  const auto& subject = state_->user(user).subject;
  if (subject == core::subject_id{}) return std::nullopt;  // its first create was refused
  return subject;
}

/// Answers when what may be the user's and had arrived by then is done with. A held user waits for
/// the journal in the end, so each look comes after all that was on its way there.
void session_shard::find_behind(waiting_question question) {
  const auto& [what, last, promise] = question;
  const auto byte = what.handle ? what.handle->bytes[0]
                                : options_.keys->routing_byte(what.tenant_id, what.user_id);
  const auto stands_before = [last = last](const inbound& each) { return each.arrival <= last; };
  const bool in_line = std::any_of(lines_.begin(), lines_.end(), [&](const auto& line) {
    return line.first.routing == byte && stands_before(line.second.front());
  });
  if (in_line) return behind_lines_.push_back(std::move(question));
  const auto user = user_of(what);
  const auto found = user != core::no_slot ? holds_.find(user) : holds_.end();
  const bool held =
      found != holds_.end() &&
      (stands_before(found->second.current.request) ||
       std::any_of(found->second.waiting.begin(), found->second.waiting.end(), stands_before));
  if (!held) {
    auto answer = promise;
    answer.deliver(subject_found{user != core::no_slot ? known_subject(user) : std::nullopt});
    return;
  }
  self_->request(peers_.hub, peer_timeout, await_commits{})
      .then([this, question](const commits_done&) { find_behind(question); },
            [answer = promise](caf::error& why) mutable { answer.deliver(std::move(why)); });
}

sessions_counted session_shard::on(const count_sessions&) {
  return {state_->counts(), state_->records()};
}

ring_key_answer session_shard::on(const ring_key_question& question) {
  for (core::session_slot slot = 0; slot < state_->slots_used(); ++slot) {
    const auto& s = state_->at(slot);
    if (s.status != core::session_status::live) continue;
    if (s.ring_key == question.ring_key) return {true};
    if (s.extra && s.extra->has_predecessor && now_ms_ < s.extra->grace_ends_at_ms &&
        (s.extra->rotation_ring_key == question.ring_key ||
         s.extra->predecessor_ring_key == question.ring_key))
      return {true};
  }
  return {false};
}

shard_collected session_shard::on(const collect_shard&) {
  auto tallies = tallies_;
  tallies.sessions_live = state_->counts().live;
  tallies.users_in_doubt = 0;
  for (const auto& [user, each] : holds_)
    if (each.current.waits_for == stage::counting) ++tallies.users_in_doubt;
  return {tallies, self_->mailbox().size()};
}

caf::result<subjects_named> session_shard::on(const name_subjects& question) {
  identify_users whose;
  for (const auto& subject : question.subjects) whose.users.push_back(state_->find_user(subject));
  auto users = whose.users;
  auto promise = self_->make_response_promise<subjects_named>();
  self_->request(peers_.directory, peer_timeout, std::move(whose))
      .then(
          [this, promise, users = std::move(users)](const users_identified& found) mutable {
            subjects_named out;
            for (std::size_t i = 0; i < users.size(); ++i) {
              auto& label = out.names.emplace_back();
              if (!found.users[i]) continue;
              label.tenant_id = state_->tenant(state_->user(users[i]).tenant).name;
              label.user_id = found.users[i]->user_id;
            }
            promise.deliver(std::move(out));
          },
          [promise](caf::error& why) mutable { promise.deliver(std::move(why)); });
  return promise;
}

caf::result<sessions_described> session_shard::on(describe_sessions& question) {
  identify_users whose;
  for (const auto& row : question.rows) whose.users.push_back(state_->find_user(row.subject));
  auto promise = self_->make_response_promise<sessions_described>();
  self_->request(peers_.directory, peer_timeout, std::move(whose))
      .then(
          [this, promise, rows = std::move(question.rows)](const users_identified& found) mutable {
            sessions_described out;
            for (std::size_t i = 0; i < rows.size(); ++i) {
              const auto slot = state_->find(rows[i].handle);
              const auto& who = found.users[i];
              if (slot == core::no_slot || !who || !core::is_live(*state_, slot, now_ms_)) continue;
              out.rows.push_back(describe(*who, state_->at(slot), rows[i]));
              out.rows.back().user_id = who->user_id;
            }
            promise.deliver(std::move(out));
          },
          [promise](caf::error& why) mutable { promise.deliver(std::move(why)); });
  return promise;
}

}  // namespace portcullis::actors

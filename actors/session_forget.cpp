// Forgetting a user (admin.forget): every session is revoked and the row with the user's key is
// destroyed, so that nothing in the log leads to the person any more.
#include "actors/session.hpp"

namespace portcullis::actors {

void session_shard::forget_user(inbound& request, core::forget_user& params) {
  const auto user =
      state_->find_user(options_.keys->lookup(params.user.tenant_id, params.user.user_id));
  if (user == core::no_slot && waits_for_log(request)) return;
  if (user == core::no_slot) return answer(request, core::user_was_forgotten{false});
  if (held(user, request)) return;
  if (!known_subject(user) || unsaved_users_.contains(user)) {  // nothing of it was kept here
    if (waits_for_log(user, request)) return;
    return answer(request, core::user_was_forgotten{false});
  }
  if (refuses_durable(request)) return;
  begin(user, request, stage::listing);
  self_->send(peers_.directory, look_up_user{user, {}, {}, true});
}

/// The event does not name the person: it is what stays.
void session_shard::forget_listed(core::user_slot user, const user_looked_up& listed) {
  auto& current = holds_[user].current;
  core::user_forgotten body;
  body.reason = std::get<core::forget_user>(current.request.what.params).reason;
  std::vector<core::event> events;
  for (const auto slot : live_of(listed.sessions, events))
    body.session_seqs.push_back(state_->at(slot).seq);
  body.count = body.session_seqs.size();
  // What the tenant's revocation ended is over, but its row still has all that is to be forgotten.
  for (const auto slot : listed.sessions)
    if (const auto& s = state_->at(slot);
        s.status == core::session_status::live && state_->outlived(s))
      body.session_seqs.push_back(s.seq);
  body.tenant_generation = state_->tenant(state_->user(user).tenant).generation;
  auto what = about_user(user, current.request);
  what.body = std::move(body);
  events.push_back(std::move(what));
  commit(user, std::move(events));
}

}  // namespace portcullis::actors

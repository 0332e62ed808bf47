#include "actors/directory.hpp"

#include "actors/handlers.hpp"

namespace portcullis::actors {

directory_actor::behavior_type directory_behaviour(directory_self* self,
                                                   directory_options options) {
  set_default_handlers(self);
  self->state.start(self, std::move(options));
  auto& state = self->state;
  return {
      [&state](look_up_user& question) { state.on(question); },
      [&state](session_listed& change) { state.on(change); },
      [&state](user_gone& change) { state.on(change); },
      [&state](user_learned& change) { state.on(change); },
      [&state](identify_users& question) { return state.on(question); },
      [&state](list_directory& question) { return state.on(question); },
      [self](count_mail) { return mail_counted{self->mailbox().size()}; },
      [&state](keys_changed& change) { state.on(change); },
      [&state](wire_shard& peers) { state.on(peers); },
      [](crash_atom) { throw_on_request(); },
  };
}

void directory_shard::start(directory_self* self, directory_options options) {
  self_ = self;
  options_ = std::move(options);
  state_ = std::move(options_.image->directory);
  options_.image.reset();
}

void directory_shard::on(const look_up_user& question) {
  user_looked_up out;
  out.user = question.user;
  if (!question.user_id.empty() && !state_->knows(question.user))
    out.made = state_->make(question.user, question.tenant_id, question.user_id, *options_.keys,
                            options_.random);
  out.who = state_->identity(question.user, *options_.keys);
  if (question.with_sessions) out.sessions = state_->sessions(question.user);
  self_->send(session_, std::move(out));
}

void directory_shard::on(const session_listed& change) {
  if (change.gone)
    state_->remove(change.user, change.session);
  else
    state_->add(change.user, change.session);
}

users_identified directory_shard::on(const identify_users& question) {
  users_identified out;
  out.users.reserve(question.users.size());
  for (const auto user : question.users)
    out.users.push_back(state_->identity(user, *options_.keys));
  return out;
}

}  // namespace portcullis::actors

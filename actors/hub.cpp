#include "actors/hub.hpp"

#include "actors/handlers.hpp"

namespace portcullis::actors {

hub_actor::behavior_type hub_behaviour(hub_actor::stateful_pointer<hub_state> self) {
  set_default_handlers(self);
  auto& state = self->state;
  state.self = self;
  return {
      [&state](log_events& order) { state.on(order); },
      [&state](events_durable& done) { state.on(done); },
      [&state](interest_changed& change) { state.on(change); },
      [&state](load_shards& question) { return state.on(question); },
      [self](count_mail) { return mail_counted{self->mailbox().size()}; },
      [&state](read_tenants& question) { return state.on(question); },
      [&state](load_breakers& question) { return state.on(question); },
      [&state](await_commits& question) { return state.on(question); },
      [&state](node_peers& peers) { state.on(peers); },
      [&state](stop_atom) { return state.stop(); },
  };
}

void hub_state::on(log_events& order) {
  if (peers_.fleet)
    self->send(peers_.fleet, std::move(order));
  else
    self->send(peers_.journal, std::move(order));
}

template <class Question>
auto hub_state::ask_log(Question& question) {
  if (peers_.fleet) return self->delegate(peers_.fleet, std::move(question));
  return self->delegate(peers_.journal, std::move(question));
}

void hub_state::on(events_durable& done) {
  events_published published{std::move(done.batches)};
  for (std::size_t loop = 0; loop < peers_.subscriptions.size(); ++loop)
    if (interested_[loop]) self->send(peers_.subscriptions[loop], published);
  if (peers_.log) self->send(peers_.log, std::move(published));
}

void hub_state::on(const interest_changed& change) {
  interested_.at(change.loop) = change.interested;
}

caf::result<shards_loaded> hub_state::on(load_shards& question) { return ask_log(question); }

caf::result<tenants_read> hub_state::on(read_tenants& question) { return ask_log(question); }

caf::result<breakers_loaded> hub_state::on(load_breakers& question) { return ask_log(question); }

caf::result<commits_done> hub_state::on(await_commits& question) { return ask_log(question); }

void hub_state::on(node_peers& peers) {
  peers_ = std::move(peers);
  interested_.resize(peers_.subscriptions.size(), false);  // who was interested still is
}

caf::result<bool> hub_state::stop() {
  // In the order of the mailbox: all that came before is with the journal already.
  if (peers_.fleet) return self->delegate(peers_.fleet, stop_atom::value);
  return self->delegate(peers_.journal, stop_atom::value);
}

}  // namespace portcullis::actors

#include "actors/sources.hpp"

#include "actors/handlers.hpp"

namespace portcullis::actors {
namespace {

constexpr auto tick_every = std::chrono::seconds(1);

}  // namespace

sources_actor::behavior_type sources_behaviour(sources_actor::stateful_pointer<sources_state> self,
                                               sources_options options) {
  set_default_handlers(self);
  auto& state = self->state;
  state.start(self, std::move(options));
  self->delayed_send(self, tick_every, tick_atom::value);
  return {
      [&state](unknown_id_seen& seen) { state.on(seen); },
      [&state](policies_changed& change) { state.on(change); },
      [&state](node_peers& peers) { state.on(peers); },
      [self](tick_atom) {
        self->state.tick();
        self->delayed_send(self, tick_every, tick_atom::value);
      },
  };
}

void sources_state::start(sources_actor::stateful_pointer<sources_state> self,
                          sources_options options) {
  self_ = self;
  options_ = std::move(options);
}

void sources_state::on(const unknown_id_seen& seen) {
  const auto& policy = options_.policies->lockout;
  if (policy.source_threshold == 0) return;
  const auto now_ms = options_.clock->now_ms();
  auto found = windows_.find(seen.source);
  if (found == windows_.end() || now_ms >= found->second.ends_at_ms) {
    if (found == windows_.end() && windows_.size() >= core::limits::source_counters_max) return;
    if (found != windows_.end()) ids_ -= found->second.ids.size();
    found =
        windows_.insert_or_assign(seen.source, window{now_ms + policy.window_s * 1000, false, {}})
            .first;
  }
  auto& current = found->second;
  if (current.limited) return;
  if (ids_ < options_.ids_max && current.ids.insert(seen.id).second) ++ids_;
  if (current.ids.size() < policy.source_threshold) return;
  ids_ -= current.ids.size();
  current.limited = true;
  current.ids.clear();
  current.ends_at_ms = now_ms + policy.duration_s * 1000;
  for (const auto& session : sessions_)
    self_->send(session,
                source_limit_changed{seen.source, current.ends_at_ms, seen.correlation_id});
}

void sources_state::tick() {
  const auto now_ms = options_.clock->now_ms();
  std::erase_if(windows_, [&](const auto& entry) {
    if (now_ms < entry.second.ends_at_ms) return false;
    ids_ -= entry.second.ids.size();
    return true;
  });
}

}  // namespace portcullis::actors

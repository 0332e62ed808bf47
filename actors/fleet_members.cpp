// Who lives, and how much each node has to do.
#include "actors/fleet.hpp"
#include "actors/timeouts.hpp"
#include "monitoring/log.hpp"

namespace portcullis::actors {

void fleet_link::describe(store::fleet::member& self) {
  self.sessions = load_.sessions;
  self.connections = load_.connections;
}

/// What the next heartbeat tells of this node.
void fleet_link::look_at_load() {
  if (load_.missing > 0) return;
  load_.missing = peers_.sessions.size() + peers_.gateways.size();
  load_.next_sessions = load_.next_connections = 0;
  const auto answered = [this] {
    if (--load_.missing > 0) return;
    load_.sessions = load_.next_sessions;
    load_.connections = load_.next_connections;
  };
  const auto lost = [answered](const caf::error&) { answered(); };
  for (const auto& each : peers_.sessions)
    self_->request(each, peer_timeout, count_sessions{})
        .then(
            [this, answered](const sessions_counted& from) {
              load_.next_sessions += from.counts.live;
              answered();
            },
            lost);
  for (const auto& each : peers_.gateways)
    self_->request(each, peer_timeout, list_loop{0, 0})
        .then(
            [this, answered](const loop_listed& from) {
              load_.next_connections += from.count;
              answered();
            },
            lost);
}

void fleet_link::met(const std::vector<store::fleet::member>& members) {
  if (!log_) return;
  look_at_load();
  for (const auto& each : members)  // a node that was started again is not the older one
    if (each.node_id == options_.node_id && each.started_at_ms > options_.started_at_ms &&
        each.writer != log_->writer() && !std::exchange(namesake_, true))
      monitoring::log::write(core::log_level::warn, monitoring::component::store,
                             "Another node has the same server.node_id.",
                             {{"event.action", "node_id_taken"}});
  if (members.size() != members_.size())
    monitoring::log::write(
        core::log_level::info, monitoring::component::store,
        "The number of nodes that are heard has changed.",
        {{"event.action", "nodes_changed"}, {"nodes", static_cast<std::int64_t>(members.size())}});
  const auto same = [](const store::fleet::member& a, const store::fleet::member& b) {
    return a.writer == b.writer;
  };
  const bool others =
      !live_ || !std::equal(members.begin(), members.end(), members_.begin(), members_.end(), same);
  members_ = members;
  if (others) {
    auto live = std::make_shared<fleet_members>();
    live->self = number_of(log_->writer());
    for (const auto& each : members_)
      live->all.push_back({number_of(each.writer), each.started_at_ms});
    live_ = std::move(live);
    if (!still_) tell_breakers({});
  }
  tallies_.members = members_.size();
  // Who has run longest tells of what has run out: all can, one is enough.
  sweeps_ = !members_.empty() && members_.front().writer == log_->writer();
  tallies_.sweeps = sweeps_;
  publish_cut();
}

}  // namespace portcullis::actors

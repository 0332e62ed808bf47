// Which node tries a half-open breaker, where several share a log: the one whose event stands
// there, as long as it lives.
#include <algorithm>

#include "actors/breaker.hpp"

namespace portcullis::actors {

/// Whether there is nobody whose calls to wait for: no other node lives, or none is heard. Its own
/// store no other calls.
bool breaker_shard::is_alone(core::breaker_slot slot) const {
  return store_trouble_ || (members_ && members_->all.size() <= 1) ||
         breakers_->is_own(breakers_->name_of(slot));
}

void breaker_shard::look_who_is_alone() {
  for (core::breaker_slot slot = 0; slot < breakers_->slots(); ++slot)
    if (auto* hosted = breakers_->at(slot).hosted()) hosted->be_alone(is_alone(slot));
}

void breaker_shard::learn_prober(const core::event& what, std::uint64_t writer) {
  const auto* begun = std::get_if<core::breaker_half_opened>(&what.body);
  if (begun == nullptr || begun->kind != core::breaker_kind::hosted) return;
  if (breakers_->find({begun->service, begun->breaker}) == core::no_breaker) return;
  (*options_.probers)[{begun->service, begun->breaker}] = {begun->epoch, writer};
}

/// From what was loaded without its writers.
void breaker_shard::learn_probers(const event_batch& batch) {
  if (batch.of_breakers && batch.shard != options_.shard) return;
  for (const auto& what : batch.events) {
    if (what.type() != core::event_type::breaker_half_opened) continue;
    if (!is_mine(core::service_of(what))) continue;
    learn_prober(what, batch.of_breakers ? this_node : writer_of(batch));
    const auto& begun = std::get<core::breaker_half_opened>(what.body);
    const auto slot = breakers_->find({begun.service, begun.breaker});
    if (slot != core::no_breaker && breakers_->at(slot).hosted() != nullptr) let_try(slot);
  }
}

/// Who it is that tries it, where it is half-open. Its own store is tried by no other node.
void breaker_shard::let_try(core::breaker_slot slot) {
  auto& hosted = *breakers_->at(slot).hosted();
  const auto known = options_.probers->find(key_of(slot));
  const bool of_phase = known != options_.probers->end() && known->second.epoch == hosted.epoch();
  const auto writer = of_phase ? known->second.writer : 0;
  if (writer == this_node || breakers_->is_own(breakers_->name_of(slot)))
    hosted.tries_here();
  else
    hosted.tried_by(writer);
  if (hosted.is_guest()) guests_.insert(slot);
}

/// Whether nobody who lives can have begun the phase.
bool breaker_shard::is_gone(std::uint64_t writer, core::millis since_ms) const {
  if (!members_ || now_ms_ - since_ms < core::limits::fleet_member_live_ms) return false;
  return std::none_of(members_->all.begin(), members_->all.end(), [&](const auto& each) {
    if (writer != 0) return each.writer == writer;
    return each.writer != members_->self && each.started_at_ms <= since_ms;
  });
}

void breaker_shard::look_for_probers() {
  if (catching_up_ && !store_trouble_) want_end();
  for (auto at = guests_.begin(); at != guests_.end();) {
    const auto slot = *at;
    auto* hosted = breakers_->used(slot) ? breakers_->at(slot).hosted() : nullptr;
    const auto* standing =
        hosted != nullptr ? logged_.find(hosted->service(), hosted->breaker()) : nullptr;
    if (standing == nullptr || !hosted->is_guest()) {
      at = guests_.erase(at);
      continue;
    }
    ++at;
    if (!is_gone(hosted->prober(), standing->record.since_ms)) continue;
    hosted->prober_is_gone();
    breakers_->schedule(slot, policy_of(slot), now_ms_);
  }
}

}  // namespace portcullis::actors

// What the breaker actor tells whoever looks: lists and metrics.
#include <algorithm>
#include <limits>

#include "actors/breaker.hpp"

namespace portcullis::actors {

caf::result<breakers_listed> breaker_shard::on(const list_breakers_after& question) {
  if (holds_.empty()) return list(question);
  auto promise = self_->make_response_promise<breakers_listed>();
  listings_.push_back({question, last_wait_, promise});
  return promise;
}

void breaker_shard::answer_listings() {
  if (listings_.empty()) return;
  auto oldest = std::numeric_limits<std::uint64_t>::max();
  for (const auto& [slot, each] : holds_) {
    if (each.decided) oldest = std::min(oldest, each.decided->awaits);
    if (each.changed_awaits > 0) oldest = std::min(oldest, each.changed_awaits);
  }
  std::erase_if(listings_, [&](held_listing& each) {
    if (each.awaits >= oldest) return false;
    each.promise.deliver(list(each.question));
    return true;
  });
}

/// What nobody calls any more is as it would be told of a call.
void breaker_shard::age(core::breaker_slot slot) {
  if (auto* hosted = breakers_->at(slot).hosted()) hosted->age(policy_of(slot), now_ms_);
}

breakers_listed breaker_shard::list(const list_breakers_after& question) {
  now_ms_ = std::max(now_ms_, options_.clock->now_ms());
  breakers_listed out;
  out.order = options_.quota->order();
  for (core::breaker_slot slot = 0; slot < breakers_->slots(); ++slot) {
    if (!breakers_->used(slot) || breakers_->at(slot).number <= question.number) continue;
    if (!question.who->sees_service(breakers_->name_of(slot).service)) continue;
    age(slot);
    auto& row = out.rows.emplace_back(breakers_listed::row{breakers_->at(slot).number, {}});
    row.what = describe(slot);
    row.what.sources.clear();
  }
  std::sort(out.rows.begin(), out.rows.end(),
            [](const auto& a, const auto& b) { return a.number < b.number; });
  out.more = out.rows.size() > question.limit;
  if (out.more) out.rows.resize(question.limit);
  return out;
}

breakers_collected breaker_shard::on(const collect_breakers&) {
  breakers_collected out;
  out.tallies.incarnation = options_.incarnation;
  now_ms_ = std::max(now_ms_, options_.clock->now_ms());
  for (core::breaker_slot slot = 0; slot < breakers_->slots(); ++slot) {
    if (!breakers_->used(slot)) continue;
    age(slot);
    const auto& each = breakers_->at(slot);
    auto& to = out.tallies.breakers.emplace_back();
    const auto whose = breakers_->name_of(slot);
    to.service = whose.service;
    to.breaker = whose.breaker;
    to.number = each.number;
    if (const auto* hosted = std::get_if<core::hosted_breaker>(&each.what)) {
      to.kind = core::breaker_kind::hosted;
      to.state = hosted->shown_state();
      if (const auto& override_ = hosted->override_in_force();
          override_.mode != core::override_mode::none)
        to.overridden = override_.scope;
      const auto rates = hosted->rates(policy_of(slot));
      to.failure_ratio = rates.failure;
      to.slow_ratio = rates.slow;
      to.open_ms = static_cast<std::uint64_t>(hosted->open_ms(now_ms_));
      to.tallies = hosted->tallies();
    } else {
      const auto& observed = std::get<core::observed_breaker>(each.what);
      to.kind = core::breaker_kind::observed;
      to.state = observed.state();
      to.open_ms = static_cast<std::uint64_t>(observed.open_ms(now_ms_));
      to.tallies = observed.tallies();
    }
  }
  std::sort(out.tallies.breakers.begin(), out.tallies.breakers.end(),
            [](const auto& a, const auto& b) { return a.number < b.number; });
  out.mailbox_depth = self_->mailbox().size();
  return out;
}

// --- the digest of the state

caf::result<stood_still> breaker_shard::on(const stand_still& order) {
  if (store_trouble_) return stood_still{*store_trouble_};
  still_.begin(order.number, now_ms_);
  still_promise_ = self_->make_response_promise<stood_still>();
  look_whether_still();
  return still_promise_;
}

void breaker_shard::look_whether_still() {
  if (!still_ || !still_promise_.pending()) return;
  if (store_trouble_) {
    still_promise_.deliver(stood_still{*store_trouble_});
    return;
  }
  flush();
  if (holds_.empty() && !outbox_->is_waiting()) still_promise_.deliver(stood_still{});
}

breakers_digested breaker_shard::on(const take_digest& question) const {
  breakers_digested out;
  out.still = still_.is_for(question.number);
  if (options_.fleet) {  // what is in force here may be more, on this node alone
    for (const auto& [whose, standing] : logged_.all())
      out.breakers.push_back(core::canonical(standing));
    return out;
  }
  for (core::breaker_slot slot = 0; slot < breakers_->slots(); ++slot) {
    if (!breakers_->used(slot)) continue;
    const auto& what = breakers_->at(slot).what;
    const auto* hosted = std::get_if<core::hosted_breaker>(&what);
    out.breakers.push_back(hosted != nullptr
                               ? core::canonical(*hosted)
                               : core::canonical(std::get<core::observed_breaker>(what)));
  }
  return out;
}

void breaker_shard::on(const go_on& order) {
  if (!still_.is_for(order.number)) return;
  still_.end();
  if (still_promise_.pending())
    still_promise_.deliver(stood_still{core::fail(core::error_code::OVERLOADED)});
  for (const auto& each : std::exchange(attempts_, {})) take_attempts(each);
  if (std::exchange(wired_still_, false)) tell_journal();
  for (auto& batch : std::exchange(kept_, {})) on(batch);
  flush();
}

}  // namespace portcullis::actors

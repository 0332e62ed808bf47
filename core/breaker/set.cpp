#include "core/breaker/set.hpp"

#include <algorithm>

namespace portcullis::core {

breaker_set::~breaker_set() {
  for (breaker_slot slot = 0; slot < slots(); ++slot)
    if (used(slot) && !is_own(name_of(slot))) quota_->give_back();
}

breaker_name breaker_set::name_of(breaker_slot slot) const noexcept {
  const auto& what = entries_[slot]->what;
  if (const auto* hosted = std::get_if<hosted_breaker>(&what))
    return {hosted->service(), hosted->breaker()};
  if (const auto* observed = std::get_if<observed_breaker>(&what))
    return {observed->service(), observed->breaker()};
  return {};
}

breaker_slot breaker_set::find(const breaker_name& name) const noexcept {
  return by_name_.find(place_of(name), [&](breaker_slot slot) { return name_of(slot) == name; });
}

breaker_slot breaker_set::add(std::variant<std::monostate, hosted_breaker, observed_breaker> what,
                              const breaker_name& name, std::uint64_t number, millis now_ms) {
  breaker_slot slot = slots();
  if (free_.empty()) {
    entries_.push_back(std::make_unique<entry>());
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  auto& made = at(slot);
  made.what = std::move(what);
  made.number = number;
  made.used_at_ms = now_ms;
  by_name_.insert(place_of(name), slot);
  return slot;
}

result<breaker_slot> breaker_set::of_kind(breaker_kind kind, breaker_slot slot) const {
  const bool hosted = std::holds_alternative<hosted_breaker>(at(slot).what);
  if (hosted == (kind == breaker_kind::hosted)) return slot;
  return fail(error_code::BREAKER_KIND_CONFLICT, "breaker");
}

result<breaker_slot> breaker_set::need(breaker_kind kind, const breaker_name& name,
                                       const breaker_book& book, millis now_ms) {
  if (const auto slot = find(name); slot != no_breaker) return of_kind(kind, slot);
  if (!is_own(name) && !quota_->take(book.breakers_max))
    return fail(error_code::BREAKER_LIMIT, "breaker", "breakers_max",
                static_cast<std::int64_t>(book.breakers_max));
  const auto& policy = policy_in(book, name);
  std::string service(name.service), breaker(name.breaker);
  const auto number = quota_->next_number();
  const auto slot =
      kind == breaker_kind::hosted
          ? add(hosted_breaker(std::move(service), std::move(breaker), policy, now_ms), name,
                number, now_ms)
          : add(observed_breaker(std::move(service), std::move(breaker), now_ms), name, number,
                now_ms);
  schedule(slot, policy, now_ms);
  return slot;
}

void breaker_set::load(const stored_breaker& stored, const breaker_book& book, millis now_ms) {
  const auto& record = stored.record;
  const breaker_name name{record.service, record.breaker};
  const auto& policy = policy_in(book, name);
  const auto number = stored.number > 0 ? stored.number : quota_->next_number();
  if (!is_own(name)) quota_->take_stored();
  if (record.kind == breaker_kind::hosted) {
    schedule(add(hosted_breaker(record, policy, now_ms), name, number, now_ms), policy, now_ms);
    return;
  }
  observed_breaker observed(record, now_ms);
  for (const auto& source : stored.sources) observed.restore(source.source, source.what);
  schedule(add(std::move(observed), name, number, now_ms), policy, now_ms);
}

void breaker_set::erase(breaker_slot slot) {
  if (!is_own(name_of(slot))) quota_->give_back();
  by_name_.erase(place_of(name_of(slot)), slot);
  const auto in_wheel = at(slot).in_wheel;
  at(slot) = entry{};
  at(slot).in_wheel = in_wheel;
  free_.push_back(slot);
}

void breaker_set::schedule(breaker_slot slot, const breaker_policy& policy, millis now_ms) {
  auto& each = at(slot);
  std::optional<millis> due_ms = retires_at_ms(slot, policy);
  if (const auto* hosted = each.hosted())
    if (const auto own_ms = hosted->due_ms(policy); own_ms > 0)
      due_ms = std::min(due_ms.value_or(own_ms), own_ms);
  if (!due_ms || (each.scheduled_ms > 0 && each.scheduled_ms <= *due_ms)) return;
  each.scheduled_ms = *due_ms;
  put(slot, *due_ms, now_ms);
}

std::optional<millis> breaker_set::retires_at_ms(breaker_slot slot,
                                                 const breaker_policy& policy) const noexcept {
  const auto& each = at(slot);
  const auto idle_ms = each.used_at_ms + policy.retire_after_ms;
  const auto* hosted = std::get_if<hosted_breaker>(&each.what);
  if (hosted == nullptr) return idle_ms;
  const auto free_ms = hosted->free_from_ms();
  if (!free_ms || is_own(name_of(slot))) return std::nullopt;
  return std::max(idle_ms, *free_ms);
}

}  // namespace portcullis::core

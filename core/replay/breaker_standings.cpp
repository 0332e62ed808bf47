#include "core/replay/breaker_standings.hpp"

#include "core/breaker/worst.hpp"

namespace portcullis::core {
namespace {

/// Where an observed breaker's source is after this event; a late report changes nothing.
template <class Body>
void move_source(breaker_standing& to, const Body& body, breaker_state state) {
  if (body.kind != breaker_kind::observed || body.late) return;
  const auto now = body.to.value_or(state);
  if (now == breaker_state::closed)
    to.sources.erase(body.source);
  else
    to.sources[body.source] = now;
}

}  // namespace

breaker_state shown_state(const breaker_standing& of) noexcept {
  const auto& record = of.record;
  if (record.kind == breaker_kind::hosted)
    return record.override_.mode == override_mode::none ? record.state
                                                        : state_of(record.override_.mode);
  if (of.sources.empty()) return breaker_state::closed;
  auto worst = of.sources.begin()->second;
  for (const auto& [name, state] : of.sources)
    if (badness(state) > badness(worst)) worst = state;
  return worst;
}

breaker_standing& breaker_standings::need(const std::string& service, const std::string& breaker) {
  auto& each = all_[{service, breaker}];
  if (each.record.service.empty()) {
    each.record.service = service;
    each.record.breaker = breaker;
  }
  return each;
}

const breaker_standing* breaker_standings::find(const std::string& service,
                                                const std::string& breaker) const {
  const auto found = all_.find({service, breaker});
  return found == all_.end() ? nullptr : &found->second;
}

void breaker_standings::put(breaker_standing standing) {
  auto key = name{standing.record.service, standing.record.breaker};
  all_[std::move(key)] = std::move(standing);
}

void breaker_standings::apply(const event& what) {
  breaker_standing* to = nullptr;
  if (auto record = record_after(what)) {
    to = &need(record->service, record->breaker);
    to->record = std::move(*record);
    if (const auto* body = std::get_if<breaker_opened>(&what.body))
      move_source(*to, *body, breaker_state::open);
    else if (const auto* half = std::get_if<breaker_half_opened>(&what.body))
      move_source(*to, *half, breaker_state::half_open);
    else if (const auto* closed = std::get_if<breaker_closed>(&what.body))
      move_source(*to, *closed, breaker_state::closed);
  } else if (const auto* set = std::get_if<breaker_override_set>(&what.body)) {
    to = &need(set->service, set->breaker);
    apply_override(to->record, what, *set);
  } else if (const auto* retired = std::get_if<breaker_retired>(&what.body)) {
    all_.erase({retired->service, retired->breaker});
  }
  if (to == nullptr) return;
  if (to->first_seq == 0) to->first_seq = what.seq;
  to->last_seq = what.seq;
}

}  // namespace portcullis::core

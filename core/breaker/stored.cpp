#include "core/breaker/stored.hpp"

#include <algorithm>

namespace portcullis::core {
namespace {

millis decided_at(const event& what) noexcept {
  return what.decided_at_ms == 0 ? what.at_ms : what.decided_at_ms;
}

template <class Body>
breaker_record record_of(const event& what, const Body& body, breaker_kind kind,
                         breaker_state state) {
  breaker_record out;
  out.service = body.service;
  out.breaker = body.breaker;
  out.kind = kind;
  out.state = state;
  out.epoch = body.epoch;
  out.cause = body.cause;
  out.since_ms = decided_at(what);
  if constexpr (requires { body.until_ms; }) {
    out.until_ms = body.until_ms;
    out.failed_rounds = body.failed_rounds;
  }
  return out;
}

}  // namespace

std::optional<breaker_record> record_after(const event& what) {
  if (const auto* body = std::get_if<breaker_opened>(&what.body))
    return record_of(what, *body, body->kind, breaker_state::open);
  if (const auto* body = std::get_if<breaker_half_opened>(&what.body))
    return record_of(what, *body, body->kind, breaker_state::half_open);
  if (const auto* body = std::get_if<breaker_closed>(&what.body))
    return record_of(what, *body, body->kind, breaker_state::closed);
  if (const auto* body = std::get_if<breaker_override_cleared>(&what.body))
    return record_of(what, *body, breaker_kind::hosted, breaker_state::closed);
  return std::nullopt;
}

stored_breaker& stored_breakers::need(const std::string& service, const std::string& breaker) {
  const auto [at, made] = places_.try_emplace({service, breaker}, all_.size());
  if (!made) return all_[at->second];
  auto& fresh = all_.emplace_back();
  fresh.record.service = service;
  fresh.record.breaker = breaker;
  return fresh;
}

void stored_breakers::put(breaker_source_record row) {
  const bool known = places_.contains({row.service, row.breaker});
  auto& of = need(row.service, row.breaker);
  if (!known) of.record.kind = breaker_kind::observed;  // it has reported, its state never changed
  const auto same = std::find_if(of.sources.begin(), of.sources.end(),
                                 [&](const auto& each) { return each.source == row.source; });
  if (same != of.sources.end()) of.sources.erase(same);
  if (!row.gone) of.sources.push_back(std::move(row));
}

void stored_breakers::apply(const event& what) {
  if (auto record = record_after(what)) return add(std::move(*record));
  if (const auto* set = std::get_if<breaker_override_set>(&what.body))
    return apply_override(need(set->service, set->breaker).record, what, *set);
  if (const auto* retired = std::get_if<breaker_retired>(&what.body))
    places_.erase({retired->service, retired->breaker});
}

void apply_override(breaker_record& record, const event& what, const breaker_override_set& body) {
  record.epoch = body.epoch;
  if (record.override_.mode != body.mode) {
    record.cause = breaker_cause::override_set;
    record.since_ms = decided_at(what);
  }
  record.override_ = {body.mode, body.scope, what.actor, body.reason, body.expires_at_ms};
}

std::vector<stored_breaker> stored_breakers::take() {
  std::vector<std::size_t> order;
  for (const auto& [whose, at] : places_) order.push_back(at);
  std::sort(order.begin(), order.end());
  std::vector<stored_breaker> out;
  for (const auto at : order) out.push_back(std::move(all_[at]));
  all_.clear();
  places_.clear();
  return out;
}

}  // namespace portcullis::core

// Sessions that are named by alias: the gateway puts the id in the alias' place, which from there
// on is an id like any other. Where no session has the alias, it is an id that nobody knows.
#include "actors/gateway.hpp"

namespace portcullis::actors {

void gateway::resolve_alias(core::request& request) const {
  const auto id_of = [this](const core::session_alias& by) {
    const auto tag = options_.keys->alias_tag(by.tenant_id, by.alias);
    const auto byte = options_.aliases->find(tag, options_.clock->now_ms());
    return options_.keys->alias_id(by.tenant_id, by.alias, byte.value_or(tag[0]));
  };
  std::visit(
      [&](auto& params) {
        if constexpr (requires { params.by.alias; }) {
          if constexpr (requires { params.id; })
            params.id = id_of(params.by);
          else
            params.target = id_of(params.by);
        }
      },
      request.params);
}

bool gateway::is_doubtful(const core::request& request) const {
  if (!request.has_alias || !peers_.fleet) return false;
  return std::visit(
      [this](const auto& params) {
        if constexpr (requires { params.by.alias; })
          return !options_.aliases->find(
              options_.keys->alias_tag(params.by.tenant_id, params.by.alias),
              options_.clock->now_ms());
        return false;
      },
      request.params);
}

bool gateway::waits_in_line(net::connection_id from, const core::caller& caller, net::ticket to,
                            core::request& request, const net::block_ref& block) {
  const bool first = lines_.count(from) == 0;
  if (first && !is_doubtful(request)) return false;
  lines_[from].waiting.push_back({to, &caller, block, std::move(request), options_.loop});
  if (first) ask_for_log(from);
  return true;
}

/// One question at a time: who comes while it is under way needs the next one.
void gateway::ask_for_log(net::connection_id of) {
  if (!asked_.empty()) return ask_next_.push_back(of);
  asked_.push_back(of);
  send_question();
}

/// Its answer is good for all that stands in these lines by now.
void gateway::send_question() {
  for (const auto each : asked_)
    if (const auto found = lines_.find(each); found != lines_.end())
      found->second.sure = found->second.waiting.size();
  caf::anon_send(peers_.fleet, catch_up{options_.loop, false, 0, true});
}

void gateway::caught_up_with(const caught_up& answer) {
  for (const auto each : asked_) move_line(each, answer.why);
  asked_ = std::exchange(ask_next_, {});
  if (!asked_.empty()) send_question();
  turn_ended();
}

/// What came before the question is sure by now, or never will be; the others follow up to the next
/// that is not.
void gateway::move_line(net::connection_id of, const std::optional<core::error>& why) {
  for (auto at = lines_.find(of); at != lines_.end(); at = lines_.find(of)) {
    auto& [waiting, sure] = at->second;
    const bool doubtful = is_doubtful(waiting.front().what);
    if (doubtful && sure == 0) return ask_for_log(of);
    if (sure > 0) --sure;
    auto next = std::move(waiting.front());
    waiting.pop_front();
    if (waiting.empty()) lines_.erase(at);
    if (why && doubtful) {
      fail(next.to, core::fail(core::error_code::STORE_UNAVAILABLE, {}, why->rule),
           next.what.correlation_id);
      continue;
    }
    const auto owner = pass_on(of, *next.who, next.to, next.what, next.block, doubtful);
    (void)connections_->set_owner(next.to, owner);
  }
}

void gateway::pass_on_again(inbound& request) {
  const auto to = request.to;
  // Whose shard has died since is answered already.
  if (!connections_->set_owner(to, 0)) return;
  const auto owner = pass_on(request.from, *request.who, to, request.what, request.block);
  (void)connections_->set_owner(to, owner);
  turn_ended();
}

bool gateway::reserve_alias(const core::create_session& params) const {
  const auto& [tenant_id, user_id] = params.user;
  return options_.aliases->reserve(options_.keys->alias_tag(tenant_id, params.alias),
                                   options_.keys->routing_byte(tenant_id, user_id),
                                   options_.clock->now_ms());
}

}  // namespace portcullis::actors

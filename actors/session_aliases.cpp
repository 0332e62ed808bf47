// Sessions that their callers named: the alias has stood for an id since the gateway, so that only
// what is about its creation is left to do here. The book's reservation keeps the alias from other
// shards; among this shard's own requests it is given away in their order.
#include "actors/session.hpp"

namespace portcullis::actors {

core::session_id session_shard::alias_id_of(const core::create_session& params) const {
  const auto& [tenant_id, user_id] = params.user;
  return options_.keys->alias_id(tenant_id, params.alias,
                                 options_.keys->routing_byte(tenant_id, user_id));
}

/// Whether nobody is told of it any more. The record is here until the log's time has come so far.
bool session_shard::is_forgotten(core::session_slot slot) const {
  return now_ms_ >= state_->at(slot).absolute_expires_at_ms + core::limits::tombstone_keep_ms;
}

/// Where nodes share a log another one's session may have got the alias since it was reserved.
bool session_shard::has_alias_still(const core::create_session& params) const {
  const auto& [tenant_id, user_id] = params.user;
  const auto tag = options_.keys->alias_tag(tenant_id, params.alias);
  if (!options_.aliases->renew(tag, options_.keys->routing_byte(tenant_id, user_id), now_ms_))
    return false;
  const auto slot = core::locate(*state_, *options_.keys, alias_id_of(params)).found.slot;
  return slot == core::no_slot || is_forgotten(slot);
}

/// Where nodes share a log another one's session may have got the alias while the request waited,
/// for a create that came to nothing here or for the log. True: it goes on from its gateway.
bool session_shard::is_led_elsewhere(inbound& request) {
  if (!options_.fleet || is_postponed(request)) return false;
  const auto leads_away = [this](const core::session_alias& by, const core::session_id& id) {
    const auto byte =
        options_.aliases->holder(options_.keys->alias_tag(by.tenant_id, by.alias), now_ms_);
    return byte && *byte != id.bytes[0];
  };
  const bool leads = std::visit(
      [&](const auto& params) {
        if constexpr (requires { params.by.alias; }) {
          if constexpr (requires { params.id; })
            return leads_away(params.by, params.id);
          else
            return leads_away(params.by, std::get<core::session_id>(params.target));
        }
        return false;
      },
      request.what.params);
  if (!leads) return false;
  const auto loop = request.loop;
  self_->send(peers_.gateways[loop], cold_request{std::move(request)});
  return true;
}

/// Whether the alias is about to become another user's. That one is not waited for, as nothing else
/// of this user would wait.
bool session_shard::is_of_another_creation(const inbound& request,
                                           const core::create_session& params) const {
  const auto found = creating_.find(alias_id_of(params));
  return found != creating_.end() && !found->second.is_of(request) &&
         found->second.user !=
             state_->find_user(options_.keys->lookup(params.user.tenant_id, params.user.user_id));
}

/// What names a session by its alias while that is being made comes behind its creation, and so
/// does another create of its user with the alias. True: it waits.
bool session_shard::waits_for_creation(inbound& request, const core::session_id& id) {
  if (creating_.empty()) return false;
  const auto found = creating_.find(id);
  return found != creating_.end() && !found->second.is_of(request) &&
         held(found->second.user, request);
}

/// False: it waits for another create with its alias.
bool session_shard::begins_creation(inbound& request, const core::create_session& params,
                                    core::user_slot user) {
  const auto id = alias_id_of(params);
  if (waits_for_creation(request, id)) return false;
  creating_[id] = {user, request.to, request.loop};
  return true;
}

/// A create that gave an alias is answered.
void session_shard::create_ended(const inbound& request, bool made) {
  const auto& params = std::get<core::create_session>(request.what.params);
  const auto found = creating_.find(alias_id_of(params));
  if (found != creating_.end() && found->second.is_of(request)) creating_.erase(found);
  if (made) return;  // applied() has told the book
  const auto& [tenant_id, user_id] = params.user;
  options_.aliases->release(options_.keys->alias_tag(tenant_id, params.alias),
                            options_.keys->routing_byte(tenant_id, user_id));
}

}  // namespace portcullis::actors

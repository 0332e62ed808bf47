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

/// Where nodes share a log another one's session may have got the alias since it was reserved. The
/// session that had it may be remembered here a moment longer than the book knows the alias.
bool session_shard::has_alias_still(const core::create_session& params) const {
  const auto& [tenant_id, user_id] = params.user;
  const auto tag = options_.keys->alias_tag(tenant_id, params.alias);
  return options_.aliases->renew(tag, options_.keys->routing_byte(tenant_id, user_id), now_ms_) &&
         core::locate(*state_, *options_.keys, alias_id_of(params)).found.slot == core::no_slot;
}

/// What names a session by its alias while that is being made comes behind its creation, and so
/// does another create with the alias. True: it waits.
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

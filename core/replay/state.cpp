#include "core/replay/state.hpp"

#include <limits>

#include "core/limits.hpp"

namespace portcullis::core {
namespace {

constexpr millis sweep_every_ms = 16'000;

/// Look-ups by name need keys: here a user's is made from the subject, so that each has its own.
byte_array<16> stand_in_lookup(const subject_id& subject) noexcept { return subject.bytes; }

}  // namespace

user_slot replayed_state::load_user(const subject_id& subject, std::string_view tenant) {
  const auto known = sessions_.find_user(subject);
  return known != no_slot ? known : sessions_.load_user(subject, stand_in_lookup(subject), tenant);
}

session_slot replayed_state::load_session(session_record&& loaded,
                                          std::span<const old_id> old_ids) {
  const auto slot = sessions_.load_session(std::move(loaded), old_ids);
  started(slot);
  return slot;
}

void replayed_state::set_position(std::uint64_t seq, millis at_ms, std::string policy) {
  seq_ = seq;
  at_ms_ = at_ms;
  policy_ = std::move(policy);
}

void replayed_state::started(session_slot slot) {
  const auto& s = sessions_.at(slot);
  directory_.add(s.user, slot);
  wheel_.add(slot, s.absolute_expires_at_ms + limits::tombstone_keep_ms, at_ms_);
}

void replayed_state::apply(const event& what) {
  seq_ = what.seq;
  at_ms_ = what.at_ms;
  switch (what.type()) {
    case event_type::session_created: {
      if (!what.subject || !what.handle) break;
      load_user(*what.subject, what.tenant_id);
      sessions_.apply(what);
      if (const auto slot = sessions_.find(*what.handle); slot != no_slot) started(slot);
      if (const auto& alias = std::get<session_created>(what.body).alias)
        know_alias(what.seq, *alias);
      break;
    }
    case event_type::validation_failed:
    case event_type::lockout_started:
    case event_type::lockout_ended:
    case event_type::lockout_cleared:
      lockouts_.apply(what);
      break;
    case event_type::node_started:
      policy_ = std::get<node_started>(what.body).policy;
      break;
    case event_type::config_reloaded:
      policy_ = std::get<config_reloaded>(what.body).policy;
      break;
    case event_type::user_forgotten:
      lockouts_.apply(what);
      sessions_.apply(what);
      break;
    default:  // NOLINT: each state takes what concerns it
      sessions_.apply(what);
      breakers_.apply(what);
      break;
  }
  if (at_ms_ - swept_at_ms_ >= sweep_every_ms) forget_ended();
}

void replayed_state::forget_ended() {
  swept_at_ms_ = at_ms_;
  wheel_.advance(at_ms_, std::numeric_limits<std::size_t>::max(), [this](session_slot slot) {
    const auto& s = sessions_.at(slot);
    if (s.status == session_status::none) return;
    const auto end_ms = s.absolute_expires_at_ms + limits::tombstone_keep_ms;
    const bool lives = s.status == session_status::live && !sessions_.outlived(s);
    if (lives || end_ms > at_ms_)
      return wheel_.add(slot, std::max(end_ms, at_ms_ + sweep_every_ms), at_ms_);
    directory_.remove(s.user, slot);
    aliases_.erase(s.seq);
    sessions_.purge(slot);
  });
  lockouts_.drop_over(at_ms_);
}

core::digest replayed_state::digest() const {
  const shard_digests whole{digest_sessions(sessions_, at_ms_),
                            digest_directory(sessions_, list_directory(directory_), at_ms_),
                            digest_lockouts(lockouts_, at_ms_), digest_tenants(sessions_)};
  std::vector<breaker_entity> breakers;
  for (const auto& [name, each] : breakers_.all()) breakers.push_back(canonical(each));
  return digest_of_all({&whole, 1}, {}, digest_breakers(std::move(breakers)));
}

}  // namespace portcullis::core

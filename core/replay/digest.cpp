#include "core/replay/digest.hpp"

#include <algorithm>

#include "core/limits.hpp"
#include "core/replay/canonical.hpp"

namespace portcullis::core {
namespace {

/// Rows are sorted within their byte, then hashed one after the other.
template <class Row, class Write>
routing_digests digest_rows(std::array<std::vector<Row>, 256>& rows, Write&& write) {
  routing_digests out;
  canonical_writer writer;
  for (std::size_t byte = 0; byte < rows.size(); ++byte) {
    std::sort(rows[byte].begin(), rows[byte].end());
    running_sha256 sum;
    for (const auto& row : rows[byte]) {
      writer.clear();
      write(writer, row);
      sum.add(writer.view());
    }
    out[byte] = sum.finish();
  }
  return out;
}

/// A tenant's or a user's revocation ends sessions without touching them.
session_status effective_status(const session_state& state, const session_record& s) noexcept {
  return s.status == session_status::live && state.outlived(s) ? session_status::revoked : s.status;
}

bool is_in(const session_state& state, session_slot slot, millis at_ms) noexcept {
  const auto& s = state.at(slot);
  const auto status = effective_status(state, s);
  return status == session_status::live ||
         (status != session_status::none &&
          s.absolute_expires_at_ms + limits::tombstone_keep_ms > at_ms);
}

void write_rotation(canonical_writer& to, const session_extra* extra) {
  const bool in_grace = extra != nullptr && extra->has_predecessor;
  to.put(static_cast<std::uint8_t>(in_grace));
  if (in_grace) {
    to.put_bytes(extra->predecessor.bytes);
    to.put(extra->predecessor_ring_key);
    to.put(extra->rotation_ring_key);
    to.put_bytes(extra->nonce);
    to.put(extra->grace_ends_at_ms);
    to.put(static_cast<std::uint8_t>(extra->successor_used));
  }
  to.put(static_cast<std::uint32_t>(extra == nullptr ? 0 : extra->old_ids.size()));
  if (extra == nullptr) return;
  for (const auto& old : extra->old_ids) {
    to.put_bytes(old.id.bytes);
    to.put(old.quiet_until_ms);
  }
}

void write_session(canonical_writer& to, const session_state& state, session_slot slot) {
  const auto& s = state.at(slot);
  const auto status = effective_status(state, s);
  const auto& owner = state.user(s.user);
  to.put(s.seq);
  to.put_bytes(owner.subject.bytes);
  to.put_text(state.tenant(owner.tenant).name);
  to.put_bytes(s.handle.bytes);
  to.put_bytes(s.id.bytes);
  to.put(s.ring_key);
  to.put(s.created_at_ms);
  to.put(s.absolute_expires_at_ms);
  to.put(s.idle_ttl_s);
  to.put(s.version);
  to.put(static_cast<std::uint8_t>(status));
  if (status == session_status::live) {
    to.put(s.present);
    for (std::size_t i = 0; i < context_field_count; ++i)
      if ((s.present >> i & 1U) != 0) to.put_bytes(s.hashes[i]);
    to.put_text(s.data());
  }
  write_rotation(to, s.extra.get());
}

void write_counter(canonical_writer& to, const subject_id& subject, byte_view source,
                   const lockout_counter& counter) {
  to.put_bytes(subject.bytes);
  to.put_text(as_text(source));
  to.put(counter.failed_attempts);
  to.put(counter.window_ends_at_ms);
  to.put(counter.locked_until_ms);
}

void write_lockout(canonical_writer& to, const subject_id& subject, const user_lockout& user,
                   millis at_ms) {
  if (user.whole.ends_at_ms() > at_ms) write_counter(to, subject, {}, user.whole);
  for (const auto& [source, counter] : user.sources)
    if (counter.ends_at_ms() > at_ms) write_counter(to, subject, source, counter);
}

void write_name(canonical_writer& to, breaker_kind kind, std::string_view service,
                std::string_view breaker, std::uint64_t epoch) {
  to.put_text(service);
  to.put_text(breaker);
  to.put(static_cast<std::uint8_t>(kind));
  to.put(epoch);
}

void write_hosted(canonical_writer& to, breaker_state base, const breaker_override& over) {
  to.put(static_cast<std::uint8_t>(base));
  to.put(static_cast<std::uint8_t>(over.mode));
  if (over.mode == override_mode::none) return;
  to.put(static_cast<std::uint8_t>(over.scope));
  to.put_text(over.actor);
  to.put_text(over.reason);
  to.put(over.expires_at_ms.value_or(0));
}

void write_source(canonical_writer& to, std::string_view source, breaker_state state) {
  to.put_text(source);
  to.put(static_cast<std::uint8_t>(state));
}

// Every change of a breaker makes a new epoch; what has none was never in the log.
constexpr std::uint64_t first_epoch = 1;

}  // namespace

routing_digests digest_sessions(const session_state& state, millis at_ms) {
  std::array<std::vector<std::pair<std::uint64_t, session_slot>>, 256> rows;
  for (session_slot slot = 0; slot < state.slots_used(); ++slot)
    if (is_in(state, slot, at_ms))
      rows[state.at(slot).handle.bytes[0]].emplace_back(state.at(slot).seq, slot);
  return digest_rows(
      rows, [&](canonical_writer& to, const auto& row) { write_session(to, state, row.second); });
}

directory_listing list_directory(const directory_state& directory) {
  directory_listing out;
  for (user_slot user = 0; user < directory.users_end(); ++user) {
    const auto before = out.sessions.size();
    directory.each_session(user, [&](session_slot slot) { out.sessions.push_back(slot); });
    if (out.sessions.size() == before) continue;
    out.users.push_back(user);
    out.counts.push_back(static_cast<std::uint32_t>(out.sessions.size() - before));
  }
  return out;
}

routing_digests digest_directory(const session_state& state, const directory_listing& listed,
                                 millis at_ms) {
  struct row {
    subject_id subject;
    tenant_slot tenant;
    std::vector<std::uint64_t> seqs;
    bool operator<(const row& other) const noexcept { return subject < other.subject; }
  };
  std::array<std::vector<row>, 256> rows;
  std::size_t at = 0;
  for (std::size_t i = 0; i < listed.users.size(); ++i) {
    const auto& owner = state.user(listed.users[i]);
    row made{owner.subject, owner.tenant, {}};
    for (std::uint32_t n = 0; n < listed.counts[i]; ++n, ++at)
      if (is_in(state, listed.sessions[at], at_ms))
        made.seqs.push_back(state.at(listed.sessions[at]).seq);
    if (!made.seqs.empty()) rows[owner.subject.bytes[0]].push_back(std::move(made));
  }
  return digest_rows(rows, [&](canonical_writer& to, const row& each) {
    to.put_bytes(each.subject.bytes);
    to.put_text(state.tenant(each.tenant).name);
    to.put(static_cast<std::uint32_t>(each.seqs.size()));
    for (const auto seq : each.seqs) to.put(seq);
  });
}

routing_digests digest_lockouts(const lockout_state& state, millis at_ms) {
  std::array<running_sha256, 256> sums;
  canonical_writer writer;
  for (const auto& [subject, user] : state.users()) {  // sorted already
    writer.clear();
    write_lockout(writer, subject, user, at_ms);
    sums[subject.bytes[0]].add(writer.view());
  }
  routing_digests out;
  for (std::size_t byte = 0; byte < sums.size(); ++byte) out[byte] = sums[byte].finish();
  return out;
}

std::uint8_t routing_byte_of_tenant(std::string_view tenant) noexcept {
  return sha256(as_bytes(tenant))[0];
}

routing_digests digest_tenants(const session_state& state) {
  std::array<std::vector<std::pair<std::string_view, std::uint32_t>>, 256> rows;
  for (tenant_slot slot = 0; slot < state.tenant_count(); ++slot)
    if (const auto& each = state.tenant(slot); each.generation > 0)
      rows[routing_byte_of_tenant(each.name)].emplace_back(each.name, each.generation);
  return digest_rows(rows, [](canonical_writer& to, const auto& row) {
    to.put_text(row.first);
    to.put(row.second);
  });
}

breaker_entity canonical(const hosted_breaker& breaker) {
  breaker_entity out{breaker.service(), breaker.breaker(), {}};
  if (breaker.epoch() == first_epoch) return out;
  canonical_writer to;
  write_name(to, breaker_kind::hosted, out.service, out.breaker, breaker.epoch());
  write_hosted(to, breaker.base_state(), breaker.override_in_force());
  out.bytes = to.take();
  return out;
}

breaker_entity canonical(const observed_breaker& breaker) {
  breaker_entity out{breaker.service(), breaker.breaker(), {}};
  if (breaker.epoch() == first_epoch) return out;
  canonical_writer to;
  write_name(to, breaker_kind::observed, out.service, out.breaker, breaker.epoch());
  for (const auto& [name, source] : breaker.sources())
    if (source.state != breaker_state::closed) write_source(to, name, source.state);
  out.bytes = to.take();
  return out;
}

breaker_entity canonical(const breaker_standing& breaker) {
  const auto& record = breaker.record;
  breaker_entity out{record.service, record.breaker, {}};
  canonical_writer to;
  write_name(to, record.kind, record.service, record.breaker, record.epoch);
  if (record.kind == breaker_kind::hosted)
    write_hosted(to, record.state, record.override_);
  else
    for (const auto& [name, state] : breaker.sources) write_source(to, name, state);
  out.bytes = to.take();
  return out;
}

routing_digests digest_breakers(std::vector<breaker_entity> all) {
  std::erase_if(all, [](const breaker_entity& each) { return each.bytes.empty(); });
  std::sort(all.begin(), all.end(), [](const breaker_entity& a, const breaker_entity& b) {
    return std::tie(a.service, a.breaker) < std::tie(b.service, b.breaker);
  });
  std::array<running_sha256, 256> sums;
  for (const auto& each : all) sums[sha256(as_bytes(each.service))[0]].add(each.bytes);
  routing_digests out;
  for (std::size_t byte = 0; byte < sums.size(); ++byte) out[byte] = sums[byte].finish();
  return out;
}

digest digest_of_all(std::span<const shard_digests> shards,
                     const std::array<std::uint32_t, 256>& shard_of,
                     const routing_digests& breakers) noexcept {
  running_sha256 whole;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const auto& from = shards[shard_of[byte]];
    running_sha256 one;
    for (const auto* part :
         {&from.sessions, &from.directory, &from.lockouts, &from.tenants, &breakers})
      one.add((*part)[byte]);
    whole.add(one.finish());
  }
  return whole.finish();
}

std::string canonical_session(const session_state& state, session_slot slot, millis at_ms) {
  canonical_writer to;
  if (is_in(state, slot, at_ms)) write_session(to, state, slot);
  return to.take();
}

std::string canonical_lockout(const subject_id& subject, const user_lockout& user, millis at_ms) {
  canonical_writer to;
  write_lockout(to, subject, user, at_ms);
  return to.take();
}

}  // namespace portcullis::core

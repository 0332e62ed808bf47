#include "core/replay/snapshot.hpp"

#include "core/limits.hpp"
#include "core/replay/canonical.hpp"

namespace portcullis::core {
namespace {

constexpr std::string_view magic = "portcullis snapshot 1\n";
// What a part begins with, and each of its rows.
enum class kind : std::uint8_t { head = 1, tenant, counter, breaker, session, alias };

void put_counter(canonical_writer& to, const lockout_counter& from) {
  to.put(from.failed_attempts);
  to.put(from.window_ends_at_ms);
  to.put(from.locked_until_ms);
}

void put_lockout(canonical_writer& to, const subject_id& subject, const user_lockout& from) {
  to.put(static_cast<std::uint8_t>(kind::counter));
  to.put_bytes(subject.bytes);
  to.put(from.first_window_ends_at_ms);
  put_counter(to, from.whole);
  to.put(static_cast<std::uint32_t>(from.sources.size()));
  for (const auto& [source, counter] : from.sources) {
    to.put_bytes(source);
    put_counter(to, counter);
  }
}

void put_breaker(canonical_writer& to, const breaker_standing& from) {
  const auto& r = from.record;
  to.put(static_cast<std::uint8_t>(kind::breaker));
  to.put_text(r.service);
  to.put_text(r.breaker);
  to.put(static_cast<std::uint8_t>(r.kind));
  to.put(static_cast<std::uint8_t>(r.state));
  to.put(r.epoch);
  to.put(static_cast<std::uint8_t>(r.cause));
  to.put(r.since_ms);
  to.put(r.until_ms);
  to.put(r.failed_rounds);
  to.put(static_cast<std::uint8_t>(r.override_.mode));
  to.put(static_cast<std::uint8_t>(r.override_.scope));
  to.put_text(r.override_.actor);
  to.put_text(r.override_.reason);
  to.put(r.override_.expires_at_ms.value_or(0));
  to.put(from.first_seq);
  to.put(from.last_seq);
  to.put(static_cast<std::uint32_t>(from.sources.size()));
  for (const auto& [name, state] : from.sources) {
    to.put_text(name);
    to.put(static_cast<std::uint8_t>(state));
  }
}

void put_extra(canonical_writer& to, const session_extra* from) {
  to.put(static_cast<std::uint8_t>(from != nullptr));
  if (from == nullptr) return;
  to.put_text(from->data);
  to.put(static_cast<std::uint8_t>(from->has_predecessor));
  if (from->has_predecessor) {
    to.put(static_cast<std::uint8_t>(from->successor_used));
    to.put(from->rotation_ring_key);
    to.put(from->predecessor_ring_key);
    to.put_bytes(from->predecessor.bytes);
    to.put_bytes(from->nonce);
    to.put(from->grace_ends_at_ms);
  }
  to.put(static_cast<std::uint32_t>(from->old_ids.size()));
  for (const auto& old : from->old_ids) {
    to.put_bytes(old.id.bytes);
    to.put(old.quiet_until_ms);
  }
}

/// A user's generation is not kept: what it ended is written as ended.
void put_session(canonical_writer& to, const session_state& state, session_slot slot) {
  const auto& s = state.at(slot);
  const auto& owner = state.user(s.user);
  const bool user_revoked =
      s.status == session_status::live && s.user_generation != owner.generation;
  to.put(static_cast<std::uint8_t>(kind::session));
  to.put_bytes(owner.subject.bytes);
  to.put_text(state.tenant(owner.tenant).name);
  to.put(s.seq);
  to.put_bytes(s.handle.bytes);
  to.put_bytes(s.id.bytes);
  to.put(s.ring_key);
  to.put(s.created_at_ms);
  to.put(s.last_seen_at_ms);
  to.put(s.absolute_expires_at_ms);
  to.put(s.idle_ttl_s);
  to.put(s.version);
  to.put(static_cast<std::uint8_t>(user_revoked ? session_status::revoked : s.status));
  to.put(s.tenant_generation);
  to.put(s.present);
  for (const auto& hash : s.hashes) to.put_bytes(hash);
  to.put_text(s.sealed_ip());
  put_extra(to, s.extra.get());
}

/// Of the session before it, where that has one.
void put_alias(canonical_writer& to, const std::optional<short_hash>& alias) {
  if (!alias) return;
  to.put(static_cast<std::uint8_t>(kind::alias));
  to.put_bytes(*alias);
}

/// Reads what canonical_writer wrote; once it has failed, everything it gives is empty.
class part_reader {
 public:
  explicit part_reader(std::string_view bytes) : left_(bytes) {}
  [[nodiscard]] bool failed() const noexcept { return failed_; }
  [[nodiscard]] bool at_end() const noexcept { return failed_ || left_.empty(); }
  [[nodiscard]] std::string_view take(std::size_t size) {
    if (failed_ || size > left_.size()) {
      failed_ = true;
      return {};
    }
    const auto part = left_.substr(0, size);
    left_.remove_prefix(size);
    return part;
  }
  template <class Int>
  void get(Int& to) {
    const auto part = take(sizeof(Int));
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < part.size(); ++i)
      value |= std::uint64_t{static_cast<std::uint8_t>(part[i])} << (8 * i);
    to = static_cast<Int>(value);
  }
  void get(bool& to) {
    std::uint8_t value = 0;
    get(value);
    failed_ = failed_ || value > 1;
    to = value == 1;
  }
  template <class Enum>
  void get_enum(Enum& to, std::size_t count) {
    std::uint8_t value = 0;
    get(value);
    if (value >= count) failed_ = true;
    if (!failed_) to = static_cast<Enum>(value);
  }
  template <std::size_t N>
  void get_bytes(byte_array<N>& to) {
    const auto part = take(N);
    if (part.size() == N) std::memcpy(to.data(), part.data(), N);
  }
  [[nodiscard]] std::string_view text() {
    std::uint32_t size = 0;
    get(size);
    return take(size);
  }

 private:
  std::string_view left_;
  bool failed_ = false;
};

void read_counter(part_reader& from, lockout_counter& to) {
  from.get(to.failed_attempts);
  from.get(to.window_ends_at_ms);
  from.get(to.locked_until_ms);
}

void read_lockout(part_reader& from, lockout_state& to) {
  subject_id subject;
  from.get_bytes(subject.bytes);
  user_lockout user;
  from.get(user.first_window_ends_at_ms);
  read_counter(from, user.whole);
  std::uint32_t sources = 0;
  from.get(sources);
  for (std::uint32_t i = 0; i < sources && !from.failed(); ++i) {
    short_hash source{};
    from.get_bytes(source);
    read_counter(from, user.sources[source]);
  }
  if (!from.failed()) to.need(subject) = std::move(user);
}

void read_breaker(part_reader& from, breaker_standings& to) {
  breaker_standing standing;
  auto& r = standing.record;
  r.service = from.text();
  r.breaker = from.text();
  from.get_enum(r.kind, breaker_kind_names.size());
  from.get_enum(r.state, base_state_count);
  from.get(r.epoch);
  from.get_enum(r.cause, breaker_cause_names.size());
  from.get(r.since_ms);
  from.get(r.until_ms);
  from.get(r.failed_rounds);
  from.get_enum(r.override_.mode, override_mode_names.size());
  from.get_enum(r.override_.scope, override_scope_names.size());
  r.override_.actor = from.text();
  r.override_.reason = from.text();
  millis expires_at_ms = 0;
  from.get(expires_at_ms);
  if (expires_at_ms > 0) r.override_.expires_at_ms = expires_at_ms;
  from.get(standing.first_seq);
  from.get(standing.last_seq);
  std::uint32_t sources = 0;
  from.get(sources);
  for (std::uint32_t i = 0; i < sources && !from.failed(); ++i) {
    const std::string name(from.text());
    from.get_enum(standing.sources[name], breaker_state_names.size());
  }
  if (!from.failed()) to.put(std::move(standing));
}

void read_extra(part_reader& from, session_record& s, std::vector<old_id>& old_ids) {
  bool there = false;
  from.get(there);
  if (!there) return;
  auto& extra = s.need_extra();
  extra.data = from.text();
  from.get(extra.has_predecessor);
  if (extra.has_predecessor) {
    from.get(extra.successor_used);
    from.get(extra.rotation_ring_key);
    from.get(extra.predecessor_ring_key);
    from.get_bytes(extra.predecessor.bytes);
    from.get_bytes(extra.nonce);
    from.get(extra.grace_ends_at_ms);
  }
  std::uint32_t count = 0;
  from.get(count);
  for (std::uint32_t i = 0; i < count && !from.failed(); ++i) {
    auto& old = old_ids.emplace_back();
    from.get_bytes(old.id.bytes);
    from.get(old.quiet_until_ms);
  }
}

/// The seq of the session's creation; 0: failed.
std::uint64_t read_session(part_reader& from, replayed_state& to) {
  subject_id subject;
  from.get_bytes(subject.bytes);
  const std::string tenant(from.text());
  session_record s;
  from.get(s.seq);
  from.get_bytes(s.handle.bytes);
  from.get_bytes(s.id.bytes);
  from.get(s.ring_key);
  from.get(s.created_at_ms);
  from.get(s.last_seen_at_ms);
  from.get(s.absolute_expires_at_ms);
  from.get(s.idle_ttl_s);
  from.get(s.version);
  from.get_enum(s.status, 5);
  from.get(s.tenant_generation);
  from.get(s.present);
  for (auto& hash : s.hashes) from.get_bytes(hash);
  s.keep_sealed_ip(from.text());
  std::vector<old_id> old_ids;
  read_extra(from, s, old_ids);
  if (from.failed()) return 0;
  s.user = to.load_user(subject, tenant);
  s.user_generation = to.sessions().user(s.user).generation;
  const auto seq = s.seq;
  to.load_session(std::move(s), old_ids);
  return seq;
}

std::string signed_text(const snapshot_seal& what) {
  std::string text(magic);
  append_signed_number(text, what.of.seq);
  append_signed_number(text, static_cast<std::uint64_t>(what.of.at_ms));
  for (const auto* each : {&what.of.mac, &what.parts, &what.state}) text.append(as_text(*each));
  return text;
}

}  // namespace

std::string snapshot_writer::next() {
  canonical_writer to;
  const auto& sessions = of_.sessions();
  const auto has_room = [&] { return to.view().size() < limits::snapshot_part_bytes; };
  if (!begun_) {
    begun_ = true;
    to.put(static_cast<std::uint8_t>(kind::head));
    to.put_bytes(as_bytes(magic));
    to.put(of_.seq());
    to.put(of_.at_ms());
    to.put_text(of_.policy());
  }
  for (; tenant_ < sessions.tenant_count() && has_room(); ++tenant_) {
    to.put(static_cast<std::uint8_t>(kind::tenant));
    to.put_text(sessions.tenant(tenant_).name);
    to.put(sessions.tenant(tenant_).generation);
  }
  for (; counters_ != of_.lockouts().users().end() && has_room(); ++counters_)
    put_lockout(to, counters_->first, counters_->second);
  for (; breakers_ != of_.breakers().all().end() && has_room(); ++breakers_)
    put_breaker(to, breakers_->second);
  if (user_ == 0 && !to.view().empty()) return to.take();  // sessions begin a part of their own
  for (; user_ < of_.users_end() && has_room(); ++user_)
    for (const auto slot : of_.sessions_of(user_)) {
      put_session(to, sessions, slot);
      put_alias(to, of_.alias_of(sessions.at(slot).seq));
    }
  return to.take();
}

status snapshot_reader::add(std::string_view part) {
  part_reader from(part);
  while (!from.at_end()) {
    std::uint8_t what = 0;
    from.get(what);
    if ((static_cast<kind>(what) == kind::head) == begun_)
      return fail(error_code::LOG_CORRUPT, {}, "snapshot");
    const auto before = std::exchange(last_session_, 0);  // an alias is of the row before it
    switch (static_cast<kind>(what)) {
      case kind::head: {
        begun_ = true;
        std::uint64_t seq = 0;
        millis at_ms = 0;
        const bool ours = from.take(magic.size()) == magic;
        from.get(seq);
        from.get(at_ms);
        state_.set_position(seq, at_ms, std::string(from.text()));
        if (!ours) return fail(error_code::LOG_CORRUPT, {}, "snapshot");
        break;
      }
      case kind::tenant: {
        const std::string name(from.text());
        std::uint32_t generation = 0;
        from.get(generation);
        state_.sessions().load_tenant(name, generation);
        break;
      }
      case kind::counter:
        read_lockout(from, state_.lockouts());
        break;
      case kind::breaker:
        read_breaker(from, state_.breakers());
        break;
      case kind::session:
        last_session_ = read_session(from, state_);
        break;
      case kind::alias: {
        short_hash alias{};
        from.get_bytes(alias);
        if (before == 0) return fail(error_code::LOG_CORRUPT, {}, "snapshot");
        state_.know_alias(before, alias);
        break;
      }
      default:  // NOLINT: a byte that no writer wrote
        return fail(error_code::LOG_CORRUPT, {}, "snapshot");
    }
  }
  if (from.failed()) return fail(error_code::LOG_CORRUPT, {}, "snapshot");
  return nothing{};
}

snapshot_seal seal_snapshot(const log_place& of, const core::digest& parts,
                            const core::digest& state, const signing_key& by) {
  snapshot_seal out{of, parts, state, by.verifier(), {}};
  out.signature = by.sign(signed_text(out));
  return out;
}

bool is_signed(const snapshot_seal& what, const public_key& by) noexcept {
  return what.signer == by && verifies(by, signed_text(what), what.signature);
}

std::string to_bytes(const snapshot_seal& what) {
  auto text = signed_text(what);
  text.append(as_text(what.signer));
  text.append(as_text(what.signature));
  return text;
}

std::optional<snapshot_seal> parse_snapshot_seal(std::string_view bytes) {
  part_reader from(bytes);
  if (from.take(magic.size()) != magic) return std::nullopt;
  snapshot_seal out;
  from.get(out.of.seq);
  from.get(out.of.at_ms);
  from.get_bytes(out.of.mac);
  from.get_bytes(out.parts);
  from.get_bytes(out.state);
  from.get_bytes(out.signer);
  from.get_bytes(out.signature);
  if (from.failed() || !from.at_end()) return std::nullopt;
  return out;
}

}  // namespace portcullis::core

// A snapshot is the state that it was taken of, for all that comes after it.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "../session/history.hpp"
#include "core/replay/snapshot.hpp"

namespace portcullis::core {
namespace {

std::vector<std::string> parts_of(const replayed_state& state) {
  std::vector<std::string> out;
  snapshot_writer writer(state);
  for (auto part = writer.next(); !part.empty(); part = writer.next()) out.push_back(part);
  return out;
}

replayed_state read(const std::vector<std::string>& parts) {
  snapshot_reader reader;
  for (const auto& each : parts) RC_ASSERT(bool(reader.add(each)));
  return reader.take();
}

/// Failures and locks of the users that the history has.
event counter_event(const world& w, std::uint64_t seq) {
  event what;
  what.seq = seq;
  what.at_ms = what.decided_at_ms = w.now_ms;
  what.subject = subject_id{};
  what.subject->bytes[0] = static_cast<std::uint8_t>(seq % 3);
  if (seq % 4 == 0) {
    what.body = lockout_started{w.now_ms + 900'000, 3, short_hash{1}};
  } else {
    validation_failed failed;
    failed.reason = invalid_reason::ip_mismatch;
    failed.attempt = static_cast<std::uint32_t>(seq % 7 + 1);
    failed.source = short_hash{static_cast<std::uint8_t>(seq % 2 + 1)};
    failed.window_ends_at_ms = failed.user_window_ends_at_ms = w.now_ms + 900'000;
    failed.counted_for_source = seq % 2 == 0;
    failed.user_attempt = 2;
    what.body = failed;
  }
  return what;
}

event breaker_event(const world& w, std::uint64_t seq) {
  event what;
  what.seq = seq;
  what.at_ms = what.decided_at_ms = w.now_ms;
  what.actor = "admin";
  if (seq % 3 == 0) {
    what.body = breaker_override_set{
        "svc", "a", seq, override_mode::forced_open, override_scope::node, "why", w.now_ms + 5,
        {},    {},  {}};
  } else {
    breaker_opened opened;
    opened.service = "svc";
    opened.breaker = seq % 2 == 0 ? "a" : "b";
    opened.epoch = seq;
    opened.until_ms = w.now_ms + 1'000;
    opened.failed_rounds = 2;
    if (seq % 2 == 1) {
      opened.kind = breaker_kind::observed;
      opened.source = "app";
    }
    what.body = opened;
  }
  return what;
}

RC_GTEST_PROP(snapshot, what_follows_it_gives_the_same_as_the_whole_log, ()) {
  history lived;
  std::vector<event> log;
  std::size_t taken = 0;
  const auto steps = *rc::gen::inRange(1, 60);
  for (int i = 0; i < steps; ++i) {
    lived.step();
    for (; taken < lived.w.log.size(); ++taken) {
      log.push_back(lived.w.log[taken]);
      log.back().seq = log.size();
    }
    if (*rc::gen::arbitrary<bool>()) log.push_back(counter_event(lived.w, log.size() + 1));
    if (*rc::gen::arbitrary<bool>()) log.push_back(breaker_event(lived.w, log.size() + 1));
  }
  const auto cut = *rc::gen::inRange<std::size_t>(0, log.size() + 1);
  replayed_state whole, until;
  for (std::size_t i = 0; i < cut; ++i) {
    whole.apply(log[i]);
    until.apply(log[i]);
  }
  const auto parts = parts_of(until);
  auto resumed = read(parts);
  RC_ASSERT(resumed.seq() == until.seq());
  RC_ASSERT(resumed.at_ms() == until.at_ms());
  RC_ASSERT(resumed.digest() == until.digest());
  for (std::size_t i = cut; i < log.size(); ++i) {
    whole.apply(log[i]);
    resumed.apply(log[i]);
    RC_ASSERT(resumed.digest() == whole.digest());
  }
  // And activity, which no digest has.
  for (session_slot slot = 0; slot < whole.sessions().slots_used(); ++slot) {
    const auto& s = whole.sessions().at(slot);
    if (s.status != session_status::live || whole.sessions().outlived(s)) continue;
    const auto same = resumed.sessions().find(s.handle);
    RC_ASSERT(same != no_slot);
    RC_ASSERT(resumed.sessions().at(same).last_seen_at_ms == s.last_seen_at_ms);
    RC_ASSERT(resumed.sessions().at(same).sealed_ip() == s.sealed_ip());
    RC_ASSERT(resumed.alias_of(s.seq) == whole.alias_of(s.seq));
  }
}

TEST(snapshot, has_the_aliases_of_sessions_that_are_remembered_and_of_no_others) {
  world w;
  replayed_state state;
  for (const auto* alias : {"", "the alias of one", "the alias of two"}) {
    auto command = w.creation(alias == std::string() ? "none" : alias);
    command.alias = alias;
    command.absolute_ttl_s = alias == std::string("the alias of two") ? 60 : 43'200;
    (void)w.create(command);
  }
  w.revoke(w.log[1].handle.value());
  for (const auto& each : w.log) state.apply(each);
  const auto copy = read(parts_of(state));
  for (const replayed_state* of : {static_cast<const replayed_state*>(&state), &copy}) {
    EXPECT_FALSE(of->alias_of(1));
    EXPECT_EQ(of->alias_of(2), w.keys.alias_tag("acme", "the alias of one")) << "it is over";
    EXPECT_EQ(of->alias_of(3), w.keys.alias_tag("acme", "the alias of two"));
  }
  w.now_ms += 60'000 + limits::tombstone_keep_ms + 60'000;
  event expired;
  expired.handle = w.log[2].handle;
  expired.body = session_expired{expiry_kind::absolute};
  for (int i = 0; i < 2; ++i) {
    expired.seq = ++w.seq;
    expired.at_ms = expired.decided_at_ms = w.now_ms += 20'000;
    state.apply(expired);
  }
  EXPECT_FALSE(state.alias_of(3)) << "forgotten with its session";
  EXPECT_TRUE(state.alias_of(2));
}

TEST(snapshot, has_an_alias_behind_its_session_and_nowhere_else) {
  world w;
  auto command = w.creation();
  command.alias = "the alias of a session";
  (void)w.create(command);
  replayed_state state;
  for (const auto& each : w.log) state.apply(each);
  auto parts = parts_of(state);
  constexpr std::size_t row = 1 + sizeof(short_hash);
  ASSERT_EQ(parts.back()[parts.back().size() - row], 6);
  using namespace std::string_view_literals;
  parts.back().insert(parts.back().size() - row, "\2\7\0\0\0another\0\0\0\0"sv);  // a tenant
  snapshot_reader reader;
  core::status last = nothing{};
  for (const auto& each : parts) last = reader.add(each);
  EXPECT_FALSE(last);
}

TEST(snapshot, of_many_users_comes_in_parts) {
  world w;
  std::string data = "{\"n\":\"" + std::string(10'000, 'x') + "\"}";
  for (int i = 0; i < 100; ++i) {
    const auto name = "user" + std::to_string(i);
    auto command = w.creation(name);
    command.data = data;
    (void)w.create(command);
  }
  replayed_state state;
  for (const auto& each : w.log) state.apply(each);
  const auto parts = parts_of(state);
  EXPECT_GE(parts.size(), 4U);
  for (const auto& each : parts) EXPECT_LT(each.size(), 2 * limits::snapshot_part_bytes);
  EXPECT_EQ(read(parts).digest(), state.digest());
}

TEST(snapshot, what_is_none_is_refused) {
  world w;
  (void)w.create();
  replayed_state state;
  for (const auto& each : w.log) state.apply(each);
  const auto parts = parts_of(state);
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_FALSE(snapshot_reader().add(parts[1])) << "the head is missing";
  EXPECT_FALSE(snapshot_reader().add("portcullis"));
  for (std::size_t cut = 1; cut < parts[1].size(); ++cut) {
    snapshot_reader reader;
    ASSERT_TRUE(reader.add(parts[0]));
    EXPECT_FALSE(reader.add(parts[1].substr(0, cut))) << cut;
  }
  snapshot_reader twice;
  ASSERT_TRUE(twice.add(parts[0]));
  EXPECT_FALSE(twice.add(parts[0]));
}

TEST(snapshot, its_seal_is_of_it_alone) {
  const signing_key key(digest{7}), other(digest{8});
  const auto seal = seal_snapshot({5, 1'000, digest{1}}, digest{2}, digest{3}, key);
  EXPECT_TRUE(is_signed(seal, key.verifier()));
  EXPECT_FALSE(is_signed(seal, other.verifier()));
  const auto bytes = to_bytes(seal);
  const auto back = parse_snapshot_seal(bytes);
  ASSERT_TRUE(back);
  EXPECT_TRUE(is_signed(*back, key.verifier()));
  EXPECT_EQ(back->of.seq, 5U);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    const auto read = parse_snapshot_seal(changed);
    EXPECT_FALSE(read && is_signed(*read, key.verifier())) << i;
  }
  EXPECT_FALSE(parse_snapshot_seal(bytes.substr(1)));
  EXPECT_FALSE(parse_snapshot_seal(bytes + "x"));
}

// Regression: tenants, counters and breakers were all in the first part, however many.
TEST(a_snapshot_of_many_counters, is_in_parts_of_bounded_size) {
  replayed_state state;
  for (std::uint32_t i = 0; i < 20'000; ++i) {
    event what;
    what.seq = i + 1;
    what.at_ms = what.decided_at_ms = 1'700'000'000'000;
    what.subject = subject_id{};
    std::memcpy(what.subject->bytes.data(), &i, sizeof i);
    validation_failed failed;
    failed.attempt = 1;
    failed.window_ends_at_ms = what.at_ms + 900'000;
    what.body = failed;
    state.apply(what);
    if (i % 4 != 0) continue;
    state.sessions().load_tenant("tenant " + std::to_string(i), 1);
  }
  const auto parts = parts_of(state);
  EXPECT_GT(parts.size(), 3U);
  for (const auto& each : parts) EXPECT_LT(each.size(), limits::snapshot_part_bytes + 1'024);
  snapshot_reader reader;
  for (const auto& each : parts) ASSERT_TRUE(reader.add(each));
  EXPECT_EQ(reader.take().digest(), state.digest());
}

}  // namespace
}  // namespace portcullis::core

// Who may go on: every verdict, and which one wins when several hold.
#include <set>

#include "world.hpp"

namespace portcullis::core {
namespace {

using enum verdict;

context elsewhere() { return context_of("198.51.100.9"); }
context other_device() { return context_of("192.0.2.7", "browser/2"); }

TEST(judging, the_context_that_a_session_was_made_with_is_valid) {
  world w;
  const auto s = w.create();
  const auto judged = w.judge(s.id);
  EXPECT_EQ(judged.verdict, valid);
  EXPECT_EQ(judged.kind, id_kind::current);
  EXPECT_FALSE(judged.touch_due);
  EXPECT_FALSE(judged.rekey_due);
  EXPECT_FALSE(judged.first_successor_use);
}

TEST(judging, an_id_that_was_never_made_is_unknown) {
  world w;
  auto id = w.create().id;
  id.bytes[31] ^= 1;
  EXPECT_EQ(w.verdict_of(id), unknown);
  EXPECT_EQ(reason_of(unknown), invalid_reason::not_found);
  EXPECT_EQ(error_of(unknown), error_code::SESSION_NOT_FOUND);
}

TEST(judging, another_address_is_a_mismatch) {
  world w;
  const auto s = w.create();
  EXPECT_EQ(w.judge(s.id, elsewhere()).verdict, ip_mismatch);
  EXPECT_EQ(reason_of(ip_mismatch), invalid_reason::ip_mismatch);
  EXPECT_EQ(error_of(ip_mismatch), error_code::SESSION_IP_MISMATCH);
}

TEST(judging, the_address_is_judged_before_the_device) {
  world w;
  const auto s = w.create();
  EXPECT_EQ(w.judge(s.id, context_of("198.51.100.9", "browser/2")).verdict, ip_mismatch);
}

TEST(judging, each_enforced_field_that_changes_is_a_mismatch) {
  world w;
  const auto s = w.create();
  for (std::size_t i = 0; i < 4; ++i) {
    const auto field = static_cast<context_field>(i);
    EXPECT_EQ(w.judge(s.id, with_field(w.home, field, "other")).verdict, fingerprint_mismatch)
        << context_field_names[i];
    EXPECT_EQ(w.judge(s.id, with_field(w.home, field, "")).verdict, fingerprint_mismatch)
        << context_field_names[i] << " absent";
  }
}

TEST(judging, a_field_absent_at_creation_is_not_compared_later) {
  world w;
  auto command = w.creation();
  command.context = with_field(w.home, context_field::accept_language, "");
  const auto s = w.create(command);
  EXPECT_EQ(w.judge(s.id, w.home).verdict, valid);
  EXPECT_EQ(w.judge(s.id, with_field(w.home, context_field::accept_language, "de")).verdict, valid);
}

TEST(judging, fields_that_no_policy_looks_at_are_free) {
  world w;
  auto command = w.creation();
  command.context = with_field(w.home, context_field::ja3, "a");
  const auto s = w.create(command);
  EXPECT_TRUE(w.judge(s.id, with_field(w.home, context_field::ja3, "b")).verdict == valid);
}

TEST(judging, observed_and_challenged_fields_are_signals_and_stay_valid) {
  world w;
  w.policies.session.challenged = bit(context_field::ja3);
  auto command = w.creation();
  command.context =
      with_field(with_field(w.home, context_field::ja4, "a"), context_field::ja3, "x");
  const auto s = w.create(command);
  auto other = command.context;
  other.fields[static_cast<std::size_t>(context_field::ja4)] = "b";
  auto judged = w.judge(s.id, other);
  EXPECT_EQ(judged.verdict, valid);
  EXPECT_EQ(judged.observed, bit(context_field::ja4));
  EXPECT_EQ(judged.challenged, 0);
  EXPECT_FALSE(judged.remember);
  other.fields[static_cast<std::size_t>(context_field::ja3)] = "y";
  judged = w.judge(s.id, other);
  EXPECT_EQ(judged.challenged, bit(context_field::ja3));
  EXPECT_EQ(judged.observed, bit(context_field::ja4));
}

TEST(judging, a_mismatch_of_an_enforced_field_leaves_no_signals) {
  world w;
  auto command = w.creation();
  command.context = with_field(w.home, context_field::ja4, "a");
  const auto s = w.create(command);
  const auto judged = w.judge(s.id, with_field(with_field(w.home, context_field::ja4, "b"),
                                               context_field::accept, "other"));
  EXPECT_EQ(judged.verdict, fingerprint_mismatch);
  EXPECT_EQ(judged.observed, 0);
}

TEST(judging, the_address_can_be_observed_challenged_or_ignored) {
  world w;
  const auto s = w.create();
  w.policies.session.ip_binding = ip_binding::observe;
  auto judged = w.judge(s.id, elsewhere());
  EXPECT_EQ(judged.verdict, valid);
  EXPECT_EQ(judged.observed, ip_bit);
  w.policies.session.ip_binding = ip_binding::challenge;
  judged = w.judge(s.id, elsewhere());
  EXPECT_EQ(judged.verdict, valid);
  EXPECT_EQ(judged.challenged, ip_bit);
  w.policies.session.ip_binding = ip_binding::off;
  judged = w.judge(s.id, elsewhere());
  EXPECT_EQ(judged.verdict, valid);
  EXPECT_EQ(judged.observed | judged.challenged, 0);
  EXPECT_TRUE(judged.remember);
}

TEST(judging, prefixes_say_how_much_of_an_address_must_agree) {
  world w;
  const auto s = w.create();  // 192.0.2.7
  w.policies.session.ip_prefix_v4 = 24;
  EXPECT_EQ(w.judge(s.id, context_of("192.0.2.255")).verdict, valid);
  EXPECT_EQ(w.judge(s.id, context_of("192.0.3.7")).verdict, ip_mismatch);
  w.policies.session.ip_prefix_v4 = 31;
  EXPECT_EQ(w.judge(s.id, context_of("192.0.2.6")).verdict, valid);
  EXPECT_EQ(w.judge(s.id, context_of("192.0.2.8")).verdict, ip_mismatch);
}

TEST(judging, ipv6_is_compared_by_its_own_prefix_and_never_agrees_with_ipv4) {
  world w;
  auto command = w.creation();
  command.context = context_of("2001:db8:1:2:3:4:5:6");
  const auto s = w.create(command);
  EXPECT_EQ(w.judge(s.id, context_of("2001:db8:1:2:ffff::1")).verdict, valid);
  EXPECT_EQ(w.judge(s.id, context_of("2001:db8:1:3:3:4:5:6")).verdict, ip_mismatch);
  w.policies.session.ip_prefix_v4 = 0;
  w.policies.session.ip_prefix_v6 = 0;
  EXPECT_EQ(w.judge(s.id, context_of("192.0.2.7")).verdict, ip_mismatch);
}

TEST(judging, an_ipv4_mapped_address_equals_its_ipv4) {
  world w;
  const auto s = w.create();
  EXPECT_EQ(w.judge(s.id, context_of("::ffff:192.0.2.7")).verdict, valid);
}

TEST(judging, a_locked_user_is_locked_whatever_the_context_says) {
  world w;
  const auto s = w.create();
  w.state.user(w.user()).locked_until_ms = w.now_ms + 1;
  EXPECT_EQ(w.judge(s.id).verdict, locked);
  EXPECT_EQ(w.judge(s.id, elsewhere()).verdict, locked);
  EXPECT_EQ(w.judge(s.id, other_device()).verdict, locked);
  w.now_ms += 1;
  EXPECT_EQ(w.judge(s.id).verdict, valid);
}

TEST(judging, a_locked_source_is_locked_alone) {
  world w;
  const auto s = w.create();
  EXPECT_EQ(w.judge(s.id, w.home, true).verdict, locked);
  EXPECT_EQ(w.judge(s.id, w.home, false).verdict, valid);
}

TEST(judging, what_is_over_wins_over_a_lock) {
  world w;
  const auto expired_one = w.create();
  const auto revoked_one = w.create();
  w.revoke(revoked_one.handle);
  w.now_ms += 900'000;
  w.state.user(w.user()).locked_until_ms = w.now_ms + 1000;
  EXPECT_EQ(w.verdict_of(expired_one.id), expired);
  EXPECT_EQ(w.verdict_of(revoked_one.id), revoked);
}

TEST(judging, an_evicted_session_reports_revoked) {
  world w;
  const auto s = w.create();
  w.about_session(s.handle, session_evicted{});
  EXPECT_EQ(w.verdict_of(s.id), revoked);
  EXPECT_EQ(w.state.counts().evicted, 1U);
}

TEST(judging, an_ended_session_keeps_its_reason_until_900_s_past_its_absolute_expiry) {
  world w;
  const auto gone = w.create();
  w.revoke(gone.handle);
  const auto quiet = w.create();
  w.now_ms = world::start_ms + 43'200'000 + 900'000 - 1;
  EXPECT_EQ(w.verdict_of(gone.id), revoked);
  EXPECT_EQ(w.verdict_of(quiet.id), expired);
  w.now_ms += 1;
  EXPECT_EQ(w.verdict_of(gone.id), unknown);
  EXPECT_EQ(w.verdict_of(quiet.id), unknown);
}

TEST(judging, a_user_whose_row_is_not_open_cannot_be_judged_yet) {
  world w;
  const auto s = w.create();
  w.state.user(w.user()).who = nullptr;
  EXPECT_EQ(w.verdict_of(s.id), unopened);
}

TEST(judging, a_session_whose_address_is_still_sealed_cannot_be_judged_yet) {
  world w;
  const auto s = w.create();
  w.state.at(w.state.find(s.handle)).ip_known = false;
  EXPECT_EQ(w.verdict_of(s.id), unopened);
}

TEST(judging, idle_and_absolute_expiry_are_exact_and_need_no_sweep) {
  world w;
  const auto s = w.create();
  w.now_ms += 899'999;
  EXPECT_EQ(w.verdict_of(s.id), valid);
  w.now_ms += 1;
  EXPECT_EQ(w.verdict_of(s.id), expired);
}

TEST(judging, activity_extends_idle_expiry_but_never_the_absolute_one) {
  world w;
  const auto s = w.create();
  const auto end = world::start_ms + 43'200'000;
  while (w.now_ms + 600'000 < end) {
    w.now_ms += 600'000;
    ASSERT_EQ(w.use(s.id).verdict, valid);
  }
  w.now_ms = end - 1;
  EXPECT_EQ(w.use(s.id).verdict, valid);
  w.now_ms = end;
  EXPECT_EQ(w.verdict_of(s.id), expired);
}

TEST(judging, activity_moves_only_when_a_granularity_newer) {
  world w;
  const auto s = w.create();
  w.now_ms += 59'999;
  EXPECT_FALSE(w.judge(s.id).touch_due);
  w.now_ms += 1;
  EXPECT_TRUE(w.judge(s.id).touch_due);
}

TEST(judging, the_granularity_is_never_more_than_half_of_the_idle_ttl) {
  world w;
  auto command = w.creation();
  command.idle_ttl_s = 10;
  const auto s = w.create(command);
  w.now_ms += 4'999;
  EXPECT_FALSE(w.judge(s.id).touch_due);
  w.now_ms += 1;
  EXPECT_TRUE(w.judge(s.id).touch_due);
}

TEST(judging, a_tenants_own_policy_decides_for_its_sessions_only) {
  world w;
  w.policies.tenants["strict"] = w.policies.session;
  w.policies.session.ip_binding = ip_binding::off;
  const auto strict = w.create("alice", "strict");
  const auto lax = w.create("alice", "acme");
  EXPECT_EQ(w.judge(strict.id, elsewhere()).verdict, ip_mismatch);
  EXPECT_EQ(w.judge(lax.id, elsewhere()).verdict, valid);
}

TEST(memo, a_remembered_context_spares_no_other_context_its_check) {
  world w;
  const auto s = w.create();
  EXPECT_TRUE(w.use(s.id).remember);
  EXPECT_FALSE(w.use(s.id).remember);  // it is the one remembered
  EXPECT_EQ(w.judge(s.id, elsewhere()).verdict, ip_mismatch);
  for (std::size_t i = 0; i < 4; ++i)
    EXPECT_EQ(w.judge(s.id, with_field(w.home, static_cast<context_field>(i), "other")).verdict,
              fingerprint_mismatch);
}

TEST(memo, a_stricter_policy_judges_a_remembered_context_again) {
  world w;
  w.policies.session.ip_binding = ip_binding::off;
  const auto s = w.create();
  EXPECT_EQ(w.use(s.id, elsewhere()).verdict, valid);
  EXPECT_TRUE(w.state.at(w.state.find(s.handle)).memo_known);
  w.policies.session.ip_binding = ip_binding::enforce;
  w.change_policy();
  EXPECT_EQ(w.judge(s.id, elsewhere()).verdict, ip_mismatch);
}

TEST(memo, signals_are_found_at_every_use) {
  world w;
  w.policies.session.ip_binding = ip_binding::observe;
  const auto s = w.create();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(w.use(s.id, elsewhere()).observed, ip_bit);
  EXPECT_EQ(w.use(s.id).observed, 0);
  EXPECT_EQ(w.use(s.id, elsewhere()).observed, ip_bit);
}

TEST(memo, differs_with_the_key_the_address_and_each_field) {
  const auto key = make_memo_key(counted_random());
  auto base = context_of("192.0.2.7");
  std::set<byte_array<16>> seen{context_memo(key, base)};
  const auto other_key = make_memo_key(counted_random(2));
  EXPECT_TRUE(seen.insert(context_memo(other_key, base)).second);
  EXPECT_TRUE(seen.insert(context_memo(key, context_of("192.0.2.8"))).second);
  for (std::size_t i = 0; i < context_field_count; ++i) {
    auto changed = base;
    changed.fields[i] = "something else";
    EXPECT_TRUE(seen.insert(context_memo(key, changed)).second) << context_field_names[i];
    changed.fields[i] = "";
    if (!base.fields[i].empty()) {
      EXPECT_TRUE(seen.insert(context_memo(key, changed)).second) << context_field_names[i];
    }
  }
}

TEST(memo, contexts_with_shifted_field_boundaries_differ) {
  const auto key = make_memo_key(counted_random());
  auto a = context_of("192.0.2.7", "ab", "c");
  auto b = context_of("192.0.2.7", "a", "bc");
  auto c = context_of("192.0.2.7", "", "abc");
  EXPECT_NE(context_memo(key, a), context_memo(key, b));
  EXPECT_NE(context_memo(key, b), context_memo(key, c));
  EXPECT_NE(context_memo(key, a), context_memo(key, c));
}

TEST(memo, zeros_at_the_end_of_a_field_count) {
  const auto key = make_memo_key(counted_random());
  const std::string filler(17, '\0');
  std::set<byte_array<16>> seen;
  for (std::size_t size = 0; size <= filler.size(); ++size)
    EXPECT_TRUE(seen.insert(context_memo(key, context_of("192.0.2.7",
                                                         std::string_view(filler.data(), size))))
                    .second)
        << size;
}

TEST(memo, is_NH_of_RFC_4418) {
  auto key = make_memo_key(counted_random());
  context only_ip;
  only_ip.ip = *parse_ip("2001:db8::7");
  std::array<std::uint64_t, 2> words;
  std::memcpy(words.data(), only_ip.ip.bytes.data(), sizeof words);
  __extension__ using uint128 = unsigned __int128;
  // The second block has the sizes, all zero.
  const uint128 expected = uint128{words[0] + key.words[0]} * (words[1] + key.words[1]) +
                           uint128{key.words[2]} * key.words[3];
  byte_array<16> bytes;
  std::memcpy(bytes.data(), &expected, sizeof expected);
  EXPECT_EQ(context_memo(key, only_ip), bytes);
}

TEST(memo, long_fields_count_to_their_last_byte) {
  const auto key = make_memo_key(counted_random());
  const std::string filler(1023, 'x');
  for (std::size_t field = 0; field < context_field_count; ++field) {
    context a = context_of("192.0.2.7");
    for (auto& each : a.fields) each = filler;
    auto b = a;
    const auto one = filler + "a", two = filler + "b";
    a.fields[field] = one;
    b.fields[field] = two;
    EXPECT_NE(context_memo(key, a), context_memo(key, b)) << field;
    EXPECT_EQ(context_memo(key, a), context_memo(key, a));
  }
}

TEST(errors, every_verdict_that_is_not_valid_has_its_reason_and_error) {
  EXPECT_EQ(reason_of(expired), invalid_reason::expired);
  EXPECT_EQ(reason_of(revoked), invalid_reason::revoked);
  EXPECT_EQ(reason_of(reused), invalid_reason::revoked);
  EXPECT_EQ(reason_of(locked), invalid_reason::locked_out);
  EXPECT_EQ(reason_of(fingerprint_mismatch), invalid_reason::fingerprint_mismatch);
  EXPECT_EQ(error_of(expired), error_code::SESSION_EXPIRED);
  EXPECT_EQ(error_of(revoked), error_code::SESSION_REVOKED);
  EXPECT_EQ(error_of(reused), error_code::SESSION_REUSE_DETECTED);
  EXPECT_EQ(error_of(locked), error_code::USER_LOCKED_OUT);
  EXPECT_EQ(error_of(fingerprint_mismatch), error_code::SESSION_FINGERPRINT_MISMATCH);
}

}  // namespace
}  // namespace portcullis::core

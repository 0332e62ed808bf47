// The key file, the ring's rotation, and who users are.
#include "world.hpp"

namespace portcullis::core {
namespace {

TEST(key_file, is_read_back_as_it_was_written) {
  auto random = counted_random();
  auto keys = generate_keyring(random, 1000);
  keys = *rotate_keyring(keys, false, random, 2000);
  keys = *rotate_keyring(keys, false, random, 3000);
  const auto text = serialize(keys);
  const auto again = parse_keyring(text);
  ASSERT_TRUE(again);
  EXPECT_EQ(serialize(*again), text);
  ASSERT_EQ(again->ring.size(), 3U);
  EXPECT_EQ(again->ring[0].id, 3U);
  EXPECT_EQ(again->ring[0].created_at_ms, 3000);
  EXPECT_EQ(again->ring[2].id, 1U);
  EXPECT_EQ(again->ring[2].secret, keys.ring[2].secret);
  EXPECT_EQ(again->routing, keys.routing);
  EXPECT_EQ(again->lookup, keys.lookup);
  EXPECT_EQ(again->source, keys.source);
  EXPECT_EQ(again->chain, keys.chain);
}

TEST(key_file, anything_else_is_refused_with_its_rule) {
  auto random = counted_random();
  auto keys = generate_keyring(random, 1000);
  const auto good = serialize(*rotate_keyring(keys, false, random, 2000));
  const auto replaced = [&](std::string_view from, std::string_view to) {
    auto text = good;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  const auto refused = [](const std::string& text) {
    const auto parsed = parse_keyring(text);
    if (parsed) return std::string("accepted");
    EXPECT_EQ(parsed.error().code, error_code::KEYRING_MISMATCH);
    return std::string(parsed.error().rule);
  };
  EXPECT_EQ(refused(""), "routing_lookup_source_chain");
  EXPECT_EQ(refused(replaced("chain ", "chains ")), "unknown_line");
  EXPECT_EQ(refused(replaced("chain ", "lookup ")), "each_once");
  EXPECT_EQ(refused(replaced("chain ", "chain 0")), "NAME 64_HEX");
  EXPECT_EQ(refused(replaced("ring 2", "ring 0")), "ring ID MADE_AT_MS 64_HEX");
  EXPECT_EQ(refused(replaced("ring 2", "ring 1")), "newest_first");
  EXPECT_EQ(refused(replaced("ring 2 2000", "ring 2 x")), "ring ID MADE_AT_MS 64_HEX");
  EXPECT_EQ(refused(good + "ring 1 1 " + std::string(64, 'a') + "\n"), "newest_first");
  auto no_ring = good.substr(0, good.find("\nring ") + 1);
  EXPECT_EQ(refused(no_ring), "1_to_3_ring_keys");
  for (int id = 9; id > 5; --id)
    no_ring += "ring " + std::to_string(id) + " 1 " + std::string(64, 'a') + "\n";
  EXPECT_EQ(refused(no_ring), "1_to_3_ring_keys");
  auto upper = good;
  upper[upper.find("routing ") + 8] = 'A';
  EXPECT_EQ(refused(upper), "NAME 64_HEX");
}

TEST(key_ring, rotation_puts_a_new_key_in_front_and_drops_the_fourth) {
  auto random = counted_random();
  auto keys = generate_keyring(random, 1);
  for (std::uint32_t id = 2; id <= 5; ++id) {
    keys = *rotate_keyring(keys, false, random, id);
    EXPECT_EQ(keys.ring.front().id, id);
    EXPECT_LE(keys.ring.size(), limits::key_ring_max);
  }
  EXPECT_EQ(keys.ring.back().id, 3U);
}

TEST(key_ring, rotation_is_refused_while_the_oldest_of_three_is_in_use) {
  auto random = counted_random();
  auto keys = generate_keyring(random, 1);
  keys = *rotate_keyring(keys, true, random, 2);  // nothing is dropped yet
  keys = *rotate_keyring(keys, true, random, 3);
  const auto refused = rotate_keyring(keys, true, random, 4);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, error_code::KEYRING_MISMATCH);
  EXPECT_EQ(refused.error().rule, "oldest_key_in_use");
  EXPECT_TRUE(rotate_keyring(keys, false, random, 4));
}

TEST(key_ring, the_check_value_tells_key_files_apart_and_survives_rotation) {
  auto random = counted_random();
  const auto a = generate_keyring(random, 1), b = generate_keyring(random, 1);
  EXPECT_NE(key_material(a).check_value(), key_material(b).check_value());
  EXPECT_EQ(key_material(a).check_value(),
            key_material(*rotate_keyring(a, false, random, 2)).check_value());
}

TEST(key_ring, ids_made_under_older_keys_are_found_and_rekeyed_when_used) {
  world w;
  const auto s = w.create();
  w.rotate_keys();
  w.rotate_keys();
  const auto judged = w.judge(s.id);
  EXPECT_EQ(judged.verdict, verdict::valid);
  EXPECT_EQ(judged.ring_key, 1U);
  EXPECT_TRUE(judged.rekey_due);
  w.use(s.id);
  EXPECT_EQ(w.log.back().type(), event_type::session_rekeyed);
  EXPECT_FALSE(w.judge(s.id).rekey_due);
  EXPECT_EQ(w.judge(s.id).ring_key, 3U);
  w.rotate_keys();  // drops key 1
  EXPECT_EQ(w.verdict_of(s.id), verdict::valid);
}

TEST(key_ring, an_id_under_a_key_that_was_dropped_is_unknown) {
  world w;
  const auto s = w.create();
  for (int i = 0; i < 3; ++i) w.rotate_keys();
  EXPECT_EQ(w.verdict_of(s.id), verdict::unknown);
}

TEST(key_ring, grace_and_data_go_on_over_a_rotation_of_the_ring) {
  world w;
  auto command = w.creation();
  command.data = "{\"a\":1}";
  const auto s = w.create(command);
  const auto next = w.rotate(s.id);
  w.rotate_keys();
  EXPECT_EQ(w.verdict_of(s.id), verdict::valid);
  EXPECT_EQ(w.rotate(s.id), next);
  EXPECT_EQ(w.data(s.id), "{\"a\":1}");
  w.use(next);  // rekeyed
  EXPECT_EQ(w.rotate(s.id), next);
  EXPECT_EQ(w.data(next), "{\"a\":1}");
  const auto third = w.rotate(next);
  EXPECT_EQ(w.verdict_of(s.id), verdict::revoked);
  EXPECT_EQ(w.data(next), "{\"a\":1}");
  EXPECT_EQ(w.data(third), "{\"a\":1}");
}

TEST(key_ring, a_rekeying_that_comes_late_changes_nothing) {
  world w;
  const auto s = w.create();
  w.rotate_keys();
  std::vector<event> events;
  consequences_of_use(w.input(), w.judge(s.id), s.id, events);
  ASSERT_EQ(events.size(), 1U);
  const auto next = w.rotate(s.id, false);
  w.apply(events[0]);
  EXPECT_EQ(w.verdict_of(next), verdict::valid);
  EXPECT_EQ(w.verdict_of(s.id), verdict::reused);
}

TEST(users, a_row_opens_to_who_it_was_made_for) {
  world w;
  const auto slot = w.user("zoë", "acme");
  const auto opened = open_user(w.rows.back(), w.keys);
  ASSERT_NE(opened, nullptr);
  EXPECT_EQ(opened->user_id, "zoë");
  EXPECT_EQ(w.rows.back().tenant_id, "acme");
  EXPECT_EQ(w.rows.back().subject, w.state.user(slot).subject);
  EXPECT_EQ(opened->key, w.state.user(slot).who->key);
  EXPECT_EQ(w.rows.back().wrapped.find("zo"), std::string::npos);
}

TEST(users, rows_are_wrapped_again_by_the_newest_key_and_outlive_the_old_ones) {
  world w;
  w.user();
  const auto before = open_user(w.rows[0], w.keys);
  for (int i = 0; i < 3; ++i) {
    w.rotate_keys();
    w.rows[0] = wrap_user(*open_user(w.rows[0], w.keys), w.rows[0], w.keys, w.random);
    EXPECT_EQ(w.rows[0].ring_key, w.keys.newest().id);
  }
  const auto after = open_user(w.rows[0], w.keys);
  ASSERT_NE(after, nullptr);
  EXPECT_EQ(after->key, before->key);
  EXPECT_EQ(after->user_id, before->user_id);
}

TEST(users, a_row_of_another_ring_or_a_changed_one_does_not_open) {
  world w, other;
  w.user();
  other.random = counted_random(99);
  const key_material strange(generate_keyring(other.random, 1));
  EXPECT_EQ(open_user(w.rows[0], strange), nullptr);
  auto changed = w.rows[0];
  changed.wrapped.back() = static_cast<char>(changed.wrapped.back() ^ 1);
  EXPECT_EQ(open_user(changed, w.keys), nullptr);
  changed = w.rows[0];
  changed.ring_key = 77;
  EXPECT_EQ(open_user(changed, w.keys), nullptr);
}

TEST(users, the_directory_opens_what_a_dropped_key_still_wraps_before_it_is_gone) {
  world w;
  w.user();
  directory_state loaded;
  loaded.load_user(0, w.rows[0].ring_key, w.rows[0].wrapped);
  const auto before = w.keys;
  for (int i = 0; i < 3; ++i) w.rotate_keys();
  loaded.change_keys(before, w.keys);
  ASSERT_NE(loaded.identity(0, w.keys), nullptr);
  EXPECT_EQ(loaded.identity(0, w.keys)->user_id, "alice");
}

TEST(identity, names_with_shifted_boundaries_are_other_users) {
  world w;
  EXPECT_NE(w.keys.lookup("ab", "c"), w.keys.lookup("a", "bc"));
  EXPECT_NE(w.keys.lookup("abc", ""), w.keys.lookup("", "abc"));
  EXPECT_NE(w.keys.find_tag("ab", "c"), w.keys.find_tag("a", "bc"));
  bool routed_apart = false;
  for (int i = 0; i < 32; ++i) {
    const auto name = std::to_string(i);
    routed_apart |= w.keys.routing_byte("a" + name, "c") != w.keys.routing_byte("a", name + "c");
  }
  EXPECT_TRUE(routed_apart);
}

TEST(identity, fields_with_shifted_boundaries_or_places_hash_apart) {
  world w;
  const auto& who = *w.state.user(w.user()).who;
  context a, b;
  a.fields[0] = "same";
  b.fields[1] = "same";
  EXPECT_NE(hash_fields(who, a).hashes[0], hash_fields(who, b).hashes[1]);
  EXPECT_EQ(hash_fields(who, a).present, bit(context_field::user_agent));
  const auto& bob = *w.state.user(w.user("bob")).who;
  EXPECT_NE(hash_fields(who, a).hashes[0], hash_fields(bob, a).hashes[0]);
}

TEST(identity, kept_hashes_are_halves_of_the_present_fields) {
  world w;
  const auto& who = *w.state.user(w.user()).who;
  for (unsigned set = 0; set < 64; ++set) {
    context c;
    for (std::size_t i = 0; i < context_field_count; ++i)
      if ((set >> i & 1) != 0) c.fields[i] = context_field_names[i];
    const auto fields = hash_fields(who, c);
    EXPECT_EQ(fields.present, set);
    const auto kept = keep_hashes(fields);
    for (std::size_t i = 0; i < context_field_count; ++i)
      EXPECT_EQ(kept[i], (set >> i & 1) != 0 ? cut<8>(fields.hashes[i]) : byte_array<8>{});
  }
}

TEST(identity, a_source_is_an_ipv4_address_or_an_ipv6_64) {
  world w;
  const auto source = [&](std::string_view ip) { return w.keys.source(*parse_ip(ip)); };
  EXPECT_NE(source("192.0.2.1"), source("192.0.2.2"));
  EXPECT_EQ(source("192.0.2.1"), source("::ffff:192.0.2.1"));
  EXPECT_EQ(source("2001:db8::1"), source("2001:db8::ffff:1"));
  EXPECT_NE(source("2001:db8::1"), source("2001:db8:0:1::1"));
  EXPECT_NE(source("::1"), source("0.0.0.0"));
}

TEST(identity, what_is_shown_is_opened_under_its_own_user_only) {
  world w;
  const auto& alice = *w.state.user(w.user()).who;
  const auto& bob = *w.state.user(w.user("bob")).who;
  const auto sealed = seal_shown(alice, w.home.ip, "browser/1", w.random);
  const auto shown = open_shown(alice, sealed);
  ASSERT_TRUE(shown);
  EXPECT_EQ(shown->ip, w.home.ip);
  EXPECT_EQ(shown->user_agent, "browser/1");
  EXPECT_FALSE(open_shown(bob, sealed));
  EXPECT_FALSE(open_ip(alice, sealed));  // sealed for another purpose
  const auto address = seal_ip(alice, session_handle{}, w.home.ip);
  EXPECT_EQ(open_ip(alice, address), w.home.ip);
  EXPECT_FALSE(open_ip(bob, address));
}

TEST(identity, nothing_of_a_session_stands_in_clear_in_its_event) {
  world w;
  auto command = w.creation("alice@example.org");
  command.data = "{\"secret\":\"value\"}";
  const auto s = w.create(command);
  const auto& body = std::get<session_created>(w.log.back().body);
  const auto holds = [](std::string_view where, std::string_view what) {
    return where.find(what) != std::string_view::npos;
  };
  for (const std::string* sealed : {&body.ip, &body.data, &std::as_const(w.log.back().sealed)}) {
    EXPECT_FALSE(holds(*sealed, "secret"));
    EXPECT_FALSE(holds(*sealed, "browser"));
    EXPECT_FALSE(holds(*sealed, as_text(w.home.ip.bytes)));
    EXPECT_FALSE(holds(*sealed, as_text(s.id.bytes)));
  }
  EXPECT_NE(body.id.bytes, s.id.bytes);
}

}  // namespace
}  // namespace portcullis::core

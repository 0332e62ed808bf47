#include "core/fleet/entry.hpp"

#include <gtest/gtest.h>

#include "tests/core/event/same_event.hpp"
#include "tests/core/event/samples.hpp"

namespace portcullis::core {
namespace {

keyring ring_of(std::uint8_t first) {
  std::uint8_t next = first;
  return generate_keyring(
      [&](std::span<std::uint8_t> out) {
        for (auto& each : out) each = next++;
      },
      0);
}

struct entries : testing::Test {
  key_material material{ring_of(1)};
  fleet_keys keys{material};
  entry_name name{{1, 2, 3, 4, 5, 6, 7, 8}, 42};
  aead_key key = keys.of_writer(name.writer);
};

TEST_F(entries, come_back_as_they_were_sealed_whatever_they_tell) {
  for (std::size_t type = 0; type < event_type_count; ++type) {
    auto what = samples::whole(static_cast<event_type>(type), 0);
    what.session_seq = 77;
    if (auto* created = std::get_if<session_created>(&what.body)) {
      created->find_ip = 5;
      created->find_user_agent = 6;
    }
    if (auto* touched = std::get_if<session_touched>(&what.body))
      for (auto& each : touched->touches) each.session_seq = 8;
    if (auto* revoked = std::get_if<session_revoked>(&what.body)) revoked->session_seqs = {9, 10};
    if (auto* forgotten = std::get_if<user_forgotten>(&what.body)) forgotten->session_seqs = {11};
    const std::vector<event> given{what, what};
    const auto sealed = seal_entry(given, "node-7", name, {"tags", "subject"}, key);
    const auto opened = open_entry(sealed, 2, 100, name, {"tags", "subject"}, key);
    ASSERT_TRUE(opened) << to_string(what.type());
    ASSERT_EQ(opened->size(), 2u);
    auto second = (*opened)[1];
    EXPECT_EQ(second.seq, 101u);
    EXPECT_EQ(second.node, "node-7");
    EXPECT_EQ(second.session_seq,
              what.type() == event_type::session_created ? 101u : what.session_seq);
    if (const auto* created = std::get_if<session_created>(&second.body)) {
      EXPECT_EQ(created->find_ip, 5u);
      EXPECT_EQ(created->find_user_agent, 6u);
    }
    if (const auto* touched = std::get_if<session_touched>(&second.body)) {
      EXPECT_EQ(touched->touches.back().session_seq, 8u);
    }
    if (const auto* revoked = std::get_if<session_revoked>(&second.body)) {
      EXPECT_EQ(revoked->session_seqs, (std::vector<std::uint64_t>{9, 10}));
    }
    second.seq = what.seq;
    second.at_ms = what.at_ms;
    EXPECT_TRUE(same_event(what, second)) << to_string(what.type());
  }
}

TEST_F(entries, are_believed_under_their_own_name_and_outside_alone) {
  const std::vector<event> given{samples::whole(event_type::lockout_cleared, 0)};
  const auto sealed = seal_entry(given, "n", name, {"tags", "subject"}, key);
  const auto refused = [&](const std::string& bytes, std::uint64_t count, const entry_name& as,
                           const entry_outside& outside, const aead_key& with) {
    const auto opened = open_entry(bytes, count, 1, as, outside, with);
    return !opened && opened.error().code == error_code::STORE_INTEGRITY;
  };
  EXPECT_FALSE(refused(sealed, 1, name, {"tags", "subject"}, key));
  auto other = name;
  ++other.number;
  EXPECT_TRUE(refused(sealed, 1, other, {"tags", "subject"}, key));
  EXPECT_TRUE(refused(sealed, 2, name, {"tags", "subject"}, key));
  EXPECT_TRUE(refused(sealed, 1, name, {"tags", "subject2"}, key));
  EXPECT_TRUE(refused(sealed, 1, name, {"tagss", "ubject"}, key)) << "where one ends counts";
  EXPECT_TRUE(refused(sealed, 1, name, {"tags", "subject"}, keys.of_writer({9})));
  const fleet_keys strangers{key_material(ring_of(99))};
  EXPECT_TRUE(refused(sealed, 1, name, {"tags", "subject"}, strangers.of_writer(name.writer)));
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    auto changed = sealed;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    ASSERT_TRUE(refused(changed, 1, name, {"tags", "subject"}, key)) << i;
    ASSERT_TRUE(refused(sealed.substr(0, i), 1, name, {"tags", "subject"}, key)) << i;
  }
}

TEST_F(entries, have_names_of_sixteen_bytes) {
  EXPECT_EQ(to_bytes(name).size(), 16u);
  EXPECT_EQ(parse_entry_name(to_bytes(name)), name);
  EXPECT_FALSE(parse_entry_name(to_bytes(name).substr(1)));
  EXPECT_FALSE(parse_entry_name(to_bytes(name) + "x"));
}

TEST_F(entries, are_tagged_the_same_by_every_node_of_a_key_file_and_by_no_other) {
  const fleet_keys again{key_material(ring_of(1))}, strangers{key_material(ring_of(2))};
  EXPECT_EQ(keys.of_tenant("acme"), again.of_tenant("acme"));
  EXPECT_NE(keys.of_tenant("acme"), strangers.of_tenant("acme"));
  EXPECT_NE(keys.of_tenant("acme"), keys.of_tenant("acm"));
  EXPECT_EQ(keys.of_alias({1}), again.of_alias({1}));
  EXPECT_NE(keys.of_alias({1}), keys.of_alias({2}));
  EXPECT_NE(keys.of_alias({1}), keys.of_user({1})) << "a tag is of one kind";
  EXPECT_NE(keys.of_breaker("a", "bc"), keys.of_breaker("ab", "c"));
  EXPECT_EQ(keys.check_value(), again.check_value());
  EXPECT_NE(keys.check_value(), strangers.check_value());
  EXPECT_EQ(to_bytes(std::vector<fleet_tag>{1, 2}).size(), 16u);
}

TEST(a_ring_of_nodes, goes_on_from_another_whose_newest_key_it_has) {
  std::uint8_t next = 100;
  const auto random = [&](std::span<std::uint8_t> out) {
    for (auto& each : out) each = next++;
  };
  const auto first = ring_of(1);
  const auto second = *rotate_keyring(first, false, random, 1);
  const auto third = *rotate_keyring(second, false, random, 2);
  const auto fourth = *rotate_keyring(third, false, random, 3);  // without the first
  const auto keys_of = [](const keyring& ring) { return fleet_keys(key_material(ring)); };
  const auto a = keys_of(first), b = keys_of(second), c = keys_of(third), d = keys_of(fourth);
  EXPECT_EQ(a.check_value(), d.check_value());
  EXPECT_NE(a.ring(), b.ring());
  EXPECT_EQ(b.ring(), keys_of(second).ring());
  EXPECT_TRUE(b.goes_on_from(a.ring()));
  EXPECT_TRUE(d.goes_on_from(b.ring()));
  EXPECT_TRUE(d.goes_on_from(c.ring()));
  EXPECT_FALSE(a.goes_on_from(b.ring())) << "it is older";
  EXPECT_FALSE(d.goes_on_from(a.ring())) << "it has dropped that key";
  EXPECT_FALSE(a.goes_on_from(""));
  auto other = *rotate_keyring(
      first, false,
      [](std::span<std::uint8_t> out) {
        for (auto& each : out) each = 9;
      },
      1);
  EXPECT_FALSE(keys_of(other).goes_on_from(b.ring())) << "another second key";
}

}  // namespace
}  // namespace portcullis::core

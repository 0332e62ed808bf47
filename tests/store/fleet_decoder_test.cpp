// What a reader of the log that nodes share believes.
#include <gtest/gtest.h>

#include "store/fleet/decoder.hpp"

namespace portcullis::store::fleet {
namespace {

using net::redis::reply;
using net::redis::reply_type;

reply text(std::string of) { return {reply_type::text, 0, std::move(of), {}}; }
reply list(std::vector<reply> of) { return {reply_type::array, 0, {}, std::move(of)}; }

struct a_reader : testing::Test {
  static core::keyring ring() {
    std::uint8_t next = 1;
    return core::generate_keyring(
        [&](std::span<std::uint8_t> out) {
          for (auto& each : out) each = next++;
        },
        0);
  }
  core::key_material material{ring()};
  core::fleet_keys keys{material};
  core::byte_array<8> writer{7};

  /// `follows`: the number of the entry before it.
  reply entry(std::uint64_t last, std::uint64_t number, std::uint64_t count = 1,
              std::uint64_t follows = 0) {
    const auto before = follows > 0 ? core::to_bytes({writer, follows}) : std::string();
    const core::entry_name name{writer, number};
    core::event what;
    what.decided_at_ms = 5;
    what.tenant_id = "acme";
    what.body = core::store_recovered{};
    const std::vector<core::event> events(count, what);
    auto sealed = core::seal_entry(events, "n", name, {}, keys.of_writer(writer));
    return list({text(std::to_string(last) + "-0"),
                 list({text("w"), text(core::to_bytes(name)), text("n"),
                       text(std::to_string(count)), text("k"), text(""), text("u"), text(""),
                       text("p"), text(before), text("b"), text(std::move(sealed))})});
  }
  static std::string rule(const core::result<decoder::undecided>& of) {
    if (of) return "taken";
    EXPECT_EQ(of.error().code, core::error_code::STORE_INTEGRITY);
    return std::string(of.error().rule);
  }
};

TEST_F(a_reader, takes_what_comes_next_and_nothing_else) {
  decoder read(keys, 10, {});
  EXPECT_EQ(rule(read.take(entry(12, 1))), "gap") << "eleven is missing";
  EXPECT_EQ(rule(read.take(entry(10, 1))), "gap") << "known";
  EXPECT_EQ(rule(read.take(entry(11, 2))), "taken");
  EXPECT_EQ(rule(read.take(entry(14, 3, 3, 2))), "taken");
  EXPECT_EQ(read.position(), 14u);
  EXPECT_EQ(rule(read.take(entry(15, 4, 2, 3))), "gap") << "fourteen was another one";
  EXPECT_EQ(rule(read.take(entry(15, 4, 1, 2))), "entries_are_lost") << "so it was";
  EXPECT_EQ(rule(read.take(entry(15, 4, 1, 3))), "taken");
}

TEST_F(a_reader, takes_no_entry_twice) {
  decoder read(keys, 0, {});
  EXPECT_EQ(rule(read.take(entry(1, 5))), "taken");
  EXPECT_EQ(rule(read.take(entry(2, 5, 1, 5))), "repeated");
  EXPECT_EQ(rule(read.take(entry(2, 4, 1, 5))), "repeated") << "from before it began to read";
  EXPECT_EQ(rule(read.take(entry(2, 9, 1, 5))), "taken");
  EXPECT_EQ(rule(read.take(entry(3, 7, 1, 9))), "taken") << "asked for earlier, appended later";
  EXPECT_EQ(rule(read.take(entry(4, 7, 1, 7))), "repeated");
}

TEST_F(a_reader, leaves_out_what_it_knows_of_an_entry_that_reaches_over_its_beginning) {
  decoder read(keys, 3, {});
  const auto taken = read.take(entry(5, 1, 4));  // events 2 to 5
  ASSERT_EQ(rule(taken), "taken");
  ASSERT_EQ(taken->what.events.size(), 2u);
  EXPECT_EQ(taken->what.events.front().seq, 4u);
  EXPECT_EQ(taken->what.first_seq(), 4u);
}

TEST_F(a_reader, does_not_open_what_is_at_hand) {
  decoder read(keys, 0, [](const core::entry_name& name) { return name.number == 1; });
  const auto own = read.take(entry(1, 1));
  ASSERT_EQ(rule(own), "taken");
  EXPECT_TRUE(own->what.own);
  EXPECT_TRUE(own->what.events.empty());
  const auto late = read.take(entry(2, 2, 1, 1));
  ASSERT_EQ(rule(late), "taken");
  EXPECT_FALSE(late->what.own);
  EXPECT_EQ(late->what.events.size(), 1u);
}

TEST_F(a_reader, believes_no_other_form) {
  const auto good = entry(1, 1);
  const auto refused = [&](const reply& element) {
    decoder read(keys, 0, {});
    return rule(read.take(element)) == "entry";
  };
  EXPECT_FALSE(refused(good));
  EXPECT_TRUE(refused({}));
  EXPECT_TRUE(refused(list({})));
  for (std::size_t i = 0; i < good.elements[1].elements.size(); ++i) {
    if (i == 9) continue;  // what came before it: nothing was taken that it could be compared with
    auto changed = good;
    changed.elements[1].elements[i].text += "x";
    EXPECT_TRUE(refused(changed)) << i;
    changed = good;
    changed.elements[1].elements[i] = {};
    EXPECT_TRUE(refused(changed)) << i;
  }
  for (const char* id : {"1", "1-1", "-0", "x-0", "1-0-0"}) {
    auto changed = good;
    changed.elements[0].text = id;
    EXPECT_TRUE(refused(changed)) << id;
  }
}

TEST_F(a_reader, believes_users_rows_of_nodes_alone) {
  core::user_row row;
  row.subject.bytes[0] = 1;
  row.lookup[0] = 2;
  row.tenant_id = "acme";
  row.ring_key = 3;
  row.wrapped = "wrapped";
  const auto sealed = seal_user(row, keys, [](std::span<std::uint8_t> out) {
    for (auto& each : out) each = 9;
  });
  const auto opened = open_user(row.subject, sealed, keys);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->lookup, row.lookup);
  EXPECT_EQ(opened->tenant_id, "acme");
  EXPECT_EQ(opened->ring_key, 3u);
  EXPECT_EQ(opened->wrapped, "wrapped");
  auto other = row.subject;
  other.bytes[0] = 2;
  EXPECT_FALSE(open_user(other, sealed, keys)) << "another user's";
  EXPECT_FALSE(open_user(row.subject, sealed.substr(1), keys));
  EXPECT_EQ(sealed.find("acme"), std::string::npos);
}

}  // namespace
}  // namespace portcullis::store::fleet

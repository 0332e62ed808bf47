// Rows as they stand in journals, a file a version of the events: whatever the codec becomes, it
// reads them. A line is type, tab, body. Version 1: before users were forgotten; 2: before aliases.
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "core/event/codec.hpp"
#include "same_event.hpp"
#include "samples.hpp"

namespace portcullis::core {
namespace {

/// How many types of events the file has.
std::size_t read_golden(const char* which, bool has_aliases = true) {
  std::ifstream file(std::string(PORTCULLIS_SOURCE_DIR "/tests/core/event/golden/") + which);
  EXPECT_TRUE(file.is_open());
  std::set<std::string> seen;
  std::string line;
  while (std::getline(file, line)) {
    const auto tab = line.find('\t');
    EXPECT_NE(tab, std::string::npos);
    const auto name = line.substr(0, tab);
    const auto type = parse_event_type(name);
    EXPECT_TRUE(type) << name;
    if (!type) continue;
    auto expected = samples::whole(*type);
    if (auto* created = std::get_if<session_created>(&expected.body); created && !has_aliases)
      created->alias.reset();
    const auto read = decode_body(expected.seq, expected.at_ms, name, expected.subject->bytes,
                                  std::string_view(line).substr(tab + 1), expected.sealed);
    EXPECT_TRUE(read) << line;
    EXPECT_TRUE(read && same_event(expected, *read)) << line;
    seen.insert(name);
  }
  return seen.size();
}

TEST(event_golden, stored_events_of_version_1_stay_readable) {
  EXPECT_EQ(read_golden("schema_1.tsv", false), 29U);
}

TEST(event_golden, stored_events_of_version_2_stay_readable) {
  EXPECT_EQ(read_golden("schema_2.tsv", false), event_type_count);
}

TEST(event_golden, stored_events_of_version_4_stay_readable) {
  EXPECT_EQ(read_golden("schema_4.tsv"), event_type_count);
}

}  // namespace
}  // namespace portcullis::core

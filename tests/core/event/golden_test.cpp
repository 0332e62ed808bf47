// Rows of schema 1 as they stand in journals: whatever the codec becomes, it reads them. A line is
// type, tab, body.
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "core/event/codec.hpp"
#include "same_event.hpp"
#include "samples.hpp"

namespace portcullis::core {
namespace {

TEST(event_golden, stored_events_of_schema_1_stay_readable) {
  std::ifstream file(PORTCULLIS_SOURCE_DIR "/tests/core/event/golden/schema_1.tsv");
  ASSERT_TRUE(file.is_open());
  std::set<std::string> seen;
  std::string line;
  while (std::getline(file, line)) {
    const auto tab = line.find('\t');
    ASSERT_NE(tab, std::string::npos);
    const auto name = line.substr(0, tab);
    const auto type = parse_event_type(name);
    ASSERT_TRUE(type) << name;
    const auto expected = samples::whole(*type);
    const auto read = decode_body(expected.seq, expected.at_ms, name, expected.subject->bytes,
                                  std::string_view(line).substr(tab + 1), expected.sealed);
    ASSERT_TRUE(read) << line;
    EXPECT_TRUE(same_event(expected, *read)) << line;
    seen.insert(name);
  }
  EXPECT_EQ(seen.size(), event_type_count);
}

}  // namespace
}  // namespace portcullis::core

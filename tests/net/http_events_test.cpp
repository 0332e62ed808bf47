// Server-sent events out of a subscription's lines, and the tickets that open a stream.
#include <gmock/gmock.h>

#include <string>

#include "net/http/event_stream.hpp"
#include "net/http/event_tickets.hpp"
#include "net/http/query.hpp"
#include "net/rpc/encode.hpp"

namespace portcullis::net {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string shown(std::string_view line, event_line kind) {
  core::byte_buffer out;
  EXPECT_EQ(write_event(out, line), kind) << line;
  return std::string(out.view());
}
std::string shown(const core::byte_buffer& line, event_line kind) {
  return shown(line.view(), kind);
}

TEST(an_event_stream, begins_with_where_it_begins) {
  EXPECT_EQ(shown(R"({"jsonrpc":"2.0","id":1,"result":{"subscription":"sub-1","cursor":"e7"}})",
                  event_line::begun),
            "retry: 2000\nid: e7\n\n");
}

TEST(an_event_stream, has_cursor_type_and_event) {
  core::byte_buffer line;
  encode_event(line, "sub-1", "e12", R"({"seq":12,"type":"session_created","user_id":"a}}b"})");
  EXPECT_EQ(shown(line, event_line::event),
            "id: e12\nevent: session_created\n"
            "data: {\"seq\":12,\"type\":\"session_created\",\"user_id\":\"a}}b\"}\n\n");
}

TEST(an_event_stream, shows_what_an_event_has_inside_of_its_data_only) {
  core::byte_buffer line;
  const std::string event =
      R"({"seq":1,"node":"n","type":"t","user_id":"\"cursor\":\"x\",\"type\":\"y\"}}"})";
  encode_event(line, "sub-1", "e1", event);
  EXPECT_EQ(shown(line, event_line::event), "id: e1\nevent: t\ndata: " + event + "\n\n");
}

TEST(an_event_stream, tells_of_a_cursor_without_an_event) {
  core::byte_buffer line;
  encode_event(line, "sub-1", "e12", {});
  EXPECT_EQ(shown(line, event_line::event), "id: e12\n\n");
}

TEST(an_event_stream, ends_with_the_error) {
  core::byte_buffer line;
  correlation_maker made_up(1);
  encode_events_ended(line, "sub-1", "e9", core::fail(core::error_code::SUBSCRIBER_TOO_SLOW),
                      {made_up, false});
  const auto text = shown(line, event_line::over);
  EXPECT_THAT(text, StartsWith("id: e9\nevent: error\ndata: {\"code\":6004,"));
  EXPECT_THAT(text, testing::EndsWith("\"}}\n\n"));
}

TEST(an_event_stream, has_nothing_of_what_is_no_line_of_a_subscription) {
  EXPECT_EQ(shown("{}", event_line::unknown), "");
  EXPECT_EQ(shown("", event_line::unknown), "");
}

event_tickets::secret some(int number) {
  event_tickets::secret made{};
  made[0] = static_cast<std::uint8_t>(number);
  made[1] = static_cast<std::uint8_t>(number >> 8);
  return made;
}

TEST(a_ticket, is_good_once_and_for_thirty_seconds) {
  event_tickets tickets;
  const core::caller ada, bob;
  const auto first = tickets.give(&ada, some(1), 0).value();
  const auto second = tickets.give(&bob, some(2), 0).value();
  EXPECT_EQ(first.size(), 43u);
  EXPECT_EQ(tickets.take(second, 29'999'999'999), &bob);
  EXPECT_EQ(tickets.take(second, 29'999'999'999), nullptr);
  EXPECT_EQ(tickets.take("", 1), nullptr);
  EXPECT_EQ(tickets.take(first, 30'000'000'000), nullptr);
}

TEST(tickets, are_bounded_until_old_ones_are_over) {
  event_tickets tickets;
  const core::caller ada;
  for (int i = 0; i < 1'024; ++i) ASSERT_TRUE(tickets.give(&ada, some(i), i));
  EXPECT_FALSE(tickets.give(&ada, some(2'000), 5));
  EXPECT_TRUE(tickets.give(&ada, some(2'000), 30'000'000'000));
}

TEST(a_query, has_names_and_values) {
  std::string_view query = "a=1&&b&c=x=y&=z&d=", name, value;
  std::string seen;
  while (take_parameter(query, name, value))
    seen.append(name).append("=").append(value).append(";");
  EXPECT_EQ(seen, "a=1;b=;c=x=y;=z;d=;");
  EXPECT_EQ(decode_parameter("a%2Cb+c%e2%82%AC"), "a,b c\xE2\x82\xAC");
  for (const auto* each : {"%", "%1", "%zz", "a%2"})
    EXPECT_EQ(decode_parameter(each), std::nullopt);
}

}  // namespace
}  // namespace portcullis::net

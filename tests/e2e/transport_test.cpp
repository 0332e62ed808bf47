// Bytes in, lines out: what protocol.md says of the transport.
#include "harness.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct transport : testing::Test {
  server node;
  line_client client = node.connect();
};

std::string ping(const std::string& id) {
  return R"({"jsonrpc":"2.0","id":)" + id + R"(,"method":"server.ping"})";
}
std::string pong(const std::string& id) {
  return R"({"jsonrpc":"2.0","result":{},"id":)" + id + "}";
}
json pong_of(const json& id) {
  return {{"jsonrpc", "2.0"}, {"result", json::object()}, {"id", id}};
}

TEST_F(transport, no_banner_comes_before_a_request) {
  EXPECT_FALSE(client.line(50ms));
  EXPECT_EQ(client.call("server.ping")["result"], json::object());
}

TEST_F(transport, ids_of_every_type_come_back_byte_for_byte) {
  for (const std::string id : {"1", "1.0", "1e3", "-0", "0.1E-7", "123456789012345678901234567890",
                               R"("")", R"("a")", R"("A\n\"\\\/")", R"("é😀")", R"("\u0000")"}) {
    client.send(ping(id) + "\n");
    const auto line = client.line();
    ASSERT_TRUE(line) << id;
    EXPECT_THAT(*line, HasSubstr("\"id\":" + id)) << "echoed as sent";
    EXPECT_EQ(json::parse(*line)["result"], json::object());
  }
}

TEST_F(transport, replies_are_compact_and_end_in_a_line_feed) {
  client.send(ping("7") + "\n");
  const auto line = client.line();
  ASSERT_TRUE(line);
  EXPECT_EQ(line->size(), pong("7").size()) << *line;
  EXPECT_EQ(line->find(' '), std::string::npos);
}

TEST_F(transport, values_may_follow_each_other_without_any_delimiter) {
  client.send(ping("1") + ping("2") + "  \t\r\n\n " + ping("3") + "[" + ping("4") + "]" +
              ping("5"));
  std::vector<json> got;
  for (int i = 0; i < 5; ++i) got.push_back(client.reply());
  EXPECT_THAT(got, testing::UnorderedElementsAre(pong_of(1), pong_of(2), pong_of(3),
                                                 json::array({pong_of(4)}), pong_of(5)));
}

}  // namespace
}  // namespace portcullis::e2e

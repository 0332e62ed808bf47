// The way of a validation through the codec allocates nothing once its buffers have their size.
#include <gmock/gmock.h>

#include <string>

#include "net/rpc/encode.hpp"
#include "tests/count_allocations.hpp"
#include "tests/net/codec_support.hpp"

namespace portcullis::net::test {
namespace {

/// Decodes `text` after a first round that sizes the buffers; the allocations of the second round.
std::size_t allocations_of(const std::string& text) {
  struct counter : message_visitor {
    std::size_t good = 0;
    void begin_batch(std::size_t) override {}
    void end_batch() override {}
    void on_request(const call_id&, core::request&) override { ++good; }
    void on_error(const call_id&, std::optional<core::method>, const core::error&,
                  std::string_view) override {}
  } visitor;
  framer framer;
  decoder decoder;
  std::size_t counted = 0;
  for (int round = 0; round < 2; ++round) {
    std::string bytes = text;
    const std::size_t before = allocations;
    const frame found = framer.next(bytes, false);
    decoder.decode({bytes.data() + found.begin, found.end - found.begin}, found.tape, visitor);
    counted = allocations - before;
  }
  EXPECT_EQ(visitor.good, 2U) << text;
  return counted;
}

TEST(allocation, is_counted_where_there_is_one) {
  EXPECT_GT(allocations_of(call_of("events.subscribe", R"({"types":["session_created"]})")), 0U);
}

TEST(allocation, none_while_decoding_the_methods_of_the_hot_path) {
  const std::string session = R"("session_id":")" + some_id + R"(","context":)" + some_context;
  EXPECT_EQ(allocations_of(call_of("session.validate", "{" + session + "}")), 0U);
  EXPECT_EQ(allocations_of(call_of("session.rotate", "{" + session + R"(,"grace":false})")), 0U);
  EXPECT_EQ(allocations_of(
                call_of("session.update", "{" + session + R"(,"data":{"\u0061":[1, 2],"b":{}}})")),
            0U);
  EXPECT_EQ(allocations_of(call_of("session.create",
                                   R"({"tenant_id":"t","user_id":"\u0075","context":)" +
                                       some_context + R"(,"_meta":{"correlation_id":"c"}})")),
            0U);
}

TEST(allocation, none_while_encoding_into_a_warm_buffer) {
  correlation_maker maker(1);
  core::byte_buffer out;
  core::session_valid valid;
  valid.tenant_id = "t";
  valid.user_id = "u";
  valid.data = R"({"a":1})";
  const core::reply good = valid;
  const core::reply bad =
      core::failed{core::fail(core::error_code::INVALID_PARAMS, "context.ip", "required"), {}};
  for (int round = 0; round < 2; ++round) {
    out.clear();
    const std::size_t before = allocations;
    encode_reply(out, "1", good, {maker});
    encode_reply(out, "1", bad, {maker});
    const std::size_t counted = allocations - before;
    EXPECT_EQ(round == 1 ? counted : 0U, 0U);
  }
}

}  // namespace
}  // namespace portcullis::net::test

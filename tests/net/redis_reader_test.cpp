// The reader of replies, and the commands that are written, without sockets.
#include "net/redis/reader.hpp"

#include <gtest/gtest.h>

#include "net/redis/command.hpp"
#include "net/redis/faults.hpp"
#include "net/redis/limits.hpp"
#include "tests/net/redis_harness.hpp"

namespace portcullis::net::redis {
namespace {

using test::told;

/// All replies of `text`, read `step` bytes at a time; then what is wrong, if something is.
std::string read(std::string_view text, std::size_t step = ~std::size_t{0},
                 std::size_t bytes_max = limits::reply_bytes_max) {
  reply_reader reader(bytes_max);
  std::string made;
  while (!text.empty()) {
    const auto part = text.substr(0, step);
    text.remove_prefix(part.size());
    reader.feed(part);
    for (;;) {
      reply got;
      const auto status = reader.next(got);
      if (status == reply_reader::status::more) break;
      if (status == reply_reader::status::broken) return made + "!" + std::string(reader.why());
      made += told(got) + ";";
    }
  }
  return made;
}

TEST(the_reader, takes_each_type_apart_whatever_the_pieces) {
  const std::string text =
      "+OK\r\n-ERR no\r\n:-42\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n*0\r\n$0\r\n\r\n"
      "*3\r\n:1\r\n*2\r\n$1\r\nx\r\n$-1\r\n+y\r\n";
  const std::string replies = "+OK;-ERR no;:-42;a\r\n;nil;nil;[];;[:1 [x nil] +y];";
  for (const std::size_t step : {1, 2, 3, 7, 1000}) EXPECT_EQ(read(text, step), replies) << step;
}

TEST(the_reader, refuses_what_is_no_resp2) {
  EXPECT_EQ(read("+OK\r\nHTTP/1.1 400\r\n"), "+OK;!protocol");
  EXPECT_EQ(read(":1x\r\n"), "!protocol");
  EXPECT_EQ(read("$-2\r\n"), "!protocol");
  EXPECT_EQ(read("*-7\r\n"), "!protocol");
  EXPECT_EQ(read("$99999999999999999999\r\n"), "!protocol");
  EXPECT_EQ(read(std::string_view("\0\0\0\0", 4)), "!protocol");
}

TEST(the_reader, refuses_the_types_of_resp3) {
  for (const auto* text : {"%1\r\n+a\r\n+b\r\n", ",3.14\r\n", "#t\r\n", "_\r\n", "(12\r\n",
                           "=5\r\ntxt:a\r\n", ">1\r\n+a\r\n", "~1\r\n+a\r\n"}) {
    const auto found = read(text);
    // A later hiredis knows the null of RESP3, which is one like the others.
    EXPECT_TRUE(found == "!protocol" || (text[0] == '_' && found == "nil;")) << text << found;
  }
}

TEST(the_reader, goes_seven_arrays_deep) {
  std::string deep;
  for (std::size_t i = 0; i < limits::reply_depth_max; ++i) deep += "*1\r\n";
  EXPECT_EQ(read(deep + ":1\r\n"), "[[[[[[[:1]]]]]]];");
  EXPECT_EQ(read("*1\r\n" + deep + ":1\r\n"), "!reply_depth");
  EXPECT_EQ(read("*1\r\n*1\r\n*1\r\n" + deep + ":1\r\n"), "!reply_depth");
}

TEST(the_reader, holds_no_more_bytes_of_one_reply_than_may_be) {
  const std::string fits = "$90\r\n" + std::string(90, 'a') + "\r\n";
  EXPECT_EQ(read(fits + fits, 7, fits.size()),
            std::string(90, 'a') + ";" + std::string(90, 'a') + ";");
  EXPECT_EQ(read(fits, 7, fits.size() - 1), "!reply_bytes");
  EXPECT_EQ(read(fits, 1'000, fits.size() - 1), "!reply_bytes");
  EXPECT_EQ(read("$1000000\r\n" + std::string(200, 'a'), 7, 100), "!reply_bytes");
  EXPECT_EQ(read("+" + std::string(200, 'a'), 7, 100), "!reply_bytes");
}

TEST(the_reader, holds_no_more_values_than_may_be_and_believes_no_promise) {
  const auto most = limits::reply_elements_max;
  EXPECT_EQ(read("*" + std::to_string(most + 1) + "\r\n"), "!reply_elements");
  EXPECT_EQ(read("*2147483647\r\n").substr(0, 1), "!");
  std::string many = "*2\r\n*" + std::to_string(most) + "\r\n";
  for (std::size_t i = 0; i < most; ++i) many += ":1\r\n";
  EXPECT_EQ(read(many), "!reply_elements");
}

TEST(a_command, is_an_array_of_its_words_whatever_their_bytes) {
  command what{"SET", std::string_view("a\0b\r\n", 5), ""};
  what.add(std::int64_t{-7});
  core::byte_buffer out;
  what.write(out);
  EXPECT_EQ(out.view(),
            std::string_view("*4\r\n$3\r\nSET\r\n$5\r\na\0b\r\n\r\n$0\r\n\r\n$2\r\n-7\r\n", 38));
  EXPECT_LE(out.size(), what.wire_bytes_max());
  EXPECT_EQ(what.size(), 4U);
  EXPECT_EQ(what[3], "-7");
  EXPECT_EQ(what.renamed("X", "yy")[0], "X");
  EXPECT_EQ(what.renamed("X", "yy")[3], "-7");
}

TEST(a_script, is_named_by_its_sha1) {
  EXPECT_EQ(script::of("return 1").sha1, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
}

TEST(a_fault, is_an_error_by_which_the_server_says_that_it_is_the_trouble) {
  const auto of = [](std::string text) {
    const auto found = fault_of({.type = reply_type::error, .text = std::move(text)});
    return found ? told(*found) : "none";
  };
  EXPECT_EQ(of("LOADING Redis is loading"), "STORE_UNAVAILABLE loading");
  EXPECT_EQ(of("READONLY You can't"), "STORE_UNAVAILABLE readonly");
  EXPECT_EQ(of("MASTERDOWN Link"), "STORE_UNAVAILABLE masterdown");
  EXPECT_EQ(of("NOAUTH"), "STORE_UNAVAILABLE noauth");
  EXPECT_EQ(of("OOM command not allowed"), "STORE_FULL oom");
  EXPECT_EQ(of("OOMX"), "none");
  EXPECT_EQ(of("WRONGTYPE Operation"), "none");
  EXPECT_EQ(of(""), "none");
  EXPECT_FALSE(fault_of({.type = reply_type::text, .text = "LOADING"}));
}

}  // namespace
}  // namespace portcullis::net::redis

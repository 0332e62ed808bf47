#include <gmock/gmock.h>
#include <sys/socket.h>
#include <unistd.h>

#include <simdjson.h>

#include <thread>

#include "apps/bench/histogram.hpp"
#include "apps/bench/loop.hpp"
#include "apps/bench/run.hpp"
#include "apps/bench/script.hpp"
#include "tests/apps/lines_script.hpp"

namespace portcullis::apps {
namespace {

TEST(bench_histogram, quantiles_are_within_the_width_of_a_bucket) {
  histogram h;
  for (std::uint64_t i = 1; i <= 100'000; ++i) h.add(i);
  EXPECT_NEAR(static_cast<double>(h.quantile(.5)), 50'000, 50'000 * .017);
  EXPECT_NEAR(static_cast<double>(h.quantile(.99)), 99'000, 99'000 * .017);
  EXPECT_EQ(h.quantile(1), 100'000U);
  EXPECT_EQ(h.max(), 100'000U);
  EXPECT_EQ(h.count(), 100'000U);
}

TEST(bench_histogram, small_values_are_exact_and_none_is_zero) {
  histogram h;
  EXPECT_EQ(h.quantile(.5), 0U);
  h.add(7, 3);
  h.add(40);
  EXPECT_EQ(h.quantile(.75), 7U);
  EXPECT_EQ(h.quantile(.76), 40U);
}

TEST(bench_histogram, every_value_has_a_bucket_that_is_not_below_it) {
  for (std::uint64_t value = 1; value < (std::uint64_t{1} << 39); value = value * 5 / 4 + 1) {
    histogram h;
    h.add(value);
    h.add(value * 2);
    EXPECT_GE(h.quantile(.5), value);
    EXPECT_LE(h.quantile(.5), value + value / 60 + 1);
  }
}

TEST(bench_histogram, merging_is_as_if_all_had_been_added_to_one) {
  histogram a, b;
  a.add(100);
  b.add(10'000, 3);
  a.merge(b);
  EXPECT_EQ(a.count(), 4U);
  EXPECT_EQ(a.max(), 10'000U);
  EXPECT_NEAR(static_cast<double>(a.quantile(.9)), 10'000, 170);
}

TEST(bench_mix, takes_kinds_with_weights_and_nothing_else) {
  std::string why;
  const auto mix = parse_mix("validate=90,create=10,ping", why);
  ASSERT_TRUE(mix.has_value());
  EXPECT_THAT(*mix, testing::ElementsAre(testing::Pair("validate", 90U),
                                         testing::Pair("create", 10U), testing::Pair("ping", 1U)));
  for (const auto* bad :
       {"", "nonsense=1", "validate=0", "validate=1001", "validate=", "validate=x", "validate=-1"})
    EXPECT_FALSE(parse_mix(bad, why).has_value()) << bad;
}

bench_ids some_ids(std::size_t count) {
  bench_ids ids(count);
  for (std::size_t i = 0; i < count; ++i) ids[i].fill(static_cast<std::uint8_t>(i + 1));
  return ids;
}

TEST(bench_rpc, every_kind_sends_one_line_of_json_that_names_its_method) {
  const auto ids = some_ids(20);
  for (const auto kind : rpc_kinds()) {
    const auto script = rpc_mix(ids, {{kind, 1}}, 5);
    core::byte_buffer out;
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(script->append(out));
    std::string_view rest = out.view();
    int lines = 0;
    while (!rest.empty()) {
      const auto end = rest.find('\n');
      ASSERT_NE(end, std::string_view::npos);
      simdjson::dom::parser parser;
      simdjson::dom::element value;
      ASSERT_EQ(parser.parse(simdjson::padded_string(rest.substr(0, end))).get(value),
                simdjson::SUCCESS)
          << kind;
      EXPECT_EQ(value["jsonrpc"].get_c_str().value(), std::string("2.0"));
      EXPECT_TRUE(value["method"].is_string() && value["params"].is_object());
      rest.remove_prefix(end + 1);
      ++lines;
    }
    EXPECT_EQ(lines, 3) << kind;
  }
}

TEST(bench_rpc, a_validate_is_about_five_hundred_bytes) {
  const auto ids = some_ids(8);
  const auto script = rpc_mix(ids, {{"validate", 1}}, 1);
  core::byte_buffer out;
  for (int i = 0; i < 100; ++i) script->append(out);
  EXPECT_NEAR(static_cast<double>(out.size()) / 100, 500, 30);
}

TEST(bench_rpc, replies_are_judged_by_the_kind_that_their_id_names) {
  const auto ids = some_ids(8);
  const auto script = rpc_mix(ids, {{"validate", 1}, {"mismatch", 1}}, 1);
  bench_tally tally;
  const std::string_view valid = "{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{\"valid\":true}}\n";
  const std::string_view invalid = "{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{\"valid\":false}}\n";
  const std::string_view mismatch = "{\"result\":{\"valid\":false},\"jsonrpc\":\"2.0\",\"id\":2}\n";
  const std::string_view error = "{\"jsonrpc\":\"2.0\",\"id\":0,\"error\":{\"code\":1}}\n";
  const auto bytes = std::string(valid) + std::string(invalid) + std::string(mismatch) +
                     std::string(error) + "{\"json";
  EXPECT_EQ(script->take(bytes, tally), bytes.size() - 6);
  EXPECT_EQ(tally.replies, 4U);
  EXPECT_EQ(tally.unexpected, 1U);
  EXPECT_EQ(tally.errors, 1U);
}

TEST(bench_rpc, filling_keeps_each_id_at_the_place_that_the_reply_names) {
  bench_ids ids(3);
  const auto script = rpc_fill(ids, 0, 1);
  core::byte_buffer out;
  while (script->append(out)) {
  }
  EXPECT_EQ(std::count(out.view().begin(), out.view().end(), '\n'), 3);
  bench_tally tally;
  const auto reply = [](int id, char digit) {
    return "{\"jsonrpc\":\"2.0\",\"id\":" + std::to_string(id) + ",\"result\":{\"session_id\":\"" +
           std::string(64, digit) + "\"}}\n";
  };
  const auto bytes = reply(2, 'c') + reply(0, 'a') + reply(7, 'b');
  script->take(bytes, tally);
  EXPECT_EQ(ids[2][0], 0xcc);
  EXPECT_EQ(ids[0][31], 0xaa);
  EXPECT_EQ(tally.replies, 3U);
  EXPECT_EQ(tally.errors, 1U) << "an id that was not asked for";
}

TEST(bench_redis, replies_are_cut_at_their_ends_and_judged) {
  const auto script = redis_load("get", 10, 1, "");
  bench_tally tally;
  const std::string bytes = "$5\r\n{\r\n1}\r\n$-1\r\n-ERR x\r\n$3\r\nab";
  EXPECT_EQ(script->take(bytes, tally), bytes.size() - 6);
  EXPECT_EQ(tally.replies, 3U);
  EXPECT_EQ(tally.unexpected, 1U);
  EXPECT_EQ(tally.errors, 1U);
}

TEST(bench_redis, loads_read_the_keys_that_filling_wrote) {
  core::byte_buffer written, read;
  const auto fill = redis_fill(1, 0, 1, true);
  while (fill->append(written)) {
  }
  redis_load("get", 1, 1, "")->append(read);
  const auto key = read.view().substr(read.view().find("session:"), 72);
  EXPECT_NE(written.view().find("SET\r\n$72\r\n" + std::string(key)), std::string_view::npos);
  EXPECT_NE(written.view().find("SADD\r\n$17\r\nuser:bench:user-0\r\n"), std::string_view::npos);
  EXPECT_NEAR(static_cast<double>(written.view().find("}\r\n") - written.view().find('{')), 350,
              40);
}

/// A peer that answers in pieces of `piece` bytes until the other side closes.
std::jthread echo(int fd, std::size_t piece) {
  return std::jthread([fd, piece] {
    char block[4096];
    for (ssize_t got = 0; (got = read(fd, block, std::min(piece, sizeof block))) > 0;)
      if (write(fd, block, static_cast<std::size_t>(got)) < 0) break;
    close(fd);
  });
}

TEST(bench_loop, every_request_gets_its_reply_however_the_bytes_are_cut) {
  for (const std::size_t piece : {1U, 5U, 4096U}) {
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    const auto peer = echo(pair[1], piece);
    lines_script script(1000);
    std::atomic<std::uint64_t> replies{0};
    const auto outcome = run_loop({pair[0]}, {7}, script, {}, replies);
    EXPECT_EQ(outcome.tally.replies, 1000U);
    EXPECT_EQ(outcome.latencies.count(), 1000U);
    EXPECT_EQ(replies.load(), 1000U);
    EXPECT_EQ(outcome.lost_connections, 0U);
    close(pair[0]);
  }
}

TEST(bench_loop, a_rate_is_not_exceeded) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const auto peer = echo(pair[1], 4096);
  lines_script script(50);
  std::atomic<std::uint64_t> replies{0};
  const auto begun = monotonic_ns();
  const auto outcome = run_loop({pair[0]}, {5, 1'000}, script, {}, replies);
  EXPECT_EQ(outcome.tally.replies, 50U);
  EXPECT_GE(monotonic_ns() - begun,
            45'000'000U);  // the tenth five are due after nine steps of 5 ms
  close(pair[0]);
}

TEST(bench_loop, at_a_rate_latencies_count_from_when_requests_were_due) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  std::jthread peer([fd = pair[1]] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // a stall, then quick answers
    echo(fd, 4096).join();
  });
  lines_script script(20);
  std::atomic<std::uint64_t> replies{0};
  const auto outcome = run_loop({pair[0]}, {1, 1'000}, script, {}, replies);
  EXPECT_EQ(outcome.latencies.count(), 20U);
  EXPECT_GE(outcome.latencies.quantile(0), 75'000'000U);  // the last was due after 19 ms
  close(pair[0]);
}

TEST(bench_loop, a_connection_that_is_lost_is_counted_and_the_others_go_on) {
  int good[2], bad[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, good), 0);
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, bad), 0);
  close(bad[1]);
  const auto peer = echo(good[1], 4096);
  lines_script script(100);
  std::atomic<std::uint64_t> replies{0};
  const auto outcome = run_loop({good[0], bad[0]}, {1}, script, {}, replies);
  EXPECT_EQ(outcome.lost_connections, 1U);
  EXPECT_EQ(outcome.tally.replies, 99U);
  close(good[0]);
  close(bad[0]);
}

}  // namespace
}  // namespace portcullis::apps

// Bytes and their text forms, the types of the contract, the table of errors, the table of methods.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <set>

#include "core/bytes.hpp"
#include "core/contract/caller.hpp"
#include "core/contract/method.hpp"
#include "core/crypto/hmac.hpp"
#include "core/crypto/secret.hpp"
#include "core/error/catalogue.hpp"
#include "core/mix.hpp"
#include "core/result.hpp"

namespace portcullis::core {
namespace {

RC_GTEST_PROP(base64url, is_read_back_as_it_was_written, (const std::vector<std::uint8_t>& bytes)) {
  const auto text = to_base64url(bytes);
  RC_ASSERT(text.size() == base64url_size(bytes.size()));
  const auto again = from_base64url(text);
  RC_ASSERT(again.has_value());
  RC_ASSERT(*again == as_text(bytes));
}

TEST(base64url, gives_the_vectors_of_rfc_4648_without_padding) {
  EXPECT_EQ(to_base64url(as_bytes("")), "");
  EXPECT_EQ(to_base64url(as_bytes("f")), "Zg");
  EXPECT_EQ(to_base64url(as_bytes("fo")), "Zm8");
  EXPECT_EQ(to_base64url(as_bytes("foo")), "Zm9v");
  EXPECT_EQ(to_base64url(as_bytes("foobar")), "Zm9vYmFy");
  EXPECT_EQ(to_base64url(as_bytes("\xfb\xff")), "-_8");
}

TEST(base64url, one_value_has_one_text) {
  EXPECT_FALSE(from_base64url("Zh"));  // bits past the last byte
  EXPECT_FALSE(from_base64url("Zm9"));
  EXPECT_FALSE(from_base64url("Zg=="));
  EXPECT_FALSE(from_base64url("Z"));
  EXPECT_FALSE(from_base64url("Zm+v"));
  EXPECT_FALSE(from_base64url("Zm/v"));
  EXPECT_FALSE(from_base64url("Zm9v\n"));
}

TEST(hex, is_strict_about_case_and_length) {
  byte_array<2> out;
  EXPECT_TRUE(from_hex("00ff", out));
  EXPECT_EQ(out, (byte_array<2>{0, 0xff}));
  for (const auto* bad : {"00fF", "00f", "00ff0", "00fg", "", "0 ff"})
    EXPECT_FALSE(from_hex(bad, out)) << bad;
}

TEST(byte_buffer, grows_consumes_and_keeps_its_bytes) {
  byte_buffer buffer;
  std::string expected;
  for (int i = 0; i < 2000; ++i) {
    buffer.append_int(i);
    buffer.append(',');
    expected += std::to_string(i) + ",";
  }
  EXPECT_EQ(buffer.view(), expected);
  buffer.consume(5);
  EXPECT_EQ(buffer.view(), std::string_view(expected).substr(5));
  buffer.clear();
  buffer.append_int(std::int64_t{-9'223'372'036'854'775'807 - 1});
  EXPECT_EQ(buffer.view(), "-9223372036854775808");
}

TEST(byte_buffer, moved_from_is_empty_and_usable) {
  byte_buffer a;
  a.append("first");
  byte_buffer b(std::move(a));
  EXPECT_EQ(b.view(), "first");
  EXPECT_TRUE(a.empty());
  EXPECT_EQ(a.capacity(), 0U);
  a.append("second");
  b = std::move(a);
  EXPECT_EQ(b.view(), "second");
  EXPECT_TRUE(a.empty());
  a.append("third");
  EXPECT_EQ(a.view(), "third");
}

TEST(mix64, is_the_finalizer_of_splitmix64) {
  // The first numbers of the published generator, seeded with 1234567.
  std::uint64_t state = 1'234'567;
  EXPECT_EQ(mix64(state += mix64_step), 6'457'827'717'110'365'317U);
  EXPECT_EQ(mix64(state += mix64_step), 3'203'168'211'198'807'973U);
}

TEST(secret_bytes, are_wiped_when_they_die) {
  alignas(secret_bytes<32>) unsigned char memory[sizeof(secret_bytes<32>)];
  auto* secret = new (memory) secret_bytes<32>(sha256(as_bytes("anything")));
  EXPECT_EQ(*secret, sha256(as_bytes("anything")));
  secret->~secret_bytes();
  EXPECT_EQ(std::count(std::begin(memory), std::end(memory), 0), 32);
}

TEST(handles, have_one_text) {
  session_handle handle;
  for (std::size_t i = 0; i < 16; ++i) handle.bytes[i] = static_cast<std::uint8_t>(i * 17);
  const auto text = to_text(handle);
  EXPECT_EQ(text.size(), handle_text_size);
  EXPECT_EQ(text.substr(0, 2), "s_");
  EXPECT_EQ(parse_handle(text), handle);
  EXPECT_FALSE(parse_handle("x" + text.substr(1)));
  EXPECT_FALSE(parse_handle(text.substr(1)));
  EXPECT_FALSE(parse_handle(text + "A"));
  auto other = text;
  other.back() = static_cast<char>(other.back() + 1);  // a bit past the last byte
  EXPECT_FALSE(parse_handle(other));
  EXPECT_TRUE(has_handle_form(text));
  EXPECT_TRUE(has_handle_form(other)) << "well-formed, and names nothing";
  for (const auto& bad : {"x" + text.substr(1), text.substr(1), text + "A",
                          text.substr(0, 23) + "=", "s_" + std::string(22, '+'), std::string()})
    EXPECT_FALSE(has_handle_form(bad)) << bad;
}

TEST(addresses, are_read_and_shown_in_their_canonical_text) {
  const std::pair<std::string_view, std::string_view> same[] = {
      {"192.0.2.1", "192.0.2.1"},
      {"::ffff:192.0.2.1", "192.0.2.1"},
      {"::FFFF:c000:201", "192.0.2.1"},
      {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
      {"2001:db8:0:1:0:0:0:1", "2001:db8:0:1::1"},
      {"::", "::"},
      {"::1", "::1"},
      {"1:0:0:2:0:0:0:3", "1:0:0:2::3"},
      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},  // one zero group is not shortened
  };
  for (const auto& [text, canonical] : same) {
    const auto ip = parse_ip(text);
    ASSERT_TRUE(ip) << text;
    EXPECT_EQ(to_text(*ip), canonical);
  }
  for (const auto* bad : {"", "192.0.2", "192.0.2.256", "192.0.2.1 ", " ::1", "::1%eth0", "[::1]",
                          "::1/64", "1::2::3", "192.0.2.1:80", "gg::", "2001:db8:0:0:0:0:0:1:2"})
    EXPECT_FALSE(parse_ip(bad)) << bad;
  EXPECT_TRUE(parse_ip("10.0.0.1")->is_v4());
  EXPECT_FALSE(parse_ip("::1")->is_v4());
}

TEST(addresses, agree_by_prefix) {
  const auto ip = [](std::string_view text) { return *parse_ip(text); };
  EXPECT_TRUE(same_network(ip("10.1.2.3"), ip("10.1.2.3"), 32, 128));
  EXPECT_FALSE(same_network(ip("10.1.2.3"), ip("10.1.2.2"), 32, 128));
  EXPECT_TRUE(same_network(ip("10.1.2.3"), ip("10.1.2.2"), 31, 128));
  EXPECT_TRUE(same_network(ip("10.1.2.3"), ip("250.9.9.9"), 0, 128));
  EXPECT_FALSE(same_network(ip("127.0.0.0"), ip("128.0.0.0"), 1, 0));
  EXPECT_TRUE(same_network(ip("2001:db8::1"), ip("2001:db8::2"), 32, 126));
  EXPECT_FALSE(same_network(ip("2001:db8::1"), ip("2001:db8::2"), 32, 127));
  EXPECT_TRUE(same_network(ip("1::"), ip("ffff::"), 32, 0));
  EXPECT_FALSE(same_network(ip("1.2.3.4"), ip("1::"), 0, 0));
}

TEST(error_table, codes_and_names_are_unique_and_found_again) {
  std::set<std::int32_t> codes;
  std::set<std::string_view> names;
  for (const auto& row : error_catalogue()) {
    EXPECT_TRUE(codes.insert(row.code).second) << row.name;
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_EQ(&describe(row.id), &row);
    EXPECT_EQ(error_from_wire(row.code), row.id);
    EXPECT_TRUE(row.message.ends_with('.')) << row.name;
    EXPECT_TRUE(row.remedy.ends_with('.')) << row.name;
    EXPECT_GE(row.status, 400);
    EXPECT_LT(row.status, 600);
    EXPECT_FALSE(to_string(row.severity).empty());
  }
  EXPECT_FALSE(error_from_wire(0));
  EXPECT_EQ(describe(error_code::STORE_FULL).status, 507);
  EXPECT_EQ(describe(error_code::SESSION_REUSE_DETECTED).severity, severity::critical);
}

TEST(error_table, an_error_remembers_where_it_was_made) {
  const auto why = fail(error_code::INTERNAL, "field", "rule", 3);
  EXPECT_NE(std::string_view(why.place.file).find("basics_test.cpp"), std::string_view::npos);
  EXPECT_GT(why.place.line, 0U);
  const result<int> good(7), bad(why);
  EXPECT_TRUE(good);
  EXPECT_EQ(*good, 7);
  EXPECT_FALSE(bad);
  EXPECT_EQ(bad.error().limit, 3);
}

// protocol.md, "Who may call", spelt out once more: a row that is changed by mistake shows here.
TEST(methods, each_role_may_call_what_the_contract_says) {
  const std::set<std::string_view> everyone{"server.ping", "server.version", "auth.login"};
  const std::set<std::string_view> app{
      "session.create",  "session.validate",    "session.update",       "session.rotate",
      "session.revoke",  "session.revoke_user", "session.list",         "session.stats",
      "lockout.status",  "events.subscribe",    "events.unsubscribe",   "server.info",
      "breaker.acquire", "breaker.report",      "breaker.report_batch", "breaker.observe",
      "breaker.status"};
  const std::set<std::string_view> observer{
      "session.list", "session.find",     "session.stats",      "lockout.status",
      "lockout.list", "events.subscribe", "events.unsubscribe", "events.query",
      "server.info",  "breaker.status",   "breaker.list"};
  for (std::size_t i = 0; i < method_count; ++i) {
    const auto each = static_cast<method>(i);
    const auto name = to_string(each);
    const bool open = everyone.count(name) > 0;
    EXPECT_EQ(may_call(role::none, each), open) << name;
    EXPECT_EQ(may_call(role::app, each), open || app.count(name) > 0) << name;
    EXPECT_EQ(may_call(role::observer, each), open || observer.count(name) > 0) << name;
    EXPECT_TRUE(may_call(role::admin, each)) << name;
  }
}

TEST(callers, see_all_tenants_or_those_they_are_limited_to) {
  caller all;
  EXPECT_TRUE(all.sees_tenant("acme"));
  caller limited;
  limited.tenants = {"acme"};
  limited.services = {"billing"};
  EXPECT_TRUE(limited.sees_tenant("acme"));
  EXPECT_FALSE(limited.sees_tenant("acm"));
  EXPECT_FALSE(limited.sees_tenant(""));
  EXPECT_TRUE(limited.sees_service("billing"));
  EXPECT_FALSE(limited.sees_service("mail"));
}

}  // namespace
}  // namespace portcullis::core

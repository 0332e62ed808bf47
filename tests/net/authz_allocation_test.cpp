// Asking and answering allocate nothing once their buffers have their size.
#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "net/authz/answer.hpp"
#include "net/authz/ask.hpp"
#include "tests/count_allocations.hpp"

namespace portcullis::net {
namespace {

const std::string id = "da931fe14128c4f6662e646bee57184e1e6750c26607a123c265306cc97022e7";

TEST(allocation, is_counted_where_there_is_one) {
  const std::size_t before = allocations;
  const std::string text(100, 'x');
  EXPECT_GT(allocations, before) << text;
}

TEST(allocation, none_while_asking) {
  const std::string cookie =
      "a=1; connect.sid=s%3A" + id + ".mfrQFT43PWX6dvrMYAHqn7qFBppUExYBtkuzSiIBYcQ";
  authz_settings settings;
  settings.cookie = "connect.sid";
  settings.header = "x-session-with-a-long-name";
  settings.cookie_secrets = {"new secret", "keyboard cat"};
  settings.trusted_proxies.add(core::address_set::parse_one("127.0.0.1").value());
  const forward_auth authz(settings);
  const std::vector<header_field> request = {
      {"Host", "example.com"},
      {"Cookie", cookie},
      {"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) \"quoted\""},
      {"Accept-Language", "de"},
      {"Accept-Language", "en"},
      {"X-Forwarded-For", "2001:db8:1111:2222:3333:4444:5555:6666, 127.0.0.1"}};
  const std::vector<header_field> unsigned_cookie = {{"Cookie", "connect.sid=x"}};
  const auto from = core::parse_ip("127.0.0.1").value();
  correlation_maker maker(1);
  core::byte_buffer out;
  for (int round = 0; round < 2; ++round) {
    out.clear();
    const std::size_t before = allocations;
    const auto asked = authz.ask(request, from, maker, out);
    const auto refused = authz.ask(unsigned_cookie, from, maker, out);
    const std::size_t counted = allocations - before;
    EXPECT_FALSE(asked.refused);
    EXPECT_TRUE(refused.refused);
    EXPECT_EQ(round == 1 ? counted : 0U, 0U);
  }
}

TEST(allocation, none_while_answering) {
  correlation_maker maker(1);
  core::byte_buffer valid, locked, failed;
  core::session_valid reply;
  reply.tenant_id = "acme \"quoted\"";
  reply.user_id = "jörg";
  reply.data = R"({"a":1})";
  reply.observed = core::ip_bit;
  encode_reply(valid, "1", reply, {maker});
  encode_reply(locked, "1", core::session_invalid{core::invalid_reason::locked_out, 5}, {maker});
  encode_reply(failed, "1", core::failed{core::fail(core::error_code::RATE_LIMITED), {}}, {maker});
  authz_answer into;
  for (int round = 0; round < 2; ++round) {
    const std::size_t before = allocations;
    for (const auto* line : {&valid, &locked, &failed}) {
      answer_authz(authz_kind::forward_auth, line->view(), "c", {maker}, into);
      EXPECT_NE(into.status, 500);
    }
    const std::size_t counted = allocations - before;
    EXPECT_EQ(round == 1 ? counted : 0U, 0U);
  }
}

}  // namespace
}  // namespace portcullis::net

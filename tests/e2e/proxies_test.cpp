// Debian's reverse proxies, with the files of configs/examples, ask the real binary before they let
// a request through to an application.
#include "proxy.hpp"

namespace portcullis::e2e {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

const std::string agent = "User-Agent: browser/1\r\n";

std::string cookie(const json& session) {
  return "Cookie: theme=dark; portcullis_session=" + session["session_id"].get<std::string>() +
         "\r\n";
}

class a_proxy : public testing::TestWithParam<flavour> {
 protected:
  a_proxy()
      : node_({.set = {"lockout.threshold=3",
                       "authz.trusted_proxies=" + std::string(proxy_address)}}),
        client_(node_.connect()),
        app_(GetParam(), authz_port()) {}

  [[nodiscard]] std::uint16_t authz_port() const { return node_.http_port; }

  json sign_in(const std::string& user_id, const std::string& user_agent = "browser/1") {
    json from = {{"ip", browser_address}};
    if (!user_agent.empty()) from["user_agent"] = user_agent;
    return create(client_, user_id, {{"context", from}});
  }
  /// The client's answer is this error of ours, or the proxy's own of that status.
  void expect_refused(const http_answer& answer, int status, const std::string& error) const {
    EXPECT_EQ(answer.status, status) << answer.head << answer.body;
    EXPECT_THAT(answer.body, Not(HasSubstr("\"fields\""))) << "the application was reached";
    if (!GetParam().tells_why) return;
    const auto object = json::parse(answer.body, nullptr, false);
    ASSERT_TRUE(object.is_object() && object.contains("data")) << answer.body;
    EXPECT_EQ(object["data"]["error"], error);
    EXPECT_EQ(object["data"]["status"], status);
  }

  server node_;
  line_client client_;
  protected_application app_;
};

TEST_P(a_proxy, lets_a_valid_session_through_and_says_who_it_is) {
  const auto session = sign_in("jörg");
  const auto answer = app_.get(agent + cookie(session));
  EXPECT_EQ(answer.status, 200);
  const auto seen = seen_by_application(answer);
  EXPECT_THAT(seen, Contains(Pair("x-portcullis-tenant", "acme")));
  EXPECT_THAT(seen, Contains(Pair("x-portcullis-user", "j%C3%B6rg")));
  EXPECT_THAT(seen, Contains(Pair("x-portcullis-handle", session["handle"])));
  EXPECT_THAT(seen, Contains(Pair("x-portcullis-expires-at",
                                  std::to_string(session["expires_at_ms"].get<std::int64_t>()))));
  EXPECT_THAT(seen, Contains(Pair("x-portcullis-signals", "none")));
}

TEST_P(a_proxy, lets_through_whatever_the_method_and_keeps_the_body) {
  const auto answer = app_.get(agent + cookie(sign_in("ada")), "a=1&b=2");
  EXPECT_EQ(answer.status, 200);
  const auto echo = json::parse(answer.body, nullptr, false);
  ASSERT_TRUE(echo.is_object() && echo.contains("path")) << answer.body;
  EXPECT_EQ(echo["method"], "POST");
  EXPECT_EQ(echo["path"], "/page?x=1");
  EXPECT_THAT(seen_by_application(answer), Contains(Pair("content-length", "7")));
}

TEST_P(a_proxy, asks_about_the_request_as_the_browser_sent_it) {
  // Agent and languages are compared with those of the creation: what the proxy changed or added
  // would be a mismatch, and the third would lock the user out.
  const auto plain = create(client_, "ada", {{"context", {{"ip", browser_address}}}});
  EXPECT_EQ(app_.get(cookie(plain)).status, 200) << "no agent";
  const auto full = create(client_, "bob",
                           {{"context",
                             {{"ip", browser_address},
                              {"user_agent", "browser/1"},
                              {"accept_language", "de, en;q=0.5"}}}});
  EXPECT_EQ(app_.get(agent + "Accept-Language: de, en;q=0.5\r\n" + cookie(full)).status, 200);
  EXPECT_EQ(app_.get(agent + "Accept-Language: de\r\nAccept-Language: en;q=0.5\r\n" + cookie(full))
                .status,
            200)
      << "one list";
}

TEST_P(a_proxy, denies_who_has_no_session) {
  expect_refused(app_.get(agent), 401, "AUTH_REQUIRED");
  expect_refused(app_.get(agent + "Cookie: portcullis_session=\r\n"), 401, "AUTH_REQUIRED");
  expect_refused(app_.get(agent + "Cookie: portcullis_session=x\r\n"), 401, "SESSION_NOT_FOUND");
  const auto session = sign_in("ada");
  auto other = session;
  auto id = session["session_id"].get<std::string>();
  id.back() = id.back() == '0' ? '1' : '0';
  other["session_id"] = id;
  expect_refused(app_.get(agent + cookie(other)), 401, "SESSION_NOT_FOUND");
  client_.result("session.revoke", {{"handle", session["handle"]}});
  expect_refused(app_.get(agent + cookie(session)), 401, "SESSION_REVOKED");
}

TEST_P(a_proxy, denies_another_device_and_another_address) {
  const auto session = sign_in("ada");
  expect_refused(app_.get("User-Agent: other\r\n" + cookie(session)), 401,
                 "SESSION_FINGERPRINT_MISMATCH");
  const auto elsewhere =
      create(client_, "bob", {{"context", {{"ip", "203.0.113.7"}, {"user_agent", "browser/1"}}}});
  expect_refused(app_.get(agent + cookie(elsewhere)), 401, "SESSION_IP_MISMATCH");
  expect_refused(app_.get("X-Forwarded-For: 203.0.113.7\r\n" + agent + cookie(elsewhere)), 401,
                 "SESSION_IP_MISMATCH");
}

TEST_P(a_proxy, denies_a_user_who_is_locked_out_and_says_until_when) {
  const auto session = sign_in("ada");
  for (int i = 0; i < 3; ++i)  // the third begins the lock, and is told what it was itself
    EXPECT_EQ(app_.get("User-Agent: other\r\n" + cookie(session)).status, 401);
  const auto answer = app_.get(agent + cookie(session));
  expect_refused(answer, GetParam().locked_out, "USER_LOCKED_OUT");
  if (GetParam().tells_why)
    EXPECT_THAT(answer.head, testing::ContainsRegex("[Rr]etry-[Aa]fter: (900|8[0-9][0-9])\r\n"));
}

TEST_P(a_proxy, lets_nobody_through_while_the_server_is_down) {
  const auto session = sign_in("ada");
  EXPECT_EQ(app_.get(agent + cookie(session)).status, 200);
  node_.kill_at_once();
  const auto answer = app_.get(agent + cookie(session));
  EXPECT_EQ(answer.status, GetParam().server_down);
  EXPECT_THAT(answer.body, Not(HasSubstr("\"fields\"")));
}

TEST_P(a_proxy, strips_what_a_browser_says_of_its_identity) {
  const auto answer =
      app_.get(agent + cookie(sign_in("ada")) +
               "X-Portcullis-User: root\r\nx-portcullis-user: root\r\nX-PORTCULLIS-TENANT: root\r\n"
               "X-Portcullis-Handle: root\r\nX-Portcullis-Expires-At: root\r\n"
               "X-Portcullis-Signals: root\r\nX_Portcullis_User: root\r\n"
               "X_Portcullis-User: root\r\nX-Portcullis_User: root\r\n"
               // Fields of one hop are dropped by who passes the request on (RFC 9110, 7.6.1).
               "Connection: X-Portcullis-User\r\nConnection: x-portcullis-tenant, close\r\n");
  EXPECT_EQ(answer.status, 200);
  int identities = 0;
  for (const auto& [name, value] : seen_by_application(answer)) {
    EXPECT_THAT(value, Not(HasSubstr("root"))) << name;
    identities += name.starts_with("x-portcullis") || name.starts_with("x_portcullis") ? 1 : 0;
  }
  EXPECT_EQ(identities, 5);
}

INSTANTIATE_TEST_SUITE_P(of_debian, a_proxy, testing::ValuesIn(flavours()),
                         [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace portcullis::e2e

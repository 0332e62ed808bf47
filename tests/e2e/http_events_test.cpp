// GET /events against the real binary: every event once, also over a reconnect.
#include "http_client.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;

TEST(http_events, come_as_they_happen_and_go_on_where_they_broke_off) {
  server node;
  auto client = node.connect();
  create(client, "ada");
  std::string last;
  {
    event_source live(node.http_port, "/events?types=session_created");
    EXPECT_THAT(live.head, HasSubstr("200 OK"));
    EXPECT_THAT(live.head, HasSubstr("text/event-stream"));
    ASSERT_TRUE(live.next()) << "where it begins";
    create(client, "bob");
    const auto event = live.next();
    ASSERT_TRUE(event);
    EXPECT_EQ(event->type, "session_created");
    EXPECT_EQ(event->data["user_id"], "bob");
    last = event->id;
  }
  create(client, "cyd");
  event_source again(node.http_port, "/events?types=session_created",
                     "Last-Event-ID: " + last + "\r\n");
  ASSERT_TRUE(again.next());
  const auto missed = again.next();
  ASSERT_TRUE(missed);
  EXPECT_EQ(missed->data["user_id"], "cyd");
  event_source all(node.http_port, "/events?types=session_created&after=e0");
  ASSERT_TRUE(all.next());
  for (const auto* user : {"ada", "bob", "cyd"}) {
    const auto event = all.next();
    ASSERT_TRUE(event);
    EXPECT_EQ(event->data["user_id"], user);
  }
  EXPECT_TRUE(eventually([&] { return node.metric("portcullis_subscribers") == 2; }))
      << "the first is gone";
}

TEST(http_events, are_for_who_may_see_them) {
  const auto web = make_token("web"), eyes = make_token("eyes"), few = make_token("few");
  server node({.set = {"server.environment=development"},
               .config = token_toml(web, "web", "app") + token_toml(eyes, "eyes", "observer") +
                         token_toml(few, "few", "observer", "tenants = [\"acme\"]\n"),
               .open = false});
  const auto refused = [&](const std::string& target, const std::string& fields = "") {
    return refusal_of(http_ask(node.http_port, "GET " + target, fields));
  };
  EXPECT_EQ(refused("/events"), "AUTH_REQUIRED 401");
  EXPECT_EQ(refused("/events", bearer(make_token("x").text)), "AUTH_FAILED 401");
  EXPECT_EQ(refused("/events?token=" + eyes.text), "INVALID_PARAMS 400");
  EXPECT_EQ(refused("/events?tenant_id=globex", bearer(few.text)), "FORBIDDEN 403");
  EXPECT_EQ(refused("/events?after=e999999", bearer(eyes.text)), "CURSOR_INVALID 400");
  EXPECT_EQ(refused("/events?types=session_created", bearer(web.text)), "FORBIDDEN 403");

  const auto answer = http_ask(node.http_port, "POST /events/ticket", bearer(few.text));
  EXPECT_EQ(answer.status, 200) << answer.body;
  const auto ticket = json::parse(answer.body)["ticket"].get<std::string>();
  event_source live(node.http_port, "/events?ticket=" + ticket);
  ASSERT_TRUE(live.next());
  EXPECT_EQ(refused("/events?ticket=" + ticket), "AUTH_FAILED 401") << "once only";
  auto client = node.connect();
  client.result("auth.login", {{"token", web.text}});
  create(client, "ada", {{"tenant_id", "globex"}});
  create(client, "bob");
  const auto event = live.next();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->data["user_id"], "bob") << "the ticket is of whoever asked for it";
}

TEST(http_events, end_when_the_node_stops) {
  server node;
  event_source live(node.http_port, "/events");
  ASSERT_TRUE(live.next());
  line_client chunked(node.http_port);
  chunked.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(chunked.line(), "HTTP/1.1 200 OK\r");
  EXPECT_EQ(node.terminate(), 0);
  EXPECT_TRUE(live.ended());
  EXPECT_THAT(chunked.rest(), testing::EndsWith("\r\n0\r\n\r\n")) << "it is over, not cut";
}

}  // namespace
}  // namespace portcullis::e2e

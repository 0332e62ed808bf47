// `portcullis breakers`, as a person and as a script call it.
#include "breakers.hpp"
#include "process.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

struct breakers_command : testing::Test {
  server node;
  line_client client = node.connect();
  breaker cards{client, "payments", "cards"};

  std::vector<std::string> words(std::vector<std::string> more) const {
    std::vector<std::string> all{tested_binary(), "breakers"};
    all.insert(all.end(), more.begin(), more.end());
    all.insert(all.end(), {"--address", "127.0.0.1:" + std::to_string(node.rpc_port)});
    return all;
  }
  ran in_pipe(const std::vector<std::string>& more) const {
    running command(words(more), running::to::pipe);
    ran result;
    result.out = command.rest();
    result.status = command.end();
    return result;
  }
  ran on_terminal(const std::vector<std::string>& more) const {
    running command(words(more), running::to::terminal);
    ran result;
    result.out = command.rest();
    result.status = command.end();
    return result;
  }
};

TEST_F(breakers_command, list_prints_a_line_of_json_a_breaker_into_a_pipe) {
  cards.trip();
  breaker(client, "search").acquire();
  const auto listed = in_pipe({"list"});
  EXPECT_EQ(listed.status, 0);
  std::vector<json> rows;
  for (std::size_t at = 0; at < listed.out.size();) {
    const auto end = listed.out.find('\n', at);
    rows.push_back(json::parse(listed.out.substr(at, end - at)));
    at = end + 1;
  }
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0]["service"], "portcullis") << "the store's own";
  EXPECT_EQ(rows[1]["service"], "payments");
  EXPECT_EQ(rows[1]["state"], "open");
  EXPECT_EQ(rows[2]["service"], "search");
  EXPECT_EQ(rows[2]["counts"], counts_of(json::object()));
}

TEST_F(breakers_command, list_prints_a_table_on_a_terminal) {
  EXPECT_THAT(on_terminal({"list"}).out,
              testing::ContainsRegex("portcullis/store +hosted +closed"));
  for (int i = 0; i < 20; ++i) cards.report("success");
  cards.report("failure");
  const auto shown = on_terminal({"list"});
  EXPECT_EQ(shown.status, 0);
  EXPECT_THAT(shown.out, HasSubstr("BREAKER"));
  EXPECT_THAT(shown.out,
              testing::ContainsRegex("payments/cards +hosted +closed +[0-9-]+ [0-9:]+ +5% +0% +21 "
                                     "+0  created"));
}

TEST_F(breakers_command, list_goes_through_all_pages) {
  for (int i = 0; i < 500; ++i) {
    client.send(R"({"jsonrpc":"2.0","id":1,"method":"breaker.acquire","params":{"service":"s)" +
                std::to_string(i) + "\"}}\n");
    client.line();
  }
  const auto listed = in_pipe({"list"});
  EXPECT_EQ(std::count(listed.out.begin(), listed.out.end(), '\n'), 501) << "with the store's own";
}

TEST_F(breakers_command, status_shows_all_of_one) {
  cards.trip();
  cards.put("forced_open", {{"reason", "hands off"}, {"ttl_s", 3600}});
  const auto piped = in_pipe({"status", "payments/cards"});
  EXPECT_EQ(piped.status, 0);
  const auto parsed = json::parse(piped.out);
  EXPECT_EQ(parsed["override"]["reason"], "hands off");
  EXPECT_EQ(std::count(piped.out.begin(), piped.out.end(), '\n'), 1);
  const auto shown = on_terminal({"status", "payments/cards"});
  for (const auto* each :
       {"payments/cards (hosted)", "forced_open since", "base state    open",
        "forced_open by anonymous: hands off, until 20", "failure 20", "retry after"})
    EXPECT_THAT(shown.out, HasSubstr(each));
  breaker(client, "own").observe(observation("web-1", 1, "open", {{"failure", 3}}));
  EXPECT_THAT(on_terminal({"status", "own"}).out, HasSubstr("web-1: open, last report 20"));
}

TEST_F(breakers_command, override_and_reset_say_what_holds_now) {
  const auto put =
      in_pipe({"override", "payments/cards", "disabled", "--reason", "it lies", "--ttl", "60"});
  EXPECT_EQ(put.status, 0);
  EXPECT_EQ(put.out, "{\"state\":\"disabled\",\"epoch\":2}\n");
  EXPECT_EQ(cards.status()["override"]["reason"], "it lies");
  EXPECT_TRUE(cards.status()["override"].contains("expires_at_ms"));
  EXPECT_THAT(on_terminal({"override", "payments/cards", "none", "--reason", "mended"}).out,
              HasSubstr("payments/cards is closed now (epoch 3)"));
  EXPECT_THAT(on_terminal({"override", "payments", "disabled", "--reason", "mistyped"}).out,
              testing::AllOf(HasSubstr("payments/default is disabled now (epoch 2)"),
                             HasSubstr("is the name right?")));
  cards.trip();
  EXPECT_THAT(on_terminal({"override", "payments/cards", "none", "--reason", "x"}).out,
              Not(HasSubstr("is the name right?")));
  const auto reset = on_terminal({"reset", "payments/cards", "--reason", "mended"});
  EXPECT_EQ(reset.status, 0);
  EXPECT_THAT(reset.out, HasSubstr("payments/cards is closed now (epoch 5)"));
}

TEST_F(breakers_command, exit_statuses_are_those_of_call) {
  const auto unknown = in_pipe({"status", "nobody"});
  EXPECT_EQ(unknown.status, 1);
  EXPECT_EQ(json::parse(unknown.out)["data"]["error"], "BREAKER_NOT_FOUND");
  EXPECT_EQ(in_pipe({"reset", "nobody", "--reason", "r"}).status, 1);
  const auto told = on_terminal({"status", "nobody"});
  EXPECT_EQ(told.status, 1);
  EXPECT_EQ(told.out,
            "portcullis: There is no such circuit breaker. (BREAKER_NOT_FOUND), field: breaker\n"
            "Acquire, report or observe creates one.\n")
      << "a sentence, and what to do";
  for (const std::vector<std::string>& bad : std::vector<std::vector<std::string>>{
           {},
           {"status"},
           {"reset", "x"},
           {"override", "x", "disabled"},
           {"override", "x", "open", "--reason", "r"},
           {"override", "x", "disabled", "--reason", "r", "--ttl", "soon"},
           {"override", "x", "disabled", "--reason", "r", "--ttl", "-1"},
           {"override", "x", "disabled", "--reason", "r", "--ttl", "0"},
           {"override", "x", "disabled", "--reason", ""},
           {"override", "x", "disabled", "--reason", std::string(257, 'r')},
           {"reset", "x", "--reason", "\x1b[2J"},
           {"reset", "x", "--reason", "\xff"},
           {"status", "pay ments"},
           {"status", "payments/"},
           {"status", "a/b/c"},
           {"status", "\xff"},
           {"watch", "zz/"},
           {"list", "--unknown"}})
    EXPECT_EQ(in_pipe(bad).status, 64) << testing::PrintToString(bad);
  EXPECT_THAT(in_pipe({"frob"}).out, HasSubstr("no subcommand breakers frob"));
  ASSERT_EQ(node.terminate(), 0);
  for (const std::vector<std::string>& each :
       std::vector<std::vector<std::string>>{{"list"}, {"status", "x"}, {"watch"}}) {
    const auto unreached = in_pipe(each);
    EXPECT_EQ(unreached.status, 2) << json(each);
    EXPECT_THAT(unreached.out, HasSubstr("127.0.0.1:"));
  }
}

TEST_F(breakers_command, watch_tells_each_transition_as_it_happens) {
  running all(words({"watch", "--after", "e0"}), running::to::pipe);
  running one(words({"watch", "payments/cards", "--after", "e0"}), running::to::terminal);
  running service(words({"watch", "payments", "--after", "e0"}), running::to::pipe);
  breaker(client, "search").trip();
  const auto opened = json::parse(all.line());
  EXPECT_EQ(opened["type"], "breaker_opened");
  EXPECT_EQ(opened["service"], "search");
  cards.trip();
  EXPECT_EQ(json::parse(all.line())["service"], "payments");
  EXPECT_EQ(json::parse(service.line())["breaker"], "cards");
  EXPECT_THAT(one.line(), HasSubstr("Watching"));
  EXPECT_THAT(one.line(), testing::AllOf(HasSubstr("payments/cards  opened (was closed)"),
                                         HasSubstr("failure_rate, 20 of 20 calls failed")));
  cards.put("disabled", {{"reason", "for now"}});
  EXPECT_THAT(one.line(), HasSubstr("payments/cards  override_set disabled (was open): for now"));
  EXPECT_EQ(one.end(SIGINT), 130);
  const auto last = json::parse(all.line());
  EXPECT_EQ(last["actor"], "anonymous");
  running later(words({"watch", "--after", last["cursor"].get<std::string>()}), running::to::pipe);
  cards.put("none", {{"reason", "done"}});
  EXPECT_EQ(json::parse(later.line())["type"], "breaker_override_cleared") << "what came after it";
  node.kill_at_once();
  EXPECT_EQ(all.end(), 2) << "the server is gone";
}

TEST_F(breakers_command, watch_refuses_a_cursor_that_is_none) {
  const auto told = in_pipe({"watch", "--after", "nonsense"});
  EXPECT_EQ(told.status, 1);
  EXPECT_EQ(json::parse(told.out)["data"]["error"], "CURSOR_INVALID");
}

TEST_F(breakers_command, an_application_sees_with_its_token_what_its_role_may) {
  server closed({.set = {"server.environment=development"},
                 .config = token_toml(make_token("app"), "web", "app") +
                           token_toml(make_token("eye"), "eye", "observer"),
                 .open = false});
  const auto ask = [&](const std::string& who, const std::string& what) {
    return run(tested_binary() + " breakers " + what +
               " --address 127.0.0.1:" + std::to_string(closed.rpc_port) + " --token-file " +
               closed.folder().write(who, make_token(who).text));
  };
  EXPECT_EQ(ask("eye", "list").status, 0);
  const auto refused = ask("app", "list");
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.out, HasSubstr("FORBIDDEN"));
  EXPECT_EQ(ask("eye", "reset x --reason r").status, 1);
}

}  // namespace
}  // namespace portcullis::e2e

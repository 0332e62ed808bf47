// The real binary, as a user calls it.
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <openssl/sha.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <thread>

#include "core/bytes.hpp"
#include "shell.hpp"

namespace portcullis::apps {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

/// `out` has what goes to standard error; standard output goes where `to` says, as a shell would.
ran run_into(const std::string& to, const std::string& arguments) {
  return run(arguments + " 2>&3 " + to + " 3>&- #", "exec 3>&1;");
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

const std::string token_text(43, 'A');

class binary : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::temp_directory_path() / ("portcullis_binary_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string file(const std::string& name, const std::string& text = "") {
    const auto path = (folder_ / name).string();
    if (!text.empty()) std::ofstream(path) << text;
    return path;
  }
  std::filesystem::path folder_;
};

/// Accepts one connection, answers each line by what `reply` says; an empty answer closes.
class fake_server {
 public:
  explicit fake_server(std::function<std::string(const std::string&)> reply)
      : listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        listen(listener_, 4) != 0)
      std::abort();
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this, reply = std::move(reply)] { serve(reply); });
  }
  ~fake_server() {
    shutdown(listener_, SHUT_RDWR);  // ends an accept that nobody has met
    thread_.join();
    close(listener_);
  }
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] std::vector<std::string> heard() const {
    const std::lock_guard guard(mutex_);
    return heard_;
  }

 private:
  void serve(const std::function<std::string(const std::string&)>& reply) {
    const int fd = accept(listener_, nullptr, nullptr);
    if (fd < 0) return;
    std::string text;
    char c = 0;
    while (read(fd, &c, 1) == 1) {
      if (c != '\n') {
        text += c;
        continue;
      }
      {
        const std::lock_guard guard(mutex_);
        heard_.push_back(text);
      }
      const auto answer = reply(text);
      text.clear();
      if (answer.empty() || write(fd, answer.data(), answer.size()) < 0) break;
    }
    close(fd);
  }
  int listener_;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::string> heard_;  // guarded by mutex_
  std::jthread thread_;
};

TEST_F(binary, version_names_product_and_protocol) {
  const auto result = run("version");
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.out, MatchesRegex("portcullis [0-9]+\\.[0-9]+\\.[0-9]+ \\(protocol 1\\)\n"));
}

TEST_F(binary, usage_errors_exit_64_and_help_exits_0) {
  const auto unknown = run("nonsense");
  EXPECT_EQ(unknown.status, 64);
  EXPECT_THAT(unknown.out, HasSubstr("there is no subcommand nonsense"));
  EXPECT_THAT(run("serve --confg x").out, Not(HasSubstr("no subcommand")));
  EXPECT_THAT(run("--version").out, testing::StartsWith("portcullis "));
  EXPECT_EQ(run("token new --name 'a b'").status, 64);
  EXPECT_EQ(run("").status, 64);
  EXPECT_EQ(run("call").status, 64);
  EXPECT_EQ(run("--help").status, 0);
}

/// They were taken for success; what is long is written in the middle, what is short at the end.
TEST_F(binary, what_could_not_be_printed_is_told_and_exits_1) {
  for (const auto* each : {"version", "token new", "docs metrics", "completion bash", "--help"}) {
    const auto full = run_into(">/dev/full", each);
    EXPECT_EQ(full.status, 1) << each;
    EXPECT_THAT(lines_of(full.out),
                ElementsAre("portcullis: standard output: No space left on device"))
        << each;
  }
  const auto script = file(
      "gone.sh", std::string(PORTCULLIS_BINARY) + " docs metrics | true\nexit ${PIPESTATUS[0]}\n");
  FILE* gone = popen(("bash " + script).c_str(), "r");
  EXPECT_EQ(pclose(gone), 0) << "a reader that has seen enough";
}

/// Its number went to the next file that was opened: an export was written into the lock's file.
TEST_F(binary, a_closed_standard_output_is_told_and_nothing_else_is_written_to) {
  const auto closed = run_into(">&-", "version");
  EXPECT_EQ(closed.status, 1);
  EXPECT_EQ(closed.out, "portcullis: standard output: Bad file descriptor\n");
  fake_server server([](const std::string&) { return std::string("{\"result\":{}}\n"); });
  EXPECT_EQ(run_into("<&- >&-", "call --address " + server.address() + " server.ping").status, 1);
  EXPECT_THAT(server.heard(), testing::SizeIs(1));
}

TEST_F(binary, check_config_says_ok_or_every_problem_with_its_line) {
  const auto good = run("check-config " + std::string(PORTCULLIS_SOURCE_DIR) + "/configs/dev.toml");
  EXPECT_EQ(good.status, 0);
  EXPECT_THAT(good.out, EndsWith("configs/dev.toml: ok\n"));
  const auto path = file("bad.toml",
                         "[server]\nenvironment = \"development\"\n[session]\nidle_ttl = "
                         "1\n[lockout]\nthreshold = 0\n");
  const auto bad = run("check-config " + path);
  EXPECT_EQ(bad.status, 1);
  EXPECT_THAT(
      lines_of(bad.out),
      ElementsAre(
          path + ":6: lockout.threshold: must be an integer from 1 to 1000000, not 0",
          path + ":4: session.idle_ttl: there is no such key; did you mean session.idle_ttl_s?"));
}

TEST_F(binary, check_config_tells_of_a_key_file_that_serve_would_refuse) {
  const auto keys = file("keys");
  const auto path = file("production.toml",
                         "[server]\nenvironment = \"production\"\n[crypto]\nkeys_file = \"" + keys +
                             "\"\n[auth]\nmode = \"token\"\n[[auth.token]]\nname = \"web\"\nrole = "
                             "\"app\"\nsha256 = \"" +
                             std::string(64, 'a') + "\"\n");
  const auto without = run("check-config " + path);
  EXPECT_EQ(without.status, 0) << "another machine may have it";
  EXPECT_THAT(without.out, HasSubstr("there is no key file"));
  run("keys new --out " + keys);
  EXPECT_THAT(run("check-config " + path).out, Not(HasSubstr("would not start")));
}

TEST_F(binary, check_config_shows_the_effective_values_with_the_environment_over_the_file) {
  const auto path =
      file("c.toml", "[server]\nenvironment = \"development\"\n[lockout]\nthreshold = 4\n");
  const auto result = run("check-config --effective " + path, "PORTCULLIS_LOCKOUT__WINDOW_S=60");
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.out, HasSubstr("lockout.threshold = 4  # " + path + ":4\n"));
  EXPECT_THAT(result.out,
              HasSubstr("lockout.window_s = 60  # environment PORTCULLIS_LOCKOUT__WINDOW_S\n"));
  EXPECT_EQ(run("check-config " + file("again.toml", result.out)).status, 0)
      << "it can be read back";
}

TEST_F(binary, serve_refuses_a_configuration_with_problems_in_lines_of_json) {
  const auto result = run("serve --set lockout.threshold=0 --data-dir " + file("data"));
  EXPECT_EQ(result.status, 1);
  const auto lines = lines_of(result.out);
  ASSERT_THAT(lines, testing::SizeIs(3));
  for (const auto& line : lines)
    EXPECT_THAT(line, MatchesRegex("\\{\"@timestamp\":.*\"error.code\":\"CONFIG_INVALID\".*\\}"));
  EXPECT_THAT(result.out, HasSubstr("portcullis token new"));
  EXPECT_FALSE(std::filesystem::exists(file("data")));
}

TEST_F(binary, token_new_prints_a_token_and_its_hash) {
  const auto result = run("token new --name web --role observer");
  EXPECT_EQ(result.status, 0);
  const auto lines = lines_of(result.out);
  ASSERT_THAT(lines, testing::SizeIs(6));
  EXPECT_THAT(lines[0], MatchesRegex("[A-Za-z0-9_-]+"));
  EXPECT_EQ(lines[0].size(), 43U);
  core::byte_array<32> hash;
  SHA256(reinterpret_cast<const unsigned char*>(lines[0].data()), lines[0].size(), hash.data());
  EXPECT_EQ(lines[5], "sha256 = \"" + core::to_hex(hash) + "\"");
  EXPECT_NE(lines[0], lines_of(run("token new").out)[0]);
  const auto config = file(
      "t.toml", "[server]\nenvironment = \"development\"\n" + result.out.substr(lines[0].size()));
  EXPECT_EQ(run("check-config " + config).status, 0);
}

TEST_F(binary, a_token_written_to_a_file_is_not_printed_and_private) {
  const auto path = file("token");
  const auto result = run("token new --out " + path);
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.out, testing::StartsWith("[[auth.token]]"));
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  EXPECT_EQ(info.st_size, 44);
  EXPECT_EQ(run("token new --out " + path).status, 1) << "it is there already";
}

TEST_F(binary, keys_are_made_listed_and_rotated_until_the_ring_is_full) {
  const auto path = file("keys");
  EXPECT_EQ(run("keys new --out " + path).status, 0);
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  EXPECT_EQ(run("keys new --out " + path).status, 1) << "never over an existing file";
  EXPECT_THAT(lines_of(run("keys list --file " + path).out),
              ElementsAre(HasSubstr("ring key 1, made 2"), HasSubstr("check value ")));
  EXPECT_EQ(run("keys rotate --file " + path).status, 0);
  EXPECT_EQ(run("keys rotate --file " + path).status, 0);
  const auto full = run("keys rotate --file " + path);
  EXPECT_EQ(full.status, 1);
  EXPECT_THAT(full.out, HasSubstr("admin.rotate_keys"));
  EXPECT_THAT(run("keys rotate --drop-oldest --file " + path).out,
              testing::AllOf(HasSubstr("ring key 4"), HasSubstr("ring key 2"),
                             Not(HasSubstr("ring key 1,"))));
  EXPECT_EQ(run("keys list --file " + file("junk", "junk\n")).status, 1);
}

TEST_F(binary, call_prints_the_result_as_it_came) {
  fake_server server([](const std::string&) {
    return std::string("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":1.0,\"b\":{\"a\":[]}}}\n");
  });
  const auto result = run("call --address " + server.address() + " session.stats '{\"x\": \"y\"}'");
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.out, "{\"a\":1.0,\"b\":{\"a\":[]}}\n");
  EXPECT_THAT(
      server.heard(),
      ElementsAre(R"({"jsonrpc":"2.0","id":1,"method":"session.stats","params":{"x": "y"}})"));
}

TEST_F(binary, call_prints_an_error_and_exits_1) {
  fake_server server([](const std::string&) {
    return std::string(
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32601,\"message\":\"m\"}}\n");
  });
  const auto result = run("call --address " + server.address() + " no.such");
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.out, "{\"code\":-32601,\"message\":\"m\"}\n");
}

TEST_F(binary, call_reads_parameters_from_standard_input) {
  fake_server server([](const std::string&) { return std::string("{\"result\":{}}\n"); });
  EXPECT_EQ(
      run("call --address " + server.address() + " server.ping -", "echo '{\"a\":1}' |").status, 0);
  EXPECT_THAT(server.heard(), testing::Contains(HasSubstr("\"params\":{\"a\":1}")));
}

TEST_F(binary, call_logs_in_first_when_it_has_a_token) {
  fake_server server([](const std::string& line) {
    const bool login = line.find("auth.login") != std::string::npos;
    return std::string(login ? "{\"id\":0,\"result\":{\"role\":\"app\"}}\n"
                             : "{\"id\":1,\"result\":{\"ok\":true}}\n");
  });
  const auto result = run("call --token-file " + file("token", token_text + "\n") + " --address " +
                          server.address() + " server.info");
  EXPECT_EQ(result.out, "{\"ok\":true}\n");
  EXPECT_THAT(server.heard(), ElementsAre(HasSubstr("\"token\":\"" + token_text + "\""),
                                          HasSubstr("\"server.info\"")));
}

TEST_F(binary, call_exits_1_when_the_token_is_refused_and_asks_nothing_more) {
  fake_server server(
      [](const std::string&) { return std::string("{\"id\":0,\"error\":{\"code\":2002}}\n"); });
  const auto result = run("call --token-file " + file("token", token_text + "\n") + " --address " +
                          server.address() + " server.info");
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.out, "{\"code\":2002}\n");
  EXPECT_THAT(server.heard(), testing::SizeIs(1));
}

TEST_F(binary, call_sends_no_token_that_has_not_the_form_of_one) {
  EXPECT_THAT(run("call --token-file /nowhere server.info").out, HasSubstr("No such file"));
  fake_server server([](const std::string&) { return std::string("{}\n"); });
  const auto result = run("call --token-file " + file("token", "secret\n") + " --address " +
                          server.address() + " server.info");
  EXPECT_EQ(result.status, 64);
  EXPECT_THAT(result.out, HasSubstr("is no token"));
  EXPECT_THAT(server.heard(), testing::IsEmpty());
}

TEST_F(binary, call_exits_2_when_there_is_no_answer) {
  std::string gone;
  {
    gone = fake_server([](const std::string&) { return std::string(); }).address();
  }
  EXPECT_EQ(run("call --address " + gone + " server.ping").status, 2);
  EXPECT_EQ(run("call --address nowhere server.ping").status, 2);
  fake_server closes([](const std::string&) { return std::string(); });
  EXPECT_EQ(run("call --address " + closes.address() + " server.ping").status, 2);
  fake_server chatter([](const std::string&) { return std::string("HTTP/1.1 400\n"); });
  EXPECT_EQ(run("call --address " + chatter.address() + " server.ping").status, 2);
  fake_server silent([](const std::string&) { return std::string(" "); });
  EXPECT_EQ(run("call --timeout 0.05 --address " + silent.address() + " server.ping").status, 2);
}

TEST_F(binary, call_refuses_parameters_that_are_not_json) {
  EXPECT_EQ(run("call server.ping '{'").status, 64);
}

TEST_F(binary, bench_counts_what_a_server_answers) {
  fake_server server([](const std::string& line) {
    const bool ping = line.find("server.ping") != std::string::npos;
    return std::string(ping ? "{\"jsonrpc\":\"2.0\",\"id\":6,\"result\":{}}\n" : "?\n");
  });
  const auto result = run(
      "bench --json --connections 1 --sessions 0 --mix ping --warmup 0 --seconds 0.1 --address " +
      server.address());
  EXPECT_EQ(result.status, 0) << result.out;
  EXPECT_THAT(result.out, testing::AllOf(HasSubstr("\"errors\":0,\"unexpected\":0"),
                                         Not(HasSubstr("\"requests\":0,"))));
}

TEST_F(binary, bench_exits_1_on_wrong_answers_and_2_when_not_reached) {
  std::string gone;
  {
    fake_server server([](const std::string&) {
      return std::string("{\"jsonrpc\":\"2.0\",\"id\":6,\"error\":{}}\n");
    });
    gone = server.address();
    EXPECT_EQ(
        run("bench --connections 1 --sessions 0 --mix ping --warmup 0 --seconds 0.1 --address " +
            gone)
            .status,
        1);
  }
  EXPECT_EQ(run("bench --address " + gone).status, 2);
  EXPECT_EQ(run("bench --mix nonsense=1").status, 64);
}

TEST_F(binary, completion_offers_every_subcommand_option_and_method_in_each_shell) {
  for (const auto* shell : {"bash", "zsh", "fish"}) {
    const auto script = run(std::string("completion ") + shell).out;
    for (const auto* word :
         {"check-config", "rotate", "token-file", "session.validate", "server-name", "revoke"})
      EXPECT_THAT(script, HasSubstr(word)) << shell;
    EXPECT_THAT(script, Not(HasSubstr("docs"))) << "hidden";
  }
}

/// Each shell's own check of its syntax.
TEST_F(binary, the_completion_of_each_shell_that_is_here_is_a_script_of_it) {
  for (const auto* shell_name : {"bash", "zsh", "fish"}) {
    if (shell(std::string("command -v ") + shell_name).status != 0) continue;  // bash always is
    const auto script =
        file(std::string("c.") + shell_name, run(std::string("completion ") + shell_name).out);
    const auto told = shell(std::string(shell_name) + " -n " + script);
    EXPECT_EQ(told.status, 0) << shell_name;
    EXPECT_EQ(told.out, "") << shell_name;
  }
}

TEST_F(binary, the_committed_reference_pages_are_what_the_binary_prints) {
  for (const auto& [page, name] :
       {std::pair("config", "configuration.md"), std::pair("errors", "errors.md"),
        std::pair("events", "events.md"), std::pair("metrics", "metrics.md")}) {
    const auto printed = run(std::string("docs ") + page);
    EXPECT_EQ(printed.status, 0) << page;
    std::ifstream committed(std::string(PORTCULLIS_SOURCE_DIR "/docs/") + name);
    const std::string text(std::istreambuf_iterator<char>(committed), {});
    EXPECT_EQ(text, printed.out) << "run: portcullis docs " << page << " > docs/" << name;
  }
  EXPECT_EQ(run("docs nothing").status, 64);
}

TEST_F(binary, the_bash_completion_completes) {
  const auto script = file("c.bash", run("completion bash").out);
  const auto complete = [&](const std::string& words, int at) {
    FILE* pipe = popen(("bash -c 'source " + script + "; COMP_WORDS=(" + words + "); COMP_CWORD=" +
                        std::to_string(at) + "; _portcullis; printf \"%s \" \"${COMPREPLY[@]}\"'")
                           .c_str(),
                       "r");
    std::string out;
    std::array<char, 4096> block;
    for (std::size_t got = 0; (got = fread(block.data(), 1, block.size(), pipe)) > 0;)
      out.append(block.data(), got);
    pclose(pipe);
    return out;
  };
  EXPECT_EQ(complete("portcullis che", 1), "check check-config checkpoint ");
  EXPECT_EQ(complete("portcullis keys ro", 2), "rotate ");
  EXPECT_EQ(complete("portcullis call --tok", 2), "--token-file ");
  EXPECT_EQ(complete("portcullis call --address x session.val", 4), "session.validate ");
  EXPECT_EQ(complete("portcullis completion ", 2), "bash zsh fish ");
  EXPECT_EQ(complete("portcullis token new --role o", 4), "observer ");
  EXPECT_EQ(complete("portcullis top --interval ", 3), " ") << "a number is nothing to offer";
  const auto key = file("completed.key", "x");
  EXPECT_EQ(complete("portcullis check --token-file " + key.substr(0, key.size() - 2), 3),
            key + " ");
  EXPECT_EQ(complete("portcullis check-config " + key.substr(0, key.size() - 2), 2), key + " ");
  EXPECT_EQ(complete("portcullis top " + key.substr(0, key.size() - 2), 2), " ")
      << "it takes no file";
}

/// `forget --keys-file K` acted on the server at 127.0.0.1.
TEST_F(binary, an_option_that_would_be_ignored_is_wrong_usage) {
  const std::string whom = " --tenant t --user u --reason r";
  for (const auto* each :
       {"forget --keys-file k", "forget --config c", "forget --data-dir d --address 127.0.0.1:1",
        "forget --data-dir d --token-file t", "forget --data-dir d --timeout 1"})
    EXPECT_EQ(run(each + whom).status, 64) << each;
  for (const auto* each :
       {"events export --data-dir d --keys-file k", "events export --data-dir d --config c"})
    EXPECT_EQ(run(each).status, 64) << each;
  EXPECT_EQ(run("forget --data-dir /nowhere --keys-file k" + whom).status, 1);
  EXPECT_EQ(run("events export --data-dir /nowhere --shown --keys-file k").status, 1);
}

/// `events query --tenant "$UNSET"` printed the events of all tenants.
TEST_F(binary, an_empty_value_is_wrong_usage_and_not_no_filter) {
  const std::string query = "events query --address 127.0.0.1:1 ";
  for (const auto& each :
       {query + "--tenant ''", query + "--tenant= --json", query + "--tenant a --user ''",
        query + "--handle ''", query + "--service ''", query + "--after ''", query + "--types ''",
        query + "--from ''", query + "--token-file ''", query + "--limit ''",
        std::string("events tail --address 127.0.0.1:1 --tenant ''"),
        std::string("replay --data-dir d --until ''"),
        std::string("events export --data-dir d --until ''"),
        std::string("events export --data-dir d --after ''"),
        std::string("events export --data-dir d --out ''"),
        std::string("state --data-dir d --user ''"), std::string("explain --data-dir d ''"),
        std::string("verify --data-dir d --checkpoint ''"), std::string("serve --data-dir ''")}) {
    const auto refused = run(each);
    EXPECT_EQ(refused.status, 64) << each;
    EXPECT_THAT(refused.out, Not(testing::IsEmpty())) << each;
  }
  EXPECT_THAT(run(query + "--tenant ''").out, HasSubstr("--tenant: its value is empty"));
}

/// `--limit 0` was told with a number of 309 digits, `--after -1` exported all, port 65536 was 0.
TEST_F(binary, numbers_that_make_no_sense_are_refused_in_few_words) {
  for (const auto* each : {"0", "-1", "x", "1.5"}) {
    const auto refused = run(std::string("events query --limit ") + each);
    EXPECT_EQ(refused.status, 64) << each;
    EXPECT_THAT(refused.out,
                HasSubstr("--limit: " + std::string(each) + ": is no whole number from 1 on"));
  }
  for (const auto* each : {"events export --data-dir d --after -1", "explain --data-dir d -1",
                           "explain --data-dir d -- -1", "explain --data-dir d 0"})
    EXPECT_EQ(run(each).status, 64) << each;
  fake_server server([](const std::string&) { return std::string("{\"result\":{}}\n"); });
  const auto address = server.address();
  const auto colon = address.find(':') + 1;
  const auto beyond = std::to_string(std::stoi(address.substr(colon)) + 65'536);
  for (const auto& port : {beyond, std::string("0"), std::string("-1"), std::string("1x")}) {
    const auto refused = run("call --address " + address.substr(0, colon) + port + " server.ping");
    EXPECT_EQ(refused.status, 2) << port;
    EXPECT_THAT(refused.out, HasSubstr("a port is a number from 1 to 65535")) << port;
  }
  EXPECT_THAT(server.heard(), testing::IsEmpty());
}

}  // namespace
}  // namespace portcullis::apps

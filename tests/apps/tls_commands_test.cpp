// Commands over TLS: the load generator, the binary's options, and a server that is not ours.
#include <sys/wait.h>

#include "apps/bench/loop.hpp"
#include "shell.hpp"
#include "tests/apps/lines_script.hpp"
#include "tls_fixture.hpp"

namespace portcullis::apps {
namespace {

using testing::HasSubstr;
using tls_commands = tls_test;

TEST_F(tls_commands, under_load_every_request_gets_its_reply_however_records_are_cut) {
  for (const std::size_t piece : {std::size_t{3}, std::size_t{34}, std::size_t{16 * 1024}})
    for (const std::size_t depth : {std::size_t{1}, std::size_t{16}, std::size_t{2'000}}) {
      tls_server server({.identity = server_, .piece = piece}, echo);
      std::string why;
      const auto way = connector::make(to(server), why);
      std::vector<stream> streams;
      std::vector<bench_peer> peers;
      for (int i = 0; i < 5; ++i) {
        auto made = way->connect(patience, why);
        ASSERT_TRUE(made) << why;
        streams.push_back(std::move(*made));
      }
      for (const auto& each : streams) peers.emplace_back(each.descriptor(), each.tls());
      lines_script script(4'000, "hello, this is the load generator\n");
      std::atomic<std::uint64_t> replies{0};
      const auto outcome = run_loop(peers, {depth}, script, {}, replies);
      EXPECT_EQ(outcome.tally.replies, 4'000U) << piece << " " << depth;
      EXPECT_EQ(outcome.latencies.count(), 4'000U);
      EXPECT_EQ(outcome.lost_connections, 0U);
    }
}

TEST_F(tls_commands, a_connection_that_is_lost_under_load_is_counted) {
  tls_server server({.identity = server_}, [](const std::string&, SSL*) { return std::string(); });
  std::string why;
  const auto way = connector::make(to(server), why);
  const auto made = way->connect(patience, why);
  ASSERT_TRUE(made) << why;
  lines_script script(10);
  std::atomic<std::uint64_t> replies{0};
  const auto outcome = run_loop({{made->descriptor(), made->tls()}}, {1}, script, {}, replies);
  EXPECT_EQ(outcome.lost_connections, 1U);
  EXPECT_EQ(outcome.tally.replies, 0U);
}

// The binary, and a server that is not ours.

const std::string pong = R"({"jsonrpc":"2.0","id":1,"result":{"pong":true}})"
                         "\n";

TEST_F(tls_commands, every_command_that_connects_takes_the_same_options) {
  tls_server server({.identity = server_}, [](const std::string&, SSL*) { return pong; });
  const auto trusted = " --address tls://" + server.address() + " --ca " + ca_ + " ";
  const auto called = run("call server.ping" + trusted);
  EXPECT_EQ(called.status, 0);
  EXPECT_EQ(called.out, "{\"pong\":true}\n");
  EXPECT_EQ(run("breakers status mail" + trusted).status, 0);
  for (const std::string each :
       {"call server.ping", "breakers list", "breakers watch", "events query", "events tail",
        "forget --tenant a --user b --reason c", "bench --connections 1 --sessions 1"}) {
    const auto refused = run(each + " --tls --address " + server.address());
    EXPECT_EQ(refused.status, 2) << each;
    EXPECT_THAT(refused.out, HasSubstr(server.address() + ": the server's certificate is not"))
        << each;
    const auto unusable = run(each + " --ca /nowhere" + " --tls --address " + server.address());
    EXPECT_EQ(unusable.status, 64) << each;
    EXPECT_THAT(unusable.out, HasSubstr("/nowhere: no certificate")) << each;
    EXPECT_EQ(run(each + " --tls --cert x").status, 64) << each;
  }
}

TEST_F(tls_commands, events_are_followed_over_tls) {
  tls_server server({.identity = server_}, [](const std::string& line, SSL*) {
    EXPECT_THAT(line, HasSubstr("events.subscribe"));
    std::string said = R"({"jsonrpc":"2.0","id":1,"result":{"subscription":"s","cursor":"e1"}})"
                       "\n";
    for (int i = 2; i < 4; ++i)
      said += R"({"jsonrpc":"2.0","method":"event","params":{"cursor":"e)" + std::to_string(i) +
              R"(","event":{"seq":)" + std::to_string(i) + "}}}\n";
    return said;
  });
  // The command ends when nobody reads any more, though nothing comes.
  const auto followed =
      run("events tail --tls --ca " + ca_ + " --address " + server.address() + " | head -2 #");
  EXPECT_EQ(followed.out, R"({"seq":2,"cursor":"e2"})"
                          "\n"
                          R"({"seq":3,"cursor":"e3"})"
                          "\n");
}

TEST_F(tls_commands, bench_drives_a_server_over_tls) {
  for (const auto* depth : {"1", "16"}) {
    tls_server server({.identity = server_}, [](const std::string& line, SSL*) {
      const bool ping = line.find("server.ping") != std::string::npos;
      return std::string(ping ? "{\"jsonrpc\":\"2.0\",\"id\":6,\"result\":{}}\n" : "?\n");
    });
    const auto result =
        run("bench --json --connections 50 --threads 2 --sessions 0 --mix ping --warmup 0 "
            "--seconds 0.2 --tls --ca " +
            ca_ + " --address " + server.address() + " --depth " + depth);
    EXPECT_EQ(result.status, 0) << result.out;
    EXPECT_THAT(result.out, HasSubstr("\"errors\":0,\"unexpected\":0"));
  }
}

/// `openssl s_server`, which passes on what is written to it.
class openssl_server {
 public:
  explicit openssl_server(std::vector<std::string> more) {
    std::vector<std::string> words = {"openssl", "s_server", "-accept", "127.0.0.1:0"};
    words.insert(words.end(), more.begin(), more.end());
    std::vector<char*> arguments;
    for (auto& each : words) arguments.push_back(each.data());
    arguments.push_back(nullptr);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
    pid_ = fork();
    if (pid_ == 0) {
      for (const int each : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(ends[1], each);
      execvp(arguments[0], arguments.data());
      _exit(127);
    }
    close(ends[1]);
    fd_ = ends[0];
    const std::string mark = "ACCEPT 127.0.0.1:";
    std::string text;
    for (char c = 0; read(fd_, &c, 1) == 1 && (c != '\n' || !text.ends_with(c));) {
      if (c == '\n' && text.rfind(mark) != std::string::npos) break;
      text += c;
    }
    const auto at = text.rfind(mark);
    if (at != std::string::npos) port_ = text.substr(at + mark.size());
  }
  ~openssl_server() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    close(fd_);
  }
  openssl_server(const openssl_server&) = delete;
  openssl_server& operator=(const openssl_server&) = delete;
  void say(const std::string& text) const {
    EXPECT_EQ(write(fd_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  [[nodiscard]] std::string port() const { return port_; }

 private:
  pid_t pid_ = -1;
  int fd_ = -1;
  std::string port_;
};

TEST_F(tls_commands, the_openssl_tools_server_and_the_commands_agree) {
  const auto folder = (folder_ / "dev").string();
  ASSERT_EQ(run("certs dev --client web --client gone --out " + folder).status, 0);
  ASSERT_EQ(run("certs dev --revoke gone --out " + folder).status, 0);
  const auto in = [&](const std::string& name) { return folder + "/" + name; };
  std::ofstream(in("ca-and-list.pem"))
      << std::ifstream(in("ca.pem")).rdbuf() << std::ifstream(in("crl.pem")).rdbuf();
  for (const auto* version : {"-tls1_2", "-tls1_3"}) {
    const auto call = [&](const std::string& client) {
      openssl_server server({"-cert", in("server.pem"), "-key", in("server-key.pem"), "-CAfile",
                             in("ca.pem"), "-CRL", in("crl.pem"), "-crl_check", "-Verify", "1",
                             "-verify_return_error", version});
      server.say(pong);  // which it hands to whoever connects
      const auto identity =
          client.empty() ? ""
                         : " --cert " + in(client + ".pem") + " --key " + in(client + "-key.pem");
      return run("call server.ping --address tls://localhost:" + server.port() + " --ca " +
                 in("ca.pem") + identity);
    };
    const auto good = call("web");
    EXPECT_EQ(good.status, 0) << good.out;
    EXPECT_EQ(good.out, "{\"pong\":true}\n");
    const auto revoked = call("gone");
    EXPECT_EQ(revoked.status, 2);
    EXPECT_THAT(revoked.out, HasSubstr("it is revoked"));
    const auto nobody = call("");
    EXPECT_EQ(nobody.status, 2);
    EXPECT_THAT(nobody.out, HasSubstr("asks for a client certificate"));
  }
}

}  // namespace
}  // namespace portcullis::apps

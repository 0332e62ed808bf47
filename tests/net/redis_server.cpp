#include "tests/net/redis_server.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "tests/send_signal.hpp"

namespace portcullis::net::test {
namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in made{};
  made.sin_family = AF_INET;
  made.sin_port = htons(port);
  made.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return made;
}

bool accepts(std::uint16_t port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto to = loopback(port);
  const bool made = ::connect(socket, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  ::close(socket);
  return made;
}

/// Empty where there is no such file.
std::string text_of(const std::string& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

[[noreturn]] void become(const std::vector<std::string>& words) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::vector<char*> made;
  for (const auto& word : words) made.push_back(const_cast<char*>(word.c_str()));
  made.push_back(nullptr);
  ::execvp(made[0], made.data());
  ::_exit(127);
}

}  // namespace

scratch_folder::scratch_folder() {
  std::string made = (std::filesystem::temp_directory_path() / "portcullis-redis-XXXXXX").string();
  EXPECT_NE(::mkdtemp(made.data()), nullptr);
  path_ = made;
}

scratch_folder::~scratch_folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::uint16_t free_port() {
  for (;;) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto at = loopback(0);
    socklen_t size = sizeof at;
    EXPECT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&at), size), 0);
    ::getsockname(socket, reinterpret_cast<sockaddr*>(&at), &size);
    ::close(socket);
    // A cluster's bus is 10,000 higher.
    if (ntohs(at.sin_port) < 55'000) return ntohs(at.sin_port);
  }
}

redis_server::redis_server(arguments more, std::uint16_t port)
    : more_(std::move(more)), port_(port) {
  if (port != 0) {
    start();
    return;
  }
  // Somebody else may take a free port first.
  for (int tries = 0; tries < 5; ++tries) {
    port_ = free_port();
    if (try_to_start()) return;
  }
  ADD_FAILURE() << "redis-server does not start; see " << folder_.path();
}

redis_server::~redis_server() { kill(); }

std::string redis_server::url() const { return "redis://127.0.0.1:" + std::to_string(port_); }

void redis_server::start() {
  ASSERT_EQ(process_, -1);
  ASSERT_TRUE(try_to_start()) << "redis-server does not start";
}

bool redis_server::try_to_start() {
  arguments words = {"redis-server", "--port",    std::to_string(port_),
                     "--bind",       "127.0.0.1", "--unixsocket",
                     socket(),       "--dir",     folder_.path(),
                     "--save",       "",          "--appendonly",
                     "no",           "--logfile", folder_.path() + "/log",
                     "--loglevel",   "notice"};
  // Sentinels need a file that they may write.
  const bool is_sentinel = !more_.empty() && more_.front().ends_with(".conf");
  if (is_sentinel) words = {"redis-server"};
  const auto log_before = is_sentinel ? 0 : text_of(folder_.path() + "/log").size();
  words.insert(words.end(), more_.begin(), more_.end());
  process_ = ::fork();
  if (process_ == 0) become(words);
  // It listens on the one before it listens on the other.
  std::uint16_t tls_port = port_;
  for (std::size_t i = 0; i + 1 < more_.size(); ++i)
    if (more_[i] == "--tls-port") tls_port = static_cast<std::uint16_t>(std::stoi(more_[i + 1]));
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  // On a port that somebody else has taken, somebody else accepts: it says itself when it does.
  const auto is_ready = [&] {
    return is_sentinel ||
           text_of(folder_.path() + "/log").find("Ready to accept connections", log_before) !=
               std::string::npos;
  };
  while (!is_ready() || !accepts(port_) || !accepts(tls_port)) {
    const bool late = std::chrono::steady_clock::now() > give_up;
    if (late) ::kill(process_, SIGKILL);
    if (::waitpid(process_, nullptr, late ? 0 : WNOHANG) != 0) {
      process_ = -1;
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // nothing tells of it
  }
  return true;
}

void redis_server::kill() {
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
  process_ = -1;
}

void redis_server::signal(int number) const { send_signal(process_, number); }

std::string redis_server::cli(const arguments& words) const {
  arguments all = {"redis-cli", "-p", std::to_string(port_)};
  all.insert(all.end(), words.begin(), words.end());
  return run_program(all);
}

std::string run_program(const std::vector<std::string>& words) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe(ends.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], 1);
    ::dup2(ends[1], 2);
    ::close(ends[0]);
    ::close(ends[1]);
    become(words);
  }
  ::close(ends[1]);
  std::string got;
  std::array<char, 4096> part;
  for (ssize_t size; (size = ::read(ends[0], part.data(), part.size())) > 0;)
    got.append(part.data(), static_cast<std::size_t>(size));
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  while (!got.empty() && got.back() == '\n') got.pop_back();
  return got;
}

}  // namespace portcullis::net::test

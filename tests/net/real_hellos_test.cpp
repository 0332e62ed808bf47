// What OpenSSL's s_client and Chromium really send first, taken from a plain listener that answers
// nothing. Each is skipped, with the reason, where its program is not installed.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "net/tls/fingerprint.hpp"

namespace portcullis::net {
namespace {

namespace fs = std::filesystem;
constexpr int patience_ms = 60'000;  // of a program that never connects; nothing is measured by it

std::optional<fs::path> installed(const std::string& program) {
  std::istringstream folders(std::getenv("PATH") != nullptr ? std::getenv("PATH") : "");
  for (std::string folder; std::getline(folders, folder, ':');)
    if (access((fs::path(folder) / program).c_str(), X_OK) == 0) return fs::path(folder) / program;
  return std::nullopt;
}

/// A program that is killed, with all that it started, when the test is done with it: what loses
/// its parent becomes a child of the test.
class program {
 public:
  explicit program(const std::vector<std::string>& words) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    std::vector<char*> arguments;
    for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    if (fork() != 0) return;
    const int nowhere = open("/dev/null", O_RDWR);
    for (const int each : {0, 1, 2}) dup2(nowhere, each);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  ~program() {
    do {
      std::ifstream children("/proc/thread-self/children");
      for (pid_t each = 0; children >> each;) kill(each, SIGKILL);
    } while (waitpid(-1, nullptr, 0) > 0);
  }
  program(const program&) = delete;
  program& operator=(const program&) = delete;
};

class listener {
 public:
  listener() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::listen(socket_, 16), 0);
    socklen_t size = sizeof at;
    EXPECT_EQ(::getsockname(socket_, reinterpret_cast<sockaddr*>(&at), &size), 0);
    port_ = ntohs(at.sin_port);
  }
  ~listener() { ::close(socket_); }
  listener(const listener&) = delete;
  listener& operator=(const listener&) = delete;

  [[nodiscard]] std::string port() const { return std::to_string(port_); }

  struct heard {
    client_hello hello;
    std::string bytes;
  };
  /// The next connection's ClientHello; the connection is closed then. Absent when nobody comes, or
  /// says something else.
  std::optional<heard> next() const {
    if (!readable(socket_)) return std::nullopt;
    const int peer = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
    if (peer < 0) return std::nullopt;
    heard found;
    client_hello_reader reader;
    std::array<char, 4096> block;
    while (reader.state() == client_hello_reader::status::need_more && readable(peer)) {
      const auto got = ::recv(peer, block.data(), block.size(), 0);
      if (got <= 0) break;
      const std::string_view bytes(block.data(), static_cast<std::size_t>(got));
      found.bytes += bytes;
      reader.feed(core::as_bytes(bytes));
    }
    ::close(peer);
    if (reader.state() != client_hello_reader::status::complete) return std::nullopt;
    found.hello = reader.hello();
    return found;
  }

 private:
  static bool readable(int descriptor) {
    pollfd which{descriptor, POLLIN, 0};
    return poll(&which, 1, patience_ms) == 1;
  }
  int socket_;
  std::uint16_t port_ = 0;
};

std::optional<listener::heard> s_client(const fs::path& openssl,
                                        const std::vector<std::string>& options) {
  const listener door;
  std::vector<std::string> words{openssl, "s_client", "-connect", "127.0.0.1:" + door.port()};
  words.insert(words.end(), options.begin(), options.end());
  const program client(words);
  return door.next();
}

TEST(the_hello_of_openssl, says_what_s_client_was_asked_for) {
  const auto openssl = installed("openssl");
  if (!openssl) GTEST_SKIP() << "openssl is not installed";
  const auto modern = s_client(*openssl, {"-tls1_3", "-servername", "a.example", "-alpn", "h2"});
  ASSERT_TRUE(modern.has_value());
  EXPECT_TRUE(ja4(modern->hello).starts_with("t13d")) << ja4_r(modern->hello);
  EXPECT_EQ(ja4(modern->hello).substr(8, 2), "h2");
  EXPECT_EQ(modern->hello.host_name, "a.example");
  EXPECT_EQ(modern->hello.supported_versions, (std::vector<std::uint16_t>{0x0304}));

  const auto old = s_client(*openssl, {"-tls1_2", "-noservername"});
  ASSERT_TRUE(old.has_value());
  EXPECT_TRUE(ja4(old->hello).starts_with("t12i")) << ja4_r(old->hello);
  EXPECT_EQ(ja4(old->hello).substr(8, 2), "00");
  EXPECT_TRUE(old->hello.supported_versions.empty());
  EXPECT_EQ(ja3(old->hello).size(), 32U);
}

TEST(the_hello_of_openssl, has_the_ciphers_groups_and_signatures_it_was_given_in_their_order) {
  const auto openssl = installed("openssl");
  if (!openssl) GTEST_SKIP() << "openssl is not installed";
  const auto found = s_client(
      *openssl,
      {"-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256", "-groups",
       "P-384:X25519", "-sigalgs", "ed25519:ECDSA+SHA256", "-alpn", "x,http/1.1"});
  ASSERT_TRUE(found.has_value());
  const auto& hello = found->hello;
  ASSERT_GE(hello.ciphers.size(), 2U);  // and the signalling value
  EXPECT_EQ(hello.ciphers[0], 0x1303);
  EXPECT_EQ(hello.ciphers[1], 0x1301);
  EXPECT_EQ(hello.groups, (std::vector<std::uint16_t>{0x0018, 0x001d}));
  EXPECT_EQ(hello.signature_algorithms, (std::vector<std::uint16_t>{0x0807, 0x0403}));
  EXPECT_EQ(hello.alpn, "x");
  EXPECT_EQ(ja4(hello).substr(8, 2), "xx");
  EXPECT_TRUE(ja4_r(hello).ends_with("_0807,0403"));
}

TEST(the_hello_of_openssl, has_the_same_fingerprints_on_every_connection) {
  const auto openssl = installed("openssl");
  if (!openssl) GTEST_SKIP() << "openssl is not installed";
  const auto first = s_client(*openssl, {});
  const auto second = s_client(*openssl, {});
  ASSERT_TRUE(first && second);
  EXPECT_NE(first->bytes, second->bytes);  // its random bytes at least
  EXPECT_EQ(ja4(first->hello), ja4(second->hello));
  EXPECT_EQ(ja3(first->hello), ja3(second->hello));
}

/// A folder that goes with the test.
struct scratch {
  scratch() {
    auto name = (fs::temp_directory_path() / "portcullis-profile-XXXXXX").string();
    path = mkdtemp(name.data());
  }
  ~scratch() {
    std::error_code left;
    fs::remove_all(path, left);
  }
  fs::path path;
};

bool has_grease(const std::vector<std::uint16_t>& values) {
  return std::any_of(values.begin(), values.end(), is_grease);
}

TEST(the_hello_of_chromium, has_grease_which_the_fingerprint_has_not_and_keeps_its_ja4) {
  const auto chromium = installed("chromium");
  if (!chromium) GTEST_SKIP() << "chromium is not installed";
  const listener door;
  std::vector<listener::heard> heard;
  const scratch profile;
  for (int runs = 0; runs < 3 && heard.size() < 2; ++runs) {
    // It tries again when a connection is closed on it, unless it gives up at once.
    const program browser(
        {*chromium, "--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors",
         "--no-first-run", "--disable-background-networking",
         "--user-data-dir=" + profile.path.string(), "https://localhost:" + door.port() + "/"});
    while (heard.size() < 2) {
      auto next = door.next();
      if (!next) break;
      heard.push_back(std::move(*next));
    }
  }
  if (heard.empty()) GTEST_SKIP() << "chromium does not run here: no ClientHello came";
  ASSERT_EQ(heard.size(), 2U);
  for (const auto& each : heard) {
    const auto& hello = each.hello;
    const auto shown = ja4(hello);
    EXPECT_TRUE(shown.starts_with("t13i") || shown.starts_with("t13d")) << shown;
    EXPECT_EQ(shown.substr(3, 1) == "d", hello.host_name == "localhost") << shown;
    EXPECT_TRUE(has_grease(hello.ciphers) && has_grease(hello.extensions) &&
                has_grease(hello.groups) && has_grease(hello.supported_versions));
    for (unsigned high = 0; high < 16; ++high) {
      const auto value =
          core::to_hex(core::byte_array<2>{static_cast<std::uint8_t>(high << 4U | 0xaU),
                                           static_cast<std::uint8_t>(high << 4U | 0xaU)});
      EXPECT_EQ(ja4_r(hello).find(value), std::string::npos) << ja4_r(hello);
      EXPECT_EQ(("-" + ja3_text(hello)).find('-' + std::to_string((high << 4U | 0xaU) * 0x0101U)),
                std::string::npos)
          << ja3_text(hello);
    }
  }
  EXPECT_EQ(ja4(heard[0].hello), ja4(heard[1].hello));
  // Chromium shuffles its extensions anew for every connection (since 110).
  const bool shuffled = ja4_ro(heard[0].hello) != ja4_ro(heard[1].hello);
  EXPECT_EQ(ja3(heard[0].hello) != ja3(heard[1].hello), shuffled);
  RecordProperty("ja4", ja4(heard[0].hello));
  RecordProperty("shuffled", shuffled ? 1 : 0);
}

}  // namespace
}  // namespace portcullis::net

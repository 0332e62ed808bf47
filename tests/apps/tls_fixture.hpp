// An authority, a server's certificate of it, and clients that ask a line.
#pragma once
#include <gmock/gmock.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include "apps/line_client.hpp"
#include "tls_server.hpp"

namespace portcullis::apps {

using std::chrono::milliseconds;
inline constexpr milliseconds patience{20'000};

inline std::int64_t now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}
inline constexpr std::int64_t day_s = 86'400;

inline std::string echo(const std::string& line, SSL*) { return line + "\n"; }

class tls_test : public testing::Test {
 protected:
  tls_test()
      : folder_(std::filesystem::temp_directory_path() /
                ("portcullis_tls_" + std::to_string(getpid()))),
        ours_(dev_authority::make(now_s(), 1'000)),
        server_(ours_.issue_server({"localhost", "127.0.0.1"}, now_s(), 10)) {
    std::filesystem::create_directories(folder_);
    ca_ = file("ca.pem", ours_.texts().certificate);
  }
  ~tls_test() override { std::filesystem::remove_all(folder_); }

  std::string file(const std::string& name, const std::string& text) const {
    const auto path = (folder_ / name).string();
    std::ofstream(path) << text;
    return path;
  }
  [[nodiscard]] connect_options to(const tls_server& server) const {
    connect_options out;
    out.address = server.address();
    out.tls = true;
    out.ca_file = ca_;
    return out;
  }
  void identify(connect_options& with, const certificate_pair& pair) const {
    with.certificate_file = file("client.pem", pair.certificate);
    with.key_file = file("client-key.pem", pair.key);
  }
  /// What a line is answered; otherwise "!" and why not.
  static std::string ask(const connect_options& with, const std::string& line = "hello",
                         milliseconds timeout = patience) {
    std::string why;
    const auto way = connector::make(with, why);
    if (!way) return "!" + why;
    line_client client(timeout);
    if (!client.connect(*way) || !client.send(line + "\n")) return "!" + client.why();
    return client.receive().value_or("!" + client.why());
  }

  std::filesystem::path folder_;
  dev_authority ours_;
  certificate_pair server_;
  std::string ca_;
};

}  // namespace portcullis::apps

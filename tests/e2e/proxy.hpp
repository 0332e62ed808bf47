// A reverse proxy of Debian in front of an application, run from its file in configs/examples with
// the ports replaced, and a browser that speaks to it.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "harness.hpp"
#include "process.hpp"

namespace portcullis::e2e {

/// What is particular to a proxy.
struct flavour {
  std::string name;
  std::vector<std::string> files;  // in configs/examples; the first is the configuration
  std::string command;             // run in the folder that has the files
  int locked_out = 0;              // the status that a client gets, and...
  int server_down = 0;
  bool tells_why = false;  // ...whether Portcullis' own answer reaches it
};
inline void PrintTo(const flavour& which, std::ostream* to) { *to << which.name; }

inline std::vector<flavour> flavours() {
  return {
      {"nginx",
       {"nginx.conf"},
       // One process: a master that is killed would leave its workers behind.
       "nginx -p . -c $PWD/nginx.conf -e stderr -g 'daemon off; master_process off; pid pid;'",
       403,
       500,
       false},
      {"caddy", {"Caddyfile"}, "env HOME=. caddy run --config Caddyfile", 429, 502, true},
      {"haproxy", {"haproxy.cfg", "haproxy.lua"}, "haproxy -db -f haproxy.cfg", 429, 503, true},
  };
}

/// An address of this machine's loopback that is no proxy's: the browser's.
inline constexpr const char* browser_address = "127.0.0.2";
inline constexpr const char* proxy_address = "127.0.0.1";

/// A port that was free a moment ago: proxies do not tell which one they chose.
inline std::uint16_t free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, proxy_address, &address.sin_addr);
  socklen_t size = sizeof address;
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    ADD_FAILURE() << "no free port";
  ::close(fd);
  return ntohs(address.sin_port);
}

/// One request from `browser_address` over a connection of its own; status 0 when there was no
/// answer. `fields`: "Name: value\r\n" each.
inline http_answer browse(std::uint16_t port, const std::string& fields,
                          const std::string& body = "") {
  http_answer answer;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval limit{std::chrono::seconds(patience).count(), 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, browser_address, &address.sin_addr);
  const bool bound = ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  address.sin_port = htons(port);
  inet_pton(AF_INET, proxy_address, &address.sin_addr);
  std::string text;
  if (bound && ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    const auto length =
        body.empty() ? std::string() : "Content-Length: " + std::to_string(body.size()) + "\r\n";
    const auto request = (body.empty() ? "GET" : "POST") +
                         std::string(
                             " /page?x=1 HTTP/1.1\r\nHost: app.example\r\n"
                             "Connection: close\r\n") +
                         length + fields + "\r\n" + body;
    static_cast<void>(::send(fd, request.data(), request.size(), MSG_NOSIGNAL));
    std::array<char, 4096> block;
    for (ssize_t got = 0; (got = ::recv(fd, block.data(), block.size(), 0)) > 0;)
      text.append(block.data(), static_cast<std::size_t>(got));
  }
  ::close(fd);
  const auto split = text.find("\r\n\r\n");
  if (!text.starts_with("HTTP/1.1 ") || split == std::string::npos) return answer;
  answer.status = std::stoi(text.substr(9, 3));
  answer.head = text.substr(0, split + 2);
  answer.body = text.substr(split + 4);
  return answer;
}

/// Application and proxy, asking the Portcullis on `portcullis_port`. Both end with the object.
class protected_application {
 public:
  protected_application(const flavour& which, std::uint16_t portcullis_port)
      : application_(with_us({"python3", PORTCULLIS_SOURCE_DIR "/tests/e2e/echo_application.py"}),
                     running::to::pipe),
        front_(free_port()) {
    const auto application_port = application_.line();
    for (const auto& name : which.files) {
      std::ifstream from(std::filesystem::path(PORTCULLIS_SOURCE_DIR) / "configs/examples" / name);
      std::string text(std::istreambuf_iterator<char>(from), {});
      EXPECT_FALSE(text.empty()) << name;
      replace(text, ":8080", ":" + std::to_string(front_));
      replace(text, ":9000", ":" + application_port);
      replace(text, ":7480", ":" + std::to_string(portcullis_port));
      // Debian's nginx has its logs and temporary files in system folders.
      replace(text, "http {",
              "http {\n  access_log off;\n  client_body_temp_path body;\n  proxy_temp_path proxy;\n"
              "  fastcgi_temp_path fastcgi;\n  uwsgi_temp_path uwsgi;\n  scgi_temp_path scgi;\n");
      folder_.write(name, text);
    }
    proxy_.emplace(
        with_us({"sh", "-c",
                 "cd '" + folder_.path().string() + "' && exec " + which.command + " >log 2>&1"}),
        running::to::pipe);
    const bool up = eventually([&] { return browse(front_, "").status != 0; });
    EXPECT_TRUE(up) << which.name << " does not answer\n" << run("cat " + folder_.file("log")).out;
  }

  /// A request with these fields.
  [[nodiscard]] http_answer get(const std::string& fields, const std::string& body = "") const {
    return browse(front_, fields, body);
  }

 private:
  /// The command, in a process that a killed test does not leave behind.
  static std::vector<std::string> with_us(std::vector<std::string> words) {
    words.insert(words.begin(), {"setpriv", "--pdeathsig", "KILL"});
    return words;
  }
  static void replace(std::string& text, const std::string& what, const std::string& with) {
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
      text.replace(at, what.size(), with);
  }

  temp_folder folder_;
  running application_;
  std::uint16_t front_;
  std::optional<running> proxy_;
};

/// What the application was sent: names in lower case and values, as often as they came.
inline std::vector<std::pair<std::string, std::string>> seen_by_application(
    const http_answer& answer) {
  std::vector<std::pair<std::string, std::string>> fields;
  const auto echo = json::parse(answer.body, nullptr, false);
  if (!echo.is_object() || !echo.contains("fields")) {
    ADD_FAILURE() << "the application did not answer: " << answer.head << answer.body;
    return fields;
  }
  for (const auto& field : echo["fields"]) fields.emplace_back(field[0], field[1]);
  return fields;
}

}  // namespace portcullis::e2e

// One HTTP request over a connection of its own, and a stream that stays open.
#pragma once
#include <string>

#include "harness.hpp"

namespace portcullis::e2e {

/// Sends `line` ("POST /rpc"), `fields` ("Name: value\r\n" each) and a body; status 0 when there
/// was no answer.
inline http_answer http_ask(std::uint16_t port, const std::string& line,
                            const std::string& fields = "", const std::string& body = "") {
  line_client connection(port);
  const auto length = body.empty() ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n";
  const auto* host = fields.find("Host:") == std::string::npos ? "Host: localhost\r\n" : "";
  connection.send(line + " HTTP/1.1\r\nConnection: close\r\n" + host + fields + length + "\r\n" +
                  body);
  const auto text = connection.rest();
  http_answer answer;
  const auto split = text.find("\r\n\r\n");
  if (!text.starts_with("HTTP/1.1 ") || split == std::string::npos) return answer;
  answer.status = std::stoi(text.substr(9, 3));
  answer.head = text.substr(0, split + 2);
  answer.body = text.substr(split + 4);
  return answer;
}

inline std::string bearer(const std::string& token) {
  return "Authorization: Bearer " + token + "\r\n";
}

/// POST /rpc of one call as whoever has the token.
inline http_answer http_rpc(std::uint16_t port, const json& message,
                            const std::string& fields = "") {
  return http_ask(port, "POST /rpc", "Content-Type: application/json\r\n" + fields, message.dump());
}
inline json message(const std::string& method, const json& params = json::object()) {
  return {{"jsonrpc", "2.0"}, {"id", 1}, {"method", method}, {"params", params}};
}

/// The error's name and status of an answer, such as "FORBIDDEN 403"; both places must agree.
inline std::string refusal_of(const http_answer& answer) {
  const auto object = json::parse(answer.body, nullptr, false);
  if (!object.is_object() || !object.contains("data")) return "none: " + answer.body;
  EXPECT_EQ(object["data"]["status"], answer.status);
  return object["data"]["error"].get<std::string>() + " " + std::to_string(answer.status);
}

/// A stream of server-sent events, read as HTTP/1.0.
class event_source {
 public:
  event_source(std::uint16_t port, const std::string& target, const std::string& fields = "")
      : connection_(port) {
    connection_.send("GET " + target + " HTTP/1.0\r\nHost: localhost\r\n" + fields + "\r\n");
    for (auto line = connection_.line(); line && *line != "\r"; line = connection_.line())
      head += *line + "\n";
  }
  struct event {
    std::string id, type;
    json data;
  };
  /// The next event that has data, or an id alone; absent at the end.
  std::optional<event> next() {
    event found;
    std::string text;
    for (auto line = connection_.line(); line; line = connection_.line()) {
      if (line->starts_with("id: ")) found.id = line->substr(4);
      if (line->starts_with("event: ")) found.type = line->substr(7);
      if (line->starts_with("data: ")) text = line->substr(6);
      if (!line->empty() || found.id.empty()) continue;
      if (!text.empty()) found.data = json::parse(text, nullptr, false);
      return found;
    }
    return std::nullopt;
  }
  std::string rest() { return connection_.rest(); }
  bool ended() { return connection_.ended(); }
  std::string head;

 private:
  line_client connection_;
};

}  // namespace portcullis::e2e

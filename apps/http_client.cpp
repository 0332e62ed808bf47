#include "apps/http_client.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "apps/metrics_page/shown.hpp"
#include "core/error/catalogue.hpp"

namespace portcullis::apps {
namespace {

constexpr std::size_t answer_bytes_max = 64 * 1024 * 1024, head_bytes_max = 64 * 1024;
constexpr std::string_view http_scheme = "http://", https_scheme = "https://";

/// What a person may copy out of a browser as what `stream` connects to.
std::string address_of(const std::string& written) {
  auto text = written;
  if (text.starts_with(https_scheme))
    text = "tls://" + text.substr(https_scheme.size());
  else if (text.starts_with(http_scheme))
    text = text.substr(http_scheme.size());
  if (text.ends_with('/')) text.pop_back();
  return text;
}

std::string host_of(std::string_view address) {
  if (address.starts_with("unix:")) return "localhost";
  if (address.starts_with("tls://")) address.remove_prefix(6);
  return std::string(address);
}

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

/// The head of an answer (RFC 9112). `size`: of the body, where it is said.
struct answer_head {
  int status = 0;
  std::optional<std::size_t> size;
};
std::optional<answer_head> head_of(std::string_view text) {
  answer_head head;
  if (!text.starts_with("HTTP/1.") || text.size() < 12 || text[8] != ' ') return std::nullopt;
  if (std::from_chars(text.data() + 9, text.data() + 12, head.status).ptr != text.data() + 12)
    return std::nullopt;
  for (auto at = text.find("\r\n"); at != std::string_view::npos;) {
    const auto end = text.find("\r\n", at + 2);
    const auto line = text.substr(at + 2, end == std::string_view::npos ? end : end - at - 2);
    at = end;
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    auto value = line.substr(colon + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    if (same_name(line.substr(0, colon), "transfer-encoding")) return std::nullopt;  // to HTTP/1.0
    if (!same_name(line.substr(0, colon), "content-length")) continue;
    std::size_t size = 0;
    const auto [stop, failed] = std::from_chars(value.data(), value.data() + value.size(), size);
    if (failed != std::errc{} || stop != value.data() + value.size()) return std::nullopt;
    head.size = size;
  }
  return head;
}

nlohmann::json member(const nlohmann::json& of, const char* name) {
  const auto at = of.is_object() ? of.find(name) : of.end();
  return at == of.end() ? nlohmann::json() : *at;
}

std::string text_of(const nlohmann::json& value) {
  return value.is_string() ? value.get<std::string>() : std::string();
}

/// The error object of a body, which is one or has one (JSON-RPC 2.0, 5.1); null: there is none.
nlohmann::json error_of(const http_reply& reply) {
  auto body = nlohmann::json::parse(reply.body, nullptr, false);
  auto error = member(body, "error");
  if (error.is_object()) return error;
  return member(body, "data").is_object() ? body : nlohmann::json();
}

/// What of an answer has come; the reply when it is whole.
class answer_reader {
 public:
  std::string text;

  /// False: it is none, and `why`.
  bool look(std::string& why) {
    if (!head_) {
      const auto end = text.find("\r\n\r\n");
      if (end != std::string::npos) {
        head_ = head_of(std::string_view(text).substr(0, end));
        body_at_ = end + 4;
      }
      const bool other = (end != std::string::npos && !head_) ||
                         (end == std::string::npos && text.size() > head_bytes_max) ||
                         (text.size() >= 7 && !text.starts_with("HTTP/1."));
      if (other) {
        why = "the answer is not HTTP: is that the address of listen.http?";
        return false;
      }
    }
    if (text.size() <= answer_bytes_max) return true;
    why = "the answer is too long";
    return false;
  }
  [[nodiscard]] bool whole(bool closed) const {
    if (!head_) return false;
    return head_->size ? text.size() - body_at_ >= *head_->size : closed;
  }
  http_reply take() {
    return {head_->status, text.substr(body_at_, head_->size.value_or(std::string::npos))};
  }

 private:
  std::optional<answer_head> head_;
  std::size_t body_at_ = 0;
};

}  // namespace

void add_http_options(CLI::App& command, server_options& given) {
  given.address = "127.0.0.1:7480";
  add_server_options(command, given, "--http",
                     "The node's listen.http or listen.https: ADDRESS:PORT, tls://ADDRESS:PORT or "
                     "an http or https URL");
}

std::string refusal_text(const http_reply& reply) {
  const auto error = error_of(reply);
  const auto data = member(error, "data");
  const auto name = text_of(member(data, "error"));
  auto text = name.empty() ? fmt::format("HTTP status {}", reply.status)
                           : fmt::format("{} ({})", text_of(member(error, "message")), name);
  if (refusal_status(reply) == 401) text += "; give --token-file";
  if (reply.status == 404 && name.empty()) text += "; is that a node's listen.http?";
  return plain_text(text);
}

int refusal_status(const http_reply& reply) {
  if (reply.status != 200) return reply.status;
  const auto error = error_of(reply);
  if (!error.is_object()) return 200;
  const auto code = member(error, "code");
  const auto known =
      code.is_number_integer() ? core::error_from_wire(code.get<int>()) : std::nullopt;
  return known ? core::describe(*known).status : 500;
}

std::optional<http_client> http_client::make(const server_options& given, std::string& why) {
  http_client made(given);
  made.given_.address = address_of(given.address);
  if (!given.token_file.empty()) {
    made.token_ = read_token(given.token_file, why);
    if (!made.token_) return std::nullopt;
  }
  why = wrong_address(made.given_.address);
  if (!why.empty()) {
    why = fmt::format("{}: {}", given.address, why);
    return std::nullopt;
  }
  if (!made.prepare(why)) return std::nullopt;
  return made;
}

std::optional<connector> http_client::prepare(std::string& why) const {
  return connector::make(given_, why);
}

std::optional<http_reply> http_client::ask(std::string_view path, std::string_view body,
                                           std::string& why) const {
  const auto deadline =
      stream::clock::now() +
      std::chrono::milliseconds(static_cast<std::int64_t>(given_.timeout_s * 1000));
  const auto way = prepare(why);  // anew: certificates are renewed
  return way ? ask(*way, deadline, path, body, why) : std::nullopt;
}

std::optional<http_reply> http_client::ask(const connector& way, stream::clock::time_point deadline,
                                           std::string_view path, std::string_view body,
                                           std::string& why) const {
  const auto time_left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - stream::clock::now());
  if (time_left.count() <= 0) {
    why = "no answer in time";
    return std::nullopt;
  }
  auto peer = way.connect(time_left, why);
  if (!peer) return std::nullopt;
  // HTTP/1.0: the answer ends with the connection at the latest, and comes in one piece.
  auto request = fmt::format("{} {} HTTP/1.0\r\nHost: {}\r\n", body.empty() ? "GET" : "POST", path,
                             host_of(given_.address));
  if (token_) request += fmt::format("Authorization: Bearer {}\r\n", *token_);
  if (!body.empty())
    request += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", body.size());
  request.append("\r\n").append(body);
  for (std::string_view left = request; !left.empty();) {
    const auto sent = peer->send_some(left, why);
    if (!sent) return std::nullopt;
    left.remove_prefix(*sent);
    if (!left.empty() && !peer->wait(deadline, why)) return std::nullopt;
  }
  for (answer_reader answer;;) {
    const auto got = peer->receive_some(answer.text, why);
    std::string wrong;
    if (!answer.look(wrong)) {
      why = wrong;
      return std::nullopt;
    }
    if (answer.whole(!got)) return answer.take();
    if (!got || (*got == 0 && !peer->wait(deadline, why))) return std::nullopt;
  }
}

}  // namespace portcullis::apps

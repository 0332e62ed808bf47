#include "apps/line_client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "core/bytes.hpp"

namespace portcullis::apps {
namespace {

constexpr std::size_t line_bytes_max = 16 * 1024 * 1024;
constexpr std::size_t token_size = 43;  // 32 bytes as base64url

}  // namespace

bool line_client::connect(const connector& to) {
  received_.clear();
  peer_.reset();
  peer_ = to.connect(timeout_, why_);
  return peer_.has_value();
}

stream line_client::release() noexcept {
  stream out = std::move(*peer_);
  peer_.reset();
  return out;
}

bool line_client::send(std::string_view text) {
  const auto deadline = stream::clock::now() + timeout_;
  for (;;) {
    const auto sent = peer_->send_some(text, why_);
    if (!sent) return false;
    text.remove_prefix(*sent);
    if (text.empty()) return true;
    if (!peer_->wait(deadline, why_)) return false;
  }
}

bool line_client::take_what_came() {
  return peer_->receive_some(received_, why_).has_value() || has_line();
}

std::optional<std::string> line_client::receive_whenever() {
  while (received_.empty()) {
    const auto got = peer_->receive_some(received_, why_);
    if (!got || (*got == 0 && !peer_->wait(std::nullopt, why_))) return std::nullopt;
  }
  return receive();
}

std::optional<std::string> line_client::receive() {
  const auto deadline = stream::clock::now() + timeout_;
  std::size_t searched = 0;
  while (true) {
    if (const auto end = received_.find('\n', searched); end != std::string::npos) {
      auto line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return line;
    }
    searched = received_.size();
    if (searched > line_bytes_max) {
      why_ = "the answer is too long";
      return std::nullopt;
    }
    const auto got = peer_->receive_some(received_, why_);
    if (!got || (*got == 0 && !peer_->wait(deadline, why_))) return std::nullopt;
  }
}

std::optional<std::string> read_token(const std::string& file, std::string& why) {
  std::ifstream in(file);
  if (!in) {
    why = fmt::format("{}: {}", file, std::strerror(errno));
    return std::nullopt;
  }
  std::string token;
  std::getline(in, token);
  while (!token.empty() && (token.back() == '\r' || token.back() == ' ')) token.pop_back();
  // Judged here: the server would count it as a failed login.
  const bool form =
      token.size() == token_size && std::all_of(token.begin(), token.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '-' || c == '_';
      });
  if (form) return std::string(token);  // moved, GCC 12 takes it for an overrun
  why = fmt::format("{}: its first line is no token, which has {} characters", file, token_size);
  return std::nullopt;
}

std::string login_line(std::string_view token) {
  core::byte_buffer line;
  line.append(R"({"jsonrpc":"2.0","id":0,"method":"auth.login","params":{"token":)");
  core::append_json_string(line, token);
  line.append("}}\n");
  return std::string(line.view());
}

}  // namespace portcullis::apps

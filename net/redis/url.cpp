#include "net/redis/url.hpp"

#include <charconv>
#include <optional>
#include <utility>

#include "core/contract/types.hpp"
#include "net/redis/limits.hpp"

namespace portcullis::net::redis {
namespace {

constexpr std::size_t host_bytes_max = 253;  // RFC 1035, 2.3.4
constexpr std::size_t path_bytes_max = 107;  // sockaddr_un, with its NUL

core::error refuse(std::string_view rule) {
  return core::fail(core::error_code::CONFIG_INVALID, {}, rule);
}

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string made;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      made += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    made += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return made;
}

template <class T>
bool read_number(std::string_view text, T least, T most, T& into) {
  std::uint32_t value = 0;
  const auto* end = text.data() + text.size();
  const auto got = std::from_chars(text.data(), end, value);
  if (got.ec != std::errc() || got.ptr != end || value < least || value > most) return false;
  into = static_cast<T>(value);
  return true;
}

bool is_host_name(std::string_view text) noexcept {
  if (text.empty() || text.size() > host_bytes_max) return false;
  for (const char c : text) {
    const bool known = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '-' || c == '.' || c == '_';
    if (!known) return false;
  }
  return true;
}

core::status read_user(std::string_view text, login& into) {
  const auto colon = text.find(':');
  auto user = percent_decoded(text.substr(0, colon));
  auto password = percent_decoded(colon == text.npos ? "" : text.substr(colon + 1));
  if (!user || !password) return refuse("percent_encoding");
  if (user->empty() && password->empty()) return refuse("user");
  into = {std::move(*user), std::move(*password)};
  return core::nothing{};
}

core::status read_host(std::string_view text, address& into) {
  auto port = std::string_view();
  bool has_port = false;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == text.npos) return refuse("host");
    const auto host = text.substr(1, end - 1);
    if (host.find(':') == host.npos || !core::parse_ip(host)) return refuse("host");
    into.host = host;
    has_port = text.size() > end + 1;
    if (has_port && text[end + 1] != ':') return refuse("host");
    if (has_port) port = text.substr(end + 2);
  } else {
    const auto colon = text.find(':');
    if (!is_host_name(text.substr(0, colon))) return refuse("host");
    into.host = text.substr(0, colon);
    has_port = colon != text.npos;
    if (has_port) port = text.substr(colon + 1);
  }
  if (has_port && !read_number<std::uint16_t>(port, 1, 65'535, into.port)) return refuse("port");
  return core::nothing{};
}

core::result<url> read_unix(std::string_view text) {
  url made;
  const auto question = text.find('?');
  auto path = percent_decoded(text.substr(0, question));
  if (!path) return refuse("percent_encoding");
  if (path->size() < 2 || path->front() != '/' || path->size() > path_bytes_max ||
      path->find('\0') != path->npos)
    return refuse("path");
  made.at.path = std::move(*path);
  if (question == text.npos) return made;
  const auto query = text.substr(question + 1);
  if (!query.starts_with("db=")) return refuse("query");
  if (!read_number<std::uint32_t>(query.substr(3), 0, limits::db_max, made.db)) return refuse("db");
  return made;
}

}  // namespace

bool is_host(std::string_view text) noexcept {
  return is_host_name(text) || core::parse_ip(text).has_value();
}

std::string to_text(const address& where) {
  if (where.is_unix()) return "unix:" + where.path;
  const bool v6 = where.host.find(':') != where.host.npos;
  return (v6 ? "[" + where.host + "]" : where.host) + ":" + std::to_string(where.port);
}

core::result<url> parse_url(std::string_view text) {
  if (text.size() > limits::url_bytes_max) return refuse("length");
  const auto take = [&](std::string_view scheme) {
    if (!text.starts_with(scheme)) return false;
    text.remove_prefix(scheme.size());
    return true;
  };
  if (take("unix://")) return read_unix(text);
  url made;
  made.tls = take("rediss://");
  if (!made.tls && !take("redis://")) return refuse("scheme");
  if (text.find_first_of("?#") != text.npos) return refuse("query");
  const auto slash = text.find('/');
  auto authority = text.substr(0, slash);
  if (const auto at = authority.rfind('@'); at != authority.npos) {
    if (auto done = read_user(authority.substr(0, at), made.who); !done) return done.error();
    authority.remove_prefix(at + 1);
  }
  if (auto done = read_host(authority, made.at); !done) return done.error();
  if (slash == text.npos || slash + 1 == text.size()) return made;
  if (!read_number<std::uint32_t>(text.substr(slash + 1), 0, limits::db_max, made.db))
    return refuse("db");
  return made;
}

}  // namespace portcullis::net::redis

#include "apps/node/forward_auth.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <string_view>

#include "apps/cli/secret_file.hpp"

namespace portcullis::apps {
namespace {

constexpr auto key = "authz.cookie_secrets_file";

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) lines.emplace_back(line);
  }
  return lines;
}

/// A comment or a placeholder would be a secret that everybody knows.
bool is_secret(std::string_view line) noexcept {
  constexpr std::size_t bytes_min = 16;
  return line.size() >= bytes_min && line.front() != '#' &&
         line.find_first_not_of(" \t\v\f\r") != std::string_view::npos;
}

}  // namespace

core::result<net::authz_settings> load_forward_auth(const core::config& config, std::string& why) {
  const auto& from = config.authz;
  net::authz_settings made{from.cookie, from.header};
  for (const auto& each : from.trusted_proxies)  // looked at when it was parsed
    if (const auto network = core::address_set::parse_one(each)) made.trusted_proxies.add(*network);
  const auto& path = from.cookie_secrets_file;
  if (path.empty()) return made;
  const auto refuse = [](std::string_view rule) {
    return core::fail(core::error_code::CONFIG_INVALID, key, rule);
  };
  struct stat info {};
  const bool production = config.server.environment == core::environment::production;
  if (production && !is_credential(path) && stat(path.c_str(), &info) == 0 &&
      (info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    why = fmt::format("{}: group or others may read the secrets; chmod 600 it", path);
    return refuse("mode_0600");
  }
  const auto text = read_secret(path, why);
  if (!text) return refuse("readable");
  made.cookie_secrets = lines_of(*text);
  const auto& lines = made.cookie_secrets;
  const auto wrong = std::find_if_not(lines.begin(), lines.end(), is_secret);
  if (wrong != lines.end()) {
    why = fmt::format(
        "{}: secret {} is no secret: each has 16 bytes or more, and does not begin with #", path,
        wrong - lines.begin() + 1);
    return refuse("a_secret_a_line");
  }
  if (!lines.empty()) return made;
  why = fmt::format("{}: has no secret; write one a line, the newest first", path);
  return refuse("a_secret_a_line");
}

}  // namespace portcullis::apps

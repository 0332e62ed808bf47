#include "apps/log/source.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <ctime>

#include "apps/cli/secret_file.hpp"
#include "apps/commands.hpp"
#include "apps/config_loader.hpp"
#include "apps/node/keys.hpp"

namespace portcullis::apps {
namespace {

/// Whole numbers from here on are Unix milliseconds (of the year 2001 and later); no log has so
/// many events.
constexpr std::uint64_t earliest_ms = 1'000'000'000'000;

std::string keys_path(const log_place_options& from) {
  if (!from.keys_file.empty()) return from.keys_file;
  if (from.config.empty()) return from.data_dir + "/portcullis.keys";
  return load_config({from.config, process_environment(), {}}).value.keys_path();
}

}  // namespace

void add_log_place(CLI::App& command, log_place_options& to, bool required) {
  command
      .add_option("--data-dir", to.data_dir,
                  "The folder of a node that is stopped, or a backup in one")
      ->required(required)
      ->type_name("DIR");
  auto* file = command.add_option("--keys-file", to.keys_file,
                                  "Its key file (default: DIR/portcullis.keys)");
  file->type_name("FILE");
  command.add_option("--config", to.config, "The configuration that names the key file")
      ->type_name("FILE")
      ->excludes(file);
}

int complain(const std::string& why) {
  fmt::print(stderr, "portcullis: {}\n", why);
  return exit_failed;
}

int complain(const core::error& why, const std::string& where) {
  const auto& row = core::describe(why.code);
  const std::string_view text = why.code == core::error_code::DATA_DIR_IN_USE
                                    ? std::string_view("another process uses it")
                                    : why_not_opened(why);
  return complain(fmt::format("{}: {} ({})", where, text, row.name));
}

int open_keys(const log_place_options& from, log_source& to) {
  const auto path = keys_path(from);
  std::string why;
  const auto text = read_secret(path, why);
  if (!text) return complain(why + " (--keys-file names another)");
  auto ring = core::parse_keyring(*text);
  if (!ring) return complain(fmt::format("{}: is no key file ({})", path, ring.error().rule));
  to.ring = std::move(*ring);
  to.keys.emplace(*to.ring);
  return -1;
}

bool has_keys(const log_place_options& from) {
  return !from.keys_file.empty() || !from.config.empty() ||
         access(keys_path(from).c_str(), F_OK) == 0;
}

core::digest keyring_check(const log_source& of) {
  return core::sha256(core::as_bytes(of.keys->check_value()));
}

int open_log(const log_place_options& from, bool needs_keys, log_source& to) {
  auto opened = store::log_file::open(from.data_dir);
  if (!opened) {
    if (opened.error().rule == "data_dir")
      return complain(fmt::format("{}: there is no portcullis.db that can be read ({})",
                                  from.data_dir, core::describe(opened.error().code).name));
    return complain(opened.error(), from.data_dir);
  }
  to.file = std::move(*opened);
  if (!needs_keys) return -1;
  if (const int failed = open_keys(from, to); failed >= 0) return failed;
  const auto check = to.file->meta(store::keyring_check_key);
  if (!check) return complain(check.error(), from.data_dir);
  if (*check && !core::equal_secrets(core::as_bytes(**check), keyring_check(to)))
    return complain(core::fail(core::error_code::KEYRING_MISMATCH), keys_path(from));
  return -1;
}

std::optional<log_moment> parse_moment(const std::string& text) {
  std::uint64_t number = 0;
  const auto* end = text.data() + text.size();
  if (const auto [at, failed] = std::from_chars(text.data(), end, number);
      failed == std::errc{} && at == end) {
    if (number >= earliest_ms) return log_moment{std::nullopt, static_cast<core::millis>(number)};
    return log_moment{number, std::nullopt};
  }
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, used = 0;
  double second = 0;
  if (std::sscanf(text.c_str(), "%4d-%2d-%2d%n", &year, &month, &day, &used) != 3 || used != 10)
    return std::nullopt;
  std::string_view rest = std::string_view(text).substr(10);
  if (!rest.empty()) {
    int more = 0;
    if (std::sscanf(std::string(rest).c_str(), "%*1[T ]%2d:%2d%n", &hour, &minute, &more) != 2 ||
        more != 6)
      return std::nullopt;
    rest.remove_prefix(6);
    if (rest.starts_with(':')) {
      const auto seconds = std::string(rest.substr(1));
      if (std::sscanf(seconds.c_str(), "%lf%n", &second, &more) != 1) return std::nullopt;
      rest.remove_prefix(static_cast<std::size_t>(more) + 1);
    }
  }
  core::millis ahead_ms = 0;
  if (!rest.empty() && rest != "Z") {
    int hours = 0, minutes = 0, more = 0;
    const auto zone = std::string(rest);
    if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') ||
        std::sscanf(zone.c_str() + 1, "%2d:%2d%n", &hours, &minutes, &more) != 2 || more != 5)
      return std::nullopt;
    ahead_ms = (hours * 60 + minutes) * core::millis{60'000} * (zone[0] == '-' ? -1 : 1);
  }
  const bool in_range = month >= 1 && month <= 12 && day >= 1 && day <= 31 && hour >= 0 &&
                        hour < 24 && minute >= 0 && minute < 60 && second >= 0 && second < 61;
  if (!in_range) return std::nullopt;
  std::tm parts{};
  parts.tm_year = year - 1900;
  parts.tm_mon = month - 1;
  parts.tm_mday = day;
  parts.tm_hour = hour;
  parts.tm_min = minute;
  const auto at_ms = core::millis{timegm(&parts)} * 1000 +
                     static_cast<core::millis>(second * 1000 + 0.5) - ahead_ms;
  return log_moment{std::nullopt, at_ms};
}

std::string time_text(core::millis at_ms) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                     fmt::gmtime(static_cast<std::time_t>(at_ms / 1000)), at_ms % 1000);
}

}  // namespace portcullis::apps

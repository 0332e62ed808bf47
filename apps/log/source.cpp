#include "apps/log/source.hpp"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <chrono>
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
constexpr std::uint64_t latest_ms = 253'402'300'799'999;  // the end of the year 9999
constexpr core::millis minute_ms = 60'000;

std::optional<std::uint64_t> whole_number(std::string_view text) {
  std::int64_t number = 0;  // a seq, a count and a time are no larger
  const auto* end = text.data() + text.size();
  const auto [at, failed] = std::from_chars(text.data(), end, number);
  if (failed != std::errc{} || at != end || number < 0) return std::nullopt;
  return static_cast<std::uint64_t>(number);
}

/// `count` digits, after `before` where that is given.
std::optional<int> take_digits(std::string_view& from, std::size_t count, char before = 0) {
  if (before != 0) {
    if (!from.starts_with(before)) return std::nullopt;
    from.remove_prefix(1);
  }
  int out = 0;
  for (const char each : from.substr(0, count)) {
    if (each < '0' || each > '9') return std::nullopt;
    out = out * 10 + (each - '0');
  }
  if (from.size() < count) return std::nullopt;
  from.remove_prefix(count);
  return out;
}

/// :SS or :SS.fraction, in milliseconds, rounded.
std::optional<core::millis> take_seconds(std::string_view& from) {
  const auto whole = take_digits(from, 2, ':');
  if (!whole || *whole > 60) return std::nullopt;  // 60: a leap second
  if (!from.starts_with('.')) return core::millis{*whole} * 1'000;
  from.remove_prefix(1);
  core::millis tenths = 0, scale = 10'000;
  std::size_t digits = 0;
  for (; digits < from.size() && from[digits] >= '0' && from[digits] <= '9'; ++digits, scale /= 10)
    tenths += (from[digits] - '0') * scale / 10;
  if (digits == 0) return std::nullopt;
  from.remove_prefix(digits);
  return core::millis{*whole} * 1'000 + (tenths + 5) / 10;
}

std::string keys_path(const log_place_options& from) {
  if (!from.keys_file.empty()) return from.keys_file;
  if (from.config.empty()) return from.data_dir + "/portcullis.keys";
  return load_config({from.config, process_environment(), {}}).value.keys_path();
}

/// Whether there is a write-ahead log, and no right to take it in.
bool is_locked_log(const std::string& data_dir) {
  struct stat info {};
  const auto database = data_dir + "/portcullis.db";
  const auto writable = [](const std::string& path) {
    return faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0;
  };
  return stat((database + "-wal").c_str(), &info) == 0 && info.st_size > 0 &&
         !(writable(data_dir) && writable(database) && writable(database + "-wal"));
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
  const std::string_view text =
      why.code == core::error_code::DATA_DIR_IN_USE
          ? std::string_view(
                "another process uses it: stop the node, ask the node itself, or work on a backup")
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
    if (opened.error().code == core::error_code::STORE_UNAVAILABLE && is_locked_log(from.data_dir))
      return complain(fmt::format(
          "{}: its node did not stop in order, and the log beside portcullis.db is read "
          "only where it can be written to: read a copy of the folder (STORE_UNAVAILABLE)",
          from.data_dir));
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

std::string why_no_number(const std::string& text, std::uint64_t least) {
  if (const auto number = whole_number(text); number && *number >= least) return {};
  return fmt::format("{}: is no whole number from {} on", text, least);
}

std::optional<log_moment> parse_moment(const std::string& text) {
  if (const auto number = whole_number(text)) {
    if (*number > latest_ms) return std::nullopt;
    if (*number >= earliest_ms) return log_moment{std::nullopt, static_cast<core::millis>(*number)};
    return log_moment{*number, std::nullopt};
  }
  std::string_view rest(text);
  const auto year = take_digits(rest, 4), month = take_digits(rest, 2, '-'),
             day = take_digits(rest, 2, '-');
  if (!year || !month || !day) return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day)));
  if (!date.ok()) return std::nullopt;
  core::millis at_ms =
      std::chrono::sys_days(date).time_since_epoch() / std::chrono::milliseconds(1);
  if (rest.starts_with('T') || rest.starts_with(' ')) {
    const auto hour = take_digits(rest, 2, rest.front()), minute = take_digits(rest, 2, ':');
    if (!hour || *hour > 23 || !minute || *minute > 59) return std::nullopt;
    at_ms += (*hour * 60 + *minute) * minute_ms;
    if (rest.starts_with(':')) {
      const auto second = take_seconds(rest);
      if (!second) return std::nullopt;
      at_ms += *second;
    }
  }
  if (rest.empty() || rest == "Z") return log_moment{std::nullopt, at_ms};
  const char sign = rest.front();
  if (sign != '+' && sign != '-') return std::nullopt;
  const auto hours = take_digits(rest, 2, sign), minutes = take_digits(rest, 2, ':');
  if (!hours || *hours > 23 || !minutes || *minutes > 59 || !rest.empty()) return std::nullopt;
  const auto ahead_ms = (*hours * 60 + *minutes) * minute_ms;
  return log_moment{std::nullopt, sign == '-' ? at_ms + ahead_ms : at_ms - ahead_ms};
}

std::string time_text(core::millis at_ms) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                     fmt::gmtime(static_cast<std::time_t>(at_ms / 1000)), at_ms % 1000);
}

}  // namespace portcullis::apps

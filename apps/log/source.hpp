// The log that a subcommand reads: whose folder, with which keys.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "core/session/keyring.hpp"
#include "store/log_file.hpp"

namespace CLI {
class App;
}

namespace portcullis::apps {

struct log_place_options {
  std::string data_dir, keys_file, config;
};
/// --data-dir, --keys-file and --config.
void add_log_place(CLI::App& command, log_place_options& to, bool required = true);

/// A log that is open, and keys that fit it.
struct log_source {
  std::unique_ptr<store::log_file> file;
  std::optional<core::keyring> ring;
  std::optional<core::key_material> keys;
};
/// Says on standard error what is wrong and returns the exit status, or -1 and fills `to`. Without
/// `needs_keys` the key file is not looked for.
[[nodiscard]] int open_log(const log_place_options& from, bool needs_keys, log_source& to);

/// The key file alone, whatever store it is of. Otherwise as open_log().
[[nodiscard]] int open_keys(const log_place_options& from, log_source& to);
/// Whether the key file is one that was asked for, or lies where it is looked for by itself.
[[nodiscard]] bool has_keys(const log_place_options& from);
/// What a store keeps of its key file, to know it again.
[[nodiscard]] core::digest keyring_check(const log_source& of);

/// A place in the log as people name it: a seq, or a time (ISO 8601, UTC where no zone is given, or
/// Unix milliseconds).
struct log_moment {
  std::optional<std::uint64_t> seq;
  std::optional<core::millis> at_ms;
};
/// For help texts: how a time is written.
inline constexpr const char* time_form =
    "as in RFC 3339 (2026-11-29T20:00:00Z; UTC without a zone, midnight without a time) or in "
    "milliseconds since 1970";
[[nodiscard]] std::optional<log_moment> parse_moment(const std::string& text);
/// For an option that takes a seq or a count; empty: it is a whole number from `least` on.
[[nodiscard]] std::string why_no_number(const std::string& text, std::uint64_t least);
/// 2026-11-29T16:12:00.123Z
[[nodiscard]] std::string time_text(core::millis at_ms);
/// Says it on standard error; the exit status.
int complain(const std::string& why);
int complain(const core::error& why, const std::string& where);

}  // namespace portcullis::apps

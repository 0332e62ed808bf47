// `portcullis keys`: the key file of a node that is not running. A running one rotates with
// admin.rotate_keys.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <memory>

#include "apps/cli/secret_file.hpp"
#include "apps/commands.hpp"
#include "apps/config_loader.hpp"
#include "core/session/keyring.hpp"
#include "store/data_folder.hpp"

namespace portcullis::apps {
namespace {

struct keys_options {
  std::string file, config;
  bool drop_oldest = false;
};

int fail_with(std::string_view why) {
  fmt::print(stderr, "portcullis: {}\n", why);
  return exit_failed;
}

core::millis now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

struct key_place {
  std::string file;
  std::string data_dir;  // of the node that uses it, as far as is known
};

/// --file, or what the configuration names.
key_place place_of(const keys_options& given) {
  if (!given.file.empty())
    return {given.file, std::filesystem::path(given.file).parent_path().string()};
  config_sources sources{std::nullopt, process_environment(), {}};
  if (!given.config.empty()) sources.file = given.config;
  const auto config = load_config(sources).value;
  return {config.keys_path(), config.server.data_dir};
}

std::optional<core::keyring> read_keys(const std::string& file, std::string& why) {
  const auto text = read_secret(file, why);
  if (!text) return std::nullopt;
  auto keys = core::parse_keyring(*text);
  if (keys) return std::move(*keys);
  why = fmt::format("{}: is no key file ({})", file, keys.error().rule);
  return std::nullopt;
}

void print_keys(const core::keyring& keys) {
  for (const auto& key : keys.ring)
    fmt::print("ring key {}, made {:%Y-%m-%d %H:%M:%S} UTC{}\n", key.id,
               fmt::gmtime(static_cast<std::time_t>(key.created_at_ms / 1000)),
               key.id == keys.ring.front().id ? ", newest" : "");
  fmt::print("check value {}\n", core::key_material(keys).check_value());
}

int make(const std::string& out) {
  std::string why;
  const auto keys = core::generate_keyring(random_bytes, now_ms());
  if (!write_new_secret(out, serialize(keys), why)) return fail_with(why);
  fmt::print("{}: written; keep a copy where the data is not\n", out);
  return exit_ok;
}

int rotate(const keys_options& given) {
  std::string why;
  const auto [file, data_dir] = place_of(given);
  if (store::data_folder::in_use(data_dir.empty() ? "." : data_dir))
    return fail_with(fmt::format(
        "{}: a running node uses it (DATA_DIR_IN_USE); call admin.rotate_keys on it", data_dir));
  const auto keys = read_keys(file, why);
  if (!keys) return fail_with(why);
  // Nothing here knows which keys the stored sessions need: a full ring counts as in use until told
  // otherwise.
  const auto rotated = core::rotate_keyring(*keys, !given.drop_oldest, random_bytes, now_ms());
  if (!rotated)
    return fail_with(fmt::format(
        "{}: the ring is full and its oldest key may be in use; call admin.rotate_keys on the "
        "running server, which knows, or pass --drop-oldest",
        file));
  if (!replace_secret(file, serialize(*rotated), why)) return fail_with(why);
  print_keys(*rotated);
  return exit_ok;
}

int list(const keys_options& given) {
  std::string why;
  const auto keys = read_keys(place_of(given).file, why);
  if (!keys) return fail_with(why);
  print_keys(*keys);
  return exit_ok;
}

void add_place(CLI::App* command, keys_options& given) {
  auto* file = command->add_option("--file", given.file, "The key file (default: as for serve)")
                   ->type_name("FILE");
  command->add_option("--config", given.config, "The configuration that names the key file")
      ->type_name("FILE")
      ->excludes(file);
}

}  // namespace

void add_keys(CLI::App& root, int& status) {
  auto given = std::make_shared<keys_options>();
  auto out = std::make_shared<std::string>();
  auto* keys = root.add_subcommand("keys", "The key file");
  keys->require_subcommand(1);
  auto* fresh = keys->add_subcommand("new", "Make a key file, readable by its owner alone");
  fresh->add_option("--out", *out, "The new file")->required()->type_name("FILE");
  fresh->callback([out, &status] { status = make(*out); });
  auto* turn = keys->add_subcommand(
      "rotate",
      "Put a new key in front of the ring, while the node is stopped; with --config a running one "
      "is seen");
  add_place(turn, *given);
  turn->add_flag("--drop-oldest", given->drop_oldest,
                 "With a full ring: whoever still depends on the oldest is logged out");
  turn->callback([given, &status] { status = rotate(*given); });
  auto* show = keys->add_subcommand(
      "list", "Ring keys by number and age, and what tells this file from another");
  add_place(show, *given);
  show->callback([given, &status] { status = list(*given); });
}

}  // namespace portcullis::apps

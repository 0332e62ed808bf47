#include "apps/node/keys.hpp"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "apps/cli/secret_file.hpp"
#include "monitoring/log.hpp"
#include "store/journal.hpp"

namespace portcullis::apps {
namespace {

struct random_block {
  core::byte_array<4096> bytes;
  std::size_t used = sizeof bytes;
  ~random_block() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
};

core::millis wall_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

core::error mismatch(std::string_view rule) {
  return core::fail(core::error_code::KEYRING_MISMATCH, "crypto.keys_file", rule);
}

/// Where the key file is the data folder's own, it is the folder that cannot be used.
core::error unreachable(const core::config& config, std::string_view rule) {
  if (config.crypto.keys_file.empty())
    return core::fail(core::error_code::STORE_UNAVAILABLE, "server.data_dir", "data_dir");
  return mismatch(rule);
}

/// Whether the file, through whatever links, is in the folder.
bool lies_in(const std::string& file, const std::string& folder) {
  std::error_code failed;
  const auto real_file = std::filesystem::canonical(file, failed);
  const auto real_folder = std::filesystem::weakly_canonical(folder, failed);
  const auto [of_folder, of_file] =
      std::mismatch(real_folder.begin(), real_folder.end(), real_file.begin(), real_file.end());
  return of_folder == real_folder.end() && of_file != real_file.end();
}

}  // namespace

void buffered_random(std::span<std::uint8_t> out) {
  thread_local random_block block;
  if (out.size() > block.bytes.size() / 4) return random_bytes(out);
  if (block.bytes.size() - block.used < out.size()) {
    random_bytes(block.bytes);
    block.used = 0;
  }
  std::memcpy(out.data(), block.bytes.data() + block.used, out.size());
  OPENSSL_cleanse(block.bytes.data() + block.used, out.size());  // what was handed out is not kept
  block.used += out.size();
}

std::uint64_t random_seed() {
  core::byte_array<8> bytes;
  buffered_random(bytes);
  std::uint64_t seed;
  std::memcpy(&seed, bytes.data(), sizeof seed);
  return seed;
}

core::result<core::keyring> load_keys(const core::config& config, std::string& why) {
  const auto path = config.keys_path();
  const bool development = config.server.environment == core::environment::development;
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) {
    if (errno != ENOENT) {
      why = fmt::format("{}: {}", path, std::strerror(errno));
      return unreachable(config, "readable");
    }
    if (!development) {
      why = fmt::format("{}: there is no key file; make one with `portcullis keys new --out {}`",
                        path, path);
      return mismatch("exists");
    }
    std::error_code ignored;
    const auto folder = std::filesystem::path(path).parent_path();
    // A folder that was there before is somebody else's to rule over.
    if (std::filesystem::create_directories(folder, ignored))
      std::filesystem::permissions(folder, std::filesystem::perms::owner_all, ignored);
    const auto keys = core::generate_keyring(random_bytes, wall_ms());
    if (!write_new_secret(path, core::serialize(keys), why)) return unreachable(config, "writable");
    return keys;
  }
  if (!development && lies_in(path, config.server.data_dir)) {
    why = fmt::format(
        "{}: leads into server.data_dir, which production refuses: a copy of the data would carry "
        "its keys",
        path);
    return core::fail(core::error_code::CONFIG_INVALID, "crypto.keys_file", "outside_data_dir");
  }
  if (!development && !is_credential(path) && (info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    why = fmt::format("{}: group or others may read the key file; chmod 600 it", path);
    return mismatch("mode_0600");
  }
  const auto text = read_secret(path, why);
  if (!text) return mismatch("readable");
  auto keys = core::parse_keyring(*text);
  if (!keys) why = fmt::format("{}: is no key file ({})", path, keys.error().rule);
  return keys;
}

std::string_view why_not_opened(const core::error& why) noexcept {
  if (why.rule == "data_dir") return "The folder cannot be made, entered or written to.";
  if (why.rule == store::keyring_check_key)
    return "keyring_check, by which the key file is known, was deleted from portcullis.db: restore "
           "a copy that has it.";
  if (why.code == core::error_code::STORE_INTEGRITY)
    return "portcullis.db is damaged, or is no store of Portcullis.";
  return core::describe(why.code).message;
}

core::result<core::nothing> save_keys(const core::config& config, const core::keyring& keys) {
  if (is_credential(config.keys_path())) {
    monitoring::log::write(
        core::log_level::warn, monitoring::component::server,
        "The keys were not rotated: the key file is a credential, which only systemd replaces. "
        "docs/operations.md, Rotating the keys of a service.",
        {{"event.action", "rotation_refused"}, {"field", "crypto.keys_file"}});
    return core::fail(core::error_code::CONFIG_INVALID, "crypto.keys_file", "not_a_credential");
  }
  std::string why;
  if (!replace_secret(config.keys_path(), core::serialize(keys), why)) return mismatch("writable");
  return core::nothing{};
}

}  // namespace portcullis::apps

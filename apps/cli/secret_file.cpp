#include "apps/cli/secret_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "store/sync_folder.hpp"

namespace portcullis::apps {
namespace {

constexpr std::size_t secret_bytes_max = 1024 * 1024;
constexpr mode_t owner_only = 0600, everybody = 0644;

std::string because(const std::string& file) {
  return fmt::format("{}: {}", file, std::strerror(errno));
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const auto written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return fsync(fd) == 0;
}

void sync_folder_of(const std::string& file) {
  (void)store::sync_folder(store::folder_of(file));  // best effort: some file systems cannot
}

bool write_new(const std::string& file, std::string_view text, mode_t mode, std::string& why) {
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0) {
    why = because(file);
    return false;
  }
  const bool written = write_all(fd, text);
  if (!written) {
    why = because(file);
    unlink(file.c_str());
  }
  close(fd);
  sync_folder_of(file);
  return written;
}

bool replace(const std::string& file, std::string_view text, mode_t mode, std::string& why) {
  const auto fresh = file + ".new";
  unlink(fresh.c_str());  // of a run that was interrupted
  if (!write_new(fresh, text, mode, why)) return false;
  if (rename(fresh.c_str(), file.c_str()) != 0) {
    why = because(file);
    unlink(fresh.c_str());
    return false;
  }
  sync_folder_of(file);
  return true;
}

}  // namespace

void random_bytes(std::span<std::uint8_t> out) {
  if (RAND_bytes(out.data(), static_cast<int>(out.size())) == 1) return;
  std::fputs("portcullis: the system has no random bytes\n", stderr);
  std::abort();
}

bool write_new_secret(const std::string& file, std::string_view text, std::string& why) {
  return write_new(file, text, owner_only, why);
}
bool write_new_public(const std::string& file, std::string_view text, std::string& why) {
  return write_new(file, text, everybody, why);
}
bool replace_secret(const std::string& file, std::string_view text, std::string& why) {
  return replace(file, text, owner_only, why);
}
bool replace_public(const std::string& file, std::string_view text, std::string& why) {
  return replace(file, text, everybody, why);
}

std::optional<std::string> read_secret(const std::string& file, std::string& why) {
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    why = because(file);
    return std::nullopt;
  }
  std::string text;
  char block[4096];
  ssize_t got = 0;
  while ((got = read(fd, block, sizeof block)) != 0 && text.size() <= secret_bytes_max) {
    if (got > 0) text.append(block, static_cast<std::size_t>(got));
    if (got < 0 && errno != EINTR) break;
  }
  if (got != 0) why = got < 0 ? because(file) : file + ": is too large";
  close(fd);
  return got == 0 ? std::optional(std::move(text)) : std::nullopt;
}

bool is_credential(const std::string& file) {
  const char* folder = std::getenv("CREDENTIALS_DIRECTORY");
  if (folder == nullptr || *folder == '\0') return false;
  std::error_code failed;
  const auto real = std::filesystem::canonical(file, failed);
  if (failed) return false;
  // Credentials have no folders among them.
  return std::filesystem::canonical(folder, failed) == real.parent_path() && !failed;
}

}  // namespace portcullis::apps

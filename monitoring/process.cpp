#include "monitoring/process.hpp"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <memory>
#include <string_view>

namespace portcullis::monitoring {
namespace {

struct close_file {
  void operator()(std::FILE* file) const noexcept { std::fclose(file); }
};
struct close_folder {
  void operator()(DIR* folder) const noexcept { closedir(folder); }
};

/// The head of a small file; empty when it cannot be read.
std::string_view read_head(const char* path, std::array<char, 8192>& buffer) {
  const std::unique_ptr<std::FILE, close_file> file(std::fopen(path, "re"));
  if (!file) return {};
  return {buffer.data(), std::fread(buffer.data(), 1, buffer.size(), file.get())};
}

std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// The n-th word (from 0) of a text whose words are parted by single spaces.
std::string_view word(std::string_view text, std::size_t n) {
  for (; n > 0; --n) {
    const auto space = text.find(' ');
    if (space == text.npos) return {};
    text.remove_prefix(space + 1);
  }
  return text.substr(0, text.find_first_of(" \n"));
}

std::uint64_t boot_time_seconds() {
  std::array<char, 8192> buffer;
  // The line of interrupts, which comes first, can be longer than any head that we would read.
  const std::unique_ptr<std::FILE, close_file> file(std::fopen("/proc/stat", "re"));
  if (!file) return 0;
  bool at_line_start = true;
  while (std::fgets(buffer.data(), static_cast<int>(buffer.size()), file.get()) != nullptr) {
    const std::string_view piece = buffer.data();
    if (at_line_start && piece.starts_with("btime ")) return number(piece.substr(6));
    at_line_start = piece.ends_with('\n');
  }
  return 0;
}

std::uint64_t count_fds() {
  // Linux 6.2 and later say it at once; listing costs a directory entry a descriptor.
  struct stat about {};
  if (stat("/proc/self/fd", &about) == 0 && about.st_size > 0)
    return static_cast<std::uint64_t>(about.st_size);
  const std::unique_ptr<DIR, close_folder> folder(opendir("/proc/self/fd"));
  if (!folder) return 0;
  std::uint64_t count = 0;
  while (const dirent* entry = readdir(folder.get()))
    if (entry->d_name[0] != '.') ++count;
  return count - 1;  // the folder's own
}

}  // namespace

std::optional<process_figures> read_process_figures() {
  std::array<char, 8192> buffer;
  auto text = read_head("/proc/self/stat", buffer);
  // The second word is the program's name in parentheses, which may hold spaces and parentheses.
  const auto name_end = text.rfind(") ");
  if (name_end == text.npos) return std::nullopt;
  text.remove_prefix(name_end + 2);

  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  process_figures figures;
  figures.cpu_seconds =
      static_cast<double>(number(word(text, 11)) + number(word(text, 12))) / ticks;
  static const auto boot = static_cast<double>(boot_time_seconds());
  figures.start_time_seconds = boot + static_cast<double>(number(word(text, 19))) / ticks;
  figures.virtual_bytes = number(word(text, 20));
  figures.resident_bytes =
      number(word(text, 21)) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  figures.open_fds = count_fds();
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) figures.max_fds = limit.rlim_cur;
  return figures;
}

}  // namespace portcullis::monitoring

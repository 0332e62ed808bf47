#include "fault_vfs.hpp"

#include <sqlite3.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <vector>

namespace portcullis::store {
namespace {

constexpr std::size_t sector = 512;

struct change {
  std::size_t at = 0;
  std::string bytes;       // written there
  bool truncates = false;  // to `at`
};
struct file_history {
  std::string synced;
  std::vector<change> since;
};
struct world {
  fault_plan plan;
  unsigned writes = 0, syncs = 0, operations = 0;
  bool cut = false;
  std::map<std::string, file_history> files;
} now;

sqlite3_vfs* real = nullptr;

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void apply(std::string& to, const change& one, std::size_t bytes) {
  if (one.truncates) {
    to.resize(one.at);
    return;
  }
  if (to.size() < one.at + bytes) to.resize(one.at + bytes);
  std::memcpy(to.data() + one.at, one.bytes.data(), bytes);
}

struct faulty_file {
  sqlite3_file base;
  const char* path;
  sqlite3_file* under() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};
faulty_file* mine(sqlite3_file* file) { return reinterpret_cast<faulty_file*>(file); }
sqlite3_file* under(sqlite3_file* file) { return mine(file)->under(); }

bool power_fails() {
  ++now.operations;
  if (now.plan.cut_at && now.operations >= *now.plan.cut_at) now.cut = true;
  return now.cut;
}

bool fails(const std::optional<unsigned>& nth, unsigned count) {
  return nth && (count == *nth || (now.plan.lasting && count > *nth));
}

int do_write(sqlite3_file* file, const void* data, int size, sqlite3_int64 at) {
  if (power_fails()) return SQLITE_IOERR_WRITE;
  const bool spared = now.plan.spares_log && std::string_view(mine(file)->path).ends_with("-wal");
  if (!spared && fails(now.plan.fail_write, ++now.writes)) return now.plan.write_error;
  now.files[mine(file)->path].since.push_back(
      {static_cast<std::size_t>(at),
       std::string(static_cast<const char*>(data), static_cast<std::size_t>(size)), false});
  return under(file)->pMethods->xWrite(under(file), data, size, at);
}

int do_truncate(sqlite3_file* file, sqlite3_int64 size) {
  if (power_fails()) return SQLITE_IOERR_TRUNCATE;
  now.files[mine(file)->path].since.push_back({static_cast<std::size_t>(size), {}, true});
  return under(file)->pMethods->xTruncate(under(file), size);
}

int do_sync(sqlite3_file* file, int flags) {
  if (power_fails()) return SQLITE_IOERR_FSYNC;
  if (fails(now.plan.fail_sync, ++now.syncs)) return SQLITE_IOERR_FSYNC;
  auto& history = now.files[mine(file)->path];
  for (const auto& one : history.since) apply(history.synced, one, one.bytes.size());
  history.since.clear();
  // The real disk is not asked: the shadow is what survives.
  static_cast<void>(flags);
  return SQLITE_OK;
}

int do_close(sqlite3_file* file) { return under(file)->pMethods->xClose(under(file)); }
int do_read(sqlite3_file* file, void* to, int size, sqlite3_int64 at) {
  return under(file)->pMethods->xRead(under(file), to, size, at);
}
int do_size(sqlite3_file* file, sqlite3_int64* size) {
  return under(file)->pMethods->xFileSize(under(file), size);
}
int do_lock(sqlite3_file* file, int level) {
  return under(file)->pMethods->xLock(under(file), level);
}
int do_unlock(sqlite3_file* file, int level) {
  return under(file)->pMethods->xUnlock(under(file), level);
}
int do_check(sqlite3_file* file, int* out) {
  return under(file)->pMethods->xCheckReservedLock(under(file), out);
}
int do_control(sqlite3_file* file, int op, void* argument) {
  return under(file)->pMethods->xFileControl(under(file), op, argument);
}
int do_sector(sqlite3_file*) { return static_cast<int>(sector); }
int do_traits(sqlite3_file*) { return 0; }  // promises nothing: no atomic writes, no ordering

// Version 1: no shared memory and no memory mapping, so every change passes here.
constexpr sqlite3_io_methods methods = {1,          do_close,  do_read,   do_write,  do_truncate,
                                        do_sync,    do_size,   do_lock,   do_unlock, do_check,
                                        do_control, do_sector, do_traits, nullptr,   nullptr,
                                        nullptr,    nullptr,   nullptr,   nullptr};

int do_open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  auto* self = mine(file);
  self->base.pMethods = nullptr;
  const bool known = name != nullptr && now.files.count(name) > 0;
  const int rc = real->xOpen(real, name, self->under(), flags, out_flags);
  if (rc != SQLITE_OK) return rc;
  if (name != nullptr && !known) now.files[name].synced = content_of(name);
  self->path = name == nullptr ? "" : name;
  self->base.pMethods = &methods;
  return SQLITE_OK;
}

void install() {
  if (real != nullptr) return;
  real = sqlite3_vfs_find(nullptr);
  static sqlite3_vfs faulty = *real;
  faulty.zName = fault_vfs_name;
  faulty.pNext = nullptr;
  faulty.szOsFile = static_cast<int>(sizeof(faulty_file)) + real->szOsFile;
  faulty.xOpen = do_open;
  sqlite3_vfs_register(&faulty, 0);
}

void start(const fault_plan& plan) {
  install();
  now.plan = plan;
  now.writes = now.syncs = now.operations = 0;
  now.cut = false;
}

}  // namespace

void arm(const fault_plan& plan) { start(plan); }
void disarm() { start({}); }
unsigned operations_seen() { return now.operations; }
bool power_is_cut() { return now.cut; }
void forget_history() { now.files.clear(); }

void power_up(std::uint32_t seed) {
  std::mt19937 random(seed);
  for (auto& [path, history] : now.files) {
    if (!std::filesystem::exists(path)) continue;
    auto content = history.synced;
    for (const auto& one : history.since) {
      switch (random() % 3) {
        case 0:
          break;  // lost
        case 1:
          apply(content, one, one.bytes.size());
          break;
        case 2:  // torn at a sector
          if (!one.truncates)
            apply(content, one, random() % (one.bytes.size() / sector + 1) * sector);
          break;
      }
    }
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
  }
  now.files.clear();
  disarm();
}

}  // namespace portcullis::store

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "store/database.hpp"
#include "store/readers.hpp"
#include "store/sync_folder.hpp"

namespace portcullis::store {
namespace {

constexpr int pages_per_slice = 16;
constexpr unsigned slices_per_flush = 16;  // 2 MB

core::error copy_failed(int rc, unsigned line = __builtin_LINE()) noexcept {
  if ((rc & 0xff) == SQLITE_FULL)
    return core::fail(core::error_code::STORE_FULL, {}, "backup", -1, __FILE__, line);
  return core::fail(core::error_code::STORE_UNAVAILABLE, {}, "backup", -1, __FILE__, line);
}

core::error refused(std::string_view rule) {
  return core::fail(core::error_code::INVALID_PARAMS, "path", rule);
}

void remove_copy(const std::string& path) noexcept {
  unlink(path.c_str());
  unlink((path + "-journal").c_str());
}

// A backup that goes on holds its file; what one left that was killed, nobody does.
bool is_held(const std::string& path) noexcept {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (file < 0) return false;
  const bool held = flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(file);
  return held;
}

// Never over what is there. False: errno says why.
bool rename_to_new(const std::string& from, const std::string& to) noexcept {
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  // Not all file systems can; then a second name does it.
  if (errno != EINVAL || link(from.c_str(), to.c_str()) != 0) return false;
  unlink(from.c_str());
  return true;
}

}  // namespace

struct backup::state {
  journal* log = nullptr;
  database* from = nullptr;
  std::string path, place;  // where the copy is, and where it is to be
  int file = -1;
  unsigned slices = 0;
  sqlite3* copy = nullptr;
  sqlite3_backup* work = nullptr;
  bool done = false;
  std::uint64_t seq = 0, bytes = 0;

  ~state() {
    if (work != nullptr) sqlite3_backup_finish(work);
    sqlite3_close(copy);
    if (file >= 0) ::close(file);
    if (!done) remove_copy(path);
  }
};

backup::backup(std::unique_ptr<state> made) : state_(std::move(made)) {}
backup::~backup() = default;
std::uint64_t backup::seq() const noexcept { return state_->seq; }
std::uint64_t backup::bytes() const noexcept { return state_->bytes; }

core::result<std::unique_ptr<backup>> backup::begin(journal& log, std::string path) {
  auto& db = *log.db_;
  if (db.fatal()) return *db.fatal();
  const auto partial = path + ".partial";
  // Whatever is there, also a dangling link, is refused, never written to.
  struct stat there {};
  if (lstat(path.c_str(), &there) == 0 || is_held(partial)) return refused("exists");
  remove_copy(partial);
  const int file =
      ::open(partial.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return refused(errno == EEXIST ? "exists" : "unusable");
  fchmod(file, 0600);
  flock(file, LOCK_EX | LOCK_NB);
  auto made = std::make_unique<state>();
  made->file = file;
  made->log = &log;
  made->from = &db;
  made->path = partial;
  made->place = std::move(path);
  constexpr int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  int rc = sqlite3_open_v2(sqlite_name(made->path).c_str(), &made->copy, flags, nullptr);
  // Not a database anyone else sees before it is whole and fsynced: no journal, one fsync at the
  // end.
  if (rc == SQLITE_OK)
    rc = sqlite3_exec(made->copy, "PRAGMA synchronous=OFF;PRAGMA journal_mode=OFF", nullptr,
                      nullptr, nullptr);
  if (rc != SQLITE_OK) return copy_failed(rc);
  made->work = sqlite3_backup_init(made->copy, "main", db.handle(), "main");
  if (made->work == nullptr) return copy_failed(sqlite3_extended_errcode(made->copy));
  return std::unique_ptr<backup>(new backup(std::move(made)));
}

core::result<progress> backup::step() {
  auto& s = *state_;
  if (s.done) return progress::done;
  if (s.from->fatal()) return *s.from->fatal();
  if (s.from->in_transaction()) return progress::more;
  const int rc = sqlite3_backup_step(s.work, pages_per_slice);
  if (rc == SQLITE_OK) {
    // Written back as it grows, without waiting, so that the fsync at the end has little left to
    // do.
    if (++s.slices % slices_per_flush == 0) sync_file_range(s.file, 0, 0, SYNC_FILE_RANGE_WRITE);
    return progress::more;
  }
  if (rc != SQLITE_DONE) {
    const auto read = sqlite3_extended_errcode(s.from->handle());
    if ((read & 0xff) == SQLITE_IOERR || (read & 0xff) == SQLITE_CORRUPT)
      return s.from->failed(read);
    return copy_failed(rc);
  }
  s.seq = s.from->committed().seq;
  const int finished = sqlite3_backup_finish(std::exchange(s.work, nullptr));
  if (finished != SQLITE_OK) return copy_failed(finished);
  // A copy that needs no log beside it: also readable where nothing can be written.
  const int turned =
      sqlite3_exec(s.copy, "PRAGMA locking_mode=EXCLUSIVE;PRAGMA journal_mode=DELETE", nullptr,
                   nullptr, nullptr);
  if (turned != SQLITE_OK) return copy_failed(turned);
  if (const int closed = sqlite3_close(std::exchange(s.copy, nullptr)); closed != SQLITE_OK)
    return copy_failed(closed);
  struct stat info {};
  if (fsync(s.file) != 0 || fstat(s.file, &info) != 0) return copy_failed(SQLITE_IOERR);
  if (!rename_to_new(s.path, s.place))
    return errno == EEXIST ? refused("exists") : copy_failed(SQLITE_IOERR);
  s.path = s.place;
  if (!sync_folder(folder_of(s.path))) return copy_failed(SQLITE_IOERR);
  s.bytes = static_cast<std::uint64_t>(info.st_size);
  s.done = true;
  return progress::done;
}

}  // namespace portcullis::store

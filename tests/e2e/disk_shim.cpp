// A disk that a test can fill, slow down or break: loaded before libc (LD_PRELOAD) into the server.
// What the file that PORTCULLIS_E2E_DISK names says goes for every write and sync of the store:
// nothing, "full", "broken" or "held"; and for every write of the log to a file: "log_eio",
// "log_read_only".
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

bool says(const char* word) {
  static const char* const path = getenv("PORTCULLIS_E2E_DISK");
  if (path == nullptr) return false;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char text[16] = {};
  const auto got = read(fd, text, sizeof text - 1);
  close(fd);
  return got > 0 && strncmp(text, word, strlen(word)) == 0;
}

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

int synced(int fd, const char* name) {
  while (says("held")) poll(nullptr, 0, 2);
  if (says("broken")) {
    errno = EIO;
    return -1;
  }
  return real<int(int)>(name)(fd);
}

}  // namespace

extern "C" {

ssize_t pwrite64(int fd, const void* from, size_t size, off64_t at) {
  if (says("full")) {
    errno = ENOSPC;
    return -1;
  }
  static auto* const next = real<ssize_t(int, const void*, size_t, off64_t)>("pwrite64");
  return next(fd, from, size, at);
}

ssize_t write(int fd, const void* from, size_t size) {
  struct stat at {};
  const bool file = fd > STDERR_FILENO && fstat(fd, &at) == 0 && S_ISREG(at.st_mode);
  if (file && says("log_")) {
    errno = says("log_eio") ? EIO : EROFS;
    return -1;
  }
  static auto* const next = real<ssize_t(int, const void*, size_t)>("write");
  return next(fd, from, size);
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }

}  // extern "C"

// A system clock that a test can step: loaded before libc (LD_PRELOAD) into the server. The file
// that PORTCULLIS_E2E_CLOCK names says by how many seconds it is off. As on a real machine, a step
// moves the clock that tells the date and none of those that count (monotonic, boot time).
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

namespace {

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

time_t off_s() {
  static const char* const path = getenv("PORTCULLIS_E2E_CLOCK");
  if (path == nullptr) return 0;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char text[24] = {};
  const auto got = read(fd, text, sizeof text - 1);
  close(fd);
  return got > 0 ? strtol(text, nullptr, 10) : 0;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t which, timespec* into) noexcept {
  static auto* const next = real<int(clockid_t, timespec*)>("clock_gettime");
  const int outcome = next(which, into);
  if (outcome == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE))
    into->tv_sec += off_s();
  return outcome;
}

int gettimeofday(timeval* into, void* zone) noexcept {
  static auto* const next = real<int(timeval*, void*)>("gettimeofday");
  const int outcome = next(into, zone);
  if (outcome == 0) into->tv_sec += off_s();
  return outcome;
}

time_t time(time_t* into) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (into != nullptr) *into = now.tv_sec;
  return now.tv_sec;
}

}  // extern "C"

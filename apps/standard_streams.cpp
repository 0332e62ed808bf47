#include "apps/standard_streams.hpp"

#include <fcntl.h>
#include <stdio_ext.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "apps/commands.hpp"

namespace portcullis::apps {

void occupy_standard_descriptors() noexcept {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    // The lowest number that is free is this one. Without O_CLOEXEC: `serve` executes itself again.
    const int opened = ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);  // NOLINT
    if (opened != fd && opened >= 0) ::close(opened);
  }
}

int finish_output(int status) noexcept {
  errno = 0;
  const bool flushed = std::fflush(stdout) == 0;
  return flushed && std::ferror(stdout) == 0 ? status : output_failed(status, errno);
}

int output_failed(int status, int why) noexcept {
  if (why == EPIPE) return status;
  std::fprintf(stderr, "portcullis: standard output: %s\n",
               why == 0 ? "could not be written to" : std::strerror(why));
  return status == exit_ok ? exit_failed : status;
}

void forget_output() noexcept {
  __fpurge(stdout);
  std::clearerr(stdout);
}

}  // namespace portcullis::apps

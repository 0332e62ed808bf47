// Runs a node until a signal or an administrator ends it.
#include "apps/serve.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>

#include "apps/commands.hpp"
#include "apps/node/node.hpp"
#include "monitoring/log.hpp"

#ifdef PORTCULLIS_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

namespace portcullis::apps {
namespace {

using monitoring::component;

void tell_systemd([[maybe_unused]] const char* state) {
#ifdef PORTCULLIS_SYSTEMD
  sd_notify(0, state);
#endif
}

/// Within which time systemd wants to hear of this process again and again (WatchdogSec); 0: it
/// does not.
std::chrono::microseconds watchdog_time() {
#ifdef PORTCULLIS_SYSTEMD
  std::uint64_t microseconds = 0;
  if (sd_watchdog_enabled(0, &microseconds) > 0) return std::chrono::microseconds(microseconds);
#endif
  return {};
}

using clock = std::chrono::steady_clock;

/// Waits for one of `signals`; 0 when none came until then (absent: for ever).
int next_signal(const sigset_t& signals, std::optional<clock::time_point> until) {
  for (;;) {
    int which = 0;
    if (until) {
      const auto left = std::max(clock::duration::zero(), *until - clock::now());
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
      const timespec pause{seconds.count(), std::chrono::nanoseconds(left - seconds).count()};
      which = sigtimedwait(&signals, nullptr, &pause);
    } else {
      which = sigwaitinfo(&signals, nullptr);
    }
    if (which > 0) return which;
    if (errno == EAGAIN) return 0;
  }
}

/// Tells systemd that the node lives, if every part that requests depend on has just answered: a
/// timer would go on when they hang.
void show_life(node& running, std::chrono::microseconds within) {
  const auto silent =
      running.silent_part(std::chrono::duration_cast<std::chrono::milliseconds>(within));
  if (silent.empty()) return tell_systemd("WATCHDOG=1");
  monitoring::log::write(core::log_level::error, component::server,
                         "A part of the node does not answer; the watchdog is not told.",
                         {{"event.action", "part_silent"}, {"part", silent}});
}

/// The log's output. On failure the log is still standard error, and has said why.
bool open_log(const core::config& config) {
  const auto& log = config.log;
  if (log.output == core::log_output::standard_error) return true;
  const bool journald = log.output == core::log_output::journald;
  // What is said before the node has its configuration has its form already.
  monitoring::log_settings settings;
  settings.format = log.format;
  (void)monitoring::process_log().configure(settings);
  if (journald && access(log.journald_socket.c_str(), W_OK) != 0)
    monitoring::log::write(core::log_level::warn, component::log,
                           "journald cannot be reached; entries are dropped until it can.",
                           {{"event.action", "log_unreachable"},
                            {"log.file.path", log.journald_socket},
                            {"error.message", std::string_view(std::strerror(errno))}});
  std::string why;
  const auto opened =
      monitoring::process_log().open({log.output, journald ? log.journald_socket : log.file}, why);
  if (opened) return true;
  monitoring::log::write(core::log_level::error, component::log, "The node could not start.",
                         {{"event.action", "start_failed"},
                          {"error.code", core::describe(opened.error().code).name},
                          {"reason", why}});
  monitoring::process_log().flush();
  return false;
}

/// To the log; and, where that is not standard error, there too: it is where one looks first.
void tell_start_failure(const core::config& config, std::string_view code, std::string_view why) {
  const auto tell = [&](monitoring::logger& to) {
    to.write(core::log_level::error, component::server, "The node could not start.",
             {{"event.action", "start_failed"}, {"error.code", code}, {"reason", why}});
    to.flush();
  };
  tell(monitoring::process_log());
  if (config.log.output == core::log_output::standard_error) return;
  monitoring::logger standard_error;
  monitoring::log_settings settings;
  settings.format = config.log.format;
  (void)standard_error.configure(settings);
  tell(standard_error);
}

}  // namespace

int serve(const core::parsed_config& loaded, const config_sources& sources) {
  // Taken by this thread alone: blocked before any other exists.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int each : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, each);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  if (!open_log(loaded.value)) return exit_failed;
  node running(loaded.value, sources, [] { kill(getpid(), SIGTERM); });
  std::string why;
  if (const auto started = running.start(why); !started) {
    const auto& row = core::describe(started.error().code);
    tell_start_failure(loaded.value, row.name, why.empty() ? row.message : std::string_view(why));
    return exit_failed;
  }
  tell_systemd("READY=1");
  // A quarter to wait and a quarter for the answers: one that comes late does not end the node yet.
  const auto step = watchdog_time() / 4;
  std::optional<clock::time_point> due;
  if (step.count() > 0) due = clock::now() + step;
  for (;;) {
    // Also between signals: reloads, however many, must not put it off.
    if (due && clock::now() >= *due) {
      show_life(running, step);
      due = clock::now() + step;
    }
    const int which = next_signal(signals, due);
    if (which == 0) continue;
    if (which != SIGHUP) break;
    tell_systemd("RELOADING=1");
    running.reload();
    tell_systemd("READY=1");
  }
  tell_systemd("STOPPING=1");
  return running.stop() ? exit_ok : exit_failed;
}

}  // namespace portcullis::apps

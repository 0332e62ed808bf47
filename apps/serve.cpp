// Runs a node until a signal or an administrator ends it.
#include "apps/serve.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

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

}  // namespace

int serve(const core::parsed_config& loaded, const config_sources& sources) {
  // Taken by this thread alone: blocked before any other exists.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int each : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, each);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  node running(loaded.value, sources, [] { kill(getpid(), SIGTERM); });
  std::string why;
  if (const auto started = running.start(why); !started) {
    const auto& row = core::describe(started.error().code);
    monitoring::log::write(
        core::log_level::error, component::server, "The node could not start.",
        {{"error.code", row.name}, {"reason", why.empty() ? row.message : std::string_view(why)}});
    monitoring::process_log().flush();
    return exit_failed;
  }
  tell_systemd("READY=1");
  for (;;) {
    int which = 0;
    if (sigwait(&signals, &which) != 0) continue;
    if (which != SIGHUP) break;
    tell_systemd("RELOADING=1");
    running.reload();
    tell_systemd("READY=1");
  }
  tell_systemd("STOPPING=1");
  return running.stop() ? exit_ok : exit_failed;
}

}  // namespace portcullis::apps

// The log actor: renders each durable event once, as a structured log line. On CAF's scheduler;
// spdlog's queue behind it is bounded and drops rather than wait.
#pragma once
#include "actors/interfaces.hpp"

namespace portcullis::actors {

log_actor::behavior_type log_behaviour(log_actor::pointer self);

}  // namespace portcullis::actors

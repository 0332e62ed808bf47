// Checkpoints that were kept elsewhere, as somebody who looks at a log has them.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/event/checkpoint.hpp"

namespace portcullis::apps {

/// A checkpoint that was exported: what it says of the log.
struct exported_checkpoint {
  core::log_place of;
  core::checkpoint what;
};

/// The checkpoints in a file of JSON lines, plain or gzip ("-": standard input), by seq: as `events
/// query`, `events tail`, `checkpoint` or `events export` write them. Other lines, such as an
/// export's header and other events, are left out. Absent: it cannot be read, a checkpoint lacks
/// its fields, or there is none; `why` says which line.
[[nodiscard]] std::optional<std::vector<exported_checkpoint>> read_checkpoints(
    const std::string& path, std::string& why);

}  // namespace portcullis::apps

// `portcullis events export`: everything in a stopped node's store as lines.
#pragma once
#include <string>

#include "apps/log/source.hpp"

namespace portcullis::apps {

struct export_options {
  log_place_options place;
  std::string out;  // empty: standard output
  bool gzip = false;
  bool shown = false;  // events as events.query shows them, and nothing else
  std::uint64_t after = 0;
  log_moment until;
};

/// Says on standard error what is wrong; the exit status. What cannot be read is named there, and
/// in the trailer; all the rest is exported.
[[nodiscard]] int export_log(const export_options& given);

}  // namespace portcullis::apps

// `portcullis events import`: an export becomes a store.
#pragma once
#include <string>

#include "apps/log/source.hpp"

namespace portcullis::apps {

struct import_log_options {
  log_place_options place;
  std::string in;  // "-": standard input
  bool json = false;
};

/// Says on standard error what is wrong; the exit status. The folder has a store afterwards only
/// when all of it was right.
[[nodiscard]] int import_log(const import_log_options& given);

}  // namespace portcullis::apps

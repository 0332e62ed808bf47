// How the table of metrics is put together. Private to monitoring.
#pragma once
#include <array>
#include <string_view>
#include <vector>

#include "monitoring/metrics_table.hpp"

namespace portcullis::monitoring {

template <std::size_t N>
std::vector<std::string_view> all(const std::array<std::string_view, N>& names) {
  return {names.begin(), names.end()};
}

/// The last rows: of the log that nodes share, of the node's actors and of the process.
[[nodiscard]] std::vector<metric_row> node_rows();

}  // namespace portcullis::monitoring

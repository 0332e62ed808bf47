// How many connections the process's limit of open descriptors allows (hazards H13).
#pragma once
#include <cstddef>
#include <string>

#include "core/config/config.hpp"
#include "core/result.hpp"

namespace portcullis::apps {

/// Raises the soft limit to the hard one. Returns how many descriptors may be open at once; a limit
/// that cannot be read counts as none.
[[nodiscard]] std::size_t raise_descriptor_limit() noexcept;

/// What a node needs descriptors for.
struct descriptor_needs {
  std::size_t rpc_connections = 0, http_connections = 0;
  std::size_t loops = 1;

  /// For everything: connections, each loop's own, limits::fd_reserve.
  [[nodiscard]] std::size_t all() const noexcept;
};

/// The RPC connections that fit into `limit` beside everything else, at most as many as asked for;
/// 0 when not even one a loop does.
[[nodiscard]] std::size_t rpc_connections_within(std::size_t limit,
                                                 const descriptor_needs& needs) noexcept;

/// The RPC connections that a node with `config` may take on this machine. The log warns where they
/// are fewer than configured. CONNECTION_LIMIT where there is room for none: `why` is a sentence
/// for the operator.
[[nodiscard]] core::result<std::size_t> rpc_connections_for(const core::config& config,
                                                            std::size_t loops, std::string& why);

}  // namespace portcullis::apps

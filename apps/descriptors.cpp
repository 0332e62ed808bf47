#include "apps/descriptors.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <limits>

#include "core/limits.hpp"
#include "monitoring/log.hpp"

namespace portcullis::apps {

std::size_t raise_descriptor_limit() noexcept {
  constexpr auto unknown = std::numeric_limits<std::size_t>::max();
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return unknown;
  const auto before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
}

std::size_t descriptor_needs::all() const noexcept {
  return rpc_connections + http_connections + loops * core::limits::fd_per_loop +
         core::limits::fd_reserve;
}

std::size_t rpc_connections_within(std::size_t limit, const descriptor_needs& needs) noexcept {
  const auto others = needs.all() - needs.rpc_connections;
  if (limit < others + needs.loops) return 0;
  return std::min(needs.rpc_connections, limit - others);
}

core::result<std::size_t> rpc_connections_for(const core::config& config, std::size_t loops,
                                              std::string& why) {
  const auto& listen = config.listen;
  descriptor_needs needs{listen.rpc.max_connections, listen.http.max_connections, loops};
  if (!listen.rpc_tls.address.empty()) needs.rpc_connections += listen.rpc_tls.max_connections;
  if (!listen.https.address.empty()) needs.http_connections += listen.https.max_connections;
  const auto limit = raise_descriptor_limit();
  const auto allowed = rpc_connections_within(limit, needs);
  if (allowed == 0) {
    why = fmt::format(
        "{} open descriptors are allowed (RLIMIT_NOFILE), {} are needed: raise the limit, or lower "
        "listen.rpc.max_connections and listen.http.max_connections",
        limit, needs.all());
    return core::fail(core::error_code::CONNECTION_LIMIT);
  }
  if (allowed < needs.rpc_connections)
    monitoring::log::write(core::log_level::warn, monitoring::component::server,
                           "The limit of open descriptors allows fewer connections than "
                           "listen.rpc.max_connections.",
                           {{"event.action", "descriptors_limited"},
                            {"descriptors", std::uint64_t{limit}},
                            {"descriptors_needed", std::uint64_t{needs.all()}},
                            {"connections", std::uint64_t{allowed}}});
  return allowed;
}

}  // namespace portcullis::apps

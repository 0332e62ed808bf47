#include "apps/node/refusal_log.hpp"

#include <utility>

#include "monitoring/log.hpp"

namespace portcullis::apps {
namespace {

using monitoring::component;

std::string name_of(const core::short_hash& source) {
  return core::to_hex({source.data(), source.size()});
}

}  // namespace

/// How many a line is to tell of; 0: no line now.
std::int64_t refusal_log::tell(kind& of) noexcept {
  ++of.untold;
  const auto now_ms = clock_.now_ms();
  if (now_ms < of.quiet_until_ms) return 0;
  of.quiet_until_ms = now_ms + core::limits::refusal_log_ms;
  return std::exchange(of.untold, 0);
}

void refusal_log::refused(const net::refusal& what) noexcept {
  const auto why = static_cast<std::size_t>(what.why);
  const auto how = what.how ? static_cast<std::size_t>(*what.how) : 0;
  auto& row = kinds_[static_cast<std::size_t>(what.at)];
  const auto count = tell(row[what.how ? core::rejection_names.size() + how : why]);
  if (count == 0) return;
  monitoring::log::write(
      core::log_level::info, component::net, "Connections were refused.",
      {{"event.action", "connections_refused"},
       {"listener", core::listener_names[static_cast<std::size_t>(what.at)]},
       {"reason", core::rejection_names[why]},
       {"tls_failure", what.how ? core::tls_failure_names[how] : std::string_view("none")},
       {"count", count},
       {"last_source", name_of(keys_->source(what.from))}});
}

void refusal_log::forwarded_unread(const core::ip_address& proxy) noexcept {
  const auto count = tell(forwarded_);
  if (count == 0) return;
  monitoring::log::write(core::log_level::warn, component::http,
                         "X-Forwarded-For is not read: authz.trusted_proxies does not have who "
                         "sends it, so each user has that address.",
                         {{"event.action", "forwarded_for_unread"},
                          {"count", count},
                          {"last_source", name_of(keys_->source(proxy))}});
}

}  // namespace portcullis::apps

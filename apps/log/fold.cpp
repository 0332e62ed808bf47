#include "apps/log/fold.hpp"

#include <fmt/format.h>

#include "store/log_stream.hpp"

namespace portcullis::apps {

folded_log fold_log(store::log_file& from, const log_moment& until, core::replayed_state& to,
                    const std::function<void(const core::event&)>& before_each) {
  folded_log out;
  store::log_stream_options options;
  if (until.seq) options.until = *until.seq;
  if (until.at_ms) options.until_ms = *until.at_ms;
  options.mac_before = core::digest{};
  if (until.seq && *until.seq > from.last_seq()) {
    out.why = fmt::format("the log ends at seq {}", from.last_seq());
    return out;
  }
  store::log_stream events(from, options);
  for (auto some = events.next(); !some.empty(); some = events.next()) {
    for (const auto& each : some) {
      if (before_each) before_each(each);
      to.apply(each);
    }
    out.events += some.size();
  }
  if (const auto& trouble = events.trouble())
    out.why = fmt::format("the log is damaged at seq {} ({}, LOG_CORRUPT); verify says more",
                          trouble->seq, store::to_string(trouble->what));
  return out;
}

}  // namespace portcullis::apps

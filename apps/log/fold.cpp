#include "apps/log/fold.hpp"

#include <fmt/format.h>

#include "store/log_stream.hpp"

namespace portcullis::apps {

folded_log fold_log(store::log_file& from, const log_moment& until, core::replayed_state& to,
                    const std::function<void(const core::event&)>& before_each,
                    const std::function<void()>& once_begun) {
  folded_log out;
  auto options = store::whole_log(from);
  if (until.seq) options.until = *until.seq;
  if (until.at_ms) options.until_ms = *until.at_ms;
  if (until.seq && *until.seq > from.last_seq()) {
    out.why = fmt::format("the log ends at seq {}", from.last_seq());
    return out;
  }
  if (const auto& cut = from.cut()) {
    if ((until.seq && *until.seq < cut->of.seq) || (until.at_ms && *until.at_ms < cut->of.at_ms)) {
      out.why = fmt::format("the log begins at seq {}, {}: what came before was cut off",
                            cut->of.seq, time_text(cut->of.at_ms));
      return out;
    }
    auto base = from.read_snapshot();
    if (!base) {
      out.why = fmt::format("the snapshot at seq {} is damaged (LOG_CORRUPT)", cut->of.seq);
      return out;
    }
    to = std::move(*base);
  }
  if (once_begun) once_begun();
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

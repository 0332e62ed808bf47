// Replaying a log up to a moment.
#pragma once
#include <functional>
#include <string>

#include "apps/log/source.hpp"
#include "core/replay/state.hpp"

namespace portcullis::apps {

struct folded_log {
  std::uint64_t events = 0;
  std::string why;  // set: what stopped it; the state is that of before
};
/// `once_begun`, where given, is called before the first event, with what the log begins with in
/// `to`: the state of its snapshot where it was cut, else nothing. `before_each` sees each event
/// before it is applied.
[[nodiscard]] folded_log fold_log(
    store::log_file& from, const log_moment& until, core::replayed_state& to,
    const std::function<void(const core::event&)>& before_each = nullptr,
    const std::function<void()>& once_begun = nullptr);

}  // namespace portcullis::apps

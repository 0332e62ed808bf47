#include "core/replay/what_if_report.hpp"

#include <algorithm>
#include <iterator>

namespace portcullis::core {
namespace {

millis hour_of(millis at_ms) noexcept { return at_ms - at_ms % 3'600'000; }

bool is_earlier(const what_if_example& a, const what_if_example& b) noexcept {
  return std::pair(a.at_ms, a.seq) < std::pair(b.at_ms, b.seq);
}

}  // namespace

lockout_difference& lockout_difference::operator+=(const lockout_difference& each) noexcept {
  recorded += each.recorded;
  other += each.other;
  more += each.more;
  fewer += each.fewer;
  return *this;
}

session_difference& session_difference::operator+=(const session_difference& more) noexcept {
  died += more.died;
  died_in_use += more.died_in_use;
  lived += more.lived;
  lived_in_use += more.lived_in_use;
  return *this;
}

bool what_if_row::differs() const noexcept {
  return users.more + users.fewer + sources.more + sources.fewer + sessions.died + sessions.lived +
             refused >
         0;
}

what_if_row& what_if_row::operator+=(const what_if_row& more) noexcept {
  users += more.users;
  sources += more.sources;
  sessions += more.sessions;
  refused += more.refused;
  approximate = approximate || more.approximate;
  return *this;
}

std::string_view to_string(what_if_example::kind what) noexcept {
  switch (what) {
    case what_if_example::kind::lockout_more:
      return "lockout_more";
    case what_if_example::kind::lockout_fewer:
      return "lockout_fewer";
    case what_if_example::kind::session_died:
      return "session_died";
    case what_if_example::kind::session_lived:
      return "session_lived";
  }
  return {};
}

what_if_row& what_if_tally::row(std::string_view tenant, millis at_ms) {
  return report_.rows[{hour_of(at_ms), std::string(tenant)}];
}

breaker_openings& what_if_tally::openings(std::string_view service, millis at_ms) {
  return report_.breakers[{hour_of(at_ms), std::string(service)}];
}

void what_if_tally::add(what_if_example example) {
  // They are told when they are certain, not when they happen.
  auto& known = examples_[static_cast<std::size_t>(example.what)];
  const auto place = std::upper_bound(known.begin(), known.end(), example, is_earlier);
  if (place == known.end() && known.size() == examples_max) return;
  known.insert(place, std::move(example));
  if (known.size() > examples_max) known.pop_back();
}

what_if_report what_if_tally::finish() {
  for (auto& each : examples_)
    std::move(each.begin(), each.end(), std::back_inserter(report_.examples));
  std::stable_sort(report_.examples.begin(), report_.examples.end(), is_earlier);
  for (const auto& [place, row] : report_.rows) report_.totals += row;
  for (const auto& [place, each] : report_.breakers) {
    report_.openings.recorded += each.recorded;
    report_.openings.other += each.other;
  }
  if (!report_.notes.empty()) report_.totals.approximate = true;
  std::erase_if(report_.rows, [](const auto& each) { return !each.second.differs(); });
  std::erase_if(report_.breakers,
                [](const auto& each) { return each.second.recorded == each.second.other; });
  return std::move(report_);
}

}  // namespace portcullis::core

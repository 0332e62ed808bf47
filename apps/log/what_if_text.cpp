// How a what-if is told: JSON for programs, tables for people.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "apps/log/what_if.hpp"

namespace portcullis::apps {
namespace {

using json = nlohmann::ordered_json;

std::string hour_text(core::millis hour_ms) {
  return fmt::format("{:%Y-%m-%dT%H:%MZ}", fmt::gmtime(static_cast<std::time_t>(hour_ms / 1000)));
}

json json_of(const core::lockout_difference& of) {
  return {{"recorded", of.recorded}, {"other", of.other}, {"more", of.more}, {"fewer", of.fewer}};
}

json json_of(const core::what_if_row& of) {
  return {{"lockouts", json_of(of.users)},
          {"source_lockouts", json_of(of.sources)},
          {"sessions",
           {{"died", of.sessions.died},
            {"died_in_use", of.sessions.died_in_use},
            {"lived", of.sessions.lived},
            {"lived_in_use", of.sessions.lived_in_use}}},
          {"refused", of.refused},
          {"approximate", of.approximate}};
}

json json_of(const core::what_if_example& of, const what_if_result& in) {
  json out = {{"what", core::to_string(of.what)}, {"tenant_id", of.tenant_id}};
  if (of.subject)
    if (const auto who = in.users.find(*of.subject); who != in.users.end())
      out["user_id"] = who->second;
  if (of.handle) out["handle"] = core::to_text(*of.handle);
  out["at"] = time_text(of.at_ms);
  out["at_ms"] = of.at_ms;
  out["seq"] = of.seq;
  if (!of.cause.empty()) out["cause"] = of.cause;
  if (of.of_source) out["of_source"] = true;
  out["approximate"] = of.approximate;
  return out;
}

/// Columns as wide as their widest cell; the first `texts` of them are flush left.
class table {
 public:
  table(std::vector<std::string> head, std::size_t texts) : texts_(texts) {
    rows_.push_back(std::move(head));
  }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] bool empty() const { return rows_.size() < 2; }
  [[nodiscard]] std::string text() const {
    std::vector<std::size_t> widths(rows_.front().size());
    for (const auto& row : rows_)
      for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    std::string out;
    for (const auto& row : rows_) {
      std::string line;
      for (std::size_t i = 0; i < row.size(); ++i)
        line += i < texts_ ? fmt::format("{:<{}}  ", row[i], widths[i])
                           : fmt::format("{:>{}}  ", row[i], widths[i]);
      line.erase(line.find_last_not_of(' ') + 1);
      out += line + "\n";
    }
    return out;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
  std::size_t texts_;
};

std::string mark(bool approximate) { return approximate ? "approximate" : ""; }

bool any(const core::lockout_difference& of) { return of.recorded + of.other > 0; }

void add_lockouts(const char* name, const core::lockout_difference& of, table& to) {
  to.add({name, std::to_string(of.recorded), std::to_string(of.other), std::to_string(of.more),
          std::to_string(of.fewer)});
}

std::string totals_text(const core::what_if_report& report) {
  const auto& all = report.totals;
  table lockouts({"", "recorded", "other", "more", "fewer"}, 1);
  add_lockouts("lockouts of users", all.users, lockouts);
  if (any(all.sources)) add_lockouts("lockouts of sources", all.sources, lockouts);
  lockouts.add({"openings of breakers", std::to_string(report.openings.recorded),
                std::to_string(report.openings.other)});
  const auto& sessions = all.sessions;
  auto out = lockouts.text() + "\n";
  out += fmt::format("sessions that would have died   {} ({} used after that)\n", sessions.died,
                     sessions.died_in_use);
  out += fmt::format("sessions that would have lived  {} ({} asked for after that)\n",
                     sessions.lived, sessions.lived_in_use);
  out += fmt::format("good requests refused           {}{}\n", all.refused > 0 ? "at least " : "",
                     all.refused);
  if (all.approximate) out += "The numbers are approximate; --json and the rows say which.\n";
  return out;
}

std::string rows_text(const core::what_if_report& report) {
  table rows(
      {"HOUR", "TENANT", "MORE", "FEWER", "DIED", "IN USE", "LIVED", "IN USE", "REFUSED", ""}, 2);
  const auto both = [](std::uint64_t of_users, std::uint64_t of_sources) {
    return of_sources == 0 ? std::to_string(of_users)
                           : fmt::format("{}+{} src", of_users, of_sources);
  };
  for (const auto& [place, row] : report.rows)
    rows.add({hour_text(place.first), place.second, both(row.users.more, row.sources.more),
              both(row.users.fewer, row.sources.fewer), std::to_string(row.sessions.died),
              std::to_string(row.sessions.died_in_use), std::to_string(row.sessions.lived),
              std::to_string(row.sessions.lived_in_use), std::to_string(row.refused),
              mark(row.approximate)});
  table breakers({"HOUR", "SERVICE", "OPENED", "WOULD HAVE", ""}, 2);
  for (const auto& [place, each] : report.breakers)
    breakers.add({hour_text(place.first), place.second, std::to_string(each.recorded),
                  std::to_string(each.other), mark(true)});
  std::string out;
  if (!rows.empty()) out += "\n" + rows.text();
  if (!breakers.empty()) out += "\n" + breakers.text();
  if (rows.empty() && breakers.empty())
    out += "\nNo difference in anything that is counted here.\n";
  return out;
}

std::string examples_text(const what_if_result& of) {
  table examples({"FOR EXAMPLE", "AT", "TENANT", "USER", "SESSION", "EVENT", "", ""}, 8);
  const auto words = [](const core::what_if_example& each) -> std::string {
    using kind = core::what_if_example::kind;
    switch (each.what) {
      case kind::lockout_more:
        return each.of_source ? "would lock out a source" : "would lock out";
      case kind::lockout_fewer:
        return each.of_source ? "would not lock out a source" : "would not lock out";
      case kind::session_died:
        return "would have died";
      case kind::session_lived:
        return "would have lived";
    }
    return {};
  };
  for (const auto& each : of.report.examples) {
    const auto who = each.subject ? of.users.find(*each.subject) : of.users.end();
    examples.add({words(each), time_text(each.at_ms), each.tenant_id,
                  who == of.users.end() ? "-" : who->second,
                  each.handle ? core::to_text(*each.handle) : "-", std::to_string(each.seq),
                  std::string(each.cause), mark(each.approximate)});
  }
  return examples.empty() ? "" : "\n" + examples.text();
}

}  // namespace

std::string what_if_json(const what_if_result& of) {
  json out;
  out["policy"] = json::array();
  for (const auto& each : of.tried) {
    json one = {{"key", each.key}};
    one["recorded"] = each.recorded.empty() ? json() : json::parse(each.recorded);
    one["other"] = json::parse(each.other);
    out["policy"].push_back(std::move(one));
  }
  out["events"] = {{"count", of.events},
                   {"first_seq", of.first_seq},
                   {"last_seq", of.last_seq},
                   {"first_at_ms", of.first_ms},
                   {"last_at_ms", of.last_ms}};
  out["totals"] = json_of(of.report.totals);
  out["totals"]["breakers"] = {{"recorded", of.report.openings.recorded},
                               {"other", of.report.openings.other},
                               {"approximate", true}};
  out["rows"] = json::array();
  for (const auto& [place, row] : of.report.rows) {
    json one = {{"hour", hour_text(place.first)}, {"tenant_id", place.second}};
    one.update(json_of(row));
    out["rows"].push_back(std::move(one));
  }
  out["breakers"] = json::array();
  for (const auto& [place, each] : of.report.breakers)
    out["breakers"].push_back({{"hour", hour_text(place.first)},
                               {"service", place.second},
                               {"recorded", each.recorded},
                               {"other", each.other},
                               {"approximate", true}});
  out["examples"] = json::array();
  for (const auto& each : of.report.examples) out["examples"].push_back(json_of(each, of));
  out["notes"] = of.report.notes;
  return out.dump();
}

std::string what_if_table(const what_if_result& of) {
  std::string out;
  for (const auto& each : of.tried)
    out += fmt::format("{}: {} instead of {}\n", each.key, each.other,
                       each.recorded.empty() ? "the general value" : each.recorded);
  if (of.events == 0) return out + "There are no events to count.\n";
  out += fmt::format("events {} to {}, {} to {}\n\n", of.first_seq, of.last_seq,
                     time_text(of.first_ms), time_text(of.last_ms));
  out += totals_text(of.report) + rows_text(of.report) + examples_text(of);
  if (!of.report.notes.empty()) out += "\n";
  for (const auto& each : of.report.notes) out += fmt::format("note: {}\n", each);
  return out;
}

}  // namespace portcullis::apps

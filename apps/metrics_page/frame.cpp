#include "apps/metrics_page/frame.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "apps/metrics_page/shown.hpp"

namespace portcullis::apps {
namespace {

constexpr std::size_t methods_shown = 15, errors_shown = 8;

enum class ink { plain, dim, bold, good, warn, bad, head };

std::string_view code_of(ink which) {
  switch (which) {
    case ink::plain:
      return "";
    case ink::dim:
      return "\x1b[2m";
    case ink::bold:
      return "\x1b[1m";
    case ink::good:
      return "\x1b[32m";
    case ink::warn:
      return "\x1b[33m";
    case ink::bad:
      return "\x1b[1;31m";
    case ink::head:
      return "\x1b[7m";
  }
  return "";
}

struct piece {
  std::string text;
  ink colour = ink::plain;
};
using pieces = std::vector<piece>;

/// Lines as they become, cut to the columns.
class sheet {
 public:
  sheet(std::size_t columns, bool colours) : columns_(columns), colours_(colours) {}

  void line(const pieces& of) {
    std::string out;
    std::size_t left = columns_;
    for (const auto& each : of) {
      if (left == 0) break;
      const auto text = cut_to(plain_text(each.text), left);
      left -= text.size();
      const auto code = colours_ ? code_of(each.colour) : "";
      out.append(code).append(text);
      if (!code.empty()) out += "\x1b[0m";
    }
    lines_.push_back(std::move(out));
  }

  /// Items after a label, on as many lines as they need.
  void flow(std::string_view label, const pieces& items) {
    const std::size_t indent = columns_ >= 40 ? label_columns : 1;
    pieces now = {{fmt::format("{:<{}}", label, indent), ink::dim}};
    std::size_t used = now.front().text.size();
    bool first = true;
    for (const auto& each : items) {
      if (!first && used + 2 + each.text.size() > columns_) {
        line(now);
        now = {{std::string(indent, ' ')}};
        used = indent;
        first = true;
      }
      if (!first) now.push_back({"  "});
      used += (first ? 0 : 2) + each.text.size();
      now.push_back(each);
      first = false;
    }
    line(now);
  }

  [[nodiscard]] std::size_t size() const noexcept { return lines_.size(); }
  [[nodiscard]] std::size_t columns() const noexcept { return columns_; }
  [[nodiscard]] std::vector<std::string> take() { return std::move(lines_); }

 private:
  static constexpr std::size_t label_columns = 13;
  std::size_t columns_;
  bool colours_;
  std::vector<std::string> lines_;
};

ink if_any(reading value, ink colour) { return value && *value > 0 ? colour : ink::plain; }

std::string rate_text(reading value) { return number_text(value) + "/s"; }

double sum_of(const std::map<std::string, double>& all) {
  double sum = 0;
  for (const auto& [name, value] : all) sum += value;
  return sum;
}

/// "NAME VALUE" for each that is more than 0, the most first.
pieces items_of(const std::map<std::string, double>& all, ink colour, std::string_view plain_name) {
  std::vector<std::pair<double, std::string>> order;
  for (const auto& [name, value] : all)
    if (value > 0) order.emplace_back(-value, name);
  std::sort(order.begin(), order.end());
  pieces out;
  for (const auto& [value, name] : order)
    out.push_back({fmt::format("{} {}", plain_text(name), rate_text(-value)),
                   name == plain_name ? ink::plain : colour});
  return out;
}

void add_head(sheet& to, const std::optional<overview>& of, const frame_request& how) {
  auto text = fmt::format("portcullis {}  {}", of ? of->version : "", how.server);
  if (of)
    text += fmt::format("  up {}  every {}s", duration_text(of->uptime_s),
                        number_text(std::round(of->interval_s * 10) / 10));
  if (how.paused) text += "  PAUSED";
  text = cut_to(plain_text(text), to.columns());
  if (how.colours) text += std::string(to.columns() - text.size(), ' ');
  to.line({{text, ink::head}});
  if (!how.trouble.empty())
    to.line({{fmt::format("not reached, trying again ({}): {}", duration_text(how.trouble_s),
                          how.trouble),
              ink::bad}});
  else if (of && of->restarted)
    to.line({{"the server was started again: counted from then", ink::warn}});
}

void add_sessions(sheet& to, const overview& of) {
  pieces items = {{number_text(of.sessions) + " live", ink::bold},
                  {"created " + rate_text(of.created)},
                  {"ended " + rate_text(sum_of(of.ended))}};
  for (auto& each : items_of(of.ended, ink::plain, "")) items.push_back(std::move(each));
  to.flow("sessions", items);
  items = {
      {"users locked " + number_text(of.users_locked), if_any(of.users_locked, ink::bad)},
      {"lockouts " + rate_text(of.lockouts), if_any(of.lockouts, ink::bad)},
      {"failed attempts " + rate_text(of.failed_attempts), if_any(of.failed_attempts, ink::warn)}};
  if (of.reuse) items.push_back({"id reuse " + rate_text(of.reuse), if_any(of.reuse, ink::bad)});
  if (of.users_in_doubt.value_or(0) > 0)
    items.push_back({number_text(of.users_in_doubt) + " in doubt"});
  to.flow("lockouts", items);
  items = {{rate_text(sum_of(of.validations)), ink::bold}};
  for (auto& each : items_of(of.validations, ink::warn, "valid")) items.push_back(std::move(each));
  to.flow("validations", items);
}

void add_store(sheet& to, const overview& of) {
  const bool degraded = of.store_degraded.value_or(0) > 0;
  pieces items = {{!of.store_degraded ? "-"
                   : degraded         ? "DEGRADED"
                                      : "ok",
                   degraded ? ink::bad : ink::good},
                  {"appends " + rate_text(of.appends)},
                  {"commit p50 " + latency_text(of.commit_p50)},
                  {"p99 " + latency_text(of.commit_p99)},
                  {"queue " + number_text(of.queue), if_any(of.queue, ink::plain)},
                  {"log " + bytes_text(of.log_bytes)}};
  if (of.store_errors.value_or(0) > 0)
    items.push_back({"errors " + rate_text(of.store_errors), ink::bad});
  to.flow("store", items);
  if (of.nodes.value_or(0) > 0) {
    items = {{number_text(of.nodes) + " nodes", ink::bold},
             {"behind " + latency_text(of.staleness_s)},
             {"in flight " + number_text(of.fleet_in_flight)},
             {"refused " + rate_text(of.refused), if_any(of.refused, ink::warn)}};
    if (of.shared_store_degraded.value_or(0) > 0)
      items.push_back({"SHARED LOG NOT REACHED", ink::bad});
    to.flow("fleet", items);
  }
  to.flow("events",
          {{number_text(of.subscribers) + " subscribers"},
           {"dropped " + rate_text(of.subscriber_drops), if_any(of.subscriber_drops, ink::warn)}});
}

void add_process(sheet& to, const overview& of) {
  pieces items;
  for (const auto& [listener, open] : of.connections)
    if (open > 0) items.push_back({fmt::format("{} {}", plain_text(listener), number_text(open))});
  if (items.empty()) items.push_back({"none"});
  items.push_back({"turned away " + rate_text(of.rejections), if_any(of.rejections, ink::warn)});
  items.push_back({"in flight " + number_text(of.in_flight)});
  to.flow("connections", items);
  to.flow("process", {{"loop lag p50 " + latency_text(of.lag_p50)},
                      {"p99 " + latency_text(of.lag_p99)},
                      {"cpu " + percent_text(of.cpu)},
                      {"memory " + bytes_text(of.memory_bytes)},
                      {fmt::format("descriptors {}/{}", number_text(of.descriptors),
                                   number_text(of.descriptors_max))}});
  items = {{"warnings " + rate_text(of.log_warnings), if_any(of.log_warnings, ink::warn)},
           {"errors " + rate_text(of.log_errors), if_any(of.log_errors, ink::bad)},
           {"dropped " + rate_text(of.log_dropped), if_any(of.log_dropped, ink::bad)}};
  if (of.log_write_errors)
    items.push_back(
        {"not written " + rate_text(of.log_write_errors), if_any(of.log_write_errors, ink::bad)});
  if (of.reload_ok && *of.reload_ok == 0) items.push_back({"LAST RELOAD FAILED", ink::bad});
  to.flow("process log", items);
}

ink ink_of(const breaker_row& row) {
  if (row.state == "open" || row.state == "forced_open") return ink::bad;
  return row.closed() ? ink::good : ink::warn;
}

/// Of `rows_max` lines, its head included; 0: all.
void add_breakers(sheet& to, const overview& of, std::size_t rows_max) {
  const auto closed = std::count_if(of.breakers.begin(), of.breakers.end(),
                                    [](const auto& row) { return row.closed(); });
  const auto count = of.breakers.size();
  to.line(
      {{fmt::format("BREAKERS {}, {} not closed", count, count - static_cast<std::size_t>(closed)),
        ink::bold}});
  if (count == 0) return;
  const bool all = rows_max == 0 || rows_max >= count + 2;
  const auto shown = all ? count : std::min(count, rows_max > 3 ? rows_max - 3 : 0);
  // What a narrow terminal cuts off stands last.
  to.line({{fmt::format("{:<12} {:>7} {:>10} {:>7} {:>8} {:>8} {}", "STATE", "FAILING", "FOR",
                        "SLOW", "CALLS", "REJECTED", "SERVICE/BREAKER"),
            ink::dim}});
  for (std::size_t i = 0; i < shown; ++i) {
    const auto& row = of.breakers[i];
    to.line(
        {{fmt::format("{:<12}", plain_text(row.state)), ink_of(row)},
         {fmt::format(" {:>7} {:>10} {:>7} {:>8} {:>8} ", percent_text(row.failure_ratio),
                      duration_text(row.in_state_s), percent_text(row.slow_ratio),
                      rate_text(row.calls), rate_text(row.rejected))},
         {fmt::format("{}/{}{}", row.service, row.breaker, row.overridden ? " (override)" : "")}});
  }
  if (!all) to.line({{fmt::format("and {} more", count - shown), ink::dim}});
}

void add_requests(sheet& to, const overview& of, std::size_t rows_max) {
  double errors = 0, all = 0;
  for (const auto& row : of.methods) {
    errors += row.errors;
    all += row.rate;
  }
  to.line({{fmt::format("REQUESTS {}, errors {}", rate_text(all), rate_text(errors)), ink::bold}});
  if (!of.errors.empty()) {
    auto items = items_of(of.errors, ink::warn, "");
    if (items.size() > errors_shown) items.resize(errors_shown);
    to.flow("errors", items);
  }
  if (of.methods.empty() || rows_max < 4) return;
  to.line({{fmt::format("{:<24} {:>9} {:>9} {:>8} {:>8}", "METHOD", "RATE", "ERRORS", "P50", "P99"),
            ink::dim}});
  const auto shown = std::min(of.methods.size(), rows_max - 3);
  for (std::size_t i = 0; i < shown; ++i) {
    const auto& row = of.methods[i];
    to.line(
        {{fmt::format("{:<24} {:>9} ", cut_to(plain_text(row.method), 24), rate_text(row.rate))},
         {fmt::format("{:>9}", rate_text(row.errors)), if_any(row.errors, ink::warn)},
         {fmt::format(" {:>8} {:>8}", latency_text(row.p50), latency_text(row.p99))}});
  }
}

}  // namespace

std::vector<std::string> frame_lines(const std::optional<overview>& of, const frame_request& how) {
  sheet out(std::max<std::size_t>(how.size.columns, 1), how.colours);
  add_head(out, of, how);
  const auto rows = how.size.rows;
  const auto left = [&] {  // without the line of keys
    const auto used = out.size() + (how.keys ? 1 : 0);
    return rows > used ? rows - used : 0;
  };
  if (!of) {
    if (how.trouble.empty()) out.line({{"waiting for the second scrape", ink::dim}});
  } else if (how.view == top_view::breakers) {
    add_breakers(out, *of, rows == 0 ? 0 : std::max<std::size_t>(left(), 1));
  } else {
    add_sessions(out, *of);
    add_store(out, *of);
    add_process(out, *of);
    if (rows == 0) {
      add_breakers(out, *of, 0);
      add_requests(out, *of, methods_shown + 3);
    } else {
      // What is not closed is worth more lines than the rest.
      const auto open = std::count_if(of->breakers.begin(), of->breakers.end(),
                                      [](const auto& row) { return !row.closed(); });
      const auto wanted = std::max<std::size_t>(static_cast<std::size_t>(open) + 3, 5);
      add_breakers(out, *of, std::max<std::size_t>(std::min(left() * 3 / 5, wanted), 1));
      add_requests(out, *of, std::min(left(), methods_shown + 3));
    }
  }
  auto lines = out.take();
  if (rows > 0 && how.keys) {
    lines.resize(std::max<std::size_t>(rows, 1) - 1);
    sheet last(std::max<std::size_t>(how.size.columns, 1), how.colours);
    last.line({{"q quit  p pause  b breakers  o overview", ink::dim}});
    lines.push_back(last.take().front());
  } else if (rows > 0 && lines.size() > rows) {
    lines.resize(rows);
  }
  return lines;
}

terminal_abilities abilities_of(const char* term, const char* colorterm, const char* no_color) {
  const std::string_view name = term == nullptr ? "" : term;
  terminal_abilities out;
  out.moves = !name.empty() && name != "dumb" && name != "unknown";
  if (!out.moves || (no_color != nullptr && *no_color != '\0')) return out;
  const auto has = [&](std::string_view part) { return name.find(part) != std::string_view::npos; };
  constexpr std::array coloured = {"color",   "xterm", "screen",    "tmux",  "rxvt",
                                   "linux",   "ansi",  "alacritty", "kitty", "foot",
                                   "konsole", "vte",   "cygwin",    "putty", "st-"};
  out.colours = !has("mono") && ((colorterm != nullptr && *colorterm != '\0') ||
                                 std::any_of(coloured.begin(), coloured.end(), has));
  return out;
}

}  // namespace portcullis::apps

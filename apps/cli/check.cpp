// `portcullis check`: one look at a node for a monitoring system, in the form of a plugin.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "apps/commands.hpp"
#include "apps/http_client.hpp"
#include "apps/metrics_page/findings.hpp"

namespace portcullis::apps {
namespace {

using steady = std::chrono::steady_clock;
constexpr std::string_view ready_name = "ready", ping_name = "ping_ms";

struct check_options {
  server_options http;
  std::string address;  // of JSON-RPC; empty: server.ping goes over HTTP
  std::vector<std::string> warn, crit, only;
  std::optional<double> scraped_within_s;
  bool critical_only = false;
};

/// Looks at a node once; what it finds is in the order in which it is printed.
class look {
 public:
  explicit look(const check_options& given)
      : given_(given), only_(given.only.begin(), given.only.end()) {}

  std::vector<finding> run() {
    std::string why = set_limits();
    const auto server = why.empty() ? http_client::make(given_.http, why) : std::nullopt;
    if (!server) {
      add(verdict::unknown, "check", why);
    } else if (ready(*server) && ping(*server)) {
      metrics(*server);
      for (auto& each : judge(heard_, limits_, only_)) found_.push_back(std::move(each));
    }
    return std::move(found_);
  }

 private:
  [[nodiscard]] bool wants(std::string_view name) const {
    return only_.empty() || only_.contains(name);
  }
  void add(verdict is, std::string_view name, const std::string& text) {
    found_.push_back({is, std::string(name), text, ""});
  }
  /// False: nothing more can be asked.
  bool unreachable(std::string_view name, std::string_view where, const std::string& why) {
    add(verdict::critical, name, fmt::format("{} is not reached: {}", where, why));
    return false;
  }

  std::string set_limits() {
    for (const auto& each : given_.warn)
      if (auto wrong = limits_.set_warn(each); !wrong.empty()) return wrong;
    for (const auto& each : given_.crit)
      if (auto wrong = limits_.set_crit(each); !wrong.empty()) return wrong;
    if (!given_.scraped_within_s) return {};
    return limits_.set_warn(fmt::format("scrape_age_s={}", *given_.scraped_within_s));
  }

  bool ready(const http_client& server) {
    if (!wants(ready_name)) return true;
    std::string why;
    const auto reply = server.ask("/readyz?verbose", {}, why);
    if (!reply) return unreachable(ready_name, given_.http.address, why);
    if (reply->status == 200)
      add(verdict::ok, ready_name, "ready");
    else if (reply->status == 503 || reply->status >= 500)
      add(verdict::critical, ready_name, "not ready: " + refusal_text(*reply));
    else
      add(verdict::unknown, ready_name, "/readyz: " + refusal_text(*reply));
    return true;
  }

  bool ping(const http_client& server) {
    if (!wants(ping_name)) return true;
    const auto begun = steady::now();
    if (!given_.address.empty()) {
      if (!ping_rpc()) return false;
    } else {
      std::string why;
      const auto reply =
          server.ask("/rpc", R"({"jsonrpc":"2.0","id":1,"method":"server.ping"})", why);
      if (!reply) return unreachable(ping_name, given_.http.address, why);
      if (reply->status != 200 || reply->body.find("\"result\"") == std::string::npos) {
        const bool refused = reply->status >= 400 && reply->status < 500;
        add(refused ? verdict::unknown : verdict::critical, ping_name,
            "server.ping: " + refusal_text(*reply));
        return true;
      }
    }
    heard_.ping_ms = std::chrono::duration<double, std::milli>(steady::now() - begun).count();
    return true;
  }

  bool ping_rpc() {
    auto to = given_.http;
    to.address = given_.address;
    std::string why;
    const auto way = connector::make(to, why);
    line_client server{std::chrono::milliseconds(static_cast<std::int64_t>(to.timeout_s * 1000))};
    if (!way) return unreachable(ping_name, to.address, why);
    std::optional<std::string> reply;
    const bool sent = server.connect(*way) &&
                      server.send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"server.ping\"}\n");
    if (sent) reply = server.receive();
    if (!reply) return unreachable(ping_name, to.address, server.why());
    if (reply->find("\"result\"") != std::string::npos) return true;
    return unreachable(ping_name, to.address, "the answer is not one to server.ping");
  }

  void metrics(const http_client& server) {
    const bool any = only_.empty() || std::any_of(only_.begin(), only_.end(), [](const auto& name) {
                       return name != ready_name && name != ping_name;
                     });
    if (!any) return;
    std::string why;
    const auto reply = server.ask("/metrics", {}, why);
    heard_.unix_s =
        std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    if (!reply) {
      unreachable("metrics", given_.http.address, why);
      return;
    }
    if (reply->status != 200) {
      add(reply->status >= 500 ? verdict::critical : verdict::unknown, "metrics",
          "/metrics: " + refusal_text(*reply));
      return;
    }
    heard_.page = metrics_page::parse(reply->body, why);
    if (!heard_.page) add(verdict::unknown, "metrics", "/metrics: " + why);
  }

  const check_options& given_;
  std::set<std::string, std::less<>> only_;
  thresholds limits_;
  heard heard_;
  std::vector<finding> found_;
};

int run_check(const check_options& given) {
  const auto found = look(given).run();
  fmt::print("{}", plugin_output(found));
  const auto worst = worst_of(found);
  return given.critical_only && worst == verdict::warning ? exit_ok : static_cast<int>(worst);
}

std::string names_help() {
  const auto line = [](std::string_view name, std::string_view warn, std::string_view crit,
                       std::string_view help) {
    return fmt::format("  {:<22} {:>7} {:>8}  {}\n", name, warn, crit, help);
  };
  auto text = line("NAME", "WARNING", "CRITICAL", "WHAT") +
              line(ready_name, "-", "no", "/readyz: not draining, all of it works");
  for (const auto& row : threshold_table())
    text += line(row.name, limit_text(row, row.warn), limit_text(row, row.crit), row.help);
  return text +
         "What a node does not serve, or what does not concern it (a certificate without\n"
         "TLS), is not judged. Exit status: 0 OK, 1 WARNING, 2 CRITICAL (also: not\n"
         "reached), 3 UNKNOWN (also: wrong usage, a token that is not accepted).";
}

std::string why_no_check(const std::string& name) {
  if (name == ready_name) return {};
  for (const auto& row : threshold_table())
    if (row.name == name) return {};
  return "nothing is checked under the name " + name;
}

}  // namespace

void add_check(CLI::App& root, int& status) {
  auto given = std::make_shared<check_options>();
  auto* command = root.add_subcommand(
      "check",
      "Judge a node for a monitoring system: one line, figures, an exit status from 0 to 3");
  add_http_options(*command, given->http);
  command
      ->add_option(
          "--address", given->address,
          "Send server.ping to JSON-RPC at this address, with the same TLS files (default: "
          "through POST /rpc of --http)")
      ->type_name("ADDRESS");
  const auto add_limits = [&](const char* option, std::vector<std::string>& to, const char* help) {
    command->add_option(option, to, help)->type_name("NAME=VALUE")->allow_extra_args(false);
  };
  add_limits("--warn", given->warn, "When NAME (below) is a warning; none: never. May be repeated");
  add_limits("--crit", given->crit, "The same for critical");
  command->add_option("--only", given->only, "Look at nothing but these names, separated by commas")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("NAME,...")
      ->check(CLI::Validator(why_no_check, ""));
  command
      ->add_option(
          "--scraped-within", given->scraped_within_s,
          "Warn when nobody asked for /metrics for so many seconds before this; a check "
          "asks, too, so more of them than lie between two checks are never past. The same "
          "as --warn scrape_age_s=S")
      ->type_name("S")
      ->check(CLI::Range(1.0, 604'800.0));
  command->add_flag("--critical-only", given->critical_only,
                    "Exit with 0 on a warning, too: for health checks that know only good and bad");
  command->footer(names_help());
  command->callback([given, &status] { status = run_check(*given); });
}

}  // namespace portcullis::apps

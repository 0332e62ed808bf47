// `portcullis check`: one look at a node for a monitoring system, in the form of a plugin.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/cli/last_word.hpp"
#include "apps/commands.hpp"
#include "apps/http_client.hpp"
#include "apps/metrics_page/findings.hpp"

namespace portcullis::apps {
namespace {

using steady = std::chrono::steady_clock;
constexpr std::string_view ready_name = "ready", ping_name = "ping_ms";
constexpr std::size_t ping_answer_bytes_max = 64 * 1024;
constexpr std::chrono::milliseconds hang_grace{1'000};  // past the deadline: something hangs

struct check_options {
  server_options http;
  std::string address;  // of JSON-RPC; empty: server.ping goes over HTTP
  std::vector<std::string> warn, crit, only;
  std::optional<double> scraped_within_s;
  bool critical_only = false;
};

std::chrono::milliseconds timeout_of(const check_options& given) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(given.http.timeout_s * 1000));
}

/// One line to a server and the first one of its answer. Nothing, and `why`, when that has not come
/// before the deadline.
std::optional<std::string> line_of(const connector& way, steady::time_point deadline,
                                   std::string_view line, std::string& why) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - steady::now());
  auto peer = way.connect(std::max(left, std::chrono::milliseconds(0)), why);
  while (peer && !line.empty()) {
    const auto sent = peer->send_some(line, why);
    if (!sent) return std::nullopt;
    line.remove_prefix(*sent);
    if (!line.empty() && !peer->wait(deadline, why)) return std::nullopt;
  }
  for (std::string text; peer;) {
    const auto got = peer->receive_some(text, why);
    if (const auto end = text.find('\n'); end != std::string::npos) return text.substr(0, end);
    if (text.size() > ping_answer_bytes_max) why = "the answer is not one to server.ping";
    if (!got || text.size() > ping_answer_bytes_max) return std::nullopt;
    if (*got == 0 && !peer->wait(deadline, why)) return std::nullopt;
  }
  return std::nullopt;
}

/// Looks at a node once; what it finds is in the order in which it is printed.
class look {
 public:
  explicit look(const check_options& given)
      : given_(given),
        only_(given.only.begin(), given.only.end()),
        deadline_(steady::now() + timeout_of(given)) {}

  std::vector<finding> run() {
    if (const auto wrong = prepare(); !wrong.empty()) {
      add(verdict::unknown, "check", wrong);
    } else if (ready() && ping()) {
      metrics();
      for (auto& each : judge(heard_, limits_, only_)) found_.push_back(std::move(each));
    }
    return std::move(found_);
  }

 private:
  /// All that is given is looked at before anything is asked, and what TLS needs is read before a
  /// clock runs. Empty, or what is wrong.
  std::string prepare() {
    std::string why = set_limits();
    if (!why.empty()) return why;
    server_ = http_client::make(given_.http, why);
    if (server_) http_way_ = server_->prepare(why);
    if (!http_way_ || given_.address.empty()) return why;
    if (const auto wrong = wrong_address(given_.address); !wrong.empty())
      return fmt::format("{}: {}", given_.address, wrong);
    auto to = given_.http;
    to.address = given_.address;
    rpc_way_ = connector::make(to, why);
    return why;
  }
  std::optional<http_reply> ask(std::string_view path, std::string_view body, std::string& why) {
    return server_->ask(*http_way_, deadline_, path, body, why);
  }
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

  bool ready() {
    if (!wants(ready_name)) return true;
    std::string why;
    const auto reply = ask("/readyz?verbose", {}, why);
    if (!reply) return unreachable(ready_name, given_.http.address, why);
    if (reply->status == 200)
      add(verdict::ok, ready_name, "ready");
    else if (reply->status == 503 || reply->status >= 500)
      add(verdict::critical, ready_name, "not ready: " + refusal_text(*reply));
    else
      add(verdict::unknown, ready_name, "/readyz: " + refusal_text(*reply));
    return true;
  }

  bool ping() {
    if (!wants(ping_name)) return true;
    const auto& where = rpc_way_ ? given_.address : given_.http.address;
    constexpr std::string_view request = R"({"jsonrpc":"2.0","id":1,"method":"server.ping"})";
    std::string why;
    std::optional<http_reply> reply;
    const auto begun = steady::now();
    if (!rpc_way_)
      reply = ask("/rpc", request, why);
    else if (auto line = line_of(*rpc_way_, deadline_, std::string(request) + "\n", why))
      reply = http_reply{200, std::move(*line)};
    if (!reply) return unreachable(ping_name, where, why);
    const auto took = steady::now() - begun;
    if (const int status = refusal_status(*reply); status != 200)
      add(status >= 400 && status < 500 ? verdict::unknown : verdict::critical, ping_name,
          "server.ping: " + refusal_text(*reply));
    else if (reply->body.find("\"result\"") == std::string::npos)
      return unreachable(ping_name, where, "the answer is not one to server.ping");
    else
      heard_.ping_ms = std::chrono::duration<double, std::milli>(took).count();
    return true;
  }

  void metrics() {
    const bool any = only_.empty() || std::any_of(only_.begin(), only_.end(), [](const auto& name) {
                       return name != ready_name && name != ping_name;
                     });
    if (!any) return;
    std::string why;
    const auto reply = ask("/metrics", {}, why);
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
  steady::time_point deadline_;  // of all requests together
  std::optional<http_client> server_;
  std::optional<connector> http_way_, rpc_way_;
  thresholds limits_;
  heard heard_;
  std::vector<finding> found_;
};

int run_check(const check_options& given) {
  auto found = [&] {
    // Resolving a name and opening a file end when they end.
    const last_word hang(
        timeout_of(given) + hang_grace,
        fmt::format("PORTCULLIS CRITICAL - no answer within {} s\n", given.http.timeout_s),
        static_cast<int>(verdict::critical), exit_check_unknown);
    return look(given).run();
  }();
  // What checks nothing would stay green for ever.
  if (found.empty())
    found.push_back({verdict::unknown, "only", "nothing of --only concerns this node", ""});
  const auto are = given.critical_only ? warnings::told : warnings::counted;
  fmt::print("{}", plugin_output(found, are));
  return static_cast<int>(worst_of(found, are));
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
  command->get_option("--timeout")->description("Seconds that all of the check may take");
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
  command->add_flag(
      "--critical-only", given->critical_only,
      "A warning is told, but does not count: for health checks that know only good and bad");
  command->footer(names_help());
  command->callback([given, &status] { status = run_check(*given); });
}

}  // namespace portcullis::apps

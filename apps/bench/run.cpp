#include "apps/bench/run.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include "apps/bench/loop.hpp"
#include "apps/commands.hpp"
#include "apps/line_client.hpp"

namespace portcullis::apps {
namespace {

constexpr std::size_t fill_depth = 64;
constexpr auto connect_timeout = std::chrono::seconds(10);

/// Processor seconds that a process has used; 0 when there is no such process.
double cpu_seconds_of(int pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(text.substr(name_end + 2));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double own_cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

struct measured {
  bench_outcome all;
  double seconds = 0, server_cpu_s = 0, own_cpu_s = 0;
};

class bench_run {
 public:
  explicit bench_run(const bench_options& options)
      : options_(options), shows_progress_(isatty(STDERR_FILENO) != 0) {}

  int run() {
    std::string why;
    way_ = connector::make(options_.server, why);
    if (!way_) {
      fmt::print(stderr, "portcullis bench: {}\n", why);
      return exit_usage;
    }
    if (!connect_all()) return exit_unreachable;
    const auto started = monotonic_ns();
    if (!fill()) return exit_failed;
    fill_seconds_ = static_cast<double>(monotonic_ns() - started) / 1e9;
    const auto result = options_.seconds > 0 ? measure() : measured{};
    options_.json ? print_json(result) : print_text(result);
    const auto& tally = result.all.tally;
    const bool clean =
        tally.errors == 0 && tally.unexpected == 0 && result.all.lost_connections == 0;
    return clean && (tally.replies > 0 || options_.seconds == 0) ? exit_ok : exit_failed;
  }

 private:
  bool complain(std::string_view why) const {
    fmt::print(stderr, "portcullis bench: {}: {}\n", options_.server.address, why);
    return false;
  }

  /// Logs in when there is a token.
  std::optional<stream> connect_one(const std::optional<std::string>& token,
                                    std::string& why) const {
    line_client client(connect_timeout);
    if (!client.connect(*way_)) {
      why = client.why();
      return std::nullopt;
    }
    if (token) {
      const auto reply = client.send(login_line(*token)) ? client.receive() : std::nullopt;
      if (!reply || reply->find("\"error\":{") != std::string::npos) {
        why = reply ? "the token was not accepted" : client.why();
        return std::nullopt;
      }
    }
    return client.release();
  }

  bool connect_all() {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    std::string why;
    std::optional<std::string> token;
    if (!options_.token_file.empty() && !(token = read_token(options_.token_file, why)))
      return complain(why);
    for (std::size_t i = 0; i < options_.connections; ++i) {
      auto made = connect_one(token, why);
      if (!made) return complain(why);
      connections_.push_back(std::move(*made));
    }
    return true;
  }

  [[nodiscard]] std::size_t threads() const {
    return std::min(options_.threads, options_.connections);
  }

  /// Runs one script a thread, each with its share of the connections.
  bench_outcome run_threads(
      const bench_pace& pace, const bench_window& window,
      const std::function<std::unique_ptr<bench_script>(std::size_t)>& script_of,
      const std::function<void()>& meanwhile) {
    std::vector<bench_outcome> outcomes(threads());
    {
      std::vector<std::jthread> running;
      for (std::size_t i = 0; i < threads(); ++i)
        running.emplace_back([&, i] {
          std::vector<bench_peer> own;
          for (std::size_t c = i; c < connections_.size(); c += threads())
            own.emplace_back(connections_[c].descriptor(), connections_[c].tls());
          const auto script = script_of(i);
          const auto share =
              static_cast<double>(own.size()) / static_cast<double>(connections_.size());
          outcomes[i] = run_loop(own, {pace.depth, pace.rate * share}, *script, window, replies_);
        });
      meanwhile();
    }
    auto all = std::move(outcomes[0]);
    for (std::size_t i = 1; i < outcomes.size(); ++i) {
      all.tally.replies += outcomes[i].tally.replies;
      all.tally.errors += outcomes[i].tally.errors;
      all.tally.unexpected += outcomes[i].tally.unexpected;
      all.lost_connections += outcomes[i].lost_connections;
      all.latencies.merge(outcomes[i].latencies);
    }
    return all;
  }

  bool fill() {
    if (options_.redis && options_.redis_command == "lua" && !load_lua()) return false;
    if (!options_.redis && read_ids()) return true;
    if (!options_.redis) ids_.resize(options_.sessions);
    if (options_.sessions == 0) return true;
    const auto outcome = run_threads(
        {fill_depth}, {},
        [&](std::size_t i) {
          return options_.redis ? redis_fill(options_.sessions, i, threads(), options_.redis_index)
                                : rpc_fill(ids_, i, threads());
        },
        [] {});
    const auto expected = options_.sessions * (options_.redis && options_.redis_index ? 2 : 1);
    const auto& tally = outcome.tally;
    if (tally.replies != expected || tally.errors != 0 || tally.unexpected != 0)
      return complain(
          fmt::format("{} of {} requests that make the sessions were answered, {} with errors",
                      tally.replies, expected, tally.errors + tally.unexpected));
    if (!options_.redis) write_ids();
    return true;
  }

  bool load_lua() {
    line_client client(connect_timeout);
    if (!client.connect(*way_) || !client.send(redis_script_load())) return complain(client.why());
    const auto size = client.receive();
    const auto digest = size && size->starts_with('$') ? client.receive() : std::nullopt;
    if (!digest || digest->size() < 40) return complain("the script was not taken");
    lua_digest_ = digest->substr(0, 40);
    return true;
  }

  bool read_ids() {
    if (options_.ids_file.empty()) return false;
    std::ifstream file(options_.ids_file, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    if (bytes.size() != options_.sessions * 32 || bytes.empty()) return false;
    ids_.resize(options_.sessions);
    std::memcpy(ids_.data(), bytes.data(), bytes.size());
    return true;
  }
  void write_ids() const {
    if (options_.ids_file.empty()) return;
    std::ofstream file(options_.ids_file, std::ios::binary);
    file.write(reinterpret_cast<const char*>(ids_.data()),
               static_cast<std::streamsize>(ids_.size() * 32));
  }

  measured measure() {
    replies_ = 0;
    const auto now = monotonic_ns();
    const bench_window window{
        now + static_cast<std::uint64_t>(options_.warmup_s * 1e9),
        now + static_cast<std::uint64_t>((options_.warmup_s + options_.seconds) * 1e9)};
    std::vector<bench_weight> mix;
    for (const auto& [kind, weight] : options_.mix) mix.push_back({kind, weight});
    measured result;
    result.all = run_threads(
        {options_.depth, options_.rate}, window,
        [&](std::size_t i) {
          const auto seed = now + i;
          return options_.redis
                     ? redis_load(options_.redis_command, options_.sessions, seed, lua_digest_)
                     : rpc_mix(ids_, mix, seed);
        },
        [&] { watch(window, result); });
    if (shows_progress_) fmt::print(stderr, "\r{:60}\r", "");
    return result;
  }

  /// Reads the processes' CPU time at both ends of the window; shows progress between.
  void watch(const bench_window& window, measured& result) {
    wait_until(window.from_ns);
    const auto server = cpu_seconds_of(options_.cpu_of), own = own_cpu_seconds();
    const auto from = monotonic_ns();
    for (auto at = window.from_ns; at < window.until_ns;) {
      at = std::min(at + 500'000'000, window.until_ns);
      wait_until(at);
      if (!shows_progress_) continue;
      const auto passed = static_cast<double>(monotonic_ns() - from) / 1e9;
      fmt::print(stderr, "\r{:6.1f} s  {:12.0f} requests/s ", passed,
                 static_cast<double>(replies_.load()) / passed);
    }
    result.seconds = static_cast<double>(monotonic_ns() - from) / 1e9;
    result.server_cpu_s = cpu_seconds_of(options_.cpu_of) - server;
    result.own_cpu_s = own_cpu_seconds() - own;
  }
  static void wait_until(std::uint64_t at_ns) {
    const auto now = monotonic_ns();
    if (at_ns > now) std::this_thread::sleep_for(std::chrono::nanoseconds(at_ns - now));
  }

  [[nodiscard]] std::string what() const {
    if (options_.redis) return "redis " + options_.redis_command;
    std::string text;
    for (const auto& [kind, weight] : options_.mix)
      text += fmt::format("{}{}={}", text.empty() ? "" : ",", kind, weight);
    return text;
  }
  static double us(std::uint64_t ns) { return static_cast<double>(ns) / 1000; }
  static double rate(const measured& of) {
    return of.seconds > 0 ? static_cast<double>(of.all.tally.replies) / of.seconds : 0;
  }
  static double cpu_us(const measured& of) {
    return of.all.tally.replies > 0
               ? of.server_cpu_s * 1e6 / static_cast<double>(of.all.tally.replies)
               : 0;
  }
  [[nodiscard]] double own_share(const measured& of) const {
    return of.seconds > 0 ? of.own_cpu_s / of.seconds / static_cast<double>(threads()) : 0;
  }

  void print_text(const measured& of) const {
    fmt::print("{}, {} connections, depth {}, {} sessions (made in {:.2f} s)\n", what(),
               options_.connections, options_.depth, options_.sessions, fill_seconds_);
    if (options_.seconds == 0) return;
    const auto& h = of.all.latencies;
    fmt::print(
        "  {:.0f} requests/s ({} in {:.2f} s), {} errors, {} unexpected, {} connections lost\n",
        rate(of), of.all.tally.replies, of.seconds, of.all.tally.errors, of.all.tally.unexpected,
        of.all.lost_connections);
    fmt::print("  latency us: p50 {:.1f}  p90 {:.1f}  p99 {:.1f}  p99.9 {:.1f}  max {:.1f}\n",
               us(h.quantile(.5)), us(h.quantile(.9)), us(h.quantile(.99)), us(h.quantile(.999)),
               us(h.max()));
    if (options_.cpu_of > 0) fmt::print("  server CPU {:.2f} us a request\n", cpu_us(of));
    fmt::print("  generator busy {:.0f}%{}\n", own_share(of) * 100,
               own_share(of) > 0.95 ? ": it may be the bottleneck, add --threads" : "");
  }

  void print_json(const measured& of) const {
    const auto& h = of.all.latencies;
    fmt::print(
        R"({{"what":"{}","connections":{},"depth":{},"threads":{},"sessions":{},"fill_s":{:.3f},"seconds":{:.3f},)"
        R"("requests":{},"requests_per_s":{:.1f},"errors":{},"unexpected":{},"lost_connections":{},)"
        R"("latency_us":{{"p50":{:.2f},"p90":{:.2f},"p99":{:.2f},"p99_9":{:.2f},"max":{:.2f}}},)"
        R"("server_cpu_us_per_request":{:.3f},"generator_busy":{:.3f}}})"
        "\n",
        what(), options_.connections, options_.depth, threads(), options_.sessions, fill_seconds_,
        of.seconds, of.all.tally.replies, rate(of), of.all.tally.errors, of.all.tally.unexpected,
        of.all.lost_connections, us(h.quantile(.5)), us(h.quantile(.9)), us(h.quantile(.99)),
        us(h.quantile(.999)), us(h.max()), cpu_us(of), own_share(of));
  }

  const bench_options& options_;
  bool shows_progress_;
  std::optional<connector> way_;
  std::vector<stream> connections_;
  bench_ids ids_;
  std::string lua_digest_;
  std::atomic<std::uint64_t> replies_{0};
  double fill_seconds_ = 0;
};

}  // namespace

std::optional<std::vector<std::pair<std::string, unsigned>>> parse_mix(const std::string& text,
                                                                       std::string& why) {
  std::vector<std::pair<std::string, unsigned>> mix;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const auto equals = std::min(part.find('='), part.size());
    const auto kind = part.substr(0, equals);
    const auto digits = equals < part.size() ? part.substr(equals + 1) : "1";
    const auto& known = rpc_kinds();
    const bool number = !digits.empty() && digits.size() <= 4 &&
                        digits.find_first_not_of("0123456789") == std::string::npos;
    const auto weight = number ? static_cast<unsigned>(std::stoul(digits)) : 0U;
    if (std::find(known.begin(), known.end(), kind) == known.end() || weight < 1 || weight > 1000) {
      why = fmt::format("{}: a mix is KIND=WEIGHT,..., weights 1 to 1000, kinds", part);
      for (const auto& each : known) why += fmt::format(" {}", each);
      return std::nullopt;
    }
    mix.emplace_back(kind, weight);
  }
  if (mix.empty()) {
    why = "a mix needs a kind";
    return std::nullopt;
  }
  return mix;
}

int run_bench(const bench_options& options) { return bench_run(options).run(); }

}  // namespace portcullis::apps

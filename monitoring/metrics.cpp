#include "monitoring/metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <exception>
#include <variant>
#include <vector>

#include "monitoring/breaker_series.hpp"
#include "monitoring/metrics_table.hpp"
#include "monitoring/process.hpp"

namespace portcullis::monitoring {
namespace {

constexpr double ns_per_second = 1e9;

template <class Handle>
struct series_of {
  prometheus::Family<Handle>* family = nullptr;
  std::vector<Handle*> handles;  // null: not there yet
};
using any_series = std::variant<series_of<prometheus::Counter>, series_of<prometheus::Gauge>,
                                series_of<prometheus::Histogram>>;

/// What one owner's tallies say, as numbers that can be compared with those of the last time.
class readings {
 public:
  struct place {
    metric id;
    std::size_t series;
    bool duration;  // takes a number for each bucket and one for the sum
  };

  void clear() {
    places.clear();
    numbers.clear();
    levels.clear();
  }
  void count(metric id, std::size_t series, std::uint64_t value) {
    places.push_back({id, series, false});
    numbers.push_back(value);
  }
  template <std::size_t N>
  void counts(metric id, const std::array<std::uint64_t, N>& values) {
    for (std::size_t i = 0; i < N; ++i) count(id, i, values[i]);
  }
  void duration(metric id, std::size_t series, const core::duration_tally& tally) {
    places.push_back({id, series, true});
    numbers.insert(numbers.end(), tally.counts.begin(), tally.counts.end());
    numbers.push_back(tally.sum_ns);
  }
  void level(metric id, std::size_t series, double value) { levels.push_back({id, series, value}); }

  struct level_reading {
    metric id;
    std::size_t series;
    double value;
  };
  std::vector<place> places;
  std::vector<std::uint64_t> numbers;
  std::vector<level_reading> levels;
};

void read(const shard_tallies& of, readings& to) {
  to.counts(metric::validations, of.validations);
  to.count(metric::failed_attempts, 0, of.failed_attempts);
  to.count(metric::sessions_created, 0, of.sessions_created);
  to.counts(metric::sessions_ended, of.sessions_ended);
  to.count(metric::session_reuse, 0, of.reuse_detected);
  to.count(metric::lockouts, 0, of.lockouts_started);
  to.level(metric::sessions, 0, static_cast<double>(of.sessions_live));
  to.level(metric::lockouts_active, 0, static_cast<double>(of.lockouts_active));
  to.level(metric::users_in_doubt, 0, static_cast<double>(of.users_in_doubt));
}

void read(const core::loop_tallies& of, readings& to) {
  std::size_t series = 0;
  for (const auto& row : of.requests.by_error)
    for (const auto value : row) to.count(metric::requests, series++, value);
  for (std::size_t i = 0; i < core::request_tallies::rows; ++i)
    to.duration(metric::request_duration, i, of.requests.duration[i]);
  to.level(metric::requests_in_flight, 0, static_cast<double>(of.requests.in_flight));

  to.counts(metric::connections_opened, of.connections.opened);
  series = 0;
  for (const auto& row : of.connections.rejected)
    for (const auto value : row) to.count(metric::connection_rejections, series++, value);
  for (std::size_t i = 0; i < of.connections.live.size(); ++i)
    to.level(metric::connections, i, static_cast<double>(of.connections.live[i]));
  to.duration(metric::loop_lag, 0, of.lag);

  series = 0;
  for (const auto& version : of.tls.handshakes)
    for (const auto value : version) to.count(metric::tls_handshakes, series++, value);
  to.counts(metric::tls_handshake_failures, of.tls.failures);
  to.count(metric::tls_reloads, 0, of.tls.reloads);
  to.level(metric::tls_certificate_expiry, 0, static_cast<double>(of.tls.certificate_ends_at_s));
  to.level(metric::tls_revocation_list_expiry, 0, static_cast<double>(of.tls.lists_end_at_s));
  series = 0;
  for (const auto& route : of.http.requests)
    for (const auto value : route) to.count(metric::http_requests, series++, value);
}

void read(const subscription_tallies& of, readings& to) {
  to.count(metric::subscriber_drops, 0, of.drops);
  to.level(metric::subscribers, 0, static_cast<double>(of.live));
}

void read(const journal_tallies& of, readings& to) {
  to.count(metric::event_log_appends, 0, of.appends);
  to.duration(metric::event_log_commit, 0,
              of.operations[static_cast<std::size_t>(store_operation::commit)]);
  for (std::size_t i = 0; i < of.operations.size(); ++i)
    to.duration(metric::store_operation, i, of.operations[i]);
  std::size_t series = 0;
  for (const auto& row : of.errors)
    for (const auto value : row) to.count(metric::store_errors, series++, value);
  to.level(metric::event_log_queue, 0, static_cast<double>(of.queue_events));
  to.level(metric::event_log_bytes, 0, static_cast<double>(of.log_bytes));
  to.level(metric::event_log_replay, 0, static_cast<double>(of.replay_ns) / ns_per_second);
  to.level(metric::store_degraded, 0, of.degraded ? 1 : 0);
}

void read(const fleet_tallies& of, readings& to) {
  to.level(metric::fleet_nodes, 0, static_cast<double>(of.members));
  to.count(metric::fleet_entries, 0, of.own_entries);
  to.count(metric::fleet_entries, 1, of.others_entries);
  to.count(metric::fleet_overtaken, 0, of.overtaken);
  to.count(metric::fleet_refused, 0, of.refused);
  to.level(metric::fleet_in_flight, 0, static_cast<double>(of.in_flight));
  to.level(metric::fleet_staleness, 0, static_cast<double>(of.stale_ns) / ns_per_second);
  to.count(metric::redis_commands, 0, of.commands);
  to.count(metric::redis_timeouts, 0, of.timeouts);
  to.count(metric::redis_connects, 0, of.connects);
  to.count(metric::redis_losses, 0, of.losses);
}

void read(const log_tallies& of, readings& to) {
  to.counts(metric::log_messages, of.messages);
  to.count(metric::log_dropped, 0, of.dropped);
  to.count(metric::log_write_errors, 0, of.write_errors);
}

void read(const reload_tallies& of, readings& to) {
  to.counts(metric::config_reloads, of.reloads);
  to.level(metric::config_last_reload, 0, of.last_succeeded ? 1 : 0);
}

/// What an owner's numbers were when they were last read.
struct owner {
  std::uint64_t incarnation = 0;
  std::vector<std::uint64_t> numbers;
};

prometheus::Histogram::BucketBoundaries bounds_in_seconds() {
  prometheus::Histogram::BucketBoundaries bounds;
  for (const auto ns : core::duration_bounds_ns)
    bounds.push_back(static_cast<double>(ns) / ns_per_second);
  return bounds;
}

}  // namespace

struct metrics::registry {
  metrics_options options;
  prometheus::Registry prometheus;
  std::array<any_series, metric_count> series;
  std::array<std::vector<double>, metric_count> level_sums;
  std::vector<owner> shards, loops, subscriptions;
  owner journal, fleet, log, reloads;
  breaker_series breakers;
  double cpu_seconds = 0;
  readings now;                    // reused from owner to owner
  std::vector<double> increments;  // of one histogram

  explicit registry(const metrics_options& from)
      : options(from), breakers(from.constant_labels, from.breakers_max) {
    for (const auto& row : metrics_table())
      if (!row.per_breaker()) enrol(row);
    add<prometheus::Gauge>(metric::build_info, 0).Set(1);
  }

  [[nodiscard]] static const metric_row& row_of(metric id) {
    return metrics_table()[static_cast<std::size_t>(id)];
  }

  void enrol(const metric_row& row) {
    const std::string name(row.name), help(row.help);
    const prometheus::Labels constant(options.constant_labels.begin(),
                                      options.constant_labels.end());
    const auto with = [&](auto builder) -> auto& {
      return builder.Name(name).Help(help).Labels(constant).Register(prometheus);
    };
    auto& place = series[static_cast<std::size_t>(row.id)];
    const auto count = row.series_count();
    switch (row.type) {
      case metric_type::counter:
        place = series_of<prometheus::Counter>{&with(prometheus::BuildCounter()), {}};
        break;
      case metric_type::gauge:
        place = series_of<prometheus::Gauge>{&with(prometheus::BuildGauge()), {}};
        level_sums[static_cast<std::size_t>(row.id)].resize(count);
        break;
      case metric_type::histogram:
        place = series_of<prometheus::Histogram>{&with(prometheus::BuildHistogram()), {}};
        break;
    }
    std::visit([&](auto& typed) { typed.handles.resize(count); }, place);
    for (std::size_t i = 0; i < count; ++i)
      if (row.from_start == nullptr || row.from_start(i)) add_any(row.id, i);
  }

  void add_any(metric id, std::size_t at) {
    switch (row_of(id).type) {
      case metric_type::counter:
        add<prometheus::Counter>(id, at);
        break;
      case metric_type::gauge:
        add<prometheus::Gauge>(id, at);
        break;
      case metric_type::histogram:
        add<prometheus::Histogram>(id, at);
        break;
    }
  }

  /// The labels of a series: its index read as digits, the last label's the lowest.
  [[nodiscard]] prometheus::Labels labels_of(const metric_row& row, std::size_t at) const {
    prometheus::Labels labels;
    for (auto label = row.labels.rbegin(); label != row.labels.rend(); ++label) {
      if (label->source == label_source::build) {
        labels[std::string(label->name)] =
            label->name == "version" ? options.version : options.revision;
        continue;
      }
      labels[std::string(label->name)] = label->values[at % label->values.size()];
      at /= label->values.size();
    }
    return labels;
  }

  /// The series, made where it is not there yet.
  template <class Handle>
  Handle& add(metric id, std::size_t at) {
    auto& typed = std::get<series_of<Handle>>(series[static_cast<std::size_t>(id)]);
    auto& handle = typed.handles[at];
    if (handle == nullptr) {
      if constexpr (std::is_same_v<Handle, prometheus::Histogram>)
        handle = &typed.family->Add(labels_of(row_of(id), at), bounds_in_seconds());
      else
        handle = &typed.family->Add(labels_of(row_of(id), at));
    }
    return *handle;
  }

  void take(owner& from, std::uint64_t incarnation) {
    const bool fresh =
        from.incarnation != incarnation || from.numbers.size() != now.numbers.size() ||
        !std::equal(now.numbers.begin(), now.numbers.end(), from.numbers.begin(),
                    [](std::uint64_t later, std::uint64_t before) { return later >= before; });
    from.incarnation = incarnation;
    if (fresh) from.numbers.assign(now.numbers.size(), 0);

    std::size_t at = 0;
    for (const auto& place : now.places) {
      if (place.duration) {
        take_duration(place, at, from);
        at += core::duration_bounds_ns.size() + 2;
        continue;
      }
      const auto more = now.numbers[at] - from.numbers[at];
      if (more > 0)
        add<prometheus::Counter>(place.id, place.series).Increment(static_cast<double>(more));
      ++at;
    }
    from.numbers.swap(now.numbers);
    for (const auto& level : now.levels)
      level_sums[static_cast<std::size_t>(level.id)][level.series] += level.value;
  }

  void take_duration(const readings::place& place, std::size_t at, const owner& from) {
    const std::size_t buckets = core::duration_bounds_ns.size() + 1;
    increments.clear();
    bool any = false;
    for (std::size_t i = 0; i < buckets; ++i) {
      const auto more = now.numbers[at + i] - from.numbers[at + i];
      any = any || more > 0;
      increments.push_back(static_cast<double>(more));
    }
    if (!any) return;
    const auto more_ns = now.numbers[at + buckets] - from.numbers[at + buckets];
    add<prometheus::Histogram>(place.id, place.series)
        .ObserveMultiple(increments, static_cast<double>(more_ns) / ns_per_second);
  }

  template <class Tallies>
  void take_one(owner& from, const Tallies& tallies, std::uint64_t incarnation) {
    now.clear();
    read(tallies, now);
    take(from, incarnation);
  }

  template <class Tallies>
  void take_all(std::vector<owner>& from, const std::vector<Tallies>& tallies) {
    if (from.size() < tallies.size()) from.resize(tallies.size());
    for (std::size_t i = 0; i < tallies.size(); ++i)
      take_one(from[i], tallies[i], tallies[i].incarnation);
  }

  void take_breakers(const std::vector<breaker_shard_tallies>& by_shard) {
    const auto before = breakers.overflows();
    breakers.update(by_shard);
    if (const auto more = breakers.overflows() - before; more > 0)
      add<prometheus::Counter>(metric::label_overflow, 0).Increment(static_cast<double>(more));
  }

  void set_level(metric id, double value) { level_sums[static_cast<std::size_t>(id)][0] = value; }

  void take_process() {
    const auto figures = read_process_figures();
    if (!figures) return;
    add<prometheus::Counter>(metric::process_cpu, 0)
        .Increment(std::max(0.0, figures->cpu_seconds - cpu_seconds));
    cpu_seconds = figures->cpu_seconds;
    set_level(metric::process_resident_memory, static_cast<double>(figures->resident_bytes));
    set_level(metric::process_virtual_memory, static_cast<double>(figures->virtual_bytes));
    set_level(metric::process_open_fds, static_cast<double>(figures->open_fds));
    set_level(metric::process_max_fds, static_cast<double>(figures->max_fds));
    set_level(metric::process_start_time, figures->start_time_seconds);
  }

  void publish_levels() {
    for (const auto& row : metrics_table()) {
      if (row.type != metric_type::gauge || row.id == metric::build_info) continue;
      const auto& sums = level_sums[static_cast<std::size_t>(row.id)];
      for (std::size_t i = 0; i < sums.size(); ++i) add<prometheus::Gauge>(row.id, i).Set(sums[i]);
    }
  }
};

bool is_constant_label(std::string_view name) {
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (name.empty() || name.starts_with("__") || name == "le" || !letter(name.front())) return false;
  if (!std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || digit(c); }))
    return false;
  for (const auto& row : metrics_table())
    for (const auto& label : row.labels)
      if (label.name == name) return false;
  return true;
}

metrics::metrics(std::unique_ptr<registry> made) : registry_(std::move(made)) {}
metrics::~metrics() = default;

core::result<std::unique_ptr<metrics>> metrics::create(const metrics_options& options) {
  for (const auto& [name, value] : options.constant_labels)
    if (!is_constant_label(name))
      return core::fail(core::error_code::CONFIG_INVALID, "metrics.labels", "label_name");
  try {
    return std::unique_ptr<metrics>(new metrics(std::make_unique<registry>(options)));
  } catch (const std::exception&) {  // prometheus-cpp refuses names by exception
    return core::fail(core::error_code::CONFIG_INVALID, "metrics.labels", "refused");
  }
}

void metrics::update(const snapshot& now) {
  auto& to = *registry_;
  for (auto& sums : to.level_sums) std::fill(sums.begin(), sums.end(), 0.0);
  to.take_all(to.shards, now.shards);
  to.take_all(to.loops, now.loops);
  to.take_all(to.subscriptions, now.subscriptions);
  to.take_breakers(now.breakers);
  if (now.journal) to.take_one(to.journal, *now.journal, now.journal->incarnation);
  if (now.fleet) {
    to.take_one(to.fleet, *now.fleet, now.fleet->incarnation);
    to.level_sums[static_cast<std::size_t>(metric::breaker_shared_store_degraded)][0] =
        now.fleet->reachable ? 0 : 1;
    // Whether it takes durable commands is Redis' matter then.
    to.level_sums[static_cast<std::size_t>(metric::store_degraded)][0] =
        now.fleet->reachable ? 0 : 1;
  }
  to.take_one(to.log, now.log, 0);
  to.take_one(to.reloads, now.reloads, 0);
  to.level_sums[static_cast<std::size_t>(metric::event_log_silent)][0] =
      static_cast<double>(now.journal_silent_ms) / 1000;
  to.set_level(metric::aliases, static_cast<double>(now.aliases));
  to.level_sums[static_cast<std::size_t>(metric::scrape_gap)][0] =
      static_cast<double>(now.scrape_gap_ns) / 1e9;
  for (std::size_t i = 0; i < now.mailbox_depth.size(); ++i)
    to.level_sums[static_cast<std::size_t>(metric::mailbox_depth)][i] =
        static_cast<double>(now.mailbox_depth[i]);
  to.take_process();
  to.publish_levels();
}

std::string metrics::render() const {
  auto page = prometheus::TextSerializer().Serialize(registry_->prometheus.Collect());
  registry_->breakers.append_to(page);
  return page;
}

}  // namespace portcullis::monitoring

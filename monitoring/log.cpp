#include "monitoring/log.hpp"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <system_error>
#include <vector>

#include "monitoring/event_rows.hpp"
#include "monitoring/log_pipeline.hpp"

namespace portcullis::monitoring {
namespace {

core::millis system_now() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

core::hmac_key random_key() {
  core::byte_array<32> bytes{};
  std::size_t have = 0;
  while (have < bytes.size()) {
    const auto got = getrandom(bytes.data() + have, bytes.size() - have, 0);
    if (got > 0) have += static_cast<std::size_t>(got);
  }
  return core::hmac_key(bytes);
}

enum class line_form : std::uint8_t { json, text, journal };

/// What a configuration means for each line. Replaced whole by configure().
struct ruling {
  std::array<core::log_level, component_names.size()> levels;
  line_form form = line_form::json;
  user_naming naming;
  log_identity who;
};

}  // namespace

struct logger::state {
  int fd;
  std::size_t queue_lines;
  core::millis (*now)();
  core::hmac_key made_up_key = random_key();
  log_progress shared;
  std::array<std::atomic<std::uint64_t>, log_levels.size()> messages{};

  std::mutex configuring;
  log_settings settings;
  log_target target;
  // A line may still be rendered by an old ruling, and reloads are rare: all are kept.
  std::vector<std::unique_ptr<const ruling>> rulings;
  std::atomic<const ruling*> current{nullptr};

  std::atomic<std::uint64_t> reported_drops{0};
  std::atomic<int> reported_failure{0};  // of opening the file again
  std::unique_ptr<log_pipeline> lines;

  explicit state(const options& from)
      : fd(from.fd),
        queue_lines(from.queue_lines),
        now(from.now != nullptr ? from.now : system_now),
        lines(std::make_unique<log_pipeline>(make_descriptor_sink(fd), queue_lines, shared,
                                             log_pipeline::watch::no)) {}

  [[nodiscard]] std::uint64_t dropped() const {
    return lines->overrun() + shared.lost.load(std::memory_order_relaxed);
  }

  void emit(const ruling& rules, const log_line& line) {
    core::byte_buffer text;
    switch (rules.form) {
      case line_form::json:
        render_json(text, line, rules.who);
        break;
      case line_form::text:
        render_text(text, line);
        break;
      case line_form::journal:
        render_journal(text, line, rules.who);
        break;
    }
    shared.submitted.fetch_add(1, std::memory_order_acq_rel);
    lines->send(line.level, {text.data(), text.size()});
  }

  void count(core::log_level level) noexcept {
    messages[static_cast<std::size_t>(level)].fetch_add(1, std::memory_order_relaxed);
  }

  void say(const ruling& rules, fixed_text message, std::span<const field> fields) {
    if (core::log_level::warn < rules.levels[static_cast<std::size_t>(component::log)]) return;
    count(core::log_level::warn);
    emit(rules, {now(), core::log_level::warn, component::log, message, fields});
  }

  /// Says once how many lines are missing, when lines are taken again and the queue has room.
  void report_drops(const ruling& rules) {
    const auto total = dropped();
    auto known = reported_drops.load();
    if (total == known || !lines->has_room() || shared.refusing.load(std::memory_order_relaxed))
      return;
    if (!reported_drops.compare_exchange_strong(known, total)) return;
    const std::array<field, 3> fields = {field("event.action", "log_lines_dropped"),
                                         field("log.dropped", total - known),
                                         field("log.dropped_total", total)};
    say(rules, "Log lines were dropped.", fields);
  }

  /// Says once that the file which has the log's path now cannot be opened.
  void report_failure(const ruling& rules) {
    const int failure = lines->sink().reopening_failed();
    int known = reported_failure.load(std::memory_order_relaxed);
    if (failure == known || !reported_failure.compare_exchange_strong(known, failure)) return;
    if (failure == 0) return;
    const auto reason = std::error_code(failure, std::generic_category()).message();
    const std::array<field, 3> fields = {field("event.action", "log_reopen_failed"),
                                         field("error.message", reason),
                                         field("log.file.path", target.path)};
    say(rules, "The log's file cannot be opened anew.", fields);
  }

  void log(core::log_level level, component of, fixed_text message, std::span<const field> fields,
           core::millis at_ms) {
    count(level);
    const auto& rules = *current.load(std::memory_order_acquire);
    report_drops(rules);
    report_failure(rules);
    emit(rules, {at_ms, level, of, message, fields});
  }

  std::vector<std::string> configure();
};

logger::logger(const options& from) : state_(std::make_unique<state>(from)) { configure({}); }

logger::~logger() { flush(); }

core::result<core::nothing> logger::open(const log_target& target, std::string& why) {
  std::unique_ptr<log_sink> sink;
  switch (target.output) {
    case core::log_output::standard_error:
      sink = make_descriptor_sink(state_->fd);
      break;
    case core::log_output::journald:
      sink = make_journal_sink(target.path);
      break;
    case core::log_output::file: {
      auto file = make_file_sink(target.path, why);
      if (!file) return file.error();
      sink = std::move(*file);
      break;
    }
  }
  auto next = std::make_unique<log_pipeline>(
      std::move(sink), state_->queue_lines, state_->shared,
      target.output == core::log_output::file ? log_pipeline::watch::yes : log_pipeline::watch::no);
  flush();
  const std::lock_guard lock(state_->configuring);
  std::swap(state_->lines, next);
  const auto overrun = next->overrun();  // the new one begins at 0
  next.reset();
  state_->shared.lost.fetch_add(overrun);
  state_->shared.finished.fetch_add(overrun);
  state_->target = target;
  state_->configure();
  return core::nothing{};
}

void logger::reopen() noexcept { state_->lines->reopen(); }

std::vector<std::string> logger::configure(const log_settings& settings) {
  const std::lock_guard lock(state_->configuring);
  state_->settings = settings;
  return state_->configure();
}

std::vector<std::string> logger::state::configure() {
  auto rules = std::make_unique<ruling>();
  rules->levels.fill(settings.level);
  std::vector<std::string> unknown;
  for (const auto& [name, level] : settings.levels) {
    const auto at = std::find(component_names.begin(), component_names.end(), name);
    if (at == component_names.end())
      unknown.push_back(name);
    else
      rules->levels[static_cast<std::size_t>(at - component_names.begin())] = level;
  }
  const bool terminal = target.output == core::log_output::standard_error && isatty(fd) == 1;
  if (target.output == core::log_output::journald)
    rules->form = line_form::journal;
  else if (settings.format == core::log_format::text ||
           (settings.format == core::log_format::automatic && terminal))
    rules->form = line_form::text;
  rules->naming = {settings.hash_user_ids, settings.user_key.value_or(made_up_key)};
  rules->who = {settings.node_id, settings.version};
  current.store(rules.get(), std::memory_order_release);
  rulings.push_back(std::move(rules));
  return unknown;
}

bool logger::enabled(core::log_level level, component of) const noexcept {
  const auto& rules = *state_->current.load(std::memory_order_acquire);
  return level != core::log_level::off && level >= rules.levels[static_cast<std::size_t>(of)];
}

void logger::write_fields(core::log_level level, component of, fixed_text message,
                          std::span<const field> fields) noexcept {
  if (!enabled(level, of)) return;
  try {
    state_->log(level, of, message, fields, state_->now());
  } catch (...) {  // no memory: the line is lost, its writer is not
    state_->shared.lost.fetch_add(1, std::memory_order_relaxed);
  }
}

void logger::event(const core::event& of) noexcept {
  const auto row = row_for(of);
  if (!row.logged || !enabled(row.level, row.component)) return;
  try {
    const event_fields fields(of, row, state_->current.load(std::memory_order_acquire)->naming);
    state_->log(row.level, row.component, row.message, fields.view(), of.at_ms);
  } catch (...) {  // as above
    state_->shared.lost.fetch_add(1, std::memory_order_relaxed);
  }
}

bool logger::flush(std::chrono::milliseconds patience) noexcept {
  auto& shared = state_->shared;
  const auto target = shared.submitted.load(std::memory_order_acquire);
  std::unique_lock lock(shared.mutex);
  return shared.moved.wait_for(lock, patience, [&] {
    return shared.finished.load(std::memory_order_acquire) + state_->lines->overrun() >= target;
  });
}

log_tallies logger::tallies() const noexcept {
  log_tallies now;
  for (std::size_t i = 0; i < now.messages.size(); ++i)
    now.messages[i] = state_->messages[i].load(std::memory_order_relaxed);
  now.dropped = state_->dropped();
  now.write_errors = state_->shared.refused.load(std::memory_order_relaxed);
  return now;
}

logger& process_log() {
  // Leaked: threads and destructors may log until the very end.
  static auto* const log = new logger;
  return *log;
}

}  // namespace portcullis::monitoring

#include "monitoring/log.hpp"

#include <signal.h>
#include <spdlog/async_logger.h>
#include <spdlog/details/periodic_worker.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/sink.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <vector>

#include "monitoring/event_rows.hpp"
#include "monitoring/log_sinks.hpp"

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

/// What the log's thread and the callers share.
struct progress {
  std::atomic<std::uint64_t> submitted{0};
  std::atomic<std::uint64_t> finished{0};  // written, or given up by the sink
  std::atomic<std::uint64_t> lost{0};      // not taken by the sink, or never queued
  std::atomic<std::uint64_t> refused{0};   // of these: by the system
  std::atomic<bool> refusing{false};       // the last line was
  std::atomic<bool> reopen{false};         // asked for
  std::mutex mutex;
  std::condition_variable moved;
};

/// All signals are blocked while it lives, for the threads that are made meanwhile: signals are the
/// main thread's, and a reader that went away is EPIPE, not the end of the process.
class no_signals {
 public:
  no_signals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~no_signals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  no_signals(const no_signals&) = delete;
  no_signals& operator=(const no_signals&) = delete;

 private:
  sigset_t before_{};
};

/// What spdlog's thread calls: hands each line to the sink and counts what became of it.
class counted_sink final : public spdlog::sinks::sink {
 public:
  counted_sink(log_sink& to, progress& shared, const log_deadline& deadline)
      : to_(to), shared_(shared), deadline_(deadline) {}

  void log(const spdlog::details::log_msg& message) override {
    if (shared_.reopen.exchange(false)) to_.look_after(true);
    const auto how = to_.put({message.payload.data(), message.payload.size()}, deadline_);
    if (how != log_sink::outcome::taken) shared_.lost.fetch_add(1, std::memory_order_relaxed);
    if (how == log_sink::outcome::refused) shared_.refused.fetch_add(1, std::memory_order_relaxed);
    shared_.refusing.store(how == log_sink::outcome::refused, std::memory_order_relaxed);
    shared_.finished.fetch_add(1, std::memory_order_release);
    const std::lock_guard lock(shared_.mutex);
    shared_.moved.notify_all();
  }
  /// Sinks hold nothing back: this comes now and then, and when the file is to be opened anew.
  void flush() override { to_.look_after(shared_.reopen.exchange(false)); }
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

 private:
  log_sink& to_;
  progress& shared_;
  const log_deadline& deadline_;
};

/// The queue, the thread behind it, and what that writes to.
class pipeline {
 public:
  enum class watch { no, yes };  // whether the sink is looked after while nothing is logged

  pipeline(std::unique_ptr<log_sink> sink, std::size_t queue_lines, progress& shared, watch watched)
      : sink_(std::move(sink)), queue_lines_(queue_lines) {
    const no_signals blocked;
    pool_ = std::make_shared<spdlog::details::thread_pool>(queue_lines, 1);
    out_ = std::make_shared<spdlog::async_logger>(
        "portcullis", std::make_shared<counted_sink>(*sink_, shared, deadline_), pool_,
        spdlog::async_overflow_policy::overrun_oldest);
    out_->set_level(spdlog::level::trace);
    // spdlog's own handler prints to standard error, which holds our lines only.
    out_->set_error_handler([&shared](const std::string&) {
      shared.lost.fetch_add(1);
      shared.finished.fetch_add(1);
    });
    if (watched == watch::yes)
      ticks_ = std::make_unique<spdlog::details::periodic_worker>([this] { look_after(); },
                                                                  std::chrono::seconds(1));
  }
  /// What waits is dropped.
  ~pipeline() {
    ticks_.reset();
    deadline_.pass();
    out_.reset();
    pool_.reset();  // joins its thread
  }
  pipeline(const pipeline&) = delete;
  pipeline& operator=(const pipeline&) = delete;

  void send(spdlog::level::level_enum level, const core::byte_buffer& text) {
    out_->log(level, spdlog::string_view_t(text.data(), text.size()));
  }
  /// Has the log's thread look after its sink. With lines waiting it does so anyway, and a full
  /// queue would drop one for it.
  void look_after() {
    if (pool_->queue_size() <= queue_lines_ / 2) out_->flush();
  }
  [[nodiscard]] std::uint64_t overrun() const { return pool_->overrun_counter(); }
  [[nodiscard]] bool has_room() const { return pool_->queue_size() <= queue_lines_ / 2; }
  [[nodiscard]] const log_sink& sink() const { return *sink_; }

 private:
  std::unique_ptr<log_sink> sink_;
  std::size_t queue_lines_;
  log_deadline deadline_;
  std::shared_ptr<spdlog::details::thread_pool> pool_;
  std::shared_ptr<spdlog::async_logger> out_;
  std::unique_ptr<spdlog::details::periodic_worker> ticks_;
};

spdlog::level::level_enum to_spdlog(core::log_level level) {
  switch (level) {
    case core::log_level::trace:
      return spdlog::level::trace;
    case core::log_level::debug:
      return spdlog::level::debug;
    case core::log_level::info:
      return spdlog::level::info;
    case core::log_level::warn:
      return spdlog::level::warn;
    case core::log_level::error:
      return spdlog::level::err;
    case core::log_level::off:
      return spdlog::level::off;
  }
  __builtin_unreachable();
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
  progress shared;
  std::array<std::atomic<std::uint64_t>, log_levels.size()> messages{};

  std::mutex configuring;
  log_settings settings;
  log_target target;
  // A line may still be rendered by an old ruling, and reloads are rare: all are kept.
  std::vector<std::unique_ptr<const ruling>> rulings;
  std::atomic<const ruling*> current{nullptr};

  std::atomic<std::uint64_t> reported_drops{0};
  std::atomic<int> reported_failure{0};  // of opening the file again
  std::unique_ptr<pipeline> lines;

  explicit state(const options& from)
      : fd(from.fd),
        queue_lines(from.queue_lines),
        now(from.now != nullptr ? from.now : system_now),
        lines(std::make_unique<pipeline>(make_descriptor_sink(fd), queue_lines, shared,
                                         pipeline::watch::no)) {}

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
    lines->send(to_spdlog(line.level), text);
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
  auto next = std::make_unique<pipeline>(
      std::move(sink), state_->queue_lines, state_->shared,
      target.output == core::log_output::file ? pipeline::watch::yes : pipeline::watch::no);
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

void logger::reopen() noexcept {
  state_->shared.reopen.store(true);
  try {
    state_->lines->look_after();
  } catch (...) {  // no memory: with the next line, then
  }
}

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

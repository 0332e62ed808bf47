#include "monitoring/log.hpp"

#include <poll.h>
#include <signal.h>
#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/sink.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "monitoring/event_rows.hpp"

namespace portcullis::monitoring {
namespace {

using steady = std::chrono::steady_clock;

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

/// What the sink's thread and the callers share.
struct progress {
  std::atomic<std::uint64_t> submitted{0};
  std::atomic<std::uint64_t> finished{0};  // written, or given up by the sink
  std::atomic<std::uint64_t> lost{0};      // given up by the sink, or never queued
  std::atomic<std::uint64_t> refused{0};   // of those: by the file
  std::atomic<steady::rep> give_up_at{steady::time_point::max().time_since_epoch().count()};
  std::mutex mutex;
  std::condition_variable moved;
};

/// Writes each line to a file descriptor as it comes; nothing is buffered, so there is nothing to
/// flush.
class descriptor_sink final : public spdlog::sinks::sink {
 public:
  descriptor_sink(int fd, progress& shared) : fd_(fd), shared_(shared) {}

  void log(const spdlog::details::log_msg& message) override {
    if (!write_all({message.payload.data(), message.payload.size()}))
      shared_.lost.fetch_add(1, std::memory_order_relaxed);
    shared_.finished.fetch_add(1, std::memory_order_release);
    const std::lock_guard lock(shared_.mutex);
    shared_.moved.notify_all();
  }
  void flush() override {}
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

 private:
  bool write_all(std::string_view text) {
    while (!text.empty()) {
      if (steady::now().time_since_epoch().count() >= shared_.give_up_at.load()) return false;
      // A pipe that polls writable takes PIPE_BUF bytes without blocking, and no more for sure. The
      // wait ends now and then to look at give_up_at.
      pollfd ready{fd_, POLLOUT, 0};
      const int polled = poll(&ready, 1, 20);
      if (polled == 0 || (polled < 0 && errno == EINTR)) continue;
      if (polled < 0) return false;
      const auto wrote = ::write(fd_, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
      if (wrote > 0) {
        text.remove_prefix(static_cast<std::size_t>(wrote));
      } else if (wrote < 0 && errno != EINTR && errno != EAGAIN) {
        shared_.refused.fetch_add(1, std::memory_order_relaxed);
        return false;  // nobody reads it any more, or the disk is full: the line is lost, the
                       // process goes on
      }
    }
    return true;
  }

  int fd_;
  progress& shared_;
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

/// What a configuration means for each line. Replaced whole by configure().
struct ruling {
  std::array<core::log_level, component_names.size()> levels;
  bool text = false;
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
  // A line may still be rendered by an old ruling, and reloads are rare: all are kept.
  std::vector<std::unique_ptr<const ruling>> rulings;
  std::atomic<const ruling*> current{nullptr};

  std::atomic<std::uint64_t> reported_drops{0};
  std::shared_ptr<spdlog::details::thread_pool> pool;
  std::shared_ptr<spdlog::async_logger> out;

  explicit state(const options& from)
      : fd(from.fd),
        queue_lines(from.queue_lines),
        now(from.now != nullptr ? from.now : system_now) {
    const auto no_signals = [] {
      // Signals are the main thread's; and a reader that went away is EPIPE, not the end of the
      // process.
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_BLOCK, &all, nullptr);
    };
    pool = std::make_shared<spdlog::details::thread_pool>(from.queue_lines, 1, no_signals);
    out = std::make_shared<spdlog::async_logger>(
        "portcullis", std::make_shared<descriptor_sink>(fd, shared), pool,
        spdlog::async_overflow_policy::overrun_oldest);
    out->set_level(spdlog::level::trace);
    // spdlog's own handler prints to standard error, which holds our lines only.
    out->set_error_handler([this](const std::string&) {
      shared.lost.fetch_add(1);
      shared.finished.fetch_add(1);
    });
  }

  [[nodiscard]] std::uint64_t dropped() const {
    return pool->overrun_counter() + shared.lost.load(std::memory_order_relaxed);
  }

  void emit(const ruling& rules, const log_line& line) {
    core::byte_buffer text;
    if (rules.text)
      render_text(text, line);
    else
      render_json(text, line, rules.who);
    shared.submitted.fetch_add(1, std::memory_order_acq_rel);
    out->log(to_spdlog(line.level), spdlog::string_view_t(text.data(), text.size()));
  }

  void count(core::log_level level) noexcept {
    messages[static_cast<std::size_t>(level)].fetch_add(1, std::memory_order_relaxed);
  }

  /// Says once how many lines are missing, when the queue has room again.
  void report_drops(const ruling& rules) {
    const auto total = dropped();
    auto known = reported_drops.load();
    if (total == known || pool->queue_size() > queue_lines / 2) return;
    if (!reported_drops.compare_exchange_strong(known, total)) return;
    const std::array<field, 2> fields = {field("log.dropped", total - known),
                                         field("log.dropped_total", total)};
    count(core::log_level::warn);
    emit(rules, {now(), core::log_level::warn, component::log, "Log lines were dropped.", fields});
  }

  void log(core::log_level level, component of, fixed_text message, std::span<const field> fields,
           core::millis at_ms) {
    count(level);
    const auto& rules = *current.load(std::memory_order_acquire);
    report_drops(rules);
    emit(rules, {at_ms, level, of, message, fields});
  }
};

logger::logger(const options& from) : state_(std::make_unique<state>(from)) { configure({}); }

logger::~logger() {
  flush();
  state_->shared.give_up_at.store(steady::now().time_since_epoch().count());
  state_->out.reset();
  state_->pool.reset();  // joins its thread
}

std::vector<std::string> logger::configure(const log_settings& settings) {
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
  rules->text = settings.format == core::log_format::text ||
                (settings.format == core::log_format::automatic && isatty(state_->fd) == 1);
  rules->naming = {settings.hash_user_ids, settings.user_key.value_or(state_->made_up_key)};
  rules->who = {settings.node_id, settings.version};
  const std::lock_guard lock(state_->configuring);
  state_->current.store(rules.get(), std::memory_order_release);
  state_->rulings.push_back(std::move(rules));
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
    return shared.finished.load(std::memory_order_acquire) + state_->pool->overrun_counter() >=
           target;
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

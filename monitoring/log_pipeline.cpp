#include "monitoring/log_pipeline.hpp"

#include <signal.h>
#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/sink.h>

#include <chrono>
#include <thread>

namespace portcullis::monitoring {
namespace {

constexpr auto look_every = std::chrono::seconds(1);  // at a sink, while nothing is logged

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

/// The sink, which the thread that writes and the one that looks after it share.
class guarded_sink {
 public:
  explicit guarded_sink(std::unique_ptr<log_sink> sink) : sink_(std::move(sink)) {}

  log_sink::outcome put(std::string_view line) {
    const std::lock_guard lock(mutex_);
    return sink_->put(line, wanted);
  }
  /// Waits while a line waits for its reader: its thread meets demands meanwhile.
  void look_after() {
    const std::lock_guard lock(mutex_);
    sink_->look_after(wanted.take_reopen());
  }
  [[nodiscard]] const log_sink& get() const noexcept { return *sink_; }

  log_demands wanted;

 private:
  std::mutex mutex_;
  std::unique_ptr<log_sink> sink_;
};

/// What spdlog's thread calls: hands each line to the sink and counts what became of it.
class counted_sink final : public spdlog::sinks::sink {
 public:
  counted_sink(guarded_sink& to, log_progress& shared) : to_(to), shared_(shared) {}

  void log(const spdlog::details::log_msg& message) override {
    const auto how = to_.put({message.payload.data(), message.payload.size()});
    if (how != log_sink::outcome::taken) shared_.lost.fetch_add(1, std::memory_order_relaxed);
    if (how == log_sink::outcome::refused) shared_.refused.fetch_add(1, std::memory_order_relaxed);
    shared_.refusing.store(how == log_sink::outcome::refused, std::memory_order_relaxed);
    shared_.finished.fetch_add(1, std::memory_order_release);
    const std::lock_guard lock(shared_.mutex);
    shared_.moved.notify_all();
  }
  void flush() override {}  // sinks hold nothing back
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

 private:
  guarded_sink& to_;
  log_progress& shared_;
};

/// Looks after a sink each second, and at once when asked. A message to spdlog's thread would do
/// neither: it would take a line's place in the queue, and be counted as one when it is pushed out.
class watcher {
 public:
  explicit watcher(guarded_sink& of) : thread_([this, &of] { run(of); }) {}
  ~watcher() {
    tell(over_);
    thread_.join();
  }
  watcher(const watcher&) = delete;
  watcher& operator=(const watcher&) = delete;

  void wake() { tell(asked_); }

 private:
  void tell(bool& what) {
    {
      const std::lock_guard lock(mutex_);
      what = true;
    }
    told_.notify_one();
  }
  void run(guarded_sink& of) {
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        told_.wait_for(lock, look_every, [this] { return over_ || asked_; });
        if (over_) return;
        asked_ = false;
      }
      of.look_after();
    }
  }

  std::mutex mutex_;
  std::condition_variable told_;
  bool over_ = false;
  bool asked_ = false;
  std::thread thread_;  // last: it uses the others
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

}  // namespace

struct log_pipeline::impl {
  impl(std::unique_ptr<log_sink> to, std::size_t lines) : sink(std::move(to)), queue_lines(lines) {}

  guarded_sink sink;
  std::size_t queue_lines;
  std::shared_ptr<spdlog::details::thread_pool> pool;
  std::shared_ptr<spdlog::async_logger> out;
  std::unique_ptr<watcher> watching;
};

log_pipeline::log_pipeline(std::unique_ptr<log_sink> sink, std::size_t queue_lines,
                           log_progress& shared, watch watched)
    : impl_(std::make_unique<impl>(std::move(sink), queue_lines)) {
  const no_signals blocked;
  impl_->pool = std::make_shared<spdlog::details::thread_pool>(queue_lines, 1);
  impl_->out = std::make_shared<spdlog::async_logger>(
      "portcullis", std::make_shared<counted_sink>(impl_->sink, shared), impl_->pool,
      spdlog::async_overflow_policy::overrun_oldest);
  impl_->out->set_level(spdlog::level::trace);
  // spdlog's own handler prints to standard error, which holds our lines only.
  impl_->out->set_error_handler([&shared](const std::string&) {
    shared.lost.fetch_add(1);
    shared.finished.fetch_add(1);
  });
  if (watched == watch::yes) impl_->watching = std::make_unique<watcher>(impl_->sink);
}

log_pipeline::~log_pipeline() {
  impl_->sink.wanted.give_up();
  impl_->watching.reset();
  impl_->out.reset();
  impl_->pool.reset();  // joins its thread
}

void log_pipeline::send(core::log_level level, std::string_view text) {
  impl_->out->log(to_spdlog(level), spdlog::string_view_t(text.data(), text.size()));
}

void log_pipeline::reopen() noexcept {
  impl_->sink.wanted.reopen();
  if (impl_->watching) impl_->watching->wake();
}

std::uint64_t log_pipeline::overrun() const { return impl_->pool->overrun_counter(); }

bool log_pipeline::has_room() const { return impl_->pool->queue_size() <= impl_->queue_lines / 2; }

const log_sink& log_pipeline::sink() const noexcept { return impl_->sink.get(); }

}  // namespace portcullis::monitoring

// The structured log of the process: one line an event or operational message, on standard error,
// in a file or in systemd's journal. Usable at any time, from any thread: before configuration is
// loaded, and until the process ends.
#pragma once
#include <chrono>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/config/config.hpp"
#include "core/crypto/hmac.hpp"
#include "core/event/event.hpp"
#include "core/limits.hpp"
#include "core/result.hpp"
#include "monitoring/render.hpp"
#include "monitoring/tallies.hpp"

namespace portcullis::monitoring {

struct log_settings {
  core::log_level level = core::log_level::info;
  std::map<std::string, core::log_level, std::less<>> levels;  // by component name
  core::log_format format = core::log_format::automatic;       // text on a terminal, else JSON
  bool hash_user_ids = true;
  /// The key that user ids are hashed under. Absent: one made up for this process, so that no two
  /// runs' hashes agree.
  std::optional<core::hmac_key> user_key = std::nullopt;
  std::string node_id;
  std::string version;
};

/// Where lines go. `path` is the file, or journald's socket.
struct log_target {
  core::log_output output = core::log_output::standard_error;
  std::string path;
};

/// A bounded, asynchronous log. No call waits for the reader of the file: when the queue is full
/// the oldest lines are dropped and counted, and a line says so once the reader is back. All
/// members may be called from any thread.
class logger {
 public:
  struct options {
    int fd = 2;  // not owned
    std::size_t queue_lines = core::limits::log_queue_lines_max;
    core::millis (*now)() = nullptr;  // null: the system's clock
  };
  logger() : logger(options{}) {}
  explicit logger(const options& from);
  /// Writes what is queued, for at most limits::log_flush_ms_max; the rest is dropped.
  ~logger();
  logger(const logger&) = delete;
  logger& operator=(const logger&) = delete;

  /// Sends what is logged from now on to `target`; what waits is written to where it was meant for,
  /// or dropped after limits::log_flush_ms_max. A journald that is not there is no failure: entries
  /// are dropped until it is. Fails, with nothing changed and the reason in `why`: CONFIG_INVALID,
  /// the file cannot be opened. To be called at the start, while no other thread logs.
  core::result<core::nothing> open(const log_target& target, std::string& why);

  /// A log in a file: the file is opened anew by its path, soon, by a thread of the log's
  /// (logrotate tells it by SIGHUP), also while a line waits for a reader that does not read. One
  /// that cannot be opened leaves everything as it was, and the log says so. In the journal: it is
  /// connected anew, before the next entry. On standard error nothing happens.
  void reopen() noexcept;

  /// Takes effect for the next line. Returns the names in `levels` that are no component
  /// (component_names); they change nothing.
  std::vector<std::string> configure(const log_settings& settings);

  [[nodiscard]] bool enabled(core::log_level level, component of) const noexcept;

  /// One line, when the component's level is `level` or lower. Field texts may be anything: they
  /// are escaped, and cut at limits::log_value_bytes_max. Never fails; a line that memory lacks for
  /// counts as dropped.
  void write(core::log_level level, component of, fixed_text message,
             std::initializer_list<field> fields = {}) noexcept {
    write_fields(level, of, message, {fields.begin(), fields.size()});
  }
  void write_fields(core::log_level level, component of, fixed_text message,
                    std::span<const field> fields) noexcept;

  /// An event's one line (event_rows.hpp), with the event's own time. session_touched has none.
  void event(const core::event& of) noexcept;

  /// Waits until all that was logged before the call is written or dropped. False: not within
  /// `patience`. For shutdown and for a process about to die, not for actors.
  bool flush(std::chrono::milliseconds patience =
                 std::chrono::milliseconds(core::limits::log_flush_ms_max)) noexcept;

  [[nodiscard]] log_tallies tallies() const noexcept;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

/// The process's log. It is never destroyed; call flush() before the end.
[[nodiscard]] logger& process_log();

namespace log {

/// logger::write on the process's log.
inline void write(core::log_level level, component of, fixed_text message,
                  std::initializer_list<field> fields = {}) noexcept {
  process_log().write(level, of, message, fields);
}
/// logger::event on the process's log.
inline void event(const core::event& of) noexcept { process_log().event(of); }

}  // namespace log
}  // namespace portcullis::monitoring

// The log of a server as its readers have it: strict parsers of its lines and of the entries of the
// journal, and where they are read from.
#pragma once
#include <atomic>
#include <map>
#include <mutex>

#include "harness.hpp"

namespace portcullis::e2e {

/// A line's fields by the names that the journal has for them: event.action is EVENT_ACTION.
using log_fields = std::map<std::string, std::string>;

/// Why `text` may not stand in a log: it is no UTF-8, or has a character that ends a line, moves a
/// terminal or turns the direction of text. Empty: it may.
std::string harm_in(std::string_view text);

/// One line of JSON, strictly: an object of texts, numbers and truths, no name twice. A failure of
/// the test, and nothing, where it is anything else.
log_fields fields_of_json(const std::string& line);

/// One entry by journald's rules (systemd, JOURNAL_NATIVE_PROTOCOL): names that it takes, no field
/// twice, the text form of values alone. A failure of the test, and nothing, otherwise.
log_fields fields_of_entry(const std::string& entry);

/// What every line has, by the forms that they have.
void expect_ecs(const log_fields& line);

/// The lines of a text, each with fields_of_json.
std::vector<log_fields> lines_of(const std::string& text);

/// A file that grows, read on from where it was left; also after it was replaced, when what was
/// there had been read.
class growing_file {
 public:
  explicit growing_file(std::string path) : path_(std::move(path)) {}
  /// The whole lines that are new.
  std::string more();

 private:
  std::string path_;
  std::size_t read_ = 0;
};

/// A journald of the test's own, on a socket in a folder.
class fake_journald {
 public:
  explicit fake_journald(std::string path);
  ~fake_journald();
  fake_journald(const fake_journald&) = delete;
  fake_journald& operator=(const fake_journald&) = delete;

  /// The entries that have come since, each as a line of JSON with lower-case names, so that the
  /// harness understands them. A thread of the server's may call it, one at a time.
  std::string more();
  /// All entries so far, byte for byte.
  [[nodiscard]] std::vector<std::string> entries() const;
  /// While true nothing is read.
  std::atomic<bool> stalled{false};

 private:
  std::string path_;
  int fd_;
  mutable std::mutex mutex_;
  std::vector<std::string> entries_;  // guarded by mutex_
};

}  // namespace portcullis::e2e

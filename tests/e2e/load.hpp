// Clients that write for as long as they are let, and what each has been promised.
#pragma once
#include <atomic>
#include <mutex>

#include "harness.hpp"

namespace portcullis::e2e {

/// One session and what was last acknowledged of it. `sure` is false while an answer was awaited
/// when the server went: then either state is right.
struct promised {
  json id;
  bool live = true;
  std::optional<json> data = {};
  std::optional<json> before_rotation = {};  // revoked by a second rotation
  bool sure = true;
  std::string why = {};  // what made it unsure
};

/// Threads of creates, updates, rotates and revokes against `node` until it is gone or stop() is
/// called. Errors other than those that say so (OVERLOADED, STORE_UNAVAILABLE, REQUEST_TIMEOUT,
/// NODE_DRAINING) fail the test. An answer that takes longer than `within` counts as gone.
class load {
 public:
  load(server& node, int clients, const std::string& name,
       std::chrono::milliseconds within = patience);
  ~load() { stop(); }
  void stop();
  [[nodiscard]] std::size_t acknowledged() const { return acknowledged_; }
  [[nodiscard]] std::size_t excused() const { return excused_; }
  /// All that was promised. Call after stop().
  std::vector<promised> take();

 private:
  void write(std::size_t which, const std::string& user_id);
  /// True: done. False: refused or lost; `unsure` says whether it may have been done.
  bool ask(line_client& client, const char* method, const json& params, json& result, bool& unsure);

  server& node_;
  std::chrono::milliseconds within_;
  std::atomic<bool> stop_ = false;
  std::atomic<std::size_t> acknowledged_ = 0;
  std::atomic<std::size_t> excused_ = 0;
  std::mutex mutex_;
  std::vector<promised> made_;  // guarded by mutex_
  std::vector<std::jthread> threads_;
};

/// Fails the test for each promise that the server does not keep.
void expect_kept(line_client& client, const std::vector<promised>& all);
/// The ids that were replaced are over. To use one is a theft: the sessions are revoked by the
/// asking.
void expect_rotated_away(line_client& client, const std::vector<promised>& all);

/// "ok", or what SQLite's integrity check says of the store in `data_dir`, which no server may use
/// now.
std::string integrity(const std::string& path);

}  // namespace portcullis::e2e

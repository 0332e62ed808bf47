// One scrape of a node, and a thread for scrapes.
#pragma once
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "apps/http_client.hpp"
#include "apps/metrics_page/between.hpp"

namespace portcullis::apps {

/// A scrape; or why there is none, fit for a terminal, and with which exit status that ends a
/// command.
struct scraped {
  std::optional<scrape> page;
  std::string why;
  int status = 0;
};

/// Asks for /metrics once; waits for the answer as long as `server` does.
[[nodiscard]] scraped scrape_node(const http_client& server);

/// Scrapes beside the thread that has the terminal: a name server or a stalled node takes its time,
/// a key is answered at once. All calls by one thread. `server` must outlive it.
class background_scraper {
 public:
  explicit background_scraper(const http_client& server);
  /// Waits for a scrape that is under way.
  ~background_scraper();
  background_scraper(const background_scraper&) = delete;
  background_scraper& operator=(const background_scraper&) = delete;

  /// For poll(): readable when take() has something.
  [[nodiscard]] int descriptor() const noexcept { return done_; }
  /// Whether a scrape is under way.
  [[nodiscard]] bool busy() const;
  /// Begins one; not while it is busy.
  void begin();
  /// What the last scrape gave, once; nothing where none has ended since.
  [[nodiscard]] std::optional<scraped> take();

 private:
  void run();

  const http_client& server_;
  int done_;
  mutable std::mutex mutex_;
  std::condition_variable wanted_;
  bool busy_ = false, ended_ = false;  // guarded by mutex_
  std::optional<scraped> result_;      // guarded by mutex_
  std::thread thread_;
};

}  // namespace portcullis::apps

#include "apps/cli/scraper.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <utility>

#include "apps/commands.hpp"
#include "apps/metrics_page/shown.hpp"

namespace portcullis::apps {
namespace {

double seconds_since_epoch(auto now) {
  return std::chrono::duration<double>(now.time_since_epoch()).count();
}

}  // namespace

scraped scrape_node(const http_client& server) {
  scraped out;
  const auto asked = std::chrono::steady_clock::now();
  const auto reply = server.ask("/metrics", {}, out.why);
  if (!reply) {
    out.status = exit_unreachable;
    out.why = plain_text(out.why);
    return out;
  }
  out.status = exit_failed;
  if (reply->status != 200) {
    out.why = refusal_text(*reply);
    return out;
  }
  auto page = metrics_page::parse(reply->body, out.why);
  if (!page) {
    out.why = plain_text(out.why);
    return out;
  }
  out.page = scrape{std::move(*page), seconds_since_epoch(asked),
                    seconds_since_epoch(std::chrono::system_clock::now())};
  out.status = exit_ok;
  return out;
}

background_scraper::background_scraper(const http_client& server)
    : server_(server), done_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), thread_([this] { run(); }) {}

background_scraper::~background_scraper() {
  {
    const std::lock_guard guard(mutex_);
    ended_ = true;
  }
  wanted_.notify_one();
  thread_.join();
  close(done_);
}

bool background_scraper::busy() const {
  const std::lock_guard guard(mutex_);
  return busy_;
}

void background_scraper::begin() {
  {
    const std::lock_guard guard(mutex_);
    busy_ = true;
  }
  wanted_.notify_one();
}

std::optional<scraped> background_scraper::take() {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto got = read(done_, &count, sizeof count);
  const std::lock_guard guard(mutex_);
  return std::exchange(result_, std::nullopt);
}

void background_scraper::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wanted_.wait(lock, [this] { return busy_ || ended_; });
    if (ended_) return;
    lock.unlock();
    auto result = scrape_node(server_);
    lock.lock();
    result_ = std::move(result);
    busy_ = false;
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto wrote = write(done_, &one, sizeof one);
  }
}

}  // namespace portcullis::apps

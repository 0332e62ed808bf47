#include "actors/shard_loader.hpp"

#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_set>

#include "actors/shards.hpp"
#include "core/limits.hpp"
#include "store/restore.hpp"

namespace portcullis::actors {
namespace {

struct loaded_session : store::restored_session {
  std::string tenant_id;  // for one whose user is forgotten
};

loaded_session loaded_of(const store::session_record& row) {
  return {store::session_of(row), std::string(row.tenant_id)};
}

/// A user's row in the file is no shorter; what a damaged one promises is not believed.
constexpr std::uint64_t user_bytes_min = 100;

struct loaded_user {
  core::subject_id subject;
  core::byte_array<16> lookup;
  std::uint32_t ring_key, tenant_size, wrapped_size;
};

/// Rows in the order they were read. Used again: what it has allocated stays.
struct load_batch {
  std::uint64_t users_expected = 0;
  std::vector<std::pair<std::string, std::uint32_t>> tenants;  // with their generations
  std::vector<loaded_user> users;
  std::string texts;  // of each user the tenant, then what is wrapped
  std::vector<store::lockout_record> lockouts;
  std::vector<loaded_session> sessions;

  [[nodiscard]] std::size_t rows() const noexcept {
    return tenants.size() + users.size() + lockouts.size() + sessions.size();
  }
  void clear() noexcept {
    users_expected = 0;
    tenants.clear();
    users.clear();
    texts.clear();
    lockouts.clear();
    sessions.clear();
  }
};

/// Builds the shards' state from batches.
class shard_builder {
 public:
  shard_builder(std::uint32_t shards, const std::vector<std::uint32_t>& wanted,
                std::uint64_t users_max)
      : images_(shards), shards_(shards), users_max_(users_max) {
    for (const auto shard : wanted) {
      images_[shard] = std::make_shared<shard_image>();
      images_[shard]->sessions = std::make_unique<core::session_state>();
      images_[shard]->directory = std::make_unique<core::directory_state>();
      images_[shard]->lockouts = std::make_unique<core::lockout_state>();
    }
  }

  void add(load_batch& batch) {
    if (batch.users_expected > 0) reserve(std::min(batch.users_expected, users_max_) / shards_);
    for (const auto& [tenant, generation] : batch.tenants)
      for (const auto& image : images_)
        if (image) image->sessions->load_tenant(tenant, generation);
    std::string_view texts = batch.texts;
    for (std::size_t i = 0; i < batch.users.size(); ++i) {
      if (i + far_ahead < batch.users.size()) {
        const auto& later = batch.users[i + far_ahead];
        image_of(later.subject.bytes[0]).sessions->prefetch_load(later.subject, later.lookup);
      }
      const auto& row = batch.users[i];
      newest_ring_key_ = std::max(newest_ring_key_, row.ring_key);
      auto& image = image_of(row.subject.bytes[0]);
      const auto slot =
          image.sessions->load_user(row.subject, row.lookup, texts.substr(0, row.tenant_size));
      texts.remove_prefix(row.tenant_size);
      image.directory->load_user(slot, row.ring_key, texts.substr(0, row.wrapped_size));
      texts.remove_prefix(row.wrapped_size);
    }
    for (const auto& row : batch.lockouts) add(row);
    for (std::size_t i = 0; i < batch.sessions.size(); ++i) {
      if (i + far_ahead < batch.sessions.size()) {
        const auto& later = batch.sessions[i + far_ahead];
        image_of(later.subject.bytes[0]).sessions->prefetch_load(later.record, later.subject);
      }
      if (i + near_ahead < batch.sessions.size()) {
        const auto& later = batch.sessions[i + near_ahead];
        image_of(later.subject.bytes[0]).sessions->prefetch_owner(later.subject);
      }
      add(std::move(batch.sessions[i]));
    }
  }
  [[nodiscard]] std::uint32_t newest_ring_key() const noexcept { return newest_ring_key_; }
  [[nodiscard]] std::vector<std::shared_ptr<shard_image>> take(
      const std::vector<std::uint32_t>& wanted) {
    std::vector<std::shared_ptr<shard_image>> out;
    for (const auto shard : wanted) out.push_back(std::move(images_[shard]));
    return out;
  }

 private:
  // Rows whose places are brought towards the cache: most of building is waiting for memory.
  static constexpr std::size_t far_ahead = 16, near_ahead = 8;

  // Some more than a shard's share: growing the indexes of a million users copies them several
  // times over. There are about as many sessions as users.
  void reserve(std::uint64_t users_a_shard) {
    const auto users = users_a_shard + users_a_shard / 16;
    for (const auto& image : images_)
      if (image) image->sessions->reserve(users, users);
  }
  void add(const store::lockout_record& row) {
    auto& image = image_of(row.subject.bytes[0]);
    image.lockouts->load(row.subject, row.source,
                         {row.failed_attempts, row.window_ends_at_ms, row.locked_until_ms});
    // Already here: the first request may come before the lockout actor has told its locks.
    const auto user = image.sessions->find_user(row.subject);
    if (user != core::no_slot && !row.source)
      image.sessions->user(user).locked_until_ms = row.locked_until_ms;
  }
  void add(loaded_session&& row) {
    newest_ring_key_ = std::max(newest_ring_key_, row.record.ring_key);
    auto& image = image_of(row.record.handle.bytes[0]);
    if (row.alias)
      image.aliases.push_back(
          {*row.alias, row.record.handle.bytes[0],
           row.record.absolute_expires_at_ms + core::limits::tombstone_keep_ms});
    auto user = image.sessions->find_user(row.subject);
    if (user == core::no_slot)  // forgotten: ended sessions of nobody, until they are purged
      user = image.sessions->load_user(row.subject, row.subject.bytes, row.tenant_id);
    row.record.user = user;
    image.directory->add(user, image.sessions->load_session(std::move(row.record), row.old_ids));
  }
  shard_image& image_of(std::uint8_t routing_byte) {
    return *images_[shard_of(routing_byte, shards_)];
  }

  std::vector<std::shared_ptr<shard_image>> images_;
  std::uint32_t shards_;
  std::uint64_t users_max_;            // that the file has room for
  std::uint32_t newest_ring_key_ = 0;  // of all that was made
};

/// Hands what one thread reads to the one that builds: both take about as long.
class batch_queue final : public store::load_visitor {
 public:
  void expect_users(std::uint64_t most) override { filling_.users_expected = most; }
  void on_tenant(const store::tenant_record& row) override {
    filling_.tenants.emplace_back(row.tenant_id, static_cast<std::uint32_t>(row.generation));
    added();
  }
  void on_user(const core::user_row& row) override {
    filling_.users.push_back({row.subject, row.lookup, row.ring_key,
                              static_cast<std::uint32_t>(row.tenant_id.size()),
                              static_cast<std::uint32_t>(row.wrapped.size())});
    filling_.texts += row.tenant_id;
    filling_.texts += row.wrapped;
    added();
  }
  void on_lockout(const store::lockout_record& row) override {
    filling_.lockouts.push_back(row);
    added();
  }
  void on_session(const store::session_record& row) override {
    filling_.sessions.push_back(loaded_of(row));
    added();
  }
  /// The reader has read all.
  void end() {
    hand_over();
    const std::lock_guard guard(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

  /// The builder takes no more: what is still read is dropped.
  void abandon() {
    const std::lock_guard guard(mutex_);
    abandoned_ = true;
    changed_.notify_all();
  }
  /// The builder's side: swaps `done` for the next batch; false at the end.
  [[nodiscard]] bool take(load_batch& done) {
    done.clear();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ended_ || !full_.empty(); });
    if (full_.empty()) return false;
    empty_.push_back(std::exchange(done, std::move(full_.front())));
    full_.pop_front();
    changed_.notify_all();
    return true;
  }

 private:
  static constexpr std::size_t rows_a_batch = 1'024;
  static constexpr std::size_t batches_max = 8;

  void added() {
    if (filling_.rows() >= rows_a_batch) hand_over();
  }
  void hand_over() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return abandoned_ || full_.size() < batches_max; });
    if (abandoned_) return filling_.clear();
    full_.push_back(std::move(filling_));
    filling_ = {};
    if (!empty_.empty()) {
      filling_ = std::move(empty_.back());
      empty_.pop_back();
    }
    changed_.notify_all();
  }

  load_batch filling_;  // the reader's
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<load_batch> full_;    // guarded by mutex_
  std::vector<load_batch> empty_;  // guarded by mutex_
  bool ended_ = false;             // guarded by mutex_
  bool abandoned_ = false;         // guarded by mutex_
};

/// The first request may come before the lockout actor has told of its locks.
void tell_lock(shard_image& to, const core::event& what) {
  const auto* started = std::get_if<core::lockout_started>(&what.body);
  const auto* ended = std::get_if<core::lockout_ended>(&what.body);
  const bool of_user =
      (started != nullptr && !started->source) || (ended != nullptr && !ended->source);
  if (!of_user || !what.subject) return;
  const auto user = to.sessions->find_user(*what.subject);
  if (user == core::no_slot) return;
  to.sessions->user(user).locked_until_ms = started != nullptr ? started->locked_until_ms : 0;
}

}  // namespace

void apply_waiting(shard_image& to, std::uint32_t shard, const std::deque<batch_ptr>& queue) {
  std::unordered_set<std::uint64_t> purged;
  for (const auto& batch : queue) {
    if (batch->of_breakers || batch->shard != shard) continue;
    for (const auto& each : batch->events) {
      to.sessions->apply(each);
      to.lockouts->apply(each);
      tell_lock(to, each);
    }
    purged.insert(batch->purges.begin(), batch->purges.end());
  }
  if (purged.empty()) return;
  for (core::session_slot slot = 0; slot < to.sessions->slots_used(); ++slot) {
    const auto& s = to.sessions->at(slot);
    if (s.status == core::session_status::none || !purged.contains(s.seq)) continue;
    to.directory->remove(s.user, slot);
    to.sessions->purge(slot);
  }
}

core::result<std::vector<tenant_revoked>> tenant_generations_of(store::journal& log) {
  class collector final : public store::load_visitor {
   public:
    void on_tenant(const store::tenant_record& row) override {
      found.push_back({std::string(row.tenant_id), static_cast<std::uint32_t>(row.generation)});
    }
    void on_user(const core::user_row&) override {}
    void on_lockout(const store::lockout_record&) override {}
    void on_session(const store::session_record&) override {}
    std::vector<tenant_revoked> found;
  } visitor;
  if (const auto ok = log.load_tenants(visitor); !ok) return ok.error();
  return std::move(visitor.found);
}

core::result<core::stored_breakers> load_breakers_from(store::journal& log) {
  class collector final : public store::breaker_visitor {
   public:
    void on_breaker(core::breaker_record&& row) override { found.add(std::move(row)); }
    void on_source(core::breaker_source_record&& row) override { found.put(std::move(row)); }
    core::stored_breakers found;
  } visitor;
  if (const auto ok = log.load_breakers(visitor); !ok) return ok.error();
  return std::move(visitor.found);
}

core::result<std::vector<std::shared_ptr<shard_image>>> load_shards_from(
    store::journal& log, const std::vector<std::uint32_t>& wanted, std::uint32_t shards,
    std::uint32_t newest_ring_key) {
  store::routing_set routing;
  for (const auto shard : wanted) routing |= bytes_of_shard(shard, shards);
  shard_builder builder(shards, wanted, log.size_bytes() / user_bytes_min);
  // Another thread reads, this one builds: the allocations that stay are this thread's.
  batch_queue queue;
  core::status went = core::nothing{};
  std::exception_ptr thrown;
  std::thread reader([&] {
    try {
      went = log.load(routing, queue);
    } catch (...) {
      thrown = std::current_exception();
    }
    queue.end();
  });
  try {
    for (load_batch batch; queue.take(batch);) builder.add(batch);
  } catch (...) {
    queue.abandon();
    reader.join();
    throw;
  }
  reader.join();
  if (thrown) std::rethrow_exception(thrown);
  if (!went) return went.error();
  if (builder.newest_ring_key() > newest_ring_key)
    return core::fail(core::error_code::KEYRING_MISMATCH, {}, "newer_key_in_store");
  auto images = builder.take(wanted);
  for (const auto& each : images) {
    each->log_at_ms = log.last_at_ms();
    each->position = log.last_seq();
  }
  return images;
}

}  // namespace portcullis::actors

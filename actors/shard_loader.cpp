#include "actors/shard_loader.hpp"

#include "actors/shards.hpp"
#include "core/session/check.hpp"

namespace portcullis::actors {
namespace {

core::session_status status_of(store::session_state state) {
  switch (state) {
    case store::session_state::live:
      return core::session_status::live;
    case store::session_state::revoked:
      return core::session_status::revoked;
    case store::session_state::expired:
      return core::session_status::expired;
    case store::session_state::evicted:
      return core::session_status::evicted;
  }
  __builtin_unreachable();
}

class loader final : public store::load_visitor {
 public:
  loader(std::uint32_t shards, const std::vector<std::uint32_t>& wanted)
      : images_(shards), shards_(shards) {
    for (const auto shard : wanted) {
      images_[shard] = std::make_shared<shard_image>();
      images_[shard]->sessions = std::make_unique<core::session_state>();
      images_[shard]->directory = std::make_unique<core::directory_state>();
      images_[shard]->lockouts = std::make_unique<core::lockout_state>();
    }
  }

  void on_tenant(const store::tenant_record& row) override {
    for (const auto& image : images_)
      if (image)
        image->sessions->load_tenant(row.tenant_id, static_cast<std::uint32_t>(row.generation));
  }

  void on_user(core::user_row&& row) override {
    auto& image = image_of(row.subject.bytes[0]);
    newest_ring_key_ = std::max(newest_ring_key_, row.ring_key);
    const auto slot = image.sessions->load_user(row.subject, row.lookup, row.tenant_id);
    image.directory->load_user(slot, row);
  }

  void on_lockout(const store::lockout_record& row) override {
    auto& image = image_of(row.subject.bytes[0]);
    image.lockouts->load(row.subject, row.source,
                         {row.failed_attempts, row.window_ends_at_ms, row.locked_until_ms});
    // Already here: the first request may come before the lockout actor has told its locks.
    const auto user = image.sessions->find_user(row.subject);
    if (user != core::no_slot && !row.source)
      image.sessions->user(user).locked_until_ms = row.locked_until_ms;
  }

  void on_session(const store::session_record& row) override {
    auto& image = image_of(row.handle.bytes[0]);
    const auto user = image.sessions->find_user(row.subject);
    if (user == core::no_slot) return;  // forgotten: nothing of the person is left to validate
    newest_ring_key_ = std::max(newest_ring_key_, row.ring_key);
    core::session_record s;
    s.id = row.id;
    s.handle = row.handle;
    s.created_at_ms = row.created_at_ms;
    s.last_seen_at_ms = row.last_seen_at_ms;
    s.absolute_expires_at_ms = row.absolute_expires_at_ms;
    s.seq = row.seq;
    s.user = user;
    s.tenant_generation = static_cast<std::uint32_t>(row.tenant_generation);
    s.version = row.version;
    s.idle_ttl_s = static_cast<std::uint32_t>(row.idle_ttl_s);
    s.ring_key = row.ring_key;
    s.status = status_of(row.state);
    if (s.status == core::session_status::live) {
      s.present = row.fields.present;
      s.hashes = core::keep_hashes(row.fields);
      s.keep_sealed_ip(row.ip);
      if (!row.data.empty()) s.need_extra().data = row.data;
    }
    if (row.has_predecessor) {
      auto& extra = s.need_extra();
      extra.has_predecessor = true;
      extra.successor_used = row.successor_used;
      extra.predecessor = row.predecessor;
      extra.rotation_ring_key = row.rotation_ring_key;
      extra.predecessor_ring_key = row.predecessor_ring_key;
      extra.nonce = row.nonce;
      extra.grace_ends_at_ms = row.grace_ends_at_ms;
    }
    std::vector<core::old_id> old_ids;
    for (const auto& old : row.retired) old_ids.push_back({old.id, old.grace_ends_at_ms});
    image.directory->add(user, image.sessions->load_session(std::move(s), old_ids));
  }

  [[nodiscard]] std::uint32_t newest_ring_key() const noexcept { return newest_ring_key_; }
  [[nodiscard]] std::vector<std::shared_ptr<shard_image>> take(
      const std::vector<std::uint32_t>& wanted) {
    std::vector<std::shared_ptr<shard_image>> out;
    for (const auto shard : wanted) out.push_back(std::move(images_[shard]));
    return out;
  }

 private:
  shard_image& image_of(std::uint8_t routing_byte) {
    return *images_[shard_of(routing_byte, shards_)];
  }
  std::vector<std::shared_ptr<shard_image>> images_;
  std::uint32_t shards_;
  std::uint32_t newest_ring_key_ = 0;  // of all that was made
};

}  // namespace

core::result<std::vector<tenant_revoked>> tenant_generations_of(store::journal& log) {
  class collector final : public store::load_visitor {
   public:
    void on_tenant(const store::tenant_record& row) override {
      found.push_back({std::string(row.tenant_id), static_cast<std::uint32_t>(row.generation)});
    }
    void on_user(core::user_row&&) override {}
    void on_lockout(const store::lockout_record&) override {}
    void on_session(const store::session_record&) override {}
    std::vector<tenant_revoked> found;
  } visitor;
  if (const auto ok = log.load_tenants(visitor); !ok) return ok.error();
  return std::move(visitor.found);
}

core::result<std::vector<std::shared_ptr<shard_image>>> load_shards_from(
    store::journal& log, const std::vector<std::uint32_t>& wanted, std::uint32_t shards,
    std::uint32_t newest_ring_key) {
  store::routing_set routing;
  for (const auto shard : wanted) routing |= bytes_of_shard(shard, shards);
  loader visitor(shards, wanted);
  if (const auto ok = log.load(routing, visitor); !ok) return ok.error();
  if (visitor.newest_ring_key() > newest_ring_key)
    return core::fail(core::error_code::KEYRING_MISMATCH, {}, "newer_key_in_store");
  return visitor.take(wanted);
}

}  // namespace portcullis::actors

// Whatever happened, a start from the journal gives the state that lived: random commands through
// core, their events into a real store, then both compared record by record.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "../core/session/history.hpp"
#include "../store/journal_fixture.hpp"
#include "actors/shard_loader.hpp"

namespace portcullis::actors {
namespace {

using namespace core;

class journaled_history : public history {
 public:
  explicit journaled_history(const std::string& folder) {
    auto opened = store::journal::open(store::options_for(folder));
    RC_ASSERT(bool(opened));
    log_ = std::move(*opened);
  }

  void compare() {
    RC_ASSERT(bool(log_->append(w.log, w.rows)));
    RC_ASSERT(bool(log_->commit()));
    const auto images = load_shards_from(*log_, {0}, 1, w.keys.newest().id);
    RC_ASSERT(bool(images));
    const auto& loaded = *images->front()->sessions;
    for (session_slot slot = 0; slot < w.state.slots_used(); ++slot) {
      const auto& live = w.state.at(slot);
      const auto at = loaded.find(live.handle);
      RC_ASSERT(at != no_slot);
      same(live, w.state.user(live.user), w.state.outlived(live), loaded.at(at),
           loaded.user(loaded.at(at).user), loaded.outlived(loaded.at(at)));
    }
    RC_ASSERT(loaded.records() == w.state.records());
    RC_ASSERT(loaded.counts().live == w.state.counts().live);
    for (const auto tenant : tenants) {
      const auto live = w.state.find_tenant(tenant), from_log = loaded.find_tenant(tenant);
      if (live == no_slot) continue;
      if (from_log == no_slot) {
        RC_ASSERT(w.state.tenant(live).generation == 0U);
        continue;
      }
      RC_ASSERT(loaded.tenant(from_log).generation == w.state.tenant(live).generation);
      RC_ASSERT(loaded.tenant(from_log).live == w.state.tenant(live).live);
    }
    // And every id is judged alike.
    for (const auto& one : ids) {
      const auto before = locate(w.state, w.keys, one.id);
      const auto after = locate(loaded, w.keys, one.id);
      RC_ASSERT((before.found.slot == no_slot) == (after.found.slot == no_slot));
      if (before.found.slot == no_slot) continue;
      RC_ASSERT(static_cast<int>(before.found.kind) == static_cast<int>(after.found.kind));
      RC_ASSERT(before.found.quiet_until_ms == after.found.quiet_until_ms);
      RC_ASSERT(before.ring_key == after.ring_key);
      const auto now = over_because(w.state, before.found.slot, w.now_ms);
      RC_ASSERT(static_cast<int>(now) ==
                static_cast<int>(over_because(loaded, after.found.slot, w.now_ms)));
    }
  }

 private:
  void same(const session_record& a, const user_record& owner_a, bool a_over,
            const session_record& b, const user_record& owner_b, bool b_over) {
    RC_ASSERT(a.id == b.id);
    RC_ASSERT(a.created_at_ms == b.created_at_ms);
    RC_ASSERT(a.last_seen_at_ms == b.last_seen_at_ms);
    RC_ASSERT(a.absolute_expires_at_ms == b.absolute_expires_at_ms);
    RC_ASSERT(a.seq == b.seq);
    RC_ASSERT(a.idle_ttl_s == b.idle_ttl_s);
    RC_ASSERT(a.version == b.version);
    RC_ASSERT(a.ring_key == b.ring_key);
    RC_ASSERT(a.tenant_generation == b.tenant_generation);
    RC_ASSERT(owner_a.subject == owner_b.subject);
    const bool forgotten = owner_a.lookup == byte_array<16>{};
    RC_ASSERT(forgotten || owner_a.lookup == owner_b.lookup);
    RC_ASSERT(owner_a.sessions == owner_b.sessions);
    // A user's revocation is a generation in memory and rows in the store.
    const bool a_live = a.status == session_status::live && !a_over,
               b_live = b.status == session_status::live && !b_over;
    RC_ASSERT(a_live == b_live);
    if (a.status != session_status::live)
      RC_ASSERT(static_cast<int>(a.status) == static_cast<int>(b.status));
    if (!a_live) return;
    RC_ASSERT(a.present == b.present);
    RC_ASSERT(a.hashes == b.hashes);
    RC_ASSERT(a.data() == b.data());
    RC_ASSERT(open_ip(*owner_a.who, b.sealed_ip()) == a.ip);
    const bool grace = a.extra && a.extra->has_predecessor;
    RC_ASSERT(grace == (b.extra && b.extra->has_predecessor));
    if (!grace) return;
    RC_ASSERT(a.extra->predecessor == b.extra->predecessor);
    RC_ASSERT(a.extra->nonce == b.extra->nonce);
    RC_ASSERT(a.extra->grace_ends_at_ms == b.extra->grace_ends_at_ms);
    RC_ASSERT(a.extra->rotation_ring_key == b.extra->rotation_ring_key);
    RC_ASSERT(a.extra->successor_used == b.extra->successor_used);
  }

  std::unique_ptr<store::journal> log_;
};

RC_GTEST_PROP(round_trip, a_start_from_the_journal_gives_the_state_that_lived, ()) {
  store::temporary_folder folder;
  journaled_history history(folder.path() + "/data");
  const auto steps = *rc::gen::inRange(1, 50);
  for (int i = 0; i < steps; ++i) history.step();
  history.compare();
}

}  // namespace
}  // namespace portcullis::actors

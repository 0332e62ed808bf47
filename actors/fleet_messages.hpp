// What actors tell each other where several nodes share a log. As messages.hpp.
#pragma once
#include "actors/messages.hpp"
#include "store/fleet/records.hpp"

namespace portcullis::actors {

/// One life of a node's process, which is what a writer is.
[[nodiscard]] inline std::uint64_t number_of(const core::byte_array<8>& writer) noexcept {
  std::uint64_t number = 0;
  for (const auto byte : writer) number = number << 8 | byte;
  return number;
}
/// Where nodes share a log: those that live.
struct fleet_members {
  struct member {
    std::uint64_t writer = 0;
    core::millis started_at_ms = 0;
  };
  std::vector<member> all;
  std::uint64_t self = 0;
};
/// Where nodes share a log: what stands in it, up to `position`, as far as it concerns the shard.
struct log_advanced {
  std::vector<batch_ptr> batches;
  std::uint64_t position = 0;
  core::millis at_ms = 0;     // of the last event
  std::int64_t fresh_ns = 0;  // all that was acknowledged to anybody before is among it
  bool sweeps = false;        // this node is the one that tells of what has run out
  std::shared_ptr<const fleet_members> members = {};  // to breaker actors
};
/// The same: a decision is not in the log. Overtaken: it is to be made anew, when the log has been
/// read up to `end`.
struct decision_refused {
  batch_ptr batch;
  bool overtaken = false;
  std::uint64_t end = 0;
  core::error why;
};
/// To the fleet actor: answers caught_up when the shard has been told of all that is in the log
/// now.
struct catch_up {
  std::uint32_t shard = 0;
  bool of_breakers = false;  // its breaker actor asks
  std::uint64_t life = 0;    // the asker's: an answer to one before says nothing to the next
  bool of_gateway = false;   // the loop's of this number asks
};
struct caught_up {
  std::optional<core::error> why;  // set: it could not be asked
  std::uint64_t life = 0;          // of the question
};
/// To the shards: a tenant's revocation could not be told to the log. Until it is over, the
/// tenant's sessions that there are now are as if they were revoked.
struct tenant_condemned {
  std::uint32_t shard = 0;   // that keeps the revocation,
  std::uint32_t number = 0;  // under this number
  std::string tenant_id;
  bool over = false;  // it was carried out
};
/// To the lockout actor: these are in the log. `noted`: of an attempt here.
struct lockouts_logged {
  std::vector<core::event> events;
  std::optional<core::attempt> noted;
};
/// To the directory: a user whom another node has made.
struct user_learned {
  core::user_slot user = core::no_slot;
  std::uint32_t ring_key = 0;
  std::string wrapped;
};
/// To the fleet actor: retention has cut this node's own log, up to this seq.
struct log_was_cut {
  std::uint64_t seq = 0;
};
/// To the journal: a part of the snapshot that stands for what was cut.
struct read_snapshot {
  std::uint64_t part = 0;
};
struct snapshot_read {
  std::uint64_t seq = 0;  // that it is of
  std::string part;       // empty: there are no more
  std::optional<core::error> why;
};
struct collect_fleet {};
/// Who this node is to the store that nodes share, from the next connection on.
struct login_changed {
  std::string user, password;
};
struct fleet_collected {
  monitoring::fleet_tallies tallies;
  std::uint64_t mailbox_depth = 0;
};
struct list_members {};
struct members_listed {
  std::vector<store::fleet::member> members;
};
}  // namespace portcullis::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::log_advanced)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::decision_refused)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::catch_up)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::caught_up)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::tenant_condemned)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::lockouts_logged)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::user_learned)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::log_was_cut)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::read_snapshot)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::snapshot_read)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::collect_fleet)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::login_changed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::fleet_collected)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::list_members)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::members_listed)

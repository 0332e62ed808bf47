// The directory actor: one a shard, pinned beside its session actor. Owns which sessions a user has
// and who the user is.
#pragma once
#include "actors/interfaces.hpp"
#include "actors/pinned.hpp"

namespace portcullis::actors {

struct directory_options {
  std::shared_ptr<const core::key_material> keys;
  core::random_source random;
  std::shared_ptr<shard_image> image;
};

class directory_shard;
using directory_self = pinned_actor<directory_actor, directory_shard>;
directory_actor::behavior_type directory_behaviour(directory_self* self, directory_options options);

class directory_shard {
 public:
  void start(directory_self* self, directory_options options);
  void on(const look_up_user& question);
  void on(const session_listed& change);
  void on(const user_gone& change) { state_->forget(change.user); }
  void on(const user_learned& change) {
    state_->forget(change.user);  // one that was made here, and another node was faster
    state_->load_user(change.user, change.ring_key, change.wrapped);
  }
  users_identified on(const identify_users& question);
  void on(keys_changed& change) {
    state_->change_keys(*options_.keys, *change.keys);
    options_.keys = std::move(change.keys);
  }
  core::directory_listing on(const list_directory&) const { return core::list_directory(*state_); }
  void on(wire_shard& peers) { session_ = std::move(peers.session); }
  static constexpr const char* name = "directory";

 private:
  directory_self* self_ = nullptr;
  directory_options options_;
  std::unique_ptr<core::directory_state> state_;
  session_actor session_;
};

}  // namespace portcullis::actors

#include "core/session/directory.hpp"

#include <algorithm>
#include <utility>

namespace portcullis::core {
namespace {

constexpr auto none = slot_index::none;

}  // namespace

void directory_state::load_user(std::uint32_t user, std::uint32_t ring_key,
                                std::string_view wrapped) {
  static_cast<void>(users_.need(user));
  sealed_.put(user, ring_key, wrapped);
  users_end_ = std::max(users_end_, user + 1);
}

void directory_state::add(std::uint32_t user, std::uint32_t session) {
  auto& owner = users_.need(user);
  sessions_.need(session) = {owner.last, none};
  if (owner.last != none)
    sessions_.need(owner.last).after = session;
  else
    owner.first = session;
  owner.last = session;
}

void directory_state::remove(std::uint32_t user, std::uint32_t session) {
  auto& owner = users_.need(user);
  const auto [before, after] = std::exchange(sessions_.need(session), {});
  (before != none ? sessions_.need(before).after : owner.first) = after;
  (after != none ? sessions_.need(after).before : owner.last) = before;
}

void directory_state::forget(std::uint32_t user) {
  if (sealed_.has(user)) sealed_.drop(user);
  if (auto* known = users_.find(user)) known->who.reset();
}

std::vector<std::uint32_t> directory_state::sessions(std::uint32_t user) const {
  std::vector<std::uint32_t> list;
  each_session(user, [&](std::uint32_t session) { list.push_back(session); });
  return list;
}

identity_ptr directory_state::identity(std::uint32_t user, const key_material& keys) {
  auto* u = users_.find(user);
  if (u == nullptr) return nullptr;
  if (!u->who && sealed_.has(user)) {
    const auto [ring_key, wrapped] = sealed_.get(user);
    u->who = open_user(ring_key, wrapped, keys);
    if (u->who) sealed_.drop(user);
  }
  return u->who;
}

void directory_state::change_keys(const key_material& before, const key_material& now) {
  for (std::uint32_t user = 0; user < users_end_; ++user)
    if (sealed_.has(user) && now.find(sealed_.get(user).ring_key) == nullptr)
      static_cast<void>(identity(user, before));
}

user_row directory_state::make(std::uint32_t user, std::string_view tenant, std::string_view name,
                               const key_material& keys, const random_source& random) {
  auto made = make_user(tenant, name, keys, random);
  users_.need(user).who = std::move(made.identity);
  return std::move(made.row);
}

}  // namespace portcullis::core

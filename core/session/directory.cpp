#include "core/session/directory.hpp"

namespace portcullis::core {
namespace {

constexpr auto none = slot_index::none;

}  // namespace

directory_state::entry& directory_state::need(std::uint32_t slot) {
  if (users_.size() <= slot) users_.resize(std::max<std::size_t>(slot + 1, users_.size() * 3 / 2));
  return users_[slot];
}

const subject_id& directory_state::subject_of(std::uint32_t slot) const {
  const auto& u = users_[slot];
  return u.who ? u.who->subject : u.row->subject;
}

void directory_state::load_user(std::uint32_t user, user_row row) {
  by_subject_.insert(hash_at(row.subject.bytes, 4), user);
  need(user).row = std::make_unique<user_row>(std::move(row));
  ++known_;
}

void directory_state::add(std::uint32_t user, std::uint32_t session) {
  if (sessions_.size() <= session)
    sessions_.resize(std::max<std::size_t>(session + 1, sessions_.size() * 3 / 2));
  auto& owner = need(user);
  sessions_[session] = {owner.last, none};
  if (owner.last != none)
    sessions_[owner.last].after = session;
  else
    owner.first = session;
  owner.last = session;
}

void directory_state::remove(std::uint32_t user, std::uint32_t session) {
  auto& owner = need(user);
  const auto [before, after] = sessions_[session];
  (before != none ? sessions_[before].after : owner.first) = after;
  (after != none ? sessions_[after].before : owner.last) = before;
  sessions_[session] = {};
}

std::vector<std::uint32_t> directory_state::sessions(std::uint32_t user) const {
  std::vector<std::uint32_t> list;
  if (user >= users_.size()) return list;
  for (auto at = users_[user].first; at != none; at = sessions_[at].after) list.push_back(at);
  return list;
}

identity_ptr directory_state::identity(std::uint32_t user, const key_material& keys) {
  if (user >= users_.size()) return nullptr;
  auto& u = users_[user];
  if (!u.who && u.row) {
    u.who = open_user(*u.row, keys);
    if (u.who) u.row.reset();
  }
  return u.who;
}

identity_ptr directory_state::identity(const subject_id& subject, const key_material& keys) {
  const auto slot = by_subject_.find(
      hash_at(subject.bytes, 4), [&](std::uint32_t user) { return subject_of(user) == subject; });
  return slot == none ? nullptr : identity(slot, keys);
}

void directory_state::change_keys(const key_material& before, const key_material& now) {
  for (std::uint32_t slot = 0; slot < users_.size(); ++slot)
    if (users_[slot].row && now.find(users_[slot].row->ring_key) == nullptr)
      (void)identity(slot, before);
}

user_row directory_state::make(std::uint32_t user, std::string_view tenant, std::string_view name,
                               const key_material& keys, const random_source& random) {
  auto made = make_user(tenant, name, keys, random);
  by_subject_.insert(hash_at(made.identity->subject.bytes, 4), user);
  need(user).who = std::move(made.identity);
  ++known_;
  return std::move(made.row);
}

}  // namespace portcullis::core

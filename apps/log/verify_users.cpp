#include "apps/log/verify_users.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace portcullis::apps {

void user_checker::read(log_source& from) {
  const auto read = from.file->read_users([&](const store::user_line& line) {
    ++rows_;
    if (!line.good) return find_(0, fmt::format("users, row {}: is damaged", rows_));
    check_row(line.row, *from.keys);
  });
  if (!read) find_(0, "the table of users is damaged");
}

void user_checker::add(const core::user_row& row, const core::key_material& keys) {
  ++rows_;
  check_row(row, keys);
}

void user_checker::check_row(const core::user_row& row, const core::key_material& keys) {
  const auto wrong = [&](const char* what) {
    find_(0, fmt::format("users, row {}: {}", rows_, what));
  };
  const bool fresh = subjects_.insert(row.subject).second;
  const auto who = core::open_user(row, keys);
  if (!who) return wrong("cannot be opened with the key file");
  if (keys.lookup(row.tenant_id, who->user_id) != row.lookup)
    return wrong("its look-up value is another user's");
  if (keys.routing_byte(row.tenant_id, who->user_id) != row.subject.bytes[0] || !fresh)
    return wrong("its subject is another user's");
  if (!lookups_.insert(row.lookup).second) return wrong("is there twice");
  users_.emplace(row.subject, who);
}

void user_checker::begin(const core::replayed_state& snapshot) {
  const auto& sessions = snapshot.sessions();
  for (core::session_slot slot = 0; slot < sessions.slots_used(); ++slot)
    if (const auto& s = sessions.at(slot);
        s.status == core::session_status::live && !sessions.outlived(s)) {
      const auto& subject = sessions.user(s.user).subject;
      needed_.emplace(subject, s.seq);
      check_owner(subject, s.seq, s.sealed_ip());
    }
  // Without its row a user who is counted against or locked out comes back as another one.
  for (const auto& [subject, counters] : snapshot.lockouts().users())
    needed_.emplace(subject, snapshot.seq());
}

void user_checker::note(const core::event& what) {
  if (!what.subject) return;
  if (what.type() == core::event_type::user_forgotten) {
    needed_.erase(*what.subject);
    forgotten_.emplace(*what.subject, what.seq);
  } else if (const auto* created = std::get_if<core::session_created>(&what.body)) {
    if (!forgotten_.contains(*what.subject)) needed_.emplace(*what.subject, what.seq);
    check_owner(*what.subject, what.seq, created->ip);
  }
}

/// A session's address opens under its user's key alone: rows of users that were exchanged show.
void user_checker::check_owner(const core::subject_id& subject, std::uint64_t seq,
                               std::string_view sealed_ip) {
  if (sealed_ip.empty()) return;
  const auto found = users_.find(subject);
  if (found == users_.end() || !checked_.insert(subject).second) return;
  if (!core::open_ip(*found->second, sealed_ip))
    find_(seq, "users: the key kept for this session's user does not open it");
}

void user_checker::finish(bool earlier_state) const {
  std::uint64_t missing = 0, first = ~std::uint64_t{0};
  for (const auto& [subject, seq] : needed_) {
    if (earlier_state || subjects_.contains(subject)) continue;
    ++missing;
    first = std::min(first, seq);
  }
  if (missing > 0)
    find_(first, fmt::format("users: the row of a user of this event is not there, {} missing in "
                             "all: it was deleted, or the store is an import of an earlier state",
                             missing));
  for (const auto& [subject, seq] : forgotten_)
    if (subjects_.contains(subject))
      find_(seq, "users: the user who was forgotten here has a row again");
}

}  // namespace portcullis::apps

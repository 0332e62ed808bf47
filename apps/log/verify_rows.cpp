#include "apps/log/verify_rows.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace portcullis::apps {

void row_checker::begin(log_source& from) {
  if (const auto& cut = from.file->cut()) unknown_until_ms_ = cut->of.at_ms;
  const auto read = from.file->read_found_by([this](const store::log_file::found_by& row) {
    sealed_.emplace(row.seq, core::sha256(core::as_bytes(row.sealed)));
  });
  static_cast<void>(read);  // check() reads it again, and tells
}

void row_checker::note(const core::event& what) {
  if (what.type() == core::event_type::session_created) {
    const auto row = sealed_.find(what.seq);
    if (row == sealed_.end()) return;
    if (core::sha256(core::as_bytes(what.sealed)) != row->second) wrong_sealed_.insert(what.seq);
    sealed_.erase(row);
  } else if (const auto* touched = std::get_if<core::session_touched>(&what.body)) {
    if (touched->dropped) unknown_until_ms_ = std::max(unknown_until_ms_, what.at_ms);
  }
}

void row_checker::check(log_source& from, const core::replayed_state& restored,
                        const core::replayed_state& replayed, const users_by_subject& users,
                        const find_function& find) const {
  for (core::session_slot slot = 0; slot < restored.sessions().slots_used(); ++slot)
    if (restored.sessions().at(slot).status != core::session_status::none)
      check_session(restored, replayed, slot, find);
  check_found_by(from, users, find);
}

void row_checker::check_session(const core::replayed_state& restored,
                                const core::replayed_state& replayed, core::session_slot slot,
                                const find_function& find) const {
  const auto& row = restored.sessions().at(slot);
  const auto same = replayed.sessions().find(row.handle);
  if (same == core::no_slot) return;  // the digests tell
  const auto& s = replayed.sessions().at(same);
  const auto wrong = [&](const char* column) {
    find(row.seq,
         fmt::format("sessions: {} of the session created here is not what the log gives", column));
  };
  if (restored.alias_of(row.seq) != replayed.alias_of(row.seq)) wrong("alias");
  if (row.tenant_generation != s.tenant_generation) wrong("tenant_generation");
  // What was dropped, here or before the log was cut, may have been later than what is known.
  if (row.last_seen_at_ms < s.last_seen_at_ms ||
      (row.last_seen_at_ms > s.last_seen_at_ms && row.last_seen_at_ms > unknown_until_ms_))
    wrong("last_seen_at_ms");
  if (row.status == core::session_status::live && row.sealed_ip() != s.sealed_ip()) wrong("ip");
}

void row_checker::check_found_by(log_source& from, const users_by_subject& users,
                                 const find_function& find) const {
  const auto read = from.file->read_found_by([&](const store::log_file::found_by& row) {
    const auto wrong = [&](const char* column) {
      find(row.seq,
           fmt::format("sessions: {} of the session created here is not what the log gives",
                       column));
    };
    if (wrong_sealed_.contains(row.seq)) wrong("sealed");
    const auto who = users.find(row.subject);
    if (who == users.end()) return;
    const auto shown = core::open_shown(*who->second, row.sealed);
    if (!shown) return wrong("sealed");
    const auto agent =
        shown->user_agent.empty() ? 0 : from.keys->find_tag(row.tenant_id, shown->user_agent);
    if (row.ip != from.keys->find_tag(row.tenant_id, core::as_text(shown->ip.bytes)))
      wrong("find_ip");
    if (row.user_agent != agent) wrong("find_user_agent");
  });
  if (!read) find(0, "the table sessions is damaged");
}

std::string whole_record(const core::breaker_standing& of) {
  const auto& r = of.record;
  return fmt::format("{}|{}|{}|{}|{}|{}|{}", core::canonical(of).bytes, static_cast<int>(r.state),
                     static_cast<int>(r.cause), r.since_ms, r.until_ms, r.failed_rounds,
                     r.override_.actor);
}

}  // namespace portcullis::apps

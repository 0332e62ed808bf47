#include "apps/log/forget.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "apps/commands.hpp"
#include "core/session/decide.hpp"
#include "store/restore.hpp"

namespace portcullis::apps {
namespace {

core::millis wall_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// What there is of the user, read before anything is changed.
struct person {
  core::user_row row;
  std::vector<core::event> events;  // without seq
  std::string node_id;
};

core::event about(const forget_order& order, const core::subject_id& subject, core::millis now_ms) {
  core::event what;
  what.at_ms = what.decided_at_ms = now_ms;
  what.tenant_id = order.tenant_id;
  what.subject = subject;
  return what;
}

/// Sessions that have run out expire, the others end with the user.
std::vector<core::event> decide(const core::replayed_state& state, const forget_order& order,
                                const core::subject_id& subject, core::millis now_ms) {
  std::vector<core::event> events;
  core::user_forgotten body;
  body.reason = order.reason;
  const auto& sessions = state.sessions();
  const auto user = sessions.find_user(subject);
  if (user != core::no_slot) {
    body.tenant_generation = sessions.tenant(sessions.user(user).tenant).generation;
    for (const auto slot : state.sessions_of(user)) {
      const auto& s = sessions.at(slot);
      if (s.status != core::session_status::live) continue;
      if (sessions.outlived(s)) {  // over, but its row still has all that is to be forgotten
        body.session_seqs.push_back(s.seq);
        continue;
      }
      if (const auto found = core::sweep(sessions, slot, now_ms);
          found.what == core::swept::action::expire) {
        auto& what = events.emplace_back(about(order, subject, now_ms));
        what.handle = s.handle;
        what.session_seq = s.seq;
        what.body = core::session_expired{found.kind};
        continue;
      }
      body.session_seqs.push_back(s.seq);
      ++body.count;
    }
  }
  auto& what = events.emplace_back(about(order, subject, now_ms));
  what.actor = "portcullis forget";
  what.body = std::move(body);
  return events;
}

int look(const log_place_options& place, const forget_order& order, log_source& from,
         std::optional<person>& out) {
  if (const int failed = open_log(place, true, from); failed >= 0) return failed;
  if (!from.file->is_current())
    return complain(place.data_dir + ": the tables are of an older version: start the node once");
  const auto row = from.file->find_user(from.keys->lookup(order.tenant_id, order.user_id));
  if (!row) return complain(row.error(), place.data_dir);
  const auto node = from.file->meta("node_id");
  if (!node) return complain(node.error(), place.data_dir);
  if (!*row) return -1;
  const auto state = store::restore_projections(*from.file);
  if (!state) return complain(state.error(), place.data_dir);
  const auto now_ms = std::max(wall_ms(), state->at_ms());
  out = person{**row, decide(*state, order, (*row)->subject, now_ms), *node ? **node : "node-1"};
  return -1;
}

}  // namespace

int forget_in(const log_place_options& place, const forget_order& order, bool& forgotten) {
  forgotten = false;
  log_source from;
  std::optional<person> whom;
  if (const int failed = look(place, order, from, whom); failed >= 0 || !whom) return failed;
  from.file.reset();  // lets go of the folder
  store::journal_options options;
  options.data_dir = place.data_dir;
  options.node_id = whom->node_id;
  options.chain = from.keys->chain();
  options.keyring_check = keyring_check(from);
  auto log = store::journal::open(options);
  if (!log) return complain(log.error(), place.data_dir);
  auto seq = (*log)->last_seq();
  for (auto& each : whom->events) each.seq = ++seq;
  auto done = (*log)->append(whom->events);
  if (done) done = (*log)->commit();
  if (done) done = (*log)->truncate_log();
  if (done) done = (*log)->close();
  if (!done) return complain(done.error(), place.data_dir);
  forgotten = true;
  return -1;
}

}  // namespace portcullis::apps

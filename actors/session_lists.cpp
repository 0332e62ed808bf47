// session.list: a user's sessions as the store shows them.
#include "actors/cursors.hpp"
#include "actors/session.hpp"
#include "actors/timeouts.hpp"

namespace portcullis::actors {

void session_shard::list(inbound& request, core::list_sessions& params) {
  if (!read_cursor(cursor_kind::sessions, params.page.cursor))
    return fail(request, core::fail(core::error_code::CURSOR_INVALID, "cursor"));
  const auto user =
      state_->find_user(options_.keys->lookup(params.user.tenant_id, params.user.user_id));
  if (user == core::no_slot && waits_for_log(request)) return;
  if (user == core::no_slot) return answer(request, core::session_page{});
  if (held(user, request)) return;
  begin(user, request, stage::listing);
  self_->send(peers_.directory, look_up_user{user, {}, {}, true});
}

void session_shard::show_listed(core::user_slot user, const user_looked_up& listed) {
  const auto& current = holds_[user].current.request;
  const auto& page = std::get<core::list_sessions>(current.what.params).page;
  const auto after = *read_cursor(cursor_kind::sessions, page.cursor);
  read_sessions question;
  bool more = false;
  for (const auto slot : listed.sessions) {
    const auto& s = state_->at(slot);
    if (s.seq <= after || !core::is_live(*state_, slot, now_ms_)) continue;
    if (question.seqs.size() == page.limit) {
      more = true;
      break;
    }
    question.seqs.push_back(s.seq);
  }
  if (question.seqs.empty()) {
    if (waits_for_log(user)) return;
    answer(current, core::session_page{});
    return release(user);
  }
  auto request = current;
  const auto last = question.seqs.back();
  const auto who = listed.who;
  self_->request(peers_.journal, peer_timeout, std::move(question))
      .then(
          [this, user, request, who, last, more](const sessions_read& read) {
            if (read.why) {
              refuse(user, *read.why);
              return flush();
            }
            core::session_page out;
            std::size_t bytes = 0;
            std::uint64_t shown = 0;
            bool cut = false;
            for (const auto& row : read.rows) {
              const auto slot = state_->find(row.handle);
              if (slot == core::no_slot || !core::is_live(*state_, slot, now_ms_)) continue;
              auto each = describe(*who, state_->at(slot), row);
              bytes += 200 + each.user_agent.size() * 6;
              if (bytes > core::limits::page_bytes_max && shown > 0) {
                cut = true;
                break;
              }
              out.rows.push_back(std::move(each));
              shown = row.seq;
            }
            if (cut)
              out.cursor = make_cursor(cursor_kind::sessions, shown);
            else if (more)
              out.cursor = make_cursor(cursor_kind::sessions, last);
            answer(request, out);
            release(user);
            flush();
          },
          [this, user](const caf::error&) {
            refuse(user, core::fail(core::error_code::STORE_TIMEOUT));
            flush();
          });
}

}  // namespace portcullis::actors

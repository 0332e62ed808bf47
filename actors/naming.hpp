// Who subjects are: asks the session actor of each shard concerned. For cold paths.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "actors/interfaces.hpp"
#include "actors/shards.hpp"
#include "actors/timeouts.hpp"

namespace portcullis::actors {

/// Calls `then` on `self`'s thread with a name for each subject, in the same order, and whether all
/// shards concerned have answered: the subjects of those that did not have no names.
template <class Self>
void name_all(Self* self, const std::vector<session_actor>& sessions,
              const std::vector<core::subject_id>& subjects,
              std::function<void(std::vector<named_user>& names, bool all_answered)> then) {
  struct open_names {
    std::vector<named_user> names;
    std::size_t missing = 0;
    bool all_answered = true;
    std::function<void(std::vector<named_user>&, bool)> then;
    void answered() {
      if (--missing == 0) then(names, all_answered);
    }
  };
  const auto shards = static_cast<std::uint32_t>(sessions.size());
  std::vector<std::vector<std::size_t>> of_shard(shards);
  for (std::size_t i = 0; i < subjects.size(); ++i)
    of_shard[shard_of(subjects[i].bytes[0], shards)].push_back(i);
  auto open = std::make_shared<open_names>();
  open->names.resize(subjects.size());
  open->then = std::move(then);
  for (const auto& indexes : of_shard) open->missing += !indexes.empty();
  if (open->missing == 0) return open->then(open->names, true);
  for (std::uint32_t shard = 0; shard < shards; ++shard) {
    auto& indexes = of_shard[shard];
    if (indexes.empty()) continue;
    name_subjects question;
    for (const auto i : indexes) question.subjects.push_back(subjects[i]);
    self->request(sessions[shard], peer_timeout, std::move(question))
        .then(
            [open, indexes = std::move(indexes)](const subjects_named& named) {
              for (std::size_t i = 0; i < indexes.size(); ++i)
                open->names[indexes[i]] = named.names[i];
              open->answered();
            },
            [open](const caf::error&) {
              open->all_answered = false;
              open->answered();
            });
  }
}

/// Calls `then` on `self`'s thread when every event whose user is still known has its user_id; a
/// shard that does not answer leaves its events unnamed.
template <class Self>
void name_events(Self* self, const std::vector<session_actor>& sessions,
                 std::shared_ptr<std::vector<core::event>> events, std::function<void()> then) {
  std::vector<core::subject_id> subjects;
  std::vector<std::size_t> indexes;
  for (std::size_t i = 0; i < events->size(); ++i) {
    const auto& each = (*events)[i];
    if (!each.subject || !each.user_id.empty()) continue;
    subjects.push_back(*each.subject);
    indexes.push_back(i);
  }
  name_all(self, sessions, subjects,
           [events, indexes = std::move(indexes), then = std::move(then)](
               std::vector<named_user>& names, bool) {
             for (std::size_t i = 0; i < indexes.size(); ++i)
               (*events)[indexes[i]].user_id = std::move(names[i].user_id);
             then();
           });
}

}  // namespace portcullis::actors

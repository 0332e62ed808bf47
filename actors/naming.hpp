// Fills in who events are about: asks the session actor of each shard concerned. For cold paths.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "actors/interfaces.hpp"
#include "actors/shards.hpp"
#include "actors/timeouts.hpp"

namespace portcullis::actors {

/// Calls `then` on `self`'s thread when every event whose user is still known has its user_id; a
/// shard that does not answer leaves its events unnamed.
template <class Self>
void name_events(Self* self, const std::vector<session_actor>& sessions,
                 std::shared_ptr<std::vector<core::event>> events, std::function<void()> then) {
  struct open_names {
    std::size_t missing = 0;
    std::function<void()> then;
  };
  const auto shards = static_cast<std::uint32_t>(sessions.size());
  std::vector<std::vector<std::size_t>> of_shard(shards);
  for (std::size_t i = 0; i < events->size(); ++i) {
    const auto& each = (*events)[i];
    if (each.subject && each.user_id.empty())
      of_shard[shard_of(each.subject->bytes[0], shards)].push_back(i);
  }
  auto open = std::make_shared<open_names>();
  open->then = std::move(then);
  for (const auto& indexes : of_shard) open->missing += !indexes.empty();
  if (open->missing == 0) return open->then();
  const auto done = [open] {
    if (--open->missing == 0) open->then();
  };
  for (std::uint32_t shard = 0; shard < shards; ++shard) {
    auto& indexes = of_shard[shard];
    if (indexes.empty()) continue;
    name_subjects question;
    for (const auto i : indexes) question.subjects.push_back(*(*events)[i].subject);
    self->request(sessions[shard], peer_timeout, std::move(question))
        .then(
            [events, indexes = std::move(indexes), done](const subjects_named& named) {
              for (std::size_t i = 0; i < indexes.size(); ++i)
                (*events)[indexes[i]].user_id = named.names[i].user_id;
              done();
            },
            [done](const caf::error&) { done(); });
  }
}

}  // namespace portcullis::actors

// The digest of the live state: the supervisor has all shards stand still, learns where the log
// ends, collects what each holds and lets them go on. One digest at a time.
#include "actors/shards.hpp"
#include "actors/supervisor.hpp"
#include "actors/timeouts.hpp"

namespace portcullis::actors {

caf::result<digest_answer> supervisor_state::on(const digest_request&) {
  auto promise = self_->make_response_promise<digest_answer>();
  digests_wanted_.push_back(promise);
  if (!digest_) next_digest();
  return promise;
}

/// Asks one of those that the step waits for. What fails, fails the digest, when all have answered.
template <class Answer, class Actor, class Question, class Take>
void supervisor_state::ask_for_digest(const Actor& whom, Question question,
                                      void (supervisor_state::*then)(), Take take) {
  const auto answered = [this, then] {
    if (--digest_->missing == 0) (this->*then)();
  };
  self_->request(whom, peer_timeout, std::move(question))
      .then(
          [answered, take = std::move(take)](Answer& answer) {
            take(answer);
            answered();
          },
          [this, answered](const caf::error&) {
            digest_->why = core::fail(core::error_code::OVERLOADED);
            answered();
          });
}

void supervisor_state::next_digest() {
  digest_.reset();
  if (digests_wanted_.empty()) return;
  auto& round = digest_.emplace();
  round.number = ++digests_;
  round.promise = std::move(digests_wanted_.front());
  digests_wanted_.pop_front();
  round.missing = all_.shards.size() + all_.breakers.size();
  round.shards.resize(all_.shards.size());
  const auto take = [this](stood_still& answer) {
    if (answer.why) digest_->why = answer.why;
  };
  for (const auto& each : all_.shards)
    ask_for_digest<stood_still>(each.session, stand_still{round.number},
                                &supervisor_state::all_still, take);
  for (const auto& each : all_.breakers)
    ask_for_digest<stood_still>(each, stand_still{round.number}, &supervisor_state::all_still,
                                take);
}

/// All that the shards did is on the disk: whatever else is logged from here on changes no state.
void supervisor_state::all_still() {
  if (digest_->why) return finish_digest();
  digest_->missing = 1;
  if (all_.fleet)
    return ask_for_digest<log_held>(all_.fleet, hold_log{digest_->number},
                                    &supervisor_state::take_digests, [this](log_held& at) {
                                      digest_->seq = at.seq;
                                      digest_->at_ms = at.at_ms;
                                    });
  query_log question;
  question.filter.after = ~std::uint64_t{0} >> 1;
  question.filter.limit = 1;
  ask_for_digest<log_queried>(all_.journal, std::move(question), &supervisor_state::take_digests,
                              [this](log_queried& end) {
                                digest_->why = end.why;
                                digest_->seq = end.committed_seq;
                                digest_->at_ms = end.committed_at_ms;
                              });
}

void supervisor_state::take_digests() {
  if (digest_->why) return finish_digest();
  auto& round = *digest_;
  round.missing = all_.shards.size() + all_.breakers.size();
  const take_digest question{round.number, round.at_ms};
  const auto went_on = [this] { digest_->why = core::fail(core::error_code::OVERLOADED); };
  for (const auto& each : all_.shards)
    ask_for_digest<digest_taken>(each.session, question, &supervisor_state::finish_digest,
                                 [this, went_on, shard = each.shard](digest_taken& answer) {
                                   if (answer.digests)
                                     digest_->shards[shard] = *answer.digests;
                                   else
                                     went_on();
                                 });
  for (const auto& each : all_.breakers)
    ask_for_digest<breakers_digested>(each, question, &supervisor_state::finish_digest,
                                      [this, went_on](breakers_digested& answer) {
                                        if (!answer.still) went_on();
                                        for (auto& breaker : answer.breakers)
                                          digest_->breakers.push_back(std::move(breaker));
                                      });
}

void supervisor_state::finish_digest() {
  auto& round = *digest_;
  for (const auto& each : all_.shards) self_->send(each.session, go_on{round.number});
  for (const auto& each : all_.breakers) self_->send(each, go_on{round.number});
  if (all_.fleet) self_->send(all_.fleet, go_on{round.number});
  digest_answer out{round.why, round.seq, {}};
  if (!out.why) {
    std::array<std::uint32_t, 256> owner{};
    for (std::size_t byte = 0; byte < owner.size(); ++byte)
      owner[byte] = shard_of(static_cast<std::uint8_t>(byte),
                             static_cast<std::uint32_t>(round.shards.size()));
    out.digest =
        core::digest_of_all(round.shards, owner, core::digest_breakers(std::move(round.breakers)));
  }
  round.promise.deliver(std::move(out));
  next_digest();
}

}  // namespace portcullis::actors

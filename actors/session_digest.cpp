// The session actor's part of a digest: it lets what is under way come to its end and takes nothing
// new meanwhile.
#include "actors/session.hpp"
#include "actors/timeouts.hpp"

namespace portcullis::actors {

caf::result<stood_still> session_shard::on(const stand_still& order) {
  if (store_trouble_) return stood_still{*store_trouble_};
  still_.begin(order.number, now_ms_);
  lockout_still_ = false;
  still_promise_ = self_->make_response_promise<stood_still>();
  look_whether_still();
  return still_promise_;
}

/// The lockout actor last: nothing can come to it any more, and what it told before comes first.
void session_shard::look_whether_still() {
  if (!still_ || !still_promise_.pending()) return;
  if (store_trouble_) {
    still_promise_.deliver(stood_still{*store_trouble_});
    return;
  }
  flush();
  if (!holds_.empty() || !tenant_operations_.empty() || outbox_->is_waiting() || asked_for_log_)
    return;
  if (lockout_still_) {
    still_promise_.deliver(stood_still{});
    return;
  }
  if (lockout_asked_) return;
  lockout_asked_ = true;
  self_->request(peers_.lockout, peer_timeout, stand_still{still_.number()})
      .then(
          [this, number = still_.number()](const stood_still&) {
            lockout_asked_ = false;
            lockout_still_ = still_.is_for(number);
            look_whether_still();
          },
          [this](const caf::error&) {
            lockout_asked_ = false;
            if (still_promise_.pending())
              still_promise_.deliver(stood_still{core::fail(core::error_code::OVERLOADED)});
          });
}

/// Whether it stands still for this digest: asked again after each answer, as it goes on by itself
/// when it has waited too long, and what was taken after that would be of another moment.
bool session_shard::stands_for(const take_digest& question) const noexcept {
  return still_.is_for(question.number) && lockout_still_;
}

caf::result<digest_taken> session_shard::on(const take_digest& question) {
  if (!stands_for(question)) return digest_taken{};
  auto promise = self_->make_response_promise<digest_taken>();
  auto out = std::make_shared<core::shard_digests>();
  out->sessions = core::digest_sessions(*state_, question.at_ms);
  out->tenants = core::digest_tenants(*state_);
  self_->request(peers_.directory, peer_timeout, list_directory{})
      .then(
          [this, promise, out, question](const core::directory_listing& listed) mutable {
            if (stands_for(question)) {
              out->directory = core::digest_directory(*state_, listed, question.at_ms);
              add_lockouts(question, out, promise);
            } else {
              promise.deliver(digest_taken{});
            }
          },
          [promise](const caf::error&) mutable { promise.deliver(digest_taken{}); });
  return promise;
}

void session_shard::add_lockouts(const take_digest& question,
                                 const std::shared_ptr<core::shard_digests>& to,
                                 caf::typed_response_promise<digest_taken> promise) {
  self_->request(peers_.lockout, peer_timeout, question)
      .then(
          [this, promise, to, question](const lockouts_digested& counters) mutable {
            const bool good = counters.digests && stands_for(question);
            if (good) to->lockouts = *counters.digests;
            promise.deliver(good ? digest_taken{to} : digest_taken{});
          },
          [promise](const caf::error&) mutable { promise.deliver(digest_taken{}); });
}

void session_shard::on(const go_on& order) {
  if (!still_.is_for(order.number)) return;
  still_.end();
  if (still_promise_.pending())
    still_promise_.deliver(stood_still{core::fail(core::error_code::OVERLOADED)});
  if (std::exchange(lockout_still_, false) || lockout_asked_) self_->send(peers_.lockout, order);
  for (auto& batch : std::exchange(kept_, {})) on(batch);
}

}  // namespace portcullis::actors

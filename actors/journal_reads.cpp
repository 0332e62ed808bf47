// What the journal is asked, and answers between commits in slices.
#include <limits>

#include "actors/journal.hpp"
#include "actors/shard_loader.hpp"
#include "actors/stopwatch.hpp"
#include "monitoring/log.hpp"
#include "store/retention.hpp"

namespace portcullis::actors {

using monitoring::store_operation;

void journal_worker::add_job(read_job job) {
  jobs_.push_back(std::move(job));
  if (slice_sent_) return;
  slice_sent_ = true;
  self_->send(self_, slice_atom::value);
}

void journal_worker::slice() {
  slice_sent_ = false;
  if (jobs_.empty()) return;
  auto job = std::move(jobs_.front());
  jobs_.pop_front();
  if (!job.step()) jobs_.push_back(std::move(job));
  if (jobs_.empty()) return;
  slice_sent_ = true;
  self_->send(self_, slice_atom::value);
}

caf::result<sessions_read> journal_worker::on(read_sessions& question) {
  auto promise = self_->make_response_promise<sessions_read>();
  auto out = std::make_shared<sessions_read>();
  add_job({[this, promise, out, seqs = std::move(question.seqs), at = std::size_t{0}]() mutable {
    constexpr std::size_t rows_a_slice = 100;
    const auto count = std::min(rows_a_slice, seqs.size() - at);
    const stopwatch watch;
    auto rows = options_.log->read_sessions(std::span(seqs).subspan(at, count));
    tallies_.took(store_operation::sessions, watch.ns());
    at += count;
    if (!rows) {
      fail(store_operation::sessions, rows.error());
      out->why = rows.error();
    } else {
      for (auto& row : *rows) out->rows.push_back(std::move(row));
      if (at < seqs.size()) return false;
    }
    promise.deliver(std::move(*out));
    return true;
  }});
  return promise;
}

caf::result<log_queried> journal_worker::on(query_log& question) {
  auto promise = self_->make_response_promise<log_queried>();
  const auto limit = question.filter.limit;
  auto query = std::make_shared<store::event_query>(*options_.log, std::move(question.filter));
  add_job({[this, promise, query, limit]() mutable {
    const stopwatch watch;
    const auto went = query->step();
    tallies_.took(store_operation::query, watch.ns());
    log_queried out;
    if (!went) {
      fail(store_operation::query, went.error());
      out.why = went.error();
    } else if (*went == store::progress::more) {
      return false;
    }
    out.events = std::move(query->rows());
    out.scanned_seq = query->scanned_seq();
    out.committed_seq = options_.log->committed_seq();
    out.committed_at_ms = options_.log->committed_at_ms();
    out.cut_seq = options_.log->cut_seq();
    out.at_end = out.events.size() < limit;
    promise.deliver(std::move(out));
    return true;
  }});
  return promise;
}

caf::result<found_in_store> journal_worker::on(find_in_store& question) {
  auto promise = self_->make_response_promise<found_in_store>();
  auto find = std::make_shared<store::session_find>(*options_.log, std::move(question.filter));
  add_job({[this, promise, find]() mutable {
    const stopwatch watch;
    const auto went = find->step();
    tallies_.took(store_operation::find, watch.ns());
    found_in_store out;
    if (!went) {
      fail(store_operation::find, went.error());
      out.why = went.error();
    } else if (*went == store::progress::more) {
      return false;
    }
    out.rows = std::move(find->rows());
    out.at_end = find->at_end();
    promise.deliver(std::move(out));
    return true;
  }});
  return promise;
}

caf::result<backup_done> journal_worker::on(back_up& order) {
  auto promise = self_->make_response_promise<backup_done>();
  auto begun = store::backup::begin(*options_.log, std::move(order.path));
  if (!begun) {
    backup_done out;
    out.why = begun.error();
    promise.deliver(std::move(out));
    return promise;
  }
  std::shared_ptr<store::backup> copy = std::move(*begun);
  add_job({[this, promise, copy]() mutable {
    const stopwatch watch;
    const auto went = copy->step();
    tallies_.took(store_operation::backup, watch.ns());
    backup_done out;
    if (!went) {
      fail(store_operation::backup, went.error());
      out.why = went.error();
    } else if (*went == store::progress::more) {
      return false;
    } else {
      out.seq = copy->seq();
      out.bytes = copy->bytes();
    }
    promise.deliver(std::move(out));
    return true;
  }});
  return promise;
}

namespace {

class ring_rewrapper final : public store::journal::rewrapper {
 public:
  ring_rewrapper(const core::key_material& keys, const core::random_source& random)
      : keys_(keys), random_(random) {}
  bool rewrap(core::user_row& row) override { return core::wrap_anew(row, keys_, random_); }

 private:
  const core::key_material& keys_;
  const core::random_source& random_;
};

}  // namespace

caf::result<keys_rewrapped> journal_worker::on(rewrap_keys& order) {
  auto promise = self_->make_response_promise<keys_rewrapped>();
  add_job({[this, promise, keys = std::move(order.keys), after = std::uint64_t{0}]() mutable {
    ring_rewrapper with(*keys, options_.random);
    keys_rewrapped out;
    const auto next = options_.log->rewrap_users(after, with);
    if (!next) {
      fail(store_operation::commit, next.error());
      out.why = next.error();
    } else if ((after = *next) != 0) {
      return false;
    }
    promise.deliver(std::move(out));
    return true;
  }});
  return promise;
}

shards_loaded journal_worker::on(const load_shards& question) {
  flush_now();
  shards_loaded out;
  // What other nodes have decided cannot be applied to an image alone; a start reads it anew.
  if (peers_.fleet && !queue_.empty()) {
    out.why = core::fail(core::error_code::STORE_UNAVAILABLE, {}, "waiting");
    return out;
  }
  const stopwatch watch;
  auto images = load_shards_from(*options_.log, question.shards, options_.shards,
                                 std::numeric_limits<std::uint32_t>::max());
  tallies_.took(store_operation::load, watch.ns());
  if (!images) {
    fail(store_operation::load, *(out.why = images.error()));
    return out;
  }
  out.images = std::move(*images);
  // What waits for space has happened, too, and its word will go to who is no more.
  for (std::size_t i = 0; i < out.images.size(); ++i)
    apply_waiting(*out.images[i], question.shards[i], queue_);
  return out;
}

tenants_read journal_worker::on(const read_tenants&) {
  flush_now();
  tenants_read out;
  const stopwatch watch;
  auto tenants = tenant_generations_of(*options_.log);
  tallies_.took(store_operation::load, watch.ns());
  if (tenants)
    out.tenants = std::move(*tenants);
  else
    fail(store_operation::load, *(out.why = tenants.error()));
  return out;
}

breakers_loaded journal_worker::on(const load_breakers& question) {
  flush_now();
  breakers_loaded out;
  const stopwatch watch;
  auto breakers = load_breakers_from(*options_.log);
  tallies_.took(store_operation::load, watch.ns());
  if (!breakers) {
    fail(store_operation::load, *(out.why = breakers.error()));
    return out;
  }
  out.position = options_.log->last_seq();
  for (const auto& batch : queue_) {  // what waits for space has happened, too
    if (!batch->of_breakers && !batch->numbered) continue;
    for (const auto& each : batch->events) breakers->apply(each);
    for (const auto& each : batch->sources) breakers->put(each);
    if (!batch->events.empty()) out.position = std::max(out.position, batch->events.back().seq);
  }
  for (auto& each : breakers->take())
    if (shard_of_service(each.record.service, options_.shards) == question.shard)
      out.breakers.push_back(std::move(each));
  return out;
}

commits_done journal_worker::on(const await_commits&) {
  flush_now();
  return {};
}

// --- retention

/// Once in a while, where something is written anyway: a node at rest has nothing to cut.
void journal_worker::retain_if_due() {
  if (!options_.signer || retaining_) return;
  const auto now_ms = options_.clock->now_ms();
  if (now_ms - retained_at_ms_ < core::limits::retention_every_ms) return;
  retained_at_ms_ = now_ms;
  retaining_ = true;
  if (options_.touches_kept_ms == 0) return cut_log();
  add_retention(
      std::make_shared<store::touch_dropper>(*options_.log, now_ms - options_.touches_kept_ms),
      &journal_worker::cut_log);
}

void journal_worker::cut_log() {
  if (options_.events_kept_ms == 0 || log_is_corrupt_) return retention_done();
  cut_told_ = options_.log->cut_seq();
  add_retention(
      std::make_shared<store::log_cutter>(*options_.log, *options_.signer,
                                          options_.clock->now_ms() - options_.events_kept_ms,
                                          store::log_cutter::apart_ms(options_.events_kept_ms)),
      &journal_worker::log_is_cut);
}

void journal_worker::log_is_cut() {
  retention_done();
  const auto cut = options_.log->cut_seq();
  if (cut == cut_told_) return;
  cut_told_ = cut;
  monitoring::log::write(
      core::log_level::info, monitoring::component::store,
      "Events past store.event_retention_h were cut off; checkpoints kept from before "
      "cannot be compared any more.",
      {{"event.action", "events_cut"}, {"seq", static_cast<std::int64_t>(cut)}});
  if (peers_.fleet) self_->send(peers_.fleet, log_was_cut{cut});
}

snapshot_read journal_worker::on(const read_snapshot& question) {
  flush_now();  // not within a transaction
  auto part = options_.log->read_snapshot_part(question.part);
  if (!part) return {0, {}, part.error()};
  return {options_.log->cut_seq(), *std::move(part), std::nullopt};
}

/// What cannot be vouched for is not signed: it stays, for verify to find, until somebody has
/// looked into it and started the node again.
void journal_worker::retention_failed(const core::error& why) {
  retention_done();
  if (why.code != core::error_code::LOG_CORRUPT) return;
  log_is_corrupt_ = true;
  monitoring::log::write(
      core::log_level::error, monitoring::component::store,
      "The log was damaged or changed: nothing more is cut off. Run verify.",
      {{"event.action", "log_damaged"}, {"rule", std::string(why.rule)}, {"seq", why.limit}});
}

/// What fails, a full disk above all, is tried again the next time.
template <class Job>
void journal_worker::add_retention(std::shared_ptr<Job> work, void (journal_worker::*then)()) {
  add_job({[this, work = std::move(work), then]() mutable {
    if (dead_) return true;
    if (degraded_) {
      retention_done();
      return true;
    }
    const stopwatch watch;
    const auto went = work->step();
    tallies_.took(store_operation::retention, watch.ns());
    move_log_if_wanted();  // each page that it frees goes there, and there may be no other commit
    if (went && *went == store::progress::more) return false;
    if (!went) {
      fail(store_operation::retention, went.error());
      retention_failed(went.error());
    } else {
      (this->*then)();
    }
    return true;
  }});
}

}  // namespace portcullis::actors

#include "actors/fleet.hpp"

#include <algorithm>

#include "actors/handlers.hpp"
#include "actors/shards.hpp"
#include "monitoring/log.hpp"

namespace portcullis::actors {
namespace {

constexpr auto stop_patience = std::chrono::seconds(5);
constexpr auto journal_patience = std::chrono::seconds(30);

/// Whether a shard may be told of it by whom it is about.
std::optional<std::uint8_t> routing_byte_of(const core::event& what) {
  if (what.subject) return what.subject->bytes[0];
  if (what.handle) return what.handle->bytes[0];
  return std::nullopt;
}

/// Whether breaker actors have to know.
bool is_of_breakers(const event_batch& batch) {
  return batch.of_breakers ||
         std::any_of(batch.events.begin(), batch.events.end(), [](const core::event& each) {
           return !core::service_of(each).empty() || each.type() == core::event_type::calls_tallied;
         });
}

bool is_of_all(const core::event& what) {
  const auto* revoked = std::get_if<core::session_revoked>(&what.body);
  return (revoked != nullptr && revoked->scope == core::revoke_scope::tenant) ||
         what.type() == core::event_type::source_limited;
}

}  // namespace

fleet_actor::behavior_type fleet_behaviour(fleet_self* self, fleet_options options) {
  set_default_handlers(self);
  self->state.start(self, std::move(options));
  auto& state = self->state;
  return {
      [&state](log_events& order) { state.on(order); },
      [&state](catch_up& question) { state.on(question); },
      [&state](load_shards& question) { return state.on(question); },
      [&state](read_tenants& question) { return state.on(question); },
      [&state](load_breakers& question) { return state.on(question); },
      [&state](await_commits& question) { return state.on(question); },
      [&state](collect_fleet& question) { return state.on(question); },
      [&state](list_members& question) { return state.on(question); },
      [&state](hold_log& order) { return state.on(order); },
      [&state](login_changed& change) { state.on(change); },
      [&state](log_was_cut& change) { state.on(change); },
      [&state](go_on& order) { state.on(order); },
      [&state](shard_down& change) { state.on(change); },
      [&state](breakers_down& change) { state.on(change); },
      [&state](node_peers& peers) { state.on(peers); },
      [&state](flush_atom) { state.close(); },
      [&state](stop_atom) { return state.stop(); },
  };
}

void fleet_link::start(fleet_self* self, fleet_options options) {
  self_ = self;
  options_ = std::move(options);
  position_ = options_.position;
  last_at_ms_ = options_.last_at_ms;
  tallies_.incarnation = 1;
}

void fleet_link::on(node_peers& peers) {
  const auto before = std::exchange(peers_, std::move(peers));
  kept_.resize(peers_.sessions.size());
  for (std::size_t shard = 0; shard < before.sessions.size(); ++shard) {
    if (before.sessions[shard] == peers_.sessions[shard] || !kept_[shard]) continue;
    auto kept = std::exchange(kept_[shard], std::nullopt);
    for (auto& each : *kept) self_->send(peers_.sessions[shard], std::move(each));
    if (store_told_) self_->send(peers_.sessions[shard], *store_told_);
  }
  kept_for_breakers_.resize(peers_.breakers.size());
  for (std::size_t shard = 0; shard < before.breakers.size(); ++shard) {
    if (before.breakers[shard] == peers_.breakers[shard] || !kept_for_breakers_[shard]) continue;
    auto kept = std::exchange(kept_for_breakers_[shard], std::nullopt);
    for (auto& each : *kept) self_->send(peers_.breakers[shard], std::move(each));
    // What it missed, or was told only the one before it.
    if (store_told_) self_->send(peers_.breakers[shard], *store_told_);
    self_->send(peers_.breakers[shard], news_for_breakers({}));
  }
  if (!log_) open();
}

/// On its own loop, once the others are there.
void fleet_link::open() {
  auto opened = options_.open(*this, position_);
  if (!opened) return options_.fatal(opened.error());
  log_ = *std::move(opened);
}

void fleet_link::on(const login_changed& change) {
  if (log_) log_->replace_login({change.user, change.password});
}

/// What one node has cut is cut for all, and stays for who comes later as a snapshot.
void fleet_link::on(const log_was_cut& change) {
  cut_seq_ = std::max(cut_seq_, change.seq);
  publish_cut();
}

void fleet_link::publish_cut() {
  if (!sweeps_ || !log_ || publishing_ || cut_seq_ <= published_seq_) return;
  publishing_ = true;
  publish(cut_seq_, 0);
}

void fleet_link::publish(std::uint64_t seq, std::uint64_t part) {
  const auto end = [this] { publishing_ = false; };  // tried again after a heartbeat
  self_->request(peers_.journal, journal_patience, read_snapshot{part})
      .then(
          [this, seq, part, end](const snapshot_read& read) {
            if (!log_ || read.why || read.seq != seq) return end();  // it is cut anew
            if (read.part.empty() && part > 0)
              return log_->cut(seq, [this, seq, end](bool done) {
                end();
                if (!done) return;
                published_seq_ = seq;
                monitoring::log::write(
                    core::log_level::info, monitoring::component::store,
                    "A snapshot stands for what was cut off the shared log.",
                    {{"event.action", "snapshot_taken"}, {"seq", static_cast<std::int64_t>(seq)}});
              });
            log_->add_snapshot_part(seq, part, read.part, [this, seq, part, end](bool there) {
              if (!there) return end();
              publish(seq, part + 1);
            });
          },
          [end](const caf::error&) { end(); });
}

void fleet_link::on(const shard_down& change) {
  if (!kept_.at(change.shard)) kept_[change.shard].emplace();
}

void fleet_link::on(const breakers_down& change) {
  if (!kept_for_breakers_.at(change.shard)) kept_for_breakers_[change.shard].emplace();
}

// --- to the log

void fleet_link::on(log_events& order) {
  auto batch = std::move(order.batch);
  if (!batch->events.empty()) return append(std::move(batch));
  // Of this node's own store alone.
  batch->numbered = true;
  self_->send(peers_.journal, log_events{std::move(batch)});
}

void fleet_link::append(batch_ptr batch) {
  if (!log_) return;  // it has stopped: as after a crash
  store::fleet::unit what;
  what.events = batch->events;
  what.tags = batch->tags;
  what.as_of = batch->as_of;
  what.checked = batch->exact || (batch->durable && !batch->tags.writes.empty());
  what.exact = batch->exact;
  what.users = batch->users;
  what.forgotten = batch->forgotten;
  std::vector<store::fleet::unit> units;
  units.push_back(std::move(what));
  last_number_ = log_->append(std::move(units));
  sent_.emplace(last_number_, std::move(batch));
}

void fleet_link::refused(const store::fleet::refusal& what) {
  if (!log_) return;
  const auto found = sent_.find(what.number);
  if (found == sent_.end()) return;
  const auto batch = std::move(found->second);
  sent_.erase(found);
  if (what.overtaken)
    ++tallies_.overtaken;
  else
    ++tallies_.refused;
  const decision_refused told{batch, what.overtaken, what.end, what.why};
  if (batch->shard == event_batch::node)
    self_->send(peers_.journal, told);
  else if (!batch->of_breakers)
    self_->send(peers_.sessions[batch->shard], told);
  if (batch->of_breakers) {
    self_->send(peers_.breakers[batch->shard], told);
    breakers_want_ = std::max(breakers_want_, what.end);
    if (breakers_know_ < breakers_want_ && breakers_want_ <= position_) tell_breakers({});
  }
  look_who_waits();
}

// --- from the log

batch_ptr fleet_link::batch_of(store::fleet::entry& from) {
  if (from.own) {
    const auto found = sent_.find(from.name.number);
    auto batch = std::move(found->second);
    sent_.erase(found);
    return batch;
  }
  auto batch = std::make_shared<event_batch>();
  batch->events = std::move(from.events);
  batch->users = std::move(from.users);
  batch->writer = number_of(from.name.writer);
  return batch;
}

/// From here on it is shared with other threads, and does not change.
void fleet_link::number(event_batch& batch, std::uint64_t first_seq) {
  batch.numbered = true;
  for (auto& each : batch.events) {
    each.seq = first_seq++;
    last_at_ms_ = std::max(last_at_ms_, each.decided_at_ms);
    each.at_ms = last_at_ms_;
    if (each.type() == core::event_type::session_created) each.session_seq = each.seq;
  }
}

/// Whom a batch concerns.
std::vector<bool> fleet_link::shards_of(const event_batch& batch) const {
  const auto shards = static_cast<std::uint32_t>(peers_.sessions.size());
  std::vector<bool> concerned(shards, false);
  if (batch.shard < shards && !batch.of_breakers) concerned[batch.shard] = true;
  for (const auto& row : batch.users) concerned[shard_of(row.subject.bytes[0], shards)] = true;
  for (const auto& each : batch.events) {
    if (is_of_all(each)) concerned.assign(shards, true);
    if (const auto byte = routing_byte_of(each)) concerned[shard_of(*byte, shards)] = true;
    if (const auto* touched = std::get_if<core::session_touched>(&each.body))
      for (const auto& touch : touched->touches)
        concerned[shard_of(touch.handle.bytes[0], shards)] = true;
  }
  return concerned;
}

void fleet_link::read(std::vector<store::fleet::entry> entries, std::uint64_t position,
                      std::int64_t fresh_ns) {
  if (!log_) return;  // it has stopped
  if (still_.forgotten(options_.clock->now_ms())) on(go_on{still_.number()});
  if (still_)
    held_.push_back({std::move(entries), position, fresh_ns});
  else
    tell(std::move(entries), position, fresh_ns);
}

log_held fleet_link::on(const hold_log& order) {
  still_.begin(order.number, options_.clock->now_ms());
  return {position_, last_at_ms_};
}

void fleet_link::on(const go_on& order) {
  if (!still_.is_for(order.number)) return;
  still_.end();
  for (auto& each : std::exchange(held_, {}))
    tell(std::move(each.entries), each.position, each.fresh_ns);
}

void fleet_link::tell(std::vector<store::fleet::entry> entries, std::uint64_t position,
                      std::int64_t fresh_ns) {
  std::vector<log_advanced> news(peers_.sessions.size());
  std::vector<batch_ptr> of_breakers;
  for (auto& entry : entries) {
    const auto first = entry.first_seq();
    ++(entry.own ? tallies_.own_entries : tallies_.others_entries);
    auto batch = batch_of(entry);
    number(*batch, first);
    // Before any shard can decide by this place of the log: what it knows of aliases is no older.
    for (const auto& each : batch->events) options_.aliases->keep(each);
    const auto concerned = shards_of(*batch);
    for (std::size_t shard = 0; shard < news.size(); ++shard)
      if (concerned[shard]) news[shard].batches.push_back(batch);
    if (is_of_breakers(*batch)) of_breakers.push_back(batch);
    self_->send(peers_.journal, log_events{std::move(batch)});
  }
  if (const auto told = std::exchange(options_.first_read, {})) told();
  position_ = position;
  tallies_.position = position;
  fresh_ns_ = fresh_ns;
  for (std::size_t shard = 0; shard < news.size(); ++shard) {
    auto& each = news[shard];
    each.position = position;
    each.at_ms = last_at_ms_;
    each.fresh_ns = fresh_ns;
    each.sweeps = sweeps_;
    if (kept_[shard])
      kept_[shard]->push_back(std::move(each));
    else
      self_->send(peers_.sessions[shard], std::move(each));
  }
  // How far the log is without them they need to know now and then only.
  if (!of_breakers.empty() || breakers_know_ < std::min(breakers_want_, position) ||
      position - breakers_know_ > core::limits::fleet_breaker_lag_events)
    tell_breakers(std::move(of_breakers));
  tell_caught_up();
  look_who_waits();
}

log_advanced fleet_link::news_for_breakers(std::vector<batch_ptr> batches) const {
  return {std::move(batches), position_, last_at_ms_, fresh_ns_, sweeps_, live_};
}

void fleet_link::tell_breakers(std::vector<batch_ptr> batches) {
  breakers_know_ = position_;
  const auto news = news_for_breakers(std::move(batches));
  for (std::size_t shard = 0; shard < peers_.breakers.size(); ++shard) {
    if (kept_for_breakers_[shard])
      kept_for_breakers_[shard]->push_back(news);
    else
      self_->send(peers_.breakers[shard], news);
  }
}

void fleet_link::reached(bool reachable, const core::error& why) {
  if (!log_) return;
  reachable_ = reachable;
  tell_store(!reachable, why);
  // What stands up to there will not be read soon; or it was another server's end.
  const auto lost = core::fail(core::error_code::STORE_UNAVAILABLE, {}, "not_connected");
  for (const auto& each : std::exchange(ends_, {}))
    for (const auto& who : each.who) answer(who, caught_up{lost});
  if (reachable != degraded_) return;
  degraded_ = !reachable;
  auto batch = std::make_shared<event_batch>();
  core::event what;
  what.decided_at_ms = options_.clock->now_ms();
  if (reachable)
    what.body = core::store_recovered{};
  else
    what.body = core::store_degraded{std::string(core::describe(why.code).name)};
  batch->events.push_back(std::move(what));
  append(std::move(batch));
  look_who_waits();
}

void fleet_link::tell_store(bool degraded, const core::error& why) {
  const store_state_changed change{
      degraded, degraded ? core::fail(core::error_code::STORE_UNAVAILABLE, {}, why.rule) : why};
  for (const auto& session : peers_.sessions) self_->send(session, change);
  store_told_ = change;
  for (const auto& breakers : peers_.breakers) self_->send(breakers, change);
  for (const auto& gateway : peers_.gateways) self_->send(gateway, change);
  if (peers_.log) self_->send(peers_.log, change);
}

void fleet_link::broken(const core::error& why) { options_.fatal(why); }

// --- who wants to know all that there is

void fleet_link::on(const catch_up& question) {
  wants_end_.push_back(question);
  if (!asking_end_) ask_for_end();
}

/// One question at a time, for all who ask meanwhile: those who come later need the next one.
void fleet_link::ask_for_end() {
  if (wants_end_.empty() || !log_) return;
  asking_end_ = true;
  log_->ask_for_end([this, who = std::exchange(wants_end_, {})](
                        const core::result<std::uint64_t>& end) mutable {
    asking_end_ = false;
    if (end && reachable_) {
      ends_.push_back({*end, std::move(who)});
      tell_caught_up();
    } else {
      const auto why =
          end ? core::fail(core::error_code::STORE_UNAVAILABLE, {}, "not_connected") : end.error();
      for (const auto& each : who) answer(each, caught_up{why});
    }
    ask_for_end();
  });
}

void fleet_link::answer(const catch_up& who, caught_up what) {
  what.life = who.life;
  if (who.of_gateway)
    self_->send(peers_.gateways[who.shard], std::move(what));
  else if (who.of_breakers)
    self_->send(peers_.breakers[who.shard], std::move(what));
  else
    self_->send(peers_.sessions[who.shard], std::move(what));
}

void fleet_link::tell_caught_up() {
  while (!ends_.empty() && ends_.front().end <= position_) {
    for (const auto& each : ends_.front().who) answer(each, caught_up{});
    ends_.pop_front();
  }
}

// --- who waits for all that came before

template <class Answer, class Question>
caf::result<Answer> fleet_link::behind_all(Question& question) {
  auto promise = self_->template make_response_promise<Answer>();
  behind_.push_back(
      {last_number_, false, [this, promise, question = std::move(question)]() mutable {
         self_->request(peers_.journal, journal_patience, std::move(question))
             .then([promise](Answer& answer) mutable { promise.deliver(std::move(answer)); },
                   [promise](caf::error& why) mutable { promise.deliver(std::move(why)); });
       }});
  look_who_waits();
  return promise;
}

bool fleet_link::is_through(const behind& what) const {
  return std::none_of(sent_.begin(), sent_.upper_bound(what.number), [&](const auto& sent) {
    return what.all || sent.second->durable || sent.second->exact;
  });
}

void fleet_link::look_who_waits() {
  while (!behind_.empty() && is_through(behind_.front())) {
    auto next = std::move(behind_.front());
    behind_.pop_front();
    next.go();
  }
}

caf::result<shards_loaded> fleet_link::on(load_shards& question) {
  return behind_all<shards_loaded>(question);
}
caf::result<tenants_read> fleet_link::on(read_tenants& question) {
  return behind_all<tenants_read>(question);
}
/// While the store is away nothing that was sent comes to stand in the log soon. When it does, the
/// new actor is told, as of what another life decided.
caf::result<breakers_loaded> fleet_link::on(load_breakers& question) {
  return behind_all<breakers_loaded>(question);
}
caf::result<commits_done> fleet_link::on(await_commits& question) {
  return behind_all<commits_done>(question);
}

fleet_collected fleet_link::on(const collect_fleet&) const {
  auto tallies = tallies_;
  tallies.reachable = reachable_;
  tallies.stale_ns = options_.clock->mono_ns() - fresh_ns_;
  tallies.in_flight = sent_.size();
  if (log_) {
    const auto counts = log_->counts();
    tallies.commands = counts.commands;
    tallies.timeouts = counts.timeouts;
    tallies.connects = counts.connects;
    tallies.losses = counts.losses;
  }
  return {tallies, self_->mailbox().size()};
}

/// What was decided gets some time to come to the log; what does not is as after a crash.
caf::result<bool> fleet_link::stop() {
  stopping_ = self_->make_response_promise<bool>();
  // Not from in there: who tells it may be the shared log itself, which then goes.
  behind_.push_back({last_number_, true, [this] { self_->send(self_, flush_atom::value); }});
  self_->delayed_send(self_, stop_patience, flush_atom::value);
  look_who_waits();
  return *stopping_;
}

void fleet_link::close() {
  if (!log_ || !stopping_) return;
  if (!std::exchange(leaves_, true)) {
    all_told_ = sent_.empty();  // what comes from here on comes too late
    if (reachable_) return log_->leave([this] { self_->send(self_, flush_atom::value); });
  }
  log_.reset();
  self_->request(peers_.journal, journal_patience, stop_atom::value)
      .then([promise = *stopping_,
             all = all_told_](bool closed) mutable { promise.deliver(closed && all); },
            [promise = *stopping_](const caf::error&) mutable { promise.deliver(false); });
}

}  // namespace portcullis::actors

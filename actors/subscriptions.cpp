#include "actors/subscriptions.hpp"

#include "actors/cursors.hpp"
#include "actors/handlers.hpp"
#include "actors/naming.hpp"
#include "actors/timeouts.hpp"
#include "core/event/codec.hpp"

namespace portcullis::actors {
namespace {

constexpr auto tick_every = std::chrono::milliseconds(100);
constexpr std::size_t query_events = 500;

}  // namespace

subscriptions_actor::behavior_type subscriptions_behaviour(subscriptions_self* self,
                                                           subscriptions_options options) {
  set_default_handlers(self);
  self->state.start(self, std::move(options));
  auto& state = self->state;
  self->delayed_send(self, tick_every, tick_atom::value);
  return {
      [&state](events_published& published) { state.on(published); },
      [&state](struct subscribe& request) { state.on(request); },
      [&state](struct unsubscribe& request) { state.on(request); },
      [&state](connection_gone& gone) { state.on(gone); },
      [&state](collect_subscriptions& question) { return state.on(question); },
      [&state](shard_moved& moved) { state.on(moved); },
      [](crash_atom) { throw_on_request(); },
      [self](tick_atom) {
        self->state.tick();
        self->delayed_send(self, tick_every, tick_atom::value);
      },
  };
}

void subscriptions_loop::start(subscriptions_self* self, subscriptions_options options) {
  self_ = self;
  options_ = std::move(options);
  tallies_.incarnation = 1;
}

void subscriptions_loop::interest() {
  const bool wanted = !subscriptions_.empty();
  if (wanted == interested_) return;
  interested_ = wanted;
  forget_recent();
  arrivals_.clear();
  arriving_events_ = 0;
  self_->send(options_.hub, interest_changed{options_.loop, wanted});
}

void subscriptions_loop::on(struct subscribe& order) {
  const auto& params = std::get<core::subscribe_events>(order.request.what.params);
  const auto refuse = [&](core::error why) {
    options_.connections->answer(order.request.to,
                                 core::failed{why, order.request.what.correlation_id});
  };
  auto selection = select_events(*order.request.who, params.types, params.tenant_id);
  if (!selection) return refuse(selection.error());
  std::optional<std::uint64_t> after;
  if (params.after) {
    after = params.after->empty() ? std::nullopt : read_cursor(cursor_kind::events, *params.after);
    if (!after) return refuse(core::fail(core::error_code::CURSOR_INVALID, "after"));
  }
  std::size_t of_connection = 0;
  for (const auto& [number, each] : subscriptions_)
    of_connection += each.connection == order.request.from;
  if (of_connection >= core::limits::subscriptions_per_connection_max)
    return refuse(core::fail(core::error_code::SUBSCRIPTION_LIMIT, {}, "connection",
                             core::limits::subscriptions_per_connection_max));
  if (subscriptions_.size() >= core::limits::subscriptions_per_loop_max)
    return refuse(core::fail(core::error_code::SUBSCRIPTION_LIMIT, {}, "node",
                             core::limits::subscriptions_per_loop_max));

  const auto number = ++last_number_;
  auto& made = subscriptions_[number];
  made.id = "sub-" + std::to_string(number);
  made.connection = order.request.from;
  made.selection = std::move(*selection);
  made.querying = true;
  // First the hub, then the journal: whatever is not in the journal's answer yet will be published
  // to us.
  interest();
  query_log question;
  question.filter.after = ~std::uint64_t{0} >> 1;
  question.filter.limit = 1;
  self_->request(options_.journal, peer_timeout, std::move(question))
      .then([this, number, request = order.request,
             after](const log_queried& now) { begin(number, now, request, after); },
            [this, number, request = order.request](const caf::error&) {
              options_.connections->answer(request.to,
                                           core::failed{core::fail(core::error_code::STORE_TIMEOUT),
                                                        request.what.correlation_id});
              subscriptions_.erase(number);
              interest();
            });
}

void subscriptions_loop::begin(std::uint64_t number, const log_queried& log, inbound request,
                               std::optional<std::uint64_t> after) {
  const auto committed = log.committed_seq;
  const auto found = subscriptions_.find(number);
  if (found == subscriptions_.end()) return;  // its connection went away
  auto& made = found->second;
  const bool beyond = after && *after > committed, cut = after && *after < log.cut_seq;
  if (beyond || cut) {
    const auto why =
        cut ? cursor_expired(log.cut_seq) : core::fail(core::error_code::CURSOR_INVALID, "after");
    options_.connections->answer(request.to, core::failed{why, request.what.correlation_id});
    subscriptions_.erase(found);
    return interest();
  }
  made.querying = false;
  made.position = after.value_or(committed);
  made.said_at_ms = options_.clock->now_ms();
  // The reply comes before the first event.
  options_.connections->answer(
      request.to, core::subscribed{made.id, make_cursor(cursor_kind::events, made.position)});
  published_seq_ = std::max(published_seq_, committed);
  pump(number);
}

void subscriptions_loop::on(struct unsubscribe& order) {
  const auto& params = std::get<core::unsubscribe_events>(order.request.what.params);
  for (const auto& [number, each] : subscriptions_) {
    if (each.connection != order.request.from || each.id != params.subscription) continue;
    options_.connections->answer(order.request.to, core::done{});
    subscriptions_.erase(number);
    return interest();
  }
  options_.connections->answer(order.request.to,
                               core::failed{core::fail(core::error_code::SUBSCRIPTION_NOT_FOUND),
                                            order.request.what.correlation_id});
}

void subscriptions_loop::on(const connection_gone& gone) {
  std::erase_if(subscriptions_,
                [&](const auto& entry) { return entry.second.connection == gone.id; });
  interest();
}

bool subscriptions_loop::clogged(const subscription& of) const {
  return options_.connections->unread(of.connection) >= core::limits::unread_pause_bytes;
}

/// False: nothing more may be queued for this reader now.
bool subscriptions_loop::deliver(subscription& to, const core::event& what) {
  if (what.seq <= to.position) return true;
  if (!to.selection.passes(what)) {
    to.position = what.seq;
    return true;
  }
  if (clogged(to)) return false;
  scratch_.clear();
  line_.clear();
  core::append_shown(scratch_, what, options_.node_id, what.user_id);
  to.position = what.seq;
  options_.codec.event(line_, to.id, make_cursor(cursor_kind::events, to.position),
                       scratch_.view());
  options_.connections->push(to.connection, line_.view());
  to.said_at_ms = options_.clock->now_ms();
  return true;
}

void subscriptions_loop::on(const events_published& published) {
  if (!interested_) return;
  auto came = std::make_shared<arrival>();
  for (const auto& batch : published.batches) {
    if (batch->events.empty()) continue;
    came->events += batch->events.size();
    came->batches.push_back(batch);
    for (const auto& what : batch->events)
      if (what.subject && what.user_id.empty()) came->named = false;
  }
  if (came->batches.empty()) return;
  if (arriving_events_ + came->events > core::limits::recent_events_max && !arrivals_.empty()) {
    // Names do not come as fast as events: the journal serves what is let go here.
    published_seq_ = std::max(published_seq_, came->batches.back()->events.back().seq);
    let_go_ = true;
    return;
  }
  arriving_events_ += came->events;
  arrivals_.push_back(came);
  if (!came->named) ask_names(came);
  take_arrivals();
}

/// An event has its user's name when the session actor had opened the user by then; otherwise it
/// is asked, and has the directory open it.
void subscriptions_loop::ask_names(const std::shared_ptr<arrival>& came) {
  auto events = std::make_shared<std::vector<core::event>>();
  events->reserve(came->events);
  for (const auto& batch : came->batches)  // shared with other loops: copied
    events->insert(events->end(), batch->events.begin(), batch->events.end());
  name_events(self_, options_.sessions, events, [this, came, events] {
    auto named = std::make_shared<event_batch>();
    named->events = std::move(*events);
    came->batches = {std::move(named)};
    came->named = true;
    take_arrivals();
  });
}

void subscriptions_loop::take_arrivals() {
  while (!arrivals_.empty() && arrivals_.front()->named) {
    const auto came = std::move(arrivals_.front());
    arrivals_.pop_front();
    arriving_events_ -= came->events;
    for (const auto& batch : came->batches) remember(batch);
    std::vector<std::uint64_t> behind;
    for (auto& [number, each] : subscriptions_) {
      if (!each.live) continue;
      each.live = each.position + 1 >= recent_from_seq_ && deliver_recent(each);
      if (!each.live) behind.push_back(number);
    }
    for (const auto number : behind) pump(number);
    while (recent_events_ > core::limits::recent_events_max && recent_.size() > 1) {
      recent_events_ -= recent_.front()->events.size();
      recent_.pop_front();
      recent_from_seq_ = recent_.front()->events.front().seq;
    }
  }
  if (arrivals_.empty() && std::exchange(let_go_, false))  // the tick goes on with who lacks it
    for (auto& [number, each] : subscriptions_)
      each.live = each.live && each.position >= published_seq_;
}

void subscriptions_loop::remember(const batch_ptr& batch) {
  const auto from = batch->events.front().seq;
  // Numbers have no gap: what is missing was published while nobody here was interested, or was
  // let go. Who needs it reads the journal.
  if (from != recent_to_seq_ + 1) forget_recent();
  if (recent_.empty()) recent_from_seq_ = from;
  recent_.push_back(batch);
  recent_events_ += batch->events.size();
  recent_to_seq_ = batch->events.back().seq;
  published_seq_ = std::max(published_seq_, recent_to_seq_);
}

void subscriptions_loop::forget_recent() {
  recent_.clear();
  recent_events_ = 0;
  recent_from_seq_ = recent_to_seq_ = 0;
}

bool subscriptions_loop::deliver_recent(subscription& to) {
  for (auto batch = recent_.rbegin(); batch != recent_.rend(); ++batch) {
    if ((*batch)->events.front().seq > to.position + 1 && std::next(batch) != recent_.rend())
      continue;
    for (auto at = batch.base() - 1; at != recent_.end(); ++at)
      for (const auto& what : (*at)->events)
        if (!deliver(to, what)) return false;
    break;
  }
  return true;
}

void subscriptions_loop::pump(std::uint64_t number) {
  const auto found = subscriptions_.find(number);
  if (found == subscriptions_.end() || found->second.querying || found->second.live) return;
  auto& each = found->second;
  if (clogged(each)) {
    if (published_seq_ > each.position + options_.lag_events_max)
      end(number, core::fail(core::error_code::SUBSCRIBER_TOO_SLOW, {}, "events_behind",
                             static_cast<std::int64_t>(options_.lag_events_max)));
    return;
  }
  const bool recent_reaches = recent_from_seq_ != 0 && each.position + 1 >= recent_from_seq_ &&
                              recent_to_seq_ >= published_seq_;
  if (recent_reaches || each.position >= published_seq_) {
    each.live = deliver_recent(each);
    return;
  }
  query_log question;
  question.filter.after = each.position;
  question.filter.limit = query_events;
  question.filter.types = each.selection.types;
  question.filter.breakers = each.selection.tenant_id.empty();
  question.filter.services = each.selection.who->services;
  if (!each.selection.tenant_id.empty())
    question.filter.tenants = {each.selection.tenant_id};
  else
    question.filter.tenants = each.selection.who->tenants;
  if (question.filter.types.none()) {  // nothing can pass: only its cursor moves
    each.position = published_seq_;
    return;
  }
  each.querying = true;
  self_->request(options_.journal, peer_timeout, std::move(question))
      .then([this, number](log_queried& result) { queried(number, result); },
            [this, number](const caf::error&) {
              const auto at = subscriptions_.find(number);
              if (at != subscriptions_.end()) at->second.querying = false;  // the tick tries again
            });
}

void subscriptions_loop::queried(std::uint64_t number, log_queried& result) {
  if (subscriptions_.count(number) == 0) return;
  if (result.why) return end(number, *result.why);
  if (subscriptions_[number].position < result.cut_seq)  // it was too far behind for retention
    return end(number, cursor_expired(result.cut_seq));
  auto events = std::make_shared<std::vector<core::event>>(std::move(result.events));
  const auto scanned = result.scanned_seq;
  name_events(self_, options_.sessions, events, [this, number, events, scanned] {
    const auto found = subscriptions_.find(number);
    if (found == subscriptions_.end()) return;
    auto& each = found->second;
    each.querying = false;
    bool whole = true;
    for (const auto& what : *events) {
      whole = deliver(each, what);
      if (!whole) break;
    }
    if (whole) {
      each.position = std::max(each.position, scanned);
      pump(number);
    }
  });
}

void subscriptions_loop::end(std::uint64_t number, const core::error& why) {
  const auto found = subscriptions_.find(number);
  const auto& each = found->second;
  line_.clear();
  options_.codec.ended(line_, each.id, make_cursor(cursor_kind::events, each.position), why);
  options_.connections->push(each.connection, line_.view());
  if (why.code == core::error_code::SUBSCRIBER_TOO_SLOW) ++tallies_.drops;
  subscriptions_.erase(found);
  interest();
}

void subscriptions_loop::tick() {
  const auto now_ms = options_.clock->now_ms();
  std::vector<std::uint64_t> behind;
  for (auto& [number, each] : subscriptions_) {
    if (!each.live && !each.querying) behind.push_back(number);
    if (each.querying || now_ms - each.said_at_ms < core::limits::cursor_only_every_ms ||
        clogged(each))
      continue;
    each.said_at_ms = now_ms;
    line_.clear();
    options_.codec.event(line_, each.id, make_cursor(cursor_kind::events, each.position), {});
    options_.connections->push(each.connection, line_.view());
  }
  for (const auto number : behind) pump(number);
}

subscriptions_collected subscriptions_loop::on(const collect_subscriptions&) const {
  auto tallies = tallies_;
  tallies.live = subscriptions_.size();
  return {tallies, self_->mailbox().size()};
}

}  // namespace portcullis::actors

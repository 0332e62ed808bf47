#include "actors/metrics.hpp"

#include "actors/handlers.hpp"
#include "monitoring/log.hpp"

namespace portcullis::actors {
namespace {

constexpr auto owner_timeout = std::chrono::seconds(2);
constexpr std::int64_t ns_per_ms = 1'000'000;

using depths = decltype(monitoring::snapshot::mailbox_depth);
std::uint64_t& depth(depths& of, monitoring::actor_kind kind) {
  return of[static_cast<std::size_t>(kind)];
}

}  // namespace

metrics_actor::behavior_type metrics_behaviour(metrics_actor::stateful_pointer<metrics_state> self,
                                               metrics_actor_options options) {
  set_default_handlers(self);
  self->state.self = self;
  self->state.options = std::move(options);
  return {
      [self](scrape) { return self->state.collect(); },
      [self](node_peers& peers) {
        self->state.options.subscriptions = std::move(peers.subscriptions);
        self->state.options.log = std::move(peers.log);
      },
      [self](shard_moved& moved) {
        self->state.options.sessions[moved.shard] = moved.session;
        self->state.options.lockouts[moved.shard] = moved.lockout;
        self->state.options.directories[moved.shard] = moved.directory;
      },
      [self](breakers_moved& moved) { self->state.options.breakers[moved.shard] = moved.breakers; },
  };
}

/// One scrape in progress: answers that are missing, and what to do when none is.
struct metrics_state::round {
  std::size_t missing = 0;
  depths mailboxes{};
  bool journal_answered = false;
  std::int64_t gap_ns = 0;
  caf::typed_response_promise<scraped> promise;
};

caf::result<scraped> metrics_state::collect() {
  using monitoring::actor_kind;
  auto open = std::make_shared<round>();
  open->promise = self->make_response_promise<scraped>();
  const auto now_ns = options.clock->mono_ns();
  open->gap_ns = scraped_at_ns_ ? now_ns - *scraped_at_ns_ : 0;
  scraped_at_ns_ = now_ns;
  if (!unanswered_since_ns_) unanswered_since_ns_ = now_ns;
  open->missing = 3 + (options.fleet ? 1 : 0) + 3 * options.sessions.size() +
                  options.breakers.size() + 2 * options.gateways.size();
  last_.breakers.resize(options.breakers.size());
  last_.shards.resize(options.sessions.size());
  last_.loops.resize(options.gateways.size());
  last_.subscriptions.resize(options.subscriptions.size());
  const auto answered = [this, open] {
    if (--open->missing > 0) return;
    last_.mailbox_depth = open->mailboxes;
    last_.log = monitoring::process_log().tallies();
    last_.reloads = options.reloads();
    last_.aliases = options.aliases->size();
    // Of a journal that hangs in the disk nothing else can be told: its numbers are of before.
    last_.journal_silent_ms = open->journal_answered || !unanswered_since_ns_
                                  ? 0
                                  : (options.clock->mono_ns() - *unanswered_since_ns_) / ns_per_ms;
    last_.scrape_gap_ns = open->gap_ns;
    options.registry->update(last_);
    open->promise.deliver(scraped{options.registry->render()});
  };
  const auto lost = [answered](const caf::error&) { answered(); };
  const auto count_mail_of = [&](const auto& owner, actor_kind kind) {
    self->request(owner, owner_timeout, count_mail{})
        .then(
            [open, answered, kind](const mail_counted& from) {
              depth(open->mailboxes, kind) += from.mailbox_depth;
              answered();
            },
            lost);
  };
  count_mail_of(options.hub, actor_kind::hub);
  count_mail_of(options.log, actor_kind::log);
  for (std::size_t i = 0; i < options.sessions.size(); ++i) {
    self->request(options.sessions[i], owner_timeout, collect_shard{})
        .then(
            [this, i, open, answered](const shard_collected& from) {
              const auto active = last_.shards[i].lockouts_active;
              last_.shards[i] = from.tallies;
              last_.shards[i].lockouts_active = active;
              depth(open->mailboxes, actor_kind::session) += from.mailbox_depth;
              answered();
            },
            lost);
    self->request(options.lockouts[i], owner_timeout, count_locks{})
        .then(
            [this, i, open, answered](const locks_counted& from) {
              last_.shards[i].lockouts_active = from.active;
              depth(open->mailboxes, actor_kind::lockout) += from.mailbox_depth;
              answered();
            },
            lost);
    count_mail_of(options.directories[i], actor_kind::directory);
  }
  for (std::size_t i = 0; i < options.breakers.size(); ++i)
    self->request(options.breakers[i], owner_timeout, collect_breakers{})
        .then(
            [this, i, open, answered](breakers_collected& from) {
              last_.breakers[i] = std::move(from.tallies);
              depth(open->mailboxes, actor_kind::breaker) += from.mailbox_depth;
              answered();
            },
            lost);
  for (std::size_t i = 0; i < options.gateways.size(); ++i) {
    self->request(options.gateways[i], owner_timeout, collect_loop{})
        .then(
            [this, i, open, answered](const loop_collected& from) {
              last_.loops[i] = from.tallies;
              depth(open->mailboxes, actor_kind::gateway) += from.mailbox_depth;
              answered();
            },
            lost);
    self->request(options.subscriptions[i], owner_timeout, collect_subscriptions{})
        .then(
            [this, i, open, answered](const subscriptions_collected& from) {
              last_.subscriptions[i] = from.tallies;
              depth(open->mailboxes, actor_kind::subscriptions) += from.mailbox_depth;
              answered();
            },
            lost);
  }
  self->request(options.journal, owner_timeout, collect_journal{})
      .then(
          [this, open, answered](const journal_collected& from) {
            last_.journal = from.tallies;
            open->journal_answered = true;
            unanswered_since_ns_.reset();
            depth(open->mailboxes, actor_kind::journal) += from.mailbox_depth;
            answered();
          },
          lost);
  if (options.fleet)
    self->request(options.fleet, owner_timeout, collect_fleet{})
        .then(
            [this, answered](const fleet_collected& from) {
              last_.fleet = from.tallies;
              answered();
            },
            lost);
  return open->promise;
}

}  // namespace portcullis::actors

// The subscriptions actor: one a loop, pinned. Gives live subscribers every durable event that
// passes their filter, none missing, none twice. A reader that does not keep up is served from the
// journal when it reads again; one that is too far behind is told so and let go. Bounded: a ring of
// recent batches, the batches that wait for names, one query a subscription.
#pragma once
#include <deque>
#include <map>

#include "actors/event_filter.hpp"
#include "actors/interfaces.hpp"
#include "actors/pinned.hpp"
#include "core/clock.hpp"

namespace portcullis::actors {

/// How net spells notifications.
struct notification_codec {
  std::function<void(core::byte_buffer&, std::string_view subscription, std::string_view cursor,
                     std::string_view event)>
      event;  // event empty: cursor only
  std::function<void(core::byte_buffer&, std::string_view subscription, std::string_view cursor,
                     const core::error&)>
      ended;
};

struct subscriptions_options {
  std::uint32_t loop = 0;
  std::string node_id;
  core::clock* clock = nullptr;
  net::connections_port* connections = nullptr;
  hub_actor hub;
  journal_actor journal;
  std::vector<session_actor> sessions;  // by shard
  notification_codec codec;
  std::size_t lag_events_max = core::limits::subscriber_lag_events_max;
};

class subscriptions_loop;
using subscriptions_self = pinned_actor<subscriptions_actor, subscriptions_loop>;
subscriptions_actor::behavior_type subscriptions_behaviour(subscriptions_self* self,
                                                           subscriptions_options options);

class subscriptions_loop {
 public:
  void start(subscriptions_self* self, subscriptions_options options);
  void on(const events_published& published);
  void on(struct subscribe& request);
  void on(struct unsubscribe& request);
  void on(const connection_gone& gone);
  void on(const shard_moved& moved) { options_.sessions[moved.shard] = moved.session; }
  subscriptions_collected on(const collect_subscriptions&) const;
  void tick();
  static constexpr const char* name = "subscriptions";

 private:
  struct subscription {
    std::string id;
    net::connection_id connection = 0;
    event_selection selection;
    std::uint64_t position = 0;  // the last seq that was looked at for it
    bool live = false;           // everything published is delivered at once
    bool querying = false;
    core::millis said_at_ms = 0;  // when it last heard of its cursor
  };
  // Published together. What no session actor could name is named before anybody sees it.
  struct arrival {
    std::vector<batch_ptr> batches;
    std::size_t events = 0;
    bool named = true;
  };
  void ask_names(const std::shared_ptr<arrival>& came);
  void take_arrivals();
  void remember(const batch_ptr& batch);
  void forget_recent();
  void begin(std::uint64_t number, const log_queried& log, inbound request,
             std::optional<std::uint64_t> after);
  bool deliver(subscription& to, const core::event& what);
  void pump(std::uint64_t number);
  bool deliver_recent(subscription& to);
  void queried(std::uint64_t number, log_queried& result);
  void end(std::uint64_t number, const core::error& why);
  [[nodiscard]] bool clogged(const subscription& of) const;
  void interest();

  subscriptions_self* self_ = nullptr;
  subscriptions_options options_;
  std::map<std::uint64_t, subscription> subscriptions_;
  std::uint64_t last_number_ = 0;
  std::deque<std::shared_ptr<arrival>> arrivals_;  // in order; the first waits for names
  std::size_t arriving_events_ = 0;
  bool let_go_ = false;           // of what was published since, not all arrived
  std::deque<batch_ptr> recent_;  // without a gap
  std::size_t recent_events_ = 0;
  std::uint64_t recent_from_seq_ = 0;  // every event from here ...
  std::uint64_t recent_to_seq_ = 0;    // ... to here is in recent_; 0: none known
  std::uint64_t published_seq_ = 0;
  bool interested_ = false;
  core::byte_buffer scratch_, line_;
  monitoring::subscription_tallies tallies_;
};

}  // namespace portcullis::actors

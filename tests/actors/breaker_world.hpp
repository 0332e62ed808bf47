// A breaker actor with scripted actors around it, which only keep what they are told.
#pragma once
#include "actors/breaker.hpp"
#include "actors/node_quota.hpp"
#include "fixture.hpp"

namespace portcullis::actors {

/// The breakers of a node with one shard; hub and journal only keep what they are told.
class breaker_world : public virtual_loop {
 public:
  explicit breaker_world(std::size_t events_in_flight_max = 1'000,
                         std::vector<core::stored_breaker> stored = {},
                         const std::function<void(breaker_options&)>& change = {}) {
    admin.name = "root";
    admin.role = core::role::admin;
    book->breakers.patterns[std::string(core::store_breaker_pattern)] =
        core::store_breaker_policy();
    book->breakers.fallback.open_wait_ms = book->breakers.fallback.open_wait_max_ms = 1'000;
    book->breakers.fallback.open_wait_jitter = 0;
    hub = scripted({[this](log_events& order) { logged.push_back(std::move(order.batch)); }});
    journal = scripted({[this](store_gate& gate) { gates.push_back(gate); }});
    fleet = scripted({[this](catch_up&) { ++asked_for_end; }});
    breaker_options options;
    options.policies = book;
    options.random = counted_random();
    options.clock = &clock;
    options.quota = std::make_shared<node_quota>(7);
    options.stored = std::move(stored);
    options.replies = &port;
    options.pool = std::make_shared<batch_pool>();
    options.events_in_flight_max = events_in_flight_max;
    options.encode = [](const core::reply&, std::string&) {};
    if (change) change(options);
    breakers =
        spawn_pinned<breaker_actor, breaker_shard>(unit, breaker_behaviour, std::move(options));
    wire();
  }
  ~breaker_world() {
    breakers = breaker_actor{};
    unit.exit_all();
    settle();
    for (const auto& each : {hub, journal, fleet})
      caf::anon_send_exit(each, caf::exit_reason::user_shutdown);
    settle();
  }
  void wire() {
    wire_breakers peers;
    peers.hub = caf::actor_cast<hub_actor>(hub);
    peers.journal = caf::actor_cast<journal_actor>(journal);
    peers.fleet = caf::actor_cast<fleet_actor>(fleet);
    caf::anon_send(breakers, peers);
    settle();
  }

  template <class Params>
  std::uint32_t ask(core::method method, Params params, core::breaker_name of = store) {
    params.name = of;
    inbound request;
    request.to = {++last_ticket, 1};
    request.who = &admin;
    request.what.method = method;
    request.what.params = std::move(params);
    request_batch batch;
    batch.now_ms = clock.at_ms;
    batch.requests.push_back(std::move(request));
    caf::anon_send(breakers, std::move(batch));
    settle();
    return last_ticket;
  }
  std::uint32_t fail(core::breaker_name of = pay) {
    core::report_call call;
    call.outcome = core::call_outcome::failure;
    return ask(core::method::breaker_report, call, of);
  }
  /// Twenty failures: the last of them opens it.
  std::uint32_t trip(core::breaker_name of = pay) {
    for (int i = 0; i < 19; ++i) fail(of);
    return fail(of);
  }
  std::uint32_t overrule(core::override_mode mode, std::optional<std::int64_t> ttl_s = {},
                         core::breaker_name of = store) {
    core::override_breaker order;
    order.mode = mode;
    order.ttl_s = ttl_s;
    order.reason = "drill";
    return ask(core::method::breaker_override, order, of);
  }
  std::uint32_t status(core::breaker_name of) {
    return ask(core::method::breaker_status, core::breaker_question{}, of);
  }
  void attempts(std::vector<bool> good, std::optional<core::breaker_permit> permit = {}) {
    store_attempts what;
    for (const bool each : good) what.all.push_back({each, 1});
    what.permit = permit;
    caf::anon_send(breakers, std::move(what));
    settle();
  }
  void store_is(bool full) {
    store_state_changed change;
    change.degraded = full;
    if (full) change.why = core::fail(core::error_code::STORE_FULL);
    caf::anon_send(breakers, change);
    settle();
  }
  void done(const batch_ptr& batch, bool refused = false) {
    events_committed word{batch, refused, {}};
    if (refused) word.why = core::fail(core::error_code::STORE_FULL);
    caf::anon_send(breakers, std::move(word));
    settle();
  }
  /// What waits for the journal, taken out.
  std::vector<batch_ptr> take() { return std::exchange(logged, {}); }
  void commit_all() {
    while (!logged.empty())
      for (const auto& each : take()) done(each);
  }
  [[nodiscard]] bool answered(std::uint32_t ticket) const { return port.replies.count(ticket) > 0; }
  [[nodiscard]] core::breaker_position position(std::uint32_t ticket) const {
    const auto found = port.replies.find(ticket);
    if (found != port.replies.end())
      if (const auto* said = std::get_if<core::breaker_position>(&found->second.reply))
        return *said;
    ADD_FAILURE() << "no position was answered to " << ticket;
    return {};
  }
  /// breaker.list, as it is told by now.
  std::shared_ptr<std::optional<breakers_listed>> list() {
    auto out = std::make_shared<std::optional<breakers_listed>>();
    system.spawn([this, out](caf::event_based_actor* self) {
      self->request(breakers, caf::infinite, list_breakers_after{0, 100, &admin})
          .then([out](breakers_listed& told) { *out = std::move(told); });
    });
    settle();
    return out;
  }
  core::breaker_row row(core::breaker_name of) {
    const auto told = list();
    if (*told)
      for (const auto& each : (*told)->rows)
        if (each.what.service == of.service && each.what.breaker == of.breaker) return each.what;
    ADD_FAILURE() << "it was not listed";
    return {};
  }
  [[nodiscard]] std::size_t rows_of_sources() const {
    std::size_t sum = 0;
    for (const auto& each : logged) sum += each->sources.size();
    return sum;
  }
  void observe(std::uint64_t seq) {
    core::observe_breaker report;
    report.source = "web";
    report.source_epoch = 1;
    report.seq = seq;
    report.calls = std::make_shared<core::reported_calls>();
    ask(core::method::breaker_observe, report, seen);
  }

  static constexpr core::breaker_name store{core::own_service, core::store_breaker};
  static constexpr core::breaker_name pay{"pay", "default"};
  static constexpr core::breaker_name seen{"seen", "default"};
  core::caller admin;
  std::shared_ptr<core::policy_book> book = std::make_shared<core::policy_book>();
  recording_port port;
  std::vector<batch_ptr> logged;
  std::vector<store_gate> gates;
  caf::actor hub, journal, fleet;
  std::size_t asked_for_end = 0;  // of the log that nodes share
  breaker_actor breakers;
  std::uint32_t last_ticket = 0;

 private:
  caf::actor scripted(caf::behavior does) {
    return system.spawn([does](caf::event_based_actor* self) {
      self->set_default_handler(caf::drop);
      return does;
    });
  }
};

}  // namespace portcullis::actors

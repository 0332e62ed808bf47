// The gateway: one a loop, the bridge between the loop's connections and the actors. Checks roles,
// routes each request to its shard in one batch a turn, and answers by itself what needs no shard
// or several actors.
#pragma once
#include <deque>
#include <set>
#include <unordered_map>

#include "actors/alias_book.hpp"
#include "actors/event_filter.hpp"
#include "actors/interfaces.hpp"
#include "actors/pinned.hpp"
#include "core/clock.hpp"

namespace portcullis::actors {

struct gateway_options {
  std::uint32_t loop = 0, shards = 1, loops = 1;
  std::string node_id, version;
  bool open_to_all = false;  // auth.mode "none"
  std::shared_ptr<const core::key_material> keys;
  core::clock* clock = nullptr;
  core::millis started_at_ms = 0;
  known_callers callers;
  bool certificates_only = false;  // auth.mode "mtls"
  std::shared_ptr<auth_limiter> limiter;
  std::shared_ptr<alias_book> aliases = std::make_shared<alias_book>();  // the node's
  std::shared_ptr<batch_pool> pool;                                      // this loop's
  std::function<void()> stop_accepting;  // called on the loop when the node drains
  std::function<std::string()> make_correlation_id;
};

/// The other actors; set before the loop runs.
struct gateway_peers {
  hub_actor hub;
  journal_actor journal;
  metrics_actor metrics;
  supervisor_actor supervisor;
  subscriptions_actor subscriptions;
  std::vector<gateway_actor> gateways;  // by loop
  std::vector<shard_moved> shards;
  std::vector<breaker_actor> breakers;  // by shard
  fleet_actor fleet;                    // where nodes share a log
};

/// Lives on its loop; the actor of the same name is its voice. Must outlive both the loop's servers
/// and that actor.
class gateway final : public net::gateway_port, public net::http_port {
 public:
  explicit gateway(gateway_options options);
  [[nodiscard]] const std::shared_ptr<batch_pool>& pool() const noexcept { return options_.pool; }
  void attach(net::connections_port& connections) { connections_ = &connections; }
  void wire(gateway_peers peers, gateway_actor self);

  core::result<const core::caller*> greet(net::connection_id id, const net::peer& who) override;
  std::uint32_t submit(net::connection_id from, const core::caller& caller, net::ticket to,
                       core::request& request, const net::block_ref& block) override;
  void turn_ended() override;
  void closed(net::connection_id id) override;
  core::result<const core::caller*> greet(const net::peer& who) override;
  core::result<const core::caller*> identify(const core::ip_address& from, bool private_way,
                                             std::string_view authorization,
                                             const std::string& correlation_id) override;
  [[nodiscard]] bool is_current(const core::caller* who) const override;
  [[nodiscard]] std::optional<core::error> unready() const override;
  void scrape(std::function<void(core::result<net::http_page>)> then) override;

 private:
  friend class gateway_voice;
  struct visitor {
    core::ip_address address;
    bool private_way = false;  // loopback, TLS or a Unix socket: a token may be told
  };
  [[nodiscard]] std::optional<core::error> forbidden(const core::caller& caller,
                                                     const core::request& request) const;
  /// Where a request goes that one actor answers: shards' session actors by number, then their
  /// breaker actors.
  struct destination {
    std::uint32_t where = 0;
    std::uint8_t routing = 0;
  };
  [[nodiscard]] std::optional<destination> destination_of(const core::request& request) const;
  // gateway_aliases.cpp
  /// Gives a request that names its session by alias the id that the alias stands for.
  void resolve_alias(core::request& request) const;
  /// False: another session has the alias that a create asks for, or is about to.
  [[nodiscard]] bool reserve_alias(const core::create_session& params) const;
  /// Whether it names its session by an alias that another node may have given a moment ago.
  [[nodiscard]] bool is_doubtful(const core::request& request) const;
  /// True: it waits in its connection's line.
  [[nodiscard]] bool waits_in_line(net::connection_id from, const core::caller& caller,
                                   net::ticket to, core::request& request,
                                   const net::block_ref& block);
  void ask_for_log(net::connection_id of);
  void send_question();
  void caught_up_with(const caught_up& answer);
  void move_line(net::connection_id of, const std::optional<core::error>& why);
  /// What a shard gave back: its alias has turned out to be a session's elsewhere.
  void pass_on_again(inbound& request);
  /// To whom it is for; as submit().
  std::uint32_t pass_on(net::connection_id from, const core::caller& caller, net::ticket to,
                        core::request& request, const net::block_ref& block, bool certain = false);
  /// Who presents `token`. TLS_REQUIRED, AUTH_RATE_LIMITED, AUTH_FAILED; the last is counted
  /// against the address and told as an event.
  [[nodiscard]] core::result<const core::caller*> find_by_token(const visitor& from,
                                                                std::string_view token,
                                                                const std::string& correlation_id);
  void tell_of_failed_login(const core::short_hash& source, const std::string& correlation_id);
  void log_in(net::connection_id from, net::ticket to, const core::request& request);
  void fail(net::ticket to, const core::error& why, std::string_view correlation_id);

  gateway_options options_;
  gateway_peers peers_;
  gateway_actor self_;
  net::connections_port* connections_ = nullptr;
  core::caller nobody_, everybody_;
  std::unordered_map<net::connection_id, visitor> visitors_;
  std::set<net::connection_id> subscribers_;
  // Where nodes share a log: connections whose first request in line names an alias that nobody
  // knows here; it, and what came behind it, waits until the log was read to its end.
  struct line {
    std::deque<inbound> waiting;
    std::size_t sure = 0;  // so many of them came before the question that is under way
  };
  std::unordered_map<net::connection_id, line> lines_;
  std::vector<net::connection_id> asked_, ask_next_;
  std::vector<request_batch> batches_;  // by destination
  std::vector<bool> down_;              // by destination
  std::optional<core::error> store_trouble_;
  bool draining_ = false;
};

class gateway_voice;
using gateway_self = pinned_actor<gateway_actor, gateway_voice>;
/// `tallies` copies the loop's counters, on the loop.
gateway_actor::behavior_type gateway_behaviour(gateway_self* self, gateway* owner,
                                               std::function<core::loop_tallies()> tallies);

/// The actor's side: what takes more than one step.
class gateway_voice {
 public:
  void start(gateway_self* self, gateway* owner, std::function<core::loop_tallies()> tallies);
  void on(const reply_batch& replies);
  void on(cold_request& request);
  void on(http_scrape& request);
  loop_collected on(const collect_loop&) const;
  loop_listed on(const list_loop& question) const;
  void on(const shard_down& which);
  void on(const shard_moved& moved);
  void on(const breakers_down& which);
  void on(const breakers_moved& moved);
  void on(subscriptions_moved& moved);
  void on(metrics_moved& moved);
  void on(const caught_up& answer);
  void on(callers_changed& change);
  void on(keys_changed& change);
  void on(const store_state_changed& change);
  void drain();
  static constexpr const char* name = "gateway";

 private:
  struct lock_listing;
  void stats(inbound& request);
  void info(inbound& request);
  void take_digest(inbound& request);
  void tell_info(const inbound& request, const std::optional<digest_answer>& digest);
  void list_breakers(inbound& request);
  void destination_down(std::uint32_t which);
  void find(inbound& request);
  void described(inbound& request, const std::shared_ptr<found_in_store>& found);
  void list_locks_after(const std::shared_ptr<lock_listing>& listing);
  void name_locks(const std::shared_ptr<lock_listing>& listing);
  void show_locks(const std::shared_ptr<lock_listing>& listing);
  void list_lockouts(inbound& request);
  [[nodiscard]] std::vector<session_actor> session_actors() const;  // by shard
  void query(inbound& request);
  void list_connections(inbound& request);
  void administrate(inbound& request);
  void answer(const inbound& request, const core::reply& reply);
  void fail(const inbound& request, core::error why);

  gateway_self* self_ = nullptr;
  gateway* owner_ = nullptr;
  std::function<core::loop_tallies()> tallies_;
};

}  // namespace portcullis::actors

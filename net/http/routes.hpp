// Which paths there are, who may ask for them, and what answers: health and metrics by the gateway,
// /rpc, /events and /authz as callers inside of the RPC server.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "net/authz/ask.hpp"
#include "net/authz/kind.hpp"
#include "net/http/event_tickets.hpp"
#include "net/http/exchange.hpp"
#include "net/http/host_rules.hpp"
#include "net/loop/loop.hpp"
#include "net/rpc/limits.hpp"

namespace portcullis::net {

/// The rules of forward-auth in force. Any thread.
class forward_auth_rules {
 public:
  explicit forward_auth_rules(const authz_settings& settings) { replace(settings); }
  /// What is asked already goes on by the old ones.
  void replace(const authz_settings& settings) {
    auto next = std::make_shared<const forward_auth>(settings);
    const std::lock_guard guard{mutex_};
    current_ = std::move(next);
  }
  [[nodiscard]] std::shared_ptr<const forward_auth> current() const {
    const std::lock_guard guard{mutex_};
    return current_;
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const forward_auth> current_;  // guarded by mutex_
};

struct http_route_options {
  bool needs_token = false;             // listen.http.auth = "token"
  std::vector<std::string> hosts = {};  // beside the listeners' own addresses
  std::vector<std::string> origins = {};
  message_limits message = {};
  std::shared_ptr<const forward_auth_rules> authz = {};  // null: no /authz
  std::function<void(std::span<std::uint8_t>)> random = {};
  /// Told of a proxy that is no trusted one and whose X-Forwarded-For is not read; may be empty.
  std::function<void(const core::ip_address& proxy)> on_forwarded_unread = {};
  /// How many of the connections of the listeners http and https may be event streams.
  std::array<std::size_t, 2> streams_max = {
      core::limits::http_connections_max / core::limits::event_stream_share,
      core::limits::http_connections_max / core::limits::event_stream_share};
  bool development = false;
  std::uint64_t correlation_seed = 0;
};

/// Belongs to its loop's thread.
class http_routes final : public http_handler {
 public:
  /// `gateway` and `calls` must outlive it.
  http_routes(loop& on, http_route_options options, http_port& gateway, calls_port& calls);
  ~http_routes() override;

  /// Where a listener listens: by what addresses it may be named. Before it accepts.
  void set_address(core::listener as, const core::ip_address& address);

  core::result<const core::caller*> greet(const net::peer& who) override {
    return gateway_.greet(who);
  }
  void handle(http_exchange& on) override;
  /// What a proxy asks is refused with a status that the proxy knows.
  void refuse(http_exchange& on, const core::error& why, int status) override;

 private:
  using identified = core::result<const core::caller*>;

  // routes.cpp
  void health(http_exchange& on, bool ready);
  void metrics(http_exchange& on);
  /// Whether the request's method is one of `allowed`, such as "GET, HEAD"; else it is answered.
  [[nodiscard]] bool takes(http_exchange& on, std::string_view allowed);
  /// Whether nobody was lured here (host_rules.hpp); else it is answered.
  [[nodiscard]] bool trusts_host(http_exchange& on);
  /// Where listen.http.auth = "token": whether an observer or admin asks; else it is answered.
  [[nodiscard]] bool may_look(http_exchange& on);
  /// The caller of the request; an error is answered.
  [[nodiscard]] const core::caller* caller_of(http_exchange& on);
  /// `correlation_id`: of the event, where a token is looked at; empty: made up.
  [[nodiscard]] identified identify(http_exchange& on, std::string& correlation_id);
  void deny(http_exchange& on, core::error_code why, std::string_view field,
            std::string_view rule = {});

  // rpc_route.cpp
  void rpc(http_exchange& on);
  // event_route.cpp
  void give_ticket(http_exchange& on);
  void events(http_exchange& on);
  [[nodiscard]] const core::caller* subscriber(http_exchange& on, std::string_view ticket);
  // authz_route.cpp
  void authz(http_exchange& on, authz_kind kind);
  void refuse_proxy(http_exchange& on, authz_kind kind, const core::error& why,
                    std::string_view correlation_id);
  [[nodiscard]] identified authz_caller(http_exchange& on, std::string& correlation_id);

  loop& loop_;
  http_route_options options_;
  http_port& gateway_;
  calls_port& calls_;
  correlation_maker made_up_;
  encode_options encoding_;
  std::array<host_rules, 2> hosts_;  // of the listeners http and https
  event_tickets tickets_;
  core::caller proxies_;  // who asks for /authz where no token is needed
  core::byte_buffer question_;
  std::array<std::size_t, 2> streams_{};  // live, of the listeners http and https
};

}  // namespace portcullis::net

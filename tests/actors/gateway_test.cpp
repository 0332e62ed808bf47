// The gateway: who may call what, which shard gets it, what it answers by itself, and what happens
// while a shard is away.
#include "gateway_world.hpp"

namespace portcullis::actors {
namespace {

using core::error_code;
using core::method;

TEST(the_gateway, refuses_each_method_to_each_role_that_may_not_call_it) {
  gateway_world w;
  for (const auto role :
       {core::role::none, core::role::app, core::role::observer, core::role::admin}) {
    const auto who = gateway_world::with_role(role);
    for (std::size_t i = 0; i < core::method_count; ++i) {
      const auto which = static_cast<method>(i);
      if (which == method::auth_login) continue;
      const auto got = w.error(w.call(who, which));
      if (core::may_call(role, which)) {
        EXPECT_FALSE(got) << core::to_string(which);
      } else {
        EXPECT_EQ(got, role == core::role::none ? error_code::AUTH_REQUIRED : error_code::FORBIDDEN)
            << core::to_string(which);
        EXPECT_EQ(w.last_tag, 0U);
      }
    }
  }
}

TEST(the_gateway, forbids_naming_a_tenant_outside_the_callers) {
  gateway_world w;
  const auto who = gateway_world::with_role(core::role::admin, {"acme"});
  for (const auto which :
       {method::session_create, method::session_revoke_user, method::session_revoke_tenant,
        method::session_list, method::session_find, method::lockout_status, method::lockout_list,
        method::lockout_clear, method::events_subscribe, method::events_query}) {
    EXPECT_EQ(w.error(w.call(who, which, "other")), error_code::FORBIDDEN)
        << core::to_string(which);
    EXPECT_FALSE(w.error(w.call(who, which, "acme"))) << core::to_string(which);
  }
}

TEST(the_gateway, routes_by_the_routing_byte_and_sends_one_batch_a_shard_and_turn) {
  gateway_world w;
  const auto app = gateway_world::with_role(core::role::app);
  std::map<std::uint32_t, std::size_t> expected;
  for (int byte = 0; byte < 256; byte += 5) {
    core::request request;
    request.method = method::session_validate;
    core::validate_session params;
    params.id.bytes[0] = static_cast<std::uint8_t>(byte);
    request.params = params;
    w.submit(app, std::move(request));
    const auto shard = shard_of(static_cast<std::uint8_t>(byte), 2);
    EXPECT_EQ(w.last_tag, shard + 1);
    ++expected[shard];
  }
  w.settle();
  EXPECT_TRUE(w.batches.empty());
  w.door->turn_ended();
  w.door->turn_ended();
  w.settle();
  for (std::uint32_t shard = 0; shard < 2; ++shard) {
    ASSERT_EQ(w.batches[shard].size(), 1U);
    EXPECT_EQ(w.batches[shard][0].requests.size(), expected[shard]);
    EXPECT_EQ(w.batches[shard][0].now_ms, w.clock.at_ms);
  }
}

TEST(the_gateway, routes_a_users_requests_where_the_users_sessions_are) {
  gateway_world w;
  const auto admin = gateway_world::with_role(core::role::admin);
  const auto shard = shard_of(w.keys->routing_byte("acme", "alice"), 2);
  for (const auto which : {method::session_create, method::session_revoke_user,
                           method::session_list, method::lockout_status, method::lockout_clear}) {
    w.call(admin, which);
    EXPECT_EQ(w.last_tag, shard + 1) << core::to_string(which);
  }
}

TEST(the_gateway, answers_overloaded_while_a_shard_is_away_and_routes_to_its_successor) {
  gateway_world w(1);
  const auto app = gateway_world::with_role(core::role::app);
  caf::anon_send(w.voice, shard_down{0});
  w.settle();
  EXPECT_EQ(w.port.failed_tags, std::vector<std::uint32_t>{1});
  EXPECT_EQ(w.error(w.call(app, method::session_validate)), error_code::OVERLOADED);
  EXPECT_EQ(w.not_ready(), error_code::OVERLOADED);
  std::size_t got = 0;
  auto successor = w.system.spawn([&got](caf::event_based_actor*) {
    return caf::behavior{[&got](request_batch& batch) { got += batch.requests.size(); }};
  });
  caf::anon_send(w.voice, shard_moved{0, caf::actor_cast<session_actor>(successor), {}, {}});
  w.settle();
  EXPECT_FALSE(w.error(w.call(app, method::session_validate)));
  w.door->turn_ended();
  w.settle();
  EXPECT_EQ(got, 1U);
  EXPECT_TRUE(w.batches.empty());
  EXPECT_FALSE(w.not_ready());
  caf::anon_send_exit(successor, caf::exit_reason::user_shutdown);
  w.settle();
}

TEST(the_gateway, is_ready_only_with_its_store_and_while_it_does_not_drain) {
  gateway_world w;
  EXPECT_FALSE(w.not_ready());
  caf::anon_send(w.voice, store_state_changed{true, core::fail(error_code::STORE_FULL)});
  w.settle();
  EXPECT_EQ(w.not_ready(), error_code::STORE_FULL);
  caf::anon_send(w.voice, store_state_changed{false, {}});
  w.settle();
  EXPECT_FALSE(w.not_ready());
  caf::anon_send(w.voice, stop_atom::value);
  w.settle();
  EXPECT_EQ(w.not_ready(), error_code::NODE_DRAINING);
  EXPECT_EQ(w.error(w.call(gateway_world::with_role(core::role::admin), method::session_stats)),
            error_code::NODE_DRAINING);
}

TEST(a_login, gives_the_tokens_caller_and_counts_what_fails) {
  gateway_world w;
  const auto nobody = gateway_world::with_role(core::role::none);
  const auto log_in = [&](std::string_view with) {
    core::request request;
    request.method = method::auth_login;
    request.params = core::login{with};
    return w.submit(nobody, std::move(request));
  };
  const auto other = core::to_base64url(core::byte_array<32>{9});
  for (std::size_t i = 0; i < core::limits::auth_failures_per_source_max; ++i)
    EXPECT_EQ(w.error(log_in(i % 2 == 0 ? other : "malformed")), error_code::AUTH_FAILED);
  w.settle();
  EXPECT_EQ(w.logged.size(), core::limits::auth_failures_per_source_max);
  EXPECT_EQ(w.error(log_in(w.token)), error_code::AUTH_RATE_LIMITED);  // even the right one
  EXPECT_EQ(w.port.callers.count(1), 0U);
  w.clock.at_ms += core::limits::auth_failure_window_ms;
  const auto good = log_in(w.token);
  EXPECT_FALSE(w.error(good));
  EXPECT_EQ(w.port.callers.at(1), &w.known);
}

TEST(a_login, over_plain_tcp_is_refused_off_loopback) {
  gateway_world w;
  (void)w.door->greet(2, {"198.51.100.9", false, "rpc"});
  core::request request;
  request.method = method::auth_login;
  request.params = core::login{w.token};
  const auto nobody = gateway_world::with_role(core::role::none);
  const auto refused = w.submit(nobody, std::move(request), 2);
  EXPECT_EQ(w.error(refused), error_code::TLS_REQUIRED);
}

TEST(a_login, that_fails_is_told_by_an_event_with_the_correlation_id_of_the_error) {
  gateway_world w;
  const auto log_in = [&](std::string_view correlation_id) {
    core::request request;
    request.method = method::auth_login;
    request.correlation_id = correlation_id;
    request.params = core::login{"no token"};
    return w.submit(gateway_world::with_role(core::role::none), std::move(request));
  };
  EXPECT_EQ(w.error(log_in("mine")), error_code::AUTH_FAILED);
  EXPECT_EQ(w.error(log_in({})), error_code::AUTH_FAILED);
  w.settle();
  ASSERT_EQ(w.logged.size(), 2U);
  EXPECT_EQ(w.logged[0]->events[0].correlation_id, "mine");
  EXPECT_EQ(w.logged[1]->events[0].correlation_id, "made-up-1");
}

TEST(http_tokens, are_taken_as_logins_are) {
  gateway_world w(1);
  w.known.name = "eyes";
  for (const auto* scheme : {"Bearer ", "bearer ", "BEARER  "})
    EXPECT_EQ(w.identified(scheme + w.token), "eyes") << scheme;
  EXPECT_EQ(w.identified("Bearer " + w.token, false), "TLS_REQUIRED");
  w.settle();
  EXPECT_EQ(w.logged.size(), 0U) << "none of these is a failure";
  const auto other = "Bearer " + core::to_base64url(core::byte_array<32>{9});
  for (std::size_t i = 0; i < core::limits::auth_failures_per_source_max; ++i)
    EXPECT_EQ(w.identified(i % 2 == 0 ? other : "Basic " + w.token), "AUTH_FAILED");
  w.settle();
  ASSERT_EQ(w.logged.size(), core::limits::auth_failures_per_source_max);
  EXPECT_EQ(w.logged.back()->events[0].correlation_id, "request-" + std::to_string(w.made_up));
  EXPECT_EQ(w.identified("Bearer " + w.token), "AUTH_RATE_LIMITED") << "even the right one";
  w.clock.at_ms += core::limits::auth_failure_window_ms;
  EXPECT_EQ(w.identified("Bearer " + w.token), "eyes");
}

TEST(an_http_connection, is_nobodys_or_its_certificates_until_a_reload_says_otherwise) {
  gateway_world w(1);
  const auto nobody = w.door->greet(net::peer{"127.0.0.1", true, "http"});
  ASSERT_TRUE(nobody);
  EXPECT_EQ((*nobody)->role, core::role::none);
  EXPECT_TRUE(w.door->is_current(*nobody));
  EXPECT_TRUE(w.door->is_current(&w.known));
  caf::anon_send(w.voice, callers_changed{{{}, {{"URI:spiffe://acme/web", &w.known}}}, {}});
  w.settle();
  EXPECT_TRUE(w.door->is_current(&w.known)) << "by its certificate now";
  const net::peer_certificate shown{"CN=web", {"DNS:web", "URI:spiffe://acme/web"}};
  net::peer peer{"127.0.0.1", true, "https"};
  peer.certificate = &shown;
  EXPECT_EQ(*w.door->greet(peer), &w.known);
  caf::anon_send(w.voice, callers_changed{{}, {&w.known}});
  w.settle();
  EXPECT_FALSE(w.door->is_current(&w.known));
  EXPECT_EQ(*w.door->greet(peer), *nobody);
}

}  // namespace
}  // namespace portcullis::actors

// How each event is logged.
#include "monitoring/event_rows.hpp"

#include <gmock/gmock.h>

#include <string>

namespace portcullis::monitoring {
namespace {

using core::log_level;
using testing::HasSubstr;
using testing::Not;

core::event make(core::event_body body) {
  core::event event;
  event.seq = 42;
  event.at_ms = 1'709'210'096'789;
  event.tenant_id = "acme";
  event.user_id = "ann@example.org";
  event.handle = core::session_handle{{0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};
  event.correlation_id = "req-7";
  event.sealed = "SEALEDSEALED";
  event.body = std::move(body);
  return event;
}

core::short_hash a_source() {
  core::short_hash source{};
  source.fill(0x5a);
  return source;
}

std::string rendered(const core::event& event, bool hashed = true) {
  const auto row = row_for(event);
  const core::byte_array<4> key = {1, 2, 3, 4};
  const event_fields fields(event, row, {hashed, core::hmac_key(key)});
  core::byte_buffer out;
  render_json(out, {event.at_ms, row.level, row.component, row.message, fields.view()}, {"n1", ""});
  return std::string(out.view());
}

// HMAC-SHA-256 under 01020304, worked out apart from this program.
constexpr std::string_view user_hash = "eb5c42d0bd0d70caca2bb332fd39a7ff";

TEST(event_rows, a_lockout_is_a_warning_with_owasp_s_name) {
  EXPECT_EQ(rendered(make(core::lockout_started{1'709'210'996'789, 10, a_source()})),
            R"({"@timestamp":"2024-02-29T12:34:56.789Z","log.level":"warn",)"
            R"("message":"A user was locked out.","ecs.version":"8.11.0","log.logger":"lockout",)"
            R"("service.name":"portcullis","service.node.name":"n1",)"
            R"("event.action":"lockout_started","event.code":"authn_login_lock",)"
            R"("event.outcome":"failure","event.sequence":42,"correlation.id":"req-7",)"
            R"("tenant.id":"acme","user.hash":")" +
                std::string(user_hash) +
                R"(","session.handle":"s_qwECAwQFBgcICQoLDA0ODw","lockout.attempts":10,)"
                R"("lockout.locked_until_ms":1709210996789,)"
                R"("source.hash":"5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"})"
                "\n");
}

TEST(event_rows, a_mismatch_is_a_warning_that_names_its_reason_and_number) {
  core::validation_failed failed;
  failed.reason = core::invalid_reason::ip_mismatch;
  failed.attempt = 3;
  failed.source = a_source();
  EXPECT_THAT(rendered(make(failed)),
              HasSubstr(R"("event.reason":"ip_mismatch","lockout.attempt":3,"source.hash")"));
  EXPECT_EQ(row_for(make(failed)).level, log_level::warn);
  EXPECT_EQ(row_for(make(failed)).owasp, "authn_login_fail");
}

TEST(event_rows, use_of_an_ended_session_is_no_warning_and_has_its_own_name) {
  core::validation_failed failed;
  failed.reason = core::invalid_reason::expired;
  failed.count = 7;
  EXPECT_EQ(row_for(make(failed)).level, log_level::info);
  EXPECT_EQ(row_for(make(failed)).owasp, "session_use_after_expire");
  EXPECT_THAT(rendered(make(failed)), HasSubstr(R"("event.count":7)"));
}

TEST(event_rows, a_revocation_says_how_far_it_went_and_why_and_by_whom) {
  core::session_revoked revoked;
  revoked.scope = core::revoke_scope::user;
  revoked.count = 3;
  revoked.reason = "stolen\n{\"log.level\":\"info\"}";
  revoked.except_handle = core::session_handle{};
  auto event = make(revoked);
  event.actor = "support";
  EXPECT_THAT(rendered(event),
              HasSubstr(R"("actor.name":"support","session.revoke_scope":"user","session.count":3,)"
                        R"("event.reason":"stolen\n{\"log.level\":\"info\"}",)"
                        R"("session.except_handle":"s_AAAAAAAAAAAAAAAAAAAAAA"})"));
}

TEST(event_rows, a_signal_names_its_fields) {
  core::validation_signalled signalled;
  signalled.fields = static_cast<core::field_set>(core::ip_bit | bit(core::context_field::ja4));
  signalled.action = core::signal_action::challenge;
  EXPECT_THAT(rendered(make(signalled)),
              HasSubstr(R"("session.signal_fields":"ip,ja4","session.signal_action":"challenge")"));
}

TEST(event_rows, a_trace_id_is_logged_as_one_and_other_ids_are_not) {
  auto event = make(core::session_evicted{});
  EXPECT_THAT(rendered(event), Not(HasSubstr("trace.id")));
  event.correlation_id = "0af7651916cd43dd8448eb211c80319c";
  EXPECT_THAT(rendered(event), HasSubstr(R"("trace.id":"0af7651916cd43dd8448eb211c80319c")"));
  event.correlation_id = std::string(32, '0');
  EXPECT_THAT(rendered(event), Not(HasSubstr("trace.id")));
}

TEST(event_rows, users_are_named_in_clear_only_when_asked_for) {
  const auto event = make(core::session_evicted{});
  EXPECT_THAT(rendered(event, true), Not(HasSubstr("ann@example.org")));
  EXPECT_THAT(rendered(event, true), Not(HasSubstr("user.id")));
  EXPECT_THAT(rendered(event, false), HasSubstr(R"("user.id":"ann@example.org")"));
  EXPECT_THAT(rendered(event, false), Not(HasSubstr("user.hash")));
}

TEST(event_rows, a_user_s_hash_depends_on_the_tenant_and_joins_nothing) {
  auto one = make(core::session_evicted{}), other = one;
  one.tenant_id = "ab";
  one.user_id = "c";
  other.tenant_id = "a";
  other.user_id = "bc";
  const auto hash = [](const std::string& line) { return line.substr(line.find("user.hash"), 48); };
  EXPECT_NE(hash(rendered(one)), hash(rendered(other)));
}

TEST(event_rows, what_hints_at_an_attack_is_a_warning) {
  EXPECT_EQ(row_for(make(core::session_reuse_detected{})).level, log_level::warn);
  EXPECT_EQ(row_for(make(core::session_reuse_detected{})).owasp, "authn_token_reuse");
  EXPECT_EQ(row_for(make(core::auth_failed{})).level, log_level::warn);
  EXPECT_EQ(row_for(make(core::source_limited{})).level, log_level::warn);
  EXPECT_EQ(row_for(make(core::store_degraded{})).level, log_level::error);
}

core::event of_node(core::event_body body) {
  core::event event;
  event.seq = 42;
  event.body = std::move(body);
  return event;
}

template <class Body>
Body of_breaker() {
  Body body;
  body.service = "payments";
  body.breaker = "eu";
  body.epoch = 7;
  return body;
}

TEST(event_rows, a_breaker_that_opened_is_a_warning_with_what_it_had_counted) {
  auto opened = of_breaker<core::breaker_opened>();
  opened.cause = core::breaker_cause::slow_rate;
  opened.counts[core::call_result::success] = 4;
  opened.counts[core::call_result::slow_failure] = 5;
  opened.counts[core::call_result::timeout] = 1;
  opened.counts[core::call_result::rejected] = 9;
  EXPECT_EQ(
      rendered(of_node(opened)),
      R"({"@timestamp":"1970-01-01T00:00:00.000Z","log.level":"warn",)"
      R"("message":"A circuit breaker opened.","ecs.version":"8.11.0","log.logger":"breaker",)"
      R"("service.name":"portcullis","service.node.name":"n1",)"
      R"("event.action":"breaker_opened","event.outcome":"failure","event.sequence":42,)"
      R"("breaker.service":"payments","breaker.name":"eu","breaker.epoch":7,)"
      R"("breaker.from":"closed","breaker.kind":"hosted","event.reason":"slow_rate",)"
      R"("breaker.calls":10,"breaker.failures":6})"
      "\n");
}

TEST(event_rows, a_breaker_s_ordinary_changes_are_no_warnings) {
  auto tried = of_breaker<core::breaker_half_opened>();
  tried.from = core::breaker_state::open;
  tried.cause = core::breaker_cause::wait_elapsed;
  EXPECT_THAT(rendered(of_node(tried)),
              HasSubstr(R"("breaker.from":"open","breaker.kind":"hosted",)"
                        R"("event.reason":"wait_elapsed")"));
  for (const auto& body :
       {core::event_body(tried), core::event_body(of_breaker<core::breaker_closed>()),
        core::event_body(of_breaker<core::breaker_retired>())}) {
    EXPECT_EQ(row_for(of_node(body)).level, log_level::info);
    EXPECT_EQ(row_for(of_node(body)).component, component::breaker);
    EXPECT_EQ(row_for(of_node(body)).outcome, "success");
  }
}

TEST(event_rows, a_reset_gives_its_administrator_and_the_reason_given) {
  auto closed = of_breaker<core::breaker_closed>();
  closed.cause = core::breaker_cause::reset;
  closed.reason = "fixed\n{}";
  auto event = of_node(closed);
  event.actor = "ops";
  EXPECT_THAT(rendered(event), HasSubstr(R"("actor.name":"ops")"));
  EXPECT_THAT(rendered(event), HasSubstr(R"("event.reason":"fixed\n{}")"));
}

TEST(event_rows, a_change_of_an_observed_breaker_names_its_source) {
  auto opened = of_breaker<core::breaker_opened>();
  opened.cause = core::breaker_cause::reported;
  opened.kind = core::breaker_kind::observed;
  opened.source = "web-3";
  EXPECT_THAT(rendered(of_node(opened)),
              HasSubstr(R"("breaker.kind":"observed","event.reason":"reported",)"
                        R"("breaker.source":"web-3")"));
}

TEST(event_rows, a_breaker_that_only_measures_says_that_it_would_have_opened) {
  auto would = of_breaker<core::breaker_would_open>();
  would.cause = core::breaker_cause::failure_rate;
  would.counts[core::call_result::failure] = 3;
  EXPECT_EQ(row_for(of_node(would)).level, log_level::warn);
  EXPECT_THAT(rendered(of_node(would)),
              HasSubstr(R"("breaker.epoch":7,"event.reason":"failure_rate","breaker.calls":3,)"
                        R"("breaker.failures":3})"));
}

TEST(event_rows, an_override_is_an_administrators_deed) {
  auto set = of_breaker<core::breaker_override_set>();
  set.mode = core::override_mode::forced_open;
  set.reason = "maintenance";
  set.expires_at_ms = 1'709'210'996'789;
  EXPECT_EQ(row_for(of_node(set)).level, log_level::warn);
  EXPECT_EQ(row_for(of_node(set)).owasp, "authz_admin");
  EXPECT_THAT(rendered(of_node(set)),
              HasSubstr(R"("breaker.override":"forced_open","event.reason":"maintenance",)"
                        R"("breaker.override_expires_at_ms":1709210996789})"));
  set.expires_at_ms.reset();
  EXPECT_THAT(rendered(of_node(set)), Not(HasSubstr("override_expires")));

  auto cleared = of_breaker<core::breaker_override_cleared>();
  cleared.mode = core::override_mode::disabled;
  cleared.cause = core::breaker_cause::override_expired;
  EXPECT_THAT(
      rendered(of_node(cleared)),
      HasSubstr(
          R"("breaker.override":"disabled","breaker.from":"closed","breaker.cause":"override_expired"})"));
}

/// Fills whatever an event of that type could leak with a text that a search finds.
template <std::size_t I = 0>
void for_each_body(auto&& visit) {
  if constexpr (I < core::event_type_count) {
    std::variant_alternative_t<I, core::event_body> body{};
    if constexpr (requires { body.ip; }) body.ip = "LEAK";
    if constexpr (requires { body.data; }) body.data = "LEAK";
    if constexpr (requires { body.policy; }) body.policy = "LEAK";
    if constexpr (requires { body.id; }) body.id.bytes.fill(0x77);
    if constexpr (requires { body.predecessor; }) body.predecessor.bytes.fill(0x77);
    if constexpr (requires { body.before; }) body.before.bytes.fill(0x77);
    if constexpr (requires { body.nonce; }) body.nonce.fill(0x77);
    if constexpr (requires { body.fields.hashes; })
      for (auto& hash : body.fields.hashes) hash.fill(0x77);
    visit(core::event_body(std::move(body)));
    for_each_body<I + 1>(visit);
  }
}

TEST(event_rows, no_event_s_line_shows_sealed_texts_ids_nonces_or_policies) {
  std::size_t seen = 0;
  for_each_body([&](core::event_body body) {
    const auto line = rendered(make(std::move(body)));
    EXPECT_THAT(line, Not(HasSubstr("LEAK")));
    EXPECT_THAT(line, Not(HasSubstr("SEALED")));
    EXPECT_THAT(line, Not(HasSubstr("7777")));
    EXPECT_THAT(line, HasSubstr(R"("event.sequence":42)"));
    ++seen;
  });
  EXPECT_EQ(seen, core::event_type_count);
}

TEST(event_rows, only_touches_and_tallies_are_never_logged) {
  for (const auto& row : event_rows())
    EXPECT_EQ(row.logged, row.type != core::event_type::session_touched &&
                              row.type != core::event_type::calls_tallied);
}

}  // namespace
}  // namespace portcullis::monitoring

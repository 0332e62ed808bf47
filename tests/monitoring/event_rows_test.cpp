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

TEST(event_rows, only_touches_are_never_logged) {
  for (const auto& row : event_rows())
    EXPECT_EQ(row.logged, row.type != core::event_type::session_touched);
}

}  // namespace
}  // namespace portcullis::monitoring

#include <gtest/gtest.h>

#include "core/event/codec.hpp"
#include "samples.hpp"

namespace portcullis::core {
namespace {

std::string shown(const event& what, std::string_view user_id = "alice") {
  byte_buffer out;
  append_shown(out, what, "node-1", user_id);
  return std::string(out.view());
}

const std::string head = R"({"seq":42,"at_ms":1790000000000,"node":"node-1","type":")";
const std::string about =
    R"(","correlation_id":"req-1","tenant_id":"acme","user_id":"alice","handle":"s_RkdISUpLTE1OT1BRUlNUVQ","actor":"billing")";

TEST(event_shown, has_the_contracts_fields_and_no_other) {
  const std::pair<event_type, std::string> expected[] = {
      {event_type::session_created, R"(,"expires_at_ms":1790000900000})"},
      {event_type::session_rotated, "}"},
      {event_type::session_successor_used, "}"},
      {event_type::session_rekeyed, "}"},
      {event_type::session_updated, R"(,"version":2})"},
      {event_type::session_revoked,
       R"(,"scope":"user","count":4,"reason":"revoke_user","except_handle":"s_BQYHCAkKCwwNDg8QERITFA"})"},
      {event_type::session_expired, R"(,"kind":"absolute"})"},
      {event_type::session_evicted, "}"},
      {event_type::session_reuse_detected, "}"},
      {event_type::validation_failed,
       R"(,"reason":"fingerprint_mismatch","attempt":3,"count":2,"first_at_ms":1790000000000,)"
       R"("last_at_ms":1790000000999,"source":"KCkqKywtLi8wMTIzNDU2Nw"})"},
      {event_type::validation_signalled,
       R"(,"fields":["ip","ja4"],"action":"challenge","source":"KSorLC0uLzAxMjM0NTY3OA"})"},
      {event_type::lockout_started, R"(,"locked_until_ms":1790000900000,"attempts":10})"},
      {event_type::lockout_ended, "}"},
      {event_type::lockout_cleared, R"(,"reason":"asked by phone"})"},
      {event_type::source_limited, R"(,"source":"KywtLi8wMTIzNDU2Nzg5Og"})"},
      {event_type::node_started, R"(,"version":"0.1.0","policy":{"session":{"idle_ttl_s":900}}})"},
      {event_type::node_stopped, "}"},
      {event_type::config_reloaded, R"(,"policy":{"lockout":{"threshold":10}}})"},
      {event_type::store_degraded, "}"},
      {event_type::store_recovered, "}"},
      {event_type::auth_failed, R"(,"source":"LC0uLzAxMjM0NTY3ODk6Ow"})"},
      {event_type::breaker_opened,
       R"(,"service":"payments","breaker":"default","epoch":7,"cause":"probe_failed",)"
       R"("counts":{"success":10,"failure":11,"timeout":12,"ignored":13,"rejected":14,"slow_success":15,"slow_failure":16},)"
       R"("from":"half_open","reason":"mended","kind":"observed","source":"app-1","to":"forced_open",)"
       R"("transitioned_at_ms":1789999999000})"},
      {event_type::breaker_half_opened,
       R"(,"service":"payments","breaker":"default","epoch":7,"cause":"probe_failed",)"
       R"("counts":{"success":10,"failure":11,"timeout":12,"ignored":13,"rejected":14,"slow_success":15,"slow_failure":16},)"
       R"("from":"half_open","reason":"mended","kind":"observed","source":"app-1","to":"forced_open",)"
       R"("transitioned_at_ms":1789999999000})"},
      {event_type::breaker_closed,
       R"(,"service":"payments","breaker":"default","epoch":7,"cause":"probe_failed",)"
       R"("counts":{"success":10,"failure":11,"timeout":12,"ignored":13,"rejected":14,"slow_success":15,"slow_failure":16},)"
       R"("from":"half_open","reason":"mended","kind":"observed","source":"app-1","to":"forced_open",)"
       R"("transitioned_at_ms":1789999999000})"},
      {event_type::breaker_would_open,
       R"(,"service":"payments","breaker":"default","epoch":7,"cause":"slow_rate","counts":{"success":0,)"
       R"("failure":0,"timeout":0,"ignored":0,"rejected":0,"slow_success":20,"slow_failure":0}})"},
      {event_type::breaker_override_set,
       R"(,"service":"payments","breaker":"default","epoch":8,"mode":"forced_open","scope":"fleet",)"
       R"("reason":"drill","expires_at_ms":1790000600000,"cause":"override_set",)"
       R"("counts":{"success":0,"failure":0,"timeout":0,"ignored":0,"rejected":0,"slow_success":0,"slow_failure":0},)"
       R"("from":"half_open"})"},
      {event_type::breaker_override_cleared,
       R"(,"service":"payments","breaker":"default","epoch":9,"mode":"metrics_only","scope":"fleet",)"
       R"("reason":"drill is over","cause":"override_expired",)"
       R"("counts":{"success":0,"failure":0,"timeout":0,"ignored":0,"rejected":0,"slow_success":0,"slow_failure":0},)"
       R"("from":"metrics_only"})"},
      {event_type::breaker_retired, R"(,"service":"payments","breaker":"default","epoch":9})"},
      {event_type::user_forgotten, R"(,"count":2,"reason":"asked for"})"},
      {event_type::checkpoint,
       R"(,"mac":"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA","of_at_ms":1789999999990,)"
       R"("signer":"AgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICE","signature":)"
       R"("AwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0-P0BBQg"})"},
      {event_type::calls_tallied,
       R"(,"from_ms":1789999990000,"tallies":[["payments","default",{"success":12,"failure":0,"timeout":0,)"
       R"("ignored":0,"rejected":0,"slow_success":0,"slow_failure":0}],["mail","smtp",{"success":0,)"
       R"("failure":0,"timeout":3,"ignored":0,"rejected":0,"slow_success":0,"slow_failure":0}]]})"}};
  for (const auto& [type, tail] : expected)
    EXPECT_EQ(shown(samples::whole(type)), head + std::string(to_string(type)) + about + tail);
  EXPECT_EQ(std::size(expected), event_type_count - 1);  // session_touched is below
}

TEST(event_shown, leaves_out_what_is_absent) {
  EXPECT_EQ(shown(samples::bare(event_type::node_stopped), ""),
            R"({"seq":1,"at_ms":1,"node":"node-1","type":"node_stopped"})");
  EXPECT_EQ(
      shown(samples::bare(event_type::validation_failed), ""),
      R"({"seq":1,"at_ms":1,"node":"node-1","type":"validation_failed","reason":"not_found"})");
}

TEST(event_shown, a_touch_names_one_handle_or_several) {
  auto what = samples::bare(event_type::session_touched);
  auto& touches = std::get<session_touched>(what.body).touches;
  touches.push_back({samples::handle(1), 5, 0});
  EXPECT_EQ(
      shown(what, ""),
      R"({"seq":1,"at_ms":1,"node":"node-1","type":"session_touched","handle":"s_AQIDBAUGBwgJCgsMDQ4PEA"})");
  touches.push_back({samples::handle(2), 6, 0});
  EXPECT_EQ(shown(what, ""),
            R"({"seq":1,"at_ms":1,"node":"node-1","type":"session_touched","handles":)"
            R"(["s_AQIDBAUGBwgJCgsMDQ4PEA","s_AgMEBQYHCAkKCwwNDg8QEQ"]})");
}

}  // namespace
}  // namespace portcullis::core

#include "core/event/codec.hpp"

#include <gtest/gtest.h>

#include "body_text.hpp"
#include "same_event.hpp"
#include "samples.hpp"

namespace portcullis::core {
namespace {

constexpr std::string_view node = "node-1";

result<event> through_the_log(const event& what) {
  const auto body = encode_body(what, node);
  return decode_body(what.seq, what.at_ms, to_string(what.type()),
                     what.subject ? byte_view(what.subject->bytes) : byte_view(), body,
                     what.sealed);
}

std::vector<event_type> all_types() {
  std::vector<event_type> out;
  for (std::size_t i = 0; i < event_type_count; ++i) out.push_back(static_cast<event_type>(i));
  return out;
}

// Members that the log does not keep, by design.
template <class Body>
constexpr std::size_t kept_out = 0;
template <>
constexpr std::size_t kept_out<session_created> = 3;  // find_ip, find_user_agent, ip_plain
template <>
constexpr std::size_t kept_out<session_revoked> = 1;  // session_seqs
template <>
constexpr std::size_t kept_out<user_forgotten> = 1;  // session_seqs

// A base counts as one member of what derives from it.
template <class Body>
constexpr std::size_t in_base = std::is_base_of_v<breaker_transition, Body>
                                    ? member_count<breaker_transition>() - 1
                                    : 0;

template <std::size_t... I>
void check_member_counts(std::index_sequence<I...>) {
  (
      [] {
        using body = std::variant_alternative_t<I, event_body>;
        EXPECT_EQ(
            member_count<body>() + in_base<body>,
            std::tuple_size_v<std::remove_cvref_t<decltype(fields_of<body>)>> + kept_out<body>)
            << to_string(static_cast<event_type>(I));
      }(),
      ...);
}

TEST(event_codec, the_table_forgets_no_member) {
  check_member_counts(std::make_index_sequence<event_type_count>{});
}

TEST(event_codec, every_type_survives_with_every_field) {
  for (const auto type : all_types()) {
    const auto what = samples::whole(type);
    const auto read = through_the_log(what);
    ASSERT_TRUE(read) << to_string(type) << encode_body(what, node);
    EXPECT_TRUE(same_event(what, *read)) << encode_body(what, node);
  }
}

TEST(event_codec, every_type_survives_with_no_field_given) {
  for (const auto type : all_types()) {
    const auto what = samples::bare(type);
    const auto read = through_the_log(what);
    ASSERT_TRUE(read) << to_string(type) << encode_body(what, node);
    EXPECT_TRUE(same_event(what, *read)) << encode_body(what, node);
  }
}

TEST(event_codec, extreme_numbers_survive) {
  constexpr auto lowest = std::numeric_limits<millis>::min();
  constexpr auto highest = std::numeric_limits<millis>::max();
  auto made = samples::whole(event_type::session_created, std::numeric_limits<std::int64_t>::max());
  auto& body = std::get<session_created>(made.body);
  made.at_ms = lowest;
  made.decided_at_ms = highest;
  body.expires_at_ms = highest;
  body.absolute_expires_at_ms = lowest;
  body.ring_key = std::numeric_limits<std::uint32_t>::max();
  body.tenant_generation = std::numeric_limits<std::uint64_t>::max();
  body.data.assign(40'000, '\xff');
  const auto read = through_the_log(made);
  ASSERT_TRUE(read);
  EXPECT_TRUE(same_event(made, *read));
}

TEST(event_codec, texts_with_quotes_controls_and_any_script_survive) {
  auto what = samples::whole(event_type::session_revoked);
  what.tenant_id = "a\"b\\c/\xf0\x9f\x98\x80\xd7\xa9";
  std::get<session_revoked>(what.body).reason = std::string("\0\x01\n\r\t\x1f\x7f end", 11);
  const auto read = through_the_log(what);
  ASSERT_TRUE(read);
  EXPECT_TRUE(same_event(what, *read));
}

TEST(event_codec, decided_at_ms_is_kept_only_where_it_differs) {
  auto what = samples::whole(event_type::session_evicted);
  EXPECT_NE(encode_body(what, node).find("decided_at_ms"), std::string::npos);
  what.decided_at_ms = what.at_ms;
  EXPECT_EQ(encode_body(what, node).find("decided_at_ms"), std::string::npos);
  what.decided_at_ms = 0;  // not told
  EXPECT_EQ(encode_body(what, node).find("decided_at_ms"), std::string::npos);
  EXPECT_EQ(through_the_log(what)->decided_at_ms, what.at_ms);
}

TEST(event_codec, what_only_the_process_knows_is_not_in_the_log) {
  auto what = samples::whole(event_type::session_created);
  what.user_id = "alice";
  what.session_seq = 987654321;
  auto& body = std::get<session_created>(what.body);
  body.find_ip = 123456789123;
  const auto text = encode_body(what, node);
  for (const auto* secret : {"alice", "987654321", "123456789123"})
    EXPECT_EQ(text.find(secret), std::string::npos) << secret;
  EXPECT_EQ(through_the_log(what)->session_seq, what.seq);
}

struct damage {
  const char* name;
  std::string type, body, subject;
};
class damaged_rows : public testing::TestWithParam<damage> {};

TEST_P(damaged_rows, are_log_corrupt) {
  const auto& row = GetParam();
  const auto read = decode_body(1, 1, row.type, as_bytes(row.subject), row.body, "");
  ASSERT_FALSE(read) << row.name;
  EXPECT_EQ(read.error().code, error_code::LOG_CORRUPT);
}

INSTANTIATE_TEST_SUITE_P(
    event_codec, damaged_rows,
    testing::Values(
        damage{"unknown type", "session_creatd", R"({"node":"n"})", ""},
        damage{"empty", "node_stopped", "", ""}, damage{"not an object", "node_stopped", "[]", ""},
        damage{"cut short", "node_stopped", R"({"node":"n")", ""},
        damage{"more behind", "node_stopped", R"({"node":"n"}{})", ""},
        damage{"without node", "node_stopped", "{}", ""},
        damage{"unknown field", "node_stopped", R"({"node":"n","more":1})", ""},
        damage{"twice", "node_stopped", R"({"node":"n","node":"n"})", ""},
        damage{"another type's field", "node_stopped", R"({"node":"n","version":1})", ""},
        damage{"field missing", "session_expired", R"({"node":"n"})", ""},
        damage{"unknown name", "session_expired", R"({"node":"n","kind":"never"})", ""},
        damage{"empty name", "session_expired", R"({"node":"n","kind":""})", ""},
        damage{"number as text", "session_updated", R"({"node":"n","version":"1"})", ""},
        damage{"fraction", "session_updated", R"({"node":"n","version":1.5})", ""},
        damage{"too large", "session_updated", R"({"node":"n","version":4294967296})", ""},
        damage{"negative", "session_updated", R"({"node":"n","version":-1})", ""},
        damage{"bad base64", "auth_failed", R"({"node":"n","source":"****"})", ""},
        damage{"short hash", "auth_failed", R"({"node":"n","source":"AAAA"})", ""},
        damage{"padded data", "session_updated", R"({"node":"n","version":1,"data":"QQ=="})", ""},
        damage{"null", "session_updated", R"({"node":"n","version":null})", ""},
        damage{"bad handle", "session_evicted", R"({"node":"n","handle":"s_"})", ""},
        damage{"policy not an object", "config_reloaded", R"({"node":"n","policy":[]})", ""},
        damage{"touch without time", "session_touched",
               R"({"node":"n","touches":[["s_AQIDBAUGBwgJCgsMDQ4PEA"]]})", ""},
        damage{"unknown signal field", "validation_signalled",
               R"({"node":"n","fields":["colour"],"action":"observe","count":1})", ""},
        damage{"breaker without counts", "breaker_would_open",
               R"({"node":"n","service":"s","breaker":"b","epoch":1,"cause":"slow_rate"})", ""},
        damage{"unknown count", "breaker_would_open",
               R"({"node":"n","service":"s","breaker":"b","epoch":1,"cause":"slow_rate",)"
               R"("counts":{"succes":1}})",
               ""},
        damage{"negative count", "breaker_would_open",
               R"({"node":"n","service":"s","breaker":"b","epoch":1,"cause":"slow_rate",)"
               R"("counts":{"success":-1}})",
               ""},
        damage{"counts in an array", "breaker_would_open",
               R"({"node":"n","service":"s","breaker":"b","epoch":1,"cause":"slow_rate",)"
               R"("counts":[1,2,3,4,5,6,7]})",
               ""},
        damage{"unknown cause", "breaker_would_open",
               R"({"node":"n","service":"s","breaker":"b","epoch":1,"cause":"weather",)"
               R"("counts":{}})",
               ""},
        damage{"epoch as text", "breaker_retired",
               R"({"node":"n","service":"s","breaker":"b","epoch":"1"})", ""},
        damage{"unknown mode", "breaker_override_set",
               R"({"node":"n","service":"s","breaker":"b","epoch":1,"mode":"ajar",)"
               R"("scope":"node","reason":"r"})",
               ""},
        damage{"not UTF-8", "lockout_cleared", "{\"node\":\"n\",\"reason\":\"\xff\"}", ""},
        damage{"short subject", "node_stopped", R"({"node":"n"})", "short"}),
    [](const auto& one) {
      std::string name = one.param.name;
      std::replace_if(
          name.begin(), name.end(),
          [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
      return name;
    });

TEST(event_codec, tells_what_of_the_calls_was_judged_only_where_nodes_judge_together) {
  auto what = samples::bare(event_type::calls_tallied);
  auto& one = std::get<calls_tallied>(what.body).tallies.emplace_back();
  one.service = "s";
  one.breaker = "b";
  one.counts[call_result::failure] = 3;
  one.counts[call_result::rejected] = 2;
  const auto written = [&] {
    EXPECT_TRUE(same_event(*through_the_log(what), what));
    const auto body = encode_body(what, node);
    return body.substr(body.rfind('}', body.size() - 2) + 1);
  };
  EXPECT_EQ(written(), "]]}");
  one.judged = epoch_calls{7, one.counts.taken_place()};
  EXPECT_EQ(written(), ",7]]}") << "all that took place";
  one.judged->calls[call_result::failure] = 1;
  EXPECT_TRUE(same_event(*through_the_log(what), what)) << "or some";
}

// The mac has nothing of a dropped body but its hash: what stood beside that was believed.
TEST(event_codec_regression, beside_what_was_dropped_there_is_nothing_but_node_and_tenant) {
  const std::string hash = R"("dropped":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")";
  const auto read = [](event_type type, const std::string& body) {
    return static_cast<bool>(decode_body(9, 1'790'000'000'000, to_string(type), {}, body, ""));
  };
  for (const auto type : {event_type::session_touched, event_type::calls_tallied}) {
    auto what = samples::whole(type);
    EXPECT_TRUE(read(type, drop_body(encode_body(what, node))));
    EXPECT_TRUE(read(type, R"({"node":"n",)" + hash + "}"));
    EXPECT_TRUE(read(type, R"({"node":"n","tenant_id":"t",)" + hash + "}"));
    for (const char* more :
         {R"("touches":[["s_AQIDBAUGBwgJCgsMDQ4PEA",1]])", R"("touches":[])", R"("from_ms":1)",
          R"("tallies":[["s","b",{"failure":9}]])", R"("handle":"s_AQIDBAUGBwgJCgsMDQ4PEA")",
          R"("correlation_id":"c")", R"("actor":"a")", R"("decided_at_ms":1)"}) {
      EXPECT_FALSE(read(type, R"({"node":"n",)" + hash + "," + more + "}")) << more;
      EXPECT_FALSE(read(type, R"({"node":"n",)" + std::string(more) + "," + hash + "}")) << more;
    }
  }
}

TEST(event_types, names_and_types_are_one_to_one) {
  for (const auto type : all_types()) EXPECT_EQ(parse_event_type(to_string(type)), type);
  EXPECT_EQ(parse_event_type("user_forgotten"), event_type::user_forgotten);
  EXPECT_EQ(parse_event_type("session_created"), event_type::session_created);
  EXPECT_FALSE(parse_event_type("session_create"));
}

TEST(event_reference, names_every_type_and_field) {
  const auto page = event_reference();
  for (const auto type : all_types())
    EXPECT_NE(page.find("## `" + std::string(to_string(type)) + "`"), page.npos);
  for (const auto* field :
       {"`correlation_id`", "`except_handle`", "`window_ends_at_ms`", "`touches`"})
    EXPECT_NE(page.find(field), page.npos) << field;
}

}  // namespace
}  // namespace portcullis::core

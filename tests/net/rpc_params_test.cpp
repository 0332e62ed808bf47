// Every parameter of every method: what is accepted, at and past each limit, and which field an
// error names.
#include <gmock/gmock.h>

#include <string>

#include "net/rpc/fields.hpp"
#include "tests/net/codec_support.hpp"

namespace portcullis::net::test {
namespace {

using core::error_code;
using core::method;

std::string in_quotes(std::string_view text) { return "\"" + std::string(text) + "\""; }
std::string x_times(std::size_t n) { return std::string(n, 'x'); }
const std::string handle_text = "s_AAECAwQFBgcICQoLDA0ODw";
const std::string user = R"("tenant_id":"t","user_id":"u")";
const std::string session = R"("session_id":")" + some_id + R"(","context":)" + some_context;

outcome call(std::string_view name, std::string_view members) {
  return decode_one(call_of(name, "{" + std::string(members) + "}"));
}

/// "ok", or the error as NAME:field:rule.
std::string verdict(const outcome& of) {
  if (!of.error) return "ok";
  return std::string(core::describe(of.code()).name) + ":" + std::string(of.error->field) + ":" +
         std::string(of.error->rule);
}
std::string verdict(std::string_view name, std::string_view members) {
  return verdict(call(name, members));
}

TEST(params, validate_reads_everything) {
  const auto of = call(
      "session.validate",
      R"("session_id":")" + some_id +
          R"(","context":{"ip":"::ffff:203.0.113.7","user_agent":"A\u00e9","accept":"b","accept_language":"c","accept_encoding":"d","ja3":"e","ja4":"f"},"touch":false)");
  ASSERT_FALSE(of.error);
  const auto& params = of.as<core::validate_session>();
  EXPECT_EQ(core::to_hex(params.id.bytes), some_id);
  EXPECT_EQ(core::to_text(params.context.ip), "203.0.113.7");
  EXPECT_THAT(params.context.fields, ::testing::ElementsAre("Aé", "b", "c", "d", "e", "f"));
  EXPECT_FALSE(params.touch);
  EXPECT_TRUE(call("session.validate", session).as<core::validate_session>().touch);
}

TEST(params, create_reads_everything) {
  const auto of = call("session.create",
                       R"("tenant_id":"Ünï","user_id":"u\u002f1","context":)" + some_context +
                           R"(,"data":{ "a" : [ 1 , 2 ] },"idle_ttl_s":60,"absolute_ttl_s":3600)");
  ASSERT_FALSE(of.error);
  const auto& params = of.as<core::create_session>();
  EXPECT_EQ(params.user.tenant_id, "Ünï");
  EXPECT_EQ(params.user.user_id, "u/1");
  EXPECT_EQ(params.data, R"({"a":[1,2]})");
  EXPECT_EQ(params.idle_ttl_s, 60);
  EXPECT_EQ(params.absolute_ttl_s, 3600);
  const auto least = call("session.create", user + R"(,"context":)" + some_context);
  ASSERT_FALSE(least.error);
  EXPECT_EQ(least.as<core::create_session>().data, "");
  EXPECT_FALSE(least.as<core::create_session>().idle_ttl_s);
}

TEST(params, update_rotate_and_revoke_read_everything) {
  const auto update = call("session.update", session + R"(,"data":{},"version":4294967295)");
  EXPECT_EQ(update.as<core::update_session>().version, 4294967295U);
  EXPECT_EQ(update.as<core::update_session>().data, "{}");
  EXPECT_FALSE(
      call("session.update", session + R"(,"data":{})").as<core::update_session>().version);
  EXPECT_TRUE(call("session.rotate", session).as<core::rotate_session>().grace);
  EXPECT_FALSE(
      call("session.rotate", session + R"(,"grace":false)").as<core::rotate_session>().grace);
  const auto by_id = call("session.revoke", R"("session_id":")" + some_id + "\"");
  EXPECT_EQ(core::to_hex(std::get<core::session_id>(by_id.as<core::revoke_session>().target).bytes),
            some_id);
  const auto by_handle = call("session.revoke", R"("handle":")" + handle_text + "\"");
  EXPECT_EQ(
      core::to_text(std::get<core::session_handle>(by_handle.as<core::revoke_session>().target)),
      handle_text);
  const auto all = call("session.revoke_user", user + R"(,"except_session_id":")" + some_id + "\"");
  EXPECT_EQ(core::to_hex(all.as<core::revoke_user>().except.value().bytes), some_id);
  EXPECT_FALSE(call("session.revoke_user", user).as<core::revoke_user>().except);
}

TEST(params, lists_and_finds_read_everything) {
  const auto list = call("session.list", user + R"(,"limit":1000,"cursor":"abc")");
  EXPECT_EQ(list.as<core::list_sessions>().page.limit, 1000U);
  EXPECT_EQ(list.as<core::list_sessions>().page.cursor, "abc");
  EXPECT_EQ(call("session.list", user).as<core::list_sessions>().page.limit, 100U);
  const auto by_ip = call("session.find", R"("tenant_id":"t","ip":"2001:db8::1","limit":1)");
  EXPECT_EQ(core::to_text(std::get<core::ip_address>(by_ip.as<core::find_sessions>().by)),
            "2001:db8::1");
  EXPECT_EQ(by_ip.as<core::find_sessions>().page.limit, 1U);
  const auto by_agent = call("session.find", R"("tenant_id":"t","user_agent":"Mozilla")");
  EXPECT_EQ(std::get<std::string_view>(by_agent.as<core::find_sessions>().by), "Mozilla");
  EXPECT_EQ(call("lockout.list", "").as<core::list_lockouts>().tenant_id, "");
  EXPECT_EQ(call("lockout.list", R"("tenant_id":"t")").as<core::list_lockouts>().tenant_id, "t");
  EXPECT_EQ(call("server.connections", R"("limit":5)").as<core::list_connections>().page.limit, 5U);
}

TEST(params, events_read_everything) {
  const auto subscribe =
      call("events.subscribe",
           R"("after":"c","types":["session_created","breaker_opened"],"tenant_id":"t")");
  ASSERT_FALSE(subscribe.error);
  EXPECT_EQ(subscribe.as<core::subscribe_events>().after, "c");
  EXPECT_THAT(subscribe.as<core::subscribe_events>().types,
              ::testing::ElementsAre("session_created", "breaker_opened"));
  EXPECT_FALSE(call("events.subscribe", "").as<core::subscribe_events>().after);
  EXPECT_EQ(call("events.unsubscribe", R"("subscription":"s1")")
                .as<core::unsubscribe_events>()
                .subscription,
            "s1");
  const auto query = call(
      "events.query", user + R"(,"after":"c","limit":7,"types":["lockout_started"],"handle":")" +
                          handle_text + R"(","service":"pay","from_ms":0,"to_ms":9)");
  ASSERT_FALSE(query.error) << verdict(query);
  const auto& params = query.as<core::query_events>();
  EXPECT_EQ(params.limit, 7U);
  EXPECT_EQ(params.tenant_id, "t");
  EXPECT_EQ(params.user_id, "u");
  EXPECT_EQ(params.service, "pay");
  EXPECT_EQ(core::to_text(params.handle.value()), handle_text);
  EXPECT_EQ(params.from_ms, 0);
  EXPECT_EQ(params.to_ms, 9);
  EXPECT_FALSE(call("events.query", "").as<core::query_events>().from_ms);
}

TEST(params, the_rest_of_the_methods_read_everything) {
  EXPECT_EQ(call("session.revoke_tenant", R"("tenant_id":"t")").as<core::revoke_tenant>().tenant_id,
            "t");
  EXPECT_EQ(call("lockout.status", user).as<core::lockout_status>().user.user_id, "u");
  EXPECT_EQ(
      call("lockout.clear", user + R"(,"reason":"asked for")").as<core::clear_lockout>().reason,
      "asked for");
  EXPECT_TRUE(call("server.info", R"("digest":true)").as<core::info_request>().digest);
  EXPECT_EQ(call("auth.login", R"("token":"abc")").as<core::login>().token, "abc");
  EXPECT_EQ(call("admin.backup", R"("path":"/tmp/b")").as<core::backup>().path, "/tmp/b");
  EXPECT_EQ(call("admin.crash", R"("actor":"hub")").as<core::crash_actor>().actor, "hub");
  for (const std::string name : {"session.stats", "server.ping", "server.version", "server.info",
                                 "admin.reload", "admin.drain", "admin.rotate_keys"})
    EXPECT_EQ(verdict(name, ""), "ok") << name;
}

TEST(params, each_method_is_decoded_into_its_own_request) {
#define X(id, text, roles) EXPECT_NE(verdict(text, R"("_meta":{})"), "METHOD_NOT_FOUND::") << text;
  PORTCULLIS_METHODS(X)
#undef X
}

TEST(params, what_is_required_is_named_when_it_is_missing) {
  EXPECT_EQ(verdict("session.validate", R"("context":)" + some_context),
            "INVALID_PARAMS:session_id:required");
  EXPECT_EQ(verdict("session.validate", R"("session_id":")" + some_id + "\""),
            "INVALID_PARAMS:context:required");
  EXPECT_EQ(verdict("session.create", R"("tenant_id":"t","context":)" + some_context),
            "INVALID_PARAMS:user_id:required");
  EXPECT_EQ(verdict("session.update", session), "INVALID_PARAMS:data:required");
  EXPECT_EQ(verdict("session.revoke_tenant", ""), "INVALID_PARAMS:tenant_id:required");
  EXPECT_EQ(verdict("lockout.clear", user), "INVALID_PARAMS:reason:required");
  EXPECT_EQ(verdict("auth.login", ""), "INVALID_PARAMS:token:required");
  EXPECT_EQ(verdict(decode_one(R"({"jsonrpc":"2.0","id":1,"method":"auth.login"})")),
            "INVALID_PARAMS:token:required");
}

TEST(params, params_are_an_object) {
  for (const std::string params : {"null", "1", "\"x\"", "true", "[1]", "[{}]"})
    EXPECT_EQ(verdict(decode_one(call_of("session.stats", params))), "INVALID_PARAMS:params:object")
        << params;
  for (const std::string name : {"server.ping", "server.version"}) {
    EXPECT_EQ(verdict(decode_one(call_of(name, R"([1,"x",{"a":[]}])"))), "ok");
    EXPECT_EQ(verdict(decode_one(call_of(name, R"([{"a":1,"a":1}])"))),
              "INVALID_PARAMS:params:duplicate_key");
    EXPECT_EQ(verdict(decode_one(call_of(name, "1"))), "INVALID_PARAMS:params:object");
    EXPECT_EQ(verdict(name, R"("x":1)"), "INVALID_PARAMS:params:unknown_parameter");
  }
}

TEST(params, unknown_and_other_methods_parameters_are_refused_without_naming_them) {
  for (const std::string more :
       {R"("evil<script>":1)", R"("user_id":"u")", R"("Touch":true)", R"("":1)"})
    EXPECT_EQ(verdict("session.validate", session + "," + more),
              "INVALID_PARAMS:params:unknown_parameter")
        << more;
  EXPECT_EQ(verdict("session.validate",
                    R"("session_id":")" + some_id + R"(","context":{"ip":"1.2.3.4","x":"y"})"),
            "INVALID_PARAMS:context:unknown_parameter");
}

TEST(params, duplicates_and_lone_surrogates_are_refused_wherever_they_are) {
  EXPECT_EQ(verdict("session.stats", R"("_meta":{},"_meta":{})"),
            "INVALID_PARAMS:_meta:duplicate_key");
  EXPECT_EQ(verdict("session.validate", session + R"(,"touch":true,"\u0074ouch":true)"),
            "INVALID_PARAMS:touch:duplicate_key");
  const std::string id = R"("session_id":")" + some_id + R"(",)";
  EXPECT_EQ(verdict("session.validate", id + R"("context":{"ip":"1.2.3.4","ip":"1.2.3.4"})"),
            "INVALID_PARAMS:context.ip:duplicate_key");
  EXPECT_EQ(verdict("session.validate", id + R"("context":{"ip":"1.2.3.4","user_agent":"\ud800"})"),
            "INVALID_PARAMS:context.user_agent:lone_surrogate");
  EXPECT_EQ(verdict("session.stats", R"("\ud800":1)"), "INVALID_PARAMS:params:lone_surrogate");
  EXPECT_EQ(verdict("session.stats", R"("_meta":{"x":{"a":1,"a":2}})"),
            "INVALID_PARAMS:_meta:duplicate_key");
  for (const std::string data : {R"({"a":1,"a":2})", R"({"a":{"b":[{"c":1,"\u0063":2}]}})"})
    EXPECT_EQ(verdict("session.update", session + R"(,"data":)" + data),
              "INVALID_PARAMS:data:duplicate_key");
  EXPECT_EQ(verdict("session.update", session + R"(,"data":{"a":["\udfff"]})"),
            "INVALID_PARAMS:data:lone_surrogate");
}

TEST(params, identifiers_keep_their_bounds_in_bytes) {
  const auto tenant = [](const std::string& text) {
    return verdict("session.revoke_tenant", R"("tenant_id":)" + text);
  };
  EXPECT_EQ(tenant(in_quotes(x_times(128))), "ok");
  EXPECT_EQ(tenant(in_quotes(x_times(129))), "INVALID_PARAMS:tenant_id:bytes_max");
  EXPECT_EQ(tenant(in_quotes("")), "INVALID_PARAMS:tenant_id:bytes_min");
  EXPECT_EQ(tenant("7"), "INVALID_PARAMS:tenant_id:string");
  EXPECT_EQ(tenant("null"), "INVALID_PARAMS:tenant_id:string");
  std::string euro;
  for (int i = 0; i < 42; ++i) euro += "€";
  EXPECT_EQ(tenant(in_quotes(euro + "xx")), "ok");
  EXPECT_EQ(tenant(in_quotes(euro + "xxx")), "INVALID_PARAMS:tenant_id:bytes_max");
  EXPECT_EQ(verdict("lockout.status", R"("tenant_id":"t","user_id":)" + in_quotes(x_times(256))),
            "ok");
  EXPECT_EQ(verdict("lockout.status", R"("tenant_id":"t","user_id":)" + in_quotes(x_times(257))),
            "INVALID_PARAMS:user_id:bytes_max");
}

TEST(params, identifiers_have_no_controls_and_no_bidirectional_overrides) {
  const std::string refused = "INVALID_PARAMS:user_id:no_controls_or_bidirectional_overrides";
  const auto id = [](const std::string& text) {
    return verdict("lockout.status", R"("tenant_id":"t","user_id":)" + in_quotes("a" + text));
  };
  for (const std::string text :
       {"\\u0000", "\\n", "\\u001f", "\\u0080", "\xc2\x85", "\\u009f", "\\u202a", "\\u202E",
        "\xe2\x80\xae", "\\u2066", "\\u2069", "\xe2\x81\xa7"})
    EXPECT_EQ(id(text), refused) << text;
  for (const std::string text : {" ", "\x7f", "\\u007f", "\\u00a0", "\\u2029", "\\u202f", "\\u2065",
                                 "\\u206a", "é", "\\ud83d\\ude00", "\\/"})
    EXPECT_EQ(id(text), "ok") << text;
}

TEST(params, session_ids_and_handles_have_one_form) {
  const auto id = [](const std::string& text) {
    return verdict("session.revoke", R"("session_id":)" + text);
  };
  const std::string wrong = "INVALID_PARAMS:session_id:64_lower_case_hex_digits";
  EXPECT_EQ(id(in_quotes(some_id)), "ok");
  EXPECT_EQ(id(in_quotes(some_id.substr(1))), wrong);
  EXPECT_EQ(id(in_quotes(some_id + "0")), wrong);
  EXPECT_EQ(id(in_quotes("G" + some_id.substr(1))), wrong);
  EXPECT_EQ(id(in_quotes("F" + some_id.substr(1))), wrong);
  EXPECT_EQ(id(in_quotes("")), wrong);
  EXPECT_EQ(id("1"), "INVALID_PARAMS:session_id:string");
  for (std::size_t at = 0; at < some_id.size(); ++at)
    for (int byte = 0x20; byte < 0x7F; ++byte) {
      std::string text = some_id;
      text[at] = static_cast<char>(byte);
      if (byte == '"' || byte == '\\') continue;
      const bool digit = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');
      const auto of = call("session.revoke", R"("session_id":)" + in_quotes(text));
      ASSERT_EQ(!of.error, digit) << text;
      if (!digit) continue;
      const auto& target = std::get<core::session_id>(of.as<core::revoke_session>().target);
      ASSERT_EQ(core::to_hex(target.bytes), text);
    }
  const auto handle = [](const std::string& text) {
    return verdict("session.revoke", R"("handle":)" + in_quotes(text));
  };
  for (const char last : {handle_text.back(), 'x'})
    EXPECT_EQ(handle(handle_text.substr(0, 23) + last), "ok");
  for (const std::string& text : {handle_text.substr(2), "S_" + handle_text.substr(2),
                                  handle_text + "A", handle_text.substr(0, 23) + "="})
    EXPECT_EQ(handle(text), "INVALID_PARAMS:handle:s_and_22_characters_of_base64url") << text;
}

TEST(params, exactly_one_of_two_where_the_contract_says_so) {
  const std::string both = R"("session_id":")" + some_id + R"(","handle":")" + handle_text + "\"";
  const std::string rule = "INVALID_PARAMS:session_id:exactly_one_of_session_id_handle_and_alias";
  EXPECT_EQ(verdict("session.revoke", both), rule);
  EXPECT_EQ(verdict("session.revoke", ""), rule);
  const std::string find = "INVALID_PARAMS:ip:exactly_one_of_ip_and_user_agent";
  EXPECT_EQ(verdict("session.find", R"("tenant_id":"t")"), find);
  EXPECT_EQ(verdict("session.find", R"("tenant_id":"t","ip":"1.2.3.4","user_agent":"x")"), find);
  EXPECT_EQ(verdict("session.find", R"("tenant_id":"t","ip":"1.2.3")"),
            "INVALID_PARAMS:ip:ipv4_or_ipv6_text");
  EXPECT_EQ(verdict("session.find", R"("tenant_id":"t","user_agent":"")"),
            "INVALID_PARAMS:user_agent:bytes_min");
}

TEST(params, a_context_has_an_address_and_bounded_texts) {
  const auto context = [](const std::string& text) {
    return verdict("session.validate", R"("session_id":")" + some_id + R"(","context":)" + text);
  };
  for (const std::string ip :
       {"0.0.0.0", "255.255.255.255", "::1", "2001:db8::1", "::ffff:1.2.3.4", "FE80::1"})
    EXPECT_EQ(context(R"({"ip":")" + ip + "\"}"), "ok") << ip;
  for (const std::string ip : {"1.2.3", "256.1.1.1", "1.2.3.4:80", "fe80::1%eth0", "::1/64",
                               "localhost", " 1.2.3.4", "1.2.3.4\\u0000", ":::", "1.2.3.4."})
    EXPECT_EQ(context(R"({"ip":")" + ip + "\"}"), "INVALID_PARAMS:context.ip:ipv4_or_ipv6_text")
        << ip;
  EXPECT_EQ(context("{}"), "INVALID_PARAMS:context.ip:required");
  EXPECT_EQ(context(R"({"ip":""})"), "INVALID_PARAMS:context.ip:required");
  EXPECT_EQ(context(R"({"ip":1})"), "INVALID_PARAMS:context.ip:string");
  EXPECT_EQ(context("[]"), "INVALID_PARAMS:context:object");
  for (const auto field : core::context_field_names) {
    const std::string name(field);
    const auto with = [&](const std::string& value) {
      return context(R"({"ip":"::1",")" + name + "\":" + value + "}");
    };
    EXPECT_EQ(with(in_quotes(x_times(1024))), "ok");
    EXPECT_EQ(with(in_quotes(x_times(1025))), "INVALID_PARAMS:context." + name + ":bytes_max");
    EXPECT_EQ(with(R"("")"), "ok");
    EXPECT_EQ(with(R"("\u0000\u202e\n")"), "ok");
    EXPECT_EQ(with("null"), "INVALID_PARAMS:context." + name + ":string");
  }
}

TEST(params, integers_are_json_integers_in_range) {
  const auto limit = [](const std::string& value) {
    return verdict("session.list", user + R"(,"limit":)" + value);
  };
  EXPECT_EQ(limit("1"), "ok");
  EXPECT_EQ(limit("1000"), "ok");
  EXPECT_EQ(limit("0"), "INVALID_PARAMS:limit:min");
  EXPECT_EQ(limit("-1"), "INVALID_PARAMS:limit:min");
  EXPECT_EQ(limit("1001"), "INVALID_PARAMS:limit:max");
  EXPECT_EQ(limit("99999999999999999999"), "INVALID_PARAMS:limit:max");
  EXPECT_EQ(limit("-99999999999999999999"), "INVALID_PARAMS:limit:min");
  for (const std::string value : {"1.0", "1e2", "1.5", "1E0"})
    EXPECT_EQ(limit(value), "INVALID_PARAMS:limit:integer_without_fraction_or_exponent") << value;
  for (const std::string value : {"\"1\"", "true", "null", "[1]"})
    EXPECT_EQ(limit(value), "INVALID_PARAMS:limit:integer");
  const auto version = [](const std::string& value) {
    return verdict("session.update", session + R"(,"data":{},"version":)" + value);
  };
  for (const std::string any :
       {"1", "0", "-1", "4294967296", "-99999999999999999999", "99999999999999999999"})
    EXPECT_EQ(version(any), "ok") << any << ": stale, not malformed";
  EXPECT_EQ(verdict("events.query", R"("from_ms":-1)"), "INVALID_PARAMS:from_ms:min");
}

TEST(params, booleans_are_true_or_false) {
  for (const std::string value : {"0", "1", "\"true\"", "null", "{}"}) {
    EXPECT_EQ(verdict("session.validate", session + R"(,"touch":)" + value),
              "INVALID_PARAMS:touch:boolean");
    EXPECT_EQ(verdict("session.rotate", session + R"(,"grace":)" + value),
              "INVALID_PARAMS:grace:boolean");
  }
}

TEST(params, times_to_live_below_one_are_out_of_range) {
  for (const std::string name : {"idle_ttl_s", "absolute_ttl_s"}) {
    const auto ttl = [&](const std::string& value) {
      return verdict("session.create",
                     user + R"(,"context":)" + some_context + ",\"" + name + "\":" + value);
    };
    EXPECT_EQ(ttl("1"), "ok");
    EXPECT_EQ(ttl("9223372036854775807"), "ok");
    EXPECT_EQ(ttl("0"), "TTL_OUT_OF_RANGE:" + name + ":min");
    EXPECT_EQ(ttl("-5"), "TTL_OUT_OF_RANGE:" + name + ":min");
    EXPECT_EQ(ttl("9223372036854775808"), "TTL_OUT_OF_RANGE:" + name + ":max");
    EXPECT_EQ(ttl("-9223372036854775809"), "TTL_OUT_OF_RANGE:" + name + ":min");
    EXPECT_EQ(ttl("1.0"), "INVALID_PARAMS:" + name + ":integer_without_fraction_or_exponent");
    EXPECT_EQ(ttl("\"60\""), "INVALID_PARAMS:" + name + ":integer");
  }
}

TEST(params, data_is_an_object_bounded_after_minifying) {
  const auto data = [](const std::string& value, message_limits limits = {}) {
    return decode_one(call_of("session.update", "{" + session + R"(,"data":)" + value + "}"),
                      limits);
  };
  for (const std::string value : {"[]", "1", "\"x\"", "null", "true"})
    EXPECT_EQ(verdict(data(value)), "INVALID_PARAMS:data:object");
  const std::string fits = R"({"a":")" + x_times(16 * 1024 - 8) + "\"}";
  EXPECT_EQ(data(fits).as<core::update_session>().data, fits);
  const std::string spaced = "{ \"a\" :\n\"" + x_times(16 * 1024 - 8) + "\" \t}";
  EXPECT_EQ(data(spaced).as<core::update_session>().data, fits);
  const auto over = data(R"({"a":")" + x_times(16 * 1024 - 7) + "\"}");
  EXPECT_EQ(verdict(over), "DATA_TOO_LARGE:data:bytes_max");
  EXPECT_EQ(over.error->limit, 16 * 1024);
  EXPECT_EQ(verdict(data(R"({"a":1})", {.data_bytes_max = 6})), "DATA_TOO_LARGE:data:bytes_max");
  const std::string kept = R"({"\u0061\/":"\u00e9\ud83d\ude00","n":[1.0,1E5,-0]})";
  EXPECT_EQ(data(kept).as<core::update_session>().data, kept);
}

TEST(params, data_may_stand_before_what_is_read_after_it) {
  const auto of = decode_one(
      call_of("session.update", R"({"data":{ "k" : [ 1 ] },"version":3,)" + session + "}"));
  ASSERT_FALSE(of.error);
  EXPECT_EQ(of.as<core::update_session>().data, R"({"k":[1]})");
  EXPECT_EQ(of.as<core::update_session>().version, 3U);
  EXPECT_EQ(of.as<core::update_session>().context.fields[0], "Mozilla/5.0");
}

TEST(params, cursors_that_cannot_be_ours_are_invalid_cursors) {
  const auto cursor = [](const std::string& value) {
    return verdict("session.list", user + R"(,"cursor":)" + value);
  };
  EXPECT_EQ(cursor(in_quotes(x_times(256))), "ok");
  EXPECT_EQ(cursor(in_quotes(x_times(257))), "CURSOR_INVALID:cursor:");
  EXPECT_EQ(cursor("\"\""), "CURSOR_INVALID:cursor:");
  EXPECT_EQ(cursor("7"), "INVALID_PARAMS:cursor:string");
  EXPECT_EQ(verdict("events.query", R"("after":)" + in_quotes(x_times(257))),
            "CURSOR_INVALID:after:");
  EXPECT_EQ(verdict("events.subscribe", R"("after":1)"), "INVALID_PARAMS:after:string");
}

TEST(params, types_are_names_of_events) {
  const auto types = [](const std::string& value) {
    return verdict("events.subscribe", R"("types":)" + value);
  };
  EXPECT_EQ(types(R"(["session_touched"])"), "ok");
  EXPECT_EQ(types("[]"), "INVALID_PARAMS:types:entries_min");
  EXPECT_EQ(types(R"(["nope"])"), "INVALID_PARAMS:types:event_type");
  EXPECT_EQ(types(R"([1])"), "INVALID_PARAMS:types:string");
  EXPECT_EQ(types(R"([["session_created"]])"), "INVALID_PARAMS:types:string");
  EXPECT_EQ(types(R"("session_created")"), "INVALID_PARAMS:types:array_of_strings");
  const auto many = [&](int n) {
    std::string list;
    for (int i = 0; i < n; ++i) list += std::string(i == 0 ? "" : ",") + R"("session_created")";
    return types("[" + list + "]");
  };
  EXPECT_EQ(many(64), "ok");
  EXPECT_EQ(many(65), "INVALID_PARAMS:types:entries_max");
}

TEST(params, reasons_paths_services_and_actors_keep_their_bounds) {
  const auto reason = [](const std::string& value) {
    return verdict("lockout.clear", user + R"(,"reason":)" + in_quotes(value));
  };
  EXPECT_EQ(reason(x_times(256)), "ok");
  EXPECT_EQ(reason(x_times(257)), "INVALID_PARAMS:reason:bytes_max");
  EXPECT_EQ(reason(""), "INVALID_PARAMS:reason:bytes_min");
  EXPECT_EQ(reason("a\\nb"), "INVALID_PARAMS:reason:no_controls");
  EXPECT_EQ(reason("\\u0085"), "INVALID_PARAMS:reason:no_controls");
  const auto path = [](const std::string& value) {
    return verdict("admin.backup", R"("path":)" + in_quotes(value));
  };
  EXPECT_EQ(path(x_times(4096)), "ok");
  EXPECT_EQ(path(x_times(4097)), "INVALID_PARAMS:path:bytes_max");
  EXPECT_EQ(path(""), "INVALID_PARAMS:path:bytes_min");
  EXPECT_EQ(path("/tmp/a\\u0000b"), "INVALID_PARAMS:path:no_nul");
  const auto service = [](const std::string& value) {
    return verdict("events.query", R"("service":)" + in_quotes(value));
  };
  EXPECT_EQ(service(x_times(64)), "ok");
  EXPECT_EQ(service(x_times(65)), "INVALID_PARAMS:service:bytes_max");
  EXPECT_EQ(service("a b"), "INVALID_PARAMS:service:letters_digits_underscore_dot_hyphen");
  EXPECT_EQ(verdict("events.unsubscribe", R"("subscription":"")"),
            "INVALID_PARAMS:subscription:bytes_min");
}

TEST(params, the_correlation_id_comes_from_meta_or_the_trace) {
  const std::string trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const auto id = [](const std::string& meta) {
    const auto of = call("server.ping", R"("_meta":)" + meta);
    return of.error ? verdict(of) : of.correlation_id;
  };
  EXPECT_EQ(id("{}"), "");
  EXPECT_EQ(id(R"({"correlation_id":"A.b_c-9"})"), "A.b_c-9");
  EXPECT_EQ(id(R"({"correlation_id":)" + in_quotes(x_times(64)) + "}"), x_times(64));
  EXPECT_EQ(id(R"({"traceparent":")" + trace + "\"}"), trace.substr(3, 32));
  EXPECT_EQ(id(R"({"traceparent":")" + trace + R"(","correlation_id":"mine"})"), "mine");
  EXPECT_EQ(id(R"({"progressToken":7,"other":{"a":[1]}})"), "");
  const std::string rule =
      "INVALID_PARAMS:_meta.correlation_id:1_to_64_of_letters_digits_dot_underscore_hyphen";
  EXPECT_EQ(id(R"({"correlation_id":)" + in_quotes(x_times(65)) + "}"), rule);
  EXPECT_EQ(id(R"({"correlation_id":""})"), rule);
  EXPECT_EQ(id(R"({"correlation_id":"a b"})"), rule);
  EXPECT_EQ(id(R"({"correlation_id":7})"), "INVALID_PARAMS:_meta.correlation_id:string");
  EXPECT_EQ(id("[]"), "INVALID_PARAMS:_meta:object");
  EXPECT_EQ(id(R"({"traceparent":7})"), "");
}

TEST(params, a_malformed_traceparent_is_ignored) {
  const std::string good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  EXPECT_EQ(trace_id_of(good), good.substr(3, 32));
  EXPECT_EQ(trace_id_of("cc" + good.substr(2) + "-later"), good.substr(3, 32));
  const std::vector<std::string> malformed = {
      "",
      good.substr(1),
      good + "-x",
      "ff" + good.substr(2),
      "cc" + good.substr(2) + "x",
      "0G" + good.substr(2),
      "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
      "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
      "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
      "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
      "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x"};
  for (const auto& text : malformed) EXPECT_EQ(trace_id_of(text), "") << text;
}

}  // namespace
}  // namespace portcullis::net::test

// The two forms of a line.
#include "monitoring/render.hpp"

#include <gtest/gtest.h>

#include <string>

namespace portcullis::monitoring {
namespace {

std::string time_text(core::millis at_ms) {
  core::byte_buffer out;
  append_time(out, at_ms);
  return std::string(out.view());
}

class render : public testing::Test {
 protected:
  std::string hostile = "a\nb\"c";
  std::vector<field> fields = {{"tenant.id", hostile},
                               {"event.reason", ""},
                               {"session.count", 18'446'744'073'709'551'615ULL},
                               {"delta", -3},
                               {"grace", true}};
  log_line line{1'709'210'096'789, core::log_level::warn, component::net, "Something happened.",
                fields};
};

TEST_F(render, times_are_rfc3339_in_utc_with_milliseconds) {
  EXPECT_EQ(time_text(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(time_text(1'709'210'096'789), "2024-02-29T12:34:56.789Z");
  EXPECT_EQ(time_text(-1), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(time_text(INT64_MAX), "9999-12-31T23:59:59.999Z");
  EXPECT_EQ(time_text(INT64_MIN), "0000-01-01T00:00:00.000Z");
}

TEST_F(render, a_json_line_has_ecs_names_and_escaped_values_and_leaves_empty_texts_out) {
  core::byte_buffer out;
  render_json(out, line, {"node-1", "1.2.3"});
  EXPECT_EQ(out.view(),
            R"({"@timestamp":"2024-02-29T12:34:56.789Z","log.level":"warn",)"
            R"("message":"Something happened.","ecs.version":"8.11.0","log.logger":"net",)"
            R"("service.name":"portcullis","service.node.name":"node-1","service.version":"1.2.3",)"
            R"("tenant.id":"a\nb\"c","session.count":18446744073709551615,"delta":-3,"grace":true})"
            "\n");
}

TEST_F(render, before_configuration_a_json_line_names_no_node) {
  core::byte_buffer out;
  render_json(out, {0, core::log_level::info, component::server, "Hello.", {}}, {});
  EXPECT_EQ(out.view(),
            R"({"@timestamp":"1970-01-01T00:00:00.000Z","log.level":"info","message":"Hello.",)"
            R"("ecs.version":"8.11.0","log.logger":"server","service.name":"portcullis"})"
            "\n");
}

TEST_F(render, a_text_line_escapes_just_the_same) {
  core::byte_buffer out;
  render_text(out, line);
  EXPECT_EQ(out.view(),
            "2024-02-29T12:34:56.789Z WARN  net: Something happened. tenant.id=\"a\\nb\\\"c\" "
            "session.count=18446744073709551615 delta=-3 grace=true\n");
}

}  // namespace
}  // namespace portcullis::monitoring

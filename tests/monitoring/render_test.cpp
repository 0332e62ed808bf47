// The three forms of a line.
#include "monitoring/render.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

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

TEST_F(render, a_journal_entry_has_the_same_fields_by_names_that_the_journal_takes) {
  core::byte_buffer out;
  render_journal(out, line, {"node-1", "1.2.3"});
  EXPECT_EQ(out.view(),
            "MESSAGE=Something happened.\nPRIORITY=4\nSYSLOG_IDENTIFIER=portcullis\n"
            "TIMESTAMP=2024-02-29T12:34:56.789Z\nLOG_LEVEL=warn\nLOG_LOGGER=net\n"
            "ECS_VERSION=8.11.0\nSERVICE_NAME=portcullis\nSERVICE_NODE_NAME=node-1\n"
            "SERVICE_VERSION=1.2.3\nTENANT_ID=a\\nb\\\"c\nSESSION_COUNT=18446744073709551615\n"
            "DELTA=-3\nGRACE=true\n");
}

TEST_F(render, a_journal_entry_has_the_priority_that_syslog_has_for_each_level) {
  const auto priority = [](core::log_level level) {
    core::byte_buffer out;
    render_journal(out, {0, level, component::net, "Hello.", {}}, {});
    const auto text = std::string(out.view());
    return text[text.find("PRIORITY=") + 9];
  };
  EXPECT_EQ(priority(core::log_level::trace), '7');
  EXPECT_EQ(priority(core::log_level::debug), '7');
  EXPECT_EQ(priority(core::log_level::info), '6');
  EXPECT_EQ(priority(core::log_level::warn), '4');
  EXPECT_EQ(priority(core::log_level::error), '3');
}

TEST_F(render, no_value_can_make_a_field_of_its_own_in_a_journal_entry) {
  using namespace std::string_literals;
  const auto bytes = "\n_PID=1\nMESSAGE\n\x08\0\0\0\0\0\0\0forged!!\n\r\x1b[31m\x7f\xc2\x85\xff"s;
  const std::vector<field> only = {{"tenant.id", bytes}};
  core::byte_buffer out;
  render_journal(out, {0, core::log_level::info, component::net, "Hello.", only}, {});
  const auto text = std::string(out.view());
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 9);
  EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char c) {
    return c == '\n' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  }));
  EXPECT_NE(text.find("TENANT_ID=\\n_PID=1\\nMESSAGE\\n"), text.npos) << text;
}

}  // namespace
}  // namespace portcullis::monitoring

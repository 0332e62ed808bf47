// The log with its outputs: in a file and in the journal, what is lost there and what is said of
// it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>

#include <functional>
#include <thread>

#include "log_places.hpp"
#include "monitoring/log.hpp"

namespace portcullis::monitoring {
namespace {

using core::log_level;
using core::log_output;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

core::millis an_instant() { return 1'709'210'096'789; }

std::size_t count(std::string_view text, std::string_view of) {
  std::size_t found = 0;
  for (auto at = text.find(of); at != text.npos; at = text.find(of, at + 1)) ++found;
  return found;
}

bool eventually(const std::function<bool()>& holds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until) return false;
    poll(nullptr, 0, 2);  // the other side is a thread that tells nobody
  }
  return true;
}

TEST(a_log, in_a_file_writes_json_and_follows_the_path_also_while_nothing_is_logged) {
  const folder in;
  logger under_test({-1, 64, an_instant});
  std::string why;
  ASSERT_TRUE(under_test.open({log_output::file, in.at("log")}, why)) << why;
  under_test.write(log_level::info, component::net, "One.");
  ASSERT_TRUE(under_test.flush());
  fs::rename(in.at("log"), in.at("log.1"));
  EXPECT_TRUE(eventually([&] { return fs::exists(in.at("log")); }));
  EXPECT_EQ(content(in.at("log")), "");
  fs::remove(in.at("log"));
  under_test.write(log_level::info, component::net, "Two.");
  ASSERT_TRUE(under_test.flush());
  EXPECT_THAT(content(in.at("log.1")), HasSubstr(R"("message":"One.")"));
  EXPECT_THAT(content(in.at("log")), HasSubstr(R"("message":"Two.")"));
  EXPECT_EQ(under_test.tallies().dropped, 0U);
}

TEST(a_log, that_cannot_be_opened_stays_where_it_was) {
  const folder in;
  logger under_test({-1, 64, an_instant});
  std::string why;
  ASSERT_TRUE(under_test.open({log_output::file, in.at("log")}, why));
  EXPECT_FALSE(under_test.open({log_output::file, in.at("no/log")}, why));
  EXPECT_THAT(why, HasSubstr("No such file or directory"));
  under_test.write(log_level::info, component::net, "Here.");
  ASSERT_TRUE(under_test.flush());
  EXPECT_THAT(content(in.at("log")), HasSubstr("Here."));
}

TEST(a_log, whose_file_cannot_be_opened_anew_says_so_once_in_the_file_that_there_is) {
  const folder in;
  fs::create_directory(in.at("logs"));
  logger under_test({-1, 64, an_instant});
  std::string why;
  ASSERT_TRUE(under_test.open({log_output::file, in.at("logs/log")}, why));
  fs::rename(in.at("logs"), in.at("away"));
  const auto said = [&] { return count(content(in.at("away/log")), "cannot be opened anew"); };
  EXPECT_TRUE(eventually([&] {
    under_test.write(log_level::info, component::net, "On.");
    return under_test.flush() && said() > 0;
  }));
  for (int i = 0; i < 10; ++i) under_test.write(log_level::info, component::net, "On.");
  ASSERT_TRUE(under_test.flush());
  EXPECT_EQ(said(), 1U);
  EXPECT_THAT(content(in.at("away/log")), HasSubstr("No such file or directory"));
  fs::rename(in.at("away"), in.at("logs"));
  under_test.reopen();
  under_test.write(log_level::info, component::net, "Back.");
  ASSERT_TRUE(under_test.flush());
  EXPECT_THAT(content(in.at("logs/log")), HasSubstr("Back."));
  EXPECT_EQ(under_test.tallies().dropped, 0U);
}

TEST(a_log, asked_to_reopen_has_another_descriptor_though_nothing_is_logged_or_moved) {
  // A file that was moved is noticed without being asked, which would hide that asking does
  // nothing.
  const folder in;
  logger under_test({-1, 64, an_instant});
  std::string why;
  ASSERT_TRUE(under_test.open({log_output::file, in.at("log")}, why));
  for (int i = 0; i < 3; ++i) {
    const auto before = descriptors_of(in.at("log"));
    ASSERT_THAT(before, SizeIs(1));
    under_test.reopen();
    EXPECT_TRUE(eventually([&] {
      const auto now = descriptors_of(in.at("log"));
      return now.size() == 1 && now != before;
    }));
  }
}

TEST(a_log, told_to_reopen_often_while_its_reader_is_stuck_loses_and_counts_lines_alone) {
  const folder in;
  stuffed_fifo stuck(in.at("fifo"));
  stuck.read_page();
  constexpr std::uint64_t queue = 10;
  logger under_test({-1, queue, an_instant});
  std::string why;
  ASSERT_TRUE(under_test.open({log_output::file, in.at("fifo")}, why)) << why;
  // Longer than a page: when its beginning is there, the log's thread is stuck with the rest.
  const std::string text(1'000, 'x');
  const std::vector<field> fields(5, field("a", text));
  const auto before = stuck.waiting();
  under_test.write_fields(log_level::info, component::net, "Waits.", fields);
  while (stuck.waiting() == before) std::this_thread::yield();

  const auto write = [&](std::uint64_t lines) {
    for (std::uint64_t i = 0; i < lines; ++i) {
      for (int j = 0; j < 100; ++j) under_test.reopen();
      under_test.write(log_level::info, component::net, "Waits.", {{"i", i}});
    }
    EXPECT_FALSE(under_test.flush(std::chrono::milliseconds(1))) << "nothing more is written yet";
  };
  write(queue);
  EXPECT_EQ(under_test.tallies().dropped, 0U);
  write(5);
  EXPECT_EQ(under_test.tallies().dropped, 5U);
  std::string got;
  do got += stuck.read_all();
  while (!under_test.flush(std::chrono::milliseconds(1)));
  got += stuck.read_all();
  EXPECT_EQ(count(got, "Waits."), queue + 1);
  EXPECT_EQ(under_test.tallies().dropped, 5U);
}

TEST(a_log, on_a_full_disk_counts_what_it_lost_and_says_how_much_when_there_is_space) {
  const folder in;
  logger under_test({-1, 1'000, an_instant});
  std::string why;
  ASSERT_TRUE(under_test.open({log_output::file, in.at("log")}, why));
  under_test.write(log_level::info, component::net, "Before.");
  ASSERT_TRUE(under_test.flush());
  {
    const room_for no_more(fs::file_size(in.at("log")));
    for (int i = 0; i < 100; ++i) {
      under_test.write(log_level::info, component::net, "Lost.");
      ASSERT_TRUE(under_test.flush());
    }
  }
  EXPECT_EQ(under_test.tallies().dropped, 100U) << "and no line about it among them";
  EXPECT_EQ(under_test.tallies().write_errors, 100U);
  under_test.write(log_level::info, component::net, "After.");
  ASSERT_TRUE(under_test.flush());
  under_test.write(log_level::info, component::net, "Later.");
  ASSERT_TRUE(under_test.flush());
  const auto text = content(in.at("log"));
  EXPECT_THAT(text, Not(HasSubstr("Lost.")));
  EXPECT_THAT(text, HasSubstr("After."));
  EXPECT_THAT(text, HasSubstr(R"("log.dropped":100,"log.dropped_total":100)"));
}

TEST(a_log, in_the_journal_sends_fields_and_a_stalled_journald_delays_no_writer) {
  const folder in;
  journald there(in.at("socket"));
  logger under_test({-1, 100, an_instant});
  std::string why;
  ASSERT_TRUE(under_test.open({log_output::journald, in.at("socket")}, why));
  under_test.write(log_level::warn, component::auth, "A line.",
                   {{"event.action", "tried"}, {"text", "a\nb\"c"}, {"count", 3}});
  ASSERT_TRUE(under_test.flush());
  EXPECT_THAT(there.entries(),
              ElementsAre("MESSAGE=A line.\nPRIORITY=4\nSYSLOG_IDENTIFIER=portcullis\n"
                          "TIMESTAMP=2024-02-29T12:34:56.789Z\nLOG_LEVEL=warn\nLOG_LOGGER=auth\n"
                          "ECS_VERSION=8.11.0\nSERVICE_NAME=portcullis\nEVENT_ACTION=tried\n"
                          "TEXT=a\\nb\\\"c\nCOUNT=3\n"));

  constexpr std::uint64_t lines = 10'000;
  for (std::uint64_t i = 0; i < lines; ++i)
    under_test.write(log_level::info, component::net, "Flood.", {{"i", i}});
  // That we are here is the point.
  EXPECT_FALSE(under_test.flush(std::chrono::milliseconds(1)));
  const auto dropped = under_test.tallies().dropped;
  EXPECT_GT(dropped, 0U);
  EXPECT_EQ(under_test.tallies().write_errors, 0U) << "it is slow, and refuses nothing";
  std::vector<std::string> got;
  const auto read_on = [&] {
    for (auto& each : there.entries()) got.push_back(std::move(each));
  };
  while (!under_test.flush(std::chrono::milliseconds(1))) read_on();
  under_test.write(log_level::info, component::net, "After.");
  while (!under_test.flush(std::chrono::milliseconds(1))) read_on();
  read_on();
  EXPECT_EQ(got.size(), lines - dropped + 2);
  EXPECT_THAT(got[got.size() - 3], HasSubstr("\nI=9999\n")) << "the newest are kept";
  EXPECT_THAT(got[got.size() - 2], HasSubstr("\nLOG_DROPPED=" + std::to_string(dropped) + "\n"));
}

TEST(a_log, in_the_journal_sends_the_largest_entry_that_a_line_can_be) {
  const folder in;
  journald there(in.at("socket"));
  logger under_test({-1, 100, an_instant});
  std::string why;
  ASSERT_TRUE(under_test.open({log_output::journald, in.at("socket")}, why));
  const std::string text(2'000, '\x01');  // six bytes each, escaped
  const std::vector<field> fields(24, field("a", text));
  under_test.write_fields(log_level::info, component::net, "Large.", fields);
  ASSERT_TRUE(under_test.flush());
  EXPECT_EQ(under_test.tallies().dropped, 0U);
  const auto got = there.entries();
  ASSERT_THAT(got, SizeIs(1));
  EXPECT_GT(got[0].size(), 24U * 6 * 1'024);
}

TEST(a_log, without_journald_counts_what_is_lost_and_goes_on_when_it_comes) {
  const folder in;
  logger under_test({-1, 100, an_instant});
  std::string why;
  ASSERT_TRUE(under_test.open({log_output::journald, in.at("socket")}, why))
      << "no failure: it may come later";
  for (int i = 0; i < 5; ++i) {
    under_test.write(log_level::info, component::net, "Lost.");
    ASSERT_TRUE(under_test.flush());
  }
  EXPECT_EQ(under_test.tallies().dropped, 5U);
  EXPECT_EQ(under_test.tallies().write_errors, 5U);
  journald there(in.at("socket"));
  under_test.write(log_level::info, component::net, "Taken.");
  ASSERT_TRUE(under_test.flush());
  under_test.write(log_level::info, component::net, "Next.");
  ASSERT_TRUE(under_test.flush());
  const auto got = there.entries();
  ASSERT_THAT(got, SizeIs(3));
  EXPECT_THAT(got[0], HasSubstr("Taken."));
  EXPECT_THAT(got[1], HasSubstr("\nLOG_DROPPED=5\n"));
}

TEST(a_log, whose_journald_stays_stalled_ends_all_the_same) {
  const folder in;
  journald there(in.at("socket"));
  logger under_test({-1, 100, an_instant});
  std::string why;
  ASSERT_TRUE(under_test.open({log_output::journald, in.at("socket")}, why));
  for (int i = 0; i < 2'000; ++i) under_test.write(log_level::info, component::net, "Flood.");
  // The end of this test is what is tested.
}

TEST(a_log, that_is_opened_elsewhere_keeps_what_it_had_and_its_counts) {
  const folder in;
  const int before = open(in.at("before").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  logger under_test({before, 64, an_instant});
  log_settings settings;
  settings.level = log_level::debug;
  settings.node_id = "node-9";
  under_test.configure(settings);
  under_test.write(log_level::debug, component::net, "One.");
  std::string why;
  ASSERT_TRUE(under_test.open({log_output::file, in.at("after")}, why));
  under_test.write(log_level::debug, component::net, "Two.");
  ASSERT_TRUE(under_test.flush());
  EXPECT_THAT(content(in.at("before")), HasSubstr("One."));
  EXPECT_THAT(content(in.at("before")), Not(HasSubstr("Two.")));
  EXPECT_THAT(content(in.at("after")), HasSubstr(R"("message":"Two.")"));
  EXPECT_THAT(content(in.at("after")), HasSubstr("node-9")) << "the settings go with it";
  EXPECT_EQ(under_test.tallies().messages[1], 2U);
  close(before);
}

}  // namespace
}  // namespace portcullis::monitoring

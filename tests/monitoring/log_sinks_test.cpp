// What takes lines: files that are moved, deleted and full, and a journald that leaves and comes
// back.
#include "monitoring/log_sinks.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/stat.h>

#include <thread>

#include "log_places.hpp"

namespace portcullis::monitoring {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using outcome = log_sink::outcome;

std::unique_ptr<log_sink> file_sink(const std::string& path) {
  std::string why;
  auto made = make_file_sink(path, why);
  if (!made) throw std::runtime_error(why);
  return std::move(*made);
}

TEST(a_file, is_appended_to_and_made_for_its_group_to_read) {
  const folder in;
  std::ofstream(in.at("log")) << "before\n";
  log_demands none;
  EXPECT_EQ(file_sink(in.at("log"))->put("after\n", none), outcome::taken);
  EXPECT_EQ(content(in.at("log")), "before\nafter\n");

  const auto mask = umask(0);
  const auto made = file_sink(in.at("new"));
  umask(mask);
  struct stat at {};
  ASSERT_EQ(stat(in.at("new").c_str(), &at), 0);
  EXPECT_EQ(at.st_mode & 07777U, 0640U);
}

TEST(a_file, that_cannot_be_opened_is_named_with_what_the_system_says_and_no_folder_is_made) {
  const folder in;
  std::string why;
  const auto reason = [&](const std::string& path) {
    const auto made = make_file_sink(path, why);
    EXPECT_FALSE(made);
    EXPECT_TRUE(made || made.error().code == core::error_code::CONFIG_INVALID);
    return why;
  };
  EXPECT_EQ(reason(in.at("no/log")),
            "log.file: " + in.at("no/log") + ": No such file or directory");
  EXPECT_FALSE(fs::exists(in.at("no")));
  EXPECT_EQ(reason(in.at("")), "log.file: " + in.at("") + ": Is a directory");
  std::ofstream(in.at("file")) << "";
  EXPECT_EQ(reason(in.at("file/log")), "log.file: " + in.at("file/log") + ": Not a directory");
  // A FIFO without a reader would hold up the log for ever.
  ASSERT_EQ(mkfifo(in.at("fifo").c_str(), 0600), 0);
  EXPECT_THAT(reason(in.at("fifo")), HasSubstr("No such device or address"));
}

TEST(a_file, descriptors_of_it_are_not_handed_to_other_programs) {
  const folder in;
  const auto made = file_sink(in.at("log"));
  const auto wanted = fs::canonical(in.at("log"));
  int seen = 0;
  for (const auto& each : fs::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (fs::read_symlink(each.path(), gone) != wanted) continue;
    ++seen;
    EXPECT_NE(fcntl(std::stoi(each.path().filename()), F_GETFD) & FD_CLOEXEC, 0);
  }
  EXPECT_EQ(seen, 1);
}

TEST(a_file, moved_or_deleted_has_no_line_more_and_loses_none) {
  const folder in;
  log_demands none;
  const auto sink = file_sink(in.at("log"));
  ASSERT_EQ(sink->put("1\n", none), outcome::taken);
  fs::rename(in.at("log"), in.at("log.1"));
  ASSERT_EQ(sink->put("2\n", none), outcome::taken);
  ASSERT_EQ(sink->put("3\n", none), outcome::taken);
  EXPECT_EQ(content(in.at("log.1")), "1\n");
  EXPECT_EQ(content(in.at("log")), "2\n3\n");
  fs::remove(in.at("log"));
  ASSERT_EQ(sink->put("4\n", none), outcome::taken);
  EXPECT_EQ(content(in.at("log")), "4\n");
  // logrotate's create: another file has the name already.
  fs::rename(in.at("log"), in.at("log.2"));
  std::ofstream(in.at("log")) << "";
  ASSERT_EQ(sink->put("5\n", none), outcome::taken);
  EXPECT_EQ(content(in.at("log.2")), "4\n");
  EXPECT_EQ(content(in.at("log")), "5\n");
  // logrotate's copytruncate.
  fs::copy_file(in.at("log"), in.at("log.3"));
  fs::resize_file(in.at("log"), 0);
  ASSERT_EQ(sink->put("6\n", none), outcome::taken);
  EXPECT_EQ(content(in.at("log")), "6\n");
}

TEST(a_file, whose_folder_is_moved_goes_on_under_its_new_name_until_the_path_is_there_again) {
  const folder in;
  log_demands none;
  fs::create_directory(in.at("logs"));
  const auto sink = file_sink(in.at("logs/log"));
  EXPECT_EQ(sink->reopening_failed(), 0);
  fs::rename(in.at("logs"), in.at("away"));
  ASSERT_EQ(sink->put("1\n", none), outcome::taken);
  EXPECT_EQ(content(in.at("away/log")), "1\n");
  EXPECT_EQ(sink->reopening_failed(), ENOENT);
  fs::create_directory(in.at("logs"));
  sink->look_after(true);
  EXPECT_EQ(sink->reopening_failed(), 0);
  ASSERT_EQ(sink->put("2\n", none), outcome::taken);
  EXPECT_EQ(content(in.at("logs/log")), "2\n");
  EXPECT_EQ(content(in.at("away/log")), "1\n");
}

TEST(a_file, that_has_no_name_any_more_and_cannot_be_made_anew_takes_no_line_as_written) {
  const folder in;
  log_demands none;
  fs::create_directory(in.at("logs"));
  const auto sink = file_sink(in.at("logs/log"));
  fs::remove_all(in.at("logs"));
  EXPECT_EQ(sink->put("1\n", none), outcome::refused);
  fs::create_directory(in.at("logs"));
  sink->look_after(true);
  EXPECT_EQ(sink->put("2\n", none), outcome::taken);
  EXPECT_EQ(content(in.at("logs/log")), "2\n");
}

TEST(a_file, without_space_refuses_lines_and_a_torn_one_does_not_run_into_the_next) {
  const folder in;
  log_demands none;
  const auto sink = file_sink(in.at("log"));
  ASSERT_EQ(sink->put("whole\n", none), outcome::taken);
  {
    const room_for some(10);
    EXPECT_EQ(sink->put("torn in two\n", none), outcome::refused);
    EXPECT_EQ(sink->put("does not fit\n", none), outcome::refused);
  }
  EXPECT_EQ(sink->put("next\n", none), outcome::taken);
  EXPECT_EQ(content(in.at("log")), "whole\ntorn\nnext\n");
  EXPECT_EQ(sink->put("last\n", none), outcome::taken);
  EXPECT_EQ(content(in.at("log")), "whole\ntorn\nnext\nlast\n");
  // What was torn stays behind when the file is moved.
  {
    const room_for some(23);
    EXPECT_EQ(sink->put("torn\n", none), outcome::refused);
  }
  fs::rename(in.at("log"), in.at("log.1"));
  EXPECT_EQ(sink->put("anew\n", none), outcome::taken);
  EXPECT_EQ(content(in.at("log")), "anew\n");
}

TEST(a_file, that_another_process_left_within_a_line_goes_on_with_a_new_one) {
  const folder in;
  log_demands none;
  std::ofstream(in.at("log")) << "whole\ntorn";
  ASSERT_EQ(file_sink(in.at("log"))->put("next\n", none), outcome::taken);
  EXPECT_EQ(content(in.at("log")), "whole\ntorn\nnext\n");
  ASSERT_EQ(file_sink(in.at("log"))->put("last\n", none), outcome::taken);
  EXPECT_EQ(content(in.at("log")), "whole\ntorn\nnext\nlast\n") << "and no empty line";
  // Also one that takes its place later.
  std::ofstream(in.at("other")) << "torn";
  const auto sink = file_sink(in.at("log"));
  fs::rename(in.at("other"), in.at("log"));
  ASSERT_EQ(sink->put("1\n", none), outcome::taken);
  ASSERT_EQ(sink->put("2\n", none), outcome::taken);
  EXPECT_EQ(content(in.at("log")), "torn\n1\n2\n");
}

TEST(a_file, of_a_fifo_that_is_stuck_is_left_for_what_has_its_path_when_that_is_wanted) {
  const folder in;
  stuffed_fifo stuck(in.at("log"));
  stuck.read_page();
  const auto before = stuck.waiting();
  const auto sink = file_sink(in.at("log"));
  log_demands wanted;
  const std::string line = std::string(10'000, 'x') + "\n";
  std::jthread writing([&] { EXPECT_EQ(sink->put(line, wanted), outcome::taken); });
  while (stuck.waiting() == before) std::this_thread::yield();
  // A part is written, there is no room for more.
  fs::rename(in.at("log"), in.at("away"));
  wanted.reopen();
  writing.join();  // without the demand this would not end
  EXPECT_EQ(content(in.at("log")), line);
  EXPECT_EQ(sink->put("next\n", wanted), outcome::taken);
  EXPECT_EQ(content(in.at("log")), line + "next\n");
}

TEST(a_file, of_a_fifo_that_is_stuck_and_opened_anew_gets_each_line_once) {
  const folder in;
  stuffed_fifo stuck(in.at("log"));
  stuck.read_page();
  const auto before = stuck.waiting();
  const auto sink = file_sink(in.at("log"));
  log_demands wanted;
  const std::string line = std::string(10'000, 'x') + "\n";
  std::jthread writing([&] { EXPECT_EQ(sink->put(line, wanted), outcome::taken); });
  while (stuck.waiting() == before) std::this_thread::yield();
  wanted.reopen();
  while (wanted.reopen_wanted()) std::this_thread::yield();
  std::string got;
  while (!got.ends_with('\n')) got += stuck.read_all();
  writing.join();
  EXPECT_EQ(got, line);
}

TEST(a_file, of_a_fifo_whose_reader_is_slow_waits_for_it_until_told_to_give_up) {
  const folder in;
  ASSERT_EQ(mkfifo(in.at("fifo").c_str(), 0600), 0);
  const int reader = open(in.at("fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  const auto sink = file_sink(in.at("fifo"));
  log_demands wanted;
  const std::string page(4'095, '.');
  int pages = 0;
  for (pollfd room{open(in.at("fifo").c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC), POLLOUT, 0};;) {
    if (poll(&room, 1, 0) == 0) {
      close(room.fd);
      break;
    }
    ASSERT_EQ(sink->put(page + "\n", wanted), outcome::taken);
    ++pages;
  }
  EXPECT_GE(pages, 1);
  wanted.give_up();
  EXPECT_EQ(sink->put("late\n", wanted), outcome::given_up);
  close(reader);
}

TEST(journald_entries, go_out_as_they_are_one_datagram_each) {
  const folder in;
  journald there(in.at("socket"));
  log_demands none;
  const auto sink = make_journal_sink(in.at("socket"));
  EXPECT_EQ(sink->put("MESSAGE=a\n", none), outcome::taken);
  EXPECT_EQ(sink->put("MESSAGE=b\nX=1\n", none), outcome::taken);
  EXPECT_THAT(there.entries(), ElementsAre("MESSAGE=a\n", "MESSAGE=b\nX=1\n"));
}

TEST(journald_entries, are_refused_while_nobody_is_there_and_come_again_when_somebody_is) {
  const folder in;
  log_demands none;
  const auto sink = make_journal_sink(in.at("socket"));
  EXPECT_EQ(sink->put("MESSAGE=a\n", none), outcome::refused);
  {
    journald first(in.at("socket"));
    EXPECT_EQ(sink->put("MESSAGE=b\n", none), outcome::taken);
    EXPECT_THAT(first.entries(), SizeIs(1));
  }
  EXPECT_EQ(sink->put("MESSAGE=c\n", none), outcome::refused);
  journald second(in.at("socket"));
  EXPECT_EQ(sink->put("MESSAGE=d\n", none), outcome::taken);
  EXPECT_THAT(second.entries(), ElementsAre("MESSAGE=d\n"));
}

TEST(journald_entries, that_wait_for_one_that_is_stuck_go_to_another_when_that_is_wanted) {
  const folder in;
  journald stuck(in.at("socket")), other(in.at("other"));
  stuck.stuff();
  const auto sink = make_journal_sink(in.at("socket"));
  log_demands wanted;
  wanted.reopen();
  std::jthread writing([&] { EXPECT_EQ(sink->put("MESSAGE=a\n", wanted), outcome::taken); });
  while (wanted.reopen_wanted()) std::this_thread::yield();
  // It waits now for the first; or, where it was slow to connect, finds the other at once.
  fs::rename(in.at("other"), in.at("socket"));
  wanted.reopen();
  writing.join();  // without the demand this would not end
  EXPECT_THAT(other.entries(), ElementsAre("MESSAGE=a\n"));
}

TEST(journald_entries, larger_than_a_datagram_may_be_are_refused_and_the_connection_stays) {
  const folder in;
  log_demands none;
  journald there(in.at("socket"));
  const auto sink = make_journal_sink(in.at("socket"));
  ASSERT_EQ(sink->put("MESSAGE=a\n", none), outcome::taken);
  const auto sockets = [] {
    std::vector<std::string> all;
    for (const auto& each : fs::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      const auto what = fs::read_symlink(each.path(), gone).string();
      if (what.starts_with("socket:")) all.push_back(what);
    }
    return all;
  };
  const auto before = sockets();
  EXPECT_EQ(sink->put(std::string(64 << 20, 'x'), none), outcome::refused);
  EXPECT_EQ(sockets(), before);
  EXPECT_EQ(sink->put("MESSAGE=b\n", none), outcome::taken);
  EXPECT_THAT(there.entries(), ElementsAre("MESSAGE=a\n", "MESSAGE=b\n"));
}

TEST(journald_entries, sent_after_it_was_started_again_are_all_there) {
  const folder in;
  log_demands none;
  auto there = std::make_unique<journald>(in.at("socket"));
  const auto sink = make_journal_sink(in.at("socket"));
  ASSERT_EQ(sink->put("MESSAGE=a\n", none), outcome::taken);
  there.reset();
  there = std::make_unique<journald>(in.at("socket"));
  EXPECT_EQ(sink->put("MESSAGE=b\n", none), outcome::taken);
  EXPECT_THAT(there->entries(), ElementsAre("MESSAGE=b\n"));
}

}  // namespace
}  // namespace portcullis::monitoring

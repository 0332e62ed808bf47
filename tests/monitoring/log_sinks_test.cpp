// Where lines go: files that are moved, deleted and full, and a journald that stalls, leaves and
// comes back.
#include "monitoring/log_sinks.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "monitoring/log.hpp"

namespace portcullis::monitoring {
namespace {

using core::log_level;
using core::log_output;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using outcome = log_sink::outcome;
namespace fs = std::filesystem;

core::millis fixed_now() { return 1'709'210'096'789; }

class folder {
 public:
  folder() {
    auto pattern = (fs::temp_directory_path() / "portcullis-sinks-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  [[nodiscard]] std::string at(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

std::string content(const std::string& path) {
  std::ifstream from(path);
  return {std::istreambuf_iterator<char>(from), {}};
}

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

std::unique_ptr<log_sink> file_sink(const std::string& path) {
  std::string why;
  auto made = make_file_sink(path, why);
  if (!made) throw std::runtime_error(why);
  return std::move(*made);
}

TEST(a_file, is_appended_to_and_made_for_its_group_to_read) {
  const folder in;
  std::ofstream(in.at("log")) << "before\n";
  const log_deadline never;
  EXPECT_EQ(file_sink(in.at("log"))->put("after\n", never), outcome::taken);
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
  const log_deadline never;
  const auto sink = file_sink(in.at("log"));
  ASSERT_EQ(sink->put("1\n", never), outcome::taken);
  fs::rename(in.at("log"), in.at("log.1"));
  ASSERT_EQ(sink->put("2\n", never), outcome::taken);
  ASSERT_EQ(sink->put("3\n", never), outcome::taken);
  EXPECT_EQ(content(in.at("log.1")), "1\n");
  EXPECT_EQ(content(in.at("log")), "2\n3\n");
  fs::remove(in.at("log"));
  ASSERT_EQ(sink->put("4\n", never), outcome::taken);
  EXPECT_EQ(content(in.at("log")), "4\n");
  // logrotate's create: another file has the name already.
  fs::rename(in.at("log"), in.at("log.2"));
  std::ofstream(in.at("log")) << "";
  ASSERT_EQ(sink->put("5\n", never), outcome::taken);
  EXPECT_EQ(content(in.at("log.2")), "4\n");
  EXPECT_EQ(content(in.at("log")), "5\n");
  // logrotate's copytruncate.
  fs::copy_file(in.at("log"), in.at("log.3"));
  fs::resize_file(in.at("log"), 0);
  ASSERT_EQ(sink->put("6\n", never), outcome::taken);
  EXPECT_EQ(content(in.at("log")), "6\n");
}

TEST(a_file, whose_folder_is_moved_goes_on_under_its_new_name_until_the_path_is_there_again) {
  const folder in;
  const log_deadline never;
  fs::create_directory(in.at("logs"));
  const auto sink = file_sink(in.at("logs/log"));
  EXPECT_EQ(sink->reopening_failed(), 0);
  fs::rename(in.at("logs"), in.at("away"));
  ASSERT_EQ(sink->put("1\n", never), outcome::taken);
  EXPECT_EQ(content(in.at("away/log")), "1\n");
  EXPECT_EQ(sink->reopening_failed(), ENOENT);
  fs::create_directory(in.at("logs"));
  sink->look_after(true);
  EXPECT_EQ(sink->reopening_failed(), 0);
  ASSERT_EQ(sink->put("2\n", never), outcome::taken);
  EXPECT_EQ(content(in.at("logs/log")), "2\n");
  EXPECT_EQ(content(in.at("away/log")), "1\n");
}

TEST(a_file, that_has_no_name_any_more_and_cannot_be_made_anew_takes_no_line_as_written) {
  const folder in;
  const log_deadline never;
  fs::create_directory(in.at("logs"));
  const auto sink = file_sink(in.at("logs/log"));
  fs::remove_all(in.at("logs"));
  EXPECT_EQ(sink->put("1\n", never), outcome::refused);
  fs::create_directory(in.at("logs"));
  sink->look_after(true);
  EXPECT_EQ(sink->put("2\n", never), outcome::taken);
  EXPECT_EQ(content(in.at("logs/log")), "2\n");
}

/// How large files of this process may become: a real write that takes only a part, then none, as
/// on a full disk.
class room_for {
 public:
  explicit room_for(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    signal(SIGXFSZ, SIG_IGN);
    const rlimit now{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &now);
  }
  ~room_for() { setrlimit(RLIMIT_FSIZE, &before_); }
  room_for(const room_for&) = delete;
  room_for& operator=(const room_for&) = delete;

 private:
  rlimit before_{};
};

TEST(a_file, without_space_refuses_lines_and_a_torn_one_does_not_run_into_the_next) {
  const folder in;
  const log_deadline never;
  const auto sink = file_sink(in.at("log"));
  ASSERT_EQ(sink->put("whole\n", never), outcome::taken);
  {
    const room_for some(10);
    EXPECT_EQ(sink->put("torn in two\n", never), outcome::refused);
    EXPECT_EQ(sink->put("does not fit\n", never), outcome::refused);
  }
  EXPECT_EQ(sink->put("next\n", never), outcome::taken);
  EXPECT_EQ(content(in.at("log")), "whole\ntorn\nnext\n");
  EXPECT_EQ(sink->put("last\n", never), outcome::taken);
  EXPECT_EQ(content(in.at("log")), "whole\ntorn\nnext\nlast\n");
  // What was torn stays behind when the file is moved.
  {
    const room_for some(23);
    EXPECT_EQ(sink->put("torn\n", never), outcome::refused);
  }
  fs::rename(in.at("log"), in.at("log.1"));
  EXPECT_EQ(sink->put("anew\n", never), outcome::taken);
  EXPECT_EQ(content(in.at("log")), "anew\n");
}

TEST(a_file, of_a_fifo_whose_reader_is_slow_waits_for_it_until_the_deadline) {
  const folder in;
  ASSERT_EQ(mkfifo(in.at("fifo").c_str(), 0600), 0);
  const int reader = open(in.at("fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  const auto sink = file_sink(in.at("fifo"));
  log_deadline deadline;
  const std::string page(4'095, '.');
  int pages = 0;
  for (pollfd room{open(in.at("fifo").c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC), POLLOUT, 0};;) {
    if (poll(&room, 1, 0) == 0) {
      close(room.fd);
      break;
    }
    ASSERT_EQ(sink->put(page + "\n", deadline), outcome::taken);
    ++pages;
  }
  EXPECT_GE(pages, 1);
  deadline.pass();
  EXPECT_EQ(sink->put("late\n", deadline), outcome::given_up);
  close(reader);
}

/// A journald that reads when it is told to.
class journald {
 public:
  explicit journald(std::string path)
      : path_(std::move(path)), fd_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    if (bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) std::abort();
  }
  ~journald() {
    close(fd_);
    unlink(path_.c_str());
  }
  journald(const journald&) = delete;
  journald& operator=(const journald&) = delete;
  /// All that has come.
  std::vector<std::string> entries() {
    std::vector<std::string> all;
    std::string one(1 << 20, '\0');
    for (ssize_t got = 0; (got = recv(fd_, one.data(), one.size(), MSG_DONTWAIT)) >= 0;)
      all.push_back(one.substr(0, static_cast<std::size_t>(got)));
    return all;
  }

 private:
  std::string path_;
  int fd_;
};

TEST(journald_entries, go_out_as_they_are_one_datagram_each) {
  const folder in;
  journald there(in.at("socket"));
  const log_deadline never;
  const auto sink = make_journal_sink(in.at("socket"));
  EXPECT_EQ(sink->put("MESSAGE=a\n", never), outcome::taken);
  EXPECT_EQ(sink->put("MESSAGE=b\nX=1\n", never), outcome::taken);
  EXPECT_THAT(there.entries(), ElementsAre("MESSAGE=a\n", "MESSAGE=b\nX=1\n"));
}

TEST(journald_entries, are_refused_while_nobody_is_there_and_come_again_when_somebody_is) {
  const folder in;
  const log_deadline never;
  const auto sink = make_journal_sink(in.at("socket"));
  EXPECT_EQ(sink->put("MESSAGE=a\n", never), outcome::refused);
  {
    journald first(in.at("socket"));
    EXPECT_EQ(sink->put("MESSAGE=b\n", never), outcome::taken);
    EXPECT_THAT(first.entries(), SizeIs(1));
  }
  EXPECT_EQ(sink->put("MESSAGE=c\n", never), outcome::refused);
  journald second(in.at("socket"));
  EXPECT_EQ(sink->put("MESSAGE=d\n", never), outcome::taken);
  EXPECT_THAT(second.entries(), ElementsAre("MESSAGE=d\n"));
}

TEST(journald_entries, sent_after_it_was_started_again_are_all_there) {
  const folder in;
  const log_deadline never;
  auto there = std::make_unique<journald>(in.at("socket"));
  const auto sink = make_journal_sink(in.at("socket"));
  ASSERT_EQ(sink->put("MESSAGE=a\n", never), outcome::taken);
  there.reset();
  there = std::make_unique<journald>(in.at("socket"));
  EXPECT_EQ(sink->put("MESSAGE=b\n", never), outcome::taken);
  EXPECT_THAT(there->entries(), ElementsAre("MESSAGE=b\n"));
}

TEST(a_log, in_a_file_writes_json_and_follows_the_path_also_while_nothing_is_logged) {
  const folder in;
  logger under_test({-1, 64, fixed_now});
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
  logger under_test({-1, 64, fixed_now});
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
  logger under_test({-1, 64, fixed_now});
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

TEST(a_log, asked_to_reopen_does_so_before_the_next_line) {
  const folder in;
  logger under_test({-1, 64, fixed_now});
  std::string why;
  ASSERT_TRUE(under_test.open({log_output::file, in.at("log")}, why));
  under_test.write(log_level::info, component::net, "One.");
  ASSERT_TRUE(under_test.flush());
  fs::rename(in.at("log"), in.at("log.1"));
  under_test.reopen();
  EXPECT_TRUE(eventually([&] { return fs::exists(in.at("log")); }));
}

TEST(a_log, on_a_full_disk_counts_what_it_lost_and_says_how_much_when_there_is_space) {
  const folder in;
  logger under_test({-1, 1'000, fixed_now});
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
  logger under_test({-1, 100, fixed_now});
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
  logger under_test({-1, 100, fixed_now});
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
  logger under_test({-1, 100, fixed_now});
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
  logger under_test({-1, 100, fixed_now});
  std::string why;
  ASSERT_TRUE(under_test.open({log_output::journald, in.at("socket")}, why));
  for (int i = 0; i < 2'000; ++i) under_test.write(log_level::info, component::net, "Flood.");
  // The end of this test is what is tested.
}

TEST(a_log, that_is_opened_elsewhere_keeps_what_it_had_and_its_counts) {
  const folder in;
  const int before = open(in.at("before").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  logger under_test({before, 64, fixed_now});
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

// Where the log of the process goes: a file that is rotated and a disk that is full, a journald
// that stalls and leaves; what a line says, and that the answers stay the same meanwhile.
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <fstream>
#include <set>
#include <sstream>

#include "http_client.hpp"
#include "log_lines.hpp"
#include "process.hpp"

namespace portcullis::e2e {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

std::string content(const std::string& path) {
  std::ifstream from(path);
  return {std::istreambuf_iterator<char>(from), {}};
}

/// A node whose log is a file in a folder of the test's.
struct with_file {
  explicit with_file(std::vector<std::string> set = {}, std::string config = "",
                     const std::string& in = "", bool own_disk = false)
      : path(in.empty() ? folder.file("log") : in + "/log"), file(path) {
    set.insert(set.end(), {"log.output=file", "log.file=" + path});
    node.emplace(server_options{.set = std::move(set),
                                .config = std::move(config),
                                .own_disk = own_disk,
                                .more_log = [this] { return file.more(); }});
  }
  /// One line, at level warn, which says `reason`.
  void say(const std::string& reason) {
    if (!client) client.emplace(node->connect());
    client->result("breaker.override",
                   {{"service", "log"}, {"mode", "disabled"}, {"reason", reason}});
  }
  bool has(const std::string& where, const std::string& what) const {
    return eventually([&] { return content(where).find(what) != std::string::npos; });
  }

  temp_folder folder;
  std::string path;
  growing_file file;
  std::optional<server> node;
  std::optional<line_client> client;
};

TEST(log_output, a_contradiction_is_refused_with_its_place_and_what_to_do) {
  const temp_folder in;
  const auto problems = [&](const std::string& text) {
    const auto file = in.write("c.toml", "[server]\nenvironment = \"development\"\n[log]\n" + text);
    const auto checked = run(tested_binary() + " check-config " + file);
    EXPECT_EQ(checked.status, 1) << checked.out;
    return checked.out;
  };
  EXPECT_THAT(problems("output = \"file\"\n"),
              HasSubstr("c.toml:4: log.output: \"file\" needs log.file: which one"));
  EXPECT_THAT(problems("file = \"/var/log/p.log\"\n"),
              HasSubstr("c.toml:4: log.file: does nothing without log.output = \"file\""));
  EXPECT_THAT(problems("output = \"syslog\"\n"), HasSubstr("c.toml:4: log.output: must be one of"));
  EXPECT_THAT(problems("output = \"journald\"\nformat = \"text\"\n"),
              HasSubstr("c.toml:5: log.format: \"text\" is not possible"));
}

TEST(log_output, a_file_that_cannot_be_opened_is_a_failed_start_told_on_standard_error) {
  const temp_folder in;
  server node({.set = {"log.output=file", "log.file=" + in.file("no/log")}, .start = false});
  EXPECT_FALSE(node.start());
  EXPECT_EQ(node.wait(), 1);
  const auto lines = lines_of(node.log());
  ASSERT_EQ(lines.size(), 1U) << node.log();
  EXPECT_EQ(lines[0].at("MESSAGE"), "The node could not start.");
  EXPECT_EQ(lines[0].at("REASON"),
            "log.file: " + in.file("no/log") + ": No such file or directory");
  EXPECT_FALSE(fs::exists(in.file("no")));
  EXPECT_FALSE(fs::exists(node.data_dir())) << "nothing else was begun";
}

TEST(log_output, another_failed_start_is_told_in_the_file_and_on_standard_error) {
  const temp_folder in;
  // Below what is no folder.
  server node({.set = {"log.output=file", "log.file=" + in.file("log")},
               .data_dir = in.write("no_folder", "") + "/data",
               .start = false});
  EXPECT_FALSE(node.start());
  EXPECT_EQ(node.wait(), 1);
  for (const auto& text : {node.log(), content(in.file("log"))}) {
    const auto lines = lines_of(text);
    ASSERT_FALSE(lines.empty());
    EXPECT_EQ(lines.back().at("EVENT_ACTION"), "start_failed") << text;
    EXPECT_THAT(lines.back().at("REASON"), HasSubstr(in.file("no_folder/data")));
  }
}

TEST(log_output, a_failed_start_is_told_in_the_form_that_is_configured) {
  const temp_folder in;
  server node({.set = {"log.output=file", "log.file=" + in.file("log"), "log.format=text"},
               .data_dir = in.write("no_folder", "") + "/data",
               .start = false});
  EXPECT_FALSE(node.start());
  EXPECT_EQ(node.wait(), 1);
  for (const auto& text : {node.log(), content(in.file("log"))}) {
    EXPECT_THAT(text, HasSubstr(" ERROR server: The node could not start."));
    EXPECT_THAT(text, Not(HasSubstr("@timestamp")));
  }
}

TEST(log_output, a_file_has_the_lines_and_standard_error_none) {
  with_file w;
  w.say("first");
  EXPECT_TRUE(w.has(w.path, "first"));
  struct stat at {};
  ASSERT_EQ(stat(w.path.c_str(), &at), 0);
  EXPECT_EQ(at.st_mode & 0777U & ~0640U, 0U);
  ASSERT_EQ(w.node->terminate(), 0);
  EXPECT_EQ(w.node->log(), content(w.path)) << "all that was heard was read from the file";
  for (const auto& line : lines_of(content(w.path))) expect_ecs(line);
}

TEST(log_output, a_file_that_was_moved_is_made_anew_by_itself) {
  with_file w;
  fs::rename(w.path, w.path + ".1");
  EXPECT_TRUE(eventually([&] { return fs::exists(w.path); })) << "though nothing is logged";
  w.say("after");
  EXPECT_TRUE(w.has(w.path, "after"));
  EXPECT_THAT(content(w.path + ".1"), HasSubstr("The node is ready."));
  EXPECT_THAT(content(w.path + ".1"), Not(HasSubstr("after")));
}

TEST(log_output, a_file_is_opened_anew_at_sighup_and_reload_also_with_a_broken_configuration) {
  with_file w({}, "[limits]\nbatch = 50\n");
  const auto moved_and_asked = [&](const std::string& to, const std::function<void()>& ask) {
    fs::rename(w.path, w.path + to);
    std::ofstream(w.path) << "";  // logrotate's create
    ask();
  };
  moved_and_asked(".1", [&] { w.node->signal(SIGHUP); });
  w.say("second");
  EXPECT_TRUE(w.has(w.path, "second"));
  w.node->configure("[limits]\nbatch = \"many\"\n");
  moved_and_asked(".2", [&] { w.node->signal(SIGHUP); });
  EXPECT_TRUE(w.has(w.path, "config_refused")) << "what is wrong is said in the new file";
  moved_and_asked(".3", [&] { EXPECT_EQ(w.client->error("admin.reload"), "CONFIG_INVALID"); });
  w.say("fourth");
  EXPECT_TRUE(w.has(w.path, "fourth"));
  EXPECT_THAT(content(w.path + ".2"), HasSubstr("second"));
  EXPECT_THAT(content(w.path + ".3"), Not(HasSubstr("fourth")));
}

TEST(log_output, the_file_is_another_descriptor_after_each_demand_though_its_path_is_the_same) {
  // Before each line the path is looked at, which would hide that nobody was asked.
  with_file w({}, "[limits]\nbatch = 50\n");
  auto client = w.node->connect();
  const auto descriptor = [&] {
    std::string found;
    for (const auto& each :
         fs::directory_iterator("/proc/" + std::to_string(w.node->pid()) + "/fd")) {
      std::error_code gone;
      if (fs::read_symlink(each.path(), gone) == w.path) found += each.path().filename().string();
    }
    return found;
  };
  const auto changes = [&](const std::function<void()>& ask) {
    const auto before = descriptor();
    ask();
    return eventually([&] { return !descriptor().empty() && descriptor() != before; });
  };
  EXPECT_TRUE(changes([&] { w.node->signal(SIGHUP); }));
  EXPECT_TRUE(changes([&] { EXPECT_EQ(client.error("admin.reload"), ""); }));
  w.node->configure("[limits]\nbatch = \"many\"\n");
  EXPECT_TRUE(changes([&] { w.node->signal(SIGHUP); }));
  EXPECT_TRUE(changes([&] { EXPECT_EQ(client.error("admin.reload"), "CONFIG_INVALID"); }));
}

TEST(log_output, no_line_is_lost_or_there_twice_while_files_are_moved) {
  with_file w({"log.levels.session=debug"});
  std::atomic<bool> over{false};
  std::jthread moving([&] {
    for (int i = 1; !over; ++i) {
      std::error_code not_there_yet;
      fs::rename(w.path, w.path + "." + std::to_string(i), not_there_yet);
      if (i % 3 == 0) w.node->signal(SIGHUP);
      EXPECT_TRUE(eventually([&] { return over || fs::exists(w.path); }));
    }
  });
  constexpr std::size_t sessions = 2'000;
  auto client = w.node->connect();
  auto params = user("ada");
  params["context"] = context();
  const auto request = message("session.create", params).dump() + "\n";
  for (std::size_t i = 0; i < sessions; i += 50) {
    std::string some;
    for (int j = 0; j < 50; ++j) some += request;
    client.send(some);
    for (int j = 0; j < 50; ++j) EXPECT_EQ(error_of(client.reply()), "");
  }
  over = true;
  moving.join();
  EXPECT_EQ(w.node->metric("portcullis_log_dropped_total"), 0);
  ASSERT_EQ(w.node->terminate(), 0);
  std::multiset<std::string> seen;
  std::size_t files = 0;
  for (const auto& each : fs::directory_iterator(fs::path(w.path).parent_path())) {
    ++files;
    for (const auto& line : lines_of(content(each.path())))
      if (line.at("EVENT_ACTION") == "session_created") seen.insert(line.at("SESSION_HANDLE"));
  }
  EXPECT_GT(files, 3U);
  EXPECT_EQ(seen.size(), sessions);
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), sessions);
}

/// A small disk, seen by this thread and what it starts. It is gone with the object.
class small_disk {
 public:
  explicit small_disk(const std::string& at, const std::string& size) : at_(at) {
    fs::create_directory(at);
    const bool made = unshare(CLONE_NEWNS) == 0 &&
                      mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                      mount("none", at.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
    if (!made) throw std::runtime_error("no mount: tests run as root with CAP_SYS_ADMIN");
  }
  ~small_disk() { umount2(at_.c_str(), MNT_DETACH); }
  small_disk(const small_disk&) = delete;
  small_disk& operator=(const small_disk&) = delete;
  /// Leaves no byte.
  void fill() const {
    std::ofstream filler(at_ + "/filler");
    const std::string page(4'096, '.');
    while (filler.write(page.data(), 4'096) && filler.flush()) {
    }
  }
  void empty() const { fs::remove(at_ + "/filler"); }

 private:
  std::string at_;
};

TEST(log_output, a_full_disk_changes_no_answer_and_the_log_goes_on_when_there_is_space) {
  const temp_folder in;
  const small_disk disk(in.file("logs"), "256k");
  with_file w({}, "", in.file("logs"));
  disk.fill();
  // The last page of the file has room yet.
  int said = 0;
  const auto refused = [&] { return w.node->metric("portcullis_log_write_errors_total"); };
  for (; said < 300 && refused() < 20; ++said) w.say("lost? " + std::to_string(said));
  EXPECT_GE(refused(), 20);
  EXPECT_EQ(w.node->metric("portcullis_log_dropped_total"), refused());
  EXPECT_EQ(http_get(w.node->http_port, "/readyz").status, 200);
  disk.empty();
  w.say("there is space");
  EXPECT_TRUE(w.has(w.path, "there is space"));
  w.say("next");
  EXPECT_TRUE(w.has(w.path, "Log lines were dropped."));
  const auto lost = refused();
  ASSERT_EQ(w.node->terminate(), 0);
  std::size_t torn = 0, told = 0;
  std::istringstream lines(content(w.path));
  for (std::string line; std::getline(lines, line);) {
    const auto entry = json::parse(line, nullptr, false);
    if (entry.is_object()) {
      if (entry["event.action"] == "log_lines_dropped")
        told += entry["log.dropped"].get<std::size_t>();
      continue;
    }
    ++torn;
    EXPECT_TRUE(line.starts_with("{\"@timestamp\"")) << line;
    EXPECT_EQ(line.find("@timestamp", 3), line.npos) << "it ran into the next: " << line;
  }
  EXPECT_LE(torn, 1U);
  EXPECT_EQ(told, lost);
}

TEST(log_output, a_broken_or_read_only_disk_changes_no_answer_and_is_written_again_when_it_can_be) {
  for (const auto* state : {"log_eio", "log_read_only"}) {
    with_file w({}, "", "", true);
    w.say("before");
    ASSERT_TRUE(w.has(w.path, "before"));
    w.node->disk(state);
    for (int i = 0; i < 5; ++i) w.say("lost " + std::to_string(i));
    EXPECT_TRUE(
        eventually([&] { return w.node->metric("portcullis_log_write_errors_total") >= 5; }));
    EXPECT_EQ(http_get(w.node->http_port, "/readyz").status, 200);
    w.node->disk("");
    w.say("after");
    EXPECT_TRUE(w.has(w.path, "after"));
    EXPECT_THAT(content(w.path), Not(HasSubstr("\"lost ")));
  }
}

/// A node whose log goes to a journald of the test's.
struct with_journald {
  explicit with_journald(std::vector<std::string> set = {}) {
    journal.emplace(path());
    set.insert(set.end(), {"log.output=journald", "log.journald_socket=" + path()});
    node.emplace(server_options{.set = std::move(set), .more_log = [this] {
                                  std::lock_guard guard{mutex};
                                  return journal ? journal->more() : std::string();
                                }});
    client.emplace(node->connect());
  }
  [[nodiscard]] std::string path() const { return folder.file("socket"); }
  void leave() {
    std::lock_guard guard{mutex};
    journal.reset();
  }
  void come_back() {
    std::lock_guard guard{mutex};
    journal.emplace(path());
  }
  void say(const std::string& reason) {
    client->result("breaker.override",
                   {{"service", "log"}, {"mode", "disabled"}, {"reason", reason}});
  }
  double metric(const std::string& name) const { return node->metric(name); }

  temp_folder folder;
  std::mutex mutex;
  std::optional<fake_journald> journal;
  std::optional<server> node;
  std::optional<line_client> client;
};

TEST(log_output, journald_gets_entries_with_fields_and_standard_error_gets_nothing) {
  with_journald w;
  w.say("with \"quotes\" and a \\");
  ASSERT_TRUE(w.node->logged("quotes"));
  ASSERT_EQ(w.node->terminate(), 0);
  const auto entries = w.journal->entries();
  for (const auto& each : entries) expect_ecs(fields_of_entry(each));
  const auto log = w.node->log();
  const auto lines = static_cast<std::size_t>(std::count(log.begin(), log.end(), '\n'));
  EXPECT_EQ(lines, entries.size()) << "nothing came by standard error";
  const auto said = std::find_if(entries.begin(), entries.end(), [](const auto& each) {
    return each.find("EVENT_ACTION=breaker_override_set") != each.npos;
  });
  ASSERT_NE(said, entries.end());
  const auto fields = fields_of_entry(*said);
  EXPECT_EQ(fields.at("PRIORITY"), "4");
  EXPECT_EQ(fields.at("SYSLOG_IDENTIFIER"), "portcullis");
  EXPECT_EQ(fields.at("BREAKER_SERVICE"), "log");
  EXPECT_EQ(fields.at("EVENT_REASON"), R"(with \"quotes\" and a \\)");
}

TEST(log_output, a_stalled_journald_changes_no_answer_and_what_is_dropped_is_counted_and_said) {
  with_journald w({"log.levels.session=debug"});
  w.journal->stalled = true;
  auto params = user("ada");
  params["context"] = context();
  const auto request = message("session.create", params).dump() + "\n";
  std::size_t made = 0;
  const auto dropped = [&] { return w.metric("portcullis_log_dropped_total"); };
  while (dropped() < 100 && made < 40'000 && !testing::Test::HasFailure()) {
    std::string some;
    for (int j = 0; j < 1'000; ++j) some += request;
    w.client->send(some);
    for (int j = 0; j < 1'000; ++j, ++made) EXPECT_EQ(error_of(w.client->reply()), "");
  }
  EXPECT_GE(dropped(), 100) << made;
  EXPECT_EQ(w.metric("portcullis_log_write_errors_total"), 0) << "it refuses nothing, it is slow";
  w.journal->stalled = false;
  w.say("reads again");
  ASSERT_TRUE(w.node->logged("reads again"));
  w.say("next");
  EXPECT_TRUE(w.node->logged("Log lines were dropped."));
  EXPECT_EQ(w.node->terminate(), 0);
}

TEST(log_output, a_stalled_journald_does_not_hold_up_the_end) {
  with_journald w({"log.levels.session=debug"});
  w.journal->stalled = true;
  for (int i = 0; i < 1'000; ++i) create(*w.client, "ada");
  EXPECT_EQ(w.node->terminate(), 0);
}

TEST(log_output, a_journald_that_was_started_again_gets_what_comes_then) {
  with_journald w;
  w.say("before");
  ASSERT_TRUE(w.node->logged("before"));
  w.leave();
  w.come_back();
  w.say("at once");
  EXPECT_TRUE(w.node->logged("at once"));
  w.leave();
  for (int i = 0; i < 5; ++i) w.say("into the void " + std::to_string(i));
  EXPECT_TRUE(eventually([&] { return w.metric("portcullis_log_write_errors_total") >= 5; }));
  EXPECT_EQ(http_get(w.node->http_port, "/readyz").status, 200);
  w.come_back();
  w.say("later");
  EXPECT_TRUE(w.node->logged("later"));
  EXPECT_THAT(w.node->log(), Not(HasSubstr("void")));
}

TEST(log_output, a_journald_that_is_not_there_yet_does_not_hold_up_the_start_and_is_told_of) {
  const temp_folder in;
  running node(
      {tested_binary(), "serve", "--data-dir", in.file("data"), "--listen", "127.0.0.1:0", "--http",
       "127.0.0.1:0", "--set", "server.environment=development", "--set", "auth.mode=none", "--set",
       "log.output=journald", "--set", "log.journald_socket=" + in.file("socket")},
      running::to::pipe);
  const auto said = fields_of_json(node.line());
  EXPECT_EQ(said.at("EVENT_ACTION"), "log_unreachable");
  EXPECT_EQ(said.at("LOG_FILE_PATH"), in.file("socket"));
  EXPECT_EQ(said.at("ERROR_MESSAGE"), "No such file or directory");
  fake_journald late(in.file("socket"));
  // It can be ended in order only when it is up, and what it does then comes here.
  EXPECT_EQ(node.end(SIGTERM), 0);
  (void)late.more();
  EXPECT_THAT(late.entries(), Contains(HasSubstr("MESSAGE=The node has stopped.\n")));
}

TEST(log_output, a_components_level_changes_at_a_reload_and_back) {
  server node({.config = "[log]\nlevel = \"info\"\n"});
  auto client = node.connect();
  const auto lines = [&](const std::string& user_id, bool wanted) {
    create(client, user_id);
    auto params = json{{"service", user_id}, {"mode", "disabled"}, {"reason", "the end of it"}};
    client.result("breaker.override", params);
    ASSERT_TRUE(node.logged("\"breaker.service\":\"" + user_id + "\""));
    std::istringstream all(node.log());
    bool seen = false, after = false;
    for (std::string line; std::getline(all, line) && !after;) {
      seen = seen || line.find("session_created") != line.npos;
      after = line.find("\"breaker.service\":\"" + user_id + "\"") != line.npos;
      if (line.find("\"breaker.service\"") != line.npos && !after) seen = false;
    }
    EXPECT_EQ(seen, wanted) << user_id;
  };
  lines("first", false);
  node.configure("[log]\nlevel = \"info\"\n[log.levels]\nsession = \"debug\"\n");
  EXPECT_EQ(client.result("admin.reload")["changed"], json{"log.levels.session"});
  lines("second", true);
  node.configure("[log]\nlevel = \"info\"\n[log.levels]\nsession = \"off\"\n");
  EXPECT_EQ(client.error("admin.reload"), "");
  lines("third", false);
}

}  // namespace
}  // namespace portcullis::e2e

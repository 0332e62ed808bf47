// Checkpoints that were kept elsewhere: how they are read, which of them a log can be compared
// with, and what `portcullis checkpoint` signs.
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "apps/log/export_form.hpp"
#include "apps/log/text_file.hpp"
#include "core/event/codec.hpp"
#include "log_folder.hpp"

namespace portcullis::apps {
namespace {

class kept_elsewhere : public log_folder {
 protected:
  [[nodiscard]] std::string file(const std::string& name) const {
    return folder.path() + "/" + name;
  }
  void write(const std::string& name, const std::string& text, bool gzip = false) const {
    std::string problem;
    const auto out = text_sink::open(file(name), gzip, problem);
    ASSERT_TRUE(out) << problem;
    ASSERT_TRUE(out->write(text) && out->close());
  }
  [[nodiscard]] std::string text_of(const std::string& name) const {
    std::ifstream in(file(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  /// As events.query shows it.
  [[nodiscard]] static std::string line_of(const exported_checkpoint& kept) {
    core::event what;
    what.seq = kept.of.seq + 1;
    what.at_ms = kept.of.at_ms;
    what.body = kept.what;
    core::byte_buffer out;
    core::append_shown(out, what, "node-1", {});
    return std::string(out.view()) + "\n";
  }
  /// The whole log as an export has it.
  [[nodiscard]] std::string exported() {
    close();
    core::byte_buffer out;
    append_header(out, {});
    auto from = store::log_file::open(path);
    EXPECT_TRUE(
        (*from)->read(0, [&](const store::log_row& row) { return append_event(out, row); }));
    return std::string(out.view());
  }
  /// Runs the program on the folder, with the key file beside it.
  [[nodiscard]] int run(const std::string& command) {
    close();
    std::ofstream(file("keys")) << core::serialize(w.ring);
    const auto line = std::string(PORTCULLIS_BINARY) + " " + command + " --data-dir " + path +
                      " --keys-file " + file("keys") + " >" + file("said") + " 2>&1";
    const int status = std::system(line.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  [[nodiscard]] std::vector<exported_checkpoint> read(const std::string& name) {
    auto found = read_checkpoints(file(name), why);
    return found ? *found : std::vector<exported_checkpoint>();
  }

  std::string why;
};

TEST_F(kept_elsewhere, older_than_the_log_they_are_not_said_to_be_compared) {
  (void)w.create("ada");
  const auto old = sign();
  cut(w.now_ms);
  w.now_ms += 1'000;
  (void)w.create("bob");
  const auto later = sign();
  const auto report = look({old, later});
  EXPECT_TRUE(report.findings.empty());
  EXPECT_EQ(report.compared, 1U);
  EXPECT_EQ(report.last_compared_seq, later.of.seq);
  EXPECT_EQ(report.too_old, 1U);
  expect_wrong(0, "none of the 1 checkpoints given can be compared", {old});
  write("both.json", line_of(old) + line_of(later));
  EXPECT_EQ(run("verify --checkpoint " + file("both.json")), 0);
  EXPECT_NE(text_of("said").find("1 of the checkpoints given cannot be compared: the log begins"),
            std::string::npos);
  EXPECT_NE(text_of("said").find("goes on from 1 checkpoint given"), std::string::npos);
  write("old.json", line_of(old));
  EXPECT_EQ(run("verify --checkpoint " + file("old.json")), 1);
}

TEST_F(kept_elsewhere, a_year_of_them_is_read_and_a_whole_export_too_plain_or_gzip) {
  (void)w.create("ada");
  const auto first = sign();
  (void)w.create("bob");
  const auto second = sign();
  std::string many;
  while (many.size() < 3U << 20U) many += line_of(first) + "\n";
  write("many.json", many + line_of(second));
  write("many.gz", many + line_of(second), true);
  write("export.json", exported());
  write("export.gz", exported(), true);
  for (const char* name : {"many.json", "many.gz", "export.json", "export.gz"}) {
    const auto all = read(name);
    ASSERT_GE(all.size(), 2U) << name << why;
    EXPECT_EQ(all.front().of.seq, first.of.seq);
    EXPECT_EQ(all.back().of.seq, second.of.seq);
    EXPECT_EQ(all.back().what.mac, second.what.mac) << "of the event before, not its own";
    expect_whole(all);
  }
}

TEST_F(kept_elsewhere, the_last_line_may_lack_its_lf_and_one_that_is_cut_is_refused) {
  (void)w.create("ada");
  const auto kept = sign();
  const auto line = line_of(kept);
  write("whole.json", line.substr(0, line.size() - 1));
  EXPECT_EQ(read("whole.json").size(), 1U) << why;
  write("cut.json", line + line.substr(0, line.size() / 2));
  EXPECT_TRUE(read("cut.json").empty());
  EXPECT_NE(why.find("line 2"), std::string::npos) << why;
  write("other.json", "{\"type\":\"session_evicted\",\"reason\":\"checkpoint\"}\n{}\n");
  EXPECT_TRUE(read("other.json").empty());
  EXPECT_NE(why.find("no checkpoint in it"), std::string::npos) << why;
}

TEST_F(kept_elsewhere, of_a_log_that_is_cut_to_its_end_the_cut_is_signed) {
  (void)w.create("ada");
  sign();
  const auto cut_at = end();
  cut(w.now_ms);
  ASSERT_EQ(run("checkpoint --out " + file("kept.json")), 0) << text_of("said");
  const auto kept = read("kept.json");
  ASSERT_EQ(kept.size(), 1U) << why;
  EXPECT_EQ(kept[0].of.seq, cut_at.seq);
  EXPECT_EQ(kept[0].of.at_ms, cut_at.at_ms);
  EXPECT_EQ(kept[0].of.mac, cut_at.mac);
  expect_whole(kept);
}

TEST_F(kept_elsewhere, a_last_mac_of_another_size_is_not_signed) {
  (void)w.create("ada");
  commit();
  edit("UPDATE events SET mac=x'00'");
  EXPECT_EQ(run("checkpoint --out " + file("kept.json")), 1);
  EXPECT_FALSE(std::filesystem::exists(file("kept.json")));
}

TEST_F(kept_elsewhere, the_one_before_stays_until_the_next_is_whole) {
  (void)w.create("ada");
  commit();
  write("kept.json", "the one before\n");
  std::filesystem::create_directory(file("kept.json.partial"));
  EXPECT_EQ(run("checkpoint --out " + file("kept.json")), 1);
  EXPECT_EQ(text_of("kept.json"), "the one before\n");
  std::filesystem::remove(file("kept.json.partial"));
  EXPECT_EQ(run("checkpoint --out " + file("kept.json")), 0) << text_of("said");
  EXPECT_EQ(read("kept.json").size(), 1U) << why;
}

}  // namespace
}  // namespace portcullis::apps

// A stopped node whose log retention has cut, what is exported of it, and what an import makes of
// that.
#pragma once
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "apps/log/export.hpp"
#include "apps/log/import.hpp"
#include "log_folder.hpp"

namespace portcullis::apps {

using core::millis;
using nlohmann::json;

inline constexpr millis hour_ms = 3'600'000;

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream all(text);
  for (std::string line; std::getline(all, line);) out.push_back(line);
  return out;
}

struct said {
  int status = -1;
  std::string text;  // on standard error and output
};

class a_cut_log : public log_folder {
 protected:
  a_cut_log() : source(path), copy(folder.path() + "/copy") {
    place.data_dir = source;
    place.keys_file = folder.path() + "/keys";
    std::ofstream(place.keys_file) << core::serialize(w.ring);
    chmod(place.keys_file.c_str(), 0600);
    open();
  }

  core::event of_nobody(core::event_body body) {
    core::event what;
    what.decided_at_ms = w.now_ms;
    what.body = std::move(body);
    return what;
  }
  core::event failure(const core::session_handle& handle) {
    auto what = core::about(w.state, w.state.find(handle), w.now_ms);
    core::validation_failed failed;
    failed.reason = core::invalid_reason::ip_mismatch;
    failed.attempt = 3;
    failed.user_attempt = 4;
    failed.counted_for_source = true;
    failed.source = core::short_hash{3};
    failed.window_ends_at_ms = failed.user_window_ends_at_ms = w.now_ms + 100 * hour_ms;
    what.body = failed;
    return what;
  }

  /// A little of everything that a snapshot holds, and a checkpoint.
  void live(int round) {
    for (int i = 0; i < 24; ++i) {
      w.now_ms += 1'000;
      const auto user = "user" + std::to_string(i % 7);
      auto command = w.creation(user, i % 4 == 0 ? "acme" : "other");
      const auto data = "{\"n\":" + std::to_string(i) + "}";
      command.data = data;
      const auto alias = "alias of session " + std::to_string(w.seq);
      if (i % 4 < 2) command.alias = alias;
      const auto s = w.create(command);
      last = s;
      if (i % 3 == 0) last.id = w.rotate(s.id, i % 2 == 0);
      if (i % 5 == 0) w.revoke(s.handle);
      if (i % 6 == 0) w.apply(failure(s.handle));
      w.now_ms += 90'000;
      if (i % 5 != 0) (void)w.use(last.id);
    }
    core::breaker_opened opened;
    opened.service = "mail" + std::to_string(9 - round);
    opened.breaker = "default";
    opened.epoch = 2;
    w.apply(of_nobody(opened));
    core::breaker_override_set set;
    set.service = opened.service;
    set.breaker = "other";
    set.epoch = 2;
    set.mode = core::override_mode::forced_open;
    set.reason = "drill";
    auto forced = of_nobody(set);
    forced.actor = "ops";
    w.apply(std::move(forced));
    if (round % 2 == 1) w.apply(w.tenant_revocation("acme"));
    commit();
    sign();
  }
  void cut() { log_folder::cut(w.now_ms); }
  void drop_activity() { drop(w.now_ms); }

  template <class Run>
  static said run(Run&& what) {
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    said out;
    out.status = what();
    std::fflush(stdout);
    out.text = testing::internal::GetCapturedStderr() + testing::internal::GetCapturedStdout();
    return out;
  }
  /// Where an export may go: it replaces nothing.
  [[nodiscard]] std::string fresh_out() const {
    const auto out = folder.path() + "/out";
    unlink(out.c_str());
    return out;
  }
  std::string exported(const std::string& of, std::uint64_t after = 0,
                       std::optional<std::uint64_t> until = {}) {
    export_options given;
    given.place = place;
    given.place.data_dir = of;
    given.out = fresh_out();
    given.after = after;
    given.until.seq = until;
    const auto done = run([&] { return export_log(given); });
    EXPECT_EQ(done.status, 0) << done.text;
    EXPECT_EQ(done.text, "");
    return read_file(given.out);
  }
  said imported(const std::string& text) {
    import_log_options given;
    given.place = place;
    given.place.data_dir = copy;
    given.in = folder.path() + "/in";
    std::ofstream(given.in, std::ios::binary) << text;
    return run([&] { return import_log(given); });
  }
  core::digest verified(const std::string& data_dir) {
    log_source from;
    auto at = place;
    at.data_dir = data_dir;
    EXPECT_EQ(open_log(at, true, from), -1);
    const auto report = verify_log(from, {});
    for (const auto& each : report.findings) ADD_FAILURE() << each.seq << " " << each.what;
    return report.digest;
  }
  static std::string column(const std::string& data_dir, const std::string& sql) {
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open((data_dir + "/portcullis.db").c_str(), &db), SQLITE_OK);
    std::string out;
    const int rc = sqlite3_exec(
        db, sql.c_str(),
        [](void* to, int count, char** values, char**) {
          for (int i = 0; i < count; ++i)
            *static_cast<std::string*>(to) += std::string(values[i] ? values[i] : "-") + "|";
          *static_cast<std::string*>(to) += "\n";
          return 0;
        },
        &out, nullptr);
    EXPECT_EQ(rc, SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
    return out;
  }
  template <std::size_t N>
  static std::string column_hex(const core::byte_array<N>& bytes) {
    auto out = core::to_hex(bytes);
    for (auto& each : out) each = static_cast<char>(std::toupper(static_cast<unsigned char>(each)));
    return out;
  }
  void expect_same_store() {
    const auto first = exported(source);
    const auto done = imported(first);
    ASSERT_EQ(done.status, 0) << done.text;
    EXPECT_EQ(verified(copy), verified(source));
    EXPECT_TRUE(exported(copy) == first) << "exported again it is the same";
    for (const char* sql :
         {"SELECT seq,hex(subject),tenant_id,hex(handle),hex(id),ring_key,created_at_ms,"
          "last_seen_at_ms,absolute_expires_at_ms,idle_ttl_s,version,state,tenant_generation,"
          "find_ip,find_user_agent,hex(alias),hex(ip),hex(sealed),hex(data),hex(predecessor),"
          "predecessor_ring_key,hex(nonce),grace_ends_at_ms,rotation_ring_key,"
          "iif(predecessor IS NULL,0,successor_used) "
          "FROM sessions ORDER BY seq",
          "SELECT session_seq,hex(id),grace_ends_at_ms FROM retired_ids ORDER BY "
          "session_seq,place",
          "SELECT hex(subject),hex(source),failed_attempts,window_ends_at_ms,locked_until_ms FROM "
          "lockouts ORDER BY 1,2",
          "SELECT * FROM tenants", "SELECT * FROM breakers ORDER BY id",
          "SELECT seq,hex(body) FROM snapshot ORDER BY id"})
      EXPECT_EQ(column(copy, sql), column(source, sql)) << sql;
  }

  /// The import is refused with a sentence that has `why`, and leaves no folder.
  void expect_refused(const std::vector<std::string>& lines, const std::string& why) {
    std::string all;
    for (const auto& each : lines) all += each + "\n";
    const auto tried = imported(all);
    EXPECT_EQ(tried.status, 1) << why;
    EXPECT_THAT(tried.text, testing::HasSubstr(why));
    EXPECT_FALSE(std::filesystem::exists(copy)) << why;
  }
  static std::size_t first_with(const std::vector<std::string>& lines, const std::string& begin) {
    for (std::size_t i = 0; i < lines.size(); ++i)
      if (lines[i].starts_with(begin)) return i;
    ADD_FAILURE() << begin;
    return 0;
  }

  const std::string source, copy;
  log_place_options place;
  core::world::made last;
};

}  // namespace portcullis::apps

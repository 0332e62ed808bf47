// A log that retention has cut, as lines and as a store again: the same state, the same bytes; and
// each way in which the lines of its snapshot can be wrong is told, and leaves nothing behind.
#include <fmt/format.h>

#include "cut_log.hpp"

namespace portcullis::apps {
namespace {

using testing::HasSubstr;

TEST_F(a_cut_log, becomes_the_same_store_again) {
  live(0);
  live(1);
  cut();
  live(2);
  live(3);
  close();
  expect_same_store();
}

TEST_F(a_cut_log, that_was_cut_to_its_very_end_has_a_snapshot_and_lacks_nothing) {
  live(0);
  cut();
  const auto end = log->last_seq();
  close();
  const auto all = lines_of(exported(source));
  const auto trailer = json::parse(all.back());
  EXPECT_EQ(trailer["events"], 0);
  EXPECT_EQ(trailer["missing"], json::array());
  EXPECT_EQ(trailer["last_seq"], end);
  EXPECT_EQ(json::parse(all.front())["first_seq"], end + 1);
  expect_same_store();
}

TEST_F(a_cut_log, the_store_that_is_made_of_it_goes_on) {
  live(0);
  cut();
  live(1);
  close();
  ASSERT_EQ(imported(exported(source)).status, 0);
  std::filesystem::rename(source, folder.path() + "/old");
  std::filesystem::rename(copy, source);
  open();
  EXPECT_EQ(log->last_seq(), w.seq);
  (void)w.use(last.id);
  (void)w.rotate(last.id);
  live(2);
  cut();
  live(3);
  close();
  verified(source);
  std::filesystem::remove_all(copy);
  expect_same_store();
}

TEST_F(a_cut_log, a_snapshot_of_more_than_one_part_and_line_comes_whole) {
  for (int i = 0; i < 3'000; ++i) {
    const auto user = "u" + std::to_string(i % 50);
    auto command = w.creation(user);
    const std::string data(1'000, 'x');
    command.data = data;
    (void)w.create(command);
  }
  core::config_reloaded reloaded;
  reloaded.policy = "{\"x\":\"" + std::string(2'500'000, 'y') + "\"}";
  w.apply(of_nobody(reloaded));
  commit();
  sign();
  cut();
  close();
  const auto all = lines_of(exported(source));
  const auto seal = json::parse(all[first_with(all, "{\"snapshot\"")]);
  EXPECT_GT(seal["parts"], 5);
  EXPECT_THAT(all[first_with(all, "{\"part\":1")], HasSubstr("\"more\":true"))
      << "the policy does not fit on a line";
  expect_same_store();
}

TEST_F(a_cut_log, until_a_moment_after_the_cut_it_is_the_store_of_then) {
  live(0);
  cut();
  const auto then = log->last_seq();
  w.revoke(last.handle);  // it lived then; what lists showed of it is gone
  live(1);
  close();
  const auto done = imported(exported(source, 0, then));
  ASSERT_EQ(done.status, 0) << done.text;
  verified(copy);
  EXPECT_EQ(column(copy, "SELECT count(*) FROM events"), "0|\n");
  export_options early;
  early.place = place;
  early.until.seq = then - 1;
  const auto refused = run([&] { return export_log(early); });
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.text, HasSubstr("what came before was cut off"));
}

TEST_F(a_cut_log, from_the_middle_on_it_has_no_snapshot) {
  live(0);
  cut();
  const auto begin = log->last_seq();
  live(1);
  close();
  EXPECT_THAT(exported(source, begin), HasSubstr("{\"snapshot\""));
  const auto middle = exported(source, begin + 1);
  EXPECT_THAT(middle, testing::Not(HasSubstr("{\"snapshot\"")));
  EXPECT_THAT(middle, testing::Not(HasSubstr("\"table\":\"sessions\"")));
  expect_refused(lines_of(middle), "and has no snapshot");
}

/// The copy had the session's creation for its last use, and it was idle at the first one.
TEST_F(a_cut_log, activity_that_the_log_does_not_tell_any_more_is_kept) {
  live(0);
  w.now_ms += hour_ms / 6;
  (void)w.use(last.id);
  commit();
  const auto sql = "SELECT last_seen_at_ms FROM sessions WHERE hex(handle)='" +
                   column_hex(last.handle.bytes) + "'";
  const auto seen_at = std::to_string(w.now_ms) + "|\n";
  drop_activity();
  w.now_ms += hour_ms;
  live(1);
  close();
  ASSERT_EQ(column(source, sql), seen_at);
  expect_same_store();
  EXPECT_EQ(column(copy, sql), seen_at);
}

TEST_F(a_cut_log, activity_whose_record_was_emptied_and_then_cut_off_is_kept) {
  live(0);
  drop_activity();
  w.now_ms += hour_ms;
  cut();
  close();
  const auto sql = "SELECT seq,last_seen_at_ms-created_at_ms FROM sessions WHERE state=0";
  const auto seen = column(source, sql);
  EXPECT_THAT(seen, HasSubstr("|90000|"));
  ASSERT_EQ(imported(exported(source)).status, 0);
  EXPECT_EQ(column(copy, sql), seen);
}

/// It had all users' wrapped keys, and the mode that it was found with.
TEST_F(a_cut_log, an_export_trusts_no_file_that_is_there_before_it) {
  live(0);
  close();
  const auto out = folder.path() + "/out", elsewhere = folder.path() + "/elsewhere";
  std::ofstream(out + ".partial") << "what an export left that was killed";
  chmod((out + ".partial").c_str(), 0644);
  const int held = ::open((out + ".partial").c_str(), O_RDONLY | O_CLOEXEC);
  const auto text = exported(source);
  struct stat info {};
  ASSERT_EQ(stat(out.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  ASSERT_EQ(fstat(held, &info), 0);
  EXPECT_EQ(info.st_size, 35) << "who held it open reads nothing";
  ::close(held);
  std::ofstream(elsewhere) << "as it was";
  ASSERT_EQ(symlink(elsewhere.c_str(), (out + ".partial").c_str()), 0);
  EXPECT_EQ(exported(source), text);
  EXPECT_EQ(read_file(elsewhere), "as it was");
}

/// Only "The store is not available" was told.
TEST_F(a_cut_log, what_a_killed_node_left_where_nothing_can_be_written_is_told_with_the_reason) {
  live(0);
  log.reset();  // as a crash leaves it
  ASSERT_GT(std::filesystem::file_size(source + "/portcullis.db-wal"), 0U);
  const auto permit = [&](mode_t folder_mode, mode_t file_mode) {
    for (const auto& each : std::filesystem::directory_iterator(source))
      chmod(each.path().c_str(), file_mode);
    chmod(source.c_str(), folder_mode);
  };
  permit(0555, 0444);
  chmod(folder.path().c_str(), 0755);
  const bool root = geteuid() == 0;  // who may write everywhere
  ASSERT_TRUE(!root || seteuid(65'534) == 0);
  const auto done = run([&] {
    log_source from;
    return open_log(place, false, from);
  });
  ASSERT_TRUE(!root || seteuid(0) == 0);
  permit(0700, 0600);
  EXPECT_EQ(done.status, 1);
  EXPECT_THAT(done.text, HasSubstr("its node did not stop in order"));
}

/// The lines of an export of a log that was cut, one by one in hand.
class damaged_lines : public a_cut_log {
 protected:
  void SetUp() override {
    live(0);
    drop_activity();
    cut();
    live(1);
    close();
    all = lines_of(exported(source));
    seal = first_with(all, "{\"snapshot\"");
    event = first_with(all, "{\"seq\"");
    row = first_with(all, "{\"table\":\"sessions\"");
    ASSERT_EQ(event, seal + 3) << "a seal and two parts";
    ASSERT_EQ(imported(exported(source)).status, 0);
    std::filesystem::remove_all(copy);
  }
  [[nodiscard]] std::vector<std::string> without(std::size_t from, std::size_t count = 1) const {
    auto out = all;
    out.erase(out.begin() + static_cast<std::ptrdiff_t>(from),
              out.begin() + static_cast<std::ptrdiff_t>(from + count));
    return out;
  }
  [[nodiscard]] std::vector<std::string> with(std::size_t before, const std::string& line) const {
    auto out = all;
    out.insert(out.begin() + static_cast<std::ptrdiff_t>(before), line);
    return out;
  }
  [[nodiscard]] std::vector<std::string> swapped(std::size_t a, std::size_t b) const {
    auto out = all;
    std::swap(out[a], out[b]);
    return out;
  }
  [[nodiscard]] std::vector<std::string> changed(std::size_t line, const char* member,
                                                 const json& to) const {
    auto out = all;
    auto what = nlohmann::ordered_json::parse(out[line]);
    what[member] = to;
    out[line] = what.dump();
    return out;
  }
  /// A bit of the bytes of `member`.
  [[nodiscard]] std::vector<std::string> flipped(std::size_t line, const char* member,
                                                 std::size_t at) const {
    auto bytes = *core::from_base64url(json::parse(all[line])[member].get<std::string>());
    bytes.at(at) = static_cast<char>(bytes.at(at) ^ 1);
    return changed(line, member, core::to_base64url(core::as_bytes(bytes)));
  }
  [[nodiscard]] core::snapshot_seal sealed() const {
    return *core::parse_snapshot_seal(
        *core::from_base64url(json::parse(all[seal])["snapshot"].get<std::string>()));
  }
  [[nodiscard]] std::string line_of(const core::snapshot_seal& what) const {
    return core::to_base64url(core::as_bytes(core::to_bytes(what)));
  }

  std::vector<std::string> all;
  std::size_t seal = 0, event = 0, row = 0;  // the first of each
};

TEST_F(damaged_lines, what_is_missing_is_named) {
  expect_refused(without(seal), "is a part of no snapshot");
  expect_refused(without(seal, 3), "and has no snapshot of what was before");
  expect_refused(without(seal + 1), "is part 2 of the snapshot, where part 1 comes");
  expect_refused(without(seal + 2), "part 2 of the snapshot, which has 2, is missing");
  expect_refused(without(seal + 1, 2), "part 1 of the snapshot, which has 2, is missing");
  expect_refused(without(row), "rows of sessions; here are");
  auto cut = all;
  cut.resize(seal + 2);
  expect_refused(cut, "ends before its trailer");
}

TEST_F(damaged_lines, what_is_in_another_place_is_named) {
  expect_refused(swapped(seal, seal + 1), "is a part of no snapshot");
  expect_refused(swapped(seal + 1, seal + 2), "is part 2 of the snapshot, where part 1 comes");
  expect_refused(swapped(seal + 2, event), "part 2 of the snapshot, which has 2, is missing");
  expect_refused(swapped(seal - 1, seal + 2), "is a part of no snapshot");
  expect_refused(swapped(seal - 1, seal), "is a table row after the snapshot");
  expect_refused(swapped(row, row - 1), "is an event after the rows of sessions");
  expect_refused(swapped(row, row + 1), "does not come in the order of sessions");
}

TEST_F(damaged_lines, what_is_there_twice_is_named) {
  expect_refused(with(seal + 1, all[seal]), "is a second snapshot");
  expect_refused(with(event, all[seal]), "is a second snapshot");
  expect_refused(with(event + 1, all[seal]), "is a second snapshot");
  expect_refused(with(seal + 1, all[seal + 1]), "is part 1 of the snapshot, where part 2 comes");
  expect_refused(with(event, all[seal + 2]), "is a part that the snapshot does not have");
  expect_refused(with(event + 1, all[seal + 2]), "is a part that the snapshot does not have");
  expect_refused(with(row, all[row]), "is there twice");
  expect_refused(with(2, all[1]), "the user is there twice");
  const auto seq = json::parse(all[event])["seq"].get<std::uint64_t>();
  expect_refused(with(event + 1, all[event]), fmt::format("seq {} is there twice", seq));
  expect_refused(with(event + 4, all[event]), fmt::format("seq {} is there twice", seq));
}

TEST_F(damaged_lines, what_was_changed_is_named) {
  expect_refused(flipped(seal, "snapshot", 0), "is no snapshot: \"snapshot\"");
  expect_refused(flipped(seal, "snapshot", 22), "is a snapshot of seq");
  const auto size =
      core::from_base64url(json::parse(all[seal])["snapshot"].get<std::string>())->size();
  for (std::size_t at = 22 + 8; at < size; at += 16)
    expect_refused(flipped(seal, "snapshot", at), "was not signed by this node's key");
  expect_refused(changed(seal, "snapshot", "QUJD"), "is no snapshot: \"snapshot\"");
  expect_refused(changed(seal, "parts", -1), "is no snapshot: \"parts\"");
  expect_refused(changed(seal, "parts", 0), "the parts of the snapshot are not those");
  expect_refused(changed(seal, "parts", 1), "the parts of the snapshot are not those");
  expect_refused(changed(seal, "parts", 3), "part 3 of the snapshot, which has 3, is missing");
  for (const auto part : {seal + 1, seal + 2}) {
    expect_refused(flipped(part, "bytes", 40), "the parts of the snapshot are not those");
    expect_refused(changed(part, "bytes", "?"), "is no part of a snapshot: \"bytes\"");
    expect_refused(changed(part, "bytes", ""), "is an empty part");
    expect_refused(changed(part, "more", true), "of the snapshot");
  }
  expect_refused(changed(0, "first_seq", 7), "; the export begins at seq 7");
  expect_refused(flipped(row, "sealed", 20), "\"sealed\" is not what belongs to this session");
  expect_refused(changed(row, "created_seq", 2), "is about no session of the log");
  expect_refused(changed(row, "last_seen_at_ms", 1), "is not between");
  expect_refused(changed(row, "last_seen_at_ms", w.now_ms + 1), "is not between");
  expect_refused(changed(row, "last_seen_at_ms", -1), "\"last_seen_at_ms\" is missing or");
}

TEST_F(damaged_lines, a_folder_in_the_place_of_the_file_is_told_as_one) {
  import_log_options given;
  given.place = place;
  given.place.data_dir = copy;
  given.in = folder.path();
  const auto done = run([&] { return import_log(given); });
  EXPECT_EQ(done.status, 1);
  EXPECT_EQ(done.text, "portcullis: " + folder.path() + ": Is a directory\n");
}

/// They ended well, without an event and without a word.
TEST_F(damaged_lines, an_export_that_has_no_event_says_so) {
  const auto first = json::parse(all[event])["seq"].get<std::uint64_t>();
  const auto expect_told = [&](std::uint64_t after, std::optional<std::uint64_t> until,
                               bool shown) {
    export_options given;
    given.place = place;
    given.out = fresh_out();
    given.after = after;
    given.until.seq = until;
    given.shown = shown;
    const auto done = run([&] { return export_log(given); });
    EXPECT_EQ(done.status, 0);
    EXPECT_THAT(done.text, HasSubstr(fmt::format("no event was exported: the log has seq {} to {}",
                                                 first, w.seq)))
        << after;
  };
  expect_told(99'999, {}, false);
  expect_told(first + 5, first + 2, false);
  expect_told(0, first - 1, true);
}

/// Users' rows are not in the chain: only a later `verify` told.
TEST_F(damaged_lines, a_users_row_that_is_not_its_users_is_named) {
  const std::size_t user = 2;
  ASSERT_THAT(all[user], HasSubstr("\"table\":\"users\""));
  const auto line = ", line 3: users, row 2: ";
  for (const std::size_t at : {0, 30})
    expect_refused(flipped(user, "wrapped", at), line + std::string("cannot be opened"));
  expect_refused(changed(user, "ring_key", 99), line + std::string("cannot be opened"));
  expect_refused(flipped(user, "lookup", 3), line + std::string("its look-up value"));
  expect_refused(changed(user, "tenant_id", "initech"), line + std::string("its look-up value"));
  expect_refused(flipped(user, "subject", 0), line + std::string("its subject is another user's"));
  expect_refused(flipped(user, "subject", 9), "the row of a user of this event is not there");
  auto lost = without(user);
  auto trailer = nlohmann::ordered_json::parse(lost.back());
  trailer["users"] = trailer["users"].get<int>() - 1;
  lost.back() = trailer.dump();
  expect_refused(lost, "the row of a user of this event is not there, 1 missing");
}

TEST_F(a_cut_log, until_a_moment_before_a_user_was_forgotten_it_is_imported_without_the_row) {
  live(0);
  const auto then = log->last_seq();
  const auto who = w.user("user1");
  const auto subject = w.state.user(who).subject;
  w.forget_user(who);
  commit();
  sign();
  close();
  column(source, "DELETE FROM users WHERE hex(subject)='" + column_hex(subject.bytes) + "'");
  ASSERT_EQ(imported(exported(source)).status, 0);
  std::filesystem::remove_all(copy);
  const auto done = imported(exported(source, 0, then));
  EXPECT_EQ(done.status, 0) << done.text;
}

/// Signed by the right key, and wrong all the same.
TEST_F(damaged_lines, what_does_not_hold_what_was_sealed_is_named) {
  const auto& by = w.keys.checkpoints();
  const auto right = sealed();
  auto state = right.state;
  state[0] ^= 1;
  expect_refused(
      changed(seal, "snapshot", line_of(core::seal_snapshot(right.of, right.parts, state, by))),
      "the state that the snapshot holds is not the one that was sealed");
  const auto garbage = core::sha256(core::as_bytes("ABC"));
  all = without(seal + 2);
  all = changed(seal + 1, "bytes", "QUJD");
  all = changed(seal, "parts", 1);
  expect_refused(
      changed(seal, "snapshot", line_of(core::seal_snapshot(right.of, garbage, right.state, by))),
      "the state that the snapshot holds is not the one that was sealed");
  core::keyring other = core::generate_keyring(core::counted_random(9), 1);
  expect_refused(changed(seal, "snapshot",
                         line_of(core::seal_snapshot(right.of, garbage, right.state,
                                                     core::key_material(other).checkpoints()))),
                 "was not signed by this node's key");
}

TEST_F(damaged_lines, a_part_that_is_lost_in_the_source_is_told_and_no_import_takes_it) {
  column(source, "DELETE FROM snapshot WHERE id=(SELECT max(id) FROM snapshot)");
  export_options given;
  given.place = place;
  given.out = fresh_out();
  const auto done = run([&] { return export_log(given); });
  EXPECT_EQ(done.status, 1);
  EXPECT_THAT(done.text, HasSubstr("the table snapshot: its parts are not those"));
  expect_refused(lines_of(read_file(given.out)), "the parts of the snapshot are not those");
}

}  // namespace
}  // namespace portcullis::apps

#include "apps/log/export.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <unordered_map>

#include "apps/commands.hpp"
#include "apps/log/export_form.hpp"
#include "apps/log/text_file.hpp"
#include "core/event/codec.hpp"
#include "core/session/identity.hpp"

namespace portcullis::apps {
namespace {

struct subject_hash {
  std::size_t operator()(const core::subject_id& of) const noexcept {
    std::size_t out;  // random already
    std::memcpy(&out, of.bytes.data() + of.bytes.size() - sizeof out, sizeof out);
    return out;
  }
};

// In the body of a record of activity that was emptied, and in no other one's.
constexpr std::string_view dropped = R"("dropped":)";
const auto touched = core::to_string(core::event_type::session_touched);

class exporter final : private store::breaker_visitor {
 public:
  exporter(const export_options& given, log_source& from, text_sink& to)
      : given_(given), until_(given.until), from_(from), file_(*from.file), to_(to) {
    // A damaged row in the way of the search: then each row is asked for its time.
    if (!until_.at_ms) return;
    if (const auto last = file_.seq_at(*until_.at_ms))
      until_ = {std::max(*last, file_.cut() ? file_.cut()->of.seq : 0), std::nullopt};
  }

  int run() {
    const auto node = file_.meta("node_id");
    if (node && *node) node_id_ = **node;
    const auto begin = file_.cut() ? file_.cut()->of.seq + 1 : file_.first_seq();
    expected_ = std::max(given_.after + 1, begin);
    whole_ = expected_ <= std::max<std::uint64_t>(begin, 1);
    if (given_.shown) {
      read_names();
    } else {
      write_header();
      write_users();
      if (!is_cut()) write_sources();
      if (whole_ && file_.cut()) write_snapshot();
    }
    write_events();
    tell_of_none(begin);
    if (!given_.shown) {
      if (whole_) write_untold();
      line_.clear();
      append_trailer(line_, told_);
      to_.write(line_.view());
    }
    if (!to_.close()) return complain(to_.why());
    if (store_lost_) return exit_failed;
    return told_.missing.empty() && told_.damaged.empty() ? exit_ok : exit_failed;
  }

 private:
  [[nodiscard]] bool is_cut() const {
    return until_.at_ms || (until_.seq && *until_.seq < file_.last_seq());
  }

  /// An export without an event where events were asked for looks like one that went well.
  void tell_of_none(std::uint64_t begin) const {
    const bool has_snapshot = !given_.shown && whole_ && file_.cut();
    if (told_.events > 0 || !told_.missing.empty() || has_snapshot || file_.last_seq() == 0) return;
    fmt::print(stderr, "portcullis: no event was exported: the log has seq {} to {}\n", begin,
               file_.last_seq());
  }

  void write_header() {
    export_header header;
    header.schema = file_.schema();
    header.node_id = node_id_;
    header.first_seq = expected_;
    header.cut = is_cut();
    const auto check = file_.meta("keyring_check");
    if (check && *check && (*check)->size() == header.keyring_check.size())
      std::copy((*check)->begin(), (*check)->end(), header.keyring_check.begin());
    else
      lost("meta", "its check value of the key file cannot be read");
    line_.clear();
    append_header(line_, header);
    to_.write(line_.view());
  }

  void write_users() {
    const auto read = file_.read_users([&](const store::user_line& each) {
      if (!each.good)
        return lost("users", fmt::format("what comes after row {} is damaged", told_.users));
      ++told_.users;
      line_.clear();
      append_user(line_, each.row);
      to_.write(line_.view());
    });
    if (!read) lost("users", fmt::format("cannot be read after row {}", told_.users));
  }

  void write_sources() {
    if (file_.schema() < 2) return;  // there were none
    const auto read = file_.load_breakers(*this);
    if (!read)
      lost("breaker_sources", fmt::format("cannot be read after row {}", told_.breaker_sources));
  }
  void on_breaker(core::breaker_record&&) override {}
  void on_source(core::breaker_source_record&& row) override {
    ++told_.breaker_sources;
    line_.clear();
    append_source(line_, row);
    to_.write(line_.view());
  }

  void write_snapshot() {
    const auto& seal = *file_.cut();
    dropped_ms_ = seal.of.at_ms;
    told_.last_seq = seal.of.seq;
    const auto count = file_.count_parts();
    line_.clear();
    append_seal(line_, seal, count ? *count : 0);
    to_.write(line_.view());
    core::running_sha256 sum;
    std::uint64_t number = 0;
    const auto read = file_.read_parts([&](std::string_view part) {
      sum.add(core::as_bytes(part));
      line_.clear();
      append_part(line_, ++number, part);
      to_.write(line_.view());
    });
    if (!read || sum.finish() != seal.parts)
      lost("snapshot", "its parts are not those that were sealed");
  }

  void write_untold() {
    const auto read =
        file_.read_untold(told_.last_seq, dropped_ms_, [&](const store::untold_session& each) {
          ++told_.sessions;
          line_.clear();
          append_untold(line_, each);
          to_.write(line_.view());
        });
    if (!read) lost("sessions", fmt::format("cannot be read after row {}", told_.sessions));
  }

  void lost(const char* table, const std::string& how) {
    fmt::print(stderr, "portcullis: the table {}: {}\n", table, how);
    if (told_.damaged.empty() || told_.damaged.back() != table) told_.damaged.emplace_back(table);
  }

  void missing(std::uint64_t from, std::uint64_t to) {
    if (!told_.missing.empty() && told_.missing.back().second + 1 == from)
      told_.missing.back().second = to;
    else
      told_.missing.emplace_back(from, to);
    if (file_.is_end_damaged() && to >= file_.last_seq())
      fmt::print(stderr, "portcullis: seq {} and what came after it cannot be read\n", from);
    else if (from == to)
      fmt::print(stderr, "portcullis: seq {} cannot be read\n", from);
    else
      fmt::print(stderr, "portcullis: seq {} to {} cannot be read\n", from, to);
  }

  void read_names() {
    if (!from_.keys) return;
    const auto read = file_.read_users([&](const store::user_line& each) {
      if (!each.good) return;
      if (const auto who = core::open_user(each.row, *from_.keys))
        names_.emplace(each.row.subject, who->user_id);
    });
    if (!read) lost("users", "cannot be read as a whole: some names are left out");
  }

  [[nodiscard]] bool append_shown(const store::log_row& row) {
    const auto what = core::decode_body(row.seq, row.at_ms, row.type, row.subject, row.body,
                                        core::as_text(row.sealed));
    if (!what) return false;
    if (what->type() == core::event_type::calls_tallied) return true;  // a query leaves it out, too
    const auto known = what->subject ? names_.find(*what->subject) : names_.end();
    core::append_shown(line_, *what, node_id_, known == names_.end() ? "" : known->second);
    line_.append('\n');
    return true;
  }

  /// False: enough.
  bool write_row(const store::log_row& row) {
    if (row.seq < expected_ || row.seq > file_.last_seq()) return true;  // a damaged key
    if (until_.seq && row.seq > *until_.seq) return false;
    if (until_.at_ms && row.at_ms > *until_.at_ms) return false;
    if (row.seq > expected_) missing(expected_, row.seq - 1);
    expected_ = row.seq + 1;
    line_.clear();
    if (!(given_.shown ? append_shown(row) : append_event(line_, row))) {
      missing(row.seq, row.seq);
      return true;
    }
    ++told_.events;
    told_.last_seq = row.seq;
    if (row.type == touched && row.body.find(dropped) != std::string_view::npos)
      dropped_ms_ = row.at_ms;
    return to_.write(line_.view());
  }

  void write_events() {
    if (file_.last_seq() == 0) return;
    const auto last = until_.seq ? std::min(*until_.seq, file_.last_seq()) : file_.last_seq();
    auto after = expected_ - 1;
    std::uint64_t tried = 0;
    for (bool ended = false; !ended && expected_ <= last;) {
      bool enough = false;
      const auto read = file_.read(after, [&](const store::log_row& row) {
        enough = !write_row(row);
        return !enough;
      });
      if (enough) return;
      if (!read && read.error().code != core::error_code::STORE_INTEGRITY) {
        complain(read.error(), given_.place.data_dir);
        store_lost_ = true;
      }
      // Past the damaged page; what lies between is missing.
      std::uint64_t next = read ? 0 : file_.next_readable(expected_);
      if (next != 0 && next <= tried) next = file_.next_readable(tried + 1);
      tried = next;
      ended = next == 0;
      if (!ended) after = next - 1;
    }
    // Where only a time says when to stop, rows that cannot be read may be past it: named all the
    // same.
    if (expected_ <= last) missing(expected_, last);
  }

  const export_options& given_;
  log_moment until_;
  log_source& from_;
  store::log_file& file_;
  text_sink& to_;
  core::byte_buffer line_;
  export_trailer told_;
  std::unordered_map<core::subject_id, std::string, subject_hash> names_;
  std::string node_id_;
  std::uint64_t expected_ = 1;   // the next seq
  core::millis dropped_ms_ = 0;  // records of activity up to then may have been emptied
  bool whole_ = true;            // from the log's beginning on
  bool store_lost_ = false;
};

}  // namespace

int export_log(const export_options& given) {
  log_source from;
  const bool named = given.shown && has_keys(given.place);
  if (const int failed = open_log(given.place, named, from); failed >= 0) return failed;
  if (given.shown && !named)
    fmt::print(stderr, "portcullis: without a key file users have no names (--keys-file)\n");
  if (given.until.seq && *given.until.seq > from.file->last_seq())
    return complain(fmt::format("the log ends at seq {}", from.file->last_seq()));
  if (const auto& cut = from.file->cut();
      cut && ((given.until.seq && *given.until.seq < cut->of.seq) ||
              (given.until.at_ms && *given.until.at_ms < cut->of.at_ms)))
    return complain(fmt::format("the log begins at seq {}, {}: what came before was cut off",
                                cut->of.seq, time_text(cut->of.at_ms)));
  if (given.gzip && given.out.empty() && isatty(STDOUT_FILENO) != 0)
    return complain("a terminal does not show gzip: --out FILE, or into a pipe");
  // Above all not a good export by one of a log that has been damaged since.
  std::error_code unknown;
  if (!given.out.empty() && std::filesystem::is_regular_file(given.out, unknown))
    return complain(given.out + ": it is there already, and an export replaces nothing");
  std::string why;
  const auto to = text_sink::open(given.out, given.gzip, why);
  if (!to) return complain(why);
  return exporter(given, from, *to).run();
}

}  // namespace portcullis::apps

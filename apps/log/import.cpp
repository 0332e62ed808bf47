#include "apps/log/import.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "apps/commands.hpp"
#include "apps/log/export_form.hpp"
#include "apps/log/text_file.hpp"
#include "apps/log/verify_users.hpp"
#include "apps/node/keys.hpp"
#include "core/event/codec.hpp"
#include "store/importer.hpp"

namespace portcullis::apps {
namespace {

std::string sentence(const store::log_trouble& what) {
  using kind = store::log_trouble::kind;
  switch (what.what) {
    case kind::missing:
      return fmt::format("seq {} is missing", what.seq);
    case kind::time:
      return fmt::format("seq {}: its time is before that of the event before it", what.seq);
    case kind::mac:
      return fmt::format(
          "seq {}: the chain is broken here: the event, or its place, was changed, or the key file "
          "is another's",
          what.seq);
    case kind::body:
      return fmt::format("seq {} cannot be read as an event ({})", what.seq, what.why.rule);
    case kind::file:
    case kind::signature:
      break;  // of files that are read
  }
  return fmt::format("seq {} is damaged", what.seq);
}

/// Of what an importer refuses by a rule; empty: it is no such thing.
std::string sentence(const core::error& why) {
  using code = core::error_code;
  if (why.code == code::STORE_INTEGRITY && why.rule == "twice") return "the user is there twice";
  if (why.code != code::LOG_CORRUPT) return {};
  if (why.rule == "signature") return "the snapshot was not signed by this node's key";
  if (why.rule == "parts") return "the parts of the snapshot are not those that were sealed";
  if (why.rule == "state" || why.rule == "snapshot")
    return "the state that the snapshot holds is not the one that was sealed";
  if (why.rule == "order") return "does not come in the order of sessions, or is there twice";
  if (why.rule == "session") return "is about no session of the log";
  if (why.rule == "sealed") return "\"sealed\" is not what belongs to this session";
  if (why.rule == "last_seen_at_ms")
    return "\"last_seen_at_ms\" is not between the session's creation and the log's end";
  return {};
}

const auto created = core::to_string(core::event_type::session_created);
const auto forgotten = core::to_string(core::event_type::user_forgotten);
constexpr std::size_t part_bytes_max = 1'000'000'000;  // as large as a row of the store may be

class import_run {
 public:
  explicit import_run(const import_log_options& given) : given_(given) {}

  int run() {
    if (const int failed = open_keys(given_.place, keys_); failed >= 0) return failed;
    std::string why;
    lines_ = line_source::open(given_.in, why);
    if (!lines_) return complain(why);
    if (const int failed = begin(); failed >= 0) return failed;
    while (!trailer_) {
      auto what = next();
      if (!what) return exit_failed;
      if (const int failed = std::visit([&](auto& each) { return take(each); }, *what); failed >= 0)
        return failed;
    }
    return finish();
  }

 private:
  int wrong(const std::string& what) {
    const auto line = lines_->number();  // 0: not even the first one could be read
    return complain(fmt::format("{}{}: {}; nothing was imported", name(),
                                line == 0 ? "" : fmt::format(", line {}", line), what));
  }
  [[nodiscard]] std::string name() const { return given_.in == "-" ? "standard input" : given_.in; }

  /// Absent: it has said why.
  std::optional<export_line> next() {
    const auto line = lines_->next();
    if (!line) {
      if (lines_->why().empty())
        complain(
            fmt::format("{}: ends before its trailer: it was cut; nothing was imported", name()));
      else
        wrong(lines_->why());
      return std::nullopt;
    }
    std::string why;
    auto what = reader_.read(*line, why);
    if (!what) wrong(why);
    return what;
  }

  int begin() {
    const auto first = next();
    if (!first) return exit_failed;
    const auto* header = std::get_if<export_header>(&*first);
    if (header == nullptr)
      return wrong("is no header of an export (what --shown gives cannot be imported)");
    if (header->version != export_version)
      return wrong(fmt::format("is an export of version {}; this program reads {}", header->version,
                               export_version));
    if (header->schema > store::current_schema())
      return wrong("was made by a newer version (SCHEMA_TOO_NEW)");
    if (header->keyring_check != keyring_check(keys_))
      return wrong("was made with another key file (KEYRING_MISMATCH)");
    store::import_options options;
    options.data_dir = given_.place.data_dir;
    options.node_id = header->node_id;
    options.keyring_check = header->keyring_check;
    options.keys = &*keys_.keys;
    options.cut = header->cut;
    options.random = buffered_random;
    first_seq_ = header->first_seq;
    earlier_ = header->cut;
    auto begun = store::importer::begin(options);
    if (!begun && begun.error().rule == "not_empty")
      return complain(
          fmt::format("{}: there is a store already; import makes one in an empty "
                      "folder",
                      given_.place.data_dir));
    if (!begun) return complain(begun.error(), given_.place.data_dir);
    to_ = std::move(*begun);
    return -1;
  }

  int refused(const core::error& why) {
    if (const auto& trouble = to_->trouble()) return wrong(sentence(*trouble));
    if (const auto text = sentence(why); !text.empty()) return wrong(text);
    return complain(why, given_.place.data_dir);
  }

  int take(const export_header&) { return wrong("is a second header"); }
  template <class Row>
  int add_table_row(const Row& row, std::uint64_t& count) {
    if (events_ > 0) return wrong("is a table row after the first event");
    if (has_snapshot_) return wrong("is a table row after the snapshot");
    ++count;
    const auto added = to_->add(row);
    return added ? -1 : refused(added.error());
  }
  int take(const core::user_row& row) {
    if (const int failed = add_table_row(row, users_); failed >= 0) return failed;
    users_seen_.add(row, *keys_.keys);
    return wrong_user();
  }
  /// What is wrong with users, if anything is.
  int wrong_user() { return user_trouble_.empty() ? -1 : wrong(user_trouble_); }
  int take(const core::breaker_source_record& row) { return add_table_row(row, sources_); }

  int take(const exported_seal& row) {
    if (has_snapshot_) return wrong("is a second snapshot");
    if (events_ > 0) return wrong("is a snapshot after the first event");
    if (row.what.of.seq + 1 != first_seq_)
      return wrong(fmt::format("is a snapshot of seq {}; the export begins at seq {}",
                               row.what.of.seq, first_seq_));
    has_snapshot_ = true;
    parts_ = row.parts;
    if (const auto begun = to_->begin_snapshot(row.what, row.parts); !begun)
      return refused(begun.error());
    return begin_users();
  }
  int take(const exported_part& row) {
    if (part_ == parts_)
      return wrong(has_snapshot_ ? "is a part that the snapshot does not have"
                                 : "is a part of no snapshot");
    if (row.number != part_ + 1)
      return wrong(
          fmt::format("is part {} of the snapshot, where part {} comes", row.number, part_ + 1));
    if (row.bytes.empty()) return wrong("is an empty part");
    piece_ += row.bytes;
    if (piece_.size() > part_bytes_max) return wrong("is a part of more than 1 GB");
    if (row.more) return -1;
    ++part_;
    const auto added = to_->add_part(piece_);
    piece_.clear();
    return added ? begin_users() : refused(added.error());
  }
  /// With the snapshot's last part, users of whom it tells are known.
  int begin_users() {
    if (part_ < parts_) return -1;
    users_seen_.begin(to_->state());
    return wrong_user();
  }
  /// What comes next is no part: all have to be there.
  int end_snapshot() {
    if (part_ < parts_)
      return wrong(
          fmt::format("part {} of the snapshot, which has {}, is missing", part_ + 1, parts_));
    if (has_snapshot_ || first_seq_ <= 1) return -1;
    return wrong(fmt::format("the export begins at seq {}, and has no snapshot of what was before",
                             first_seq_));
  }
  int take(const exported_event& row) {
    if (const int failed = end_snapshot(); failed >= 0) return failed;
    if (sessions_ > 0) return wrong("is an event after the rows of sessions");
    if (const auto next = first_seq_ + events_; row.seq < next)
      return wrong(row.seq < first_seq_
                       ? fmt::format("seq {} is before the export's beginning", row.seq)
                       : fmt::format("seq {} is there twice", row.seq));
    ++events_;
    if (const auto added = to_->add(row.row()); !added) return refused(added.error());
    if (row.type != created && row.type != forgotten) return -1;  // nothing about users' rows
    if (const auto what = core::decode_body(row.seq, row.at_ms, row.type,
                                            core::as_bytes(row.subject), row.body, row.sealed))
      users_seen_.note(*what);
    return wrong_user();
  }
  int take(const exported_session& row) {
    if (const int failed = end_snapshot(); failed >= 0) return failed;
    ++sessions_;
    const auto added = to_->add(store::untold_session{row.seq, row.last_seen_at_ms, row.sealed});
    return added ? -1 : refused(added.error());
  }
  int take(const export_trailer& row) {
    if (const int failed = end_snapshot(); failed >= 0) return failed;
    if (!row.damaged.empty())
      return wrong(fmt::format("the export lacks rows of the table {}, which was damaged",
                               row.damaged.front()));
    if (!row.missing.empty()) return wrong("the export lacks events, which were damaged");
    if (row.users != users_ || row.breaker_sources != sources_ || row.events != events_)
      return wrong(
          fmt::format("the export had {} users, {} sources of breakers and {} events; "
                      "here are {}, {} and {}",
                      row.users, row.breaker_sources, row.events, users_, sources_, events_));
    if (row.sessions != sessions_)
      return wrong(
          fmt::format("the export had {} rows of sessions; here are {}", row.sessions, sessions_));
    users_seen_.finish(earlier_);
    trailer_ = true;
    return wrong_user();
  }

  int finish() {
    if (lines_->next()) return wrong("comes after the trailer");
    if (!lines_->why().empty()) return wrong(lines_->why());
    if (const auto done = to_->finish(); !done) return refused(done.error());
    const auto& state = to_->state();
    const auto digest = core::to_hex(state.digest());
    if (given_.json)
      fmt::print(R"({{"events":{},"users":{},"breaker_sources":{},"seq":{},"digest":"{}"}})"
                 "\n",
                 events_, users_, sources_, state.seq(), digest);
    else
      fmt::print("events {}, users {}, sources of breakers {}\nseq {}, {}\n{}\n", events_, users_,
                 sources_, state.seq(), time_text(state.at_ms()), digest);
    return exit_ok;
  }

  const import_log_options& given_;
  log_source keys_;
  std::unique_ptr<line_source> lines_;
  export_reader reader_;
  std::unique_ptr<store::importer> to_;
  std::string piece_;  // what came of the snapshot's next part
  std::uint64_t users_ = 0, sources_ = 0, events_ = 0, sessions_ = 0;
  std::uint64_t first_seq_ = 1, part_ = 0, parts_ = 0;
  bool has_snapshot_ = false, trailer_ = false, earlier_ = false;
  std::string user_trouble_;
  user_checker users_seen_{[this](std::uint64_t seq, const std::string& what) {
    if (user_trouble_.empty())
      user_trouble_ = seq == 0 ? what : fmt::format("seq {}: {}", seq, what);
  }};
};

}  // namespace

int import_log(const import_log_options& given) { return import_run(given).run(); }

}  // namespace portcullis::apps

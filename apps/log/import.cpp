#include "apps/log/import.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "apps/commands.hpp"
#include "apps/log/export_form.hpp"
#include "apps/log/text_file.hpp"
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
    return complain(
        fmt::format("{}, line {}: {}; nothing was imported", name(), lines_->number(), what));
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
    if (header->first_seq > 1)
      return wrong(
          fmt::format("the export begins at seq {}; only a whole log, from seq 1, can be "
                      "imported",
                      header->first_seq));
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
    if (why.code == core::error_code::STORE_INTEGRITY) return wrong("the user is there twice");
    return complain(why, given_.place.data_dir);
  }

  int take(const export_header&) { return wrong("is a second header"); }
  int take(const core::user_row& row) {
    if (events_ > 0) return wrong("is a table row after the first event");
    ++users_;
    const auto added = to_->add(row);
    return added ? -1 : refused(added.error());
  }
  int take(const core::breaker_source_record& row) {
    if (events_ > 0) return wrong("is a table row after the first event");
    ++sources_;
    const auto added = to_->add(row);
    return added ? -1 : refused(added.error());
  }
  int take(const exported_event& row) {
    ++events_;
    const auto added = to_->add(row.row());
    return added ? -1 : refused(added.error());
  }
  int take(const export_trailer& row) {
    if (!row.damaged.empty())
      return wrong(fmt::format("the export lacks rows of the table {}, which was damaged",
                               row.damaged.front()));
    if (!row.missing.empty()) return wrong("the export lacks events, which were damaged");
    if (row.users != users_ || row.breaker_sources != sources_ || row.events != events_)
      return wrong(
          fmt::format("the export had {} users, {} sources of breakers and {} events; "
                      "here are {}, {} and {}",
                      row.users, row.breaker_sources, row.events, users_, sources_, events_));
    trailer_ = true;
    return -1;
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
  std::uint64_t users_ = 0, sources_ = 0, events_ = 0;
  bool trailer_ = false;
};

}  // namespace

int import_log(const import_log_options& given) { return import_run(given).run(); }

}  // namespace portcullis::apps

// `portcullis checkpoint`: where the log of a stopped node ends, signed, to be kept elsewhere.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "apps/commands.hpp"
#include "apps/log/source.hpp"
#include "apps/log/text_file.hpp"
#include "core/event/checkpoint.hpp"
#include "core/event/codec.hpp"

namespace portcullis::apps {
namespace {

struct checkpoint_options {
  log_place_options place;
  std::string out;
};

/// The last event that there is, or that was cut off; the exit status, or -1.
int find_end(store::log_file& from, const std::string& data_dir, core::log_place& end) {
  if (from.last_seq() == 0) return complain(data_dir + ": the log is empty");
  if (from.cut()) end = from.cut()->of;
  if (end.seq == from.last_seq()) return -1;
  bool good = false;
  const auto read = from.read(from.last_seq() - 1, [&](const store::log_row& row) {
    end = {row.seq, row.at_ms, {}};
    good = row.mac.size() == end.mac.size();
    if (good) std::copy(row.mac.begin(), row.mac.end(), end.mac.begin());
    return false;
  });
  if (!read) return complain(read.error(), data_dir);
  if (good) return -1;
  return complain(fmt::format("{}: the log is damaged at seq {} (LOG_CORRUPT); verify says more",
                              data_dir, from.last_seq()));
}

int run_checkpoint(const checkpoint_options& given) {
  log_source from;
  if (const int failed = open_log(given.place, true, from); failed >= 0) return failed;
  core::log_place end;
  if (const int failed = find_end(*from.file, given.place.data_dir, end); failed >= 0)
    return failed;
  const auto node = from.file->meta("node_id");
  core::event what;
  what.seq = end.seq + 1;  // as if the node had written it
  what.at_ms = end.at_ms;
  what.body = core::make_checkpoint(end, from.keys->checkpoints());
  core::byte_buffer line;
  core::append_shown(line, what, node && *node ? **node : "", {});
  line.append('\n');
  std::string why;
  const auto out = text_sink::open(given.out, false, why);
  if (!out) return complain(why);
  // The one that was kept before is there until this one is durable.
  if (!out->write(line.view()) || !out->close()) return complain(out->why());
  return exit_ok;
}

}  // namespace

void add_checkpoint(CLI::App& root, int& status) {
  auto given = std::make_shared<checkpoint_options>();
  auto* command = root.add_subcommand(
      "checkpoint",
      "Sign where a stopped node's log ends; kept elsewhere, verify --checkpoint "
      "shows with it that the log was cut or rolled back. A running node signs its "
      "log by itself: events.query {\"types\":[\"checkpoint\"]}");
  add_log_place(*command, given->place);
  command->add_option("--out", given->out, "A file (default: standard output)")->type_name("FILE");
  command->callback([given, &status] { status = run_checkpoint(*given); });
}

}  // namespace portcullis::apps

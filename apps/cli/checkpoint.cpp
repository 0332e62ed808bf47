// `portcullis checkpoint`: where the log of a stopped node ends, signed, to be kept elsewhere.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <memory>

#include "apps/commands.hpp"
#include "apps/log/source.hpp"
#include "core/event/checkpoint.hpp"
#include "core/event/codec.hpp"

namespace portcullis::apps {
namespace {

struct checkpoint_options {
  log_place_options place;
  std::string out;
};

int run_checkpoint(const checkpoint_options& given) {
  log_source from;
  if (const int failed = open_log(given.place, true, from); failed >= 0) return failed;
  if (from.file->last_seq() == 0) return complain(given.place.data_dir + ": the log is empty");
  core::log_place end;
  const auto read = from.file->read(from.file->last_seq() - 1, [&](const store::log_row& row) {
    end = {row.seq, row.at_ms, {}};
    if (row.mac.size() == end.mac.size())
      std::copy(row.mac.begin(), row.mac.end(), end.mac.begin());
    return false;
  });
  if (!read) return complain(read.error(), given.place.data_dir);
  const auto node = from.file->meta("node_id");
  core::event what;
  what.seq = end.seq + 1;  // as if the node had written it
  what.at_ms = end.at_ms;
  what.body = core::make_checkpoint(end, from.keys->checkpoints());
  core::byte_buffer line;
  core::append_shown(line, what, node && *node ? **node : "", {});
  line.append('\n');
  if (given.out.empty()) {
    std::fwrite(line.data(), 1, line.size(), stdout);
    return exit_ok;
  }
  std::ofstream file(given.out, std::ios::binary | std::ios::trunc);
  file.write(line.data(), static_cast<std::streamsize>(line.size()));
  file.close();
  if (!file) return complain(given.out + ": cannot be written");
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

// A SQLite VFS over the default one for fault tests: fails the n-th write or sync, and plays a
// power cut, after which each file is what was synced of it plus whichever of the later writes the
// disk happened to keep, some of them torn.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace portcullis::store {

/// Name to give journal_options::vfs. Registered at the first arm() or disarm().
inline constexpr const char* fault_vfs_name = "fault";

struct fault_plan {
  std::optional<unsigned> fail_write;  // the n-th from now on, counted from 1 ...
  std::optional<unsigned> fail_sync;
  int write_error = 0;  // ... with this result code; later ones too while `lasting`
  bool lasting = false;
  bool spares_log = false;  // writes to the write-ahead log are neither counted nor failed
  std::optional<unsigned>
      cut_at;  // the n-th write, truncate or sync from now on and all after it do not happen
};

void arm(const fault_plan& plan);
void disarm();
/// Writes, truncates and syncs seen since arm().
[[nodiscard]] unsigned operations_seen();
[[nodiscard]] bool power_is_cut();
/// What a file system shows after the cut: lost, kept and torn writes are chosen by `seed`. Files
/// must be closed.
void power_up(std::uint32_t seed);
/// Forgets what was synced and written so far: files as they are now count as synced.
void forget_history();

}  // namespace portcullis::store

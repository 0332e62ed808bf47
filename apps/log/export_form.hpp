// An export of a store: one JSON object a line. A header, rows of `users` and `breaker_sources`,
// the snapshot where the log was cut, the log's rows, what they do not tell of sessions, a trailer.
// Bytes are base64url; a row's body is the JSON of the column, byte for byte, so that the chain can
// be checked. Format: docs/journal.md.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/breaker/observed.hpp"
#include "core/bytes.hpp"
#include "core/crypto/hmac.hpp"
#include "core/event/event.hpp"
#include "store/log_file.hpp"

namespace portcullis::apps {

inline constexpr int export_version = 1;

struct export_header {
  int version = export_version;
  int schema = 0;
  std::string node_id;
  core::digest keyring_check{};
  std::uint64_t first_seq = 1;  // of the first event, where there is one
  bool cut = false;             // the log goes on after the last event
};
struct export_trailer {
  std::uint64_t users = 0, breaker_sources = 0, events = 0, sessions = 0, last_seq = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> missing;  // seqs, from and to
  std::vector<std::string> damaged;                              // tables
};

void append_header(core::byte_buffer& out, const export_header& what);
void append_user(core::byte_buffer& out, const core::user_row& what);
void append_source(core::byte_buffer& out, const core::breaker_source_record& what);
/// The seal of the snapshot, which has so many parts; then those, each as one line or several.
void append_seal(core::byte_buffer& out, const core::snapshot_seal& what, std::uint64_t parts);
void append_part(core::byte_buffer& out, std::uint64_t number, std::string_view bytes);
void append_untold(core::byte_buffer& out, const store::untold_session& what);
/// False, and nothing appended: the row is not of a form that a line can carry; it is damaged.
[[nodiscard]] bool append_event(core::byte_buffer& out, const store::log_row& what);
void append_trailer(core::byte_buffer& out, const export_trailer& what);

/// A row of the log with its own bytes, but for the body: a view of the line.
struct exported_event {
  std::uint64_t seq = 0;
  core::millis at_ms = 0;
  std::string type, subject, sealed, mac;
  std::string_view body;
  [[nodiscard]] store::log_row row() const noexcept {
    return {seq,
            at_ms,
            type,
            core::as_bytes(subject),
            body,
            core::as_bytes(sealed),
            core::as_bytes(mac)};
  }
};
struct exported_seal {
  core::snapshot_seal what;
  std::uint64_t parts = 0;
};
/// A part of the snapshot, from 1, or a piece of it.
struct exported_part {
  std::uint64_t number = 0;
  std::string bytes;
  bool more = false;  // the next line goes on with it
};
/// A store::untold_session with its own bytes.
struct exported_session {
  std::uint64_t seq = 0;
  core::millis last_seen_at_ms = 0;
  std::string sealed;
};
using export_line =
    std::variant<export_header, core::user_row, core::breaker_source_record, exported_seal,
                 exported_part, exported_event, exported_session, export_trailer>;

class export_reader {
 public:
  export_reader();
  ~export_reader();
  export_reader(const export_reader&) = delete;
  export_reader& operator=(const export_reader&) = delete;
  /// `line`: without its LF; line_source::padding bytes after it may be read. Absent: `why` says
  /// what it lacks.
  [[nodiscard]] std::optional<export_line> read(std::string_view line, std::string& why);

 private:
  struct parser;
  std::unique_ptr<parser> parser_;
};

}  // namespace portcullis::apps

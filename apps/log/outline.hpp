// What looking back at a log needs of it besides the state: the policies that it told, what
// checkpoints speak of, one event by its number, and who its users are.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apps/log/source.hpp"
#include "core/replay/explain.hpp"

namespace portcullis::apps {

struct log_outline {
  std::vector<core::logged_policy> policies;                    // by seq
  std::vector<std::string> policy_texts;                        // of each, JSON
  std::map<std::uint64_t, core::log_place> before_checkpoints;  // by the checkpoint's seq
};
/// One pass over the log, from where it begins, without decoding what is not asked for. Absent:
/// `why`.
[[nodiscard]] std::optional<log_outline> read_outline(store::log_file& from, std::string& why);

/// Where the log begins with a state that has a policy already: adds that in front.
[[nodiscard]] bool begin_with(log_outline& to, const core::replayed_state& state, std::string& why);

/// An event of the log, and the node that wrote it.
struct logged_event {
  core::event what;
  std::string node;
};
/// Absent: `why` says that it is not there, or damaged.
[[nodiscard]] std::optional<logged_event> read_event(store::log_file& from, std::uint64_t seq,
                                                     std::string& why);

/// session_created of this handle; absent: none, or `why`.
[[nodiscard]] std::optional<core::event> find_creation(store::log_file& from,
                                                       const core::session_handle& handle,
                                                       std::string& why);

/// What `after` has otherwise than `before`, both JSON objects of settings: its name with dots, and
/// "before -> after".
[[nodiscard]] std::vector<std::pair<std::string, std::string>> changed_settings(
    const std::string& before, const std::string& after);

/// Users by subject, opened with the key file when first asked for. Forgotten ones are null.
class log_users {
 public:
  explicit log_users(const core::key_material& keys) : keys_(keys) {}
  /// Reads one user's row, or all; the file must not be read by a stream meanwhile. A user without
  /// a row is forgotten.
  [[nodiscard]] core::status read(store::log_file& from, const core::subject_id& subject);
  [[nodiscard]] core::status read_all(store::log_file& from);
  [[nodiscard]] core::identity_ptr find(const core::subject_id& subject);
  /// For core::explain(); good as long as this is.
  [[nodiscard]] core::identity_opener opener() {
    return [this](const core::subject_id& subject) { return find(subject); };
  }

 private:
  struct entry {
    core::user_row row;
    core::identity_ptr who;
    bool opened = false;
  };
  const core::key_material& keys_;
  std::map<core::subject_id, entry> users_;
};

}  // namespace portcullis::apps

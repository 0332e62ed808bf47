// The data folder: made, entered and locked.
#pragma once
#include <string>

#include "core/result.hpp"

namespace portcullis::store {

/// Holds `portcullis.lock` in the folder; the kernel lets go of it when the process ends, however
/// it ends.
class data_folder {
 public:
  /// Makes the folder (0700) where it is missing, locks it, makes the empty database file (0600)
  /// where it is missing, and removes what an import that was killed left. Errors: DATA_DIR_IN_USE,
  /// STORE_UNAVAILABLE (rule "data_dir"), STORE_FULL.
  [[nodiscard]] static core::result<data_folder> enter(const std::string& path);
  /// Locks a folder that has a database file, and makes nothing but the lock's file (on a medium
  /// that cannot be written to, not even that). Errors: DATA_DIR_IN_USE, STORE_UNAVAILABLE (rule
  /// "data_dir").
  [[nodiscard]] static core::result<data_folder> enter_to_read(const std::string& path);
  /// For a store that is made as a whole: makes and locks the folder, as enter() does, and a
  /// database file beside the one that a node opens, empty. Errors: as enter(); INVALID_PARAMS
  /// (rule "not_empty") where there is a store already.
  [[nodiscard]] static core::result<data_folder> enter_to_import(const std::string& path);
  /// Of such a folder: the database, which nobody has open for writing any more, is durable and in
  /// the place where a node opens it. Errors: as enter().
  [[nodiscard]] core::status put_in_place();
  /// Of such a folder: removes the database, and the folder itself where it was made for it, unless
  /// it was put in place.
  void discard() noexcept;
  /// Whether another process holds the folder now. False where there is none.
  [[nodiscard]] static bool in_use(const std::string& path);
  data_folder(data_folder&& other) noexcept;
  data_folder& operator=(data_folder&&) = delete;
  ~data_folder();

  [[nodiscard]] const std::string& database_path() const noexcept { return database_path_; }

 private:
  data_folder() = default;
  [[nodiscard]] static core::result<data_folder> lock(const std::string& path);
  int lock_ = -1;
  std::string database_path_;
  std::string place_;  // set: where the database is to be put
  bool made_ = false;  // the folder, by this one
};

}  // namespace portcullis::store

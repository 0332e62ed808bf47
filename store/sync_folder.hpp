// Paths of files, and making what was created, renamed or removed in a folder last.
#pragma once
#include <string>

namespace portcullis::store {

/// The folder that a file is in.
[[nodiscard]] std::string folder_of(const std::string& path);
/// A path by which SQLite opens that file, whatever it is called: it reads "file:x" as a URI.
[[nodiscard]] std::string sqlite_name(const std::string& path);
/// Makes a folder's entries durable (fsync). False: errno says why.
[[nodiscard]] bool sync_folder(const std::string& path) noexcept;

}  // namespace portcullis::store

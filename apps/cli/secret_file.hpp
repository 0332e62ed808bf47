// Random bytes; files that only their owner may read, and what belongs beside them.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace portcullis::apps {

/// Fills `out` from OpenSSL's generator (ASVS 11.5.1). Ends the process when it has no entropy: no
/// secret is better than a weak one.
void random_bytes(std::span<std::uint8_t> out);

/// Writes a new file with mode 0600 and syncs it. False, and `why`, when it exists or cannot be
/// written.
[[nodiscard]] bool write_new_secret(const std::string& file, std::string_view text,
                                    std::string& why);

/// Puts `text` in the place of `file`, with mode 0600: after a crash there is the old or the new
/// text, never a part. False, and `why`, when it cannot be written; the old file is then as it was.
[[nodiscard]] bool replace_secret(const std::string& file, std::string_view text, std::string& why);

/// The same two for what everybody may read, as certificates: mode 0644, less the umask.
[[nodiscard]] bool write_new_public(const std::string& file, std::string_view text,
                                    std::string& why);
[[nodiscard]] bool replace_public(const std::string& file, std::string_view text, std::string& why);

/// A whole file of at most 1 MiB. Nothing, and `why`, when it cannot be read.
[[nodiscard]] std::optional<std::string> read_secret(const std::string& file, std::string& why);

/// Whether `file`, through whatever links, lies in the folder of credentials that systemd has made
/// for this service (systemd.exec(5), LoadCredential): readable by it alone, whatever the mode
/// says, and never to be replaced. An access control list lets the service in, whose mask shows as
/// rights of the group. False where there is no such folder or file.
[[nodiscard]] bool is_credential(const std::string& file);

}  // namespace portcullis::apps

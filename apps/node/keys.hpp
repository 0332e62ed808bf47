// The key file on disk: who may read it, and when one is made.
#pragma once
#include <span>
#include <string>

#include "core/config/config.hpp"
#include "core/session/keyring.hpp"

namespace portcullis::apps {

/// Random bytes from OpenSSL's generator, taken in blocks a thread: a session needs several short
/// pieces.
void buffered_random(std::span<std::uint8_t> out);
/// What generators that need not be secret begin with.
[[nodiscard]] std::uint64_t random_seed();

/// Loads crypto.keys_file. In development with the embedded store a missing one is made. Production
/// refuses one that group or others may read, unless it is a credential: then systemd says who
/// reads it. `why` is a sentence for the operator.
[[nodiscard]] core::result<core::keyring> load_keys(const core::config& config, std::string& why);
/// Replaces crypto.keys_file, durably. CONFIG_INVALID, rule not_a_credential, and a line in the log
/// that says what to do, where the file is a credential of this service (systemd.exec(5),
/// LoadCredential): nobody can replace those. KEYRING_MISMATCH, rule writable: it could not be
/// written.
[[nodiscard]] core::result<core::nothing> save_keys(const core::config& config,
                                                    const core::keyring& keys);

/// Why the data folder cannot be used, in words.
[[nodiscard]] std::string_view why_not_opened(const core::error& why) noexcept;

}  // namespace portcullis::apps

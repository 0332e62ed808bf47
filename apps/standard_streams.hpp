// Descriptors 0 to 2, at the two ends of a command.
#pragma once

namespace portcullis::apps {

/// Call first. Of the three those that are closed are opened, so that no file or connection of the
/// process gets such a number and what is printed goes into it; each use of them fails (EBADF).
void occupy_standard_descriptors() noexcept;

/// Call last, with the exit status so far. Writes out what is printed; where that fails, or did
/// before, says so on standard error and makes exit_failed of exit_ok. A reader that went away
/// (EPIPE) has seen what it wanted: no failure.
[[nodiscard]] int finish_output(int status) noexcept;

/// The same where printing failed with `why` (an errno).
[[nodiscard]] int output_failed(int status, int why) noexcept;

/// That printing failed has been told: finish_output() is not to tell it again. What waits to be
/// written is dropped.
void forget_output() noexcept;

}  // namespace portcullis::apps

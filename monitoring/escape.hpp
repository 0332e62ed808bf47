// Makes any bytes safe inside one log line (ASVS 16.4.1).
#pragma once
#include <string_view>

#include "core/bytes.hpp"

namespace portcullis::monitoring {

/// Appends `text` as a JSON string with its quotes. Quotes, backslashes, all controls (C0, DEL,
/// C1), line and paragraph separators and bidirectional controls are escaped, so that the result is
/// one line for every reader and moves no terminal; what is not UTF-8 becomes U+FFFD, a bad byte at
/// a time. A text above `bytes_max` bytes is cut between two characters and ends in U+2026. Any
/// thread.
void append_escaped(core::byte_buffer& out, std::string_view text, std::size_t bytes_max);

/// The same without the quotes around it.
void append_escaped_bare(core::byte_buffer& out, std::string_view text, std::size_t bytes_max);

}  // namespace portcullis::monitoring

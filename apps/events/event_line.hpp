// One event as a line, for programs and for people.
#pragma once
#include <string>
#include <string_view>

namespace portcullis::apps {

/// The event's JSON as it came, with its cursor (what --after takes) as the last member; `cursor`
/// empty: without. Ends in LF.
[[nodiscard]] std::string json_line(std::string_view event, std::string_view cursor);
/// Time, seq, type, who, and the rest as name=value; nothing in it moves a terminal's cursor. Ends
/// in LF.
[[nodiscard]] std::string readable_line(std::string_view event);

/// Standard output, line by line.
enum class written : std::uint8_t { yes, closed, failed };
/// Writes and flushes. closed: nobody reads any more, which is no error; failed: it has said why.
[[nodiscard]] written write_line(std::string_view line);

}  // namespace portcullis::apps

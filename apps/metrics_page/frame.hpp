// The text of `portcullis top`: lines of a size, with colours or without.
#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/metrics_page/overview.hpp"

namespace portcullis::apps {

enum class top_view { overview, breakers };

/// Columns and rows; `rows` 0: as many as it takes.
struct frame_size {
  std::size_t columns = 80, rows = 24;
};

struct frame_request {
  std::string server;    // as the user named it
  std::string trouble;   // why it was not reached; empty: it was
  double trouble_s = 0;  // for how long
  bool paused = false;
  bool keys = false;  // a last line that says which keys there are
  bool colours = false;
  top_view view = top_view::overview;
  frame_size size;
};

/// No line is wider than `size.columns` and none has more than colours (ECMA-48 SGR) beside
/// printable ASCII; there are at most `size.rows`. Without anything scraped yet, `of` is absent.
[[nodiscard]] std::vector<std::string> frame_lines(const std::optional<overview>& of,
                                                   const frame_request& how);

/// What the environment says of a terminal (its variables TERM, COLORTERM, NO_COLOR; null: not
/// set). `moves`: its cursor can be placed, which "dumb" ones cannot. NO_COLOR counts unless empty
/// (https://no-color.org).
struct terminal_abilities {
  bool moves = false, colours = false;
};
[[nodiscard]] terminal_abilities abilities_of(const char* term, const char* colorterm,
                                              const char* no_color);

}  // namespace portcullis::apps

// The scanner: whole and in pieces it says the same, and what it accepts is what another parser
// accepts.
#include <simdjson.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "net/json/document.hpp"
#include "net/json/scanner.hpp"
#include "tests/fuzz/pieces.hpp"

namespace {

using portcullis::fuzz::require;
using portcullis::net::json::scan_limits;
using portcullis::net::json::scan_status;
using portcullis::net::json::scanner;
using portcullis::net::json::token_kind;

constexpr std::string_view spaces = " \t\r\n";

void same_in_pieces(std::string_view text, scanner& whole, scan_status expected, std::size_t step) {
  scanner pieces;
  auto status = scan_status::incomplete;
  for (std::size_t n = step; n < text.size() && status == scan_status::incomplete; n += step) {
    const std::string copy(text.substr(0, n));  // exact bounds for the sanitizer
    status = pieces.resume(copy, false);
  }
  if (status == scan_status::incomplete) status = pieces.resume(text, true);
  require(status == expected);
  require(pieces.offset() == whole.offset());
  if (status != scan_status::complete) return;
  require(pieces.tape().size() == whole.tape().size());
  for (std::size_t i = 0; i < pieces.tape().size(); ++i) {
    const auto& a = pieces.tape()[i];
    const auto& b = whole.tape()[i];
    require(a.begin == b.begin && a.end == b.end && a.next == b.next && a.kind == b.kind);
    require(a.escaped == b.escaped && a.lone_surrogate == b.lone_surrogate);
  }
}

/// Where the other parser means the same by "valid": it limits numbers, and judges lone surrogates
/// while parsing.
bool comparable(scanner& scan, simdjson::error_code other) {
  if (other == simdjson::NUMBER_ERROR || other == simdjson::DEPTH_ERROR ||
      other == simdjson::CAPACITY)
    return false;
  for (const auto& token : scan.tape())
    if (token.lone_surrogate) return false;
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  const auto start = text.find_first_not_of(spaces);
  if (start == std::string::npos) return 0;
  const std::string_view value = std::string_view(text).substr(start);

  scanner scan;
  const scan_status status = scan.resume(value, true);
  require(status != scan_status::incomplete);
  require(scan.offset() <= value.size());
  for (const std::size_t step : {std::size_t{1}, std::size_t{3}, 1 + size / 2})
    same_in_pieces(value, scan, status, step);

  const bool one_value = status == scan_status::complete &&
                         value.find_first_not_of(spaces, scan.end()) == std::string_view::npos;
  static simdjson::dom::parser parser;
  const auto other = parser.parse(value.data(), value.size()).error();
  if (other == simdjson::SUCCESS) {
    // It skips a byte order mark, which the contract refuses.
    require(one_value || value.starts_with("\xef\xbb\xbf") || status == scan_status::too_large ||
            status == scan_status::too_deep);
  } else if (one_value) {
    require(!comparable(scan, other));
  }

  if (status == scan_status::complete) {
    std::string bytes(value.substr(0, scan.end()));
    portcullis::net::json::scratch memory;
    portcullis::net::json::document document(bytes, scan.tape(), memory);
    static_cast<void>(document.ambiguity(0));
    const std::string minified(document.minify(0));
    scanner again;
    require(again.resume(minified, true) == scan_status::complete);
    require(again.end() == minified.size());
    require(again.tape().size() == scan.tape().size());
    portcullis::net::json::document small({const_cast<char*>(minified.data()), minified.size()},
                                          again.tape(), memory);
    for (std::size_t i = 0; i < again.tape().size(); ++i)
      if (again.tape()[i].kind == token_kind::string) static_cast<void>(small.text(i));
  }
  return 0;
}

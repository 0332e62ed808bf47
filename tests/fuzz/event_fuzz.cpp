// Rows of the journal: whatever is read is refused as LOG_CORRUPT or is an event, and an event that
// was read is written and read again as the same.
#include <cstdint>
#include <string>
#include <string_view>

#include "core/event/codec.hpp"
#include "tests/fuzz/pieces.hpp"

namespace {

using portcullis::fuzz::require;
using namespace portcullis;

std::string written(const core::event& what) {
  core::byte_buffer out;
  core::append_body(out, what, "node-1");
  return std::string(out.view());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 18) return 0;
  const auto type =
      core::to_string(static_cast<core::event_type>(data[0] % core::event_type_count));
  const core::byte_view subject(data + 2, data[1] % 4 == 0 ? 0 : 16);
  const std::string body(reinterpret_cast<const char*>(data) + 18, size - 18);
  const auto read = core::decode_body(7, 1'700'000'000'000, type, subject, body, "sealed");
  if (!read) {
    require(read.error().code == core::error_code::LOG_CORRUPT);
    return 0;
  }
  const auto once = written(*read);
  const auto again = core::decode_body(7, 1'700'000'000'000, type, subject, once, "sealed");
  require(static_cast<bool>(again));
  require(written(*again) == once);
  core::byte_buffer shown;
  core::append_shown(shown, *read, "node-1", "alice");
  require(!shown.view().empty() && shown.view().front() == '{' && shown.view().back() == '}');
  return 0;
}

// The PROXY protocol's header: more bytes only ever settle what was open, and what is settled
// stays; within bounds.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "net/proxy/header.hpp"
#include "tests/fuzz/pieces.hpp"

namespace {

using portcullis::fuzz::require;
using namespace portcullis;
using status = net::proxy_header::status;

std::string described(const net::proxy_header& found) {
  std::string log = std::to_string(static_cast<int>(found.state)) + ' ' +
                    std::to_string(found.consumed) + (found.local ? " local" : "");
  for (const auto& end : {found.source, found.destination})
    log += ' ' + core::to_text(end.address) + ' ' + std::to_string(end.port);
  return log;
}

/// Asks after every step until it is settled; all bytes at once must say the same.
std::string run(std::string_view text, std::size_t step) {
  for (std::size_t size = 0;;) {
    const auto part = core::as_bytes(text.substr(0, size));
    const std::vector<std::uint8_t> exact(part.begin(), part.end());  // bounds for the sanitizer
    const auto found = net::read_proxy_header(exact);
    if (found.state == status::need_more) {
      require(size < net::proxy_v2_bytes_max);
      require(found.consumed == 0);
      if (size == text.size()) return described(found);
      size += std::min(step, text.size() - size);
      continue;
    }
    require(described(net::read_proxy_header(core::as_bytes(text))) == described(found));
    if (found.state == status::complete) {
      const auto most = text[0] == 'P' ? net::proxy_v1_bytes_max : net::proxy_v2_bytes_max;
      require(found.consumed >= 15 && found.consumed <= std::min(size, most));
      // It ends where it says: not a byte earlier, and whatever follows.
      const auto header = core::as_bytes(text.substr(0, found.consumed));
      require(net::read_proxy_header(header).state == status::complete);
      require(net::read_proxy_header(header.first(header.size() - 1)).state == status::need_more);
      require(!found.local || found.source == net::proxy_endpoint{});
    }
    return described(found);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return portcullis::fuzz::same_in_any_pieces(data, size, run);
}

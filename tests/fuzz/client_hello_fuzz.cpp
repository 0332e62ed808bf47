// ClientHellos: however the bytes are split over reads, the same status, fields and fingerprints
// come out, within bounds.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "net/tls/client_hello.hpp"
#include "net/tls/fingerprint.hpp"
#include "tests/fuzz/pieces.hpp"

namespace {

using portcullis::fuzz::require;
using namespace portcullis;
using status = net::client_hello_reader::status;

std::string run(std::string_view text, std::size_t step) {
  net::client_hello_reader reader;
  std::size_t settled = 0;  // how many bytes it took, by whole steps
  for (std::size_t at = 0; at < text.size(); at += std::min(step, text.size() - at)) {
    const auto part = core::as_bytes(text.substr(at, step));
    const std::vector<std::uint8_t> exact(part.begin(), part.end());  // bounds for the sanitizer
    const auto before = reader.state();
    const auto after = reader.feed(exact);
    require(before == status::need_more || after == before);
    if (after == status::need_more) settled = at + exact.size();
  }
  auto log = std::to_string(static_cast<int>(reader.state()));
  require(reader.state() != status::need_more || settled == text.size());
  if (reader.state() != status::complete) return log;

  const auto& hello = reader.hello();
  require(2 * (hello.ciphers.size() + hello.extensions.size() + hello.groups.size()) +
              hello.alpn.size() + hello.host_name.size() <=
          net::client_hello_bytes_max);
  const auto ja4 = net::ja4(hello);
  require(ja4.size() == 36 && net::ja4_o(hello).size() == 36);
  require(net::ja4_r(hello).starts_with(ja4.substr(0, 11)));
  require(net::ja3(hello).size() == 32);
  return log + ja4 + net::ja4_ro(hello) + net::ja3_text(hello) + hello.host_name;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return portcullis::fuzz::same_in_any_pieces(data, size, run);
}

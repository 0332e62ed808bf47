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

/// What came of the bytes, read `step` at a time.
std::string read(std::string_view text, std::size_t step) {
  net::client_hello_reader reader;
  for (std::size_t at = 0; at < text.size(); at += std::min(step, text.size() - at)) {
    const auto part = core::as_bytes(text.substr(at, step));
    const std::vector<std::uint8_t> exact(part.begin(), part.end());  // bounds for the sanitizer
    const auto before = reader.state();
    const auto after = reader.feed(exact);
    require(before == status::need_more || after == before);
  }
  auto log = std::to_string(static_cast<int>(reader.state()));
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

/// The text as a message's body, in the fewest records: so that inputs get past the frame.
std::string framed(std::string_view body) {
  const auto size = body.size();
  std::string message{1, static_cast<char>(size >> 16U), static_cast<char>(size >> 8U & 0xffU),
                      static_cast<char>(size & 0xffU)};
  message += body;
  std::string records;
  for (std::size_t at = 0; at < message.size(); at += 16'384) {
    const auto part = std::string_view(message).substr(at, 16'384);
    records +=
        {22, 3, 1, static_cast<char>(part.size() >> 8U), static_cast<char>(part.size() & 0xffU)};
    records += part;
  }
  return records;
}

/// The text with the bytes right that open a handshake: what is left to find is lengths.
std::string opened(std::string_view text) {
  std::string made(text);
  constexpr std::string_view right("\x16\x03\x01\0\0\x01\0", 7);
  for (const std::size_t at : {0U, 1U, 5U, 6U})
    if (at < made.size()) made[at] = right[at];
  return made;
}

/// The text as extensions: a byte that chooses the type, one for the length, the content.
std::string with_extensions(std::string_view text) {
  constexpr std::string_view types("\x00\x0a\x0b\x0d\x10\x2b\x1b\x15", 8);
  std::string all;
  while (text.size() >= 2) {
    const auto content = text.substr(2, static_cast<unsigned char>(text[1]));
    all += '\0';
    all += types[static_cast<unsigned char>(text[0]) % types.size()];
    all += '\0';
    all += static_cast<char>(content.size());
    all += content;
    text.remove_prefix(2 + content.size());
  }
  std::string body = "\x03\x03" + std::string(32, 'r') + std::string("\0\0\x02\x13\x01\x01\0", 7);
  body += static_cast<char>(all.size() >> 8U);
  body += static_cast<char>(all.size() & 0xffU);
  return framed(body + all);
}

std::string run(std::string_view text, std::size_t step) {
  std::string log;
  for (const auto& bytes : {std::string(text), opened(text), framed(text), with_extensions(text)})
    log += read(bytes, step) + '\n';
  return log;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return portcullis::fuzz::same_in_any_pieces(data, size, run);
}

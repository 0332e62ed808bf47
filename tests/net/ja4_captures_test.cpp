// JA4 of captured handshakes against the values published with the captures. They lie outside the
// repository, in ../shared/data/ja4 or where PORTCULLIS_JA4_DATA says: CAPTURE and
// CAPTURE.expected.json.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "net/tls/fingerprint.hpp"
#include "tests/net/capture.hpp"
#include "tests/net/hello_builder.hpp"

namespace portcullis::net {
namespace {

using namespace test;
using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::string_view suffix = ".expected.json";

fs::path data_folder() {
  const auto* set = std::getenv("PORTCULLIS_JA4_DATA");
  return set != nullptr ? fs::path(set) : fs::path(PORTCULLIS_SOURCE_DIR) / "../shared/data/ja4";
}

std::string content(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Every ClientHello of a stream. It need not be the stream's beginning: SOCKS, a proxy's CONNECT
/// or STARTTLS can come before, a HelloRetryRequest lets a second one follow.
std::vector<client_hello> hellos(const tcp_stream& stream) {
  std::vector<client_hello> found;
  for (const auto& part : stream.parts)
    for (std::size_t at = 0; at + 6 <= part.size(); ++at) {
      if (part[at] != 22 || part[at + 1] != 3 || part[at + 5] != 1) continue;
      client_hello_reader reader;
      const auto bytes = core::as_bytes(std::string_view(part).substr(at));
      if (reader.feed(bytes) != client_hello_reader::status::complete) continue;
      found.push_back(reader.hello());
      at += 4U + (static_cast<std::size_t>(bytes[3]) << 8U | bytes[4]);
    }
  return found;
}

std::string text(const json& entry, const char* key) {
  const auto& value = entry.at(key);
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// The streams that an entry is about.
std::vector<client_hello> hellos_of(const json& entry, const std::vector<tcp_stream>& streams) {
  std::vector<client_hello> found;
  for (const auto& stream : streams) {
    const bool same = core::parse_ip(text(entry, "src")) == stream.source &&
                      core::parse_ip(text(entry, "dst")) == stream.destination &&
                      text(entry, "srcport") == std::to_string(stream.source_port) &&
                      text(entry, "dstport") == std::to_string(stream.destination_port);
    if (!same) continue;
    for (auto& hello : hellos(stream)) found.push_back(std::move(hello));
  }
  return found;
}

/// How many values were compared.
int compare(const json& entry, const std::vector<tcp_stream>& streams) {
  int compared = 0;
  std::vector<client_hello> found;
  for (int number = 1;; ++number) {
    const auto key = [&](const char* form) { return form + ('.' + std::to_string(number)); };
    // Of QUIC and DTLS there is nothing in a TCP stream.
    if (!entry.contains(key("JA4")) || !text(entry, key("JA4").c_str()).starts_with('t'))
      return compared;
    if (number == 1) found = hellos_of(entry, streams);
    EXPECT_GE(found.size(), static_cast<std::size_t>(number)) << "no such ClientHello: " << entry;
    if (found.size() < static_cast<std::size_t>(number)) return compared;
    const auto& hello = found[static_cast<std::size_t>(number) - 1];
    const std::pair<const char*, std::string> forms[] = {{"JA4", ja4(hello)},
                                                         {"JA4_r", ja4_r(hello)},
                                                         {"JA4_o", ja4_o(hello)},
                                                         {"JA4_ro", ja4_ro(hello)}};
    for (const auto& [form, value] : forms) {
      if (!entry.contains(key(form))) continue;
      ++compared;
      EXPECT_EQ(value, text(entry, key(form).c_str())) << key(form) << " of " << entry;
    }
  }
}

TEST(ja4, of_every_captured_handshake_is_the_published_one) {
  const auto folder = data_folder();
  std::error_code missing;
  std::vector<fs::path> expected;
  for (const auto& file : fs::directory_iterator(folder, missing))
    if (file.path().string().ends_with(suffix)) expected.push_back(file.path());
  if (missing) GTEST_SKIP() << "no captures: " << folder << ": " << missing.message();
  int compared = 0;
  for (const auto& file : expected) {
    SCOPED_TRACE(file.filename());
    const auto name = file.string();
    const auto capture = content(name.substr(0, name.size() - suffix.size()));
    EXPECT_FALSE(capture.empty()) << "the capture is missing";
    const auto streams = tcp_streams(capture);
    for (const auto& entry : json::parse(content(file))) compared += compare(entry, streams);
  }
  EXPECT_GT(compared, 0) << "nothing to compare in " << folder;
  RecordProperty("compared", compared);
}

/// A classic capture of Ethernet frames with a VLAN tag, IPv4, one TCP segment each.
std::string capture_of(const std::vector<std::pair<std::size_t, std::string>>& segments) {
  auto file = number(0xa1b2c3d4, 4) + number(2, 2) + number(4, 2) + number(0, 8) +
              number(65535, 4) + number(1, 4);
  for (const auto& [sequence, bytes] : segments) {
    const auto tcp = number(50'000, 2) + number(443, 2) + number(sequence, 4) + number(0, 4) +
                     number(0x5018, 2) + number(0, 6) + bytes;
    const auto ip = number(0x4500, 2) + number(tcp.size() + 20, 2) + number(0, 4) +
                    number(0x4006, 2) + number(0, 2) + number(0x0a000001, 4) +
                    number(0x0a000002, 4) + tcp;
    const auto frame = std::string(12, 'M') + number(0x81000005, 4) + number(0x0800, 2) + ip;
    file += number(0, 8) + number(frame.size(), 4) + number(frame.size(), 4) + frame;
  }
  return file;
}

TEST(a_capture, gives_its_streams_in_the_order_of_sequence_numbers) {
  const auto streams = tcp_streams(
      capture_of({{0xfffffffe, "ab"}, {2, "efg"}, {0, "cd"}, {0, "cd"}, {1, "defgh"}, {90, "z"}}));
  ASSERT_EQ(streams.size(), 1U);
  EXPECT_EQ(streams[0].source_port, 50'000);
  EXPECT_EQ(core::to_text(streams[0].destination), "10.0.0.2");
  EXPECT_EQ(streams[0].parts, (std::vector<std::string>{"abcdefgh", "z"}));
}

TEST(a_capture, has_its_hellos_found_behind_what_came_before_and_over_segments) {
  const auto bytes = "EHLO\r\nSTARTTLS\r\n" + browser_hello().bytes();
  const auto streams = tcp_streams(capture_of({{7, bytes.substr(0, 60)}, {67, bytes.substr(60)}}));
  ASSERT_EQ(streams.size(), 1U);
  const auto found = hellos(streams[0]);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(ja4(found[0]), "t13d1516h2_8daaf6152771_e5627efa2ab1");
}

}  // namespace
}  // namespace portcullis::net

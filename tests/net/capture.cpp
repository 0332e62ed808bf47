#include "tests/net/capture.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <tuple>

namespace portcullis::net::test {
namespace {

/// Numbers out of bytes; nothing and zero past the end.
struct bytes_of {
  std::string_view text;
  bool big_endian = true;

  [[nodiscard]] std::uint32_t number(std::size_t at, std::size_t width) const {
    std::uint32_t value = 0;
    if (at > text.size() || width > text.size() - at) return 0;
    for (std::size_t i = 0; i < width; ++i)
      value = value << 8U | static_cast<unsigned char>(text[at + (big_endian ? i : width - 1 - i)]);
    return value;
  }
  [[nodiscard]] std::string_view from(std::size_t at,
                                      std::size_t size = std::string_view::npos) const {
    return at <= text.size() ? text.substr(at, size) : std::string_view();
  }
};

using packet_sink = std::function<void(std::uint32_t link_type, std::string_view packet)>;

void read_pcap(bytes_of file, const packet_sink& sink) {
  const auto link = file.number(20, 4) & 0xffffU;
  for (std::size_t at = 24; at + 16 <= file.text.size();) {
    const auto size = file.number(at + 8, 4);
    sink(link, file.from(at + 16, size));
    at += 16 + size;
  }
}

/// draft-ietf-opsawg-pcapng: section header, interface description, enhanced, simple and obsolete
/// packets.
void read_pcapng(bytes_of file, const packet_sink& sink) {
  std::vector<std::uint32_t> links;
  const auto link = [&](std::uint32_t index) { return index < links.size() ? links[index] : 0; };
  for (std::size_t at = 0; at + 12 <= file.text.size();) {
    if (file.number(at, 4) == 0x0a0d0d0a) {
      file.big_endian = true;
      file.big_endian = file.number(at + 8, 4) == 0x1a2b3c4d;
      links.clear();
    }
    const auto type = file.number(at, 4);
    const auto size = file.number(at + 4, 4);
    if (size < 12) return;
    if (type == 1) links.push_back(file.number(at + 8, 2));
    if (type == 2) sink(link(file.number(at + 8, 2)), file.from(at + 28, file.number(at + 20, 4)));
    if (type == 3) sink(link(0), file.from(at + 12, std::min(file.number(at + 8, 4), size - 16)));
    if (type == 6) sink(link(file.number(at + 8, 4)), file.from(at + 28, file.number(at + 20, 4)));
    at += size;
  }
}

void read_packets(std::string_view capture, const packet_sink& sink) {
  const auto magic = bytes_of{capture}.number(0, 4);
  if (magic == 0x0a0d0d0a) return read_pcapng({capture}, sink);
  if (magic == 0xa1b2c3d4 || magic == 0xa1b23c4d) return read_pcap({capture, true}, sink);
  if (magic == 0xd4c3b2a1 || magic == 0x4d3cb2a1) return read_pcap({capture, false}, sink);
}

/// What a frame carries by its type, VLAN tags (802.1Q, 802.1ad) taken off.
std::string_view of_ether_type(const bytes_of& frame, std::size_t at) {
  auto type = frame.number(at, 2);
  while (type == 0x8100 || type == 0x88a8 || type == 0x9100) {
    at += 4;
    type = frame.number(at, 2);
  }
  return type == 0x0800 || type == 0x86dd ? frame.from(at + 2) : std::string_view();
}

/// The IP packet of a frame; empty when there is none. https://www.tcpdump.org/linktypes.html
std::string_view ip_packet(std::uint32_t link_type, std::string_view packet) {
  const bytes_of frame{packet};
  switch (link_type) {
    case 0:  // BSD loopback
    case 108:
      return frame.from(4);
    case 1:  // Ethernet
      return of_ether_type(frame, 12);
    case 12:  // raw IP, under all its numbers
    case 14:
    case 101:
    case 228:
    case 229:
      return packet;
    case 113:  // Linux cooked
      return of_ether_type(frame, 14);
    case 276:  // Linux cooked, second form
      return frame.number(0, 2) == 0x0800 || frame.number(0, 2) == 0x86dd ? frame.from(20)
                                                                          : std::string_view();
    default:
      return {};
  }
}

struct segment {
  core::ip_address source, destination;
  std::string_view tcp;
};

std::optional<segment> ipv4_segment(const bytes_of& ip) {
  const auto header = static_cast<std::size_t>(ip.number(0, 1) & 0xfU) * 4;
  const auto total = ip.number(2, 2);
  const bool is_fragment = (ip.number(6, 2) & 0x3fffU) != 0;
  if (header < 20 || is_fragment || ip.number(9, 1) != 6) return std::nullopt;
  // A length of zero stands where the network card cuts the packet (TSO).
  const auto tcp = total == 0 ? ip.from(header) : ip.from(header, total - header);
  segment found{*core::parse_ip("0.0.0.0"), *core::parse_ip("0.0.0.0"), tcp};
  std::memcpy(found.source.bytes.data() + 12, ip.text.data() + 12, 4);
  std::memcpy(found.destination.bytes.data() + 12, ip.text.data() + 16, 4);
  return found;
}

std::optional<segment> ipv6_segment(const bytes_of& ip) {
  auto next = ip.number(6, 1);
  std::size_t at = 40;
  while (next == 0 || next == 43 || next == 60) {  // hop-by-hop, routing, destination options
    next = ip.number(at, 1);
    at += (static_cast<std::size_t>(ip.number(at + 1, 1)) + 1) * 8;
  }
  if (next != 6 || ip.text.size() < 40 || at > 40U + ip.number(4, 2)) return std::nullopt;
  segment found{{}, {}, ip.from(at, 40 + ip.number(4, 2) - at)};
  std::memcpy(found.source.bytes.data(), ip.text.data() + 8, 16);
  std::memcpy(found.destination.bytes.data(), ip.text.data() + 24, 16);
  return found;
}

std::optional<segment> tcp_segment(std::string_view packet) {
  const bytes_of ip{packet};
  if (packet.size() < 20) return std::nullopt;
  const auto version = ip.number(0, 1) >> 4U;
  if (version == 4) return ipv4_segment(ip);
  if (version == 6) return ipv6_segment(ip);
  return std::nullopt;
}

/// Puts segments in order.
struct assembly {
  tcp_stream stream;
  std::uint32_t first = 0;  // the sequence number that offsets count from
  bool had_syn = false;
  std::map<std::int64_t, std::string> pieces;  // by offset

  void finish() {
    std::int64_t end = 0;
    for (const auto& [at, bytes] : pieces) {
      const auto size = static_cast<std::int64_t>(bytes.size());
      if (stream.parts.empty() || at > end) {
        stream.parts.emplace_back(bytes);
        end = at + size;
      } else if (at + size > end) {
        stream.parts.back() += bytes.substr(static_cast<std::size_t>(end - at));
        end = at + size;
      }
    }
  }
};

}  // namespace

std::vector<tcp_stream> tcp_streams(std::string_view capture) {
  std::vector<assembly> all;
  std::map<std::tuple<core::ip_address, std::uint32_t, core::ip_address, std::uint32_t>,
           std::size_t>
      current;
  read_packets(capture, [&](std::uint32_t link_type, std::string_view packet) {
    const auto found = tcp_segment(ip_packet(link_type, packet));
    if (!found || found->tcp.size() < 20) return;
    const bytes_of tcp{found->tcp};
    const auto from = tcp.number(0, 2), to = tcp.number(2, 2), sequence = tcp.number(4, 4);
    const bool syn = (tcp.number(13, 1) & 2U) != 0;
    const auto first = sequence + (syn ? 1U : 0U);
    const std::tuple key{found->source, from, found->destination, to};
    const auto known = current.find(key);
    const bool reused = known != current.end() && syn && all[known->second].had_syn &&
                        all[known->second].first != first;
    if (known == current.end() || reused) {
      current[key] = all.size();
      all.push_back({{found->source,
                      found->destination,
                      static_cast<std::uint16_t>(from),
                      static_cast<std::uint16_t>(to),
                      {}},
                     first,
                     syn,
                     {}});
    }
    const auto bytes = tcp.from(static_cast<std::size_t>(tcp.number(12, 1) >> 4U) * 4);
    if (bytes.empty()) return;
    auto& into = all[current[key]];
    auto& piece = into.pieces[static_cast<std::int32_t>(first - into.first)];
    if (bytes.size() > piece.size()) piece = bytes;
  });

  std::vector<tcp_stream> streams;
  for (auto& each : all) {
    each.finish();
    streams.push_back(std::move(each.stream));
  }
  return streams;
}

}  // namespace portcullis::net::test

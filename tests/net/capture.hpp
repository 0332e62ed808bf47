// Reads TCP streams out of packet captures: pcap and pcapng, over Ethernet (with VLAN tags), raw
// IP, the BSD loopback and Linux's cooked form. As much as tests need; damaged packets are skipped.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/contract/types.hpp"

namespace portcullis::net::test {

/// What one side of a connection sent.
struct tcp_stream {
  core::ip_address source, destination;
  std::uint16_t source_port = 0, destination_port = 0;
  std::vector<std::string> parts;  // in order; bytes that were not captured lie between two parts
};

/// In the order of their first packets. A connection that uses the ports of an earlier one is a
/// stream of its own. Empty for what is no capture.
[[nodiscard]] std::vector<tcp_stream> tcp_streams(std::string_view capture);

}  // namespace portcullis::net::test

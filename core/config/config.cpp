#include "core/config/config.hpp"

#include <algorithm>
#include <charconv>

namespace portcullis::core {

bool endpoint::loopback() const noexcept {
  if (address.is_v4()) return address.bytes[12] == 127;
  ip_address one;
  one.bytes[15] = 1;
  return address == one;
}

std::optional<endpoint> parse_endpoint(std::string_view text) noexcept {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  auto host = text.substr(0, colon);
  const auto digits = text.substr(colon + 1);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return std::nullopt;  // v6 without brackets: the port would be a guess
  }
  if (host == "localhost") host = "127.0.0.1";
  const auto address = parse_ip(host);
  if (!address) return std::nullopt;
  std::uint16_t port = 0;
  const auto* end = digits.data() + digits.size();
  const auto [at, failed] = std::from_chars(digits.data(), end, port);
  if (failed != std::errc{} || at != end) return std::nullopt;
  return endpoint{*address, port};
}

std::string to_text(const endpoint& value) {
  const auto host = to_text(value.address);
  return (value.address.is_v4() ? host : "[" + host + "]") + ":" + std::to_string(value.port);
}

std::string config::keys_path() const {
  if (!crypto.keys_file.empty()) return crypto.keys_file;
  return server.data_dir + (server.data_dir.ends_with('/') ? "" : "/") + "portcullis.keys";
}

std::uint32_t config::loop_count(unsigned cores) const noexcept {
  if (server.loops != 0) return server.loops;
  return cores <= 4 ? 1U : std::min(cores / 2, static_cast<unsigned>(limits::loops_max));
}

}  // namespace portcullis::core

// The header of the PROXY protocol, versions 1 and 2 (HAProxy, doc/proxy-protocol.txt of
// 2020/03/05; section numbers are its). No sockets.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/bytes.hpp"
#include "core/contract/types.hpp"
#include "core/limits.hpp"

namespace portcullis::net {

/// 2.1: the longest line of version 1, with its CRLF.
inline constexpr std::size_t proxy_v1_bytes_max = 107;
/// The longest header of version 2, in all. The protocol allows 65,551 bytes; with TLVs for a
/// client certificate's name and the like it is a few hundred.
inline constexpr std::size_t proxy_v2_bytes_max = core::limits::proxy_header_bytes_max;

struct proxy_endpoint {
  core::ip_address address = {};
  std::uint16_t port = 0;

  friend bool operator==(const proxy_endpoint&, const proxy_endpoint&) = default;
};

/// What read_proxy_header() found.
struct proxy_header {
  enum class status : std::uint8_t { need_more, complete, malformed };
  status state = status::need_more;
  std::size_t consumed = 0;  // complete: the header's bytes; what follows is the client's
  /// Complete: the header names nobody, and the connection's own addresses hold: LOCAL (a proxy's
  /// health check), UNKNOWN, UNSPEC, and what does not come over TCP (2.1, 2.2).
  bool local = false;
  proxy_endpoint source = {};       // complete and not local: the client
  proxy_endpoint destination = {};  // complete and not local: where the client connected to
};

/// Reads the header that a connection begins with. `bytes`: all that has come so far, from the
/// connection's first byte; ask again with more of them while it is need_more. Malformed with the
/// first byte that can belong to no header, which is most often the very first: the connection must
/// then be dropped without an answer (2.2). Not malformed: TLVs of unknown types. A checksum is
/// verified where there is one (2.2.3). Addresses are not judged: whoever may send a header may
/// claim any. Any thread; allocates nothing.
[[nodiscard]] proxy_header read_proxy_header(core::byte_view bytes) noexcept;

}  // namespace portcullis::net

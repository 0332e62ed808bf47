// The ClientHello that opens a TLS connection: found in the connection's first bytes, and parsed.
// No sockets.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/bytes.hpp"
#include "core/limits.hpp"

namespace portcullis::net {

/// The longest ClientHello that is read: the handshake message with its 4 bytes of header. Real
/// ones have 200 to 2,000 bytes; OpenSSL's own bound is 131,396.
inline constexpr std::size_t client_hello_bytes_max = core::limits::client_hello_bytes_max;
/// The most empty records one after the other. RFC 8446, 5.1 forbids them; OpenSSL 3.0 goes along
/// with as many, and what it takes has a fingerprint.
inline constexpr unsigned client_hello_empty_records_max = 32;

/// What a client offers (RFC 8446, 4.1.2; RFC 5246, 7.4.1.2), as it stands there: order, duplicates
/// and GREASE (RFC 8701) are kept. A list of an extension that is absent is empty.
struct client_hello {
  std::uint16_t legacy_version = 0;  // of the message, not of the record
  std::vector<std::uint16_t> ciphers;
  std::vector<std::uint16_t> extensions;            // their types
  std::vector<std::uint16_t> groups;                // supported_groups, RFC 8422, 5.1.1
  std::vector<std::uint8_t> point_formats;          // ec_point_formats, RFC 8422, 5.1.2
  std::vector<std::uint16_t> signature_algorithms;  // RFC 8446, 4.2.3
  std::vector<std::uint16_t> supported_versions;    // RFC 8446, 4.2.1
  std::string alpn;         // the first protocol name's bytes, which can be any; RFC 7301, 3.1
  bool names_host = false;  // whether there is a server_name extension
  std::string host_name;    // its first host_name, unchecked bytes; RFC 6066, 3

  friend bool operator==(const client_hello&, const client_hello&) = default;
};

/// Parses a handshake message's body (what follows its 4 bytes of header). Absent when the frame is
/// broken: version, random, session id, ciphers, compression methods and extensions must fill it to
/// its last byte. An extension whose own content is broken does not spoil the rest, because OpenSSL
/// does not look into all of them: what stands whole in it is taken. Of two extensions of one type
/// the first counts. Any thread.
[[nodiscard]] std::optional<client_hello> parse_client_hello(core::byte_view body);

/// Finds the ClientHello in the first bytes that a client sends. The bytes stay the caller's, who
/// gives the same ones to OpenSSL. Keeps at most client_hello_bytes_max bytes, and no more than
/// twice what has come; once it is not need_more, only hello(). Single thread.
class client_hello_reader {
 public:
  enum class status : std::uint8_t {
    need_more,
    complete,  // hello() is there
    not_tls,   // the first bytes open no TLS handshake record: plain text, SSLv2 (RFC 8446, E.4)
    malformed,
    too_large  // the message says that it is longer than client_hello_bytes_max
  };

  /// Takes the connection's next bytes, in pieces of any size. The status changes with the first
  /// byte that settles it, and then no more; bytes past it are not looked at. Not an error: more
  /// bytes after the ClientHello, empty records within their bound, any minor version of a record
  /// (RFC 8446, 5.1: it must be ignored).
  status feed(core::byte_view bytes);
  [[nodiscard]] status state() const noexcept { return status_; }
  /// What was parsed; only when complete.
  [[nodiscard]] const client_hello& hello() const noexcept { return hello_; }
  [[nodiscard]] client_hello& hello() noexcept { return hello_; }

 private:
  status take_record_header(std::uint8_t byte);
  status take_message(core::byte_view part);
  status finish();
  /// Bytes that are missing until the message's length, then its end, is there.
  [[nodiscard]] std::size_t missing() const noexcept;
  [[nodiscard]] std::size_t body_size() const noexcept;

  std::size_t header_at_ = 0;     // which byte of a record's header comes next
  std::size_t record_left_ = 0;   // bytes of the record's content that have not come
  unsigned empty_records_ = 0;    // since one that was not
  std::uint8_t header_high_ = 0;  // of the record's length
  bool is_tls_ = false;           // the first record's header was one of TLS
  std::vector<std::uint8_t> message_;
  client_hello hello_;
  status status_ = status::need_more;
};

}  // namespace portcullis::net

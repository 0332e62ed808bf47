#include "net/tls/client_hello.hpp"

#include <algorithm>
#include <cassert>

namespace portcullis::net {
namespace {

using core::byte_view;

// RFC 8446, 5.1: type, version (2 bytes), length (2 bytes), then at most 2^14 bytes.
constexpr std::size_t record_header_bytes = 5;
constexpr std::size_t record_bytes_max = 1U << 14U;
constexpr std::uint8_t handshake_type = 22;
constexpr std::uint8_t version_major = 3;
// RFC 8446, 4: type, length (3 bytes).
constexpr std::size_t message_header_bytes = 4;
constexpr std::uint8_t client_hello_type = 1;
constexpr std::size_t random_bytes = 32;
constexpr std::size_t session_id_bytes_max = 32;

enum extension_type : std::uint16_t {
  server_name = 0,
  supported_groups = 10,
  ec_point_formats = 11,
  signature_algorithms = 13,
  application_layer_protocol_negotiation = 16,
  supported_versions = 43
};

/// Takes values from the front of what is left. What is not there makes it broken; then all that
/// follows is empty or zero.
class taker {
 public:
  explicit taker(byte_view left) : left_(left) {}

  byte_view bytes(std::size_t n) noexcept {
    if (n > left_.size()) {
      broken_ = true;
      left_ = {};
      return {};
    }
    const auto part = left_.first(n);
    left_ = left_.subspan(n);
    return part;
  }
  /// Big endian, `width` bytes.
  std::size_t number(std::size_t width) noexcept {
    std::size_t value = 0;
    for (const auto byte : bytes(width)) value = value << 8U | byte;
    return value;
  }
  std::uint16_t u16() noexcept { return static_cast<std::uint16_t>(number(2)); }
  /// A vector (RFC 8446, 3.4): its length in `width` bytes, then so many bytes.
  byte_view vector(std::size_t width) noexcept { return bytes(number(width)); }
  /// As vector(), but what there is of it when there are fewer bytes.
  byte_view vector_cut(std::size_t width) noexcept {
    const auto size = number(width);
    return bytes(std::min(size, left_.size()));
  }

  [[nodiscard]] std::size_t size() const noexcept { return left_.size(); }
  [[nodiscard]] bool broken() const noexcept { return broken_; }

 private:
  byte_view left_;
  bool broken_ = false;
};

std::vector<std::uint16_t> u16_list(byte_view bytes) {
  std::vector<std::uint16_t> values;
  values.reserve(bytes.size() / 2);
  for (taker left(bytes); left.size() >= 2;) values.push_back(left.u16());
  return values;
}

/// The first name of type host_name; RFC 6066, 3.
std::string host_name(byte_view list) {
  for (taker left(list); left.size() > 0;) {
    const auto type = left.number(1);
    const auto name = left.vector(2);
    if (type == 0) return std::string(core::as_text(name));
  }
  return {};
}

/// `seen`: which types below 64, all that are looked into, came before; searching the list of types
/// would take milliseconds where there are thousands.
void take_extension(client_hello& into, std::uint16_t type, byte_view data, std::uint64_t& seen) {
  into.extensions.push_back(type);
  const auto bit = type < 64 ? std::uint64_t{1} << type : 0;
  if ((seen & bit) != 0) return;
  seen |= bit;
  taker content(data);
  switch (type) {
    case server_name:
      into.names_host = true;
      into.host_name = host_name(content.vector_cut(2));
      break;
    case supported_groups:
      into.groups = u16_list(content.vector_cut(2));
      break;
    case ec_point_formats: {
      const auto formats = content.vector_cut(1);
      into.point_formats.assign(formats.begin(), formats.end());
      break;
    }
    case signature_algorithms:
      into.signature_algorithms = u16_list(content.vector_cut(2));
      break;
    case application_layer_protocol_negotiation:
      into.alpn = core::as_text(taker(content.vector_cut(2)).vector(1));
      break;
    case supported_versions:
      into.supported_versions = u16_list(content.vector_cut(1));
      break;
    default:  // any other number
      break;
  }
}

}  // namespace

std::optional<client_hello> parse_client_hello(byte_view body) {
  client_hello hello;
  taker left(body);
  hello.legacy_version = left.u16();
  left.bytes(random_bytes);
  if (left.vector(1).size() > session_id_bytes_max) return std::nullopt;
  const auto ciphers = left.vector(2);
  left.vector(1);  // compression methods
  if (left.broken() || ciphers.size() % 2 != 0) return std::nullopt;
  hello.ciphers = u16_list(ciphers);
  if (left.size() == 0) return hello;  // RFC 5246, 7.4.1.2: extensions can be absent

  std::uint64_t seen = 0;
  taker extensions(left.vector(2));
  if (left.broken() || left.size() != 0) return std::nullopt;
  while (extensions.size() > 0) {
    const auto type = extensions.u16();
    const auto data = extensions.vector(2);
    if (extensions.broken()) return std::nullopt;
    take_extension(hello, type, data, seen);
  }
  return hello;
}

client_hello_reader::status client_hello_reader::feed(byte_view bytes) {
  while (status_ == status::need_more && !bytes.empty()) {
    if (record_left_ == 0) {
      status_ = take_record_header(bytes.front());
      bytes = bytes.subspan(1);
      continue;
    }
    const auto part = bytes.first(std::min({bytes.size(), record_left_, missing()}));
    record_left_ -= part.size();
    bytes = bytes.subspan(part.size());
    status_ = take_message(part);
  }
  if (status_ != status::need_more) message_ = {};
  return status_;
}

client_hello_reader::status client_hello_reader::take_record_header(std::uint8_t byte) {
  const auto at = header_at_;
  header_at_ = (at + 1) % record_header_bytes;
  // An SSLv2 hello begins with its length and the top bit set (RFC 5246, E.2).
  if ((at == 0 && byte != handshake_type) || (at == 1 && byte != version_major))
    return is_tls_ ? status::malformed : status::not_tls;
  if (at == 1) is_tls_ = true;
  if (at < 3) return status::need_more;
  if (at == 3) {
    header_high_ = byte;
    return status::need_more;
  }
  record_left_ = static_cast<std::size_t>(header_high_) << 8U | byte;
  empty_records_ = record_left_ == 0 ? empty_records_ + 1 : 0;
  const bool bad =
      record_left_ > record_bytes_max || empty_records_ > client_hello_empty_records_max;
  return bad ? status::malformed : status::need_more;
}

client_hello_reader::status client_hello_reader::take_message(byte_view part) {
  // Grows with what has come, not with what was announced: who sends four bytes gets no 16 KiB.
  const auto size = message_.size() + part.size();
  assert(size <= client_hello_bytes_max);
  if (size > message_.capacity())
    message_.reserve(std::min(std::max(size, 2 * message_.capacity()), client_hello_bytes_max));
  message_.insert(message_.end(), part.begin(), part.end());

  if (message_.front() != client_hello_type) return status::malformed;
  if (size < message_header_bytes) return status::need_more;
  if (body_size() > client_hello_bytes_max - message_header_bytes) return status::too_large;
  return missing() == 0 ? finish() : status::need_more;
}

client_hello_reader::status client_hello_reader::finish() {
  auto parsed = parse_client_hello(byte_view(message_).subspan(message_header_bytes));
  if (!parsed) return status::malformed;
  hello_ = std::move(*parsed);
  return status::complete;
}

std::size_t client_hello_reader::body_size() const noexcept {
  return taker(byte_view(message_).subspan(1)).number(3);
}

std::size_t client_hello_reader::missing() const noexcept {
  if (message_.size() < message_header_bytes) return message_header_bytes - message_.size();
  return message_header_bytes + body_size() - message_.size();
}

}  // namespace portcullis::net

// Cuts a connection's bytes into HTTP requests, one after the other. No sockets.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "core/error/catalogue.hpp"
#include "net/http/chunked_body.hpp"
#include "net/http/request_head.hpp"

namespace portcullis::net {

/// Requests of HTTP/1.0 and 1.1 with their bodies. Holds no bytes but those of chunked bodies.
/// Single thread.
class http_request_reader {
 public:
  enum class status : std::uint8_t {
    need_more,  // all of `bytes` must come again, with more behind them
    complete,   // request() is there; drop size() bytes and reset() before the next
    refused     // error() and http_status() say why; nothing that follows can be understood
  };

  explicit http_request_reader(const http_message_limits& limits = {}) : limits_(limits) {}

  /// `bytes` begin with the first byte of a request; they may be elsewhere than at the last call.
  /// `space`: for the fields, may be shared by readers; request() is valid until it is used again.
  /// Refused: see read_request_head; VALUE_TOO_LARGE (413) also for a chunked body of more than
  /// body_bytes_max bytes, INVALID_REQUEST for one that is malformed.
  [[nodiscard]] status read(std::string_view bytes, header_field_space& space);
  void reset();

  [[nodiscard]] const http_request& request() const noexcept { return head_.request; }
  /// Bytes of the request.
  [[nodiscard]] std::size_t size() const noexcept { return head_.size + body_size_; }
  [[nodiscard]] const core::error& error() const noexcept { return head_.error; }
  [[nodiscard]] int http_status() const noexcept { return head_.http_status; }
  /// Whether the head is complete, the body is not, and the client waits for `100 Continue` before
  /// it sends one. True once a request.
  [[nodiscard]] bool take_continue() noexcept;
  /// Whether it is the body that is missing.
  [[nodiscard]] bool has_head() const noexcept { return has_head_; }

 private:
  [[nodiscard]] status read_body(std::string_view bytes);
  status refuse(core::error why, int http_status);

  http_message_limits limits_;
  http_request_head head_;
  bool has_head_ = false;
  bool continue_told_ = false;
  std::size_t looked_at_ = 0;  // bytes in which the head does not end
  std::size_t body_size_ = 0;  // as it came, so far
  std::unique_ptr<chunked_body> chunked_;
};

}  // namespace portcullis::net

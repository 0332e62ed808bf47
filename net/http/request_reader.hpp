// Cuts a connection's bytes into HTTP requests without bodies. No sockets.
#pragma once
#include <cstddef>
#include <memory>
#include <string_view>

#include "core/error/catalogue.hpp"
#include "net/ports.hpp"

namespace portcullis::net {

/// Reads GET and HEAD requests of HTTP/1.0 and 1.1, one after the other. Single thread.
class http_request_reader {
 public:
  enum class status : std::uint8_t {
    need_more,
    complete,  // request() is there until reset()
    refused    // error() and http_status() say why; the connection must be closed after that answer
  };

  /// `header_bytes_max`: of one request's line and header fields.
  explicit http_request_reader(std::size_t header_bytes_max);
  ~http_request_reader();

  /// Takes bytes up to the end of one request; `used` is how many. Must not be called again before
  /// reset() unless more is needed. Refused: malformed (INVALID_REQUEST), too long
  /// (VALUE_TOO_LARGE), with a body, without Host or with two (INVALID_REQUEST), another method
  /// (METHOD_NOT_FOUND, 405).
  [[nodiscard]] status feed(std::string_view bytes, std::size_t& used);
  /// Goes on with the next request.
  void reset();

  [[nodiscard]] http_request& request() noexcept;
  [[nodiscard]] const core::error& error() const noexcept;
  [[nodiscard]] int http_status() const noexcept;
  /// Whether it is a HEAD, also where it is refused: its answer then has no body.
  [[nodiscard]] bool head() const noexcept;
  [[nodiscard]] bool keep_alive() const noexcept;
  /// Whether part of a request has come.
  [[nodiscard]] bool started() const noexcept;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace portcullis::net

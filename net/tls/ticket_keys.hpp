// The keys that session tickets are sealed with (RFC 5077, 5; RFC 8446, 4.6.1): made here, used for
// an hour, good for reading another, then gone. A stolen key opens two hours of traffic at most.
#pragma once
#include <openssl/types.h>

#include <cstdint>
#include <memory>

namespace portcullis::net {

/// Shared by all contexts of a process, so that a reload of certificates keeps tickets. Any thread.
class ticket_keys {
 public:
  /// `rotate_ms`: how long a key seals; past it a new one does.
  explicit ticket_keys(std::int64_t rotate_ms);
  ~ticket_keys();
  ticket_keys(const ticket_keys&) = delete;
  ticket_keys& operator=(const ticket_keys&) = delete;

  /// Makes `context` seal its tickets with these keys, which must outlive it.
  void install(SSL_CTX* context);

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace portcullis::net

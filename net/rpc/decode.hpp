// From one JSON value to typed requests, in place: strings are unescaped over their own text,
// `data` is minified where it stands, and requests view these bytes.
#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "core/contract/request.hpp"
#include "core/error/catalogue.hpp"
#include "net/json/document.hpp"
#include "net/json/scanner.hpp"
#include "net/rpc/limits.hpp"

namespace portcullis::net {

/// Where a call's answer goes.
struct call_id {
  std::string_view raw;       // the id's JSON text, echoed byte for byte; empty: null
  bool notification = false;  // executed, never answered, not even with an error
};

/// Takes what a message held, in its order. Called within decoder::decode(), on its thread.
class message_visitor {
 public:
  virtual ~message_visitor() = default;
  /// A batch of `entries` calls begins: each of them comes as one on_request() or on_error(). Their
  /// answers, those of notifications left out, go in one array; none at all when every one is a
  /// notification. Not called for a single call, nor for the one error of an empty or too large
  /// batch.
  virtual void begin_batch(std::size_t entries) = 0;
  virtual void end_batch() = 0;
  /// `id` and the request's views point into the decoded bytes.
  virtual void on_request(const call_id& id, core::request& request) = 0;
  /// Asked once a call's method is known (absent: no method has its name), before params are
  /// looked at: why the call is refused whatever they are. It then comes as on_error().
  virtual std::optional<core::error_code> forbids(std::optional<core::method> /*called*/) {
    return std::nullopt;
  }
  /// `called` is the method, where the call got as far. `correlation_id` is the call's own, where
  /// it could be read; otherwise empty.
  virtual void on_error(const call_id& id, std::optional<core::method> called,
                        const core::error& why, std::string_view correlation_id) = 0;
};

/// Decodes complete values. Reused; the decoding of a single call allocates nothing, except the
/// list `types` of events.* and scratch space for objects with more than 16 members. Single thread.
class decoder {
 public:
  explicit decoder(const message_limits& limits = {}) : limits_(limits) {}

  /// `value` and `tape` are a frame's (framing.hpp); both are overwritten.
  /// Errors given to the visitor, in this order: INVALID_REQUEST or BATCH_TOO_LARGE; what the
  /// visitor forbids; METHOD_NOT_FOUND (before params are looked at); INVALID_PARAMS,
  /// DATA_TOO_LARGE, TTL_OUT_OF_RANGE (below 1), CURSOR_INVALID. None of them closes the
  /// connection. Policy is not checked here.
  void decode(std::span<char> value, std::span<json::token> tape, message_visitor& visitor);

 private:
  message_limits limits_;
  json::scratch scratch_;
};

}  // namespace portcullis::net

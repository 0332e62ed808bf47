// One HTTP request, as its bytes have it.
#pragma once
#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "core/limits.hpp"
#include "net/http/header_field.hpp"

namespace portcullis::net {

/// Views the bytes that it was read from.
struct http_request {
  std::string_view method, path, query;  // of the target, as it came; query without its '?'
  std::span<const header_field> fields;  // all, in their order
  std::string_view body;
  // Of those that may come once only. Absent: there is none. `host`: of an absolute target, else
  // the field's (RFC 9112, 3.2.2).
  std::optional<std::string_view> host, origin, authorization, content_type, last_event_id;
  bool http_1_0 = false;
  bool keep_alive = false;

  [[nodiscard]] bool is_head() const noexcept { return method == "HEAD"; }
};

/// Where the fields of one request are put.
using header_field_space = std::array<header_field, core::limits::http_header_fields_max>;

struct http_message_limits {
  std::size_t header_bytes_max = core::limits::http_header_bytes_max;
  std::size_t body_bytes_max = core::limits::value_bytes_max;
};

}  // namespace portcullis::net

#include "net/http/answer.hpp"

#include <http_parser.h>

#include <string>
#include <string_view>

namespace portcullis::net {

void write_response(core::byte_buffer& out, const http_response& response, bool head,
                    bool keep_alive) {
  out.append("HTTP/1.1 ");
  out.append_int(response.status);
  out.append(' ');
  out.append(http_status_str(static_cast<http_status>(response.status)));
  if (response.status == 405) out.append("\r\nAllow: GET, HEAD");
  if (response.status == 401) out.append("\r\nWWW-Authenticate: Bearer");
  out.append("\r\nContent-Type: ");
  out.append(response.content_type);
  out.append("\r\nContent-Length: ");
  out.append_int(response.body.size());
  out.append(keep_alive ? "\r\nConnection: keep-alive\r\n\r\n" : "\r\nConnection: close\r\n\r\n");
  if (!head) out.append(response.body);
}

http_response error_response(const core::error& why, int status, const encode_options& options,
                             std::string_view correlation_id) {
  core::byte_buffer object;
  encode_error_object(object, why, correlation_id, options);
  http_response made{status, "application/json", std::string(object.view())};
  // HTTP knows one status that the table does not: 405 for a method of HTTP. Both places must say
  // the same.
  const auto listed = "\"status\":" + std::to_string(core::describe(why.code).status);
  if (const auto at = made.body.find(listed); at != std::string::npos)
    made.body.replace(at, listed.size(), "\"status\":" + std::to_string(status));
  return made;
}

}  // namespace portcullis::net

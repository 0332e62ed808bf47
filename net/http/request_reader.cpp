#include "net/http/request_reader.hpp"

#include <utility>

namespace portcullis::net {

http_request_reader::status http_request_reader::read(std::string_view bytes,
                                                      header_field_space& space) {
  const bool again = has_head_;
  if (!again) {
    // What has no further line says nothing new, but of the method and of its own length.
    const bool nothing_new = looked_at_ > 0 && !head_.request.method.empty() &&
                             bytes.size() <= limits_.header_bytes_max &&
                             bytes.find('\n', looked_at_) == std::string_view::npos;
    looked_at_ = bytes.size();
    if (nothing_new) return status::need_more;
    switch (read_request_head(bytes, limits_, space, head_)) {
      case http_head_status::need_more:
        return status::need_more;
      case http_head_status::refused:
        return status::refused;
      case http_head_status::complete:
        break;
    }
    has_head_ = true;
    if (head_.chunked)
      chunked_ = std::make_unique<chunked_body>(limits_.body_bytes_max,
                                                limits_.header_bytes_max + limits_.body_bytes_max);
  }
  const auto found = read_body(bytes);
  if (found == status::need_more) return found;
  if (again) {  // the bytes have moved since, and the space was used by others
    const auto why = head_.error;
    const int with_status = head_.http_status;
    static_cast<void>(read_request_head(bytes, limits_, space, head_));  // complete, as before
    if (found == status::refused) return refuse(why, with_status);
  }
  if (found == status::complete)
    head_.request.body = chunked_ ? chunked_->view() : bytes.substr(head_.size, body_size_);
  return found;
}

http_request_reader::status http_request_reader::read_body(std::string_view bytes) {
  if (!chunked_) {
    body_size_ = static_cast<std::size_t>(head_.body_bytes);
    return bytes.size() >= size() ? status::complete : status::need_more;
  }
  std::size_t used = 0;
  const auto found = chunked_->feed(bytes.substr(size()), used);
  body_size_ += used;
  switch (found) {
    case chunked_body::status::need_more:
      return status::need_more;
    case chunked_body::status::complete:
      return status::complete;
    case chunked_body::status::malformed:
      return refuse(core::fail(core::error_code::INVALID_REQUEST), 400);
    case chunked_body::status::too_large:
      return refuse(core::fail(core::error_code::VALUE_TOO_LARGE, {}, "body",
                               static_cast<std::int64_t>(limits_.body_bytes_max)),
                    413);
  }
  __builtin_unreachable();
}

http_request_reader::status http_request_reader::refuse(core::error why, int http_status) {
  head_.error = why;
  head_.http_status = http_status;
  return status::refused;
}

void http_request_reader::reset() {
  has_head_ = continue_told_ = false;
  looked_at_ = body_size_ = 0;
  head_.size = 0;
  head_.request.method = {};
  chunked_.reset();
}

bool http_request_reader::take_continue() noexcept {
  return has_head_ && head_.expects_continue && !std::exchange(continue_told_, true);
}

}  // namespace portcullis::net

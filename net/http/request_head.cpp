#include "net/http/request_head.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include "net/http/field_text.hpp"

namespace portcullis::net {
namespace {

using status = http_head_status;

constexpr std::size_t version_size = 8;  // "HTTP/1.1"

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

class head_reader {
 public:
  head_reader(std::string_view bytes, header_field_space& space, http_request_head& into)
      : begin_(bytes.data()),
        at_(bytes.data()),
        end_(bytes.data() + bytes.size()),
        space_(space),
        head_(into) {}

  status read() {
    auto found = request_line();
    while (found == status::complete && !over_) found = field_line();
    if (found != status::complete) return found;
    head_.size = static_cast<std::size_t>(at_ - begin_);
    head_.request.fields = {space_.data(), count_};
    return check() ? status::complete : malformed();
  }

 private:
  status refuse(core::error why, int http_status) {
    head_.error = why;
    head_.http_status = http_status;
    return status::refused;
  }
  status malformed() { return refuse(core::fail(core::error_code::INVALID_REQUEST), 400); }
  /// The line is malformed; but that is said when all of it is there.
  status malformed_line() {
    return std::memchr(at_, '\n', static_cast<std::size_t>(end_ - at_)) != nullptr
               ? malformed()
               : status::need_more;
  }

  status request_line() {
    while (at_ != end_ && *at_ == '\r') {
      if (end_ - at_ == 1) return status::need_more;
      if (at_[1] != '\n') return malformed();
      at_ += 2;
    }
    const char* stop = std::find_if_not(at_, end_, is_token_byte);
    if (stop == end_) return status::need_more;
    if (stop == at_ || *stop != ' ') return malformed();
    head_.request.method = {at_, static_cast<std::size_t>(stop - at_)};
    at_ = stop + 1;
    const auto* line_end =
        static_cast<const char*>(std::memchr(at_, '\n', static_cast<std::size_t>(end_ - at_)));
    if (line_end == nullptr) return status::need_more;
    const std::string_view line(at_, static_cast<std::size_t>(line_end - at_));
    at_ = line_end + 1;
    // Target, space, version, CR.
    if (line.size() < version_size + 3 || line.back() != '\r') return malformed();
    const auto target = line.substr(0, line.size() - version_size - 2);
    const auto version = line.substr(target.size() + 1, version_size);
    if (line[target.size()] != ' ' || !read_version(version) || !read_target(target))
      return malformed();
    return status::complete;
  }

  /// One digit each (RFC 9112, 2.3). A later minor version speaks 1.1 (RFC 9110, 2.5).
  bool read_version(std::string_view text) {
    head_.request.http_1_0 = text.back() == '0';
    return text.starts_with("HTTP/1.") && is_digit(text.back());
  }

  bool read_target(std::string_view target) {
    const bool plain = std::all_of(target.begin(), target.end(), [](char c) {
      return static_cast<unsigned char>(c) > 0x20 && c != 0x7F && c != '#';
    });
    if (!plain) return false;
    if (!target.starts_with('/')) {
      if (!take_authority(target)) return false;
    }
    const auto mark = target.find('?');
    head_.request.path = target.substr(0, mark);
    if (head_.request.path.empty()) head_.request.path = "/";
    if (mark != std::string_view::npos) head_.request.query = target.substr(mark + 1);
    return true;
  }
  /// Of a target in absolute form; leaves path and query. Whom it names counts in place of Host.
  bool take_authority(std::string_view& target) {
    const auto colon = target.find(':');
    if (colon == std::string_view::npos) return false;
    const auto scheme = target.substr(0, colon);
    if (!is_named(scheme, "http") && !is_named(scheme, "https")) return false;
    target.remove_prefix(colon);
    if (!target.starts_with("://")) return false;
    target.remove_prefix(3);
    const auto size = std::min(target.find_first_of("/?"), target.size());
    absolute_ = target.substr(0, size);
    target.remove_prefix(size);
    return !absolute_->empty() && is_host(*absolute_);
  }
  static bool is_host(std::string_view text) noexcept {
    return std::all_of(text.begin(), text.end(), is_host_byte);
  }

  status field_line() {
    if (at_ == end_) return status::need_more;
    if (*at_ == '\r') {
      if (end_ - at_ == 1) return status::need_more;
      if (at_[1] != '\n') return malformed_line();
      at_ += 2;
      over_ = true;
      return status::complete;
    }
    const char* colon = at_;
    while (colon != end_ && is_token_byte(*colon)) ++colon;
    if (colon == end_) return status::need_more;
    if (*colon != ':' || colon == at_) return malformed_line();
    const char* stop = find_field_control(colon + 1, end_);
    if (end_ - stop < 2)
      return stop == end_ || *stop == '\r' ? status::need_more : malformed_line();
    if (stop[0] != '\r' || stop[1] != '\n') return malformed_line();
    if (count_ == space_.size())
      return refuse(core::fail(core::error_code::VALUE_TOO_LARGE, {}, "header_fields",
                               static_cast<std::int64_t>(space_.size())),
                    413);
    auto& field = space_[count_++];
    field.name = {at_, static_cast<std::size_t>(colon - at_)};
    field.value = trim_ows({colon + 1, static_cast<std::size_t>(stop - colon - 1)});
    at_ = stop + 2;
    look_at(field);
    return status::complete;
  }

  void once(std::optional<std::string_view>& place, std::string_view value) {
    ambiguous_ |= place.has_value();
    place = value;
  }
  void look_at(const header_field& field) {
    auto& request = head_.request;
    switch (field.name.size()) {
      case 4:
        if (is_named(field.name, "host")) once(request.host, field.value);
        break;
      case 6:
        if (is_named(field.name, "origin")) once(request.origin, field.value);
        if (is_named(field.name, "expect"))
          head_.expects_continue |= is_named(field.value, "100-continue");
        break;
      case 10:
        if (is_named(field.name, "connection")) read_connection(field.value);
        break;
      case 12:
        if (is_named(field.name, "content-type")) once(request.content_type, field.value);
        break;
      case 13:
        if (is_named(field.name, "authorization")) once(request.authorization, field.value);
        if (is_named(field.name, "last-event-id")) once(request.last_event_id, field.value);
        break;
      case 14:
        if (is_named(field.name, "content-length")) once(length_, field.value);
        break;
      case 17:
        if (is_named(field.name, "transfer-encoding")) once(coding_, field.value);
        break;
      default:
        break;
    }
  }
  void read_connection(std::string_view list) {
    while (!list.empty()) {
      const auto comma = list.find(',');
      const auto option = trim_ows(list.substr(0, comma));
      close_ |= is_named(option, "close");
      keep_alive_ |= is_named(option, "keep-alive");
      list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
    }
  }

  /// What the fields say together.
  bool check() {
    auto& request = head_.request;
    request.keep_alive = !close_ && (keep_alive_ || !request.http_1_0);
    if (ambiguous_ || (!request.host && !request.http_1_0)) return false;
    if (request.host && !is_host(*request.host)) return false;
    if (absolute_) request.host = absolute_;
    head_.expects_continue &= !request.http_1_0;
    if (coding_) {
      head_.chunked = true;
      return is_named(*coding_, "chunked") && !length_ && !request.http_1_0;
    }
    if (!length_) return true;
    const auto* const end = length_->data() + length_->size();
    const auto read = std::from_chars(length_->data(), end, head_.body_bytes);
    // A number that does not fit is too large, not malformed.
    if (read.ec == std::errc::result_out_of_range) head_.body_bytes = ~std::uint64_t{0};
    return !length_->empty() && is_digit(length_->front()) && read.ptr == end;
  }

  const char* begin_;
  const char* at_;
  const char* end_;
  header_field_space& space_;
  http_request_head& head_;
  std::size_t count_ = 0;
  std::optional<std::string_view> length_, coding_, absolute_;
  bool close_ = false, keep_alive_ = false, ambiguous_ = false, over_ = false;
};

core::error too_large(std::string_view what, std::size_t limit) {
  return core::fail(core::error_code::VALUE_TOO_LARGE, {}, what, static_cast<std::int64_t>(limit));
}

}  // namespace

http_head_status read_request_head(std::string_view bytes, const http_message_limits& limits,
                                   header_field_space& space, http_request_head& into) {
  into = {};
  const auto part = bytes.substr(0, limits.header_bytes_max);
  auto found = head_reader(part, space, into).read();
  if (found == status::need_more && bytes.size() > part.size()) {
    into.error = too_large("header", limits.header_bytes_max);
    into.http_status = 413;
    return status::refused;
  }
  if (found == status::complete && into.body_bytes > limits.body_bytes_max) {
    into.error = too_large("body", limits.body_bytes_max);
    into.http_status = 413;
    return status::refused;
  }
  return found;
}

}  // namespace portcullis::net

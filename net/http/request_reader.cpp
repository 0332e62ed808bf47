#include "net/http/request_reader.hpp"

#include <http_parser.h>
#include <strings.h>

#include <algorithm>
#include <string>

namespace portcullis::net {

struct http_request_reader::impl {
  explicit impl(std::size_t bytes_max) : header_bytes_max(bytes_max) { start(); }

  void start() {
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = this;
    request = {};
    url.clear();
    field.clear();
    in_value = complete = refused = keep_alive = false;
    bytes = 0;
  }

  void refuse(core::error why, int with_status) {
    refused = true;
    error = why;
    http_status = with_status;
  }
  void malformed() { refuse(core::fail(core::error_code::INVALID_REQUEST), 400); }

  int take_field(std::string_view text) {
    if (in_value) field.clear();
    in_value = false;
    field.append(text);
    return 0;
  }
  int take_value(std::string_view text) {
    in_value = true;
    constexpr std::string_view wanted = "authorization";
    if (field.size() == wanted.size() &&
        ::strncasecmp(field.data(), wanted.data(), wanted.size()) == 0)
      request.authorization.append(text);
    return 0;
  }
  int headers_done() {
    constexpr auto none = ~std::uint64_t{0};
    if (parser.method != HTTP_GET && parser.method != HTTP_HEAD)
      refuse(core::fail(core::error_code::METHOD_NOT_FOUND, "method"), 405);
    else if ((parser.flags & F_CHUNKED) != 0 ||
             (parser.content_length != none && parser.content_length != 0))
      malformed();
    else if (!url.starts_with('/') || parser.http_major != 1)
      malformed();
    return refused ? -1 : 0;
  }
  int message_done() {
    const auto query = url.find('?');
    request.method = parser.method == HTTP_HEAD ? "HEAD" : "GET";
    request.path = url.substr(0, query);
    if (query != std::string::npos) request.query = url.substr(query + 1);
    keep_alive = http_should_keep_alive(&parser) != 0;
    complete = true;
    http_parser_pause(&parser, 1);
    return 0;
  }

  static impl& of(http_parser* parser) { return *static_cast<impl*>(parser->data); }
  static const http_parser_settings& callbacks() {
    static const http_parser_settings settings = [] {
      http_parser_settings made;
      http_parser_settings_init(&made);
      made.on_url = [](http_parser* p, const char* at, std::size_t size) {
        of(p).url.append(at, size);
        return 0;
      };
      made.on_header_field = [](http_parser* p, const char* at, std::size_t size) {
        return of(p).take_field({at, size});
      };
      made.on_header_value = [](http_parser* p, const char* at, std::size_t size) {
        return of(p).take_value({at, size});
      };
      made.on_headers_complete = [](http_parser* p) { return of(p).headers_done(); };
      made.on_message_complete = [](http_parser* p) { return of(p).message_done(); };
      return made;
    }();
    return settings;
  }

  http_parser parser{};
  std::size_t header_bytes_max;
  std::size_t bytes = 0;
  http_request request;
  std::string url, field;
  bool in_value = false, complete = false, refused = false, keep_alive = false;
  core::error error;
  int http_status = 400;
};

http_request_reader::http_request_reader(std::size_t header_bytes_max)
    : impl_(std::make_unique<impl>(header_bytes_max)) {}
http_request_reader::~http_request_reader() = default;

http_request_reader::status http_request_reader::feed(std::string_view bytes, std::size_t& used) {
  auto& it = *impl_;
  // One byte more than allowed is enough to know.
  const auto part = bytes.substr(0, it.header_bytes_max + 1 - it.bytes);
  used = http_parser_execute(&it.parser, &impl::callbacks(), part.data(), part.size());
  it.bytes += used;
  if (it.complete && it.bytes <= it.header_bytes_max) return status::complete;
  if (it.bytes > it.header_bytes_max)
    it.refuse(core::fail(core::error_code::VALUE_TOO_LARGE, {}, "header",
                         static_cast<std::int64_t>(it.header_bytes_max)),
              413);
  else if (!it.refused && HTTP_PARSER_ERRNO(&it.parser) != HPE_OK)
    it.malformed();
  return it.refused ? status::refused : status::need_more;
}

void http_request_reader::reset() { impl_->start(); }
http_request& http_request_reader::request() noexcept { return impl_->request; }
const core::error& http_request_reader::error() const noexcept { return impl_->error; }
int http_request_reader::http_status() const noexcept { return impl_->http_status; }
bool http_request_reader::keep_alive() const noexcept { return impl_->keep_alive; }
bool http_request_reader::started() const noexcept { return impl_->bytes > 0; }

}  // namespace portcullis::net

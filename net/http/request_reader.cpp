#include "net/http/request_reader.hpp"

#include <http_parser.h>
#include <strings.h>

#include <algorithm>
#include <string>

namespace portcullis::net {
namespace {

bool is_alphanumeric(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
bool is_one_of(char c, std::string_view set) noexcept {
  return set.find(c) != std::string_view::npos;
}
/// A byte of a token (RFC 9110, 5.6.2).
bool is_token_byte(char c) noexcept {
  return is_alphanumeric(c) || is_one_of(c, "!#$%&'*+-.^_`|~");
}
bool same_name(std::string_view text, std::string_view lower) noexcept {
  return text.size() == lower.size() && ::strncasecmp(text.data(), lower.data(), lower.size()) == 0;
}
/// The bytes of uri-host and port (RFC 3986, 3.2.2); empty is well-formed.
bool is_host(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return is_alphanumeric(c) || is_one_of(c, "-._~%!$&'()*+,;=:[]");
  });
}

}  // namespace

struct http_request_reader::impl {
  explicit impl(std::size_t bytes_max) : header_bytes_max(bytes_max) { start(); }

  void start() {
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = this;
    request = {};
    url.clear();
    field.clear();
    host.clear();
    wanted = nullptr;
    hosts = authorizations = 0;
    method_known = in_value = complete = refused = keep_alive = false;
    bytes = 0;
  }

  /// Up to the space after the method: http_parser knows only some names, and a well-formed request
  /// with any other is a 405, not malformed. Returns how many bytes were taken.
  std::size_t take_method(std::string_view text) {
    for (std::size_t at = 0; at < text.size(); ++at) {
      ++bytes;
      const char c = text[at];
      const bool empty_line = request.method.empty() && (c == '\r' || c == '\n');
      if (bytes > header_bytes_max || empty_line) continue;
      if (is_token_byte(c)) {
        request.method += c;
        continue;
      }
      method_known = c == ' ' && !request.method.empty();
      if (!method_known)
        malformed();
      else if (request.method != "GET" && request.method != "HEAD")
        refuse(core::fail(core::error_code::METHOD_NOT_FOUND, "method"), 405);
      else
        parse(request.method + c);
      return at + 1;
    }
    return text.size();
  }
  std::size_t parse(std::string_view text) {
    return http_parser_execute(&parser, &callbacks(), text.data(), text.size());
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
    if (!in_value) {
      const bool is_authorization = same_name(field, "authorization");
      const bool names_host = same_name(field, "host");
      authorizations += is_authorization ? 1 : 0;
      hosts += names_host ? 1 : 0;
      wanted = is_authorization ? &request.authorization : names_host ? &host : nullptr;
    }
    in_value = true;
    if (wanted != nullptr) wanted->append(text);
    return 0;
  }
  int headers_done() {
    constexpr auto none = ~std::uint64_t{0};
    const bool has_body = (parser.flags & F_CHUNKED) != 0 ||
                          (parser.content_length != none && parser.content_length != 0);
    host.resize(host.find_last_not_of(" \t") + 1);
    // RFC 9112, 3.2; a second Authorization would be a guess, too.
    const bool ambiguous =
        hosts > 1 || authorizations > 1 || !is_host(host) || (hosts == 0 && parser.http_minor >= 1);
    if (has_body || ambiguous || parser.http_major != 1 || !read_target()) malformed();
    return refused ? -1 : 0;
  }
  /// Origin form, or absolute form of scheme http (RFC 9112, 3.2.1, 3.2.2). What the latter names
  /// as host is not looked at: there is only one here.
  bool read_target() {
    if (url.starts_with('/')) {
      const auto query = url.find('?');
      request.path = url.substr(0, query);
      if (query != std::string::npos) request.query = url.substr(query + 1);
      return true;
    }
    http_parser_url parts;
    http_parser_url_init(&parts);
    if (http_parser_parse_url(url.data(), url.size(), 0, &parts) != 0) return false;
    const auto has = [&](int which) { return (parts.field_set >> which & 1) != 0; };
    const auto part = [&](int which) {
      return has(which) ? url.substr(parts.field_data[which].off, parts.field_data[which].len)
                        : std::string();
    };
    // User information there is most likely an attempt to deceive (RFC 9110, 4.2.4).
    if (!same_name(part(UF_SCHEMA), "http") || part(UF_HOST).empty() || has(UF_USERINFO) ||
        has(UF_FRAGMENT))
      return false;
    request.path = has(UF_PATH) ? part(UF_PATH) : "/";
    request.query = part(UF_QUERY);
    return true;
  }
  int message_done() {
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
  std::string url, field, host;
  std::string* wanted = nullptr;  // where the value of the present field goes; null: nowhere
  int hosts = 0, authorizations = 0;
  bool method_known = false, in_value = false, complete = false, refused = false,
       keep_alive = false;
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
  used = it.method_known ? 0 : it.take_method(part);
  if (used < part.size() && it.method_known && !it.refused) {  // none would be the stream's end
    const auto parsed = it.parse(part.substr(used));
    used += parsed;
    it.bytes += parsed;
  }
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
bool http_request_reader::head() const noexcept { return impl_->request.method == "HEAD"; }
bool http_request_reader::keep_alive() const noexcept { return impl_->keep_alive; }
bool http_request_reader::started() const noexcept { return impl_->bytes > 0; }

}  // namespace portcullis::net

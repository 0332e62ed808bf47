// Reading HTTP requests with their bodies: however the bytes are split over reads, the same
// requests and the same refusal come out, and what is taken keeps the contract's bounds.
#include <cstdint>
#include <string>
#include <string_view>

#include "core/error/catalogue.hpp"
#include "net/http/request_reader.hpp"
#include "tests/fuzz/pieces.hpp"

namespace {

using portcullis::fuzz::require;
using namespace portcullis;
using status = net::http_request_reader::status;

constexpr net::http_message_limits limits{512, 256};

void note_request(const net::http_request_reader& reader, std::string_view bytes,
                  std::string& log) {
  const auto& request = reader.request();
  require(!request.method.empty() && !request.path.empty());
  require(request.body.size() <= limits.body_bytes_max);
  require(reader.size() <= bytes.size());
  // As many bytes as framing and body may have, and no more.
  require(reader.size() <= 2 * limits.header_bytes_max + 2 * limits.body_bytes_max);
  require(request.http_1_0 || request.host);
  for (const auto& part : {request.method, request.path, request.query, request.body})
    log.append(part) += '\n';
  for (const auto& field : request.fields) {
    require(!field.name.empty());
    require(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
    log.append(field.name).append(": ").append(field.value) += '\n';
  }
  for (const auto& once : {request.host, request.origin, request.authorization,
                           request.content_type, request.last_event_id})
    log.append(once.value_or("-")) += '\n';
  log += request.keep_alive ? "stays\n" : "closes\n";
}

std::string run(std::string_view text, std::size_t step) {
  std::string log, kept;
  net::http_request_reader reader(limits);
  net::header_field_space space;
  for (std::size_t at = 0; at < text.size(); at += step) {
    kept += text.substr(at, step);
    while (!kept.empty()) {
      const std::string bytes = kept;  // exact bounds for the sanitizer, and elsewhere each time
      const auto found = reader.read(bytes, space);
      if (found == status::need_more) break;
      if (found == status::refused) {
        require(reader.http_status() >= 400 && reader.http_status() < 500);
        log += core::describe(reader.error().code).name;
        return log + std::to_string(reader.http_status()) +
               (reader.request().is_head() ? " head" : "");
      }
      require(reader.size() > 0);
      note_request(reader, bytes, log);
      kept.erase(0, reader.size());
      reader.reset();
    }
    // A head of the largest size, and a body that is cut off as soon as it is too large.
    require(kept.size() <=
            limits.header_bytes_max + 2 * limits.body_bytes_max + limits.header_bytes_max + step);
  }
  return log + (kept.empty() ? "between" : "unfinished");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return portcullis::fuzz::same_in_any_pieces(data, size, run);
}

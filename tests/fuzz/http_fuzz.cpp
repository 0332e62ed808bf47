// Reading HTTP requests: however the bytes are split over reads, the same requests and the same
// refusal come out, and what is taken keeps the contract's bounds.
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

constexpr std::size_t header_bytes_max = 512;

void note_request(net::http_request_reader& reader, std::string& log) {
  const auto& request = reader.request();
  require(request.method == "GET" || request.method == "HEAD");
  require(reader.head() == (request.method == "HEAD"));
  require(!request.path.empty() && request.path.size() <= header_bytes_max);
  for (const auto& part : {request.method, request.path, request.query, request.authorization})
    log += part + '\n';
  log += reader.keep_alive() ? "stays\n" : "closes\n";
}

std::string run(std::string_view text, std::size_t step) {
  std::string log;
  net::http_request_reader reader(header_bytes_max);
  for (std::size_t at = 0; at < text.size();) {
    const std::string piece(text.substr(at, step));  // exact bounds for the sanitizer
    std::size_t used = 0;
    const auto found = reader.feed(piece, used);
    require(used <= piece.size());
    at += used;
    if (found == status::need_more) {
      require(used == piece.size());
    } else if (found == status::complete) {
      require(used > 0);
      note_request(reader, log);
      reader.reset();
    } else {
      require(reader.http_status() >= 400 && reader.http_status() < 600);
      log += core::describe(reader.error().code).name;
      log += std::to_string(reader.http_status()) + (reader.head() ? " head" : "");
      return log;
    }
  }
  return log + (reader.started() ? "unfinished" : "between");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return portcullis::fuzz::same_in_any_pieces(data, size, run);
}

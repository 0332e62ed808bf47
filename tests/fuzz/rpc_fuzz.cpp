// Framing and decoding: however the bytes are split over reads, the same calls and errors come out,
// within bounds.
#include <cstdint>
#include <string>
#include <string_view>

#include "net/rpc/decode.hpp"
#include "net/rpc/framing.hpp"
#include "tests/fuzz/pieces.hpp"

namespace {

using portcullis::fuzz::require;
using namespace portcullis;

/// Writes down all that a visitor is told, so that two runs can be compared.
class log_visitor : public net::message_visitor {
 public:
  explicit log_visitor(std::string& log) : log_(log) {}
  void begin_batch(std::size_t entries) override {
    log_ += "batch " + std::to_string(entries) + "\n";
  }
  void end_batch() override { log_ += "end\n"; }
  void on_request(const net::call_id& id, core::request& request) override {
    call(id, request.correlation_id);
    log_ += to_string(request.method);
    if (const auto* create = std::get_if<core::create_session>(&request.params)) {
      log_ += create->user.tenant_id;
      log_ += create->user.user_id;
      log_ += create->data;
      context(create->context);
    } else if (const auto* validate = std::get_if<core::validate_session>(&request.params)) {
      context(validate->context);
    } else if (const auto* update = std::get_if<core::update_session>(&request.params)) {
      log_ += update->data;
      context(update->context);
    } else if (const auto* query = std::get_if<core::query_events>(&request.params)) {
      for (const auto type : query->types) log_ += type;
    }
  }
  void on_error(const net::call_id& id, std::optional<core::method>, const core::error& why,
                std::string_view correlation_id) override {
    call(id, correlation_id);
    log_ += core::describe(why.code).name;
    log_ += why.field;
    log_ += why.rule;
  }

 private:
  void call(const net::call_id& id, std::string_view correlation_id) {
    log_ += id.notification ? "\nnotification " : "\ncall ";
    log_ += id.raw;
    log_ += ' ';
    log_ += correlation_id;
    log_ += ' ';
  }
  void context(const core::context& of) {
    for (const auto byte : of.ip.bytes) log_ += static_cast<char>(byte);
    for (const auto field : of.fields) log_ += field;
  }
  std::string& log_;
};

const net::message_limits limits{
    .value_bytes_max = 2048, .nesting_depth_max = 8, .batch_entries_max = 5, .data_bytes_max = 64};

std::string run(std::string_view text, std::size_t step) {
  std::string log;
  net::framer framer(limits);
  net::decoder decoder(limits);
  log_visitor visitor(log);
  std::string unread;
  for (std::size_t sent = 0;;) {
    const std::size_t piece = std::min(step, text.size() - sent);
    unread += text.substr(sent, piece);
    sent += piece;
    const bool eof = sent == text.size();
    for (;;) {
      std::string exact(unread);  // exact bounds for the sanitizer
      const net::frame found = framer.next(exact, eof);
      require(found.consumed <= unread.size());
      if (found.kind == net::frame_kind::value) {
        require(found.begin < found.end && found.end <= found.consumed);
        require(found.end - found.begin <= limits.value_bytes_max);
        std::string value = exact.substr(found.begin, found.end - found.begin);
        decoder.decode(value, found.tape, visitor);
      } else if (found.kind == net::frame_kind::form_error) {
        log += "\nform ";
        log += core::describe(found.error.code).name;
        log += found.close ? '!' : ' ';
      } else if (found.kind == net::frame_kind::end) {
        return log;
      }
      unread.erase(0, found.consumed);
      if (found.kind == net::frame_kind::need_more) {
        require(!eof && unread.size() <= limits.value_bytes_max);
        break;
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return portcullis::fuzz::same_in_any_pieces(data, size, run);
}

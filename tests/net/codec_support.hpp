// Feeds text through framing and decoding, and writes down what comes out.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/rpc/decode.hpp"
#include "net/rpc/framing.hpp"

namespace portcullis::net::test {

/// One call of a message, or one error of form (then `closes` tells whether the connection ends).
struct outcome {
  std::string id;
  bool notification = false;
  std::optional<core::error> error;
  std::optional<core::method> called;  // with an error
  bool closes = false;
  std::string correlation_id;
  core::request request;  // views `bytes`
  std::shared_ptr<std::string> bytes;

  [[nodiscard]] core::error_code code() const { return error.value().code; }
  template <class Params>
  [[nodiscard]] const Params& as() const {
    return std::get<Params>(request.params);
  }
};

struct conversation {
  std::vector<outcome> calls;
  std::vector<std::string> values;  // the frames' text as it came
  std::vector<std::size_t> batches;
  bool ended = false;
  std::size_t waiting_bytes_max = 0;  // what was left over after need_more
};

class recorder : public message_visitor {
 public:
  recorder(conversation& into, std::shared_ptr<std::string> bytes)
      : into_(into), bytes_(std::move(bytes)) {}
  void begin_batch(std::size_t entries) override { into_.batches.push_back(entries); }
  void end_batch() override {}
  void on_request(const call_id& id, core::request& request) override {
    outcome call;
    call.id = id.raw;
    call.notification = id.notification;
    call.correlation_id = request.correlation_id;
    call.request = request;
    call.bytes = bytes_;
    into_.calls.push_back(std::move(call));
  }
  void on_error(const call_id& id, std::optional<core::method> called, const core::error& why,
                std::string_view correlation_id) override {
    outcome call;
    call.called = called;
    call.id = id.raw;
    call.notification = id.notification;
    call.error = why;
    call.correlation_id = correlation_id;
    into_.calls.push_back(std::move(call));
  }

 private:
  conversation& into_;
  std::shared_ptr<std::string> bytes_;
};

/// Sends `text` in pieces that end at `cuts` (ascending), then EOF when `eof`. `alone`: EOF is a
/// read of its own.
inline conversation converse(std::string_view text, const std::vector<std::size_t>& cuts = {},
                             bool eof = true, const message_limits& limits = {},
                             bool alone = false) {
  conversation record;
  net::framer framer(limits);
  net::decoder decoder(limits);
  std::string unread;
  std::size_t sent = 0;
  std::vector<std::size_t> ends = cuts;
  ends.push_back(text.size());
  if (alone) ends.push_back(text.size());
  for (std::size_t i = 0; i < ends.size() && !record.ended; ++i) {
    unread += text.substr(sent, ends[i] - sent);
    sent = ends[i];
    for (bool more = true; more && !record.ended;) {
      const frame found = framer.next(unread, eof && i + 1 == ends.size());
      switch (found.kind) {
        case frame_kind::value: {
          auto bytes =
              std::make_shared<std::string>(unread.substr(found.begin, found.end - found.begin));
          record.values.push_back(*bytes);
          recorder visitor(record, bytes);
          decoder.decode(*bytes, found.tape, visitor);
          break;
        }
        case frame_kind::form_error: {
          outcome error;
          error.error = found.error;
          error.closes = found.close;
          record.calls.push_back(std::move(error));
          break;
        }
        case frame_kind::need_more:
          more = false;
          break;
        case frame_kind::end:
          record.ended = true;
          break;
      }
      unread.erase(0, found.consumed);
    }
    record.waiting_bytes_max = std::max(record.waiting_bytes_max, unread.size());
  }
  return record;
}

/// The one outcome of one message.
inline outcome decode_one(std::string_view text, const message_limits& limits = {}) {
  conversation record = converse(text, {}, true, limits);
  if (record.calls.size() != 1) throw std::logic_error("not one outcome");
  return record.calls.front();
}

inline std::string call_of(std::string_view method, std::string_view params) {
  return R"({"jsonrpc":"2.0","id":1,"method":")" + std::string(method) + R"(","params":)" +
         std::string(params) + "}";
}

inline const std::string some_id =
    "00ffeeddccbbaa998877665544332211000102030405060708090a0b0c0d0e0f";
inline const std::string some_context = R"({"ip":"203.0.113.7","user_agent":"Mozilla/5.0"})";

}  // namespace portcullis::net::test

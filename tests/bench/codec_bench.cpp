// What decoding a session.validate and encoding its reply cost, beside simdjson's on-demand parser.
#include <benchmark/benchmark.h>
#include <simdjson.h>

#include <cstring>
#include <string>

#include "net/rpc/decode.hpp"
#include "net/rpc/encode.hpp"
#include "net/rpc/framing.hpp"

namespace portcullis::net {
namespace {

const std::string validate =
    R"({"jsonrpc":"2.0","id":4711,"method":"session.validate","params":{"session_id":")"
    R"(00ffeeddccbbaa998877665544332211000102030405060708090a0b0c0d0e0f","context":{"ip":"203.0.113.7",)"
    R"("user_agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",)"
    R"("accept":"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8","accept_language":"de-DE,de;q=0.9,en;q=0.8",)"
    R"("accept_encoding":"gzip, deflate, br","ja4":"t13d1516h2_8daaf6152771_b186095e22b6"}}})";

struct counter : message_visitor {
  std::size_t good = 0;
  void begin_batch(std::size_t) override {}
  void end_batch() override {}
  void on_request(const call_id&, core::request& request) override {
    benchmark::DoNotOptimize(&request);
    ++good;
  }
  void on_error(const call_id&, std::optional<core::method>, const core::error&,
                std::string_view) override {}
};

void frame_and_decode_validate(benchmark::State& state) {
  framer framer;
  decoder decoder;
  counter visitor;
  std::string bytes = validate;
  for (auto _ : state) {
    std::memcpy(bytes.data(), validate.data(), validate.size());
    const frame found = framer.next(bytes, false);
    decoder.decode({bytes.data() + found.begin, found.end - found.begin}, found.tape, visitor);
  }
  if (visitor.good != static_cast<std::size_t>(state.iterations())) state.SkipWithError("refused");
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(validate.size()));
}
BENCHMARK(frame_and_decode_validate);

void frame_validate(benchmark::State& state) {
  framer framer;
  const std::string bytes = validate;
  for (auto _ : state) benchmark::DoNotOptimize(framer.next(bytes, false).end);
}
BENCHMARK(frame_validate);

/// The least that on-demand must do for the same: find the members, get every string, check the
/// form.
void simdjson_on_demand_validate(benchmark::State& state) {
  simdjson::ondemand::parser parser;
  const simdjson::padded_string padded(validate);
  for (auto _ : state) {
    auto document = parser.iterate(padded);
    std::size_t bytes = 0;
    for (auto member : document.get_object()) {
      const std::string_view key = member.unescaped_key();
      if (key == "params") {
        for (auto param : member.value().get_object()) {
          if (std::string_view(param.unescaped_key()) == "context") {
            for (auto field : param.value().get_object()) {
              bytes += std::string_view(field.unescaped_key()).size();
              bytes += std::string_view(field.value().get_string()).size();
            }
          } else {
            bytes += std::string_view(param.value().get_string()).size();
          }
        }
      } else if (key == "id") {
        bytes += std::string_view(member.value().raw_json_token()).size();
      } else {
        bytes += std::string_view(member.value().get_string()).size();
      }
    }
    benchmark::DoNotOptimize(bytes);
  }
}
BENCHMARK(simdjson_on_demand_validate);

void simdjson_dom_validate(benchmark::State& state) {
  simdjson::dom::parser parser;
  const simdjson::padded_string padded(validate);
  for (auto _ : state) benchmark::DoNotOptimize(parser.parse(padded).error());
}
BENCHMARK(simdjson_dom_validate);

void encode_valid(benchmark::State& state) {
  correlation_maker maker(1);
  core::session_valid valid;
  valid.tenant_id = "guild-1042";
  valid.user_id = "user-8f14e45f";
  valid.data = R"({"roles":["member","editor"],"theme":"dark","cart":[101,202,303]})";
  valid.created_at_ms = 1'700'000'000'000;
  valid.expires_at_ms = 1'700'000'900'000;
  const core::reply reply = valid;
  core::byte_buffer out;
  for (auto _ : state) {
    out.clear();
    encode_reply(out, "4711", reply, {maker});
    benchmark::DoNotOptimize(out.data());
  }
}
BENCHMARK(encode_valid);

void encode_error(benchmark::State& state) {
  correlation_maker maker(1);
  const core::reply reply =
      core::failed{core::fail(core::error_code::INVALID_PARAMS, "context.ip", "required"), {}};
  core::byte_buffer out;
  for (auto _ : state) {
    out.clear();
    encode_reply(out, "4711", reply, {maker});
    benchmark::DoNotOptimize(out.data());
  }
}
BENCHMARK(encode_error);

}  // namespace
}  // namespace portcullis::net

BENCHMARK_MAIN();

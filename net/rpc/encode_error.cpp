#include <algorithm>
#include <array>
#include <string>

#include "net/rpc/encode.hpp"
#include "net/rpc/json_writer.hpp"

// Envelopes, errors and notifications.

namespace portcullis::net {
namespace {

/// The path from the room on, wherever the program was built.
std::string_view path_in_tree(std::string_view file) {
  static constexpr std::array<std::string_view, 7> rooms = {
      "/core/", "/net/", "/store/", "/monitoring/", "/actors/", "/apps/", "/tests/"};
  std::size_t start = std::string_view::npos;
  for (const auto room : rooms) {
    const std::size_t at = file.rfind(room);
    if (at != std::string_view::npos && (start == std::string_view::npos || at + 1 > start))
      start = at + 1;
  }
  if (start != std::string_view::npos) return file.substr(start);
  const std::size_t slash = file.rfind('/');
  return file.front() != '/' || slash == std::string_view::npos ? file : file.substr(slash + 1);
}

void write_stack(json_writer& to, const core::source_place& place) {
  const std::string_view file = place.file;
  if (file.empty()) return;
  std::string frame(path_in_tree(file));
  frame += ':';
  frame += std::to_string(place.line);
  frame += ' ';
  frame += place.function;
  to.raw(R"(,"stack":[)").text(frame).raw("]");
}

void write_details(json_writer& to, const core::error& why) {
  if (why.field.empty() && why.rule.empty() && why.limit < 0) return;
  to.raw(R"(,"details":{)");
  char separator = '\0';
  if (!why.field.empty()) to.separate(separator).raw(R"("field":)").text(why.field);
  if (!why.rule.empty()) to.separate(separator).raw(R"("rule":)").text(why.rule);
  if (why.limit >= 0) to.separate(separator).raw(R"("limit":)").integer(why.limit);
  to.raw("}");
}

std::array<std::uint8_t, 8> bytes_of(std::uint64_t number) noexcept {
  std::array<std::uint8_t, sizeof number> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(number >> (8 * i));
  return bytes;
}

void write_correlation_id(json_writer& to, std::string_view given, const encode_options& options) {
  if (!given.empty()) {
    to.text(given);
    return;
  }
  to.hex(bytes_of(options.made_up.next()));
}

}  // namespace

std::string correlation_maker::text() { return core::to_hex(bytes_of(next())); }

void encode_error_object(core::byte_buffer& out, const core::error& why,
                         std::string_view correlation_id, const encode_options& options,
                         int status) {
  const core::error_row& row = core::describe(why.code);
  json_writer to(out);
  to.raw(R"({"code":)").integer(row.code);
  to.raw(R"(,"message":)").text(row.message);
  to.raw(R"(,"data":{"error":)").text(row.name);
  to.raw(R"(,"status":)").integer(status == 0 ? row.status : status);
  to.raw(R"(,"severity":)").text(core::to_string(row.severity));
  to.raw(R"(,"retryable":)").boolean(row.retryable);
  to.raw(R"(,"correlation_id":)");
  write_correlation_id(to, correlation_id, options);
  if (why.retry_after_ms >= 0) to.raw(R"(,"retry_after_ms":)").integer(why.retry_after_ms);
  write_details(to, why);
  if (options.development) write_stack(to, why.place);
  to.raw("}}");
}

void encode_error_outcome(core::byte_buffer& out, const core::error& why,
                          std::string_view correlation_id, const encode_options& options) {
  out.append(R"("error":)");
  encode_error_object(out, why, correlation_id, options);
}

void begin_envelope(core::byte_buffer& out, std::string_view raw_id) {
  out.append(R"({"jsonrpc":"2.0","id":)");
  out.append(raw_id.empty() ? std::string_view("null") : raw_id);
  out.append(',');
}

void end_envelope(core::byte_buffer& out) { out.append('}'); }

void encode_error_reply(core::byte_buffer& out, std::string_view raw_id, const core::error& why,
                        std::string_view correlation_id, const encode_options& options) {
  begin_envelope(out, raw_id);
  encode_error_outcome(out, why, correlation_id, options);
  end_envelope(out);
}

void encode_event(core::byte_buffer& out, std::string_view subscription, std::string_view cursor,
                  std::string_view event_json) {
  json_writer to(out);
  to.raw(R"({"jsonrpc":"2.0","method":"event","params":{"subscription":)").text(subscription);
  to.raw(R"(,"cursor":)").text(cursor);
  if (!event_json.empty()) to.raw(R"(,"event":)").raw(event_json);
  to.raw("}}");
}

void encode_events_ended(core::byte_buffer& out, std::string_view subscription,
                         std::string_view cursor, const core::error& why,
                         const encode_options& options) {
  json_writer to(out);
  to.raw(R"({"jsonrpc":"2.0","method":"events.ended","params":{"subscription":)");
  to.text(subscription).raw(R"(,"cursor":)").text(cursor).raw(R"(,"error":)");
  encode_error_object(out, why, {}, options);
  to.raw("}}");
}

}  // namespace portcullis::net

#include "net/http/event_stream.hpp"

#include <algorithm>

namespace portcullis::net {
namespace {

/// What stands behind the first `mark`; empty: it is not there.
std::string_view after(std::string_view text, std::string_view mark) noexcept {
  const auto at = text.find(mark);
  return at == std::string_view::npos ? std::string_view() : text.substr(at + mark.size());
}
/// Up to the quote. The texts that are read so are ours and have no escapes.
std::string_view quoted(std::string_view text) noexcept {
  return text.substr(0, std::min(text.find('"'), text.size()));
}
void field(core::byte_buffer& out, std::string_view name, std::string_view value) {
  out.append(name);
  out.append(value);
  out.append('\n');
}

}  // namespace

event_line write_event(core::byte_buffer& out, std::string_view line) {
  const auto cursor = quoted(after(line, R"("cursor":")"));
  if (line.starts_with(R"({"jsonrpc":"2.0","id":)")) {
    out.append(stream_retry);
    field(out, "id: ", cursor);
    out.append('\n');
    return event_line::begun;
  }
  const auto params = after(line, R"({"jsonrpc":"2.0","method":"event","params":)");
  const auto ended = after(line, R"({"jsonrpc":"2.0","method":"events.ended","params":)");
  if (params.empty() && ended.empty()) return event_line::unknown;
  if (cursor.empty()) return event_line::unknown;
  field(out, "id: ", cursor);
  const auto rest =
      line.substr(static_cast<std::size_t>(cursor.data() - line.data()) + cursor.size());
  // An object, and the two braces that close what it stands in.
  const auto object = after(rest, ended.empty() ? R"(","event":)" : R"(","error":)");
  if (object.size() > 2) {
    field(out, "event: ", ended.empty() ? quoted(after(object, R"("type":")")) : "error");
    field(out, "data: ", object.substr(0, object.size() - 2));
  }
  out.append('\n');
  return ended.empty() ? event_line::event : event_line::over;
}

}  // namespace portcullis::net

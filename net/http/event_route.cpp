// GET /events: a subscription as a stream of server-sent events; POST /events/ticket: what a
// browser opens one with.
#include "net/authz/reply_line.hpp"
#include "net/http/event_stream.hpp"
#include "net/http/inside.hpp"
#include "net/http/query.hpp"
#include "net/http/routes.hpp"
#include "net/json/text_run.hpp"

namespace portcullis::net {
namespace {

using core::error_code;

constexpr std::string_view event_stream_type = "text/event-stream";

/// One of the streams that there may be, while it lives.
class stream_place {
 public:
  explicit stream_place(std::size_t& count) noexcept : count_(count) { ++count_; }
  ~stream_place() { --count_; }
  stream_place(const stream_place&) = delete;
  stream_place& operator=(const stream_place&) = delete;

 private:
  std::size_t& count_;
};

class event_caller final : public inside_caller {
 public:
  static constexpr auto what_for = inside_purpose::events;
  event_caller(calls_port& calls, http_exchange& on, const core::caller* who, std::size_t& streams)
      : inside_caller(calls, on, who, what_for), place_(std::in_place, streams) {}

  void line(std::string_view text) override {
    const replied reply = read_reply_line(text);
    const bool asked = take_asked();
    if (const auto* error = std::get_if<replied_error>(&reply)) {
      if (asked) refuse(*error);
      return;
    }
    scratch_.clear();
    const auto found = write_event(scratch_, text);
    if (found == event_line::begun && asked) on_.begin_stream(event_stream_type, stream_heartbeat);
    on_.stream(scratch_.view());
    if (found == event_line::over) on_.end_stream();
  }

 private:
  void fail(const core::error& why) override {
    place_.reset();
    on_.refuse(why);
  }
  /// The caller was removed, or its client reads too slowly, or the node stops: who comes back goes
  /// on from the cursor.
  void over() override { on_.end_stream(); }
  void refuse(const replied_error& error) {
    place_.reset();
    auto why = core::fail(error.code);
    why.retry_after_ms = error.retry_after_ms;
    const int status = core::describe(error.code).status;
    scratch_.clear();
    write_error_fields(scratch_, why, status);
    on_.answer({status, "application/json", error.object, scratch_.view()});
  }
  core::byte_buffer scratch_;
  std::optional<stream_place> place_;
};

/// What a request for a stream says.
struct stream_request {
  std::string ticket;
  std::optional<std::string> after, types, tenant_id;
};

core::result<stream_request> read_stream_request(const http_request& request) {
  stream_request made;
  auto query = request.query;
  std::string_view name, value;
  while (take_parameter(query, name, value)) {
    // It would stand in the logs of whoever sees the URL.
    if (name == "token" || name == "access_token")
      return core::fail(error_code::INVALID_PARAMS, "token", "not_in_a_url");
    auto text = decode_parameter(value);
    if (!text) return core::fail(error_code::INVALID_PARAMS, {}, "percent_encoding");
    if (name == "ticket")
      made.ticket = *std::move(text);
    else if (name == "after")
      made.after = std::move(text);
    else if (name == "types")
      made.types = std::move(text);
    else if (name == "tenant_id")
      made.tenant_id = std::move(text);
    else
      return core::fail(error_code::INVALID_PARAMS, {}, "unknown_parameter");
  }
  // Who comes back, with a token, says more than the URL, which is that of the first time. (A
  // ticket's URL is good once: whoever used one comes back with another, and `after`.)
  if (request.last_event_id && !request.last_event_id->empty())
    made.after.emplace(*request.last_event_id);
  return made;
}

bool is_utf8(std::string_view text) noexcept {
  for (std::size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const auto sequence = json::read_utf8(text.data(), at, text.size());
    if (!sequence.complete) return false;
    at += sequence.size;
  }
  return true;
}

/// False for what would be no JSON.
bool append_text(core::byte_buffer& out, std::string_view text) {
  if (!is_utf8(text)) return false;
  core::append_json_string(out, text);
  return true;
}

core::result<core::nothing> write_subscribe(core::byte_buffer& out, const stream_request& request) {
  out.append(R"({"jsonrpc":"2.0","id":1,"method":"events.subscribe","params":{)");
  std::string_view separator;
  const auto name = [&](std::string_view field) {
    out.append(separator);
    out.append(field);
    separator = ",";
  };
  if (request.after) {
    name(R"("after":)");
    if (!append_text(out, *request.after)) return core::fail(error_code::CURSOR_INVALID, "after");
  }
  if (request.tenant_id) {
    name(R"("tenant_id":)");
    if (!append_text(out, *request.tenant_id))
      return core::fail(error_code::INVALID_PARAMS, "tenant_id", "utf8_without_controls");
  }
  if (request.types) {
    name(R"("types":[)");
    std::string_view list = *request.types, comma;
    while (!list.empty()) {
      const auto size = std::min(list.find(','), list.size());
      out.append(std::exchange(comma, ","));
      if (!append_text(out, list.substr(0, size)))
        return core::fail(error_code::INVALID_PARAMS, "types");
      list.remove_prefix(std::min(size + 1, list.size()));
    }
    out.append(']');
  }
  out.append("}}");
  return core::nothing{};
}

}  // namespace

void http_routes::give_ticket(http_exchange& on) {
  on.count_as(core::http_route::events);
  if (!trusts_host(on) || !takes(on, "POST")) return;
  const auto* caller = caller_of(on);
  if (caller == nullptr) return;
  if (const auto why = core::refusal(caller->role, core::method::events_subscribe))
    return deny(on, *why, {});
  event_tickets::secret random;
  options_.random(random);
  const auto ticket = tickets_.give(caller, random, loop_.mono_ns());
  if (!ticket) return deny(on, error_code::SUBSCRIPTION_LIMIT, {}, "tickets");
  on.answer({200, "application/json", R"({"ticket":")" + *ticket + R"("})"});
}

const core::caller* http_routes::subscriber(http_exchange& on, std::string_view ticket) {
  if (ticket.empty()) return caller_of(on);
  if (!on.peer().private_way()) {
    deny(on, error_code::TLS_REQUIRED, {});
    return nullptr;
  }
  const auto* caller = tickets_.take(ticket, loop_.mono_ns());
  if (caller != nullptr && gateway_.is_current(caller)) return caller;
  deny(on, error_code::AUTH_FAILED, "ticket");
  return nullptr;
}

void http_routes::events(http_exchange& on) {
  on.count_as(core::http_route::events);
  if (!trusts_host(on) || !takes(on, "GET")) return;
  const auto request = read_stream_request(on.request());
  if (!request) return on.refuse(request.error());
  const auto* caller = subscriber(on, request->ticket);
  if (caller == nullptr) return;
  // The connections are those of proxies and probes, too.
  const std::size_t row = on.peer().listener == core::listener::https ? 1 : 0;
  if (streams_[row] >= options_.streams_max[row])
    return on.refuse(core::fail(error_code::SUBSCRIPTION_LIMIT, {}, "streams",
                                static_cast<std::int64_t>(options_.streams_max[row])));
  question_.clear();
  const auto written = write_subscribe(question_, *request);
  if (!written) return on.refuse(written.error());
  on.wait(core::limits::http_backstop_ms);
  on.guest.reset();  // each stream is a caller of its own
  inside<event_caller>(calls_, on, caller, streams_[row]).ask(question_.view());
}

}  // namespace portcullis::net

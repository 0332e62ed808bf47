// POST /rpc: one JSON-RPC message, its replies as the body of the answer.
#include "net/http/inside.hpp"
#include "net/http/routes.hpp"
#include "net/rpc/framing.hpp"

namespace portcullis::net {
namespace {

constexpr std::string_view json_type = "application/json";

class rpc_caller final : public inside_caller {
 public:
  static constexpr auto what_for = inside_purpose::rpc;
  rpc_caller(calls_port& calls, http_exchange& on, const core::caller* who)
      : inside_caller(calls, on, who, what_for), nobody_(who->role == core::role::none) {}

  void line(std::string_view text) override {
    if (take_asked()) on_.answer({200, json_type, text});
  }
  /// Nothing but notifications: they were taken up; whether they succeeded is not told.
  void settled() override {
    if (!take_asked()) return;
    // Nobody's would only seem to have been: there is no line to say so.
    if (nobody_) return on_.refuse(core::fail(core::error_code::AUTH_REQUIRED));
    on_.answer({204});
  }

 private:
  void fail(const core::error& why) override { on_.refuse(why); }
  bool nobody_;
};

/// The one JSON value of a body. PARSE_ERROR, NESTING_TOO_DEEP, VALUE_TOO_LARGE; INVALID_REQUEST
/// for more than one, or none.
core::result<std::string_view> one_value(std::string_view body, const message_limits& limits) {
  framer frames(limits);
  const auto first = frames.next(body, true);
  if (first.kind == frame_kind::form_error) return first.error;
  if (first.kind != frame_kind::value) return core::fail(core::error_code::INVALID_REQUEST);
  const auto value = body.substr(first.begin, first.end - first.begin);
  const auto rest = frames.next(body.substr(first.consumed), true);
  if (rest.kind == frame_kind::form_error) return rest.error;
  if (rest.kind != frame_kind::end)
    return core::fail(core::error_code::INVALID_REQUEST, {}, "one_value");
  return value;
}

}  // namespace

void http_routes::rpc(http_exchange& on) {
  on.count_as(core::http_route::rpc);
  if (!trusts_host(on) || !takes(on, "POST")) return;
  const auto& request = on.request();
  if (!request.content_type || !is_json_media_type(*request.content_type))
    return on.refuse(core::fail(core::error_code::INVALID_REQUEST, {}, "application/json"), 415);
  const auto* caller = caller_of(on);
  if (caller == nullptr) return;
  const auto value = one_value(request.body, options_.message);
  if (!value) return on.refuse(value.error());
  on.wait(core::limits::http_long_backstop_ms);
  inside<rpc_caller>(calls_, on, caller).ask(*value);
}

}  // namespace portcullis::net

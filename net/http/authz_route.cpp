// /authz/*: a proxy asks whether a request may pass (net/authz has the rules).
#include "net/authz/answer.hpp"
#include "net/http/inside.hpp"
#include "net/http/routes.hpp"

namespace portcullis::net {
namespace {

void give(http_exchange& on, const authz_answer& made) {
  http_answer answer{made.status, {}, made.body.view(), made.fields.view()};
  answer.to_proxy = true;
  on.answer(answer);
}

/// Of a loop's thread: made and written in one go.
authz_answer& answer_space() {
  thread_local authz_answer space;
  return space;
}

class authz_caller_inside final : public inside_caller {
 public:
  static constexpr auto what_for = inside_purpose::authz;
  authz_caller_inside(calls_port& calls, http_exchange& on, const core::caller* who,
                      const encode_options& encoding)
      : inside_caller(calls, on, who, what_for), encoding_(encoding) {}

  void expect(authz_kind kind, const authz_correlation& correlation) noexcept {
    kind_ = kind;
    correlation_ = correlation;
  }
  void line(std::string_view text) override {
    if (!take_asked()) return;
    answer_authz(kind_, text, correlation_.view(), encoding_, answer_space());
    give(on_, answer_space());
  }

 private:
  void fail(const core::error& why) override {
    refuse_authz(kind_, why, correlation_.view(), encoding_, answer_space());
    give(on_, answer_space());
  }

  const encode_options& encoding_;
  authz_kind kind_ = authz_kind::forward_auth;
  authz_correlation correlation_;
};

}  // namespace

/// Whom the proxy's certificate names comes first: proxies pass on what the user's browser sent to
/// the application, Authorization included.
http_routes::identified http_routes::authz_caller(http_exchange& on, std::string& correlation_id) {
  if (!options_.needs_token) return &proxies_;
  const auto may_ask = [](core::role role) {
    return role == core::role::app || role == core::role::admin;
  };
  const auto* peer = on.peer().caller;
  if (may_ask(peer->role) && gateway_.is_current(peer)) return peer;
  correlation_id = forward_auth::correlation_of(on.request().fields, made_up_).view();
  auto found = identify(on, correlation_id);
  if (!found || may_ask((*found)->role)) return found;
  return core::fail((*found)->role == core::role::none ? core::error_code::AUTH_REQUIRED
                                                       : core::error_code::FORBIDDEN);
}

void http_routes::refuse_proxy(http_exchange& on, authz_kind kind, const core::error& why,
                               std::string_view correlation_id) {
  refuse_authz(kind, why, correlation_id, encoding_, answer_space());
  give(on, answer_space());
}

void http_routes::refuse(http_exchange& on, const core::error& why, int status) {
  const auto kind = authz_kind_of(on.request().path);
  if (!kind || !options_.authz) return on.refuse(why, status);
  on.count_as(core::http_route::authz);
  refuse_proxy(on, *kind, why, {});
}

void http_routes::authz(http_exchange& on, authz_kind kind) {
  on.count_as(core::http_route::authz);
  std::string correlation_id;
  const auto caller = authz_caller(on, correlation_id);
  if (!caller) return refuse_proxy(on, kind, caller.error(), correlation_id);
  question_.clear();
  const auto asked =
      options_.authz->current()->ask(on.request().fields, on.peer().source, made_up_, question_);
  if (asked.forwarded_unread && options_.on_forwarded_unread)
    options_.on_forwarded_unread(on.peer().source);
  if (asked.refused) return refuse_proxy(on, kind, *asked.refused, asked.correlation.view());
  on.wait(core::limits::http_backstop_ms);
  auto& inside_of = inside<authz_caller_inside>(calls_, on, *caller, encoding_);
  inside_of.expect(kind, asked.correlation);
  inside_of.ask(question_.view());
}

}  // namespace portcullis::net

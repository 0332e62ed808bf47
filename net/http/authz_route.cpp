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

http_routes::identified http_routes::authz_caller(http_exchange& on) {
  if (!options_.needs_token) return &proxies_;
  std::string correlation_id;
  auto found = identify(on, correlation_id);
  if (!found) return found;
  const auto role = (*found)->role;
  if (role == core::role::none) return core::fail(core::error_code::AUTH_REQUIRED);
  if (role == core::role::observer) return core::fail(core::error_code::FORBIDDEN);
  return found;
}

void http_routes::authz(http_exchange& on, authz_kind kind) {
  on.count_as(core::http_route::authz);
  const auto refuse = [&](const core::error& why, std::string_view correlation_id) {
    refuse_authz(kind, why, correlation_id, encoding_, answer_space());
    give(on, answer_space());
  };
  const auto caller = authz_caller(on);
  if (!caller) return refuse(caller.error(), {});
  question_.clear();
  const auto asked =
      options_.authz->current()->ask(on.request().fields, on.peer().source, made_up_, question_);
  if (asked.refused) return refuse(*asked.refused, asked.correlation.view());
  on.wait_without_limit();  // the RPC server's holds
  auto& inside_of = inside<authz_caller_inside>(calls_, on, *caller, encoding_);
  inside_of.expect(kind, asked.correlation);
  inside_of.ask(question_.view());
}

}  // namespace portcullis::net

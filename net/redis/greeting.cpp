#include "net/redis/greeting.hpp"

#include <utility>

#include "net/redis/faults.hpp"

namespace portcullis::net::redis {
namespace {

/// Of INFO's reply, which begins with a heading.
std::string_view value_of(std::string_view text, std::string_view key) {
  const auto at = text.find("\n" + std::string(key) + ":");
  if (at == text.npos) return {};
  text.remove_prefix(at + key.size() + 2);
  return text.substr(0, text.find_first_of("\r\n"));
}

std::string_view name_of(greeting_step step) {
  switch (step) {
    case greeting_step::auth:
      return "AUTH";
    case greeting_step::set_name:
      return "CLIENT SETNAME";
    case greeting_step::select:
      return "SELECT";
    case greeting_step::ping:
      return "PING";
    case greeting_step::info:
      return "INFO";
    case greeting_step::role:
      return "ROLE";
  }
  __builtin_unreachable();
}

failure unexpected(greeting_step step) {
  return {unavailable("protocol"), "unexpected reply to " + std::string(name_of(step))};
}

}  // namespace

std::vector<greeting> greetings_of(const channel_options& options) {
  std::vector<greeting> made;
  const auto& [user, password] = options.who;
  if (!password.empty() && user.empty())
    made.push_back({greeting_step::auth, {"AUTH", password}});
  else if (!password.empty())
    made.push_back({greeting_step::auth, {"AUTH", user, password}});
  if (!options.name.empty())
    made.push_back({greeting_step::set_name, {"CLIENT", "SETNAME", options.name}});
  if (options.db != 0)
    made.push_back({greeting_step::select, command{"SELECT"}.add(std::int64_t{options.db})});
  made.push_back({greeting_step::ping, {"PING"}});
  if (options.asks >= check::info) made.push_back({greeting_step::info, {"INFO", "server"}});
  if (options.asks >= check::role) made.push_back({greeting_step::role, {"ROLE"}});
  return made;
}

std::optional<failure> judge_greeting(greeting_step step, const reply& what, check wanted,
                                      server_info& into) {
  if (what.is(reply_type::error)) {
    const auto known = fault_of(what);
    // "ERR invalid password", "ERR DB index is out of range", ...
    auto detail = std::string(name_of(step)) + ": " + shown(what.text);
    return failure{known ? *known : unavailable("greeting"), std::move(detail)};
  }
  switch (step) {
    case greeting_step::auth:
    case greeting_step::set_name:
    case greeting_step::select:
      return what.is_ok() ? std::nullopt : std::optional(unexpected(step));
    case greeting_step::ping:
      // A connection that has subscribed would answer otherwise; this one has not.
      return what.is(reply_type::status) && what.text == "PONG" ? std::nullopt
                                                                : std::optional(unexpected(step));
    case greeting_step::info:
      if (!what.is(reply_type::text)) return unexpected(step);
      into.run_id = shown(value_of(what.text, "run_id"));
      into.version = shown(value_of(what.text, "redis_version"));
      return std::nullopt;
    case greeting_step::role:
      if (!what.is(reply_type::array) || what.elements.empty() ||
          !what.elements[0].is(reply_type::text))
        return unexpected(step);
      into.role = shown(what.elements[0].text);
      if (wanted == check::master && into.role != "master")
        return failure{unavailable("role"), "the server is a " + into.role + ", not a master"};
      return std::nullopt;
  }
  __builtin_unreachable();
}

}  // namespace portcullis::net::redis

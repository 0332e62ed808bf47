// What a channel says first, and how it judges the replies. Pure.
#pragma once
#include <vector>

#include "net/redis/channel.hpp"

namespace portcullis::net::redis {

/// One step of the greeting.
enum class greeting_step : std::uint8_t { auth, set_name, select, ping, info, role };

struct greeting {
  greeting_step step;
  command what;
};

/// AUTH, CLIENT SETNAME, SELECT, then the checks: all may be sent at once, because no step has an
/// effect beyond its connection.
[[nodiscard]] std::vector<greeting> greetings_of(const channel_options& options);

/// Takes the reply to one step; what it tells goes into `into`. Absent: go on. Otherwise cut the
/// connection.
[[nodiscard]] std::optional<failure> judge_greeting(greeting_step step, const reply& what,
                                                    check wanted, server_info& into);

}  // namespace portcullis::net::redis

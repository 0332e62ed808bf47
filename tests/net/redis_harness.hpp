// A Redis client on a loop, turned by the test until something holds.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "net/loop/loop.hpp"
#include "net/redis/client.hpp"
#include "tests/net/redis_server.hpp"

namespace portcullis::net::test {

struct real_clock final : core::clock {
  core::millis now_ms() noexcept override {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
  }
  std::int64_t mono_ns() noexcept override {
    using namespace std::chrono;
    return duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
  }
};

using got = core::result<redis::reply>;

/// "+OK", "-ERR ...", ":1", "text", "nil", "[a b]"; an error: "STORE_TIMEOUT deadline".
inline std::string told(const redis::reply& what) {
  using redis::reply_type;
  switch (what.type) {
    case reply_type::nil:
      return "nil";
    case reply_type::status:
      return "+" + what.text;
    case reply_type::error:
      return "-" + what.text;
    case reply_type::integer:
      return ":" + std::to_string(what.integer);
    case reply_type::text:
      return what.text;
    case reply_type::array:
      break;
  }
  std::string made = "[";
  for (const auto& each : what.elements) made += (made.size() > 1 ? " " : "") + told(each);
  return made + "]";
}
inline std::string told(const core::error& why) {
  return std::string(core::describe(why.code).name) + " " + std::string(why.rule);
}
inline std::string told(const got& what) { return what ? told(*what) : told(what.error()); }

constexpr std::int64_t long_ms = 20'000;

/// Something that turns a loop.
struct turning : testing::Test {
  turning() { tick.every(2); }

  /// Turns the loop until `holds`; false after 30 s.
  bool until(const std::function<bool()>& holds, int seconds = 30) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (!holds()) {
      if (std::chrono::steady_clock::now() > give_up) return false;
      on.run_once();
    }
    return true;
  }

  real_clock clock;
  loop on{clock};
  loop::timer tick{on, [] {}};
  std::uint64_t seed = 1;
};

struct redis_test : turning {
  /// While what its answers go to is there.
  void TearDown() override { client.reset(); }

  redis::client_options to(const std::string& url) {
    redis::client_options made;
    const auto parsed = redis::parse_url(url);
    EXPECT_TRUE(parsed) << url;
    made.servers.push_back(*parsed);
    return complete(std::move(made));
  }
  redis::client_options complete(redis::client_options made) {
    made.random = [this] { return seed = seed * 6364136223846793005U + 1442695040888963407U; };
    made.connected = [this](const redis::server_info& info) { connected.push_back(info); };
    made.lost = [this](const redis::address&, const redis::failure& why) { lost.push_back(why); };
    return made;
  }
  void connect(redis::client_options options) {
    make(std::move(options));
    if (!until([&] { return client->connected(); })) throw std::runtime_error(last_loss());
  }
  void make(redis::client_options options) {
    auto made = redis::client::make(on, std::move(options));
    if (!made) throw std::runtime_error(told(made.error()));
    client = *std::move(made);
  }
  [[nodiscard]] std::string last_loss() const {
    return lost.empty() ? "" : std::string(lost.back().why.rule) + ": " + lost.back().detail;
  }
  /// Asks, and turns the loop until the answer is there.
  std::string ask(redis::command what, std::int64_t deadline_ms = long_ms, std::string key = "") {
    auto answer = std::make_shared<std::optional<std::string>>();
    client->ask(std::move(what), key, deadline_ms, [answer](got reply) { *answer = told(reply); });
    return until([&] { return answer->has_value(); }) ? **answer : "no answer";
  }
  std::string eval(const redis::script& what, std::vector<std::string_view> keys,
                   std::vector<std::string_view> args) {
    auto answer = std::make_shared<std::optional<std::string>>();
    client->eval(what, keys, args, long_ms, [answer](got reply) { *answer = told(reply); });
    return until([&] { return answer->has_value(); }) ? **answer : "no answer";
  }

  std::vector<redis::server_info> connected;
  std::vector<redis::failure> lost;
  std::unique_ptr<redis::client> client;
};

}  // namespace portcullis::net::test

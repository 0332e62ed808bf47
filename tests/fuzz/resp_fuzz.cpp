// Replies of a Redis server: how they are split over reads changes nothing, what is out of bounds
// or broken stays so, and no reply is larger or deeper than may be.
#include <cstdint>
#include <string>
#include <string_view>

#include "net/redis/faults.hpp"
#include "net/redis/greeting.hpp"
#include "net/redis/limits.hpp"
#include "net/redis/reader.hpp"
#include "net/redis/slots.hpp"
#include "tests/fuzz/pieces.hpp"

namespace {

using portcullis::fuzz::require;
using namespace portcullis::net;
using redis::reply;
using redis::reply_reader;
using redis::reply_type;

constexpr std::size_t bytes_max = 1'024;

/// What the reply is, unmistakably; counts its values.
void describe(const reply& what, std::size_t depth, std::size_t& values, std::string& into) {
  ++values;
  into += "nse:$*"[static_cast<int>(what.type)];
  into += std::to_string(what.integer) + ' ' + std::to_string(what.text.size()) + ' ' + what.text;
  require(what.is(reply_type::array) || what.elements.empty());
  if (!what.is(reply_type::array)) return;
  require(depth < redis::limits::reply_depth_max);
  into += std::to_string(what.elements.size());
  for (const auto& each : what.elements) describe(each, depth + 1, values, into);
}

/// The parts of the client that look into replies: whatever it is, they say something.
void judge(const reply& what) {
  const redis::address from{"10.0.0.1", 7000, {}};
  if (const auto fault = redis::fault_of(what)) require(!fault->rule.empty());
  if (const auto found = redis::redirection_of(what, from)) {
    require(found->slot < redis::limits::slots && found->to.port != 0);
    require(redis::is_host(found->to.host));
  }
  if (const auto map = redis::slots_of(what, from))
    for (const auto& range : *map) {
      require(range.first <= range.last && range.last < redis::limits::slots);
      require(redis::is_host(range.master.host));
    }
  redis::server_info info;
  for (int step = 0; step <= static_cast<int>(redis::greeting_step::role); ++step)
    (void)redis::judge_greeting(static_cast<redis::greeting_step>(step), what, redis::check::master,
                                info);
}

std::string run(std::string_view text, std::size_t step) {
  reply_reader reader(bytes_max);
  std::string log;
  std::size_t values = 0;
  while (!text.empty()) {
    const auto part = text.substr(0, step);
    text.remove_prefix(part.size());
    // A copy of its own: bounds for the sanitizer.
    reader.feed(std::string(part));
    for (;;) {
      reply got;
      const auto status = reader.next(got);
      if (status == reply_reader::status::more) break;
      if (status == reply_reader::status::broken) {
        require(!reader.why().empty());
        reader.feed("+OK\r\n");
        require(reader.next(got) == reply_reader::status::broken);
        // Which bound a reply breaks first depends on the pieces: a promise is there before its
        // bytes.
        return log + "!";
      }
      std::size_t of_one = 0;
      describe(got, 0, of_one, log);
      require(of_one <= redis::limits::reply_elements_max && log.size() < 64 * 1024 * 1024);
      values += of_one;
      judge(got);
    }
  }
  return log + std::to_string(values);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return portcullis::fuzz::same_in_any_pieces(data, size, run);
}

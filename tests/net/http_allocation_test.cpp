// A request on a connection that has been used allocates nothing.
#include <string>
#include <vector>

#include "tests/count_allocations.hpp"
#include "tests/net/http_web.hpp"

namespace portcullis::net {
namespace {

using namespace test;

/// How many allocations the turns have in which a warm connection is answered; the request comes in
/// so many reads.
std::size_t allocations_of(web& w, client& c, const std::vector<std::string>& parts,
                           std::string_view answer) {
  std::size_t seen = 0;
  const auto turn = [&] {
    const auto before = allocations;
    w.on.run_once();
    seen += allocations - before;
  };
  for (int round = 0; round < 20; ++round) {
    const auto already = count_of(c.receive(), answer);
    seen = 0;
    for (const auto& part : parts) {
      c.send(part);
      if (&part != &parts.back())
        for (int i = 0; i < 20; ++i) turn();
    }
    while (count_of(c.receive(), answer) == already) turn();
  }
  return seen;
}

TEST(an_http_request, allocates_nothing) {
  web w;
  client c(w.port);
  EXPECT_EQ(allocations_of(w, c, {get_livez}, "200 OK"), 0u);
}

TEST(an_http_request, that_comes_in_two_reads_costs_what_its_head_is_kept_in) {
  web w;
  client c(w.port);
  EXPECT_EQ(allocations_of(w, c, {get_livez.substr(0, 20), get_livez.substr(20)}, "200 OK"), 2u)
      << "half of it, and room for the rest";
}

TEST(an_http_request, allocates_nothing_on_its_way_to_the_rpc_server_and_back) {
  web w;
  w.gateway.reply = core::session_invalid{core::invalid_reason::revoked, {}};
  w.gateway.requests.reserve(100);
  client c(w.port);
  const std::string request =
      "GET /authz/auth-request HTTP/1.1\r\nHost: x\r\nCookie: "
      "portcullis_session=" +
      std::string(64, 'a') + "\r\nUser-Agent: a\r\n\r\n";
  EXPECT_EQ(allocations_of(w, c, {request}, "HTTP/1.1 401"), 0u);
}

}  // namespace
}  // namespace portcullis::net

// A request on a connection that has been used allocates nothing.
#include <string>

#include "tests/count_allocations.hpp"
#include "tests/net/http_web.hpp"

namespace portcullis::net {
namespace {

using namespace test;

/// How many allocations a turn has while a warm connection is answered.
std::size_t allocations_of(web& w, client& c, const std::string& request, std::string_view answer) {
  std::size_t seen = 0;
  for (int round = 0; round < 20; ++round) {
    c.send(request);
    const auto already = count_of(c.receive(), answer);
    seen = 0;
    while (count_of(c.receive(), answer) == already) {
      const auto before = allocations;
      w.on.run_once();
      seen += allocations - before;
    }
  }
  return seen;
}

TEST(an_http_request, allocates_nothing) {
  web w;
  client c(w.port);
  EXPECT_EQ(allocations_of(w, c, get_livez, "200 OK"), 0u);
  // A head in two reads is kept between them.
  const std::string halves[] = {get_livez.substr(0, 20), get_livez.substr(20)};
  c.send(halves[0]);
  w.settle();
  EXPECT_LE(allocations_of(w, c, halves[1] + halves[0], "200 OK"), 2u);
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
  EXPECT_EQ(allocations_of(w, c, request, "HTTP/1.1 401"), 0u);
}

}  // namespace
}  // namespace portcullis::net

// A server behind TLS on a loop, with an authority that signs for it and for its clients.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <optional>

#include "net/tcp/server.hpp"
#include "tests/net/certificates.hpp"
#include "tests/net/tls_client.hpp"
#include "tests/net/transport_harness.hpp"

namespace portcullis::net::test {

struct tls_door : testing::Test {
  static void SetUpTestSuite() {
    ours = new authority;
    ours->sign("server", "DNS:localhost,IP:127.0.0.1");
    web_serial = ours->sign("web", "URI:spiffe://test/web,DNS:web.test");
    ours->sign("old", "URI:spiffe://test/old", -1);
    ours->sign("other", "DNS:other.test");
    theirs = new authority("Another CA");
    theirs->sign("web", "URI:spiffe://test/web");
  }
  static void TearDownTestSuite() {
    delete ours;
    delete theirs;
  }

  static tls_options files() {
    tls_options made;
    made.certificate_file = ours->path("server.pem");
    made.key_file = ours->path("server-key.pem");
    return made;
  }
  void load(const tls_options& options) {
    std::string why;
    auto made = tls_context::make(options, contexts.tickets(), why);
    ASSERT_TRUE(made) << why;
    contexts.replace(*std::move(made));
  }
  void start(const tls_options& options, tcp_options tcp = quick()) {
    load(options);
    n.emplace(std::move(tcp));
    listener_rules rules;
    rules.opening.tls = &contexts;
    auto opened = n->server->listen(any_port(), core::listener::rpc_tls, false, std::move(rules));
    ASSERT_TRUE(opened);
    port = *opened;
  }
  bool shake(tls_client& c) {
    return n->until([&] { return c.turn() || c.failed() || c.closed(); }) && c.turn();
  }
  bool until_received(tls_client& c, const std::string& text) {
    return n->until([&] {
      return c.receive().find(text) != std::string::npos || c.failed() || c.closed();
    }) && c.receive().find(text) != std::string::npos;
  }
  [[nodiscard]] const core::tls_tallies& tls() const { return n->server->tallies().tls; }
  [[nodiscard]] std::uint64_t failures(core::tls_failure why) const {
    return tls().failures[static_cast<std::size_t>(why)];
  }
  [[nodiscard]] std::uint64_t rejected(core::rejection why) const {
    return n->server->tallies().connections.rejected[static_cast<std::size_t>(
        core::listener::rpc_tls)][static_cast<std::size_t>(why)];
  }
  static tls_wishes trusting() { return {.ca = ours->ca()}; }
  static tls_wishes as(const authority& who, const std::string& name, int version = 0) {
    return {.ca = ours->ca(),
            .certificate = who.path(name + ".pem"),
            .key = who.path(name + "-key.pem"),
            .version = version};
  }
  static tls_options mutual(core::client_certificates wanted) {
    auto made = files();
    made.client_ca_file = ours->ca();
    made.client_certificates = wanted;
    return made;
  }

  inline static authority* ours = nullptr;
  inline static authority* theirs = nullptr;
  inline static long web_serial = 0;
  tls_contexts contexts;
  std::optional<node> n;
  std::uint16_t port = 0;
};

}  // namespace portcullis::net::test

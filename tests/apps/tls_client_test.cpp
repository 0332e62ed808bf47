// How commands connect: TLS, whom they trust, what they say when they do not; Unix sockets.
#include <poll.h>

#include <array>

#include "tls_fixture.hpp"

namespace portcullis::apps {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using tls = tls_test;

TEST_F(tls, a_line_goes_there_and_back_over_both_versions_by_name_and_by_address) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    tls_server server({.identity = server_, .version_min = version, .version_max = version},
                      [](const std::string& line, SSL* ssl) {
                        const auto* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
                        return line + " " + SSL_get_version(ssl) + " to " +
                               (name != nullptr ? name : "nobody") + "\n";
                      });
    const std::string spoken = version == TLS1_2_VERSION ? "TLSv1.2" : "TLSv1.3";
    auto with = to(server);
    EXPECT_EQ(ask(with), "hello " + spoken + " to nobody") << "an address is no server name";
    with.address = "localhost:" + server.port();
    EXPECT_EQ(ask(with), "hello " + spoken + " to localhost");
    with.address = "tls://localhost:" + server.port();
    with.tls = false;
    EXPECT_EQ(ask(with), "hello " + spoken + " to localhost");
    with.address = "tls://127.0.0.1:" + server.port();
    with.server_name = "localhost";
    EXPECT_EQ(ask(with), "hello " + spoken + " to localhost");
  }
}

/// Nothing is said to a server that is not who it has to be, least of all a token.
TEST_F(tls, a_server_that_is_not_who_it_has_to_be_is_told_nothing) {
  const auto now = now_s();
  const auto other = dev_authority::make(now, 10);
  struct row {
    certificate_pair identity;
    std::string name, why;
  };
  const auto expired = ours_.issue_server({"localhost", "127.0.0.1"}, now - 20 * day_s, 10);
  const std::vector<row> rows = {
      {other.issue_server({"localhost", "127.0.0.1"}, now, 10), "",
       "the server's certificate is not signed by an authority in " + ca_ +
           ", but by O = Portcullis development, CN = Portcullis development authority"},
      {server_, "web.example", "the certificate is for localhost, 127.0.0.1, not for web.example"},
      {server_, "127.0.0.2", "the certificate is for localhost, 127.0.0.1, not for 127.0.0.2"},
      {ours_.issue_server({"127.0.0.2", "*.example"}, now, 10), "",
       "the certificate is for 127.0.0.2, *.example, not for 127.0.0.1"},
      {ours_.issue_client("127.0.0.1", "x:127.0.0.1", now, 10), "",
       "the server's certificate is not one for a server"},
      {expired, "", "the server's certificate expired at 20"},
      {ours_.issue_server({"127.0.0.1"}, now + day_s, 10), "",
       "the server's certificate is not valid before 20"},
  };
  for (const auto& each : rows)
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      tls_server server({.identity = each.identity, .version_max = version}, echo);
      auto with = to(server);
      with.server_name = each.name;
      EXPECT_THAT(ask(with), testing::StartsWith("!" + each.why));
      EXPECT_THAT(server.heard(), IsEmpty());
    }
}

TEST_F(tls, without_an_authority_the_systems_are_trusted_and_ours_is_none_of_them) {
  tls_server server({.identity = server_}, echo);
  auto with = to(server);
  with.ca_file.clear();
  EXPECT_THAT(ask(with), HasSubstr("not signed by an authority that this system trusts, but by"));
  EXPECT_THAT(ask(with), HasSubstr("give its authority with --ca"));
  EXPECT_THAT(server.heard(), IsEmpty());
  setenv("SSL_CERT_FILE", ca_.c_str(), 1);  // which is how OpenSSL is told of other ones
  EXPECT_EQ(ask(with), "hello");
  unsetenv("SSL_CERT_FILE");
}

TEST_F(tls, the_servers_own_certificate_may_be_what_is_trusted) {
  tls_server server({.identity = server_}, echo);
  auto with = to(server);
  with.ca_file = file("server.pem", server_.certificate);
  EXPECT_EQ(ask(with), "hello");
  with.server_name = "web.example";
  EXPECT_THAT(ask(with), HasSubstr("not for web.example"));
}

TEST_F(tls, a_clients_certificate_is_shown_and_its_refusal_is_told) {
  const auto now = now_s();
  const auto good = ours_.issue_client("web", "x:web", now, 10);
  const auto revoked = ours_.issue_client("gone", "x:gone", now, 10);
  std::string why;
  const auto list = ours_.revoke(ours_.empty_list(now), revoked.certificate, now, why);
  ASSERT_TRUE(list) << why;
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    tls_server server({.identity = server_,
                       .client_ca = ours_.texts().certificate,
                       .crl = *list,
                       .version_max = version},
                      [](const std::string&, SSL* ssl) {
                        std::array<char, 100> name{};
                        X509_NAME_get_text_by_NID(
                            X509_get_subject_name(SSL_get0_peer_certificate(ssl)), NID_commonName,
                            name.data(), name.size());
                        return std::string(name.data()) + "\n";
                      });
    auto with = to(server);
    EXPECT_EQ(ask(with), "!the server asks for a client certificate: give --cert and --key");
    identify(with, good);
    EXPECT_EQ(ask(with), "web");
    const auto refused =
        "!the server did not accept the client certificate " + with.certificate_file + ": ";
    identify(with, revoked);
    EXPECT_EQ(ask(with), refused + "it is revoked");
    identify(with, ours_.issue_client("old", "x:old", now - 20 * day_s, 10));
    EXPECT_EQ(ask(with), refused + "it has expired, or is not valid yet");
    identify(with, server_);
    EXPECT_EQ(ask(with), refused + "it is of an unsupported kind, or not for clients");
    identify(with, dev_authority::make(now, 10).issue_client("foe", "x:foe", now, 10));
    EXPECT_EQ(ask(with), refused + "the server does not trust its authority");
  }
}

/// Says `greeting` to whoever connects, whatever that says.
class talker {
 public:
  explicit talker(std::string greeting) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener_, reinterpret_cast<sockaddr*>(&at), size) != 0 || listen(listener_, 4) != 0)
      std::abort();
    getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size);
    address_ = "127.0.0.1:" + std::to_string(ntohs(at.sin_port));
    talking_ = std::jthread([this, said = std::move(greeting)] {
      const int fd = accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      if (write(fd, said.data(), said.size()) > 0) shutdown(fd, SHUT_WR);
      char rest[4096];
      while (read(fd, rest, sizeof rest) > 0) {
      }
      close(fd);
    });
  }
  ~talker() {
    shutdown(listener_, SHUT_RDWR);
    talking_.join();
    close(listener_);
  }
  talker(const talker&) = delete;
  talker& operator=(const talker&) = delete;
  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  int listener_ = -1;
  std::string address_;
  std::jthread talking_;
};

TEST_F(tls, a_server_without_tls_or_with_an_old_one_is_named_so) {
  const auto why_of = [](const std::string& address, milliseconds timeout = patience) {
    connect_options with;
    with.address = "tls://" + address;
    return ask(with, "hello", timeout);
  };
  for (const auto* greeting : {"220 mail\r\n", "{\"jsonrpc\":\"2.0\"}\n", "HTTP/1.1 400 Bad\r\n"})
    EXPECT_EQ(why_of(talker(greeting).address()), "!TLS handshake failed: the server speaks no TLS")
        << greeting;
  EXPECT_EQ(why_of(talker("").address(), milliseconds(50)),
            "!TLS handshake failed: no answer in time; does the server speak TLS there?");
  const tls_server old(
      {.identity = server_, .version_min = TLS1_VERSION, .version_max = TLS1_1_VERSION}, echo);
  EXPECT_EQ(why_of(old.address()),
            "!TLS handshake failed: the server speaks neither TLS 1.2 nor 1.3");
  EXPECT_THAT(old.heard(), IsEmpty());
}

TEST_F(tls, whoever_forgets_tls_is_told_so_where_the_server_says_it) {
  const talker alerts(std::string("\x15\x03\x01\x00\x02\x02\x46", 7));
  connect_options with;
  with.address = alerts.address();
  EXPECT_EQ(ask(with), "!the server speaks TLS there: give --tls");
  const tls_server silent({.identity = server_}, echo);
  with.address = silent.address();
  EXPECT_EQ(ask(with), "!the server closed the connection");
}

TEST_F(tls, what_cannot_be_used_is_named_before_anything_is_connected) {
  const auto made = [](const connect_options& with) {
    std::string why;
    return connector::make(with, why) ? std::string() : why;
  };
  connect_options plain;
  EXPECT_EQ(made(plain), "");
  for (auto member : {&connect_options::ca_file, &connect_options::certificate_file,
                      &connect_options::key_file, &connect_options::server_name}) {
    auto with = plain;
    with.*member = "x";
    EXPECT_EQ(made(with), "--ca, --cert, --key and --server-name need --tls");
  }
  connect_options with;
  with.tls = true;
  with.ca_file = "/nowhere/ca.pem";
  EXPECT_THAT(made(with), HasSubstr("/nowhere/ca.pem: no certificate can be read from it"));
  with.ca_file = file("no.pem", "nonsense");
  EXPECT_THAT(made(with), HasSubstr("no.pem: no certificate can be read from it"));
  with.ca_file.clear();
  with.certificate_file = file("c.pem", server_.certificate);
  EXPECT_EQ(made(with), "a client's certificate needs both --cert and --key");
  with.key_file = file("k.pem", "nonsense");
  EXPECT_THAT(made(with), HasSubstr("k.pem: no private key can be read from it"));
  with.key_file = file("k.pem", ours_.texts().key);
  EXPECT_EQ(made(with), with.key_file + ": is not the key of " + with.certificate_file);
  with = {};
  with.tls = true;
  with.address = "unix:/run/x.sock";
  EXPECT_EQ(made(with), "unix:/run/x.sock: a Unix socket has no TLS");
  with.address = ":7421";
  EXPECT_EQ(made(with), "the address names no host");
}

TEST_F(tls, long_lines_and_lines_in_one_record_arrive_whole) {
  for (const std::size_t piece : {std::size_t{7'000}, std::size_t{16 * 1024}}) {
    tls_server server({.identity = server_, .piece = piece}, [](const std::string& line, SSL*) {
      return line == "three" ? std::string("a\nb\nc\n") : line + "\n";
    });
    std::string why, long_line;
    for (int i = 0; long_line.size() < 3'000'000; ++i) long_line += std::to_string(i);
    EXPECT_EQ(ask(to(server), long_line), long_line);
    const auto way = connector::make(to(server), why);
    line_client client(patience);
    ASSERT_TRUE(client.connect(*way)) << client.why();
    ASSERT_TRUE(client.send("three\n"));
    EXPECT_EQ(client.receive(), "a");
    EXPECT_TRUE(client.has_line());
    EXPECT_EQ(client.receive(), "b");
    EXPECT_EQ(client.receive_whenever(), "c");
    EXPECT_FALSE(client.has_line());
  }
}

/// A wait for a line was over with any byte, and the time for the rest of the line began.
TEST_F(tls, bytes_of_tls_that_are_no_line_are_not_taken_for_its_beginning) {
  tls_server server({.identity = server_, .version_min = TLS1_3_VERSION},
                    [](const std::string& line, SSL* ssl) {
                      if (line != "update") return line + "\n";
                      SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
                      return std::string("new keys\n");  // the update goes before it
                    });
  std::string why;
  const auto way = connector::make(to(server), why);
  line_client client(patience);
  ASSERT_TRUE(client.connect(*way)) << client.why();
  // The server's tickets come by themselves.
  pollfd waiting{client.descriptor(), POLLIN, 0};
  ASSERT_EQ(poll(&waiting, 1, static_cast<int>(patience.count())), 1);
  EXPECT_TRUE(client.take_what_came());
  EXPECT_FALSE(client.has_begun());
  ASSERT_TRUE(client.send("update\n"));
  EXPECT_EQ(client.receive_whenever(), "new keys");
  ASSERT_TRUE(client.send("bye\n"));
  EXPECT_EQ(client.receive(), "bye");
}

TEST_F(tls, the_end_of_a_connection_is_told_also_where_nobody_says_farewell) {
  for (const bool farewell : {true, false}) {
    tls_server server({.identity = server_}, [&](const std::string&, SSL* ssl) {
      if (!farewell) SSL_set_quiet_shutdown(ssl, 1);
      return std::string();
    });
    EXPECT_EQ(ask(to(server)), "!the server closed the connection") << farewell;
  }
}

TEST_F(tls, a_unix_socket_is_an_address_too) {
  tls_server server({.unix_path = (folder_ / "rpc.sock").string()}, echo);
  connect_options with;
  with.address = server.address();
  EXPECT_EQ(ask(with), "hello");
  with.address = "unix:" + (folder_ / "none.sock").string();
  EXPECT_EQ(ask(with), "!No such file or directory");
  with.address = "unix:" + std::string(108, 'x');
  EXPECT_EQ(ask(with), "!a socket's path has 1 to 107 bytes");
  with.address = "unix:";
  EXPECT_EQ(ask(with), "!a socket's path has 1 to 107 bytes");
}

}  // namespace
}  // namespace portcullis::apps

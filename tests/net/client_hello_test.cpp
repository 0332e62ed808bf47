// The reader of ClientHellos: pieces, records, bounds, broken frames; and that it takes what
// OpenSSL takes.
#include "net/tls/client_hello.hpp"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <rapidcheck/gtest.h>

#include <memory>

#include "tests/net/hello_builder.hpp"

namespace portcullis::net {
namespace {

using namespace test;
using status = client_hello_reader::status;
using core::as_bytes;

status fed(std::string_view bytes, std::size_t step = std::string::npos) {
  client_hello_reader reader;
  for (std::size_t at = 0; at < bytes.size(); at += std::min(step, bytes.size() - at))
    reader.feed(as_bytes(bytes.substr(at, step)));
  return reader.state();
}
/// What is read of bytes that are expected to be whole.
client_hello read(std::string_view bytes, std::size_t step = std::string::npos) {
  client_hello_reader reader;
  for (std::size_t at = 0; at < bytes.size(); at += std::min(step, bytes.size() - at))
    reader.feed(as_bytes(bytes.substr(at, step)));
  EXPECT_EQ(reader.state(), status::complete);
  return reader.hello();
}

TEST(a_client_hello, is_read_field_by_field) {
  const auto hello = read(browser_hello().bytes());
  EXPECT_EQ(hello.legacy_version, 0x0303);
  EXPECT_EQ(hello.ciphers.size(), 15U);
  EXPECT_EQ(hello.ciphers.front(), 0x1301);
  EXPECT_EQ(hello.ciphers.back(), 0x0035);
  EXPECT_EQ(hello.extensions, (std::vector<std::uint16_t>{
                                  0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d,
                                  0x0005, 0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015}));
  EXPECT_EQ(hello.groups, (std::vector<std::uint16_t>{0x001d, 0x0017, 0x0018}));
  EXPECT_EQ(hello.point_formats, (std::vector<std::uint8_t>{0}));
  EXPECT_EQ(hello.signature_algorithms.size(), 8U);
  EXPECT_EQ(hello.supported_versions, (std::vector<std::uint16_t>{0x0304, 0x0303}));
  EXPECT_EQ(hello.alpn, "h2");
  EXPECT_TRUE(hello.names_host);
  EXPECT_EQ(hello.host_name, "example.com");
}

TEST(a_client_hello, without_extensions_is_read) {
  hello_builder old;
  old.version = 0x0300;
  old.session_id_size = 0;
  old.has_extensions = false;
  const auto hello = read(old.bytes());
  EXPECT_EQ(hello.legacy_version, 0x0300);
  EXPECT_TRUE(hello.extensions.empty());
  EXPECT_FALSE(hello.names_host);
  EXPECT_TRUE(hello.alpn.empty());
}

TEST(a_client_hello, keeps_duplicates_and_takes_the_first_content) {
  hello_builder twice;
  twice.groups({1, 1}).alpn({"a1", "b2"}).groups({2}).alpn({"c3"}).add(0x1234).add(0x1234);
  const auto hello = read(twice.bytes());
  EXPECT_EQ(hello.extensions, (std::vector<std::uint16_t>{10, 16, 10, 16, 0x1234, 0x1234}));
  EXPECT_EQ(hello.groups, (std::vector<std::uint16_t>{1, 1}));
  EXPECT_EQ(hello.alpn, "a1");
}

TEST(a_client_hello, names_the_first_host_name_among_names_of_other_types) {
  hello_builder several;
  several.add(0, sized("\x07" + sized("other", 2) + std::string(1, '\0') + sized("a.example", 2) +
                           std::string(1, '\0') + sized("b.example", 2),
                       2));
  EXPECT_EQ(read(several.bytes()).host_name, "a.example");
  hello_builder empty;
  empty.add(0);
  EXPECT_TRUE(read(empty.bytes()).names_host);
  EXPECT_EQ(read(empty.bytes()).host_name, "");
}

TEST(a_client_hello, with_broken_content_of_an_extension_is_read_as_far_as_it_stands) {
  hello_builder broken;
  broken.add(10, std::string("\0\x08\0\x1d\0", 5));  // says 8 bytes, has 3
  broken.add(13, "\x00").add(43).add(11, "\x05\x01").add(16, std::string("\0\x05\x09h2", 5));
  const auto hello = read(broken.bytes());
  EXPECT_EQ(hello.extensions.size(), 5U);
  EXPECT_EQ(hello.groups, (std::vector<std::uint16_t>{0x1d}));
  EXPECT_TRUE(hello.signature_algorithms.empty());
  EXPECT_TRUE(hello.supported_versions.empty());
  EXPECT_EQ(hello.point_formats, (std::vector<std::uint8_t>{1}));
  EXPECT_EQ(hello.alpn, "");
}

TEST(the_reader, knows_from_the_first_bytes_what_is_no_handshake) {
  for (int byte = 0; byte < 256; ++byte)
    EXPECT_EQ(fed(number(static_cast<std::size_t>(byte), 1)),
              byte == 22 ? status::need_more : status::not_tls)
        << byte;
  for (std::size_t major = 0; major < 256; ++major)
    EXPECT_EQ(fed("\x16" + number(major, 1)), major == 3 ? status::need_more : status::not_tls);
  EXPECT_EQ(fed("GET / HTTP/1.1\r\n"), status::not_tls);
  EXPECT_EQ(fed("{\"jsonrpc\""), status::not_tls);
  EXPECT_EQ(fed("\x80\x2e\x01\x03\x03"), status::not_tls);  // SSLv2's form, RFC 5246, E.2
  EXPECT_EQ(fed(""), status::need_more);
}

TEST(the_reader, takes_any_minor_version_of_a_record) {
  const auto message = browser_hello().message();
  for (std::size_t minor : {0x00U, 0x01U, 0x04U, 0xffU})
    EXPECT_EQ(fed(record(message, 22, 0x0300 + minor)), status::complete) << minor;
}

TEST(the_reader, gives_the_same_for_any_step_and_any_size_of_records) {
  const auto message = greased(browser_hello()).message();
  const auto whole = read(record(message));
  for (std::size_t size = 1; size <= message.size(); size += size < 40 ? 1 : 37)
    for (const std::size_t step : {1U, 2U, 3U, 7U, 100U, 100'000U})
      ASSERT_EQ(read(records(message, size), step), whole) << size << ' ' << step;
}

RC_GTEST_PROP(the_reader, gives_the_same_however_bytes_and_records_are_cut, ()) {
  const auto message = greased(browser_hello()).message();
  std::string bytes;
  for (std::size_t at = 0; at < message.size();) {
    const auto size = *rc::gen::inRange<std::size_t>(1, 200);
    if (*rc::gen::arbitrary<bool>()) bytes += record("");
    bytes += record(std::string_view(message).substr(at, size));
    at += size;
  }
  client_hello_reader reader;
  for (std::size_t at = 0; at < bytes.size();) {
    const auto size = *rc::gen::inRange<std::size_t>(1, 300);
    reader.feed(as_bytes(std::string_view(bytes).substr(at, size)));
    at += size;
  }
  RC_ASSERT(reader.state() == status::complete);
  RC_ASSERT(reader.hello() == read(record(message)));
}

TEST(the_reader, is_complete_with_the_last_byte_and_not_before) {
  for (const auto& bytes : {browser_hello().bytes(), records(browser_hello().message(), 5)}) {
    for (std::size_t size = 0; size < bytes.size(); ++size)
      ASSERT_EQ(fed(bytes.substr(0, size)), status::need_more) << size;
    EXPECT_EQ(fed(bytes), status::complete);
  }
}

TEST(the_reader, looks_at_nothing_past_the_message) {
  const auto bytes = browser_hello().bytes();
  EXPECT_EQ(fed(bytes + "anything at all"), status::complete);
  EXPECT_EQ(fed(record(browser_hello().message() + "more")), status::complete);
  client_hello_reader reader;
  EXPECT_EQ(reader.feed(as_bytes(bytes)), status::complete);
  EXPECT_EQ(reader.feed(as_bytes("more")), status::complete);
  EXPECT_EQ(reader.hello(), read(bytes));
}

TEST(the_reader, refuses_frames_that_are_not_filled_to_the_last_byte) {
  const auto body = browser_hello().body();
  const auto framed = [](const std::string& content) {
    return fed(record("\x01" + sized(content, 3)));
  };
  EXPECT_EQ(framed(body), status::complete);
  EXPECT_EQ(framed(""), status::malformed);
  EXPECT_EQ(framed(body + "x"), status::malformed);
  for (std::size_t size = 0; size < body.size(); ++size) {
    // Cut right before the extensions it is whole again: 2 + 32 + 1 + 32 + 2 + 30 + 2 bytes.
    const auto expected = size == 101 ? status::complete : status::malformed;
    ASSERT_EQ(framed(body.substr(0, size)), expected) << size;
  }
  hello_builder long_id;
  long_id.session_id_size = 33;
  EXPECT_EQ(fed(long_id.bytes()), status::malformed);
}

TEST(the_reader, refuses_other_messages_and_other_records_at_their_first_byte) {
  EXPECT_EQ(fed(record("\x02").substr(0, 6)), status::malformed);
  EXPECT_EQ(fed(record(std::string(4, '\0'))), status::malformed);  // a HelloRequest
  const auto message = browser_hello().message();
  const auto begun = record(message.substr(0, 50));
  for (std::size_t type = 0; type < 256; ++type)
    EXPECT_EQ(fed(begun + number(type, 1)), type == 22 ? status::need_more : status::malformed);
  EXPECT_EQ(fed(begun + "\x16\x02"), status::malformed);
}

TEST(the_reader, takes_32_empty_records_one_after_the_other_and_no_more) {
  const auto message = browser_hello().message();
  std::string empty;
  for (unsigned i = 0; i < client_hello_empty_records_max; ++i) empty += record("");
  const auto first = record(message.substr(0, 50));
  const auto second = record(message.substr(50));
  EXPECT_EQ(fed(empty + first + empty + second), status::complete);
  EXPECT_EQ(fed(empty + record("")), status::malformed);
  EXPECT_EQ(fed(first + empty + record("")), status::malformed);
}

TEST(the_reader, takes_16_KiB_and_not_a_byte_more) {
  hello_builder large;
  const auto base = large.add(0x1234).message().size();
  const auto with = [&](std::size_t size) {
    large.extensions.back().second = std::string(size - base, 'x');
    return large.message();
  };
  const auto most = with(client_hello_bytes_max);
  ASSERT_EQ(most.size(), client_hello_bytes_max);
  EXPECT_EQ(fed(records(most, 16384)), status::complete);
  EXPECT_EQ(fed(records(most, 1), 777), status::complete);
  const auto over = with(client_hello_bytes_max + 1);
  EXPECT_EQ(fed(records(over, 16384)), status::too_large);
  // The length alone says so.
  EXPECT_EQ(fed(record(over.substr(0, 4))), status::too_large);
  EXPECT_EQ(fed(record(over.substr(0, 3))), status::need_more);
  EXPECT_EQ(fed(std::string("\x16\x03\x01\x40\x01", 5)), status::malformed);  // 2^14 + 1 bytes
}

TEST(the_reader, survives_every_value_of_every_byte) {
  for (const auto& valid :
       {browser_hello().bytes(), records(greased(browser_hello()).message(), 90)})
    for (std::size_t at = 0; at < valid.size(); ++at)
      for (int value = 0; value < 256; ++value) {
        auto changed = valid;
        changed[at] = static_cast<char>(value);
        // Exact bounds for the sanitizer.
        const std::vector<std::uint8_t> exact(changed.begin(), changed.end());
        client_hello_reader reader;
        const auto found = reader.feed(exact);
        ASSERT_EQ(found, fed(changed, 13)) << at << ' ' << value;
      }
}

/// Whether OpenSSL, as a server, parses a ClientHello out of the bytes.
bool openssl_reads(std::string_view bytes) {
  static const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context(
      SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  bool seen = false;
  SSL_CTX_set_client_hello_cb(
      context.get(),
      [](SSL* of, int*, void* to) {
        // It looks at the list's length only after this.
        const unsigned char* ciphers = nullptr;
        *static_cast<bool*>(to) = SSL_client_hello_get0_ciphers(of, &ciphers) % 2 == 0;
        return SSL_CLIENT_HELLO_ERROR;
      },
      &seen);
  const std::unique_ptr<SSL, void (*)(SSL*)> ssl(SSL_new(context.get()), SSL_free);
  auto* in = BIO_new(BIO_s_mem());
  BIO_write(in, bytes.data(), static_cast<int>(bytes.size()));
  SSL_set_bio(ssl.get(), in, BIO_new(BIO_s_mem()));
  SSL_accept(ssl.get());
  ERR_clear_error();
  return seen;
}

TEST(the_reader, takes_whatever_openssl_takes) {
  const auto message = browser_hello().message();
  ASSERT_TRUE(openssl_reads(record(message)));
  int taken = 0;
  const auto check = [&](const std::string& bytes) {
    if (!openssl_reads(bytes)) return true;
    ++taken;
    return fed(bytes) == status::complete;
  };
  std::string empty;
  for (int i = 0; i < 34; ++i, empty += record("")) {
    EXPECT_TRUE(check(empty + record(message))) << i;
    EXPECT_TRUE(check(record(message.substr(0, 9)) + empty + record(message.substr(9)))) << i;
  }
  EXPECT_GT(taken, 60);
  for (const auto& valid : {record(message), records(message, 90)})
    for (std::size_t at = 0; at < valid.size(); ++at)
      for (unsigned bit = 0; bit < 8; ++bit) {
        auto changed = valid;
        changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
        ASSERT_TRUE(check(changed)) << at << ' ' << bit;
      }
  EXPECT_GT(taken, 1000);
}

}  // namespace
}  // namespace portcullis::net

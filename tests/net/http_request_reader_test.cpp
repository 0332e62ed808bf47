// HTTP requests out of bytes: what is taken, what is refused because two readers could differ about
// it, and that it is the same however the bytes are cut.
#include "net/http/request_reader.hpp"

#include <gmock/gmock.h>
#include <http_parser.h>

#include <optional>
#include <random>
#include <string>

namespace portcullis::net {
namespace {

using status = http_request_reader::status;
using testing::ElementsAre;

/// What came of some bytes, as text: each request, and how it ended.
std::string read_in_pieces(std::string_view text, std::size_t piece,
                           const http_message_limits& limits = {}) {
  std::string log, kept;
  http_request_reader reader(limits);
  header_field_space space;
  for (std::size_t at = 0; at < text.size(); at += piece) {
    kept += text.substr(at, piece);
    for (auto found = status::complete; found == status::complete && !kept.empty();) {
      const std::string bytes = kept;  // elsewhere each time, and of exact size
      found = reader.read(bytes, space);
      if (found == status::refused) {
        return log + std::string(core::describe(reader.error().code).name) + " " +
               std::to_string(reader.http_status()) + (reader.request().is_head() ? " head" : "");
      }
      if (found == status::need_more) break;
      const auto& request = reader.request();
      log += std::string(request.method) + " " + std::string(request.path) + "?" +
             std::string(request.query) + (request.keep_alive ? " stays" : " closes");
      log += request.host ? " host=" + std::string(*request.host) : "";
      for (const auto& field : request.fields)
        log += " " + std::string(field.name) + "=" + std::string(field.value);
      log += " [" + std::string(request.body) + "]\n";
      kept.erase(0, reader.size());
      reader.reset();
    }
  }
  return log + (kept.empty() ? "" : "unfinished");
}

/// The same in pieces of every size.
std::string read_all(std::string_view text, const http_message_limits& limits = {}) {
  const auto whole = read_in_pieces(text, text.size() + 1, limits);
  for (std::size_t piece = 1; piece <= std::min<std::size_t>(text.size(), 64); ++piece)
    EXPECT_EQ(read_in_pieces(text, piece, limits), whole) << text << " in pieces of " << piece;
  return whole;
}

const std::string host = "Host: x\r\n";
std::string get(const std::string& fields) { return "GET / HTTP/1.1\r\n" + fields + "\r\n"; }
std::string post(const std::string& fields, const std::string& body) {
  return "POST / HTTP/1.1\r\n" + host + fields + "\r\n" + body;
}

TEST(a_request, has_its_parts) {
  EXPECT_EQ(read_all("\r\n\r\nPURGE /a/b?c=d&e HTTP/1.1\r\nHost: x\r\nA:  b c \t\r\nE:\r\n\r\n"),
            "PURGE /a/b?c=d&e stays host=x Host=x A=b c E= []\n");
  EXPECT_EQ(read_all("GET / HTTP/1.0\r\n\r\n"), "GET /? closes []\n");
  EXPECT_EQ(read_all("GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n"),
            "GET /? stays Connection=x, Keep-Alive []\n");
  EXPECT_EQ(read_all(get(host + "Connection: foo\r\nConnection: bar ,close\r\n")),
            "GET /? closes host=x Host=x Connection=foo Connection=bar ,close []\n");
  EXPECT_EQ(read_all("GET / HTTP/1.7\r\n" + host + "\r\n"), "GET /? stays host=x Host=x []\n");
}

TEST(a_request, may_have_a_body_of_either_framing) {
  EXPECT_EQ(read_all(post("Content-Length: 3\r\n", "abcGET")),
            "POST /? stays host=x Host=x Content-Length=3 [abc]\nunfinished");
  EXPECT_EQ(read_all(post("Content-Length: 0\r\n", "")),
            "POST /? stays host=x Host=x Content-Length=0 []\n");
  const std::string fields = "Transfer-Encoding: Chunked\r\n";
  const std::string seen = "POST /? stays host=x Host=x Transfer-Encoding=Chunked ";
  EXPECT_EQ(read_all(post(fields, "3\r\nabc\r\n0A;x=\"y\"\r\n0123456789\r\n0\r\n\r\n")),
            seen + "[abc0123456789]\n");
  EXPECT_EQ(read_all(post(fields, "1  \r\na\r\n1 ;x\r\nb\r\n000\r\nTrailer: x\r\nT:\r\n\r\nPOST")),
            seen + "[ab]\nunfinished");
  EXPECT_EQ(read_all(post(fields, "0\r\n\r\n") + get(host)),
            seen + "[]\nGET /? stays host=x Host=x []\n");
}

TEST(a_request, that_is_pipelined_begins_where_the_one_before_ended) {
  EXPECT_EQ(read_all(get(host) + post("Content-Length: 2\r\n", "ab") + get(host)),
            "GET /? stays host=x Host=x []\n"
            "POST /? stays host=x Host=x Content-Length=2 [ab]\n"
            "GET /? stays host=x Host=x []\n");
}

TEST(a_request, may_name_its_target_as_a_whole) {
  const auto target = [](const std::string& text) {
    return read_all("GET " + text + " HTTP/1.1\r\nHost: x\r\n\r\n");
  };
  EXPECT_EQ(target("http://other/livez?a=b"), "GET /livez?a=b stays host=other Host=x []\n");
  EXPECT_EQ(target("HTTPS://[::1]:7480"), "GET /? stays host=[::1]:7480 Host=x []\n");
  EXPECT_EQ(target("http://other?a"), "GET /?a stays host=other Host=x []\n");
  EXPECT_EQ(target("//other/x"), "GET //other/x? stays host=x Host=x []\n");
  for (const auto* each : {"ftp://other/", "http:///x", "http://user@other/", "http:x", "*",
                           "other:80", "x", "/a#b", "/a b", "/a\tb", "/\x7F", "http://a b/"})
    EXPECT_EQ(target(each), "INVALID_REQUEST 400") << each;
}

// RFC 9112, 11.2: who reads these another way than the proxy in front answers one client with what
// another asked.
TEST(a_request, that_two_readers_could_cut_in_two_ways_is_refused) {
  const std::string chunked = "Transfer-Encoding: chunked\r\n", end = "0\r\n\r\n";
  const std::string rows[] = {
      post("Content-Length: 5\r\n" + chunked, end),
      post(chunked + "Content-Length: 5\r\n", end),
      post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
      post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"),
      post("Content-Length: 5, 5\r\n", "hello"),
      post("Content-Length: +5\r\n", "hello"),
      post("Content-Length: -5\r\n", "hello"),
      post("Content-Length: 0x5\r\n", "hello"),
      post("Content-Length: 5 5\r\n", "hello"),
      post("Content-Length: 5;\r\n", "hello"),
      post("Content-Length:\r\n", ""),
      post("Content-Length : 5\r\n", "hello"),
      post("Content-Length\t: 5\r\n", "hello"),
      post(" Content-Length: 5\r\n", "hello"),
      post("X: y\r\n Content-Length: 5\r\n", "hello"),
      post("X: y\r\n\tfolded\r\n", ""),
      post("X: y\nContent-Length: 5\r\n", "hello"),
      post("X: y\rContent-Length: 5\r\n", "hello"),
      post("X: y\r\r\n", ""),
      post(std::string("X: y\0z\r\n", 8), ""),
      post("X: y\x0B\r\n", ""),
      post("X: y\x7F\r\n", ""),
      post("X y: z\r\n", ""),
      post(": z\r\n", ""),
      post("X\r\n", ""),
      post("Transfer-Encoding: chunked, chunked\r\n", end),
      post("Transfer-Encoding: gzip, chunked\r\n", end),
      post("Transfer-Encoding: identity\r\n", ""),
      post("Transfer-Encoding: xchunked\r\n", end),
      post("Transfer-Encoding: \"chunked\"\r\n", end),
      post("Transfer-Encoding: identity\r\n" + chunked, end),
      post(chunked + chunked, end),
      post("Transfer-Encoding:\r\n", end),
      "POST / HTTP/1.0\r\n" + chunked + "\r\n" + end,
      post(chunked, "5\nhello\r\n0\r\n\r\n"),
      post(chunked, "5\r\nhello0\r\n\r\n"),
      post(chunked, "5\r\nhello\n0\r\n\r\n"),
      post(chunked, "-1\r\n\r\n"),
      post(chunked, "0x5\r\nhello\r\n0\r\n\r\n"),
      post(chunked, " 5\r\nhello\r\n0\r\n\r\n"),
      post(chunked, "\r\n5\r\nhello\r\n0\r\n\r\n"),
      post(chunked, "5;a\nb\r\nhello\r\n0\r\n\r\n"),
      post(chunked, "0\r\n folded: x\r\n\r\n"),
      post(chunked, "5 7\r\nhello\r\n0\r\n\r\n"),
      post(chunked, "5 x=\"\r\nhello\r\n0\r\n\r\n"),
      post(chunked, "5 \t\r\nhello\r\n0\r\n\r\n"),
      post(chunked, "0\r\nX : y\r\n\r\n"),
      post(chunked, "0\r\nX: y\n\r\n"),
      post(chunked, "0\r\n\r\r\n"),
      "GET / HTTP/1.1\nHost: x\n\n",
      "GET  / HTTP/1.1\r\n" + host + "\r\n",
      "GET /  HTTP/1.1\r\n" + host + "\r\n",
      "GET / HTTP/1.1 \r\n" + host + "\r\n",
      "GET / http/1.1\r\n" + host + "\r\n",
      "GET / HTTP/1.10\r\n" + host + "\r\n",
      "GET / HTTP/2.0\r\n" + host + "\r\n",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "GET /\r\n",
      "G(T / HTTP/1.1\r\n" + host + "\r\n",
      " GET / HTTP/1.1\r\n" + host + "\r\n",
      "\nGET / HTTP/1.1\r\n" + host + "\r\n",
      "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"server.ping\"}\n",
  };
  for (const auto& row : rows) EXPECT_EQ(read_all(row), "INVALID_REQUEST 400") << row;
}

TEST(a_request, says_what_may_be_said_once_only_once) {
  for (const auto* name : {"Host", "Origin", "Authorization", "Content-Type", "Last-Event-ID"}) {
    const std::string field = std::string(name) + ": x\r\n";
    const auto fields = (field[0] == 'H' ? "" : host) + field;
    EXPECT_THAT(read_all(get(fields)), testing::StartsWith("GET /? stays")) << name;
    EXPECT_EQ(read_all(get(fields + field)), "INVALID_REQUEST 400") << name;
  }
  for (const auto* each : {"Host: a b\r\n", "Host: user@x\r\n", "Host: x/y\r\n", ""})
    EXPECT_EQ(read_all(get(each)), "INVALID_REQUEST 400") << each;
  for (const auto* each : {"", "x", "x:7480", "[::1]:7480", "a-b.example"})
    EXPECT_EQ(read_all(get("Host: " + std::string(each) + "\r\n")),
              "GET /? stays host=" + std::string(each) + " Host=" + each + " []\n");
  EXPECT_EQ(read_all("HEAD / HTTP/1.1\r\n\r\n"), "INVALID_REQUEST 400 head");
}

TEST(a_request, that_is_too_large_is_refused_before_it_is_read) {
  const http_message_limits small{100, 10};
  const auto x = [](std::size_t size) { return std::string(size, 'x'); };
  const std::string head = "GET / HTTP/1.1\r\nHost: x\r\nX: ";
  EXPECT_THAT(read_all(head + x(100 - head.size() - 4) + "\r\n\r\n", small),
              testing::StartsWith("GET"));
  EXPECT_EQ(read_all(head + x(101 - head.size() - 4) + "\r\n\r\n", small), "VALUE_TOO_LARGE 413");
  EXPECT_EQ(read_all(x(101), small), "VALUE_TOO_LARGE 413");
  EXPECT_EQ(read_all(x(100), small), "unfinished");
  EXPECT_EQ(read_all(post("Content-Length: 11\r\n", ""), small), "VALUE_TOO_LARGE 413");
  EXPECT_EQ(read_all(post("Content-Length: 99999999999999999999999\r\n", "")),
            "VALUE_TOO_LARGE 413");
  EXPECT_THAT(read_all(post("Content-Length: 10\r\n", x(10)), small), testing::StartsWith("POST"));
  const std::string chunked = "Transfer-Encoding: chunked\r\n";
  EXPECT_THAT(read_all(post(chunked, "A\r\n" + x(10) + "\r\n0\r\n\r\n"), small),
              testing::StartsWith("POST"));
  for (const auto& body :
       {std::string("B\r\n"), "A\r\n" + x(10) + "\r\n1\r\n", std::string("FFFFFFFFFFFFFFFFF1\r\n"),
        "1;" + x(200) + "\r\n", "0\r\nX: " + x(200) + "\r\n\r\n"})
    EXPECT_EQ(read_all(post(chunked, body), small), "VALUE_TOO_LARGE 413") << body;
  std::string fields = host;
  for (int i = 1; i < 100; ++i) fields += "a:b\r\n";
  EXPECT_THAT(read_all(get(fields)), testing::StartsWith("GET"));
  EXPECT_EQ(read_all(get(fields + "a:b\r\n")), "VALUE_TOO_LARGE 413");
}

TEST(a_client_that_expects_100_continue, is_told_once_where_its_body_is_missing) {
  header_field_space space;
  http_request_reader reader;
  const auto head = post("Expect: 100-Continue\r\nContent-Length: 2\r\n", "");
  EXPECT_EQ(reader.read(head, space), status::need_more);
  EXPECT_TRUE(reader.take_continue());
  EXPECT_FALSE(reader.take_continue());
  EXPECT_EQ(reader.read(head + "ab", space), status::complete);
  reader.reset();
  EXPECT_EQ(reader.read(get(host + "Expect: 100-continue\r\n"), space), status::complete);
  reader.reset();
  const std::string old = "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
  EXPECT_EQ(reader.read(old, space), status::need_more);
  EXPECT_FALSE(reader.take_continue()) << "a client of 1.0 knows no such answer";
}

/// What Debian's http_parser makes of one request; absent: it refuses it. It is built without its
/// strict mode, and takes folded lines, spaces in names and two transfer codings.
std::optional<std::string> by_http_parser(std::string_view text) {
  struct seen {
    std::string url, body;
    bool complete = false;
  } found;
  http_parser parser;
  http_parser_init(&parser, HTTP_REQUEST);
  parser.data = &found;
  http_parser_settings settings;
  http_parser_settings_init(&settings);
  settings.on_url = [](http_parser* p, const char* at, std::size_t size) {
    static_cast<seen*>(p->data)->url.append(at, size);
    return 0;
  };
  settings.on_body = [](http_parser* p, const char* at, std::size_t size) {
    static_cast<seen*>(p->data)->body.append(at, size);
    return 0;
  };
  settings.on_message_complete = [](http_parser* p) {
    static_cast<seen*>(p->data)->complete = true;
    http_parser_pause(p, 1);
    return 0;
  };
  http_parser_execute(&parser, &settings, text.data(), text.size());
  // It takes Transfer-Encodingx for a transfer coding.
  if (HTTP_PARSER_ERRNO(&parser) == HPE_INVALID_TRANSFER_ENCODING) return " ?";
  if (!found.complete) return std::nullopt;
  return found.url + " " + found.body;
}

TEST(a_request, that_is_taken_is_taken_by_a_laxer_parser_in_the_same_way) {
  const auto seed = std::random_device{}();
  std::mt19937 random(seed);
  const std::string seeds[] = {
      get(host), post("Content-Length: 5\r\n", "hello"),
      post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n2;x=y\r\nab\r\n0\r\nT: z\r\n\r\n"),
      get(host + "Accept: */*\r\nConnection: close\r\n")};
  const std::string bytes = "\r\n :;,0159afAF\x7F/?#@[]GETPOSTHdchunked-";
  int taken = 0;
  for (int round = 0; round < 30'000; ++round) {
    auto text = seeds[random() % std::size(seeds)];
    for (auto changes = random() % 4; changes > 0; --changes) {
      const auto at = random() % text.size();
      const char byte = bytes[random() % bytes.size()];
      if (random() % 2 == 0)
        text[at] = byte;
      else
        text.insert(at, 1, byte);
    }
    header_field_space space;
    http_request_reader reader;
    if (reader.read(text, space) != status::complete) continue;
    const auto& request = reader.request();
    if (request.method != "GET" && request.method != "POST") continue;  // it knows only some
    if (request.path != "/" || !text.starts_with(request.method)) continue;
    const auto theirs = by_http_parser(std::string_view(text).substr(0, reader.size()));
    ASSERT_TRUE(theirs) << "seed " << seed << "\n" << text;
    if (theirs == " ?") continue;
    EXPECT_TRUE(theirs->ends_with(" " + std::string(request.body))) << "seed " << seed << "\n"
                                                                    << text;
    ++taken;
  }
  EXPECT_GT(taken, 1'000);
}

}  // namespace
}  // namespace portcullis::net

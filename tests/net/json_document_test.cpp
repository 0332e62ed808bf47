// Unescaping, ambiguity and minifying over the scanned bytes.
#include "net/json/document.hpp"

#include <gmock/gmock.h>

#include <string>

namespace portcullis::net::json {
namespace {

struct scanned {
  explicit scanned(std::string text) : bytes(std::move(text)), doc(bytes, scan(), memory) {}
  std::span<token> scan() {
    EXPECT_EQ(source.resume(bytes, true), scan_status::complete) << bytes;
    return source.tape();
  }
  std::string bytes;
  scratch memory;
  scanner source{{1 << 20, 64}};
  document doc;
};

TEST(json_document, unescapes_in_place_once) {
  const auto text = [](std::string json) {
    scanned value(std::move(json));
    const std::string first(value.doc.text(0));
    EXPECT_EQ(value.doc.text(0), first);
    return first;
  };
  EXPECT_EQ(text(R"("plain")"), "plain");
  EXPECT_EQ(text(R"("\"\\\/\b\f\n\r\t")"), "\"\\/\b\f\n\r\t");
  EXPECT_EQ(text(R"("\u0041\u00e9\u20ac\ud83d\ude00.")"), "A\u00e9\u20ac\U0001F600.");
  EXPECT_EQ(text(R"("a\\nb")"), "a\\nb");
  EXPECT_EQ(text(R"("\u0000")"), std::string(1, '\0'));
  EXPECT_EQ(text(R"("\uDBFF\uDFFFx")"), "\U0010FFFFx");
}

TEST(json_document, knows_duplicate_keys_by_their_text_not_their_spelling) {
  const auto ambiguity = [](std::string json) {
    scanned value(std::move(json));
    const std::string before = value.bytes;
    const auto found = value.doc.ambiguity(0);
    EXPECT_EQ(value.bytes, before);
    return found;
  };
  EXPECT_EQ(ambiguity(R"({"a":1,"b":2})"), "");
  EXPECT_EQ(ambiguity(R"({"a":1,"b":2,"a":3})"), "duplicate_key");
  EXPECT_EQ(ambiguity(R"({"a":1,"\u0061":2})"), "duplicate_key");
  EXPECT_EQ(ambiguity(R"({"\u0061":1,"\u0061\u0062":2,"\u0062":3,"ab":4})"), "duplicate_key");
  EXPECT_EQ(ambiguity(R"({"\u0061":1,"\u0062":2,"\u0061\u0062":3})"), "");
  EXPECT_EQ(ambiguity(R"({"a":{"a":{"a":1}}})"), "");
  EXPECT_EQ(ambiguity(R"([{"a":1},{"a":[{"x":1,"y":2,"x":3}]}])"), "duplicate_key");
  EXPECT_EQ(ambiguity(R"({"":1,"":2})"), "duplicate_key");
  EXPECT_EQ(ambiguity(R"({"a":["\ud800"]})"), "lone_surrogate");
  EXPECT_EQ(ambiguity(R"({"\udc00":1})"), "lone_surrogate");
}

TEST(json_document, finds_the_one_duplicate_among_many_keys) {
  for (const int count : {15, 16, 17, 5000}) {
    std::string object = "{";
    for (int i = 0; i < count - 1; ++i) {
      object += '"';
      object += std::to_string(i);
      object += "\":0,";
    }
    scanned distinct(object + "\"last\":0}");
    EXPECT_FALSE(distinct.doc.has_duplicate_keys(0)) << count;
    scanned twice(object + "\"\\u0033\":0}");
    EXPECT_TRUE(twice.doc.has_duplicate_keys(0)) << count;
  }
}

TEST(json_document, minifies_only_between_tokens) {
  scanned value(
      "{ \"a b\" : [ 1 , \"x  \\n y\" ,\t{ } ] ,\r\n\"c\":\"\\u0020\", \"\" : -0.50E+1 }");
  EXPECT_EQ(value.doc.minify(0), R"({"a b":[1,"x  \n y",{}],"c":"\u0020","":-0.50E+1})");
  for (const std::string scalar : {"\"a b\"", "1.0", "true"}) {
    scanned alone(scalar);
    EXPECT_EQ(alone.doc.minify(0), scalar);
  }
  scanned inner(R"({"k":[ 1, 2 ],"z":3})");
  EXPECT_EQ(inner.doc.minify(2), "[1,2]");
  EXPECT_EQ(inner.doc.text(5), "z") << "what follows stays where it was";
}

}  // namespace
}  // namespace portcullis::net::json

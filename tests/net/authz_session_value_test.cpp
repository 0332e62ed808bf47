// The session id of a request: plain, or in a cookie that express-session signed.
#include "net/authz/session_value.hpp"

#include <gmock/gmock.h>

#include <string>

namespace portcullis::net {
namespace {

using core::error_code;

const std::string id = "da931fe14128c4f6662e646bee57184e1e6750c26607a123c265306cc97022e7";
const std::string other_id = "00" + id.substr(2);

// What the npm packages really make. With cookie-signature 1.0.7 and cookie 0.7.2:
//   cookie.serialize('connect.sid', 's:' + signature.sign(id, secret))
// and the second was also set by express-session 1.19.0 itself, with
//   session({secret: ['new secret', 'keyboard cat'], saveUninitialized: true, genid: () => id}).
const std::string by_keyboard_cat =
    "s%3Ada931fe14128c4f6662e646bee57184e1e6750c26607a123c265306cc97022e7."
    "mfrQFT43PWX6dvrMYAHqn7qFBppUExYBtkuzSiIBYcQ";
const std::string by_new_secret =
    "s%3Ada931fe14128c4f6662e646bee57184e1e6750c26607a123c265306cc97022e7."
    "Y%2BM3uyMID7tmNKK%2FMa9dOvE6q8pLCN%2Bkjanvm06Q%2BWc";
const std::string by_schluessel =  // 'schlüssel', in UTF-8
    "s%3Ada931fe14128c4f6662e646bee57184e1e6750c26607a123c265306cc97022e7."
    "xZPa3L34Ijaga1WEJbpj%2FiW802%2B3Wws8JbQsyMooKeU";
const std::string by_a_hundred_k =  // longer than a block of SHA-256
    "s%3Ada931fe14128c4f6662e646bee57184e1e6750c26607a123c265306cc97022e7."
    "Z79q3QSb3XiwsMVILIGZRkPX7ZkufTPcMq430%2F5LPYQ";

std::string read(const std::vector<std::string>& secrets, std::string_view value) {
  const auto found = session_value_reader(secrets).read(value);
  if (found) return {found->data(), found->size()};
  EXPECT_EQ(found.error().code, error_code::SESSION_NOT_FOUND);
  EXPECT_EQ(found.error().field, "session_id");
  return "refused: " + std::string(found.error().rule);
}

TEST(a_session_value, that_is_plain_is_64_lower_case_hex_digits) {
  EXPECT_EQ(read({}, id), id);
  for (const std::string& bad :
       {id.substr(1), id + "0", id.substr(1) + "g", "DA" + id.substr(2), " " + id.substr(1),
        std::string(), std::string("%"), id.substr(1) + "%", id.substr(0, 62) + "%6",
        id.substr(0, 63) + "%6x", id.substr(0, 63) + "%zz", std::string(400, 'a'),
        std::string(64, '\0')})
    EXPECT_EQ(read({}, bad), "refused: 64_lower_case_hex_digits") << bad;
}

TEST(a_session_value, is_percent_decoded_as_the_npm_package_cookie_does) {
  std::string encoded;
  for (const char c : id) encoded += "%" + core::to_hex(core::as_bytes({&c, 1}));
  EXPECT_EQ(read({}, encoded), id);
  EXPECT_EQ(read({}, "%64" + id.substr(1)), id);
  EXPECT_EQ(read({}, "%2564" + id.substr(1)), "refused: 64_lower_case_hex_digits") << "once only";
}

TEST(a_session_value, of_express_session_is_read_with_its_secret) {
  EXPECT_EQ(read({"keyboard cat"}, by_keyboard_cat), id);
  EXPECT_EQ(read({"new secret"}, by_new_secret), id);
  EXPECT_EQ(read({"schlüssel"}, by_schluessel), id);
  EXPECT_EQ(read({std::string(100, 'k')}, by_a_hundred_k), id);
  // Not encoded, or encoded otherwise, it is the same.
  EXPECT_EQ(read({"new secret"}, "s:" + id + ".Y+M3uyMID7tmNKK/Ma9dOvE6q8pLCN+kjanvm06Q+Wc"), id);
  EXPECT_EQ(read({"new secret"}, "s%3a" + by_new_secret.substr(4)), id);
  EXPECT_EQ(
      read({"new secret"}, "%73:" + id + "%2EY%2bM3uyMID7tmNKK%2fMa9dOvE6q8pLCN+kjanvm06Q+Wc"), id);
}

TEST(a_session_value, is_read_with_any_of_the_secrets_while_they_are_rotated) {
  const std::vector<std::string> both = {"new secret", "keyboard cat"};
  EXPECT_EQ(read(both, by_new_secret), id);
  EXPECT_EQ(read(both, by_keyboard_cat), id);
  EXPECT_EQ(read(both, by_schluessel), "refused: signed");
  EXPECT_EQ(read({"new secret"}, by_keyboard_cat), "refused: signed");
}

TEST(a_session_value, with_a_forged_signature_is_refused) {
  const std::vector<std::string> secrets = {"keyboard cat"};
  const std::string mark = "s:";
  const std::string signature = by_keyboard_cat.substr(by_keyboard_cat.find('.') + 1);
  ASSERT_EQ(read(secrets, mark + id + "." + signature), id);
  // Every character of id and signature counts.
  const std::string good = id + "." + signature;
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string forged = good;
    forged[i] = good[i] == '1' ? '2' : '1';
    EXPECT_THAT(read(secrets, mark + forged), testing::StartsWith("refused")) << i;
  }
  // The last character has two bits that decode to nothing: a lenient decoder would not see them.
  EXPECT_EQ(signature.back(), 'Q');
  EXPECT_EQ(read(secrets, mark + id + "." + signature.substr(0, 42) + "R"), "refused: signed");
  EXPECT_EQ(read(secrets, mark + id + "." + signature + "="), "refused: signed");
  EXPECT_EQ(read(secrets, mark + id + "." + signature.substr(0, 42)), "refused: signed");
  EXPECT_EQ(read(secrets, mark + id + "."), "refused: signed");
  EXPECT_EQ(read(secrets, mark + id), "refused: signed");
  EXPECT_EQ(read(secrets, mark + other_id + "." + signature), "refused: signed");
  EXPECT_EQ(read(secrets, mark + "." + signature), "refused: 64_lower_case_hex_digits");
  EXPECT_EQ(read(secrets, "s%3A"), "refused: signed");
  // base64url is not what express-session writes.
  std::string url = by_new_secret;
  url = "s:" + id + ".Y-M3uyMID7tmNKK_Ma9dOvE6q8pLCN-kjanvm06Q-Wc";
  EXPECT_EQ(read({"new secret"}, url), "refused: signed");
}

TEST(a_session_value, is_signed_where_there_are_secrets_and_only_there) {
  EXPECT_EQ(read({"keyboard cat"}, id), "refused: signed");
  EXPECT_EQ(read({}, by_keyboard_cat), "refused: unsigned");
  EXPECT_EQ(read({}, "s:" + id), "refused: unsigned");
}

/// What a request with these Cookie fields has as the cookie `sid`.
std::string cookie(const std::vector<std::string_view>& fields) {
  session_value value;
  for (const auto each : fields) value.take_cookies(each, "sid");
  if (value.ambiguous()) return "ambiguous";
  return std::string(value.text());
}

TEST(a_cookie, is_found_by_its_name_among_others) {
  EXPECT_EQ(cookie({"sid=x"}), "x");
  EXPECT_EQ(cookie({"a=1; sid=x; b=2"}), "x");
  EXPECT_EQ(cookie({"a=1;sid=x;b=2"}), "x");
  EXPECT_EQ(cookie({"a=1;  sid = x ; b=2"}), "x");
  EXPECT_EQ(cookie({"a=1;\tsid=x\t"}), "x");
  EXPECT_EQ(cookie({"sid=x=y"}), "x=y");
  EXPECT_EQ(cookie({"sid=\"x\""}), "x");
  EXPECT_EQ(cookie({";;sid=x;;"}), "x");
  // HTTP/2 may send one field a cookie, and what makes HTTP/1.1 of it may leave it so.
  EXPECT_EQ(cookie({"a=1", "sid=x", "b=2"}), "x");
}

TEST(a_cookie, of_another_name_is_none) {
  for (const auto* text : {"", ";", "=", "sid", "SID=x", "Sid=x", "sid2=x", "xsid=x", "a=sid=x",
                           "$sid=x", "sid=", "sid=;", "=sid=x", "a=1, sid=x"})
    EXPECT_EQ(cookie({text}), "") << text;
}

TEST(a_cookie, that_comes_twice_is_taken_only_with_one_value) {
  EXPECT_EQ(cookie({"sid=x; sid=x"}), "x");
  EXPECT_EQ(cookie({"sid=x", "sid=x"}), "x");
  EXPECT_EQ(cookie({"sid=; sid=x"}), "x") << "one that was cleared is none";
  EXPECT_EQ(cookie({"sid=x; sid=y"}), "ambiguous");
  EXPECT_EQ(cookie({"sid=x", "sid=y"}), "ambiguous");
  EXPECT_EQ(cookie({"sid=x; sid=y; sid=x"}), "ambiguous");
}

}  // namespace
}  // namespace portcullis::net

// Forward-auth against the real binary: which cookies it believes, and that a reload changes it.
#include <openssl/evp.h>
#include <sys/stat.h>

#include "core/bytes.hpp"
#include "core/crypto/hmac.hpp"
#include "http_client.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;

/// The cookie of express-session: s:, the id, its signature in base64 without padding.
std::string signed_cookie(const std::string& id, const std::string& secret) {
  const auto mac = core::hmac_key(core::as_bytes(secret))(id);
  std::array<unsigned char, 48> text{};
  EVP_EncodeBlock(text.data(), mac.data(), static_cast<int>(mac.size()));
  const std::string signature(reinterpret_cast<const char*>(text.data()), 43);
  return "Cookie: connect.sid=s%3A" + id + "." + signature + "\r\n";
}

struct authz {
  explicit authz(const std::string& secrets) : file(folder.write("secrets", secrets)) {
    chmod(file.c_str(), 0600);
    auto client = node().connect();
    id = create(client, "ada", {{"context", {{"ip", "127.0.0.1"}}}})["session_id"];
  }
  [[nodiscard]] std::string toml(const std::string& more = "") const {
    return "[authz]\ncookie = \"connect.sid\"\ncookie_secrets_file = \"" + file + "\"\n" + more;
  }
  server& node() {
    if (!running) running.emplace(server_options{.config = toml()});
    return *running;
  }
  int status(const std::string& fields, const std::string& path = "/authz/forward-auth") {
    return http_ask(node().http_port, "GET " + path, "Host: app.test\r\n" + fields).status;
  }
  json reload() {
    auto client = node().connect();
    return client.call("admin.reload");
  }
  temp_folder folder;
  std::string file;
  std::optional<server> running;
  std::string id;
};

TEST(http_authz, believes_cookies_signed_with_one_of_its_secrets) {
  authz w("new secret of 25 bytes or so\nold secret of 25 bytes or so\n");
  EXPECT_EQ(w.status(signed_cookie(w.id, "new secret of 25 bytes or so")), 200);
  EXPECT_EQ(w.status(signed_cookie(w.id, "old secret of 25 bytes or so")), 200);
  EXPECT_EQ(w.status(signed_cookie(w.id, "another secret of that length")), 401);
  EXPECT_EQ(w.status("Cookie: connect.sid=" + w.id + "\r\n"), 401) << "unsigned";
  EXPECT_EQ(w.status(signed_cookie(w.id, "new secret of 25 bytes or so") +
                     "Origin: https://app.test\r\n"),
            200);
  const auto answer =
      http_ask(w.node().http_port, "HEAD /authz/ext-authz/page?x=1",
               "Host: app.test\r\n" + signed_cookie(w.id, "new secret of 25 bytes or so"));
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.head, HasSubstr("X-Portcullis-User: ada\r\n"));
}

TEST(http_authz, takes_new_secrets_and_names_at_a_reload_and_keeps_the_old_of_a_bad_one) {
  authz w("the first of the secrets\r\n");
  w.folder.write("secrets", "the second of the secrets\n");
  EXPECT_FALSE(w.reload().contains("error"));
  EXPECT_EQ(w.status(signed_cookie(w.id, "the first of the secrets")), 401);
  EXPECT_EQ(w.status(signed_cookie(w.id, "the second of the secrets")), 200);
  w.folder.write("secrets", "\n");
  EXPECT_EQ(error_of(w.reload()), "CONFIG_INVALID");
  EXPECT_TRUE(w.node().logged("has no secret"));
  EXPECT_EQ(w.status(signed_cookie(w.id, "the second of the secrets")), 200);
  w.node().configure("[authz]\nheader = \"X-Session\"\ntrusted_proxies = [\"127.0.0.1\"]\n");
  EXPECT_FALSE(w.reload().contains("error"));
  EXPECT_EQ(w.status(signed_cookie(w.id, "the second of the secrets")), 401);
  EXPECT_EQ(w.status("X-Session: " + w.id + "\r\n"), 200);
  EXPECT_EQ(w.status("X-Session: " + w.id + "\r\nX-Forwarded-For: 192.0.2.9\r\n"), 401);
}

TEST(http_authz, tells_of_a_proxy_that_it_does_not_trust) {
  authz w("a secret of some length\n");
  const auto cookie = signed_cookie(w.id, "a secret of some length");
  EXPECT_EQ(w.status(cookie), 200);
  EXPECT_EQ(w.node().log().find("X-Forwarded-For"), std::string::npos);
  EXPECT_EQ(w.status(cookie + "X-Forwarded-For: 192.0.2.9\r\n"), 200) << "not believed";
  EXPECT_TRUE(w.node().logged("X-Forwarded-For is not read"));
}

TEST(http_authz, does_not_start_with_what_is_no_secret) {
  for (const std::string line :
       {"too short", "# a comment of some length", "                    "}) {
    temp_folder folder;
    const auto file = folder.write("secrets", "a secret of some length\n" + line + "\n");
    chmod(file.c_str(), 0600);
    server node({.config = "[authz]\ncookie_secrets_file = \"" + file + "\"\n", .start = false});
    EXPECT_FALSE(node.start()) << line;
    EXPECT_THAT(node.log(), HasSubstr("secret 2 is no secret"));
  }
}

TEST(http_authz, does_not_start_without_its_secrets) {
  temp_folder folder;
  server node({.config = "[authz]\ncookie_secrets_file = \"" + folder.file("none") + "\"\n",
               .start = false});
  EXPECT_FALSE(node.start());
  EXPECT_THAT(node.log(), HasSubstr(folder.file("none")));
}

}  // namespace
}  // namespace portcullis::e2e

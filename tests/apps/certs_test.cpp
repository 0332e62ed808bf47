// `portcullis certs dev`, judged by the openssl tool.
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "apps/certs/authority.hpp"
#include "apps/certs/dev_folder.hpp"
#include "shell.hpp"

namespace portcullis::apps {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::string text_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

constexpr std::int64_t now_s = 1'800'000'000;  // 2027-01-15
constexpr std::int64_t day_s = 86'400;

class certs : public testing::Test {
 protected:
  certs()
      : folder_((std::filesystem::temp_directory_path() /
                 ("portcullis_certs_" + std::to_string(getpid())))
                    .string()) {
    std::filesystem::remove_all(folder_);
  }
  ~certs() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string file(const std::string& name) const { return folder_ + "/" + name; }
  ran dev(const std::string& more = "") const {
    return shell(std::string(PORTCULLIS_BINARY) + " certs dev --out " + folder_ + " " + more);
  }
  /// What `openssl verify` says; strict, and with the list where it is for a client.
  ran verify(const std::string& name, const std::string& purpose, const std::string& more = "") {
    return shell("openssl verify -x509_strict -CAfile " + file("ca.pem") + " -CRLfile " +
                 file("crl.pem") + " -crl_check -purpose " + purpose + " " + more + " " +
                 file(name + ".pem"));
  }
  std::string shown(const std::string& name) {
    return shell("openssl x509 -noout -text -in " + file(name + ".pem")).out;
  }
  std::set<std::string> files() const {
    std::set<std::string> names;
    if (std::filesystem::exists(folder_))
      for (const auto& each : std::filesystem::directory_iterator(folder_))
        names.insert(each.path().filename().string());
    return names;
  }
  std::string folder_;
};

TEST_F(certs, a_new_folder_has_what_a_server_and_its_administrator_need) {
  const auto made = dev();
  ASSERT_EQ(made.status, 0) << made.out;
  EXPECT_THAT(files(), ElementsAre("admin-key.pem", "admin.pem", "ca-key.pem", "ca.pem", "crl.pem",
                                   "server-key.pem", "server.pem"));
  for (const auto* key : {"admin-key.pem", "ca-key.pem", "server-key.pem"}) {
    struct stat info {};
    ASSERT_EQ(stat(file(key).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0600U) << key;
    EXPECT_THAT(shell("openssl pkey -noout -text -in " + file(key)).out, HasSubstr("prime256v1"));
  }
  EXPECT_EQ(verify("server", "sslserver").status, 0) << verify("server", "sslserver").out;
  EXPECT_EQ(verify("admin", "sslclient").status, 0) << verify("admin", "sslclient").out;
  for (const auto* host : {"-verify_hostname localhost", "-verify_ip 127.0.0.1", "-verify_ip ::1"})
    EXPECT_EQ(verify("server", "sslserver", host).status, 0) << host;
}

TEST_F(certs, neither_leaf_serves_for_the_others_purpose_or_for_signing) {
  ASSERT_EQ(dev().status, 0);
  EXPECT_NE(verify("server", "sslclient").status, 0);
  EXPECT_NE(verify("admin", "sslserver").status, 0);
  for (const auto* name : {"server", "admin"}) {
    const auto text = shown(name);
    EXPECT_THAT(text, HasSubstr("X509v3 Basic Constraints: critical\n                CA:FALSE"));
    EXPECT_THAT(text, HasSubstr("X509v3 Key Usage: critical\n                Digital Signature\n"));
    EXPECT_THAT(text, HasSubstr("Signature Algorithm: ecdsa-with-SHA256"));
  }
  EXPECT_THAT(shown("ca"), HasSubstr("CA:TRUE, pathlen:0"));
  EXPECT_THAT(shown("ca"), HasSubstr("critical\n                Certificate Sign, CRL Sign\n"));
  EXPECT_THAT(shown("admin"), HasSubstr("CN = admin"));
  EXPECT_THAT(shown("admin"), HasSubstr("URI:spiffe://portcullis.dev/admin"));
}

TEST_F(certs, a_server_is_also_for_the_hosts_named_and_for_no_other) {
  ASSERT_EQ(dev("--host web.example --host 10.1.2.3 --host 2001:db8::7 --host '*.lab.example' "
                "--host localhost")
                .status,
            0);
  for (const auto* host : {"-verify_hostname web.example", "-verify_ip 10.1.2.3",
                           "-verify_ip 2001:db8::7", "-verify_hostname a.lab.example"})
    EXPECT_EQ(verify("server", "sslserver", host).status, 0) << host;
  for (const auto* host : {"-verify_hostname example", "-verify_hostname 10.1.2.3",
                           "-verify_ip 10.1.2.4", "-verify_hostname a.b.lab.example"})
    EXPECT_NE(verify("server", "sslserver", host).status, 0) << host;
}

TEST_F(certs, what_is_no_host_or_client_is_a_usage_error_and_makes_nothing) {
  for (const auto* bad : {"host:1", "[::1]", "1.2.3", "-a", "a..b", "a.", "h\xc3\xb6st", "*", "a.*",
                          "a,DNS:b", "a b", ""})
    EXPECT_EQ(dev("--host '" + std::string(bad) + "'").status, 64) << bad;
  EXPECT_NE(why_no_host(std::string(64, 'a')), "");
  for (const auto* bad : {"ca", "server", "crl", "a-key", "../a", ".a", "-a", "a b", ""})
    EXPECT_EQ(dev("--client '" + std::string(bad) + "'").status, 64) << bad;
  EXPECT_EQ(dev("--days 0").status, 64);
  EXPECT_EQ(dev("--days 3651").status, 64);
  EXPECT_THAT(files(), testing::IsEmpty());
}

TEST_F(certs, a_client_is_added_later_by_the_same_authority) {
  ASSERT_EQ(dev().status, 0);
  const auto before = text_of(file("ca.pem")) + text_of(file("server.pem"));
  const auto added = dev("--client web --client web");
  EXPECT_EQ(added.status, 0) << added.out;
  EXPECT_THAT(added.out, HasSubstr("san = \"URI:spiffe://portcullis.dev/web\""));
  EXPECT_THAT(added.out, Not(HasSubstr("certificate_file")));
  EXPECT_EQ(verify("web", "sslclient").status, 0);
  EXPECT_EQ(text_of(file("ca.pem")) + text_of(file("server.pem")), before);
  std::filesystem::remove(file("server.pem"));
  std::filesystem::remove(file("server-key.pem"));
  EXPECT_EQ(dev("--host web.example").status, 0);
  EXPECT_EQ(verify("server", "sslserver", "-verify_hostname web.example").status, 0);
  EXPECT_THAT(files(), testing::SizeIs(9));
}

TEST_F(certs, nothing_that_is_there_is_overwritten) {
  ASSERT_EQ(dev("--client web").status, 0);
  std::set<std::string> before;
  for (const auto& name : files()) before.insert(text_of(file(name)));
  auto again = dev("--client other --client web");
  EXPECT_EQ(again.status, 1);
  EXPECT_THAT(again.out, HasSubstr(file("web.pem") + " is there"));
  again = dev("--host web.example");
  EXPECT_EQ(again.status, 1);
  EXPECT_THAT(again.out, HasSubstr(file("server.pem") + " is there"));
  std::set<std::string> after;
  for (const auto& name : files()) after.insert(text_of(file(name)));
  EXPECT_EQ(before, after);
  EXPECT_THAT(files(), testing::SizeIs(7));
  EXPECT_EQ(dev().status, 0) << "admin is what is missing";
  again = dev();
  EXPECT_EQ(again.status, 0);
  EXPECT_THAT(again.out, HasSubstr("nothing was made"));
}

TEST_F(certs, a_folder_that_is_not_whole_is_refused_by_the_file_in_question) {
  ASSERT_EQ(dev().status, 0);
  const auto key = text_of(file("ca-key.pem"));
  std::filesystem::remove(file("ca-key.pem"));
  EXPECT_THAT(dev("--client web").out, HasSubstr(file("ca-key.pem") + " is not"));
  std::ofstream(file("ca-key.pem")) << text_of(file("admin-key.pem"));
  auto refused = dev("--client web");
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.out, HasSubstr("its key belongs to another certificate"));
  std::filesystem::remove(file("ca-key.pem"));
  std::filesystem::remove(file("ca.pem"));
  refused = dev();
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.out, HasSubstr("its authority is not"));
  EXPECT_THAT(files(), testing::SizeIs(5));
  std::ofstream(file("ca.pem")) << text_of(file("admin.pem"));
  std::ofstream(file("ca-key.pem")) << text_of(file("admin-key.pem"));
  EXPECT_THAT(dev("--client web").out, HasSubstr("no authority's certificate"));
}

TEST_F(certs, what_was_made_before_a_failure_is_removed_again) {
  // A key is shorter than the limit, a certificate longer.
  const auto limited = "trap '' XFSZ; prlimit --fsize=512 " + std::string(PORTCULLIS_BINARY) +
                       " certs dev --out " + folder_;
  const auto failed = shell("(" + limited + ")");
  EXPECT_EQ(failed.status, 1);
  EXPECT_THAT(failed.out, HasSubstr(file("ca.pem") + ": File too large"));
  EXPECT_THAT(files(), testing::IsEmpty());
  EXPECT_EQ(shell(std::string(PORTCULLIS_BINARY) + " certs dev --out /proc/nowhere").status, 1);
}

TEST_F(certs, a_revoked_client_is_on_the_list_and_the_others_are_not) {
  ASSERT_EQ(dev("--client web --client ops").status, 0);
  const auto list = [&] { return shell("openssl crl -noout -text -in " + file("crl.pem")).out; };
  EXPECT_THAT(list(), HasSubstr("No Revoked Certificates"));
  EXPECT_THAT(list(), HasSubstr("X509v3 CRL Number: \n                1\n"));
  ASSERT_EQ(dev("--revoke web").status, 0);
  EXPECT_THAT(verify("web", "sslclient").out, HasSubstr("certificate revoked"));
  EXPECT_EQ(verify("ops", "sslclient").status, 0);
  const auto signed_by =
      shell("openssl crl -noout -verify -CAfile " + file("ca.pem") + " -in " + file("crl.pem"));
  EXPECT_THAT(signed_by.out, HasSubstr("verify OK"));
  const auto once = text_of(file("crl.pem"));
  EXPECT_EQ(dev("--revoke web").status, 0);
  EXPECT_EQ(text_of(file("crl.pem")), once) << "once is enough";
  ASSERT_EQ(dev("--revoke ops").status, 0);
  EXPECT_THAT(verify("web", "sslclient").out, HasSubstr("certificate revoked"));
  EXPECT_THAT(verify("ops", "sslclient").out, HasSubstr("certificate revoked"));
  EXPECT_THAT(list(), HasSubstr("X509v3 CRL Number: \n                3\n"));
  EXPECT_EQ(dev("--revoke nobody").status, 1);
  EXPECT_EQ(dev("--revoke web --client new").status, 64);
}

TEST_F(certs, only_this_authoritys_certificates_and_lists_are_worked_on) {
  ASSERT_EQ(dev().status, 0);
  const auto other = dev_authority::make(now_s, 10);
  std::ofstream(file("foe.pem"))
      << other.issue_client("foe", client_uri("foe"), now_s, 1).certificate;
  auto refused = dev("--revoke foe");
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.out, HasSubstr("was not issued by this authority"));
  std::ofstream(file("crl.pem")) << other.empty_list(now_s);
  refused = dev("--revoke admin");
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.out, HasSubstr("was not signed by this authority"));
}

TEST(authority, nothing_is_valid_for_longer_than_asked_or_than_the_authority) {
  const auto authority = dev_authority::make(now_s, 100);
  const auto until = [&](int days, std::int64_t at_s) {
    return *valid_until(authority.issue_server({"localhost"}, at_s, days).certificate);
  };
  EXPECT_EQ(until(30, now_s), now_s + 30 * day_s - 301) << "from 300 s before, the last included";
  EXPECT_EQ(until(101, now_s), now_s + 100 * day_s - 301);
  EXPECT_EQ(until(30, now_s + 90 * day_s), now_s + 100 * day_s - 301);
  std::string why;
  EXPECT_TRUE(dev_authority::read(authority.texts(), now_s, why));
  EXPECT_FALSE(dev_authority::read(authority.texts(), now_s + 100 * day_s, why));
  EXPECT_EQ(why, "it is not valid any more");
  EXPECT_FALSE(dev_authority::read(authority.texts(), now_s - day_s, why));
  EXPECT_EQ(why, "it is not valid yet");
  EXPECT_FALSE(dev_authority::read({"nonsense", authority.texts().key}, now_s, why));
  EXPECT_FALSE(dev_authority::read({authority.texts().certificate, "nonsense"}, now_s, why));
}

TEST(authority, each_certificate_has_a_serial_and_a_key_of_its_own) {
  const auto authority = dev_authority::make(now_s, 100);
  std::set<std::string> keys, certificates;
  for (int i = 0; i < 20; ++i) {
    const auto pair = authority.issue_client("a", client_uri("a"), now_s, 1);
    keys.insert(pair.key);
    certificates.insert(pair.certificate);
  }
  EXPECT_EQ(keys.size(), 20U);
  EXPECT_EQ(certificates.size(), 20U);
}

}  // namespace
}  // namespace portcullis::apps

// A node with a TLS listener, and the certificates that `portcullis certs dev` makes for it.
#pragma once
#include "harness.hpp"

namespace portcullis::e2e {

/// A folder with an authority, a server and the clients admin and web.
class dev_certificates {
 public:
  dev_certificates() { make("--client admin --client web --client stranger --days 30"); }
  void make(const std::string& more) {
    const auto made = run(tested_binary() + " certs dev --out " + dir() + " " + more);
    EXPECT_EQ(made.status, 0) << made.out;
  }
  [[nodiscard]] std::string dir() const { return folder_.file("certs"); }
  [[nodiscard]] std::string file(const std::string& name) const { return dir() + "/" + name; }

 private:
  temp_folder folder_;
};

/// The TOML of the listener; `wanted` is tls.client_certificates.
inline std::string tls_toml(const dev_certificates& with, const std::string& wanted,
                            const std::string& more = "") {
  std::string text = "[listen.rpc_tls]\naddress = \"127.0.0.1:0\"\n[tls]\n";
  text += "certificate_file = \"" + with.file("server.pem") + "\"\n";
  text += "key_file = \"" + with.file("server-key.pem") + "\"\n";
  if (wanted != "none") {
    text += "client_ca_file = \"" + with.file("ca.pem") + "\"\n";
    text += "crl_file = \"" + with.file("crl.pem") + "\"\n";
    text += "client_certificates = \"" + wanted + "\"\n";
  }
  return text + more;
}

inline std::string certificate_toml(const std::string& name, const std::string& role,
                                    const std::string& more = "") {
  return "[[auth.certificate]]\nname = \"" + name + "\"\nrole = \"" + role +
         "\"\nsan = \"URI:spiffe://portcullis.dev/" + name + "\"\n" + more;
}

/// `portcullis call` over TLS, as the client `who` (empty: without a certificate).
inline ran call_as(const server& node, const dev_certificates& with, const std::string& who,
                   const std::string& what) {
  std::string command = tested_binary() +
                        " call --address tls://localhost:" + std::to_string(node.rpc_tls_port) +
                        " --ca " + with.file("ca.pem");
  if (!who.empty())
    command += " --cert " + with.file(who + ".pem") + " --key " + with.file(who + "-key.pem");
  return run(command + " " + what);
}

}  // namespace portcullis::e2e

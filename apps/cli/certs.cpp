// `portcullis certs dev`: certificates to try TLS with, and the lines to go on with.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <memory>

#include "apps/certs/authority.hpp"
#include "apps/certs/dev_folder.hpp"
#include "apps/commands.hpp"

namespace portcullis::apps {
namespace {

struct certs_options {
  dev_certificates_order order;
  std::string revoke;
};

int certs_failed(std::string_view why) {
  fmt::print(stderr, "portcullis: {}\n", why);
  return exit_failed;
}

std::string toml_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

/// A word for a shell, quoted where it has to be.
std::string shell_word(const std::string& text) {
  constexpr std::string_view plain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-+,:@%";
  if (text.find_first_not_of(plain) == std::string::npos) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

void print_made(const std::string& folder, const dev_certificate& made, std::string_view what) {
  fmt::print("{}, {}-key.pem: {}, until {:%Y-%m-%d}\n", certificate_file(folder, made.name),
             made.name, what, fmt::gmtime(static_cast<std::time_t>(made.until_s)));
}

/// What was made, and what to copy: into the server's configuration, into a shell.
void print_next(const std::string& folder, const dev_certificates& made) {
  if (made.authority) print_made(folder, *made.authority, "the authority");
  if (made.server)
    print_made(folder, *made.server, fmt::format("a server at {}", fmt::join(made.hosts, ", ")));
  for (const auto& each : made.clients)
    print_made(folder, each, fmt::format("the client {}", each.name));
  if (made.list) fmt::print("{}: revokes nobody\n", revocation_file(folder));
  std::error_code failed;
  auto whole = std::filesystem::absolute(folder, failed).lexically_normal().string();
  if (failed) whole = folder;
  fmt::print("\n# For the server's configuration:\n");
  if (made.server)
    fmt::print(
        "[listen.rpc_tls]\naddress = \"127.0.0.1:7421\"\n\n[tls]\ncertificate_file = {}\n"
        "key_file = {}\nclient_ca_file = {}\ncrl_file = {}\nclient_certificates = \"required\"\n\n",
        toml_text(certificate_file(whole, "server")), toml_text(key_file(whole, "server")),
        toml_text(certificate_file(whole, "ca")), toml_text(revocation_file(whole)));
  for (const auto& each : made.clients)
    fmt::print("[[auth.certificate]]\nname = \"{}\"\nrole = \"{}\"\nsan = \"URI:{}\"\n\n",
               each.name, each.name == "admin" ? "admin" : "app", client_uri(each.name));
  if (made.clients.empty()) return;
  const auto& name = made.clients.front().name;
  fmt::print(
      "# Then:\nportcullis call --tls --address localhost:7421 --ca {} --cert {} --key {} "
      "server.info\n",
      shell_word(certificate_file(whole, "ca")), shell_word(certificate_file(whole, name)),
      shell_word(key_file(whole, name)));
}

int run_certs(const certs_options& given) {
  const auto now_s = std::chrono::duration_cast<std::chrono::seconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count();
  const auto& folder = given.order.folder;
  std::string why;
  if (!given.revoke.empty()) {
    if (!revoke_dev_certificate(folder, given.revoke, now_s, why)) return certs_failed(why);
    fmt::print("{}: revokes {}; reload the server\n", revocation_file(folder),
               certificate_file(folder, given.revoke));
    return exit_ok;
  }
  const auto made = make_dev_certificates(given.order, now_s, why);
  if (!made) return certs_failed(why);
  if (made->authority || made->server || made->list || !made->clients.empty())
    print_next(folder, *made);
  else
    fmt::print("{}: has all of it already; nothing was made\n", folder);
  return exit_ok;
}

}  // namespace

void add_certs(CLI::App& root, int& status) {
  auto given = std::make_shared<certs_options>();
  auto* certs = root.add_subcommand("certs", "Certificates for TLS");
  certs->require_subcommand(1);
  auto* command = certs->add_subcommand(
      "dev",
      "Make an authority for development, certificates of a server and of clients, and an empty "
      "revocation list, and print the lines that use them; in a folder that has them, make what "
      "is missing");
  auto& order = given->order;
  command->add_option("--out", order.folder, "The folder")->required()->type_name("DIR");
  auto* hosts =
      command
          ->add_option("--host", order.hosts,
                       "A name or address of the server, beside localhost, 127.0.0.1 and ::1; may "
                       "be repeated")
          ->type_name("HOST")
          ->allow_extra_args(false)
          ->check(CLI::Validator(why_no_host, ""));
  auto* clients =
      command
          ->add_option("--client", order.clients,
                       "A client, and its files' name; may be repeated (default: admin)")
          ->type_name("NAME")
          ->allow_extra_args(false)
          ->check(CLI::Validator(why_no_client, ""));
  auto* days =
      command->add_option("--days", order.days, "How long the server's and clients' are valid")
          ->type_name("N")
          ->check(CLI::Range(1, dev_authority_days))
          ->capture_default_str();
  command
      ->add_option("--revoke", given->revoke,
                   "Only put this client's certificate on the revocation list")
      ->type_name("NAME")
      ->check(CLI::Validator(why_no_client, ""))
      ->excludes(hosts)
      ->excludes(clients)
      ->excludes(days);
  command->callback([given, &status] { status = run_certs(*given); });
}

}  // namespace portcullis::apps

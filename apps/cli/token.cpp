// `portcullis token new`: a token for a caller, and the lines that let the server know it.
#include <fmt/format.h>
#include <openssl/sha.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/cli/secret_file.hpp"
#include "apps/commands.hpp"
#include "core/bytes.hpp"
#include "core/contract/texts.hpp"
#include "core/limits.hpp"

namespace portcullis::apps {
namespace {

struct token_options {
  std::string name = "NAME", role = "app", out;
};

int run_token(const token_options& given) {
  core::byte_array<32> secret;
  random_bytes(secret);
  const auto token = core::to_base64url(secret);
  core::byte_array<32> hash;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash.data());
  if (given.out.empty()) {
    fmt::print("{}\n\n", token);
  } else {
    std::string why;
    if (!write_new_secret(given.out, token + "\n", why)) {
      fmt::print(stderr, "portcullis: {}\n", why);
      return exit_failed;
    }
  }
  fmt::print("[[auth.token]]\nname = \"{}\"\nrole = \"{}\"\nsha256 = \"{}\"\n", given.name,
             given.role, core::to_hex(hash));
  return exit_ok;
}

}  // namespace

void add_token(CLI::App& root, int& status) {
  auto given = std::make_shared<token_options>();
  auto* token = root.add_subcommand("token", "Tokens that callers log in with");
  token->require_subcommand(1);
  auto* command = token->add_subcommand(
      "new",
      "Make a token: prints it (or writes it with --out) and the lines for the configuration");
  command->add_option("--name", given->name, "Who it is for, in the lines printed")
      ->check([](const std::string& name) {
        return core::is_name(name, core::limits::node_name_bytes_max)
                   ? std::string()
                   : "a name has 1 to 64 of A-Z a-z 0-9 _ . -";
      })
      ->capture_default_str();
  command->add_option("--role", given->role, "The role, in the lines printed")
      ->check(CLI::IsMember({"app", "observer", "admin"}))
      ->capture_default_str();
  command
      ->add_option("--out", given->out,
                   "Write the token to this new file, mode 0600, and do not print it")
      ->type_name("FILE");
  command->callback([given, &status] { status = run_token(*given); });
}

}  // namespace portcullis::apps

#include "apps/certs/dev_folder.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "apps/certs/authority.hpp"
#include "apps/cli/secret_file.hpp"
#include "core/contract/texts.hpp"

namespace portcullis::apps {
namespace {

constexpr std::size_t client_bytes_max = 64;  // RFC 5280, ub-common-name

bool is_there(const std::string& file) {
  std::error_code failed;
  return std::filesystem::symlink_status(file, failed).type() !=
         std::filesystem::file_type::not_found;
}

/// Which of a pair's files are there: none, both, or (an error) one.
enum class pair_state { missing, there, half };
pair_state state_of(const std::string& folder, const std::string& name, std::string& why) {
  const auto certificate = certificate_file(folder, name), key = key_file(folder, name);
  const bool has_certificate = is_there(certificate), has_key = is_there(key);
  if (has_certificate == has_key) return has_key ? pair_state::there : pair_state::missing;
  why = fmt::format("{} is there, {} is not: put it back, or remove the other one",
                    has_key ? key : certificate, has_key ? certificate : key);
  return pair_state::half;
}

std::optional<dev_authority> read_authority(const std::string& folder, std::int64_t now_s,
                                            std::string& why) {
  const auto certificate = read_secret(certificate_file(folder, "ca"), why);
  const auto key = certificate ? read_secret(key_file(folder, "ca"), why) : std::nullopt;
  if (!key) return std::nullopt;
  auto read = dev_authority::read({*certificate, *key}, now_s, why);
  if (!read) why = fmt::format("{}: {}", certificate_file(folder, "ca"), why);
  return read;
}

/// New files, which go again unless they are kept.
class new_files {
 public:
  new_files() = default;
  ~new_files() {
    for (const auto& each : made_) unlink(each.c_str());
  }
  new_files(const new_files&) = delete;
  new_files& operator=(const new_files&) = delete;

  bool add(const std::string& folder, const std::string& name, const certificate_pair& pair,
           std::string& why) {
    return add_file(key_file(folder, name), pair.key, write_new_secret, why) &&
           add_file(certificate_file(folder, name), pair.certificate, write_new_public, why);
  }
  template <class Write>
  bool add_file(const std::string& file, const std::string& text, Write write, std::string& why) {
    if (!write(file, text, why)) return false;
    made_.push_back(file);
    return true;
  }
  void keep() { made_.clear(); }

 private:
  std::vector<std::string> made_;
};

/// What an order comes to in a folder as it is.
struct plan {
  bool authority = false, server = false, list = false;
  std::vector<std::string> clients;
};

std::optional<plan> plan_of(const dev_certificates_order& order, std::string& why) {
  const auto& folder = order.folder;
  const auto authority = state_of(folder, "ca", why), server = state_of(folder, "server", why);
  if (authority == pair_state::half || server == pair_state::half) return std::nullopt;
  plan out{authority == pair_state::missing, server == pair_state::missing,
           !is_there(revocation_file(folder)), order.clients};
  const auto is_in_the_way = [&](const std::string& file, std::string_view remedy) {
    why = fmt::format("{} is there and stays as it is: {}", file, remedy);
    return std::nullopt;
  };
  if (out.authority && !out.list)
    return is_in_the_way(revocation_file(folder), "its authority is not; take another folder");
  if (out.authority && !out.server)
    return is_in_the_way(certificate_file(folder, "server"),
                         "its authority is not; take another folder");
  if (!out.server && !order.hosts.empty())
    return is_in_the_way(
        certificate_file(folder, "server"),
        "for other hosts, remove it and server-key.pem, and name all of them again");
  const bool asked = !out.clients.empty();
  if (!asked) out.clients = {"admin"};
  std::sort(out.clients.begin(), out.clients.end());
  out.clients.erase(std::unique(out.clients.begin(), out.clients.end()), out.clients.end());
  for (const auto& name : std::vector(out.clients)) {
    const auto state = state_of(folder, name, why);
    if (state == pair_state::half) return std::nullopt;
    if (state == pair_state::missing) continue;
    if (asked || out.authority)
      return is_in_the_way(certificate_file(folder, name),
                           out.authority ? "its authority is not; take another folder"
                                         : "for a new one, remove it and its key");
    out.clients.clear();
  }
  return out;
}

dev_certificate told(const std::string& name, const certificate_pair& pair) {
  return {name, valid_until(pair.certificate).value_or(0)};
}

}  // namespace

std::string certificate_file(const std::string& folder, const std::string& name) {
  return (std::filesystem::path(folder) / (name + ".pem")).string();
}
std::string key_file(const std::string& folder, const std::string& name) {
  return certificate_file(folder, name + "-key");
}
std::string revocation_file(const std::string& folder) { return certificate_file(folder, "crl"); }

std::string why_no_client(const std::string& name) {
  if (!core::is_name(name, client_bytes_max) ||
      std::isalnum(static_cast<unsigned char>(name.front())) == 0)
    return "a client's name has 1 to 64 of A-Z a-z 0-9 _ . -, the first a letter or digit";
  if (name == "ca" || name == "server" || name == "crl" || name.ends_with("-key"))
    return name + ": the file of that name is another's";
  return {};
}

std::string client_uri(const std::string& name) { return "spiffe://portcullis.dev/" + name; }

std::optional<dev_certificates> make_dev_certificates(const dev_certificates_order& order,
                                                      std::int64_t now_s, std::string& why) {
  std::error_code failed;
  std::filesystem::create_directories(order.folder, failed);
  if (failed) {
    why = fmt::format("{}: {}", order.folder, failed.message());
    return std::nullopt;
  }
  const auto to_do = plan_of(order, why);
  if (!to_do) return std::nullopt;
  auto authority = to_do->authority ? std::optional(dev_authority::make(now_s, dev_authority_days))
                                    : read_authority(order.folder, now_s, why);
  if (!authority) return std::nullopt;
  dev_certificates made;
  new_files files;
  if (to_do->authority) {
    const auto texts = authority->texts();
    if (!files.add(order.folder, "ca", texts, why)) return std::nullopt;
    made.authority = told("ca", texts);
  }
  if (to_do->server) {
    made.hosts = {"localhost", "127.0.0.1", "::1"};
    for (const auto& host : order.hosts)
      if (std::find(made.hosts.begin(), made.hosts.end(), host) == made.hosts.end())
        made.hosts.push_back(host);
    const auto pair = authority->issue_server(made.hosts, now_s, order.days);
    if (!files.add(order.folder, "server", pair, why)) return std::nullopt;
    made.server = told("server", pair);
  }
  for (const auto& name : to_do->clients) {
    const auto pair = authority->issue_client(name, client_uri(name), now_s, order.days);
    if (!files.add(order.folder, name, pair, why)) return std::nullopt;
    made.clients.push_back(told(name, pair));
  }
  made.list = to_do->list;
  if (made.list && !files.add_file(revocation_file(order.folder), authority->empty_list(now_s),
                                   write_new_public, why))
    return std::nullopt;
  files.keep();
  return made;
}

bool revoke_dev_certificate(const std::string& folder, const std::string& name, std::int64_t now_s,
                            std::string& why) {
  const auto authority = read_authority(folder, now_s, why);
  if (!authority) return false;
  const auto certificate = read_secret(certificate_file(folder, name), why);
  const auto list = certificate ? read_secret(revocation_file(folder), why) : std::nullopt;
  if (!list) return false;
  const auto longer = authority->revoke(*list, *certificate, now_s, why);
  if (!longer) {
    why = fmt::format("{}, {}: {}", revocation_file(folder), certificate_file(folder, name), why);
    return false;
  }
  return *longer == *list || replace_public(revocation_file(folder), *longer, why);
}

}  // namespace portcullis::apps

// Forward-auth: whatever the header fields of a request are, what is asked is one well-formed
// session.validate call, or nothing; whatever a reply line is, the answer is well-formed HTTP, and
// lets pass only with every identity field.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "net/authz/answer.hpp"
#include "net/authz/ask.hpp"
#include "net/rpc/decode.hpp"
#include "net/rpc/framing.hpp"
#include "tests/fuzz/pieces.hpp"

namespace {

using portcullis::fuzz::require;
using namespace portcullis;

/// Takes one validate call of the context's three fields, and nothing else.
class judge : public net::message_visitor {
 public:
  void begin_batch(std::size_t) override { require(false); }
  void end_batch() override {}
  void on_request(const net::call_id& id, core::request& request) override {
    require(!id.notification && id.raw == "1");
    require(!request.correlation_id.empty());
    const auto& call = std::get<core::validate_session>(request.params);
    require(call.touch);
    constexpr auto allowed = core::bit(core::context_field::user_agent) |
                             core::bit(core::context_field::accept_language);
    for (std::size_t i = 0; i < core::context_field_count; ++i)
      require(call.context.fields[i].empty() || (allowed >> i & 1) != 0);
    ++calls;
  }
  void on_error(const net::call_id&, std::optional<core::method>, const core::error&,
                std::string_view) override {
    require(false);
  }
  int calls = 0;
};

/// `text` as "name: value" lines.
std::vector<net::header_field> fields_of(std::string_view text) {
  std::vector<net::header_field> fields;
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const auto colon = line.find(':');
    if (colon != std::string_view::npos)
      fields.push_back({line.substr(0, colon), line.substr(colon + 1)});
  }
  return fields;
}

constexpr std::string_view cookie =
    "sid=da931fe14128c4f6662e646bee57184e1e6750c26607a123c265306cc97022e7";
constexpr std::string_view signed_cookie =  // by "keyboard cat"
    "sid=s%3Ada931fe14128c4f6662e646bee57184e1e6750c26607a123c265306cc97022e7."
    "mfrQFT43PWX6dvrMYAHqn7qFBppUExYBtkuzSiIBYcQ";

net::authz_settings settings_of(unsigned bits) {
  net::authz_settings settings;
  settings.cookie = "sid";
  if ((bits & 1) != 0) settings.header = "X-Session";
  if ((bits & 2) != 0) settings.cookie_secrets = {"new secret", "keyboard cat"};
  if ((bits & 4) != 0) {
    settings.trusted_proxies.add(core::address_set::parse_one("127.0.0.0/8").value());
    settings.trusted_proxies.add(core::address_set::parse_one("2001:db8::/32").value());
  }
  return settings;
}

void ask(unsigned bits, std::string_view text) {
  static const std::vector<net::forward_auth> doors = [] {
    std::vector<net::forward_auth> made;
    for (unsigned i = 0; i < 8; ++i) made.emplace_back(settings_of(i));
    return made;
  }();
  const std::string exact(text);  // exact bounds for the sanitizer
  net::correlation_maker maker(1);
  core::byte_buffer out;
  auto fields = fields_of(exact);
  if ((bits & 8) != 0) fields.push_back({"Cookie", (bits & 2) != 0 ? signed_cookie : cookie});
  const auto asked = doors[bits % 8].ask(fields, core::parse_ip("127.0.0.1").value(), maker, out);
  require(out.empty() == asked.refused.has_value());
  if (asked.refused) {
    for (const auto kind : {net::authz_kind::auth_request, net::authz_kind::forward_auth}) {
      const int status = net::authz_status(kind, asked.refused->code);
      require(status == 401 || status == 403 || (status == 400 && kind != net::authz_kind{}));
    }
    return;
  }
  net::framer framer;
  net::decoder decoder;
  judge visitor;
  std::string line(out.view());
  const auto found = framer.next(line, true);
  require(found.kind == net::frame_kind::value && found.end == line.size());
  decoder.decode(line, found.tape, visitor);
  require(visitor.calls == 1);
}

void answer(unsigned bits, std::string_view line) {
  const std::string exact(line);
  net::correlation_maker maker(1);
  net::authz_answer into;
  const auto kind = static_cast<net::authz_kind>(bits % 3);
  net::answer_authz(kind, exact, "c", {maker}, into);
  const auto fields = into.fields.view();
  require(fields.ends_with("\r\n"));
  std::size_t identities = 0;
  for (const auto& field : fields_of(fields)) {
    require(field.value.size() > 2 && field.value.front() == ' ' && field.value.back() == '\r');
    const auto value = field.value.substr(1, field.value.size() - 2);
    require(std::all_of(value.begin(), value.end(), [](char c) { return c >= ' ' && c < 0x7F; }));
    if (!field.name.starts_with("X-Portcullis-")) continue;
    ++identities;
    require(value.find(' ') == std::string_view::npos);
  }
  require(identities == (into.status == 200 ? 5U : 0U));
  require(into.body.empty() == (into.status == 200));
  require(into.status == 200 || into.status >= 400);
  if (kind == net::authz_kind::auth_request)
    require(into.status == 200 || into.status == 401 || into.status == 403 || into.status >= 500);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] < 128)
    ask(data[0], text);
  else
    answer(data[0], text);
  // No input comes far by itself: as a name, and behind all names.
  const std::string head = R"({"jsonrpc":"2.0","id":1,"result":{"valid":true,"tenant_id":")";
  const std::string tail = R"(","user_id":"u","handle":"s_AAECAwQFBgcICQoLDA0ODw")";
  const std::string end = R"(,"version":1,"created_at_ms":1,"expires_at_ms":2}})";
  answer(data[0], head + std::string(text) + tail + end);
  answer(data[0], head + "t" + tail + std::string(text));
  return 0;
}

#include "apps/log/kept_checkpoints.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/log/text_file.hpp"

namespace portcullis::apps {
namespace {

using json = nlohmann::json;

template <std::size_t N>
bool read_bytes(const json& from, const char* name, core::byte_array<N>& to) {
  const auto found = from.find(name);
  return found != from.end() && found->is_string() &&
         core::from_base64url(found->get_ref<const std::string&>(), to);
}

std::optional<exported_checkpoint> read_checkpoint(const json& line) {
  // As an export has it, the event's own fields are those of its row, `mac` too.
  const auto body = line.find("body");
  const auto& from = body != line.end() && body->is_object() ? *body : line;
  const auto seq = line.find("seq");
  const auto of_at = from.find("of_at_ms");
  exported_checkpoint one;
  const bool whole = seq != line.end() && seq->is_number_unsigned() && of_at != from.end() &&
                     of_at->is_number_integer() && read_bytes(from, "mac", one.what.mac) &&
                     read_bytes(from, "signer", one.what.signer) &&
                     read_bytes(from, "signature", one.what.signature);
  if (!whole || seq->get<std::uint64_t>() == 0) return std::nullopt;
  one.what.of_at_ms = of_at->get<core::millis>();
  one.of = {seq->get<std::uint64_t>() - 1, one.what.of_at_ms, one.what.mac};
  return one;
}

}  // namespace

std::optional<std::vector<exported_checkpoint>> read_checkpoints(const std::string& path,
                                                                 std::string& why) {
  const auto lines = line_source::open(path, why, line_source::last_line::may_lack_lf);
  if (!lines) return std::nullopt;
  std::vector<exported_checkpoint> out;
  const auto wrong = [&](std::string_view what) {
    why = fmt::format("{}: line {} {}", path, lines->number(), what);
    return std::nullopt;
  };
  while (const auto line = lines->next()) {
    // Most lines of an export are not looked at further.
    if (line->find("\"checkpoint\"") == std::string_view::npos) continue;
    const auto parsed = json::parse(*line, nullptr, false);
    if (!parsed.is_object()) return wrong("is no JSON object");
    const auto type = parsed.find("type");
    if (type == parsed.end() || *type != "checkpoint") continue;
    const auto one = read_checkpoint(parsed);
    if (!one) return wrong("is no checkpoint");
    out.push_back(*one);
  }
  if (!lines->why().empty()) return wrong(lines->why());
  if (out.empty()) {
    why = path + ": there is no checkpoint in it";
    return std::nullopt;
  }
  std::sort(out.begin(), out.end(),
            [](const auto& a, const auto& b) { return a.of.seq < b.of.seq; });
  return out;
}

}  // namespace portcullis::apps

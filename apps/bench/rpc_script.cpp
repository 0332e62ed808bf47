// The JSON-RPC side of the load generator: requests are copied from templates, replies are judged
// by a look at their head.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string>

#include "apps/bench/script.hpp"

namespace portcullis::apps {
namespace {

constexpr std::array<bench_context, bench_context_count> contexts = {{
    {"203.0.113.7",
     "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 "
     "Safari/537.36 Bench/1.0",
     "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
     "en-GB,en;q=0.9,de;q=0.8", "gzip, deflate, br, zstd"},
    {"203.0.113.8",
     "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0 and some "
     "words more: Bench/1.0",
     "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
     "de,en-US;q=0.7,en;q=0.3", "gzip, deflate, br, zstd"},
    {"198.51.100.21",
     "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) "
     "Version/17.5 Safari/605.1",
     "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8,application/signed-exchange",
     "fr-FR,fr;q=0.9,en;q=0.5", "gzip, deflate, br"},
    {"198.51.100.22",
     "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
     "Gecko) Mobile/15E148 X",
     "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8,application/signed-exchange",
     "es-ES,es;q=0.9,en;q=0.5", "gzip, deflate, br"},
    {"2001:db8:1:2::7",
     "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) "
     "Chrome/126.0.0.0 Mobile Safari",
     "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
     "pl-PL,pl;q=0.9,en;q=0.8", "gzip, deflate, br, zstd"},
    {"2001:db8:1:3::8",
     "Mozilla/5.0 (X11; Fedora; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0 and some "
     "words more for the size",
     "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
     "it-IT,it;q=0.8,en;q=0.5", "gzip, deflate, br, zstd"},
    {"192.0.2.40",
     "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
     "Chrome/126.0 Safari Edg/126.0",
     "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
     "nl-NL,nl;q=0.9,en;q=0.8", "gzip, deflate, br, zstd"},
    {"192.0.2.41",
     "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
     "Chrome/125.0 Safari OPR/111.0",
     "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
     "sv-SE,sv;q=0.9,en;q=0.8", "gzip, deflate, br, zstd"},
}};

std::string context_json(const bench_context& of, std::string_view agent_suffix = {}) {
  return fmt::format(
      R"({{"ip":"{}","user_agent":"{}{}","accept":"{}","accept_language":"{}","accept_encoding":"{}"}})",
      of.ip, of.user_agent, agent_suffix, of.accept, of.accept_language, of.accept_encoding);
}

enum kind : unsigned {
  validate,
  touchless,
  mismatch,
  unknown,
  create,
  list,
  ping,
  acquire,
  report,
  kind_count
};
const std::vector<std::string_view> kind_names = {
    "validate", "touchless", "mismatch", "unknown", "create", "list", "ping", "acquire", "report"};
constexpr std::array<std::string_view, kind_count> must_have = {
    R"("valid":true)",  R"("valid":true)",   R"("valid":false)",
    R"("valid":false)", R"("session_id":")", R"("sessions":[)",
    R"("result":{)",    R"("allowed":true)", R"("state":"closed")"};
/// Breakers that acquire and report name; a node has at most 500 by default.
constexpr std::size_t bench_breakers = 400;

/// Text in the first bytes of a line, where our own server puts what matters, else anywhere in it.
bool has(std::string_view line, std::string_view text) {
  const auto head = std::min<std::size_t>(line.size(), 64);
  return memmem(line.data(), head, text.data(), text.size()) != nullptr ||
         (line.size() > head &&
          memmem(line.data(), line.size(), text.data(), text.size()) != nullptr);
}

/// The number after `"id":`; -1 when there is none.
std::int64_t id_of(std::string_view line) {
  constexpr std::string_view usual = R"({"jsonrpc":"2.0","id":)", marker = R"("id":)";
  const char* at = nullptr;
  if (line.starts_with(usual)) {
    at = line.data() + usual.size();
  } else if (const auto* found = memmem(line.data(), line.size(), marker.data(), marker.size());
             found != nullptr) {
    at = static_cast<const char*>(found) + marker.size();
  }
  std::int64_t id = -1;
  if (at != nullptr) std::from_chars(at, line.data() + line.size(), id);
  return id;
}

/// Calls `judge` for each whole line; returns the bytes of all of them.
template <class Judge>
std::size_t for_each_line(std::string_view bytes, Judge&& judge) {
  std::size_t taken = 0;
  while (taken < bytes.size()) {
    const auto* end = std::memchr(bytes.data() + taken, '\n', bytes.size() - taken);
    if (end == nullptr) break;
    const auto stop = static_cast<std::size_t>(static_cast<const char*>(end) - bytes.data());
    judge(bytes.substr(taken, stop - taken));
    taken = stop + 1;
  }
  return taken;
}

class fill_script final : public bench_script {
 public:
  fill_script(bench_ids& ids, std::size_t first, std::size_t step)
      : ids_(ids), at_(first), step_(step) {
    for (const auto& each : contexts) contexts_.push_back(context_json(each));
  }

  bool append(core::byte_buffer& out) override {
    if (at_ >= ids_.size()) return false;
    out.append(R"({"jsonrpc":"2.0","id":)");
    out.append_int(at_);
    out.append(R"(,"method":"session.create","params":{"tenant_id":"bench","user_id":"user-)");
    out.append_int(at_);
    out.append(R"(","context":)");
    out.append(contexts_[at_ % bench_context_count]);
    out.append("}}\n");
    at_ += step_;
    return true;
  }

  std::size_t take(std::string_view bytes, bench_tally& into) override {
    return for_each_line(bytes, [&](std::string_view line) {
      constexpr std::string_view marker = R"("session_id":")";
      ++into.replies;
      const auto id = id_of(line);
      const auto found = line.find(marker);
      const bool known = id >= 0 && static_cast<std::size_t>(id) < ids_.size();
      if (found == std::string_view::npos || !known ||
          !core::from_hex(line.substr(found + marker.size(), 64),
                          ids_[static_cast<std::size_t>(id)]))
        ++into.errors;
    });
  }

 private:
  bench_ids& ids_;
  std::size_t at_, step_;
  std::vector<std::string> contexts_;
};

struct request_template {
  std::string head, tail;
};

class mix_script final : public bench_script {
 public:
  mix_script(const bench_ids& ids, const std::vector<bench_weight>& mix, std::uint64_t seed)
      : ids_(ids), random_(seed), serial_(seed << 40) {
    for (const auto& each : mix) {
      const auto found = std::find(kind_names.begin(), kind_names.end(), each.kind);
      choices_.insert(choices_.end(), each.weight, static_cast<kind>(found - kind_names.begin()));
    }
    // Users of mismatches get locked out: they are others than those who must stay valid.
    const bool apart = std::find(choices_.begin(), choices_.end(), mismatch) != choices_.end() &&
                       choices_.size() > 1;
    if (apart)
      good_ = ids_.size() - ids_.size() / 10;
    else
      good_ = ids_.size();
    bad_from_ = apart ? good_ : 0;
    for (std::size_t i = 0; i < bench_context_count; ++i) make_templates(i);
  }

  bool append(core::byte_buffer& out) override {
    const kind what = choices_.size() == 1 ? choices_[0] : choices_[random_.below(choices_.size())];
    switch (what) {
      case validate:
      case touchless:
        return append_session(out, what, random_.below(good_));
      case mismatch:
        return append_session(out, what, bad_from_ + random_.below(ids_.size() - bad_from_));
      case unknown:
        return append_id(out, templates_[what][0], unknown_id());
      case create: {
        const auto serial = serial_++;
        return append_number(out, templates_[what][serial % bench_context_count], serial);
      }
      case list:
        return append_number(out, templates_[what][0], random_.below(good_));
      case ping:
        out.append(templates_[what][0].head);
        return true;
      case acquire:
      case report:
        return append_number(out, templates_[what][0], random_.below(bench_breakers));
      case kind_count:
        break;
    }
    __builtin_unreachable();
  }

  std::size_t take(std::string_view bytes, bench_tally& into) override {
    return for_each_line(bytes, [&](std::string_view line) {
      ++into.replies;
      const auto id = id_of(line);
      if (id >= 0 && id < kind_count && has(line, must_have[static_cast<std::size_t>(id)])) return;
      ++(has(line, R"("error":{)") ? into.errors : into.unexpected);
    });
  }

 private:
  void make_templates(std::size_t variant) {
    const auto context = context_json(contexts[variant]);
    const auto start = [](kind what, std::string_view method) {
      return fmt::format(R"({{"jsonrpc":"2.0","id":{},"method":"{}","params":{{)",
                         static_cast<unsigned>(what), method);
    };
    const auto checked = [&](kind what, const std::string& with, std::string_view more) {
      templates_[what].push_back({start(what, "session.validate") + R"("session_id":")",
                                  R"(","context":)" + with + std::string(more) + "}}\n"});
    };
    checked(validate, context, "");
    checked(touchless, context, R"(,"touch":false)");
    checked(mismatch, context_json(contexts[variant], " (another device)"), "");
    checked(unknown, context, "");
    templates_[create].push_back(
        {start(create, "session.create") + R"("tenant_id":"bench","user_id":"new-)",
         R"(","context":)" + context + "}}\n"});
    templates_[list].push_back(
        {start(list, "session.list") + R"("tenant_id":"bench","user_id":"user-)", "\"}}\n"});
    templates_[ping].push_back({start(ping, "server.ping") + "}}\n", ""});
    templates_[acquire].push_back(
        {start(acquire, "breaker.acquire") + R"("service":"bench-)", "\"}}\n"});
    templates_[report].push_back({start(report, "breaker.report") + R"("service":"bench-)",
                                  R"(","outcome":"success","duration_ms":12}})"
                                  "\n"});
  }

  bool append_session(core::byte_buffer& out, kind what, std::size_t session) {
    return append_id(out, templates_[what][session % bench_context_count], ids_[session]);
  }
  static bool append_id(core::byte_buffer& out, const request_template& with,
                        const core::byte_array<32>& id) {
    const auto size = with.head.size() + 64 + with.tail.size();
    char* at = out.reserve(size);
    std::memcpy(at, with.head.data(), with.head.size());
    core::to_hex(id, at + with.head.size());
    std::memcpy(at + with.head.size() + 64, with.tail.data(), with.tail.size());
    out.commit(size);
    return true;
  }
  static bool append_number(core::byte_buffer& out, const request_template& with,
                            std::uint64_t number) {
    out.append(with.head);
    out.append_int(number);
    out.append(with.tail);
    return true;
  }
  core::byte_array<32> unknown_id() {
    core::byte_array<32> id;
    for (std::size_t i = 0; i < 4; ++i) {
      const auto word = random_.next();
      std::memcpy(id.data() + i * 8, &word, 8);
    }
    return id;
  }

  const bench_ids& ids_;
  bench_random random_;
  std::uint64_t serial_;
  std::vector<kind> choices_;
  std::size_t good_ = 0, bad_from_ = 0;
  std::array<std::vector<request_template>, kind_count> templates_;
};

}  // namespace

const bench_context& bench_context_of(std::size_t session) noexcept {
  return contexts[session % bench_context_count];
}

const std::vector<std::string_view>& rpc_kinds() { return kind_names; }

std::unique_ptr<bench_script> rpc_fill(bench_ids& ids, std::size_t first, std::size_t step) {
  return std::make_unique<fill_script>(ids, first, step);
}

std::unique_ptr<bench_script> rpc_mix(const bench_ids& ids, const std::vector<bench_weight>& mix,
                                      std::uint64_t seed) {
  return std::make_unique<mix_script>(ids, mix, seed);
}

}  // namespace portcullis::apps

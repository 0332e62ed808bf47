// The Redis side of the load generator: the records that a hand-made session store would keep, and
// three ways to use them.
#include <fmt/format.h>
#include <openssl/sha.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstring>
#include <string>

#include "apps/bench/script.hpp"
#include "core/mix.hpp"

namespace portcullis::apps {
namespace {

// The same decisions as session.validate: expiry, lockout, address, device. Fields are joined with
// their lengths.
constexpr std::string_view lua = R"(local raw = redis.call('GET', KEYS[1])
if not raw then return '{"valid":false,"reason":"not_found"}' end
local s = cjson.decode(raw)
local now = tonumber(ARGV[6])
if s.expires_at_ms <= now or s.absolute_expires_at_ms <= now then return '{"valid":false,"reason":"expired"}' end
if tonumber(redis.call('GET', KEYS[2]) or '0') >= 10 then return '{"valid":false,"reason":"locked_out"}' end
local reason
if s.ip ~= ARGV[1] then reason = 'ip_mismatch'
elseif redis.sha1hex(#ARGV[2] .. ':' .. ARGV[2] .. #ARGV[3] .. ':' .. ARGV[3] .. #ARGV[4] .. ':' .. ARGV[4] ..
    #ARGV[5] .. ':' .. ARGV[5]) ~= s.fingerprint then reason = 'fingerprint_mismatch' end
if reason then
  if redis.call('INCR', KEYS[2]) == 1 then redis.call('EXPIRE', KEYS[2], 900) end
  return cjson.encode({valid = false, reason = reason})
end
return cjson.encode({valid = true, tenant_id = s.tenant_id, user_id = s.user_id, handle = s.handle,
  version = s.version, created_at_ms = s.created_at_ms, expires_at_ms = s.expires_at_ms}))";

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// The id of session i: nothing has to be remembered.
void write_id(std::uint64_t session, char* out) {
  core::byte_array<32> bytes;
  for (std::uint64_t i = 0; i < 4; ++i) {
    const auto word = core::mix64((session * 4 + i + 1) * core::mix64_step);
    std::memcpy(bytes.data() + i * 8, &word, 8);
  }
  core::to_hex(bytes, out);
}

std::string fingerprint(const bench_context& of) {
  std::string text;
  for (const auto field : {of.user_agent, of.accept, of.accept_language, of.accept_encoding})
    text += fmt::format("{}:{}", field.size(), field);
  core::byte_array<20> digest;
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return core::to_hex(digest);
}

void append_bulk(core::byte_buffer& out, std::string_view text) {
  out.append('$');
  out.append_int(text.size());
  out.append("\r\n");
  out.append(text);
  out.append("\r\n");
}

/// A session's record as JSON, about 350 bytes.
class record_writer {
 public:
  record_writer() {
    for (std::size_t i = 0; i < bench_context_count; ++i)
      fingerprints_[i] = fingerprint(bench_context_of(i));
    const auto now = now_ms();
    times_ = fmt::format(
        R"("version":1,"created_at_ms":{},"last_seen_at_ms":{},"expires_at_ms":{},"absolute_expires_at_ms":{}}})",
        now, now, now + 43'200'000, now + 43'200'000);
  }
  std::string_view record(std::uint64_t session, std::string_view id) {
    text_.clear();
    const auto variant = session % bench_context_count;
    text_.append(R"({"tenant_id":"bench","user_id":"user-)");
    text_.append_int(session);
    text_.append(R"(","handle":"s_)");
    text_.append(id.substr(0, 22));
    text_.append(R"(","ip":")");
    text_.append(bench_context_of(variant).ip);
    text_.append(R"(","fingerprint":")");
    text_.append(fingerprints_[variant]);
    text_.append(R"(","policy":"default",)");
    text_.append(times_);
    return text_.view();
  }

 private:
  std::array<std::string, bench_context_count> fingerprints_;
  std::string times_;
  core::byte_buffer text_;
};

constexpr std::string_view key_head = "$72\r\nsession:";
void append_key(core::byte_buffer& out, std::string_view id) {
  out.append(key_head);
  out.append(id);
  out.append("\r\n");
}

void append_set(core::byte_buffer& out, record_writer& records, std::uint64_t session) {
  char id[64];
  write_id(session, id);
  out.append("*5\r\n$3\r\nSET\r\n");
  append_key(out, {id, 64});
  append_bulk(out, records.record(session, {id, 64}));
  out.append("$2\r\nEX\r\n$5\r\n43200\r\n");
}

enum class expects : std::uint8_t { status, bulk, valid, integer_or_status };

/// Cuts RESP replies off and judges each.
std::size_t take_replies(std::string_view bytes, expects what, bench_tally& into) {
  std::size_t taken = 0;
  while (taken < bytes.size()) {
    const auto rest = bytes.substr(taken);
    const auto line_end = rest.find("\r\n");
    if (line_end == std::string_view::npos) break;
    std::size_t size = line_end + 2;
    std::int64_t length = -1;
    if (rest[0] == '$') {
      std::from_chars(rest.data() + 1, rest.data() + line_end, length);
      if (length >= 0) size += static_cast<std::size_t>(length) + 2;
      if (rest.size() < size) break;
    }
    ++into.replies;
    const bool text = rest[0] == '$' && length > 0;
    bool good = false;
    switch (what) {
      case expects::status:
        good = rest[0] == '+';
        break;
      case expects::bulk:
        good = text;
        break;
      case expects::valid: {
        constexpr std::string_view marker = R"("valid":true)";
        good = text && memmem(rest.data(), size, marker.data(), marker.size()) != nullptr;
        break;
      }
      case expects::integer_or_status:
        good = rest[0] == '+' || rest[0] == ':';
        break;
    }
    if (!good) ++(rest[0] == '-' ? into.errors : into.unexpected);
    taken += size;
  }
  return taken;
}

class redis_fill_script final : public bench_script {
 public:
  redis_fill_script(std::size_t count, std::size_t first, std::size_t step, bool index)
      : count_(count), at_(first), step_(step), index_(index) {}

  bool append(core::byte_buffer& out) override {
    if (at_ >= count_) return false;
    if (!record_written_) {
      append_set(out, records_, at_);
      record_written_ = index_;
      if (!index_) at_ += step_;
      return true;
    }
    char id[64];
    write_id(at_, id);
    out.append("*3\r\n$4\r\nSADD\r\n");
    append_bulk(out, fmt::format("user:bench:user-{}", at_));
    append_bulk(out, {id, 64});
    record_written_ = false;
    at_ += step_;
    return true;
  }
  std::size_t take(std::string_view bytes, bench_tally& into) override {
    return take_replies(bytes, expects::integer_or_status, into);
  }

 private:
  record_writer records_;
  std::size_t count_, at_, step_;
  bool index_, record_written_ = false;
};

class redis_load_script final : public bench_script {
 public:
  redis_load_script(std::string_view command, std::size_t count, std::uint64_t seed,
                    std::string_view lua_digest)
      : random_(seed),
        count_(count),
        serial_((seed + 1) << 40),
        command_(command[0]),
        digest_(lua_digest) {
    const auto now = std::to_string(now_ms());
    for (std::size_t i = 0; i < bench_context_count; ++i) {
      const auto& context = bench_context_of(i);
      core::byte_buffer tail;
      for (const auto field : {context.ip, context.user_agent, context.accept,
                               context.accept_language, context.accept_encoding})
        append_bulk(tail, field);
      append_bulk(tail, now);
      tails_.emplace_back(tail.view());
    }
  }

  bool append(core::byte_buffer& out) override {
    if (command_ == 's') {
      append_set(out, records_, serial_++);
      return true;
    }
    const auto session = random_.below(count_);
    char id[64];
    write_id(session, id);
    if (command_ == 'g') {
      out.append("*2\r\n$3\r\nGET\r\n");
      append_key(out, {id, 64});
      return true;
    }
    out.append("*11\r\n$7\r\nEVALSHA\r\n");
    append_bulk(out, digest_);
    out.append("$1\r\n2\r\n");
    append_key(out, {id, 64});
    char user[48] = "lock:bench:user-";
    const auto* end = std::to_chars(user + 16, user + sizeof user, session).ptr;
    append_bulk(out, {user, static_cast<std::size_t>(end - user)});
    out.append(tails_[session % bench_context_count]);
    return true;
  }
  std::size_t take(std::string_view bytes, bench_tally& into) override {
    const auto what = command_ == 's'   ? expects::status
                      : command_ == 'g' ? expects::bulk
                                        : expects::valid;
    return take_replies(bytes, what, into);
  }

 private:
  record_writer records_;
  bench_random random_;
  std::size_t count_;
  std::uint64_t serial_;
  char command_;
  std::string digest_;
  std::vector<std::string> tails_;
};

}  // namespace

std::string redis_script_load() {
  core::byte_buffer out;
  out.append("*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n");
  append_bulk(out, lua);
  return std::string(out.view());
}

std::unique_ptr<bench_script> redis_fill(std::size_t count, std::size_t first, std::size_t step,
                                         bool index) {
  return std::make_unique<redis_fill_script>(count, first, step, index);
}

std::unique_ptr<bench_script> redis_load(std::string_view command, std::size_t count,
                                         std::uint64_t seed, std::string_view lua_digest) {
  return std::make_unique<redis_load_script>(command, count, seed, lua_digest);
}

}  // namespace portcullis::apps

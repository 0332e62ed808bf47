#include "core/session/policy_book.hpp"

#include <fmt/format.h>

#include "core/bytes.hpp"

namespace portcullis::core {
namespace {

template <std::size_t N, class Enum>
constexpr std::string_view name_in(const std::array<std::string_view, N>& names, Enum value) {
  return names[static_cast<std::size_t>(value)];
}

class object_writer {
 public:
  explicit object_writer(byte_buffer& out) : out_(out) { out_.append('{'); }
  void close() { out_.append('}'); }
  void name(std::string_view key) {
    if (!first_) out_.append(',');
    first_ = false;
    append_json_string(out_, key);
    out_.append(':');
  }
  void number(std::string_view key, std::int64_t value) {
    name(key);
    out_.append_int(value);
  }
  void real(std::string_view key, double value) {
    name(key);
    out_.append(fmt::format("{}", value));
  }
  void text(std::string_view key, std::string_view value) {
    name(key);
    append_json_string(out_, value);
  }
  void boolean(std::string_view key, bool value) {
    name(key);
    out_.append(value ? "true" : "false");
  }
  void fields(std::string_view key, field_set set) {
    name(key);
    out_.append('[');
    bool first = true;
    for (std::size_t i = 0; i < context_field_count; ++i) {
      if ((set >> i & 1) == 0) continue;
      if (!first) out_.append(',');
      first = false;
      append_json_string(out_, context_field_names[i]);
    }
    out_.append(']');
  }

 private:
  byte_buffer& out_;
  bool first_ = true;
};

void append_policy(byte_buffer& out, const session_policy& policy) {
  object_writer object(out);
  object.number("idle_ttl_s", policy.idle_ttl_s);
  object.number("absolute_ttl_s", policy.absolute_ttl_s);
  object.number("touch_granularity_s", policy.touch_granularity_s);
  object.number("max_sessions_per_user", policy.max_sessions_per_user);
  object.text("on_cap", name_in(cap_action_names, policy.on_cap));
  object.text("ip_binding", name_in(ip_binding_names, policy.ip_binding));
  object.number("ip_prefix_v4", policy.ip_prefix_v4);
  object.number("ip_prefix_v6", policy.ip_prefix_v6);
  object.fields("fingerprint_fields", policy.enforced);
  object.fields("observe_fields", policy.observed);
  object.fields("challenge_fields", policy.challenged);
  object.number("rotation_grace_s", policy.rotation_grace_s);
  object.close();
}

// In the units of the configuration.
void append_policy(byte_buffer& out, const breaker_policy& policy) {
  object_writer object(out);
  object.text("window", name_in(window_kind_names, policy.window));
  object.number("window_s", policy.window_s);
  object.number("window_buckets", policy.window_buckets);
  object.number("window_calls", policy.window_calls);
  object.number("window_age_s", policy.window_age_s);
  object.number("min_calls", policy.min_calls);
  object.real("failure_rate_threshold", policy.failure_rate_threshold);
  object.number("slow_call_ms", policy.slow_call_ms);
  object.real("slow_rate_threshold", policy.slow_rate_threshold);
  object.number("consecutive_failures", policy.consecutive_failures);
  object.real("open_wait_s", static_cast<double>(policy.open_wait_ms) / 1000);
  object.number("open_wait_max_s", policy.open_wait_max_ms / 1000);
  object.real("open_wait_jitter", policy.open_wait_jitter);
  object.number("half_open_permits", policy.half_open_permits);
  object.number("half_open_concurrency", policy.half_open_concurrency);
  object.number("max_half_open_s", policy.max_half_open_ms / 1000);
  object.number("permit_ttl_s", policy.permit_ttl_ms / 1000);
  object.boolean("auto_half_open", policy.auto_half_open);
  object.number("retire_after_s", policy.retire_after_ms / 1000);
  object.close();
}

}  // namespace

std::string to_json(const policy_book& book) {
  byte_buffer out;
  object_writer whole(out);
  whole.name("session");
  append_policy(out, book.session);
  whole.name("lockout");
  object_writer lockout(out);
  lockout.number("threshold", book.lockout.threshold);
  lockout.number("window_s", book.lockout.window_s);
  lockout.number("duration_s", book.lockout.duration_s);
  lockout.text("scope", name_in(lockout_scope_names, book.lockout.scope));
  lockout.number("user_threshold", book.lockout.user_threshold);
  lockout.number("repeat_collapse_s", book.lockout.repeat_collapse_s);
  lockout.boolean("revoke_offending", book.lockout.revoke_offending);
  lockout.number("source_threshold", book.lockout.source_threshold);
  lockout.close();
  whole.name("tenant");
  object_writer tenants(out);
  for (const auto& [name, policy] : book.tenants) {
    tenants.name(name);
    append_policy(out, policy);
  }
  tenants.close();
  whole.name("breaker");
  object_writer breakers(out);
  breakers.number("max", book.breakers.breakers_max);
  breakers.name("default");
  append_policy(out, book.breakers.fallback);
  breakers.name("patterns");
  object_writer patterns(out);
  for (const auto& [pattern, policy] : book.breakers.patterns) {
    patterns.name(pattern);
    append_policy(out, policy);
  }
  patterns.close();
  breakers.close();
  whole.close();
  return std::string(out.view());
}

}  // namespace portcullis::core

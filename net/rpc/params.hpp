// From the params of one call to the typed request of its method.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/contract/request.hpp"
#include "core/error/catalogue.hpp"
#include "net/json/document.hpp"
#include "net/json/names.hpp"
#include "net/rpc/limits.hpp"

namespace portcullis::net {

// Every parameter of the contract. X(identifier, "name")
#define PORTCULLIS_PARAMS(X)                \
  X(meta, "_meta")                          \
  X(tenant_id, "tenant_id")                 \
  X(user_id, "user_id")                     \
  X(session_id, "session_id")               \
  X(alias, "alias")                         \
  X(handle, "handle")                       \
  X(context, "context")                     \
  X(data, "data")                           \
  X(idle_ttl_s, "idle_ttl_s")               \
  X(absolute_ttl_s, "absolute_ttl_s")       \
  X(touch, "touch")                         \
  X(version, "version")                     \
  X(grace, "grace")                         \
  X(except_session_id, "except_session_id") \
  X(limit, "limit")                         \
  X(cursor, "cursor")                       \
  X(ip, "ip")                               \
  X(user_agent, "user_agent")               \
  X(reason, "reason")                       \
  X(after, "after")                         \
  X(types, "types")                         \
  X(subscription, "subscription")           \
  X(service, "service")                     \
  X(from_ms, "from_ms")                     \
  X(to_ms, "to_ms")                         \
  X(digest, "digest")                       \
  X(token, "token")                         \
  X(path, "path")                           \
  X(actor, "actor")                         \
  X(breaker, "breaker")                     \
  X(outcome, "outcome")                     \
  X(duration_ms, "duration_ms")             \
  X(epoch, "epoch")                         \
  X(permit, "permit")                       \
  X(error_kind, "error_kind")               \
  X(source, "source")                       \
  X(source_epoch, "source_epoch")           \
  X(seq, "seq")                             \
  X(state, "state")                         \
  X(counts, "counts")                       \
  X(duration_buckets, "duration_buckets")   \
  X(transition, "transition")               \
  X(mode, "mode")                           \
  X(ttl_s, "ttl_s")

enum class param : std::uint8_t {
#define X(id, name) id,
  PORTCULLIS_PARAMS(X)
#undef X
};
#define X(id, name) +1
inline constexpr std::size_t param_count = 0 PORTCULLIS_PARAMS(X);
#undef X
static_assert(param_count <= 64, "a set of parameters is 64 bits");
inline constexpr json::name_table param_names(std::array<std::string_view, param_count>{
#define X(id, name) name,
    PORTCULLIS_PARAMS(X)
#undef X
});

/// A set of parameters; bit i is param i.
using param_set = std::uint64_t;

/// Reads the params of one call. Made for one call, on the stack. Views in the request point into
/// the document.
class params_reader {
 public:
  params_reader(json::document& document, const message_limits& limits) noexcept
      : document_(document), limits_(limits) {}

  /// Fills `out` for `method` from the params at `index`; 0: the call has none.
  /// Errors: INVALID_PARAMS, DATA_TOO_LARGE, TTL_OUT_OF_RANGE, CURSOR_INVALID. Even then
  /// correlation_id() is what `_meta` gives, wherever it stands among the params.
  [[nodiscard]] std::optional<core::error> read(core::method method, std::size_t index,
                                                core::request& out);

  /// Reads `_meta` alone, of a call that is refused for another reason.
  void read_correlation_id(std::size_t index);

  [[nodiscard]] std::string_view correlation_id() const noexcept { return correlation_id_; }

 private:
  // Each returns false after it has set error_.
  bool collect(core::method method, std::size_t index);
  bool collect_member(std::size_t key, param_set allowed);
  [[nodiscard]] param_set needed_by(core::method method) const noexcept;
  bool require(param_set needed);
  bool read_meta();
  bool read_meta_member(std::string_view name, std::size_t value);
  bool dispatch(core::method method, core::request& out);

  bool read(core::validate_session& out);
  bool read(core::create_session& out);
  bool read(core::update_session& out);
  bool read(core::rotate_session& out);
  bool read(core::revoke_session& out);
  bool read(core::revoke_user& out);
  bool read(core::revoke_tenant& out);
  bool read(core::list_sessions& out);
  bool read(core::find_sessions& out);
  bool read(core::session_stats&) { return true; }
  bool read(core::lockout_status& out);
  bool read(core::list_lockouts& out);
  bool read(core::clear_lockout& out);
  bool read(core::acquire_permit& out) { return read(out.name); }
  bool read(core::report_call& out);
  bool read(core::report_calls& out);
  bool read(core::observe_breaker& out);
  bool read(core::breaker_question& out) { return read(out.name); }
  bool read(core::list_breakers& out) { return read(out.page); }
  bool read(core::override_breaker& out);
  bool read(core::reset_breaker& out);
  bool read(core::subscribe_events& out);
  bool read(core::unsubscribe_events& out);
  bool read(core::query_events& out);
  bool read(core::ping&) { return true; }
  bool read(core::version_request&) { return true; }
  bool read(core::info_request& out);
  bool read(core::list_connections& out);
  bool read(core::login& out);
  bool read(core::reload_config&) { return true; }
  bool read(core::drain&) { return true; }
  bool read(core::backup& out);
  bool read(core::forget_user& out);
  bool read(core::rotate_keys&) { return true; }
  bool read(core::crash_actor& out);

  bool read(core::user_name& out);
  bool read(core::page_request& out);
  bool read(core::breaker_name& out);
  bool read_reason(std::string_view& out);
  bool read_number(param which, std::uint64_t& out);
  bool read_counts(core::reported_calls& out);
  bool read_durations(core::reported_calls& out);
  bool read_transition(core::observe_breaker::transition& out);
  bool integer_at(std::size_t index, std::string_view field, std::int64_t min, std::int64_t max,
                  std::int64_t& out);
  template <class Enum, std::size_t N>
  bool choice_at(std::size_t index, std::string_view field,
                 const std::array<std::string_view, N>& names, Enum& out);
  template <class Enum, std::size_t N>
  bool read_choice(param which, const std::array<std::string_view, N>& names, Enum& out);
  bool read_context(core::context& out);
  bool read_context_member(std::size_t key, core::context& out, unsigned& seen);
  bool read_data(std::string_view& out);
  bool read_types(std::vector<std::string_view>& out);
  bool read_version(std::optional<std::uint32_t>& out);
  bool read_ttl(param which, std::optional<std::int64_t>& out);

  // Single values. Absent: `out` stays as it is, and the call succeeds.
  bool read_name(param which, std::string_view& out);
  bool read_string(param which, std::size_t bytes_min, std::size_t bytes_max,
                   std::string_view& out);
  bool read_identifier(param which, std::size_t bytes_max, std::string_view& out);
  bool read_integer(param which, std::int64_t min, std::int64_t max, std::int64_t& out);
  bool read_boolean(param which, bool& out);
  bool read_session_id(param which, core::session_id& out);
  bool read_handle(core::session_handle& out);
  bool read_alias(std::string_view& out);
  bool read_named_session(core::session_id& id, core::session_alias& by);
  bool read_after(std::string_view& out);
  bool string_at(std::size_t index, std::string_view field, std::string_view& out);

  [[nodiscard]] bool has(param which) const noexcept {
    return (seen_ >> static_cast<unsigned>(which) & 1) != 0;
  }
  [[nodiscard]] std::size_t place(param which) const noexcept {
    return places_[static_cast<std::size_t>(which)];
  }
  bool refuse(core::error why) noexcept {
    if (!error_) error_ = why;
    return false;
  }

  json::document& document_;
  const message_limits& limits_;
  param_set seen_ = 0;
  std::array<std::uint32_t, param_count> places_;  // where seen_ has the bit
  std::optional<core::error> error_;
  std::string_view correlation_id_;
  std::string_view trace_id_;
};

}  // namespace portcullis::net

#include <algorithm>
#include <limits>

#include "core/contract/texts.hpp"
#include "core/limits.hpp"
#include "net/json/names.hpp"
#include "net/rpc/params.hpp"

// The values of the breakers' params.

namespace portcullis::net {
namespace {

using core::error_code;
using json::token_kind;
namespace limits = core::limits;

constexpr auto integer_max = std::numeric_limits<std::int64_t>::max();
constexpr auto sum_max = static_cast<std::uint64_t>(integer_max);

constexpr std::string_view name_of(param which) noexcept {
  return param_names[static_cast<std::size_t>(which)];
}

constexpr json::name_table count_names(core::call_result_names);
constexpr std::array<std::string_view, core::call_result_count> count_paths = {
    "counts.success",  "counts.failure",      "counts.timeout",     "counts.ignored",
    "counts.rejected", "counts.slow_success", "counts.slow_failure"};

enum transition_key : std::size_t { key_from, key_to, key_at, transition_keys };
constexpr json::name_table transition_names(std::array<std::string_view, transition_keys>{
    "from", "to", "at_ms"});
constexpr std::array<std::string_view, transition_keys> transition_paths = {
    "transition.from", "transition.to", "transition.at_ms"};

core::error invalid(std::string_view field, std::string_view rule, std::int64_t limit = -1,
                    unsigned line = __builtin_LINE(), const char* function = __builtin_FUNCTION()) {
  return core::fail(error_code::INVALID_PARAMS, field, rule, limit, __builtin_FILE(), line,
                    function);
}

}  // namespace

bool params_reader::read_name(param which, std::string_view& out) {
  if (!has(which)) return true;
  std::string_view text;
  if (!read_string(which, 1, limits::breaker_name_bytes_max, text)) return false;
  if (!core::is_name(text, limits::breaker_name_bytes_max))
    return refuse(invalid(name_of(which), "letters_digits_underscore_dot_hyphen"));
  out = text;
  return true;
}

bool params_reader::read(core::breaker_name& out) {
  out.breaker = core::default_breaker;
  return read_name(param::service, out.service) && read_name(param::breaker, out.breaker);
}

bool params_reader::read_reason(std::string_view& out) {
  if (!read_string(param::reason, 1, limits::reason_bytes_max, out)) return false;
  return core::is_identifier_text(out) || refuse(invalid("reason", "no_controls"));
}

bool params_reader::read_number(param which, std::uint64_t& out) {
  std::int64_t value = static_cast<std::int64_t>(out);
  if (!read_integer(which, 0, integer_max, value)) return false;
  out = static_cast<std::uint64_t>(value);
  return true;
}

template <class Enum, std::size_t N>
bool params_reader::choice_at(std::size_t index, std::string_view field,
                              const std::array<std::string_view, N>& names, Enum& out) {
  std::string_view text;
  if (!string_at(index, field, text)) return false;
  const auto found = std::find(names.begin(), names.end(), text);
  if (found == names.end()) return refuse(invalid(field, "one_of_the_contract"));
  out = static_cast<Enum>(found - names.begin());
  return true;
}

template <class Enum, std::size_t N>
bool params_reader::read_choice(param which, const std::array<std::string_view, N>& names,
                                Enum& out) {
  return !has(which) || choice_at(place(which), name_of(which), names, out);
}

/// Whatever their sum is, it is a number: how many may be reported at once is the breaker's to say.
bool params_reader::read_counts(core::reported_calls& out) {
  const std::size_t index = place(param::counts);
  const json::token& counts = document_.at(index);
  if (counts.kind != token_kind::object) return refuse(invalid("counts", "object"));
  unsigned seen = 0;
  auto left = sum_max;
  for (std::size_t key = index + 1; key < counts.next; key = document_.at(key + 1).next) {
    if (document_.at(key).lone_surrogate) return refuse(invalid("counts", "lone_surrogate"));
    const std::size_t which = count_names.find(document_.text(key));
    if (which == core::call_result_count) return refuse(invalid("counts", "unknown_parameter"));
    if ((seen >> which & 1U) != 0) return refuse(invalid(count_paths[which], "duplicate_key"));
    seen |= 1U << which;
    std::int64_t value = 0;
    if (!integer_at(key + 1, count_paths[which], 0, integer_max, value)) return false;
    out.counts.by_result[which] = static_cast<std::uint64_t>(value);
    if (out.counts.by_result[which] > left)
      return refuse(invalid("counts", "delta_max", limits::reported_calls_max));
    left -= out.counts.by_result[which];
  }
  return true;
}

bool params_reader::read_durations(core::reported_calls& out) {
  if (!has(param::duration_buckets)) return true;
  const std::size_t index = place(param::duration_buckets);
  const json::token& buckets = document_.at(index);
  if (buckets.kind != token_kind::array)
    return refuse(invalid("duration_buckets", "array_of_integers"));
  auto& durations = out.durations.emplace();
  std::size_t count = 0;
  auto left = sum_max;
  for (std::size_t i = index + 1; i < buckets.next; i = document_.at(i).next) {
    std::int64_t value = 0;
    if (!integer_at(i, "duration_buckets", 0, integer_max, value)) return false;
    if (count == core::duration_bucket_count) break;
    durations[count++] = static_cast<std::uint64_t>(value);
    if (durations[count - 1] > left)
      return refuse(invalid("duration_buckets", "delta_max", limits::reported_calls_max));
    left -= durations[count - 1];
  }
  std::size_t entries = 0;
  for (std::size_t i = index + 1; i < buckets.next; i = document_.at(i).next) ++entries;
  return entries == core::duration_bucket_count ||
         refuse(invalid("duration_buckets", "entries",
                        static_cast<std::int64_t>(core::duration_bucket_count)));
}

bool params_reader::read_transition(core::observe_breaker::transition& out) {
  const std::size_t index = place(param::transition);
  const json::token& transition = document_.at(index);
  if (transition.kind != token_kind::object) return refuse(invalid("transition", "object"));
  unsigned seen = 0;
  for (std::size_t key = index + 1; key < transition.next; key = document_.at(key + 1).next) {
    if (document_.at(key).lone_surrogate) return refuse(invalid("transition", "lone_surrogate"));
    const std::size_t which = transition_names.find(document_.text(key));
    if (which == transition_keys) return refuse(invalid("transition", "unknown_parameter"));
    const auto path = transition_paths[which];
    if ((seen >> which & 1U) != 0) return refuse(invalid(path, "duplicate_key"));
    seen |= 1U << which;
    const bool good = which == key_at ? integer_at(key + 1, path, 0, integer_max, out.at_ms)
                                      : choice_at(key + 1, path, core::breaker_state_names,
                                                  which == key_from ? out.from : out.to);
    if (!good) return false;
  }
  for (std::size_t i = 0; i < transition_keys; ++i)
    if ((seen >> i & 1U) == 0) return refuse(invalid(transition_paths[i], "required"));
  return true;
}

bool params_reader::read(core::report_call& out) {
  if (!read(out.name) || !read_choice(param::outcome, core::call_outcome_names, out.outcome) ||
      !read_integer(param::duration_ms, 0, limits::call_duration_ms_max, out.duration_ms))
    return false;
  if (has(param::epoch) && !read_number(param::epoch, out.epoch.emplace())) return false;
  if (has(param::error_kind) &&
      !read_choice(param::error_kind, core::call_error_names, out.error.emplace()))
    return false;
  if (!has(param::permit)) return true;
  std::string_view text;
  if (!string_at(place(param::permit), "permit", text)) return false;
  out.permit = core::parse_permit(text);
  return out.permit.has_value() || refuse(invalid("permit", "p_and_22_characters_of_base64url"));
}

bool params_reader::read(core::report_calls& out) {
  auto calls = std::make_shared<core::reported_calls>();
  const bool good = read(out.name) && read_name(param::source, out.source) &&
                    read_number(param::seq, out.seq) && read_number(param::epoch, out.epoch) &&
                    read_counts(*calls) && read_durations(*calls);
  out.calls = std::move(calls);
  return good;
}

bool params_reader::read(core::observe_breaker& out) {
  auto calls = std::make_shared<core::reported_calls>();
  // Not emplace(): to clang 14 a nested struct with initialisers has no default constructor.
  if (has(param::transition)) out.changed = core::observe_breaker::transition{};
  const bool good =
      read(out.name) && read_name(param::source, out.source) &&
      read_number(param::source_epoch, out.source_epoch) && read_number(param::seq, out.seq) &&
      read_choice(param::state, core::breaker_state_names, out.state) && read_counts(*calls) &&
      read_durations(*calls) && (!has(param::transition) || read_transition(*out.changed));
  out.calls = std::move(calls);
  return good;
}

bool params_reader::read(core::override_breaker& out) {
  if (!read(out.name) || !read_choice(param::mode, core::override_mode_names, out.mode) ||
      !read_reason(out.reason))
    return false;
  if (!has(param::ttl_s)) return true;
  if (out.mode == core::override_mode::none) return refuse(invalid("ttl_s", "not_with_mode_none"));
  return read_integer(param::ttl_s, 1, limits::override_ttl_s_max, out.ttl_s.emplace());
}

bool params_reader::read(core::reset_breaker& out) {
  return read(out.name) && read_reason(out.reason);
}

}  // namespace portcullis::net

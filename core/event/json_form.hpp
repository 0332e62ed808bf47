// How one field's value is written to JSON and read back strictly. Private to core/event.
#pragma once
#include <simdjson.h>

#include "core/bytes.hpp"
#include "core/event/codec.hpp"
#include "core/event/fields.hpp"

namespace portcullis::core::json_form {

namespace ondemand = simdjson::ondemand;

void write_base64url(byte_buffer& out, byte_view bytes);
bool read_text(ondemand::value& from, std::string_view& to);
bool read_base64url(ondemand::value& from, std::span<std::uint8_t> to);

// Whether the value may be left out where presence is `given`.
template <class T>
[[nodiscard]] bool is_default(const T& value) {
  return value == T{};
}
template <class T>
[[nodiscard]] bool is_default(const std::vector<T>& value) {
  return value.empty();
}
[[nodiscard]] inline bool is_default(const field_hashes& value) { return value.present == 0; }

// Writing.
template <class Int>
requires std::is_integral_v<Int>
void write(byte_buffer& out, const Int& value, as_itself) {
  if constexpr (std::is_same_v<Int, bool>)
    out.append(value ? std::string_view("true") : std::string_view("false"));
  else
    out.append_int(value);
}
template <class Enum>
requires std::is_enum_v<Enum>
void write(byte_buffer& out, const Enum& value, as_itself) {
  out.append('"');
  out.append(to_string(value));
  out.append('"');
}
inline void write(byte_buffer& out, const std::string& value, as_itself) {
  append_json_string(out, value);
}
inline void write(byte_buffer& out, const std::string& value, as_bytes_text) {
  write_base64url(out, as_bytes(value));
}
inline void write(byte_buffer& out, const std::string& value, as_raw_json) { out.append(value); }
template <std::size_t N>
void write(byte_buffer& out, const byte_array<N>& value, as_itself) {
  write_base64url(out, value);
}
inline void write(byte_buffer& out, const id_hash& value, as_itself) {
  write_base64url(out, value.bytes);
}
void write(byte_buffer& out, const session_handle& value, as_itself);
void write(byte_buffer& out, const field_hashes& value, as_itself);
void write(byte_buffer& out, const field_set& value, as_names);
void write(byte_buffer& out, const std::vector<session_touched::touch>& value, as_itself);
void write(byte_buffer& out, const call_counts& value, as_itself);
void write(byte_buffer& out, const std::vector<calls_tallied::tally>& value, as_itself);
template <class T>
void write(byte_buffer& out, const std::optional<T>& value, as_itself form) {
  if (value)
    write(out, *value, form);
  else
    out.append("null");
}

// Reading: false where the value is not what write() gives.
template <class Int>
requires std::is_integral_v<Int>
bool read(ondemand::value& from, Int& to, as_itself) {
  if constexpr (std::is_same_v<Int, bool>) {
    return from.get_bool().get(to) == simdjson::SUCCESS;
  } else if constexpr (std::is_signed_v<Int>) {
    static_assert(sizeof(Int) == 8);
    return from.get_int64().get(to) == simdjson::SUCCESS;
  } else {
    std::uint64_t wide = 0;
    if (from.get_uint64().get(wide) != simdjson::SUCCESS) return false;
    to = static_cast<Int>(wide);
    return to == wide;
  }
}
/// How many values an enumeration in the log has. A damaged log may hold any text: none past these
/// is ever asked for its name.
template <class Enum>
inline constexpr int enum_values = -1;
template <>
inline constexpr int enum_values<invalid_reason> = static_cast<int>(invalid_reason::locked_out) + 1;
template <>
inline constexpr int enum_values<signal_action> = static_cast<int>(signal_action::challenge) + 1;
template <>
inline constexpr int enum_values<revoke_scope> = static_cast<int>(revoke_scope::tenant) + 1;
template <>
inline constexpr int enum_values<breaker_cause> = static_cast<int>(breaker_cause_names.size());
template <>
inline constexpr int enum_values<breaker_state> = static_cast<int>(breaker_state_names.size());
template <>
inline constexpr int enum_values<breaker_kind> = static_cast<int>(breaker_kind_names.size());
template <>
inline constexpr int enum_values<override_mode> = static_cast<int>(override_mode_names.size());
template <>
inline constexpr int enum_values<override_scope> = static_cast<int>(override_scope_names.size());
template <>
inline constexpr int enum_values<expiry_kind> = static_cast<int>(expiry_kind::absolute) + 1;

template <class Enum>
requires std::is_enum_v<Enum>
bool read(ondemand::value& from, Enum& to, as_itself) {
  static_assert(enum_values<Enum> > 0, "say how many values it has");
  std::string_view text;
  if (!read_text(from, text)) return false;
  for (int i = 0; i < enum_values<Enum>; ++i) {
    if (to_string(static_cast<Enum>(i)) != text) continue;
    to = static_cast<Enum>(i);
    return true;
  }
  return false;
}
bool read(ondemand::value& from, std::string& to, as_itself);
bool read(ondemand::value& from, std::string& to, as_bytes_text);
bool read(ondemand::value& from, std::string& to, as_raw_json);
template <std::size_t N>
bool read(ondemand::value& from, byte_array<N>& to, as_itself) {
  return read_base64url(from, to);
}
inline bool read(ondemand::value& from, id_hash& to, as_itself) {
  return read_base64url(from, to.bytes);
}
bool read(ondemand::value& from, session_handle& to, as_itself);
bool read(ondemand::value& from, field_hashes& to, as_itself);
bool read(ondemand::value& from, field_set& to, as_names);
bool read(ondemand::value& from, std::vector<session_touched::touch>& to, as_itself);
bool read(ondemand::value& from, call_counts& to, as_itself);
bool read(ondemand::value& from, std::vector<calls_tallied::tally>& to, as_itself);
template <class T>
bool read(ondemand::value& from, std::optional<T>& to, as_itself form) {
  return read(from, to.emplace(), form);
}

}  // namespace portcullis::core::json_form

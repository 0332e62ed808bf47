#include "core/event/json_form.hpp"

#include <algorithm>

namespace portcullis::core::json_form {
namespace {

constexpr std::string_view ip_name = "ip";  // ip_bit among field names

}  // namespace

void write_base64url(byte_buffer& out, byte_view bytes) {
  const auto size = base64url_size(bytes.size());
  char* at = out.reserve(size + 2);
  at[0] = '"';
  to_base64url(bytes, at + 1);
  at[size + 1] = '"';
  out.commit(size + 2);
}

void write(byte_buffer& out, const session_handle& value, as_itself) {
  char text[handle_text_size];
  to_text(value, text);
  char* at = out.reserve(handle_text_size + 2);
  at[0] = '"';
  std::memcpy(at + 1, text, handle_text_size);
  at[handle_text_size + 1] = '"';
  out.commit(handle_text_size + 2);
}

void write(byte_buffer& out, const field_hashes& value, as_itself) {
  char before = '{';
  for (std::size_t i = 0; i < context_field_count; ++i) {
    if ((value.present >> i & 1U) == 0) continue;
    out.append(before);
    before = ',';
    out.append('"');
    out.append(context_field_names[i]);
    out.append("\":");
    write_base64url(out, value.hashes[i]);
  }
  if (before == '{') out.append('{');
  out.append('}');
}

void write(byte_buffer& out, const field_set& value, as_names) {
  char before = '[';
  const auto add = [&](std::string_view name) {
    out.append(before);
    before = ',';
    out.append('"');
    out.append(name);
    out.append('"');
  };
  if ((value & ip_bit) != 0) add(ip_name);
  for (std::size_t i = 0; i < context_field_count; ++i)
    if ((value >> i & 1U) != 0) add(context_field_names[i]);
  if (before == '[') out.append('[');
  out.append(']');
}

void write(byte_buffer& out, const std::vector<session_touched::touch>& value, as_itself form) {
  char before = '[';
  for (const auto& one : value) {
    out.append(before);
    before = ',';
    out.append('[');
    write(out, one.handle, form);
    out.append(',');
    out.append_int(one.last_seen_at_ms);
    out.append(']');
  }
  if (before == '[') out.append('[');
  out.append(']');
}

void write(byte_buffer& out, const call_counts& value, as_itself) {
  char before = '{';
  for (std::size_t i = 0; i < call_result_count; ++i) {
    out.append(before);
    before = ',';
    out.append('"');
    out.append(call_result_names[i]);
    out.append("\":");
    out.append_int(value.by_result[i]);
  }
  out.append('}');
}

void write(byte_buffer& out, const std::vector<calls_tallied::tally>& value, as_itself form) {
  char before = '[';
  for (const auto& one : value) {
    out.append(before);
    before = ',';
    out.append('[');
    append_json_string(out, one.service);
    out.append(',');
    append_json_string(out, one.breaker);
    out.append(',');
    write(out, one.counts, form);
    if (one.judged) {
      out.append(',');
      out.append_int(one.judged->epoch);
      if (one.judged->calls != one.counts.taken_place()) {
        out.append(',');
        write(out, one.judged->calls, form);
      }
    }
    out.append(']');
  }
  if (before == '[') out.append('[');
  out.append(']');
}

bool read_text(ondemand::value& from, std::string_view& to) {
  return from.get_string().get(to) == simdjson::SUCCESS;
}

bool read_base64url(ondemand::value& from, std::span<std::uint8_t> to) {
  std::string_view text;
  return read_text(from, text) && from_base64url(text, to);
}

bool read(ondemand::value& from, std::string& to, as_itself) {
  std::string_view text;
  if (!read_text(from, text)) return false;
  to = text;
  return true;
}

bool read(ondemand::value& from, std::string& to, as_bytes_text) {
  std::string_view text;
  if (!read_text(from, text)) return false;
  if (text.size() % 4 == 1) return false;
  to.resize(text.size() * 3 / 4);
  return from_base64url(text, {reinterpret_cast<std::uint8_t*>(to.data()), to.size()});
}

bool read(ondemand::value& from, std::string& to, as_raw_json) {
  ondemand::object object;
  std::string_view text;
  if (from.get_object().get(object) != simdjson::SUCCESS) return false;
  if (object.raw_json().get(text) != simdjson::SUCCESS) return false;
  to = text;
  return true;
}

bool read(ondemand::value& from, session_handle& to, as_itself) {
  std::string_view text;
  if (!read_text(from, text)) return false;
  const auto handle = parse_handle(text);
  if (handle) to = *handle;
  return handle.has_value();
}

bool read(ondemand::value& from, field_hashes& to, as_itself) {
  ondemand::object object;
  if (from.get_object().get(object) != simdjson::SUCCESS) return false;
  for (auto entry : object) {
    std::string_view key;
    ondemand::value value;
    if (entry.unescaped_key().get(key) != simdjson::SUCCESS ||
        entry.value().get(value) != simdjson::SUCCESS)
      return false;
    const auto field = parse_context_field(key);
    if (!field || (to.present & bit(*field)) != 0) return false;
    to.present = static_cast<field_set>(to.present | bit(*field));
    if (!read_base64url(value, to.hashes[static_cast<std::size_t>(*field)])) return false;
  }
  return true;
}

bool read(ondemand::value& from, call_counts& to, as_itself) {
  ondemand::object object;
  if (from.get_object().get(object) != simdjson::SUCCESS) return false;
  unsigned seen = 0;
  for (auto entry : object) {
    std::string_view key;
    if (entry.unescaped_key().get(key) != simdjson::SUCCESS) return false;
    const auto* found = std::find(call_result_names.begin(), call_result_names.end(), key);
    if (found == call_result_names.end()) return false;
    const auto i = static_cast<std::size_t>(found - call_result_names.begin());
    if ((seen >> i & 1U) != 0 ||
        entry.value().get_uint64().get(to.by_result[i]) != simdjson::SUCCESS)
      return false;
    seen |= 1U << i;
  }
  return seen == (1U << call_result_count) - 1;
}

bool read(ondemand::value& from, std::vector<calls_tallied::tally>& to, as_itself form) {
  ondemand::array array;
  if (from.get_array().get(array) != simdjson::SUCCESS) return false;
  for (auto element : array) {
    ondemand::array parts;
    if (element.get_array().get(parts) != simdjson::SUCCESS) return false;
    auto& one = to.emplace_back();
    std::size_t at = 0;
    for (auto part : parts) {
      ondemand::value value;
      if (part.get(value) != simdjson::SUCCESS) return false;
      if (at == 0 && !read(value, one.service, form)) return false;
      if (at == 1 && !read(value, one.breaker, form)) return false;
      if (at == 2 && !read(value, one.counts, form)) return false;
      if (at == 3) {
        one.judged.emplace();
        one.judged->calls = one.counts.taken_place();
        if (value.get_uint64().get(one.judged->epoch) != simdjson::SUCCESS) return false;
      }
      if (at == 4 && !read(value, one.judged->calls, form)) return false;
      if (++at > 5) return false;
    }
    if (at < 3) return false;
  }
  return true;
}

bool read(ondemand::value& from, field_set& to, as_names) {
  ondemand::array array;
  if (from.get_array().get(array) != simdjson::SUCCESS) return false;
  for (auto element : array) {
    std::string_view name;
    if (element.get_string().get(name) != simdjson::SUCCESS) return false;
    const auto field = parse_context_field(name);
    if (!field && name != ip_name) return false;
    const field_set one = field ? bit(*field) : ip_bit;
    if ((to & one) != 0) return false;
    to = static_cast<field_set>(to | one);
  }
  return true;
}

bool read(ondemand::value& from, std::vector<session_touched::touch>& to, as_itself form) {
  ondemand::array array;
  if (from.get_array().get(array) != simdjson::SUCCESS) return false;
  for (auto element : array) {
    ondemand::array pair;
    if (element.get_array().get(pair) != simdjson::SUCCESS) return false;
    auto& one = to.emplace_back();
    std::size_t at = 0;
    for (auto part : pair) {
      ondemand::value value;
      if (part.get(value) != simdjson::SUCCESS) return false;
      if (at == 0 && !read(value, one.handle, form)) return false;
      if (at == 1 && !read(value, one.last_seen_at_ms, form)) return false;
      if (++at > 2) return false;
    }
    if (at != 2) return false;
  }
  return true;
}

}  // namespace portcullis::core::json_form

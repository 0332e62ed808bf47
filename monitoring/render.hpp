// What a log line is made of, and its three forms: JSON with ECS names, text for a terminal, and an
// entry of systemd's journal.
#pragma once
#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "core/bytes.hpp"
#include "core/config/config.hpp"

namespace portcullis::monitoring {

/// A text that the compiler has seen: nothing that came in can be a message or a field's name. It
/// needs no escape: one with a quote, a backslash or a control does not compile.
class fixed_text {
 public:
  consteval fixed_text(const char* text) : text_(text) {
    for (const char c : text_)
      if (c < 0x20 || c > 0x7E || c == '"' || c == '\\') throw "not printable ASCII without quotes";
  }
  [[nodiscard]] constexpr std::string_view view() const noexcept { return text_; }

 private:
  std::string_view text_;
};

/// What may write to the log, in the order of its names.
enum class component : std::uint8_t {
  server,
  config,
  net,
  http,
  auth,
  session,
  lockout,
  breaker,
  events,
  store,
  actors,
  metrics,
  log
};
inline constexpr auto& component_names = core::log_component_names;
static_assert(component_names.size() == static_cast<std::size_t>(component::log) + 1);

/// A named value. Texts are views: they need to live until the call that they are handed to
/// returns.
struct field {
  field(fixed_text its_name, std::string_view text) : name(its_name), value(text) {}
  field(fixed_text its_name, const char* text) : name(its_name), value(std::string_view(text)) {}
  field(fixed_text its_name, const std::string& text)
      : name(its_name), value(std::string_view(text)) {}
  template <std::same_as<bool> Bool>
  field(fixed_text its_name, Bool truth) : name(its_name), value(truth) {}
  template <std::signed_integral Int>
  field(fixed_text its_name, Int number) : name(its_name), value(std::int64_t{number}) {}
  template <std::unsigned_integral Int>
  requires(!std::same_as<Int, bool>) field(fixed_text its_name, Int number)
      : name(its_name), value(std::uint64_t{number}) {}

  fixed_text name;
  std::variant<std::string_view, bool, std::int64_t, std::uint64_t> value;
};

struct log_line {
  core::millis at_ms = 0;
  core::log_level level = core::log_level::info;
  monitoring::component component = component::server;
  fixed_text message;
  std::span<const field> fields;
};

/// Who writes: on every JSON line.
struct log_identity {
  std::string node_id;
  std::string version;
};

/// Appends the line, its LF included. A field whose text is empty is left out. Pure.
void render_json(core::byte_buffer& out, const log_line& line, const log_identity& who);
void render_text(core::byte_buffer& out, const log_line& line);

/// Appends the line as one entry in the native protocol of systemd's journal (systemd,
/// JOURNAL_NATIVE_PROTOCOL): NAME=value lines. The names are those of the JSON line in capitals,
/// with _ for each other character, and MESSAGE, PRIORITY, SYSLOG_IDENTIFIER; texts are escaped as
/// there, without the quotes around them, so that no value needs the protocol's binary form. Pure.
void render_journal(core::byte_buffer& out, const log_line& line, const log_identity& who);

/// RFC 3339 in UTC with milliseconds: 2026-01-31T23:59:59.999Z. Years 0 to 9999; times outside are
/// put to its ends.
void append_time(core::byte_buffer& out, core::millis at_ms);

}  // namespace portcullis::monitoring

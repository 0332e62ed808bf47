#include "monitoring/render.hpp"

#include <algorithm>
#include <array>
#include <chrono>

#include "core/limits.hpp"
#include "monitoring/escape.hpp"
#include "monitoring/tallies.hpp"

namespace portcullis::monitoring {
namespace {

constexpr std::string_view ecs_version = "8.11.0";
constexpr std::array<std::string_view, 5> text_levels = {"TRACE", "DEBUG", "INFO ", "WARN ",
                                                         "ERROR"};

std::size_t index(core::log_level level) {
  return std::min(static_cast<std::size_t>(level), log_levels.size() - 1);
}

bool absent(const field& of) {
  const auto* text = std::get_if<std::string_view>(&of.value);
  return text != nullptr && text->empty();
}

void append_value(core::byte_buffer& out, const field& of) {
  struct {
    core::byte_buffer& out;
    void operator()(std::string_view text) const {
      append_escaped(out, text, core::limits::log_value_bytes_max);
    }
    void operator()(bool truth) const { out.append(truth ? "true" : "false"); }
    void operator()(std::int64_t number) const { out.append_int(number); }
    void operator()(std::uint64_t number) const { out.append_int(number); }
  } append{out};
  std::visit(append, of.value);
}

// systemd, JOURNAL_NATIVE_PROTOCOL and systemd.journal-fields(7): capitals, digits and _, and not
// first a _, which is the journal's own.
void append_journal_name(core::byte_buffer& out, std::string_view name) {
  for (const char c : name) {
    if (c >= 'a' && c <= 'z')
      out.append(static_cast<char>(c - 'a' + 'A'));
    else
      out.append((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_');
  }
  out.append('=');
}

// Of syslog.
char priority(core::log_level level) {
  switch (level) {
    case core::log_level::trace:
    case core::log_level::debug:
      return '7';
    case core::log_level::info:
      return '6';
    case core::log_level::warn:
      return '4';
    case core::log_level::error:
    case core::log_level::off:
      return '3';
  }
  __builtin_unreachable();
}

/// `text` needs no escape.
void append_member(core::byte_buffer& out, std::string_view name, std::string_view text) {
  out.append(",\"");
  out.append(name);
  out.append("\":\"");
  out.append(text);
  out.append('"');
}

void append_number(core::byte_buffer& out, std::int64_t number, int width) {
  std::array<char, 4> digits{};
  for (int i = width - 1; i >= 0; --i, number /= 10)
    digits[static_cast<std::size_t>(i)] = static_cast<char>('0' + number % 10);
  out.append({digits.data(), static_cast<std::size_t>(width)});
}

}  // namespace

void append_time(core::byte_buffer& out, core::millis at_ms) {
  constexpr core::millis year_0 = -62'167'219'200'000, year_9999_end = 253'402'300'799'999;
  const std::chrono::sys_time<std::chrono::milliseconds> at(
      std::chrono::milliseconds(std::clamp(at_ms, year_0, year_9999_end)));
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(day);
  const auto ms = (at - day).count();
  append_number(out, int(date.year()), 4);
  out.append('-');
  append_number(out, unsigned(date.month()), 2);
  out.append('-');
  append_number(out, unsigned(date.day()), 2);
  out.append('T');
  append_number(out, ms / 3'600'000, 2);
  out.append(':');
  append_number(out, ms / 60'000 % 60, 2);
  out.append(':');
  append_number(out, ms / 1'000 % 60, 2);
  out.append('.');
  append_number(out, ms % 1'000, 3);
  out.append('Z');
}

void render_json(core::byte_buffer& out, const log_line& line, const log_identity& who) {
  out.append("{\"@timestamp\":\"");
  append_time(out, line.at_ms);
  out.append('"');
  append_member(out, "log.level", log_levels[index(line.level)]);
  append_member(out, "message", line.message.view());
  append_member(out, "ecs.version", ecs_version);
  append_member(out, "log.logger", component_names[static_cast<std::size_t>(line.component)]);
  append_member(out, "service.name", "portcullis");
  const std::array<field, 2> about = {field("service.node.name", who.node_id),
                                      field("service.version", who.version)};
  const auto append_fields = [&](std::span<const field> fields) {
    for (const auto& each : fields) {
      if (absent(each)) continue;
      out.append(",\"");
      out.append(each.name.view());
      out.append("\":");
      append_value(out, each);
    }
  };
  append_fields(about);
  append_fields(line.fields);
  out.append("}\n");
}

void render_journal(core::byte_buffer& out, const log_line& line, const log_identity& who) {
  out.append("MESSAGE=");
  out.append(line.message.view());
  out.append("\nPRIORITY=");
  out.append(priority(line.level));
  out.append("\nSYSLOG_IDENTIFIER=portcullis\nTIMESTAMP=");
  append_time(out, line.at_ms);
  out.append("\nLOG_LEVEL=");
  out.append(log_levels[index(line.level)]);
  out.append("\nLOG_LOGGER=");
  out.append(component_names[static_cast<std::size_t>(line.component)]);
  out.append("\nECS_VERSION=");
  out.append(ecs_version);
  out.append("\nSERVICE_NAME=portcullis\n");
  const std::array<field, 2> about = {field("service.node.name", who.node_id),
                                      field("service.version", who.version)};
  const auto append_fields = [&](std::span<const field> fields) {
    for (const auto& each : fields) {
      if (absent(each)) continue;
      append_journal_name(out, each.name.view());
      if (const auto* text = std::get_if<std::string_view>(&each.value))
        append_escaped_bare(out, *text, core::limits::log_value_bytes_max);
      else
        append_value(out, each);
      out.append('\n');
    }
  };
  append_fields(about);
  append_fields(line.fields);
}

void render_text(core::byte_buffer& out, const log_line& line) {
  append_time(out, line.at_ms);
  out.append(' ');
  out.append(text_levels[index(line.level)]);
  out.append(' ');
  out.append(component_names[static_cast<std::size_t>(line.component)]);
  out.append(": ");
  out.append(line.message.view());
  for (const auto& each : line.fields) {
    if (absent(each)) continue;
    out.append(' ');
    out.append(each.name.view());
    out.append('=');
    append_value(out, each);
  }
  out.append('\n');
}

}  // namespace portcullis::monitoring

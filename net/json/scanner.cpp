#include "net/json/scanner.hpp"

#include <algorithm>
#include <bit>

#include "net/json/text_run.hpp"

namespace portcullis::net::json {
namespace {

// A value that is still coming holds no more tokens than this; beyond, scanning goes on without a
// tape and the complete value is scanned once more. So a peer that sends half a value pins little
// memory.
constexpr std::size_t waiting_tokens_max = 1024;
// Between values a larger tape is given back.
constexpr std::size_t idle_tokens_max = 256;

constexpr bool is_space(char c) noexcept { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

}  // namespace

scanner::scanner(scan_limits limits) : limits_(limits) {
  // Configuration refuses what the bits of objects_ could not follow.
  constexpr std::size_t most = 64;
  static_assert(core::limits::nesting_depth_configurable_max <= most);
  limits_.nesting_depth_max = std::min(limits_.nesting_depth_max, most);
}

void scanner::reset() noexcept {
  if (tape_.size() > idle_tokens_max) std::vector<token>().swap(tape_);
  count_ = 0;
  position_ = 0;
  depth_ = 0;
  state_ = state::value;
  recording_ = true;
}

scan_status scanner::resume(std::string_view bytes, bool eof) {
  const scan_status status = scan(bytes, eof);
  if (status == scan_status::incomplete && recording_ && count_ > waiting_tokens_max) {
    const token under_way = last();
    std::vector<token>(1, under_way).swap(tape_);
    count_ = 1;
    recording_ = false;
  } else if (status == scan_status::complete && !recording_) {
    const std::string_view value = bytes.substr(0, position_);
    reset();
    return scan(value, true);
  }
  return status;
}

scan_status scanner::scan(std::string_view bytes, bool eof) {
  // One byte past the limit shows that the value is too large, and where a number at the limit
  // ends.
  const std::size_t visible = std::min(bytes.size(), limits_.value_bytes_max + 1);
  const step last = run(bytes.data(), visible);
  if (last == step::go_on)
    return position_ <= limits_.value_bytes_max ? scan_status::complete : scan_status::too_large;
  if (last == step::starved) {
    if (bytes.size() > limits_.value_bytes_max) return scan_status::too_large;
    if (!eof) return scan_status::incomplete;
    if (ends_at_eof()) {
      if (recording_) tape_[0].end = static_cast<std::uint32_t>(position_);
      return scan_status::complete;
    }
    position_ = bytes.size();
    return scan_status::malformed;
  }
  if (position_ >= limits_.value_bytes_max) return scan_status::too_large;
  return last == step::bad ? scan_status::malformed : scan_status::too_deep;
}

bool scanner::ends_at_eof() const noexcept {
  if (depth_ != 0 || count_ == 0) return false;
  switch (state_) {
    case state::number_zero:
    case state::number_int:
    case state::number_fraction:
    case state::number_exponent:
      return true;
    case state::literal:
      return position_ - tape_[0].begin == (tape_[0].kind == token_kind::literal_false ? 5U : 4U);
    case state::value:
    case state::first_element:
    case state::first_key:
    case state::key:
    case state::colon:
    case state::after_value:
    case state::in_string:
    case state::number_minus:
    case state::number_point:
    case state::number_e:
    case state::number_e_sign:
    case state::finished:
      return false;
  }
  __builtin_unreachable();
}

// The usual steps of a request, keys and strings with no escapes, on local variables; all else in
// slow_step().
scanner::step scanner::run(const char* bytes, std::size_t size) {
  std::size_t at = position_;
  state now = state_;
  const auto leave = [&](step why) {
    position_ = at;
    state_ = now;
    return why;
  };
  for (;;) {
    if (now < state::in_string) {
      while (at < size && is_space(bytes[at])) ++at;
      if (at == size) return leave(step::starved);
    }
    bool usual = false;
    if (now == state::colon) {
      usual = bytes[at] == ':';
      if (usual) {
        ++at;
        now = state::value;
      }
    } else if (now == state::after_value) {
      usual = bytes[at] == ',';
      if (usual) {
        ++at;
        now = (objects_ & 1) != 0 ? state::key : state::value;
      }
    } else if (now <= state::key) {
      usual = bytes[at] == '"';
      if (usual) {
        string_is_key_ = now == state::key || now == state::first_key;
        push(token_kind::string, ++at);
        now = state::in_string;
      }
    }
    if (now == state::in_string) {
      at = skip_plain_text(bytes, at, size);
      if (at == size) return leave(step::starved);
      usual = bytes[at] == '"';
      if (usual) {
        last().end = static_cast<std::uint32_t>(at++);
        now = string_is_key_ ? state::colon : depth_ == 0 ? state::finished : state::after_value;
        // Most often the next string follows at once: `":"` or `","`.
        if (depth_ != 0 && size - at >= 2 && bytes[at + 1] == '"' &&
            bytes[at] == (string_is_key_ ? ':' : ',')) {
          string_is_key_ = !string_is_key_ && (objects_ & 1) != 0;
          push(token_kind::string, at += 2);
          now = state::in_string;
          continue;
        }
      }
    }
    if (now == state::finished) return leave(step::go_on);
    if (usual) continue;
    leave(step::go_on);
    const step next = slow_step(bytes, size);
    if (next != step::go_on) return next;
    at = position_;
    now = state_;
  }
}

scanner::step scanner::slow_step(const char* bytes, std::size_t size) {
  const char c = position_ < size ? bytes[position_] : '\0';
  switch (state_) {
    case state::first_element:
      return c == ']' ? close(false) : start_value(c);
    case state::value:
      return start_value(c);
    case state::first_key:
      return c == '}' ? close(true) : step::bad;
    case state::after_value:
      return c == '}' || c == ']' ? close(c == '}') : step::bad;
    case state::in_string:
      if (c == '\\') return scan_escape(bytes, size);
      return static_cast<unsigned char>(c) < 0x20 ? step::bad : scan_utf8(bytes, size);
    case state::literal:
      return scan_literal(bytes, size);
    case state::number_minus:
    case state::number_zero:
    case state::number_int:
    case state::number_point:
    case state::number_fraction:
    case state::number_e:
    case state::number_e_sign:
    case state::number_exponent:
      return scan_number(bytes, size);
    case state::key:
    case state::colon:
      return step::bad;
    case state::finished:
      break;
  }
  __builtin_unreachable();
}

inline void scanner::push(token_kind kind, std::size_t begin) {
  if (!recording_) count_ = 0;
  if (count_ == tape_.size()) tape_.resize(std::max<std::size_t>(64, 2 * std::size_t{count_}));
  token& fresh = tape_[count_++];
  fresh = token{};
  fresh.begin = static_cast<std::uint32_t>(begin);
  fresh.kind = kind;
  fresh.next = count_;
}

scanner::step scanner::open(token_kind kind) {
  if (depth_ >= limits_.nesting_depth_max) return step::deep;
  const bool object = kind == token_kind::object;
  push(kind, position_++);
  last().next = open_;
  open_ = count_ - 1;
  objects_ = objects_ << 1 | (object ? 1U : 0U);
  ++depth_;
  state_ = object ? state::first_key : state::first_element;
  return step::go_on;
}

scanner::step scanner::close(bool object) {
  if ((objects_ & 1) != (object ? 1U : 0U)) return step::bad;
  ++position_;
  if (recording_) {
    token& container = tape_[open_];
    open_ = container.next;
    container.next = count_;
    container.end = static_cast<std::uint32_t>(position_);
  }
  objects_ >>= 1;
  --depth_;
  value_ended();
  return step::go_on;
}

scanner::step scanner::start_value(char first) {
  switch (first) {
    case '{':
      return open(token_kind::object);
    case '[':
      return open(token_kind::array);
    case 't':
      push(token_kind::literal_true, position_);
      break;
    case 'f':
      push(token_kind::literal_false, position_);
      break;
    case 'n':
      push(token_kind::literal_null, position_);
      break;
    default:
      if (first != '-' && !is_digit(first)) return step::bad;
      push(token_kind::number, position_++);
      state_ = first == '-'   ? state::number_minus
               : first == '0' ? state::number_zero
                              : state::number_int;
      return step::go_on;
  }
  state_ = state::literal;
  return step::go_on;
}

scanner::step scanner::scan_escape(const char* bytes, std::size_t size) {
  // Leaves position_ at the backslash until the whole escape, or pair of them, is there: at most 12
  // bytes.
  if (position_ + 1 == size) return step::starved;
  last().escaped = true;
  const char kind = bytes[position_ + 1];
  if (kind != 'u') {
    if (std::string_view("\"\\/bfnrt").find(kind) == std::string_view::npos) {
      ++position_;
      return step::bad;
    }
    position_ += 2;
    return step::go_on;
  }
  const hex4 first = read_hex4(bytes, position_ + 2, size);
  if (first.bad_at != 0) {
    position_ = first.bad_at;
    return step::bad;
  }
  if (!first.complete) return step::starved;
  if (!is_high_surrogate(first.unit)) {
    if (is_low_surrogate(first.unit)) last().lone_surrogate = true;
    position_ += 6;
    return step::go_on;
  }
  const std::size_t second_at = position_ + 6;
  if (second_at == size) return step::starved;
  if (bytes[second_at] == '\\') {
    if (second_at + 1 == size) return step::starved;
    if (bytes[second_at + 1] == 'u') {
      const hex4 second = read_hex4(bytes, second_at + 2, size);
      if (second.bad_at == 0 && !second.complete) return step::starved;
      if (second.complete && is_low_surrogate(second.unit)) {
        position_ += 12;
        return step::go_on;
      }
    }
  }
  last().lone_surrogate = true;
  position_ += 6;
  return step::go_on;
}

scanner::step scanner::scan_utf8(const char* bytes, std::size_t size) {
  while (position_ < size && static_cast<unsigned char>(bytes[position_]) >= 0x80) {
    const utf8_sequence sequence = read_utf8(bytes, position_, size);
    if (sequence.bad) {
      position_ += sequence.size;
      return step::bad;
    }
    if (!sequence.complete) return step::starved;
    position_ += sequence.size;
  }
  return step::go_on;
}

scanner::step scanner::scan_number(const char* bytes, std::size_t size) {
  for (; position_ < size; ++position_) {
    const char c = bytes[position_];
    switch (state_) {
      case state::number_minus:
        if (!is_digit(c)) return step::bad;
        state_ = c == '0' ? state::number_zero : state::number_int;
        continue;
      case state::number_int:
        if (is_digit(c)) continue;
        [[fallthrough]];
      case state::number_zero:
        if (c == '.')
          state_ = state::number_point;
        else if (c == 'e' || c == 'E')
          state_ = state::number_e;
        else
          return end_scalar(c);
        continue;
      case state::number_point:
        if (!is_digit(c)) return step::bad;
        state_ = state::number_fraction;
        continue;
      case state::number_fraction:
        if (is_digit(c)) continue;
        if (c != 'e' && c != 'E') return end_scalar(c);
        state_ = state::number_e;
        continue;
      case state::number_e:
        if (c == '+' || c == '-') {
          state_ = state::number_e_sign;
          continue;
        }
        [[fallthrough]];
      case state::number_e_sign:
        if (!is_digit(c)) return step::bad;
        state_ = state::number_exponent;
        continue;
      case state::number_exponent:
        if (is_digit(c)) continue;
        return end_scalar(c);
      case state::value:
      case state::first_element:
      case state::first_key:
      case state::key:
      case state::colon:
      case state::after_value:
      case state::in_string:
      case state::literal:
      case state::finished:
        __builtin_unreachable();
    }
  }
  return step::starved;
}

scanner::step scanner::scan_literal(const char* bytes, std::size_t size) {
  const token& literal = last();
  const std::string_view text = literal.kind == token_kind::literal_true    ? "true"
                                : literal.kind == token_kind::literal_false ? "false"
                                                                            : "null";
  for (std::size_t done = position_ - literal.begin; done < text.size(); ++done, ++position_) {
    if (position_ == size) return step::starved;
    if (bytes[position_] != text[done]) return step::bad;
  }
  if (depth_ > 0) return end_scalar('\0');
  return position_ == size ? step::starved : end_scalar(bytes[position_]);
}

scanner::step scanner::end_scalar(char next) {
  // At the top level `truefalse` and `12"a"` are no values side by side that anyone means.
  if (depth_ == 0 && !is_space(next) && next != '{' && next != '[') return step::bad;
  last().end = static_cast<std::uint32_t>(position_);
  value_ended();
  return step::go_on;
}

}  // namespace portcullis::net::json

#include "core/event/codec.hpp"

#include <algorithm>

#include "core/event/json_form.hpp"

namespace portcullis::core {
namespace {

namespace ondemand = simdjson::ondemand;

constexpr std::size_t common_count = std::tuple_size_v<decltype(common_fields)>;

// --- writing

void append_key(byte_buffer& out, std::string_view name) {
  char* at = out.reserve(name.size() + 4);
  *at++ = ',';
  *at++ = '"';
  std::memcpy(at, name.data(), name.size());
  at += name.size();
  *at++ = '"';
  *at++ = ':';
  out.commit(name.size() + 4);
}

template <class Row, class Owner>
void append_field(byte_buffer& out, const Row& one, const Owner& from) {
  const auto& value = from.*one.member;
  if (one.when == presence::given && json_form::is_default(value)) return;
  append_key(out, one.name);
  json_form::write(out, value, typename Row::form{});
}

void append_handles(byte_buffer& out, const session_touched& touched) {
  if (touched.touches.size() == 1) {
    append_key(out, "handle");
    json_form::write(out, touched.touches.front().handle, as_itself{});
    return;
  }
  append_key(out, "handles");
  char before = '[';
  for (const auto& one : touched.touches) {
    out.append(before);
    before = ',';
    json_form::write(out, one.handle, as_itself{});
  }
  if (before == '[') out.append('[');
  out.append(']');
}

// --- reading

struct reader {
  std::string_view name;
  bool required = false;
  bool (*read)(ondemand::value& from, event& to) = nullptr;
};

template <std::size_t I>
bool read_common(ondemand::value& from, event& to) {
  constexpr auto& one = std::get<I>(common_fields);
  return json_form::read(from, to.*one.member, typename std::remove_cvref_t<decltype(one)>::form{});
}

template <class Body, std::size_t I>
bool read_own(ondemand::value& from, event& to) {
  constexpr auto& one = std::get<I>(fields_of<Body>);
  return json_form::read(from, (*std::get_if<Body>(&to.body)).*one.member,
                         typename std::remove_cvref_t<decltype(one)>::form{});
}

bool read_node(ondemand::value& from, event& to) {
  std::string_view node;
  if (!json_form::read_text(from, node)) return false;
  to.node = node;
  return true;
}

std::string_view node_of(const event& happened, std::string_view own) {
  return happened.node.empty() ? own : std::string_view(happened.node);
}

// In the order written, so that the next key is nearly always the next reader's.
template <class Body>
constexpr auto make_readers() {
  constexpr std::size_t own_count =
      std::tuple_size_v<std::remove_cvref_t<decltype(fields_of<Body>)>>;
  std::array<reader, 1 + common_count + own_count> all{};
  all[0] = {"node", true, &read_node};
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    ((all[1 + I] = {std::get<I>(common_fields).name, false, &read_common<I>}), ...);
  }
  (std::make_index_sequence<common_count>{});
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    ((all[1 + common_count + I] = {std::get<I>(fields_of<Body>).name,
                                   std::get<I>(fields_of<Body>).when == presence::always,
                                   &read_own<Body, I>}),
     ...);
  }
  (std::make_index_sequence<own_count>{});
  return all;
}

template <class Body>
constexpr auto readers_of = make_readers<Body>();

template <class Body>
constexpr bool names_are_unique() {
  for (std::size_t i = 0; i < readers_of<Body>.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (readers_of<Body>[i].name == readers_of<Body>[j].name) return false;
  return readers_of<Body>.size() <= 32;
}

template <class Body>
constexpr std::uint32_t bit_of(std::string_view name) {
  for (std::size_t i = 0; i < readers_of<Body>.size(); ++i)
    if (readers_of<Body>[i].name == name) return std::uint32_t{1} << i;
  return 0;
}

// `dropped`: its bit, where the type has it, and those of what drop_body() leaves.
struct object_form {
  std::span<const reader> readers;
  std::uint32_t dropped = 0, left_when_dropped = 0;
};

template <class Body>
constexpr object_form form_of = {
    readers_of<Body>, bit_of<Body>("dropped"),
    bit_of<Body>("node") | bit_of<Body>("tenant_id") | bit_of<Body>("dropped")};

template <std::size_t... I>
constexpr auto make_reader_table(std::index_sequence<I...>) {
  static_assert((names_are_unique<std::variant_alternative_t<I, event_body>>() && ...));
  return std::array<object_form, sizeof...(I)>{
      form_of<std::variant_alternative_t<I, event_body>>...};
}
constexpr auto reader_table = make_reader_table(std::make_index_sequence<event_type_count>{});

template <std::size_t... I>
void make_body(event& to, std::size_t type, std::index_sequence<I...>) {
  ((type == I ? static_cast<void>(to.body.emplace<I>()) : void()), ...);
}

// The key's text ends at its quote, and the buffer is padded past any name of ours.
bool is_key(const char* raw, std::string_view name) noexcept {
  // Most names that are tried are of fields that are not there, and differ in their first letter.
  return raw[0] == name[0] && std::memcmp(raw, name.data(), name.size()) == 0 &&
         raw[name.size()] == '"';
}

bool read_object(ondemand::object object, const object_form& form, event& to) {
  const auto readers = form.readers;
  std::uint32_t seen = 0;
  std::size_t next = 0;
  for (auto entry : object) {
    ondemand::field field;
    if (std::move(entry).get(field) != simdjson::SUCCESS) return false;
    const char* raw = field.key().raw();
    std::size_t tried = 0;
    while (tried < readers.size() && !is_key(raw, readers[next].name)) {
      next = next + 1 == readers.size() ? 0 : next + 1;
      ++tried;
    }
    if (tried == readers.size() || (seen >> next & 1U) != 0) return false;
    seen |= 1U << next;
    if (!readers[next].read(field.value(), to)) return false;
    next = next + 1 == readers.size() ? 0 : next + 1;
  }
  for (std::size_t i = 0; i < readers.size(); ++i)
    if (readers[i].required && (seen >> i & 1U) == 0) return false;
  // The mac has the hash of what was dropped and nothing of what stands beside it now: that may be
  // anything.
  return (seen & form.dropped) == 0 || (seen & ~form.left_when_dropped) == 0;
}

}  // namespace

void append_body(byte_buffer& out, const event& happened, std::string_view node) {
  static_cast<void>(out.reserve(1024));
  out.append("{\"node\":");
  append_json_string(out, node_of(happened, node));
  append_field(out, std::get<0>(common_fields), happened);
  append_field(out, std::get<1>(common_fields), happened);
  append_field(out, std::get<2>(common_fields), happened);
  append_field(out, std::get<3>(common_fields), happened);
  if (happened.decided_at_ms != happened.at_ms)
    append_field(out, std::get<4>(common_fields), happened);
  std::visit(
      [&](const auto& body) {
        for_each_row(fields_of<std::remove_cvref_t<decltype(body)>>, [&](const auto& one) {
          if (one.is_stored()) append_field(out, one, body);
        });
      },
      happened.body);
  out.append('}');
}

std::string drop_body(std::string_view body) {
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  std::string_view node, tenant_id;
  if (parser.parse(body.data(), body.size(), true).get(object) != simdjson::SUCCESS ||
      object["node"].get(node) != simdjson::SUCCESS ||
      object["dropped"].error() == simdjson::SUCCESS)
    return {};
  byte_buffer out;
  out.append("{\"node\":");
  append_json_string(out, node);
  if (object["tenant_id"].get(tenant_id) == simdjson::SUCCESS) {
    append_key(out, "tenant_id");
    append_json_string(out, tenant_id);
  }
  append_key(out, "dropped");
  json_form::write_base64url(out, sha256(as_bytes(body)));
  out.append('}');
  return std::string(out.view());
}

void append_shown(byte_buffer& out, const event& happened, std::string_view node,
                  std::string_view user_id) {
  const auto type = happened.type();
  out.append("{\"seq\":");
  out.append_int(happened.seq);
  append_key(out, "at_ms");
  out.append_int(happened.at_ms);
  append_key(out, "node");
  append_json_string(out, node_of(happened, node));
  append_key(out, "type");
  json_form::write(out, type, as_itself{});
  append_field(out, std::get<2>(common_fields), happened);
  append_field(out, std::get<0>(common_fields), happened);
  if (!user_id.empty()) {
    append_key(out, "user_id");
    append_json_string(out, user_id);
  }
  if (type != event_type::session_touched) append_field(out, std::get<1>(common_fields), happened);
  append_field(out, std::get<3>(common_fields), happened);
  if (const auto* touched = std::get_if<session_touched>(&happened.body)) {
    append_handles(out, *touched);
  } else {
    std::visit(
        [&](const auto& body) {
          using body_type = std::remove_cvref_t<decltype(body)>;
          for_each_row(fields_of<body_type>, [&](const auto& one) {
            if (one.is_shown()) append_field(out, one, body);
          });
        },
        happened.body);
  }
  out.append('}');
}

result<event> decode_body(std::uint64_t seq, millis at_ms, std::string_view type, byte_view subject,
                          std::string_view body, std::string_view sealed) {
  // Kept between calls: both allocate by the size of the largest body seen.
  thread_local ondemand::parser parser;
  thread_local std::string padded;

  const auto known = parse_event_type(type);
  if (!known) return fail(error_code::LOG_CORRUPT, {}, "type");
  event happened;
  if (!subject.empty()) {
    if (subject.size() != sizeof(subject_id)) return fail(error_code::LOG_CORRUPT, {}, "subject");
    std::copy(subject.begin(), subject.end(), happened.subject.emplace().bytes.begin());
  }
  happened.seq = seq;
  happened.at_ms = at_ms;
  happened.sealed = sealed;
  make_body(happened, static_cast<std::size_t>(*known),
            std::make_index_sequence<event_type_count>{});

  if (padded.size() < body.size() + simdjson::SIMDJSON_PADDING)
    padded.resize((body.size() + simdjson::SIMDJSON_PADDING) * 2);
  std::memcpy(padded.data(), body.data(), body.size());
  ondemand::document document;
  ondemand::object object;
  if (parser.iterate(padded.data(), body.size(), padded.size()).get(document) !=
          simdjson::SUCCESS ||
      document.get_object().get(object) != simdjson::SUCCESS ||
      !read_object(object, reader_table[static_cast<std::size_t>(*known)], happened) ||
      document.current_location().error() != simdjson::OUT_OF_BOUNDS)
    return fail(error_code::LOG_CORRUPT, {}, "body");

  if (happened.decided_at_ms == 0) happened.decided_at_ms = at_ms;
  if (happened.type() == event_type::session_created) happened.session_seq = seq;
  return happened;
}

}  // namespace portcullis::core

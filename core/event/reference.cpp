// The reference page of events, from the same table as the codec.
#include "core/event/codec.hpp"
#include "core/event/fields.hpp"

namespace portcullis::core {
namespace {

template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};

template <class Form, class T>
std::string_view json_type() {
  if constexpr (is_optional<T>::value)
    return json_type<Form, typename T::value_type>();
  else if constexpr (std::is_same_v<Form, as_raw_json> || std::is_same_v<T, field_hashes> ||
                     std::is_same_v<T, call_counts>)
    return "object";
  else if constexpr (std::is_same_v<Form, as_names>)
    return "array of text";
  else if constexpr (std::is_same_v<T, std::vector<session_touched::touch>> ||
                     std::is_same_v<T, std::vector<calls_tallied::tally>>)
    return "array";
  else if constexpr (std::is_same_v<T, bool>)
    return "boolean";
  else if constexpr (std::is_integral_v<T>)
    return "integer";
  else
    return "text";
}

std::string_view to_string(visibility seen) {
  switch (seen) {
    case visibility::stored:
      return "stored";
    case visibility::shown:
      return "shown";
    case visibility::both:
      return "stored, shown";
  }
  return {};
}

void append_rows(std::string& page, const auto& rows) {
  page += "| field | type | where | |\n|---|---|---|---|\n";
  for_each_row(rows, [&](const auto& one) {
    using row_type = std::remove_cvref_t<decltype(one)>;
    page.append("| `").append(one.name).append("` | ");
    page.append(json_type<typename row_type::form, typename row_type::type>());
    page.append(one.when == presence::given ? ", optional | " : " | ");
    page.append(to_string(one.seen)).append(" | ").append(one.note).append(" |\n");
  });
}

template <class Body>
void append_type(std::string& page, event_type type) {
  page.append("\n## `").append(to_string(type)).append("`\n");
  if constexpr (std::tuple_size_v<std::remove_cvref_t<decltype(fields_of<Body>)>> == 0) {
    page += "No fields of its own.\n";
  } else {
    append_rows(page, fields_of<Body>);
  }
}

template <std::size_t... I>
void append_types(std::string& page, std::index_sequence<I...>) {
  (append_type<std::variant_alternative_t<I, event_body>>(page, static_cast<event_type>(I)), ...);
}

}  // namespace

std::string event_reference() {
  std::string page =
      "# Events\n\n"
      "Generated from the table in core/event/fields.hpp by `portcullis docs events`; do not "
      "edit.\n\n"
      "Every event has `seq` and `at_ms` (milliseconds since the Unix epoch, never decreasing with "
      "`seq`), `node` and\n"
      "`type`. *Shown* is what events.query and subscribers get, with `user_id` where a user is "
      "concerned; *stored* is\n"
      "what column `body` of table `events` holds as JSON. Bytes are unpadded base64url.\n\n"
      "## Every event\n";
  append_rows(page, common_fields);
  append_types(page, std::make_index_sequence<event_type_count>{});
  return page;
}

}  // namespace portcullis::core

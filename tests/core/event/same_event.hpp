// Whether two events say the same in all that the log keeps. Goes by the codec's table; that the
// table itself forgets no member is checked by counting members.
#pragma once
#include "core/event/fields.hpp"

namespace portcullis::core {

inline bool same_value(const std::vector<session_touched::touch>& a,
                       const std::vector<session_touched::touch>& b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](const auto& one, const auto& other) {
           return one.handle == other.handle && one.last_seen_at_ms == other.last_seen_at_ms;
         });
}
template <class T>
bool same_value(const T& a, const T& b) {
  return a == b;
}

template <class Rows, class Owner>
bool same_members(const Rows& rows, const Owner& a, const Owner& b) {
  bool same = true;
  for_each_row(rows,
               [&](const auto& one) { same = same && same_value(a.*one.member, b.*one.member); });
  return same;
}

inline bool same_event(const event& a, const event& b) {
  if (a.seq != b.seq || a.at_ms != b.at_ms || a.subject != b.subject || a.sealed != b.sealed ||
      a.type() != b.type())
    return false;
  return same_members(common_fields, a, b) &&
         std::visit(
             [&](const auto& body) {
               using body_type = std::remove_cvref_t<decltype(body)>;
               return same_members(fields_of<body_type>, body, *std::get_if<body_type>(&b.body));
             },
             a.body);
}

struct anything {
  template <class T>
  operator T() const;
};
template <class T, class... Given>
constexpr std::size_t member_count() {
  if constexpr (requires { T{Given{}..., anything{}}; })
    return member_count<T, Given..., anything>();
  else
    return sizeof...(Given);
}

}  // namespace portcullis::core

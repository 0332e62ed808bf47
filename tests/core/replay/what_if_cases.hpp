// What the tests of what-if have in common: contexts, policies, attacks.
#pragma once
#include "lived.hpp"

namespace portcullis::core {

inline const context home = context_of("192.0.2.7");
inline const context abroad = context_of("198.51.100.9");
inline const context elsewhere = context_of("203.0.113.5");
inline const context next_door = context_of("192.0.2.99");
inline const context other_agent = context_of("192.0.2.7", "curl/8");

inline policy_book with_threshold(std::uint32_t threshold) {
  policy_book book;
  book.lockout.threshold = threshold;
  return book;
}
template <class Change>
policy_book changed(policy_book book, Change&& change) {
  change(book);
  return book;
}

inline policy_book idle(std::int64_t ttl_s) {
  policy_book book;
  book.session.idle_ttl_s = ttl_s;
  book.session.touch_granularity_s = std::min<std::int64_t>(60, ttl_s / 2);
  return book;
}

inline void fail(lived& node, const session_id& id, int times, const context& from = abroad,
                 millis apart_ms = 2'000) {
  for (int i = 0; i < times; ++i) {
    (void)node.validate(id, from);
    node.pass(apart_ms);
  }
}

}  // namespace portcullis::core

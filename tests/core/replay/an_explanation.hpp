// What the tests of explanations have in common: a history, of which each event can be explained as
// it is, or as it would be after somebody altered it.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "explained.hpp"

namespace portcullis::core {

class an_explanation : public testing::Test {
 protected:
  /// Of the event at `index`, as it is or as `alter` makes it.
  explanation of(std::size_t index, const std::function<void(event&)>& alter = nullptr) {
    explainer again(all.opener(), all.policies, &all.w.keys);
    again.place = place;
    past_events past(topic_of(w.log[index]));
    for (std::size_t i = 0; i < index; ++i) {
      const auto what = from_disk(w.log[i]);
      again.pass(what);
      past.note(what);
    }
    auto what = from_disk(w.log[index]);
    if (alter) alter(what);
    return again.explain(what, &past);
  }
  template <class Body>
  void altered(std::size_t index, const char* how, const std::function<void(Body&)>& alter) {
    const auto as_logged = of(index);
    EXPECT_EQ(as_logged.agrees, agreement::yes) << as_logged.why;
    const auto found = of(index, [&](event& what) { alter(std::get<Body>(what.body)); });
    EXPECT_EQ(found.agrees, agreement::no) << how;
    EXPECT_THAT(found.why, testing::HasSubstr("the log says")) << how;
    EXPECT_THAT(found.why, testing::HasSubstr("the rules give")) << how;
  }
  /// A count that no session of the user explains.
  void altered_to_no(std::size_t index) {
    const auto found =
        of(index, [](event& what) { std::get<session_revoked>(what.body).count = 7; });
    EXPECT_EQ(found.agrees, agreement::no);
  }
  std::size_t last(event_type type) {
    for (std::size_t i = w.log.size(); i-- > 0;)
      if (w.log[i].type() == type) return i;
    ADD_FAILURE() << "no " << to_string(type);
    return 0;
  }
  std::string value(const explanation& how, std::string_view name) {
    for (const auto& each : how.values)
      if (each.name == name) return each.value;
    return "no such value";
  }
  static std::vector<event_type> types(const explanation& how) {
    std::vector<event_type> out;
    for (const auto& each : how.because) out.push_back(each.type);
    return out;
  }

  logged_world all;
  world& w = all.w;
  std::optional<log_place> place;
  const context elsewhere = context_of("198.51.100.7");
};

}  // namespace portcullis::core

// The sources actor: distinct unknown ids of a source in a window, and its bounds.
#include "actors/sources.hpp"

#include "fixture.hpp"

namespace portcullis::actors {
namespace {

class sources_world : public virtual_loop {
 public:
  explicit sources_world(std::uint32_t threshold, std::size_t ids_max = 1'000) {
    book->lockout.source_threshold = threshold;
    sources = system.spawn(sources_behaviour, sources_options{book, &clock, ids_max});
    session = system.spawn([this](caf::event_based_actor*) {
      return caf::behavior{
          [this](source_limit_changed& change) { limits.push_back(std::move(change)); }};
    });
    node_peers peers;
    peers.sessions = {caf::actor_cast<session_actor>(session)};
    caf::anon_send(sources, std::move(peers));
    settle();
  }
  ~sources_world() {
    caf::anon_send_exit(caf::actor_cast<caf::actor>(sources), caf::exit_reason::user_shutdown);
    caf::anon_send_exit(session, caf::exit_reason::user_shutdown);
    settle();
  }
  void see(std::uint8_t source, std::uint8_t id) {
    unknown_id_seen seen;
    seen.source[0] = source;
    seen.id[0] = id;
    caf::anon_send(sources, std::move(seen));
    settle();
  }

  std::shared_ptr<core::policy_book> book = std::make_shared<core::policy_book>();
  sources_actor sources;
  caf::actor session;
  std::vector<source_limit_changed> limits;
};

TEST(a_source, is_limited_for_a_while_at_its_threshold_of_distinct_ids) {
  sources_world w(3);
  for (int i = 0; i < 5; ++i) w.see(1, 1);
  w.see(1, 2);
  w.see(2, 3);
  EXPECT_TRUE(w.limits.empty());
  w.see(1, 3);
  ASSERT_EQ(w.limits.size(), 1U);
  EXPECT_EQ(w.limits[0].source[0], 1);
  EXPECT_EQ(w.limits[0].until_ms, w.clock.at_ms + w.book->lockout.duration_s * 1000);
  for (std::uint8_t id = 4; id < 9; ++id) w.see(1, id);
  EXPECT_EQ(w.limits.size(), 1U);  // told once
  w.clock.at_ms += w.book->lockout.duration_s * 1000;
  for (std::uint8_t id = 1; id < 4; ++id) w.see(1, id);
  EXPECT_EQ(w.limits.size(), 2U);
}

TEST(a_source, is_forgotten_with_its_window) {
  sources_world w(3);
  w.see(1, 1);
  w.see(1, 2);
  w.clock.at_ms += w.book->lockout.window_s * 1000;
  w.see(1, 3);
  w.see(1, 4);
  EXPECT_TRUE(w.limits.empty());
  w.see(1, 5);
  EXPECT_EQ(w.limits.size(), 1U);
}

TEST(a_source, is_never_limited_without_a_threshold) {
  sources_world w(0);
  for (std::uint8_t id = 0; id < 200; ++id) w.see(1, id);
  EXPECT_TRUE(w.limits.empty());
}

TEST(sources, past_the_bound_of_ids_count_again_when_a_window_or_a_count_has_ended) {
  sources_world w(3, 4);
  w.see(1, 1);
  w.see(1, 2);
  w.see(2, 1);
  w.see(2, 2);  // full
  for (std::uint8_t id = 3; id < 9; ++id) w.see(1, id);
  EXPECT_TRUE(w.limits.empty());
  w.clock.at_ms += w.book->lockout.window_s * 1000;
  w.pass(2'000);  // the tick drops what has ended
  for (std::uint8_t id = 0; id < 3; ++id) w.see(3, id);
  EXPECT_EQ(w.limits.size(), 1U);
  for (std::uint8_t id = 0; id < 3; ++id) w.see(4, id);  // a limited source needs its ids no more
  EXPECT_EQ(w.limits.size(), 2U);
}

}  // namespace
}  // namespace portcullis::actors

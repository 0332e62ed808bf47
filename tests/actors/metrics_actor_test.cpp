// A scrape collects from every owner; one that is away or silent is shown as last seen and holds
// up nothing.
#include "actors/metrics.hpp"

#include "fixture.hpp"

namespace portcullis::actors {
namespace {

using monitoring::actor_kind;

/// How much mail each actor of a kind says that it has.
std::uint64_t waiting(actor_kind kind) { return static_cast<std::uint64_t>(kind) + 1; }

class metrics_world : public virtual_loop {
 public:
  metrics_world() {
    metrics_actor_options options;
    auto registry = monitoring::metrics::create({"1.2.3", "abc", {}});
    EXPECT_TRUE(registry);
    options.registry = std::move(*registry);
    for (std::uint64_t shard = 0; shard < 2; ++shard) {
      sessions.push_back(scripted({[this, shard](collect_shard&) {
        shard_collected out;
        out.tallies.incarnation = 1;
        out.tallies.sessions_created = created[shard];
        out.tallies.sessions_live = 1;
        out.mailbox_depth = waiting(actor_kind::session);
        return out;
      }}));
      options.sessions.push_back(caf::actor_cast<session_actor>(sessions.back()));
      others.push_back(scripted({[](count_locks&) {
        return locks_counted{2, waiting(actor_kind::lockout)};
      }}));
      options.lockouts.push_back(caf::actor_cast<lockout_actor>(others.back()));
      others.push_back(scripted({[](collect_loop&) {
        return loop_collected{{}, waiting(actor_kind::gateway)};
      }}));
      options.gateways.push_back(caf::actor_cast<gateway_actor>(others.back()));
      others.push_back(scripted({[](collect_subscriptions&) {
        subscriptions_collected out;
        out.tallies.incarnation = 1;
        out.tallies.live = 3;
        out.mailbox_depth = waiting(actor_kind::subscriptions);
        return out;
      }}));
      options.subscriptions.push_back(caf::actor_cast<subscriptions_actor>(others.back()));
      others.push_back(scripted({[shard](collect_breakers&) {
        breakers_collected out;
        out.tallies.incarnation = 1;
        auto& each = out.tallies.breakers.emplace_back();
        each.service = "service-" + std::to_string(shard);
        each.breaker = "default";
        each.number = shard + 1;
        out.mailbox_depth = waiting(actor_kind::breaker);
        return out;
      }}));
      options.breakers.push_back(caf::actor_cast<breaker_actor>(others.back()));
    }
    others.push_back(system.spawn([this](caf::event_based_actor* self) {
      return caf::behavior{[this, self](collect_journal&) -> caf::result<journal_collected> {
        if (journal_hangs) return self->make_response_promise<journal_collected>();
        journal_collected out;
        out.tallies.incarnation = 1;
        out.mailbox_depth = waiting(actor_kind::journal);
        return out;
      }};
    }));
    options.journal = caf::actor_cast<journal_actor>(others.back());
    options.hub = only_mail<hub_actor>(actor_kind::hub);
    options.log = only_mail<log_actor>(actor_kind::log);
    for (int shard = 0; shard < 2; ++shard)
      options.directories.push_back(only_mail<directory_actor>(actor_kind::directory));
    options.reloads = [] { return monitoring::reload_tallies{}; };
    (void)options.aliases->reserve({1, 2}, 3, clock.at_ms);
    (void)options.aliases->reserve({4, 5}, 3, clock.at_ms);
    options.clock = &clock;
    metrics = system.spawn(metrics_behaviour, std::move(options));
    settle();
  }
  ~metrics_world() {
    caf::anon_send_exit(caf::actor_cast<caf::actor>(metrics), caf::exit_reason::user_shutdown);
    for (const auto& each : sessions) caf::anon_send_exit(each, caf::exit_reason::user_shutdown);
    for (const auto& each : others) caf::anon_send_exit(each, caf::exit_reason::user_shutdown);
    settle();
  }
  caf::actor scripted(caf::behavior does) {
    return system.spawn([does](caf::event_based_actor*) { return does; });
  }
  template <class Handle>
  Handle only_mail(actor_kind kind) {
    others.push_back(scripted({[kind](count_mail) { return mail_counted{waiting(kind)}; }}));
    return caf::actor_cast<Handle>(others.back());
  }
  /// Begins a scrape; what it gave stands in `text`.
  void ask() {
    text.clear();
    system.spawn([this](caf::event_based_actor* self) {
      self->request(metrics, caf::infinite, scrape{}).then([this](scraped& got) {
        text = std::move(got.text);
      });
    });
    settle();
  }
  [[nodiscard]] bool shows(std::string_view line) const {
    return text.find("\n" + std::string(line) + "\n") != std::string::npos;
  }

  std::vector<caf::actor> sessions, others;
  bool journal_hangs = false;
  std::uint64_t created[2] = {5, 7};
  metrics_actor metrics;
  std::string text;
};

TEST(a_scrape, adds_up_what_every_owner_tells) {
  metrics_world w;
  w.ask();
  EXPECT_TRUE(w.shows("portcullis_sessions_created_total 12")) << w.text;
  EXPECT_TRUE(w.shows("portcullis_sessions 2"));
  EXPECT_TRUE(w.shows("portcullis_lockouts_active 4"));
  EXPECT_TRUE(w.shows("portcullis_aliases 2"));
  for (const auto* service : {"service-0", "service-1"})
    EXPECT_TRUE(w.shows("circuit_breaker_state{breaker=\"default\",service=\"" +
                        std::string(service) + "\",source=\"hosted\"} 0"));
  w.created[0] = 6;
  w.ask();
  EXPECT_TRUE(w.shows("portcullis_sessions_created_total 13"));
}

TEST(a_scrape, says_how_long_before_it_the_one_before_was) {
  metrics_world w;
  w.ask();
  EXPECT_TRUE(w.shows("portcullis_scrape_gap_seconds 0")) << "there was none";
  w.clock.at_ms += 15'500;
  w.ask();
  EXPECT_TRUE(w.shows("portcullis_scrape_gap_seconds 15.5")) << w.text;
  w.clock.at_ms += 1'000;
  w.ask();
  EXPECT_TRUE(w.shows("portcullis_scrape_gap_seconds 1")) << w.text;
}

TEST(a_scrape, tells_the_mail_of_every_kind_of_actor_in_the_table) {
  metrics_world w;
  w.ask();
  using enum actor_kind;
  for (std::size_t i = 0; i < monitoring::actor_kinds.size(); ++i) {
    const auto kind = static_cast<actor_kind>(i);
    const bool alone = kind == hub || kind == journal || kind == log;
    EXPECT_TRUE(w.shows("portcullis_mailbox_depth{actor=\"" +
                        std::string(monitoring::actor_kinds[i]) + "\"} " +
                        std::to_string(waiting(kind) * (alone ? 1 : 2))))
        << w.text;
  }
}

TEST(a_scrape, shows_an_owner_that_is_gone_as_last_seen) {
  metrics_world w;
  w.ask();
  caf::anon_send_exit(w.sessions[1], caf::exit_reason::kill);
  w.settle();
  w.created[0] = 9;
  w.ask();
  EXPECT_TRUE(w.shows("portcullis_sessions_created_total 16")) << w.text;
}

TEST(a_scrape, says_how_long_the_journal_has_not_answered_and_counts_no_time_that_nobody_asked_in) {
  metrics_world w;
  w.ask();
  EXPECT_TRUE(w.shows("portcullis_event_log_silent_seconds 0")) << w.text;
  // Nobody asks for an hour; then the disk hangs.
  w.clock.at_ms += 3'600'000;
  w.journal_hangs = true;
  w.ask();
  EXPECT_EQ(w.text, "");
  const auto asked_at = w.clock.at_ms;
  w.pass(2'500);
  const auto told = [&] {
    std::string name = "\nportcullis_event_log_silent_seconds ";
    const auto at = w.text.find(name);
    return at == w.text.npos ? -1 : std::stod(w.text.substr(at + name.size()));
  };
  EXPECT_GE(told(), 2);
  EXPECT_LE(told(), 2.5) << "since it was asked, not since it was heard";
  w.clock.at_ms = asked_at + 15'000;
  w.ask();
  w.pass(2'500);
  EXPECT_GE(told(), 17) << "since the first question";
  EXPECT_LE(told(), 17.5);
  w.journal_hangs = false;
  w.ask();
  EXPECT_TRUE(w.shows("portcullis_event_log_silent_seconds 0")) << w.text;
}

TEST(a_scrape, does_not_wait_for_ever_for_an_owner_that_is_silent) {
  metrics_world w;
  const auto silent = w.system.spawn([](caf::event_based_actor* self) {
    return caf::behavior{[self](collect_shard&) -> caf::result<shard_collected> {
      return self->make_response_promise<shard_collected>();
    }};
  });
  const auto lockout = caf::actor_cast<lockout_actor>(w.others[0]);
  caf::anon_send(w.metrics, shard_moved{0, caf::actor_cast<session_actor>(silent), lockout,
                                        caf::actor_cast<directory_actor>(w.others.back())});
  w.ask();
  EXPECT_TRUE(w.text.empty());
  w.pass(2'500);
  EXPECT_TRUE(w.shows("portcullis_sessions_created_total 7")) << w.text;
  caf::anon_send_exit(silent, caf::exit_reason::user_shutdown);
  w.settle();
}

}  // namespace
}  // namespace portcullis::actors

// A scrape asks every owner, and shows what each said.
#include "actors/metrics.hpp"

#include "fixture.hpp"
#include "monitoring/tallies.hpp"

namespace portcullis::actors {
namespace {

/// Two shards and a loop whose owners all tell how much mail waits; kind i has i + 1 a member.
class scrape_world : public virtual_loop {
 public:
  scrape_world() {
    const auto waiting = [](monitoring::actor_kind kind) {
      return static_cast<std::uint64_t>(kind) + 1;
    };
    using enum monitoring::actor_kind;
    metrics_actor_options options;
    auto made = monitoring::metrics::create({"1.2.3", "abc", {}});
    options.registry = std::move(*made);
    options.hub = fake<hub_actor>([=](count_mail) { return mail_counted{waiting(hub)}; });
    options.log = fake<log_actor>([=](count_mail) { return mail_counted{waiting(log)}; });
    options.journal = fake<journal_actor>([=](collect_journal&) {
      return journal_collected{{}, waiting(journal)};
    });
    for (int shard = 0; shard < 2; ++shard) {
      options.sessions.push_back(fake<session_actor>([=](collect_shard&) {
        return shard_collected{{}, waiting(session)};
      }));
      options.lockouts.push_back(fake<lockout_actor>([=](count_locks&) {
        return locks_counted{0, waiting(lockout)};
      }));
      options.directories.push_back(
          fake<directory_actor>([=](count_mail) { return mail_counted{waiting(directory)}; }));
    }
    options.gateways.push_back(fake<gateway_actor>([=](collect_loop&) {
      return loop_collected{{}, waiting(gateway)};
    }));
    options.subscriptions.push_back(fake<subscriptions_actor>([=](collect_subscriptions&) {
      return subscriptions_collected{{}, waiting(subscriptions)};
    }));
    metrics = system.spawn(metrics_behaviour, std::move(options));
    settle();
  }
  ~scrape_world() {
    caf::anon_send_exit(caf::actor_cast<caf::actor>(metrics), caf::exit_reason::user_shutdown);
    for (const auto& each : fakes) caf::anon_send_exit(each, caf::exit_reason::user_shutdown);
    fakes.clear();
    metrics = metrics_actor{};
    settle();
  }

  std::string scrape_once() {
    std::string text;
    auto asker = system.spawn([&, this](caf::event_based_actor* self) {
      self->request(metrics, caf::infinite, scrape{})
          .then([&](const scraped& done) { text = done.text; },
                [](const caf::error& why) { ADD_FAILURE() << caf::to_string(why); });
    });
    settle();
    return text;
  }

  metrics_actor metrics;
  std::vector<caf::actor> fakes;

 private:
  template <class Handle, class Handler>
  Handle fake(Handler handler) {
    fakes.push_back(
        system.spawn([handler](caf::event_based_actor*) { return caf::behavior{handler}; }));
    return caf::actor_cast<Handle>(fakes.back());
  }
};

TEST(metrics_actor, every_kind_of_actor_in_the_table_tells_its_mail) {
  scrape_world w;
  const auto text = w.scrape_once();
  using enum monitoring::actor_kind;
  for (std::size_t i = 0; i < monitoring::actor_kinds.size(); ++i) {
    const auto kind = static_cast<monitoring::actor_kind>(i);
    const bool two = kind == session || kind == lockout || kind == directory;
    const auto line = "portcullis_mailbox_depth{actor=\"" +
                      std::string(monitoring::actor_kinds[i]) + "\"} " +
                      std::to_string((i + 1) * (two ? 2 : 1)) + "\n";
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

}  // namespace
}  // namespace portcullis::actors

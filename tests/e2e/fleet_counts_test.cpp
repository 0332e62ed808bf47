// Counts that several nodes keep together are exact, while Redis, the network and the nodes fail.
#include <set>

#include "faulty_fleet.hpp"

namespace portcullis::e2e {
namespace {

constexpr int threshold = 10, cap = 5;

/// Users one after the other, each attacked and given sessions on all nodes at once until it is
/// locked out and has as many as it may.
class crowd {
 public:
  struct person {
    std::string name;
    json id;  // of the session that is attacked
    int evaluated = 0, unknown = 0, created = 0;
    bool locked = false, full = false;
    std::vector<json> ids;
  };

  crowd(faulty_fleet& nodes, std::uint32_t seed, std::string name)
      : nodes_(nodes), seed_(seed), name_(std::move(name)) {}
  ~crowd() { stop(); }
  crowd(const crowd&) = delete;
  crowd& operator=(const crowd&) = delete;

  void begin(unsigned clients) {
    for (unsigned i = 0; i < clients; ++i) threads_.emplace_back([this, i] { live(seed_ + i); });
  }
  void stop() {
    over_ = true;
    for (auto& each : threads_) each.join();
    threads_.clear();
  }
  /// Of all who were begun.
  void check() {
    std::vector<line_client> clients;
    for (std::size_t i = 0; i < nodes_.size(); ++i) clients.push_back(nodes_.connect(i));
    for (auto& each : people_) {
      if (each.id.is_null()) continue;
      SCOPED_TRACE(each.name);
      finish(each, clients);
      check_lockout(each, clients);
      check_cap(each, clients);
      if (differs(each, clients)) return tell(each, clients);
    }
  }
  [[nodiscard]] std::size_t size() const { return people_.size(); }
  int attempts = 0, unknown = 0;

 private:
  void live(std::uint32_t seed) {
    std::mt19937 dice(seed);
    std::vector<std::optional<line_client>> open(nodes_.size());
    while (!over_) {
      const auto node = dice() % nodes_.size();
      auto& client = open[node];
      if (!client) {
        client.emplace(nodes_.connect(node));
        client->be_patient(3s);
      }
      const auto [who, id] = current();
      const bool attacks = !id.is_null() && dice() % 3 != 0;
      const auto answer = attacks ? attack(*client, id) : give(*client, people_name(who));
      note(who, attacks, answer);
      if (!answer.is_object()) client.reset();
      if (!answer.is_object() || answer.contains("error")) lasts(2);
    }
  }
  static json attack(line_client& client, const json& id) {
    return client.call("session.validate",
                       {{"session_id", id}, {"context", context("203.0.113.9")}});
  }
  static json give(line_client& client, const std::string& name) {
    auto params = user(name);
    params["context"] = context();
    return client.call("session.create", params);
  }
  std::string people_name(std::size_t who) {
    const std::lock_guard guard{mutex_};
    return people_[who].name;
  }
  /// Who is next, and the id to attack.
  std::pair<std::size_t, json> current() {
    const std::lock_guard guard{mutex_};
    if (people_.empty() || (people_.back().locked && people_.back().full)) {
      people_.emplace_back();
      people_.back().name = name_ + "-" + std::to_string(people_.size());
    }
    return {people_.size() - 1, people_.back().id};
  }
  void note(std::size_t who, bool attacked, const json& answer) {
    const std::lock_guard guard{mutex_};
    read(people_[who], attacked, answer);
  }
  void read(person& of, bool attacked, const json& answer) {
    const auto error = error_of(answer);
    attempts += attacked;
    if (error == "SESSION_CAP_REACHED") {
      of.full = true;
    } else if (!error.empty()) {
      ++unknown;
      of.unknown += attacked;
    } else if (!attacked) {
      ++of.created;
      of.ids.push_back(answer["result"]["session_id"]);
      if (of.id.is_null()) of.id = of.ids.back();
    } else {
      EXPECT_EQ(answer["result"]["valid"], false) << answer;
      const auto& reason = answer["result"]["reason"];
      EXPECT_THAT(reason, testing::AnyOf("ip_mismatch", "locked_out"));
      of.evaluated += reason == "ip_mismatch";
      of.locked |= reason == "locked_out";
    }
  }
  /// What the faults left undone: on every node, up to the limits.
  void finish(person& of, std::vector<line_client>& clients) {
    for (auto& client : clients) {
      for (bool locked = false; !locked;) {
        const auto answer = attack(client, of.id);
        ASSERT_TRUE(answer.is_object() && answer.contains("result")) << answer;
        read(of, true, answer);
        locked = answer["result"]["reason"] == "locked_out";
        ASSERT_LE(of.evaluated, threshold);
      }
      for (bool full = false; !full;) {
        const auto answer = give(client, of.name);
        read(of, false, answer);
        full = error_of(answer) == "SESSION_CAP_REACHED";
        ASSERT_LE(of.created, cap);
      }
    }
  }
  /// Whether nodes disagree about one.
  static bool differs(const person& of, std::vector<line_client>& clients) {
    std::set<std::string> views;
    for (auto& client : clients) {
      auto view = client.result("lockout.status", user(of.name)).dump();
      for (const auto& id : of.ids) view += " " + state_of(client, id);
      view += client.result("session.list", user(of.name)).dump();
      views.insert(view);
    }
    if (views.size() > 1) ADD_FAILURE() << json(views).dump(1);
    return views.size() > 1;
  }
  /// All that the log says of one.
  static void tell(const person& of, std::vector<line_client>& clients) {
    for (auto& client : clients) {
      std::string text;
      for (const auto& event : events(client, user(of.name))) text += event.dump() + "\n";
      ADD_FAILURE() << client.result("lockout.status", user(of.name)) << "\n" << text;
    }
  }
  void check_lockout(const person& of, std::vector<line_client>& clients) const {
    EXPECT_LE(of.evaluated, threshold);
    EXPECT_GE(of.evaluated + of.unknown, threshold) << "locked out before its time";
    for (auto& client : clients)
      EXPECT_EQ(client.result("lockout.status", user(of.name))["failed_attempts"], threshold);
    auto filter = user(of.name);
    filter["types"] = {"validation_failed", "lockout_started"};
    std::multiset<int> numbers;
    int locks = 0;
    for (const auto& event : events(clients[0], filter)) {
      if (event["type"] == "lockout_started") ++locks;
      if (event.contains("attempt")) numbers.insert(event["attempt"].get<int>());
    }
    EXPECT_EQ(locks, 1);
    std::multiset<int> each_once;
    for (int i = 1; i <= threshold; ++i) each_once.insert(i);
    EXPECT_EQ(numbers, each_once);
  }
  void check_cap(const person& of, std::vector<line_client>& clients) const {
    EXPECT_LE(of.created, cap);
    for (auto& client : clients)
      EXPECT_EQ(client.result("session.list", user(of.name))["sessions"].size(),
                static_cast<std::size_t>(cap));
    // Each that was acknowledged is there: locked out, but known.
    for (auto& client : clients)
      for (const auto& id : of.ids) EXPECT_EQ(state_of(client, id), "locked_out");
  }

  faulty_fleet& nodes_;
  std::uint32_t seed_;
  std::string name_;
  std::mutex mutex_;
  std::vector<person> people_;  // guarded by mutex_
  std::atomic<bool> over_ = false;
  std::vector<std::thread> threads_;
};

class counts_of_several_nodes : public testing::TestWithParam<fault> {};

TEST_P(counts_of_several_nodes, are_exact_when_fails) {
  const auto seed = fault_seed();
  std::mt19937 dice(seed);
  faulty_fleet nodes(3, {"lockout.threshold=" + std::to_string(threshold),
                         "session.max_sessions_per_user=" + std::to_string(cap)});
  std::size_t users = 0;
  int attempts = 0, unknown = 0;
  for (int round = 0; round < fault_runs(1, 20) && !HasFailure(); ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
    crowd people(nodes, dice(), "r" + std::to_string(round));
    people.begin(6);
    lasts(100);
    GetParam().happen(nodes, dice);
    lasts(100);
    nodes.expect_recovery();
    people.stop();
    nodes.expect_agreement();
    people.check();
    users += people.size();
    attempts += people.attempts;
    unknown += people.unknown;
  }
  nodes.expect_agreement();
  std::printf("%s: %d calls, %d without an answer, %lu users\n", GetParam().name, attempts, unknown,
              users);
}

INSTANTIATE_TEST_SUITE_P(whatever, counts_of_several_nodes, testing::ValuesIn(faults()),
                         [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace portcullis::e2e

// Clients of several nodes that write down what they asked, when, and what they were told.
#pragma once
#include <atomic>
#include <map>
#include <random>

#include "faulty_fleet.hpp"
#include "linearizable.hpp"

namespace portcullis::e2e {

class session_load {
 public:
  /// `bound_ms`: how old a "valid" may be.
  session_load(several_nodes& nodes, std::uint32_t seed, std::string name,
               std::int64_t bound_ms = several_nodes::bound_ms)
      : nodes_(nodes), seed_(seed), name_(std::move(name)), bound_ns_(bound_ms * 1'000'000) {}
  ~session_load() { stop(); }
  session_load(const session_load&) = delete;
  session_load& operator=(const session_load&) = delete;

  void begin(unsigned clients);
  void stop();
  /// Asks each node for each session, when nothing else goes on.
  void look_at_all();
  /// Each history linearizable, each revocation in time. Failures are the test's.
  void check();

  struct tallies {
    std::uint64_t calls = 0, unknown = 0, sessions = 0, revocations = 0, histories = 0;
    std::int64_t slowest_revocation_ns = 0;  // the last "valid" begun behind a revocation's reply
  };
  [[nodiscard]] const tallies& counts() const { return counts_; }

 private:
  /// A session as its clients know it.
  struct tracked {
    std::string tag, handle;
    std::vector<std::string> ids;
    std::vector<operation> history;
    unsigned in_flight = 0, unknown_writes = 0;
    bool rotating = false, over = false;
  };
  struct connections;  // a thread's, to each node

  void live(std::uint32_t seed);
  void turn(connections& to, std::mt19937& dice);
  void make(connections& to, std::size_t node);
  void ask(connections& to, std::size_t node, tracked& session, operation op);
  void note(tracked& session, operation op, const json& answer);
  void read_answer(tracked& session, operation& op, const json& answer);
  tracked* choose(std::mt19937& dice, action what);
  void check_bound(const tracked& session);
  [[nodiscard]] static std::vector<operation> shared_part(const std::vector<operation>& history);

  several_nodes& nodes_;
  std::uint32_t seed_;
  std::string name_;
  std::int64_t bound_ns_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<tracked>> sessions_;  // guarded by mutex_, what they point to too
  tallies counts_;                                  // guarded by mutex_
  std::atomic<std::int64_t> last_ = 0;
  std::atomic<bool> over_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace portcullis::e2e

// One node's hand on the log that all nodes share: it appends what the node has decided, and reads
// what all have, in the log's one order. What is read is what counts: a decision is a fact when it
// has come back that way.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <string>

#include "core/clock.hpp"
#include "net/loop/loop.hpp"
#include "net/redis/client.hpp"
#include "store/fleet/decoder.hpp"
#include "store/fleet/records.hpp"
#include "store/fleet/scripts.hpp"

namespace portcullis::store::fleet {

struct shared_log_options {
  net::redis::client_options redis;  // without callbacks
  std::string prefix;
  std::int64_t timeout_ms = 1'000;
  std::int64_t key_ttl_ms = 0;
  std::shared_ptr<const core::fleet_keys> keys;
  core::random_source random;
  std::uint64_t position = 0;            // what the node knows already
  std::optional<core::entry_name> mark;  // in which entry that ends
  member self;                           // node_id, version, started_at_ms
};

/// Why a unit was not appended.
struct refusal {
  std::uint64_t number = 0;
  bool overtaken = false;  // decide again when the log has been read up to `end`
  std::uint64_t end = 0;
  core::error why;  // otherwise; STORE_TIMEOUT: whether it was appended will be seen
};

/// What a shared_log tells, on the loop's thread.
class shared_log_reader {
 public:
  virtual ~shared_log_reader() = default;
  /// What stands in the log up to `position`, in order; may be nothing. All that was acknowledged
  /// to anybody before `fresh_ns` (this machine's monotonic clock) is among what was read so far.
  virtual void read(std::vector<entry> entries, std::uint64_t position, std::int64_t fresh_ns) = 0;
  virtual void refused(const refusal& what) = 0;
  /// Whether the store can be reached: that it can, and each change.
  virtual void reached(bool reachable, const core::error& why) = 0;
  /// Completes what this node tells of itself at each heartbeat.
  virtual void describe(member& self) = 0;
  /// Nodes that live, this one too, in the order of their start.
  virtual void met(const std::vector<member>& members) = 0;
  /// The log is not what this node has read: changed, cut off before it was read, or another one.
  /// Nothing more is read or appended.
  virtual void broken(const core::error& why) = 0;
};

/// One thread, that of its loop.
class shared_log {
 public:
  /// Connects. `clock` and `to` must outlive it. CONFIG_INVALID as client::make().
  [[nodiscard]] static core::result<std::unique_ptr<shared_log>> make(net::loop& on,
                                                                      core::clock& clock,
                                                                      shared_log_options options,
                                                                      shared_log_reader& to);
  ~shared_log();
  shared_log(const shared_log&) = delete;
  shared_log& operator=(const shared_log&) = delete;

  /// Appends units in their order; their numbers, from the one returned on, name them in read() or
  /// refused(), one of which comes of each, never from in here. What is not checked is kept until
  /// it is appended, however long that takes.
  std::uint64_t append(std::vector<unit> units);
  /// The seq that the log ends with now; `done` is called once, maybe from in here. Errors: as
  /// net::redis::client::ask(); STORE_UNAVAILABLE (rule "not_connected") while a failover is under
  /// way.
  void ask_for_end(std::function<void(core::result<std::uint64_t>)> done);
  /// A part of a snapshot of what the log was up to `seq`; parts come in order, each when the one
  /// before is done. `done`: whether it is there.
  void add_snapshot_part(std::uint64_t seq, std::uint64_t index, std::string_view part,
                         std::function<void(bool)> done);
  /// All parts are there: the events up to `seq` go, unless more has gone already. `done`: whether
  /// the store has answered.
  void cut(std::uint64_t seq, std::function<void(bool)> done);
  [[nodiscard]] const core::byte_array<8>& writer() const noexcept { return writer_; }
  /// Units that are neither read nor refused.
  [[nodiscard]] std::size_t in_flight() const noexcept { return units_.size(); }
  [[nodiscard]] bool reachable() const noexcept { return reachable_; }
  /// Of both connections.
  [[nodiscard]] net::redis::tallies counts() const noexcept;
  void replace_login(const net::redis::login& who);
  /// The last thing: it is a node no more. `done` is called once, not from in here.
  void leave(std::function<void()> done);

 private:
  shared_log(net::loop& on, core::clock& clock, shared_log_options options, shared_log_reader& to);
  [[nodiscard]] core::status connect();

  /// Words for a script, in one piece of memory.
  class script_words {
   public:
    void reserve(std::size_t words, std::size_t bytes) {
      ends_.reserve(words);
      bytes_.reserve(bytes);
    }
    void add(std::string_view word) {
      bytes_ += word;
      ends_.push_back(static_cast<std::uint32_t>(bytes_.size()));
    }
    void append_to(std::vector<std::string_view>& all) const {
      std::size_t begin = 0;
      for (const auto end : ends_) {
        all.push_back(std::string_view(bytes_).substr(begin, end - begin));
        begin = end;
      }
    }
    void clear() noexcept { *this = {}; }

   private:
    std::string bytes_;
    std::vector<std::uint32_t> ends_;
  };
  [[nodiscard]] script_words words_of(const unit& what, const core::entry_name& name);

  struct sent_unit {
    std::uint64_t as_of = 0;
    bool checked = true, exact = false;
    bool accepted = false;  // the script said so: it will be read
    bool unsure = false;    // sent, without an answer
    std::int64_t asked_ns = 0;
    script_words args;  // dropped when it is accepted
  };
  // appending
  void send(std::vector<std::uint64_t> numbers);
  [[nodiscard]] std::vector<std::uint64_t> next_sending();
  void wait_for_end(const std::vector<std::uint64_t>& numbers, std::uint64_t end);
  void wait_a_moment(const std::vector<std::uint64_t>& numbers);
  void answered(const std::vector<std::uint64_t>& numbers,
                const core::result<net::redis::reply>& answer);
  void not_appended(const std::vector<std::uint64_t>& numbers, const core::error& why);
  void send_again();
  void send_waiting();
  void refuse(std::uint64_t number, bool overtaken, std::uint64_t end, const core::error& why);
  [[nodiscard]] bool is_taken(std::uint64_t number) const noexcept;
  void give_up_late();
  void give_up_lost();
  void sent_again();
  [[nodiscard]] std::uint64_t look_from(const std::vector<std::uint64_t>& numbers) const;
  void note_own(std::uint64_t before, std::uint64_t end);
  // following
  void check_log();
  /// What this node had read when it asked something.
  struct place {
    std::uint64_t position = 0;
    std::optional<core::entry_name> mark;  // the entry that ends, or reaches over, there
  };
  [[nodiscard]] bool is_ours(const net::redis::reply& look, const place& known);
  void new_decoder();
  void ask_for_horizon();
  void ask();
  void take(const core::result<net::redis::reply>& answer, std::int64_t asked_ns);
  void fetch_users();
  void deliver();
  void fail(const core::error& why);
  void look_whether_reachable(const core::error& why);
  void tell();
  void told(const net::redis::reply& answer, std::int64_t asked_ns, const place& known);
  void meet(const net::redis::reply& answer);
  [[nodiscard]] std::int64_t fresh_ns() const noexcept;

  net::loop& loop_;
  core::clock& clock_;
  shared_log_options options_;
  shared_log_reader& to_;
  key_names names_;
  core::byte_array<8> writer_{};
  core::aead_key writer_key_;
  std::uint64_t last_number_ = 0;
  std::map<std::uint64_t, sent_unit> units_;  // by number
  std::deque<std::uint64_t> waiting_;         // not sent yet, or to be sent again
  std::deque<std::uint64_t> exact_;           // the same of exact units, which go first
  std::size_t sendings_ = 0;                  // without an answer
  bool may_send_ = false;                     // connected, and what was unsure is known
  std::uint64_t read_before_sending_ = 0;     // > 0: send again when that much was read
  std::uint64_t generation_ = 0;              // of this writer's connections
  /// Refused after they were sent: they may stand in the log all the same.
  struct given_up_unit {
    std::uint64_t number = 0;
    std::int64_t at_ns = 0;
  };
  std::deque<given_up_unit> given_up_;
  /// Where the log has nothing but what this writer appended: behind `from`, up to `to`.
  struct stretch {
    std::uint64_t from = 0, to = 0;
  };
  stretch own_;
  std::optional<decoder> decoder_;
  std::uint64_t position_ = 0;  // delivered
  std::optional<core::entry_name> mark_;
  std::size_t read_entries_;  // of one reading
  bool asking_ = false, checked_ = false, broken_ = false, reachable_ = false;
  bool leaving_ = false;
  bool writable_ = true;         // the last heartbeat was not refused
  bool held_back_ = false;       // another writer's exact unit comes first
  std::int64_t written_ns_ = 0;  // when that was asked; 0: none was taken
  // Read and not yet delivered: users' rows are on their way.
  std::vector<decoder::undecided> taken_;
  std::int64_t taken_asked_ns_ = 0, fresh_ns_ = 0;
  /// The log's end, asked for where more stands in it than is read at once; 0: not known.
  struct horizon {
    bool asked = false;
    std::uint64_t end = 0;
    std::int64_t asked_ns = 0;
  };
  horizon horizon_;
  bool taken_all_ = true;
  std::string log_name_;
  net::redis::address commands_at_, tail_at_;
  std::unique_ptr<net::redis::client> commands_, tail_;
  net::loop::timer again_, heartbeat_, late_, moment_;
};

}  // namespace portcullis::store::fleet

// Redis as the node sees it: the right server, whichever that is now, connected again when it was
// lost.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "net/loop/loop.hpp"
#include "net/redis/channel.hpp"
#include "net/redis/command.hpp"
#include "net/redis/limits.hpp"
#include "net/redis/reply.hpp"
#include "net/redis/url.hpp"

namespace portcullis::net::redis {

enum class topology : std::uint8_t { single, sentinel, cluster };

struct client_options {
  redis::topology topology = topology::single;
  /// single: the one server. sentinel: the Sentinels, each with its own login. cluster: servers to
  /// ask first for the map.
  std::vector<url> servers = {};
  std::string master_name = {};  // sentinel: the group's name
  /// Of the servers with data. Empty: single and cluster take the first URL's; with Sentinel there
  /// is none.
  login who = {};
  /// sentinel: of the master. Otherwise the first URL's counts; a cluster has only 0.
  std::uint32_t db = 0;
  std::string name = "portcullis";  // CLIENT SETNAME
  /// For servers whose URL says rediss://; a Sentinel's or cluster's other servers are as the first
  /// URL. Null where none says so.
  std::shared_ptr<const tls_client_context> tls = {};
  /// Whom servers' certificates have to be for; empty: the host or address that is connected to.
  std::string tls_server_name = {};
  /// What is asked of a server before it counts; sentinel and cluster always ask for a master.
  /// Rights: check::ping +ping; check::info +info, too; check::role +role, too; always
  /// +client|setname, and +select for another database than 0. A cluster: +cluster|slots +asking;
  /// a Sentinel: +sentinel|get-master-addr-by-name.
  check asks = check::role;
  std::int64_t connect_ms = limits::connect_ms;
  std::int64_t back_off_ms_min = limits::back_off_ms_min;
  std::int64_t back_off_ms_max = limits::back_off_ms_max;
  std::int64_t master_check_ms = limits::master_check_ms;  // sentinel: how often it is asked
  std::size_t commands_max = limits::commands_max;         // of each connection
  std::size_t bytes_max = limits::bytes_max;
  std::size_t reply_bytes_max = limits::reply_bytes_max;
  std::function<std::uint64_t()> random = {};  // jitter: all bits random

  // State changes. They may ask, and may destroy the client.
  /// A server counts from now on: a cluster has several. What is asked out of it is sent first.
  std::function<void(const server_info&)> connected = {};
  /// It does so no more, or there was none yet. Told again before the next connected() only when
  /// the rule changes. See channel::events; also "no_master", "moved",
  /// "slots", "retired".
  std::function<void(const address& at, const failure& why)> lost = {};
  /// See channel::events; single and sentinel only. Such a client is for subscriptions alone.
  std::function<void(reply)> message = {};
};

/// Single thread, that of its loop; neither made nor destroyed in a hook of phase write. What is
/// asked is sent at the end of the turn, pipelined. Nothing is ever sent twice, but where the
/// server said that it did nothing (MOVED, ASK, NOSCRIPT).
///
/// A blocking command (XREAD BLOCK) holds up whatever is asked after it: it gets a client of its
/// own, and each ask a deadline longer than its BLOCK.
class client {
 public:
  using answer = channel::answer;

  /// Begins to connect. CONFIG_INVALID by rule: "servers" (none, too many, or Unix sockets where
  /// there may be none), "master_name", "tls" (rediss without a context).
  [[nodiscard]] static core::result<std::unique_ptr<client>> make(loop& on, client_options options);
  /// See channel::~channel.
  ~client();
  client(const client&) = delete;
  client& operator=(const client&) = delete;

  /// See channel::ask. Where no server is connected, it answers STORE_UNAVAILABLE "not_connected"
  /// in the next turn and does not wait. A reply by which the server says that it is the trouble
  /// comes as an error (see fault_of): STORE_UNAVAILABLE, or STORE_FULL "oom"; so does a cluster's
  /// redirection that leads nowhere, "redirections". `key`: a cluster takes the server that has
  /// this key; all keys of the command must be of its slot. Empty: any server, and of no use.
  ///
  /// Replies come in the order of the asks, except where a cluster redirects.
  void ask(command what, std::string_view key, std::int64_t deadline_ms, answer done);
  /// EVALSHA; where the server has not the script, EVAL, within the same deadline. `what` must
  /// outlive the answer. The first key is the routing key.
  void eval(const script& what, std::span<const std::string_view> keys,
            std::span<const std::string_view> args, std::int64_t deadline_ms, answer done);

  /// Whether a command would be sent now: single and sentinel: to the master; cluster: to every
  /// slot.
  [[nodiscard]] bool connected() const noexcept;
  /// For the next connections; those that are there stay. Of the servers with data.
  void replace_login(login who);
  /// The same for certificates. Not null where servers speak TLS.
  void replace_tls(std::shared_ptr<const tls_client_context> context);
  [[nodiscard]] const tallies& counts() const noexcept;

  struct impl;  // of this folder

 private:
  explicit client(std::shared_ptr<impl> made);
  std::shared_ptr<impl> impl_;
};

}  // namespace portcullis::net::redis

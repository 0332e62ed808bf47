// A server process of the real binary, and clients that speak to it over sockets. What waits here
// waits on a condition with a deadline.
#pragma once
#include <gmock/gmock.h>
#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace portcullis::e2e {

using json = nlohmann::json;
using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

/// What a condition may take on a busy machine. A test that waits as long has failed.
constexpr auto patience = 20s;

/// Whether the long versions of tests are asked for (scripts/test --long).
bool long_tests();

/// The binary under test: what PORTCULLIS_TEST_BINARY of the environment names, so that the same
/// tests can be run on another build of it; else the one that was built with them.
const std::string& tested_binary();
/// Whether that has a sanitizer in it, whose memory is not the product's: PORTCULLIS_TEST_SANITIZED
/// of the environment says so of another build's.
inline bool is_sanitized() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return true;
#else
  return std::getenv("PORTCULLIS_TEST_SANITIZED") != nullptr;
#endif
}

/// A folder of its own, gone with the object.
class temp_folder {
 public:
  explicit temp_folder(
      const std::filesystem::path& within = std::filesystem::temp_directory_path());
  ~temp_folder();
  temp_folder(const temp_folder&) = delete;
  temp_folder& operator=(const temp_folder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::string file(const std::string& name) const { return (path_ / name).string(); }
  /// Writes `text` to the file `name`; its path.
  std::string write(const std::string& name, const std::string& text) const;

 private:
  std::filesystem::path path_;
};

/// One TCP connection. Not thread-safe.
class line_client {
 public:
  explicit line_client(std::uint16_t port, const std::string& address = "127.0.0.1");
  ~line_client();
  line_client(line_client&& other) noexcept;
  line_client& operator=(line_client&& other) noexcept;

  /// All of `bytes`, or false where the peer has closed.
  bool send(std::string_view bytes);
  /// What fits without waiting; less than all when the peer does not read. -1: closed.
  ssize_t send_some(std::string_view bytes);
  /// FIN: nothing more will be sent.
  void finish();
  void close();
  /// Closes with a reset, so that what is in flight to us has nowhere to go.
  void vanish();
  /// The next line without its LF; absent at the end of the stream or when `within` is over.
  std::optional<std::string> line(std::chrono::milliseconds within = patience);
  /// The next line as JSON; a test failure and null when there is none.
  json reply(std::chrono::milliseconds within = patience);
  /// Whether the peer ended the stream within the time. What it sent before stays readable.
  bool ended(std::chrono::milliseconds within = patience);
  /// Everything up to the end of the stream.
  std::string rest(std::chrono::milliseconds within = patience);

  /// Sends a request with a new id and reads the reply with that id; other lines are kept for
  /// line().
  json call(std::string_view method, const json& params = json::object());
  /// The `result` of call(); a test failure and null on an error.
  json result(std::string_view method, const json& params = json::object());
  /// The error's name of call(), empty on a result.
  std::string error(std::string_view method, const json& params = json::object());
  /// How long call() waits from now on, in place of `patience`.
  void be_patient(std::chrono::milliseconds within) { call_within_ = within; }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  bool fill(clock::time_point until);
  std::optional<std::string> next_line(clock::time_point until);

  int fd_ = -1;
  bool over_ = false;
  std::string received_;
  std::vector<std::string> kept_;
  std::int64_t last_id_ = 0;
  std::chrono::milliseconds call_within_ = patience;
};

struct http_answer {
  int status = 0;
  std::string head;
  std::string body;
};
/// GET `target` with `headers` ("Name: value\r\n..."); status 0 when there was no answer.
http_answer http_get(std::uint16_t port, const std::string& target,
                     const std::string& headers = "");

struct server_options {
  std::vector<std::string> set = {};  // section.key=value
  std::string config = {};            // TOML of --config; written beside the data
  std::string data_dir = {};          // a folder of the server's own when empty
  bool open = true;                   // development and auth.mode none
  bool start = true;
  bool own_disk = false;   // its writes and syncs do as disk() was told last
  bool own_clock = false;  // its system clock is off by what step_clock() was told last
  std::string listen = "127.0.0.1:0";
  std::size_t descriptors_max = 0;  // the process's hard limit; 0: as it is
  /// Where the log is not standard error: the whole lines, as JSON, that have come since the last
  /// call. Called by a thread of the server's, again and again.
  std::function<std::string()> more_log = nullptr;
};

/// A running server. Killed with the object.
class server {
 public:
  explicit server(server_options options = {});
  ~server();
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  /// Starts the process and waits until it is ready; false when it ended before.
  bool start();
  /// SIGKILL, and waits for the end.
  void kill_at_once();
  void signal(int number) const;
  /// The exit status, 128 + the number for a signal; absent when it still runs after `within`.
  std::optional<int> wait(std::chrono::milliseconds within = patience);
  /// SIGTERM and wait().
  std::optional<int> terminate();
  void restart() {
    kill_at_once();
    ASSERT_TRUE(start()) << log();
  }

  [[nodiscard]] line_client connect() const { return line_client(rpc_port); }
  [[nodiscard]] std::string data_dir() const { return data_dir_; }
  [[nodiscard]] const temp_folder& folder() const { return folder_; }
  [[nodiscard]] std::string config_file() const { return folder_.file("portcullis.toml"); }
  /// Replaces the file of --config at once: no reload sees a half of it.
  void configure(const std::string& text) const;
  /// Everything logged so far by all processes of this object.
  [[nodiscard]] std::string log() const;
  /// Whether a line that contains `text` was logged within the time.
  bool logged(std::string_view text, std::chrono::milliseconds within = patience);

  /// With own_disk: "" (works), "full", "broken" (syncs fail) or "held" (syncs wait).
  void disk(const std::string& state) const;
  /// With own_clock: how far the system's clock is from now on off the machine's.
  void step_clock(std::chrono::seconds off) const;
  [[nodiscard]] pid_t pid() const { return pid_; }
  /// What /proc shows of the process in this file.
  [[nodiscard]] std::string shown_by_proc(const std::string& file) const;
  /// Resident memory of the process, in bytes.
  [[nodiscard]] std::size_t resident() const;
  /// The value of one series of /metrics, such as `portcullis_sessions_live`; 0 when it is not
  /// there.
  [[nodiscard]] double metric(const std::string& series) const;

  std::uint16_t rpc_port = 0;
  std::uint16_t http_port = 0;
  std::uint16_t rpc_tls_port = 0;  // 0: none

 private:
  [[nodiscard]] std::vector<std::string> command() const;
  void read_log(int fd);
  void read_elsewhere(const std::stop_token& over);

  temp_folder folder_;
  server_options options_;
  std::string data_dir_;
  pid_t pid_ = -1;
  std::jthread reader_;
  std::jthread elsewhere_;  // reads more_log
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string log_;           // guarded by mutex_
  std::size_t begun_at_ = 0;  // of log_: where the present process begins
  bool log_ended_ = false;    // guarded by mutex_
};

/// Runs a command; its exit status and what it printed on both streams.
struct ran {
  int status = -1;
  std::string out;
};
ran run(const std::string& command);

/// Asks again until `holds`; false when `within` is over. Each asking is a round trip or a read,
/// never a busy loop.
bool eventually(const std::function<bool()>& holds, std::chrono::milliseconds within = patience);

/// A token of the form that the server takes, and its hash.
struct token {
  std::string text;
  std::string sha256;
};
token make_token(const std::string& seed);
/// The TOML of one [[auth.token]].
std::string token_toml(const token& t, const std::string& name, const std::string& role,
                       const std::string& more = "");

// Shorthand of the contract.
std::string error_of(const json& reply);
json context(const std::string& ip = "192.0.2.1", const std::string& user_agent = "agent/1");
json user(const std::string& user_id, const std::string& tenant_id = "acme");
/// The result of session.create.
json create(line_client& client, const std::string& user_id, const json& more = json::object());
/// The result of session.validate.
json validate(line_client& client, const json& session_id, const json& ctx = context());
/// "valid", or the reason.
std::string state_of(line_client& client, const json& session_id, const json& ctx = context());
/// All events of the log that match, through pages.
std::vector<json> events(line_client& client, json filter = json::object());
/// Waits until the log holds `count` events that match, then returns all that do.
std::vector<json> events_at_least(line_client& client, std::size_t count, const json& filter);
std::int64_t now_ms();

}  // namespace portcullis::e2e

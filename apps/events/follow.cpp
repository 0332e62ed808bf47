#include "apps/events/follow.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <simdjson.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/cli/secret_file.hpp"
#include "apps/commands.hpp"
#include "apps/events/event_line.hpp"
#include "apps/log/source.hpp"
#include "core/limits.hpp"

namespace portcullis::apps {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
constexpr milliseconds first_wait{200}, longest_wait{5'000};
// A server says at least where its log is by now.
constexpr int silence_ms_max = 2 * core::limits::cursor_only_every_ms + 15'000;
constexpr std::uint64_t events_a_save = 1'000;

// A signal ends the process at once while it waits, where everything printed is behind the kept
// cursor; otherwise as soon as that is so. A second one does not wait, for a reader that stalls.
volatile std::sig_atomic_t may_end = 0, shall_end = 0;
void on_stop(int) {
  if (may_end != 0 || shall_end != 0) _exit(exit_ok);
  shall_end = 1;
}

/// While it lives, a signal ends the process.
class waiting {
 public:
  waiting() noexcept {
    may_end = 1;
    if (shall_end != 0) _exit(exit_ok);
  }
  ~waiting() { may_end = 0; }
  waiting(const waiting&) = delete;
  waiting& operator=(const waiting&) = delete;
};

/// A line that the server sent by itself.
struct notification {
  std::string_view method, cursor, event, error;
};
class notification_reader {
 public:
  /// Views of `line`, and of the reader's memory; false: it is none.
  bool read(std::string& line, notification& out) {
    line.reserve(line.size() + simdjson::SIMDJSON_PADDING);
    out = {};
    simdjson::ondemand::document document;
    simdjson::ondemand::object params, object;
    const simdjson::padded_string_view padded(line.data(), line.size(), line.capacity());
    if (parser_.iterate(padded).get(document) != simdjson::SUCCESS ||
        document.find_field_unordered("method").get_string().get(out.method) != simdjson::SUCCESS ||
        document.find_field_unordered("params").get_object().get(params) != simdjson::SUCCESS ||
        params.find_field_unordered("cursor").get_string().get(out.cursor) != simdjson::SUCCESS)
      return false;
    for (auto* each : {&out.event, &out.error})
      if (params.find_field_unordered(each == &out.event ? "event" : "error")
              .get_object()
              .get(object) == simdjson::SUCCESS)
        if (object.raw_json().get(*each) != simdjson::SUCCESS) return false;
    return true;
  }

 private:
  simdjson::ondemand::parser parser_;
};

/// How a step ended: with an exit status, or with a reason to connect again.
struct ending {
  std::optional<int> status;
  std::string why;
  bool at_once = false;
};

class follower {
 public:
  explicit follower(const follow_options& given) : given_(given), cursor_(given.after) {
    for_people_ = !given.json && isatty(STDOUT_FILENO) != 0;
  }

  int run() {
    if (const int failed = prepare(); failed >= 0) return failed;
    bool reached = false, said = false;
    auto wait = first_wait;
    for (;;) {
      line_client server{milliseconds(static_cast<std::int64_t>(given_.server.timeout_s * 1000))};
      auto ended = subscribe(server);
      if (!ended) {
        if (said) say(fmt::format("connected again{}", after_text()));
        reached = true;
        said = false;
        wait = first_wait;
        ended = follow(server);
      } else if (!ended->status && !reached && unreachable_) {
        say(ended->why);
        return exit_unreachable;
      }
      if (ended->status) return *ended->status;
      if (!said) say(fmt::format("{}; connecting again{}", ended->why, after_text()));
      said = true;
      if (ended->at_once) continue;
      const waiting here;
      poll(nullptr, 0, static_cast<int>(wait.count()));
      wait = std::min(2 * wait, longest_wait);
    }
  }

 private:
  static ending give_up(int status) { return {status, {}, false}; }
  ending lost(const std::string& why) const {
    return {std::nullopt, fmt::format("{}: {}", given_.server.address, why), false};
  }
  static void say(const std::string& what) { fmt::print(stderr, "portcullis: {}\n", what); }
  [[nodiscard]] std::string after_text() const {
    return cursor_.empty() ? "" : fmt::format(", going on after {}", cursor_);
  }

  int prepare() {
    struct sigaction action {};
    action.sa_handler = on_stop;
    action.sa_flags = SA_RESTART;
    for (const int each : {SIGINT, SIGTERM}) sigaction(each, &action, nullptr);
    std::string why;
    if (!given_.server.token_file.empty()) {
      token_ = read_token(given_.server.token_file, why);
      if (!token_) {
        say(why);
        return exit_usage;
      }
    }
    if (!connector::make(given_.server, why)) {
      say(why);
      return exit_usage;
    }
    struct stat info {};
    if (given_.cursor_file.empty() || stat(given_.cursor_file.c_str(), &info) != 0) return -1;
    const auto kept = read_secret(given_.cursor_file, why);
    if (!kept) return complain(why);
    auto text = std::string_view(*kept);
    if (text.ends_with('\n')) text.remove_suffix(1);
    const bool form =
        !text.empty() && text.size() <= core::limits::cursor_bytes_max &&
        std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
    if (!form) return complain(given_.cursor_file + ": holds no cursor");
    cursor_ = text;
    return -1;
  }

  /// Empty: it is subscribed.
  std::optional<ending> subscribe(line_client& server) {
    const waiting here;
    unreachable_ = true;
    std::string why;
    const auto way = connector::make(given_.server, why);  // anew: certificates are renewed
    if (!way) return lost(why);
    if (!server.connect(*way)) return lost(server.why());
    json result;
    if (token_)
      if (auto failed = ask(server, login_line(*token_), result)) return failed;
    json params = json::object();
    if (!cursor_.empty()) params["after"] = cursor_;
    if (!given_.types.empty()) params["types"] = given_.types;
    if (!given_.tenant.empty()) params["tenant_id"] = given_.tenant;
    if (auto failed = ask(server, request("events.subscribe", params), result)) return failed;
    return moved_to(result.value("cursor", cursor_)) ? std::optional<ending>()
                                                     : give_up(exit_failed);
  }

  static std::string request(const char* method, const json& params) {
    return json{{"jsonrpc", "2.0"}, {"id", 1}, {"method", method}, {"params", params}}.dump() +
           "\n";
  }

  std::optional<ending> ask(line_client& server, const std::string& line, json& result) {
    std::optional<std::string> reply;
    if (server.send(line)) reply = server.receive();
    if (!reply) return lost(server.why());
    unreachable_ = false;
    const auto told = json::parse(*reply, nullptr, false);
    if (!told.is_object() || (!told.contains("result") && !told.contains("error")))
      return lost("the answer is not a JSON-RPC reply");
    if (told.contains("error")) return judge(told["error"], &server);
    result = told["result"];
    return std::nullopt;
  }

  /// An error of the server's. `server`: where to ask what is left of the log.
  ending judge(const json& error, line_client* server) {
    const auto data = error.value("data", json::object());
    const auto name = data.value("error", "");
    if (name == "SUBSCRIBER_TOO_SLOW")
      return {std::nullopt, given_.server.address + ": this reader fell too far behind", true};
    if (data.value("retryable", false)) return lost(error.value("message", name));
    print_error(error.dump(), error_form::sentence);
    if (name == "EVENTS_CURSOR_EXPIRED" && server != nullptr) say_oldest(*server);
    if (name == "CURSOR_INVALID" && !given_.cursor_file.empty())
      say(fmt::format(
          "the cursor came from {}: is it another server's, or was an older copy of its "
          "data put in place?",
          given_.cursor_file));
    return give_up(exit_failed);
  }

  /// The first event that is left is the one after the oldest cursor.
  void say_oldest(line_client& server) {
    const waiting here;
    std::optional<std::string> reply;
    if (server.send(request("events.query", {{"limit", 1}}))) reply = server.receive();
    while (reply && !json::accept(*reply)) reply = server.receive();
    const auto told = reply ? json::parse(*reply, nullptr, false) : json();
    const auto events = told.value("/result/events"_json_pointer, json::array());
    if (events.empty() || !events[0].value("seq", json()).is_number_unsigned()) return;
    say(fmt::format("the oldest cursor left is e{}", events[0]["seq"].get<std::uint64_t>() - 1));
  }

  /// Keeps the cursor; false: it has said why not.
  bool moved_to(std::string cursor) {
    if (cursor != cursor_ || !saved_) unsaved_ = true;
    cursor_ = std::move(cursor);
    return save();
  }
  bool save() {
    if (!std::exchange(unsaved_, false) || given_.cursor_file.empty()) return true;
    std::string why;
    saved_ = replace_secret(given_.cursor_file, cursor_ + "\n", why);
    events_unsaved_ = 0;
    if (!saved_) complain(why);
    return saved_;
  }

  ending follow(line_client& server) {
    notification_reader reader;
    notification what;
    for (;;) {
      if (!server.has_line())
        if (auto ended = await(server)) return *ended;
      auto line = receive(server);
      if (!line) return lost(server.why());
      if (!reader.read(*line, what)) continue;
      if (what.method == "events.ended") {
        cursor_ = what.cursor;
        unsaved_ = true;
        auto ended = judge(json::parse(what.error, nullptr, false), &server);
        return save() ? ended : give_up(exit_failed);
      }
      if (what.method != "event") continue;
      if (!what.event.empty()) {
        switch (write_line(for_people_ ? readable_line(what.event)
                                       : json_line(what.event, what.cursor))) {
          case written::yes:
            break;
          case written::closed:
            return give_up(save() ? exit_ok : exit_failed);
          case written::failed:
            static_cast<void>(save());
            return give_up(exit_failed);
        }
      }
      cursor_ = what.cursor;
      unsaved_ = true;
      if (++events_unsaved_ >= events_a_save && !save()) return give_up(exit_failed);
    }
  }

  /// Until the server has sent something of a line; empty: it has, or it closed.
  std::optional<ending> await(line_client& server) {
    if (!save()) return give_up(exit_failed);
    const waiting here;
    for (;;) {
      if (!server.take_what_came() || server.has_begun()) return std::nullopt;
      // Nobody reads any more: known at once, not only with the next event.
      pollfd watched[] = {{server.descriptor(), POLLIN, 0}, {STDOUT_FILENO, 0, 0}};
      const int ready = poll(watched, 2, silence_ms_max);
      if (ready == 0) return lost(fmt::format("nothing came for {} s", silence_ms_max / 1000));
      if ((watched[1].revents & (POLLERR | POLLNVAL)) != 0) return give_up(exit_ok);
    }
  }

  static std::optional<std::string> receive(line_client& server) {
    if (server.has_line()) return server.receive();
    const waiting here;  // for the rest of a line; what was printed is kept
    return server.receive();
  }

  const follow_options& given_;
  std::string cursor_;
  std::optional<std::string> token_;
  std::uint64_t events_unsaved_ = 0;
  bool for_people_ = false, unsaved_ = false, saved_ = false, unreachable_ = true;
};

}  // namespace

int follow_events(const follow_options& given) { return follower(given).run(); }

}  // namespace portcullis::apps

#include "store/fleet/first_contact.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/limits.hpp"
#include "store/fleet/asker.hpp"
#include "store/fleet/decoder.hpp"
#include "store/fleet/scripts.hpp"

namespace portcullis::store::fleet {
namespace {

using core::error_code;
using net::redis::reply;
using net::redis::reply_type;

class bringing_up {
 public:
  bringing_up(journal& log, core::clock& clock, const contact_options& with, std::string& why)
      : log_(log), with_(with), why_(why), names_(with.prefix), store_(clock, with) {}

  core::result<std::optional<core::entry_name>> run() {
    if (!store_.connect())
      return stop(error_code::STORE_UNAVAILABLE, "not_connected",
                  "store.redis.url: no connection: " + store_.trouble());
    if (const auto ok = greet(); !ok) return ok.error();
    const auto mark = compare_end();
    if (!mark) return mark.error();
    decoder read(*with_.keys, log_.last_seq(), {}, ends_there_ ? *mark : std::nullopt);
    for (bool more = true; more;)
      if (const auto ok = take_some(read, more); !ok) return ok.error();
    return read.last() ? read.last() : *mark;
  }

 private:
  core::error stop(error_code code, std::string_view rule, std::string why) {
    why_ = std::move(why);
    return core::fail(code, {}, rule);
  }
  core::error unreachable(const core::error& why) {
    why_ = store_.words_for(why);
    return why;
  }

  /// `instead_of`: the ring that this node's is to take the place of.
  core::result<reply> ask_who(std::string_view instead_of) {
    const auto meta = names_.meta(), log = names_.log(), nodes = names_.nodes();
    const std::string_view keys[] = {meta, log, nodes};
    const auto ttl = std::to_string(with_.key_ttl_ms);
    const auto live = std::to_string(core::limits::fleet_member_live_ms);
    const auto position = std::to_string(log_.last_seq());
    // A store that has a past of its own does not begin an empty log: it would be lost there.
    const bool fresh = log_.last_seq() == 0;
    const std::string_view args[] = {entry_format,
                                     with_.keys->check_value(),
                                     fresh ? "1" : "0",
                                     ttl,
                                     with_.keys->ring(),
                                     instead_of,
                                     live,
                                     position};
    return store_.eval(hello_script(), keys, args);
  }

  core::status greet() {
    const auto answer = ask_who({});
    if (!answer) return unreachable(answer.error());
    const auto& list = answer->elements;
    if (list.size() != look::count)
      return stop(error_code::STORE_INTEGRITY, "log_is_gone",
                  "Redis has no log of this fleet, but the data folder has events: `portcullis "
                  "migrate` puts them there; or use an empty server.data_dir");
    if (const auto ok = is_the_fleets(list, *with_.keys, why_); !ok) return ok;
    if (const auto ok = agree_on_ring(list[look::ring].text); !ok) return ok;
    const auto cut = std::strtoull(list[look::snapshot].text.c_str(), nullptr, 10);
    const auto last = static_cast<std::uint64_t>(list[look::last].integer);
    if (last < log_.last_seq())
      return stop(error_code::STORE_INTEGRITY, "log_is_shorter",
                  fmt::format("the log in Redis ends at {}, that in the data folder at {}: Redis "
                              "has lost events, or the folder is of another fleet",
                              last, log_.last_seq()));
    // What was moved there came without what the tables beside the log need.
    const auto moved = std::strtoull(list[look::moved].text.c_str(), nullptr, 10);
    if (moved > log_.last_seq())
      return stop(error_code::EVENTS_CURSOR_EXPIRED, "before_migration",
                  fmt::format("the data folder ends at {}, before what was migrated into Redis, up "
                              "to {}: begin with an empty folder",
                              log_.last_seq(), moved));
    if (cut > log_.last_seq())
      return stop(
          error_code::EVENTS_CURSOR_EXPIRED, "log_is_cut",
          fmt::format("the log in Redis was cut at {} and the data folder ends at {}: begin "
                      "with an empty folder",
                      cut, log_.last_seq()));
    return core::nothing{};
  }

  /// Nodes that run must all have the ring that ids are made under: a newer one is taken over when
  /// nobody runs.
  core::status agree_on_ring(const std::string& theirs) {
    if (theirs == with_.keys->ring()) return core::nothing{};
    const auto answer = ask_who(theirs);
    if (!answer) return unreachable(answer.error());
    if (answer->elements.size() != look::count ||
        answer->elements[look::ring].text != with_.keys->ring())
      return stop(error_code::KEYRING_MISMATCH, "ring_in_use",
                  "crypto.keys_file has another key ring than the nodes that run: stop them all, "
                  "give all of them this file, start them again");
    return wrap_anew();
  }

  /// Users' rows that are under an older key of the ring, in Redis.
  core::status wrap_anew() {
    const auto users = names_.users();
    const std::string_view keys[] = {users};
    std::string cursor = "0";
    do {
      const auto answer = store_.ask({"HSCAN", users, cursor, "COUNT", "500"}, users);
      if (!answer) return unreachable(answer.error());
      if (answer->elements.size() != 2) return changed(damaged_users(), log_.last_seq());
      cursor = answer->elements[0].text;
      const auto& rows = answer->elements[1].elements;
      for (std::size_t at = 0; at + 1 < rows.size(); at += 2) {
        core::subject_id subject;
        if (rows[at].text.size() != sizeof subject) return changed(damaged_users(), 0);
        std::memcpy(subject.bytes.data(), rows[at].text.data(), sizeof subject);
        auto row = open_user(subject, rows[at + 1].text, *with_.keys);
        if (!row) return changed(row.error(), log_.last_seq());
        if (!with_.rewrap || !with_.rewrap(*row)) continue;
        const auto anew = seal_user(*row, *with_.keys, with_.random);
        const std::string_view args[] = {rows[at].text, rows[at + 1].text, anew};
        if (const auto did = store_.eval(replace_script(), keys, args); !did)
          return unreachable(did.error());
      }
    } while (cursor != "0");
    return core::nothing{};
  }
  static core::error damaged_users() {
    return core::fail(error_code::STORE_INTEGRITY, {}, "users");
  }

  /// Whether what this node has read last stands in the log, and in which entry: a log that has
  /// lost events may be as long again by now.
  core::result<std::optional<core::entry_name>> compare_end() {
    const auto end = log_.last_seq();
    if (end == 0) return std::optional<core::entry_name>();
    const auto answer = store_.ask(
        {"XRANGE", names_.log(), std::to_string(end) + "-0", "+", "COUNT", "1"}, names_.log());
    if (!answer) return unreachable(answer.error());
    if (answer->elements.empty())
      return changed(core::fail(error_code::STORE_INTEGRITY, {}, "log_is_shorter"), end - 1);
    decoder read(*with_.keys, end - 1, {});
    const auto covers = read.take(answer->elements[0]);
    if (!covers) return changed(covers.error(), end - 1);
    const auto same = log_.ends_with(covers->what.events.front());
    if (!same) return failed(same.error());
    if (!*same)
      return stop(
          error_code::STORE_INTEGRITY, "entries_are_lost",
          fmt::format("what the data folder has at {} is not in the log in Redis, which has "
                      "gone on: Redis has lost events, or the folder is of another fleet",
                      end));
    ends_there_ = covers->what.last_seq == end;
    return read.last();
  }

  core::status take_some(decoder& read, bool& more) {
    net::redis::command question{
        "XRANGE", names_.log(), "(" + std::to_string(read.position()) + "-0",
        "+",      "COUNT",      std::to_string(entries_asked)};
    const auto answer = store_.ask(std::move(question), names_.log());
    if (!answer) return unreachable(answer.error());
    more = answer->elements.size() == entries_asked;
    std::vector<decoder::undecided> taken;
    for (const auto& element : answer->elements) {
      auto each = read.take(element);
      if (!each) return changed(each.error(), read.position());
      taken.push_back(*std::move(each));
    }
    if (const auto ok = fetch_users(taken); !ok) return ok;
    for (auto& each : taken)
      if (const auto ok = append(each.what); !ok) return ok;
    if (const auto ok = log_.commit(); !ok) return failed(ok.error());
    if (log_.wants_checkpoint())
      if (const auto ok = log_.checkpoint(); !ok) return failed(ok.error());
    return core::nothing{};
  }

  core::status fetch_users(std::vector<decoder::undecided>& taken) {
    net::redis::command question{"HMGET", names_.users()};
    std::size_t wanted = 0;
    for (const auto& each : taken)
      for (const auto& subject : each.users) {
        question.add(core::as_text(subject.bytes));
        ++wanted;
      }
    if (wanted == 0) return core::nothing{};
    const auto answer = store_.ask(std::move(question), names_.users());
    if (!answer) return unreachable(answer.error());
    std::size_t at = 0;
    for (auto& each : taken)
      for (const auto& subject : each.users) {
        if (at >= answer->elements.size()) break;
        const auto& row = answer->elements[at++];
        if (!row.is(reply_type::text)) continue;  // forgotten since
        auto opened = open_user(subject, row.text, *with_.keys);
        if (!opened) return changed(opened.error(), each.what.last_seq);
        each.what.users.push_back(*std::move(opened));
      }
    return core::nothing{};
  }

  core::status append(entry& from) {
    auto at_ms = log_.last_at_ms();
    for (auto& each : from.events) {
      at_ms = std::max(at_ms, each.decided_at_ms);
      each.at_ms = at_ms;
    }
    if (const auto ok = log_.append(from.events, from.users); !ok) return failed(ok.error());
    return core::nothing{};
  }

  core::error changed(const core::error& why, std::uint64_t behind) {
    why_ = fmt::format("the log in Redis was changed behind {}: {}", behind, why.rule);
    return why;
  }
  core::error failed(const core::error& why) {
    why_ = fmt::format("server.data_dir: {} {}", core::describe(why.code).name, why.rule);
    return why;
  }

  journal& log_;
  const contact_options& with_;
  std::string& why_;
  key_names names_;
  asker store_;
  bool ends_there_ = false;  // the entry in which `log_` ends
};

}  // namespace

core::status is_the_fleets(std::span<const net::redis::reply> list, const core::fleet_keys& keys,
                           std::string& why) {
  if (list[look::format].text != entry_format) {
    why = "the log in Redis is of another version of Portcullis";
    return core::fail(error_code::NODE_INCOMPATIBLE, {}, "format");
  }
  if (list[look::check].text != keys.check_value()) {
    why = "the log in Redis belongs to another key file than crypto.keys_file";
    return core::fail(error_code::KEYRING_MISMATCH, {}, "check");
  }
  if (list[look::ring].text != keys.ring() && !keys.goes_on_from(list[look::ring].text)) {
    why = "the fleet has a newer key ring than crypto.keys_file: copy it here";
    return core::fail(error_code::KEYRING_MISMATCH, {}, "ring");
  }
  return core::nothing{};
}

core::result<std::optional<core::entry_name>> bring_up(journal& log, core::clock& clock,
                                                       const contact_options& with,
                                                       std::string& why) {
  return bringing_up(log, clock, with, why).run();
}

}  // namespace portcullis::store::fleet

// A node that is new has nothing: its store is made out of what the nodes keep in Redis, a snapshot
// and the log after it, as an import makes one out of an export.
#include <fmt/format.h>

#include "core/event/codec.hpp"
#include "core/limits.hpp"
#include "store/fleet/asker.hpp"
#include "store/fleet/decoder.hpp"
#include "store/fleet/first_contact.hpp"
#include "store/importer.hpp"

namespace portcullis::store::fleet {
namespace {

using core::error_code;
using net::redis::reply;
using net::redis::reply_type;

class making {
 public:
  making(const import_options& into, core::clock& clock, const contact_options& with,
         std::string& why)
      : into_(into), with_(with), why_(why), names_(with.prefix), store_(clock, with) {}

  core::status run() {
    if (!store_.connect()) {
      why_ = "store.redis.url: no connection: " + store_.trouble();
      return core::fail(error_code::STORE_UNAVAILABLE, {}, "not_connected");
    }
    const auto known = greet();
    if (!known) return known.error();
    if (*known == 0) return core::nothing{};  // there is nothing yet
    // Users are read after this was asked: all whom events up to there are about are among them.
    end_ = *known;
    into_.cut = snapshot_ > 0;
    auto made = importer::begin(into_);
    if (!made) return failed(made.error());
    to_ = made->get();
    if (const auto ok = add_users(); !ok) return ok;
    if (const auto ok = add_snapshot(); !ok) return ok;
    if (const auto ok = add_events(); !ok) return ok;
    if (const auto ok = to_->finish(); !ok) return failed(ok.error());
    return core::nothing{};
  }

 private:
  /// How many events there are to be had; what does not fit is bring_up()'s to tell.
  core::result<std::uint64_t> greet() {
    const auto meta = names_.meta(), log = names_.log();
    const auto nodes = names_.nodes();
    const std::string_view keys[] = {meta, log, nodes};
    const std::string_view args[] = {"", "", "0", "0", "", "", "0", "0"};
    const auto answer = store_.eval(hello_script(), keys, args);
    if (!answer) return unreachable(answer.error());
    const auto& list = answer->elements;
    if (list.size() != look::count) return 0;  // there is nothing yet
    // Before anything is made: a folder of another fleet would have to be emptied again.
    if (const auto ok = is_the_fleets(list, *with_.keys, why_); !ok) return ok.error();
    if (!list[look::snapshot].text.empty())
      snapshot_ = std::strtoull(list[look::snapshot].text.c_str(), nullptr, 10);
    return static_cast<std::uint64_t>(list[look::last].integer);
  }

  core::status add_users() {
    std::string cursor = "0";
    do {
      const auto answer =
          store_.ask({"HSCAN", names_.users(), cursor, "COUNT", "500"}, names_.users());
      if (!answer) return unreachable(answer.error());
      if (answer->elements.size() != 2) return changed("users");
      cursor = answer->elements[0].text;
      const auto& rows = answer->elements[1].elements;
      for (std::size_t at = 0; at + 1 < rows.size(); at += 2) {
        core::subject_id subject;
        if (rows[at].text.size() != sizeof subject) return changed("user");
        std::memcpy(subject.bytes.data(), rows[at].text.data(), sizeof subject);
        const auto row = open_user(subject, rows[at + 1].text, *with_.keys);
        if (!row) return changed("user");
        // A scan may tell a row twice.
        if (const auto ok = to_->add(*row); !ok && ok.error().rule != "twice")
          return failed(ok.error());
      }
    } while (cursor != "0");
    return core::nothing{};
  }

  core::status add_snapshot() {
    if (snapshot_ == 0) return core::nothing{};
    const auto key = names_.snapshot(snapshot_);
    const auto size = store_.ask({"LLEN", key}, key);
    if (!size) return unreachable(size.error());
    for (std::int64_t at = 0; at < size->integer; ++at) {
      const auto index = std::to_string(at);
      const auto part = store_.ask({"LINDEX", key, index}, key);
      if (!part) return unreachable(part.error());
      const auto plain = core::open(with_.keys->of_users(), part->text,
                                    snapshot_purpose(snapshot_, static_cast<std::uint64_t>(at)));
      if (!plain) return changed("snapshot");
      if (at == 0) {
        const auto seal = core::parse_snapshot_seal(*plain);
        if (!seal || seal->of.seq != snapshot_) return changed("snapshot");
        if (const auto ok =
                to_->begin_snapshot(*seal, static_cast<std::uint64_t>(size->integer) - 1);
            !ok)
          return failed(ok.error());
        place_ = seal->of;
      } else if (const auto ok = to_->add_part(*plain); !ok) {
        return failed(ok.error());
      }
    }
    return size->integer > 0 ? core::status(core::nothing{}) : core::status(changed("snapshot"));
  }

  core::status add_events() {
    decoder read(*with_.keys, snapshot_, {});
    for (bool more = true; more;) {
      const auto answer =
          store_.ask({"XRANGE", names_.log(), "(" + std::to_string(read.position()) + "-0",
                      std::to_string(end_) + "-0", "COUNT", std::to_string(entries_asked)},
                     names_.log());
      if (!answer) return unreachable(answer.error());
      more = answer->elements.size() == entries_asked;
      for (const auto& element : answer->elements) {
        auto entry = read.take(element);
        if (!entry) return changed(entry.error().rule);
        for (auto& each : entry->what.events)
          if (const auto ok = add(each); !ok) return ok;
      }
    }
    return core::nothing{};
  }

  /// As the row that every node has of it.
  core::status add(core::event& what) {
    place_.at_ms = std::max(place_.at_ms, what.decided_at_ms);
    what.at_ms = place_.at_ms;
    core::byte_buffer body;
    core::append_body(body, what, into_.node_id);
    const auto type = core::to_string(what.type());
    const auto subject = what.subject ? core::byte_view(what.subject->bytes) : core::byte_view();
    std::optional<core::digest> dropped;
    if (const auto* touched = std::get_if<core::session_touched>(&what.body))
      dropped = touched->dropped;
    if (const auto* tallied = std::get_if<core::calls_tallied>(&what.body))
      dropped = tallied->dropped;
    core::digest hash;
    const auto in_mac = mac_body(what.type(), body.view(), dropped, hash);
    place_.mac = chain_mac(into_.keys->chain(), place_.mac, what.seq, what.at_ms, type, subject,
                           in_mac, core::as_bytes(what.sealed));
    place_.seq = what.seq;
    const log_row row{what.seq,
                      what.at_ms,
                      type,
                      subject,
                      body.view(),
                      core::as_bytes(what.sealed),
                      core::byte_view(place_.mac)};
    if (const auto ok = to_->add(row); !ok) return failed(ok.error());
    return core::nothing{};
  }

  core::error unreachable(const core::error& why) {
    why_ = store_.words_for(why);
    return why;
  }
  core::error changed(std::string_view rule) {
    why_ = fmt::format("what Redis has was changed: {}", rule);
    return core::fail(error_code::STORE_INTEGRITY, {}, rule);
  }
  core::error failed(const core::error& why) {
    why_ = fmt::format("server.data_dir: {} {}", core::describe(why.code).name, why.rule);
    return why;
  }

  import_options into_;
  const contact_options& with_;
  std::string& why_;
  key_names names_;
  asker store_;
  importer* to_ = nullptr;
  std::uint64_t snapshot_ = 0, end_ = 0;
  core::log_place place_;
};

}  // namespace

std::string snapshot_purpose(std::uint64_t seq, std::uint64_t index) {
  return fmt::format("portcullis fleet snapshot\n{} {}", seq, index);
}

core::status make_store(const import_options& into, core::clock& clock, const contact_options& with,
                        std::string& why) {
  return making(into, clock, with, why).run();
}

}  // namespace portcullis::store::fleet

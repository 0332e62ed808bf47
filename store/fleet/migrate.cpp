#include "store/fleet/migrate.hpp"

#include <unordered_map>

#include "core/event/codec.hpp"
#include "core/limits.hpp"
#include "store/fleet/asker.hpp"
#include "store/fleet/decoder.hpp"

namespace portcullis::store::fleet {
namespace {

using core::error_code;
using net::redis::command;
using net::redis::reply;

constexpr std::size_t events_an_entry = 64;
constexpr std::size_t bytes_an_entry = 64 * 1024;  // when it has as many
constexpr std::size_t touches_an_event = 500;

class moving {
 public:
  moving(log_file& from, const core::key_material& keys, core::clock& clock,
         const contact_options& with, const core::random_source& random, std::string& why)
      : from_(from),
        keys_(keys),
        with_(with),
        random_(random),
        why_(why),
        names_(with.prefix),
        store_(clock, with) {
    random_(name_.writer);
    key_ = with_.keys->of_writer(name_.writer);
  }

  core::result<migrated> run() {
    if (!store_.connect()) {
      why_ = "store.redis.url: no connection: " + store_.trouble();
      return core::fail(error_code::STORE_UNAVAILABLE, {}, "not_connected");
    }
    if (const auto ok = begin(); !ok) return ok.error();
    for (const auto step :
         {&moving::users, &moving::snapshot, &moving::events, &moving::activity, &moving::end})
      if (const auto ok = (this->*step)(); !ok) {
        const auto why = why_;
        remove();
        why_ = why;
        return ok.error();
      }
    return done_;
  }

 private:
  core::status begin() {
    command exists{"EXISTS", names_.meta(), names_.log(), names_.users()};
    const auto answer = ask(std::move(exists));
    if (!answer) return answer.error();
    if (answer->integer != 0) {
      why_ = "Redis has a log of this store.redis.prefix already";
      return core::fail(error_code::STORE_INTEGRITY, {}, "not_empty");
    }
    return core::nothing{};
  }

  core::status users() {
    core::status went = core::nothing{};
    const auto read = from_.read_users([&](const user_line& line) {
      if (!went) return;
      if (!line.good) {
        went = unreadable("a user's row is damaged");
        return;
      }
      command put{"HSET", names_.users(), core::as_text(line.row.subject.bytes)};
      put.add(seal_user(line.row, *with_.keys, random_));
      if (const auto answer = ask(std::move(put)); !answer) went = answer.error();
      ++done_.users;
    });
    if (!read) return unreadable("its users cannot be read");
    return went;
  }

  core::status snapshot() {
    if (!from_.cut()) return core::nothing{};
    cut_ = from_.cut()->of.seq;
    std::uint64_t index = 0;
    core::status went = core::nothing{};
    const auto push = [&](std::string_view plain) {
      core::aead_nonce nonce;
      random_(nonce);
      command put{"RPUSH", names_.snapshot(cut_)};
      put.add(core::seal(with_.keys->of_users(), nonce, plain, snapshot_purpose(cut_, index++)));
      if (const auto answer = ask(std::move(put)); !answer && went) went = answer.error();
    };
    push(core::to_bytes(*from_.cut()));
    if (const auto ok = from_.read_parts(push); !ok) return unreadable("its snapshot");
    done_.seq = cut_;
    return went;
  }

  core::status events() {
    std::vector<core::event> gathered;
    std::size_t size = 0;
    core::status went = core::nothing{};
    const auto read = from_.read(cut_, [&](const log_row& row) {
      auto event = core::decode_body(row.seq, row.at_ms, row.type, row.subject, row.body,
                                     core::as_text(row.sealed));
      if (!event || row.seq != done_.seq + 1) {
        went = unreadable("an event cannot be read");
        return false;
      }
      done_.seq = row.seq;
      ++done_.events;
      gathered.push_back(*std::move(event));
      size += row.body.size() + row.sealed.size();
      if (gathered.size() == events_an_entry || size > bytes_an_entry) {
        went = append(gathered);
        size = 0;
      }
      return static_cast<bool>(went);
    });
    if (!read) return unreadable("its events");
    if (!went) return went;
    moved_ = done_.seq;
    return append(gathered);
  }

  /// The latest use of each live session, of which old records do not tell any more.
  core::status activity() {
    struct collector final : load_visitor {
      void on_tenant(const tenant_record&) override {}
      void on_user(const core::user_row&) override {}
      void on_lockout(const lockout_record&) override {}
      void on_session(const session_record& row) override {
        if (row.state != session_state::live || row.last_seen_at_ms <= row.created_at_ms) return;
        by_tenant[std::string(row.tenant_id)].push_back({row.handle, row.last_seen_at_ms, row.seq});
      }
      std::map<std::string, std::vector<core::session_touched::touch>> by_tenant;
    } seen;
    if (const auto ok = from_.load(seen); !ok) return unreadable("its sessions");
    for (auto& [tenant, touches] : seen.by_tenant)
      for (std::size_t at = 0; at < touches.size(); at += touches_an_event) {
        const auto end = std::min(at + touches_an_event, touches.size());
        core::event what;
        what.tenant_id = tenant;
        core::session_touched body;
        for (auto i = at; i < end; ++i) {
          what.decided_at_ms = std::max(what.decided_at_ms, touches[i].last_seen_at_ms);
          body.touches.push_back(touches[i]);
        }
        done_.sessions_seen += body.touches.size();
        what.body = std::move(body);
        std::vector<core::event> one;
        one.push_back(std::move(what));
        ++done_.seq;
        if (const auto ok = append(one); !ok) return ok;
      }
    return core::nothing{};
  }

  /// Last: before it there is no log that a node would take for one.
  core::status end() {
    command meta{"HSET",   names_.meta(),
                 "format", entry_format,
                 "check",  with_.keys->check_value(),
                 "name",   core::to_hex(name_.writer),
                 "ring",   with_.keys->ring(),
                 "moved",  std::to_string(moved_)};
    if (cut_ > 0) {
      meta.add("snapshot");
      meta.add(std::to_string(cut_));
    }
    if (const auto answer = ask(std::move(meta)); !answer) return answer.error();
    for (const auto& key : {names_.meta(), names_.log(), names_.users(), names_.snapshot(cut_)})
      if (const auto answer = ask({"PEXPIRE", key, std::to_string(with_.key_ttl_ms)}); !answer)
        return answer.error();
    return core::nothing{};
  }

  core::status append(std::vector<core::event>& gathered) {
    if (gathered.empty()) return core::nothing{};
    ++name_.number;
    const auto id = std::to_string(done_.seq) + "-0";
    command put{"XADD", names_.log(), id};
    put.add("w").add(core::to_bytes(name_));
    put.add("n").add(std::to_string(gathered.size()));
    put.add("k").add("").add("u").add("");
    put.add("p").add(name_.number > 1 ? core::to_bytes({name_.writer, name_.number - 1}) : "");
    put.add("b");
    put.add(core::seal_entry(gathered, "", name_, {}, key_));
    gathered.clear();
    const auto answer = ask(std::move(put));
    return answer ? core::status(core::nothing{}) : core::status(answer.error());
  }

  void remove() {
    (void)ask({"DEL", names_.meta(), names_.log(), names_.users(), names_.snapshot(cut_)});
  }
  core::result<reply> ask(command what) {
    auto answer = store_.ask(std::move(what), names_.log());
    if (!answer) why_ = store_.words_for(answer.error());
    return answer;
  }
  core::error unreadable(std::string what) {
    why_ = "the folder's log: " + std::move(what);
    return core::fail(error_code::LOG_CORRUPT);
  }

  log_file& from_;
  [[maybe_unused]] const core::key_material& keys_;
  const contact_options& with_;
  const core::random_source& random_;
  std::string& why_;
  key_names names_;
  asker store_;
  core::entry_name name_;
  core::aead_key key_;
  std::uint64_t cut_ = 0, moved_ = 0;
  migrated done_;
};

}  // namespace

core::result<migrated> migrate(log_file& from, const core::key_material& keys, core::clock& clock,
                               const contact_options& with, const core::random_source& random,
                               std::string& why) {
  return moving(from, keys, clock, with, random, why).run();
}

}  // namespace portcullis::store::fleet

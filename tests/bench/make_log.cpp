// Makes the data folder of a node that had a busy day, for measuring what reads logs: replay,
// verify, what-if. usage: make_log DIR EVENTS [USERS]
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "core/limits.hpp"
#include "core/lockout/state.hpp"
#include "core/session/decide.hpp"
#include "store/journal.hpp"

namespace portcullis {
namespace {

using core::millis;

constexpr millis begin_ms = 1'790'000'000'000;
constexpr std::uint64_t events_a_second = 200;

class maker {
 public:
  maker(const std::string& folder, std::uint64_t events, std::size_t users)
      : events_(events), ring_(core::generate_keyring(random_, begin_ms)), keys_(ring_) {
    std::filesystem::create_directories(folder);
    std::ofstream(folder + "/portcullis.keys") << core::serialize(ring_);
    ::chmod((folder + "/portcullis.keys").c_str(), 0600);
    store::journal_options options;
    options.data_dir = folder;
    options.node_id = "node-1";
    options.chain = keys_.chain();
    options.keyring_check = core::sha256(core::as_bytes(keys_.check_value()));
    journal_ = std::move(*store::journal::open(options));
    for (std::size_t i = 0; i < users; ++i) {
      const auto tenant = "tenant-" + std::to_string(i % 20);
      auto made = core::make_user(tenant, "user-" + std::to_string(i), keys_, random_);
      people_.push_back({made.identity, made.row.subject, tenant, {}});
      new_users_.push_back(std::move(made.row));
    }
  }

  void run() {
    core::event first;
    first.body = core::node_started{"bench", core::to_json(book_)};
    add(std::move(first));
    while (seq_ < events_) {
      now_ms_ = begin_ms + static_cast<millis>(seq_ * 1000 / events_a_second);
      auto& who = people_[engine_() % people_.size()];
      auto& victim = people_[engine_() % (people_.size() / 50 + 1)];
      const auto what = engine_() % 100;
      expire(who);
      expire(victim);
      if (who.sessions.empty() || what < 20)
        sign_in(who);
      else if (what < 60)
        touch();
      else if (what >= 95)
        sign_out(who);
      else if (!victim.sessions.empty())
        attempt(victim);
    }
    flush();
  }

 private:
  struct session {
    core::session_handle handle;
    std::uint64_t seq = 0;
    millis last_seen_ms = 0, ends_ms = 0;
    [[nodiscard]] bool lives(millis now_ms) const {
      return now_ms < ends_ms && now_ms < last_seen_ms + 900'000;
    }
  };
  struct person {
    core::identity_ptr who;
    core::subject_id subject;
    std::string tenant;
    std::vector<session> sessions;
  };

  core::ip_address address(std::uint64_t number) const {
    return *core::parse_ip("10." + std::to_string(number >> 16 & 255) + "." +
                           std::to_string(number >> 8 & 255) + "." + std::to_string(number & 255));
  }
  core::context context(std::uint64_t number) {
    core::context out;
    out.ip = address(number);
    out.fields = {"Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
                  "text/html,application/xhtml+xml",
                  "en-GB,en;q=0.5",
                  "gzip, deflate, br",
                  "",
                  ""};
    return out;
  }
  core::event about(const person& who) const {
    core::event out;
    out.tenant_id = who.tenant;
    out.subject = who.subject;
    return out;
  }
  void add(core::event what) {
    what.seq = ++seq_;
    what.at_ms = what.decided_at_ms = now_ms_;
    if (what.type() == core::event_type::session_created) what.session_seq = seq_;
    batch_.push_back(std::move(what));
    if (batch_.size() >= core::limits::commit_events_max) flush();
  }
  void flush() {
    if (!journal_->append(batch_, new_users_) || !journal_->commit()) std::abort();
    new_users_.clear();
    batch_.clear();
    if (journal_->wants_checkpoint() && !journal_->checkpoint()) std::abort();
  }

  void expire(person& who) {
    std::erase_if(who.sessions, [&](const session& each) {
      if (each.lives(now_ms_)) return false;
      auto what = about(who);
      what.handle = each.handle;
      what.session_seq = each.seq;
      what.body = core::session_expired{now_ms_ < each.ends_ms ? core::expiry_kind::idle
                                                               : core::expiry_kind::absolute};
      add(std::move(what));
      return true;
    });
  }
  void sign_in(person& who) {
    auto what = about(who);
    core::session_created body;
    core::session_handle handle;
    random_(handle.bytes);
    random_(body.id.bytes);
    handle.bytes[0] = body.id.bytes[0] = who.subject.bytes[0];
    const auto seen = context(engine_());
    body.ring_key = 1;
    body.idle_ttl_s = book_.session.idle_ttl_s;
    body.absolute_expires_at_ms = now_ms_ + book_.session.absolute_ttl_s * 1000;
    body.expires_at_ms = now_ms_ + body.idle_ttl_s * 1000;
    body.fields = core::hash_fields(*who.who, seen);
    body.ip = core::seal_ip(*who.who, handle, seen.ip);
    body.find_ip = keys_.find_tag(who.tenant, core::as_text(seen.ip.bytes));
    body.find_user_agent = keys_.find_tag(who.tenant, seen.fields[0]);
    what.handle = handle;
    what.sealed = core::seal_shown(*who.who, seen.ip, seen.fields[0], random_);
    who.sessions.push_back({handle, seq_ + 1, now_ms_, body.absolute_expires_at_ms});
    what.body = std::move(body);
    add(std::move(what));
  }
  void touch() {
    core::session_touched body;
    const auto tenant = people_[engine_() % people_.size()].tenant;
    for (int tries = 0; tries < 40 && body.touches.size() < 4; ++tries) {
      auto& who = people_[engine_() % people_.size()];
      if (who.tenant != tenant || who.sessions.empty()) continue;
      auto& one = who.sessions.back();
      const auto* known = locks_.find(who.subject);
      if (!one.lives(now_ms_) || (known != nullptr && known->whole.locked(now_ms_))) continue;
      one.last_seen_ms = now_ms_;
      body.touches.push_back({one.handle, now_ms_, one.seq});
    }
    if (body.touches.empty()) return;
    core::event what;
    what.tenant_id = tenant;
    what.body = std::move(body);
    add(std::move(what));
  }
  void attempt(person& who) {
    const auto& one = who.sessions.back();
    const auto seen = context(engine_() % 512);
    const core::attempt tried{who.subject, one.handle, keys_.source(seen.ip), {}};
    const auto judged = core::decide_attempt(locks_, tried, book_.lockout, now_ms_);
    auto what = about(who);
    core::validation_failed body;
    body.source = tried.source;
    if (judged.counted) {
      what.handle = one.handle;
      what.sealed = core::seal_shown(*who.who, seen.ip, seen.fields[0], random_);
      body.reason = core::invalid_reason::ip_mismatch;
      body.fields = core::hash_fields(*who.who, seen);
      body.attempt = judged.number;
      body.window_ends_at_ms = judged.window_ends_at_ms;
    } else {
      body.reason = core::invalid_reason::locked_out;
      body.count = 1 + engine_() % 5;
      body.first_at_ms = now_ms_ - 900;
      body.last_at_ms = now_ms_ - 10;
    }
    what.body = body;
    locks_.apply(what);
    add(std::move(what));
    if (judged.locks_until_ms == 0) return;
    auto begun = about(who);
    begun.body = core::lockout_started{judged.locks_until_ms, judged.number, {}};
    locks_.apply(begun);
    add(std::move(begun));
  }
  void sign_out(person& who) {
    auto what = about(who);
    what.handle = who.sessions.back().handle;
    what.session_seq = who.sessions.back().seq;
    what.body =
        core::session_revoked{core::revoke_scope::session, 1, "requested", std::nullopt, 0, {}};
    who.sessions.pop_back();
    add(std::move(what));
  }

  std::uint64_t events_, seq_ = 0;
  std::mt19937_64 engine_{1};
  core::random_source random_ = [this](std::span<std::uint8_t> out) {
    for (auto& byte : out) byte = static_cast<std::uint8_t>(engine_());
  };
  core::keyring ring_;
  core::key_material keys_;
  core::policy_book book_;
  std::unique_ptr<store::journal> journal_;
  std::vector<person> people_;
  std::vector<core::user_row> new_users_;
  std::vector<core::event> batch_;
  core::lockout_state locks_;
  millis now_ms_ = begin_ms;
};

}  // namespace
}  // namespace portcullis

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: make_log DIR EVENTS [USERS]\n", stderr);
    return 64;
  }
  const auto number = [&](int at, std::uint64_t otherwise) {
    return argc > at ? std::strtoull(argv[at], nullptr, 10) : otherwise;
  };
  portcullis::maker(argv[1], number(2, 0), number(3, 100'000)).run();
}

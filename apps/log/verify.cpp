#include "apps/log/verify.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "apps/log/verify_rows.hpp"
#include "apps/log/verify_users.hpp"
#include "store/log_stream.hpp"
#include "store/restore.hpp"

namespace portcullis::apps {
namespace {

using core::millis;

std::string sentence(const store::log_trouble& what) {
  using kind = store::log_trouble::kind;
  switch (what.what) {
    case kind::missing:
      return "there is no such event: it was dropped, or the log does not begin where it should";
    case kind::time:
      return "its time is before that of the event before it";
    case kind::mac:
      return "its mac is not the chain's: it was changed, put in or moved";
    case kind::body:
      return fmt::format("it cannot be read as an event ({})", what.why.rule);
    case kind::file:
      return "the file is damaged here";
    case kind::signature:
      return "a checkpoint that this node's key did not sign";
  }
  return {};
}

/// The last event about each thing that a projection holds, so that a wrong row has a place.
class last_seqs {
 public:
  void note(const core::event& what) {
    if (const auto* revoked = std::get_if<core::session_revoked>(&what.body);
        revoked != nullptr && revoked->scope == core::revoke_scope::tenant)
      tenants_[what.tenant_id] = what.seq;
    if (!what.subject) return;
    switch (what.type()) {
      case core::event_type::validation_failed:
        if (std::get<core::validation_failed>(what.body).attempt)
          counters_[*what.subject] = what.seq;
        break;
      case core::event_type::lockout_started:
      case core::event_type::lockout_ended:
      case core::event_type::lockout_cleared:
        counters_[*what.subject] = what.seq;
        break;
      default:
        break;  // NOLINT: the others change no counter
    }
  }
  [[nodiscard]] std::uint64_t of_counter(const core::subject_id& subject) const {
    const auto found = counters_.find(subject);
    return found == counters_.end() ? 0 : found->second;
  }
  [[nodiscard]] std::uint64_t of_tenant(const std::string& tenant) const {
    const auto found = tenants_.find(tenant);
    return found == tenants_.end() ? 0 : found->second;
  }

 private:
  std::map<core::subject_id, std::uint64_t> counters_;
  std::map<std::string, std::uint64_t> tenants_;
};

class verifier {
 public:
  verifier(log_source& from, const std::vector<exported_checkpoint>& kept)
      : from_(from),
        kept_(kept),
        users_([this](std::uint64_t seq, std::string what) { find(seq, std::move(what)); }) {}

  verify_report run() {
    std::string why;
    if (!from_.file->integrity_check(why))
      file_trouble_ = fmt::format("the file is damaged: {}", why);
    check_signatures();
    check_schema();
    check_meta();
    users_.read(from_);
    report_.users = users_.rows();
    replay();
    check_ends();
    if (!stream_failed_) {
      users_.finish();
      compare_projections();
      report_.digest = state_.digest();
    }
    if (!file_trouble_.empty()) find(0, file_trouble_);
    std::stable_sort(report_.findings.begin(), report_.findings.end(),
                     [](const verify_finding& a, const verify_finding& b) {
                       return (a.seq == 0 ? ~std::uint64_t{0} : a.seq) <
                              (b.seq == 0 ? ~std::uint64_t{0} : b.seq);
                     });
    return std::move(report_);
  }

 private:
  void find(std::uint64_t seq, std::string what) {
    report_.findings.push_back({seq, std::move(what)});
  }

  void check_signatures() {
    for (const auto& each : kept_)
      if (!core::is_signed(each.what, each.of, from_.keys->checkpoints().verifier()))
        find(each.of.seq + 1, "the checkpoint given was not signed by this node's key");
  }

  /// What was defined beside the tables, or otherwise, is no event and no row.
  void check_schema() {
    const auto differences = from_.file->schema_differences();
    if (!differences) return find(0, "the file's schema cannot be read");
    for (const auto& each : *differences) find(0, "the file's schema: " + each);
  }

  /// Without it any key file would be taken for the store's.
  void check_meta() {
    const auto check = from_.file->meta(store::keyring_check_key);
    if (check && !*check && from_.file->last_seq() > 0)
      find(0, "meta: keyring_check, by which a start knows its key file, is not there");
  }

  void replay() {
    if (!begin()) return;
    if (from_.file->is_current()) rows_.begin(from_);
    auto options = store::whole_log(*from_.file);
    options.chain = &from_.keys->chain();
    options.signer = from_.keys->checkpoints().verifier();
    store::log_stream events(*from_.file, options);
    for (auto some = events.next(); !some.empty(); some = events.next()) {
      for (const auto& each : some) {
        if (report_.events++ == 0) report_.first_seq = each.seq;
        if (each.type() == core::event_type::checkpoint) ++report_.checkpoints;
        last_.note(each);
        rows_.note(each);
        users_.note(each);
        state_.apply(each);
        report_.last_seq = each.seq;
        report_.last_at_ms = each.at_ms;
      }
    }
    if (!events.trouble()) return;
    stream_failed_ = true;
    find(events.trouble()->seq, sentence(*events.trouble()));
  }

  /// Where retention cut the log, its snapshot stands, signed.
  [[nodiscard]] bool begin() {
    const auto& cut = from_.file->cut();
    if (!cut) return true;
    report_.last_seq = cut->of.seq;
    report_.last_at_ms = cut->of.at_ms;
    auto base = from_.file->read_snapshot();
    if (core::is_signed(*cut, from_.keys->checkpoints().verifier()) && base) {
      state_ = std::move(*base);
      users_.begin(state_);
      return true;
    }
    stream_failed_ = true;
    find(cut->of.seq, base ? "the snapshot here was not signed by this node's key"
                           : "the snapshot here is damaged");
    return false;
  }

  /// Each kept checkpoint names an event that was there with that mac.
  void check_ends() {
    const auto& cut = from_.file->cut();
    if (cut) report_.begins_after = cut->of;
    for (const auto& each : kept_) {
      if (cut && each.of.seq < cut->of.seq)
        ++report_.too_old;
      else
        check_end(each);
    }
    // A log that was written anew from a snapshot later than all of them would pass otherwise.
    if (report_.too_old > 0 && report_.too_old == kept_.size())
      find(0, fmt::format("none of the {} checkpoints given can be compared: the log begins at "
                          "seq {}, {}; give a later one",
                          kept_.size(), cut->of.seq + 1, time_text(cut->of.at_ms)));
  }

  void check_end(const exported_checkpoint& kept) {
    if (kept.of.seq > report_.last_seq) {
      // The first fault is named.
      if (!stream_failed_)
        find(report_.last_seq + 1,
             fmt::format("the log ends here, the checkpoint given was made at {}: its tail was "
                         "cut, or an older copy was put in its place",
                         kept.of.seq));
      return;
    }
    std::optional<core::digest> mac;
    if (const auto& cut = from_.file->cut(); cut && kept.of.seq == cut->of.seq) mac = cut->of.mac;
    const auto read = from_.file->read(kept.of.seq - 1, [&](const store::log_row& row) {
      if (row.seq == kept.of.seq && row.mac.size() == sizeof(core::digest))
        std::copy(row.mac.begin(), row.mac.end(), mac.emplace().begin());
      return false;
    });
    ++report_.compared;
    report_.last_compared_seq = kept.of.seq;
    if (!read || mac != kept.of.mac)
      find(kept.of.seq,
           "the checkpoint given is of another log: what came before was written anew");
  }

  void compare_projections() {
    if (!from_.file->is_current())
      return find(0, "the tables are of an older version: start the node once");
    auto restored = store::restore_projections(*from_.file);
    if (!restored) return find(0, fmt::format("the table {} is damaged", restored.error().rule));
    compare_sessions(*restored);
    compare_lockouts(*restored);
    compare_tenants(*restored);
    compare_breakers(*restored);
    rows_.check(from_, *restored, state_, users_.opened(),
                [this](std::uint64_t seq, std::string what) { find(seq, std::move(what)); });
    if (report_.findings.empty() && restored->digest() != state_.digest())
      find(report_.last_seq, "the projections are not what the log gives");
  }

  [[nodiscard]] std::map<std::uint64_t, std::string> sessions_of(
      const core::replayed_state& state) const {
    std::map<std::uint64_t, std::string> out;
    const auto& sessions = state.sessions();
    for (core::session_slot slot = 0; slot < sessions.slots_used(); ++slot)
      if (auto bytes = core::canonical_session(sessions, slot, state_.at_ms()); !bytes.empty())
        out.emplace(sessions.at(slot).seq, core::as_text(core::sha256(core::as_bytes(bytes))));
    return out;
  }

  /// The first key whose values differ, or that only one has.
  template <class Key, class Value>
  [[nodiscard]] static std::optional<Key> first_difference(const std::map<Key, Value>& a,
                                                           const std::map<Key, Value>& b) {
    auto left = a.begin();
    auto right = b.begin();
    for (; left != a.end() && right != b.end(); ++left, ++right)
      if (left->first != right->first || left->second != right->second)
        return std::min(left->first, right->first);
    if (left != a.end()) return left->first;
    if (right != b.end()) return right->first;
    return std::nullopt;
  }

  void compare_sessions(const core::replayed_state& restored) {
    if (const auto seq = first_difference(sessions_of(restored), sessions_of(state_)))
      find(*seq, "sessions: the row of the session created here is not what the log gives");
  }

  void compare_lockouts(const core::replayed_state& restored) {
    const auto counters_of = [&](const core::replayed_state& state) {
      std::map<core::subject_id, std::string> out;
      for (const auto& [subject, user] : state.lockouts().users())
        if (auto bytes = core::canonical_lockout(subject, user, state_.at_ms()); !bytes.empty())
          out.emplace(subject, std::move(bytes));
      return out;
    };
    if (const auto subject = first_difference(counters_of(restored), counters_of(state_)))
      find(last_.of_counter(*subject),
           "lockouts: the rows of the user of this event are not what the log gives");
  }

  void compare_tenants(const core::replayed_state& restored) {
    const auto tenants_of = [](const core::replayed_state& state) {
      std::map<std::string, std::uint32_t> out;
      const auto& sessions = state.sessions();
      for (core::tenant_slot slot = 0; slot < sessions.tenant_count(); ++slot)
        if (const auto& each = sessions.tenant(slot); each.generation > 0)
          out.emplace(each.name, each.generation);
      return out;
    };
    if (const auto tenant = first_difference(tenants_of(restored), tenants_of(state_)))
      find(last_.of_tenant(*tenant),
           "tenants: the row of this event's tenant is not what the log gives");
  }

  void compare_breakers(const core::replayed_state& restored) {
    const auto breakers_of = [](const core::replayed_state& state) {
      std::map<core::breaker_standings::name, std::string> out;
      for (const auto& [name, each] : state.breakers().all()) out.emplace(name, whole_record(each));
      return out;
    };
    if (const auto name = first_difference(breakers_of(restored), breakers_of(state_))) {
      const auto* known = state_.breakers().find(name->first, name->second);
      find(known == nullptr ? 0 : known->last_seq,
           fmt::format("breakers: the row of {}/{} is not what the log gives", name->first,
                       name->second));
    }
  }

  log_source& from_;
  const std::vector<exported_checkpoint>& kept_;
  verify_report report_;
  core::replayed_state state_;
  last_seqs last_;
  row_checker rows_;
  user_checker users_;
  std::string file_trouble_;
  bool stream_failed_ = false;
};

}  // namespace

verify_report verify_log(log_source& from, const std::vector<exported_checkpoint>& kept) {
  return verifier(from, kept).run();
}

}  // namespace portcullis::apps

#include "core/replay/explain.hpp"

#include <algorithm>

#include "core/replay/explain_parts.hpp"

namespace portcullis::core {
namespace explaining {
namespace {

void on(reasoning& r, const judged_event& e, const checkpoint& body) {
  r.rule("A checkpoint is signed by the node and says what the log was up to the event before.");
  r.value("signer", to_base64url(body.signer));
  if (!e.in.place_before) return r.leave_open("the event before it was not read");
  const auto& place = *e.in.place_before;
  r.expect("mac", to_base64url(body.mac), to_base64url(place.mac));
  r.expect("of_at_ms", body.of_at_ms, place.at_ms);
  if (!r.agrees()) return;
  const auto& by = e.in.keys != nullptr ? e.in.keys->checkpoints().verifier() : body.signer;
  if (body.signer != by)
    return r.disagree("another signer", fmt::format("this key file's, {}", to_base64url(by)));
  if (!is_signed(body, place, by)) r.disagree("a signature", "one that does not verify");
}
void on(reasoning& r, const judged_event&, const node_started& body) {
  r.rule("A node tells the policy that it starts with.");
  r.value("version", body.version);
}
void on(reasoning& r, const judged_event&, const config_reloaded&) {
  r.rule("A reload that changes the configuration tells the policy from then on.");
}
void on(reasoning& r, const judged_event&, const node_stopped&) {
  r.rule("A node that is told to stop tells it, after all else of its log.");
}
void on(reasoning& r, const judged_event&, const store_degraded& body) {
  r.rule("The store refused to write: what promises durability is refused until it recovers.");
  r.value("reason", body.reason);
}
void on(reasoning& r, const judged_event&, const store_recovered&) {
  r.rule("The store writes again.");
}
void on(reasoning& r, const judged_event&, const auth_failed& body) {
  r.rule("Somebody tried to log in with a token that no caller has.");
  r.value("source", body.source);
}

explanation judge_under(const policy_book& policies, const explain_input& in) {
  reasoning r;
  const judged_event e{in,
                       policies,
                       in.what,
                       in.before.sessions(),
                       in.before.lockouts(),
                       in.what.decided_at_ms == 0 ? in.what.at_ms : in.what.decided_at_ms};
  std::visit([&](const auto& body) { on(r, e, body); }, in.what.body);
  return r.take();
}

/// The policy in force first, then that which a reload shortly before took away, and those that a
/// reload or a start shortly after brought: actors hear of one, and the log of what they decided,
/// in any order.
std::vector<const logged_policy*> policies_for(const explain_input& in) {
  const auto after =
      std::lower_bound(in.policies.begin(), in.policies.end(), in.what.seq,
                       [](const logged_policy& each, std::uint64_t seq) { return each.seq < seq; });
  std::vector<const logged_policy*> out;
  static const logged_policy defaults;
  out.push_back(after == in.policies.begin() ? &defaults : &*(after - 1));
  const auto is_near = [&](const logged_policy& each) {
    return each.at_ms > in.what.at_ms - apart_ms && each.at_ms < in.what.at_ms + apart_ms;
  };
  for (auto at = after; at != in.policies.begin(); --at) {
    const auto& last = *(at - 1);
    if (last.is_start || !is_near(last) || at - 1 == in.policies.begin()) break;
    out.push_back(&*(at - 2));
  }
  for (auto at = after; at != in.policies.end() && is_near(*at); ++at) out.push_back(&*at);
  return out;
}

/// So many policies near an event are tried against each other: nobody reloads more often.
constexpr std::size_t mixed_max = 8;

/// An attempt is compared by one actor and counted by another, and only one of them may have heard
/// of a reload. Absent: they agree under no two of these policies.
std::optional<explanation> judge_apart(const std::vector<const logged_policy*>& near,
                                       const explain_input& in) {
  const auto count = std::min(near.size(), mixed_max);
  for (std::size_t compared = 0; compared < count; ++compared)
    for (std::size_t counted = 0; counted < count; ++counted) {
      if (compared == counted || near[compared]->book.lockout == near[counted]->book.lockout)
        continue;
      auto mixed = near[compared]->book;
      mixed.lockout = near[counted]->book.lockout;
      auto out = judge_under(mixed, in);
      if (out.agrees == agreement::no) continue;
      out.values.push_back({"policy_of_seq", std::to_string(near[compared]->seq), true});
      out.values.push_back({"lockout_policy_of_seq", std::to_string(near[counted]->seq), true});
      return out;
    }
  return std::nullopt;
}

}  // namespace

session_slot need_session(reasoning& r, const judged_event& e) {
  const auto slot = e.what.handle ? e.sessions.find(*e.what.handle) : no_slot;
  if (slot == no_slot) r.disagree("a session of this handle", "none");
  return slot;
}

bool tenant_just_revoked(const judged_event& e) {
  const auto* last = e.in.recent.last_revocation(e.what.tenant_id);
  return last != nullptr && last->at_ms >= e.decided_at_ms - apart_ms;
}

void expect_live(reasoning& r, const judged_event& e, session_slot slot) {
  const auto found = over_because(e.sessions, slot, e.decided_at_ms);
  if (found == verdict::valid) return;
  if (is_doubtful(e, slot)) return r.leave_open(activity_lost);
  if (found == verdict::revoked && e.sessions.at(slot).status == session_status::live &&
      tenant_just_revoked(e))
    return r.value("tenant", std::string("revoked while this was on its way to the log"));
  r.disagree("a session that lives", fmt::format("one that is {}", to_string(reason_of(found))));
}

void expect_generation(reasoning& r, const judged_event& e, std::uint64_t recorded) {
  const auto tenant = e.sessions.find_tenant(e.what.tenant_id);
  const std::uint64_t now = tenant == no_slot ? 0 : e.sessions.tenant(tenant).generation;
  r.value("tenant_generation", recorded);
  if (recorded == now || (recorded < now && tenant_just_revoked(e))) return;
  r.disagree(fmt::format("tenant_generation {}", recorded), fmt::format("{}", now));
}

bool is_doubtful(const judged_event& e, session_slot slot) {
  const auto& s = e.sessions.at(slot);
  return s.status == session_status::live && !e.sessions.outlived(s) &&
         e.decided_at_ms >= s.idle_expires_at_ms() && e.decided_at_ms < s.absolute_expires_at_ms &&
         e.in.recent.lost_activity_at_ms() > s.last_seen_at_ms;
}

users_sessions live_sessions(const judged_event& e, user_slot user) {
  users_sessions out;
  if (user == no_slot) return out;
  for (const auto slot : e.in.before.sessions_of(user)) {
    if (is_live(e.sessions, slot, e.decided_at_ms)) out.live.push_back(slot);
    out.doubtful += is_doubtful(e, slot) ? 1 : 0;
  }
  return out;
}

bool open_address(reasoning& r, const judged_event& e, session_slot slot, const identity_ptr& who) {
  const auto& s = e.sessions.at(slot);
  if (s.ip_known) return true;
  if (who == nullptr) {
    r.leave_open("the user is forgotten: the addresses cannot be opened");
    return false;
  }
  const auto ip = open_ip(*who, s.sealed_ip());
  if (!ip) {
    r.leave_open("the session's address cannot be opened with this key file");
    return false;
  }
  e.sessions.know_ip(slot, *ip);
  return true;
}

}  // namespace explaining

explanation explain(const explain_input& in) {
  const auto near = explaining::policies_for(in);
  auto out = explaining::judge_under(near.front()->book, in);
  for (std::size_t i = 1; i < near.size() && out.agrees == agreement::no; ++i) {
    auto other = explaining::judge_under(near[i]->book, in);
    if (other.agrees == agreement::no) continue;
    other.values.push_back({"policy_of_seq", std::to_string(near[i]->seq), true});
    out = std::move(other);
  }
  if (out.agrees == agreement::no && near.size() > 1)
    if (auto apart = explaining::judge_apart(near, in)) out = std::move(*apart);
  if (in.past != nullptr) out.because = explaining::what_led_to(in.what, *in.past);
  return out;
}

std::string names_of(field_set fields) {
  std::string out;
  const auto add = [&](std::string_view name) {
    if (!out.empty()) out += ", ";
    out += name;
  };
  if ((fields & ip_bit) != 0) add("ip");
  for (std::size_t i = 0; i < context_field_count; ++i)
    if ((fields >> i & 1U) != 0) add(context_field_names[i]);
  return out.empty() ? "none" : out;
}

std::string bound_to(const session_record& session, const session_policy& policy) {
  std::string out;
  if (policy.ip_binding == ip_binding::enforce)
    out = fmt::format("ip /{} (IPv6 /{})", policy.ip_prefix_v4, policy.ip_prefix_v6);
  const auto fields = static_cast<field_set>(session.present & policy.enforced);
  if (fields != 0) out += (out.empty() ? "" : ", ") + names_of(fields);
  return out.empty() ? "nothing" : out;
}

}  // namespace portcullis::core

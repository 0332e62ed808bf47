#include "apps/log/state_at.hpp"

#include <fmt/format.h>

#include "apps/log/fold.hpp"
#include "apps/log/policy.hpp"
#include "core/breaker/worst.hpp"
#include "core/limits.hpp"
#include "core/session/decide.hpp"

namespace portcullis::apps {
namespace {

using core::millis;

/// The state then, and what it is asked for with.
struct moment_of_log {
  core::replayed_state state;
  core::policy_book policies;
  ordered_json policy;  // as the log has it
  millis at_ms = 0;
  core::log_recent recent;
};

bool fold_to(log_source& from, const log_moment& at, moment_of_log& to, std::string& why,
             const std::function<void(const core::event&)>& each = nullptr) {
  const auto folded = fold_log(
      *from.file, at, to.state,
      [&](const core::event& what) {
        if (each) each(what);
        to.recent.note(what, to.state);
      },
      [&] {
        if (from.file->cut()) to.recent.begin(to.state);
      });
  why = folded.why;
  if (!why.empty()) return false;
  to.at_ms = at.at_ms.value_or(to.state.at_ms());
  auto book = parse_policy(to.state.policy(), {}, why);
  if (!book) return false;
  to.policies = std::move(*book);
  to.policy = ordered_json::parse(to.state.policy(), nullptr, false);
  return true;
}

ordered_json head(const moment_of_log& then) {
  return {{"seq", then.state.seq()}, {"at_ms", then.at_ms}};
}

/// live, expired, revoked or evicted, by time and by what was revoked as a whole; absent: it is
/// forgotten by then.
std::optional<std::string> status_of(const moment_of_log& then, core::session_slot slot) {
  const auto& sessions = then.state.sessions();
  const auto& s = sessions.at(slot);
  if (then.at_ms >= s.absolute_expires_at_ms + core::limits::tombstone_keep_ms) return std::nullopt;
  switch (core::over_because(sessions, slot, then.at_ms)) {
    case core::verdict::valid:
      return "live";
    case core::verdict::expired:
      return "expired";
    case core::verdict::revoked:
      return s.status == core::session_status::evicted ? "evicted" : "revoked";
    default:
      return std::nullopt;  // NOLINT: it gives no other
  }
}

const core::session_policy& policy_of(const moment_of_log& then, const core::user_record& owner) {
  return then.policies.of(then.state.sessions().tenant(owner.tenant).name);
}

/// Address and user agent of its creation; nothing where its user is forgotten, and the address
/// alone, while it lives, where its creation was cut off.
void add_shown(ordered_json& to, log_source& from, const core::session_record& s,
               const core::identity_ptr& who) {
  if (who == nullptr) return;
  std::string why;
  const auto made = read_event(*from.file, s.seq, why);
  if (!made) {
    const auto ip = core::open_ip(*who, s.sealed_ip());
    if (ip) to["ip"] = core::to_text(*ip);
    return;
  }
  const auto shown = core::open_shown(*who, made->what.sealed);
  if (!shown) return;
  to["ip"] = core::to_text(shown->ip);
  if (!shown->user_agent.empty()) to["user_agent"] = shown->user_agent;
}

ordered_json rotation_of(const core::session_extra& extra) {
  ordered_json out{{"earlier_ids", extra.old_ids.size() + (extra.has_predecessor ? 1 : 0)}};
  if (extra.has_predecessor) {
    out["grace_ends_at_ms"] = extra.grace_ends_at_ms;
    out["successor_used"] = extra.successor_used;
  }
  return out;
}

std::optional<ordered_json> session_of(log_source& from, const moment_of_log& then,
                                       core::session_slot slot, const core::identity_ptr& who) {
  const auto status = status_of(then, slot);
  if (!status) return std::nullopt;
  const auto& s = then.state.sessions().at(slot);
  const auto& owner = then.state.sessions().user(s.user);
  ordered_json out{{"handle", core::to_text(s.handle)},
                   {"status", *status},
                   {"created_at_ms", s.created_at_ms},
                   {"created_seq", s.seq},
                   {"last_seen_at_ms", s.last_seen_at_ms},
                   {"expires_at_ms", s.expires_at_ms()},
                   {"idle_expires_at_ms", s.idle_expires_at_ms()},
                   {"absolute_expires_at_ms", s.absolute_expires_at_ms},
                   {"version", s.version}};
  if (then.recent.lost_activity_at_ms() > s.last_seen_at_ms) out["activity_dropped"] = true;
  add_shown(out, from, s, who);
  if (*status == "live") out["bound_to"] = core::bound_to(s, policy_of(then, owner));
  if (s.extra && (s.extra->has_predecessor || !s.extra->old_ids.empty()))
    out["rotation"] = rotation_of(*s.extra);
  return out;
}

/// As lockout.status says it, and each source's counter.
ordered_json lockout_of(const moment_of_log& then, const core::subject_id& subject) {
  const auto status =
      core::status_of(then.state.lockouts(), &subject, then.policies.lockout, then.at_ms);
  ordered_json out{{"locked", status.locked},
                   {"failed_attempts", status.failed_attempts},
                   {"threshold", status.threshold}};
  if (status.window_ends_at_ms) out["window_ends_at_ms"] = *status.window_ends_at_ms;
  if (status.locked_until_ms) out["locked_until_ms"] = *status.locked_until_ms;
  const auto* user = then.state.lockouts().find(subject);
  if (user == nullptr) return out;
  for (const auto& [source, counter] : user->sources) {
    if (counter.over(then.at_ms)) continue;
    ordered_json one{{"source", core::to_base64url(source)},
                     {"failed_attempts", counter.failed_attempts}};
    if (counter.locked(then.at_ms))
      one["locked_until_ms"] = counter.locked_until_ms;
    else
      one["window_ends_at_ms"] = counter.window_ends_at_ms;
    out["sources"].push_back(std::move(one));
  }
  return out;
}

ordered_json policy_in_force(const moment_of_log& then, const std::string& tenant) {
  ordered_json out = ordered_json::object();
  if (!then.policy.is_object()) return out;
  if (then.policy.contains("tenant") && then.policy["tenant"].contains(tenant))
    out["session"] = then.policy["tenant"][tenant];
  else if (then.policy.contains("session"))
    out["session"] = then.policy["session"];
  if (then.policy.contains("lockout")) out["lockout"] = then.policy["lockout"];
  return out;
}

}  // namespace

std::optional<state_found> user_at(log_source& from, const std::string& name, const log_moment& at,
                                   std::string& why) {
  std::optional<core::user_row> row;
  std::string user_id;
  for (auto cut = name.find('/'); cut != std::string::npos && !row; cut = name.find('/', cut + 1)) {
    user_id = name.substr(cut + 1);
    auto found = from.file->find_user(from.keys->lookup(name.substr(0, cut), user_id));
    if (!found) {
      why = fmt::format("the user cannot be read ({})", core::describe(found.error().code).name);
      return std::nullopt;
    }
    row = std::move(*found);
  }
  if (!row) {
    why = fmt::format("user {}: there is none, or it is forgotten", name);
    return std::nullopt;
  }
  moment_of_log then;
  if (!fold_to(from, at, then, why)) return std::nullopt;
  state_found out{head(then), true};
  const auto slot = then.state.sessions().find_user(row->subject);
  if (slot == core::no_slot) return state_found{std::move(out.told), false};
  const auto who = core::open_user(*row, *from.keys);
  out.told["tenant_id"] = row->tenant_id;
  out.told["user_id"] = user_id;
  out.told["subject"] = core::to_base64url(row->subject.bytes);
  auto& sessions = out.told["sessions"] = ordered_json::array();
  for (const auto each : then.state.sessions_of(slot))
    if (auto one = session_of(from, then, each, who)) sessions.push_back(std::move(*one));
  out.told["lockout"] = lockout_of(then, row->subject);
  out.told["policy"] = policy_in_force(then, row->tenant_id);
  return out;
}

std::optional<state_found> session_at(log_source& from, const core::session_handle& handle,
                                      const log_moment& at, std::string& why) {
  moment_of_log then;
  if (!fold_to(from, at, then, why)) return std::nullopt;
  const auto& sessions = then.state.sessions();
  const auto slot = sessions.find(handle);
  if (slot == core::no_slot) return state_found{head(then), false};
  const auto& owner = sessions.user(sessions.at(slot).user);
  const auto row = from.file->find_user(owner.subject);
  if (!row) {
    why = fmt::format("the user cannot be read ({})", core::describe(row.error().code).name);
    return std::nullopt;
  }
  const auto who = *row ? core::open_user(**row, *from.keys) : nullptr;
  auto one = session_of(from, then, slot, who);
  if (!one) return state_found{head(then), false};
  state_found out{head(then), true};
  const auto& tenant = sessions.tenant(owner.tenant).name;
  out.told["tenant_id"] = tenant;
  if (who != nullptr) out.told["user_id"] = who->user_id;
  out.told["subject"] = core::to_base64url(owner.subject.bytes);
  out.told["sessions"] = ordered_json::array({std::move(*one)});
  out.told["lockout"] = lockout_of(then, owner.subject);
  out.told["policy"] = policy_in_force(then, tenant);
  return out;
}

namespace {

/// Since when a breaker shows what it shows, and why: of an observed one, whose sources change
/// without changing that, the log has to be looked through.
class shown_since {
 public:
  shown_since(std::string service, std::string breaker)
      : service_(std::move(service)), breaker_(std::move(breaker)) {}
  void note(const core::event& what, const core::replayed_state& before) {
    const auto about = core::topic_of(what);
    if (about.service != service_ || about.breaker != breaker_) return;
    look(before);
    at_ms_ = what.decided_at_ms;
    std::visit(
        [&](const auto& body) {
          if constexpr (std::is_base_of_v<core::breaker_transition, std::decay_t<decltype(body)>>)
            cause_ = body.cause;
        },
        what.body);
  }
  void look(const core::replayed_state& now) {
    const auto* standing = now.breakers().find(service_, breaker_);
    const auto state =
        standing == nullptr ? core::breaker_state::closed : core::shown_state(*standing);
    if (state == state_) return;
    state_ = state;
    since_ms = at_ms_;
    cause = cause_;
  }
  millis since_ms = 0;
  core::breaker_cause cause = core::breaker_cause::created;

 private:
  std::string service_, breaker_;
  core::breaker_state state_ = core::breaker_state::closed;
  millis at_ms_ = 0;
  core::breaker_cause cause_ = core::breaker_cause::created;
};

}  // namespace

std::optional<state_found> breaker_at(log_source& from, const std::string& service,
                                      const std::string& breaker, const log_moment& at,
                                      std::string& why) {
  moment_of_log then;
  shown_since shown(service, breaker);
  if (!fold_to(from, at, then, why, [&](const core::event& each) { shown.note(each, then.state); }))
    return std::nullopt;
  shown.look(then.state);
  state_found out{head(then), true};
  const auto* standing = then.state.breakers().find(service, breaker);
  if (standing == nullptr) return state_found{std::move(out.told), false};
  const auto& record = standing->record;
  const bool hosted = record.kind == core::breaker_kind::hosted;
  const auto state = core::shown_state(*standing);
  auto& told = out.told;
  told["service"] = service;
  told["breaker"] = breaker;
  told["kind"] = std::string(core::to_string(record.kind));
  told["state"] = std::string(core::to_string(state));
  told["base_state"] = std::string(core::to_string(hosted ? record.state : core::base_of(state)));
  told["epoch"] = record.epoch;
  const bool known = !hosted && shown.since_ms > 0;  // else it began before the log does
  told["since_ms"] = known ? shown.since_ms : record.since_ms;
  told["cause"] = std::string(core::to_string(known ? shown.cause : record.cause));
  if (record.override_.mode != core::override_mode::none) {
    const auto& over = record.override_;
    auto& to = told["override"];
    to = {{"mode", std::string(core::to_string(over.mode))},
          {"scope", std::string(core::to_string(over.scope))},
          {"actor", over.actor},
          {"reason", over.reason}};
    if (over.expires_at_ms) to["expires_at_ms"] = *over.expires_at_ms;
  }
  if (hosted && record.until_ms > 0) told["until_ms"] = record.until_ms;
  auto& sources = told["sources"] = ordered_json::array();
  for (const auto& [name, its] : standing->sources)
    sources.push_back({{"source", name}, {"state", std::string(core::to_string(its))}});
  return out;
}

namespace {

std::string at_text(const ordered_json& of, const char* name) {
  return time_text(of.value(name, millis{0}));
}

void add_sessions(std::string& out, const ordered_json& sessions) {
  for (const auto& s : sessions) {
    out += fmt::format("\n{}  {}, version {}\n", s.value("handle", ""), s.value("status", ""),
                       s["version"].dump());
    const auto line = [&](std::string_view name, const std::string& value) {
      out += fmt::format("  {:<12}{}\n", name, value);
    };
    line("created",
         fmt::format("{} (seq {})", at_text(s, "created_at_ms"), s["created_seq"].dump()));
    line("last seen",
         at_text(s, "last_seen_at_ms") + (s.value("activity_dropped", false)
                                              ? ", or later: activity that is old was dropped"
                                              : ""));
    line("expires",
         fmt::format("{} (idle {}, absolute {})", at_text(s, "expires_at_ms"),
                     at_text(s, "idle_expires_at_ms"), at_text(s, "absolute_expires_at_ms")));
    if (s.contains("ip")) line("from", s.value("ip", "") + "  " + s.value("user_agent", ""));
    if (s.contains("bound_to")) line("bound to", s.value("bound_to", ""));
    if (!s.contains("rotation")) continue;
    const auto& r = s["rotation"];
    line("rotated", r.contains("grace_ends_at_ms")
                        ? fmt::format("the id before has grace until {}, its successor is {}",
                                      at_text(r, "grace_ends_at_ms"),
                                      r.value("successor_used", false) ? "used" : "not used yet")
                        : fmt::format("{} earlier ids", r["earlier_ids"].dump()));
  }
}

std::string lock_text(const ordered_json& of) {
  if (of.contains("locked_until_ms"))
    return fmt::format("locked out until {}, after {} failed attempts",
                       at_text(of, "locked_until_ms"), of["failed_attempts"].dump());
  auto text = of["failed_attempts"].dump() + " failed attempts";
  if (of.contains("window_ends_at_ms"))
    text += " in a window until " + at_text(of, "window_ends_at_ms");
  return text;
}

}  // namespace

std::string state_text(const ordered_json& told) {
  std::string out;
  const auto line = [&](std::string_view name, const std::string& value) {
    out += fmt::format("{:<14}{}\n", name, value);
  };
  line("at", fmt::format("{} (seq {})", at_text(told, "at_ms"), told["seq"].dump()));
  if (told.contains("service")) {
    line("breaker", fmt::format("{}/{} ({})", told.value("service", ""), told.value("breaker", ""),
                                told.value("kind", "")));
    line("state", fmt::format("{} since {} ({})", told.value("state", ""),
                              at_text(told, "since_ms"), told.value("cause", "")));
    line("base state", told.value("base_state", ""));
    line("epoch", told["epoch"].dump());
    if (told.contains("until_ms")) line("until", at_text(told, "until_ms"));
    if (told.contains("override")) {
      const auto& over = told["override"];
      auto text = fmt::format("{} by {}: {}", over.value("mode", ""), over.value("actor", ""),
                              over.value("reason", ""));
      if (over.contains("expires_at_ms")) text += ", until " + at_text(over, "expires_at_ms");
      line("override", text);
    }
    for (const auto& each : told["sources"])
      line("source", each.value("source", "") + ": " + each.value("state", ""));
    return out;
  }
  line("user", told.contains("user_id")
                   ? told.value("tenant_id", "") + "/" + told.value("user_id", "")
                   : told.value("tenant_id", "") + "/ (forgotten)");
  line("subject", told.value("subject", ""));
  line("lockout", lock_text(told["lockout"]));
  if (told["lockout"].contains("sources"))
    for (const auto& each : told["lockout"]["sources"])
      line("  a source", each.value("source", "") + ": " + lock_text(each));
  for (const auto* part : {"session", "lockout"})
    if (told["policy"].contains(part))
      line(fmt::format("{} rules", part), told["policy"][part].dump());
  add_sessions(out, told["sessions"]);
  return out;
}

}  // namespace portcullis::apps

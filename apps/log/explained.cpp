#include "apps/log/explained.hpp"

#include <fmt/format.h>

#include "apps/log/fold.hpp"
#include "core/event/codec.hpp"

namespace portcullis::apps {
namespace {

ordered_json value_of(const core::named_value& value) {
  if (!value.is_number) return value.value;
  return ordered_json::parse(value.value, nullptr, false);
}

ordered_json because_of(const std::vector<core::past_event>& past) {
  auto out = ordered_json::array();
  for (const auto& each : past) {
    ordered_json one{{"seq", each.seq},
                     {"at_ms", each.at_ms},
                     {"type", std::string(core::to_string(each.type))}};
    if (each.handle) one["handle"] = core::to_text(*each.handle);
    if (!each.text.empty()) one["text"] = each.text;
    out.push_back(std::move(one));
  }
  return out;
}

void add_explanation(ordered_json& to, const core::explanation& how) {
  to["rule"] = how.rule;
  auto& values = to["values"] = ordered_json::object();
  for (const auto& each : how.values) values[each.name] = value_of(each);
  to["because"] = because_of(how.because);
}

void add_agreement(ordered_json& to, const core::explanation& how) {
  to["agrees"] = how.agrees == core::agreement::not_checkable
                     ? ordered_json()
                     : ordered_json(how.agrees == core::agreement::yes);
  if (!how.why.empty()) to["why"] = how.why;
}

std::string name_of(const core::event& what, log_users& users) {
  const auto who = what.subject ? users.find(*what.subject) : nullptr;
  return who == nullptr ? std::string() : who->user_id;
}

/// What an event shows to readers of the log.
ordered_json shown(const logged_event& from, log_users& users) {
  core::byte_buffer out;
  core::append_shown(out, from.what, from.node, name_of(from.what, users));
  return ordered_json::parse(out.view(), nullptr, false);
}

/// A policy that was told is explained by what it changed.
void add_changes(ordered_json& values, const log_outline& outline, std::uint64_t seq) {
  for (std::size_t i = 0; i < outline.policies.size(); ++i) {
    if (outline.policies[i].seq != seq) continue;
    const auto before = i == 0 ? std::string() : outline.policy_texts[i - 1];
    if (i == 0) return;
    for (const auto& [name, change] : changed_settings(before, outline.policy_texts[i]))
      values[name] = change;
  }
}

bool read_user(log_users& to, log_source& from, const std::optional<core::subject_id>& subject,
               std::string& why) {
  if (!subject) return true;
  const auto read = to.read(*from.file, *subject);
  if (!read)
    why = fmt::format("the user cannot be read ({})", core::describe(read.error().code).name);
  return bool(read);
}

std::optional<core::log_place> place_before(const log_outline& outline, std::uint64_t seq) {
  const auto found = outline.before_checkpoints.find(seq);
  return found == outline.before_checkpoints.end() ? std::nullopt : std::optional(found->second);
}

const core::policy_book& policy_at(const log_outline& outline, std::uint64_t seq) {
  static const core::policy_book defaults;
  const core::policy_book* out = &defaults;
  for (const auto& each : outline.policies)
    if (each.seq <= seq) out = &each.book;
  return *out;
}

/// Where the log was cut: what its snapshot says is known before the first event.
void begin(const log_source& from, const core::replayed_state& state, log_outline& outline,
           core::log_recent& recent, std::string& why) {
  if (!from.file->cut()) return;
  (void)begin_with(outline, state, why);
  recent.begin(state);
}

}  // namespace

std::optional<explained_event> explain_event(log_source& from, std::uint64_t seq,
                                             std::string& why) {
  const auto asked = read_event(*from.file, seq, why);
  if (!asked) return std::nullopt;
  auto outline = read_outline(*from.file, why);
  if (!outline) return std::nullopt;
  log_users users(*from.keys);
  if (!read_user(users, from, asked->what.subject, why)) return std::nullopt;
  core::replayed_state state;
  core::log_recent recent;
  core::past_events past(core::topic_of(asked->what));
  std::optional<core::explanation> how;
  const auto folded = fold_log(
      *from.file, {seq, {}}, state,
      [&](const core::event& each) {
        if (each.seq == seq)
          how = core::explain({each, state, recent, outline->policies, users.opener(), &*from.keys,
                               place_before(*outline, seq), &past});
        recent.note(each, state);
        past.note(each);
      },
      [&] { begin(from, state, *outline, recent, why); });
  if (!why.empty()) return std::nullopt;
  if (!how) {
    why = folded.why.empty() ? fmt::format("the log has no seq {}", seq) : folded.why;
    return std::nullopt;
  }
  explained_event out;
  out.agrees = how->agrees;
  out.told = {{"seq", seq},
              {"at_ms", asked->what.at_ms},
              {"type", std::string(core::to_string(asked->what.type()))},
              {"event", shown(*asked, users)}};
  add_explanation(out.told, *how);
  add_changes(out.told["values"], *outline, seq);
  add_agreement(out.told, *how);
  return out;
}

std::optional<explained_log> explain_all(log_source& from, const log_moment& until,
                                         std::string& why) {
  auto outline = read_outline(*from.file, why);
  if (!outline) return std::nullopt;
  log_users users(*from.keys);
  if (const auto read = users.read_all(*from.file); !read) {
    why = fmt::format("the users cannot be read ({})", core::describe(read.error().code).name);
    return std::nullopt;
  }
  core::replayed_state state;
  core::log_recent recent;
  const auto open = users.opener();
  explained_log out;
  const auto judge = [&](const core::event& each) {
    const auto how = core::explain({each, state, recent, outline->policies, open, &*from.keys,
                                    place_before(*outline, each.seq), nullptr});
    ++out.events;
    switch (how.agrees) {
      case core::agreement::yes:
        ++out.agree;
        break;
      case core::agreement::no:
        ++out.disagree;
        if (out.disagreements.size() < explained_log::disagreements_max)
          out.disagreements.push_back({each.seq, each.at_ms, each.type(), how.why});
        break;
      case core::agreement::not_checkable:
        ++out.not_checkable;
        ++out.open[fmt::format("{}: {}", core::to_string(each.type()), how.why)];
        break;
    }
    recent.note(each, state);
  };
  const auto folded =
      fold_log(*from.file, until, state, judge, [&] { begin(from, state, *outline, recent, why); });
  if (why.empty()) why = folded.why;
  if (!why.empty()) return std::nullopt;
  return out;
}

std::optional<explained_validation> explain_handle(log_source& from,
                                                   const core::session_handle& handle,
                                                   const log_moment& at, std::string& why) {
  auto outline = read_outline(*from.file, why);
  if (!outline) return std::nullopt;
  // Whose it is must be known before the log is folded, for the history of its user; of one made
  // before the log begins the state says it.
  core::topic whose{{}, {}, handle, {}, {}};
  if (const auto made = find_creation(*from.file, handle, why)) {
    whose.subject = made->subject;
    whose.tenant_id = made->tenant_id;
  } else if (!why.empty()) {
    return std::nullopt;
  }
  core::replayed_state state;
  core::log_recent recent;
  std::optional<core::past_events> past;
  const auto once_begun = [&] {
    const auto& sessions = state.sessions();
    if (const auto slot = sessions.find(handle); !whose.subject && slot != core::no_slot) {
      const auto& owner = sessions.user(sessions.at(slot).user);
      whose.subject = owner.subject;
      whose.tenant_id = sessions.tenant(owner.tenant).name;
    }
    past.emplace(whose);
    begin(from, state, *outline, recent, why);
  };
  const auto folded = fold_log(
      *from.file, at, state,
      [&](const core::event& each) {
        past->note(each);
        recent.note(each, state);
      },
      once_begun);
  if (why.empty()) why = folded.why;
  if (!why.empty()) return std::nullopt;
  log_users users(*from.keys);
  if (!read_user(users, from, whose.subject, why)) return std::nullopt;
  const auto at_ms = at.at_ms.value_or(state.at_ms());
  const auto open = users.opener();
  const auto answer =
      core::explain_validation({handle, at_ms, state, policy_at(*outline, state.seq()), open, *past,
                                recent.lost_activity_at_ms()});
  explained_validation out;
  out.known = answer.known;
  out.told = {{"seq", state.seq()}, {"at_ms", at_ms}, {"handle", core::to_text(handle)}};
  if (whose.subject && answer.known) {
    out.told["tenant_id"] = whose.tenant_id;
    if (const auto who = users.find(*whose.subject)) out.told["user_id"] = who->user_id;
  }
  out.told["valid"] = answer.reason ? ordered_json(false) : ordered_json(true);
  if (answer.reason) out.told["reason"] = std::string(core::to_string(*answer.reason));
  if (answer.retry_after_ms) out.told["retry_after_ms"] = *answer.retry_after_ms;
  add_explanation(out.told, answer.how);
  if (!answer.how.why.empty()) out.told["why"] = answer.how.why;
  return out;
}

namespace {

std::string text_of(const std::string& name, const ordered_json& value) {
  if (name.ends_with("_at_ms") || name.ends_with("until_ms"))
    if (value.is_number_integer() && value.get<core::millis>() > 0)
      return time_text(value.get<core::millis>());
  return value.is_string() ? value.get<std::string>() : value.dump();
}

class text_writer {
 public:
  void line(std::string_view name, std::string_view value) {
    out_ += fmt::format("{:<9}{}\n", name, value);
  }
  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

void write_event(text_writer& to, const ordered_json& told, const std::string& at) {
  to.line("event", fmt::format("{} {} at {}", told["seq"].dump(), told.value("type", ""), at));
  for (const auto& [name, value] : told["event"].items())
    if (name != "seq" && name != "at_ms" && name != "type" && name != "policy" && name != "node" &&
        name != "correlation_id")
      to.line("", fmt::format("{}: {}", name, text_of(name, value)));
}

void write_answer(text_writer& to, const ordered_json& told, const std::string& at) {
  to.line("session", told.value("handle", ""));
  if (told.contains("user_id"))
    to.line("user", told.value("tenant_id", "") + "/" + told.value("user_id", ""));
  to.line("at", fmt::format("{} (seq {})", at, told["seq"].dump()));
  auto answer = told.value("valid", false) ? std::string("valid") : told.value("reason", "");
  if (told.contains("retry_after_ms"))
    answer += fmt::format(", retry after {} ms", told["retry_after_ms"].dump());
  to.line("answer", answer);
}

void write_agreement(text_writer& to, const ordered_json& told) {
  const auto why = told.value("why", "");
  if (!told.contains("agrees")) {
    if (!why.empty()) to.line("open", why);
    return;
  }
  const auto& agrees = told["agrees"];
  to.line("agrees", agrees.is_null()     ? "not checkable: " + why
                    : agrees.get<bool>() ? std::string("yes")
                                         : "NO: " + why);
}

}  // namespace

std::string explanation_text(const ordered_json& told) {
  text_writer out;
  const auto at = time_text(told.value("at_ms", core::millis{0}));
  if (told.contains("event"))
    write_event(out, told, at);
  else
    write_answer(out, told, at);
  out.line("rule", told.value("rule", ""));
  for (const auto& [name, value] : told["values"].items())
    out.line("", fmt::format("{}: {}", name, text_of(name, value)));
  bool first = true;
  for (const auto& each : told["because"]) {
    auto text = fmt::format("{} {} {}", each["seq"].dump(),
                            time_text(each["at_ms"].get<core::millis>()), each.value("type", ""));
    if (each.contains("text")) text += ": " + each.value("text", "");
    out.line(first ? "because" : "", text);
    first = false;
  }
  write_agreement(out, told);
  return out.take();
}

}  // namespace portcullis::apps

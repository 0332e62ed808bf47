#include "apps/log/outline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/log/policy.hpp"
#include "core/event/codec.hpp"

namespace portcullis::apps {
namespace {

using json = nlohmann::json;

core::result<core::event> decode(const store::log_row& row) {
  return core::decode_body(row.seq, row.at_ms, row.type, row.subject, row.body,
                           core::as_text(row.sealed));
}

std::string damaged(std::uint64_t seq, const core::error& why) {
  return fmt::format("the log is damaged at seq {} ({}, LOG_CORRUPT); verify says more", seq,
                     why.rule);
}

/// The text of its policy, where the event tells one.
const std::string* policy_of(const core::event& what) {
  if (const auto* started = std::get_if<core::node_started>(&what.body)) return &started->policy;
  if (const auto* reloaded = std::get_if<core::config_reloaded>(&what.body))
    return &reloaded->policy;
  return nullptr;
}

/// Adds the row's policy; false, and `why`, where it cannot be read.
bool add_policy(log_outline& to, const store::log_row& row, std::string& why) {
  const auto what = decode(row);
  if (!what) {
    why = damaged(row.seq, what.error());
    return false;
  }
  const auto& text = *policy_of(*what);
  const bool is_start = what->type() == core::event_type::node_started;
  if (!to.policies.empty() && to.policy_texts.back() == text) {
    to.policies.push_back({row.seq, row.at_ms, is_start, to.policies.back().book});
  } else {
    std::string problem;
    auto book = parse_policy(text, {}, problem);
    if (!book) {
      why = fmt::format("the policy that seq {} tells cannot be read: {}", row.seq, problem);
      return false;
    }
    to.policies.push_back({row.seq, row.at_ms, is_start, std::move(*book)});
  }
  to.policy_texts.push_back(text);
  return true;
}

/// The seq after which rows mean something: what was cut off may still be there in part.
std::uint64_t cut_seq(const store::log_file& of) { return of.cut() ? of.cut()->of.seq : 0; }

void flatten(const json& from, const std::string& path, std::map<std::string, std::string>& to) {
  if (!from.is_object()) {
    to[path] = from.dump();
    return;
  }
  for (const auto& [key, value] : from.items())
    flatten(value, path.empty() ? key : path + "." + key, to);
}

}  // namespace

std::optional<log_outline> read_outline(store::log_file& from, std::string& why) {
  log_outline out;
  core::log_place before;
  if (const auto& cut = from.cut()) before = cut->of;
  bool good = true;
  const auto read = from.read(cut_seq(from), [&](const store::log_row& row) {
    if (row.type == "node_started" || row.type == "config_reloaded")
      good = add_policy(out, row, why);
    else if (row.type == "checkpoint")
      out.before_checkpoints[row.seq] = before;
    before = {row.seq, row.at_ms, {}};
    if (row.mac.size() == before.mac.size())
      std::copy(row.mac.begin(), row.mac.end(), before.mac.begin());
    return good;
  });
  if (!good) return std::nullopt;
  if (!read) {
    why = fmt::format("the log cannot be read past seq {} ({}); verify says more", before.seq,
                      core::describe(read.error().code).name);
    return std::nullopt;
  }
  return out;
}

bool begin_with(log_outline& to, const core::replayed_state& state, std::string& why) {
  if (state.policy().empty()) return true;
  std::string problem;
  auto book = parse_policy(state.policy(), {}, problem);
  if (!book) {
    why = fmt::format("the policy of seq {} cannot be read: {}", state.seq(), problem);
    return false;
  }
  to.policies.insert(to.policies.begin(), {state.seq(), state.at_ms(), true, std::move(*book)});
  to.policy_texts.insert(to.policy_texts.begin(), state.policy());
  return true;
}

std::optional<logged_event> read_event(store::log_file& from, std::uint64_t seq, std::string& why) {
  std::optional<logged_event> out;
  if (const auto cut = cut_seq(from); seq <= cut) {
    why = fmt::format("the log has no seq {}: it begins at {}", seq, cut + 1);
    return out;
  }
  if (seq > from.last_seq()) {
    why = from.last_seq() == 0
              ? std::string("the log is empty")
              : fmt::format("the log has no seq {}: it ends at {}", seq, from.last_seq());
    return out;
  }
  const auto read = from.read(seq - 1, [&](const store::log_row& row) {
    if (row.seq != seq) return false;
    auto what = decode(row);
    if (!what) {
      why = damaged(seq, what.error());
      return false;
    }
    const auto body = json::parse(row.body, nullptr, false);
    out = logged_event{std::move(*what), body.is_object() ? body.value("node", "") : ""};
    return false;
  });
  if (!out && why.empty())
    why = read ? fmt::format("the log has no seq {}: it begins at {}", seq, from.first_seq())
               : fmt::format("the log cannot be read at seq {} ({})", seq,
                             core::describe(read.error().code).name);
  return out;
}

std::optional<core::event> find_creation(store::log_file& from, const core::session_handle& handle,
                                         std::string& why) {
  const auto text = core::to_text(handle);
  std::optional<core::event> out;
  const auto read = from.read(cut_seq(from), [&](const store::log_row& row) {
    // Its text is in few other rows: decoding all would take many times as long.
    if (row.type != "session_created" || row.body.find(text) == std::string_view::npos) return true;
    auto what = decode(row);
    if (!what) {
      why = damaged(row.seq, what.error());
      return false;
    }
    if (what->handle != handle) return true;
    out = std::move(*what);
    return false;
  });
  if (!read)
    why = fmt::format("the log cannot be read ({}); verify says more",
                      core::describe(read.error().code).name);
  return out;
}

std::vector<std::pair<std::string, std::string>> changed_settings(const std::string& before,
                                                                  const std::string& after) {
  std::map<std::string, std::string> old, now;
  flatten(json::parse(before.empty() ? "{}" : before, nullptr, false), "", old);
  flatten(json::parse(after.empty() ? "{}" : after, nullptr, false), "", now);
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [name, value] : now) {
    const auto was = old.find(name);
    if (was == old.end())
      out.emplace_back(name, "none -> " + value);
    else if (was->second != value)
      out.emplace_back(name, was->second + " -> " + value);
  }
  for (const auto& [name, value] : old)
    if (!now.contains(name)) out.emplace_back(name, value + " -> none");
  return out;
}

core::status log_users::read(store::log_file& from, const core::subject_id& subject) {
  auto row = from.find_user(subject);
  if (!row) return row.error();
  if (*row) users_[subject].row = std::move(**row);
  return core::nothing{};
}

core::status log_users::read_all(store::log_file& from) {
  return from.read_users([&](const store::user_line& line) {
    if (line.good) users_[line.row.subject].row = line.row;
  });
}

core::identity_ptr log_users::find(const core::subject_id& subject) {
  const auto found = users_.find(subject);
  if (found == users_.end()) return nullptr;
  auto& each = found->second;
  if (!each.opened) each.who = core::open_user(each.row, keys_);
  each.opened = true;
  return each.who;
}

}  // namespace portcullis::apps

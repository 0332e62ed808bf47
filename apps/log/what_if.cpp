#include "apps/log/what_if.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "apps/log/policy.hpp"
#include "core/config/entry.hpp"
#include "core/replay/what_if.hpp"
#include "core/session/slot_index.hpp"
#include "store/log_stream.hpp"

namespace portcullis::apps {
namespace {

using json = nlohmann::ordered_json;

constexpr std::uint64_t progress_every = 16'384;

/// Users' keys, opened when they are asked for: the file is the stream's while it is read.
class kept_users {
 public:
  explicit kept_users(const core::key_material& keys) : keys_(keys) {}
  core::status read(store::log_file& from) {
    return from.read_users([this](const store::user_line& line) {
      if (line.good) rows_[line.row.subject] = {line.row.ring_key, line.row.wrapped, nullptr};
    });
  }
  core::identity_ptr of(const core::subject_id& subject) {
    const auto found = rows_.find(subject);
    if (found == rows_.end()) return nullptr;
    auto& kept = found->second;
    if (!kept.who) kept.who = core::open_user(kept.ring_key, kept.wrapped, keys_);
    return kept.who;
  }

 private:
  struct row {
    std::uint32_t ring_key = 0;
    std::string wrapped;
    core::identity_ptr who;
  };
  struct hash {
    std::size_t operator()(const core::subject_id& of) const noexcept {
      return core::hash_at(of.bytes, 4);
    }
  };
  const core::key_material& keys_;
  std::unordered_map<core::subject_id, row, hash> rows_;
};

/// Keys as the configuration has them, and their values.
void flatten(const json& from, const std::string& prefix, std::map<std::string, std::string>& to) {
  for (const auto& [key, value] : from.items()) {
    const auto path = prefix.empty() ? key : prefix + "." + key;
    if (value.is_object())
      flatten(value, path, to);
    else
      to[path] = value.dump();
  }
}

std::map<std::string, std::string> values_of(const core::policy_book& book) {
  const auto policy = json::parse(core::to_json(book));
  json named = {{"session", policy["session"]}, {"lockout", policy["lockout"]}};
  std::map<std::string, std::string> out;
  flatten(named, "", out);
  for (const auto& [tenant, own] : policy["tenant"].items())
    flatten(own, core::dotted({"tenant", tenant}) + ".session", out);
  flatten(policy["breaker"]["default"], "breaker", out);
  for (const auto& [pattern, own] : policy["breaker"]["patterns"].items())
    flatten(own, core::dotted({"breaker", pattern}), out);
  out["breaker.max"] = policy["breaker"]["max"].dump();
  return out;
}

/// Of a key of a tenant or of a pattern of breakers: the one of the general section.
std::string general_key(const std::string& key) {
  const bool of_tenant = key.rfind("tenant.", 0) == 0;
  return (of_tenant ? "session" : "breaker") + key.substr(key.rfind('.'));
}

void add_differences(const core::policy_book& recorded, const core::policy_book& other,
                     std::vector<policy_difference>& to) {
  const auto before = values_of(recorded);
  for (const auto& [key, value] : values_of(other)) {
    const auto was = before.find(key);
    policy_difference one{key, was == before.end() ? "" : was->second, value};
    if (was == before.end() && before.at(general_key(key)) == value) continue;
    if (one.recorded != value && std::find(to.begin(), to.end(), one) == to.end())
      to.push_back(std::move(one));
  }
}

core::what_if_range range_of(const what_if_order& order) {
  core::what_if_range out;
  if (order.from.seq) out.from_seq = *order.from.seq;
  if (order.from.at_ms) out.from_ms = *order.from.at_ms;
  if (order.to.seq) out.to_seq = *order.to.seq;
  if (order.to.at_ms) out.to_ms = *order.to.at_ms;
  return out;
}

/// The policy that an event brings in force; null: none.
const std::string* policy_in(const core::event& what) {
  if (const auto* started = std::get_if<core::node_started>(&what.body)) return &started->policy;
  if (const auto* changed = std::get_if<core::config_reloaded>(&what.body)) return &changed->policy;
  return nullptr;
}

class replay {
 public:
  replay(log_source& from, const what_if_order& order, what_if_result& to)
      : from_(from), order_(order), result_(to), range_(range_of(order)), users_(*from.keys) {}

  void run() {
    // Only who compares addresses anew opens what is sealed.
    const bool opens = std::any_of(order_.sets.begin(), order_.sets.end(), [](const auto& each) {
      return each.find("ip_") != std::string::npos;
    });
    if (opens && !users_.read(*from_.file)) {
      result_.why = "the table of users is damaged (STORE_INTEGRITY); verify says more";
      return;
    }
    core::what_if_options options;
    options.range = range_;
    options.who = [this](const core::subject_id& subject) { return users_.of(subject); };
    core::what_if world(std::move(options));
    if (!read(world)) return;
    if (!policy_known_ && !change_policy("", 0, world)) return;  // an empty log: is the order good?
    result_.report = world.finish();
    if (result_.tried.empty())
      result_.report.notes.insert("the settings given are those that the log was written under");
    name_users();
  }

 private:
  bool change_policy(const std::string& policy, std::uint64_t seq, core::what_if& world) {
    std::string why;
    auto recorded = parse_policy(policy, {}, why);
    if (!recorded) {
      result_.why = fmt::format("the policy of event {} cannot be read: {}", seq, why);
      return false;
    }
    auto other = parse_policy(policy, order_.sets, why);
    if (!other) {
      result_.why = why;
      result_.bad_order = true;
      return false;
    }
    policy_known_ = true;
    add_differences(*recorded, *other, result_.tried);
    world.change_policies(std::move(*recorded), std::move(*other));
    return true;
  }

  bool read(core::what_if& world) {
    const auto options = store::whole_log(*from_.file);
    const auto all = from_.file->last_seq() - std::min(options.after, from_.file->last_seq());
    if (const auto& cut = from_.file->cut()) {
      auto base = from_.file->read_snapshot();
      if (!base) {
        result_.why = fmt::format("the snapshot at seq {} is damaged (LOG_CORRUPT)", cut->of.seq);
        return false;
      }
      if (!change_policy(base->policy(), cut->of.seq, world)) return false;
      world.begin(std::move(*base));
    }
    store::log_stream events(*from_.file, options);
    for (auto some = events.next(); !some.empty(); some = events.next()) {
      for (const auto& each : some) {
        const bool past = each.seq > range_.to_seq || each.at_ms > range_.to_ms;
        if (past && policy_known_ && world.settled()) return true;
        if (!past) note(each);
        if (const auto* policy = policy_in(each);
            (policy != nullptr || !policy_known_) &&
            !change_policy(policy == nullptr ? "" : *policy, each.seq, world))
          return false;
        world.apply(each);
        if (++read_ % progress_every == 0 && order_.progress) order_.progress(read_, all);
      }
    }
    if (const auto& trouble = events.trouble()) {
      result_.why = fmt::format("the log is damaged at seq {} ({}, LOG_CORRUPT); verify says more",
                                trouble->seq, store::to_string(trouble->what));
      return false;
    }
    return true;
  }

  void note(const core::event& what) {
    if (what.seq < range_.from_seq || what.at_ms < range_.from_ms) return;
    if (result_.events++ == 0) {
      result_.first_seq = what.seq;
      result_.first_ms = what.at_ms;
    }
    result_.last_seq = what.seq;
    result_.last_ms = what.at_ms;
  }

  void name_users() {
    for (const auto& each : result_.report.examples) {
      if (!each.subject || result_.users.contains(*each.subject)) continue;
      const auto row = from_.file->find_user(*each.subject);
      if (!row || !*row) continue;
      if (const auto who = core::open_user(**row, *from_.keys))
        result_.users[*each.subject] = who->user_id;
    }
  }

  log_source& from_;
  const what_if_order& order_;
  what_if_result& result_;
  core::what_if_range range_;
  kept_users users_;
  std::uint64_t read_ = 0;
  bool policy_known_ = false;
};

}  // namespace

what_if_result run_what_if(log_source& from, const what_if_order& order) {
  what_if_result out;
  replay(from, order, out).run();
  return out;
}

}  // namespace portcullis::apps

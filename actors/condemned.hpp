// What revocations are to end that the store could not be told of: in force on this node at once,
// until they stand in the log.
#pragma once
#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "core/session/state.hpp"

namespace portcullis::actors {

/// One shard's. One thread: its owner's.
class condemnations {
 public:
  /// Which postponed revocation: the shard that keeps it, and its number there.
  struct order {
    std::uint32_t shard = 0;
    std::uint32_t number = 0;
    friend auto operator<=>(const order&, const order&) = default;
  };
  /// The session that a revocation of all others of a user leaves alone.
  struct spared {
    core::session_slot slot = core::no_slot;
    std::uint64_t seq = 0;
  };

  void add_session(const order& by, std::uint64_t seq) {
    add(by, {kind::session, seq}, {by, seq, {}});
  }
  /// Sessions made up to this seq of the log.
  void add_user(const order& by, core::user_slot user, std::uint64_t up_to, spared but) {
    add(by, {kind::user, user}, {by, up_to, but});
  }
  void add_tenant(const order& by, core::tenant_slot tenant, std::uint64_t up_to) {
    add(by, {kind::tenant, tenant}, {by, up_to, {}});
  }
  /// It was carried out; nothing happens when it condemns nothing here.
  void lift(const order& by) {
    const auto found = places_.find(by);
    if (found == places_.end()) return;
    const auto marks = marks_.find(found->second);
    std::erase_if(marks->second, [&](const mark& each) { return each.by == by; });
    if (marks->second.empty()) marks_.erase(marks);
    places_.erase(found);
  }
  /// All that this shard has asked for: it has forgotten why.
  void lift_all_of(std::uint32_t shard) {
    for (auto at = places_.lower_bound({shard, 0}); at != places_.end() && at->first.shard == shard;
         at = places_.lower_bound({shard, 0}))
      lift(order{at->first});
  }
  [[nodiscard]] bool empty() const noexcept { return marks_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return places_.size(); }
  [[nodiscard]] bool covers(const core::session_record& session, core::tenant_slot tenant) const {
    return is_marked({kind::session, session.seq}, session.seq) ||
           is_marked({kind::user, session.user}, session.seq) ||
           is_marked({kind::tenant, tenant}, session.seq);
  }
  /// Whether all sessions of the user are, but for those made later.
  [[nodiscard]] bool covers(core::user_slot user) const {
    const auto found = marks_.find({kind::user, user});
    return found != marks_.end() &&
           std::any_of(found->second.begin(), found->second.end(),
                       [](const mark& each) { return each.but.slot == core::no_slot; });
  }
  /// What it spares; slot no_slot: nothing.
  [[nodiscard]] spared spared_by(const order& by) const {
    const auto found = places_.find(by);
    if (found == places_.end()) return {};
    const auto& marks = marks_.at(found->second);
    return std::find_if(marks.begin(), marks.end(), [&](const mark& each) { return each.by == by; })
        ->but;
  }

 private:
  enum class kind : std::uint8_t { session, user, tenant };
  using place = std::pair<kind, std::uint64_t>;
  struct mark {
    order by;
    std::uint64_t up_to = 0;
    spared but;
  };

  void add(const order& by, const place& where, const mark& what) {
    if (places_.emplace(by, where).second) marks_[where].push_back(what);
  }
  [[nodiscard]] bool is_marked(const place& where, std::uint64_t seq) const {
    const auto found = marks_.find(where);
    return found != marks_.end() &&
           std::any_of(found->second.begin(), found->second.end(),
                       [&](const mark& each) { return seq <= each.up_to && seq != each.but.seq; });
  }

  std::map<place, std::vector<mark>> marks_;
  std::map<order, place> places_;
};

}  // namespace portcullis::actors

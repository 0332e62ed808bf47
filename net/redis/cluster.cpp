// A Redis Cluster: one link to each master that has slots, and a map of the slots, which is asked
// for over a connection of its own, so that a server that does not answer it cuts nothing else.
#include <algorithm>
#include <map>
#include <utility>

#include "net/redis/faults.hpp"
#include "net/redis/inside.hpp"
#include "net/redis/slots.hpp"

namespace portcullis::net::redis {
namespace {

class cluster final : public router {
 public:
  explicit cluster(common& all)
      : all_(all),
        served_by_(limits::slots, nullptr),
        again_(all.on, [this] { ask_for_map(); }),
        tick_(all.on, [this] { tick(); }) {
    again_.after(0);
    tick_.every(tick_ms);
  }

  void ask(request_ptr what) override {
    auto* to = what->key.empty() ? any() : served_by_[slot_of(what->key)];
    send(std::move(what), to, false, false);
  }

  bool connected() const noexcept override {
    const auto is_served = [](const link* each) { return each != nullptr && each->ready(); };
    if (served_by_.front() == nullptr) return false;
    for (const auto& [at, each] : links_)
      if (!each->ready()) return false;
    return std::all_of(served_by_.begin(), served_by_.end(), is_served);
  }

 private:
  static constexpr std::uint64_t tick_ms = 1'000;

  /// `waits`: for a connection that is being made; a redirection leads to new servers.
  void send(request_ptr what, link* to, bool asking, bool waits) {
    if (to == nullptr || (waits ? to->open() == nullptr : !to->ready())) {
      want_map();
      return all_.refused.add(std::move(what), unavailable("not_connected"));
    }
    const auto& command = what->what;
    const auto left_ms = all_.left_ms(*what);
    auto done = [this, from = to->at(), what = std::move(what)](core::result<reply> got) {
      // An error may be told when this is gone.
      if (!got || !go_on(what, *got, from)) finish(*what, std::move(got));
    };
    if (asking)
      to->open()->ask_after({"ASKING"}, command, left_ms, std::move(done));
    else
      to->open()->ask(command, left_ms, std::move(done));
  }

  /// Whether the reply, by which nothing was done, leads somewhere else.
  bool go_on(const request_ptr& what, const reply& got, const address& from) {
    if (!got.is(reply_type::error)) return false;
    if (const auto fault = fault_of(got)) {
      if (is_wrong_role(*fault) || fault->rule == "clusterdown") want_map();
      return false;
    }
    const auto to = redirection_of(got, from);
    if (!to) {
      if (!turned_into_eval(*what, got)) return false;
      ask(what);
      return true;
    }
    if (!to->ask) want_map();
    if (++what->redirections > limits::redirections_max) {
      all_.refused.add(what, unavailable("redirections"));
      return true;
    }
    ++all_.counts.redirections;
    auto* next = link_to(to->to);
    if (!to->ask && next != nullptr) served_by_[to->slot] = next;
    send(what, next, to->ask, true);
    return true;
  }

  link* any() const {
    for (const auto& [at, each] : links_)
      if (each->ready()) return each.get();
    return nullptr;
  }

  /// Null: there are too many.
  link* link_to(const address& at) {
    if (const auto found = links_.find(at); found != links_.end()) return found->second.get();
    if (links_.size() >= limits::nodes_max) return nullptr;
    link::events told;
    told.ready = [this](const server_info& info) { all_.tell_connected(info); };
    told.lost = [this, at](const failure& why) {
      want_map();
      all_.tell_lost(at, why);
    };
    auto made = std::make_unique<link>(all_, at, check::master, 0, std::move(told));
    return links_.emplace(at, std::move(made)).first->second.get();
  }

  void want_map() {
    if (guide_ || wanted_) return;
    wanted_ = true;
    again_.after(static_cast<std::uint64_t>(limits::slots_again_ms_min));
  }

  void tick() {
    const bool whole = std::find(served_by_.begin(), served_by_.end(), nullptr) == served_by_.end();
    if (!whole) want_map();
    drop_retired();
  }

  /// One at a time: whoever is told may destroy the client.
  void drop_retired() {
    const auto idle = std::find_if(retired_.begin(), retired_.end(),
                                   [](const auto& each) { return each->idle(); });
    if (idle == retired_.end()) return;
    const auto gone = std::move(*idle);
    retired_.erase(idle);
    if (auto* open = gone->open())
      open->abandon({unavailable("retired"), "the server has no slots any more"});
  }

  /// Of the servers in turn: those that answer first, then those that did or may.
  address next_guide() {
    std::vector<address> ready, others;
    for (const auto& [at, each] : links_) (each->ready() ? ready : others).push_back(at);
    for (const auto& each : all_.options.servers)
      if (!links_.contains(each.at)) others.push_back(each.at);
    ready.insert(ready.end(), others.begin(), others.end());
    // After a failure the first would be the same again.
    return ready[guides_in_vain_ == 0
                     ? next_++ % std::max<std::size_t>(ready.size() - others.size(), 1)
                     : next_++ % ready.size()];
  }

  void ask_for_map() {
    wanted_ = false;
    if (guide_) return;
    guide_at_ = next_guide();
    channel::events heard;
    heard.lost = [this](const failure& why) { guide_lost(why); };
    guide_ = std::make_unique<channel>(all_.on, all_.channel_to(guide_at_, check::ping, nullptr, 0),
                                       std::move(heard), guide_counts_);
    guide_->ask({"CLUSTER", "SLOTS"}, all_.options.connect_ms, [this](core::result<reply> got) {
      if (got) told(*got);  // otherwise the guide is lost, or this is gone
    });
  }

  void guide_lost(const failure& why) {
    guide_.reset();
    const auto servers = links_.size() + all_.options.servers.size();
    const bool pause = ++guides_in_vain_ % servers == 0;
    wanted_ = true;
    again_.after(pause ? static_cast<std::uint64_t>(all_.back_off_ms(rounds_in_vain_++)) : 0);
    if (any() == nullptr) all_.tell_lost(guide_at_, why);
  }

  void told(const reply& got) {
    const auto map = slots_of(got, guide_at_);
    if (!map || map->empty()) {
      const auto fault = fault_of(got);
      const bool is_error = got.is(reply_type::error);
      return guide_->abandon({fault ? *fault : unavailable("slots"),
                              is_error ? shown(got.text) : "the server knows no map of the slots"});
    }
    guide_.reset();
    guides_in_vain_ = 0;
    rounds_in_vain_ = 0;
    take(*map);
  }

  void take(const std::vector<slot_range>& map) {
    std::fill(served_by_.begin(), served_by_.end(), nullptr);
    for (const auto& range : map) {
      auto* to = link_to(range.master);
      std::fill(served_by_.begin() + range.first, served_by_.begin() + range.last + 1, to);
    }
    for (auto at = links_.begin(); at != links_.end();) {
      const bool used =
          std::find(served_by_.begin(), served_by_.end(), at->second.get()) != served_by_.end();
      if (used) {
        ++at;
        continue;
      }
      // What is in flight there is still answered, by MOVED for one.
      at->second->retire();
      retired_.push_back(std::move(at->second));
      at = links_.erase(at);
    }
  }

  common& all_;
  tallies guide_counts_;
  std::map<address, std::unique_ptr<link>> links_;
  std::vector<std::unique_ptr<link>> retired_;
  std::vector<link*> served_by_;  // by slot; null: by nobody who is known
  std::unique_ptr<channel> guide_;
  address guide_at_;
  bool wanted_ = false;  // again_ runs
  std::size_t next_ = 0;
  std::size_t guides_in_vain_ = 0;
  unsigned rounds_in_vain_ = 0;
  loop::timer again_, tick_;
};

}  // namespace

std::unique_ptr<router> make_cluster(common& all) { return std::make_unique<cluster>(all); }

}  // namespace portcullis::net::redis

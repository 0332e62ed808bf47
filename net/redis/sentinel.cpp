// A master that Sentinels know the address of. Two connections: one to a Sentinel, which is asked
// again and again, and one to the master that it names. Docs: Redis, "Guidelines for Redis clients
// with support for Redis Sentinel".
#include <charconv>
#include <utility>

#include "net/redis/faults.hpp"
#include "net/redis/inside.hpp"

namespace portcullis::net::redis {
namespace {

/// Of the reply to SENTINEL get-master-addr-by-name.
std::optional<address> master_of(const reply& what) {
  if (!what.is(reply_type::array) || what.elements.size() != 2) return std::nullopt;
  const auto &host = what.elements[0].text, &port = what.elements[1].text;
  address made;
  made.host = host;
  const auto* end = port.data() + port.size();
  const auto got = std::from_chars(port.data(), end, made.port);
  if (!is_host(host) || got.ec != std::errc() || got.ptr != end || made.port == 0)
    return std::nullopt;
  return made;
}

class sentinel final : public router {
 public:
  explicit sentinel(common& all)
      : all_(all), tick_(all.on, [this] { tick(); }), again_(all.on, [this] { tick(); }) {
    tick_.every(static_cast<std::uint64_t>(all.options.master_check_ms));
    again_.after(0);
  }

  void ask(request_ptr what) override {
    if (!connected()) return all_.refused.add(std::move(what), unavailable("not_connected"));
    const auto& command = what->what;
    const auto left_ms = all_.left_ms(*what);
    master_->ask(command, left_ms, [this, what = std::move(what)](core::result<reply> got) {
      // An error may be told when this is gone.
      if (got && turned_into_eval(*what, got)) return ask(what);
      if (got && is_wrong_role(*got)) doubt();
      finish(*what, std::move(got));
    });
  }
  bool connected() const noexcept override { return master_ && master_->ready() && !doubted_; }

 private:
  static bool is_wrong_role(const reply& got) {
    const auto fault = fault_of(got);
    return fault && redis::is_wrong_role(*fault);
  }

  /// What is in flight is still answered, each by a definite error; nothing more is sent there.
  void doubt() {
    if (doubted_) return;
    doubted_ = true;
    soon();
  }
  void soon() {
    again_.after(static_cast<std::uint64_t>(all_.back_off_ms(attempts_)));
    ++attempts_;
  }

  void tick() {
    if (!guide_) return open_guide();
    if (!guide_->ready() || asked_) return;
    asked_ = true;
    guide_->ask({"SENTINEL", "get-master-addr-by-name", all_.options.master_name},
                all_.options.connect_ms, [this](core::result<reply> got) {
                  if (!got) return;  // the guide is lost, or this is gone
                  asked_ = false;
                  told(*got);
                });
  }

  /// To the next of the Sentinels.
  void open_guide() {
    const auto& to = all_.options.servers[next_++ % all_.options.servers.size()];
    asked_ = false;
    guide_at_ = to.at;
    channel::events heard;
    heard.ready = [this](const server_info&) { tick(); };
    heard.lost = [this](const failure& why) { guide_lost(why); };
    guide_ = std::make_unique<channel>(all_.on, all_.channel_to(to.at, check::ping, &to.who, 0),
                                       std::move(heard), guide_counts_);
  }

  void guide_lost(const failure& why) {
    guide_.reset();
    // All of them in turn, then a pause.
    if (++guides_in_vain_ % all_.options.servers.size() != 0) {
      again_.after(0);
    } else {
      soon();
    }
    if (!master_) all_.tell_lost(guide_at_, why);
  }

  void told(const reply& got) {
    const auto at = master_of(got);
    if (!at) {
      // It knows no such group, or not yet; another may.
      return guide_->abandon({unavailable("no_master"), "the Sentinel names no master"});
    }
    guides_in_vain_ = 0;
    if (master_ && master_at_ == *at && !doubted_) return;
    if (master_) {  // which master_lost() takes away, and comes back here
      found_ = at;
      return master_->abandon({unavailable("moved"), "another server is the master"});
    }
    open_master(*at);
  }

  void open_master(const address& at) {
    master_at_ = at;
    doubted_ = false;
    channel::events heard;
    heard.ready = [this](const server_info& info) {
      attempts_ = 0;
      all_.down.clear();
      all_.tell_connected(info);
    };
    heard.lost = [this](const failure& why) { master_lost(why); };
    heard.message = all_.options.message;
    master_ = std::make_unique<channel>(
        all_.on, all_.channel_to(at, check::master, nullptr, all_.options.db), std::move(heard),
        all_.counts);
  }

  void master_lost(const failure& why) {
    const auto was = master_at_;
    master_.reset();
    if (const auto next = std::exchange(found_, std::nullopt)) {
      open_master(*next);
    } else {
      // Never again to the same address without asking: it may be a master that was replaced and
      // does not know yet. A Sentinel that names a server which is none does not know either.
      if (why.why.rule == "role") guide_.reset();
      soon();
    }
    all_.tell_lost(was, why);
  }

  common& all_;
  tallies guide_counts_;  // Sentinels are no servers with data
  std::unique_ptr<channel> guide_, master_;
  address guide_at_, master_at_;
  std::optional<address> found_;  // where to go once the present connection is cut
  bool asked_ = false;            // the guide
  bool doubted_ = false;          // the master says that it is none
  std::size_t next_ = 0;          // of the Sentinels
  std::size_t guides_in_vain_ = 0;
  unsigned attempts_ = 0;
  loop::timer tick_, again_;
};

}  // namespace

std::unique_ptr<router> make_sentinel(common& all) { return std::make_unique<sentinel>(all); }

}  // namespace portcullis::net::redis

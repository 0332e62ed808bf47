// One server.
#include <utility>

#include "net/redis/faults.hpp"
#include "net/redis/inside.hpp"

namespace portcullis::net::redis {
namespace {

class single final : public router {
 public:
  explicit single(common& all)
      : all_(all),
        link_(all, all.options.servers.front().at, all.options.asks, all.options.servers.front().db,
              {[this](const server_info& info) { all_.tell_connected(info); },
               [this](const failure& why) { all_.tell_lost(link_.at(), why); }}) {}

  void ask(request_ptr what) override {
    if (!link_.ready()) return all_.refused.add(std::move(what), unavailable("not_connected"));
    const auto& command = what->what;
    const auto left_ms = all_.left_ms(*what);
    link_.open()->ask(command, left_ms, [this, what = std::move(what)](core::result<reply> got) {
      // An error may be told when this is gone.
      if (got && turned_into_eval(*what, got)) return ask(what);
      finish(*what, std::move(got));
    });
  }
  bool connected() const noexcept override { return link_.ready(); }

 private:
  common& all_;
  link link_;
};

}  // namespace

std::unique_ptr<router> make_single(common& all) { return std::make_unique<single>(all); }

}  // namespace portcullis::net::redis

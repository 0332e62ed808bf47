// Whether a running node still does its work, as a watchdog wants to know.
#include <caf/scoped_actor.hpp>

#include <optional>

#include "apps/node/node.hpp"

namespace portcullis::apps {
namespace {

/// Whether the answer to a question asked before comes in time.
template <class Answer, class Handle>
bool answers(Handle question) {
  bool answered = false;
  question.receive([&](const Answer&) { answered = true; }, [](const caf::error&) {});
  return answered;
}

}  // namespace

std::string node::silent_part(std::chrono::milliseconds within) {
  // The journal is not among them: it is silent while the disk hangs in an fsync, validations go on
  // then, and another start would have to read that disk first.
  // None of these is ever started again: the handles of the start are good until the end.
  caf::scoped_actor self{*system_};
  const auto ask = [&](const auto& whom, auto question) {
    return self->request(whom, within, std::move(question));
  };
  // All are asked before the first is waited for, so that all have the same time.
  std::vector<decltype(ask(all_.gateways.front(), actors::collect_loop{}))> loops;
  for (const auto& gateway : all_.gateways) loops.push_back(ask(gateway, actors::collect_loop{}));
  auto hub = ask(all_.hub, actors::count_mail{});
  std::optional<decltype(ask(all_.fleet, actors::collect_fleet{}))> fleet;
  if (all_.fleet) fleet.emplace(ask(all_.fleet, actors::collect_fleet{}));
  std::string silent;
  const auto note = [&silent](bool answered, std::string name) {
    if (!answered && silent.empty()) silent = std::move(name);
  };
  for (std::size_t i = 0; i < loops.size(); ++i)
    note(answers<actors::loop_collected>(std::move(loops[i])), "loop " + std::to_string(i));
  note(answers<actors::mail_counted>(std::move(hub)), "hub");
  if (fleet) note(answers<actors::fleet_collected>(std::move(*fleet)), "fleet");
  return silent;
}

}  // namespace portcullis::apps

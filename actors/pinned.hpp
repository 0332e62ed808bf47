// An actor that always runs on the loop it was spawned on. Everything that it owns lives in its
// State, which dies on the loop; class members would die on the thread of whoever drops the last
// handle.
#pragma once
#include <tuple>

#include "actors/loop_unit.hpp"

namespace portcullis::actors {

/// Pins an actor class to the loop_unit passed as actor_config::host. Ends by quit or exit message
/// only, on the loop.
template <class Base>
class pinned : public Base {
 public:
  template <class... Ts>
  explicit pinned(caf::actor_config& config, Ts&&... rest)
      : Base(config, std::forward<Ts>(rest)...),
        unit_(dynamic_cast<loop_unit*>(config.host)),
        inbox_(unit_->inbox()) {}

  using Base::enqueue;
  void enqueue(caf::mailbox_element_ptr what, caf::execution_unit*) override {
    Base::enqueue(std::move(what), inbox_);
  }
  void launch(caf::execution_unit*, bool lazy, bool hide) override {
    unit_->joined(caf::strong_actor_ptr{this->ctrl()});
    Base::launch(inbox_, lazy, hide);
  }
  bool cleanup(caf::error&& why, caf::execution_unit* host) override {
    // Dropped only after the base is done: it may be the last handle.
    const auto last = unit_->left(this->id());
    return Base::cleanup(std::move(why), host);
  }

 private:
  loop_unit* unit_;
  caf::execution_unit*
      inbox_;  // kept apart: CAF's clock may enqueue to the dead actor after the unit is gone
};

template <class Interface, class State>
class pinned_actor final : public pinned<typename Interface::template stateful_base<State>> {
 public:
  using super = pinned<typename Interface::template stateful_base<State>>;
  using behaviour_maker = std::function<typename Interface::behavior_type(pinned_actor*)>;

  pinned_actor(caf::actor_config& config, behaviour_maker make)
      : super(config), make_(std::move(make)) {}

 protected:
  typename Interface::behavior_type make_behavior() override {
    return std::exchange(make_, nullptr)(this);
  }

 private:
  behaviour_maker make_;
};

/// Spawns `make(self, args...)` on the unit. `make` runs on the loop; State is constructed on the
/// caller's thread.
template <class Interface, class State, class... Params, class... Args>
Interface spawn_pinned(loop_unit& unit,
                       typename Interface::behavior_type (*make)(pinned_actor<Interface, State>*,
                                                                 Params...),
                       Args&&... args) {
  caf::actor_config config{&unit};
  // Shared: std::function must be copyable, what is passed may not be.
  auto kept = std::make_shared<std::tuple<std::decay_t<Params>...>>(std::forward<Args>(args)...);
  typename pinned_actor<Interface, State>::behaviour_maker run =
      [make, kept](pinned_actor<Interface, State>* self) {
        return std::apply([&](auto&... each) { return make(self, std::move(each)...); }, *kept);
      };
  return unit.system().template spawn_class<pinned_actor<Interface, State>, caf::no_spawn_options>(
      config, std::move(run));
}

}  // namespace portcullis::actors

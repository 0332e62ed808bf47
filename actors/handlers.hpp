// What every actor of ours does with what nobody expects.
#pragma once
#include <caf/all.hpp>
#include <stdexcept>

namespace portcullis::actors {

/// An exception ends the actor with an error (CAF's default leaves it empty); its supervisor sees
/// that and starts it again.
template <class Self>
void set_default_handlers(Self* self) {
  self->set_exception_handler([](std::exception_ptr& why) -> caf::error {
    try {
      std::rethrow_exception(why);
    } catch (const std::exception& e) {
      return caf::make_error(caf::sec::runtime_error, std::string(e.what()));
    } catch (...) {
      return caf::make_error(caf::sec::runtime_error, std::string("unknown exception"));
    }
  });
  self->set_exit_handler([self](caf::exit_msg& message) { self->quit(std::move(message.reason)); });
  // Mail that the interface does not know cannot be sent through a typed handle; late error
  // messages end here.
  self->set_error_handler([](caf::error&) {});
  self->set_down_handler([](caf::down_msg&) {});
}

/// What admin.crash asks of an actor.
[[noreturn]] inline void throw_on_request() { throw std::runtime_error("admin.crash"); }

}  // namespace portcullis::actors

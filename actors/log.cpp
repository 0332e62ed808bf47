#include "actors/log.hpp"

#include "actors/handlers.hpp"
#include "monitoring/log.hpp"

namespace portcullis::actors {

log_actor::behavior_type log_behaviour(log_actor::pointer self) {
  set_default_handlers(self);
  return {
      [](events_published& published) {
        for (const auto& batch : published.batches)
          for (const auto& what : batch->events) monitoring::log::event(what);
      },
      [self](count_mail) { return mail_counted{self->mailbox().size()}; },
      [](store_state_changed& change) {
        if (change.degraded)
          monitoring::log::write(core::log_level::error, monitoring::component::store,
                                 "The store takes no durable writes.",
                                 {{"event.action", "store_refuses"},
                                  {"error.code", core::describe(change.why.code).name}});
        else
          monitoring::log::write(core::log_level::info, monitoring::component::store,
                                 "The store takes durable writes again.",
                                 {{"event.action", "store_takes"}});
      },
  };
}

}  // namespace portcullis::actors

#include "net/loop/loop.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace portcullis::net {
namespace {

void require(int status, const char* what) {
  if (status < 0) throw std::runtime_error(std::string(what) + ": " + uv_strerror(status));
}

template <class Handle>
uv_handle_t* as_handle(Handle* handle) noexcept {
  return reinterpret_cast<uv_handle_t*>(handle);
}

}  // namespace

struct loop::impl {
  struct entry {
    std::size_t id;
    std::function<bool()> run;
  };

  explicit impl(core::clock& time) : clock(time) {}

  void run_hooks() {
    bool left = false;
    for (auto& hooks : phases)
      for (std::size_t i = 0; i < hooks.size(); ++i) left |= hooks[i].run();
    if (left == waiting_is_off) return;
    waiting_is_off = left;
    if (left)
      uv_idle_start(&idle, [](uv_idle_t*) {});
    else
      uv_idle_stop(&idle);
  }

  void refresh() noexcept {
    wall = clock.now_ms();
    mono = clock.mono_ns();
    time_known = true;
  }

  core::clock& clock;
  uv_loop_t uv{};
  uv_prepare_t prepare{};
  uv_check_t check{};
  uv_idle_t idle{};
  uv_poll_t wakes{};
  int wake_fd = -1;
  std::atomic<bool> stopping{false};
  bool waiting_is_off = false;
  bool time_known = false;
  core::millis wall = 0;
  std::int64_t mono = 0;
  std::size_t next_hook = 1;
  std::array<std::vector<entry>, 3> phases;
};

loop::loop(core::clock& time) : impl_(std::make_unique<impl>(time)) {
  auto& it = *impl_;
  require(uv_loop_init(&it.uv), "event loop");
  it.wake_fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (it.wake_fd < 0) {
    uv_loop_close(&it.uv);
    throw std::runtime_error("event loop: no descriptor left for an eventfd");
  }
  uv_prepare_init(&it.uv, &it.prepare);
  uv_check_init(&it.uv, &it.check);
  uv_idle_init(&it.uv, &it.idle);
  it.uv.data = &it;
  // An eventfd instead of uv_async_t: libuv 1.44 takes 60-70 us to wake a loop from another thread,
  // this takes 5.
  require(uv_poll_init(&it.uv, &it.wakes, it.wake_fd), "eventfd");
  it.prepare.data = it.check.data = it.wakes.data = &it;
  uv_prepare_start(&it.prepare, [](uv_prepare_t* handle) {
    auto& self = *static_cast<impl*>(handle->data);
    self.run_hooks();
    self.time_known = false;  // what follows is the wait
  });
  uv_check_start(&it.check,
                 [](uv_check_t* handle) { static_cast<impl*>(handle->data)->run_hooks(); });
  uv_poll_start(&it.wakes, UV_READABLE, [](uv_poll_t* handle, int, int) {
    auto& self = *static_cast<impl*>(handle->data);
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got = ::read(self.wake_fd, &count, sizeof count);
    if (self.stopping.load(std::memory_order_acquire)) uv_stop(&self.uv);
  });
}

loop::~loop() {
  auto& it = *impl_;
  for (const auto& hooks : it.phases) assert(hooks.empty());
  uv_close(as_handle(&it.prepare), nullptr);
  uv_close(as_handle(&it.check), nullptr);
  uv_close(as_handle(&it.idle), nullptr);
  uv_close(as_handle(&it.wakes), nullptr);
  uv_run(&it.uv,
         UV_RUN_DEFAULT);  // until every close callback, also of timers and watches, has run
  [[maybe_unused]] const int status = uv_loop_close(&it.uv);
  assert(status == 0);
  ::close(it.wake_fd);
}

void loop::run() {
  while (!impl_->stopping.load(std::memory_order_acquire)) uv_run(&impl_->uv, UV_RUN_DEFAULT);
  impl_->stopping.store(false, std::memory_order_release);
}

void loop::run_once() { uv_run(&impl_->uv, UV_RUN_ONCE); }

void loop::stop() noexcept {
  impl_->stopping.store(true, std::memory_order_release);
  wake();
}

void loop::wake() noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto put = ::write(impl_->wake_fd, &one, sizeof one);
}

core::millis loop::now_ms() noexcept {
  if (!impl_->time_known) impl_->refresh();
  return impl_->wall;
}

std::int64_t loop::mono_ns() noexcept {
  if (!impl_->time_known) impl_->refresh();
  return impl_->mono;
}

std::int64_t loop::fresh_mono_ns() noexcept { return impl_->clock.mono_ns(); }

loop::hook::hook(loop& on, phase when, std::function<bool()> run)
    : loop_(on), id_(on.impl_->next_hook++) {
  on.impl_->phases[static_cast<std::size_t>(when)].push_back({id_, std::move(run)});
}

loop::hook::~hook() {
  for (auto& hooks : loop_.impl_->phases)
    std::erase_if(hooks, [this](const auto& each) { return each.id == id_; });
}

struct loop::timer::impl {
  uv_timer_t uv{};
  std::function<void()> fire;
};

loop::timer::timer(loop& on, std::function<void()> fire) : impl_(new impl) {
  impl_->fire = std::move(fire);
  uv_timer_init(&on.impl_->uv, &impl_->uv);
  impl_->uv.data = impl_;
}

loop::timer::~timer() {
  uv_close(as_handle(&impl_->uv),
           [](uv_handle_t* handle) { delete static_cast<impl*>(handle->data); });
}

void loop::timer::after(std::uint64_t ms) {
  uv_timer_start(
      &impl_->uv, [](uv_timer_t* handle) { static_cast<impl*>(handle->data)->fire(); }, ms, 0);
}

void loop::timer::every(std::uint64_t ms) {
  const auto period = std::max<std::uint64_t>(ms, 1);
  uv_timer_start(
      &impl_->uv, [](uv_timer_t* handle) { static_cast<impl*>(handle->data)->fire(); }, period,
      period);
}

void loop::timer::stop() noexcept { uv_timer_stop(&impl_->uv); }

struct loop::watch::impl {
  void watch(int what) {
    wanted = what;
    uv_poll_start(&uv, what, [](uv_poll_t* handle, int status, int events) {
      auto& self = *static_cast<impl*>(handle->data);
      if (status < 0) {
        // libuv stops a poll whose descriptor has failed. But what came before the failure is read
        // first, and only a later call tells of it: a call that this must bring about.
        self.watch(self.wanted);
        self.call(self.context, {true, true});
        return;
      }
      self.call(self.context, {(events & UV_READABLE) != 0, (events & UV_WRITABLE) != 0});
    });
  }

  uv_poll_t uv{};
  function call = nullptr;
  void* context = nullptr;
  int wanted = 0;
};

loop::watch::watch(loop& on, int descriptor, function call, void* context) : impl_(new impl) {
  impl_->call = call;
  impl_->context = context;
  if (const int status = uv_poll_init(&on.impl_->uv, &impl_->uv, descriptor); status < 0) {
    delete impl_;
    require(status, "watch");
  }
  impl_->uv.data = impl_;
}

loop::watch::~watch() {
  uv_close(as_handle(&impl_->uv),
           [](uv_handle_t* handle) { delete static_cast<impl*>(handle->data); });
}

void loop::watch::want(bool readable, bool writable) {
  const int wanted = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
  if (wanted == impl_->wanted) return;
  if (wanted != 0) return impl_->watch(wanted);
  impl_->wanted = 0;
  uv_poll_stop(&impl_->uv);
}

struct loop::lookup::impl {
  static std::vector<core::ip_address> addresses(const addrinfo* first) {
    std::vector<core::ip_address> made;
    for (const auto* at = first; at != nullptr; at = at->ai_next) {
      core::ip_address one;
      if (at->ai_family == AF_INET) {
        one.bytes[10] = one.bytes[11] = 0xFF;
        std::memcpy(one.bytes.data() + 12,
                    &reinterpret_cast<const sockaddr_in*>(at->ai_addr)->sin_addr, 4);
      } else if (at->ai_family == AF_INET6) {
        std::memcpy(one.bytes.data(),
                    &reinterpret_cast<const sockaddr_in6*>(at->ai_addr)->sin6_addr, 16);
      } else {
        continue;
      }
      if (std::find(made.begin(), made.end(), one) == made.end()) made.push_back(one);
    }
    return made;
  }
  static void finish(uv_getaddrinfo_t* request, int, addrinfo* found) {
    const std::unique_ptr<impl> self(static_cast<impl*>(request->data));
    auto made = addresses(found);
    uv_freeaddrinfo(found);
    if (self->owner == nullptr) return;
    self->owner->impl_ = nullptr;
    self->done(std::move(made));
  }

  uv_getaddrinfo_t uv{};
  function done;
  lookup* owner = nullptr;  // null: it is gone
};

loop::lookup::lookup(loop& on, const std::string& host, function done) : impl_(new impl) {
  impl_->uv.data = impl_;
  impl_->done = std::move(done);
  impl_->owner = this;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  const int status =
      uv_getaddrinfo(&on.impl_->uv, &impl_->uv, &impl::finish, host.c_str(), nullptr, &hints);
  if (status >= 0) return;
  delete impl_;
  require(status, "lookup");
}

loop::lookup::~lookup() {
  if (impl_ == nullptr) return;
  impl_->owner = nullptr;
  uv_cancel(reinterpret_cast<uv_req_t*>(&impl_->uv));
}

}  // namespace portcullis::net

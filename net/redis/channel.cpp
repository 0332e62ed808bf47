#include "net/redis/channel.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "net/redis/faults.hpp"
#include "net/redis/greeting.hpp"
#include "net/redis/reader.hpp"

namespace portcullis::net::redis {
namespace {

std::array<char, limits::read_bytes>& read_space() {
  thread_local std::array<char, limits::read_bytes> space;
  return space;
}

bool is_message(const reply& what) noexcept {
  return what.is(reply_type::array) && what.elements.size() >= 3 &&
         what.elements[0].is(reply_type::text) &&
         (what.elements[0].text == "message" || what.elements[0].text == "pmessage");
}

}  // namespace

struct channel::impl : std::enable_shared_from_this<channel::impl> {
  enum class state : std::uint8_t { connecting, greeting, ready, lost };

  struct entry {
    answer done;
    std::int64_t deadline_ns;
    std::uint64_t begins, ends;  // among all bytes that were ever queued
  };

  impl(loop& on, channel_options given, events told, tallies& counts)
      : loop_(on),
        options_(std::move(given)),
        events_(std::move(told)),
        counts_(counts),
        reader_(options_.reply_bytes_max) {}

  void start();
  void ask(const command* before, const command& what, std::int64_t deadline_ms, answer done);
  void queue(const command& what, std::int64_t deadline_ns, answer done);
  void close();

  void dialled(std::unique_ptr<stream> made, failure why);
  void greet();
  void greeted(greeting_step step, core::result<reply> got);
  void socket_ready(loop::watch::ready what);
  bool read();
  bool deliver();
  bool take(reply got);
  void write();
  void write_some();
  void cut(failure why, std::int64_t expired_ns = INT64_MIN);
  void cut_soon();
  [[nodiscard]] failure broken() const;
  void later();
  void check_deadlines();
  void arm(std::int64_t deadline_ns);
  void expire_held(std::int64_t now_ns);
  using verdicts = std::vector<std::pair<answer, core::error>>;
  void judge_lost(std::deque<entry> left, std::string_view rule, std::int64_t expired_ns,
                  verdicts& into);
  void want();
  [[nodiscard]] std::size_t unanswered() const noexcept {
    return state_ == state::ready ? in_flight_.size() : held_.size();  // without the greeting
  }
  [[nodiscard]] bool is_over() const noexcept { return closed_ || state_ == state::lost; }

  loop& loop_;
  const channel_options options_;
  const events events_;
  tallies& counts_;
  state state_ = state::connecting;
  bool closed_ = false;
  bool blocked_ = false;  // the socket took no more
  bool drained_ = true;   // the last read() left nothing
  reply_reader reader_;
  server_info info_;
  std::unique_ptr<dialer> dialer_;
  std::unique_ptr<stream> stream_;
  std::unique_ptr<loop::watch> watch_;
  std::unique_ptr<loop::hook> hook_;
  std::unique_ptr<loop::timer> soon_, deadline_, opening_;

  std::deque<entry> in_flight_;  // in the order of the replies
  core::byte_buffer out_;        // queued, from the byte sent_ on
  std::uint64_t sent_ = 0, queued_ = 0;
  std::deque<entry> held_;  // until the channel is ready; offsets within held_out_
  core::byte_buffer held_out_;
  std::size_t bytes_ = 0;  // of commands that are unanswered
  std::int64_t armed_ns_ = 0;
  verdicts refused_;               // to be told in a later turn
  std::optional<failure> failed_;  // the same
};

void channel::impl::start() {
  const auto later_on = [this](void (impl::*what)()) {
    return [this, what] {
      const auto keep = shared_from_this();
      (this->*what)();
    };
  };
  soon_ = std::make_unique<loop::timer>(loop_, later_on(&impl::later));
  deadline_ = std::make_unique<loop::timer>(loop_, later_on(&impl::check_deadlines));
  opening_ = std::make_unique<loop::timer>(loop_, [this] {
    const auto keep = shared_from_this();
    cut({unavailable("connect_timeout"), "no connection in time"});
  });
  hook_ = std::make_unique<loop::hook>(loop_, phase::write, [this] {
    write();
    return false;
  });
  opening_->after(static_cast<std::uint64_t>(options_.connect_ms));
  dialer_ = std::make_unique<dialer>(loop_, options_.where,
                                     [this](std::unique_ptr<stream> made, failure why) {
                                       const auto keep = shared_from_this();
                                       dialled(std::move(made), std::move(why));
                                     });
}

void channel::impl::dialled(std::unique_ptr<stream> made, failure why) {
  dialer_.reset();
  if (made == nullptr) return cut(std::move(why));
  stream_ = std::move(made);
  watch_ = std::make_unique<loop::watch>(
      loop_, stream_->descriptor_number(),
      [](void* context, loop::watch::ready what) {
        auto& self = *static_cast<impl*>(context);
        const auto keep = self.shared_from_this();
        self.socket_ready(what);
      },
      this);
  state_ = state::greeting;
  want();
  greet();
}

void channel::impl::greet() {
  for (const auto& [step, what] : greetings_of(options_)) {
    const auto begins = queued_;
    const auto before = out_.size();
    what.write(out_);
    queued_ += out_.size() - before;
    // The opening's timer is its deadline.
    in_flight_.push_back(
        {[this, step = step](core::result<reply> got) { greeted(step, std::move(got)); }, INT64_MAX,
         begins, queued_});
  }
}

/// Called out of take(), where the channel is kept.
void channel::impl::greeted(greeting_step step, core::result<reply> got) {
  if (!got || is_over()) return;
  if (auto why = judge_greeting(step, *got, options_.asks, info_)) return cut(*std::move(why));
  const bool more = !in_flight_.empty();
  if (more) return;
  state_ = state::ready;
  opening_->stop();
  ++counts_.connects;
  info_.at = options_.where.to;
  for (auto& each : held_) {
    each.begins += queued_;
    each.ends += queued_;
    in_flight_.push_back(std::move(each));
  }
  held_.clear();
  out_.append(held_out_.view());
  queued_ += held_out_.size();
  held_out_.release();
  if (events_.ready) events_.ready(info_);
}

void channel::impl::ask(const command* before, const command& what, std::int64_t deadline_ms,
                        answer done) {
  assert(done);
  const auto refuse = [&](core::error why) {
    if (closed_) return done(why);
    refused_.emplace_back(std::move(done), why);
    soon_->after(0);
  };
  if (closed_) return refuse(unavailable("closed"));
  if (state_ == state::lost || failed_) return refuse(unavailable("not_connected"));
  const auto size = what.wire_bytes_max() + (before != nullptr ? before->wire_bytes_max() : 0);
  if (unanswered() + (before != nullptr ? 2 : 1) > options_.commands_max ||
      bytes_ + size > options_.bytes_max) {
    ++counts_.overloads;
    return refuse(core::fail(core::error_code::OVERLOADED, {}, "redis_in_flight"));
  }
  if (deadline_ms <= 0) {
    ++counts_.timeouts;
    return refuse(core::fail(core::error_code::STORE_TIMEOUT, {}, "not_sent"));
  }
  const auto deadline_ns = loop_.mono_ns() + deadline_ms * 1'000'000;
  if (before != nullptr) queue(*before, deadline_ns, [](const core::result<reply>&) {});
  queue(what, deadline_ns, std::move(done));
  arm(deadline_ns);
}

void channel::impl::queue(const command& what, std::int64_t deadline_ns, answer done) {
  const bool hold = state_ != state::ready;
  auto& into = hold ? held_out_ : out_;
  const auto before = into.size();
  what.write(into);
  const auto bytes = into.size() - before;
  const auto begins = hold ? before : queued_;
  if (!hold) queued_ += bytes;
  (hold ? held_ : in_flight_).push_back({std::move(done), deadline_ns, begins, begins + bytes});
  bytes_ += bytes;
  ++counts_.commands;
  ++counts_.in_flight;
}

void channel::impl::arm(std::int64_t deadline_ns) {
  if (armed_ns_ != 0 && armed_ns_ <= deadline_ns) return;
  armed_ns_ = deadline_ns;
  const auto left = std::max<std::int64_t>(deadline_ns - loop_.mono_ns(), 0);
  deadline_->after(static_cast<std::uint64_t>(left / 1'000'000 + 1));
}

void channel::impl::check_deadlines() {
  armed_ns_ = 0;
  // What has come while this process did something else, or nothing, is in time.
  if (stream_ && !read()) return;
  if (!drained_) return arm(loop_.mono_ns());
  const auto now_ns = loop_.mono_ns();
  expire_held(now_ns);
  if (is_over()) return;
  auto next = INT64_MAX;
  for (const auto* queue : {&in_flight_, &held_})
    for (const auto& each : *queue) next = std::min(next, each.deadline_ns);
  if (next <= now_ns) return cut({unavailable("deadline"), "no reply in time"}, now_ns);
  if (next != INT64_MAX) arm(next);
}

/// Commands that were never sent leave no reply behind that could be taken for another's.
void channel::impl::expire_held(std::int64_t now_ns) {
  if (held_.empty()) return;
  std::deque<entry> left, over;
  core::byte_buffer kept;
  for (auto& each : held_) {
    if (each.deadline_ns <= now_ns) {
      over.push_back(std::move(each));
      continue;
    }
    const auto bytes = held_out_.view().substr(each.begins, each.ends - each.begins);
    each.begins = kept.size();
    kept.append(bytes);
    each.ends = kept.size();
    left.push_back(std::move(each));
  }
  held_ = std::move(left);
  held_out_ = std::move(kept);
  for (const auto& each : over) bytes_ -= each.ends - each.begins;
  verdicts told;
  judge_lost(std::move(over), "not_sent", now_ns, told);
  for (auto& [done, why] : told) done(why);
}

void channel::impl::socket_ready(loop::watch::ready what) {
  if (what.writable && blocked_) {
    blocked_ = false;
    write();
    want();
  }
  if (what.readable) (void)read();
}

/// False: the channel is over.
bool channel::impl::read() {
  auto& space = read_space();
  drained_ = false;
  for (unsigned i = 0; i < limits::reads_per_turn_max || stream_->readable(); ++i) {
    const auto got = stream_->read(space.data(), space.size());
    switch (got.how) {
      case transfer::status::moved:
        counts_.bytes_in += got.bytes;
        reader_.feed({space.data(), got.bytes});
        if (!deliver()) return false;
        break;
      case transfer::status::again:
        drained_ = true;
        return true;
      case transfer::status::ended:
        cut({unavailable("closed_by_peer"), "the server closed the connection"});
        return false;
      case transfer::status::failed:
        cut(broken());
        return false;
    }
  }
  return true;
}

bool channel::impl::deliver() {
  for (;;) {
    reply got;
    switch (reader_.next(got)) {
      case reply_reader::status::more:
        return true;
      case reply_reader::status::broken:
        cut({unavailable(reader_.why()), shown(reader_.detail())});
        return false;
      case reply_reader::status::complete:
        if (!take(std::move(got))) return false;
    }
  }
}

bool channel::impl::take(reply got) {
  if (events_.message && is_message(got)) {
    events_.message(std::move(got));
    return !is_over();
  }
  // A reply to what was not even sent is as false as one to nothing.
  if (in_flight_.empty() || in_flight_.front().ends > sent_) {
    const bool told = got.is(reply_type::error);  // "max number of clients reached", for one
    cut({unavailable("protocol"), told ? shown(got.text) : "a reply without a command"});
    return false;
  }
  auto front = std::move(in_flight_.front());
  in_flight_.pop_front();
  if (front.deadline_ns != INT64_MAX) {  // not of the greeting
    bytes_ -= front.ends - front.begins;
    --counts_.in_flight;
  }
  front.done(std::move(got));
  return !is_over();
}

void channel::impl::write() {
  if (stream_ == nullptr || blocked_ || failed_ || (out_.empty() && !stream_->unsent())) return;
  write_some();
  want();
}

/// Out of a hook, too: whoever is told of a failure is told later.
void channel::impl::write_some() {
  if (stream_->unsent()) {
    const auto how = stream_->flush();
    if (how == transfer::status::failed) return cut_soon();
    if ((blocked_ = how == transfer::status::again)) return;
  }
  std::size_t at = 0;
  while (at < out_.size() && !blocked_) {
    const auto put = stream_->write(out_.view().substr(at));
    if (put.how == transfer::status::failed) return cut_soon();
    at += put.bytes;
    sent_ += put.bytes;
    counts_.bytes_out += put.bytes;
    blocked_ = put.how == transfer::status::again || stream_->unsent();
  }
  out_.consume(at);
  if (out_.empty() && out_.capacity() > limits::kept_buffer_bytes_max) out_.release();
}

void channel::impl::want() {
  if (watch_) watch_->want(true, blocked_);
}

void channel::impl::cut_soon() {
  failed_ = broken();
  soon_->after(0);
}

failure channel::impl::broken() const {
  const auto reason = stream_->tls_reason();  // a certificate of ours that was refused, for one
  if (reason.empty()) return {unavailable("reset"), "the connection broke"};
  return {unavailable("tls"), std::string(reason)};
}

void channel::impl::later() {
  auto told = std::move(refused_);
  refused_.clear();
  for (auto& [done, why] : told) done(why);
  if (!failed_ || is_over()) return;
  // What came before the connection broke is read first.
  if (stream_ && !read()) return;
  cut(*failed_);
}

/// Commands whose deadline is not past `expired_ns` are answered STORE_TIMEOUT.
void channel::impl::cut(failure why, std::int64_t expired_ns) {
  if (is_over()) return;
  ++(state_ == state::ready ? counts_.losses : counts_.failures);
  state_ = state::lost;
  deadline_->stop();
  opening_->stop();
  watch_.reset();
  dialer_.reset();
  stream_.reset();
  out_.release();
  held_out_.release();
  verdicts told;
  judge_lost(std::exchange(in_flight_, {}), "connection_lost", expired_ns, told);
  judge_lost(std::exchange(held_, {}), "not_sent", expired_ns, told);
  // Whoever is called may destroy this channel, and what it counts with.
  if (events_.lost) events_.lost(why);
  for (auto& [done, each] : told) done(each);
}

/// `rule` is for those of which a byte was sent.
void channel::impl::judge_lost(std::deque<entry> left, std::string_view rule,
                               std::int64_t expired_ns, verdicts& into) {
  for (auto& each : left) {
    if (each.deadline_ns == INT64_MAX) continue;  // of the greeting
    --counts_.in_flight;
    const bool sent = rule != "not_sent" && each.begins < sent_;
    const bool expired = each.deadline_ns <= expired_ns;
    if (expired) ++counts_.timeouts;
    into.emplace_back(std::move(each.done), expired ? core::fail(core::error_code::STORE_TIMEOUT,
                                                                 {}, sent ? "deadline" : "not_sent")
                                                    : unavailable(sent ? rule : "not_sent"));
  }
}

void channel::impl::close() {
  closed_ = true;
  hook_.reset();
  soon_.reset();
  deadline_.reset();
  opening_.reset();
  watch_.reset();
  dialer_.reset();
  stream_.reset();
  auto told = std::exchange(refused_, {});
  judge_lost(std::exchange(in_flight_, {}), "closed", INT64_MIN, told);
  judge_lost(std::exchange(held_, {}), "not_sent", INT64_MIN, told);
  for (auto& [done, why] : told) done(why);
}

channel::channel(loop& on, channel_options options, events told, tallies& counts)
    : impl_(std::make_shared<impl>(on, std::move(options), std::move(told), counts)) {
  impl_->start();
}

channel::~channel() { impl_->close(); }

void channel::ask(const command& what, std::int64_t deadline_ms, answer done) {
  impl_->ask(nullptr, what, deadline_ms, std::move(done));
}

void channel::ask_after(const command& before, const command& what, std::int64_t deadline_ms,
                        answer done) {
  impl_->ask(&before, what, deadline_ms, std::move(done));
}

void channel::abandon(failure why) {
  const auto keep = impl_;
  keep->cut(std::move(why));
}

std::size_t channel::unanswered() const noexcept { return impl_->unanswered(); }
bool channel::ready() const noexcept {
  return impl_->state_ == impl::state::ready && !impl_->failed_;
}
bool channel::lost() const noexcept { return impl_->state_ == impl::state::lost; }

}  // namespace portcullis::net::redis

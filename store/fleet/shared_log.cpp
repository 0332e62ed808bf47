#include "store/fleet/shared_log.hpp"

#include <algorithm>

#include "core/limits.hpp"
#include "net/redis/faults.hpp"

namespace portcullis::store::fleet {
namespace {

using net::redis::reply;
using net::redis::reply_type;

/// What is read from a server that takes no writes proves nothing for longer than that: it may be a
/// master that the others have left.
constexpr std::int64_t written_keeps_ns = 2 * core::limits::fleet_heartbeat_ms * 1'000'000;

core::aead_nonce random_nonce(const core::random_source& random) {
  core::aead_nonce nonce;
  random(nonce);
  return nonce;
}

}  // namespace

core::result<std::unique_ptr<shared_log>> shared_log::make(net::loop& on, core::clock& clock,
                                                           shared_log_options options,
                                                           shared_log_reader& to) {
  std::unique_ptr<shared_log> made(new shared_log(on, clock, std::move(options), to));
  if (const auto ok = made->connect(); !ok) return ok.error();
  return made;
}

shared_log::shared_log(net::loop& on, core::clock& clock, shared_log_options options,
                       shared_log_reader& to)
    : loop_(on),
      clock_(clock),
      options_(std::move(options)),
      to_(to),
      names_(options_.prefix),
      position_(options_.position),
      mark_(options_.mark),
      read_entries_(core::limits::fleet_read_entries),
      again_(on,
             [this] {
               ask();
               if (!may_send_ && commands_->connected()) send_again();
             }),
      heartbeat_(on, [this] { tell(); }),
      late_(on, [this] { give_up_late(); }),
      moment_(on, [this] {
        held_back_ = false;
        send_waiting();
      }) {
  options_.random(writer_);
  writer_key_ = options_.keys->of_writer(writer_);
  new_decoder();
  options_.self.writer = writer_;
}

shared_log::~shared_log() {
  broken_ = true;  // what is in flight is answered now
  tail_.reset();
  commands_.reset();
}

core::status shared_log::connect() {
  auto wanted = options_.redis;
  wanted.connected = [this](const net::redis::server_info& server) {
    commands_at_ = server.at;
    may_send_ = false;
    send_again();
    look_whether_reachable({});
  };
  wanted.lost = [this](const net::redis::address&, const net::redis::failure& what) {
    may_send_ = false;
    look_whether_reachable(what.why);
  };
  auto commands = net::redis::client::make(loop_, std::move(wanted));
  if (!commands) return commands.error();
  wanted = options_.redis;
  wanted.name += "-reader";
  wanted.connected = [this](const net::redis::server_info& server) {
    tail_at_ = server.at;
    asking_ = false;
    check_log();
    tell();
  };
  wanted.lost = [this](const net::redis::address&, const net::redis::failure& what) {
    checked_ = asking_ = false;
    look_whether_reachable(what.why);
  };
  auto tail = net::redis::client::make(loop_, std::move(wanted));
  if (!tail) return tail.error();
  commands_ = *std::move(commands);
  tail_ = *std::move(tail);
  heartbeat_.every(core::limits::fleet_heartbeat_ms);
  late_.after(20);
  return core::nothing{};
}

/// Behind what was delivered.
void shared_log::new_decoder() {
  decoder_.emplace(
      *options_.keys, position_,
      [this](const core::entry_name& name) {
        return name.writer == writer_ && units_.contains(name.number);
      },
      mark_);
}

/// Whether it is still the log that was read: before anything more is. Asked of the server that is
/// read from: the other connection may have come to another one first, or not have left it yet.
void shared_log::check_log() {
  const auto meta = names_.meta(), log = names_.log(), nodes = names_.nodes();
  const std::string_view keys[] = {meta, log, nodes};
  const auto position = std::to_string(position_);
  const std::string_view args[] = {"", "", "0", "0", "", "", "0", position};
  tail_->eval(hello_script(), keys, args, options_.timeout_ms + core::limits::fleet_block_ms,
              [this, known = place{position_, mark_}](const core::result<reply>& answer) {
                if (broken_) return;
                if (!answer || answer->is(reply_type::error)) return again_.after(50);
                if (!is_ours(*answer, known)) return;
                checked_ = true;
                look_whether_reachable({});
                ask();
              });
}

/// `known`: what had been read of it when it was asked. False: it has failed.
bool shared_log::is_ours(const reply& look, const place& known) {
  const auto lost = [this](core::error_code code, std::string_view field, std::string_view rule) {
    fail(core::fail(code, field, rule));
    return false;
  };
  const auto& list = look.elements;
  constexpr auto integrity = core::error_code::STORE_INTEGRITY;
  if (list.size() != look::count) return lost(integrity, {}, "log_is_gone");
  if (list[look::check].text != options_.keys->check_value())
    return lost(integrity, {}, "another_log");
  if (list[look::ring].text != options_.keys->ring())  // they took this node for dead
    return lost(core::error_code::KEYRING_MISMATCH, "crypto.keys_file", "ring");
  if (log_name_.empty()) log_name_ = list[look::name].text;
  if (log_name_ != list[look::name].text) return lost(integrity, {}, "another_log");
  if (static_cast<std::uint64_t>(list[look::last].integer) < known.position)
    return lost(integrity, {}, "log_is_shorter");
  if (std::strtoull(list[look::snapshot].text.c_str(), nullptr, 10) > known.position)
    return lost(integrity, {}, "log_is_cut");
  // As long as it was, and yet another one: it has lost entries, and others took their place.
  if (known.position > 0 && known.mark && list[look::mark].text != core::to_bytes(*known.mark))
    return lost(integrity, {}, "entries_are_lost");
  return true;
}

void shared_log::ask() {
  if (broken_ || asking_ || written_ns_ == 0 || !tail_->connected()) return;
  if (!checked_) return check_log();
  asking_ = true;
  net::redis::command read{"XREAD",
                           "COUNT",
                           std::to_string(read_entries_),
                           "BLOCK",
                           std::to_string(core::limits::fleet_block_ms),
                           "STREAMS",
                           names_.log(),
                           std::to_string(position_) + "-0"};
  const auto asked_ns = loop_.fresh_mono_ns();
  tail_->ask(std::move(read), names_.log(), options_.timeout_ms + core::limits::fleet_block_ms,
             [this, asked_ns](const core::result<reply>& answer) { take(answer, asked_ns); });
}

void shared_log::take(const core::result<reply>& answer, std::int64_t asked_ns) {
  asking_ = false;
  if (broken_) return;
  if (!answer || answer->is(reply_type::error)) {
    read_entries_ = std::max<std::size_t>(read_entries_ / 2, 1);  // they may be too large together
    return again_.after(10);
  }
  taken_.clear();
  taken_asked_ns_ = asked_ns;
  taken_all_ = true;
  if (answer->is(reply_type::array)) {  // nil: nothing came
    const bool form = answer->elements.size() == 1 && answer->elements[0].elements.size() == 2;
    if (!form) return fail(core::fail(core::error_code::STORE_INTEGRITY, {}, "entry"));
    for (const auto& element : answer->elements[0].elements[1].elements) {
      auto entry = decoder_->take(element);
      if (!entry) return fail(entry.error());
      taken_.push_back(*std::move(entry));
    }
    taken_all_ = taken_.size() < read_entries_;
    if (!taken_all_) ask_for_horizon();
  }
  fetch_users();
}

/// More may stand in the log than was read: what is fresh is told by where it ends.
void shared_log::ask_for_horizon() {
  if (horizon_.asked) return;
  horizon_ = {true, 0, loop_.fresh_mono_ns()};
  net::redis::command last{"XREVRANGE", names_.log(), "+", "-", "COUNT", "1"};
  tail_->ask(std::move(last), names_.log(), options_.timeout_ms,
             [this](const core::result<reply>& answer) {
               const bool form = answer && answer->elements.size() == 1 &&
                                 answer->elements[0].elements.size() == 2;
               horizon_.end =
                   form ? std::strtoull(answer->elements[0].elements[0].text.c_str(), nullptr, 10)
                        : 0;
               horizon_.asked = form;
             });
}

/// Rows of users that entries bring, all at once.
void shared_log::fetch_users() {
  net::redis::command rows{"HMGET", names_.users()};
  std::size_t wanted = 0;
  for (const auto& each : taken_)
    for (const auto& subject : each.users) {
      rows.add(core::as_text(subject.bytes));
      ++wanted;
    }
  if (wanted == 0) return deliver();
  asking_ = true;
  tail_->ask(std::move(rows), names_.users(), options_.timeout_ms,
             [this, wanted](const core::result<reply>& answer) {
               asking_ = false;
               if (broken_) return;
               if (!answer || answer->elements.size() != wanted) {
                 // Nothing was delivered: the same is read again.
                 taken_.clear();
                 new_decoder();
                 return again_.after(10);
               }
               std::size_t at = 0;
               for (auto& each : taken_)
                 for (const auto& subject : each.users) {
                   const auto& row = answer->elements[at++];
                   if (!row.is(reply_type::text)) continue;  // forgotten since
                   auto opened = open_user(subject, row.text, *options_.keys);
                   if (!opened) return fail(opened.error());
                   each.what.users.push_back(*std::move(opened));
                 }
               deliver();
             });
}

void shared_log::deliver() {
  std::vector<entry> entries;
  for (auto& each : taken_) entries.push_back(std::move(each.what));
  taken_.clear();
  position_ = decoder_->position();
  if (decoder_->last()) mark_ = decoder_->last();
  read_entries_ = std::min(2 * read_entries_, core::limits::fleet_read_entries);
  std::vector<std::uint64_t> own;
  for (const auto& each : entries)
    if (each.own) own.push_back(each.name.number);
  if (taken_all_) fresh_ns_ = std::max(fresh_ns_, taken_asked_ns_);
  if (horizon_.end != 0 && position_ >= horizon_.end) {
    fresh_ns_ = std::max(fresh_ns_, horizon_.asked_ns);
    horizon_ = {};
  }
  to_.read(std::move(entries), position_, fresh_ns());
  for (const auto number : own) units_.erase(number);
  if (read_before_sending_ > 0 && !may_send_ && commands_->connected() &&
      position_ >= read_before_sending_)
    sent_again();
  ask();
}

/// 0: nothing is known to be.
std::int64_t shared_log::fresh_ns() const noexcept {
  return written_ns_ == 0 ? 0 : std::min(fresh_ns_, written_ns_ + written_keeps_ns);
}

void shared_log::fail(const core::error& why) {
  if (std::exchange(broken_, true)) return;
  to_.broken(why);
}

void shared_log::look_whether_reachable(const core::error& why) {
  const bool now =
      !broken_ && commands_ && tail_ && commands_->connected() && checked_ && writable_;
  if (now == reachable_) return;  // before the first time nobody waits for it
  reachable_ = now;
  to_.reached(now, why);
}

/// To the server that is read from: that it takes writes is what makes it one to believe.
void shared_log::tell() {
  if (broken_ || leaving_ || !tail_ || !tail_->connected()) return;
  auto self = options_.self;
  self.position = position_;
  to_.describe(self);
  const auto nodes = names_.nodes(), fences = names_.fences(), log = names_.log(),
             users = names_.users(), meta = names_.meta();
  const std::string_view keys[] = {nodes, fences, log, users, meta};
  const auto key = std::string(core::as_text(writer_));
  const auto what = core::seal(options_.keys->of_users(), random_nonce(options_.random),
                               to_text(self), "portcullis fleet member\n" + key);
  const auto ttl = std::to_string(options_.key_ttl_ms);
  const auto keep = std::to_string(core::limits::fleet_member_keep_ms);
  const auto position = std::to_string(position_);
  const std::string_view args[] = {key, what, ttl, keep, position};
  tail_->eval(heartbeat_script(), keys, args, options_.timeout_ms + core::limits::fleet_block_ms,
              [this, asked_ns = loop_.fresh_mono_ns(),
               known = place{position_, mark_}](const core::result<reply>& answer) {
                if (broken_) return;
                if (answer) return told(*answer, asked_ns, known);
                if (!net::redis::is_refusal(answer.error())) return;
                writable_ = false;
                look_whether_reachable(answer.error());
              });
}

void shared_log::told(const reply& answer, std::int64_t asked_ns, const place& known) {
  writable_ = answer.is(reply_type::array) && answer.elements.size() >= 2;
  if (!writable_)
    return look_whether_reachable(core::fail(core::error_code::STORE_UNAVAILABLE, {}, "refused"));
  const auto& look = answer.elements[1];
  // A log that goes while connections stay, and one begun in its place, are seen here.
  if (!is_ours(look, known)) return;
  written_ns_ = std::max(written_ns_, asked_ns);
  look_whether_reachable({});
  if (fresh_ns_ != 0) to_.read({}, position_, fresh_ns());
  meet(answer);
  ask();
}

void shared_log::meet(const reply& answer) {
  const auto& list = answer.elements;
  std::vector<member> live;
  for (std::size_t at = 2; at + 2 < list.size(); at += 3) {
    const auto plain = core::open(options_.keys->of_users(), list[at + 2].text,
                                  "portcullis fleet member\n" + list[at].text);
    if (!plain || list[at].text.size() != writer_.size()) continue;  // nobody of ours
    if (list[0].integer - list[at + 1].integer > core::limits::fleet_member_live_ms) continue;
    auto said = parse_member(*plain);
    if (!said) continue;
    auto& each = *said;
    std::copy(list[at].text.begin(), list[at].text.end(), each.writer.begin());
    each.told_at_ms = list[at + 1].integer;
    live.push_back(std::move(each));
  }
  std::sort(live.begin(), live.end(), [](const member& a, const member& b) {
    return std::tie(a.started_at_ms, a.writer) < std::tie(b.started_at_ms, b.writer);
  });
  to_.met(live);
}

/// The others need not find out by its silence.
void shared_log::leave(std::function<void()> done) {
  leaving_ = true;
  net::redis::command gone{"HDEL", names_.nodes(), core::as_text(writer_)};
  tail_->ask(std::move(gone), names_.nodes(), options_.timeout_ms,
             [done = std::move(done)](const auto&) { done(); });
}

net::redis::tallies shared_log::counts() const noexcept {
  auto all = commands_->counts();
  const auto& more = tail_->counts();
  all.connects += more.connects;
  all.losses += more.losses;
  all.failures += more.failures;
  all.commands += more.commands;
  all.timeouts += more.timeouts;
  all.bytes_in += more.bytes_in;
  all.bytes_out += more.bytes_out;
  return all;
}

void shared_log::replace_login(const net::redis::login& who) {
  options_.redis.who = who;
  commands_->replace_login(who);
  tail_->replace_login(who);
}

}  // namespace portcullis::store::fleet

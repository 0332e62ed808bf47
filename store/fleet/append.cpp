// How units get into the log: sent once, and again only when it is known that they are not there.
#include <algorithm>

#include "core/limits.hpp"
#include "store/fleet/first_contact.hpp"
#include "store/fleet/shared_log.hpp"

namespace portcullis::store::fleet {
namespace {

using net::redis::reply;
using net::redis::reply_type;

constexpr std::size_t sendings_max = 1;  // under way at once
constexpr std::int64_t given_up_keep_ns = 60'000'000'000;

/// Whether nothing can have been appended.
bool was_not_sent(const core::error& why) noexcept {
  return why.code == core::error_code::OVERLOADED || why.rule == "not_sent" ||
         why.rule == "not_connected";
}

}  // namespace

shared_log::script_words shared_log::words_of(const unit& what, const core::entry_name& name) {
  const auto writes = core::to_bytes(what.tags.writes);
  std::string subjects;
  for (const auto& row : what.users) subjects += core::as_text(row.subject.bytes);
  const auto sealed =
      core::seal_entry(what.events, options_.self.node_id, name, {writes, subjects}, writer_key_);
  script_words words;
  words.reserve(9 + 2 * what.users.size(), sealed.size() + 128 + 256 * what.users.size());
  words.add(core::to_bytes(name));
  words.add(std::to_string(what.as_of));
  words.add(what.exact ? "exact" : what.checked ? "checked" : "told");
  words.add(std::to_string(what.events.size()));
  words.add(writes);
  words.add(what.checked ? core::to_bytes(what.tags.reads) : std::string());
  words.add(sealed);
  words.add(std::to_string(what.users.size()));
  for (const auto& row : what.users) {
    words.add(core::as_text(row.subject.bytes));
    words.add(seal_user(row, *options_.keys, options_.random));
  }
  words.add(what.forgotten ? core::as_text(what.forgotten->bytes) : std::string_view());
  return words;
}

std::uint64_t shared_log::append(std::vector<unit> units) {
  const auto first = last_number_ + 1;
  const auto now = loop_.mono_ns();
  for (auto& each : units) {
    const core::entry_name name{writer_, ++last_number_};
    sent_unit made;
    made.as_of = each.checked ? each.as_of : std::max(each.as_of, position_);
    made.checked = each.checked;
    made.exact = each.exact;
    made.asked_ns = now;
    each.as_of = made.as_of;
    made.args = words_of(each, name);
    units_.emplace(name.number, std::move(made));
    (each.exact ? exact_ : waiting_).push_back(name.number);
  }
  if (may_send_)
    send_waiting();
  else
    late_.after(1);  // refused from there, where it has to be
  return first;
}

/// One sending at a time: what is decided meanwhile goes together in the next one. Each sending
/// looks through what stands in the log behind what its units knew, so that many small ones under
/// load would each look through all that are under way.
void shared_log::send_waiting() {
  while (may_send_ && sendings_ < sendings_max) {
    auto numbers = next_sending();
    if (numbers.empty()) return;
    send(std::move(numbers));
  }
}

/// An exact unit goes alone, before all others.
std::vector<std::uint64_t> shared_log::next_sending() {
  std::vector<std::uint64_t> numbers;
  const auto take = [&](std::deque<std::uint64_t>& from, std::size_t count) {
    while (!from.empty() && numbers.size() < count) {
      if (units_.contains(from.front())) numbers.push_back(from.front());
      from.pop_front();
    }
  };
  take(exact_, 1);
  if (numbers.empty() && !held_back_) take(waiting_, core::limits::fleet_units_per_append);
  return numbers;
}

/// Where the script begins to look for what overtakes them: not where it would find nothing but
/// what this writer has appended.
std::uint64_t shared_log::look_from(const std::vector<std::uint64_t>& numbers) const {
  auto from = ~std::uint64_t{0};
  bool again = false;
  for (const auto number : numbers) {
    const auto& each = units_.at(number);
    from = std::min(from, each.checked ? each.as_of : position_);
    // What is sent again may stand behind what was read by then.
    if (each.unsure) from = std::min(from, position_);
    again = again || each.unsure;
  }
  const bool skips = !again && given_up_.empty() && own_.from <= from && from < own_.to;
  return skips ? own_.to : from;
}

/// Behind `before` this writer has appended up to `end`.
void shared_log::note_own(std::uint64_t before, std::uint64_t end) {
  if (own_.to != before) own_.from = before;
  own_.to = std::max(before, end);
}

void shared_log::send(std::vector<std::uint64_t> numbers) {
  std::vector<std::string_view> args;
  const auto from_text = std::to_string(look_from(numbers)),
             generation = std::to_string(generation_);
  std::string given_up;
  for (const auto& each : given_up_) given_up += core::to_bytes({writer_, each.number});
  args.insert(args.end(), {from_text, generation, given_up});
  for (const auto number : numbers) {
    auto& each = units_.at(number);
    each.unsure = true;
    each.args.append_to(args);
  }
  const auto log = names_.log(), users = names_.users(), fences = names_.fences();
  const std::string_view keys[] = {log, users, fences};
  ++sendings_;
  commands_->eval(append_script(), keys, args, options_.timeout_ms,
                  [this, numbers](const core::result<reply>& answer) {
                    --sendings_;
                    if (broken_) return;
                    answered(numbers, answer);
                    send_waiting();
                  });
}

void shared_log::answered(const std::vector<std::uint64_t>& numbers,
                          const core::result<reply>& answer) {
  if (!answer) return not_appended(numbers, answer.error());
  const auto& list = answer->elements;
  if (answer->is(reply_type::error))  // whatever it is: the log tells what was appended before
    return not_appended(numbers, core::fail(core::error_code::STORE_UNAVAILABLE, {}, "refused"));
  const bool form =
      answer->is(reply_type::array) && list.size() >= 2 && list[0].is(reply_type::integer);
  if (!form) return fail(core::fail(core::error_code::STORE_INTEGRITY, {}, "script"));
  if (list[0].integer == log_is_shorter) {
    check_log();
    return not_appended(numbers,
                        core::fail(core::error_code::STORE_UNAVAILABLE, {}, "log_is_shorter"));
  }
  if (list[0].integer == fenced_off)  // on a later connection it is sent again
    return not_appended(numbers, core::fail(core::error_code::STORE_UNAVAILABLE, {}, "fenced_off"));
  if (list[0].integer == not_now) return wait_a_moment(numbers);
  const bool behind = list[0].integer == too_far_behind;
  if (!behind) {
    std::int64_t end = 0;
    for (std::size_t i = 1; i < list.size(); ++i) end = std::max(end, list[i].integer);
    note_own(static_cast<std::uint64_t>(list[0].integer), static_cast<std::uint64_t>(end));
  }
  std::vector<std::uint64_t> told;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto found = units_.find(numbers[i]);
    if (found == units_.end()) continue;  // read already
    const auto seq = behind || i + 1 >= list.size() ? 0 : list[i + 1].integer;
    if (seq > 0) {
      found->second.accepted = true;
      found->second.args.clear();
      continue;
    }
    const auto end = static_cast<std::uint64_t>(behind ? list[1].integer : list[0].integer);
    if (found->second.checked)
      refuse(numbers[i], true, end, {});
    else
      told.push_back(numbers[i]);
  }
  if (!told.empty()) wait_for_end(told, static_cast<std::uint64_t>(list[1].integer));
}

/// What has happened is told however much stands before it, once that was read.
void shared_log::wait_for_end(const std::vector<std::uint64_t>& numbers, std::uint64_t end) {
  for (const auto number : numbers) units_.at(number).unsure = false;
  waiting_.insert(waiting_.begin(), numbers.begin(), numbers.end());
  read_before_sending_ = end;
  may_send_ = position_ >= end;
}

void shared_log::wait_a_moment(const std::vector<std::uint64_t>& numbers) {
  std::vector<std::uint64_t> left;
  for (const auto number : numbers) {
    const auto found = units_.find(number);
    if (found == units_.end()) continue;
    found->second.unsure = false;
    left.push_back(number);
  }
  waiting_.insert(waiting_.begin(), left.begin(), left.end());
  held_back_ = true;
  moment_.after(3);
}

/// The answer has not come. What was not sent is refused, or waits; what was may have been
/// appended, which the log itself will tell.
void shared_log::not_appended(const std::vector<std::uint64_t>& numbers, const core::error& why) {
  const bool nothing = was_not_sent(why);
  for (const auto number : numbers) {
    const auto found = units_.find(number);
    if (found == units_.end() || found->second.accepted) continue;
    if (nothing && found->second.checked) {
      refuse(number, false, 0, why);
      continue;
    }
    waiting_.push_back(number);
  }
  std::sort(waiting_.begin(), waiting_.end());
  may_send_ = false;
  again_.after(20);
}

void shared_log::ask_for_end(std::function<void(core::result<std::uint64_t>)> done) {
  net::redis::command last{"XREVRANGE", names_.log(), "+", "-", "COUNT", "1"};
  if (commands_at_ != tail_at_)  // a failover is under way: what is there may never be read
    return done(core::fail(core::error_code::STORE_UNAVAILABLE, {}, "not_connected"));
  commands_->ask(
      std::move(last), names_.log(), options_.timeout_ms,
      [this, known = position_, done = std::move(done)](const core::result<reply>& answer) {
        if (!answer) return done(answer.error());
        if (!answer->is(reply_type::array))
          return done(core::fail(core::error_code::STORE_UNAVAILABLE, {}, "refused"));
        std::uint64_t end = 0;
        if (!answer->elements.empty() && answer->elements[0].elements.size() == 2)
          end = std::strtoull(answer->elements[0].elements[0].text.c_str(), nullptr, 10);
        if (end < known) {  // nobody can tell from it what there was
          check_log();
          return done(core::fail(core::error_code::STORE_UNAVAILABLE, {}, "log_is_shorter"));
        }
        done(end);
      });
}

void shared_log::add_snapshot_part(std::uint64_t seq, std::uint64_t index, std::string_view part,
                                   std::function<void(bool)> done) {
  const auto key = names_.snapshot(seq) + ":" + core::to_hex(writer_);
  if (index == 0) commands_->ask({"DEL", key}, key, options_.timeout_ms, [](const auto&) {});
  core::aead_nonce nonce;
  options_.random(nonce);
  net::redis::command put{"RPUSH", key};
  put.add(core::seal(options_.keys->of_users(), nonce, part, snapshot_purpose(seq, index)));
  commands_->ask(std::move(put), key, options_.timeout_ms,
                 [done = std::move(done), index](const core::result<reply>& answer) {
                   done(answer && answer->is(reply_type::integer) &&
                        answer->integer == static_cast<std::int64_t>(index) + 1);
                 });
  if (index == 0)  // it goes also when this node dies before it is whole
    commands_->ask({"PEXPIRE", key, std::to_string(options_.key_ttl_ms)}, key, options_.timeout_ms,
                   [](const auto&) {});
}

void shared_log::cut(std::uint64_t seq, std::function<void(bool)> done) {
  const auto meta = names_.meta(), log = names_.log(), name = names_.snapshot(seq),
             made = name + ":" + core::to_hex(writer_);
  const std::string_view keys[] = {meta, log, made, name};
  const auto seq_text = std::to_string(seq), ttl = std::to_string(options_.key_ttl_ms);
  const std::string_view args[] = {seq_text, ttl};
  commands_->eval(cut_script(), keys, args, options_.timeout_ms,
                  [done = std::move(done)](const core::result<reply>& answer) {
                    done(answer && answer->is(reply_type::integer));
                  });
}

/// Connected again: what was sent before has come to the log by now or never will. Reads to the
/// log's end first, so that it is known which.
void shared_log::send_again() {
  if (broken_ || may_send_) return;
  own_ = {};  // what stood there may be gone
  read_before_sending_ = 0;
  const auto fences = names_.fences(), log = names_.log();
  const std::string_view keys[] = {fences, log};
  const auto generation = std::to_string(++generation_);
  const auto position = std::to_string(position_);
  const auto mark = mark_ ? core::to_bytes(*mark_) : std::string();
  const std::string_view args[] = {core::as_text(writer_), generation, position, mark};
  commands_->eval(fence_script(), keys, args, options_.timeout_ms,
                  [this, known = position_](const core::result<reply>& end) {
                    if (broken_) return;
                    if (!end || !end->is(reply_type::integer)) return again_.after(10);
                    if (end->integer < static_cast<std::int64_t>(known)) {
                      check_log();
                      return again_.after(20);
                    }
                    read_before_sending_ = static_cast<std::uint64_t>(end->integer);
                    if (position_ >= read_before_sending_) sent_again();
                  });
}

/// What was sent before is known: it was read, or it is not there.
void shared_log::sent_again() {
  may_send_ = true;
  give_up_lost();
  send_waiting();
}

/// Accepted, and yet not in the log: it was lost with the server that had accepted it.
void shared_log::give_up_lost() {
  std::vector<std::uint64_t> lost;
  for (const auto& [number, each] : units_)
    if (each.accepted && !is_taken(number)) lost.push_back(number);
  for (const auto number : lost)
    refuse(number, false, 0, core::fail(core::error_code::STORE_TIMEOUT));
}

void shared_log::refuse(std::uint64_t number, bool overtaken, std::uint64_t end,
                        const core::error& why) {
  units_.erase(number);
  to_.refused({number, overtaken, end, why});
}

/// Whether it was read, and only has not been told yet.
bool shared_log::is_taken(std::uint64_t number) const noexcept {
  return std::any_of(taken_.begin(), taken_.end(), [&](const auto& each) {
    return each.what.own && each.what.name.number == number;
  });
}

/// Decisions that nobody can tell of in time. A connection that is lost refuses what was never
/// sent.
void shared_log::give_up_late() {
  if (broken_) return;
  late_.after(20);
  const auto now = loop_.mono_ns();
  // Nothing that is decided can be so old that it does not know of these.
  while (!given_up_.empty() && now - given_up_.front().at_ns > given_up_keep_ns)
    given_up_.pop_front();
  std::vector<std::pair<std::uint64_t, bool>> late;
  for (const auto& [number, each] : units_) {
    if (!each.checked || each.accepted || is_taken(number)) continue;
    const bool never_sent = !each.unsure && !commands_->connected();
    if (never_sent || now - each.asked_ns > 2 * options_.timeout_ms * 1'000'000)
      late.emplace_back(number, never_sent);
  }
  for (const auto& [number, never_sent] : late) {
    if (units_.at(number).unsure) given_up_.push_back({number, now});
    refuse(number, false, 0,
           never_sent ? core::fail(core::error_code::STORE_UNAVAILABLE, {}, "not_connected")
                      : core::fail(core::error_code::STORE_TIMEOUT));
  }
}

}  // namespace portcullis::store::fleet

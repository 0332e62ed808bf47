// Scripts of calls against a hosted breaker, for cases that other suites publish. Words, in turn:
//   S F T I          acquire (must be granted) and report success, failure, timeout, ignored
//   S:150            the same, having taken 150 ms        F*3   three times
//   +  -             acquire: granted (and held, the first is 0), denied
//   S0 F1 T2 I3      report the held call of that number; with :ms too; again: a duplicate
//   s0 f1            report the held call's epoch alone, as a client that lost its permit does
//   >60s >500ms      the clock goes on, and the breaker is told
//   =closed ...      its state (base or override)
//   @3               its epoch                            retry=1000   of the last denial
//   rate=0.5 none    its failure rate                     slow=0.25 none
//   calls=7 rejected=2 stale=1 duplicate=1 expired=1      what it counted
//   cause=reset      of the last event                    events=4
//   set:disabled set:none reset                           what an administrator does
#pragma once
#include <charconv>
#include <sstream>

#include "world.hpp"

namespace portcullis::core::breaker_tests {

/// A case as its library has it. `differs`: where our rules deliberately lead elsewhere, and why.
struct published_case {
  std::string_view name;
  breaker_policy policy;
  std::string_view script;
  std::string_view differs = {};
};

inline void PrintTo(const published_case& row, std::ostream* out) { *out << row.script; }

class script_run {
 public:
  explicit script_run(const breaker_policy& policy) : w_(policy) {}

  /// Runs until the first word that does not come true; empty: all did.
  std::string run(std::string_view script) {
    std::istringstream words{std::string(script)};
    std::string word, done;
    while (words >> word) {
      if (word == "|") continue;
      if (const auto wrong = step(word); !wrong.empty())
        return done + "<" + word + ">: " + wrong + ", state " + std::string(to_string(w_.state()));
      done += word + " ";
    }
    return {};
  }

 private:
  struct held {
    std::uint64_t epoch = 0;
    std::optional<breaker_permit> permit;
  };

  static std::optional<call_outcome> outcome_of(char letter) {
    switch (letter) {
      case 'S':
      case 's':
        return call_outcome::success;
      case 'F':
      case 'f':
        return call_outcome::failure;
      case 'T':
        return call_outcome::timeout;
      case 'I':
        return call_outcome::ignored;
      default:
        return std::nullopt;
    }
  }
  static std::int64_t number(std::string_view& text) {
    std::int64_t out = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (error != std::errc{}) throw std::invalid_argument("a number is missing in a script");
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return out;
  }
  static std::string differs(std::string_view expected, const std::string& is) {
    return expected == is ? "" : "is " + is;
  }
  static std::string differs(std::string_view expected, std::optional<double> is) {
    if (!is) return expected == "none" ? "" : "is none";
    const double wanted = expected == "none" ? -1 : std::stod(std::string(expected));
    return std::abs(wanted - *is) < 0.005 ? "" : "is " + std::to_string(*is);
  }

  std::string acquire(bool wanted) {
    const auto answer = w_.acquire();
    retry_after_ms_ = answer.retry_after_ms;
    if (answer.allowed) held_.push_back({w_->epoch(), answer.permit});
    if (answer.allowed == wanted) return {};
    return answer.allowed ? "was granted" : "was denied";
  }
  std::string report(const held& of, call_outcome outcome, millis duration_ms, bool with_permit) {
    auto call = world::call_of(outcome, duration_ms);
    call.epoch = of.epoch;
    if (with_permit) call.permit = of.permit;
    return w_.report(call) ? "" : "was refused";
  }
  std::string call(std::string_view word) {
    const auto outcome = *outcome_of(word[0]);
    const bool lost = word[0] == 's' || word[0] == 'f';
    std::optional<std::size_t> which;
    millis duration_ms = 1;
    std::int64_t times = 1;
    auto rest = word.substr(1);
    if (!rest.empty() && rest[0] != ':' && rest[0] != '*')
      which = static_cast<std::size_t>(number(rest));
    while (!rest.empty()) {
      const char what = rest[0];
      rest.remove_prefix(1);
      (what == ':' ? duration_ms : times) = number(rest);
    }
    if (which) return report(held_.at(*which), outcome, duration_ms, !lost);
    for (std::int64_t i = 0; i < times; ++i) {
      if (auto wrong = acquire(true); !wrong.empty())
        return wrong + " at the " + std::to_string(i + 1) + "th";
      const auto mine = held_.back();
      held_.pop_back();
      if (auto wrong = report(mine, outcome, duration_ms, !lost); !wrong.empty()) return wrong;
    }
    return {};
  }
  std::string step(const std::string& word) {
    std::string_view rest = word;
    if (outcome_of(word[0]) && (word.size() == 1 || std::strchr(":*0123456789", word[1])))
      return call(word);
    if (word == "+" || word == "-") return acquire(word == "+");
    if (word == "reset") return w_.reset() ? "" : "changed nothing";
    rest.remove_prefix(1);
    switch (word[0]) {
      case '>': {
        const auto length = number(rest);
        w_.advance(rest == "s" ? length * 1000 : length);
        return {};
      }
      case '=':
        return differs(rest, std::string(to_string(w_.state())));
      case '@':
        return differs(rest, std::to_string(w_->epoch()));
      default:
        break;
    }
    const auto sign = word.find_first_of("=:");
    if (sign == std::string::npos) throw std::invalid_argument("unknown word: " + word);
    const auto what = word.substr(0, sign);
    rest = std::string_view(word).substr(sign + 1);
    if (what == "set") return set(rest);
    if (what == "rate") return differs(rest, w_->rates(w_.policy).failure);
    if (what == "slow") return differs(rest, w_->rates(w_.policy).slow);
    if (what == "retry") return differs(rest, std::to_string(retry_after_ms_));
    if (what == "events") return differs(rest, std::to_string(w_.events.size()));
    if (what == "cause") return differs(rest, std::string(to_string(w_.last().cause)));
    if (what == "calls") return differs(rest, std::to_string(w_->tallies().calls.calls()));
    if (what == "rejected") return differs(rest, std::to_string(w_.total(call_result::rejected)));
    for (std::size_t i = 0; i < permit_outcome_names.size(); ++i)
      if (what == permit_outcome_names[i])
        return differs(rest, std::to_string(w_->tallies().permits[i]));
    throw std::invalid_argument("unknown word: " + word);
  }
  std::string set(std::string_view mode) {
    for (std::size_t i = 0; i < override_mode_names.size(); ++i)
      if (mode == override_mode_names[i])
        return w_.override_with(static_cast<override_mode>(i)) ? "" : "changed nothing";
    throw std::invalid_argument("unknown override");
  }

  world w_;
  std::vector<held> held_;
  millis retry_after_ms_ = 0;
};

/// A policy in a few words: changes to one that has no surprises.
inline breaker_policy rules(void (*change)(breaker_policy&)) {
  breaker_policy out;
  out.open_wait_ms = 60'000;
  out.open_wait_jitter = 0;
  out.max_half_open_ms = 86'400'000;
  out.permit_ttl_ms = 86'400'000;
  change(out);
  return out;
}

class published_cases : public testing::TestWithParam<published_case> {};

inline std::string name_of_case(const testing::TestParamInfo<published_case>& info) {
  std::string out;
  for (const char c : info.param.name)
    out += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return out;
}

}  // namespace portcullis::core::breaker_tests

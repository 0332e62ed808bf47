#include "session_load.hpp"

namespace portcullis::e2e {
namespace {

constexpr std::size_t history_max = 60;
constexpr unsigned unknown_writes_max = 4;
constexpr std::size_t recent = 40;

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(clock::now().time_since_epoch())
      .count();
}
bool is_write(action what) { return what != action::validate; }

}  // namespace

struct session_load::connections {
  explicit connections(several_nodes& to) : nodes(to), open(to.size()) {}
  /// Null where there was no answer; the connection is not used again then.
  json call(std::size_t node, std::string_view method, const json& params) {
    auto& client = open.at(node);
    if (!client) {
      client.emplace(nodes.connect(node));
      client->be_patient(3s);
    }
    auto answer = client->call(method, params);
    if (!answer.is_object()) client.reset();
    return answer;
  }
  several_nodes& nodes;
  std::vector<std::optional<line_client>> open;
};

void session_load::begin(unsigned clients) {
  over_ = false;
  for (unsigned i = 0; i < clients; ++i)
    threads_.emplace_back([this, i] { live(seed_ + 1'000 * i); });
}

void session_load::stop() {
  over_ = true;
  for (auto& each : threads_) each.join();
  threads_.clear();
}

void session_load::live(std::uint32_t seed) {
  std::mt19937 dice(seed);
  connections to(nodes_);
  while (!over_) turn(to, dice);
}

void session_load::turn(connections& to, std::mt19937& dice) {
  const auto node = dice() % nodes_.size();
  const auto drawn = dice() % 100;
  if (drawn < 8) return make(to, node);
  const auto what = drawn < 70   ? action::validate
                    : drawn < 88 ? action::update
                    : drawn < 94 ? action::rotate
                                 : action::revoke;
  auto* session = choose(dice, what);
  if (session == nullptr) return make(to, node);
  operation op;
  op.what = what;
  {
    const std::lock_guard guard{mutex_};
    op.id = static_cast<int>(session->ids.size()) - 1;
    if (op.id > 0 && dice() % 200 == 0) --op.id;  // an old one
  }
  ask(to, node, *session, op);
  // What is revoked is looked at everywhere at once.
  if (what == action::revoke)
    for (std::size_t each = 0; each < nodes_.size(); ++each) {
      op.what = action::validate;
      op.answer = told::done;
      ask(to, each, *session, op);
    }
}

session_load::tracked* session_load::choose(std::mt19937& dice, action what) {
  const std::lock_guard guard{mutex_};
  if (sessions_.empty()) return nullptr;
  for (int tries = 0; tries < 20; ++tries) {
    const auto back = dice() % std::min(sessions_.size(), recent);
    auto& each = *sessions_[sessions_.size() - 1 - back];
    if (each.history.size() + each.in_flight >= history_max) continue;
    if (is_write(what) && (each.over || each.unknown_writes >= unknown_writes_max)) continue;
    // Who validates with an id that is being replaced ends the session: sometimes.
    if (each.rotating && dice() % 10 != 0) continue;
    if (what == action::rotate && each.in_flight > 0 && dice() % 10 != 0) continue;
    if (what == action::rotate) each.rotating = true;
    ++each.in_flight;
    return &each;
  }
  return nullptr;
}

void session_load::make(connections& to, std::size_t node) {
  const auto number = ++last_;
  auto session = std::make_unique<tracked>();
  session->tag = name_ + "-" + std::to_string(number);
  auto params = user(session->tag);
  params["context"] = context();
  params["data"] = {{"tag", session->tag}, {"n", number}};
  operation op;
  op.value = number;
  op.node = static_cast<int>(node);
  op.begun_ns = now_ns();
  const auto answer = to.call(node, "session.create", params);
  op.ended_ns = now_ns();
  {
    const std::lock_guard guard{mutex_};
    ++counts_.calls;
    if (answer.is_object() && answer.contains("result")) {
      session->ids.push_back(answer["result"]["session_id"]);
      session->handle = answer["result"]["handle"];
      session->history.push_back(op);
      sessions_.push_back(std::move(session));
      return;
    }
    ++counts_.unknown;  // an id that nobody knows
  }
  lasts(10);
}

void session_load::ask(connections& to, std::size_t node, tracked& session, operation op) {
  json params = {{"context", context()}};
  std::string method = "session.validate";
  {
    const std::lock_guard guard{mutex_};
    params["session_id"] = session.ids.at(static_cast<std::size_t>(op.id));
    if (op.what == action::update) {
      method = "session.update";
      op.value = ++last_;
      params["data"] = {{"tag", session.tag}, {"n", op.value}};
    } else if (op.what == action::rotate) {
      method = "session.rotate";
      params["grace"] = false;
    } else if (op.what == action::revoke) {
      method = "session.revoke";
      params = {{"handle", session.handle}};
    }
  }
  op.node = static_cast<int>(node);
  op.begun_ns = now_ns();
  const auto answer = to.call(node, method, params);
  op.ended_ns = now_ns();
  note(session, op, answer);
  if (!answer.is_object() || answer.contains("error")) lasts(10);
}

void session_load::note(tracked& session, operation op, const json& answer) {
  const std::lock_guard guard{mutex_};
  read_answer(session, op, answer);
  ++counts_.calls;
  if (session.in_flight > 0) --session.in_flight;
  if (op.what == action::rotate) session.rotating = false;
  if (op.answer == told::unknown) {
    ++counts_.unknown;
    // Validations that nobody answered matter where they may have ended the session.
    const bool old = op.id + 1 < static_cast<int>(session.ids.size());
    const bool rotated = std::any_of(session.history.begin(), session.history.end(),
                                     [](const auto& e) { return e.what == action::rotate; });
    if (op.what == action::validate && !old && !rotated && !session.rotating) return;
    ++session.unknown_writes;
  }
  if (op.answer == told::revoked || (op.what == action::revoke && op.answer == told::done))
    session.over = true;
  session.history.push_back(op);
}

/// What the caller was told; an answer that nobody may be given is a failure at once.
void session_load::read_answer(tracked& session, operation& op, const json& answer) {
  op.answer = told::unknown;
  if (!answer.is_object()) return;
  if (const auto error = error_of(answer); !error.empty()) {
    if (error == "SESSION_REVOKED" || error == "SESSION_REUSE_DETECTED")
      op.answer = told::revoked;
    else if (error == "SESSION_NOT_FOUND")
      op.answer = told::not_found;
    else
      EXPECT_THAT(error, testing::AnyOf("STORE_UNAVAILABLE", "STORE_TIMEOUT", "OVERLOADED",
                                        "REQUEST_TIMEOUT", "NODE_DRAINING"))
          << answer;
    return;
  }
  const auto& result = answer["result"];
  op.answer = told::done;
  switch (op.what) {
    case action::validate:
      if (result["valid"] == false) {
        EXPECT_THAT(result["reason"], testing::AnyOf("revoked", "not_found")) << answer;
        op.answer = result["reason"] == "revoked" ? told::revoked : told::not_found;
        return;
      }
      EXPECT_EQ(result["user_id"], session.tag) << "another one's answer: " << answer;
      EXPECT_EQ(result["handle"], session.handle) << answer;
      EXPECT_EQ(result["data"]["tag"], session.tag) << answer;
      op.version = result["version"];
      op.value = result["data"]["n"];
      return;
    case action::update:
      op.version = result["version"];
      return;
    case action::rotate:
      EXPECT_EQ(result["handle"], session.handle) << answer;
      op.made = static_cast<int>(session.ids.size());
      session.ids.push_back(result["session_id"]);
      return;
    case action::revoke:
      if (result["revoked"] == 0) op.answer = told::nothing;
      return;
    case action::create:
      return;
  }
}

void session_load::look_at_all() {
  connections to(nodes_);
  for (auto& session : sessions_) {
    for (std::size_t node = 0; node < nodes_.size(); ++node) {
      operation op;
      op.what = action::validate;
      op.settled = true;
      op.id = static_cast<int>(session->ids.size()) - 1;
      ask(to, node, *session, op);
    }
    ++counts_.sessions;
  }
}

/// The bound alone, apart from the search: no "valid" that begins later than it behind the reply.
void session_load::check_bound(const tracked& session) {
  for (const auto& revoked : session.history) {
    if (revoked.what != action::revoke || revoked.answer != told::done) continue;
    ++counts_.revocations;
    for (const auto& seen : session.history) {
      if (seen.what != action::validate || seen.answer != told::done) continue;
      const auto late = seen.begun_ns - revoked.ended_ns;
      counts_.slowest_revocation_ns = std::max(counts_.slowest_revocation_ns, late);
      EXPECT_LE(late, bound_ns_) << session.tag << " is valid on node " << seen.node << " "
                                 << late / 1'000 << " us after it was revoked";
    }
  }
}

/// What all nodes have to agree on. A revocation that cannot reach the store is in force on its
/// node at once, and on the others when the store is back (docs/cluster.md): what that node says of
/// it meanwhile is its own.
std::vector<operation> session_load::shared_part(const std::vector<operation>& history) {
  std::map<int, std::int64_t> postponed_ns;
  for (const auto& op : history)
    if (op.what == action::revoke && op.answer == told::unknown) {
      const auto first = postponed_ns.try_emplace(op.node, op.begun_ns).first;
      first->second = std::min(first->second, op.begun_ns);
    }
  auto left = history;
  std::erase_if(left, [&](const operation& op) {
    const auto since = postponed_ns.find(op.node);
    return since != postponed_ns.end() && op.answer == told::revoked && !op.settled &&
           op.ended_ns > since->second;
  });
  return left;
}

void session_load::check() {
  for (const auto& session : sessions_) {
    check_bound(*session);
    linearizability history(shared_part(session->history), bound_ns_);
    const auto found = history.judge();
    ++counts_.histories;
    if (found.verdict == judged::as::linearizable) continue;
    std::string text;
    auto ordered = session->history;
    std::sort(ordered.begin(), ordered.end(),
              [](const auto& a, const auto& b) { return a.begun_ns < b.begun_ns; });
    for (const auto& op : ordered) text += to_text(op);
    ADD_FAILURE() << session->tag
                  << (found.verdict == judged::as::too_large ? ": too large to judge"
                                                             : ": not linearizable")
                  << " after " << found.steps << " steps\n"
                  << text;
  }
}

}  // namespace portcullis::e2e

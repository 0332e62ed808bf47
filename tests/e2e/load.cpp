#include "load.hpp"

#include <sqlite3.h>

#include <set>

namespace portcullis::e2e {

load::load(server& node, int clients, const std::string& name, std::chrono::milliseconds within)
    : node_(node), within_(within) {
  for (int i = 0; i < clients; ++i)
    threads_.emplace_back(
        [this, i, name] { write(static_cast<std::size_t>(i), name + "-" + std::to_string(i)); });
}

void load::stop() {
  stop_ = true;
  threads_.clear();
}

std::vector<promised> load::take() {
  std::lock_guard guard{mutex_};
  return std::exchange(made_, {});
}

bool load::ask(line_client& client, const char* method, const json& params, json& result,
               bool& unsure) {
  unsure = false;
  const auto reply = client.call(method, params);
  if (!reply.is_object()) {  // the server is gone
    stop_ = true;
    unsure = true;
    return false;
  }
  const auto error = error_of(reply);
  if (error.empty()) {
    result = reply["result"];
    ++acknowledged_;
    return true;
  }
  static const std::set<std::string> excuses{"OVERLOADED", "STORE_UNAVAILABLE", "REQUEST_TIMEOUT",
                                             "NODE_DRAINING", "STORE_FULL"};
  EXPECT_EQ(excuses.count(error), 1U) << method << " -> " << reply;
  unsure = error == "OVERLOADED" || error == "REQUEST_TIMEOUT";
  ++excused_;
  return false;
}

void load::write(std::size_t which, const std::string& user_id) {
  auto client = node_.connect();
  client.be_patient(within_);
  std::vector<promised> own;
  const auto with = [](const promised& of, json more = json::object()) {
    json params{{"session_id", of.id}, {"context", context()}};
    params.update(more);
    return params;
  };
  for (std::size_t step = which; !stop_; ++step) {
    json result;
    bool unsure = false;
    auto params = user(user_id);
    params["context"] = context();
    if (own.size() < 4 || step % 4 == 0) {
      if (ask(client, "session.create", params, result, unsure))
        own.push_back({.id = result["session_id"]});
      continue;
    }
    auto& one = own[(step * 7) % own.size()];
    if (!one.live || !one.sure) continue;
    if (step % 4 == 1) {
      const json data{{"step", step}};
      if (ask(client, "session.update", with(one, {{"data", data}}), result, unsure))
        one.data = data;
    } else if (step % 4 == 2) {
      if (ask(client, "session.rotate", with(one, {{"grace", false}}), result, unsure)) {
        one.before_rotation = one.id;
        one.id = result["session_id"];
      }
    } else if (ask(client, "session.revoke", {{"session_id", one.id}}, result, unsure)) {
      one.live = false;
      EXPECT_EQ(result["revoked"], 1);
    }
    if (unsure) {
      one.sure = false;
      one.why = step % 4 == 1 ? "update" : step % 4 == 2 ? "rotate" : "revoke";
    }
  }
  std::lock_guard guard{mutex_};
  made_.insert(made_.end(), own.begin(), own.end());
}

void expect_kept(line_client& client, const std::vector<promised>& all) {
  for (const auto& each : all) {
    const auto answer = validate(client, each.id);
    if (!each.sure) {
      // An update in flight leaves it valid; the others may have been done.
      if (each.why == "update")
        EXPECT_EQ(answer["valid"], true);
      else if (answer["valid"] == false)
        EXPECT_EQ(answer["reason"], "revoked");
      continue;
    }
    EXPECT_EQ(answer["valid"], each.live) << answer;
    if (!each.live) EXPECT_EQ(answer.value("reason", ""), "revoked");
    if (each.live && each.data) EXPECT_EQ(answer.value("data", json()), *each.data);
  }
}

void expect_rotated_away(line_client& client, const std::vector<promised>& all) {
  for (const auto& each : all)
    if (each.before_rotation) EXPECT_EQ(state_of(client, *each.before_rotation), "revoked");
}

std::string integrity(const std::string& path) {
  sqlite3* db = nullptr;
  std::string said = "cannot be opened";
  if (sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE, nullptr) == SQLITE_OK) {
    said = "nothing";
    sqlite3_exec(
        db, "PRAGMA integrity_check",
        [](void* out, int, char** values, char**) {
          *static_cast<std::string*>(out) = values[0];
          return 0;
        },
        &said, nullptr);
  }
  sqlite3_close(db);
  return said;
}

}  // namespace portcullis::e2e

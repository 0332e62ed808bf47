// A journal in a folder of its own, events to put into it, and what load() gives back.
#pragma once
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <map>

#include "store/journal.hpp"

namespace portcullis::store {

class temporary_folder {
 public:
  temporary_folder() {
    auto name = (std::filesystem::temp_directory_path() / "journal-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline core::hmac_key chain_key() { return core::hmac_key(core::as_bytes("the chain's key")); }

inline journal_options options_for(const std::string& data_dir) {
  journal_options out;
  out.data_dir = data_dir;
  out.node_id = "node-1";
  out.chain = chain_key();
  out.keyring_check.fill(7);
  return out;
}

template <std::size_t N>
core::byte_array<N> numbered(std::uint64_t number, std::uint8_t first = 0) {
  core::byte_array<N> out{};
  out[0] = first;
  for (std::size_t i = 0; i < 8; ++i) out[N - 1 - i] = static_cast<std::uint8_t>(number >> (8 * i));
  return out;
}

/// Makes events as the hub does: seq and at_ms given, session_seq known.
class event_maker {
 public:
  core::event about(core::event_body body, std::uint64_t session_seq = 0) {
    core::event out;
    out.seq = ++seq_;
    out.at_ms = out.decided_at_ms = 1'000'000 + static_cast<core::millis>(seq_);
    out.tenant_id = "acme";
    out.subject = subject(1);
    out.session_seq = session_seq;
    out.body = std::move(body);
    return out;
  }
  core::event created(std::uint64_t user = 1, std::uint8_t routing = 0) {
    core::session_created body;
    body.id = {numbered<32>(seq_ + 1, routing)};
    body.ring_key = 1;
    body.idle_ttl_s = 900;
    body.absolute_expires_at_ms = 50'000'000;
    body.expires_at_ms = 1'900'000;
    body.tenant_generation = 1;
    body.fields.present = core::bit(core::context_field::accept);
    body.fields.hashes[1] = numbered<16>(77);
    body.ip = "sealed ip";
    body.data = "sealed data";
    body.find_ip = 0xfedcba9876543210;
    body.find_user_agent = 11;
    if (user % 2 == 1) body.alias = numbered<16>(seq_ + 500);
    auto out = about(body);
    out.session_seq = out.seq;
    out.subject = subject(user, routing);
    out.handle = core::session_handle{numbered<16>(out.seq, routing)};
    out.sealed = "sealed display";
    return out;
  }
  static core::subject_id subject(std::uint64_t user, std::uint8_t routing = 0) {
    return {numbered<16>(user, routing)};
  }
  static core::user_row user(std::uint64_t number, std::uint8_t routing = 0) {
    return {subject(number, routing), numbered<16>(number + 1'000, routing), "acme", 1,
            "wrapped " + std::to_string(number)};
  }
  void go_on_after(std::uint64_t seq) { seq_ = seq; }

 private:
  std::uint64_t seq_ = 0;
};

/// Owns what a visitor is only shown.
struct loaded_session {
  session_record row;
  std::string tenant_id, ip, sealed, data;
  std::vector<retired_id> retired;
};
struct loaded final : load_visitor {
  std::map<std::string, std::uint64_t> tenants;
  std::vector<core::user_row> users;
  std::vector<lockout_record> lockouts;
  std::map<std::uint64_t, loaded_session> sessions;

  void on_tenant(const tenant_record& row) override {
    tenants[std::string(row.tenant_id)] = row.generation;
  }
  void on_user(const core::user_row& row) override { users.push_back(row); }
  void on_lockout(const lockout_record& row) override { lockouts.push_back(row); }
  void on_session(const session_record& row) override {
    sessions[row.seq] = {row,
                         std::string(row.tenant_id),
                         std::string(row.ip),
                         std::string(row.sealed),
                         std::string(row.data),
                         {row.retired.begin(), row.retired.end()}};
  }
};

inline routing_set everything() { return routing_set().set(); }

class journal_test : public testing::Test {
 protected:
  void SetUp() override { open(); }
  void open(const std::string& vfs = "") {
    log.reset();
    auto options = options_for(folder.path() + "/data");
    options.vfs = vfs;
    auto opened = journal::open(options);
    ASSERT_TRUE(opened) << core::describe(opened.error().code).name << opened.error().rule;
    log = std::move(*opened);
    make.go_on_after(log->last_seq());
  }
  void commit(std::vector<core::event> events, std::vector<core::user_row> users = {},
              std::vector<std::uint64_t> purged = {}) {
    const auto appended = log->append(events, users, purged);
    ASSERT_TRUE(appended) << core::describe(appended.error().code).name;
    ASSERT_TRUE(log->commit());
  }
  std::uint64_t commit_session(std::uint64_t user = 1, std::uint8_t routing = 0) {
    auto created = make.created(user, routing);
    commit({created});
    return created.seq;
  }
  loaded load(const routing_set& routing = everything()) {
    loaded out;
    EXPECT_TRUE(log->load(routing, out));
    return out;
  }
  loaded_session session(std::uint64_t seq) {
    auto all = load();
    EXPECT_EQ(all.sessions.count(seq), 1U);
    return all.sessions[seq];
  }

  temporary_folder folder;
  event_maker make;
  std::unique_ptr<journal> log;
};

/// The chain over the whole table `events`, recomputed from the outside. The first wrong seq; 0:
/// whole.
std::uint64_t first_broken_link(const std::string& database_path);

}  // namespace portcullis::store

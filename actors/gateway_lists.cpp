// The gateway's lists: what is gathered from several shards or from the journal, and put into
// pages.
#include <algorithm>

#include "actors/cursors.hpp"
#include "actors/gateway.hpp"
#include "actors/naming.hpp"
#include "core/event/codec.hpp"

namespace portcullis::actors {
namespace {

constexpr auto peer_timeout = std::chrono::seconds(8);

}  // namespace

void gateway_voice::find(inbound& request) {
  const auto& params = std::get<core::find_sessions>(request.what.params);
  const auto after = read_cursor(cursor_kind::found, params.page.cursor);
  if (!after) return fail(request, core::fail(core::error_code::CURSOR_INVALID, "cursor"));
  find_in_store question;
  question.filter.tenant_id = params.tenant_id;
  question.filter.after = *after;
  question.filter.limit = params.page.limit;
  const auto& keys = *owner_->options_.keys;
  if (const auto* ip = std::get_if<core::ip_address>(&params.by))
    question.filter.find_ip = keys.find_tag(params.tenant_id, core::as_text(ip->bytes));
  else
    question.filter.find_user_agent =
        keys.find_tag(params.tenant_id, std::get<std::string_view>(params.by));
  self_->request(owner_->peers_.journal, peer_timeout, std::move(question))
      .then(
          [this, request](found_in_store& result) mutable {
            if (result.why) return fail(request, *result.why);
            described(request, std::make_shared<found_in_store>(std::move(result)));
          },
          [this, request](const caf::error&) {
            fail(request, core::fail(core::error_code::STORE_TIMEOUT));
          });
}

/// Rows of each shard are completed by it; then they are put back into the store's order and what
/// the tag let through by chance is dropped.
void gateway_voice::described(inbound& request, const std::shared_ptr<found_in_store>& found) {
  struct gathered {
    std::map<core::session_handle, core::session_row> rows;
    std::size_t missing = 0;
    bool failed = false;
  };
  auto open = std::make_shared<gathered>();
  std::vector<describe_sessions> of_shard(owner_->peers_.shards.size());
  for (const auto& row : found->rows)
    of_shard[shard_of(row.handle.bytes[0], owner_->options_.shards)].rows.push_back(row);
  for (const auto& each : of_shard) open->missing += !each.rows.empty();
  const auto done = [this, open, found, request] {
    if (open->failed) return fail(request, core::fail(core::error_code::OVERLOADED));
    const auto& params = std::get<core::find_sessions>(request.what.params);
    core::session_page page;
    page.with_user = true;
    std::size_t bytes = 0;
    std::uint64_t last = 0;
    bool cut = false;
    for (const auto& row : found->rows) {
      const auto at = open->rows.find(row.handle);
      last = row.seq;
      if (at == open->rows.end()) continue;
      const auto* ip = std::get_if<core::ip_address>(&params.by);
      const bool same = ip != nullptr
                            ? at->second.ip == core::to_text(*ip)
                            : at->second.user_agent == std::get<std::string_view>(params.by);
      if (!same) continue;
      bytes += 500 + at->second.user_agent.size() * 6;
      page.rows.push_back(std::move(at->second));
      if (bytes > core::limits::page_bytes_max) {
        cut = row.seq != found->rows.back().seq;
        break;
      }
    }
    if (cut || !found->at_end) page.cursor = make_cursor(cursor_kind::found, last);
    answer(request, page);
  };
  if (open->missing == 0) return done();
  for (std::size_t shard = 0; shard < of_shard.size(); ++shard) {
    if (of_shard[shard].rows.empty()) continue;
    self_->request(owner_->peers_.shards[shard].session, peer_timeout, std::move(of_shard[shard]))
        .then(
            [open, done](sessions_described& from) {
              for (auto& row : from.rows) open->rows.emplace(row.handle, std::move(row));
              if (--open->missing == 0) done();
            },
            [open, done](const caf::error&) {
              open->failed = true;
              if (--open->missing == 0) done();
            });
  }
}

/// lockout.list goes from shard to shard: subjects sort by routing byte, and so do shards.
struct gateway_voice::lock_listing {
  inbound request;
  std::uint32_t shard = 0;
  std::optional<core::subject_id> after;
  core::lockout_page page;
};

void gateway_voice::list_lockouts(inbound& request) {
  auto listing = std::make_shared<lock_listing>();
  const auto& params = std::get<core::list_lockouts>(request.what.params);
  if (!params.page.cursor.empty()) {
    core::subject_id after;
    if (params.page.cursor[0] != static_cast<char>(cursor_kind::lockouts) ||
        !core::from_hex(params.page.cursor.substr(1), after.bytes))
      return fail(request, core::fail(core::error_code::CURSOR_INVALID, "cursor"));
    listing->after = after;
    listing->shard = shard_of(after.bytes[0], owner_->options_.shards);
  }
  listing->request = std::move(request);
  list_locks_of(listing);
}

void gateway_voice::list_locks_of(const std::shared_ptr<lock_listing>& listing) {
  const auto& params = std::get<core::list_lockouts>(listing->request.what.params);
  if (listing->shard >= owner_->peers_.shards.size())
    return answer(listing->request, listing->page);
  const auto& shard = owner_->peers_.shards[listing->shard];
  const auto lost = [this, listing](const caf::error&) {
    fail(listing->request, core::fail(core::error_code::OVERLOADED));
  };
  self_
      ->request(shard.lockout, peer_timeout,
                list_locks{listing->after, core::limits::page_rows_max})
      .then(
          [this, listing, lost, directory = shard.directory, &params](const locks_listed& locks) {
            name_subjects question;
            for (const auto& row : locks.rows) question.subjects.push_back(row.subject);
            self_->request(directory, peer_timeout, std::move(question))
                .then(
                    [this, listing, locks, &params](const subjects_named& named) {
                      const auto& who = *listing->request.who;
                      for (std::size_t i = 0; i < locks.rows.size(); ++i) {
                        const auto& row = locks.rows[i];
                        listing->after = row.subject;
                        const auto& user = named.names[i];
                        if (!user || !who.sees_tenant(user->tenant_id)) continue;
                        if (!params.tenant_id.empty() && params.tenant_id != user->tenant_id)
                          continue;
                        if (listing->page.rows.size() == params.page.limit) {
                          // One more than fits: the page ends before it.
                          return answer(listing->request, listing->page);
                        }
                        listing->page.rows.push_back({user->tenant_id, user->user_id,
                                                      row.failed_attempts, row.locked_until_ms});
                        listing->page.cursor = static_cast<char>(cursor_kind::lockouts) +
                                               core::to_hex(row.subject.bytes);
                      }
                      if (!locks.more) ++listing->shard;
                      if (listing->shard >= owner_->peers_.shards.size())
                        listing->page.cursor.clear();
                      list_locks_of(listing);
                    },
                    lost);
          },
          lost);
}

void gateway_voice::query(inbound& request) {
  const auto& params = std::get<core::query_events>(request.what.params);
  auto selection = select_events(*request.who, params.types, params.tenant_id);
  if (!selection) return fail(request, selection.error());
  query_log question;
  auto& filter = question.filter;
  if (params.after) {
    const auto after = read_cursor(cursor_kind::events, *params.after);
    if (!after || params.after->empty())
      return fail(request, core::fail(core::error_code::CURSOR_INVALID, "after"));
    filter.after = *after;
  }
  filter.limit = params.limit;
  filter.types = selection->types;
  if (params.types.empty()) filter.types.set();  // a query shows touches too
  if (!params.tenant_id.empty())
    filter.tenants = {std::string(params.tenant_id)};
  else
    filter.tenants = request.who->tenants;
  filter.handle = params.handle;
  filter.from_ms = params.from_ms;
  filter.to_ms = params.to_ms;
  const auto nothing = [this](const inbound& to, std::uint64_t position) {
    core::event_page page;
    page.cursor = make_cursor(cursor_kind::events, position);
    answer(to, page);
  };
  // No event of this version names a service.
  if (!params.service.empty() || filter.types.none()) return nothing(request, filter.after);

  const auto ask = [this](const inbound& to, query_log what) {
    self_->request(owner_->peers_.journal, peer_timeout, std::move(what))
        .then(
            [this, to](log_queried& result) {
              if (result.why) return fail(to, *result.why);
              auto events = std::make_shared<std::vector<core::event>>(std::move(result.events));
              std::vector<directory_actor> directories;
              for (const auto& shard : owner_->peers_.shards)
                directories.push_back(shard.directory);
              name_events(
                  self_, directories, events, [this, to, events, scanned = result.scanned_seq] {
                    core::event_page page;
                    core::byte_buffer text;
                    std::size_t bytes = 0;
                    auto position = scanned;
                    for (const auto& each : *events) {
                      text.clear();
                      core::append_shown(text, each, owner_->options_.node_id, each.user_id);
                      bytes += text.size();
                      if (bytes > core::limits::page_bytes_max && !page.events.empty()) break;
                      page.events.emplace_back(text.view());
                      position = each.seq;
                    }
                    if (page.events.size() == events->size()) position = scanned;
                    page.cursor = make_cursor(cursor_kind::events, position);
                    answer(to, page);
                  });
            },
            [this, to](const caf::error&) {
              fail(to, core::fail(core::error_code::STORE_TIMEOUT));
            });
  };
  const bool names_user = !params.user_id.empty();
  if (names_user && params.tenant_id.empty())
    return fail(request,
                core::fail(core::error_code::INVALID_PARAMS, "tenant_id", "required with user_id"));
  if (!names_user && !params.handle) return ask(request, std::move(question));
  // Requests that name a user are executed as sent: what came before on this connection goes to
  // the shard first, and the shard answers when it is done with that.
  owner_->turn_ended();
  const auto byte = names_user
                        ? owner_->options_.keys->routing_byte(params.tenant_id, params.user_id)
                        : params.handle->bytes[0];
  find_subject whose{std::string(params.tenant_id), std::string(params.user_id), {}};
  if (!names_user) whose.handle = params.handle;
  self_
      ->request(owner_->peers_.shards[shard_of(byte, owner_->options_.shards)].session,
                peer_timeout, std::move(whose))
      .then(
          [request, question, ask, nothing, names_user](const subject_found& found) mutable {
            if (names_user && !found.subject) return nothing(request, question.filter.after);
            if (names_user) question.filter.subject = found.subject;
            ask(request, std::move(question));
          },
          [this, request](const caf::error&) {
            fail(request, core::fail(core::error_code::OVERLOADED));
          });
}

void gateway_voice::list_connections(inbound& request) {
  const auto& page = std::get<core::list_connections>(request.what.params).page;
  const auto after = read_cursor(cursor_kind::connections, page.cursor);
  if (!after) return fail(request, core::fail(core::error_code::CURSOR_INVALID, "cursor"));
  struct gathered {
    std::vector<core::connection_row> rows;
    std::size_t missing;
  };
  auto open = std::make_shared<gathered>();
  open->missing = owner_->peers_.gateways.size();
  const auto answered = [this, open, request, limit = page.limit] {
    if (--open->missing > 0) return;
    std::sort(open->rows.begin(), open->rows.end(),
              [](const auto& a, const auto& b) { return a.id < b.id; });
    core::connection_page out;
    out.rows = std::move(open->rows);
    if (out.rows.size() > limit) {
      out.rows.resize(limit);
      out.cursor = make_cursor(cursor_kind::connections, out.rows.back().id);
    }
    answer(request, out);
  };
  for (const auto& each : owner_->peers_.gateways)
    self_->request(each, peer_timeout, list_loop{*after, page.limit + 1})
        .then(
            [open, answered](loop_listed& from) {
              for (auto& row : from.rows) open->rows.push_back(std::move(row));
              answered();
            },
            [answered](const caf::error&) { answered(); });
}

}  // namespace portcullis::actors

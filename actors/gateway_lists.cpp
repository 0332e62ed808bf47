// The gateway's lists: what is gathered from several shards or from the journal, and put into
// pages.
#include <algorithm>

#include "actors/cursors.hpp"
#include "actors/gateway.hpp"
#include "actors/naming.hpp"
#include "actors/timeouts.hpp"
#include "core/event/codec.hpp"

namespace portcullis::actors {
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

/// lockout.list: every shard gives its first rows after the cursor; what is surely the earliest of
/// all is named and put on the page, and so on until the page is full.
struct gateway_voice::lock_listing {
  inbound request;
  std::optional<lock_place> after;
  core::lockout_page page;
  std::size_t bytes = 0;
  // Of one round:
  std::vector<lock_row> rows;
  std::vector<named_user> names;          // by row
  std::optional<lock_place> known_until;  // some shard has more beyond it
  std::size_t missing = 0;
  bool failed = false;
};

void gateway_voice::list_lockouts(inbound& request) {
  auto listing = std::make_shared<lock_listing>();
  const auto& params = std::get<core::list_lockouts>(request.what.params);
  if (!params.page.cursor.empty()) {
    listing->after = read_lock_cursor(params.page.cursor);
    if (!listing->after)
      return fail(request, core::fail(core::error_code::CURSOR_INVALID, "cursor"));
  }
  listing->request = std::move(request);
  list_locks_after(listing);
}

void gateway_voice::list_locks_after(const std::shared_ptr<lock_listing>& listing) {
  const auto& shards = owner_->peers_.shards;
  listing->rows.clear();
  listing->known_until.reset();
  listing->missing = shards.size();
  const auto answered = [this, listing] {
    if (--listing->missing == 0) name_locks(listing);
  };
  for (const auto& shard : shards)
    self_
        ->request(shard.lockout, peer_timeout,
                  list_locks{listing->after, core::limits::page_rows_max})
        .then(
            [listing, answered](const locks_listed& locks) {
              listing->rows.insert(listing->rows.end(), locks.rows.begin(), locks.rows.end());
              if (locks.more &&
                  (!listing->known_until || locks.rows.back().place < *listing->known_until))
                listing->known_until = locks.rows.back().place;
              answered();
            },
            [listing, answered](const caf::error&) {
              listing->failed = true;
              answered();
            });
}

void gateway_voice::name_locks(const std::shared_ptr<lock_listing>& listing) {
  if (listing->failed) return fail(listing->request, core::fail(core::error_code::OVERLOADED));
  auto& rows = listing->rows;
  if (listing->known_until)
    std::erase_if(rows, [&](const lock_row& row) { return row.place > *listing->known_until; });
  std::sort(rows.begin(), rows.end(),
            [](const lock_row& a, const lock_row& b) { return a.place < b.place; });
  std::vector<core::subject_id> subjects;
  for (const auto& row : rows) subjects.push_back(row.place.subject);
  name_all(self_, session_actors(), subjects,
           [this, listing](std::vector<named_user>& names, bool all_answered) {
             listing->names = std::move(names);
             listing->failed = !all_answered;
             show_locks(listing);
           });
}

std::vector<session_actor> gateway_voice::session_actors() const {
  std::vector<session_actor> all;
  for (const auto& shard : owner_->peers_.shards) all.push_back(shard.session);
  return all;
}

void gateway_voice::show_locks(const std::shared_ptr<lock_listing>& listing) {
  if (listing->failed) return fail(listing->request, core::fail(core::error_code::OVERLOADED));
  const auto& params = std::get<core::list_lockouts>(listing->request.what.params);
  const auto& who = *listing->request.who;
  auto& page = listing->page;
  for (std::size_t i = 0; i < listing->rows.size(); ++i) {
    const auto& row = listing->rows[i];
    const auto& user = listing->names[i];
    const bool shown = !user.user_id.empty() && who.sees_tenant(user.tenant_id) &&
                       (params.tenant_id.empty() || params.tenant_id == user.tenant_id);
    if (shown) {
      listing->bytes += 100 + (user.tenant_id.size() + user.user_id.size()) * 2;
      if (page.rows.size() == params.page.limit ||
          (listing->bytes > core::limits::page_bytes_max && !page.rows.empty())) {
        // One more than fits: the page ends before it.
        page.cursor = make_lock_cursor(*listing->after);
        return answer(listing->request, page);
      }
      page.rows.push_back({user.tenant_id, user.user_id, row.failed_attempts, row.locked_until_ms});
    }
    listing->after = row.place;
  }
  if (!listing->known_until) return answer(listing->request, page);
  list_locks_after(listing);
}

void gateway_voice::list_breakers(inbound& request) {
  struct listing {
    std::vector<breakers_listed::row> rows;
    std::size_t missing = 0;
    std::optional<std::uint64_t> order;  // that the cursor was of, or the first that answers is of
    bool more = false, failed = false, reordered = false;
  };
  const auto& params = std::get<core::list_breakers>(request.what.params);
  std::optional<breaker_place> after;
  if (!params.page.cursor.empty()) {
    after = read_breaker_cursor(params.page.cursor);
    if (!after) return fail(request, core::fail(core::error_code::CURSOR_INVALID, "cursor"));
  }
  owner_->turn_ended();  // what came before on this connection goes first
  auto open = std::make_shared<listing>();
  open->missing = owner_->peers_.breakers.size();
  if (after) open->order = after->order;
  const auto answered = [this, open, request] {
    if (--open->missing > 0) return;
    if (open->failed) return fail(request, core::fail(core::error_code::OVERLOADED));
    if (open->reordered)
      return fail(request, core::fail(core::error_code::CURSOR_INVALID, "cursor"));
    std::sort(open->rows.begin(), open->rows.end(),
              [](const auto& a, const auto& b) { return a.number < b.number; });
    const auto limit = std::get<core::list_breakers>(request.what.params).page.limit;
    core::breaker_page page;
    std::size_t bytes = 0;
    std::uint64_t last = 0;
    for (auto& row : open->rows) {
      bytes += 600 + (row.what.override_ ? row.what.override_->reason.size() * 6 : 0);
      const bool full =
          page.rows.size() == limit || (bytes > core::limits::page_bytes_max && !page.rows.empty());
      if (full) {
        open->more = true;
        break;
      }
      last = row.number;
      page.rows.push_back(std::move(row.what));
    }
    if (open->more && last > 0) page.cursor = make_breaker_cursor({*open->order, last});
    answer(request, page);
  };
  for (const auto& each : owner_->peers_.breakers)
    self_
        ->request(each, peer_timeout,
                  list_breakers_after{after ? after->number : 0, params.page.limit, request.who})
        .then(
            [open, answered, has_cursor = after.has_value()](breakers_listed& from) {
              open->reordered =
                  open->reordered || (has_cursor && open->order.value_or(from.order) != from.order);
              if (!has_cursor) open->order = std::min(open->order.value_or(from.order), from.order);
              open->more = open->more || from.more;
              for (auto& row : from.rows) open->rows.push_back(std::move(row));
              answered();
            },
            [open, answered](const caf::error&) {
              open->failed = true;
              answered();
            });
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
  if (params.types.empty()) {  // a query shows touches too
    filter.types.set();
    filter.types.reset(static_cast<std::size_t>(core::event_type::calls_tallied));
  }
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
  filter.breakers = params.tenant_id.empty();
  filter.services = request.who->services;
  filter.service = params.service;
  if (filter.types.none()) return nothing(request, filter.after);

  const auto ask = [this](const inbound& to, query_log what) {
    const auto after = what.filter.after;
    self_->request(owner_->peers_.journal, peer_timeout, std::move(what))
        .then(
            [this, to, after](log_queried& result) {
              if (result.why) return fail(to, *result.why);
              if (after > result.committed_seq)
                return fail(to, core::fail(core::error_code::CURSOR_INVALID, "after"));
              const auto& asked = std::get<core::query_events>(to.what.params);
              if (asked.after && after < result.cut_seq)
                return fail(to, cursor_expired(result.cut_seq));
              auto events = std::make_shared<std::vector<core::event>>(std::move(result.events));
              name_events(self_, session_actors(), events,
                          [this, to, events, scanned = result.scanned_seq] {
                            core::event_page page;
                            core::byte_buffer text;
                            std::size_t bytes = 0;
                            auto position = scanned;
                            for (const auto& each : *events) {
                              text.clear();
                              core::append_shown(text, each, owner_->options_.node_id,
                                                 each.user_id);
                              bytes += text.size();
                              if (bytes > core::limits::page_bytes_max && !page.events.empty())
                                break;
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

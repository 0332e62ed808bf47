#include "net/rpc/encode.hpp"

#include <array>
#include <string>

#include "net/rpc/json_writer.hpp"

// The results, one function a kind of reply, in the order of core::reply. Errors and envelopes:
// encode_error.cpp.

namespace portcullis::net {
namespace {

using core::byte_buffer;

void write(json_writer& to, const core::session_valid& reply) {
  to.raw(R"("valid":true,"tenant_id":)").text(reply.tenant_id);
  to.raw(R"(,"user_id":)").text(reply.user_id);
  to.raw(R"(,"handle":)").handle(reply.handle);
  if (!reply.data.empty()) to.raw(R"(,"data":)").raw(reply.data);
  to.raw(R"(,"version":)").integer(reply.version);
  to.raw(R"(,"created_at_ms":)").integer(reply.created_at_ms);
  to.raw(R"(,"expires_at_ms":)").integer(reply.expires_at_ms);
  if (reply.rotated) to.raw(R"(,"rotated":true)");
  if ((reply.observed | reply.challenged) == 0) return;
  to.raw(R"(,"signals":[)");
  char separator = '\0';
  for (unsigned i = 0; i < 8; ++i) {
    const auto bit = static_cast<core::field_set>(1U << i);
    if (((reply.observed | reply.challenged) & bit) == 0) continue;
    const bool challenged = (reply.challenged & bit) != 0;
    to.separate(separator).raw(R"({"field":)");
    to.text(bit == core::ip_bit ? "ip" : core::context_field_names.at(i));
    to.raw(R"(,"action":)");
    to.text(to_string(challenged ? core::signal_action::challenge : core::signal_action::observe));
    to.raw("}");
  }
  to.raw("]");
}

void write(json_writer& to, const core::session_invalid& reply) {
  to.raw(R"("valid":false,"reason":)").text(to_string(reply.reason));
  if (reply.retry_after_ms) to.raw(R"(,"retry_after_ms":)").integer(*reply.retry_after_ms);
}

void write(json_writer& to, const core::session_made& reply) {
  to.raw(R"("session_id":)").hex(reply.id.bytes);
  to.raw(R"(,"handle":)").handle(reply.handle);
  to.raw(R"(,"version":)").integer(reply.version);
  to.raw(R"(,"created_at_ms":)").integer(reply.created_at_ms);
  to.raw(R"(,"expires_at_ms":)").integer(reply.expires_at_ms);
  to.raw(R"(,"idle_expires_at_ms":)").integer(reply.idle_expires_at_ms);
  to.raw(R"(,"absolute_expires_at_ms":)").integer(reply.absolute_expires_at_ms);
}

void write(json_writer& to, const core::session_changed& reply) {
  to.raw(R"("version":)").integer(reply.version);
}

void write(json_writer& to, const core::sessions_revoked& reply) {
  to.raw(R"("revoked":)").integer(reply.count);
}

/// An array of rows, then the cursor where there is one.
template <class Rows, class WriteRow>
void write_page(json_writer& to, std::string_view name, const Rows& rows, std::string_view cursor,
                WriteRow write_row) {
  to.text(name).raw(":[");
  char separator = '\0';
  for (const auto& row : rows) {
    to.separate(separator);
    write_row(row);
  }
  to.raw("]");
  if (!cursor.empty()) to.raw(R"(,"cursor":)").text(cursor);
}

void write(json_writer& to, const core::session_page& reply) {
  write_page(to, "sessions", reply.rows, reply.cursor, [&](const core::session_row& row) {
    to.raw(R"({"handle":)").handle(row.handle);
    to.raw(R"(,"created_at_ms":)").integer(row.created_at_ms);
    to.raw(R"(,"last_seen_at_ms":)").integer(row.last_seen_at_ms);
    to.raw(R"(,"expires_at_ms":)").integer(row.expires_at_ms);
    to.raw(R"(,"ip":)").text(row.ip).raw(R"(,"user_agent":)");
    if (row.user_agent.empty())
      to.raw("null");
    else
      to.text(row.user_agent);
    if (reply.with_user) to.raw(R"(,"user_id":)").text(row.user_id);
    to.raw("}");
  });
}

void write(json_writer& to, const core::session_counts& reply) {
  to.raw(R"("live":)").integer(reply.live);
  to.raw(R"(,"created":)").integer(reply.created);
  to.raw(R"(,"revoked":)").integer(reply.revoked);
  to.raw(R"(,"expired":)").integer(reply.expired);
  to.raw(R"(,"evicted":)").integer(reply.evicted);
}

void write(json_writer& to, const core::lockout_state_reply& reply) {
  to.raw(R"("locked":)").boolean(reply.locked);
  to.raw(R"(,"failed_attempts":)").integer(reply.failed_attempts);
  to.raw(R"(,"threshold":)").integer(reply.threshold);
  if (reply.window_ends_at_ms) to.raw(R"(,"window_ends_at_ms":)").integer(*reply.window_ends_at_ms);
  if (reply.locked_until_ms) to.raw(R"(,"locked_until_ms":)").integer(*reply.locked_until_ms);
}

void write(json_writer& to, const core::lockout_page& reply) {
  write_page(to, "lockouts", reply.rows, reply.cursor, [&](const core::lockout_row& row) {
    to.raw(R"({"tenant_id":)").text(row.tenant_id);
    to.raw(R"(,"user_id":)").text(row.user_id);
    to.raw(R"(,"failed_attempts":)").integer(row.failed_attempts);
    if (row.locked_until_ms) to.raw(R"(,"locked_until_ms":)").integer(*row.locked_until_ms);
    to.raw("}");
  });
}

void write(json_writer& to, const core::lockout_was_cleared& reply) {
  to.raw(R"("cleared":)").boolean(reply.cleared);
}

void write(json_writer& to, const core::permit_granted& reply) {
  to.raw(R"("allowed":true,"state":)").text(to_string(reply.state));
  to.raw(R"(,"epoch":)").integer(reply.epoch);
  if (!reply.permit) return;
  char permit[core::permit_text_size];
  to_text(*reply.permit, permit);
  to.raw(R"(,"permit":)").text({permit, sizeof permit});
}

void write(json_writer& to, const core::permit_denied& reply) {
  to.raw(R"("allowed":false,"state":)").text(to_string(reply.state));
  to.raw(R"(,"epoch":)").integer(reply.epoch);
  to.raw(R"(,"retry_after_ms":)").integer(reply.retry_after_ms);
}

void write(json_writer& to, const core::breaker_position& reply) {
  to.raw(R"("state":)").text(to_string(reply.state));
  to.raw(R"(,"epoch":)").integer(reply.epoch);
}

void write(json_writer& to, const core::calls_counted& reply) {
  write(to, reply.now);
  to.raw(R"(,"accepted":)").boolean(reply.accepted);
  to.raw(R"(,"duplicate":)").boolean(reply.duplicate);
}

void write(json_writer& to, const core::report_observed& reply) {
  to.raw(R"("accepted":)").boolean(reply.accepted);
  to.raw(R"(,"duplicate":)").boolean(reply.duplicate);
}

void write_ratio(json_writer& to, const std::optional<double>& ratio) {
  if (ratio)
    to.decimal(*ratio);
  else
    to.raw("null");
}

/// All of a breaker but its sources.
void write(json_writer& to, const core::breaker_row& row) {
  to.raw(R"("service":)").text(row.service);
  to.raw(R"(,"breaker":)").text(row.breaker);
  to.raw(R"(,"kind":)").text(to_string(row.kind));
  to.raw(R"(,"state":)").text(to_string(row.state));
  to.raw(R"(,"base_state":)").text(to_string(row.base_state));
  to.raw(R"(,"epoch":)").integer(row.epoch);
  to.raw(R"(,"since_ms":)").integer(row.since_ms);
  to.raw(R"(,"cause":)").text(to_string(row.cause));
  if (row.override_) {
    to.raw(R"(,"override":{"mode":)").text(to_string(row.override_->mode));
    to.raw(R"(,"scope":)").text(to_string(row.override_->scope));
    to.raw(R"(,"actor":)").text(row.override_->actor);
    to.raw(R"(,"reason":)").text(row.override_->reason);
    if (row.override_->expires_at_ms)
      to.raw(R"(,"expires_at_ms":)").integer(*row.override_->expires_at_ms);
    to.raw("}");
  }
  to.raw(R"(,"counts":{)");
  char separator = '\0';
  for (std::size_t i = 0; i < core::call_result_count; ++i)
    to.separate(separator)
        .text(core::call_result_names[i])
        .raw(":")
        .integer(row.counts.by_result[i]);
  to.raw(R"(},"failure_ratio":)");
  write_ratio(to, row.failure_ratio);
  to.raw(R"(,"slow_ratio":)");
  write_ratio(to, row.slow_ratio);
  if (row.retry_after_ms) to.raw(R"(,"retry_after_ms":)").integer(*row.retry_after_ms);
}

void write(json_writer& to, const core::breaker_status& reply) {
  write(to, reply.row);
  to.raw(",");
  write_page(to, "sources", reply.row.sources, {}, [&](const core::breaker_source_row& source) {
    to.raw(R"({"source":)").text(source.source);
    to.raw(R"(,"state":)").text(to_string(source.state));
    to.raw(R"(,"last_report_at_ms":)").integer(source.last_report_at_ms).raw("}");
  });
}

void write(json_writer& to, const core::breaker_page& reply) {
  write_page(to, "breakers", reply.rows, reply.cursor, [&](const core::breaker_row& row) {
    to.raw("{");
    write(to, row);
    to.raw("}");
  });
}

void write(json_writer& to, const core::subscribed& reply) {
  to.raw(R"("subscription":)").text(reply.subscription);
  to.raw(R"(,"cursor":)").text(reply.cursor);
}

void write(json_writer& to, const core::event_page& reply) {
  // The cursor is always there: the next query goes on after it.
  write_page(to, "events", reply.events, {}, [&](const std::string& event) { to.raw(event); });
  to.raw(R"(,"cursor":)").text(reply.cursor);
}

void write(json_writer&, const core::done&) {}

void write(json_writer& to, const core::version_reply& reply) {
  to.raw(R"("name":"portcullis","version":)").text(reply.version).raw(R"(,"protocol":1)");
}

void write(json_writer& to, const core::info_reply& reply) {
  to.raw(R"("node_id":)").text(reply.node_id);
  to.raw(R"(,"mode":)").text(reply.mode);
  to.raw(R"(,"version":)").text(reply.version);
  to.raw(R"(,"uptime_ms":)").integer(reply.uptime_ms);
  to.raw(R"(,"store":{"kind":)").text(reply.store_kind);
  to.raw(R"(,"degraded":)").boolean(reply.degraded);
  to.raw(R"(},"loops":)").integer(reply.loops);
  to.raw(R"(,"sessions":)").integer(reply.sessions);
  to.raw(R"(,"connections":)").integer(reply.connections);
  to.raw(R"(,"seq":)").integer(reply.seq);
  if (!reply.digest.empty()) to.raw(R"(,"digest":)").text(reply.digest);
  if (reply.nodes.empty()) return;
  to.raw(R"(,"nodes":[)");
  for (const auto& row : reply.nodes) {
    if (&row != &reply.nodes.front()) to.raw(",");
    to.raw(R"({"node_id":)").text(row.node_id);
    to.raw(R"(,"version":)").text(row.version);
    to.raw(R"(,"started_at_ms":)").integer(row.started_at_ms);
    to.raw(R"(,"heard_at_ms":)").integer(row.heard_at_ms);
    to.raw(R"(,"seq":)").integer(row.seq);
    to.raw(R"(,"sessions":)").integer(row.sessions);
    to.raw(R"(,"connections":)").integer(row.connections);
    to.raw("}");
  }
  to.raw("]");
}

void write(json_writer& to, const core::connection_page& reply) {
  write_page(to, "connections", reply.rows, reply.cursor, [&](const core::connection_row& row) {
    to.raw(R"({"id":)").integer(row.id);
    to.raw(R"(,"listener":)").text(row.listener);
    to.raw(R"(,"address":)").text(row.address);
    to.raw(R"(,"name":)").text(row.name);
    to.raw(R"(,"role":)").text(row.role);
    to.raw(R"(,"since_ms":)").integer(row.since_ms);
    to.raw(R"(,"in_flight":)").integer(row.in_flight);
    to.raw(R"(,"requests":)").integer(row.requests);
    if (!row.ja3.empty()) to.raw(R"(,"ja3":)").text(row.ja3);
    if (!row.ja4.empty()) to.raw(R"(,"ja4":)").text(row.ja4);
    to.raw("}");
  });
}

void write(json_writer& to, const core::logged_in& reply) {
  to.raw(R"("role":)").text(to_string(reply.role)).raw(R"(,"name":)").text(reply.name);
}

void write(json_writer& to, const core::reloaded& reply) {
  write_page(to, "changed", reply.changed, {}, [&](const std::string& key) { to.text(key); });
}

void write(json_writer& to, const core::backed_up& reply) {
  to.raw(R"("path":)").text(reply.path);
  to.raw(R"(,"seq":)").integer(reply.seq);
  to.raw(R"(,"bytes":)").integer(reply.bytes);
}

void write(json_writer& to, const core::user_was_forgotten& reply) {
  to.raw(R"("forgotten":)").boolean(reply.forgotten);
}

void write(json_writer& to, const core::keys_rotated& reply) {
  to.raw(R"("keys":)").integer(reply.keys);
}

struct outcome_writer {
  byte_buffer& out;
  const encode_options& options;

  template <class Result>
  void operator()(const Result& result) const {
    json_writer to(out);
    to.raw(R"("result":{)");
    write(to, result);
    to.raw("}");
  }
  void operator()(const core::failed& failed) const {
    encode_error_outcome(out, failed.why, failed.correlation_id, options);
  }
};

}  // namespace

void encode_outcome(byte_buffer& out, const core::reply& reply, const encode_options& options) {
  std::visit(outcome_writer{out, options}, reply);
}

void encode_reply(byte_buffer& out, std::string_view raw_id, const core::reply& reply,
                  const encode_options& options) {
  begin_envelope(out, raw_id);
  encode_outcome(out, reply, options);
  end_envelope(out);
}

}  // namespace portcullis::net

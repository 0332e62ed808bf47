// The rows of the table: all but listeners and who may come in.
#include "core/config/rows.hpp"

namespace portcullis::core {
namespace {

using namespace rows;

constexpr config_key node_table[] = {
    KEY_TEXT("server.node_id", server, 1, 64, is_node_name, "1 to 64 of A-Z, a-z, 0-9, _ . and -",
             false, whole->server.node_id,
             "This node's name in events, logs and metrics. Unique in a cluster."),
    KEY_CHOICE("server.environment", server, environment_names, false, whole->server.environment,
               "`development` shows the place of an error to the caller, makes the key file by "
               "itself and allows "
               "`auth.mode = \"none\"`; `production` does none of these."),
    KEY_TEXT("server.data_dir", server, 1, 4096, nullptr, {}, false, whole->server.data_dir,
             "Folder of the embedded store. Only one process may use it."),
    KEY_INTEGER("server.loops", server, 0, static_cast<std::int64_t>(limits::loops_max), false,
                whole->server.loops,
                "Network loops. 0 chooses: 1 on up to 4 cores, else half the cores, at most 16."),
    KEY_INTEGER("server.drain_s", server, 0, 600, true, whole->server.drain_s,
                "How long a stopping node answers what is in flight, in seconds."),

    KEY_INTEGER("limits.value_bytes", server, 1'024,
                static_cast<std::int64_t>(limits::read_block_bytes / 2), false,
                whole->limits.value_bytes, "Largest JSON value; a batch counts as one."),
    KEY_INTEGER("limits.depth", server, 4,
                static_cast<std::int64_t>(limits::nesting_depth_configurable_max), false,
                whole->limits.depth, "Deepest nesting of a JSON value."),
    KEY_INTEGER("limits.batch", server, 1, 1'000, false, whole->limits.batch,
                "Most entries of a batch."),
    KEY_INTEGER("limits.data_bytes", server, 0, 65'536, false, whole->limits.data_bytes,
                "Largest `data` of a session, minified. Less than limits.value_bytes."),
    KEY_INTEGER("limits.in_flight_per_connection", server, 1, 65'536, false,
                whole->limits.in_flight_per_connection,
                "Requests in flight a connection; over it reading pauses."),
    KEY_INTEGER("limits.request_timeout_ms", server, 100, 600'000, false,
                whole->limits.request_timeout_ms,
                "After it a request is answered with REQUEST_TIMEOUT."),

    KEY_CHOICE(
        "store.mode", server, store_mode_names, false, whole->store.mode,
        "Where the truth is kept: in the data folder, or in Redis, which several nodes share "
        "(docs/cluster.md)."),
    KEY_INTEGER("store.touch_retention_h", server, 1, 8'760, false, whole->store.touch_retention_h,
                "How long the log tells of activity (and of breakers' calls, for what-if), in "
                "hours; then the records stay, empty."),
    KEY_INTEGER(
        "store.event_retention_h", server, 0, 876'000, false, whole->store.event_retention_h,
        "How long events stay in the log, in hours; 0: for ever; where it is not given, 168 with "
        "`redis`. What is older is cut off "
        "at a checkpoint, where a signed snapshot of the state takes its place."),
    KEY_INTEGER("store.journal_queue_events", server, 1'000, 5'000'000, false,
                whole->store.journal_queue_events,
                "Events that may wait for the disk; when full, requests are refused."),
    KEY_CHOICE("store.degraded", server, degraded_action_names, false, whole->store.degraded,
               "With `redis`, while it cannot be reached: validation fails with "
               "STORE_UNAVAILABLE, or goes on for degraded_max_s by what the node last heard."),
    KEY_INTEGER("store.degraded_max_s", server, 1, 86'400, false, whole->store.degraded_max_s,
                "How long `serve_cached` goes on, in seconds."),
    KEY_TEXT("store.redis.url", server, 0, 2'048, nullptr, {}, false, whole->store.redis.url,
             "`redis://[user[:password]@]host[:port][/db]`, `rediss://` (TLS) or `unix:///path`. "
             "With sentinels it names the master's user and db alone."),
    KEY_LIST("store.redis.sentinels", server, 1, 2'048, nullptr, {}, false,
             whole->store.redis.sentinels,
             "URLs of Redis Sentinels, which are asked who the master is. Empty: the server is "
             "that of store.redis.url."),
    KEY_TEXT("store.redis.master_name", server, 0, 256, nullptr, {}, false,
             whole->store.redis.master_name, "The master's name in the Sentinels."),
    KEY_BOOLEAN("store.redis.cluster", server, false, whole->store.redis.cluster,
                "Whether store.redis.url is a server of a Redis Cluster."),
    KEY_TEXT("store.redis.password_file", server, 0, 4'096, nullptr, {}, false,
             whole->store.redis.password_file,
             "A file with the password alone; read anew at each reload. Empty: that of the URL."),
    KEY_TEXT("store.redis.ca_file", server, 0, 4'096, nullptr, {}, false,
             whole->store.redis.ca_file,
             "Whom `rediss://` believes, PEM. Empty: the system's authorities."),
    KEY_TEXT("store.redis.prefix", server, 1, 64, is_node_name,
             "1 to 64 of A-Z, a-z, 0-9, _ . and -", false, whole->store.redis.prefix,
             "What every key begins with. Nodes with the same one are one fleet."),
    KEY_INTEGER("store.redis.timeout_ms", server, 50, 60'000, false, whole->store.redis.timeout_ms,
                "How long Redis may take to answer."),
    KEY_INTEGER("store.redis.staleness_ms_max", server, 200, 60'000, false,
                whole->store.redis.staleness_ms_max,
                "A node that has not heard from Redis for so long answers no validation: within "
                "this time a revocation holds on every node."),
    KEY_INTEGER("store.redis.key_ttl_h", server, 24, 876'000, false, whole->store.redis.key_ttl_h,
                "How long keys stay when no node runs, in hours."),

    KEY_TEXT("crypto.keys_file", server, 0, 4096, nullptr, {}, false, whole->crypto.keys_file,
             "The key file. Empty: `portcullis.keys` in the data folder, made at first start, in "
             "development only. "
             "Production needs one outside the data folder, readable by its owner alone."),

    KEY_INTEGER("session.idle_ttl_s", policy, 1, year_s, true, policy->idle_ttl_s,
                "A session ends after this long without activity, in seconds. Where only "
                "absolute_ttl_s is given and "
                "is less, it is that."),
    KEY_INTEGER("session.absolute_ttl_s", policy, 1, year_s, true, policy->absolute_ttl_s,
                "A session ends this long after its creation at the latest, in seconds. At least "
                "idle_ttl_s."),
    KEY_INTEGER("session.touch_granularity_s", policy, 0, 86'400, true, policy->touch_granularity_s,
                "Activity is recorded in steps of this many seconds. At most half of idle_ttl_s; "
                "where it is not given "
                "and half of idle_ttl_s is less, it is that."),
    KEY_INTEGER("session.max_sessions_per_user", policy, 0, 1'000'000, true,
                policy->max_sessions_per_user, "Sessions that a user may have at once. 0: no cap."),
    KEY_CHOICE("session.on_cap", policy, cap_action_names, true, policy->on_cap,
               "At the cap: refuse the new session, or end the oldest."),
    KEY_CHOICE("session.ip_binding", policy, ip_binding_names, true, policy->ip_binding,
               "What a request from another address means: a failed attempt, a signal that asks "
               "for a step-up, a signal, "
               "or nothing."),
    KEY_INTEGER("session.ip_prefix_v4", policy, 1, 32, true, policy->ip_prefix_v4,
                "Bits of an IPv4 address that must agree."),
    KEY_INTEGER("session.ip_prefix_v6", policy, 1, 128, true, policy->ip_prefix_v6,
                "Bits of an IPv6 address that must agree."),
    KEY_FIELDS("session.fingerprint_fields", true, policy->enforced,
               "Fields of the context whose change is a failed attempt."),
    KEY_FIELDS("session.observe_fields", true, policy->observed,
               "Fields whose change is only signalled."),
    KEY_FIELDS("session.challenge_fields", true, policy->challenged,
               "Fields whose change asks the application for a step-up. A field may be in one of "
               "the three lists."),
    KEY_INTEGER(
        "session.rotation_grace_s", policy, 0, 300, true, policy->rotation_grace_s,
        "How long a rotated id still validates after its successor's first use, in seconds."),

    KEY_INTEGER("lockout.threshold", server, 1, 1'000'000, true, whole->lockout.threshold,
                "Failed attempts in a window that lock."),
    KEY_INTEGER("lockout.window_s", server, 1, year_s, true, whole->lockout.window_s,
                "The window, in seconds, fixed from the first failure."),
    KEY_INTEGER("lockout.duration_s", server, 1, year_s, true, whole->lockout.duration_s,
                "How long a lock lasts, in seconds."),
    KEY_CHOICE("lockout.scope", server, lockout_scope_names, true, whole->lockout.scope,
               "Who is locked out: the user everywhere, or the user at the source that failed."),
    KEY_INTEGER("lockout.user_threshold", server, 1, 1'000'000, true, whole->lockout.user_threshold,
                "With scope `user_source`: failed attempts over all sources that lock the user "
                "everywhere."),
    KEY_INTEGER(
        "lockout.repeat_collapse_s", server, 0, 86'400, true, whole->lockout.repeat_collapse_s,
        "The same failing context of a session counts once in that many seconds. 0: each counts."),
    KEY_BOOLEAN("lockout.revoke_offending", server, true, whole->lockout.revoke_offending,
                "Whether a lock also revokes the session that took most of the failures."),
    KEY_INTEGER("lockout.source_threshold", server, 0, 1'000'000, true,
                whole->lockout.source_threshold,
                "Distinct unknown ids of a source in a window after which its unknown ids get "
                "RATE_LIMITED. 0: off."),

    KEY_INTEGER("breaker.max", server, 1,
                static_cast<std::int64_t>(limits::breakers_configurable_max), true,
                whole->breakers.breakers_max,
                "Circuit breakers that the node holds at once; past it BREAKER_LIMIT."),
    KEY_CHOICE("breaker.window", breaker, window_kind_names, true, breaker->window,
               "Which calls count: those of the last window_s seconds, or the last window_calls."),
    KEY_INTEGER("breaker.window_s", breaker, 1, day_s, true, breaker->window_s,
                "Window `time`: how far back calls count, in seconds."),
    KEY_INTEGER("breaker.window_buckets", breaker, 1, 100, true, breaker->window_buckets,
                "Window `time`: in how many steps calls leave it. At least 100 ms each; where it "
                "is not given, fewer for a short window."),
    KEY_INTEGER("breaker.window_calls", breaker, 1, 10'000, true, breaker->window_calls,
                "Window `count`: how many calls count."),
    KEY_INTEGER("breaker.window_age_s", breaker, 1, day_s, true, breaker->window_age_s,
                "Window `count`: calls that are older do not count, in seconds."),
    KEY_INTEGER("breaker.min_calls", breaker, 1, 1'000'000, true, breaker->min_calls,
                "Calls in the window below which no rate opens the breaker. More than a `count` "
                "window holds means as many as it holds."),
    KEY_NUMBER("breaker.failure_rate_threshold", breaker, rate, breaker->failure_rate_threshold,
               "The part of the calls that failed at which the breaker opens."),
    KEY_INTEGER("breaker.slow_call_ms", breaker, 1, limits::call_duration_ms_max, true,
                breaker->slow_call_ms, "A call that took longer is slow."),
    KEY_NUMBER("breaker.slow_rate_threshold", breaker, rate, breaker->slow_rate_threshold,
               "The part of the calls that were slow at which the breaker opens."),
    KEY_INTEGER("breaker.consecutive_failures", breaker, 0, 1'000'000, true,
                breaker->consecutive_failures,
                "Failures in a row that open the breaker, whatever the rates. 0: off."),
    KEY_SECONDS("breaker.open_wait_s", breaker, 1, day_s, breaker->open_wait_ms,
                "How long an open breaker waits before it lets calls try, in seconds; doubled by "
                "each half-open phase that fails. Where only open_wait_max_s is given and is less, "
                "it is that."),
    KEY_SECONDS("breaker.open_wait_max_s", breaker, 1, day_s, breaker->open_wait_max_ms,
                "The longest wait, in seconds. At least open_wait_s; where it is not given, not "
                "less than that."),
    KEY_NUMBER("breaker.open_wait_jitter", breaker, jitter, breaker->open_wait_jitter,
               "Each wait is longer or shorter by up to this part of it, so that not all breakers "
               "try at once."),
    KEY_INTEGER("breaker.half_open_permits", breaker, 1, 1'000, true, breaker->half_open_permits,
                "Calls that try the downstream in a half-open phase and decide it. Where only "
                "half_open_concurrency is given and is more, it is that."),
    KEY_INTEGER("breaker.half_open_concurrency", breaker, 1, 1'000, true,
                breaker->half_open_concurrency,
                "How many of them at once. At most half_open_permits; where it is not given, not "
                "more than that."),
    KEY_SECONDS("breaker.max_half_open_s", breaker, 1, day_s, breaker->max_half_open_ms,
                "A half-open phase undecided after this long opens the breaker again, in seconds."),
    KEY_SECONDS("breaker.permit_ttl_s", breaker, 1, day_s, breaker->permit_ttl_ms,
                "A permit that is not reported for this long counts as a failure and makes room "
                "for another, in seconds."),
    KEY_BOOLEAN("breaker.auto_half_open", breaker, true, breaker->auto_half_open,
                "Whether an open breaker becomes half-open when its wait is over; else with the "
                "first call after it."),
    KEY_SECONDS("breaker.retire_after_s", breaker, 1, year_s, breaker->retire_after_ms,
                "A breaker that nobody used for this long is forgotten, in seconds."),
    KEY_INTEGER("breaker.trip_quorum", breaker, 1, 16, true, breaker->trip_quorum,
                "Several nodes: so many must have failures of their own for a breaker to open on "
                "all; with fewer it opens on theirs. One is enough where no other had calls."),
    KEY_CHOICE("breaker.store_down", breaker, store_down_rule_names, true, breaker->store_down,
               "Several nodes, while their log cannot be reached: each decides by its own calls "
               "(local), admits all (fail_open) or none (fail_closed). Overrides hold."),

    KEY_CHOICE("log.level", server, log_level_names, true, whole->log.level,
               "The least level that is logged."),
    {"log.levels", key_scope::named, key_form::choice, 0, 0, log_level_names, is_component_name,
     component_words, true, "The level of one component: `log.levels.net = \"debug\"`.",
     choice_access<level_of_component, log_level_names>},
    KEY_BOOLEAN("log.hash_user_ids", server, true, whole->log.hash_user_ids,
                "Whether logs show a hash in place of a user's id."),
    KEY_CHOICE("log.format", server, log_format_names, false, whole->log.format,
               "`auto` is text on a terminal and one JSON object a line elsewhere."),
    KEY_CHOICE("log.output", server, log_output_names, false, whole->log.output,
               "Where the log of the process goes: standard error, the journal of systemd as "
               "entries with fields, or `log.file`."),
    KEY_TEXT("log.file", server, 0, 4096, nullptr, {}, false, whole->log.file,
             "The file of `log.output = \"file\"`, appended to; its folder must be there. Opened "
             "anew at a reload, and when it was moved or deleted."),
    KEY_TEXT("log.journald_socket", server, 1, 107, nullptr, {}, false, whole->log.journald_socket,
             "Where journald listens, with `log.output = \"journald\"`; for containers that have "
             "the socket elsewhere."),

    {"metrics.labels",
     key_scope::named,
     key_form::text,
     0,
     128,
     {},
     is_label_name,
     "a label: letters, digits and _, not used by our own metrics",
     false,
     "A constant label of every series: `metrics.labels.region = \"eu\"`.",
     plain_access<constant_label>},
    KEY_INTEGER("metrics.breakers_max", server, 0,
                static_cast<std::int64_t>(limits::breaker_series_configurable_max), false,
                whole->metrics.breakers_max,
                "Circuit breakers that have series of their own, some 60 each; all others share "
                "those of `__overflow__`."),
};

}  // namespace

std::span<const config_key> node_rows() noexcept { return node_table; }

}  // namespace portcullis::core

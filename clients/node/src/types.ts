// What goes into the typed methods and comes out of them. Names are the protocol's in camelCase; times are Unix ms (`*AtMs`).

/** The request of a user, as the application saw it. Empty fields count as absent; each is at most 1024 bytes. */
export interface Context {
  /** IPv4 or IPv6 text: of the user, not of a proxy. */
  ip: string;
  userAgent?: string | undefined;
  accept?: string | undefined;
  acceptLanguage?: string | undefined;
  acceptEncoding?: string | undefined;
  ja3?: string | undefined;
  ja4?: string | undefined;
}

/** A session by its secret id, or by the alias that a framework chose. */
export type SessionKey = {sessionId: string} | {alias: string; tenantId: string};

/** What an application keeps with a session: an object of JSON. */
export type SessionData = Record<string, unknown>;

/** What a session is made of. */
export interface CreateSession {
  /** 1..128 bytes. */
  tenantId: string;
  /** 1..256 bytes. */
  userId: string;
  context: Context;
  data?: SessionData | undefined;
  /** Seconds without activity; may only shorten the server's policy. */
  idleTtlS?: number | undefined;
  /** Seconds from creation; may only shorten the server's policy. */
  absoluteTtlS?: number | undefined;
  /** An id of the caller's own choice, 16..256 bytes, secret, unique in the tenant. */
  alias?: string | undefined;
}

/** A session that was created or rotated. `sessionId` is a secret and comes only here. */
export interface CreatedSession {
  sessionId: string;
  /** The session's public name: safe in logs, survives rotation. */
  handle: string;
  version: number;
  createdAtMs: number;
  /** The earlier of the two that follow. */
  expiresAtMs: number;
  idleExpiresAtMs: number;
  absoluteExpiresAtMs: number;
}

/** Why a session is not valid. */
export type DenialReason = 'not_found' | 'expired' | 'revoked' | 'ip_mismatch' | 'fingerprint_mismatch' | 'locked_out';

/** A finding of a field that is observed, not enforced; `challenge` asks for a step-up. */
export interface Signal {
  field: string;
  action: 'observe' | 'challenge';
}

/** What `validate` says of a session that is valid. */
export interface ValidSession<Data = SessionData> {
  valid: true;
  tenantId: string;
  userId: string;
  handle: string;
  data: Data | undefined;
  version: number;
  createdAtMs: number;
  expiresAtMs: number;
  /** The id was rotated and is in its grace. */
  rotated: boolean;
  signals: Signal[];
}

/** What `validate` says of one that is not. It is an answer, not an error. */
export interface DeniedSession {
  valid: false;
  reason: DenialReason;
  /** For `locked_out`: what is left of the lock. */
  retryAfterMs: number | undefined;
}

/** A session in a list: never its id. `ip` and `userAgent` are those that it was made with. */
export interface ListedSession {
  handle: string;
  /** Only of `find`. */
  userId?: string;
  createdAtMs: number;
  lastSeenAtMs: number;
  expiresAtMs: number;
  ip: string;
  /** Of the session's creation; null where it had none. */
  userAgent: string | null;
}

/** Where a list goes on: pass `cursor` as it came; a page may be short, only a missing `cursor` ends the list. */
export interface Page {
  /** 1..1000, default 100. */
  limit?: number;
  cursor?: string;
}

/** Counts of the node that answers: sessions that live now, and what was since its start. */
export interface SessionStats {
  live: number;
  created: number;
  revoked: number;
  expired: number;
  evicted: number;
}

/** Where a user stands: failed attempts of the current window, and the lock where there is one. */
export interface LockoutStatus {
  locked: boolean;
  failedAttempts: number;
  threshold: number;
  windowEndsAtMs?: number;
  lockedUntilMs?: number;
}

/** A lock in a list. */
export interface ListedLockout {
  tenantId: string;
  userId: string;
  failedAttempts: number;
  lockedUntilMs: number;
}

/** A breaker's name; each part is 1..64 of `[A-Za-z0-9_.-]`. */
export interface BreakerName {
  service: string;
  /** Default `default`. */
  breaker?: string | undefined;
}

/** The states of a breaker; the last three are set by an administrator. */
export type BreakerState = 'closed' | 'open' | 'half_open' | 'forced_open' | 'disabled' | 'metrics_only';
/** How a call ended; `ignored` counts neither for nor against the downstream. */
export type BreakerOutcome = 'success' | 'failure' | 'timeout' | 'ignored';
/** What kind of failure a call had, for metrics. */
export type ErrorKind = 'connect' | 'tls' | 'dns' | 'reset' | 'protocol' | 'status_5xx' | 'status_4xx' | 'other';

/** Calls, each in exactly one count: a slow success is in `slow_success` alone. What is missing is 0. */
export interface BreakerCounts {
  success?: number;
  failure?: number;
  timeout?: number;
  ignored?: number;
  rejected?: number;
  slow_success?: number;
  slow_failure?: number;
}

/** Leave to call the downstream, or none. */
export interface Acquired {
  allowed: boolean;
  state: BreakerState;
  epoch: number;
  /** Of a half-open breaker: to be given back with the report. */
  permit?: string;
  /** When it is not allowed. */
  retryAfterMs?: number;
}

/** A breaker's state; the epoch goes up with each transition. */
export interface StateAndEpoch {
  state: BreakerState;
  epoch: number;
}

/** How one call ended. */
export interface BreakerReport extends BreakerName {
  outcome: BreakerOutcome;
  durationMs: number;
  epoch?: number | undefined;
  permit?: string | undefined;
  errorKind?: ErrorKind | undefined;
}

/** How many calls ended. */
export interface BreakerBatch extends BreakerName {
  /** One life of a process: another one after a restart. */
  source: string;
  /** Ascending from 1 a source; a repeated one counts nothing. */
  seq: number;
  epoch: number;
  counts: BreakerCounts;
  /** 12 counts for the bounds 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 s and +Inf. */
  durationBuckets?: readonly number[] | undefined;
}

/** What an application's own breaker counted and is. */
export interface BreakerObservation extends BreakerName {
  source: string;
  /** Counts are totals since it began. */
  sourceEpoch: number;
  seq: number;
  state: BreakerState;
  counts: BreakerCounts;
  durationBuckets?: readonly number[] | undefined;
  transition?: {from: BreakerState; to: BreakerState; at_ms: number} | undefined;
}

/** All that is known of a breaker; the ratios are null while too few calls were counted. */
export interface BreakerStatus {
  service: string;
  breaker: string;
  kind: 'hosted' | 'observed';
  state: BreakerState;
  baseState: BreakerState;
  epoch: number;
  sinceMs: number;
  cause: string;
  override?: {mode: BreakerState; scope: string; actor: string; reason: string; expiresAtMs?: number};
  counts: BreakerCounts;
  failureRatio: number | null;
  slowRatio: number | null;
  retryAfterMs?: number;
  sources?: {source: string; state: BreakerState; lastReportAtMs: number}[];
}

/** An event of the server's log, with the names of the wire (docs/events.md of the server). */
export interface PortcullisEvent {
  seq: number;
  at_ms: number;
  node: string;
  type: string;
  correlation_id?: string;
  tenant_id?: string;
  user_id?: string;
  handle?: string;
  actor?: string;
  [field: string]: unknown;
}

/** Which events: those for which all that is given holds. `limit` is 1..1000, default 100; `after` is a cursor. */
export interface EventQuery {
  after?: string;
  limit?: number;
  types?: readonly string[];
  tenantId?: string;
  userId?: string;
  handle?: string;
  service?: string;
  fromMs?: number;
  toMs?: number;
}

/** A connection to the server, as an admin sees it. */
export interface ServerConnection {
  /** Valid while the connection lives. */
  id: number;
  listener: string;
  address: string;
  name: string | null;
  role: string | null;
  sinceMs: number;
  inFlight: number;
  requests: number;
  ja3?: string;
  ja4?: string;
}

/** Of the node that answers. `store.degraded`: it cannot reach its store. */
export interface ServerInfo {
  nodeId: string;
  mode: string;
  version: string;
  uptimeMs: number;
  store: {kind: string; degraded: boolean};
  loops: number;
  sessions: number;
  connections: number;
  seq: number;
  digest?: string;
  [field: string]: unknown;
}

// What a client may be told, and what it makes of it: every option with its bounds and its default.
import {parseAddress, type Address} from './address.js';
import type {TlsOptions} from './connection.js';
import {refuseUnknown} from './known.js';

/** How a client reaches its servers. Every number is bounded by what the server allows, see docs/protocol.md. */
export interface ClientOptions {
  /** One or several: `host:port`, `portcullis+tls://host:port`, `unix:/path`. Default `127.0.0.1:7420`. */
  address?: string | readonly string[] | undefined;
  /** `random` (default) spreads processes over the nodes of a cluster; `given` tries them in their order. All connections stay with one node while it answers. */
  order?: 'random' | 'given' | undefined;
  /** The token of `auth.login`, or what gives it at each connection. */
  token?: string | (() => string | undefined | Promise<string | undefined>) | undefined;
  /** `true` or options: all addresses but Unix sockets are TLS ones. */
  tls?: boolean | TlsOptions | undefined;
  /** Connections, 1..64, default 2: each is served by one of the server's loops. Another one is used when 16 calls are in flight on one. */
  connections?: number | undefined;
  /** Deadline of a call in ms, default 2000; waiting for a connection and retries included. */
  timeoutMs?: number | undefined;
  /** Deadline of connecting and logging in, ms, default 2000. */
  connectTimeoutMs?: number | undefined;
  /** Calls in flight a connection, 1..1024, default 512. */
  maxInFlight?: number | undefined;
  /** Calls that wait for a connection, default 10000; one more is QUEUE_FULL. */
  maxQueued?: number | undefined;
  /** After so many ms without any connection calls fail at once with UNREACHABLE instead of waiting, default 1000. */
  unreachableAfterMs?: number | undefined;
  /** The server's `limits.value_bytes` (default 65536) and `limits.depth` (16): what is larger or deeper is refused here, for it would end the connection. */
  limits?: {valueBytes?: number | undefined; depth?: number | undefined} | undefined;
  /** Wait between attempts to connect: full jitter between 0 and `baseMs * 2^n`, at most `capMs`. Default 25 and 1000. */
  reconnect?: {baseMs?: number; capMs?: number} | undefined;
  /** Retries of safe calls: at most `attempts` (default 2) each, and together at most `ratio` (default 0.2) of all calls plus 10 a second. */
  retry?: {attempts?: number; ratio?: number} | undefined;
}

/** What one call may differ in. */
export interface CallOptions {
  /** Deadline in ms instead of the client's. */
  timeoutMs?: number | undefined;
  /** Ends the wait; what was sent may still be done. */
  signal?: AbortSignal | undefined;
  /** 1..64 of `[A-Za-z0-9._-]`: stands in the server's log and events. */
  correlationId?: string | undefined;
  /** W3C trace context, passed on. */
  traceparent?: string | undefined;
}

/** Deadlines of calls, ms. */
export const timeoutMsMax = 3_600_000;
const defaults = {
  connections: 2, timeoutMs: 2000, connectTimeoutMs: 2000, maxInFlight: 512, maxQueued: 10_000, unreachableAfterMs: 1000,
};

const known = new Set(['address', 'order', 'token', 'tls', 'connections', 'timeoutMs', 'connectTimeoutMs', 'maxInFlight', 'maxQueued', 'unreachableAfterMs',
  'limits', 'reconnect', 'retry']);

/** The options with their defaults, checked. */
export interface Settings {
  addresses: Address[];
  tls: TlsOptions;
  token: (() => string | undefined | Promise<string | undefined>) | undefined;
  connections: number;
  timeoutMs: number;
  connectTimeoutMs: number;
  maxInFlight: number;
  maxQueued: number;
  unreachableAfterMs: number;
  valueBytesMax: number;
  depthMax: number;
  baseMs: number;
  capMs: number;
  attempts: number;
  ratio: number;
}

export function settingsOf(options: ClientOptions): Settings {
  refuseUnknown(options, known);
  const whole = (name: string, value: number | undefined, otherwise: number, least: number, most: number): number => {
    if (value === undefined) return otherwise;
    if (!Number.isInteger(value) || value < least || value > most) throw new RangeError(`${name} is a whole number, ${least}..${most}, not ${value}`);
    return value;
  };
  for (const name of ['limits', 'reconnect', 'retry'] as const) {
    if (options[name] !== undefined && typeof options[name] !== 'object') throw new TypeError(`${name} is an object`);
  }
  if (options.order !== undefined && options.order !== 'random' && options.order !== 'given') throw new TypeError(`order is random or given, not ${String(options.order)}`);
  if (options.tls !== undefined && typeof options.tls !== 'boolean' && typeof options.tls !== 'object') throw new TypeError('tls is true, false or an object');
  const kind = typeof options.token;
  if (kind !== 'undefined' && kind !== 'function' && (kind !== 'string' || options.token === '')) throw new TypeError('token is a text that is not empty, or a function');
  const texts = typeof options.address === 'string' ? [options.address] : [...options.address ?? ['127.0.0.1:7420']];
  if (texts.length === 0) throw new TypeError('address: at least one is needed');
  const addresses = texts.map((each) => parseAddress(each, options.tls !== undefined && options.tls !== false));
  if (options.order !== 'given') shuffle(addresses);
  const ratio = options.retry?.ratio ?? 0.2;
  if (!(ratio >= 0 && ratio <= 1)) throw new RangeError(`retry.ratio is 0..1, not ${ratio}`);
  const token = options.token;
  return {
    addresses,
    tls: typeof options.tls === 'object' ? options.tls : {},
    token: typeof token === 'string' ? () => token : token,
    connections: whole('connections', options.connections, defaults.connections, 1, 64),
    timeoutMs: whole('timeoutMs', options.timeoutMs, defaults.timeoutMs, 1, 3_600_000),
    connectTimeoutMs: whole('connectTimeoutMs', options.connectTimeoutMs, defaults.connectTimeoutMs, 1, 3_600_000),
    maxInFlight: whole('maxInFlight', options.maxInFlight, defaults.maxInFlight, 1, 1024),
    maxQueued: whole('maxQueued', options.maxQueued, defaults.maxQueued, 0, 10_000_000),
    unreachableAfterMs: whole('unreachableAfterMs', options.unreachableAfterMs, defaults.unreachableAfterMs, 0, 3_600_000),
    valueBytesMax: whole('limits.valueBytes', options.limits?.valueBytes, 65_536, 1024, 1 << 30),
    depthMax: whole('limits.depth', options.limits?.depth, 16, 4, 1000),
    baseMs: whole('reconnect.baseMs', options.reconnect?.baseMs, 25, 1, 60_000),
    capMs: whole('reconnect.capMs', options.reconnect?.capMs, 1000, 1, 600_000),
    attempts: whole('retry.attempts', options.retry?.attempts, 2, 0, 10),
    ratio,
  };
}

function shuffle<T>(all: T[]): void {
  for (let i = all.length - 1; i > 0; --i) {
    const j = Math.floor(Math.random() * (i + 1));
    [all[i], all[j]] = [all[j] as T, all[i] as T];
  }
}


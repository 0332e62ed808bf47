// The client's engine: a few connections, a bounded queue before them, deadlines, retries of what is safe, failover.
import {EventEmitter} from 'node:events';

import {parseAddress, type Address} from './address.js';
import {backoffMs, RetryBudget} from './backoff.js';
import {Connection, type Push, type Request, type TlsOptions} from './connection.js';
import {errorOfWire, PortcullisError, type WireError} from './errors.js';
import {isSafe} from './safety.js';

/** How a client reaches its servers. Every number is bounded by what the server allows, see docs/protocol.md. */
export interface ClientOptions {
  /** One or several: `host:port`, `portcullis+tls://host:port`, `unix:/path`. Default `127.0.0.1:7420`. */
  address?: string | readonly string[] | undefined;
  /** `random` (default) spreads processes over the nodes of a cluster; `given` tries them in their order. All connections stay with one node while it answers. */
  order?: 'random' | 'given' | undefined;
  /** The token of `auth.login`, or what gives it at each connection. */
  token?: string | (() => string | undefined | Promise<string | undefined>) | undefined;
  /** `true` or options: addresses without a scheme are TLS ones. */
  tls?: boolean | TlsOptions | undefined;
  /** Connections, 1..64, default 2: each is served by one of the server's loops. Another one is used when 64 calls are in flight on one. */
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

/** Counts since the client was made, and what is now. */
export interface ClientStats {
  connected: number;
  inFlight: number;
  queued: number;
  calls: number;
  retries: number;
  timeouts: number;
  connectionsLost: number;
  /** Of the node that the connections are at. */
  address: string | undefined;
  serverVersion: string | undefined;
}

/** What a client tells its listeners. */
export interface ClientEvents {
  /** A connection is ready. */
  connect: [{address: string; serverVersion: string}];
  /** A connection was lost, or could not be made; the next attempt begins `retryInMs` later. */
  disconnect: [{address: string; error: PortcullisError | undefined; retryInMs: number}];
}

const defaults = {
  connections: 2, timeoutMs: 2000, connectTimeoutMs: 2000, maxInFlight: 512, maxQueued: 10_000, unreachableAfterMs: 1000,
};
/** The budget's tokens that come by themselves, and the most that it holds. */
const retriesPerSecond = 10;
const retryBurst = 100;

/** Calls in flight from which on another connection is taken. */
const busy = 64;

/** What lives as long as its client, and has a connection of its own: an event stream. @internal */
export interface Dependent {
  end(): void;
  ref(): void;
  unref(): void;
}

/** One call from its caller to its answer; it may be sent more than once. */
class Call implements Request {
  id = 0;
  readonly method: string;
  readonly body: string;
  attempts = 0;
  connection: Connection | undefined;
  timer: NodeJS.Timeout | undefined;
  signal: AbortSignal | undefined;
  onAbort: (() => void) | undefined;
  settled = false;
  queued = false;
  /** It was written to a connection at least once, the last time then (performance.now()). */
  sent = false;
  sentAt = 0;
  deadline: number;

  constructor(private readonly engine: Engine, method: string, body: string, deadline: number, readonly convert: ((result: unknown) => unknown) | undefined,
    readonly resolve: (result: unknown) => void, readonly reject: (reason: unknown) => void) {
    this.method = method;
    this.body = body;
    this.deadline = deadline;
  }

  replied(result: unknown, error: WireError | undefined): void { this.engine.replied(this, result, error); }
  lost(reason: PortcullisError): void { this.engine.lost(this, reason); }
}

/** The options with their defaults, checked. */
interface Settings {
  addresses: Address[];
  tls: TlsOptions;
  token: (() => string | undefined | Promise<string | undefined>) | undefined;
  connections: number;
  timeoutMs: number;
  connectTimeoutMs: number;
  maxInFlight: number;
  maxQueued: number;
  unreachableAfterMs: number;
  baseMs: number;
  capMs: number;
  attempts: number;
  ratio: number;
}

function settingsOf(options: ClientOptions): Settings {
  const number = (name: string, value: number | undefined, otherwise: number, least: number, most: number): number => {
    if (value === undefined) return otherwise;
    if (!Number.isFinite(value) || value < least || value > most) throw new RangeError(`${name} is ${least}..${most}, not ${value}`);
    return value;
  };
  const texts = typeof options.address === 'string' ? [options.address] : [...options.address ?? ['127.0.0.1:7420']];
  if (texts.length === 0) throw new TypeError('address: at least one is needed');
  const addresses = texts.map((each) => parseAddress(each, options.tls !== undefined && options.tls !== false));
  if (options.order !== 'given') shuffle(addresses);
  const token = options.token;
  return {
    addresses,
    tls: typeof options.tls === 'object' ? options.tls : {},
    token: typeof token === 'string' ? () => token : token,
    connections: number('connections', options.connections, defaults.connections, 1, 64),
    timeoutMs: number('timeoutMs', options.timeoutMs, defaults.timeoutMs, 1, 3_600_000),
    connectTimeoutMs: number('connectTimeoutMs', options.connectTimeoutMs, defaults.connectTimeoutMs, 1, 3_600_000),
    maxInFlight: number('maxInFlight', options.maxInFlight, defaults.maxInFlight, 1, 1024),
    maxQueued: number('maxQueued', options.maxQueued, defaults.maxQueued, 0, 10_000_000),
    unreachableAfterMs: number('unreachableAfterMs', options.unreachableAfterMs, defaults.unreachableAfterMs, 0, 3_600_000),
    baseMs: number('reconnect.baseMs', options.reconnect?.baseMs, 25, 1, 60_000),
    capMs: number('reconnect.capMs', options.reconnect?.capMs, 1000, 1, 600_000),
    attempts: number('retry.attempts', options.retry?.attempts, 2, 0, 10),
    ratio: number('retry.ratio', options.retry?.ratio, 0.2, 0, 1),
  };
}

function shuffle<T>(all: T[]): void {
  for (let i = all.length - 1; i > 0; --i) {
    const j = Math.floor(Math.random() * (i + 1));
    [all[i], all[j]] = [all[j] as T, all[i] as T];
  }
}

/**
 * The engine behind `PortcullisClient`: `call` is all that the typed methods need.
 * Calls of one client that are not awaited in between may be executed in any order: they go over several connections.
 */
export class Engine extends EventEmitter<ClientEvents> {
  /** @internal */
  readonly settings: Settings;
  private ready: Connection[] = [];
  /** Calls without a connection, in their order; some may be settled meanwhile. */
  private waiting: Call[] = [];
  private waitingFrom = 0;
  /** Those of them that still wait. */
  private queued = 0;
  /** Calls that are not settled. */
  private open = 0;
  private started = false;
  private closing = false;
  /** Ends what is being connected when the client is closed. */
  private readonly ending = new AbortController();
  private referenced = true;
  private preferred = 0;
  /** Since when there is no connection, by performance.now(). */
  private alone = 0;
  /** Why the last attempt to connect failed. */
  private unreachable: PortcullisError | undefined;
  private readonly dependents = new Set<Dependent>();
  private readonly reconnects = new Set<NodeJS.Timeout>();
  private readonly budget: RetryBudget;
  private readonly counts = {calls: 0, retries: 0, timeouts: 0, connectionsLost: 0};
  private idle: (() => void) | undefined;

  constructor(options: ClientOptions = {}) {
    super();
    this.settings = settingsOf(options);
    this.budget = new RetryBudget(this.settings.ratio, retriesPerSecond, retryBurst, performance.now());
  }

  /** Begins to connect; the first call does so, too. */
  start(): void {
    if (this.started || this.closing) return;
    this.started = true;
    this.alone = performance.now();
    for (let slot = 0; slot < this.settings.connections; ++slot) void this.dial(0);
  }

  /**
   * Calls a method of the protocol with parameters as the wire has them; resolves to the `result`.
   * @throws PortcullisError
   */
  call<Result = Record<string, unknown>>(method: string, params?: object, options?: CallOptions): Promise<Result> {
    return this.ask<Result>(method, bodyOf(method, params, options), options);
  }

  /** As `call`, for a body that is text already; `convert` makes of the result what the call resolves to. @internal */
  ask<Result>(method: string, body: string, options?: CallOptions, convert?: (result: unknown) => Result): Promise<Result> {
    if (!this.started) this.start();
    ++this.counts.calls;
    this.budget.deposit();
    return new Promise<Result>((resolve, reject) => {
      const timeoutMs = options?.timeoutMs ?? this.settings.timeoutMs;
      const call = new Call(this, method, body, performance.now() + timeoutMs, convert,
        resolve as (result: unknown) => void, reject);
      if (this.closing) {
        reject(new PortcullisError('CLOSED', {method, sent: false}));
        return;
      }
      const signal = options?.signal;
      if (signal !== undefined) {
        if (signal.aborted) {
          reject(new PortcullisError('ABORTED', {method, sent: false, cause: signal.reason}));
          return;
        }
        call.signal = signal;
        call.onAbort = () => this.settle(call, new PortcullisError('ABORTED', {method, sent: call.sent, cause: signal.reason}));
        signal.addEventListener('abort', call.onAbort, {once: true});
      }
      call.timer = setTimeout(expired, timeoutMs, this, call);
      ++this.open;
      this.dispatch(call);
    });
  }

  /**
   * A connection of its own to the node that this client is at, logged in: for subscriptions. The caller closes it.
   * @internal
   */
  async dedicated(push: Push): Promise<Connection> {
    const {addresses} = this.settings;
    let reason: unknown;
    for (let i = 0; i < addresses.length; ++i) {
      const at = (this.preferred + i) % addresses.length;
      try {
        const connection = await Connection.open(addresses[at] as Address, this.settings, this.ending.signal);
        connection.onPush = push;
        return connection;
      } catch (failure) {
        reason = failure;
      }
    }
    throw reason;
  }

  /** Whether close() was called. */
  /** Has `dependent` end, and keep the process alive or not, with this client. @internal */
  attach(dependent: Dependent): void {
    this.dependents.add(dependent);
    if (!this.referenced) dependent.unref();
  }

  /** @internal */
  detach(dependent: Dependent): void { this.dependents.delete(dependent); }

  get closed(): boolean { return this.closing; }

  /** What this client does now and did since it was made. Asks nobody. */
  stats(): ClientStats {
    let inFlight = 0;
    for (const each of this.ready) inFlight += each.inFlight;
    return {
      connected: this.ready.length, inFlight, queued: this.queued, ...this.counts,
      address: this.ready[0]?.address.text, serverVersion: this.ready[0]?.serverVersion,
    };
  }

  /** Takes no new calls, waits until those that are under way are settled (at the latest at their deadlines), and closes the connections. */
  async close(): Promise<void> {
    if (this.closing) return;
    this.closing = true;
    if (this.open > 0) await new Promise<void>((done) => { this.idle = done; });
    for (const each of [...this.dependents]) each.end();
    this.ending.abort();
    for (const timer of this.reconnects) clearTimeout(timer);
    this.reconnects.clear();
    for (const each of this.ready) each.close();
    this.ready = [];
  }

  /** Lets the process end although this client is open (`unref`), or not (`ref`, the default). */
  unref(): void {
    this.referenced = false;
    for (const each of [...this.ready, ...this.dependents]) each.unref();
    for (const timer of this.reconnects) timer.unref();
  }

  /** Keeps the process alive while this client is open: undoes `unref`. */
  ref(): void {
    this.referenced = true;
    for (const each of [...this.ready, ...this.dependents]) each.ref();
    for (const timer of this.reconnects) timer.ref();
  }

  /** @internal */
  replied(call: Call, result: unknown, error: WireError | undefined): void {
    if (error !== undefined) {
      const failure = errorOfWire(error, call.method);
      if (failure.code === 'NODE_DRAINING' && call.connection) this.leave(call.connection);
      // These two were refused before anything was done.
      const again = (failure.code === 'NODE_DRAINING' || failure.code === 'OVERLOADED') && isSafe(call.method, call.body);
      if (again && this.mayRetry(call)) this.retryLater(call, failure);
      else this.settle(call, failure);
    } else {
      this.settle(call, undefined, result);
    }
    if (this.waitingFrom < this.waiting.length) this.pump();
  }

  /** @internal */
  lost(call: Call, reason: PortcullisError): void {
    if (isSafe(call.method, call.body) && this.mayRetry(call)) {
      ++this.counts.retries;
      this.dispatch(call);
      return;
    }
    this.settle(call, new PortcullisError('CONNECTION_LOST', {
      message: `${reason.message} The outcome of the call is unknown.`, method: call.method, cause: reason}));
  }

  /** @internal */
  expire(call: Call): void {
    ++this.counts.timeouts;
    const connection = call.connection;
    const sent = call.sent;
    this.settle(call, new PortcullisError('TIMEOUT', {method: call.method, sent, cause: sent ? undefined : this.unreachable}));
    // Nothing at all came since it was sent: the other side may be gone without a word, as when a machine loses power.
    if (connection && connection.heardAt < call.sentAt) void connection.probe(this.settings.timeoutMs).then(() => this.pump());
  }

  private dispatch(call: Call): void {
    const connection = this.pick();
    if (connection !== undefined) {
      this.sendOn(connection, call);
      return;
    }
    if (this.ready.length === 0 && this.unreachable && performance.now() - this.alone >= this.settings.unreachableAfterMs) {
      this.settle(call, new PortcullisError('UNREACHABLE', {method: call.method, sent: call.sent, cause: this.unreachable,
        message: `No Portcullis server can be reached: ${this.unreachable.message}`}));
      return;
    }
    if (this.queued >= this.settings.maxQueued) {
      this.settle(call, new PortcullisError('QUEUE_FULL', {method: call.method, sent: call.sent}));
      return;
    }
    // Nobody takes those out that gave up while there is no connection: at the latest when they are half of all.
    if (this.waiting.length > 2 * this.queued + 1024) {
      this.waiting = this.waiting.slice(this.waitingFrom).filter((each) => each.queued);
      this.waitingFrom = 0;
    }
    call.queued = true;
    ++this.queued;
    this.waiting.push(call);
  }

  private sendOn(connection: Connection, call: Call): void {
    ++call.attempts;
    call.connection = connection;
    call.sent = true;
    call.sentAt = performance.now();
    connection.send(call);
  }

  /** The first connection that is not busy, else the least busy one that has room: few connections mean large writes. */
  private pick(): Connection | undefined {
    let best: Connection | undefined;
    for (const connection of this.ready) {
      if (connection.over || connection.suspect) continue;
      if (connection.inFlight < Math.min(busy, this.settings.maxInFlight)) return connection;
      if (connection.inFlight < this.settings.maxInFlight && connection.inFlight < (best?.inFlight ?? Infinity)) best = connection;
    }
    return best;
  }

  /** Sends what waits, as far as there is room. */
  private pump(): void {
    while (this.waitingFrom < this.waiting.length) {
      const call = this.waiting[this.waitingFrom] as Call;
      if (!call.settled) {
        const connection = this.pick();
        if (connection === undefined) break;
        this.unqueue(call);
        this.sendOn(connection, call);
      }
      ++this.waitingFrom;
    }
    if (this.waitingFrom > 1024 || this.waitingFrom === this.waiting.length) {
      this.waiting = this.waiting.slice(this.waitingFrom);
      this.waitingFrom = 0;
    }
  }

  private settle(call: Call, failure: PortcullisError | undefined, result?: unknown): void {
    if (call.settled) return;
    call.settled = true;
    this.unqueue(call);
    clearTimeout(call.timer);
    call.signal?.removeEventListener('abort', call.onAbort as () => void);
    call.connection?.forget(call.id);
    --this.open;
    if (failure !== undefined) call.reject(failure);
    else call.resolve(call.convert === undefined ? result : call.convert(result));
    if (this.open === 0) this.idle?.();
  }

  private mayRetry(call: Call): boolean {
    return !call.settled && call.attempts <= this.settings.attempts && this.budget.withdraw(performance.now());
  }

  private retryLater(call: Call, failure: PortcullisError): void {
    const waitMs = failure.retryAfterMs ?? backoffMs(call.attempts, 10, 500, Math.random());
    if (performance.now() + waitMs >= call.deadline) {
      this.settle(call, failure);
      return;
    }
    ++this.counts.retries;
    setTimeout(() => { if (!call.settled) this.dispatch(call); }, waitMs);
  }

  /** Nothing new is sent to a node that drains; its connections end when they are empty. */
  private leave(connection: Connection): void {
    if (connection.draining) return;
    connection.draining = true;
    this.ready = this.ready.filter((each) => each !== connection);
    this.preferred = (this.settings.addresses.indexOf(connection.address) + 1) % this.settings.addresses.length;
    const onClose = connection.onClose;
    connection.onClose = undefined;
    setTimeout(() => connection.close(), this.settings.timeoutMs).unref();
    onClose?.(new PortcullisError('NODE_DRAINING'));
  }

  private async dial(attempt: number): Promise<void> {
    if (this.closing && this.open === 0) return;
    const at = this.preferred;
    const address = this.settings.addresses[at] as Address;
    let connection: Connection;
    try {
      connection = await Connection.open(address, this.settings, this.ending.signal);
    } catch (reason) {
      const failure = reason instanceof PortcullisError ? reason : new PortcullisError('UNREACHABLE', {cause: reason, message: String(reason)});
      if (this.preferred === at) this.preferred = (at + 1) % this.settings.addresses.length;
      this.unreachable = failure;
      this.again(address, failure, attempt + 1);
      return;
    }
    if (this.closing && this.open === 0) {
      connection.close();
      return;
    }
    if (!this.referenced) connection.unref();
    const readyAt = performance.now();
    connection.onClose = (reason) => {
      this.ready = this.ready.filter((each) => each !== connection);
      if (this.ready.length === 0) this.alone = performance.now();
      ++this.counts.connectionsLost;
      // One that ended as soon as it began is as bad as none.
      this.again(address, reason, performance.now() - readyAt > 1000 ? 0 : attempt + 1);
    };
    if (connection.over) {
      connection.onClose(undefined);
      return;
    }
    this.unreachable = undefined;
    this.ready.push(connection);
    this.emit('connect', {address: address.text, serverVersion: connection.serverVersion});
    this.pump();
  }

  private again(address: Address, error: PortcullisError | undefined, attempt: number): void {
    if (this.closing && this.open === 0) return;
    // Every address is tried once before the waits grow.
    const round = Math.floor(attempt / this.settings.addresses.length);
    const waitMs = backoffMs(round, this.settings.baseMs, this.settings.capMs, Math.random());
    this.emit('disconnect', {address: address.text, error, retryInMs: waitMs});
    if (this.ready.length === 0 && this.unreachable && performance.now() - this.alone >= this.settings.unreachableAfterMs) this.refuse();
    const timer = setTimeout(() => {
      this.reconnects.delete(timer);
      void this.dial(attempt);
    }, waitMs);
    if (!this.referenced) timer.unref();
    this.reconnects.add(timer);
  }

  /** Whoever waits for a connection has waited long enough. */
  private refuse(): void {
    const waiting = this.waiting.slice(this.waitingFrom);
    this.waiting = [];
    this.waitingFrom = 0;
    for (const call of waiting) {
      this.unqueue(call);
      if (!call.settled) this.dispatch(call);
    }
  }

  private unqueue(call: Call): void {
    if (!call.queued) return;
    call.queued = false;
    --this.queued;
  }
}

function expired(engine: Engine, call: Call): void { engine.expire(call); }

/** `"method":...,"params":...` of a request. */
export function bodyOf(method: string, params: object | undefined, options: CallOptions | undefined): string {
  const meta = metaOf(options);
  if (params === undefined && meta === undefined) return `"method":"${method}"`;
  return `"method":"${method}","params":${JSON.stringify(meta === undefined ? params : {...params, _meta: meta})}`;
}

/** `_meta` of a request, where there is any. */
export function metaOf(options: CallOptions | undefined): object | undefined {
  if (options?.correlationId === undefined && options?.traceparent === undefined) return undefined;
  return {correlation_id: options.correlationId, traceparent: options.traceparent};
}

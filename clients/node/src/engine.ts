// The client's engine: a few connections, a bounded queue before them, deadlines, retries of what is safe, failover.
import {EventEmitter, setMaxListeners} from 'node:events';

import type {Address} from './address.js';
import {backoffMs, RetryBudget} from './backoff.js';
import {bodyOf, depthOf} from './body.js';
import {Call} from './call.js';
import {Connection, type Push} from './connection.js';
import {errorOfWire, PortcullisError, type ErrorName, type WireError} from './errors.js';
import {settingsOf, timeoutMsMax, type CallOptions, type ClientOptions, type Settings} from './options.js';
import {isSafe} from './safety.js';

export type {CallOptions, ClientOptions} from './options.js';

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

/** The budget's tokens that come by themselves, and the most that it holds. */
const retriesPerSecond = 10;
const retryBurst = 100;

/** Calls in flight from which on another connection is taken. */
const busy = 16;
/** How long a connection on which nothing comes has for a last answer, ms. */
const probeMs = 500;
/** The server knows who asks, or speaks another protocol, and will say the same the next time. */
const refusals = new Set<ErrorName>(['AUTH_REQUIRED', 'AUTH_FAILED', 'AUTH_RATE_LIMITED', 'CERTIFICATE_REJECTED', 'TLS_REQUIRED', 'TOKEN_IN_CLEAR', 'PROTOCOL']);
/** Between two attempts after a refusal, ms: the server counts failed logins of this machine, and others on it have a right token. */
const refusedWaitMs = {least: 15_000, most: 60_000};
/** A connection ended for what a request was: it would end the next one, too. */
const poisons = new Set<ErrorName>(['VALUE_TOO_LARGE', 'NESTING_TOO_DEEP', 'PARSE_ERROR', 'INVALID_REQUEST']);

/** What lives as long as its client, and has a connection of its own: an event stream. @internal */
export interface Dependent {
  end(): void;
  ref(): void;
  unref(): void;
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
  /** Refusals since the last connection, and the slots that wait for another one to be accepted. */
  private refused = 0;
  private readonly parked: (() => void)[] = [];
  /** Connections to nodes that drain, until they are empty. */
  private readonly leaving = new Set<Connection>();
  /** Calls by their signals: one listener a signal. */
  private readonly bySignal = new WeakMap<AbortSignal, Set<Call>>();
  private closed_: Promise<void> | undefined;
  private readonly dependents = new Set<Dependent>();
  private readonly reconnects = new Set<NodeJS.Timeout>();
  private readonly budget: RetryBudget;
  private readonly counts = {calls: 0, retries: 0, timeouts: 0, connectionsLost: 0};
  private idle: (() => void) | undefined;

  constructor(options: ClientOptions = {}) {
    super();
    this.settings = settingsOf(options);
    setMaxListeners(0, this.ending.signal);
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
    let body;
    try {
      body = bodyOf(method, params, options);
      const {depthMax} = this.settings;
      if (depthOf(body, depthMax) > depthMax) {
        throw new PortcullisError('NESTING_TOO_DEEP', {method, sent: false, details: {rule: 'depth', limit: depthMax}});
      }
    } catch (failure) {
      return Promise.reject(failure as Error);  // also a TypeError for a cycle or a BigInt
    }
    return this.ask<Result>(method, body, options);
  }

  /** As `call`, for a body that is text already; `convert` makes of the result what the call resolves to. @internal */
  ask<Result>(method: string, body: string, options?: CallOptions, convert?: (result: unknown) => Result): Promise<Result> {
    if (!this.started) this.start();
    ++this.counts.calls;
    this.budget.deposit();
    return new Promise<Result>((resolve, reject) => {
      const timeoutMs = options?.timeoutMs ?? this.settings.timeoutMs;
      if (!(timeoutMs >= 1 && timeoutMs <= timeoutMsMax)) throw new RangeError(`timeoutMs is 1..${timeoutMsMax}, not ${timeoutMs}`);
      // The rest of a message, `{"jsonrpc":"2.0","id":...,`, is at most 64 bytes. The server would end the connection that all calls share.
      const {valueBytesMax} = this.settings;
      if (body.length * 3 + 64 > valueBytesMax && Buffer.byteLength(body) + 64 > valueBytesMax) {
        throw new PortcullisError('VALUE_TOO_LARGE', {method, sent: false, details: {rule: 'value_bytes', limit: valueBytesMax}});
      }
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
        this.watch(signal, call);
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

  /** Has `dependent` end, and keep the process alive or not, with this client. @internal */
  attach(dependent: Dependent): void {
    this.dependents.add(dependent);
    if (!this.referenced) dependent.unref();
  }

  /** @internal */
  detach(dependent: Dependent): void { this.dependents.delete(dependent); }

  /** Whether close() was called. */
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
  close(): Promise<void> { return this.closed_ ??= this.end(); }

  private async end(): Promise<void> {
    this.closing = true;
    if (this.open > 0) await new Promise<void>((done) => { this.idle = done; });
    for (const each of [...this.dependents]) each.end();
    this.ending.abort();
    for (const timer of this.reconnects) clearTimeout(timer);
    this.reconnects.clear();
    for (const each of [...this.ready, ...this.leaving]) each.close();
    this.ready = [];
    this.leaving.clear();
  }

  /** Lets the process end although this client is open (`unref`), or not (`ref`, the default). */
  unref(): void {
    this.referenced = false;
    for (const each of [...this.ready, ...this.leaving, ...this.dependents]) each.unref();
    for (const timer of this.reconnects) timer.unref();
  }

  /** Keeps the process alive while this client is open: undoes `unref`. */
  ref(): void {
    this.referenced = true;
    for (const each of [...this.ready, ...this.leaving, ...this.dependents]) each.ref();
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
  }

  /** @internal */
  lost(call: Call, reason: PortcullisError): void {
    if (!poisons.has(reason.code) && isSafe(call.method, call.body) && this.mayRetry(call)) {
      ++this.counts.retries;
      // When a node dies all connections to it end in the same turn: not over one that has not told yet.
      setImmediate(() => { if (!call.settled) this.dispatch(call); });
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
    if (connection && connection.heardAt < call.sentAt) void this.probe(connection);
  }

  /** Where a connection is dead its node is: the others to it are asked, too, and the next address comes first. */
  private async probe(connection: Connection): Promise<void> {
    if (connection.suspect || connection.over) return;
    await connection.probe(Math.min(probeMs, this.settings.timeoutMs));
    if (connection.over) {
      this.prefer(connection.address);
      for (const each of this.ready) if (each.address === connection.address) void this.probe(each);
    }
    this.pump();
  }

  /** Another address than this one is tried next. */
  private prefer(other: Address): void {
    const {addresses} = this.settings;
    if (addresses[this.preferred] === other) this.preferred = (this.preferred + 1) % addresses.length;
  }

  private dispatch(call: Call): void {
    const connection = this.queued === 0 ? this.pick() : undefined;
    if (connection !== undefined) {
      this.sendOn(connection, call);
      return;
    }
    if (this.ready.length === 0 && this.unreachable && this.refused >= this.settings.addresses.length) {
      const {code, message, retryAfterMs} = this.unreachable;
      this.settle(call, new PortcullisError(code, {message, retryAfterMs, method: call.method, sent: call.sent, cause: this.unreachable}));
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
      if (connection.over || connection.suspect || connection.clogged) continue;
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
    clearTimeout(call.retryTimer);
    if (call.signal !== undefined) this.bySignal.get(call.signal)?.delete(call);
    const {connection} = call;
    connection?.forget(call.id);
    --this.open;
    if (failure !== undefined) {
      call.reject(failure);
    } else {
      try {
        call.resolve(call.convert === undefined ? result : call.convert(result));
      } catch (cause) {
        call.reject(new PortcullisError('PROTOCOL', {method: call.method, cause}));
      }
    }
    if (connection?.draining === true && connection.inFlight === 0 && this.leaving.delete(connection)) connection.close();
    if (this.queued > 0) this.pump();
    if (this.open === 0) this.idle?.();
  }

  private watch(signal: AbortSignal, call: Call): void {
    call.signal = signal;
    let calls = this.bySignal.get(signal);
    if (calls === undefined) {
      const all = calls = new Set<Call>();
      this.bySignal.set(signal, all);
      signal.addEventListener('abort', () => {
        for (const each of all) this.settle(each, new PortcullisError('ABORTED', {method: each.method, sent: each.sent, cause: signal.reason}));
      }, {once: true});
    }
    calls.add(call);
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
    call.retryTimer = setTimeout(() => { if (!call.settled) this.dispatch(call); }, waitMs);
  }

  /** Nothing new is sent to a node that drains; its connections end when they are empty. */
  private leave(connection: Connection): void {
    if (connection.draining) return;
    connection.draining = true;
    this.ready = this.ready.filter((each) => each !== connection);
    this.prefer(connection.address);
    const onClose = connection.onClose;
    this.leaving.add(connection);
    connection.onClose = () => { this.leaving.delete(connection); };
    onClose?.(new PortcullisError('NODE_DRAINING'));
  }

  private async dial(attempt: number): Promise<void> {
    if (this.closing && this.open === 0) return;
    const address = this.settings.addresses[this.preferred] as Address;
    let connection: Connection;
    try {
      connection = await Connection.open(address, this.settings, this.ending.signal);
    } catch (reason) {
      const failure = reason instanceof PortcullisError ? reason : new PortcullisError('UNREACHABLE', {cause: reason, message: String(reason)});
      this.prefer(address);
      this.unreachable = failure;
      if (refusals.has(failure.code)) ++this.refused;
      else this.refused = 0;
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
    this.refused = 0;
    this.ready.push(connection);
    connection.onDrain = () => this.pump();
    this.pump();
    for (const go of this.parked.splice(0)) go();
    this.emit('connect', {address: address.text, serverVersion: connection.serverVersion});
  }

  private again(address: Address, error: PortcullisError | undefined, attempt: number): void {
    if (this.closing && this.open === 0) return;
    // Every address is tried once before the waits grow.
    const round = Math.floor(attempt / this.settings.addresses.length);
    let waitMs = backoffMs(round, this.settings.baseMs, this.settings.capMs, Math.random());
    const refused = this.refused >= this.settings.addresses.length;
    if (refused) {
      waitMs = Math.max(error?.retryAfterMs ?? 0, refusedWaitMs.least + Math.random() * (refusedWaitMs.most - refusedWaitMs.least));
    }
    const go = (): void => { void this.dial(attempt); };
    // One slot is enough to find out whether the others would be accepted.
    if (refused && this.reconnects.size > 0) {
      this.parked.push(go);
    } else {
      const timer = setTimeout(() => {
        this.reconnects.delete(timer);
        go();
      }, waitMs);
      if (!this.referenced) timer.unref();
      this.reconnects.add(timer);
    }
    const alone = this.ready.length === 0 && this.unreachable !== undefined;
    if (alone && (refused || performance.now() - this.alone >= this.settings.unreachableAfterMs)) this.refuse();
    this.emit('disconnect', {address: address.text, error, retryInMs: Math.round(waitMs)});
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

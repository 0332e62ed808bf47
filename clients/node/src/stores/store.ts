// The stores' common core, without a framework: get, set, touch and destroy of sessions whose id the framework chose, as promises.
//
// The framework's session id is the session's alias at the server, so cookies that were signed before go on working and the framework
// verifies them. One `get` is one validation, which checks the binding and counts as activity: `touch` at the end of the same request
// needs no second round trip. A session's user is fixed when it is created; an id that ended never lives again.
//
// - A request that saves a session which another request destroyed meanwhile: the write is dropped, and told by `dropped`. It is no
//   error: the response is right, and the session must stay dead (ASVS 7.4.1). Stores that set a key bring it back to life.
// - A session whose user another address or device uses (`ip_mismatch`, `fingerprint_mismatch`) is absent: the visitor may go on
//   without it and sign in again. With `saveUninitialized: false` the framework then leaves the cookie alone until they do, so that
//   whoever returns to the old network is still signed in. `locked_out` is an error (429): signing in again would not end it, and an
//   application that sees no session would send the user in circles. Both can be changed by `denials`.
// - An outage is an error (503), never an absence: an absence is a logout, and overwrites the cookie.
// - There is no `all` and no `length`. A store that hands out everybody's data is what a thief wants, and the server keeps data sealed
//   under the id of each session; it does not count a tenant's sessions.
import type {EventEmitter} from 'node:events';
import type {IncomingMessage, ServerResponse} from 'node:http';

import {isPortcullisError} from '../errors.js';
import {contextReader, type ContextOf, type ContextOptions} from '../http/context.js';
import type {PortcullisClient} from '../portcullis.js';
import type {Context, DenialReason, SessionData} from '../types.js';
import {Scope, Scopes, type Denial, type Entry} from './context.js';
import {endingOf, errorOfDenial, isTaken, surfaced} from './errors.js';
import {anonymousUser, assertAlias, isAlias, secondsLeft, snapshot, userOfSession} from './session.js';

/** The server's `limits.data_bytes`. */
const dataBytesDefault = 16_384;
/** Below the server's `limits.value_bytes`, with room for the request around the data: a larger message would end the shared connection. */
const dataBytesMost = 57_344;
/** The policy's longest lifetimes are asked again after so many ms: a reload may have changed them. */
const limitsKnownMs = 60_000;
/** Activity younger than this need not be told again. */
const touchWorthMs = 30_000;

/** A store that sessions are moved from: any express-session store. */
export interface OldStore {
  /** Gives the session, or nothing where there is none. */
  get(sid: string, callback: (error: unknown, session?: SessionData | null) => void): unknown;
  /** Ends it there. */
  destroy(sid: string, callback: (error?: unknown) => void): unknown;
}

export interface StoreOptions extends ContextOptions {
  /** Whose connections are used. The store does not close it. */
  client: Pick<PortcullisClient, 'sessions'>;
  /** 1..128 bytes: all sessions of this store are this tenant's. */
  tenantId: string;
  /**
   * The user of a session as it is saved (plain JSON). Default: `userId`, `user` (an id, or an object with `id` or `_id`), `passport.user`.
   * Without one the session is of an anonymous user of its own. Lockouts, caps and "log out everywhere" go by it: 1..256 bytes.
   */
  userOf?: (session: SessionData) => string | number | undefined | null;
  /** Seconds without activity for sessions whose cookie has no `maxAge` or `expires`. Default: the server's policy, which also is the most. */
  idleTtlS?: number;
  /** Seconds from creation. Default: the server's policy, which also is the most. */
  absoluteTtlS?: number;
  /** Whether a request counts as activity, default all do: false for what a page asks by itself, as polling, lets an idle session end. */
  touch?: (request: IncomingMessage) => boolean;
  /** The binding context of a request, instead of `trustProxy` and `fields`. */
  contextOf?: ContextOf;
  /** What a denied session is to the framework: `absent` (as if there were none) or `error`. Default: absent, but `locked_out` an error. */
  denials?: Partial<Record<'ip_mismatch' | 'fingerprint_mismatch' | 'locked_out', 'absent' | 'error'>>;
  /**
   * What happens when two requests change one session: `overwrite` (default: the last one's data stays, as with other stores) or `error`
   * (the second one's save is SESSION_VERSION_CONFLICT, 409).
   */
  concurrentSaves?: 'overwrite' | 'error';
  /** Largest session in bytes of JSON, 1..57344, default 16384. More needs a larger `limits.data_bytes` at the server. */
  dataBytesMax?: number;
  /**
   * Where sessions were until now: one that is unknown here is looked up there once, created here, bound to the request that brought it,
   * and destroyed there. Every unknown id costs a look-up there. Take it out when the old store's longest lifetime has passed.
   */
  migrateFrom?: OldStore;
}

/** What a store did since it was made. */
export interface StoreStats {
  validated: number;
  created: number;
  updated: number;
  destroyed: number;
  denied: number;
  dropped: number;
  migrated: number;
}

/** Why a save was not done, without an error. */
export interface Dropped {
  /** `destroyed`: by this request; `user_removed`: the session has no user any more, so it was ended. */
  reason: 'not_found' | 'expired' | 'revoked' | 'destroyed' | 'user_removed';
}

/** What a store emits. It never emits `disconnect`: express-session would go on without sessions. */
export interface StoreEvents {
  /** A session was not given out because of its binding, or of a lockout. */
  denied: [denial: Denial, request: IncomingMessage | undefined];
  /** A save was not done, because the session is over. */
  dropped: [dropped: Dropped, request: IncomingMessage | undefined];
}

/** A session as the framework wants it: always with a cookie. */
export type StoredSession = SessionData & {cookie: object};

/** The core of a store. @internal */
export class StoreCore {
  readonly scopes: Scopes;
  readonly counts: StoreStats = {validated: 0, created: 0, updated: 0, destroyed: 0, denied: 0, dropped: 0, migrated: 0};
  private readonly contextOf: ContextOf;
  private readonly dataBytesMax: number;
  private readonly denials: Record<string, 'absent' | 'error' | undefined>;
  private readonly limits: Partial<Record<'idle_ttl_s' | 'absolute_ttl_s', {seconds: number; untilMs: number}>> = {};

  /**
   * @param words what advice to the application is made of
   * @throws TypeError or RangeError that names the option
   */
  constructor(private readonly options: StoreOptions, private readonly events: Pick<EventEmitter, 'emit'>,
    private readonly words: {advice: string; generator: string; regenerate: string}) {
    if (typeof options?.client?.sessions?.validate !== 'function') throw new TypeError('client: a PortcullisClient is needed');
    if (typeof options.tenantId !== 'string' || options.tenantId === '') throw new TypeError('tenantId: 1..128 bytes of text are needed');
    if (Buffer.byteLength(options.tenantId) > 128) throw new RangeError('tenantId: at most 128 bytes');
    this.dataBytesMax = whole('dataBytesMax', options.dataBytesMax, dataBytesMost) ?? dataBytesDefault;
    whole('idleTtlS', options.idleTtlS, Number.MAX_SAFE_INTEGER);
    whole('absoluteTtlS', options.absoluteTtlS, Number.MAX_SAFE_INTEGER);
    oneOf('concurrentSaves', options.concurrentSaves, ['overwrite', 'error']);
    for (const [reason, answer] of Object.entries(options.denials ?? {})) {
      if (!['ip_mismatch', 'fingerprint_mismatch', 'locked_out'].includes(reason)) throw new TypeError(`denials: there is no "${reason}"`);
      oneOf(`denials.${reason}`, answer, ['absent', 'error']);
    }
    this.denials = {locked_out: 'error', ...options.denials};
    this.contextOf = options.contextOf ?? contextReader(options);
    this.scopes = new Scopes(words.advice);
  }

  /** The scope of a request, made anew. */
  open(request: IncomingMessage, response: ServerResponse | undefined): Scope {
    return this.scopes.open(this.contextOf(request), this.options.touch?.(request) !== false, request, response);
  }

  /** Runs outside of a request, in a context that the caller knows. */
  withContext<T>(context: Context, work: () => T): T { return this.scopes.run(new Scope(context, true, undefined, undefined), work); }

  /** The session; null where there is none, it ended, or it is another's by its binding. */
  async get(sid: string, request?: unknown): Promise<StoredSession | null> {
    const scope = this.scopes.current(request);
    if (!isAlias(sid)) return null;
    const entry = scope.entry(sid);
    if (entry.successor !== undefined) return this.get(entry.successor, request);
    if (entry.tail !== undefined) await entry.tail.catch(() => {});  // a reload sees what this request saved
    if (entry.pending !== undefined) return structuredClone(entry.pending) as StoredSession;
    const found = await this.validate(sid, scope, entry, scope.touch);
    if (found !== 'not_found' || this.options.migrateFrom === undefined) return typeof found === 'string' ? null : found;
    return this.migrate(this.options.migrateFrom, sid, scope, entry);
  }

  /**
   * Creates or replaces the session. Resolves also where the session is over and the write was dropped.
   * @param reissue where the session's user changed: gives the request a new id, or undefined where that cannot be done any more
   */
  async set(sid: string, session: object, request?: unknown, reissue?: (scope: Scope) => string | undefined): Promise<void> {
    const secondsToLive = secondsLeft((session as {cookie?: unknown}).cookie, Date.now());
    if (secondsToLive !== undefined && secondsToLive <= 0) return this.destroy(sid, request);
    const scope = this.scopes.current(request);
    const successor = scope.entries.get(sid)?.successor;
    if (successor !== undefined) return this.set(successor, session, request, reissue);
    assertAlias(sid, this.words.generator);
    const data = snapshot(session, this.dataBytesMax);
    const userId = this.userOf(data);
    const entry = scope.entry(sid);
    if (scope.defers && userId === undefined && entry.state === 'new' && entry.tail === undefined) {
      entry.pending = data;
      return;
    }
    entry.pending = undefined;
    if (userId !== undefined && entry.state === 'live' && entry.userId !== userId) {
      entry.successor = reissue?.(scope);
      if (entry.successor !== undefined) {
        await this.set(entry.successor, data, request);
        await this.inTurn(entry, () => this.revoke(sid));
        return;
      }
    }
    await this.inTurn(entry, () => this.save({sid, scope, entry, data, userId, idleTtlS: secondsToLive ?? this.options.idleTtlS}));
  }

  /** Creates what was put off, now that the response is sent: as the request's session is now, or as it was saved. */
  async settle(scope: Scope, sid: string | undefined, session: object | undefined): Promise<void> {
    scope.defers = false;
    for (const [each, {pending}] of scope.entries) {
      if (pending !== undefined) await this.scopes.run(scope, () => this.set(each, each === sid && session !== undefined ? session : pending));
    }
  }

  /** Counts as activity, unless this request's `get` did so just now or must not. A session that is over is no error. */
  async touch(sid: string, request?: unknown): Promise<void> {
    const scope = this.scopes.current(request);
    const entry = scope.entry(sid);
    if (entry.successor !== undefined) return this.touch(entry.successor, request);
    if (!scope.touch || !isAlias(sid) || entry.state === 'ended') return;
    if (entry.state === 'live' && performance.now() - entry.seenAt < touchWorthMs) return;
    await this.validate(sid, scope, entry, true);
  }

  /** Ends the session. An id that is unknown, or over, is no error. Needs no context. */
  async destroy(sid: string, request?: unknown): Promise<void> {
    if (!isAlias(sid)) return;
    const entry = this.scopes.find(request)?.entry(sid);
    if (entry === undefined) return this.revoke(sid);
    if (entry.successor !== undefined) await this.destroy(entry.successor, request);
    return this.inTurn(entry, () => {
      // Also where it cannot be reached: what was to be destroyed is not saved by this request any more.
      entry.state = 'ended';
      entry.pending = undefined;
      return this.revoke(sid);
    });
  }

  /** Ends all sessions of the tenant, of other stores too. Needs a token of role admin. */
  async clear(): Promise<void> {
    await calling(this.options.client.sessions.revokeTenant({tenantId: this.options.tenantId}));
  }

  /** The user of a session that is to be saved; undefined: nobody has signed in. */
  userOf(data: SessionData): string | undefined {
    const user = (this.options.userOf ?? userOfSession)(data);
    return user === undefined || user === null || user === '' ? undefined : String(user);
  }

  private async validate(sid: string, scope: Scope, entry: Entry, touch: boolean): Promise<StoredSession | DenialReason> {
    ++this.counts.validated;
    let answer;
    try {
      answer = await this.options.client.sessions.validate({alias: sid, tenantId: this.options.tenantId, context: scope.context,
        touch: touch ? undefined : false});
    } catch (error) {
      throw surfaced(error);
    }
    if (answer.valid) {
      entry.state = 'live';
      entry.userId = answer.userId;
      entry.version = answer.version;
      entry.seenAt = performance.now();
      const data = answer.data ?? {};
      // One that was not made by a framework has none, and a framework cannot do without.
      if (typeof data.cookie !== 'object' || data.cookie === null) data.cookie = {originalMaxAge: null};
      return data as StoredSession;
    }
    const {reason} = answer;
    if (reason === 'not_found') return reason;
    if (reason === 'expired' || reason === 'revoked') {
      entry.state = 'ended';
      return reason;
    }
    const denial = {reason, retryAfterMs: answer.retryAfterMs};
    scope.denial = denial;
    ++this.counts.denied;
    this.events.emit('denied', denial, scope.request);
    if (this.denials[reason] === 'error') throw errorOfDenial(denial);
    return reason;
  }

  private async save(write: Write): Promise<void> {
    const {sid, scope, entry, data, userId} = write;
    if (entry.state === 'ended') return this.drop(scope, 'destroyed');
    if (entry.state === 'new') {
      if (await this.create(write)) return;
      const found = await this.validate(sid, scope, entry, scope.touch);
      if (typeof found === 'string') {
        if (found !== 'not_found' && found !== 'expired' && found !== 'revoked') throw errorOfDenial({reason: found, retryAfterMs: undefined});
        return this.drop(scope, found);
      }
    }
    if (entry.userId !== (userId ?? anonymousUser(sid))) {
      if (userId !== undefined) throw new TypeError(this.words.regenerate);
      // The application signed the user out and kept the id. To go on with it would keep the user's session alive (ASVS 7.4.1).
      entry.state = 'ended';
      await this.revoke(sid);
      return this.drop(scope, 'user_removed');
    }
    try {
      const {version} = await this.options.client.sessions.update({alias: sid, tenantId: this.options.tenantId, context: scope.context, data,
        version: this.options.concurrentSaves === 'error' ? entry.version : undefined});
      ++this.counts.updated;
      entry.version = version;
    } catch (error) {
      const ending = endingOf(error);
      if (ending === undefined) throw surfaced(error);
      entry.state = 'ended';
      this.drop(scope, ending);
    }
  }

  /** False: the id is taken. */
  private async create({sid, scope, entry, data, userId, idleTtlS}: Write): Promise<boolean> {
    const owner = userId ?? anonymousUser(sid);
    for (let attempt = 0; ; ++attempt) {
      try {
        const {version} = await this.options.client.sessions.create({tenantId: this.options.tenantId, userId: owner, alias: sid,
          context: scope.context, data, idleTtlS: this.withinPolicy('idle_ttl_s', idleTtlS),
          absoluteTtlS: this.withinPolicy('absolute_ttl_s', this.options.absoluteTtlS)});
        ++this.counts.created;
        Object.assign(entry, {state: 'live', userId: owner, version, seenAt: performance.now()} satisfies Partial<Entry>);
        return true;
      } catch (error) {
        if (isTaken(error)) return false;
        // Once for each of the two lifetimes.
        if (attempt < 2 && this.learnLimit(error)) continue;
        throw surfaced(error);
      }
    }
  }

  /** A longer lifetime than the policy's is the policy's: cookies often live longer than their sessions. */
  private withinPolicy(name: 'idle_ttl_s' | 'absolute_ttl_s', seconds: number | undefined): number | undefined {
    const limit = this.limits[name];
    if (seconds === undefined || limit === undefined || limit.untilMs <= performance.now()) return seconds;
    return Math.min(seconds, limit.seconds);
  }

  private learnLimit(error: unknown): boolean {
    if (!isPortcullisError(error, 'TTL_OUT_OF_RANGE')) return false;
    const {field, limit} = error.details ?? {};
    if ((field !== 'idle_ttl_s' && field !== 'absolute_ttl_s') || limit === undefined) return false;
    this.limits[field] = {seconds: limit, untilMs: performance.now() + limitsKnownMs};
    return true;
  }

  private async migrate(old: OldStore, sid: string, scope: Scope, entry: Entry): Promise<StoredSession | null> {
    const session = await new Promise<SessionData | null | undefined>((resolve, reject) => {
      void old.get(sid, (error, found) => error ? reject(error) : resolve(found));
    });
    if (session !== undefined && session !== null) {
      const data = snapshot(session, this.dataBytesMax);
      const write: Write = {sid, scope, entry, data, userId: this.userOf(data),
        idleTtlS: secondsLeft(data.cookie, Date.now()) ?? this.options.idleTtlS};
      if (write.idleTtlS === undefined || write.idleTtlS > 0) {
        // Created before it is destroyed there: between the two another request of the visitor finds it in both places, never in none.
        const created = await this.create(write);
        if (created) ++this.counts.migrated;
        await new Promise<void>((resolve, reject) => { void old.destroy(sid, (error) => error ? reject(error) : resolve()); });
        if (created) return data as StoredSession;
      }
    }
    // Another request may have moved it since the first look.
    const found = await this.validate(sid, scope, entry, scope.touch);
    return typeof found === 'string' ? null : found;
  }

  private async revoke(sid: string): Promise<void> {
    await calling(this.options.client.sessions.revoke({alias: sid, tenantId: this.options.tenantId}));
    ++this.counts.destroyed;
  }

  private drop(scope: Scope, reason: Dropped['reason']): void {
    ++this.counts.dropped;
    this.events.emit('dropped', {reason}, scope.request);
  }

  /** Writes of one request are done one after the other: calls that are not awaited may overtake each other on several connections. */
  private inTurn(entry: Entry, work: () => Promise<void>): Promise<void> {
    const mine = entry.tail === undefined ? work() : entry.tail.then(work, work);
    const done = mine.finally(() => { if (entry.tail === done) entry.tail = undefined; });
    entry.tail = done;
    return done as Promise<void>;
  }
}

interface Write {
  sid: string;
  scope: Scope;
  entry: Entry;
  data: SessionData;
  userId: string | undefined;
  idleTtlS: number | undefined;
}

async function calling<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw surfaced(error);
  }
}

/** Calls back outside of the promise: what the callback throws is its own, and it is not called a second time. */
export function deliver<T>(work: Promise<T>, callback: ((error: unknown, result?: T) => void) | undefined): Promise<T> | undefined {
  if (callback === undefined) return work;
  work.then((result) => queueMicrotask(() => callback(null, result)), (error: unknown) => queueMicrotask(() => callback(error)));
  return undefined;
}

function whole(name: string, value: number | undefined, most: number): number | undefined {
  if (value === undefined) return undefined;
  if (!Number.isSafeInteger(value) || value < 1 || value > most) throw new RangeError(`${name} is a whole number, 1..${most}, not ${value}`);
  return value;
}

function oneOf(name: string, value: string | undefined, among: readonly string[]): void {
  if (value !== undefined && !among.includes(value)) throw new TypeError(`${name} is ${among.join(' or ')}, not ${value}`);
}

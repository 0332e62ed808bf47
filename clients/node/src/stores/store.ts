// The stores' common core, without a framework: get, set, touch and destroy of sessions whose id the framework chose, as promises.
//
// The framework's session id is the session's alias at the server, so cookies that were signed before go on working and the framework
// verifies them. One `get` is one validation, which checks the binding and counts as activity: `touch` at the end of the same request
// needs a second round trip only where the cookie's end is to be written down. A session's user is fixed when it is created; an id that
// ended never lives again.
//
// A session's lifetime may change (a cookie's `maxAge`), the server's is fixed at creation. Sessions are therefore created with the policy's
// idle time, which bounds them, and one whose cookie, as it was last saved, is over is ended when it is read.
//
// - A request that saves a session which another request destroyed meanwhile: the write is dropped, and told by `dropped`. It is no
//   error: the response is right, and the session must stay dead (ASVS 7.4.1). Stores that set a key bring it back to life.
// - A session whose user another address or device uses (`ip_mismatch`, `fingerprint_mismatch`) is absent: the visitor may go on
//   without it and sign in again. With `saveUninitialized: false` the framework then leaves the cookie alone until they do: whoever returns
//   to the old network is still signed in, unless ten requests (`lockout.threshold`; one page can be that many) came from the new one: each
//   is a failed attempt, and locks the user out. `lockout.repeat_collapse_s` and `session.ip_binding` of the server change that.
//   `locked_out` is an error (429): signing in again would not end it, and an application that sees no session would send the user in
//   circles. Both can be changed by `denials`.
// - An outage is an error (503), never an absence: an absence is a logout, and overwrites the cookie.
// - There is no `all` and no `length`. A store that hands out everybody's data is what a thief wants, and the server keeps data sealed
//   under the id of each session; it does not count a tenant's sessions.
import type {EventEmitter} from 'node:events';
import type {IncomingMessage, ServerResponse} from 'node:http';

import {isPortcullisError} from '../errors.js';
import {contextReader, type ContextOf} from '../http/context.js';
import type {Context, DenialReason, SessionData} from '../types.js';
import {Scope, Scopes, type Entry, type Reissue} from './context.js';
import {endingOf, errorOfDenial, isTaken, surfaced} from './errors.js';
import {Migration} from './migrate.js';
import {checkOptions, type Dropped, type Failure, type StoreOptions, type StoreStats} from './options.js';
import {
  anonymousUser, assertAlias, compareLifetimes, contentOf, isAlias, lifetimeOf, loginKeyOf, snapshot, userOfSession,
} from './session.js';

/** The policy's longest lifetimes are asked again after so many ms: a reload may have changed them. */
const limitsKnownMs = 60_000;
/** Activity younger than this need not be told again. */
const touchWorthMs = 30_000;

/** A session as the framework wants it: always with a cookie. */
export type StoredSession = SessionData & {cookie: object};

/** The core of a store. @internal */
export class StoreCore {
  readonly scopes: Scopes;
  readonly counts: StoreStats = {validated: 0, created: 0, updated: 0, destroyed: 0, denied: 0, dropped: 0, migrated: 0};
  private readonly contextOf: ContextOf;
  private readonly dataBytesMax: number;
  private readonly denials: Record<string, 'absent' | 'error' | undefined>;
  private readonly migration: Migration | undefined;
  private warned = false;
  private readonly limits: Partial<Record<'idle_ttl_s' | 'absolute_ttl_s', {seconds: number; untilMs: number}>> = {};

  /**
   * @param words what advice to the application is made of
   * @throws TypeError or RangeError that names the option
   */
  constructor(private readonly options: StoreOptions, private readonly events: Pick<EventEmitter, 'emit'>,
    private readonly words: {advice: string; generator: string; regenerate: string}) {
    this.dataBytesMax = checkOptions(options);
    this.denials = {locked_out: 'error', ...options.denials};
    this.contextOf = options.contextOf ?? contextReader(options);
    this.scopes = new Scopes(words.advice);
    this.migration = options.migrateFrom && new Migration(options.migrateFrom, (error) => this.failed('migrate_destroy', error));
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
    if (this.migration === undefined) return typeof found === 'string' ? null : found;
    if (found === 'not_found') return this.migrate(this.migration, sid, scope, entry);
    await this.migration.retry(sid);
    return typeof found === 'string' ? null : found;
  }

  /**
   * Creates or replaces the session. Resolves also where the session is over and the write was dropped.
   * @param reissue for a session whose user changed
   */
  async set(sid: string, session: object, request?: unknown, reissue?: Reissue): Promise<void> {
    const {endsAtMs} = lifetimeOf((session as {cookie?: unknown}).cookie);
    if (endsAtMs !== undefined && endsAtMs <= Date.now()) return this.destroy(sid, request);
    await this.setIn(this.scopes.current(request), sid, session, reissue);
  }

  private async setIn(scope: Scope, sid: string, session: object, reissue: Reissue | undefined): Promise<void> {
    const successor = scope.entries.get(sid)?.successor;
    if (successor !== undefined) return this.setIn(scope, successor, session, reissue);
    assertAlias(sid, this.words.generator);
    const data = snapshot(session, this.dataBytesMax);
    const userId = this.userOf(data);
    const entry = scope.entry(sid);
    if (scope.defers && userId === undefined && entry.state === 'new' && entry.tail === undefined) {
      entry.pending = data;
      return;
    }
    entry.pending = undefined;
    await this.inTurn(entry, () => this.save({sid, scope, entry, data, userId, reissue}));
  }

  /** Creates what was put off, now that the response is sent: as the request's session is now, or as it was saved. */
  async settle(scope: Scope, sid: string | undefined, session: object | undefined): Promise<void> {
    scope.defers = false;
    for (const [each, {pending}] of scope.entries) {
      if (pending !== undefined) await this.setIn(scope, each, each === sid && session !== undefined ? session : pending, undefined);
    }
  }

  /** Whether `session`, saved now, would need another id. */
  needsReissue(scope: Scope, sid: string, session: object): boolean {
    const entry = scope.entries.get(sid);
    if (entry === undefined || entry.state !== 'live' || entry.successor !== undefined || scope.reissueFailed) return false;
    try {
      const userId = this.userOf(snapshot(session, this.dataBytesMax));
      return userId !== undefined && userId !== entry.userId;
    } catch {
      return false;  // the save will say what is wrong with it
    }
  }

  /**
   * Counts as activity, unless this request's `get` did so just now or must not. A lifetime that the application changed, or that was
   * renewed long enough, is written down. A session that is over is no error.
   */
  async touch(sid: string, session: object | undefined, request?: unknown): Promise<void> {
    const scope = this.scopes.current(request);
    const entry = scope.entry(sid);
    if (entry.successor !== undefined) return this.touch(entry.successor, session, request);
    if (!isAlias(sid) || entry.state === 'ended') return;
    if (entry.state === 'live' && session !== undefined) {
      const lifetime = compareLifetimes(entry.lifetime, lifetimeOf((session as {cookie?: unknown}).cookie));
      if (lifetime === 'changed' || (lifetime === 'renewed' && scope.touch)) {
        const data = snapshot(session, this.dataBytesMax);
        if ((this.userOf(data) ?? anonymousUser(sid)) !== entry.userId) return;  // what changes a user is a save
        // Of a session that another request changed meanwhile nothing is overwritten: that one wrote its own lifetime.
        return this.inTurn(entry, async () => { await this.update(sid, scope, entry, data, entry.version); });
      }
    }
    if (!scope.touch || (entry.state === 'live' && performance.now() - entry.seenAt < touchWorthMs)) return;
    await this.validate(sid, scope, entry, true);
  }

  /** Ends the session. An id that is unknown, or over, is no error. Needs no context. */
  async destroy(sid: string, request?: unknown): Promise<void> {
    if (!isAlias(sid)) return;
    const scope = this.scopes.find(request);
    await (scope === undefined ? this.end(sid) : this.destroyIn(scope, sid));
  }

  private destroyIn(scope: Scope, sid: string): Promise<void> {
    const entry = scope.entry(sid);
    return this.inTurn(entry, () => {
      // Where another id took its place, its own is ended already.
      if (entry.successor !== undefined) return this.destroyIn(scope, entry.successor);
      const isHere = entry.state === 'live';
      // Also where it cannot be reached: what was to be destroyed is not saved by this request any more.
      entry.state = 'ended';
      entry.pending = undefined;
      return isHere ? this.endHere(sid) : this.end(sid);
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
      this.remember(scope, entry, data);
      const {endsAtMs} = entry.lifetime;
      if (endsAtMs === undefined || endsAtMs > Date.now()) return data as StoredSession;
      entry.state = 'ended';
      // Where that fails it is found to be over again by whoever brings it.
      await this.endHere(sid).catch(() => {});
      return 'expired';
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
    if (entry.successor !== undefined) return this.setIn(scope, entry.successor, data, write.reissue);
    if (entry.state === 'ended') return this.drop(scope, 'destroyed');
    if (entry.state === 'new') {
      if (userId === undefined) this.warnOfLogin(data);
      if (await this.create(write)) return;
      const found = await this.validate(sid, scope, entry, scope.touch);
      if (typeof found === 'string') {
        if (found !== 'not_found' && found !== 'expired' && found !== 'revoked') throw errorOfDenial({reason: found, retryAfterMs: undefined});
        return this.drop(scope, found);
      }
    }
    if (entry.userId !== (userId ?? anonymousUser(sid))) {
      if (userId !== undefined) return this.changeUser(write);
      // The application signed the user out and kept the id. To go on with it would keep the user's session alive (ASVS 7.4.1).
      entry.state = 'ended';
      await this.endHere(sid);
      return this.drop(scope, 'user_removed');
    }
    if (userId === undefined) this.warnOfLogin(data);
    // A framework that saves at each request would make activity of what is to be none.
    if (!scope.touch && entry.content === contentOf(data) && compareLifetimes(entry.lifetime, lifetimeOf(data.cookie)) !== 'changed') return;
    const strict = this.options.concurrentSaves === 'error';
    const conflict = await this.update(sid, scope, entry, data, strict ? entry.version : undefined);
    if (conflict === undefined) return;
    // Only its lifetime may have been renewed, by another request that changed nothing.
    const {version, content} = entry;
    const found = await this.validate(sid, scope, entry, false);
    if (typeof found === 'string' || content === undefined || entry.content !== content) {
      Object.assign(entry, {version, content});
      throw conflict;
    }
    const again = await this.update(sid, scope, entry, data, entry.version);
    if (again !== undefined) throw again;
  }

  /** Replaces what the server has. Gives the error where it has another version. A session that is over: the write is dropped. */
  private async update(sid: string, scope: Scope, entry: Entry, data: SessionData, version: number | undefined): Promise<unknown> {
    if (entry.state === 'ended') return undefined;
    try {
      const answer = await this.options.client.sessions.update({alias: sid, tenantId: this.options.tenantId, context: scope.context, data, version});
      ++this.counts.updated;
      entry.version = answer.version;
      this.remember(scope, entry, data);
    } catch (error) {
      if (isPortcullisError(error, 'SESSION_VERSION_CONFLICT')) return surfaced(error);
      const ending = endingOf(error);
      if (ending === undefined) throw surfaced(error);
      entry.state = 'ended';
      this.drop(scope, ending);
    }
    return undefined;
  }

  /** The session goes on under another id; the old one is ended when that exists, so that an outage takes neither. */
  private async changeUser({sid, scope, entry, data, reissue}: Write): Promise<void> {
    if (reissue?.isTold) return;
    const successor = reissue?.begin();
    if (successor === undefined) throw new TypeError(this.words.regenerate);
    try {
      await this.setIn(scope, successor, data, undefined);
    } catch (error) {
      scope.reissueFailed = true;
      throw error;
    }
    scope.reissueFailed = false;
    entry.successor = successor;
    reissue?.commit(successor);
    await this.endHere(sid);
  }

  private remember(scope: Scope, entry: Entry, data: SessionData): void {
    entry.lifetime = lifetimeOf(data.cookie);
    if (!scope.touch || this.options.concurrentSaves === 'error') entry.content = contentOf(data);
  }

  private warnOfLogin(data: SessionData): void {
    if (this.warned || this.options.userOf !== undefined) return;
    const key = loginKeyOf(data);
    if (key === undefined) return;
    this.warned = true;
    process.emitWarning(`Sessions with "${key}" are saved as of anonymous users: the store takes a session's user from userId, user ` +
      '(an id, or with id or _id) or passport.user. If that is the login, name it in the option userOf of PortcullisStore: lockouts, caps, ' +
      'revokeUser and the refusal of session fixation go by it. If not, give a userOf that says so.', {code: 'PORTCULLIS_SESSION_USER'});
  }

  /** False: the id is taken. */
  private async create({sid, scope, entry, data, userId}: Pick<Write, 'sid' | 'scope' | 'entry' | 'data' | 'userId'>): Promise<boolean> {
    const owner = userId ?? anonymousUser(sid);
    for (let attempt = 0; ; ++attempt) {
      try {
        const {version} = await this.options.client.sessions.create({tenantId: this.options.tenantId, userId: owner, alias: sid,
          context: scope.context, data, idleTtlS: this.withinPolicy('idle_ttl_s', this.options.idleTtlS),
          absoluteTtlS: this.withinPolicy('absolute_ttl_s', this.options.absoluteTtlS)});
        ++this.counts.created;
        Object.assign(entry, {state: 'live', userId: owner, version, seenAt: performance.now()} satisfies Partial<Entry>);
        this.remember(scope, entry, data);
        return true;
      } catch (error) {
        if (isTaken(error)) return false;
        // Once for each of the two lifetimes.
        if (attempt < 2 && this.learnLimit(error)) continue;
        throw surfaced(error);
      }
    }
  }

  /** A longer lifetime than the policy's is the policy's. */
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

  private async migrate(migration: Migration, sid: string, scope: Scope, entry: Entry): Promise<StoredSession | null> {
    const session = await migration.get(sid);
    if (session !== undefined && session !== null) {
      let data;
      try {
        data = snapshot(session, this.dataBytesMax);
      } catch (error) {
        this.failed('migrate', error);
        return null;
      }
      const {cookie} = data as {cookie?: {expires?: unknown}};
      const {endsAtMs, maxAgeMs} = lifetimeOf(cookie);
      // Stores as connect-redis move their own expiry at each activity, and not the cookie's that they keep: that they gave it says enough.
      if (cookie && endsAtMs !== undefined && maxAgeMs !== undefined) cookie.expires = new Date(Date.now() + maxAgeMs).toISOString();
      if (endsAtMs === undefined || maxAgeMs !== undefined || endsAtMs > Date.now()) {
        // Created before it is destroyed there: between the two another request of the visitor finds it in both places, never in none.
        const created = await this.create({sid, scope, entry, data, userId: this.userOf(data)});
        if (created) ++this.counts.migrated;
        await migration.remove(sid);
        if (created) return data as StoredSession;
      }
    }
    // Another request may have moved it since the first look.
    const found = await this.validate(sid, scope, entry, scope.touch);
    return typeof found === 'string' ? null : found;
  }

  /** Ends a session that may be in the old store still. */
  private async end(sid: string): Promise<void> {
    if (this.migration === undefined) return this.endHere(sid);
    const {sessions} = this.options.client;
    await this.migration.end(sid, {
      revoke: () => this.revoke(sid),
      occupy: async () => {
        try {
          await sessions.create({tenantId: this.options.tenantId, userId: anonymousUser(sid), alias: sid, context: {ip: '0.0.0.0'}});
        } catch (error) {
          if (!isTaken(error)) throw surfaced(error);
        }
      },
    });
    ++this.counts.destroyed;
  }

  /** Ends a session that is here; a copy that its move may have left in the old store goes with it. */
  private async endHere(sid: string): Promise<void> {
    await this.revoke(sid);
    await this.migration?.remove(sid);
    ++this.counts.destroyed;
  }

  private async revoke(sid: string): Promise<number> {
    return (await calling(this.options.client.sessions.revoke({alias: sid, tenantId: this.options.tenantId}))).revoked;
  }

  /** A failure that no request is told of. */
  failed(what: Failure['what'], error: unknown): void { this.events.emit('failed', {what, error}); }

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
  reissue: Reissue | undefined;
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

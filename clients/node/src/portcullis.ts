// The typed face of the client: one method for each of the protocol's.
import {metaOf} from './body.js';
import {Engine, type CallOptions, type ClientOptions} from './engine.js';
import {EventStream, type SubscribeOptions} from './events.js';
import type * as t from './types.js';
import {contextToWire, createdFromWire, fromWire, keyToWire, toWire, validationFromWire, validationToWire} from './wire.js';

/** Methods of `session.*`. All reject with PortcullisError, but for a TypeError or RangeError where the caller's code is wrong. */
export class Sessions {
  /** @internal */
  constructor(private readonly engine: Engine) {}

  /** Creates a session that is bound to its context. Allowed while the user is locked out. Never retried: it may have been done. */
  async create(session: t.CreateSession, options?: CallOptions): Promise<t.CreatedSession> {
    return createdFromWire(await this.engine.call('session.create', {...toWire(session), context: contextToWire(session.context)}, options));
  }

  /**
   * Whether the session is valid in this context. A denial is a result, not an error. `touch: false` does not count as activity.
   * Sent again when a connection is lost: a mismatch may then count twice.
   */
  validate<Data = t.SessionData>(key: t.SessionKey & {context: t.Context; touch?: boolean | undefined}, options?: CallOptions):
    Promise<t.ValidSession<Data> | t.DeniedSession> {
    let params;
    try {
      params = validationToWire(key, key.context, key.touch, options && metaOf(options));
    } catch (failure) {
      return Promise.reject(failure as Error);  // no context, as JavaScript may call it
    }
    return this.engine.ask('session.validate', `"method":"session.validate","params":${params}`, options, validationFromWire<Data>);
  }

  /** Replaces `data`. With `version`: SESSION_VERSION_CONFLICT when it is not the current one. The context is checked: SESSION_IP_MISMATCH, ... */
  async update(key: t.SessionKey & {context: t.Context; data: t.SessionData; version?: number | undefined}, options?: CallOptions):
    Promise<{version: number}> {
    return this.engine.call('session.update', {...keyToWire(key), context: contextToWire(key.context), data: key.data, version: key.version}, options);
  }

  /**
   * A new id for the same session. `grace: false` ends every earlier id at once: at login and at a change of privileges (ASVS 7.2.4).
   * With grace (default) the old id is good for a while, and rotating it again gives the same successor.
   */
  async rotate(key: t.SessionKey & {context: t.Context; grace?: boolean | undefined}, options?: CallOptions): Promise<t.CreatedSession> {
    return createdFromWire(await this.engine.call('session.rotate', {...keyToWire(key), context: contextToWire(key.context), grace: key.grace}, options));
  }

  /**
   * Ends a session, by id, alias or handle. 0 where there was none: that is no error. Sent again when a connection is lost: the count
   * may then be 0 for what the first one ended; the same holds for the next two.
   */
  async revoke(key: t.SessionKey | {handle: string}, options?: CallOptions): Promise<{revoked: number}> {
    return this.engine.call('session.revoke', 'handle' in key ? {handle: key.handle} : keyToWire(key), options);
  }

  /** Ends all sessions of a user, but for one where it is named: "log out everywhere else" (ASVS 7.4.3). */
  async revokeUser(user: {tenantId: string; userId: string; exceptSessionId?: string | undefined}, options?: CallOptions): Promise<{revoked: number}> {
    return this.engine.call('session.revoke_user', toWire(user), options);
  }

  /** Ends all sessions of a tenant. Role admin. */
  async revokeTenant(tenant: {tenantId: string}, options?: CallOptions): Promise<{revoked: number}> {
    return this.engine.call('session.revoke_tenant', toWire(tenant), options);
  }

  /** One page of a user's sessions, by creation. */
  async list(user: {tenantId: string; userId: string} & t.Page, options?: CallOptions): Promise<{sessions: t.ListedSession[]; cursor?: string}> {
    return fromWire(await this.engine.call('session.list', toWire(user), options));
  }

  /** One page of the sessions that were created from an address or with a user agent. Role observer. */
  async find(by: {tenantId: string; ip?: string; userAgent?: string} & t.Page, options?: CallOptions):
    Promise<{sessions: t.ListedSession[]; cursor?: string}> {
    return fromWire(await this.engine.call('session.find', toWire(by), options));
  }

  /** Of the node that answers: how many are live, and what was since its start. */
  async stats(options?: CallOptions): Promise<t.SessionStats> { return this.engine.call('session.stats', {}, options); }
}

/** Methods of `lockout.*`. */
export class Lockouts {
  /** @internal */
  constructor(private readonly engine: Engine) {}

  /** Whether a user is locked out, and how near to it. Of a user that was never seen: not locked, no attempts. */
  async status(user: {tenantId: string; userId: string}, options?: CallOptions): Promise<t.LockoutStatus> {
    return fromWire(await this.engine.call('lockout.status', toWire(user), options));
  }

  /** One page. Role observer. */
  async list(of: {tenantId?: string} & t.Page = {}, options?: CallOptions): Promise<{lockouts: t.ListedLockout[]; cursor?: string}> {
    return fromWire(await this.engine.call('lockout.list', toWire(of), options));
  }

  /** Lifts a lockout; stands in the log with the reason. Role admin. */
  async clear(user: {tenantId: string; userId: string; reason: string}, options?: CallOptions): Promise<{cleared: boolean}> {
    return this.engine.call('lockout.clear', toWire(user), options);
  }
}

/** Methods of `breaker.*`. For calls that are wrapped see `breaker()` of this package. */
export class Breakers {
  /** @internal */
  constructor(private readonly engine: Engine) {}

  /** Asks for leave to call a downstream; makes the breaker where there is none. */
  async acquire(name: t.BreakerName, options?: CallOptions): Promise<t.Acquired> {
    return fromWire(await this.engine.call('breaker.acquire', toWire(name), options));
  }

  /** Tells how one call ended. */
  async report(report: t.BreakerReport, options?: CallOptions): Promise<t.StateAndEpoch> {
    return this.engine.call('breaker.report', toWire(report), options);
  }

  /** Tells of many calls at once; the same `(source, seq)` counts once. */
  async reportBatch(batch: t.BreakerBatch, options?: CallOptions): Promise<t.StateAndEpoch & {accepted: boolean; duplicate: boolean}> {
    return this.engine.call('breaker.report_batch', toWire(batch), options);
  }

  /** Tells of a breaker that the application runs itself. */
  async observe(report: t.BreakerObservation, options?: CallOptions): Promise<{accepted: boolean; duplicate: boolean}> {
    return this.engine.call('breaker.observe', toWire(report), options);
  }

  /** @throws BREAKER_NOT_FOUND */
  async status(name: t.BreakerName, options?: CallOptions): Promise<t.BreakerStatus> {
    return fromWire(await this.engine.call('breaker.status', toWire(name), options));
  }

  /** One page, without the sources of each. Role observer. */
  async list(page: t.Page = {}, options?: CallOptions): Promise<{breakers: t.BreakerStatus[]; cursor?: string}> {
    return fromWire(await this.engine.call('breaker.list', toWire(page), options));
  }

  /** Role admin. `ttlS` is 1..31,536,000 and not taken with mode `none`. */
  async override(order: t.BreakerName & {mode: 'forced_open' | 'disabled' | 'metrics_only' | 'none'; ttlS?: number; reason: string},
    options?: CallOptions): Promise<t.StateAndEpoch> {
    return this.engine.call('breaker.override', toWire(order), options);
  }

  /** Closes it with an empty window. Role admin. */
  async reset(order: t.BreakerName & {reason: string}, options?: CallOptions): Promise<t.StateAndEpoch> {
    return this.engine.call('breaker.reset', toWire(order), options);
  }
}

/** Methods of `events.*`. */
export class Events {
  /** @internal */
  constructor(private readonly engine: Engine) {}

  /** Follows the log on a connection of its own; see EventStream. Role observer; `app` for `breaker_*` of its services. */
  subscribe(options: SubscribeOptions = {}): EventStream { return new EventStream(this.engine, options); }

  /** One page of the log. Without `after` from the oldest event on. */
  async query(query: t.EventQuery = {}, options?: CallOptions): Promise<{events: t.PortcullisEvent[]; cursor: string}> {
    return this.engine.call('events.query', toWire(query), options);
  }
}

/** Methods of `server.*`. */
export class Server {
  /** @internal */
  constructor(private readonly engine: Engine) {}

  /** Resolves when a server answers. Needs no login. */
  async ping(options?: CallOptions): Promise<void> { await this.engine.call('server.ping', undefined, options); }

  /** The server's name and version, and that of the protocol. Needs no login. */
  async version(options?: CallOptions): Promise<{name: string; version: string; protocol: number}> {
    return this.engine.call('server.version', undefined, options);
  }

  /** The node that answers: its store, its sessions, its connections. Every role. */
  /** `digest` (role admin): of all state, at `seq`; requests wait while it is taken, at most 20 s. */
  async info(options?: CallOptions & {digest?: true}): Promise<t.ServerInfo> {
    return fromWire(await this.engine.call('server.info', options?.digest === undefined ? {} : {digest: true}, options));
  }

  /** One page of the server's connections. Role admin. */
  async connections(page: t.Page = {}, options?: CallOptions): Promise<{connections: t.ServerConnection[]; cursor?: string}> {
    return fromWire(await this.engine.call('server.connections', toWire(page), options));
  }
}

/** Methods of `admin.*`, for tokens of role admin. Never retried. What they do may take longer than the client's deadline: give a longer one. */
export class Admin {
  /** @internal */
  constructor(private readonly engine: Engine) {}

  /** Reads the configuration again. CONFIG_INVALID: nothing was changed. */
  async reload(options?: CallOptions): Promise<{changed: string[]}> { return this.engine.call('admin.reload', {}, options); }

  /** Has the node answer what it has, and end. */
  async drain(options?: CallOptions): Promise<void> { await this.engine.call('admin.drain', {}, options); }

  /** Writes a backup to a path of the server's machine. */
  async backup(to: {path: string}, options?: CallOptions): Promise<{path: string; seq: number; bytes: number}> {
    return this.engine.call('admin.backup', to, options);
  }

  /** Ends a user's sessions and makes what the log has of the person unreadable, for ever. */
  async forget(user: {tenantId: string; userId: string; reason: string}, options?: CallOptions): Promise<{forgotten: boolean}> {
    return this.engine.call('admin.forget', toWire(user), options);
  }

  /** Takes a new key into use; nobody is logged out. */
  async rotateKeys(options?: CallOptions): Promise<{keys: number}> { return this.engine.call('admin.rotate_keys', {}, options); }
}

/**
 * A client of one Portcullis server or of a cluster. Connects at the first call, or at `connect()`; keeps the process alive until
 * `close()`. Emits `connect` and `disconnect`.
 *
 * ```ts
 * const portcullis = new PortcullisClient({address: '127.0.0.1:7420', token: process.env.PORTCULLIS_TOKEN});
 * const answer = await portcullis.sessions.validate({sessionId, context: {ip, userAgent}});
 * if (answer.valid) console.log(answer.userId);
 * ```
 */
export class PortcullisClient extends Engine {
  readonly sessions = new Sessions(this);
  readonly lockouts = new Lockouts(this);
  readonly breakers = new Breakers(this);
  readonly events = new Events(this);
  readonly server = new Server(this);
  readonly admin = new Admin(this);

  /** @throws TypeError or RangeError for an option that cannot be. */
  constructor(options: ClientOptions = {}) { super(options); }

  /** Resolves when a server answers; rejects at the call's deadline with the reason why none does. */
  async connect(options?: CallOptions): Promise<void> { await this.server.ping(options); }

  /** As close(): for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> { await this.close(); }
}

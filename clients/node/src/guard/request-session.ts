// Behind `req.portcullis`: the calls that a handler's wishes become, and the cookie that follows from them.
import type {CallOptions} from '../engine.js';
import {isPortcullisError} from '../errors.js';
import type {PortcullisClient} from '../portcullis.js';
import type {Context, CreatedSession, ListedSession, SessionData, Signal, ValidSession} from '../types.js';
import {clearCookie, writeCookie, type CookieSettings} from './cookie.js';
import {publicError, publicOf, saysEnded, type GuardReason} from './denial.js';
import type {ReplyPort} from './reply.js';
import type {Login} from './session.js';

/** What a request's session is made of; no field of it is reachable from outside. */
export interface RequestParts {
  client: PortcullisClient;
  cookie: CookieSettings;
  /** Name of the cookie that says when the id was made, where ids are rotated by time. */
  sinceCookie: string | undefined;
  /** More of a login's data the server is not asked to keep. */
  dataBytesMax: number;
  noStore: boolean;
  reply: ReplyPort;
  context: Context;
  call: CallOptions;
  correlationId: string;
  tenantId: string | undefined;
  /** The id that the request brought, where it has the form of one. */
  presented: string | undefined;
}

/** Pages of a user's sessions that are looked through. */
const pagesMax = 10;
const listedMax = 1000;

/** Behind GuardSession. `#` keeps the id out of logs, inspection and JSON. */
export class RequestSession {
  valid = false;
  reason: GuardReason | undefined = 'no_cookie';
  userId: string | undefined;
  tenantId: string | undefined;
  handle: string | undefined;
  data: SessionData | undefined;
  version: number | undefined;
  signals: readonly Signal[] = [];
  rotated = false;
  createdAtMs: number | undefined;
  expiresAtMs: number | undefined;
  readonly correlationId: string;
  readonly #parts: RequestParts;
  #id: string | undefined;

  constructor(parts: RequestParts) {
    this.#parts = parts;
    this.#id = parts.presented;
    this.correlationId = parts.correlationId;
  }

  /** @internal */
  accept(session: ValidSession): void {
    this.valid = true;
    this.reason = undefined;
    this.userId = session.userId;
    this.tenantId = session.tenantId;
    this.handle = session.handle;
    this.data = session.data;
    this.version = session.version;
    this.signals = session.signals;
    this.rotated = session.rotated;
    this.createdAtMs = session.createdAtMs;
    this.expiresAtMs = session.expiresAtMs;
  }

  /** @internal */
  deny(reason: GuardReason): void {
    this.valid = false;
    this.reason = reason;
    this.userId = this.tenantId = this.handle = this.data = this.version = this.createdAtMs = this.expiresAtMs = undefined;
    this.signals = [];
    this.rotated = false;
  }

  /** @internal */
  clear(): void {
    const {cookie, sinceCookie, reply} = this.#parts;
    reply.setCookie(cookie.name, clearCookie(cookie, cookie.name));
    if (sinceCookie !== undefined) reply.setCookie(sinceCookie, clearCookie(cookie, sinceCookie));
    this.#private();
    // Chromium's back/forward cache keeps pages with no-store, too: "back" after a logout showed the user's page in the test.
    if (this.#parts.noStore) reply.dropCache();
  }

  /** @internal The rotation of an id whose time has come; rejects with the engine's own error. */
  async renew(): Promise<void> {
    const {client, context, call, reply} = this.#parts;
    const made = await client.sessions.rotate({sessionId: this.#id as string, context, grace: true}, call);
    this.#adopt(made);
    // Whoever began to answer meanwhile, as after a time limit: the old id is good still, and the next request is given the same new one.
    if (!reply.headersSent) this.#handOut(made);
  }

  async login(who: Login): Promise<void> {
    const {client, context, call, tenantId} = this.#parts;
    this.#writable('login');
    if (typeof who?.userId !== 'string' || who.userId === '') throw new TypeError('login: userId is a text that is not empty');
    if (tenantId === undefined) throw new TypeError('login: the request has no tenant');
    if (who.data !== undefined) this.#fits(who.data);
    const old = this.#id;
    const plain = who.idleTtlS === undefined && who.absoluteTtlS === undefined;
    if (this.valid && this.userId === who.userId && this.tenantId === tenantId && plain && await this.#rotateAtLogin()) {
      // The id first: data that gives rights must not come to stand under the old one.
      if (who.data !== undefined) await this.save(who.data, {overwrite: true});
      return;
    }
    const made = await this.#shown(client.sessions.create({tenantId, userId: who.userId, context, data: who.data, idleTtlS: who.idleTtlS,
      absoluteTtlS: who.absoluteTtlS}, call));
    try {
      if (old !== undefined) await this.#shown(client.sessions.revoke({sessionId: old}, call));
      this.#writable('login');
    } catch (failure) {
      // Nobody was given the new id. Should this fail as well it ends by itself, unused.
      await client.sessions.revoke({sessionId: made.sessionId}, call).catch(() => undefined);
      throw failure;
    }
    this.accept({valid: true, tenantId, userId: who.userId, handle: made.handle, data: who.data, version: made.version,
      createdAtMs: made.createdAtMs, expiresAtMs: made.expiresAtMs, rotated: false, signals: []});
    this.#take(made);
  }

  async logout(): Promise<void> {
    this.#writable('logout');
    if (this.#id !== undefined) await this.#shown(this.#parts.client.sessions.revoke({sessionId: this.#id}, this.#parts.call));
    this.#gone();
  }

  async logoutEverywhere(options: {exceptCurrent?: boolean} = {}): Promise<number> {
    if (options.exceptCurrent !== true) this.#writable('logoutEverywhere');
    const {tenantId, userId} = this.#user();
    const exceptSessionId = options.exceptCurrent === true ? this.#id : undefined;
    const {revoked} = await this.#shown(this.#parts.client.sessions.revokeUser({tenantId, userId, exceptSessionId}, this.#parts.call));
    if (options.exceptCurrent !== true) this.#gone();
    return revoked;
  }

  async save(data: SessionData, options: {overwrite?: boolean} = {}): Promise<void> {
    this.#user();
    if (typeof data !== 'object' || data === null || Array.isArray(data)) throw new TypeError('save: data is an object');
    const {client, context, call} = this.#parts;
    const version = options.overwrite === true ? undefined : this.version;
    const saved = await this.#shown(client.sessions.update({sessionId: this.#id as string, context, data, version}, call));
    this.data = data;
    this.version = saved.version;
  }

  async reload(): Promise<void> {
    this.#user();
    const {client, context, call, tenantId} = this.#parts;
    const answer = await this.#shown(client.sessions.validate({sessionId: this.#id as string, context, touch: false}, call));
    if (answer.valid && answer.tenantId === tenantId) {
      this.accept(answer);
      return;
    }
    this.deny(answer.valid ? 'other_tenant' : answer.reason);
    if (!answer.valid && answer.reason === 'locked_out') throw publicOf('USER_LOCKED_OUT', this.correlationId, undefined, answer.retryAfterMs);
    throw publicOf('AUTH_REQUIRED', this.correlationId);
  }

  async rotate(options: {grace?: boolean} = {}): Promise<void> {
    this.#writable('rotate');
    this.#user();
    const {client, context, call} = this.#parts;
    this.#take(await this.#shown(client.sessions.rotate({sessionId: this.#id as string, context, grace: options.grace === true}, call)));
  }

  async list(): Promise<(ListedSession & {current: boolean})[]> {
    const all: (ListedSession & {current: boolean})[] = [];
    await this.#eachPage((sessions) => {
      for (const each of sessions) if (all.length < listedMax) all.push({...each, current: each.handle === this.handle});
      return all.length < listedMax;
    });
    return all;
  }

  async revoke(handle: string): Promise<number> {
    this.#user();
    if (handle === this.handle) {
      await this.logout();
      return 1;
    }
    // A handle is no secret and the server revokes any: that it is the user's own is to be seen here.
    let own = false;
    await this.#eachPage((sessions) => !(own = sessions.some((each) => each.handle === handle)));
    if (!own) return 0;
    return (await this.#shown(this.#parts.client.sessions.revoke({handle}, this.#parts.call))).revoked;
  }

  /** False: the session ended meanwhile, so there is none to rotate. */
  async #rotateAtLogin(): Promise<boolean> {
    const {client, context, call} = this.#parts;
    try {
      this.#take(await client.sessions.rotate({sessionId: this.#id as string, context, grace: false}, call));
      return true;
    } catch (failure) {
      // As when a login form is sent twice: the other request has rotated it, and this id counts as reused.
      if (isPortcullisError(failure) && saysEnded(failure)) return false;
      throw this.#public(failure);
    }
  }

  async #eachPage(more: (sessions: ListedSession[]) => boolean): Promise<void> {
    const {tenantId, userId} = this.#user();
    let cursor: string | undefined;
    for (let page = 0; page < pagesMax; ++page) {
      const answer = await this.#shown(this.#parts.client.sessions.list({tenantId, userId, limit: listedMax, ...(cursor !== undefined && {cursor})},
        this.#parts.call));
      cursor = answer.cursor;
      if (!more(answer.sessions) || cursor === undefined) return;
    }
  }

  /** Before anything is done: after a rotation without grace there is no way back. */
  #fits(data: SessionData): void {
    const text: unknown = JSON.stringify(data);
    // By its text: what has a toJSON, as a Date, may be an object here and none there.
    if (typeof data !== 'object' || typeof text !== 'string' || !text.startsWith('{')) throw new TypeError('login: data is an object of JSON');
    if (Buffer.byteLength(text) > this.#parts.dataBytesMax) throw publicOf('DATA_TOO_LARGE', this.correlationId);
  }

  /** The session has a new id: the cookie says so. */
  #take(made: CreatedSession): void {
    this.#adopt(made);
    this.#writable('the new session id');
    this.#handOut(made);
  }

  #adopt(made: CreatedSession): void {
    this.#id = made.sessionId;
    this.expiresAtMs = made.expiresAtMs;
    this.version = made.version;
  }

  #handOut(made: CreatedSession): void {
    const {cookie, sinceCookie, reply} = this.#parts;
    const maxAgeS = cookie.persistent ? (made.absoluteExpiresAtMs - Date.now()) / 1000 : undefined;
    reply.setCookie(cookie.name, writeCookie(cookie, cookie.name, made.sessionId, maxAgeS));
    if (sinceCookie !== undefined) reply.setCookie(sinceCookie, writeCookie(cookie, sinceCookie, String(Math.floor(Date.now() / 1000)), maxAgeS));
    this.#private();
  }

  #gone(): void {
    this.#id = undefined;
    this.deny('logged_out');
    this.clear();
  }

  #private(): void { if (this.#parts.noStore) this.#parts.reply.noStore(); }

  #writable(what: string): void {
    if (this.#parts.reply.headersSent) throw new Error(`${what}: the answer has begun, the cookie cannot be written any more`);
  }

  #user(): {tenantId: string; userId: string} {
    if (!this.valid || this.userId === undefined || this.tenantId === undefined) throw publicOf('AUTH_REQUIRED', this.correlationId);
    return {tenantId: this.tenantId, userId: this.userId};
  }

  async #shown<T>(call: Promise<T>): Promise<T> {
    try {
      return await call;
    } catch (failure) {
      throw this.#public(failure);
    }
  }

  #public(failure: unknown): unknown { return isPortcullisError(failure) ? publicError(failure, this.correlationId) : failure; }
}

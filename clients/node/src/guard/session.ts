// `req.portcullis`, as a handler sees it: what a request knows of its session, and what may be done with it.
import type {ListedSession, SessionData, Signal} from '../types.js';
import type {GuardReason} from './denial.js';

/** Who signs in. */
export interface Login<Data = SessionData> {
  /** 1..256 bytes: whom the application has just authenticated. */
  userId: string;
  /** What the session keeps, an object of JSON. Absent: a session of the same user keeps what it has. */
  data?: Data;
  /** Seconds without activity; may only shorten the server's policy. */
  idleTtlS?: number;
  /** Seconds from now; may only shorten the server's policy. */
  absoluteTtlS?: number;
}

/**
 * What a handler may do. What these reject with may be shown to the user: a PortcullisError with the table's own text, whose `cause`
 * is the engine's. STORE_UNAVAILABLE (503): the server cannot be asked, try again; AUTH_REQUIRED (401): the session ended meanwhile, or
 * there is none; USER_LOCKED_OUT (429); INTERNAL (500): the server refuses the application. Whatever writes the cookie throws an Error
 * before it does anything when the answer has begun.
 */
export interface SessionActions<Data = SessionData> {
  /**
   * Signs a user in, and sets the cookie. The id is a new one at every login (ASVS 7.2.4): a valid session of the same user is rotated
   * without grace, and keeps its handle and absolute expiry; with a TTL given, or without such a session, one is created, and the session
   * whose id the request brought, whoever's it was, is revoked. When creating or revoking fails, nothing is changed, and the browser keeps
   * what it has. Data is checked before anything is done. Should storing it fail after a rotation all the same (an outage between the two,
   * or a server with a smaller `limits.data_bytes` than `dataBytesMax`), this rejects and the user is signed in: the new id is set, the
   * old one is over, and the session has the data from before.
   * After a rotation without grace any use of the old id is reuse, and ends the session: a page that asks by itself should not do so while
   * its user confirms the password. A user who is locked out is signed in, and refused with 429 until the lock is over.
   * @throws SESSION_CAP_REACHED, DATA_TOO_LARGE; TypeError for a `userId` that is no text, `data` that is no object of JSON, or where the
   * request has no tenant
   */
  login(who: Login<Data>): Promise<void>;
  /**
   * Ends the session and takes the cookie away. Without a session only the latter, no error. The session whose id the request brought is
   * ended also where it is refused here, as after a change of network or of another tenant: a user who logs out means it, and whoever
   * has stolen an id can do no more with this than lose it. When the server cannot be asked: 503, and the user is still logged in.
   */
  logout(): Promise<void>;
  /** Ends all sessions of the user (ASVS 7.4.3), with `exceptCurrent` all others. How many there were. */
  logoutEverywhere(options?: {exceptCurrent?: boolean}): Promise<number>;
  /**
   * Replaces the session's data.
   * @throws SESSION_VERSION_CONFLICT (409) when another request changed it since this one was validated: `reload()` and decide anew; with
   * `overwrite: true` the last one wins. DATA_TOO_LARGE (413)
   */
  save(data: Data, options?: {overwrite?: boolean}): Promise<void>;
  /** Reads data and version again. Does not count as activity. */
  reload(): Promise<void>;
  /** A new id for the session, at a change of privileges: every earlier id ends at once. With `grace: true` requests under way go on. */
  rotate(options?: {grace?: boolean}): Promise<void>;
  /** The user's own sessions (ASVS 7.5.2), at most 1,000, the oldest first; `current` marks this one. */
  list(): Promise<(ListedSession & {current: boolean})[]>;
  /**
   * Ends one of the user's own sessions by its handle: 1, or 0 where it is not (or no longer) the user's, which is no error. This one: as
   * `logout()`.
   */
  revoke(handle: string): Promise<number>;
}

/** A request with a valid session. */
export interface SignedIn<Data = SessionData> extends SessionActions<Data> {
  readonly valid: true;
  readonly reason: undefined;
  readonly userId: string;
  readonly tenantId: string;
  /** The session's public name: safe in logs and pages. */
  readonly handle: string;
  /** What the application keeps with the session; a change to it is not kept without `save()`. */
  readonly data: Data | undefined;
  /** Raised by each save. */
  readonly version: number;
  /** Findings of fields that are observed; `challenge` asks for a step-up. */
  readonly signals: readonly Signal[];
  /** The request brought an id that was replaced and is in its grace. */
  readonly rotated: boolean;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly correlationId: string;
}

/** A request without one, where that is allowed. */
export interface Anonymous<Data = SessionData> extends SessionActions<Data> {
  readonly valid: false;
  /** Why there is no session. Not to be shown. */
  readonly reason: GuardReason;
  readonly userId: undefined;
  readonly tenantId: undefined;
  readonly handle: undefined;
  readonly data: undefined;
  readonly version: undefined;
  readonly signals: readonly Signal[];
  readonly rotated: false;
  readonly createdAtMs: undefined;
  readonly expiresAtMs: undefined;
  readonly correlationId: string;
}

/** `req.portcullis`: look at `valid` first, or take `signedIn(req)`. */
export type GuardSession<Data = SessionData> = SignedIn<Data> | Anonymous<Data>;

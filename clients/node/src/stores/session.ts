// What a store reads out of a framework's session: its user, its lifetime, and the text that is kept. Pure.
import crypto from 'node:crypto';

import {PortcullisError} from '../errors.js';
import type {SessionData} from '../types.js';

/** Bounds of an alias, in bytes. */
const aliasBytesMin = 16;
const aliasBytesMax = 256;
/** The server's `limits.depth` (16) without the request around the data. A message that is deeper would end the connection for all. */
export const dataDepthMax = 14;

/** Whether the server can know a session under this id. */
export function isAlias(sid: string): boolean {
  const bytes = Buffer.byteLength(sid);
  return bytes >= aliasBytesMin && bytes <= aliasBytesMax;
}

/** @throws TypeError that names the option to change */
export function assertAlias(sid: string, generator: string): void {
  if (isAlias(sid)) return;
  throw new TypeError(`A session id of ${Buffer.byteLength(sid)} bytes: ${aliasBytesMin}..${aliasBytesMax} are needed, and 128 bits of ` +
    `randomness. See ${generator}; its default makes 32.`);
}

function idOf(value: unknown): string | undefined {
  if (typeof value === 'string' && value !== '') return value;
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  return undefined;
}

function idIn(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return idOf(value);
  const user = value as {id?: unknown; _id?: unknown};
  return idOf(user.id) ?? idOf(user._id);
}

/** Whose session it is, by where applications and passport keep it: `userId`, `user` (an id, or with `id` or `_id`), `passport.user`. */
export function userOfSession(session: SessionData): string | undefined {
  const passport = session.passport as {user?: unknown} | null | undefined;
  return idOf(session.userId) ?? idIn(session.user) ?? (typeof passport === 'object' ? idIn(passport?.user) : undefined);
}

/**
 * The user of a session that nobody has signed in to. One of its own: visitors without a name must not share lockouts and caps.
 * A hash, because user ids stand in events and logs, and a session id is a secret.
 */
export function anonymousUser(sid: string): string {
  return `anonymous:${crypto.createHash('sha256').update('portcullis anonymous\0').update(sid).digest('base64url')}`;
}

interface Cookie {
  expires?: unknown;
  originalMaxAge?: unknown;
}

/** How long a session lives by its cookie. */
export interface Lifetime {
  /** Undefined: as long as the browser. */
  endsAtMs: number | undefined;
  /** What `endsAtMs` is moved by at each activity; undefined for a fixed end. */
  maxAgeMs: number | undefined;
}

/** Frameworks compute a cookie's age again at each activity, and a millisecond passes between their two looks at the clock. */
const ageSlackMs = 100;
/** Activity is written down once in so many parts of the cookie's age: the session may end one of them early. */
const renewalParts = 10;

export function lifetimeOf(cookie: unknown): Lifetime {
  const {expires, originalMaxAge} = (cookie ?? {}) as Cookie;
  const at = typeof expires === 'string' || typeof expires === 'number' || expires instanceof Date ? new Date(expires).getTime() : NaN;
  return {endsAtMs: Number.isNaN(at) ? undefined : at, maxAgeMs: typeof originalMaxAge === 'number' ? originalMaxAge : undefined};
}

/**
 * What became of a session's lifetime since the server was told: `changed` by the application, `renewed` by activity, and enough of it
 * to be written down, or `same`.
 */
export function compareLifetimes(told: Lifetime, now: Lifetime): 'same' | 'renewed' | 'changed' {
  if (told.endsAtMs === undefined || now.endsAtMs === undefined) return told.endsAtMs === now.endsAtMs ? 'same' : 'changed';
  if (Math.abs((told.maxAgeMs ?? 0) - (now.maxAgeMs ?? 0)) > ageSlackMs) return 'changed';
  const gained = now.endsAtMs - told.endsAtMs;
  if (gained < -ageSlackMs || (now.maxAgeMs === undefined && gained > ageSlackMs)) return 'changed';
  return now.maxAgeMs !== undefined && gained > 0 && gained * renewalParts >= now.maxAgeMs ? 'renewed' : 'same';
}

/** A session without its cookie, to be compared. */
export function contentOf(data: SessionData): string { return JSON.stringify({...data, cookie: undefined}); }

/** Keys, without case and separators, under which applications keep who has signed in. */
const loginKeys: ReadonlySet<string> = new Set(['account', 'accountid', 'auth', 'authenticated', 'currentuser', 'email', 'isauthenticated',
  'isloggedin', 'loggedin', 'login', 'member', 'memberid', 'principal', 'profile', 'sub', 'uid', 'user', 'userid', 'userinfo', 'username']);

/** The key of a session that looks like a login; undefined where there is none. */
export function loginKeyOf(data: SessionData): string | undefined {
  return Object.keys(data).find((key) => Boolean(data[key]) && loginKeys.has(key.toLowerCase().replace(/[^a-z]/g, '')));
}

function wellFormed(value: unknown): unknown {
  if (typeof value === 'string') return (value as string & {toWellFormed(): string}).toWellFormed();
  if (Array.isArray(value)) return value.map(wellFormed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [wellFormed(key), wellFormed(each)]));
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((each) => isDeeper(each, levels - 1));
}

/**
 * The session as it is now, as plain JSON: what the framework changes later is not in it. Half of a surrogate pair, as where text was cut
 * in the middle of an emoji, becomes U+FFFD: the server takes only Unicode.
 * @throws PortcullisError DATA_TOO_LARGE, NESTING_TOO_DEEP: not sent, for such a message would end the connection that all requests share
 * @throws TypeError for what JSON cannot hold
 */
export function snapshot(session: object, bytesMax: number): SessionData {
  const text = JSON.stringify(session);
  if (text.length > bytesMax || (text.length * 3 > bytesMax && Buffer.byteLength(text) > bytesMax)) {
    throw new PortcullisError('DATA_TOO_LARGE', {status: 500, sent: false, details: {field: 'data', rule: 'bytes', limit: bytesMax},
      message: `The session's data is ${Buffer.byteLength(text)} bytes; ${bytesMax} are allowed (dataBytesMax, and limits.data_bytes there).`});
  }
  const data = JSON.parse(text) as SessionData;
  if (isDeeper(data, dataDepthMax)) {
    throw new PortcullisError('NESTING_TOO_DEEP', {status: 500, sent: false, details: {field: 'data', rule: 'depth', limit: dataDepthMax}});
  }
  // Of text JSON escapes no other character this way.
  return /\\ud[89a-f]/.test(text) ? wellFormed(data) as SessionData : data;
}

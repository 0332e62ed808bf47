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

/**
 * Seconds that a session is to live without activity, by its cookie: rounded up, 0 or less where it is over. Undefined for a cookie
 * that lives as long as the browser.
 */
export function secondsLeft(cookie: unknown, nowMs: number): number | undefined {
  const expires = (cookie as Cookie | null | undefined)?.expires;
  if (typeof expires !== 'string' && typeof expires !== 'number' && !(expires instanceof Date)) return undefined;
  const atMs = new Date(expires).getTime();
  return Number.isNaN(atMs) ? undefined : Math.ceil((atMs - nowMs) / 1000);
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((each) => isDeeper(each, levels - 1));
}

/**
 * The session as it is now, as plain JSON: what the framework changes later is not in it.
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
  return data;
}

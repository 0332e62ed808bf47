// Between the names of this package (camelCase) and those of the wire (snake_case).
import type {Context, CreatedSession, DeniedSession, SessionData, SessionKey, ValidSession} from './types.js';

const snakes = new Map<string, string>();
const camels = new Map<string, string>();

function snake(name: string): string {
  let known = snakes.get(name);
  if (known === undefined) snakes.set(name, known = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  return known;
}

function camel(name: string): string {
  let known = camels.get(name);
  if (known === undefined) {
    known = name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    // Only the names of a contract come here; a server that makes up new ones all the time must not fill the memory.
    if (camels.size < 1000) camels.set(name, known);
  }
  return known;
}

/** Fields whose content is not ours to rename. */
const opaque = new Set(['data', 'counts', 'events', 'transition', 'changed', 'details']);

/** The same object with the names of the wire; one level, what is undefined is left out. */
export function toWire(params: object): Record<string, unknown> {
  const wire: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(params)) if (value !== undefined) wire[snake(name)] = value;
  return wire;
}

/** The same value with this package's names, at every level but inside what is opaque. */
export function fromWire<T>(value: unknown): T {
  if (Array.isArray(value)) return value.map((each) => fromWire(each)) as T;
  if (typeof value !== 'object' || value === null) return value as T;
  const own: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(value)) own[camel(name)] = opaque.has(name) ? field : fromWire(field);
  return own as T;
}

/** A context as the wire has it. */
export function contextToWire(context: Context): object {
  return {
    ip: context.ip,
    user_agent: context.userAgent,
    accept: context.accept,
    accept_language: context.acceptLanguage,
    accept_encoding: context.acceptEncoding,
    ja3: context.ja3,
    ja4: context.ja4,
  };
}

// What JSON.stringify would escape; all else goes between quotes as it is.
const special = /["\\\u0000-\u001f\ud800-\udfff]/;

function quote(text: string): string {
  return special.test(text) ? JSON.stringify(text) : `"${text}"`;
}

/**
 * The parameters of session.validate as text. It is asked for every request that an application serves, and one object made of
 * several costs six times as much as this.
 */
export function validationToWire(key: SessionKey, context: Context, touch: boolean | undefined, meta: object | undefined): string {
  if (!('sessionId' in key) && !('alias' in key)) throw new TypeError('sessionId, or alias and tenantId, is needed');
  let text = 'sessionId' in key ? `{"session_id":${quote(`${key.sessionId}`)}` : `{"alias":${quote(`${key.alias}`)},"tenant_id":${quote(`${key.tenantId}`)}`;
  text += `,"context":{"ip":${quote(`${context.ip}`)}`;
  if (context.userAgent !== undefined) text += `,"user_agent":${quote(`${context.userAgent}`)}`;
  if (context.accept !== undefined) text += `,"accept":${quote(`${context.accept}`)}`;
  if (context.acceptLanguage !== undefined) text += `,"accept_language":${quote(`${context.acceptLanguage}`)}`;
  if (context.acceptEncoding !== undefined) text += `,"accept_encoding":${quote(`${context.acceptEncoding}`)}`;
  if (context.ja3 !== undefined) text += `,"ja3":${quote(`${context.ja3}`)}`;
  if (context.ja4 !== undefined) text += `,"ja4":${quote(`${context.ja4}`)}`;
  text += touch === false ? '},"touch":false' : '}';
  if (meta !== undefined) text += `,"_meta":${JSON.stringify(meta)}`;
  return `${text}}`;
}

/** The parameters that name a session. */
export function keyToWire(key: SessionKey): {session_id: string} | {alias: string; tenant_id: string} {
  if (!('sessionId' in key) && !('alias' in key)) throw new TypeError('sessionId, or alias and tenantId, is needed');
  return 'sessionId' in key ? {session_id: key.sessionId} : {alias: key.alias, tenant_id: key.tenantId};
}

interface WireValidation {
  valid: boolean;
  reason?: DeniedSession['reason'];
  retry_after_ms?: number;
  tenant_id: string;
  user_id: string;
  handle: string;
  data?: SessionData;
  version: number;
  created_at_ms: number;
  expires_at_ms: number;
  rotated?: boolean;
  signals?: ValidSession['signals'];
}

/** The result of session.validate. */
export function validationFromWire<Data>(result: unknown): ValidSession<Data> | DeniedSession {
  const wire = result as WireValidation;
  if (wire.valid !== true) return {valid: false, reason: wire.reason ?? 'not_found', retryAfterMs: wire.retry_after_ms};
  return {
    valid: true, tenantId: wire.tenant_id, userId: wire.user_id, handle: wire.handle, data: wire.data as Data | undefined,
    version: wire.version, createdAtMs: wire.created_at_ms, expiresAtMs: wire.expires_at_ms, rotated: wire.rotated === true,
    signals: wire.signals ?? [],
  };
}

/** The result of session.create and session.rotate. */
export function createdFromWire(result: unknown): CreatedSession {
  return fromWire<CreatedSession>(result);
}

// What a store is told, what it counts and what it tells: options and their checks, counts and events.
import type {IncomingMessage} from 'node:http';

import type {ContextOf, ContextOptions} from '../http/context.js';
import type {PortcullisClient} from '../portcullis.js';
import type {SessionData} from '../types.js';
import type {Denial} from './context.js';
import type {OldStore} from './migrate.js';
import {refuseUnknown} from '../known.js';

/** The server's `limits.data_bytes`. */
const dataBytesDefault = 16_384;
/** Below the server's `limits.value_bytes`, with room for the request around the data: a larger message would end the shared connection. */
const dataBytesMost = 57_344;
/** `ttl` and `prefix` of other stores are not among them: a lifetime that is silently another one is worse than an error. */
const optionNames = new Set(['client', 'tenantId', 'userOf', 'idleTtlS', 'absoluteTtlS', 'touch', 'contextOf', 'denials', 'concurrentSaves', 'dataBytesMax',
  'migrateFrom', 'trustProxy', 'fields', 'onUserChange']);

export interface StoreOptions extends ContextOptions {
  /** Whose connections are used. The store does not close it. */
  client: Pick<PortcullisClient, 'sessions'>;
  /** 1..128 bytes: all sessions of this store are this tenant's. */
  tenantId: string;
  /**
   * The user of a session as it is saved (plain JSON). Default: `userId`, `user` (an id, or an object with `id` or `_id`), `passport.user`.
   * Without one the session is of an anonymous user of its own. Lockouts, caps and "log out everywhere" go by it: 1..256 bytes. An
   * application that keeps its login anywhere else must say so here: its users would be anonymous, and there is no more than a warning of
   * the process (`PORTCULLIS_SESSION_USER`, once) where a session has a key that looks like a login (`account`, `uid`, `username`).
   */
  userOf?: (session: SessionData) => string | number | undefined | null;
  /**
   * Seconds without activity. Default: the server's policy, which also is the most. A cookie with a `maxAge` or `expires` shortens that for
   * its session; both may change while it lives. Activity moves the end in steps of a tenth of `maxAge`: it may end that much early.
   */
  idleTtlS?: number;
  /** Seconds from creation. Default: the server's policy, which also is the most. */
  absoluteTtlS?: number;
  /**
   * Whether a request counts as activity, default all do: false for what a page asks by itself, as polling, lets an idle session end, also
   * where the framework saves at each request (`rolling`, `resave`). A request that changes its session counts in any case.
   */
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
   * `destroy` ends it in both. `revokeUser` reaches only what has moved: nobody can ask the old store for a user's sessions. One that is
   * larger than `dataBytesMax` is not moved, its visitor has none (`failed`).
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

/** What a store could not do, where that is no error of a request. */
export interface Failure {
  /**
   * `migrate`: a session was not moved, its visitor has none. `migrate_destroy`: a copy was left in the old store. It is ended here, or lives
   * here, and does not come back before the server has forgotten it: 15 minutes past its absolute lifetime. `late_save`: a new session was not
   * created after a hijacked reply.
   */
  what: 'migrate' | 'migrate_destroy' | 'late_save';
  error: unknown;
}

/** What a store emits. It never emits `disconnect`: express-session would go on without sessions. */
export interface StoreEvents {
  /** A session was not given out because of its binding, or of a lockout. */
  denied: [denial: Denial, request: IncomingMessage | undefined];
  /** A save was not done, because the session is over. */
  dropped: [dropped: Dropped, request: IncomingMessage | undefined];
  /** Something failed that no request can be told of. */
  failed: [failure: Failure];
}

/**
 * Gives the largest session in bytes.
 * @throws TypeError or RangeError that names the option
 */
export function checkOptions(options: StoreOptions): number {
  if (typeof options?.client?.sessions?.validate !== 'function') throw new TypeError('client: a PortcullisClient is needed');
  refuseUnknown(options, optionNames);
  if (typeof options.tenantId !== 'string' || options.tenantId === '') throw new TypeError('tenantId: 1..128 bytes of text are needed');
  if (Buffer.byteLength(options.tenantId) > 128) throw new RangeError('tenantId: at most 128 bytes');
  whole('idleTtlS', options.idleTtlS, Number.MAX_SAFE_INTEGER);
  whole('absoluteTtlS', options.absoluteTtlS, Number.MAX_SAFE_INTEGER);
  oneOf('concurrentSaves', options.concurrentSaves, ['overwrite', 'error']);
  for (const [reason, answer] of Object.entries(options.denials ?? {})) {
    if (!['ip_mismatch', 'fingerprint_mismatch', 'locked_out'].includes(reason)) throw new TypeError(`denials: there is no "${reason}"`);
    oneOf(`denials.${reason}`, answer, ['absent', 'error']);
  }
  return whole('dataBytesMax', options.dataBytesMax, dataBytesMost) ?? dataBytesDefault;
}

function whole(name: string, value: number | undefined, most: number): number | undefined {
  if (value === undefined) return undefined;
  if (!Number.isSafeInteger(value) || value < 1 || value > most) throw new RangeError(`${name} is a whole number, 1..${most}, not ${value}`);
  return value;
}

function oneOf(name: string, value: string | undefined, among: readonly string[]): void {
  if (value !== undefined && !among.includes(value)) throw new TypeError(`${name} is ${among.join(' or ')}, not ${value}`);
}

// What a user may be told when a request is refused: from the engine's errors and the server's reasons to one public error and its body.
import {PortcullisError, isPortcullisError} from '../errors.js';
import type {ServerErrorName} from '../generated/errors.js';
import type {DenialReason} from '../types.js';

/** Why the guard refused a request, or why it goes on without a session. For the application's own eyes. */
export type GuardReason = DenialReason |
  /** The request has no session cookie. */
  'no_cookie' |
  /** Its value is not the form of a session id; the server was not asked. */
  'malformed_cookie' |
  /** Two cookies of the name with different values; the server was not asked. */
  'ambiguous_cookie' |
  /** The session is valid, but of another tenant than this request's. */
  'other_tenant' |
  /** `tenant` gave none for this request. */
  'unknown_tenant' |
  /** `logout()` was called. */
  'logged_out' |
  /** Too many unknown ids come from this address. */
  'rate_limited' |
  /**
   * The server or its store did not answer, or its certificate is not believed here: nothing is known about the session. 503.
   */
  'unavailable' |
  /**
   * The server refuses the application: its token, its role, its client certificate, or its connection without TLS; it is not one of this
   * protocol; or the request has no address and nobody said whom to trust. Nothing is known about the session. 500.
   */
  'misconfigured' |
  /** The client was gone before its address was read; the server was not asked. 400, which nobody gets to see. */
  'client_closed';

/** One refusal. */
export interface Denial {
  /** The precise reason. Not to be shown: it would tell a thief of cookies what is still missing. */
  reason: GuardReason;
  /** 400, 401, 403, 429, 500 or 503. */
  status: number;
  /** What may be shown. `error.cause` has the engine's own error, where there was one. */
  error: PortcullisError;
  /** Finds the request in the server's log and events. */
  correlationId: string;
}

/** What a client is asked to wait where nobody knows better, ms. */
const outageRetryAfterMs = 1000;

/** What is the same for whoever asks, and may be shown as it is. */
const shown = new Set<string>(['SESSION_VERSION_CONFLICT', 'SESSION_CAP_REACHED', 'USER_LOCKED_OUT', 'RATE_LIMITED', 'DATA_TOO_LARGE',
  'BREAKER_OPEN']);
/** The session is over or not this request's: one answer for all, so that it does not say which. */
const signIn = new Set<string>(['SESSION_NOT_FOUND', 'SESSION_EXPIRED', 'SESSION_REVOKED', 'SESSION_IP_MISMATCH', 'SESSION_FINGERPRINT_MISMATCH',
  'SESSION_REUSE_DETECTED']);
/** The session named by an id is over. */
const ended = new Set<string>(['SESSION_NOT_FOUND', 'SESSION_EXPIRED', 'SESSION_REVOKED', 'SESSION_REUSE_DETECTED']);
/** Nothing came back, or not in time, or the server is in trouble: another attempt may do. */
const outage = new Set<string>(['TIMEOUT', 'CONNECTION_LOST', 'UNREACHABLE', 'QUEUE_FULL', 'CLOSED', 'ABORTED', 'INTERNAL', 'LOG_CORRUPT',
  'STORE_UNAVAILABLE', 'STORE_TIMEOUT', 'STORE_FULL', 'STORE_INTEGRITY', 'NODE_DRAINING', 'NODE_INCOMPATIBLE', 'OVERLOADED',
  'CONNECTION_LIMIT', 'REQUEST_TIMEOUT']);

/** What never comes of a server that is only out: it refuses this application, or is not one of this protocol. */
const refusals = new Set<string>(['AUTH_REQUIRED', 'AUTH_FAILED', 'AUTH_RATE_LIMITED', 'FORBIDDEN', 'TLS_REQUIRED', 'CERTIFICATE_REJECTED',
  'TOKEN_IN_CLEAR', 'PROTOCOL']);
/** Deeper no error of this package has its cause. */
const causesMax = 4;

/** On the errors that were made here. Known to every copy of the package in a process: it may be there as ES module and as CommonJS. */
const madeHere = Symbol.for('portcullis-client.shown-error');

/** Whether it says that a session is over, and not merely that it cannot be had. */
export function saysEnded(error: PortcullisError): boolean { return ended.has(error.errorName); }

/** Whether calls fail because connections do, and those because the server refuses the application: another attempt changes nothing. */
function isRefusal(error: PortcullisError): boolean {
  if (!['UNREACHABLE', 'TIMEOUT', 'CONNECTION_LOST'].includes(error.errorName)) return false;
  let cause: unknown = error.cause;
  for (let depth = 0; depth < causesMax && isPortcullisError(cause); ++depth) {
    if (refusals.has(cause.errorName)) return true;
    cause = cause.cause;
  }
  return false;
}

/** Whether it says nothing about the session. */
export function isOutage(error: PortcullisError): boolean { return outage.has(error.errorName); }

/** A row of the table with its fixed text. */
export function publicOf(name: ServerErrorName, correlationId: string, cause?: unknown, retryAfterMs?: number): PortcullisError {
  const error = new PortcullisError(name, {correlationId, cause, retryAfterMs});
  Object.defineProperty(error, madeHere, {value: true});
  return error;
}

/**
 * The error that may be shown for one of the engine's; `cause` is that one. An outage is STORE_UNAVAILABLE (503), whatever broke. What
 * the application did wrong (its token, its role, a parameter) is INTERNAL (500), also where a refused login is why there is no
 * connection: it is not the user's fault, says nothing to him, and does not pass by waiting.
 */
export function publicError(error: PortcullisError, correlationId: string): PortcullisError {
  const id = error.correlationId ?? correlationId;
  if (shown.has(error.errorName)) return publicOf(error.errorName as ServerErrorName, id, error, error.retryAfterMs);
  if (signIn.has(error.errorName)) return publicOf('AUTH_REQUIRED', id, error);
  if (outage.has(error.errorName) && !isRefusal(error)) return publicOf('STORE_UNAVAILABLE', id, error, error.retryAfterMs ?? outageRetryAfterMs);
  return publicOf('INTERNAL', id, error);
}

/** What an error says as a reason, where it says something of the session or its user. */
const reasons: Partial<Record<string, GuardReason>> = {
  SESSION_NOT_FOUND: 'not_found', SESSION_EXPIRED: 'expired', SESSION_REVOKED: 'revoked', SESSION_REUSE_DETECTED: 'revoked',
  SESSION_IP_MISMATCH: 'ip_mismatch', SESSION_FINGERPRINT_MISMATCH: 'fingerprint_mismatch',
  USER_LOCKED_OUT: 'locked_out', RATE_LIMITED: 'rate_limited',
};

/** The refusal that follows from an error of `session.validate` or `session.rotate`. */
export function denialOfError(error: PortcullisError, correlationId: string): Denial {
  const shownAs = publicError(error, correlationId);
  const reason = reasons[error.errorName] ?? (outage.has(error.errorName) && !isRefusal(error) ? 'unavailable' : 'misconfigured');
  return {reason, status: shownAs.status, error: shownAs, correlationId: shownAs.correlationId ?? correlationId};
}

/** The refusal that a reason means. */
export function denialOf(reason: GuardReason, correlationId: string, retryAfterMs?: number): Denial {
  const name: ServerErrorName = reason === 'locked_out' ? 'USER_LOCKED_OUT' :
    reason === 'other_tenant' || reason === 'unknown_tenant' ? 'FORBIDDEN' : reason === 'client_closed' ? 'INVALID_REQUEST' : 'AUTH_REQUIRED';
  const error = publicOf(name, correlationId, undefined, retryAfterMs);
  return {reason, status: error.status, error, correlationId};
}

/** The fields of an answer with that body. A 401 names the scheme, as RFC 9110, 15.5.2 wants it; no browser has a dialog for this one. */
export function fieldsOf(error: PortcullisError): Record<string, string> {
  return {
    'Content-Type': 'application/json',
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...(error.status === 401 && {'WWW-Authenticate': 'Cookie'}),
    ...(error.retryAfterMs !== undefined && {'Retry-After': String(Math.ceil(error.retryAfterMs / 1000))}),
  };
}

/** The public error of anything that a handler threw, or undefined where it is not of this package. */
export function shownError(error: unknown, correlationId: string): PortcullisError | undefined {
  if (!isPortcullisError(error)) return undefined;
  return madeHere in error ? error : publicError(error, correlationId);
}

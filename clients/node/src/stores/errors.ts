// How errors of the server reach an application through its framework's session middleware.
import type {IncomingMessage} from 'node:http';

import {isPortcullisError, PortcullisError, type ErrorName} from '../errors.js';
import type {Denial} from './context.js';

/** What says that a session is over, in answer to a write. */
const endings: Partial<Record<ErrorName, 'not_found' | 'expired' | 'revoked'>> = {
  SESSION_NOT_FOUND: 'not_found', SESSION_EXPIRED: 'expired', SESSION_REVOKED: 'revoked', SESSION_REUSE_DETECTED: 'revoked',
};
/** What is about the visitor or their session: its status is the visitor's. */
const visitors: ReadonlySet<string> = new Set<ErrorName>([
  'SESSION_IP_MISMATCH', 'SESSION_FINGERPRINT_MISMATCH', 'USER_LOCKED_OUT', 'RATE_LIMITED', 'SESSION_VERSION_CONFLICT', 'SESSION_CAP_REACHED',
]);
const denials: Partial<Record<Denial['reason'], ErrorName>> = {
  ip_mismatch: 'SESSION_IP_MISMATCH', fingerprint_mismatch: 'SESSION_FINGERPRINT_MISMATCH', locked_out: 'USER_LOCKED_OUT',
};

/** Why the session is over, where that is what the error says. */
export function endingOf(error: unknown): 'not_found' | 'expired' | 'revoked' | undefined {
  return isPortcullisError(error) ? endings[error.code] : undefined;
}

/** Whether a create failed because its alias is taken, by a live session or by one that ended and is remembered. */
export function isTaken(error: unknown): boolean {
  return isPortcullisError(error, 'INVALID_PARAMS') && error.details?.field === 'alias' && error.details.rule === 'unique';
}

/** A denial as an error, for those that are no absence. */
export function errorOfDenial(denial: Denial): PortcullisError {
  return new PortcullisError(denials[denial.reason] ?? 'SESSION_REVOKED', {retryAfterMs: denial.retryAfterMs, method: 'session.validate'});
}

/**
 * The same error with the status that the visitor should get. The server answers the application, not the visitor: a token that is not
 * accepted (401) or a wrong parameter (400) is the application's own fault, 500; a store that cannot be asked is 503, never a logout.
 */
export function surfaced(error: unknown): unknown {
  if (!isPortcullisError(error) || visitors.has(error.code)) return error;
  const status = error.retryable || error.status > 500 ? 503 : 500;
  if (status === error.status) return error;
  return new PortcullisError(error.code, {message: error.message, status, severity: error.severity, retryable: error.retryable,
    retryAfterMs: error.retryAfterMs, correlationId: error.correlationId, details: error.details, method: error.method, sent: error.sent,
    cause: error});
}

/** Whether a request has no context because its client is gone. @internal */
export function isGone(error: unknown, {socket}: IncomingMessage): boolean {
  return isPortcullisError(error, 'INVALID_PARAMS') && error.details?.field === 'ip' &&
    (socket.destroyed || (socket.remoteAddress === undefined && socket.localAddress !== undefined));
}

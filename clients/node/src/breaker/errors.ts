// What a breaker itself rejects with: the names that opossum has for it, so that callers need not change.
import {isPortcullisError, PortcullisError, type ErrorFields, type ErrorName} from '../errors.js';

/** `error.code` of what a breaker rejects with; everything else that `fire()` rejects with is the action's own. */
export type BreakerErrorCode = 'EOPENBREAKER' | 'ETIMEDOUT' | 'ESEMLOCKED' | 'ESHUTDOWN';

const ours = Symbol.for('portcullis-client.breaker-error');

/** The class without what is another one here. */
const Base = PortcullisError as unknown as new (code: ErrorName, fields?: ErrorFields) => Omit<PortcullisError, 'code'>;

/**
 * A call was not made because the breaker is open. `code` is opossum's; it also is a PortcullisError (`instanceof`, status 503, the
 * body of `toJSON()`) whose name in the table of errors, BREAKER_OPEN, is in `errorName`.
 */
export class BreakerOpenError extends Base {
  readonly code = 'EOPENBREAKER';

  /** @param retryAfterMs in how many ms a call may be worth a try, >= 0 */
  constructor(retryAfterMs: number) {
    super('BREAKER_OPEN', {message: 'Breaker is open', retryAfterMs, sent: false});
    mark(this);
  }
}

/** An error of a breaker that is none of Portcullis' own. */
export function breakerError(message: string, code: Exclude<BreakerErrorCode, 'EOPENBREAKER'>): Error & {code: BreakerErrorCode} {
  const error = Object.assign(new Error(message), {code});
  mark(error);
  return error;
}

function mark(error: object): void { Object.defineProperty(error, ours, {value: true}); }

/** Whether a breaker made this error; false for what its action rejected with. */
export function isBreakerError(error: unknown): boolean {
  return typeof error === 'object' && error !== null && (error as Record<symbol, unknown>)[ours] === true;
}

/** What a request of the client rejected with. */
export function asError(reason: unknown): PortcullisError {
  return isPortcullisError(reason) ? reason : new PortcullisError('INTERNAL', {cause: reason, message: String(reason)});
}

// What goes wrong, in one class: errors that the server sends, by the names of its table, and those that only a client can have.
import {serverErrors, type ServerErrorName} from './generated/errors.js';

/** What only a client can say: the request got no answer, or was never sent. */
export const clientErrors = {
  /** The deadline passed. Whether the server did it is unknown, unless `sent` is false. */
  TIMEOUT: {status: 504, severity: 'medium', retryable: true, message: 'The call was not answered within its deadline.'},
  /** The connection went while the answer was due, and the call is not one that may be sent twice. */
  CONNECTION_LOST: {status: 503, severity: 'high', retryable: true, message: 'The connection was lost before the answer came; the outcome is unknown.'},
  /** No address can be reached. Nothing was sent, unless `sent` says otherwise: a call that lost its connection is not sent again then. */
  UNREACHABLE: {status: 503, severity: 'critical', retryable: true, message: 'No Portcullis server can be reached.'},
  /** More calls wait than `maxQueued`. */
  QUEUE_FULL: {status: 503, severity: 'high', retryable: true, message: 'Too many calls wait for the server.'},
  /** The caller's AbortSignal fired. `cause` has its reason. */
  ABORTED: {status: 499, severity: 'low', retryable: false, message: 'The call was aborted.'},
  /** close() was called. */
  CLOSED: {status: 503, severity: 'low', retryable: false, message: 'The client is closed.'},
  /** What the other side said is not this protocol, or another version of it. */
  PROTOCOL: {status: 502, severity: 'critical', retryable: false, message: 'The other side does not speak this protocol.'},
  /** The token would go over the network in clear. Nothing was sent. */
  TOKEN_IN_CLEAR: {status: 500, severity: 'critical', retryable: false, message: 'A token is sent over TLS, a Unix socket or loopback only.'},
} as const satisfies Record<string, {status: number; severity: Severity; retryable: boolean; message: string}>;

/** How bad an error is. */
export type Severity = 'low' | 'medium' | 'high' | 'critical';
/** The name of an error that only the client makes. */
export type ClientErrorName = keyof typeof clientErrors;
/** Every name that `PortcullisError.code` can have. */
export type ErrorName = ServerErrorName | ClientErrorName;

/** Which parameter was wrong, by which rule, and the limit where there is one. */
export interface ErrorDetails {
  field?: string;
  rule?: string;
  limit?: number;
}

/** The unified error body. Errors that only a client has are of code -32603. */
export interface ErrorBody {
  code: number;
  message: string;
  data: {
    error: string;
    status: number;
    severity: Severity;
    retryable: boolean;
    correlation_id?: string;
    retry_after_ms?: number;
  };
}

/** The fields of an error that its name does not say. */
export interface ErrorFields {
  message?: string | undefined;
  status?: number | undefined;
  severity?: Severity | undefined;
  retryable?: boolean | undefined;
  retryAfterMs?: number | undefined;
  correlationId?: string | undefined;
  details?: ErrorDetails | undefined;
  method?: string | undefined;
  sent?: boolean | undefined;
  cause?: unknown;
}

/**
 * Anything that a call rejects with, but for mistakes of the caller's code (TypeError, RangeError).
 * A denied validation is not an error: it is a result.
 */
export class PortcullisError extends Error {
  override readonly name = 'PortcullisError';
  /** Stable, of the server's table or of `clientErrors`. */
  readonly code: ErrorName;
  /** The same, also where `code` is another library's name for it (BreakerOpenError). */
  readonly errorName: ErrorName;
  /** The HTTP status that goes with it. */
  readonly status: number;
  readonly severity: Severity;
  /** Trying again may help; for a call that changes something the outcome of this one may be unknown. */
  readonly retryable: boolean;
  /** In how many ms, where the server said so. */
  readonly retryAfterMs: number | undefined;
  /** Finds the request in the server's log and events. */
  readonly correlationId: string | undefined;
  readonly details: ErrorDetails | undefined;
  /** The method that was called. */
  readonly method: string | undefined;
  /** False: it never left this process, so nothing was done. */
  readonly sent: boolean;

  constructor(code: ErrorName, fields: ErrorFields = {}) {
    const row = code in clientErrors ? clientErrors[code as ClientErrorName] : serverErrors[code as ServerErrorName];
    super(detailed(fields.message ?? row?.message ?? code, fields.details), fields.cause === undefined ? undefined : {cause: fields.cause});
    this.code = this.errorName = code;
    this.status = fields.status ?? row?.status ?? 500;
    this.severity = fields.severity ?? row?.severity ?? 'high';
    this.retryable = fields.retryable ?? row?.retryable ?? false;
    this.retryAfterMs = fields.retryAfterMs;
    this.correlationId = fields.correlationId;
    this.details = fields.details;
    this.method = fields.method;
    this.sent = fields.sent ?? true;
  }

  /** The error object of the protocol, as the server's own HTTP answers have it; without `cause`, `method` and `details`. */
  toJSON(): ErrorBody {
    const rows: Partial<Record<string, {code?: number; message: string}>> = {...clientErrors, ...serverErrors};
    const row = rows[this.errorName];
    return {
      code: row?.code ?? serverErrors.INTERNAL.code,
      // Fixed text: `message` may name addresses.
      message: row?.message ?? this.message,
      data: {
        error: this.errorName, status: this.status, severity: this.severity, retryable: this.retryable,
        ...(this.correlationId !== undefined && {correlation_id: this.correlationId}),
        ...(this.retryAfterMs !== undefined && {retry_after_ms: this.retryAfterMs}),
      },
    };
  }
}

/** With the parameter and the rule, where they are known. */
function detailed(message: string, details: ErrorDetails | undefined): string {
  const {field, rule} = details ?? {};
  const parts = [field, rule].filter((each) => each !== undefined);
  return parts.length === 0 ? message : `${message} (${parts.join(': ')})`;
}

/** Whether `error` is of this package and, where names are given, one of them. */
export function isPortcullisError(error: unknown, ...codes: ErrorName[]): error is PortcullisError {
  // By shape, not by class: a process may hold the package twice, as ES module and as CommonJS.
  if (!(error instanceof Error) || error.name !== 'PortcullisError') return false;
  return codes.length === 0 || codes.includes((error as PortcullisError).errorName);
}

/** The error object of the wire, as far as this client reads it. */
export interface WireError {
  code?: number;
  message?: string;
  data?: {
    error?: string;
    status?: number;
    severity?: Severity;
    retryable?: boolean;
    retry_after_ms?: number;
    correlation_id?: string;
    details?: ErrorDetails;
  };
}

/** Makes the error that an `error` object of the wire says. A name that this version does not know is kept as it is. */
export function errorOfWire(wire: WireError, method?: string): PortcullisError {
  const data: Partial<Record<string, unknown>> = typeof wire.data === 'object' && wire.data !== null ? wire.data : {};
  const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
  const number = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);
  const {details, retryable} = data;
  return new PortcullisError((text(data['error']) ?? 'INTERNAL') as ErrorName, {
    message: text(wire.message),
    status: number(data['status']),
    severity: text(data['severity']) as Severity | undefined,
    retryable: typeof retryable === 'boolean' ? retryable : undefined,
    retryAfterMs: number(data['retry_after_ms']),
    correlationId: text(data['correlation_id']),
    details: typeof details === 'object' && details !== null ? details as ErrorDetails : undefined,
    method,
  });
}

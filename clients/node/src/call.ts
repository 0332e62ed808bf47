// One call as the engine keeps it while its caller waits.
import type {Connection, Request} from './connection.js';
import type {PortcullisError, WireError} from './errors.js';

/** Who decides what becomes of a call. */
export interface CallOwner {
  replied(call: Call, result: unknown, error: WireError | undefined): void;
  lost(call: Call, reason: PortcullisError): void;
}

/** One call from its caller to its answer; it may be sent more than once. */
export class Call implements Request {
  id = 0;
  readonly method: string;
  readonly body: string;
  attempts = 0;
  connection: Connection | undefined;
  timer: NodeJS.Timeout | undefined;
  retryTimer: NodeJS.Timeout | undefined;
  signal: AbortSignal | undefined;
  settled = false;
  queued = false;
  /** It was written to a connection at least once, the last time then (performance.now()). */
  sent = false;
  sentAt = 0;
  deadline: number;

  constructor(private readonly owner: CallOwner, method: string, body: string, deadline: number, readonly convert: ((result: unknown) => unknown) | undefined,
    readonly resolve: (result: unknown) => void, readonly reject: (reason: unknown) => void) {
    this.method = method;
    this.body = body;
    this.deadline = deadline;
  }

  replied(result: unknown, error: WireError | undefined): void { this.owner.replied(this, result, error); }
  lost(reason: PortcullisError): void { this.owner.lost(this, reason); }
}

// Events as an async iterator that goes on where it was, over lost connections and other nodes.
import {backoffMs} from './backoff.js';
import type {Connection} from './connection.js';
import {errorOfWire, PortcullisError, type WireError} from './errors.js';
import type {Engine} from './engine.js';
import type {PortcullisEvent} from './types.js';

/** Which events, and from where on. */
export interface SubscribeOptions {
  /** A cursor: everything after it, then what comes. Absent: what comes from now on. */
  after?: string;
  /** Types of events; absent: all but `session_touched`. */
  types?: readonly string[];
  tenantId?: string;
  /** Ends the iteration, without an error. */
  signal?: AbortSignal;
}

/** An event with the cursor behind it: keep the cursor once the event is handled, and go on with `after`. */
export interface CursorAndEvent {
  cursor: string;
  event: PortcullisEvent;
}

/** Above so many events that nobody took the connection is not read; below half of it again. */
const bufferedMax = 1000;
/** These end the iteration: another attempt would meet them again, or events would be missing. */
const final = new Set(['EVENTS_CURSOR_EXPIRED', 'CURSOR_INVALID', 'INVALID_PARAMS', 'FORBIDDEN', 'AUTH_REQUIRED', 'AUTH_FAILED',
  'TOKEN_IN_CLEAR', 'PROTOCOL', 'TLS_REQUIRED', 'CERTIFICATE_REJECTED']);

/**
 * The iterator that `client.events.subscribe` returns. Each event once, in the order of the log, none missing: where that cannot be
 * kept (the log no longer reaches back to the cursor) it throws EVENTS_CURSOR_EXPIRED. `return()`, or leaving a `for await`, closes
 * its connection; so does the client's `close()`, and the iteration ends. One consumer; not to be shared.
 */
export class EventStream implements AsyncIterableIterator<CursorAndEvent> {
  /** Behind the last event that was taken, or behind what was skipped: go on from here. Absent until subscribed the first time. */
  cursor: string | undefined;
  private readonly buffer: CursorAndEvent[] = [];
  private from = 0;
  private wakers: (() => void)[] = [];
  /** Attempts to subscribe since the last that was good for something. */
  private attempt = 0;
  private subscribedAt = Infinity;
  private connection: Connection | undefined;
  private paused = false;
  private done = false;
  private failure: unknown;
  private resumeAt: string | undefined;
  private subscribed: (() => void) | undefined;
  /** Resolves at the first successful subscription: what happens from then on comes. Rejects when there can be none. */
  readonly ready: Promise<void>;
  private refuse: ((reason: unknown) => void) | undefined;
  private referenced = true;
  private readonly dependent = {
    end: (): void => this.finish(undefined),
    ref: (): void => this.refer(true),
    unref: (): void => this.refer(false),
  };
  private readonly onAbort = (): void => { void this.return(); };
  private timer: NodeJS.Timeout | undefined;

  /** @internal */
  constructor(private readonly engine: Engine, private readonly options: SubscribeOptions) {
    this.cursor = this.resumeAt = options.after;
    this.ready = new Promise((resolve, reject) => {
      this.subscribed = resolve;
      this.refuse = reject;
    });
    this.ready.catch(() => {});  // also thrown by next()
    if (options.signal?.aborted) {
      this.finish(undefined);
      return;
    }
    options.signal?.addEventListener('abort', this.onAbort, {once: true});
    engine.attach(this.dependent);
    void this.run();
  }

  /** Itself. */
  [Symbol.asyncIterator](): this { return this; }

  /** The next event, when it comes. @throws PortcullisError once, where the iteration cannot go on; it is over then. */
  async next(): Promise<IteratorResult<CursorAndEvent, undefined>> {
    for (;;) {
      if (this.from < this.buffer.length) return {done: false, value: this.take()};
      if (this.done) {
        const failure = this.failure;
        this.failure = undefined;
        if (failure !== undefined) throw failure;
        return {done: true, value: undefined};
      }
      await new Promise<void>((resolve) => { this.wakers.push(resolve); });
    }
  }

  private wake(): void { for (const each of this.wakers.splice(0)) each(); }

  /** Ends the iteration: what was not taken is dropped, the connection closed. */
  return(): Promise<IteratorResult<CursorAndEvent, undefined>> {
    this.buffer.length = this.from = 0;
    this.finish(undefined);
    return Promise.resolve({done: true, value: undefined});
  }

  private take(): CursorAndEvent {
    const value = this.buffer[this.from++] as CursorAndEvent;
    this.cursor = value.cursor;
    if (this.from === this.buffer.length) {
      this.buffer.length = this.from = 0;
      // What was skipped behind the last event needs no second look.
      this.cursor = this.resumeAt;
    } else if (this.from >= bufferedMax) {
      this.buffer.splice(0, this.from);
      this.from = 0;
    }
    if (this.paused && this.buffer.length - this.from < bufferedMax / 2) {
      this.paused = false;
      this.connection?.resume();
    }
    return value;
  }

  private finish(failure: unknown): void {
    if (this.done) return;
    this.done = true;
    this.failure = failure;
    this.options.signal?.removeEventListener('abort', this.onAbort);
    this.engine.detach(this.dependent);
    clearTimeout(this.timer);
    if (failure !== undefined) this.refuse?.(failure);
    else this.refuse?.(new PortcullisError('ABORTED', {method: 'events.subscribe'}));
    const connection = this.connection;
    this.connection = undefined;
    if (connection) {
      connection.onClose = undefined;
      connection.resume();
      connection.close();
    }
    this.wake();
  }

  private refer(referenced: boolean): void {
    this.referenced = referenced;
    if (referenced) {
      this.connection?.ref();
      this.timer?.ref();
    } else {
      this.connection?.unref();
      this.timer?.unref();
    }
  }

  private async run(): Promise<void> {
    if (this.done) return;
    if (this.engine.closed) {
      this.finish(new PortcullisError('CLOSED', {method: 'events.subscribe'}));
      return;
    }
    let connection: Connection;
    try {
      connection = await this.engine.dedicated((method, params) => this.pushed(method, params));
    } catch (failure) {
      this.failed(failure);
      return;
    }
    if (this.done) {
      connection.close();
      return;
    }
    this.connection = connection;
    if (!this.referenced) connection.unref();
    this.paused = false;
    connection.onClose = (reason) => {
      if (this.connection !== connection) return;
      this.connection = undefined;
      this.failed(reason);
    };
    const params = {after: this.resumeAt, types: this.options.types, tenant_id: this.options.tenantId};
    connection.send({
      id: 0,
      body: `"method":"events.subscribe","params":${JSON.stringify(params)}`,
      replied: (result, error) => {
        if (error !== undefined) {
          this.ended(errorOfWire(error, 'events.subscribe'));
          return;
        }
        this.subscribedAt = performance.now();
        this.resumeAt ??= (result as {cursor: string}).cursor;
        this.cursor ??= this.resumeAt;
        this.subscribed?.();
      },
      lost: () => {},  // onClose says it
    });
  }

  private pushed(method: string, params: Record<string, unknown>): void {
    if (this.done) return;
    if (method === 'events.ended') {
      this.ended(errorOfWire((params['error'] ?? {}) as WireError, 'events.subscribe'));
      return;
    }
    if (method !== 'event') return;
    this.attempt = 0;
    this.resumeAt = params['cursor'] as string;
    if (params['event'] === undefined) {
      if (this.from === this.buffer.length) this.cursor = this.resumeAt;
      return;
    }
    this.buffer.push({cursor: this.resumeAt, event: params['event'] as PortcullisEvent});
    if (!this.paused && this.buffer.length - this.from >= bufferedMax) {
      this.paused = true;
      this.connection?.pause();
    }
    this.wake();
  }

  /** This subscription is over, its connection not. */
  private ended(failure: PortcullisError): void {
    const connection = this.connection;
    this.connection = undefined;
    if (connection) {
      connection.onClose = undefined;
      connection.close();
    }
    this.failed(failure);
  }

  private failed(failure: unknown): void {
    if (this.done) return;
    // One that ended as soon as it began is as bad as none.
    if (performance.now() - this.subscribedAt > 1000) this.attempt = 0;
    this.subscribedAt = Infinity;
    if (failure instanceof PortcullisError && final.has(failure.code)) {
      this.finish(failure);
      return;
    }
    const hint = failure instanceof PortcullisError ? failure.retryAfterMs ?? 0 : 0;
    const waitMs = Math.max(hint, backoffMs(this.attempt++, 50, 2000, Math.random()));
    this.timer = setTimeout(() => void this.run(), waitMs);
    if (!this.referenced) this.timer.unref();
  }
}

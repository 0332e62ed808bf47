// What a store knows of the request that it works for: neither express-session nor @fastify/session shows a store the request, so the
// binding context, and what this request has read, are carried beside the store.
//
// Three ways lead to a request's scope. The request itself, where the framework's session object has it (express-session): that is sure,
// also where a body parser's events lost the asynchronous context. Then what runs synchronously within the session middleware, where
// the store wraps that: free, and it cannot leak. Last an AsyncLocalStorage: for whatever stands between, but while a process uses one,
// each of its promises costs more. A scope whose response has ended is not taken from there: a queue that lets a request in when another
// one ends runs it in that one's asynchronous context, and it would be validated with another user's address.
import {AsyncLocalStorage} from 'node:async_hooks';
import type {IncomingMessage, ServerResponse} from 'node:http';

import type {Context, DenialReason, SessionData} from '../types.js';
import type {Lifetime} from './session.js';

/** Session ids that a scope remembers; a request has one or two, a long WebSocket may have more, and then the oldest is forgotten. */
const entriesMax = 32;

/** Why a session was not given out, for the application to see. */
export interface Denial {
  reason: DenialReason;
  /** Of `locked_out`: what is left of the lock. */
  retryAfterMs: number | undefined;
}

/** What a request knows of one session id. */
export interface Entry {
  /** `new`: not read by this request, so nothing is known. */
  state: 'new' | 'live' | 'ended';
  userId: string;
  version: number;
  /** Of the cookie that the server has. */
  lifetime: Lifetime;
  /** What the server has beside the cookie, as JSON; undefined where nobody will compare it. */
  content: string | undefined;
  /** By performance.now(): when it last counted as activity, or was looked at where it should not. */
  seenAt: number;
  /** The last write that was begun: writes of one request are done in their order. */
  tail: Promise<unknown> | undefined;
  /** The id that took this one's place when its user changed. */
  successor: string | undefined;
  /** What is to be created when it is saved again, or the response is sent: see Scope.defers. */
  pending: SessionData | undefined;
}

/** One request, or whatever else has a context: a job, a message of a WebSocket. */
export class Scope {
  readonly entries = new Map<string, Entry>();
  denial: Denial | undefined;
  over = false;
  /** The response tells this scope when it is over. */
  watched = false;
  /**
   * Within `regenerate` of @fastify/session: what it saves has no user yet, and a session's user is fixed at creation. It is created when
   * it is saved again or the response is sent. Nobody can know the id before.
   */
  defers = false;
  /** Called when the response is over, and before the rest is let go. */
  ending: (() => void) | undefined;
  /** Where a middleware of Express reports an error. */
  next: ((error: unknown) => void) | undefined;
  /** The response's end waits for a session that gets another id. */
  holdsEnd = false;
  /** A session whose user changed could not be created under a new id. */
  reissueFailed = false;
  /** The response's end is being called. */
  atEnd = false;

  constructor(readonly context: Context, readonly touch: boolean, public request: IncomingMessage | undefined,
    public response: ServerResponse | undefined) {}

  /** Finds or makes what is known of `sid`. */
  entry(sid: string): Entry {
    let entry = this.entries.get(sid);
    if (entry === undefined) {
      if (this.entries.size >= entriesMax) this.entries.delete(this.entries.keys().next().value as string);
      entry = {state: 'new', userId: '', version: 0, seenAt: 0, tail: undefined, successor: undefined, pending: undefined,
        lifetime: {endsAtMs: undefined, maxAgeMs: undefined}, content: undefined};
      this.entries.set(sid, entry);
    }
    return entry;
  }

  /** The response was sent. The request is let go: an asynchronous resource that outlives it may hold this scope. */
  end(): void {
    if (this.over) return;
    this.over = true;
    this.ending?.();
    this.request = this.response = this.ending = this.next = undefined;
  }
}

/** How a framework gives a request another session id. @internal */
export interface Reissue {
  /** A new id; undefined where that cannot be done any more. */
  begin(): string | undefined;
  /** The session exists under the new id. */
  commit(sid: string): void;
  /** That it failed is known to the request's error handler, whose answer is what is saved for now. */
  isTold: boolean;
}

type Scoped = Record<symbol, Scope | undefined>;

/** The scopes of one store. */
export class Scopes {
  private readonly storage = new AsyncLocalStorage<Scope>();
  /** On the request, one for each store: a WeakMap would make every garbage collection dearer. */
  private readonly key = Symbol('portcullis scope');
  private now: Scope | undefined;

  /** @param advice what to add to the application where a request has no scope */
  constructor(private readonly advice: string) {}

  /** Makes the scope of a request. */
  open(context: Context, touch: boolean, request: IncomingMessage, response: ServerResponse | undefined): Scope {
    return (request as object as Scoped)[this.key] = new Scope(context, touch, request, response);
  }

  /** Runs what the request does from here on, also asynchronously, in its scope, until the response is over. */
  run<T>(scope: Scope, work: () => T): T {
    const {response} = scope;
    // A WebSocket's upgrade has no response that ends.
    if (!scope.watched && typeof response?.once === 'function') {
      scope.watched = true;
      const end = (): void => scope.end();
      // A response that was sent says both, one that was cut off only the second; what is pipelined behind begins between the two.
      response.once('finish', end);
      response.once('close', end);
    }
    return this.inside(undefined, () => this.storage.run(scope, work));
  }

  /** Runs what `work` does synchronously in the scope. */
  runNow<T>(scope: Scope, work: () => T): T { return this.inside(scope, work); }

  private inside<T>(scope: Scope | undefined, work: () => T): T {
    const before = this.now;
    this.now = scope;
    try {
      return work();
    } finally {
      this.now = before;
    }
  }

  /** The scope of a request. */
  of(request: object): Scope | undefined { return (request as Scoped)[this.key]; }

  /** The scope of a request, or of whatever runs. */
  find(request?: unknown): Scope | undefined {
    const own = typeof request === 'object' && request !== null ? this.of(request) : undefined;
    if (own !== undefined) return own;
    if (this.now !== undefined) return this.now;
    const scope = this.storage.getStore();
    return scope === undefined || scope.over || scope.response?.writableEnded === true ? undefined : scope;
  }

  /** @throws TypeError that says what to add to the application */
  current(request?: unknown): Scope {
    const scope = this.find(request);
    if (scope === undefined) {
      throw new TypeError(`The store does not know which request it works for. ${this.advice} Where that was done: a request that is over ` +
        '(answered, or its client is gone) has only the methods of its own session; outside of a request, and where a callback lost the ' +
        'asynchronous context: store.withContext({ip, userAgent}, work).');
    }
    return scope;
  }
}

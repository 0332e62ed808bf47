// The store of express-session: its class, and the middleware that stands before it.
import crypto from 'node:crypto';
import type {IncomingMessage, ServerResponse} from 'node:http';

import session from 'express-session';

import type {Context} from '../types.js';
import type {Denial, Reissue} from './context.js';
import {isGone} from './errors.js';
import type {StoreEvents, StoreOptions, StoreStats} from './options.js';
import {deliver, StoreCore} from './store.js';

export type {ContextField, ContextOf, ContextOptions} from '../http/context.js';
export type {Denial} from './context.js';
export type {OldStore} from './migrate.js';
export type {Dropped, Failure, StoreEvents, StoreOptions, StoreStats} from './options.js';

export interface PortcullisStoreOptions extends StoreOptions {
  /**
   * What is done when a session is saved with another user than it was created for: a login without `req.session.regenerate()`, which is
   * session fixation (ASVS 7.2.4).
   * `refuse` (default): the save is an error and the session stays as it was. express-session has sent most of the response by then: the
   * visitor may see a page of success, the error goes to the application's error handler, and the visitor is not signed in.
   * `reissue`: the store does what regenerate would have: a new id (24 random bytes, whatever `genid` does) with the session's data, and
   * the old one is destroyed. It must be saved before the head of the response is sent, else it is refused. `res.end()` waits until the
   * new session exists: an outage is an error (503) like another, and the visitor keeps cookie and session. `req.sessionID` changes then,
   * `req.session.id` does not until the next request.
   */
  onUserChange?: 'refuse' | 'reissue';
}

type SessionMiddleware = ReturnType<typeof session>;
type SessionRequest = Parameters<SessionMiddleware>[0];
type SessionResponse = Parameters<SessionMiddleware>[1];
/** A middleware of Express. */
export type Middleware = (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void;
/** express-session gives a session its request, beside what is saved. */
type ExpressSession = session.SessionData & {req?: IncomingMessage & {sessionID?: string}};
/** express-session's maker of new sessions. @internal */
export type Generate = (request: Parameters<session.Store['regenerate']>[0]) => void;

const words = {
  advice: 'Write app.use(store.context(session({store, ...}))) instead of app.use(session({store, ...})); ' +
    'where handlers call methods of the store itself, app.use(store.context()) before it.',
  generator: 'the option genid of express-session',
  regenerate: 'The session belongs to another user, or to nobody yet. Call req.session.regenerate() before a user signs in, and set the user ' +
    'in its callback: whoever knew the id before would be signed in, too (session fixation). The session was left as it was. ' +
    'See the option onUserChange.',
};

/**
 * Sessions of express-session in Portcullis: checked against the address and the device that they were created from at each request,
 * and revocable at once.
 *
 * ```js
 * const store = new PortcullisStore({client: new PortcullisClient(), tenantId: 'acme', trustProxy: ['loopback']});
 * app.use(store.context(session({store, secret, resave: false, saveUninitialized: false})));
 * ```
 * Each method takes a callback or, without one, returns a promise. Emits `denied`, `dropped` and `failed`.
 */
export class PortcullisStore extends session.Store {
  private readonly core: StoreCore;
  private readonly reissues: boolean;
  private generates: Generate | undefined;

  /** @throws TypeError or RangeError that names the option */
  constructor(options: PortcullisStoreOptions) {
    super();
    const {onUserChange} = options ?? {};
    if (onUserChange !== undefined && onUserChange !== 'refuse' && onUserChange !== 'reissue') {
      throw new TypeError(`onUserChange is refuse or reissue, not ${String(onUserChange)}`);
    }
    this.reissues = onUserChange === 'reissue';
    this.core = new StoreCore(options, this, words);
  }

  /**
   * Middleware that reads the address and the device of each request. Around the session middleware, as above, it costs least. Without
   * one it stands directly before `session()`, on the same paths, and carries the context in an AsyncLocalStorage: for applications that
   * call the store's methods themselves in their handlers. A queue of requests must not stand between the two: such a queue lets one
   * request in from within another one.
   */
  context(middleware?: SessionMiddleware): Middleware {
    if (middleware !== undefined && typeof middleware !== 'function') {
      throw new TypeError('context: session({store, ...}) is a middleware, this is none');
    }
    return (request, response, next) => {
      let scope;
      try {
        scope = this.core.open(request, response);
      } catch (error) {
        // Nobody waits for an answer any more, and there is no address to judge by.
        if (isGone(error, request)) response.destroy();
        else next(error);  // of `touch` or `contextOf`
        return;
      }
      if (this.reissues) scope.next = next;
      if (middleware === undefined) this.core.scopes.run(scope, next);
      else this.core.scopes.runNow(scope, () => middleware(request as SessionRequest, response as SessionResponse, next));
    };
  }

  /** Runs `work` in a context that the caller knows: for a job, or a callback that lost its request. */
  withContext<T>(context: Context, work: () => T): T { return this.core.withContext(context, work); }

  /** Why the request has no session although it brought one; undefined where it was not denied. */
  denialOf(request: IncomingMessage): Denial | undefined { return this.core.scopes.of(request)?.denial; }

  /** What this store did since it was made. */
  stats(): StoreStats { return {...this.core.counts}; }

  /** Validates the session. No session: null. PortcullisError with `status` 401 or 429 by `denials`, 503 in an outage. */
  override get(sid: string, callback?: (error: unknown, session?: session.SessionData | null) => void):
    Promise<session.SessionData | null> | undefined {
    return deliver(this.core.get(sid) as Promise<session.SessionData | null>, callback);
  }

  /** Creates or replaces it. A session that ended meanwhile stays ended: no error, the event `dropped`. DATA_TOO_LARGE above `dataBytesMax`. */
  override set(sid: string, data: session.SessionData, callback?: (error?: unknown) => void): Promise<void> | undefined {
    const {req} = data as ExpressSession;
    return deliver(this.core.set(sid, data, req, this.reissues ? this.reissue(sid, req) : undefined), callback);
  }

  /** Counts as activity, where `get` of the same request did not. A lifetime that changed is written down. */
  override touch(sid: string, data: session.SessionData, callback?: (error?: unknown) => void): Promise<void> | undefined {
    return deliver(this.core.touch(sid, data, (data as ExpressSession).req), callback);
  }

  /** Ends it for ever. What is unknown or over is no error. */
  override destroy(sid: string, callback?: (error?: unknown) => void): Promise<void> | undefined {
    return deliver(this.core.destroy(sid), callback);
  }

  /** Ends all sessions of the tenant here, not those in `migrateFrom`. FORBIDDEN unless the client's token has role admin. */
  override clear(callback?: (error?: unknown) => void): Promise<void> | undefined { return deliver(this.core.clear(), callback); }

  /** @internal Made from what `get` gave. */
  override createSession(request: Parameters<session.Store['createSession']>[0], data: session.SessionData): session.Session & session.SessionData {
    const made = super.createSession(request, data);
    this.bind(made, request);
    return made;
  }

  /** @internal express-session puts its maker of new sessions here. */
  get generate(): Generate | undefined { return this.generates; }
  set generate(generate: Generate | undefined) {
    this.generates = generate && ((request) => {
      generate(request);
      this.bind(request.session, request);
    });
  }

  /** @internal */
  override regenerate(request: Parameters<session.Store['regenerate']>[0], callback: (error?: unknown) => unknown): void {
    void this.inScopeOf(request, () => super.regenerate(request, callback));
  }

  /**
   * `reload` and `destroy` ask the store by the id alone: a message of a WebSocket, a body parser's event, or whoever goes on after the
   * client went away, has no scope but the request's.
   */
  private bind(made: session.Session, request: object): void {
    for (const name of ['reload', 'destroy'] as const) {
      const method = made[name];
      Object.defineProperty(made, name, {configurable: true, writable: true, enumerable: false,
        value: (callback: (error: unknown) => void) => this.inScopeOf(request, () => method.call(made, callback))});
    }
    if (this.reissues) this.holdEnd(request as IncomingMessage & SessionRequest);
  }

  private inScopeOf<T>(request: object, work: () => T): T {
    const scope = this.core.scopes.of(request);
    return scope === undefined ? work() : this.core.scopes.runNow(scope, work);
  }

  /** express-session reads `req.sessionID` when the head is sent: the cookie of another id than came with the request is set. */
  private reissue(sid: string, request: ExpressSession['req']): Reissue {
    const scope = request && this.core.scopes.of(request);
    return {
      begin: () => {
        const response = scope?.response;
        if (request?.sessionID !== sid || response === undefined || response.headersSent) return undefined;
        return crypto.randomBytes(24).toString('base64url');
      },
      commit: (successor) => { if (request !== undefined) request.sessionID = successor; },
      isTold: scope?.atEnd === true && scope.reissueFailed,
    };
  }

  /**
   * express-session saves when the response ends, and sends the head, with the cookie, before it knows whether that went well. A session
   * that needs another id is therefore saved before it hears of the end.
   */
  private holdEnd(request: IncomingMessage & SessionRequest): void {
    const scope = this.core.scopes.of(request);
    const response = scope?.response;
    if (scope === undefined || typeof response?.end !== 'function' || scope.holdsEnd) return;
    scope.holdsEnd = true;
    const end = response.end.bind(response) as (...values: unknown[]) => ServerResponse;
    const endNow = (values: unknown[]): ServerResponse => {
      scope.atEnd = true;
      try {
        return end(...values);
      } finally {
        scope.atEnd = false;
      }
    };
    let held = false;
    response.end = ((...values: unknown[]) => {
      if (held) return response;
      const own = request.session as session.Session | undefined;
      if (own === undefined || response.headersSent || !this.core.needsReissue(scope, request.sessionID, own)) return endNow(values);
      held = true;
      const {next} = scope;
      own.save((error: unknown) => {
        held = false;
        if (!error || next === undefined) {
          endNow(values);
          return;
        }
        // What was said of the page that is not sent.
        for (const name of response.getHeaderNames()) if (/^(?:content-.*|etag|location)$/.test(name)) response.removeHeader(name);
        next(error);
      });
      return response;
    }) as ServerResponse['end'];
  }
}

export interface PortcullisStore {
  /** Listens to what StoreEvents names. */
  on<Name extends keyof StoreEvents>(name: Name, listener: (...values: StoreEvents[Name]) => void): this;
  /** As of any EventEmitter. */
  on(name: string | symbol, listener: (...values: unknown[]) => void): this;
}

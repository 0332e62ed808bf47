// The store of @fastify/session: its class, and the plugin that stands before it.
//
// @fastify/session never calls `touch`: its option `rolling` (default on) saves at each request. It shows a store neither the request nor,
// as express-session does, the session's own request: the methods of whatever is `request.session` are bound to the request's scope. They
// find it whatever the handler lost, and also when the response is over, or the client went away before there was one. The store's own
// methods are in the scope by the AsyncLocalStorage (Fastify keeps it over its body parsers).
//
// Its `regenerate` saves the new session at once, before the application can put a user in. One without a user is therefore created when it
// is saved again, or the response is sent.
import {EventEmitter} from 'node:events';
import type {IncomingMessage} from 'node:http';

import type {FastifyPluginCallback, FastifyRequest, Session} from 'fastify';
import type {SessionStore} from '@fastify/session';

import type {Context} from '../types.js';
import type {Denial, Scope} from './context.js';
import {isGone} from './errors.js';
import type {StoreEvents, StoreOptions, StoreStats} from './options.js';
import {deliver, StoreCore} from './store.js';

export type {ContextField, ContextOf, ContextOptions} from '../http/context.js';
export type {Denial} from './context.js';
export type {OldStore} from './migrate.js';
export type {Dropped, Failure, StoreEvents, StoreOptions, StoreStats} from './options.js';

const words = {
  advice: 'Register store.context() before @fastify/session: await app.register(store.context()).',
  generator: 'the option idGenerator of @fastify/session',
  regenerate: 'The session belongs to another user, or to nobody yet. Await request.session.regenerate() before a user signs in, and set the ' +
    'user on the new request.session: whoever knew the id before would be signed in, too (session fixation). The session was left as it was.',
};

/**
 * Sessions of @fastify/session in Portcullis.
 *
 * ```js
 * const store = new PortcullisStore({client: new PortcullisClient(), tenantId: 'acme', trustProxy: ['loopback']});
 * await app.register(fastifyCookie);
 * await app.register(store.context());
 * await app.register(fastifySession, {store, secret, saveUninitialized: false});
 * ```
 * Each method takes a callback or, without one, returns a promise. Emits `denied`, `dropped` and `failed`.
 *
 * A login without `regenerate()` is refused: `@fastify/session` saves before it sends, so that the response is the error (500).
 */
export class PortcullisStore extends EventEmitter<StoreEvents> implements SessionStore {
  private readonly core: StoreCore;

  /** @throws TypeError or RangeError that names the option */
  constructor(options: StoreOptions) {
    super();
    this.core = new StoreCore(options, this, words);
  }

  /** Plugin that reads the address and the device of each request. It is registered before `@fastify/session`, in the same place. */
  context(): FastifyPluginCallback {
    const plugin: FastifyPluginCallback = (fastify, _options, done) => {
      const settle = (scope: Scope, request: FastifyRequest): Promise<void> => {
        const session = request.session as Session & {sessionId?: string} | null | undefined;
        return this.core.settle(scope, session?.sessionId, session ?? undefined);
      };
      fastify.addHook('onRequest', (request, reply, next) => {
        let scope: Scope;
        try {
          scope = this.core.open(request.raw, reply.raw);
        } catch (error) {
          if (!isGone(error, request.raw)) return next(error as Error);  // of `touch` or `contextOf`
          // Nobody waits for an answer any more, and there is no address to judge by.
          reply.hijack();
          reply.raw.destroy();
          return undefined;
        }
        this.bindAll(request, scope);
        // Of a reply that the handler took over there is no onSend.
        scope.ending = () => {
          if (reply.sent) settle(scope, request).catch((error: unknown) => this.core.failed('late_save', error));
        };
        return this.core.scopes.run(scope, next);
      });
      fastify.addHook('onSend', (request, _reply, _payload, next) => {
        const scope = this.core.scopes.of(request.raw);
        if (scope === undefined) return next();
        settle(scope, request).then(() => next(), (error: unknown) => next(error as Error));
        return undefined;
      });
      done();
    };
    // As fastify-plugin does: the hooks are of the place where the plugin is registered, not of one below it.
    return Object.assign(plugin, {
      [Symbol.for('skip-override')]: true,
      [Symbol.for('fastify.display-name')]: 'portcullis-session-context',
    });
  }

  /** Runs `work` in a context that the caller knows: for a job, or a callback that lost its request. */
  withContext<T>(context: Context, work: () => T): T { return this.core.withContext(context, work); }

  /** Why the request has no session although it brought one; undefined where it was not denied. */
  denialOf(request: {raw: IncomingMessage}): Denial | undefined { return this.core.scopes.of(request.raw)?.denial; }

  /** What this store did since it was made. */
  stats(): StoreStats { return {...this.core.counts}; }

  /** Validates the session. No session: null. PortcullisError with `status` 401 or 429 by `denials`, 503 in an outage. */
  get(sid: string, callback?: (error: unknown, session?: Session | null) => void): Promise<Session | null> | undefined {
    return deliver(this.core.get(sid) as Promise<Session | null>, callback);
  }

  /** Creates or replaces it. A session that ended meanwhile stays ended: no error, the event `dropped`. DATA_TOO_LARGE above `dataBytesMax`. */
  set(sid: string, session: Session, callback?: (error?: unknown) => void): Promise<void> | undefined {
    return deliver(this.core.set(sid, session), callback);
  }

  /** Ends it for ever. What is unknown or over is no error. */
  destroy(sid: string, callback?: (error?: unknown) => void): Promise<void> | undefined {
    const scope = this.core.scopes.find();
    // `regenerate` goes on to save the new session, and shows the scope of neither.
    return deliver(this.core.destroy(sid), callback && ((error) => {
      if (scope?.over) this.core.scopes.runNow(scope, () => callback(error));
      else callback(error);
    }));
  }

  /** Ends all sessions of the tenant here, not those in `migrateFrom`. FORBIDDEN unless the client's token has role admin. */
  clear(callback?: (error?: unknown) => void): Promise<void> | undefined { return deliver(this.core.clear(), callback); }

  /** Binds whatever becomes the request's session. */
  private bindAll(request: FastifyRequest, scope: Scope): void {
    let own: unknown = request.session;
    Object.defineProperty(request, 'session', {configurable: true, enumerable: true, get: () => own, set: (session: unknown) => {
      own = session;
      if (typeof session === 'object' && session !== null && 'sessionId' in session) this.bind(session as object as Methods, scope);
    }});
  }

  private bind(session: Methods, scope: Scope): void {
    const {scopes} = this.core;
    for (const name of ['save', 'reload', 'destroy', 'regenerate'] as const) {
      const method = session[name];
      const bound = (...values: unknown[]): unknown => scopes.runNow(scope, () => method.apply(session, values));
      const value = name === 'regenerate' ? (...values: unknown[]) => this.regenerating(scope, bound, values) : bound;
      Object.defineProperty(session, name, {configurable: true, writable: true, enumerable: false, value});
    }
  }

  /** What is saved meanwhile is the new session, before the application can put a user in. */
  private regenerating(scope: Scope, regenerate: Method, values: unknown[]): unknown {
    scope.defers = true;
    const at = values.findIndex((each) => typeof each === 'function');
    const callback = values[at] as Method | undefined;
    if (callback === undefined) return (regenerate(...values) as Promise<void>).finally(() => { scope.defers = false; });
    return regenerate(...values.slice(0, at), (...results: unknown[]) => {
      scope.defers = false;
      return callback(...results);
    });
  }
}

type Method = (...values: unknown[]) => unknown;
type Methods = Record<'save' | 'reload' | 'destroy' | 'regenerate', Method>;

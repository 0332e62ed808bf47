// The store of @fastify/session: its class, and the plugin that stands before it.
//
// @fastify/session never calls `touch`: its option `rolling` (default on) saves at each request. It shows a store neither the request nor,
// as express-session does, the session's own request: what runs in the handler is in the scope by the AsyncLocalStorage (Fastify keeps
// it over its body parsers), and the scope is entered again before sending, where the session is saved, whatever the handler lost.
//
// Its `regenerate` saves the new session at once, before the application can put a user in. Sessions without a user are therefore created
// when the response is sent.
import {EventEmitter} from 'node:events';
import type {IncomingMessage} from 'node:http';

import type {FastifyPluginCallback, Session} from 'fastify';
import type {SessionStore} from '@fastify/session';

import type {Context} from '../types.js';
import type {Denial} from './context.js';
import {deliver, StoreCore, type StoreEvents, type StoreOptions, type StoreStats} from './store.js';

export type {ContextField, ContextOf, ContextOptions} from '../http/context.js';
export type {Denial} from './context.js';
export type {Dropped, OldStore, StoreEvents, StoreOptions, StoreStats} from './store.js';

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
 * Each method takes a callback or, without one, returns a promise. Emits `denied` and `dropped`.
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
      fastify.addHook('onRequest', (request, reply, next) => {
        let scope;
        try {
          scope = this.core.open(request.raw, reply.raw);
        } catch (error) {
          next(error as Error);  // of `touch` or `contextOf`
          return;
        }
        scope.defers = true;
        this.core.scopes.run(scope, next);
      });
      fastify.addHook('onSend', (request, _reply, _payload, next) => {
        const scope = this.core.scopes.of(request.raw);
        if (scope === undefined) return next();
        const session = request.session as Session & {sessionId?: string} | null | undefined;
        const settled = this.core.settle(scope, session?.sessionId, session ?? undefined);
        settled.then(() => this.core.scopes.run(scope, next), (error: unknown) => next(error as Error));
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
  destroy(sid: string, callback?: (error?: unknown) => void): Promise<void> | undefined { return deliver(this.core.destroy(sid), callback); }

  /** Ends all sessions of the tenant. FORBIDDEN unless the client's token has role admin. */
  clear(callback?: (error?: unknown) => void): Promise<void> | undefined { return deliver(this.core.clear(), callback); }
}

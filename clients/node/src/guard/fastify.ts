// The guard as a plugin of Fastify 5. Its types are Fastify's own; nothing of it is imported at run time.
import crypto from 'node:crypto';

import type {FastifyError, FastifyInstance, FastifyReply, FastifyRequest} from 'fastify';

import type {PortcullisError} from '../errors.js';
import {fieldsOf, shownError, type Denial} from './denial.js';
import {Guard, type GuardOptions} from './guard.js';
import {varyWithCookie, withCookie, type ReplyPort} from './reply.js';
import type {GuardSession} from './session.js';

export {signedIn, type GuardOptions} from './guard.js';
export type {CookieOptions} from './cookie.js';
export type {ErrorBody} from '../errors.js';
export type {Denial, GuardReason} from './denial.js';
export type {Anonymous, GuardSession, Login, SessionActions, SignedIn} from './session.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by `fastifyGuard`. */
    portcullis: GuardSession;
  }
  interface FastifyContextConfig {
    /** Whether this route needs a session, in place of the plugin's own `required`. */
    portcullis?: {required: boolean};
  }
}

export interface FastifyGuardOptions extends GuardOptions<FastifyRequest> {
  /**
   * Answers a refusal itself, as with a redirect to the login page, and then gives `true`; otherwise the unified error body is sent.
   * An outage comes here, too: see `denial.status` (503), and do not send those users to log in.
   */
  onDenied?: (denial: Denial, request: FastifyRequest, reply: FastifyReply) => boolean | void | Promise<boolean | void>;
}

// Bodies go as bytes: to the type of a text Fastify would add a charset, which JSON has none of (RFC 8259, 11).
const bytes = (error: PortcullisError): Buffer => Buffer.from(JSON.stringify(error));

/** What the guard writes to of a reply. */
function replyOf(reply: FastifyReply): ReplyPort {
  return {
    get headersSent() { return reply.raw.headersSent; },
    setCookie(name, line) {
      const lines = withCookie(reply.getHeader('set-cookie'), name, line);
      // Fastify adds to this field instead of replacing it.
      reply.removeHeader('set-cookie');
      reply.header('set-cookie', lines);
    },
    noStore() {
      if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store');
    },
    dropCache() {
      if (!reply.hasHeader('clear-site-data')) reply.header('clear-site-data', '"cache"');
    },
  };
}

/** `Vary: Cookie`, beside what is there. */
function varyByCookie(reply: FastifyReply): void {
  const value = varyWithCookie(reply.getHeader('vary'));
  if (value !== undefined) reply.header('vary', value);
}

/**
 * A plugin that validates the session of each request before its body is read, and puts it on `request.portcullis`. It holds for the
 * instance that registers it and what is below; a route may differ by `config: {portcullis: {required: false}}`.
 * Registering it rejects with TypeError or RangeError that names the option.
 */
export async function fastifyGuard(instance: FastifyInstance, options: FastifyGuardOptions): Promise<void> {
  const guard = new Guard<FastifyRequest>(options);
  const {onDenied} = options;
  if (onDenied !== undefined && typeof onDenied !== 'function') throw new TypeError('onDenied is a function');
  if (!instance.hasRequestDecorator('portcullis')) instance.decorateRequest('portcullis');
  instance.addHook('onRequest', async (request, reply) => {
    const required = request.routeOptions.config?.portcullis?.required;
    const {session, denial} = await guard.enter(request, request.raw, replyOf(reply), required);
    varyByCookie(reply);
    request.portcullis = session as unknown as GuardSession;
    if (denial === undefined) return;
    if (await onDenied?.(denial, request, reply) !== true && !reply.sent) {
      reply.code(denial.status).headers(fieldsOf(denial.error)).send(bytes(denial.error));
    }
    return reply;
  });
}
// What fastify-plugin would say: the hook and the decorator are the registering instance's, not those of a scope of their own.
Object.assign(fastifyGuard, {
  [Symbol.for('skip-override')]: true,
  [Symbol.for('fastify.display-name')]: 'portcullis-client',
  [Symbol.for('plugin-meta')]: {name: 'portcullis-client', fastify: '5.x'},
});

/**
 * For `setErrorHandler`: what `request.portcullis` and calls of a PortcullisClient reject with is answered by the unified body and its
 * status; other errors are thrown on to the handler above. `log` is told of each with its cause.
 */
export function guardErrors(options: {log?: (error: unknown, request: FastifyRequest) => void} = {}):
  (error: FastifyError, request: FastifyRequest, reply: FastifyReply) => FastifyReply {
  return (error, request, reply) => {
    const shown = shownError(error, crypto.randomBytes(8).toString('hex'));
    if (shown === undefined) throw error;
    options.log?.(error, request);
    return reply.code(shown.status).headers(fieldsOf(shown)).send(bytes(shown));
  };
}

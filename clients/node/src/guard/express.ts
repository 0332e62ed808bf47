// The guard as Express's middleware (4 and 5). Nothing of Express is imported: any framework with (req, res, next) on Node's own will do.
import crypto from 'node:crypto';
import type {IncomingMessage, ServerResponse} from 'node:http';

import {fieldsOf, shownError, type Denial} from './denial.js';
import {Guard, type GuardOptions} from './guard.js';
import {varyWithCookie, withCookie, type ReplyPort} from './reply.js';
import type {GuardSession} from './session.js';

export {signedIn, type GuardOptions} from './guard.js';
export type {CookieOptions} from './cookie.js';
export type {ErrorBody} from '../errors.js';
export type {Denial, GuardReason} from './denial.js';
export type {Anonymous, GuardSession, Login, SessionActions, SignedIn} from './session.js';

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace
  namespace Express {
    interface Request {
      /** Set by `expressGuard`. */
      portcullis: GuardSession;
    }
  }
}

/** Goes on to the next handler, or with an error to Express's error handlers. */
export type Next = (error?: unknown) => void;

export interface ExpressGuardOptions<Req extends IncomingMessage = IncomingMessage, Res extends ServerResponse = ServerResponse>
  extends GuardOptions<Req> {
  /**
   * Answers a refusal itself, as with a redirect to the login page, and then gives `true`; otherwise the unified error body is sent.
   * An outage comes here, too: see `denial.status` (503), and do not send those users to log in.
   */
  onDenied?: (denial: Denial, request: Req, response: Res) => boolean | void | Promise<boolean | void>;
}

/** What the guard writes to of Node's response. */
function replyOf(response: ServerResponse): ReplyPort {
  return {
    get headersSent() { return response.headersSent; },
    setCookie(name, line) {
      if (!response.headersSent) response.setHeader('Set-Cookie', withCookie(response.getHeader('Set-Cookie'), name, line));
    },
    noStore() {
      if (!response.headersSent && !response.hasHeader('Cache-Control')) response.setHeader('Cache-Control', 'no-store');
    },
    dropCache() {
      if (!response.headersSent && !response.hasHeader('Clear-Site-Data')) response.setHeader('Clear-Site-Data', '"cache"');
    },
  };
}

function answer(response: ServerResponse, status: number, fields: Record<string, string>, body: object): void {
  if (response.headersSent || response.destroyed) return;
  const text = JSON.stringify(body);
  response.statusCode = status;
  for (const [name, value] of Object.entries(fields)) response.setHeader(name, value);
  response.setHeader('Content-Length', Buffer.byteLength(text));
  // Of an answer to HEAD Node keeps the body back.
  response.end(text);
}

/** `Vary: Cookie`, beside what is there. */
function varyByCookie(response: ServerResponse): void {
  if (response.headersSent) return;
  const value = varyWithCookie(response.getHeader('Vary'));
  if (value !== undefined) response.setHeader('Vary', value);
}

/**
 * Middleware that validates the session of each request and puts it on `req.portcullis`. Put what must answer without a session (CORS
 * preflights, health checks, static files) before it. A second one on the same way does not ask again: one with `required: false` for
 * all and one with `required: true` before what needs a user go together.
 * @throws TypeError or RangeError that names the option
 */
export function expressGuard<Req extends IncomingMessage = IncomingMessage, Res extends ServerResponse = ServerResponse>(
  options: ExpressGuardOptions<Req, Res>): (request: Req, response: Res, next: Next) => void {
  const guard = new Guard<Req>(options);
  const {onDenied} = options;
  if (onDenied !== undefined && typeof onDenied !== 'function') throw new TypeError('onDenied is a function');

  const pass = async (request: Req, response: Res): Promise<boolean> => {
    const {session, denial} = await guard.enter(request, request, replyOf(response));
    varyByCookie(response);
    (request as Req & {portcullis: GuardSession}).portcullis = session as unknown as GuardSession;
    if (denial === undefined) return true;
    if (await onDenied?.(denial, request, response) !== true) answer(response, denial.status, fieldsOf(denial.error), denial.error.toJSON());
    return false;
  };
  return (request, response, next) => {
    pass(request, response).then((goesOn) => { if (goesOn) next(); }, next);
  };
}

/**
 * An error handler for the end of the application: what `req.portcullis` and calls of a PortcullisClient reject with is answered by the
 * unified body and its status; other errors go on. `log` is told of each with its cause.
 */
export function guardErrors(options: {log?: (error: unknown, request: IncomingMessage) => void} = {}):
  (error: unknown, request: IncomingMessage, response: ServerResponse, next: Next) => void {
  return (error, request, response, next) => {
    const shown = shownError(error, crypto.randomBytes(8).toString('hex'));
    if (shown === undefined || response.headersSent) {
      next(error);
      return;
    }
    options.log?.(error, request);
    answer(response, shown.status, fieldsOf(shown), shown.toJSON());
  };
}

/**
 * For Express 4, which does not see what an async handler rejects with, so that Node ends the process:
 * `app.post('/login', caught(async (req, res) => ...))`. Express 5 does by itself.
 */
export function caught<Req, Res>(handler: (request: Req, response: Res, next: Next) => unknown): (request: Req, response: Res, next: Next) => void {
  return (request, response, next) => {
    // In a promise of its own: what is thrown before the first await counts alike.
    new Promise((resolve) => { resolve(handler(request, response, next)); }).catch(next);
  };
}

// The guard, without a framework: one request in, its session or its refusal out. Express's and Fastify's adapters say how that is written.
import crypto from 'node:crypto';
import type {IncomingMessage} from 'node:http';
import type {Socket} from 'node:net';

import type {CallOptions} from '../engine.js';
import {isPortcullisError} from '../errors.js';
import {contextReader, type ContextOf, type ContextOptions} from '../http/context.js';
import {refuseUnknown} from '../known.js';
import type {PortcullisClient} from '../portcullis.js';
import type {Context, SessionData} from '../types.js';
import {cookieSettings, findCookie, type CookieOptions, type CookieSettings} from './cookie.js';
import {denialOf, denialOfError, isOutage, publicOf, type Denial, type GuardReason} from './denial.js';
import type {ReplyPort} from './reply.js';
import {RequestSession} from './request-session.js';
import type {GuardSession, SignedIn} from './session.js';

/** The last three are Fastify's own, of `register`. */
const optionNames = new Set(['client', 'tenant', 'required', 'cookie', 'context', 'trustProxy', 'fields', 'touch', 'rotateEveryS', 'dataBytesMax', 'noStore',
  'correlationId', 'log', 'onDenied', 'prefix', 'logLevel', 'logSerializers']);

/** Options of either guard. `trustProxy` and `fields` are those of `contextReader`. */
export interface GuardOptions<Request = IncomingMessage> extends ContextOptions {
  client: PortcullisClient;
  /**
   * Whose sessions are accepted and made: a name, or what gives it for a request (undefined: no session is accepted). A valid session of
   * another tenant is refused with 403.
   */
  tenant: string | ((request: Request) => string | undefined);
  /**
   * Default true: a request without a valid session is refused. False: it goes on with `valid: false`. What cannot be known is refused
   * either way: while the server or its store is out the answer is 503, and nobody is taken for anonymous or logged out.
   */
  required?: boolean;
  cookie?: CookieOptions;
  /** The context instead of `contextReader`'s, when the application knows better. */
  context?: ContextOf;
  /** Whether a request counts as activity. Default: all do. Say no for what a page asks by itself, or it never times out (ASVS 7.3.1). */
  touch?: (request: Request) => boolean;
  /**
   * Seconds after which an id is replaced, with grace: requests under way with the old one go on. 10..86,400; default: never. A second cookie
   * (the name and `-at`) says when. Requests that do not count as activity do not rotate.
   */
  rotateEveryS?: number;
  /**
   * Bytes of JSON that `login` takes as data, 0..65,536; more is DATA_TOO_LARGE before anything is done. Default 16,384, as the server's
   * `limits.data_bytes`: give what that is where it is another.
   */
  dataBytesMax?: number;
  /**
   * Default true: `Cache-Control: no-store` on what is answered with a session, and `Clear-Site-Data: "cache"` where the cookie is taken away
   * and where a request is refused whose session is over, so that "back" after a logout, here or elsewhere, shows nothing. A handler may
   * set others. Browsers take the latter over HTTPS and from localhost.
   */
  noStore?: boolean;
  /** A correlation id, 1..64 of `[A-Za-z0-9._-]`. Default: the trace id of `traceparent`, else a new one. Another form is not used. */
  correlationId?: (request: Request) => string | undefined;
  /** Told of each refusal, and of each cookie that was not accepted where no session is needed. What it throws is dropped. */
  log?: (denial: Denial, request: Request) => void;
}

/** What came of a request. */
export type Entered = {session: RequestSession; denial: Denial | undefined};

const sessionIdForm = /^[0-9a-f]{64}$/;
const correlationForm = /^[A-Za-z0-9._-]{1,64}$/;
/** W3C Trace Context, version 00 and what later ones may add behind. */
const traceparentForm = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]{0,200})?$/;
/** A cookie that says it was made later than this from now is not believed, s. */
const clockSkewS = 60;
/** The server's own `limits.data_bytes`, unless configured, and the most that can be. */
const dataBytesUsual = 16_384;
const dataBytesMost = 65_536;
/**
 * The cookie goes where it can be nobody's session: ids that the server does not know are counted against the address, and others may
 * come from there. That of a session that is over stays: it does no harm, and the answer may be a late one, to a request from before a
 * login in another tab; it would take away the cookie of that login. When the server has forgotten the session, it goes.
 */
const clears = new Set<GuardReason>(['not_found', 'malformed_cookie']);
const over = new Set<GuardReason>(['expired', 'revoked']);

/**
 * Whether the connection has ended. Node knows no address of its other end then; where a reset came right behind the request that is so
 * before the socket says that it is destroyed. A Unix socket has no address at either end.
 */
function isGone(socket: Socket): boolean {
  return socket.destroyed || socket.remoteAddress === undefined && (socket.localAddress !== undefined || socket.localPort !== undefined);
}

/** One that was asked before about the same request. */
interface Known extends Entered {
  client: PortcullisClient;
  cookie: string;
  tenantId: string | undefined;
}
const known = new WeakMap<IncomingMessage, Known>();

export class Guard<Request = IncomingMessage> {
  readonly required: boolean;
  private readonly cookie: CookieSettings;
  private readonly sinceCookie: string | undefined;
  private readonly dataBytesMax: number;
  private readonly contextOf: ContextOf;

  /** @throws TypeError or RangeError that names the option */
  constructor(private readonly options: GuardOptions<Request>) {
    if (typeof options?.client?.sessions?.validate !== 'function') throw new TypeError('client: a PortcullisClient is needed');
    refuseUnknown(options, optionNames);
    const {tenant, rotateEveryS, dataBytesMax = dataBytesUsual, required = true} = options;
    const named = typeof tenant === 'string' && tenant !== '';
    if (!named && typeof tenant !== 'function') throw new TypeError('tenant: a name, or a function of the request');
    if (typeof required !== 'boolean') throw new TypeError('required is true or false');
    for (const name of ['context', 'touch', 'correlationId', 'log'] as const) {
      if (options[name] !== undefined && typeof options[name] !== 'function') throw new TypeError(`${name} is a function`);
    }
    if (rotateEveryS !== undefined && !(rotateEveryS >= 10 && rotateEveryS <= 86_400)) {
      throw new RangeError(`rotateEveryS is 10..86400, not ${rotateEveryS}`);
    }
    if (!(Number.isInteger(dataBytesMax) && dataBytesMax >= 0 && dataBytesMax <= dataBytesMost)) {
      throw new RangeError(`dataBytesMax is 0..${dataBytesMost}, not ${dataBytesMax}`);
    }
    this.required = required;
    this.dataBytesMax = dataBytesMax;
    this.cookie = cookieSettings(options.cookie);
    this.sinceCookie = rotateEveryS === undefined ? undefined : `${this.cookie.name}-at`;
    this.contextOf = options.context ?? contextReader(options);
  }

  /**
   * Judges a request. `raw` is Node's own, whose fields count; `request` is the framework's, for the application's functions.
   * Rejects with what a function of the options threw, and with TypeError or RangeError for what one gave that is none; whatever else goes
   * wrong is a refusal.
   */
  async enter(request: Request, raw: IncomingMessage, reply: ReplyPort, required = this.required): Promise<Entered> {
    const tenantId = this.tenantOf(request);
    const before = known.get(raw);
    // A second guard on the way of the same request does not ask again; it may be the stricter of the two.
    if (before !== undefined && before.client === this.options.client && before.cookie === this.cookie.name && before.tenantId === tenantId) {
      const {session} = before;
      const kept = before.denial?.reason === session.reason ? before.denial : undefined;
      const denial = kept ?? denialOf(session.reason ?? 'no_cookie', session.correlationId);
      if (session.valid || !this.refused(denial.reason, required)) return {session, denial: undefined};
      this.forget(denial, reply);
      return {session, denial: this.told(denial, request)};
    }
    const {session, denial} = await this.judge(request, raw, reply, tenantId);
    known.set(raw, {session, denial, client: this.options.client, cookie: this.cookie.name, tenantId});
    if (denial === undefined) {
      if (this.options.noStore !== false) reply.noStore();
      return {session, denial};
    }
    const refused = this.refused(denial.reason, required);
    if (refused || denial.reason !== 'no_cookie') this.told(denial, request);
    if (refused) this.forget(denial, reply);
    return {session, denial: refused ? denial : undefined};
  }

  private async judge(request: Request, raw: IncomingMessage, reply: ReplyPort, tenantId: string | undefined): Promise<Entered> {
    const {client} = this.options;
    const call = this.callOptions(request, raw);
    const correlationId = call.correlationId as string;
    const found = findCookie(raw.headers.cookie, this.cookie.name);
    const presented = found.kind === 'one' && sessionIdForm.test(found.value) ? found.value : undefined;
    const {context, failure} = this.addressed(raw, correlationId);
    const session = new RequestSession({client, cookie: this.cookie, sinceCookie: this.sinceCookie, dataBytesMax: this.dataBytesMax,
      noStore: this.options.noStore !== false, reply, context, call, correlationId, tenantId, presented});
    const denied = (denial: Denial): Entered => {
      session.deny(denial.reason);
      if (clears.has(denial.reason) && !reply.headersSent) session.clear();
      return {session, denial};
    };
    if (failure !== undefined) return denied(failure);
    if (found.kind === 'none') return denied(denialOf('no_cookie', correlationId));
    if (found.kind === 'several') return denied(denialOf('ambiguous_cookie', correlationId));
    if (presented === undefined) return denied(denialOf('malformed_cookie', correlationId));
    if (tenantId === undefined) return denied(denialOf('unknown_tenant', correlationId));
    const touch = this.options.touch?.(request) !== false;
    try {
      const answer = await client.sessions.validate({sessionId: presented, context, touch: touch ? undefined : false}, call);
      if (!answer.valid) return denied(denialOf(answer.reason, correlationId, answer.retryAfterMs));
      if (answer.tenantId !== tenantId) return denied(denialOf('other_tenant', correlationId));
      session.accept(answer);
      // Whoever comes with an id in grace never got the new one, or has it on its way: the same successor is given again.
      if (touch && !reply.headersSent && (answer.rotated || this.due(raw, answer.createdAtMs))) await this.renew(session, request);
    } catch (failure) {
      if (!isPortcullisError(failure)) throw failure;
      return denied(denialOfError(failure, correlationId));
    }
    return {session, denial: undefined};
  }

  /** What the server is to compare, or why there is nothing: asked with a made-up address it would count a failed attempt of the user's. */
  private addressed(raw: IncomingMessage, correlationId: string): {context: Context; failure?: Denial} {
    const none: Context = {ip: '0.0.0.0'};
    if (isGone(raw.socket)) return {context: none, failure: denialOf('client_closed', correlationId)};
    try {
      return {context: this.contextOf(raw)};
    } catch (failure) {
      if (!isPortcullisError(failure, 'INVALID_PARAMS') || failure.sent) throw failure;
      // A Unix socket, and nobody who says whom the request comes from.
      return {context: none, failure: denialOfError(failure, correlationId)};
    }
  }

  /** Refused, and the session is over: pages of it that the browser still has are to go. */
  private forget(denial: Denial, reply: ReplyPort): void {
    if (this.options.noStore !== false && over.has(denial.reason)) reply.dropCache();
  }

  /** A rotation that cannot be done now is done at a later request. */
  private async renew(session: RequestSession, request: Request): Promise<void> {
    try {
      await session.renew();
    } catch (failure) {
      if (!isPortcullisError(failure) || !isOutage(failure)) throw failure;
      this.told(denialOfError(failure, session.correlationId), request);
    }
  }

  /** Whether the id is older than it may be. The cookie beside it is the browser's word: who changes it keeps or loses but an id of his own. */
  private due(raw: IncomingMessage, createdAtMs: number): boolean {
    const {rotateEveryS} = this.options;
    if (rotateEveryS === undefined || this.sinceCookie === undefined) return false;
    const found = findCookie(raw.headers.cookie, this.sinceCookie);
    const nowS = Date.now() / 1000;
    const saidS = found.kind === 'one' && /^\d{1,12}$/.test(found.value) ? Number(found.value) : 0;
    const sinceS = saidS > 0 && saidS <= nowS + clockSkewS ? saidS : createdAtMs / 1000;
    return nowS - sinceS >= rotateEveryS;
  }

  private refused(reason: GuardReason, required: boolean): boolean {
    return required || reason === 'unavailable' || reason === 'misconfigured' || reason === 'client_closed';
  }

  private told(denial: Denial, request: Request): Denial {
    try {
      this.options.log?.(denial, request);
    } catch {
      // A log that fails must not decide about a request.
    }
    return denial;
  }

  private tenantOf(request: Request): string | undefined {
    const {tenant} = this.options;
    if (typeof tenant === 'string') return tenant;
    const name = tenant(request);
    if (name !== undefined && typeof name !== 'string') throw new TypeError('tenant: the function gives a text or undefined');
    return name === '' ? undefined : name;
  }

  private callOptions(request: Request, raw: IncomingMessage): CallOptions {
    const given = raw.headers['traceparent'];
    const traceparent = typeof given === 'string' && traceparentForm.test(given) ? given : undefined;
    const own = this.options.correlationId?.(request);
    const correlationId = own !== undefined && correlationForm.test(own) ? own :
      traceparent?.slice(3, 35) ?? crypto.randomBytes(8).toString('hex');
    return {correlationId, ...(traceparent !== undefined && {traceparent})};
  }
}

/**
 * The session of a request, which is there: for handlers behind a guard with `required: true`, and for those that need one behind another.
 * @throws PortcullisError AUTH_REQUIRED (401) where there is none, or no guard was on the way
 */
export function signedIn<Data = SessionData>(request: {portcullis?: GuardSession | null}): SignedIn<Data> {
  const session = request.portcullis;
  if (session?.valid !== true) throw publicOf('AUTH_REQUIRED', session?.correlationId ?? crypto.randomBytes(8).toString('hex'));
  return session as unknown as SignedIn<Data>;
}

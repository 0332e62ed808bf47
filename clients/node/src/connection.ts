// One socket to one server: framing, ids, login, and what is in flight on it. It is used once: when it is lost, another one is made.
import net from 'node:net';
import tls from 'node:tls';

import {isPrivate, type Address} from './address.js';
import {errorOfWire, PortcullisError, type WireError} from './errors.js';

/** Trust and identity for TLS listeners: the names of node:tls. */
export interface TlsOptions {
  ca?: string | Buffer | (string | Buffer)[];
  cert?: string | Buffer;
  key?: string | Buffer;
  passphrase?: string;
  /** The name that the certificate must have, where it is not the host of the address. */
  servername?: string;
  /** `false` accepts any certificate: for experiments on one machine only. */
  rejectUnauthorized?: boolean;
}

/** What a connection needs to become usable. */
export interface ConnectionOptions {
  readonly tls: TlsOptions;
  /** Gives the token at each connection, so that it can be replaced while the process lives. */
  readonly token: (() => string | undefined | Promise<string | undefined>) | undefined;
  readonly connectTimeoutMs: number;
}

/** A request as a connection sees it. */
export interface Request {
  /** Given by the connection that it is sent on. */
  id: number;
  /** `"method":"...","params":{...}` */
  readonly body: string;
  /** The answer came: exactly one of the two. */
  replied(result: unknown, error: WireError | undefined): void;
  /** The connection ended before. */
  lost(reason: PortcullisError): void;
}

/** A notification of the server. */
export type Push = (method: string, params: Record<string, unknown>) => void;

interface Message {
  id?: number | null;
  result?: unknown;
  error?: WireError;
  method?: string;
  params?: Record<string, unknown>;
}

/** The longest reply that is read; the server's own bound for what it keeps unread is 8 MiB. */
const replyBytesMax = 16 * 1024 * 1024;
const newline = 0x0a;
const readBytes = 64 * 1024;
/** Characters that wait for a peer that does not read. */
const unwrittenMax = 1024 * 1024;
/**
 * A request's id is its slot in the connection's table, plus a number that grows by this with each request. (A Map would do, but its
 * dead tables, once old, keep what was in them alive until the next full collection: a third of the time was garbage collection.)
 */
export const slotsMax = 1024;
/** Ids below 0 are the connection's own. */
const loginId = -1;
const versionId = -2;
const probeId = -3;

/** A connection that is logged in, or over. */
export class Connection {
  readonly address: Address;
  /** How many requests wait for their answer. */
  inFlight = 0;
  /** Called once, when it is over; `undefined` where this side closed it. */
  onClose: ((reason: PortcullisError | undefined) => void) | undefined;
  onPush: Push | undefined;
  /** What had to wait was written. */
  onDrain: (() => void) | undefined;
  /** When the last byte came, by performance.now(). */
  heardAt = performance.now();
  /** The server's own version text, once ready. */
  serverVersion = '';
  /** The server said that it is about to stop: nothing new is sent here. */
  draining = false;
  over = false;
  /** So much waits to be written, by callers who may not even wait any more, that nothing new is sent. */
  get clogged(): boolean { return this.out.length > unwrittenMax; }
  /** It is asked whether it still lives; nothing new is sent meanwhile. */
  suspect = false;

  private readonly socket: net.Socket;
  private readonly own = new Map<number, {resolve(result: unknown): void; reject(reason: PortcullisError): void}>();
  private readonly slots: (Request | undefined)[] = [];
  private readonly free: number[] = [];
  private lastNumber = 0;
  private rest: Buffer[] = [];
  private restBytes = 0;
  private out = '';
  private greeted = false;
  private closing = false;
  private flushing = false;
  private failure: PortcullisError | undefined;
  private readonly flush: () => void;

  private constructor(address: Address, options: ConnectionOptions) {
    this.address = address;
    this.socket = open(address, options.tls, (chunk) => this.received(chunk));
    this.socket.setNoDelay(true);
    this.socket.setKeepAlive(true, 30_000);
    this.socket.on('error', (cause) => {
      // Before the greeting was answered there was no connection to lose, and nothing was asked.
      const [code, sent] = this.greeted ? ['CONNECTION_LOST', true] as const : ['UNREACHABLE', false] as const;
      this.failure ??= new PortcullisError(code, {message: `${address.text}: ${describe(cause)}`, cause, sent});
    });
    this.socket.on('close', () => this.ended());
    this.socket.on('drain', () => {
      this.flush();
      this.onDrain?.();
    });
    this.flush = () => {
      this.flushing = false;
      if (this.out === '' || this.over || this.socket.writableNeedDrain) return;
      const text = this.out;
      this.out = '';
      // Mostly ASCII, which costs half as much to write where it is said to be.
      this.socket.write(text, Buffer.byteLength(text) === text.length ? 'latin1' : 'utf8');
    };
  }

  /**
   * Connects, shakes hands, checks the version of the protocol and logs in.
   * @param signal gives it up while it is being made
   * @throws PortcullisError what went wrong, with the system's own error as `cause`.
   */
  static async open(address: Address, options: ConnectionOptions, signal: AbortSignal): Promise<Connection> {
    if (signal.aborted) throw new PortcullisError('CLOSED');
    let connection: Connection | undefined;
    let giveUp: (() => void) | undefined;
    let patience: NodeJS.Timeout | undefined;
    const givenUp = new Promise<never>((_, reject) => {
      giveUp = (): void => reject(new PortcullisError('CLOSED'));
      signal.addEventListener('abort', giveUp, {once: true});
      patience = setTimeout(() => {
        reject(new PortcullisError('TIMEOUT', {message: `${address.text}: not connected within ${options.connectTimeoutMs} ms.`}));
      }, options.connectTimeoutMs);
    });
    try {
      const token = await Promise.race([tokenOf(options), givenUp]);
      if (token !== undefined && !isPrivate(address)) throw new PortcullisError('TOKEN_IN_CLEAR', {sent: false});
      connection = new Connection(address, options);
      await Promise.race([connection.greet(token), givenUp]);
      return connection;
    } catch (reason) {
      connection?.socket.destroy();
      throw reason;
    } finally {
      clearTimeout(patience);
      signal.removeEventListener('abort', giveUp as () => void);
    }
  }

  /** Sends a request; its answer, or its loss, is told to it. To be called while it is not over and fewer than `slotsMax` are in flight. */
  send(request: Request): void {
    const slot = this.free.pop() ?? this.slots.length;
    this.lastNumber += slotsMax;
    request.id = this.lastNumber + slot;
    this.slots[slot] = request;
    ++this.inFlight;
    this.write(request.id, request.body);
  }

  /** Forgets a request whose caller no longer waits; its answer is dropped. False when it was not in flight. */
  forget(id: number): boolean {
    return this.takeOut(id) !== undefined;
  }

  /** Ends it for a reason; what is in flight is lost with it. */
  fail(reason: PortcullisError): void {
    this.failure ??= reason;
    this.socket.destroy();
  }

  /** Asks whether the other side is still there, and ends the connection when no answer comes in time. Resolves when that is known. */
  async probe(patienceMs: number): Promise<void> {
    if (this.suspect || this.over) return;
    this.suspect = true;
    const patience = setTimeout(() => {
      this.fail(new PortcullisError('CONNECTION_LOST', {
        message: `${this.address.text}: nothing was heard for ${Math.round(performance.now() - this.heardAt)} ms.`}));
    }, patienceMs);
    await this.ask(probeId, '"method":"server.ping"').catch(() => {});
    clearTimeout(patience);
    this.suspect = false;
  }

  /** Ends it in order: FIN after what was sent. */
  close(): void {
    this.closing = true;
    this.flush();
    this.socket.end();
    // The other side may never close its half.
    const patience = setTimeout(() => this.socket.destroy(), 1000);
    this.socket.once('close', () => clearTimeout(patience));
  }

  /** Stops and goes on reading: for a consumer of events that is slower than its source. */
  pause(): void { this.socket.pause(); }
  resume(): void { this.socket.resume(); }

  /** Whether this connection alone keeps the process alive. */
  ref(): void { this.socket.ref(); }
  unref(): void { this.socket.unref(); }

  private write(id: number, body: string): void {
    this.out += `{"jsonrpc":"2.0","id":${id},${body}}\n`;
    if (this.flushing) return;
    // What is asked within one turn of the event loop, by however many callers, is one write.
    this.flushing = true;
    setImmediate(this.flush);
  }

  private async greet(token: string | undefined): Promise<void> {
    const version = this.ask(versionId, '"method":"server.version"') as Promise<{name?: string; version?: string; protocol?: number}>;
    const login = token === undefined ? undefined : this.ask(loginId, `"method":"auth.login","params":${JSON.stringify({token})}`);
    login?.catch(() => {});  // told below, after the version's
    const {name, version: text, protocol} = await version;
    if (protocol !== 1) {
      throw new PortcullisError('PROTOCOL', {message: `${this.address.text}: protocol 1 is spoken here, ${name ?? 'the other side'} says ${protocol}.`});
    }
    this.serverVersion = text ?? '';
    await login;
    this.greeted = true;
  }

  private ask(id: number, body: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.own.set(id, {resolve, reject});
      this.write(id, body);
    });
  }

  /** The memory of `chunk` is used again for the next one. */
  private received(chunk: Buffer): void {
    this.heardAt = performance.now();
    const last = chunk.lastIndexOf(newline);
    if (last < 0) {
      this.keep(chunk);
      return;
    }
    let text: string;
    if (this.rest.length === 0) {
      text = chunk.toString('utf8', 0, last);
    } else {
      text = Buffer.concat([...this.rest, chunk.subarray(0, last)]).toString('utf8');
      this.rest = [];
      this.restBytes = 0;
    }
    if (last + 1 < chunk.length) this.keep(chunk.subarray(last + 1));

    // A line holds no newline but its last byte (compact JSON): many lines are parsed at once.
    let messages: Message[];
    try {
      messages = text.includes('\n') ? JSON.parse(`[${text.replaceAll('\n', ',')}]`) as Message[] : [JSON.parse(text) as Message];
    } catch (cause) {
      this.fail(new PortcullisError('PROTOCOL', {message: `${this.address.text}: what came is not JSON.`, cause}));
      return;
    }
    for (const message of messages) this.take(message);
  }

  private keep(part: Buffer): void {
    this.rest.push(Buffer.from(part));
    this.restBytes += part.length;
    if (this.restBytes > replyBytesMax) {
      this.fail(new PortcullisError('PROTOCOL', {message: `${this.address.text}: a reply of more than ${replyBytesMax} bytes.`}));
    }
  }

  private take(message: Message): void {
    const id = message?.id;
    if (typeof id === 'number') {
      if (isObject(message.result) === isObject(message.error)) {
        this.fail(new PortcullisError('PROTOCOL', {message: `${this.address.text}: a reply has neither result nor error, or both.`}));
        return;
      }
      const request = this.takeOut(id);
      if (request !== undefined) {
        request.replied(message.result, message.error);
        return;
      }
      const asked = this.own.get(id);
      if (asked !== undefined) {
        this.own.delete(id);
        if (message.error !== undefined) asked.reject(errorOfWire(message.error));
        else asked.resolve(message.result);
      }
      return;  // else: nobody waits for it any more
    }
    if (typeof message?.method === 'string') {
      this.onPush?.(message.method, message.params ?? {});
    } else if (message?.error !== undefined && isObject(message.error)) {
      // About the connection, not about a request: the server says why it closes.
      this.failure ??= errorOfWire(message.error);
    } else {
      this.fail(new PortcullisError('PROTOCOL', {message: `${this.address.text}: what came is no JSON-RPC 2.0.`}));
    }
  }

  private takeOut(id: number): Request | undefined {
    if (id < 0) return undefined;
    const slot = id % slotsMax;
    const request = this.slots[slot];
    if (request?.id !== id) return undefined;
    this.slots[slot] = undefined;
    this.free.push(slot);
    --this.inFlight;
    return request;
  }

  private ended(): void {
    this.over = true;
    const lost = this.failure ?? new PortcullisError('CONNECTION_LOST', {message: `${this.address.text}: the server closed the connection.`});
    for (const asked of this.own.values()) asked.reject(lost);
    this.own.clear();
    const requests = this.slots.filter((each) => each !== undefined).sort((a, b) => a.id - b.id);
    this.slots.length = this.free.length = this.inFlight = 0;
    try {
      this.onClose?.(this.closing ? undefined : lost);
    } finally {
      for (const request of requests) request.lost(lost);
    }
  }
}

async function tokenOf(options: ConnectionOptions): Promise<string | undefined> {
  try {
    // A file of a token ends in a newline.
    return (await options.token?.())?.trim();
  } catch (cause) {
    // What a token's source says of its failure may hold what nobody should read.
    throw new PortcullisError('UNREACHABLE', {message: 'The token could not be had.', cause, sent: false});
  }
}

function open(address: Address, options: TlsOptions, received: (chunk: Buffer) => void): net.Socket {
  // One piece of memory for all that comes: otherwise each read takes 64 KiB anew.
  const onread = {buffer: Buffer.allocUnsafeSlow(readBytes), callback: (size: number, buffer: Uint8Array): boolean => {
    received((buffer as Buffer).subarray(0, size));
    return true;
  }};
  if (address.path !== undefined) return net.connect({path: address.path, onread});
  const host = address.host ?? '127.0.0.1';
  const port = address.port ?? 0;
  if (!address.tls) return net.connect({host, port, onread});
  const servername = options.servername ?? (net.isIP(host) === 0 ? host : undefined);
  const socket = tls.connect({...options, host, port, minVersion: 'TLSv1.2', ALPNProtocols: ['portcullis-rpc'],
    ...(servername !== undefined && {servername})});
  return socket.on('data', received);
}

function isObject(value: unknown): boolean { return typeof value === 'object' && value !== null && !Array.isArray(value); }

/** An AggregateError of several addresses has no message of its own. */
function describe(cause: Error & {code?: string; errors?: Error[]}): string {
  return cause.message || cause.errors?.[0]?.message || cause.code || cause.name;
}

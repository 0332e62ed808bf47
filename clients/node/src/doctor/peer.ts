// The doctor's own socket: it looks at what the client's connections hide, the handshake and the first bytes of whoever is there.
import net from 'node:net';
import tls from 'node:tls';

import type {Address} from '../address.js';
import type {TlsOptions} from '../connection.js';
import {errorOfWire, PortcullisError, type WireError} from '../errors.js';

/** Who answers in clear, by the first bytes of the answer. */
export type PeerKind = 'json' | 'http' | 'redis' | 'tls' | 'ssh' | 'greeting' | 'unknown';

/** @param bytes what came in answer to a line of JSON */
export function identify(bytes: Buffer): PeerKind {
  const text = bytes.toString('latin1', 0, 64);
  if (/^\s*[{[]/.test(text)) return 'json';
  if (text.startsWith('HTTP/')) return 'http';
  if (/^-(ERR|NOAUTH|DENIED|LOADING|WRONGTYPE|MASTERDOWN|NOPERM)\b/.test(text)) return 'redis';
  if ((bytes[0] === 0x15 || bytes[0] === 0x16) && bytes[1] === 3) return 'tls';
  if (text.startsWith('SSH-')) return 'ssh';
  if (/^\d{3}[ -]/.test(text)) return 'greeting';
  return 'unknown';
}

/** How the attempt to get an answer ended. */
export type Ending = {kind: 'error'; cause: NodeJS.ErrnoException & {reason?: string}} | {kind: 'closed'} | {kind: 'timeout'};

/** An attempt that gave no usable connection; `connected`: the other side took it, what failed is the handshake. */
export type Failure = Ending & {connected: boolean};

/** A connection that is spoken to a line at a time. It believes any certificate: what it says of it is for judging, and no token goes before that. */
export class Peer {
  /** All bytes up to the first whole answer. */
  private received = Buffer.alloc(0);
  private ending: Ending | undefined;
  private wake: (() => void) | undefined;
  private lastId = 0;

  private constructor(readonly socket: net.Socket, private readonly timeoutMs: number) {
    socket.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk]);
      // Nobody who speaks the protocol answers these questions at such length.
      if (this.received.length > answerBytesMax) socket.destroy();
      this.wake?.();
    });
    socket.on('error', (cause) => this.end({kind: 'error', cause}));
    socket.on('close', () => this.end({kind: 'closed'}));
  }

  /** Connects, with TLS where `secure`. @returns how it failed, where it did */
  static open(address: Address, secure: boolean, options: TlsOptions, timeoutMs: number): Promise<Peer | Failure> {
    const host = address.host ?? '127.0.0.1';
    const port = address.port ?? 0;
    const servername = options.servername ?? (net.isIP(host) === 0 ? host : undefined);
    const socket = address.path !== undefined ? net.connect({path: address.path}) : !secure ? net.connect({host, port}) :
      tls.connect({...options, host, port, minVersion: 'TLSv1.2', ALPNProtocols: ['portcullis-rpc'], rejectUnauthorized: false,
        ...(servername !== undefined && {servername})});
    return new Promise((resolve) => {
      const peer = new Peer(socket, timeoutMs);
      let connected = false;
      socket.once('connect', () => { connected = true; });
      const settle = (ending?: Ending): void => {
        clearTimeout(patience);
        peer.wake = undefined;
        if (ending !== undefined) socket.destroy();
        resolve(ending === undefined ? peer : {...ending, connected});
      };
      const patience = setTimeout(() => settle({kind: 'timeout'}), timeoutMs);
      socket.once(secure ? 'secureConnect' : 'connect', () => settle());
      peer.wake = () => { if (peer.ending !== undefined) settle(peer.ending); };
    });
  }

  /** Asks; an error that the server answers is a PortcullisError. @returns what else came, with its first bytes */
  async ask(method: string, params: object = {}): Promise<{result: Record<string, unknown>} | {error: PortcullisError} |
    {other: Ending; bytes: Buffer}> {
    this.received = Buffer.alloc(0);
    this.socket.write(`${JSON.stringify({jsonrpc: '2.0', id: ++this.lastId, method, params})}\n`);
    let patience: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => { patience = setTimeout(resolve, this.timeoutMs); });
    let over = false;
    void timeout.then(() => { over = true; this.wake?.(); });
    try {
      for (;;) {
        const newline = this.received.indexOf(0x0a);
        if (newline >= 0) {
          const answer = parse(this.received.toString('utf8', 0, newline));
          if (isObject(answer?.error)) return {error: errorOfWire(answer.error as WireError, method)};
          if (isObject(answer?.result)) return {result: answer.result};
        }
        if (newline >= 0 || this.ending !== undefined || over) {
          return {other: this.ending ?? (over ? {kind: 'timeout'} : {kind: 'closed'}), bytes: this.received};
        }
        await new Promise<void>((resolve) => { this.wake = resolve; });
      }
    } finally {
      clearTimeout(patience);
      this.wake = undefined;
    }
  }

  close(): void { this.socket.destroy(); }

  private end(ending: Ending): void {
    this.ending ??= ending;
    this.wake?.();
  }
}

const answerBytesMax = 1024 * 1024;

/** Null and bare values are no answers of this protocol. */
function isObject(value: unknown): value is Record<string, unknown> { return typeof value === 'object' && value !== null; }

function parse(line: string): {result?: unknown; error?: unknown} | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

// Where a server is: host:port, portcullis://, portcullis+tls://, unix:.
import net from 'node:net';

/** A parsed address. */
export interface Address {
  /** As it was written, for messages. */
  readonly text: string;
  readonly tls: boolean;
  readonly path?: string;
  readonly host?: string;
  readonly port?: number;
}

/** The port of a server without TLS. */
export const defaultPort = 7420;

/**
 * `host:port`, `[::1]:port`, `host` (port 7420), `portcullis://host:port`, `portcullis+tls://host:port` (a port is needed), `unix:/path`.
 * `tls` makes all but Unix sockets TLS ones.
 * @throws TypeError that names what is wrong.
 */
export function parseAddress(text: string, tls = false): Address {
  // Before anything else: no other message may show what stands before it.
  if (text.includes('@') && !text.startsWith('unix:')) {
    throw new TypeError('address: a token does not belong into an address; use the option token');
  }
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length);
    if (!path.startsWith('/')) throw new TypeError(`address "${text}": unix: wants an absolute path`);
    return {text, tls: false, path};
  }
  let rest = text;
  let secure = tls;
  const scheme = /^([a-z+]+):\/\//.exec(text);
  if (scheme) {
    if (scheme[1] !== 'portcullis' && scheme[1] !== 'portcullis+tls') {
      throw new TypeError(`address "${text}": the scheme is portcullis:// or portcullis+tls://`);
    }
    secure = scheme[1] === 'portcullis+tls' || tls;
    rest = text.slice(scheme[0].length).replace(/\/$/, '');
  }
  const parts = /^(?:\[([0-9A-Fa-f:.%\w]+)\]|([^:/[\]\s]+))(?::(\d{1,5}))?$/.exec(rest) ?? undefined;
  const host = parts?.[1] ?? parts?.[2];
  if (host === undefined) throw new TypeError(`address "${text}": expected host:port, [ipv6]:port or unix:/path`);
  if (secure && parts?.[3] === undefined) throw new TypeError(`address "${text}": a TLS listener has no default port; write it`);
  const port = parts?.[3] === undefined ? defaultPort : Number(parts[3]);
  if (port < 1 || port > 65535) throw new TypeError(`address "${text}": a port is 1..65535`);
  return {text, tls: secure, host, port};
}

/** Whether what is sent there cannot be read on the way: TLS, a Unix socket, or this machine. */
export function isPrivate(address: Address): boolean {
  if (address.tls || address.path !== undefined) return true;
  const host = address.host ?? '';
  if (net.isIPv4(host)) return host.startsWith('127.');
  return host === '::1' || host === 'localhost' || host === '::ffff:127.0.0.1';
}

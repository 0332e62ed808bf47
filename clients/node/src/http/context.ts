// What Portcullis compares of a user's request: the address, by the proxies that are trusted, and a few fields.
import type {IncomingMessage} from 'node:http';
import net from 'node:net';

import {PortcullisError} from '../errors.js';
import type {Context} from '../types.js';

/** Fields of a request that a context can have. */
export type ContextField = 'userAgent' | 'accept' | 'acceptLanguage' | 'acceptEncoding';

/** Whom to believe, and what to compare. */
export interface ContextOptions {
  /**
   * Who may say in `X-Forwarded-For` whom a request comes from: addresses, CIDRs, or the names `loopback`, `linklocal`,
   * `uniquelocal`, `unix` (whoever connects over a Unix socket). Default: nobody, the address is the connection's.
   */
  trustProxy?: readonly string[];
  /**
   * Default `userAgent` and `acceptLanguage`, as the server's forward-auth has it. `accept` and `acceptEncoding` differ between the
   * requests of one page (documents, images, fetch), and would log people out.
   */
  fields?: readonly ContextField[];
}

/**
 * Gives the context of a request.
 * @throws PortcullisError INVALID_PARAMS, field `ip`, `sent: false`: the request has no address, for its connection is gone or it came
 * over a Unix socket without `X-Forwarded-For`. An address that is made up instead would be a mismatch, and count towards a lockout.
 */
export type ContextOf = (request: IncomingMessage) => Context;

const groups: Record<string, readonly string[]> = {
  loopback: ['127.0.0.0/8', '::1/128'],
  linklocal: ['169.254.0.0/16', 'fe80::/10'],
  uniquelocal: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
};
const headers: Record<ContextField, string> = {
  userAgent: 'user-agent', accept: 'accept', acceptLanguage: 'accept-language', acceptEncoding: 'accept-encoding',
};
/** The server's bound for a field; the same cut at each request compares alike. */
const fieldBytesMax = 1024;
/** More entries than any chain of proxies makes. */
const hopsMax = 32;

/** A list of trusted proxies. @throws TypeError that names the entry that is none */
function trustOf(entries: readonly string[]): {addresses: net.BlockList; unix: boolean} {
  const addresses = new net.BlockList();
  let unix = false;
  for (const entry of entries.flatMap((each) => groups[each] ?? [each])) {
    if (entry === 'unix') {
      unix = true;
      continue;
    }
    const [address = '', bits, more] = entry.split('/');
    const family = net.isIP(address);
    const most = family === 4 ? 32 : 128;
    const prefix = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : -1;
    if (family === 0 || more !== undefined || prefix < 0 || prefix > most) {
      throw new TypeError(`trustProxy: "${entry}" is no address, CIDR, nor one of loopback, linklocal, uniquelocal, unix`);
    }
    addresses.addSubnet(address, prefix, family === 4 ? 'ipv4' : 'ipv6');
  }
  return {addresses, unix};
}

/** IPv4-mapped IPv6 is its IPv4; no zone. */
function plain(address: string): string {
  const text = address.replace(/%.*$/, '');
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(text);
  return mapped?.[1] ?? text;
}

/** One entry of X-Forwarded-For as an address: some proxies write a port, IPv6 then in brackets. */
function entryAddress(entry: string): string | undefined {
  const text = entry.trim();
  const inner = /^\[([^\]]+)\](?::\d+)?$/.exec(text)?.[1] ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(text)?.[1] ?? text;
  const address = plain(inner);
  return net.isIP(address) === 0 ? undefined : address;
}

/** Node reads fields as Latin-1; the server's forward-auth sees UTF-8 of the same bytes, and both must compare alike. */
function utf8Of(text: string): string {
  return /^[\x00-\x7f]*$/.test(text) ? text : Buffer.from(text, 'latin1').toString('utf8');
}

function cut(text: string): string {
  if (text.length * 3 <= fieldBytesMax || Buffer.byteLength(text) <= fieldBytesMax) return text;
  // Not in the middle of a character: what is left over of one becomes U+FFFD and goes.
  return Buffer.from(text).subarray(0, fieldBytesMax).toString('utf8').replace(/\uFFFD+$/, '');
}

/**
 * Makes the function that reads contexts. The address is the connection's; where that is a trusted proxy, it is the last entry of
 * `X-Forwarded-For` that is no trusted proxy itself (what stands before that anyone can have written). An entry that is no address
 * ends the search: the proxy that passed it on counts.
 * @throws TypeError for an entry of `trustProxy` that is none
 */
export function contextReader(options: ContextOptions = {}): ContextOf {
  if (options.trustProxy !== undefined && !Array.isArray(options.trustProxy)) {
    throw new TypeError('trustProxy: a list of addresses, CIDRs, or loopback, linklocal, uniquelocal, unix; no number, and not true: that would believe everybody');
  }
  const {addresses, unix} = trustOf(options.trustProxy ?? []);
  const fields = options.fields ?? ['userAgent', 'acceptLanguage'];
  for (const field of fields) if (!(field in headers)) throw new TypeError(`fields: "${field}" is not one of ${Object.keys(headers).join(', ')}`);
  // Each check makes an object of the address, which shows at every request.
  const none = (options.trustProxy ?? []).length === 0;
  const trusted = (address: string): boolean => !none && addresses.check(address, net.isIPv6(address) ? 'ipv6' : 'ipv4');

  const addressOf = (request: IncomingMessage): string => {
    const {remoteAddress: peer, localAddress: own, destroyed} = request.socket;
    // One of TCP whose peer is gone has no remote address any more; a Unix socket never had either.
    if (peer === undefined && (own !== undefined || destroyed)) return '';
    let address = peer === undefined ? '' : plain(peer);
    if (address === '' ? !unix : !trusted(address)) return address;
    const forwarded = request.headers['x-forwarded-for'];
    const entries = (Array.isArray(forwarded) ? forwarded.join(',') : forwarded ?? '').split(',');
    for (let i = entries.length - 1; i >= 0 && i >= entries.length - hopsMax; --i) {
      const entry = entryAddress(entries[i] as string);
      if (entry === undefined) break;
      address = entry;
      if (!trusted(entry)) break;
    }
    return address;
  };

  return (request) => {
    const ip = addressOf(request);
    if (ip === '') {
      const gone = request.socket.destroyed || request.socket.localAddress !== undefined;
      throw new PortcullisError('INVALID_PARAMS', {details: {field: 'ip', rule: 'address'}, sent: false, message: gone ?
        'The connection of the request is gone, and its address with it.' :
        'The request came over a Unix socket and has no address: trust who listens there (trustProxy: ["unix"]), and let it send X-Forwarded-For.'});
    }
    const context: Context = {ip};
    for (const field of fields) {
      const value = request.headers[headers[field]];
      if (typeof value === 'string' && value !== '') context[field] = cut(utf8Of(value));
    }
    return context;
  };
}

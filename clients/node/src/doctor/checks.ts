// The checks of one address, in their order; the first that makes the next ones senseless ends them.
import dns from 'node:dns/promises';
import net from 'node:net';
import tls from 'node:tls';
import {X509Certificate} from 'node:crypto';

import {isPrivate, parseAddress, type Address} from '../address.js';
import {explainAlert, explainCertificate, explainConnect, explainError, explainPeer, refusal, type Words} from './explain.js';
import type {DoctorOptions} from './options.js';
import {identify, Peer} from './peer.js';
import type {Finding, Status} from './report.js';

/** What is known of an address behind these checks. */
export interface Reached {
  address: Address;
  /** Of `auth.login`; undefined where nobody logged in. */
  role: string | undefined;
  nodeId: string | undefined;
  mode: string | undefined;
  /** The other nodes that this one hears of, by their ids. */
  fleet: string[];
}

/** Where findings go as they are made. */
export type Tell = (finding: Finding) => void;

/** As the server's own alert TlsCertificateExpiring. */
const daysLeftMin = 14;
const dayMs = 86_400_000;

const finding = (check: string, status: Status, words: Words): Finding => ({check, status, ...words});

/** The text of an address without what could be a secret in it. */
export function shown(text: string): string { return text.includes('@') ? `...@${text.slice(text.lastIndexOf('@') + 1)}` : text; }

/**
 * Looks at one address up to a login. Whatever the other side sends becomes a finding. @returns undefined where it is of no use to go on
 */
export async function reach(text: string, options: DoctorOptions, tell: Tell): Promise<Reached | undefined> {
  try {
    return await steps(text, options, tell);
  } catch (cause) {
    tell(finding('protocol', 'failed', {seen: `what came cannot be read: ${String(cause).slice(0, 100)}`,
      why: 'Another server is there, or one of another version.', advice: 'Use the address of Portcullis.'}));
    return undefined;
  }
}

async function steps(text: string, options: DoctorOptions, tell: Tell): Promise<Reached | undefined> {
  const address = await locate(text, options, tell);
  if (address === undefined) return undefined;
  const peer = await connect(address, options, tell);
  if (peer === undefined) return undefined;
  try {
    if (!await speaks(peer, address, tell)) return undefined;
    const login = await logIn(peer, address, options, tell);
    if (login === undefined) return undefined;
    return await info(peer, address, login.role, address.tls && options.tls.cert !== undefined, tell);
  } finally {
    peer.close();
  }
}

async function locate(text: string, options: DoctorOptions, tell: Tell): Promise<Address | undefined> {
  let address: Address;
  try {
    if (text.includes('@')) throw new TypeError('a token or password does not belong into an address');
    address = parseAddress(text, options.secure);
  } catch (cause) {
    tell(finding('address', 'failed', {seen: (cause as Error).message,
      advice: 'Write host:port, [ipv6]:port, portcullis+tls://host:port or unix:/path; a token goes into --token-file or PORTCULLIS_TOKEN.'}));
    return undefined;
  }
  if (address.path !== undefined) {
    tell(finding('address', 'ok', {seen: `Unix socket ${address.path}`}));
  } else {
    const host = address.host ?? '';
    let resolved = '';
    if (net.isIP(host) === 0) {
      try {
        const all = await dns.lookup(host, {all: true});
        resolved = ` (${all.map((each) => each.address).join(', ')})`;
      } catch (cause) {
        tell(finding('address', 'failed', explainConnect({kind: 'error', cause: cause as Error, connected: false}, address, options.timeoutMs)));
        return undefined;
      }
    }
    tell(finding('address', 'ok', {seen: `${host}${resolved}, port ${address.port}, ${address.tls ? 'TLS' : 'without TLS'}`}));
  }
  const idle = Object.keys(options.tls);
  if (!address.tls && idle.length > 0) {
    tell(finding('tls', 'warning', {seen: `${idle.map((each) => `--${each}`).join(', ')} without TLS`,
      why: 'This address is spoken to in clear; these have no effect.',
      advice: 'Add --tls, or write portcullis+tls://HOST:PORT.'}));
  }
  return address;
}

async function connect(address: Address, options: DoctorOptions, tell: Tell): Promise<Peer | undefined> {
  if (address.tls && options.tls.cert !== undefined && !identityIsGood(options.tls.cert as string, tell)) return undefined;
  const beganAt = performance.now();
  const peer = await Peer.open(address, address.tls, options.tls, options.timeoutMs);
  const took = `${(performance.now() - beganAt).toFixed(1)} ms`;
  if (peer instanceof Peer) {
    const {remoteAddress, remotePort} = peer.socket;
    tell(finding('connect', 'ok', {seen: `${address.path ?? `${remoteAddress} port ${remotePort}`}, ${took}`}));
    if (!address.tls || handshake(peer.socket as tls.TLSSocket, address, options, tell)) return peer;
    peer.close();
    return undefined;
  }
  if (!peer.connected) {
    tell(finding('connect', 'failed', explainConnect(peer, address, options.timeoutMs)));
    return undefined;
  }
  tell(finding('connect', 'ok', {seen: 'the port is open'}));
  tell(finding('tls', 'failed', explainAlert(peer) ?? await whoInClear(address, options)));
  return undefined;
}

/** TLS was asked for and did not come about. */
async function whoInClear(address: Address, options: DoctorOptions): Promise<Words> {
  const peer = await Peer.open(address, false, {}, options.timeoutMs);
  if (!(peer instanceof Peer)) return explainConnect(peer, address, options.timeoutMs);
  const answer = await peer.ask('server.version');
  peer.close();
  if ('result' in answer) {
    return {seen: 'no TLS there: the server answers in clear', why: 'That is the listener without TLS.',
      advice: 'Use the port of listen.rpc_tls.address; from the server\'s own machine also portcullis://HOST:PORT, without --tls.'};
  }
  if ('error' in answer) {
    return {seen: 'the TLS handshake did not come to its end',
      why: 'The port is that of a TLS listener (it says so in clear); the handshake broke off.',
      advice: 'Look into the server\'s log; raise --timeout-ms.'};
  }
  const words = explainPeer(identify(answer.bytes), answer.other, answer.bytes);
  return {...words, seen: `no TLS there: ${words.seen}`};
}

/** The client's own certificate can be judged here already. */
function identityIsGood(pem: string, tell: Tell): boolean {
  const {validFrom, validTo} = new X509Certificate(pem);
  const now = Date.now();
  if (Date.parse(validTo) >= now && Date.parse(validFrom) <= now) return true;
  tell(finding('tls', 'failed', {seen: `the client certificate is valid from ${validFrom} to ${validTo}`,
    why: 'It is not valid now. If the dates look right, this machine\'s clock is wrong.',
    advice: 'Get another one (--cert, --key).'}));
  return false;
}

function handshake(socket: tls.TLSSocket, address: Address, options: DoctorOptions, tell: Tell): boolean {
  const certificate = socket.getPeerCertificate();
  const host = options.tls.servername ?? address.host ?? '';
  const names = certificate.subjectaltname ?? `CN ${String(certificate.subject?.CN ?? '?')}`;
  const left = Math.floor((Date.parse(certificate.valid_to) - Date.now()) / dayMs);
  const about = `${socket.getProtocol()}, ${socket.getCipher().standardName ?? socket.getCipher().name}`;
  const more = {names, host, until: certificate.valid_to, from: certificate.valid_from};
  if (!socket.authorized) {
    tell(finding('tls', 'failed', explainCertificate(String(socket.authorizationError), more)));
    // A chain that is not believed hides that the name is wrong, too.
    const misnamed = tls.checkServerIdentity(host, certificate) as (Error & {code?: string}) | undefined;
    if (misnamed !== undefined && misnamed.code !== String(socket.authorizationError)) {
      tell(finding('tls', 'failed', explainCertificate('ERR_TLS_CERT_ALTNAME_INVALID', more)));
    }
    return false;
  }
  const seen = `${about}; certificate for ${names}, ${left} days left`;
  tell(left >= daysLeftMin ? finding('tls', 'ok', {seen}) : finding('tls', 'warning', {seen,
    why: `It ends on ${certificate.valid_to}; from then on nobody connects.`,
    advice: 'Renew it; a reload of the server takes the new one, and connections go on.'}));
  return true;
}

async function speaks(peer: Peer, address: Address, tell: Tell): Promise<boolean> {
  const answer = await peer.ask('server.version');
  if ('result' in answer) {
    const {name, version, protocol} = answer.result;
    if (protocol === 1 && typeof version === 'string') {
      tell(finding('protocol', 'ok', {seen: `${String(name)} ${version}, protocol 1`}));
      return true;
    }
    tell(finding('protocol', 'failed', {seen: `${JSON.stringify(answer.result).slice(0, 100)}; this client speaks protocol 1`,
      advice: 'Use a client and a server of versions that belong together.'}));
  } else if ('error' in answer) {
    tell(finding('protocol', 'failed', answer.error.code === 'TLS_REQUIRED' && !address.tls ?
      {seen: `${answer.error.code}: ${answer.error.message}`, why: 'That is a TLS listener, and it was spoken to in clear.',
        advice: `Use portcullis+tls://${address.host}:${address.port}, or --tls.`} : explainError(answer.error)));
  } else {
    const alert = address.tls ? explainAlert(answer.other) : undefined;
    tell(finding(alert ? 'tls' : 'protocol', 'failed', alert ?? explainPeer(identify(answer.bytes), answer.other, answer.bytes)));
  }
  return false;
}

async function logIn(peer: Peer, address: Address, options: DoctorOptions, tell: Tell): Promise<{role: string | undefined} | undefined> {
  if (options.token === undefined) return {role: undefined};
  if (!isPrivate(address)) {
    tell(finding('login', 'failed', refusal('TOKEN_IN_CLEAR')));
    return undefined;
  }
  const answer = await peer.ask('auth.login', {token: options.token});
  if ('result' in answer) {
    const role = String(answer.result['role']);
    tell(finding('login', 'ok', {seen: `as ${String(answer.result['name'])}`}));
    if (role === 'app') tell(finding('role', 'ok', {seen: 'app'}));
    else if (role === 'admin') {
      tell(finding('role', 'warning', {seen: 'admin',
        why: 'An application with this token could do everything, also reset breakers and forget users.',
        advice: 'Give applications tokens of role app.'}));
    } else {
      tell(finding('role', 'failed', {seen: role, why: 'Sessions are made and validated by role app; this one may only look.',
        advice: 'Use a token of role app.'}));
    }
    return {role};
  }
  tell(finding('login', 'failed', 'error' in answer ? explainError(answer.error) : explainPeer(identify(answer.bytes), answer.other, answer.bytes)));
  return undefined;
}

async function info(peer: Peer, address: Address, role: string | undefined, certified: boolean, tell: Tell): Promise<Reached | undefined> {
  const answer = await peer.ask('server.info');
  if (!('result' in answer)) {
    tell(finding('login', 'failed', 'error' in answer ? explainError(answer.error) : explainPeer(identify(answer.bytes), answer.other,
      answer.bytes)));
    return undefined;
  }
  const {node_id: nodeId, mode, store, nodes} = answer.result as {node_id?: string; mode?: string; store?: {kind?: string; degraded?: boolean};
    nodes?: unknown};
  if (role === undefined) {
    tell(finding('login', 'ok', certified ? {seen: 'by the client certificate'} : {seen: 'none is needed',
      why: 'auth.mode of the server is "none": whoever reaches it may do everything. It takes that in development and on loopback only.'}));
  }
  const kind = `node ${nodeId ?? '?'}, mode ${mode ?? '?'}, store ${store?.kind ?? '?'}`;
  tell(store?.degraded === true ? finding('store', 'failed', {seen: `${kind}, degraded`,
    why: 'The server cannot reach its store: changes are refused, or nothing is decided.',
    advice: 'Look at Redis (store.redis.url) or the disk, and at the events store_degraded.'}) : finding('store', 'ok', {seen: kind}));
  const listed = Array.isArray(nodes) ? nodes as ({node_id?: unknown} | null)[] : [];
  return {address, role, nodeId, mode, fleet: listed.map((each) => String(each?.node_id ?? ''))};
}

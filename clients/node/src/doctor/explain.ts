// What errors mean and what to do about them, in words. Pure: no sockets, no clock.
import type {Address} from '../address.js';
import {isPortcullisError, PortcullisError} from '../errors.js';
import {serverErrors, type ServerErrorName} from '../generated/errors.js';
import type {Ending, Failure, PeerKind} from './peer.js';

/** The text of a finding. */
export interface Words {
  seen: string;
  why?: string;
  advice?: string;
}

type Failed = NodeJS.ErrnoException & {reason?: string; errors?: NodeJS.ErrnoException[]};

const codeOf = (cause: Failed): string => cause.code ?? cause.errors?.[0]?.code ?? cause.name;
const textOf = (cause: Failed): string => (cause.message || cause.errors?.[0]?.message || codeOf(cause)).trim();

/** The system said that there can be no connection. */
export function explainConnect(failure: Failure, address: Address, timeoutMs: number): Words {
  const local = address.path !== undefined;
  if (failure.kind === 'timeout') {
    return {seen: `no connection within ${timeoutMs} ms`,
      why: 'Packets are dropped on the way: a firewall, a wrong address, or a machine that is down.',
      advice: `Look at the firewall for port ${address.port}, and try from the server's own machine.`};
  }
  if (failure.kind === 'closed') return {seen: 'closed at once', why: 'Nobody wants connections there.'};
  const code = codeOf(failure.cause);
  const seen = textOf(failure.cause);
  switch (code) {
    case 'ECONNREFUSED':
      return local ? {seen, why: 'The file is there and nobody listens: the server has ended, or the file is no socket.',
        advice: 'Start the server; listen.rpc_unix.path of its configuration names the socket.'} :
        {seen, why: 'The machine answers, and nobody listens at this port.',
          advice: 'Is the server running, and does listen.rpc.address (or listen.rpc_tls.address) of its configuration name this address and port? ' +
            'A server that listens on 127.0.0.1 is reached from its own machine only.'};
    case 'ENOTFOUND': case 'EAI_AGAIN': case 'EAI_NODATA': case 'EAI_NONAME':
      return {seen, why: code === 'EAI_AGAIN' ? 'The name servers did not answer.' : 'There is no such name.',
        advice: 'Look at the spelling, /etc/hosts and /etc/resolv.conf; an address in digits needs no name server.'};
    case 'ETIMEDOUT':
      return {seen, why: 'Packets are dropped on the way.', advice: `Look at the firewall for port ${address.port}.`};
    case 'EHOSTUNREACH': case 'ENETUNREACH': case 'EADDRNOTAVAIL':
      return {seen, why: 'This machine has no way to that address.',
        advice: 'Look at the routes (ip route get ADDRESS), at VPNs, and whether IPv6 works here.'};
    case 'ENOENT':
      return {seen, why: 'There is no such socket.',
        advice: 'Is the server running, and does listen.rpc_unix.path of its configuration name this file?'};
    case 'EACCES': case 'EPERM':
      return {seen, why: local ? 'This user may not write to the socket.' : 'This machine forbids the connection.',
        advice: local ? 'Put the user into the group that the socket belongs to; the folders above it count, too.' : 'Look at the firewall and the ' +
          'sandbox of this process.'};
    case 'EMFILE': case 'ENFILE':
      return {seen, why: 'This process may open no more files.', advice: 'Raise the limit (ulimit -n).'};
    default:
      return {seen, advice: 'This is what the system says; the connection was not made.'};
  }
}

/** Alerts of TLS by a part of OpenSSL's text. */
const alerts: [RegExp, string, string][] = [
  [/certificate[_ ]required|handshake failure|bad certificate$/i, 'The server wants a client certificate, or not the one that was given.',
    'Give --cert and --key of a certificate that tls.client_ca_file of the server signed.'],
  [/no application protocol/i, 'That is an HTTPS listener.', 'Use the port of listen.rpc_tls.address.'],
  [/unknown ca/i, 'The server does not know who signed the client certificate.', 'Use a certificate that tls.client_ca_file of the server signed.'],
  [/certificate revoked/i, 'The client certificate was revoked.', 'Get another one.'],
  [/certificate expired/i, 'The client certificate has expired, or the server\'s revocation list has.',
    'Look at the dates of --cert, and at tls.crl_file of the server.'],
  [/(certificate unknown|unsupported certificate|bad certificate)/i, 'The server does not accept the client certificate.',
    'Look into the server\'s log: it says why.'],
  [/protocol version|unsupported protocol|no protocols available/i, 'The two sides have no version of TLS in common.',
    'The client speaks TLS 1.2 and 1.3; look at tls.min_version of the server.'],
];

/** The handshake, or what came right after it, failed. `undefined`: by nothing that TLS would say; ask the peer in clear. */
export function explainAlert(ending: Ending): Words | undefined {
  if (ending.kind !== 'error') return undefined;
  const text = ending.cause.reason ?? textOf(ending.cause);
  const found = alerts.find(([pattern]) => pattern.test(text));
  return found && {seen: `TLS: ${text}`, why: found[1], advice: found[2]};
}

/** A certificate that is not believed, by the code of the verification. */
export function explainCertificate(code: string, more: {names: string; host: string; until: string; from: string}): Words {
  const clock = 'If the dates look right, this machine\'s clock is wrong.';
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return {seen: `${code}: the server's certificate was valid until ${more.until}`, why: `It has expired. ${clock}`,
        advice: 'Renew it; a reload of the server takes the new one.'};
    case 'CERT_NOT_YET_VALID':
      return {seen: `${code}: the server's certificate is valid from ${more.from}`, why: `It is not valid yet. ${clock}`,
        advice: 'Look at both clocks.'};
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return {seen: `${code}: the certificate is for ${more.names}, not for ${more.host}`,
        why: 'The name that was asked for is not among the certificate\'s.',
        advice: 'Use one of its names in the address, or --servername with the one that is right.'};
    case 'SELF_SIGNED_CERT_IN_CHAIN': case 'DEPTH_ZERO_SELF_SIGNED_CERT': case 'UNABLE_TO_GET_ISSUER_CERT': case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return {seen: `${code}: who signed the server's certificate is not known here`,
        why: 'Either it is the server\'s own authority, or somebody else answers.',
        advice: 'Give the authority with --ca (in the client: tls.ca). The server must send what leads from its certificate to that.'};
    default:
      return {seen: `${code}: the server's certificate is not accepted`, advice: 'Look at it: openssl s_client -connect HOST:PORT -showcerts'};
  }
}

/** Somebody answers, and it is not what was expected. */
export function explainPeer(kind: PeerKind, ending: Ending, bytes: Buffer): Words {
  const beginning = JSON.stringify(bytes.toString('latin1', 0, 48).split(/[\r\n]/)[0]);
  switch (kind) {
    case 'http':
      return {seen: `the answer is HTTP: ${beginning}`, why: 'That is an HTTP port; Portcullis has JSON-RPC over TCP at another one.',
        advice: 'Use the port of listen.rpc.address (7420 unless configured), not that of listen.http.address (7480).'};
    case 'redis':
      return {seen: `the answer is that of Redis: ${beginning}`, why: 'That is the store, or a copy of an address from before.',
        advice: 'Applications connect to Portcullis (port 7420 unless configured), never to its Redis.'};
    case 'tls':
      return {seen: 'the answer is a TLS alert', why: 'That port speaks TLS.', advice: 'Use portcullis+tls://HOST:PORT, or --tls.'};
    case 'ssh': case 'greeting':
      return {seen: `it greets: ${beginning}`, why: 'Another server is there.',
        advice: 'Use the port of listen.rpc.address (7420 unless configured).'};
    case 'json':
      return {seen: 'the answer is JSON, but not this protocol\'s', why: 'Another JSON-RPC server is there.',
        advice: 'Use the address of Portcullis.'};
    case 'unknown':
      if (bytes.length > 0) return {seen: `what came is no JSON: ${beginning}`, why: 'Another server is there.',
        advice: 'Use the address of Portcullis.'};
      if (ending.kind === 'timeout') {
        return {seen: 'connected, but no answer came', why: 'Another kind of server, or a server that hangs or is stopped.',
          advice: 'Raise --timeout-ms; look at the server: portcullis check, /livez.'};
      }
      return {seen: 'the connection was closed without a word',
        why: 'The server has too many connections (listen.rpc.max_connections), wants a PROXY header ' +
        '(listen.rpc.proxy_protocol), or is no Portcullis.', advice: 'Look into the server\'s log and its configuration.'};
  }
}

/** In this situation, not in general. */
const situations: Partial<Record<string, {why: string; advice: string}>> = {
  AUTH_REQUIRED: {why: 'The server wants a login, and there was no token.',
    advice: 'Give --token-file or PORTCULLIS_TOKEN. A token is made by: portcullis token new'},
  AUTH_FAILED: {why: 'The server does not know this token: mistyped, removed, or of another server.',
    advice: 'The SHA-256 of the token must stand in an [[auth.token]] of the server\'s configuration; it takes a reload to be known. A server ' +
      'with auth.mode "none" has no tokens: leave PORTCULLIS_TOKEN and --token-file out. Failed logins are counted.'},
  AUTH_RATE_LIMITED: {why: 'Too many logins of this address have failed within a minute; right tokens have to wait, too.',
    advice: 'Find who still logs in with a wrong token: events auth_failed. Then wait.'},
  TLS_REQUIRED: {why: 'The server takes a token only over TLS, over a Unix socket, or from its own machine.',
    advice: 'Use the TLS listener: portcullis+tls://HOST:PORT.'},
  TOKEN_IN_CLEAR: {why: 'Whoever is on the way could read the token, and be this application from then on. It was not sent.',
    advice: 'Use the TLS listener: portcullis+tls://HOST:PORT (listen.rpc_tls of the server), or a Unix socket on the same machine.'},
  CERTIFICATE_REJECTED: {why: 'The client certificate is genuine, but no [[auth.certificate]] of the server names it.',
    advice: 'Add one whose `san` is the certificate\'s, or use another certificate.'},
  FORBIDDEN: {why: 'The token\'s role, `tenants` or `services` do not allow it.',
    advice: 'Use a token of role app; where it has `tenants`, name one of them with --tenant.'},
  STORE_UNAVAILABLE: {why: 'The server is there, but cannot reach its store: nothing is decided, and nobody is let in.',
    advice: 'Look at Redis (store.redis.url), and at the events store_degraded.'},
};

/** Any error, for a check that failed with it. */
export function explainError(error: unknown): Words {
  if (!isPortcullisError(error)) return {seen: String(error)};
  const known = situations[error.code];
  const row = error.code in serverErrors ? serverErrors[error.code as ServerErrorName] : undefined;
  const found = error.correlationId === undefined ? '' : ` (correlation id ${error.correlationId})`;
  const wait = error.retryAfterMs === undefined ? '' : ` In ${Math.ceil(error.retryAfterMs / 1000)} s it may work again.`;
  const details = error.details === undefined ? '' : ` ${JSON.stringify(error.details)}`;
  const advice = known?.advice ?? row?.advice;
  return {
    seen: `${error.code}: ${error.message}${details}${found}`,
    ...(known !== undefined && {why: known.why + wait}),
    ...(known === undefined && wait !== '' && {why: wait.trim()}),
    ...(advice !== undefined && {advice}),
  };
}

/** For what the client refuses by itself. */
export function refusal(code: 'TOKEN_IN_CLEAR'): Words { return explainError(new PortcullisError(code, {sent: false})); }

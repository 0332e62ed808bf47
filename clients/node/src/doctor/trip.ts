// A session's life as a check: created, validated, refused elsewhere, revoked; what it tells of the clock; and that nothing is left.
import crypto from 'node:crypto';

import {isPortcullisError} from '../errors.js';
import {PortcullisClient} from '../portcullis.js';
import type {Context, CreatedSession} from '../types.js';
import type {Reached, Tell} from './checks.js';
import {explainError} from './explain.js';
import type {DoctorOptions} from './options.js';
import type {Finding, Status} from './report.js';

/** Addresses for documentation (RFC 5737): nobody's. */
const home: Context = {ip: '192.0.2.1', userAgent: 'portcullis-client doctor'};
const elsewhere: Context = {...home, ip: '198.51.100.1'};
/** If everything fails, also the clean-up, the session ends by itself. */
const ttlS = 60;
const skewMsMax = 2000;
/** Answers to a create that say for certain that there is no session. */
const refused = new Set(['FORBIDDEN', 'INVALID_PARAMS', 'AUTH_REQUIRED', 'TTL_OUT_OF_RANGE', 'SESSION_CAP_REACHED', 'STORE_UNAVAILABLE']);

const finding = (check: string, status: Status, seen: string, why?: string, advice?: string): Finding =>
  ({check, status, seen, ...(why !== undefined && {why}), ...(advice !== undefined && {advice})});

/** A client of one node that tells the first failure instead of trying again. */
export function clientOf(node: Reached, options: DoctorOptions): PortcullisClient {
  return new PortcullisClient({
    address: node.address.text, connections: 1, timeoutMs: options.timeoutMs, connectTimeoutMs: options.timeoutMs, retry: {attempts: 0},
    tls: node.address.tls ? options.tls : false,
    ...(options.token !== undefined && {token: options.token}),
  });
}

/**
 * The server's clock against this machine's, by a time that the server took between two looks at this clock.
 * Pure. @param sentMs, receivedMs local Unix ms
 */
export function judgeClock(serverMs: number, sentMs: number, receivedMs: number): Finding {
  const half = (receivedMs - sentMs) / 2;
  const ahead = serverMs - (sentMs + half);
  const seconds = (Math.abs(ahead) / 1000).toFixed(1);
  const within = `within ${Math.ceil(half)} ms of the round trip`;
  // What the way may have taken is not the clock's.
  if (Math.abs(ahead) - half <= skewMsMax) return finding('clock', 'ok',
    `server and this machine differ by ${Math.round(Math.abs(ahead))} ms (${within})`);
  return finding('clock', 'warning', ahead > 0 ?
    `the server's clock is ${seconds} s ahead of this machine's` : `this machine's clock is ${seconds} s ahead of the server's`,
    'Sessions end by the server\'s clock; expiresAtMs, compared with this machine\'s, is wrong by that much, and logs do not fit together.',
    'Look at the time service of both (timedatectl).');
}

async function timed<T>(work: Promise<T>): Promise<{value: T; took: string}> {
  const beganAt = performance.now();
  const value = await work;
  return {value, took: `${(performance.now() - beganAt).toFixed(1)} ms`};
}

/**
 * Makes a session on the first node, tries it there, asks every other node for it, and revokes it. Whatever happens, also when
 * `signal` fires, it is revoked at the end.
 * @returns which nodes knew it, in the order of `others`; undefined where there was none
 */
export async function roundTrip(node: Reached, others: Reached[], options: DoctorOptions, tell: Tell,
  signal: AbortSignal): Promise<boolean[] | undefined> {
  const user = {tenantId: options.tenant, userId: `doctor-${crypto.randomUUID()}`};
  const client = clientOf(node, options);
  // It may exist from the moment that it was asked for, also where no answer came.
  let alive = true;
  try {
    const sentMs = Date.now();
    const {value: session, took} = await timed(create(client, user, signal));
    const receivedMs = Date.now();
    tell(finding('sessions', 'ok', `created for ${user.userId} of tenant ${user.tenantId}, ${took}`));
    tell(judgeClock(session.createdAtMs, sentMs, receivedMs));
    const known = await askOthers(session, others, options, signal);
    await tryIt(client, session, tell, signal);
    const revoked = await timed(client.sessions.revoke({sessionId: session.sessionId}, {signal}));
    alive = revoked.value.revoked !== 1;
    tell(finding('sessions', alive ? 'failed' : 'ok', `revoked ${revoked.value.revoked} session, ${revoked.took}`));
    const after = await timed(client.sessions.validate({sessionId: session.sessionId, context: home, touch: false}, {signal}));
    const ended = !after.value.valid && after.value.reason === 'revoked';
    tell(finding('sessions', ended ? 'ok' : 'failed', `after that: ${after.value.valid ? 'still valid' : after.value.reason}, ${after.took}`,
      ...(ended ? [] : ['Expected was "revoked".', 'Look into the server\'s log.'])));
    return known;
  } catch (error) {
    // What was refused, or never sent, was not done.
    if (isPortcullisError(error) && error.method === 'session.create' && (!error.sent || refused.has(error.code))) alive = false;
    const words = signal.aborted ? {seen: 'interrupted'} : explainError(error);
    tell({check: 'sessions', status: 'failed', ...words});
    return undefined;
  } finally {
    if (alive) await cleanUp(client, user, tell);
    await client.close();
  }
}

async function create(client: PortcullisClient, user: {tenantId: string; userId: string}, signal: AbortSignal): Promise<CreatedSession> {
  const session = {...user, context: home};
  try {
    return await client.sessions.create({...session, idleTtlS: ttlS, absoluteTtlS: ttlS}, {signal});
  } catch (error) {
    // The policy is shorter still.
    if (isPortcullisError(error, 'TTL_OUT_OF_RANGE')) return client.sessions.create(session, {signal});
    throw error;
  }
}

async function tryIt(client: PortcullisClient, session: CreatedSession, tell: Tell, signal: AbortSignal): Promise<void> {
  const {sessionId} = session;
  const same = await timed(client.sessions.validate({sessionId, context: home}, {signal}));
  tell(same.value.valid ? finding('sessions', 'ok', `validated, ${same.took}`) :
    finding('sessions', 'failed', `not valid where it was made: ${same.value.reason}`, 'A session that was just made should be.',
      'Look into the server\'s log.'));
  const other = await timed(client.sessions.validate({sessionId, context: elsewhere, touch: false}, {signal}));
  if (!other.value.valid) {
    const bound = other.value.reason === 'ip_mismatch';
    tell(finding('sessions', bound ? 'ok' : 'failed', `refused from another address: ${other.value.reason}, ${other.took}`));
    return;
  }
  const told = other.value.signals.find((each) => each.field === 'ip');
  if (told !== undefined) {
    tell(finding('sessions', 'ok',
      `from another address: valid with the signal ip, ${told.action} (session.ip_binding of the server), ${other.took}`));
    return;
  }
  tell(finding('sessions', 'warning', `valid from another address, too, ${other.took}`,
    'Sessions are not bound to an address: session.ip_binding is "off" or its prefix is wide, or the server takes the connection\'s address ' +
      '(listen.rpc.bind_to_connection).',
    'If that is meant, nothing. Else: session.ip_binding = "enforce"; bind_to_connection is for callers that are the user\'s own machine.'));
}

async function askOthers(session: CreatedSession, others: Reached[], options: DoctorOptions, signal: AbortSignal): Promise<boolean[]> {
  return Promise.all(others.map(async (each) => {
    const client = clientOf(each, options);
    try {
      return (await client.sessions.validate({sessionId: session.sessionId, context: home, touch: false}, {signal})).valid;
    } catch {
      return false;
    } finally {
      await client.close();
    }
  }));
}

/** Without `signal`: an interruption is no reason to leave something behind. */
async function cleanUp(client: PortcullisClient, user: {tenantId: string; userId: string}, tell: Tell): Promise<void> {
  try {
    const {revoked} = await client.sessions.revokeUser(user);
    tell(finding('cleanup', 'ok', `revoked ${revoked} sessions of ${user.userId}`));
  } catch (error) {
    tell(finding('cleanup', 'failed',
      `a session of ${user.userId}, tenant ${user.tenantId}, may be left: ${isPortcullisError(error) ? error.code : String(error)}`,
      undefined, `It ends by itself within ${ttlS} s. At once: portcullis call session.revoke_user ` +
        `'${JSON.stringify({tenant_id: user.tenantId, user_id: user.userId})}'`));
  }
}

/** Whether this token may hear what its breakers do; without that the client's breakers are told by answers only. */
export async function subscribes(node: Reached, options: DoctorOptions, tell: Tell, signal: AbortSignal): Promise<void> {
  const client = clientOf(node, options);
  const stream = client.events.subscribe({types: ['breaker_opened', 'breaker_half_opened', 'breaker_closed'], signal});
  const patience = setTimeout(() => void stream.return(), options.timeoutMs);
  try {
    await stream.ready;
    tell(finding('events', 'ok', 'breaker events can be subscribed to'));
  } catch (error) {
    const words = isPortcullisError(error, 'ABORTED') ? {seen: `no subscription within ${options.timeoutMs} ms`} : explainError(error);
    // Sessions work without it.
    tell({check: 'events', status: 'warning', ...words, why: words.why ?? 'Shared breakers are told what happens by these events.'});
  } finally {
    clearTimeout(patience);
    await stream.return();
    await client.close();
  }
}

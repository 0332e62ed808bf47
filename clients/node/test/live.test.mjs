// The client against the real server: every method, every transport, restarts under load, failover.
import assert from 'node:assert/strict';
import {fork} from 'node:child_process';
import {X509Certificate} from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import {fileURLToPath} from 'node:url';

import {PortcullisClient} from '../dist/esm/index.js';
import {Proxy} from './support/peer.mjs';
import {scratch, serve, TestServer} from './support/server.mjs';

const long = process.env.PORTCULLIS_LONG_TESTS === '1';
const context = {ip: '192.0.2.1', userAgent: 'agent/1'};
const client = (t, options) => {
  const made = new PortcullisClient({timeoutMs: 30_000, ...options});
  t.after(() => made.close());
  return made;
};
const sanOf = (certificate) => new X509Certificate(fs.readFileSync(certificate)).subjectAltName.split(', ')[0].replace(/^email:/i, 'EMAIL:');
const coded = (code) => (failure) => {
  assert.equal(failure.code, code, failure.stack);
  return true;
};

test('texts of every script come back as they were, also where one write has several of them', async (t) => {
  const server = await serve(t);
  const {sessions} = client(t, {address: server.address, connections: 1});
  const texts = ['plain', 'Zo\u00eb \u00df\u00ff\u0080', '\u65e5\u672c\u8a9e', '\u{1f600}', 'mixed \u00e9 \u65e5 \u{1f600}', '\ufeff', '"\\ \u007f\n'];
  for (const all of [...texts.map((text) => [text]), texts]) {
    const made = await Promise.all(all.map((text) => sessions.create({tenantId: 'acme', userId: 'ada', context, data: {text, [text]: 1}})));
    const seen = await Promise.all(made.map(({sessionId}) => sessions.validate({sessionId, context})));
    assert.deepEqual(seen.map(({data}) => data), all.map((text) => ({text, [text]: 1})));
  }
  // Also in what validations are made of.
  const asked = texts.slice(0, 5).map((userAgent) => ({...context, userAgent}));
  const made = await Promise.all(asked.map((each) => sessions.create({tenantId: 'acme', userId: 'ada', context: each})));
  const seen = await Promise.all(made.map(({sessionId}, i) => sessions.validate({sessionId, context: asked[i]})));
  assert.ok(seen.every(({valid}) => valid));
});

test('a session lives through all its methods', async (t) => {
  const server = await serve(t);
  const {sessions, lockouts} = client(t, {address: server.address});
  const user = {tenantId: 'acme', userId: 'ada'};
  const made = await sessions.create({...user, context, data: {cart: [1]}, idleTtlS: 600, absoluteTtlS: 3600});
  assert.match(made.sessionId, /^[0-9a-f]{64}$/);
  assert.equal(made.absoluteExpiresAtMs - made.createdAtMs, 3_600_000);
  assert.equal(made.expiresAtMs, made.idleExpiresAtMs);
  const who = {sessionId: made.sessionId, context};
  const {handle, createdAtMs} = made;

  assert.deepEqual(await sessions.validate(who), {valid: true, ...user, handle, data: {cart: [1]}, version: 1, createdAtMs,
    expiresAtMs: made.expiresAtMs, rotated: false, signals: []});
  assert.deepEqual(await sessions.update({...who, data: {user_id: 'kept as it is'}, version: 1}), {version: 2});
  await assert.rejects(sessions.update({...who, data: {}, version: 1}), coded('SESSION_VERSION_CONFLICT'));
  assert.deepEqual((await sessions.validate({...who, touch: false})).data, {user_id: 'kept as it is'});
  assert.deepEqual(await sessions.validate({...who, context: {...context, ip: '198.51.100.1'}}), {valid: false, reason: 'ip_mismatch', retryAfterMs: undefined});
  assert.equal((await sessions.validate({...who, context: {ip: context.ip, userAgent: 'other'}})).reason, 'fingerprint_mismatch');
  assert.equal((await lockouts.status(user)).failedAttempts, 2);
  await assert.rejects(sessions.update({...who, context: {ip: '198.51.100.1'}, data: {}}), coded('SESSION_IP_MISMATCH'));
  assert.deepEqual(await lockouts.clear({...user, reason: 'test'}), {cleared: true});

  const successor = await sessions.rotate(who);
  assert.equal(successor.handle, handle);
  assert.notEqual(successor.sessionId, made.sessionId);
  assert.equal((await sessions.validate(who)).rotated, true);
  const fresh = await sessions.rotate({sessionId: successor.sessionId, context, grace: false});
  const now = {sessionId: fresh.sessionId, context};
  assert.equal((await sessions.validate(now)).valid, true);

  const second = await sessions.create({...user, context});
  assert.equal((await sessions.validate({sessionId: second.sessionId, context})).data, undefined);
  const {sessions: listed} = await sessions.list(user);
  assert.deepEqual(listed.map((each) => [each.handle, each.ip, each.userAgent]), [[handle, context.ip, 'agent/1'], [second.handle, context.ip, 'agent/1']]);
  const page = await sessions.list({...user, limit: 1});
  assert.deepEqual((await sessions.list({...user, cursor: page.cursor})).sessions.map((each) => each.handle), [second.handle]);
  assert.deepEqual((await sessions.find({tenantId: 'acme', ip: context.ip})).sessions.map((each) => each.userId), ['ada', 'ada']);
  assert.equal((await sessions.stats()).live, 2);
  assert.deepEqual(await sessions.revokeUser({...user, exceptSessionId: fresh.sessionId}), {revoked: 1});
  assert.deepEqual(await sessions.revoke({handle}), {revoked: 1});
  assert.deepEqual(await sessions.revoke({sessionId: fresh.sessionId}), {revoked: 0});
  assert.equal((await sessions.validate(now)).reason, 'revoked');
  await sessions.create({...user, context});
  assert.deepEqual(await sessions.revokeTenant({tenantId: 'acme'}), {revoked: 1});
});

test('a lockout has its time', async (t) => {
  const server = await serve(t, {config: '[lockout]\nthreshold = 2\n'});
  const {sessions, lockouts} = client(t, {address: server.address});
  const {sessionId} = await sessions.create({tenantId: 'acme', userId: 'eve', context});
  for (let i = 0; i < 2; ++i) await sessions.validate({sessionId, context: {ip: '198.51.100.1', userAgent: 'agent/1'}});
  const {valid, reason, retryAfterMs} = await sessions.validate({sessionId, context});
  assert.deepEqual([valid, reason], [false, 'locked_out']);
  assert.ok(retryAfterMs > 0 && retryAfterMs <= 900_000);
  await assert.rejects(sessions.update({sessionId, context, data: {}}), (failure) => coded('USER_LOCKED_OUT')(failure) && failure.retryAfterMs > 0);
  const {lockouts: [row]} = await lockouts.list();
  assert.deepEqual([row.tenantId, row.userId, row.failedAttempts], ['acme', 'eve', 2]);
  assert.equal((await lockouts.status({tenantId: 'acme', userId: 'eve'})).lockedUntilMs, row.lockedUntilMs);
});

test('breakers, events and the server answer', async (t) => {
  const server = await serve(t, {config: '[breaker]\nmin_calls = 2\n'});
  const portcullis = client(t, {address: server.address});
  const {breakers} = portcullis;
  const name = {service: 'mail'};
  assert.deepEqual(await breakers.acquire(name), {allowed: true, state: 'closed', epoch: 1});
  for (let i = 0; i < 2; ++i) await breakers.report({...name, outcome: 'failure', durationMs: 3, errorKind: 'connect'});
  const refused = await breakers.acquire(name);
  assert.deepEqual([refused.allowed, refused.state, refused.epoch], [false, 'open', 2]);
  assert.ok(refused.retryAfterMs > 0);
  const status = await breakers.status(name);
  assert.deepEqual([status.kind, status.state, status.baseState, status.counts.failure, status.counts.rejected], ['hosted', 'open', 'open', 2, 1]);
  const batch = {...name, source: 'p1', seq: 1, epoch: 2, counts: {rejected: 5}};
  assert.deepEqual(await breakers.reportBatch(batch), {state: 'open', epoch: 2, accepted: true, duplicate: false});
  assert.equal((await breakers.reportBatch(batch)).duplicate, true);
  assert.deepEqual(await breakers.override({...name, mode: 'disabled', ttlS: 60, reason: 'test'}), {state: 'disabled', epoch: 3});
  assert.equal((await breakers.status(name)).override.mode, 'disabled');
  assert.equal((await breakers.reset({...name, reason: 'test'})).state, 'closed');
  assert.deepEqual(await breakers.observe({service: 'own', source: 'p1', sourceEpoch: 1, seq: 1, state: 'open', counts: {failure: 3},
    transition: {from: 'closed', to: 'open', at_ms: 1}}), {accepted: true, duplicate: false});
  assert.deepEqual((await breakers.list()).breakers.filter((each) => each.service !== 'portcullis').map((each) => each.service).sort(), ['mail', 'own']);
  await assert.rejects(breakers.status({service: 'absent'}), coded('BREAKER_NOT_FOUND'));

  const {events, cursor} = await portcullis.events.query({service: 'mail', types: ['breaker_opened']});
  assert.deepEqual(events.map((each) => [each.type, each.service, each.counts.failure]), [['breaker_opened', 'mail', 2]]);
  assert.match(cursor, /^e\d+$/);
  assert.equal((await portcullis.server.version()).protocol, 1);
  assert.equal((await portcullis.server.info()).mode, 'embedded');
});

test('an administrator has methods of its own', async (t) => {
  const server = new TestServer({auth: 'token'});
  const token = server.token('admin', 'root');
  t.after(() => server.kill9());
  await server.start();
  const portcullis = client(t, {address: server.address, token, connections: 1});
  const {sessionId} = await portcullis.sessions.create({tenantId: 'acme', userId: 'ada', context});
  const {connections: [own]} = await portcullis.server.connections();
  assert.deepEqual([own.listener, own.name, own.role], ['rpc', 'root', 'admin']);
  assert.deepEqual(await portcullis.admin.reload(), {changed: []});
  assert.deepEqual(await portcullis.admin.rotateKeys(), {keys: 2});
  const to = path.join(scratch(), 'backup.db');
  const {bytes, ...rest} = await portcullis.admin.backup({path: to});
  assert.equal(rest.path, to);
  assert.equal(fs.statSync(to).size, bytes);
  assert.match((await portcullis.server.info({digest: true})).digest, /^[0-9a-f]{64}$/);
  assert.deepEqual(await portcullis.admin.forget({tenantId: 'acme', userId: 'ada', reason: 'test'}), {forgotten: true});
  assert.equal((await portcullis.sessions.validate({sessionId, context})).reason, 'revoked');
  await portcullis.admin.drain();
  assert.equal(await server.gone, 0);
});

test('TLS, client certificates, Unix socket and token reach the server', async (t) => {
  const certs = path.join(scratch(), 'certs');
  TestServer.run('certs', 'dev', '--out', certs);
  const file = (name) => path.join(certs, name);
  const socket = path.join(scratch(), 'rpc.sock');
  const server = new TestServer({auth: 'token', config: `[tls]\ncertificate_file = "${file('server.pem')}"\nkey_file = "${file('server-key.pem')}"\n` +
    `client_ca_file = "${file('ca.pem')}"\nclient_certificates = "optional"\n\n[[auth.certificate]]\nsan = "${sanOf(file('admin.pem'))}"\nrole = "admin"\nname = "root"\n\n[listen.rpc_tls]\naddress = "127.0.0.1:0"\n\n[listen.rpc_unix]\npath = "${socket}"\n`});
  const token = server.token('app');
  t.after(() => server.kill9());
  await server.start();
  const tls = `localhost:${server.ready.rpc_tls.split(':').pop()}`;
  const ca = fs.readFileSync(file('ca.pem'));

  for (const options of [{address: `portcullis+tls://${tls}`, tls: {ca}}, {address: tls, tls: {ca}}, {address: `unix:${socket}`}, {address: server.address}]) {
    const portcullis = client(t, {...options, token});
    const {sessionId} = await portcullis.sessions.create({tenantId: 'acme', userId: 'ada', context});
    assert.equal((await portcullis.sessions.validate({sessionId, context})).valid, true);
    await assert.rejects(portcullis.sessions.find({tenantId: 'acme', ip: '192.0.2.1'}), coded('FORBIDDEN'));
  }
  const known = client(t, {address: tls, tls: {ca, cert: fs.readFileSync(file('admin.pem')), key: fs.readFileSync(file('admin-key.pem'))}});
  assert.deepEqual((await known.sessions.find({tenantId: 'acme', ip: '192.0.2.1'})).sessions.length, 4);
  const refused = async (options, check) => {
    const portcullis = client(t, {unreachableAfterMs: 0, ...options});
    await assert.rejects(portcullis.server.ping(), (failure) => !failure.sent && check(failure.cause));
  };
  await refused({address: tls, tls: true, token}, (cause) => /self.signed|unable to (get|verify)/i.test(cause.message));
  await refused({address: tls, tls: {ca, servername: 'example.org'}, token}, (cause) => /altnames/i.test(cause.message));
  await refused({address: tls, tls: {ca}, token: 'A'.repeat(43)}, (cause) => cause.code === 'AUTH_FAILED');
  await refused({address: server.address, tls: {ca}, token}, () => true);  // TLS to a listener without
  await refused({address: `127.0.0.1:${server.ready.rpc_tls.split(':').pop()}`, token}, (cause) => ['TLS_REQUIRED', 'CONNECTION_LOST'].includes(cause.code));
  // A token that changes is asked for at each connection.
  let asked = 0;
  const rotated = client(t, {address: server.address, connections: 2, token: async () => (++asked, token)});
  await rotated.sessions.stats();
  assert.ok(asked >= 1);
});

test('kill -9 and restart under load: every call settles, no answer is another\'s, nothing acknowledged is lost', async (t) => {
  const server = await serve(t);
  const portcullis = client(t, {address: server.address, timeoutMs: 60_000, unreachableAfterMs: 60_000, connections: 3});
  const users = Array.from({length: 40}, (_, i) => ({tenantId: 'acme', userId: `user-${i}`}));
  const made = await Promise.all(users.map((user) => portcullis.sessions.create({...user, context, data: {of: user.userId}})));
  let stop = false;
  const seen = {valid: 0, acknowledged: 0, unknown: 0};
  const last = users.map(() => 0);      // the version that was acknowledged
  const attempted = users.map(() => 1);
  const validating = users.map(async (user, i) => {
    while (!stop) {
      const answer = await portcullis.sessions.validate({sessionId: made[i].sessionId, context});
      assert.equal(answer.valid, true, answer.reason);
      assert.deepEqual([answer.userId, answer.handle, answer.data.of], [user.userId, made[i].handle, user.userId]);
      assert.ok(answer.version >= last[i] && answer.version <= attempted[i], `${answer.version} of ${last[i]} to ${attempted[i]}`);
      ++seen.valid;
    }
  });
  const updating = users.slice(0, 10).map(async (user, i) => {
    while (!stop) {
      ++attempted[i];
      try {
        const {version} = await portcullis.sessions.update({sessionId: made[i].sessionId, context, data: {of: user.userId, n: attempted[i]}});
        last[i] = version;
        attempted[i] = version;
        ++seen.acknowledged;
      } catch (failure) {
        assert.equal(failure.code, 'CONNECTION_LOST', failure.stack);  // known to be unknown
        ++seen.unknown;
      }
    }
  });
  const reaches = async (field, count) => {
    const from = seen[field];
    while (seen[field] < from + count) await new Promise((resolve) => setImmediate(resolve));
  };
  for (let round = 0; round < (long ? 20 : 3); ++round) {
    await reaches('valid', 500);
    await reaches('acknowledged', 5);
    await server.kill9();
    await server.start();
  }
  await reaches('valid', 500);
  stop = true;
  await Promise.all([...validating, ...updating]);
  const stats = portcullis.stats();
  assert.deepEqual([stats.inFlight, stats.queued, stats.timeouts], [0, 0, 0]);
  assert.ok(stats.connectionsLost > 0 && stats.retries > 0, JSON.stringify(stats));
});

test('every call settles at its deadline while the server is away', async (t) => {
  const server = await serve(t);
  const portcullis = client(t, {address: server.address, unreachableAfterMs: 200});
  const {sessionId} = await portcullis.sessions.create({tenantId: 'acme', userId: 'ada', context});
  await server.kill9();
  const codes = await Promise.all(Array.from({length: 500}, () => portcullis.sessions.validate({sessionId, context}, {timeoutMs: 300})
    .then(() => 'answered', (failure) => failure.code)));
  for (const code of codes) assert.ok(['UNREACHABLE', 'TIMEOUT', 'CONNECTION_LOST'].includes(code), code);
  await assert.rejects(portcullis.sessions.validate({sessionId, context}, {timeoutMs: 60_000}), coded('UNREACHABLE'));
  await server.start();
  while (portcullis.stats().connected === 0) await new Promise((resolve) => portcullis.once('connect', resolve));
  assert.equal((await portcullis.sessions.validate({sessionId, context})).valid, true);
});

test('another address takes over when a node is killed, and when it drains', async (t) => {
  const [a, b] = [await serve(t), await serve(t)];
  const portcullis = client(t, {address: [a.address, b.address], order: 'given', connections: 2});
  await portcullis.connect();
  assert.equal(portcullis.stats().address, a.address);
  await a.kill9();
  await portcullis.server.ping();
  assert.equal(portcullis.stats().address, b.address);
  await a.start();

  // SIGTERM: what comes while it drains is refused, and asked of the other one.
  let failures = 0;
  let done = false;
  const load = Array.from({length: 20}, async () => { while (!done) await portcullis.server.ping().catch(() => ++failures); });
  await b.stop();
  await portcullis.server.ping();
  done = true;
  await Promise.all(load);
  assert.equal(failures, 0);
  assert.equal(portcullis.stats().address, a.address);
});

test('connections that are cut all the time lose no call that may be sent again', async (t) => {
  const server = await serve(t);
  const proxy = await Proxy.to(t, server.address);
  const portcullis = client(t, {address: proxy.address, connections: 2, timeoutMs: 60_000, retry: {attempts: 10, ratio: 1}, reconnect: {baseMs: 1, capMs: 5}});
  const {sessionId} = await portcullis.sessions.create({tenantId: 'acme', userId: 'ada', context});
  let count = 0;
  await Promise.all(Array.from({length: 20}, async () => {
    for (let i = 0; i < 200; ++i) {
      assert.equal((await portcullis.sessions.validate({sessionId, context})).userId, 'ada');
      if (++count % 400 === 0) proxy.cut();
    }
  }));
  assert.ok(portcullis.stats().connectionsLost >= 5);
});

test('the memory of a client does not grow with its calls', async () => {
  // In a process of its own, that can ask for a collection.
  const child = fork(path.join(path.dirname(fileURLToPath(import.meta.url)), 'support', 'memory.mjs'), ['1000000'],
    {execArgv: ['--expose-gc'], stdio: ['ignore', 'inherit', 'inherit', 'ipc']});
  const {early, late, calls} = await new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', (code) => reject(new Error(`ended with ${code}`)));
  });
  assert.ok(calls >= 1_000_000);
  assert.ok(late < early + 2 * 1024 * 1024, `heap after a tenth ${early}, at the end ${late}`);
});

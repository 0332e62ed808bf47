// The doctor in every situation that it explains, each made with a real server.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import {test} from 'node:test';

import {explainAlert, explainCertificate, explainConnect, explainPeer} from '../dist/esm/doctor/explain.js';
import {identify} from '../dist/esm/doctor/peer.js';
import {judgeClock} from '../dist/esm/doctor/trip.js';
import {authority, doctor, of, run, tlsConfig} from './support/doctor.mjs';
import {redis, scratch, serve, TestServer} from './support/server.mjs';

const matches = (lines, ...patterns) => {
  for (const pattern of patterns) assert.ok(lines.some((line) => pattern.test(line)), `${pattern} is not among:\n${lines.join('\n')}`);
};
/** A server with tokens, started. */
async function guarded(t, options = {}, role = 'app', more = '') {
  const server = new TestServer({auth: 'token', ...options});
  const token = server.token(role, role, more);
  t.after(() => server.kill9());
  await server.start();
  return {server, token, env: {PORTCULLIS_TOKEN: token}};
}
/** Everything that the server has in its log about the doctor's users. */
function logged(server) {
  const lines = TestServer.run('call', '--address', server.address, 'events.query', '{"limit":1000}');
  return JSON.parse(lines).events.filter((each) => each.user_id?.startsWith('doctor-'));
}

test('a healthy server: every check is ok, the exit code is 0, and no token or session id is printed', async (t) => {
  const {server, token, env} = await guarded(t);
  const {code, out, report} = await doctor(server.address, {env});
  assert.equal(code, 0, out);
  assert.equal(report.healthy, true);
  assert.deepEqual(report.counts, {ok: 13, warning: 0, failed: 0, skipped: 0});
  assert.deepEqual([...new Set(report.sections[0].findings.map((each) => each.check))],
    ['address', 'connect', 'protocol', 'login', 'role', 'store', 'sessions', 'clock', 'events']);
  matches(of(report, 'sessions'), /^ok: created for doctor-[0-9a-f-]+ of tenant portcullis-doctor, [\d.]+ ms$/, /^ok: validated, [\d.]+ ms$/,
    /^ok: refused from another address: ip_mismatch/, /^ok: revoked 1 session/, /^ok: after that: revoked/);
  const text = await run(['doctor', '--address', server.address], {env});
  assert.equal(text.code, 0);
  assert.match(text.out, /^portcullis-client \d+\.\d+\.\d+, node v\d+/);
  assert.match(text.out, /\n13 ok, 0 warnings, 0 failed, 0 skipped\n$/);
  for (const printed of [out, text.out, text.err]) {
    assert.ok(!printed.includes(token));
    assert.doesNotMatch(printed, /[0-9a-f]{64}/);
  }
});

test('what it leaves in the log bears its name, and no session of it is left', async (t) => {
  const server = await serve(t);
  assert.equal((await doctor(server.address, {args: ['--tenant', 'acme']})).code, 0);
  const events = logged(server);
  assert.deepEqual([...new Set(events.map((each) => each.tenant_id))], ['acme']);
  assert.deepEqual(events.map((each) => each.type), ['session_created', 'validation_failed', 'session_revoked']);
  assert.equal(JSON.parse(TestServer.run('call', '--address', server.address, 'session.stats')).live, 0);
});

test('an address that is none, and one with a secret in it, which is not repeated', async () => {
  const {code, report, out} = await doctor(['no such', 'redis://x', 'portcullis://hunter2@host:1', 'portcullis+tls://host']);
  assert.equal(code, 1);
  assert.deepEqual(of(report, 'address').map((line) => line.split(':')[0]), ['failed', 'failed', 'failed', 'failed']);
  matches(of(report, 'address'), /scheme is portcullis/, /a token or password does not belong into an address/, /no default port/);
  assert.ok(!out.includes('hunter2'));
});

test('a name that nobody knows', async () => {
  const {code, report} = await doctor('nobody.invalid:7420');
  assert.equal(code, 1);
  matches(of(report, 'address'), /^failed: getaddrinfo (ENOTFOUND|EAI_AGAIN) nobody\.invalid \| .*name.* \| Look at the spelling/);
});

test('nobody listens, and no way leads there', async () => {
  const {code, report} = await doctor(['127.0.0.1:1', '255.255.255.255:7420']);
  assert.equal(code, 1);
  matches(of(report, 'connect'), /^failed: connect ECONNREFUSED.*\| The machine answers, and nobody listens/, /^failed: connect E(NETUNREACH|ACCES)/);
});

test('a Unix socket: it works; it is missing; its server is gone; this user may not use it', async (t) => {
  const folder = scratch();
  fs.chmodSync(folder, 0o755);
  const socket = path.join(folder, 'rpc.sock');
  const server = await serve(t, {config: `[listen.rpc_unix]\npath = "${socket}"\n`});
  assert.equal((await doctor(`unix:${socket}`)).code, 0);
  matches(of((await doctor(`unix:${folder}/other.sock`)).report, 'connect'), /^failed: .*ENOENT.*There is no such socket/);
  if (process.getuid() === 0) {
    // Root may everything; the command is run as somebody else where its files can be read by everybody.
    fs.chmodSync(socket, 0o600);
    const denied = await doctor(`unix:${socket}`, {uid: 65534}).catch((reason) => reason);
    if (denied instanceof Error) t.diagnostic(`not tried as another user: ${denied.message.split('\n')[0]}`);
    else matches(of(denied.report, 'connect'), /^failed: .*EACCES.*may not write to the socket/);
  }
  await server.kill9();
  matches(of((await doctor(`unix:${socket}`)).report, 'connect'), /^failed: .*ECONNREFUSED.*nobody listens: the server has ended/);
});

test('TLS: version, cipher and the days that are left; a certificate that ends soon is a warning', async (t) => {
  const pki = authority({days: 30});
  const {server, env} = await guarded(t, {config: tlsConfig(pki.server)});
  const good = await doctor(`portcullis+tls://${server.ready.rpc_tls}`, {env, args: ['--ca', pki.ca]});
  assert.equal(good.code, 0, good.out);
  matches(of(good.report, 'tls'), /^ok: TLSv1\.3, TLS_\w+; certificate for DNS:localhost.*, (29|30) days left$/);
  const soon = authority({days: 5});
  const other = await guarded(t, {config: tlsConfig(soon.server)});
  const warned = await doctor(other.server.ready.rpc_tls, {env: other.env, args: ['--tls', '--ca', soon.ca]});
  assert.equal(warned.code, 0);
  assert.equal(warned.report.counts.warning, 1);
  matches(of(warned.report, 'tls'), /^warning: .*, [45] days left \| It ends on/);
});

test('TLS: who signed is unknown, the name is another, the certificate has expired', async (t) => {
  const pki = authority();
  const {server, env} = await guarded(t, {config: tlsConfig(pki.server)});
  const address = `portcullis+tls://${server.ready.rpc_tls}`;
  const unknown = await doctor(address, {env});
  assert.equal(unknown.code, 1);
  matches(of(unknown.report, 'tls'), /^failed: (UNABLE_TO|SELF_SIGNED)\w+: .*\| Give the authority with --ca/);
  assert.deepEqual(of(unknown.report, 'login'), []);
  matches(of((await doctor(address, {env, args: ['--ca', pki.ca, '--servername', 'portcullis.example']})).report, 'tls'),
    /^failed: ERR_TLS_CERT_ALTNAME_INVALID: the certificate is for DNS:localhost.*, not for portcullis\.example/);
  matches(of((await doctor(address, {env, args: ['--servername', 'portcullis.example']})).report, 'tls'),
    /^failed: (UNABLE_TO|SELF_SIGNED)/, /^failed: ERR_TLS_CERT_ALTNAME_INVALID/);

  const expired = await guarded(t, {config: tlsConfig(pki.sign('expired', {names: 'DNS:localhost,IP:127.0.0.1', days: -1}))});
  matches(of((await doctor(`portcullis+tls://${expired.server.ready.rpc_tls}`, {env: expired.env, args: ['--ca', pki.ca]})).report, 'tls'),
    /^failed: CERT_HAS_EXPIRED: .*valid until.* \| It has expired\./);
});

test('TLS to the listener without TLS, and to HTTP; in clear to the TLS listener, and to HTTPS; HTTP by mistake', async (t) => {
  const pki = authority();
  const {server, env} = await guarded(t, {config: tlsConfig(pki.server)});
  const {report, code} = await doctor([`portcullis+tls://${server.address}`, `portcullis+tls://${server.http}`, server.ready.rpc_tls,
    server.ready.https,
    server.http, `portcullis+tls://${server.ready.https}`], {env, args: ['--ca', pki.ca]});
  assert.equal(code, 1);
  const told = report.sections.slice(0, 6).map((each) => each.findings.filter((one) => one.status === 'failed')
    .map((one) => `${one.check}: ${one.seen} | ${one.why} | ${one.advice}`).join('\n'));
  assert.match(told[0], /^tls: no TLS there: the server answers in clear/);
  assert.match(told[1], /^tls: no TLS there: the answer is HTTP/);
  assert.match(told[2], /^protocol: TLS_REQUIRED: .*spoken to in clear\. \| Use portcullis\+tls:\/\/127\.0\.0\.1:\d+/);
  assert.match(told[3], /^protocol: the answer is HTTP/);
  assert.match(told[4], /^protocol: the answer is HTTP.*\| Use the port of listen\.rpc\.address/);
  assert.match(told[5], /^tls: TLS: .*no application protocol \| That is an HTTPS listener/);
  matches(of(report, 'tls'), /^warning: --ca without TLS/);
});

test('client certificates: missing, good, of nobody, revoked, of another authority, expired', async (t) => {
  const pki = authority();
  const nobody = pki.sign('nobody', {names: 'URI:spiffe://portcullis.dev/nobody', days: 3});
  const expired = pki.sign('old', {names: 'URI:spiffe://portcullis.dev/admin', days: -1});
  const server = new TestServer({auth: 'mtls', config: tlsConfig(pki.server, {
    more: `client_ca_file = "${pki.ca}"\nclient_certificates = "required"\n`,
    sections: '[[auth.certificate]]\nname = "web"\nrole = "app"\nsan = "URI:spiffe://portcullis.dev/admin"\n'})});
  t.after(() => server.kill9());
  await server.start();
  const ask = async ({cert, key}) => of((await doctor(`portcullis+tls://${server.ready.rpc_tls}`,
    {args: ['--ca', pki.ca, ...(cert ? ['--cert', cert, '--key', key] : [])]})).report, 'tls');
  const admin = {cert: pki.file('admin.pem'), key: pki.file('admin-key.pem')};
  const good = await doctor(`portcullis+tls://${server.ready.rpc_tls}`, {args: ['--ca', pki.ca, '--cert', admin.cert, '--key', admin.key]});
  assert.equal(good.code, 0, good.out);
  matches(of(good.report, 'login'), /^ok: by the client certificate$/);
  matches(await ask({}), /^failed: TLS: .*certificate required.*\| The server wants a client certificate/);
  matches(of((await doctor(`portcullis+tls://${server.ready.rpc_tls}`, {args: ['--ca', pki.ca, '--cert', nobody.cert, '--key', nobody.key]})).report,
    'protocol'),
    /^failed: CERTIFICATE_REJECTED: .*no \[\[auth\.certificate\]\]/);
  const stranger = authority();
  matches(await ask({cert: stranger.file('admin.pem'), key: stranger.file('admin-key.pem')}),
    /^failed: TLS: .*(unknown ca|certificate).*does not (know|accept)/);
  matches(await ask(expired), /^failed: the client certificate is valid from .* not valid now/);
});

test('a revoked client certificate', async (t) => {
  const pki = authority();
  const server = new TestServer({auth: 'mtls', config: tlsConfig(pki.server, {
    more: `client_ca_file = "${pki.ca}"\ncrl_file = "${pki.file('crl.pem')}"\nclient_certificates = "required"\n`,
    sections: '[[auth.certificate]]\nname = "web"\nrole = "app"\nsan = "URI:spiffe://portcullis.dev/admin"\n'})});
  t.after(() => server.kill9());
  TestServer.run('certs', 'dev', '--out', pki.folder, '--revoke', 'admin');
  await server.start();
  const {report} = await doctor(`portcullis+tls://${server.ready.rpc_tls}`,
    {args: ['--ca', pki.ca, '--cert', pki.file('admin.pem'), '--key', pki.file('admin-key.pem')]});
  matches(of(report, 'tls'), /^failed: TLS: .*certificate revoked \| The client certificate was revoked/);
});

test('others at the port: Redis, a mail server, one that says nothing, one that closes, one that sends rubbish, another protocol',
  async (t) => {
  const other = async (onConnection) => {
    const sockets = new Set();
    const server = net.createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      onConnection(socket);
    });
    t.after(() => {
      for (const each of sockets) each.destroy();
      server.close();
    });
    await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
    return `127.0.0.1:${server.address().port}`;
  };
  const store = await redis(t);
  const seen = async (address, args = []) => of((await doctor(address, {args})).report, 'protocol').join('\n');
  assert.match(await seen(store.url), /^failed: the answer is that of Redis: "-ERR .*never to its Redis/);
  assert.match(await seen(await other((socket) => socket.write('220 mail.example ESMTP\r\n'))), /^failed: it greets: "220 mail\.example ESMTP"/);
  assert.match(await seen(await other(() => {}), ['--timeout-ms', '300']), /^failed: connected, but no answer came/);
  assert.match(await seen(await other((socket) => socket.end())), /^failed: the connection was closed without a word/);
  assert.match(await seen(await other((socket) => socket.end(Buffer.from([1, 27, 91, 50, 74])))), /^failed: what came is no JSON/);
  assert.match(await seen(await other((socket) => socket.write('{"jsonrpc":"2.0","id":1,"result":["Fulcrum 1.9","1.4"]}\n'))),
    /^failed: .*this client speaks protocol 1/);
  // Not even a finding in text may steer the terminal.
  const rubbish = await other((socket) => socket.end('220 \u001b[2Jgone\r\n'));
  assert.doesNotMatch((await run(['doctor', '--address', rubbish])).out, /\u001b/);
});

test('no token, a wrong one, too many wrong ones; a token over the network in clear is not sent', async (t) => {
  const {server, env} = await guarded(t, {args: []});
  matches(of((await doctor(server.address)).report, 'login'), /^failed: AUTH_REQUIRED: .*\| Give --token-file or PORTCULLIS_TOKEN/);
  const wrong = {PORTCULLIS_TOKEN: 'A'.repeat(43)};
  const first = await doctor(server.address, {env: wrong});
  assert.equal(first.code, 1);
  matches(of(first.report, 'login'), /^failed: AUTH_FAILED: .*does not know this token/);
  assert.ok(!first.out.includes(wrong.PORTCULLIS_TOKEN));
  for (let i = 0; i < 4; ++i) await doctor(server.address, {env: wrong});
  matches(of((await doctor(server.address, {env})).report, 'login'), /^failed: AUTH_RATE_LIMITED: .*In \d+ s it may work again/);
  // 0.0.0.0 reaches this machine, but is not known to be it.
  const clear = await doctor(`0.0.0.0:${server.port}`, {env});
  matches(of(clear.report, 'login'), /^failed: TOKEN_IN_CLEAR: .*It was not sent/);
});

test('the token comes from a file; the tenant, role and services of a token are told', async (t) => {
  const server = new TestServer({auth: 'token'});
  const tokens = {acme: server.token('app', 'acme', 'tenants = ["acme"]'), observer: server.token('observer'), admin: server.token('admin')};
  t.after(() => server.kill9());
  await server.start();
  const file = path.join(server.folder, 'token');
  fs.writeFileSync(file, `${tokens.acme}\n`, {mode: 0o600});
  const outside = await doctor(server.address, {args: ['--token-file', file]});
  assert.equal(outside.code, 1);
  matches(of(outside.report, 'sessions'), /^failed: FORBIDDEN: .*name one of them with --tenant/);
  assert.equal((await doctor(server.address, {args: ['--token-file', file, '--tenant', 'acme']})).code, 0);
  const observer = await doctor(server.address, {env: {PORTCULLIS_TOKEN: tokens.observer}});
  assert.equal(observer.code, 1);
  matches(of(observer.report, 'role'), /^failed: observer \|.*Use a token of role app/);
  matches(of(observer.report, 'sessions'), /^skipped: /);
  const admin = await doctor(server.address, {env: {PORTCULLIS_TOKEN: tokens.admin}});
  assert.equal(admin.code, 0);
  matches(of(admin.report, 'role'), /^warning: admin \|/);
});

test('sessions that are not bound to an address are a warning; a policy that only tells of it is named', async (t) => {
  const off = await serve(t, {config: '[session]\nip_binding = "off"\n'});
  const loose = await doctor(off.address);
  assert.equal(loose.code, 0);
  matches(of(loose.report, 'sessions'), /^warning: valid from another address, too/);
  const own = await serve(t, {config: '[listen.rpc]\nbind_to_connection = true\n'});
  matches(of((await doctor(own.address)).report, 'sessions'), /^warning: valid from another address, too.*bind_to_connection/);
  const challenge = await serve(t, {config: '[session]\nip_binding = "challenge"\n'});
  matches(of((await doctor(challenge.address)).report, 'sessions'), /^ok: from another address: valid with the signal ip, challenge/);
});

test('a policy that lives shorter than the doctor\'s session', async (t) => {
  const server = await serve(t, {config: '[session]\nidle_ttl_s = 20\nabsolute_ttl_s = 30\ntouch_granularity_s = 5\n'});
  const {code, out} = await doctor(server.address);
  assert.equal(code, 0, out);
});

test('a clock that is off by more than the round trip explains is a warning that says whose is ahead', async (t) => {
  const server = await serve(t);
  const ask = async (offsetMs) => {
    const shift = path.join(server.folder, `shift${offsetMs}.mjs`);
    fs.writeFileSync(shift, `const now = Date.now;\nDate.now = () => now() + ${offsetMs};\n`);
    return of((await doctor(server.address, {nodeArgs: ['--import', shift]})).report, 'clock');
  };
  matches(await ask(30_000), /^warning: this machine's clock is (29|30)\.\d s ahead of the server's/);
  matches(await ask(-30_000), /^warning: the server's clock is (29|30)\.\d s ahead of this machine's/);
  assert.equal(judgeClock(12_000, 10_000, 10_000).status, 'ok');
  assert.equal(judgeClock(12_001, 10_000, 10_000).status, 'warning');
  assert.equal(judgeClock(13_000, 10_000, 12_000).status, 'ok', 'one second of the three may be the way');
  assert.equal(judgeClock(7_999, 10_000, 10_000).status, 'warning');
});

test('the command line: wrong options are exit code 2 and nothing is contacted; a token is not taken, nor repeated', async () => {
  for (const args of [[], ['doctr'], ['doctor', 'x'], ['doctor', '--no'], ['doctor', '--timeout-ms', '1'], ['doctor', '--cert', '/nowhere'],
    ['doctor', '--ca', '/nowhere'], ['doctor', '--ca', new URL(import.meta.url).pathname], ['doctor', '--token-file', '/dev/null']]) {
    const {code, out, err} = await run(args);
    assert.equal(code, 2, args.join(' '));
    assert.equal(out, '');
    assert.match(err, /^portcullis-client: .+\n\nusage: /);
  }
  for (const args of [['doctor', '--token', 'hunter2'], ['doctor', '--token=hunter2']]) {
    const {code, err} = await run(args);
    assert.equal(code, 2);
    assert.match(err, /seen by every process/);
    assert.ok(!err.includes('hunter2'));
  }
  assert.match((await run(['doctor', '--help'])).out, /^usage: /);
  const {version} = JSON.parse(fs.readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  assert.equal((await run(['--version'])).out, `${version}\n`);
});

test('addresses from the environment; several nodes of one cluster, servers on their own, one node twice', async (t) => {
  const store = await redis(t);
  const keys = path.join(scratch(), 'portcullis.keys');
  TestServer.run('keys', 'new', '--out', keys);
  const node = (id) => serve(t, {args: ['--set', `server.node_id=${id}`, '--set', 'store.mode=redis', '--set',
    `store.redis.url=unix://${store.socket}`,
    '--set', `crypto.keys_file=${keys}`]});
  const [one, two] = [await node('one'), await node('two')];
  const {code, out} = await run(['doctor', '--json'], {env: {PORTCULLIS_ADDRESS: `${one.address}, ${two.address}`}});
  assert.equal(code, 0, out);
  matches(of(JSON.parse(out), 'cluster'), /^ok: one cluster: .* at all 2 addresses$/);
  const twice = await doctor([one.address, `localhost:${one.port}`]);
  matches(of(twice.report, 'cluster'), /^ok: one cluster/, /^warning: localhost:\d+ is one again/);

  const alone = await serve(t);
  const strangers = await doctor([alone.address, one.address]);
  assert.equal(strangers.code, 1);
  matches(of(strangers.report, 'cluster'),
    /^failed: a session of 127\.0\.0\.1:\d+ is not valid at 127\.0\.0\.1:\d+ \| They are servers on their own/);

  // The store goes: the node says so, and nothing else helps.
  store.stop();
  for (;;) {
    if (JSON.parse(TestServer.run('call', '--address', one.address, 'server.info')).store.degraded) break;
  }
  const degraded = await doctor(one.address);
  assert.equal(degraded.code, 1);
  matches(of(degraded.report, 'store'), /^failed: node one, mode redis, store redis, degraded \| The server cannot reach its store/);
  matches(of(degraded.report, 'sessions'), /^failed: STORE_(UNAVAILABLE|TIMEOUT)/);
});

test('an answer that is lost in the middle: what failed is said, and what was made is revoked', async (t) => {
  const server = await serve(t);
  // Between the two: lets the create through, then nothing any more.
  const middle = net.createServer((socket) => {
    const up = net.connect(server.port, '127.0.0.1');
    for (const each of [socket, up]) each.on('error', () => {});
    socket.on('data', (chunk) => up.write(chunk));
    up.on('data', (chunk) => { if (!chunk.includes('"session_id"')) socket.write(chunk); });
    socket.on('close', () => up.destroy());
    up.on('close', () => socket.destroy());
  });
  await new Promise((resolve) => { middle.listen(0, '127.0.0.1', resolve); });
  t.after(() => middle.close());
  const lost = await doctor(`127.0.0.1:${middle.address().port}`, {args: ['--timeout-ms', '400']});
  assert.equal(lost.code, 1);
  matches(of(lost.report, 'sessions'), /^failed: TIMEOUT/);
  matches(of(lost.report, 'cleanup'), /^ok: revoked 1 sessions/);
  assert.equal(JSON.parse(TestServer.run('call', '--address', server.address, 'session.stats')).live, 0, 'the create had been done');
});

test('no breaker events: a warning, for sessions work without them', async (t) => {
  const server = await serve(t);
  const middle = net.createServer((socket) => {
    const up = net.connect(server.port, '127.0.0.1');
    for (const each of [socket, up]) each.on('error', () => {});
    socket.on('data', (chunk) => { if (!chunk.includes('events.subscribe')) up.write(chunk); });
    up.on('data', (chunk) => socket.write(chunk));
    socket.on('close', () => up.destroy());
    up.on('close', () => socket.destroy());
  });
  await new Promise((resolve) => { middle.listen(0, '127.0.0.1', resolve); });
  t.after(() => middle.close());
  const {code, report} = await doctor(`127.0.0.1:${middle.address().port}`, {args: ['--timeout-ms', '600']});
  assert.equal(code, 0);
  matches(of(report, 'events'), /^warning: no subscription within 600 ms \| Shared breakers/);
});

test('a server that ends in the middle: what may be left is named, with the order that ends it', async (t) => {
  const server = await serve(t);
  const middle = net.createServer((socket) => {
    const up = net.connect(server.port, '127.0.0.1');
    for (const each of [socket, up]) each.on('error', () => {});
    socket.on('data', (chunk) => {
      if (chunk.includes('session.validate')) server.kill9();
      else up.write(chunk);
    });
    up.on('data', (chunk) => socket.write(chunk));
    socket.on('close', () => up.destroy());
    up.on('close', () => socket.destroy());
  });
  await new Promise((resolve) => { middle.listen(0, '127.0.0.1', resolve); });
  t.after(() => middle.close());
  const lost = await doctor(`127.0.0.1:${middle.address().port}`, {args: ['--timeout-ms', '400']});
  assert.equal(lost.code, 1);
  matches(of(lost.report, 'sessions'), /^failed: CONNECTION_LOST/);
  matches(of(lost.report, 'cleanup'),
    /^failed: a session of doctor-\S+, tenant portcullis-doctor, may be left: \w+ \| .*within 60 s\..*session\.revoke_user/);
});

test('what cannot be made on every machine is explained as well: silence, name servers, alerts, greetings', () => {
  const address = {text: 'h:1', tls: false, host: 'h', port: 1};
  const failed = (code, more = {}) => explainConnect({kind: 'error', cause: Object.assign(new Error(code), {code}), connected: false}, {...address,
    ...more}, 100);
  assert.match(explainConnect({kind: 'timeout', connected: false}, address, 100).why, /dropped/);
  for (const [code, why] of [['ETIMEDOUT', /dropped/], ['EHOSTUNREACH', /no way/], ['EAI_AGAIN', /name servers/], ['ENOTFOUND', /no such name/],
    ['EACCES', /forbids/], ['EMFILE', /no more files/]]) {
    assert.match(failed(code).why, why);
    assert.ok(failed(code).advice);
  }
  assert.match(failed('EACCES', {path: '/s'}).why, /may not write to the socket/);
  const alert = (reason) => explainAlert({kind: 'error', cause: Object.assign(new Error('x'), {reason})});
  assert.match(alert('tlsv1 alert protocol version').why, /no version of TLS in common/);
  assert.match(alert('ssl/tls alert certificate expired').why, /has expired/);
  assert.equal(alert('wrong version number'), undefined, 'whoever is there has to be asked in clear');
  assert.equal(explainAlert({kind: 'closed'}), undefined);
  const more = {names: 'DNS:a', host: 'b', until: 'then', from: 'later'};
  assert.match(explainCertificate('CERT_NOT_YET_VALID', more).seen, /valid from later/);
  assert.match(explainCertificate('CERT_REVOKED', more).seen, /CERT_REVOKED/);
  assert.equal(identify(Buffer.from('SSH-2.0-OpenSSH_9.2\r\n')), 'ssh');
  assert.equal(identify(Buffer.from([0x15, 3, 1, 0, 2, 2, 70])), 'tls');
  assert.equal(identify(Buffer.from('-NOAUTH Authentication required.\r\n')), 'redis');
  assert.equal(identify(Buffer.alloc(0)), 'unknown');
  assert.match(explainPeer('tls', {kind: 'closed'}, Buffer.alloc(0)).advice, /portcullis\+tls/);
});

test('Ctrl-C in the middle revokes what was made', async (t) => {
  const server = await serve(t);
  let child;
  const middle = net.createServer((socket) => {
    const up = net.connect(server.port, '127.0.0.1');
    for (const each of [socket, up]) each.on('error', () => {});
    // The first validation is where it is interrupted: that one is not passed on.
    socket.on('data', (chunk) => {
      if (chunk.includes('session.validate')) child.kill('SIGINT');
      else up.write(chunk);
    });
    up.on('data', (chunk) => socket.write(chunk));
    socket.on('close', () => up.destroy());
    up.on('close', () => socket.destroy());
  });
  await new Promise((resolve) => { middle.listen(0, '127.0.0.1', resolve); });
  t.after(() => middle.close());
  const ended = await run(['doctor', '--address', `127.0.0.1:${middle.address().port}`], {onChild: (started) => { child = started; }});
  assert.equal(ended.code, 1, ended.out);
  assert.match(ended.out, /FAILED +sessions +interrupted/);
  assert.match(ended.out, /ok +cleanup +revoked 1 sessions/);
  assert.equal(JSON.parse(TestServer.run('call', '--address', server.address, 'session.stats')).live, 0);
});

/** A server that answers each method with what `answers` has for it: an object, or a text that is the rest of the line. */
async function odd(t, answers) {
  const sockets = new Set();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      for (const line of String(chunk).trim().split('\n')) {
        const {id, method} = JSON.parse(line);
        socket.write(`${JSON.stringify({jsonrpc: '2.0', id, ...(answers[method] ?? {result: {}})})}\n`);
      }
    });
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  t.after(() => {
    for (const each of sockets) each.destroy();
    server.close();
  });
  return `127.0.0.1:${server.address().port}`;
}
const version = {result: {name: 'portcullis', version: '9.9.9', protocol: 1}};

test('answers whose parts are of no kind that the protocol has are findings, and never a stack', async (t) => {
  // A text for `toString` makes what is made of it throw.
  const hostile = {toString: 5, valueOf: 5};
  for (const answer of [{error: null, result: null}, {error: null}, {result: null}, {error: 5}, {result: 'x'}, {error: 'x', result: true},
    {error: {message: hostile}}, {error: {data: null}}, {error: {data: {error: hostile, retry_after_ms: 'x', correlation_id: hostile}}},
    {result: {name: hostile, version: '1', protocol: 1}}]) {
    const {code, report} = await doctor(await odd(t, {'server.version': answer}), {args: ['--timeout-ms', '200']});
    assert.equal(code, 1, JSON.stringify(answer));
    matches(of(report, 'protocol'), /^failed: /);
  }
  for (const result of [{nodes: 5}, {nodes: [null, 5, {node_id: 7}]}, {nodes: {}, store: null}, {store: 'x', node_id: hostile}, {node_id: null}]) {
    const {code, report} = await doctor(await odd(t, {'server.version': version, 'server.info': {result}}), {args: ['--timeout-ms', '200']});
    assert.equal(code, 1, JSON.stringify(result));
    assert.ok(report.counts.failed > 0);
  }
});

test('what a server says cannot steer a terminal, not even as JSON', async (t) => {
  const name = 'x\u009b31mRED\u202e\u200f\u2028\u007f\u001b[2J';
  const address = await odd(t, {'server.version': {result: {...version.result, name}}, 'server.info': {error: {code: 1, message: name}}});
  for (const args of [[], ['--json']]) {
    const {out} = await run(['doctor', '--address', address, '--timeout-ms', '200', ...args]);
    assert.match(out, /RED/);
    assert.doesNotMatch(out, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/, args.join());
    // A program still gets what was there.
    if (args.length > 0) assert.ok(of(JSON.parse(out), 'protocol')[0].includes(name));
  }
});

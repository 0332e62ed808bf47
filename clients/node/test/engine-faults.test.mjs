// Faults that were found in the engine once, one test each.
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import http from 'node:http';
import net from 'node:net';
import test from 'node:test';

import {contextReader, PortcullisClient} from '../dist/esm/index.js';
import {Connection} from '../dist/esm/connection.js';
import {parseAddress} from '../dist/esm/address.js';
import {client, coded, context, key, reply} from './support/client.mjs';
import {Proxy, scripted} from './support/peer.mjs';
import {serve, TestServer} from './support/server.mjs';

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('a request that is reset as soon as it was sent has no address, and is never taken for a Unix socket\'s', async (t) => {
  const contextOf = contextReader({trustProxy: ['unix']});
  const seen = [];
  const server = http.createServer((request, response) => {
    // The reset has arrived, and nobody has looked at the socket yet.
    const until = Date.now() + 20;
    while (Date.now() < until);
    try {
      seen.push(contextOf(request).ip);
    } catch (failure) {
      seen.push(failure.code);
    }
    response.end();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  for (let i = 0; i < 10; ++i) {
    await new Promise((resolve) => {
      const socket = net.connect(server.address().port, '127.0.0.1', () => {
        socket.write('GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n', () => {
          socket.resetAndDestroy();
          resolve();
        });
      });
      socket.on('error', () => {});
    });
    while (seen.length <= i) await turn();
  }
  assert.ok(seen.every((each) => each === 'INVALID_PARAMS' || each === '127.0.0.1'), seen.join());
  assert.ok(seen.includes('INVALID_PARAMS'), 'no reset came in time');
});

test('what the server would end a connection for is not sent', async (t) => {
  const server = await serve(t);
  const portcullis = client(t, {address: server.address});
  const {sessionId} = await portcullis.sessions.create({tenantId: 'acme', userId: 'ada', context});
  const deep = (levels) => (levels === 0 ? 1 : {'"}]': deep(levels - 1)});
  const update = (data) => portcullis.sessions.update({sessionId, context, data});
  await assert.rejects(update({big: 'x'.repeat(100_000)}), coded('VALUE_TOO_LARGE', {sent: false, status: 413}));
  await assert.rejects(update({big: 'ä'.repeat(33_000)}), coded('VALUE_TOO_LARGE', {sent: false}));
  await assert.rejects(update({big: 'x'.repeat(20_000)}), coded('DATA_TOO_LARGE', {sent: true}));  // the server says so, and goes on
  await assert.rejects(portcullis.lockouts.status({tenantId: 'acme', userId: 'x'.repeat(100_000)}), coded('VALUE_TOO_LARGE'));
  await assert.rejects(portcullis.sessions.validate({sessionId: 'x'.repeat(100_000), context}), coded('VALUE_TOO_LARGE'));
  // The deepest that passes here passes there.
  let levels = 1;
  for (;; ++levels) {
    const failure = await update(deep(levels)).then(() => undefined, (reason) => reason);
    if (failure === undefined) continue;
    assert.ok(coded('NESTING_TOO_DEEP', {sent: false})(failure));
    break;
  }
  assert.ok(levels > 10, `${levels}`);
  assert.deepEqual([portcullis.stats().connectionsLost, portcullis.stats().retries], [0, 0]);
});

test('a request that ended its connection is not sent again', async (t) => {
  const peer = await scripted(t, (request, write, socket) => {
    write({jsonrpc: '2.0', id: null, error: {code: 1001, message: 'too large', data: {error: 'VALUE_TOO_LARGE', status: 413}}});
    socket.end();
  });
  const portcullis = client(t, {address: peer.address, connections: 1});
  await assert.rejects(portcullis.server.ping(), (failure) => coded('CONNECTION_LOST')(failure) && failure.cause.code === 'VALUE_TOO_LARGE');
  assert.equal(peer.seen.length, 1);
});

test('a reply of another form than the protocol\'s fails its call, and nothing else', async (t) => {
  const odd = ['"result":null', '"x":1', '"result":7', '"result":[]', '"error":null', '"result":{},"error":{}',
    '"error":{"message":{"toString":1},"data":7}', '"error":{"data":{"error":5,"details":7,"retry_after_ms":"x"}}'];
  for (const form of odd) {
    const peer = await scripted(t, ({id}, write) => write(`{"jsonrpc":"2.0","id":${id},${form}}\n`));
    const portcullis = client(t, {address: peer.address, retry: {attempts: 0}});
    for (const call of [portcullis.sessions.validate(key), portcullis.sessions.stats()]) {
      await assert.rejects(call, (failure) => ['CONNECTION_LOST', 'INTERNAL'].includes(failure.code), form);
    }
    await portcullis.close();
  }
});

test('a wrong token does not use up the logins of others, and its calls know at once', async (t) => {
  let logins = 0;
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      for (const line of chunk.toString().split('\n').filter(Boolean)) {
        const {id, method} = JSON.parse(line);
        if (method === 'auth.login') ++logins;
        socket.write(method === 'auth.login' ?
          `{"jsonrpc":"2.0","id":${id},"error":{"code":2002,"message":"no","data":{"error":"AUTH_FAILED","status":401}}}\n` :
          `{"jsonrpc":"2.0","id":${id},"result":{"name":"portcullis","version":"1","protocol":1}}\n`);
      }
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const portcullis = client(t, {address: `127.0.0.1:${server.address().port}`, token: 'x'.repeat(43), connections: 8, reconnect: {baseMs: 1, capMs: 1}});
  const waits = [];
  portcullis.on('disconnect', ({retryInMs}) => waits.push(retryInMs));
  await assert.rejects(portcullis.server.ping(), coded('AUTH_FAILED', {sent: false}));
  while (waits.length < 8) await turn();
  assert.equal(logins, 8);  // each slot once; then one of them, much later
  assert.ok(waits.every((each) => each >= 15_000), waits.join());
  await assert.rejects(portcullis.server.ping(), coded('AUTH_FAILED'));
});

test('a place that an abort or a deadline frees is given to who waits', async (t) => {
  const peer = await scripted(t, (request, write) => { if (request.method !== 'test.hangs') write(reply(request)); });
  const portcullis = client(t, {address: peer.address, connections: 1, maxInFlight: 4});
  const controller = new AbortController();
  const hanging = Array.from({length: 4}, () => portcullis.call('test.hangs', {}, {signal: controller.signal}));
  const settled = Promise.allSettled(hanging);
  while (portcullis.stats().inFlight < 4) await turn();
  const first = portcullis.call('test.first');
  const second = portcullis.call('test.second');
  controller.abort();
  await Promise.all([first, second, settled]);
  assert.deepEqual(peer.seen.slice(4).map(({method}) => method), ['test.first', 'test.second']);
});

test('a source of tokens that hangs or fails costs one attempt, and its words are told to nobody', async (t) => {
  const server = await serve(t, {auth: 'none'});
  let asked = 0;
  const token = () => {
    if (++asked === 1) return new Promise(() => {});
    if (asked === 2) throw new Error('GET https://vault/?token=SECRET failed');
    return undefined;
  };
  const portcullis = client(t, {address: server.address, connections: 1, token, connectTimeoutMs: 20, unreachableAfterMs: 60_000, reconnect: {baseMs: 1, capMs: 1}});
  const failures = [];
  portcullis.on('disconnect', ({error}) => failures.push(error));
  await portcullis.server.ping();
  assert.deepEqual(failures.map(({code, sent}) => [code, sent]), [['TIMEOUT', true], ['UNREACHABLE', false]]);
  assert.ok(!failures[1].message.includes('SECRET') && !JSON.stringify(failures[1]).includes('SECRET') && failures[1].cause.message.includes('SECRET'));
});

test('a token may come with the newline of its file', async (t) => {
  const server = new TestServer({auth: 'token'});
  const token = server.token('app');
  t.after(() => server.kill9());
  await server.start();
  await client(t, {address: server.address, token: `${token}\n`}).sessions.stats();
});

test('a disconnect says why, and nothing was lost where there was no connection', async (t) => {
  const server = await serve(t);
  const portcullis = client(t, {address: server.address, connections: 1, unreachableAfterMs: 0});
  await portcullis.connect();
  const reasons = [];
  portcullis.on('disconnect', ({error}) => reasons.push([error?.code, error?.sent]));
  await server.kill9();
  while (reasons.length < 2) await turn();
  assert.deepEqual(reasons.slice(0, 2), [['CONNECTION_LOST', true], ['UNREACHABLE', false]]);
  await assert.rejects(portcullis.server.ping(), (failure) => /ECONNREFUSED/.test(failure.message) && !failure.sent);
});

test('the public form of an error has fixed text', async (t) => {
  const portcullis = client(t, {address: '127.0.0.1:1', unreachableAfterMs: 0});
  await assert.rejects(portcullis.server.ping(), (failure) => {
    assert.match(failure.message, /127\.0\.0\.1:1/);
    assert.equal(failure.toJSON().message, 'No Portcullis server can be reached.');
    return true;
  });
});

test('a node that hangs is left for the next address', async (t) => {
  const [a, b] = [await serve(t), await serve(t)];
  const proxy = await Proxy.to(t, a.address);
  const portcullis = client(t, {address: [proxy.address, b.address], order: 'given', timeoutMs: 200, connectTimeoutMs: 60_000});
  await portcullis.connect({timeoutMs: 20_000});
  proxy.stall();
  let failures = 0;
  while (!await portcullis.server.ping().then(() => true, () => false)) ++failures;
  // A second attempt to connect to the first would hang for a minute.
  assert.ok(failures >= 1 && failures < 100, `${failures}`);
});

test('a subscription that ends as soon as it began is asked for less and less', async (t) => {
  let subscriptions = 0;
  const times = [];
  const peer = await scripted(t, (request, write, socket) => {
    write(reply(request, {subscription: 's', cursor: 'e0'}));
    times.push(performance.now());
    if (++subscriptions === 7) write({jsonrpc: '2.0', method: 'event', params: {subscription: 's', cursor: 'e1', event: {seq: 1, type: 'x'}}});
    else if (subscriptions % 2) socket.end();
    else write({jsonrpc: '2.0', method: 'events.ended', params: {subscription: 's', cursor: 'e0', error: {code: 6004, message: '', data: {error: 'SUBSCRIBER_TOO_SLOW'}}}});
  });
  const random = Math.random;
  Math.random = () => 0.99;
  t.after(() => { Math.random = random; });
  const stream = client(t, {address: peer.address}).events.subscribe();
  await stream.next();
  const waits = times.slice(1).map((each, i) => each - times[i]);
  waits.reduce((before, each) => {
    assert.ok(each > before, waits.join());
    return each;
  });
  await stream.return();
});

test('deadlines, methods and options that cannot be are refused', async (t) => {
  const peer = await scripted(t, (request, write) => write(reply(request)));
  const portcullis = client(t, {address: peer.address});
  for (const timeoutMs of [Infinity, NaN, 3e9, -1, 0, '5']) {
    await assert.rejects(portcullis.call('x', {}, {timeoutMs: timeoutMs === '5' ? 'five' : timeoutMs}), RangeError);
  }
  const cycle = {};
  cycle.self = cycle;
  for (const params of [cycle, {big: 1n}]) await assert.rejects(portcullis.call('x', params), TypeError);
  await assert.rejects(portcullis.sessions.validate({sessionId: 'x'}), TypeError);
  for (const method of ['validate', 'update', 'rotate', 'revoke']) await assert.rejects(portcullis.sessions[method]({sessionID: 'x', context}), /sessionId, or alias/);
  await portcullis.call('server.ping","id":7}\n{"jsonrpc":"2.0","method":"session.revoke_tenant');
  assert.deepEqual(peer.seen.map(({method}) => method), ['server.ping","id":7}\n{"jsonrpc":"2.0","method":"session.revoke_tenant']);
  for (const options of [{order: 'fixed'}, {token: 5}, {token: ''}, {tls: 'yes'}, {adress: 'x'}, {connections: 1.5}, {retry: 5}, {limits: {depth: 1}}]) {
    assert.throws(() => new PortcullisClient(options), (failure) => failure instanceof TypeError || failure instanceof RangeError, JSON.stringify(options));
  }
});

test('a listener that throws does not stop the client', async (t) => {
  const server = await serve(t);
  const proxy = await Proxy.to(t, server.address);
  // In a process of its own: what is thrown is nobody's, and the test runner would take it for a failure.
  const program = `import {PortcullisClient} from '${new URL('../dist/esm/index.js', import.meta.url)}';
    const portcullis = new PortcullisClient({address: '${proxy.address}', connections: 1, timeoutMs: 20000});
    let thrown = 0;
    process.on('uncaughtException', () => ++thrown);
    for (const name of ['connect', 'disconnect']) portcullis.on(name, () => { throw new Error('of the application'); });
    await portcullis.connect();
    console.log('connected');
    for await (const line of process.stdin) break;
    await portcullis.connect();
    console.log('again', thrown);
    process.exit(0);`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {stdio: ['pipe', 'pipe', 'inherit']});
  t.after(() => child.kill('SIGKILL'));
  let out = '';
  child.stdout.on('data', (text) => {
    if (out === '') {
      proxy.cut();
      child.stdin.write('go\n');
    }
    out += text;
  });
  await new Promise((resolve) => child.once('close', resolve));
  assert.match(out, /^connected\nagain [3-9]\n$/);
});

test('a node that drains keeps its connections until they are empty, and close() takes them', async (t) => {
  let answer;
  const peer = await scripted(t, (request, write, socket) => {
    if (request.method === 'test.long') answer = () => write(reply(request, {done: true}));
    else if (request.method === 'test.drains') {
      write({jsonrpc: '2.0', id: request.id, error: {code: 8002, message: '', data: {error: 'NODE_DRAINING', retryable: true, status: 503}}});
    } else {
      write(reply(request));
    }
    if (request.method === 'test.drains') drained = socket;
  });
  let drained;
  const portcullis = client(t, {address: peer.address, connections: 1, timeoutMs: 10_000});
  const long = portcullis.call('test.long');
  await assert.rejects(portcullis.call('test.drains'), coded('NODE_DRAINING'));
  await portcullis.server.ping();
  assert.equal(peer.sockets.size, 2);
  answer();
  assert.deepEqual(await long, {done: true});
  while (peer.sockets.has(drained)) await turn();
  assert.equal(peer.sockets.size, 1);
});

test('many connections and many calls of one signal warn of nothing', async (t) => {
  const warnings = [];
  const note = (warning) => warnings.push(warning.name);
  process.on('warning', note);
  t.after(() => process.off('warning', note));
  const peer = await scripted(t, (request, write) => write(reply(request)));
  const portcullis = client(t, {address: peer.address, connections: 32});
  const {signal} = new AbortController();
  await Promise.all(Array.from({length: 50}, () => portcullis.server.ping({signal})));
  while (portcullis.stats().connected < 32) await turn();
  assert.deepEqual(warnings, []);
});

test('two that wait for the next event both get one, and two that close wait for the same', async (t) => {
  const peer = await scripted(t, (request, write) => {
    if (request.method === 'test.long') {
      setTimeout(() => write(reply(request)), 50);
      return;
    }
    write(reply(request, {subscription: 's', cursor: 'e0'}));
    for (const n of [1, 2]) write({jsonrpc: '2.0', method: 'event', params: {subscription: 's', cursor: `e${n}`, event: {seq: n, type: 'x'}}});
  });
  const portcullis = client(t, {address: peer.address});
  const stream = portcullis.events.subscribe();
  const both = await Promise.all([stream.next(), stream.next()]);
  assert.deepEqual(both.map(({value}) => value.cursor).sort(), ['e1', 'e2']);
  const waiting = [stream.next(), stream.next()];
  await stream.return();
  assert.deepEqual(await Promise.all(waiting), Array(2).fill({done: true, value: undefined}));

  let answered = false;
  void portcullis.call('test.long').then(() => { answered = true; });
  void portcullis.close();
  await portcullis.close();
  assert.ok(answered);
});

test('what callers gave up on does not pile up before a peer that does not read', async (t) => {
  const peer = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.write('{"jsonrpc":"2.0","id":-2,"result":{"name":"portcullis","version":"1","protocol":1}}\n');
      socket.pause();
    });
  });
  await new Promise((resolve) => peer.listen(0, '127.0.0.1', resolve));
  const sockets = new Set();
  peer.on('connection', (socket) => sockets.add(socket));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    peer.close();
  });
  const connection = await Connection.open(parseAddress(`127.0.0.1:${peer.address().port}`), {tls: {}, token: undefined, connectTimeoutMs: 20_000},
    new AbortController().signal);
  const body = `"method":"x","params":{"p":"${'x'.repeat(50_000)}"}`;
  let sent = 0;
  for (; sent < 10_000 && !connection.clogged; ++sent) {
    const request = {id: 0, body, replied() {}, lost() {}};
    connection.send(request);
    connection.forget(request.id);
    await turn();
  }
  assert.ok(connection.clogged, 'it took all');
  assert.equal(connection.inFlight, 0);
  connection.fail(new Error('enough'));
});

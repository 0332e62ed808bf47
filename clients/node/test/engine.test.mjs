// The engine against peers that misbehave: deadlines, retries, queues, mixed-up answers, silence.
import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';

import {PortcullisClient} from '../dist/esm/index.js';
import {client, coded, context, key, reply} from './support/client.mjs';
import {Proxy, scripted} from './support/peer.mjs';
import {serve} from './support/server.mjs';

const refusal = ({id}, error, more = {}) => ({jsonrpc: '2.0', id, error: {code: 1, message: 'no', data: {error, status: 503, retryable: true, ...more}}});

test('answers find their calls, in whatever order and pieces they come', async (t) => {
  const waiting = [];
  const peer = await scripted(t, (request, write, socket) => {
    waiting.push(request);
    if (waiting.length < 100) return;
    // Backwards, many in one write, cut in the middle of characters.
    const bytes = Buffer.from(waiting.splice(0).reverse().map((each) => `${JSON.stringify(reply(each, {echo: each.params.n, text: 'ä€😀'}))}\n`).join(''));
    for (let from = 0; from < bytes.length; from += 7) socket.write(bytes.subarray(from, from + 7));
  });
  const portcullis = client(t, {address: peer.address, connections: 1});
  const answers = await Promise.all(Array.from({length: 300}, (_, n) => portcullis.call('test.echo', {n})));
  answers.forEach((each, n) => assert.deepEqual(each, {echo: n, text: 'ä€😀'}));

  const whole = await scripted(t, (request, write) => write(reply(request, {text: 'ä€😀'})));
  assert.deepEqual(await client(t, {address: whole.address}).call('test.echo'), {text: 'ä€😀'});
});

test('a call that is not answered ends at its deadline, and its late answer reaches nobody', async (t) => {
  let late;
  const peer = await scripted(t, (request, write) => {
    if (request.method === 'test.slow') {
      late = reply(request, {for: 'the first'});
      return;
    }
    if (request.params?.n === 0) write(late);  // while another call has its place
    write(reply(request, {for: request.params?.n}));
  });
  const portcullis = client(t, {address: peer.address, connections: 1, maxInFlight: 2});
  const slow = portcullis.call('test.slow', {}, {timeoutMs: 50});
  await portcullis.call('test.echo', {n: -1});  // something came since: the connection is above suspicion
  await assert.rejects(slow, coded('TIMEOUT', {sent: true, status: 504, method: 'test.slow'}));
  for (let n = 0; n < 10; ++n) assert.deepEqual(await portcullis.call('test.echo', {n}), {for: n});
  assert.equal(portcullis.stats().timeouts, 1);
  assert.equal(portcullis.stats().connectionsLost, 0);
});

test('what is never answered gives its place in flight back', async (t) => {
  const peer = await scripted(t, (request, write) => { if (request.method !== 'test.hangs') write(reply(request)); });
  const portcullis = client(t, {address: peer.address, connections: 1, maxInFlight: 1});
  for (let i = 0; i < 3; ++i) await assert.rejects(portcullis.call('test.hangs', {}, {timeoutMs: 10}), coded('TIMEOUT'));
  await portcullis.call('test.quick');
});

test('a signal ends a call before, while and after it is sent', async (t) => {
  const arrived = [];
  const peer = await scripted(t, (request, write) => {
    arrived.push(request.method);
    if (request.method === 'test.answered') write(reply(request));
    else controller.abort(new Error('the user left'));
  });
  const controller = new AbortController();
  const portcullis = client(t, {address: peer.address});
  await assert.rejects(portcullis.call('test.hangs', {}, {signal: controller.signal}), (failure) => coded('ABORTED', {sent: true})(failure) && failure.cause.message === 'the user left');
  await assert.rejects(portcullis.call('test.never', {}, {signal: controller.signal}), coded('ABORTED', {sent: false}));
  const other = new AbortController();
  await portcullis.call('test.answered', {}, {signal: other.signal});
  other.abort();
  assert.deepEqual(arrived, ['test.hangs', 'test.answered']);
});

test('what is safe is sent again when its connection is lost, and nothing else is', async (t) => {
  let cuts = 2;
  const peer = await scripted(t, (request, write, socket) => {
    if (request.method === 'session.create' || cuts-- > 0) socket.destroy();
    else write(reply(request, {valid: false, reason: 'expired'}));
  });
  const portcullis = client(t, {address: peer.address, connections: 1, reconnect: {baseMs: 1, capMs: 2}});
  assert.deepEqual(await portcullis.sessions.validate(key), {valid: false, reason: 'expired', retryAfterMs: undefined});
  assert.equal(portcullis.stats().retries, 2);
  await assert.rejects(portcullis.sessions.create({tenantId: 'acme', userId: 'ada', context}), coded('CONNECTION_LOST', {sent: true}));
  assert.equal(peer.seen.filter(({method}) => method === 'session.create').length, 1);
});

test('three losses are enough', async (t) => {
  const peer = await scripted(t, (request, write, socket) => socket.destroy());
  const portcullis = client(t, {address: peer.address, connections: 1, reconnect: {baseMs: 1, capMs: 2}});
  await assert.rejects(portcullis.sessions.validate(key), coded('CONNECTION_LOST'));
  assert.equal(peer.seen.length, 3);
});

test('retries stay within their budget when everything fails', async (t) => {
  const peer = await scripted(t, (request, write) => write(refusal(request, 'OVERLOADED', {retry_after_ms: 0})));
  const portcullis = client(t, {address: peer.address, retry: {attempts: 10, ratio: 0.1}});
  const calls = 3000;
  for (let i = 0; i < calls; i += 100) {
    await Promise.all(Array.from({length: 100}, () => assert.rejects(portcullis.server.ping(), coded('OVERLOADED'))));
  }
  const {retries} = portcullis.stats();
  assert.equal(peer.seen.length, calls + retries);
  assert.ok(retries >= 100 && retries < calls, `${retries}`);
});

test('what was refused before it began is tried again, and a denial is not', async (t) => {
  let busy = 2;
  const peer = await scripted(t, (request, write) => {
    if (request.method === 'session.update') write(refusal(request, 'OVERLOADED'));
    else write(busy-- > 0 ? refusal(request, 'OVERLOADED', {retry_after_ms: 1}) : refusal(request, 'STORE_UNAVAILABLE', {retry_after_ms: 1}));
  });
  const portcullis = client(t, {address: peer.address});
  await assert.rejects(portcullis.sessions.validate(key), coded('STORE_UNAVAILABLE', {retryAfterMs: 1}));
  await assert.rejects(portcullis.sessions.update({...key, data: {}}), coded('OVERLOADED'));
  assert.deepEqual(peer.seen.map(({method}) => method), [...Array(3).fill('session.validate'), 'session.update']);
});

test('calls beyond what may be in flight wait, and beyond what may wait are refused', async (t) => {
  const held = [];
  let open = false;
  const peer = await scripted(t, (request, write) => {
    if (open) write(reply(request));
    else held.push(() => write(reply(request)));
    if (held.length === 4) reached();
  });
  let reached;
  const full = new Promise((resolve) => { reached = resolve; });
  const portcullis = client(t, {address: peer.address, connections: 2, maxInFlight: 2, maxQueued: 3});
  let ready = 0;
  const both = new Promise((resolve) => portcullis.on('connect', () => { if (++ready === 2) resolve(); }));
  portcullis.start();
  await both;
  const calls = Array.from({length: 4}, () => portcullis.call('test.held'));
  await full;
  const queued = Array.from({length: 3}, () => portcullis.call('test.queued'));
  assert.deepEqual([portcullis.stats().inFlight, portcullis.stats().queued], [4, 3]);
  await assert.rejects(portcullis.call('test.refused'), coded('QUEUE_FULL', {sent: false}));
  open = true;
  for (const answer of held) answer();
  await Promise.all([...calls, ...queued]);
  assert.ok(!peer.seen.some(({method}) => method === 'test.refused'));
  assert.deepEqual([portcullis.stats().inFlight, portcullis.stats().queued], [0, 0]);
});

test('while nobody can be reached calls fail at once with the reason, and go on when somebody is there', async (t) => {
  const closed = net.createServer();
  await new Promise((resolve) => closed.listen(0, '127.0.0.1', resolve));
  const {port} = closed.address();
  await new Promise((resolve) => closed.close(resolve));
  const portcullis = client(t, {address: `127.0.0.1:${port}`, unreachableAfterMs: 0, reconnect: {baseMs: 1, capMs: 5}});
  await assert.rejects(portcullis.connect(), (failure) => coded('UNREACHABLE', {sent: false})(failure) && /ECONNREFUSED/.test(failure.message));
  const server = net.createServer((socket) => socket.on('error', () => {}).on('data', (chunk) => {
    for (const line of chunk.toString().split('\n').filter(Boolean)) {
      socket.write(`${JSON.stringify(reply(JSON.parse(line), {name: 'portcullis', version: '1', protocol: 1}))}\n`);
    }
  }));
  const connected = new Promise((resolve) => portcullis.once('connect', resolve));
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.after(() => server.close());
  await connected;
  await portcullis.server.ping();
});

test('calls wait for a connection that is being made, up to their deadline', async (t) => {
  const never = net.createServer((socket) => socket.on('error', () => {}));  // accepts, and says nothing
  await new Promise((resolve) => never.listen(0, '127.0.0.1', resolve));
  t.after(() => never.close());
  const portcullis = client(t, {address: `127.0.0.1:${never.address().port}`, connectTimeoutMs: 5, reconnect: {baseMs: 1, capMs: 2}, unreachableAfterMs: 60_000});
  await assert.rejects(portcullis.call('test.any', {}, {timeoutMs: 100}),
    (failure) => coded('TIMEOUT', {sent: false})(failure) && /not connected within 5 ms/.test(failure.cause.message));
});

test('calls that gave up waiting take nobody\'s place in the queue', async (t) => {
  const never = net.createServer((socket) => socket.on('error', () => {}));
  await new Promise((resolve) => never.listen(0, '127.0.0.1', resolve));
  t.after(() => never.close());
  const portcullis = client(t, {address: `127.0.0.1:${never.address().port}`, connectTimeoutMs: 60_000, unreachableAfterMs: 60_000, maxQueued: 10});
  const tries = (count, timeoutMs) => Promise.all(Array.from({length: count}, () => portcullis.server.ping({timeoutMs}).catch(({code}) => code)));
  for (let round = 0; round < 300; ++round) assert.deepEqual(await tries(10, 1), Array(10).fill('TIMEOUT'));
  assert.deepEqual((await tries(11, 1)).sort(), ['QUEUE_FULL', ...Array(10).fill('TIMEOUT')]);
  assert.equal(portcullis.stats().queued, 0);
});

test('a connection on which nothing comes any more is given up, and the next one serves', async (t) => {
  const server = await serve(t);
  const proxy = await Proxy.to(t, server.address);
  const portcullis = client(t, {address: proxy.address, connections: 1, timeoutMs: 300});
  await portcullis.connect();
  proxy.stall();  // as when the other machine loses power: no FIN, no RST
  const lost = new Promise((resolve) => portcullis.once('disconnect', resolve));
  await assert.rejects(portcullis.server.ping(), coded('TIMEOUT'));
  assert.match((await lost).error.message, /nothing was heard for/);
  proxy.stall(false);
  await portcullis.server.ping({timeoutMs: 20_000});
  assert.equal(proxy.accepted >= 2, true);
});

test('a connection whose calls are slow, but which answers, is kept', async (t) => {
  let slow;
  const peer = await scripted(t, (request, write) => {
    if (request.method === 'test.slow') slow = () => write(reply(request));
    else write(reply(request, {}));
  });
  const portcullis = client(t, {address: peer.address, connections: 1});
  await assert.rejects(portcullis.call('test.slow', {}, {timeoutMs: 10}), coded('TIMEOUT'));
  slow();
  await portcullis.call('test.quick');
  assert.deepEqual(peer.seen.map(({method}) => method), ['test.slow', 'server.ping', 'test.quick']);
  assert.equal(portcullis.stats().connectionsLost, 0);
});

test('another version of the protocol is refused', async (t) => {
  const peer = await scripted(t, () => assert.fail('nothing is asked'), {protocol: 2});
  const portcullis = client(t, {address: peer.address, unreachableAfterMs: 0});
  await assert.rejects(portcullis.server.ping(), coded('PROTOCOL', {sent: false}));
});

test('what is not the protocol ends the connection, and harms nobody', async (t) => {
  const answers = ['HTTP/1.1 400 Bad Request\r\n\r\n', '{"jsonrpc":"2.0","id":', '[1,2', 'null\n', '7\n', '"text"\n', '[]\n', '{}\n', '{"id":"x","result":{}}\n', '\n'];
  for (const answer of answers) {
    let first = true;
    const peer = await scripted(t, (request, write, socket) => {
      if (!first) return write(reply(request, {}));
      first = false;
      write(answer);
      socket.end();
    });
    const portcullis = client(t, {address: peer.address, connections: 1, reconnect: {baseMs: 1, capMs: 2}});
    await portcullis.server.ping();  // safe: asked again on the next connection
    assert.equal(portcullis.stats().retries, 1, answer);
  }
});

test('a reply without end is not collected for ever', async (t) => {
  const chunk = 'x'.repeat(1 << 20);
  const peer = await scripted(t, (request, write, socket) => {
    const more = () => { while (!socket.destroyed && socket.write(chunk)); };
    socket.on('drain', more);
    more();
  });
  const portcullis = client(t, {address: peer.address, retry: {attempts: 0}});
  await assert.rejects(portcullis.server.ping(), (failure) => coded('CONNECTION_LOST')(failure) && /more than/.test(failure.message));
});

test('the server\'s word about a connection is the reason of its end', async (t) => {
  const peer = await scripted(t, (request, write, socket) => {
    write({jsonrpc: '2.0', id: null, error: {code: 2006, message: 'The client certificate was not accepted.', data: {error: 'CERTIFICATE_REJECTED', status: 401}}});
    socket.end();
  });
  const portcullis = client(t, {address: peer.address, retry: {attempts: 0}});
  await assert.rejects(portcullis.server.ping(), (failure) => coded('CONNECTION_LOST')(failure) && failure.cause.code === 'CERTIFICATE_REJECTED');
});

test('a token is not sent in clear over a network', async (t) => {
  const portcullis = client(t, {address: '192.0.2.1:7420', token: 'x'.repeat(43), unreachableAfterMs: 0});
  await assert.rejects(portcullis.server.ping(), coded('TOKEN_IN_CLEAR', {sent: false}));
});

test('close() lets what is under way end, takes nothing new, and leaves no connection', async (t) => {
  let answer;
  const asked = new Promise((resolve) => { answer = resolve; });
  const peer = await scripted(t, (request, write) => answer(() => write(reply(request, {done: true}))));
  const portcullis = new PortcullisClient({address: peer.address, timeoutMs: 20_000});
  const call = portcullis.call('test.long');
  const write = await asked;
  const closing = portcullis.close();
  await assert.rejects(portcullis.call('test.new'), coded('CLOSED', {sent: false}));
  write();
  assert.deepEqual(await call, {done: true});
  await closing;
  for (const socket of peer.sockets) if (!socket.readableEnded && !socket.destroyed) await new Promise((resolve) => socket.once('close', resolve));
  await portcullis.close();  // twice is no error
  const unused = new PortcullisClient({address: peer.address});
  await unused.close();
  await assert.rejects(unused.server.ping(), coded('CLOSED'));
});

test('correlation and trace go along', async (t) => {
  const server = await serve(t);
  const portcullis = client(t, {address: server.address});
  await assert.rejects(portcullis.sessions.update({...key, data: {}}, {correlationId: 'req-17'}), coded('SESSION_NOT_FOUND', {correlationId: 'req-17'}));
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  await assert.rejects(portcullis.sessions.update({...key, data: {}}, {traceparent: `00-${trace}-00f067aa0ba902b7-01`}),
    coded('SESSION_NOT_FOUND', {correlationId: trace}));
  assert.equal((await portcullis.sessions.validate(key, {correlationId: 'req-18'})).reason, 'not_found');
});

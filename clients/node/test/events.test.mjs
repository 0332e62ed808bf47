// Events as an iterator: each once, none missing, over lost connections, restarts, slow consumers.
import assert from 'node:assert/strict';
import {execFile} from 'node:child_process';
import test from 'node:test';
import {promisify} from 'node:util';

import {PortcullisClient} from '../dist/esm/index.js';
import {Proxy, scripted} from './support/peer.mjs';
import {serve} from './support/server.mjs';

const context = {ip: '192.0.2.1', userAgent: 'agent/1'};
const client = (t, options) => {
  const made = new PortcullisClient({timeoutMs: 60_000, unreachableAfterMs: 60_000, ...options});
  t.after(() => made.close());
  return made;
};
const create = (portcullis, i) => portcullis.sessions.create({tenantId: 'acme', userId: `user-${i}`, context});
const take = async (stream, count) => {
  const taken = [];
  while (taken.length < count) {
    const {done, value} = await stream.next();
    assert.ok(!done);
    taken.push(value);
  }
  return taken;
};

test('what was before and what comes arrives once, in order', async (t) => {
  const server = await serve(t);
  const portcullis = client(t, {address: server.address});
  for (let i = 0; i < 5; ++i) await create(portcullis, i);
  const stream = portcullis.events.subscribe({after: 'e0', types: ['session_created']});
  await stream.ready;
  for (let i = 5; i < 10; ++i) await create(portcullis, i);
  const seen = [];
  for await (const {event, cursor} of stream) {
    assert.equal(stream.cursor, cursor);
    seen.push(event.user_id);
    if (seen.length === 10) break;
  }
  assert.deepEqual(seen, Array.from({length: 10}, (_, i) => `user-${i}`));
  assert.deepEqual(await stream.next(), {done: true, value: undefined});

  // From a cursor on, nothing twice.
  const page = await portcullis.events.query({types: ['session_created'], limit: 3});
  const rest = portcullis.events.subscribe({after: page.cursor, types: ['session_created']});
  assert.deepEqual((await take(rest, 7)).map(({event}) => event.user_id), seen.slice(3));
  await rest.return();
});

test('without a cursor only what comes is told', async (t) => {
  const server = await serve(t);
  const portcullis = client(t, {address: server.address});
  await create(portcullis, 'before');
  const stream = portcullis.events.subscribe();
  await stream.ready;
  assert.match(stream.cursor, /^e\d+$/);
  await create(portcullis, 'after');
  assert.equal((await take(stream, 1))[0].event.user_id, 'user-after');
  await stream.return();
});

test('kill -9, restarts and cut connections: every acknowledged event once', async (t) => {
  const server = await serve(t);
  const proxy = await Proxy.to(t, server.address);
  const portcullis = client(t, {address: proxy.address});
  const writer = client(t, {address: server.address});
  await writer.connect();
  const stream = portcullis.events.subscribe({after: 'e0', types: ['session_created']});
  const acknowledged = new Set();
  let next = 0;
  const write = async (count) => {
    for (let i = 0; i < count; ++i) {
      const made = await create(writer, next++).catch(() => undefined);  // lost: done or not
      if (made) acknowledged.add(made.handle);
    }
  };
  const seen = new Map();
  let last = 0;
  const reading = (async () => {
    for await (const {event} of stream) {
      assert.ok(event.seq > last, `${event.seq} after ${last}`);
      last = event.seq;
      seen.set(event.handle, (seen.get(event.handle) ?? 0) + 1);
    }
  })();
  for (let round = 0; round < 3; ++round) {
    await write(50);
    proxy.cut();
    const writing = write(50);
    await server.kill9();
    await server.start();
    await writing;
  }
  await write(1);
  while (![...acknowledged].every((each) => seen.has(each))) await new Promise((resolve) => setImmediate(resolve));
  await stream.return();
  await reading;
  assert.ok([...seen.values()].every((count) => count === 1));
  assert.ok(acknowledged.size > 150);
});

test('a slow consumer keeps its place, and its memory', async (t) => {
  const server = await serve(t);
  const portcullis = client(t, {address: server.address});
  const count = 6000;
  const stream = portcullis.events.subscribe({types: ['session_created']});
  await stream.ready;
  for (let i = 0; i < count; i += 500) await Promise.all(Array.from({length: 500}, (_, k) => create(portcullis, i + k)));
  const taken = await take(stream, count);
  assert.equal(new Set(taken.map(({event}) => event.seq)).size, count);
  taken.reduce((before, {event}) => {
    assert.ok(event.seq > before);
    return event.seq;
  }, 0);
  await stream.return();
});

test('one that is too slow for the server goes on where it was', async (t) => {
  let life = 0;
  const event = (n) => ({jsonrpc: '2.0', method: 'event', params: {subscription: 's', cursor: `e${n}`, event: {seq: n, type: 'x'}}});
  const peer = await scripted(t, (request, write) => {
    assert.equal(request.method, 'events.subscribe');
    write({jsonrpc: '2.0', id: request.id, result: {subscription: 's', cursor: request.params.after ?? 'e0'}});
    if (++life === 1) {
      write(event(1));
      write({jsonrpc: '2.0', method: 'event', params: {subscription: 's', cursor: 'e5'}});
      write({jsonrpc: '2.0', method: 'events.ended', params: {subscription: 's', cursor: 'e5', error: {code: 6004, message: '', data: {error: 'SUBSCRIBER_TOO_SLOW', status: 503}}}});
    } else {
      write(event(6));
    }
  });
  const stream = client(t, {address: peer.address}).events.subscribe({types: ['x']});
  assert.deepEqual((await take(stream, 2)).map(({cursor}) => cursor), ['e1', 'e6']);
  assert.deepEqual(peer.seen.map(({params}) => params.after), [undefined, 'e5']);
  await stream.return();
});

test('where events would be missing, or none may be had, the iteration ends with the reason', async (t) => {
  const server = await serve(t, {auth: 'token', config: ''});
  await server.kill9();
  const app = server.token('app', 'shop', 'services = ["mail"]');
  const observer = server.token('observer');
  await server.start();
  const fails = async (token, options, code) => {
    const stream = client(t, {address: server.address, token}).events.subscribe(options);
    await assert.rejects(stream.next(), (failure) => failure.code === code, code);
    await assert.rejects(stream.ready, (failure) => failure.code === code);
    assert.deepEqual(await stream.next(), {done: true, value: undefined});
  };
  await fails(observer, {after: 'e999999'}, 'CURSOR_INVALID');
  await fails(observer, {after: 'nonsense'}, 'CURSOR_INVALID');
  await fails(observer, {types: ['no_such_type']}, 'INVALID_PARAMS');
  await fails(app, {types: ['session_created']}, 'FORBIDDEN');
  await fails('A'.repeat(43), {}, 'AUTH_FAILED');

  // An app hears of the breakers of its services, and of no others.
  const portcullis = client(t, {address: server.address, token: app});
  const stream = portcullis.events.subscribe({types: ['breaker_opened']});
  await stream.ready;
  for (let i = 0; i < 20; ++i) await portcullis.breakers.report({service: 'mail', outcome: 'failure', durationMs: 1});
  assert.equal((await take(stream, 1))[0].event.service, 'mail');
  await stream.return();
});

test('a signal ends the iteration, and the connection with it', async (t) => {
  const server = await serve(t);
  const proxy = await Proxy.to(t, server.address);
  const portcullis = client(t, {address: proxy.address});
  const controller = new AbortController();
  const stream = portcullis.events.subscribe({signal: controller.signal});
  await stream.ready;
  const waiting = stream.next();
  controller.abort();
  assert.deepEqual(await waiting, {done: true, value: undefined});
  while (proxy.pairs.size > 0) await new Promise((resolve) => setImmediate(resolve));
  const never = portcullis.events.subscribe({signal: controller.signal});
  assert.deepEqual(await never.next(), {done: true, value: undefined});
  await assert.rejects(never.ready, (failure) => failure.code === 'ABORTED');
});

test('the client takes its streams with it', async (t) => {
  const server = await serve(t);
  const proxy = await Proxy.to(t, server.address);
  const portcullis = client(t, {address: proxy.address});
  const stream = portcullis.events.subscribe();
  await stream.ready;
  const waiting = stream.next();
  await portcullis.close();
  assert.deepEqual(await waiting, {done: true, value: undefined});
  while (proxy.pairs.size > 0) await new Promise((resolve) => setImmediate(resolve));

  // unref() lets a process end that only listens.
  const program = `import {PortcullisClient} from '${new URL('../dist/esm/index.js', import.meta.url)}';
    const portcullis = new PortcullisClient({address: '${server.address}'});
    const stream = portcullis.events.subscribe();
    void stream.next();
    await stream.ready;
    await portcullis.server.ping();
    portcullis.unref();`;
  await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program], {timeout: 60_000});
});

// Breakers that the server runs and several clients share: states, permits, overrides, counts, and the server being away.
import assert from 'node:assert';
import {AsyncLocalStorage} from 'node:async_hooks';
import {execFile} from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import {fileURLToPath} from 'node:url';
import {promisify} from 'node:util';

import {breaker} from '../dist/esm/breaker/breaker.js';
import {acquiresMax} from '../dist/esm/breaker/permits.js';
import {PortcullisClient} from '../dist/esm/index.js';
import {CuttingProxy, deferred, once, sum, until} from './support/breakers.mjs';
import {serve, TestServer} from './support/server.mjs';

const quick = '[breaker]\nopen_wait_s = 1\nopen_wait_jitter = 0.0\nmin_calls = 5\nhalf_open_permits = 2\nwindow_s = 600\n';

/** The outcome that is asked for. */
const does = async (what) => {
  if (what === 'bad') throw new Error('bad');
  if (what === '404') throw new Error('404');
  if (what === 'hangs') await new Promise(() => {});
  if (typeof what === 'object') return what.promise;
  return what;
};

const toEnd = new Map();
/** Hooks run in the order in which they were made: what uses a server is to end before it. */
function ending(t) {
  let all = toEnd.get(t);
  if (all === undefined) {
    toEnd.set(t, all = []);
    t.after(async () => { for (const end of all.reverse()) await end(); });
  }
  return all;
}

function start(t, options) {
  ending(t);
  return serve(t, options);
}

function clientOf(t, options) {
  const client = new PortcullisClient(options);
  ending(t).push(() => client.close());
  return client;
}

function breakerOf(t, options) {
  const of = breaker(does, {reportEveryMs: 10, ...options});
  ending(t).push(() => of.shutdown());
  return of;
}

const silent = (call) => call.then(() => 'ok', (error) => error.code ?? error.message);
/** Fails until the breaker is open. */
async function breakIt(of) {
  const opened = of.opened || once(of, 'open');
  for (let i = 0; i < 5; ++i) await silent(of.fire('bad'));
  await opened;
}

test('with a token of role app for its service: what opens by one client opens at another, tries once at a time, and closes at both', async (t) => {
  ending(t);
  const server = new TestServer({config: quick, auth: 'token'});
  t.after(() => server.kill9());
  const token = server.token('app', 'shop-app', 'services = ["shop"]');
  await server.start();
  const options = () => ({client: clientOf(t, {address: server.address, token}), service: 'shop', name: 'cards'});
  const one = breakerOf(t, options());
  const two = breakerOf(t, options());
  const states = [[], []];
  for (const [i, of] of [one, two].entries()) for (const event of ['open', 'halfOpen', 'close']) of.on(event, () => states[i].push(event));
  assert.ok(await one.flush() && await two.flush());
  await until(() => two.toJSON().shared.pushing);
  const opened = once(two, 'open');
  await breakIt(one);
  await opened;
  const error = await two.fire('fine').catch((reason) => reason);
  assert.strictEqual(error.code, 'EOPENBREAKER');
  assert.ok(error.retryAfterMs > 0 && error.retryAfterMs <= 1000);
  assert.strictEqual(two.state, 'open');

  await Promise.all([one, two].map((of) => of.halfOpen || once(of, 'halfOpen')));
  const gate = deferred();
  const probe = one.fire(gate);
  await until(async () => await silent(two.fire('fine')) === 'EOPENBREAKER');
  assert.strictEqual(await silent(one.fire('fine')), 'EOPENBREAKER');
  gate.resolve('fine');
  await probe;
  assert.strictEqual(two.state, 'half_open');
  const closed = [one, two].map((of) => once(of, 'close'));
  await until(async () => await silent(two.fire('fine')) === 'ok');
  await Promise.all(closed);
  assert.deepStrictEqual(states, [['open', 'halfOpen', 'close'], ['open', 'halfOpen', 'close']]);
  assert.strictEqual(await silent(one.fire('fine')), 'ok');
});

test('breakers of one name in a process are one: one source, one state', async (t) => {
  const server = await start(t, {config: quick});
  const client = clientOf(t, {address: server.address});
  const [one, two, other] = ['cards', 'cards', 'search'].map((name) => breakerOf(t, {client, service: 'shop', name}));
  await breakIt(one);
  assert.ok(two.opened && !other.opened);
  assert.strictEqual(one.stats.fires, 5);
  assert.strictEqual(two.stats.fires, 0);
  await one.flush();
  assert.strictEqual((await client.breakers.status({service: 'shop', breaker: 'cards'})).sources.length, 1);
  // The first to go leaves the rest as it was.
  await one.shutdown();
  assert.strictEqual(await silent(two.fire('fine')), 'EOPENBREAKER');
});

test('overrides are respected, and end', async (t) => {
  const server = await start(t, {config: quick});
  const client = clientOf(t, {address: server.address});
  const of = breakerOf(t, {client, service: 'shop'});
  await of.flush();
  await until(() => of.toJSON().shared.pushing);
  const override = (mode) => client.breakers.override({service: 'shop', mode, reason: 'a test'});
  const state = (which) => until(() => of.state === which);

  await override('forced_open');
  await state('forced_open');
  assert.ok(of.opened);
  const error = await of.fire('fine').catch((reason) => reason);
  assert.deepStrictEqual([error.code, error.retryAfterMs > 0], ['EOPENBREAKER', true]);
  assert.ok(await of.flush());
  await override('disabled');
  await state('disabled');
  assert.ok(of.closed);
  for (let i = 0; i < 20; ++i) assert.strictEqual(await silent(of.fire('bad')), 'bad');
  await of.flush();
  await override('metrics_only');
  await state('metrics_only');
  for (let i = 0; i < 20; ++i) assert.strictEqual(await silent(of.fire('bad')), 'bad');
  assert.ok(await of.flush() && of.closed);
  await override('none');
  await state('closed');
  assert.strictEqual(await silent(of.fire('fine')), 'ok');
  await of.flush();
  const {counts} = await client.breakers.status({service: 'shop'});
  // What is disabled counts nothing.
  assert.deepStrictEqual([counts.success, counts.failure, counts.rejected], [1, 20, 1]);
});

test('every call is told once, however often the connections are cut', async (t) => {
  const server = await start(t, {config: '[breaker]\nmin_calls = 1000000\nhalf_open_permits = 1\n'});
  const proxy = await new CuttingProxy(server.port).start(t);
  const of = breakerOf(t, {client: clientOf(t, {address: proxy.address, retry: {attempts: 0}}), service: 'shop', timeout: 2, capacity: 30,
    errorFilter: (error) => error.message === '404'});
  const happened = {success: 0, failure: 0, timeout: 0, ignored: 0, rejected: 0, slow_success: 0, slow_failure: 0};
  const ends = {ok: 'success', bad: 'failure', ETIMEDOUT: 'timeout', 404: 'ignored', ESEMLOCKED: 'rejected', EOPENBREAKER: 'rejected'};
  const fire = async (what) => { ++happened[ends[await silent(of.fire(what))]]; };
  let seed = 20;
  const random = (n) => (seed = seed * 48271 % 2147483647) % n;
  let lost = 0;
  of.on('degraded', () => ++lost);
  for (let round = 0; round < 150; ++round) {
    const calls = Array.from({length: random(40)}, () => fire(['fine', 'fine', 'bad', 'hangs', '404'][random(5)]));
    if (round % 3 === 0) {
      setTimeout(() => {
        proxy.mute();
        setTimeout(() => proxy.cut(), random(20));
      }, random(12));
    }
    await Promise.all(calls);
  }
  await until(() => of.flush());
  const {counts} = await clientOf(t, {address: server.address}).breakers.status({service: 'shop'});
  assert.deepStrictEqual(counts, happened);
  assert.strictEqual(of.droppedReports, 0);
  assert.ok(proxy.cuts >= 50 && sum(happened) > 1000);
  t.diagnostic(`${sum(happened)} calls, ${proxy.cuts} cuts, ${lost} times alone`);
});

test('the server away: an open breaker stays open, a closed one goes on by itself, and both come back', async (t) => {
  const server = await start(t, {config: quick.replace('open_wait_s = 1', 'open_wait_s = 60')});
  const client = clientOf(t, {address: server.address});
  const open = breakerOf(t, {client, service: 'shop', name: 'open'});
  const closed = breakerOf(t, {client, service: 'shop', name: 'closed', volumeThreshold: 3, resetTimeout: 60_000});
  const forced = breakerOf(t, {client, service: 'shop', name: 'forced'});
  const all = [open, closed, forced];
  for (const of of all) await of.flush();
  await client.breakers.override({service: 'shop', breaker: 'forced', mode: 'forced_open', reason: 'a test'});
  await until(() => forced.opened);
  await breakIt(open);
  await closed.fire('fine');
  for (const of of all) await of.flush();

  const degraded = all.map((of) => once(of, 'degraded'));
  await server.kill9();
  for (const [reason] of await Promise.all(degraded)) assert.ok(['UNREACHABLE', 'CONNECTION_LOST', 'TIMEOUT'].includes(reason.code), reason.code);
  for (const of of all) assert.ok(of.degraded && of.toJSON().shared.degraded);
  assert.ok(open.opened && forced.opened && closed.closed);
  const error = await open.fire('fine').catch((reason) => reason);
  // What was left of the server's wait, not a wait of its own.
  assert.ok(error.code === 'EOPENBREAKER' && error.retryAfterMs > 0 && error.retryAfterMs <= 60_000);
  assert.strictEqual(await silent(forced.fire('fine')), 'EOPENBREAKER');
  assert.strictEqual(await silent(closed.fire('fine')), 'ok');
  const alone = once(closed, 'open');
  for (let i = 0; i < 3; ++i) assert.strictEqual(await silent(closed.fire('bad')), 'bad');
  await alone;
  assert.strictEqual(await silent(closed.fire('fine')), 'EOPENBREAKER');

  const recovered = all.map((of) => once(of, 'recovered'));
  await server.start();
  assert.deepStrictEqual((await Promise.all(recovered)).map(([state]) => state), ['open', 'closed', 'forced_open']);
  for (const of of all) assert.ok(await of.flush() && of.degraded === undefined);
  assert.ok(open.opened && closed.closed && forced.opened);
  // What was counted alone is told, and opens nothing: it is not of now.
  const {counts, state} = await client.breakers.status({service: 'shop', breaker: 'closed'});
  assert.deepStrictEqual([state, counts.success, counts.failure, counts.rejected], ['closed', 1, 3, 1]);
});

test('a server that comes back without its memory is believed', async (t) => {
  const server = await start(t, {config: quick});
  const client = clientOf(t, {address: server.address});
  const of = breakerOf(t, {client, service: 'shop'});
  await breakIt(of);
  await of.flush();
  assert.ok(of.epoch > 1);
  const lost = once(of, 'degraded');
  await server.kill9();
  await lost;
  fs.rmSync(path.join(server.folder, 'data'), {recursive: true});
  const back = once(of, 'recovered');
  await server.start();
  assert.strictEqual((await back)[0], 'closed');
  assert.strictEqual(of.epoch, 1);
  await until(() => of.toJSON().shared.pushing);
  await breakIt(of);
  await until(() => of.halfOpen);
});

test('a permit\'s result that could not be told is told once when the connection is back', async (t) => {
  const server = await start(t, {config: quick.replace('half_open_permits = 2', 'half_open_permits = 1\npermit_ttl_s = 20')});
  const direct = clientOf(t, {address: server.address});
  const proxy = await new CuttingProxy(server.port).start(t);
  const of = breakerOf(t, {client: clientOf(t, {address: proxy.address}), service: 'shop'});
  await breakIt(of);
  if (!of.halfOpen) await once(of, 'halfOpen');
  const gate = deferred();
  const probe = of.fire(gate);
  await until(async () => (await direct.breakers.acquire({service: 'shop'})).allowed === false);
  const away = once(of, 'degraded');
  proxy.sever();
  gate.resolve('fine');
  assert.strictEqual(await probe, 'fine');
  await away;
  proxy.restore();
  await once(of, 'recovered');
  await until(() => of.closed && of.flush());
  const {state, counts} = await direct.breakers.status({service: 'shop'});
  assert.deepStrictEqual([state, counts.success, counts.failure], ['closed', 1, 5]);
});

test('without auto_half_open the first call after the wait tries', async (t) => {
  const server = await start(t, {config: `${quick}auto_half_open = false\n`});
  const of = breakerOf(t, {client: clientOf(t, {address: server.address}), service: 'shop'});
  await breakIt(of);
  const half = once(of, 'halfOpen');
  await until(async () => await silent(of.fire('fine')) === 'ok');
  await half;
  await until(async () => await silent(of.fire('fine')) === 'ok' && of.closed);
});

test('half-open: more calls than may ask at once are turned away here, and every call is counted once', async (t) => {
  const server = await start(t, {config: quick});
  const client = clientOf(t, {address: server.address});
  const of = breakerOf(t, {client, service: 'shop'});
  await breakIt(of);
  if (!of.halfOpen) await once(of, 'halfOpen');
  const gate = deferred();
  const calls = Array.from({length: acquiresMax * 3}, () => silent(of.fire(gate)));
  gate.resolve('fine');
  const ends = await Promise.all(calls);
  const allowed = ends.filter((end) => end === 'ok').length;
  assert.ok(allowed >= 1 && allowed <= 2, `${allowed}`);
  assert.ok(await of.flush());
  const {counts} = await client.breakers.status({service: 'shop'});
  assert.deepStrictEqual([counts.success, counts.failure, counts.rejected], [allowed, 5, calls.length - allowed]);
});

test('a breaker of the other kind, and a service that the token may not use: the calls go on, and it is said why', async (t) => {
  const server = await start(t, {config: quick});
  const client = clientOf(t, {address: server.address});
  await client.breakers.observe({service: 'shop', breaker: 'seen', source: 'x', sourceEpoch: 1, seq: 1, state: 'open', counts: {failure: 1}});
  const of = breakerOf(t, {client, service: 'shop', name: 'seen'});
  const [reason] = await once(of, 'degraded');
  assert.strictEqual(reason.code, 'BREAKER_KIND_CONFLICT');
  assert.strictEqual(await silent(of.fire('fine')), 'ok');

  const guarded = new TestServer({auth: 'token'});
  t.after(() => guarded.kill9());
  const token = guarded.token('app', 'one', 'services = ["shop"]');
  await guarded.start();
  const other = breakerOf(t, {client: clientOf(t, {address: guarded.address, token}), service: 'bank'});
  assert.strictEqual((await once(other, 'degraded'))[0].code, 'FORBIDDEN');
  assert.strictEqual(await silent(other.fire('fine')), 'ok');
  assert.strictEqual(await other.flush(), false);
});

test('where no more sources are taken a process goes on alone and says so, follows what others open, and tells all when there is room', async (t) => {
  const server = await start(t, {config: quick});
  const client = clientOf(t, {address: server.address});
  const report = (i, seq, epoch, counts) => client.breakers.reportBatch({service: 'shop', source: `s${i}`, seq, epoch, counts});
  await Promise.all(Array.from({length: 64}, (_, i) => report(i, 1, 1, {success: 1})));
  const of = breakerOf(t, {client, service: 'shop', volumeThreshold: 3, resetTimeout: 60_000});
  const left = breakerOf(t, {client: clientOf(t, {address: server.address}), service: 'shop'});
  const heard = [];
  for (const event of ['degraded', 'recovered', 'open', 'close']) of.on(event, (what) => heard.push(what?.code ?? event));
  await until(() => of.toJSON().shared.pushing && of.epoch > 0);
  await of.fire('fine');
  assert.strictEqual(await of.flush(), false);
  assert.strictEqual(of.degraded.code, 'BREAKER_SOURCE_LIMIT');
  assert.strictEqual(of.droppedReports, 0);

  // Its own failures open it, here.
  for (let i = 0; i < 2; ++i) assert.strictEqual(await silent(of.fire('bad')), 'bad');
  assert.ok(of.opened);
  assert.strictEqual(await silent(of.fire('fine')), 'EOPENBREAKER');
  assert.strictEqual(of.state, 'closed');
  // What others see, and what an operator says, holds: also when they find it good.
  await report(0, 2, of.epoch, {failure: 100});
  await until(() => of.epoch > 1);
  await until(() => of.halfOpen);
  await until(async () => await silent(of.fire('fine')) === 'ok' && of.closed);
  await client.breakers.override({service: 'shop', mode: 'forced_open', reason: 'a test'});
  await until(() => of.opened);
  await client.breakers.override({service: 'shop', mode: 'none', reason: 'a test'});
  await until(() => of.closed);
  assert.deepStrictEqual(heard.filter((each) => each !== 'open' && each !== 'close'), ['BREAKER_SOURCE_LIMIT']);

  // What a process that ends could not tell is counted.
  await left.fire('fine');
  await left.shutdown();
  assert.strictEqual(left.droppedReports, 1);

  // There is room: without its memory the server knows no sources.
  const recovered = once(of, 'recovered');
  await server.kill9();
  fs.rmSync(path.join(server.folder, 'data'), {recursive: true});
  await server.start();
  await recovered;
  await until(() => of.flush());
  assert.deepStrictEqual([of.degraded, of.droppedReports], [undefined, 0]);
  const {counts} = await client.breakers.status({service: 'shop'});
  assert.deepStrictEqual([counts.failure, counts.success >= 1, counts.rejected >= 1], [2, true, true]);
});

test('a listener that throws ends no other breaker\'s events', async (t) => {
  const server = await start(t, {config: quick});
  const client = clientOf(t, {address: server.address});
  const [one, two] = ['one', 'two'].map((name) => breakerOf(t, {client, service: 'shop', name}));
  await one.flush();
  await until(() => one.toJSON().shared.pushing && one.epoch > 0 && two.epoch > 0);
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  const heard = new Promise((done) => process.once('uncaughtException', done));
  one.on('open', () => { throw new Error('the listener'); });
  await client.breakers.override({service: 'shop', breaker: 'one', mode: 'forced_open', reason: 'a test'});
  assert.strictEqual((await heard).message, 'the listener');
  for (const each of others) process.on('uncaughtException', each);
  const opened = once(two, 'open');
  await client.breakers.override({service: 'shop', breaker: 'two', mode: 'forced_open', reason: 'a test'});
  await opened;
  assert.ok(one.opened && one.toJSON().shared.pushing);
});

test('a server that stands still while half-open: nobody tries meanwhile, one at a time after it, and each call is counted once', async (t) => {
  const server = await start(t, {config: quick.replace('half_open_permits = 2', 'half_open_permits = 2\nhalf_open_concurrency = 1')});
  const all = Array.from({length: 5}, () => breakerOf(t, {client: clientOf(t, {address: server.address}), service: 'shop', resetTimeout: 1000}));
  for (const of of all) await of.flush();
  await until(() => all.every((of) => of.toJSON().shared.pushing));
  await breakIt(all[0]);
  await until(() => all.every((of) => of.halfOpen));
  let calls = 5;
  const fire = (of, what) => {
    ++calls;
    return silent(of.fire(what));
  };
  await server.standStill();
  let ends;
  try {
    ends = await Promise.all(all.map((of) => fire(of, 'fine')));
  } finally {
    server.goOn();
  }
  assert.deepStrictEqual(ends, all.map(() => 'EOPENBREAKER'));
  // The permits that were given to calls that are no more came back.
  for (let closed = false; !closed;) {
    const [end] = await Promise.all(all.map((of) => fire(of, 'fine')));
    closed = end === 'ok' && all.every((of) => of.closed);
    await new Promise((done) => setTimeout(done, 20));
  }
  for (const of of all) await until(() => of.flush());
  const client = clientOf(t, {address: server.address});
  const {counts} = await client.breakers.status({service: 'shop'});
  assert.strictEqual(sum(counts), calls, JSON.stringify(counts));
  assert.strictEqual(counts.failure, 5);
});

test('what runs after a timeout has the context of its caller', async (t) => {
  const server = await start(t);
  const of = breakerOf(t, {client: clientOf(t, {address: server.address}), service: 'shop', timeout: 5});
  const store = new AsyncLocalStorage();
  of.fallback(() => store.getStore());
  const heard = [];
  of.on('timeout', () => heard.push(store.getStore()));
  const answers = await Promise.all([1, 2, 3].map((n) => store.run(n, () => of.fire('hangs'))));
  assert.deepStrictEqual([answers, heard], [[1, 2, 3], [1, 2, 3]]);
});

test('a process ends after client.close(), also with a breaker that nobody shut down', async (t) => {
  const server = await start(t);
  const program = `
    import {PortcullisClient} from './dist/esm/index.js';
    import {breaker} from './dist/esm/breaker/breaker.js';
    const client = new PortcullisClient({address: process.argv[1]});
    const of = breaker(async () => 'fine', {client, service: 'shop'});
    console.log(await of.fire(), await of.flush());
    await client.close();`;
  const folder = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
  const {stdout} = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program, server.address], {cwd: folder});
  assert.strictEqual(stdout, 'fine true\n');
});

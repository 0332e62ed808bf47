// opossum breakers that only report: what the server shows at the end is compared, call by call, with what did happen.
import assert from 'node:assert';
import test from 'node:test';
import opossum from 'opossum';

import {observe, transitionsKeptMax} from '../dist/esm/breaker/observe.js';
import {PortcullisClient} from '../dist/esm/index.js';
import {CuttingProxy, once, sum, until} from './support/breakers.mjs';
import {serve} from './support/server.mjs';

const failure = (fields) => Object.assign(new Error('the dependency says no'), fields);
/** What the dependency does: the caller knows it before opossum does. */
const dependency = {
  answers: () => Promise.resolve('fine'),
  answers_an_error: () => Promise.resolve(failure({status: 404})),
  waits: (call) => call.gate,
  fails: () => Promise.reject(failure({})),
  fails_without_an_error: () => Promise.reject('no'),
  throws: () => { throw failure({}); },
  loses_its_socket: () => Promise.reject(failure({code: 'ETIMEDOUT'})),
  is_locked_inside: () => Promise.reject(failure({code: 'ESEMLOCKED'})),
  finds_nothing: () => Promise.reject(failure({status: 404})),
  finds_nothing_without_an_error: () => Promise.reject('404'),
  hangs: () => new Promise(() => {}),
};
const endsAs = {answers: 'success', answers_an_error: 'success', waits: 'success', finds_nothing: 'ignored', finds_nothing_without_an_error: 'ignored', hangs: 'timeout'};
const none = {success: 0, failure: 0, timeout: 0, ignored: 0, rejected: 0, slow_success: 0, slow_failure: 0};

/** Calls through a breaker, and what became of each: a call that never reached the dependency was rejected. */
class Caller {
  constructor(options) {
    this.happened = {...none};
    this.transitions = [];
    this.breaker = new opossum((call) => {
      call.began = true;
      return dependency[call.what](call);
    }, {errorFilter: (error) => error === '404' || error.status === 404, enableSnapshots: false, ...options});
    for (const [event, state] of [['open', 'open'], ['halfOpen', 'half_open'], ['close', 'closed']]) this.breaker.on(event, () => this.transitions.push(state));
  }

  async fire(what, gate) {
    const call = {what, gate, began: false};
    await this.breaker.fire(call).catch(() => {});
    ++this.happened[call.began ? endsAs[what] ?? 'failure' : 'rejected'];
  }

  async each(...all) { for (const what of all) await this.fire(what); }
}

/** All that can happen to a call, and all changes of state. */
async function drive(caller) {
  const {breaker} = caller;
  await caller.each('answers', 'answers_an_error', 'answers', 'finds_nothing', 'fails', 'answers', 'finds_nothing_without_an_error', 'throws', 'fails_without_an_error',
    'answers', 'answers', 'answers', 'answers');
  let open;
  const gate = new Promise((resolve) => { open = resolve; });
  const calls = Array.from({length: 5}, () => caller.fire('waits', gate));
  open();
  await Promise.all(calls);
  await caller.each('answers', 'answers', 'hangs', 'hangs', 'answers');
  while (!breaker.opened) await caller.each('loses_its_socket', 'is_locked_inside');
  await caller.each('answers', 'fails');
  if (!breaker.halfOpen) await once(breaker, 'halfOpen');
  const probe = caller.fire('hangs');
  await caller.fire('answers');
  const again = once(breaker, 'halfOpen');
  await probe;
  await again;
  await caller.each('finds_nothing');
  assert.ok(breaker.closed);
  await caller.each('answers', 'fails', 'answers');
}

const options = {timeout: 200, errorThresholdPercentage: 50, resetTimeout: 100, volumeThreshold: 10, capacity: 3, rollingCountTimeout: 600_000};

async function shows(client, caller, name, {transitions = caller.transitions} = {}) {
  const status = await client.breakers.status({service: 'shop', breaker: name});
  assert.deepStrictEqual(status.counts, caller.happened);
  assert.deepStrictEqual([status.kind, status.state, status.sources.length], ['observed', caller.transitions.at(-1) ?? 'closed', 1]);
  const {events} = await client.events.query({service: 'shop', limit: 1000});
  const own = events.filter((each) => each.breaker === name);
  const state = {breaker_opened: 'open', breaker_half_opened: 'half_open', breaker_closed: 'closed'};
  assert.deepStrictEqual(own.map((each) => state[each.type]), transitions);
  for (const each of own) assert.ok(Math.abs(Date.now() - each.transitioned_at_ms) < 3_600_000);
}

test('each call is in one count and each change of state is told with its own time', async (t) => {
  const server = await serve(t);
  const client = new PortcullisClient({address: server.address});
  const caller = new Caller({...options, name: 'search'});
  const filter = caller.breaker.options.errorFilter;
  const watched = observe(caller.breaker, {client, service: 'shop', source: 'web-1', reportEveryMs: 100});
  await drive(caller);
  assert.ok(await watched.report());
  await shows(client, caller, 'search');
  assert.deepStrictEqual(caller.transitions, ['open', 'half_open', 'open', 'half_open', 'closed']);
  const metrics = await (await fetch(`http://${server.http}/metrics`)).text();
  const line = metrics.split('\n').find((each) => each.startsWith('circuit_breaker_requests_total') && each.includes('breaker="search"') && each.includes('"timeout"'));
  assert.strictEqual(Number(line.split(' ').pop()), caller.happened.timeout);
  await watched.stop();
  assert.strictEqual(caller.breaker.options.errorFilter, filter);
  await caller.each('answers');
  await watched.stop();
  const {counts} = await client.breakers.status({service: 'shop', breaker: 'search'});
  assert.strictEqual(counts.success, caller.happened.success - 1);
  caller.breaker.shutdown();
  await client.close();
});

test('nothing is told twice and nothing is lost, however often the connections are cut', async (t) => {
  const server = await serve(t);
  const proxy = await new CuttingProxy(server.port).start(t);
  const client = new PortcullisClient({address: proxy.address, retry: {attempts: 0}});
  const caller = new Caller({...options, name: 'cut', resetTimeout: 20, timeout: 50});
  const watched = observe(caller.breaker, {client, service: 'shop', source: 'web-1', reportEveryMs: 100});
  const cutting = setInterval(() => proxy.cut(), 20);
  for (let round = 0; round < 5; ++round) await drive(caller);
  clearInterval(cutting);
  await until(() => watched.report());
  await shows(client, caller, 'cut');
  assert.ok(proxy.cuts > 3 && watched.stats().droppedTransitions === 0);
  t.diagnostic(`${sum(caller.happened)} calls, ${caller.transitions.length} changes, ${proxy.cuts} cuts`);
  await watched.stop();
  caller.breaker.shutdown();
  await client.close();
});

test('the server away: what happened meanwhile is told when it is back, the changes with the time at which they were', async (t) => {
  const server = await serve(t);
  const client = new PortcullisClient({address: server.address});
  const caller = new Caller({...options, name: 'away'});
  const watched = observe(caller.breaker, {client, service: 'shop', source: 'web-1', reportEveryMs: 100});
  await caller.each('answers', 'answers', 'fails');
  assert.ok(await watched.report());
  await server.stop();
  // A server shows what it counted since it was started.
  caller.happened = {...none};
  await drive(caller);
  assert.strictEqual(await watched.report(), false);
  assert.ok(watched.stats().lastError);
  const backAt = Date.now();
  await server.start();
  await until(() => watched.report());
  await shows(client, caller, 'away');
  const {events} = await client.events.query({service: 'shop', limit: 1000});
  assert.ok(events.filter((each) => each.breaker === 'away').every((each) => each.transitioned_at_ms <= backAt));
  await watched.stop();
  caller.breaker.shutdown();
  await client.close();
});

test('more calls than a report may have are told in several, and none is lost', async (t) => {
  const server = await serve(t);
  const client = new PortcullisClient({address: server.address});
  const caller = new Caller({...options, name: 'many'});
  const watched = observe(caller.breaker, {client, service: 'shop', source: 'web-1', reportEveryMs: 600_000});
  await watched.report();
  const many = 2_345_678;
  // What opossum tells of so many calls, without making them.
  for (let i = 0; i < many; ++i) caller.breaker.emit('success', 'fine', 3);
  caller.happened.success = many;
  await caller.each('fails', 'answers');
  assert.ok(await watched.report());
  await shows(client, caller, 'many');
  assert.strictEqual(watched.stats().renewals, 0);
  await watched.stop();
  caller.breaker.shutdown();
  await client.close();
});

test('a source epoch that the server takes for an old one is followed by a later one, and no call is lost', async (t) => {
  const server = await serve(t);
  const client = new PortcullisClient({address: server.address});
  // As after a clock that went back by a day.
  await client.breakers.observe({service: 'shop', breaker: 'clock', source: 'web-1', sourceEpoch: Date.now() + 86_400_000, seq: 1, state: 'closed', counts: {success: 0}});
  const caller = new Caller({...options, name: 'clock'});
  const watched = observe(caller.breaker, {client, service: 'shop', source: 'web-1'});
  await caller.each('answers', 'fails', 'answers');
  await until(() => watched.report());
  await caller.each('answers');
  assert.ok(await watched.report());
  await shows(client, caller, 'clock');
  assert.ok(watched.stats().renewals > 1);
  await watched.stop();
  caller.breaker.shutdown();
  await client.close();
});

test('opossum\'s shutdown ends it, after the last counts', async (t) => {
  const server = await serve(t);
  const client = new PortcullisClient({address: server.address});
  const caller = new Caller({...options, name: 'ends'});
  const watched = observe(caller.breaker, {client, service: 'shop', source: 'web-1', reportEveryMs: 600_000});
  await caller.each('answers', 'fails');
  caller.breaker.shutdown();
  await until(async () => sum((await client.breakers.status({service: 'shop', breaker: 'ends'}).catch(() => ({counts: {}}))).counts) === 2);
  await watched.stop();
  await client.close();
});

test('a listener that calls again within an event mixes nothing up, and two breakers may share their options', async (t) => {
  const server = await serve(t);
  const client = new PortcullisClient({address: server.address});
  const shared = {timeout: 20, resetTimeout: 600_000, errorThresholdPercentage: 100, errorFilter: (error) => error === '404', enableSnapshots: false};
  const one = new opossum((what) => dependency[what]({}), shared);
  const two = new opossum((what) => dependency[what]({}), shared);
  const watched = [observe(one, {client, service: 'shop', name: 'one', source: 'w'}), observe(two, {client, service: 'shop', name: 'two', source: 'w'})];
  one.on('timeout', () => {
    one.open();
    one.fire('answers').catch(() => {});
  });
  await one.fire('hangs').catch(() => {});
  await one.fire('finds_nothing_without_an_error').catch(() => {});
  one.close();
  await one.fire('finds_nothing_without_an_error').catch(() => {});
  await two.fire('finds_nothing_without_an_error').catch(() => {});
  await two.fire('answers');
  for (const each of watched) assert.ok(await each.report());
  const counts = async (breaker) => (await client.breakers.status({service: 'shop', breaker})).counts;
  assert.deepStrictEqual(await counts('one'), {...none, timeout: 1, rejected: 2, ignored: 1});
  assert.deepStrictEqual(await counts('two'), {...none, ignored: 1, success: 1});
  for (const each of watched) await each.stop();
  for (const each of [one, two]) each.shutdown();
  await client.close();
});

test('changes that nobody can be told of are kept up to a bound, and counted past it', async () => {
  const client = new PortcullisClient({address: 'unix:/nowhere/portcullis.sock', unreachableAfterMs: 0});
  const breaker = new opossum(() => Promise.resolve(), {enableSnapshots: false, resetTimeout: 600_000, name: 'flaps'});
  const watched = observe(breaker, {client, service: 'shop', source: 'w'});
  for (let i = 0; i < transitionsKeptMax; ++i) {
    breaker.open();
    breaker.close();
  }
  assert.strictEqual(watched.stats().droppedTransitions, transitionsKeptMax + 1);
  await watched.stop();
  breaker.shutdown();
  await client.close();
});

test('options that cannot be are refused by their name', () => {
  const client = new PortcullisClient();
  const breaker = new opossum(async () => {}, {name: 'with spaces', enableSnapshots: false});
  const good = {client, service: 'shop', name: 'fine', source: 'w'};
  for (const [wrong, kind, name] of [[{client: {}}, TypeError, 'client'], [{service: ''}, TypeError, 'service'], [{name: undefined}, TypeError, 'name'],
    [{source: 'a/b'}, TypeError, 'source'], [{reportEveryMs: 1}, RangeError, 'reportEveryMs']]) {
    assert.throws(() => observe(breaker, {...good, ...wrong}), (error) => error instanceof kind && error.message.startsWith(name), name);
  }
  assert.throws(() => observe({}, good), TypeError);
  breaker.shutdown();
});

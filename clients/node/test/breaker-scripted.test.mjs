// What a breaker makes of a server's answers and events, where their order matters: the server is the test.
import assert from 'node:assert';
import test, {after} from 'node:test';

import opossum from 'opossum';

import {breaker} from '../dist/esm/breaker/breaker.js';
import {observe} from '../dist/esm/breaker/observe.js';
import {PortcullisError} from '../dist/esm/index.js';
import {deferred, once, ScriptedClient, until} from './support/breakers.mjs';

// The timers of a breaker keep no process alive, and here is no connection that does.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

const does = async (what) => {
  if (what === 'bad') throw new Error('bad');
  return typeof what === 'object' ? what.promise : what;
};
const end = (call) => call.then(() => 'ok', (error) => error.code ?? error.message);
const event = (type, epoch, more) => ({type, service: 's', breaker: 'b', epoch, at_ms: 1000, ...more});

/** A breaker that knows its state, and hears events. */
async function known(t, client, options = {}) {
  const of = breaker(does, {client, service: 's', name: 'b', reportEveryMs: 10, ...options});
  t.after(async () => {
    client.answers.status = client.answers.reportBatch = client.answers.report = () => ({kind: 'hosted', state: 'closed', epoch: 1000});
    await of.shutdown();
  });
  client.streams[0].begin();
  await until(() => of.epoch > 0 && of.toJSON().shared.pushing && client.of('status').length >= 2);
  return of;
}

test('a breaker that was retired counts its epochs anew', async (t) => {
  const client = new ScriptedClient();
  client.answers.status = () => ({kind: 'hosted', state: 'open', epoch: 8, retryAfterMs: 60_000});
  const of = await known(t, client);
  assert.ok(of.opened);
  const closed = once(of, 'close');
  client.push(event('breaker_retired'));
  await closed;
  assert.deepStrictEqual([of.state, of.epoch], ['closed', 0]);
  const opened = once(of, 'open');
  client.answers.status = () => ({kind: 'hosted', state: 'open', epoch: 2, retryAfterMs: 60_000});
  client.push(event('breaker_opened', 2));
  await opened;
  assert.strictEqual(of.epoch, 2);
});

test('an older epoch in a reply makes it ask: the breaker was made anew', async (t) => {
  const client = new ScriptedClient();
  client.answers.status = () => ({kind: 'hosted', state: 'closed', epoch: 9});
  const of = await known(t, client);
  client.answers.status = () => ({kind: 'hosted', state: 'closed', epoch: 2});
  client.answers.reportBatch = () => ({state: 'closed', epoch: 2, accepted: true, duplicate: false});
  await of.fire('fine');
  await of.flush();
  await until(() => of.epoch === 2);
});

test('what was counted before a change of state and not told decides nothing after it', async (t) => {
  const client = new ScriptedClient();
  const of = await known(t, client, {reportEveryMs: 60_000});
  await of.fire('fine');
  assert.strictEqual(await end(of.fire('bad')), 'bad');
  client.push(event('breaker_opened', 2));
  client.answers.status = () => ({kind: 'hosted', state: 'closed', epoch: 3});
  client.push(event('breaker_closed', 3));
  await until(() => of.epoch === 3);
  await of.fire('fine');
  client.answers.reportBatch = () => ({state: 'closed', epoch: 3, accepted: true, duplicate: false});
  assert.ok(await of.flush());
  const told = client.of('reportBatch').map(({epoch, counts}) => [epoch, counts]).sort(([a], [b]) => a - b);
  assert.deepStrictEqual(told, [[0, {success: 1, failure: 1}], [3, {success: 1}]]);
});

test('the state is never asked for while a batch is under way', async (t) => {
  const client = new ScriptedClient();
  const of = await known(t, client);
  const gate = deferred();
  client.answers.reportBatch = async () => {
    await gate.promise;
    return {state: 'closed', epoch: 1, accepted: true, duplicate: false};
  };
  await of.fire('fine');
  const flushed = of.flush();
  await until(() => client.of('reportBatch').length === 1);
  const asked = client.of('status').length;
  client.connected = 0;
  client.emit('disconnect');
  for (let i = 0; i < 20; ++i) await new Promise(setImmediate);
  assert.strictEqual(client.of('status').length, asked);
  gate.resolve();
  assert.ok(await flushed);
  await until(() => client.of('status').length === asked + 1);
});

test('what changed before the subscription began is asked for when it begins, and a subscription that ended begins again', async (t) => {
  const client = new ScriptedClient();
  const of = breaker(does, {client, service: 's', name: 'b', reportEveryMs: 10});
  t.after(() => of.shutdown());
  await until(() => of.epoch === 1);
  client.answers.status = () => ({kind: 'hosted', state: 'open', epoch: 2, retryAfterMs: 60_000});
  client.streams[0].begin();
  await until(() => of.opened);
  client.streams[0].end();
  await until(() => !of.toJSON().shared.pushing);
  await until(() => client.streams.length === 2);
  client.answers.status = () => ({kind: 'hosted', state: 'closed', epoch: 3});
  client.streams[1].begin();
  await until(() => of.closed && of.toJSON().shared.pushing);
});

test('a client\'s breakers that are made and shut down one after the other use one subscription', async (t) => {
  t.mock.timers.enable({apis: ['setTimeout']});
  const client = new ScriptedClient();
  for (let i = 0; i < 5; ++i) {
    const of = breaker(does, {client, service: 's', name: `b${i}`});
    await of.fire('fine');
    await of.shutdown();
    t.mock.timers.tick(1000);
  }
  assert.strictEqual(client.streams.length, 1);
  assert.deepStrictEqual([client.listenerCount('connect'), client.listenerCount('disconnect')], [1, 1]);
  // Nobody follows it any more.
  t.mock.timers.tick(5000);
  assert.deepStrictEqual([client.listenerCount('connect'), client.listenerCount('disconnect')], [0, 0]);
  const of = breaker(does, {client, service: 's', name: 'b'});
  assert.strictEqual(client.streams.length, 2);
  await of.shutdown();
});

test('a batch for whose source there was no room decides nothing when there is', async (t) => {
  const client = new ScriptedClient();
  const of = await known(t, client, {volumeThreshold: 100});
  const heard = [];
  of.on('degraded', ({code}) => heard.push(code)).on('recovered', (state) => heard.push(state));
  client.answers.reportBatch = () => { throw new PortcullisError('BREAKER_SOURCE_LIMIT'); };
  assert.strictEqual(await end(of.fire('bad')), 'bad');
  assert.strictEqual(await of.flush(), false);
  client.answers.reportBatch = () => ({state: 'closed', epoch: 1, accepted: true, duplicate: false});
  assert.ok(await of.flush());
  assert.strictEqual(await end(of.fire('bad')), 'bad');
  assert.ok(await of.flush());
  assert.deepStrictEqual(client.of('reportBatch').map(({epoch, counts}) => [epoch, counts.failure]), [[1, 1], [0, 1], [1, 1]]);
  assert.deepStrictEqual([heard, of.droppedReports], [['BREAKER_SOURCE_LIMIT', 'closed'], 0]);
});

const half = {status: () => ({kind: 'hosted', state: 'half_open', epoch: 3})};

test('a denied permit gives back the place that its call took', async (t) => {
  const client = new ScriptedClient();
  Object.assign(client.answers, half);
  const of = await known(t, client, {capacity: 1});
  client.answers.acquire = () => ({allowed: false, state: 'half_open', epoch: 3, retryAfterMs: 5});
  for (let i = 0; i < 3; ++i) assert.strictEqual(await end(of.fire('fine')), 'EOPENBREAKER');
  client.answers.acquire = () => ({allowed: true, state: 'half_open', epoch: 3, permit: 'p'});
  assert.strictEqual(await end(of.fire('fine')), 'ok');
});

test('a permit is asked for again where the server refused before it did anything', async (t) => {
  const client = new ScriptedClient();
  Object.assign(client.answers, half);
  const of = await known(t, client);
  for (const code of ['OVERLOADED', 'NODE_DRAINING']) {
    let asked = 0;
    client.answers.acquire = () => {
      if (++asked < 3) throw new PortcullisError(code, {retryAfterMs: 10});
      return {allowed: true, state: 'half_open', epoch: 3, permit: 'p'};
    };
    assert.strictEqual(await end(of.fire('fine')), 'ok');
    assert.deepStrictEqual([asked, of.degraded], [3, undefined]);
  }
});

test('the result of a permit that the server does not know is told with the others, once', async (t) => {
  const client = new ScriptedClient();
  Object.assign(client.answers, half);
  const of = await known(t, client);
  client.answers.report = () => { throw new PortcullisError('BREAKER_PERMIT_INVALID'); };
  client.answers.reportBatch = () => ({state: 'half_open', epoch: 3, accepted: true, duplicate: false});
  assert.strictEqual(await end(of.fire('fine')), 'ok');
  assert.ok(await of.flush());
  assert.deepStrictEqual(client.of('reportBatch').map(({epoch, counts}) => [epoch, counts]), [[0, {success: 1}]]);
  assert.deepStrictEqual([client.of('report').length, of.degraded, of.droppedReports], [1, undefined, 0]);
});

test('two that wait for the result of one permit are both told', async (t) => {
  const client = new ScriptedClient();
  Object.assign(client.answers, half);
  const of = await known(t, client);
  const gate = deferred();
  client.answers.report = () => gate.promise;
  await of.fire('fine');
  const both = Promise.all([of.flush(), of.flush()]);
  await until(() => client.of('report').length === 1);
  for (let i = 0; i < 20; ++i) await new Promise(setImmediate);
  gate.resolve({state: 'half_open', epoch: 3});
  assert.deepStrictEqual(await both, [true, true]);
});

test('a permit that comes after its caller gave up goes back, and until the server answers no other call waits for one', async (t) => {
  const client = new ScriptedClient();
  Object.assign(client.answers, half);
  const of = await known(t, client, {acquireTimeoutMs: 5});
  const [permit, lost, status] = [deferred(), deferred(), deferred()];
  const acquires = [permit.promise, lost.promise];
  client.answers.acquire = () => acquires[client.of('acquire').length - 1];
  client.answers.status = () => status.promise;
  client.answers.report = () => ({state: 'half_open', epoch: 3});
  client.answers.reportBatch = () => ({state: 'half_open', epoch: 3, accepted: true, duplicate: false});
  assert.deepStrictEqual(await Promise.all(['fine', 'fine'].map((what) => end(of.fire(what)))), ['EOPENBREAKER', 'EOPENBREAKER']);
  for (let i = 0; i < 100; ++i) assert.strictEqual(await end(of.fire('fine')), 'EOPENBREAKER');
  assert.deepStrictEqual([client.of('acquire').length, of.degraded], [2, undefined]);
  status.resolve({kind: 'hosted', state: 'half_open', epoch: 3});
  permit.resolve({allowed: true, state: 'half_open', epoch: 3, permit: 'late'});
  lost.reject(new PortcullisError('CONNECTION_LOST'));
  await until(() => client.of('report').length === 1);
  assert.deepStrictEqual(client.of('report').map((each) => [each.permit, each.outcome]), [['late', 'ignored']]);
  await until(() => of.flush());
  assert.strictEqual(client.of('reportBatch').reduce((all, {counts}) => all + (counts.rejected ?? 0), 0), 101);
  assert.strictEqual(of.degraded, undefined);
});

test('half-open and the server away: the process waits for a time of its own before it tries', async (t) => {
  const client = new ScriptedClient();
  Object.assign(client.answers, half);
  const of = await known(t, client, {resetTimeout: 400});
  client.answers.acquire = client.answers.status = () => { throw new PortcullisError('CONNECTION_LOST'); };
  const states = [];
  for (const name of ['open', 'halfOpen', 'close']) of.on(name, () => states.push(name));
  const error = await of.fire('fine').catch((reason) => reason);
  assert.deepStrictEqual([error.code, of.opened, of.degraded.code], ['EOPENBREAKER', true, 'CONNECTION_LOST']);
  assert.ok(error.retryAfterMs > 0 && error.retryAfterMs <= 500);
  if (!of.halfOpen) await once(of, 'halfOpen');
  const gate = deferred();
  const probe = of.fire(gate);
  assert.strictEqual(await end(of.fire('fine')), 'EOPENBREAKER');
  gate.resolve('fine');
  assert.strictEqual(await probe, 'fine');
  assert.deepStrictEqual(states, ['open', 'halfOpen', 'close']);
});

test('what an operator forced open stays so after open() and its wait', async (t) => {
  const client = new ScriptedClient();
  const of = await known(t, client, {resetTimeout: 20});
  of.open();
  if (!of.halfOpen) await once(of, 'halfOpen');
  client.answers.status = () => ({kind: 'hosted', state: 'forced_open', epoch: 2, retryAfterMs: 60_000, override: {mode: 'forced_open'}});
  client.push(event('breaker_override_set', 2, {mode: 'forced_open'}));
  await until(() => of.opened);
  assert.strictEqual(await end(of.fire('fine')), 'EOPENBREAKER');
});

test('with the server away an override holds for as long as it was set for, and then the breaker begins closed', async (t) => {
  for (const mode of ['forced_open', 'disabled']) {
    for (const by of ['event', 'status']) {
      const client = new ScriptedClient();
      const of = await known(t, client, {volumeThreshold: 1, resetTimeout: 60_000});
      const status = {kind: 'hosted', state: mode, epoch: 2, ...(mode === 'forced_open' && {retryAfterMs: 300}), override: {mode, expiresAtMs: Date.now() + 300}};
      client.answers.status = () => status;
      if (by === 'event') client.push(event('breaker_override_set', 2, {mode, expires_at_ms: 1300}));
      else client.push(event('breaker_override_set', 2, {mode}));
      await until(() => of.state === mode);
      if (by === 'status') {
        client.connected = 0;
        client.emit('disconnect');
        await until(() => client.of('status').length >= 3);
      }
      client.answers.status = () => { throw new PortcullisError('CONNECTION_LOST'); };
      const away = once(of, 'degraded');
      client.connected = 0;
      client.emit('disconnect');
      await away;
      if (of.state === mode) assert.strictEqual(await end(of.fire('fine')), mode === 'disabled' ? 'ok' : 'EOPENBREAKER');
      await until(() => of.state === 'closed');
      assert.ok(of.closed && of.degraded);
      // It decides again.
      assert.strictEqual(await end(of.fire('bad')), 'bad');
      if (!of.opened) assert.strictEqual(await end(of.fire('bad')), 'bad');
      assert.ok(of.opened);
    }
  }
});

test('an observation tells again as soon as there is a connection', async (t) => {
  const client = new ScriptedClient();
  const failing = new opossum(async () => 'fine', {name: 'seen'});
  t.after(() => failing.shutdown());
  client.answers.observe = () => { throw new PortcullisError('UNREACHABLE', {retryAfterMs: 3_600_000}); };
  const watched = observe(failing, {client, service: 's', reportEveryMs: 600_000});
  await until(() => watched.stats().lastError);
  client.answers.observe = () => ({accepted: true, duplicate: false});
  client.emit('connect');
  await until(() => watched.stats().reports === 1);
  await watched.stop();
});

test('stop() of an observation tells the last counts, at whatever moment of a report it comes', async () => {
  for (let moment = 0; moment < 20; ++moment) {
    const client = new ScriptedClient();
    const of = new opossum(async () => 'fine', {name: 'seen'});
    const gate = deferred();
    client.answers.observe = () => gate.promise;
    const watched = observe(of, {client, service: 's', reportEveryMs: 600_000});
    await until(() => client.of('observe').length === 1);
    await of.fire();
    gate.resolve({accepted: true, duplicate: false});
    for (let i = 0; i < moment; ++i) await undefined;
    await watched.stop();
    assert.deepStrictEqual(client.of('observe').map(({counts}) => counts.success), [0, 1], `${moment}`);
    of.shutdown();
  }
});

test('an error that another breaker with the same options forgave is a result like any other', async (t) => {
  const client = new ScriptedClient();
  const options = {errorFilter: () => true};
  const error = new Error('404');
  const seen = new opossum(async () => error, options);
  const other = new opossum(async () => { throw error; }, options);
  t.after(() => {
    seen.shutdown();
    other.shutdown();
  });
  const watched = observe(seen, {client, service: 's', name: 'seen', reportEveryMs: 600_000});
  await other.fire().catch(() => {});
  await seen.fire();
  await watched.stop();
  const {counts} = client.of('observe').at(-1);
  assert.deepStrictEqual([counts.success, counts.ignored], [1, 0]);
});

test('an error that is thrown again by a later call is counted as what that call was', async (t) => {
  const client = new ScriptedClient();
  let again;
  const of = new opossum((what) => what === 'again' ? Promise.reject(again) : new Promise((done) => { if (what === 'fine') done(again); }),
    {name: 'seen', timeout: 20, capacity: 1, errorFilter: (error) => error.forgive === true, errorThresholdPercentage: 100, volumeThreshold: 1000});
  t.after(() => of.shutdown());
  const watched = observe(of, {client, service: 's', reportEveryMs: 600_000});
  const waits = of.fire('hangs').catch((error) => error);
  const locked = await of.fire('hangs').catch((error) => error);
  const late = await waits;
  assert.deepStrictEqual([locked.code, late.code], ['ESEMLOCKED', 'ETIMEDOUT']);
  for (again of [locked, late]) await of.fire('again').catch(() => {});
  // One that was forgiven, and is the result of the next call.
  again = Object.assign(new Error('404'), {forgive: true});
  await of.fire('again').catch(() => {});
  await of.fire('fine');
  await watched.stop();
  const {counts} = client.of('observe').at(-1);
  assert.deepStrictEqual([counts.rejected, counts.timeout, counts.failure, counts.ignored, counts.success], [1, 1, 2, 1, 1]);
});

test('an observed breaker that is disabled is shown so, and as what it is when it is enabled again; its shutdown is no disabling', async (t) => {
  const client = new ScriptedClient();
  const of = new opossum(async () => 'fine', {name: 'seen'});
  t.after(() => of.shutdown());
  const watched = observe(of, {client, service: 's', reportEveryMs: 600_000});
  await watched.report();
  of.disable();
  await watched.report();
  of.enable();
  await watched.report();
  of.shutdown();
  // The second to stop it waits as the first.
  await watched.stop();
  assert.deepStrictEqual(client.of('observe').map(({state}) => state), ['closed', 'closed', 'disabled', 'closed', 'closed']);
});

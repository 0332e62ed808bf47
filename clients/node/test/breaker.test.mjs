// What a caller of opossum sees, case by case: the same script runs on opossum and on ours, with the server there and with it away,
// and has to show the same events in the same order, the same outcomes and the same counts.
import assert from 'node:assert';
import test from 'node:test';
import opossum from 'opossum';

import {breaker, Breaker} from '../dist/esm/breaker/breaker.js';
import {isPortcullisError, PortcullisClient, PortcullisError} from '../dist/esm/index.js';
import {deferred, once} from './support/breakers.mjs';
import {serve} from './support/server.mjs';

const word = (value) => value instanceof Error ? value.code ?? value.message : value instanceof Promise ? 'promise' : String(value);
const shown = {
  fire: (args) => args.join(','), success: word, failure: word, timeout: word, reject: word, open: () => '', close: () => '',
  halfOpen: () => '', fallback: (result, error) => `${word(result)} for ${word(error)}`, semaphoreLocked: word, healthCheckFailed: word, shutdown: () => '',
};

/** A breaker with all that it tells, and the ends of the calls made through `fire`. */
function watch(of) {
  const trace = [];
  for (const [event, show] of Object.entries(shown)) {
    of.on(event, (...args) => {
      const text = show(...args);
      trace.push(text === '' ? event : `${event}: ${text}`);
    });
  }
  const ended = (call) => call.then((value) => `= ${word(value)}`, (error) => `! ${word(error)}`);
  return {of, trace, fire: async (...args) => { trace.push(await ended(of.fire(...args))); }, ended};
}

const fail = (message = 'no') => Promise.reject(new Error(message));
/** Opens at the first failure, and stays open. */
const touchy = {errorThresholdPercentage: 1, resetTimeout: 60_000, volumeThreshold: 1};

/** `alone`: about states, which with the server there are the server's to change. */
const cases = [
  {
    what: 'a call that succeeds',
    action: (a, b) => Promise.resolve(a + b),
    script: async ({fire}) => fire(1, 2),
    trace: ['fire: 1,2', 'success: 3', '= 3'],
    stats: {fires: 1, successes: 1},
  },
  {
    what: 'an action that gives no promise',
    action: (a) => `plain ${a}`,
    script: async ({fire}) => fire('x'),
    trace: ['fire: x', 'success: plain x', '= plain x'],
    stats: {fires: 1, successes: 1},
  },
  {
    what: 'a call that fails rejects with its own error',
    action: () => fail('down'),
    options: {errorThresholdPercentage: 100},
    script: async ({fire}) => fire(),
    trace: ['fire', 'failure: down', '! down'],
    stats: {fires: 1, failures: 1},
  },
  {
    what: 'an action that throws fails as one that rejects',
    action: () => { throw new Error('thrown'); },
    options: {errorThresholdPercentage: 100},
    script: async ({fire}) => fire(),
    trace: ['fire', 'failure: thrown', '! thrown'],
    stats: {fires: 1, failures: 1},
  },
  {
    what: 'a call with a context',
    action() { return Promise.resolve(this.who); },
    script: async ({of, trace, ended}) => trace.push(await ended(of.call({who: 'me'}))),
    trace: ['fire', 'success: me', '= me'],
    stats: {fires: 1, successes: 1},
  },
  {
    what: 'a call that takes too long is a timeout and a failure',
    action: () => new Promise(() => {}),
    options: {timeout: 5, errorThresholdPercentage: 100},
    script: async ({fire}) => fire(),
    trace: ['fire', 'timeout: ETIMEDOUT', 'failure: ETIMEDOUT', '! ETIMEDOUT'],
    stats: {fires: 1, failures: 1, timeouts: 1},
    latencies: 2,
  },
  {
    what: 'what ends after its timeout is not told again',
    action: (late) => late,
    options: {timeout: 5, errorThresholdPercentage: 100},
    script: async ({fire}) => {
      const late = deferred();
      await fire(late.promise.then(() => {}));
      late.resolve();
      await late.promise;
      const failing = deferred();
      await fire(failing.promise);
      failing.reject(new Error('late'));
      await failing.promise.catch(() => {});
    },
    trace: ['fire: [object Promise]', 'timeout: ETIMEDOUT', 'failure: ETIMEDOUT', '! ETIMEDOUT', 'fire: [object Promise]', 'timeout: ETIMEDOUT',
      'failure: ETIMEDOUT', '! ETIMEDOUT'],
    stats: {fires: 2, failures: 2, timeouts: 2},
  },
  {
    what: 'a fallback gets the arguments and the error',
    action: () => fail('down'),
    options: {errorThresholdPercentage: 100},
    script: async ({of, fire}) => {
      of.fallback((a, b, error) => `${a}${b} ${error.message}`);
      await fire('x', 'y');
    },
    trace: ['fire: x,y', 'failure: down', 'fallback: xy down for down', '= xy down'],
    stats: {fires: 1, failures: 1, fallbacks: 1},
  },
  {
    what: 'a fallback that gives a promise',
    action: () => fail('down'),
    options: {errorThresholdPercentage: 100},
    script: async ({of, fire}) => {
      of.fallback(() => Promise.resolve('later'));
      await fire();
    },
    trace: ['fire', 'failure: down', 'fallback: promise for down', '= later'],
    stats: {fires: 1, failures: 1, fallbacks: 1},
  },
  {
    what: 'a fallback that throws rejects with what it threw',
    action: () => fail('down'),
    options: {errorThresholdPercentage: 100},
    script: async ({of, fire}) => {
      of.fallback(() => { throw new Error('also down'); });
      await fire();
    },
    trace: ['fire', 'failure: down', '! also down'],
    stats: {fires: 1, failures: 1},
  },
  {
    what: 'a timeout has the fallback, too',
    action: () => new Promise(() => {}),
    options: {timeout: 5, errorThresholdPercentage: 100},
    script: async ({of, fire}) => {
      of.fallback(() => 'instead');
      await fire();
    },
    trace: ['fire', 'timeout: ETIMEDOUT', 'failure: ETIMEDOUT', 'fallback: instead for ETIMEDOUT', '= instead'],
    stats: {fires: 1, failures: 1, timeouts: 1, fallbacks: 1},
  },
  {
    what: 'an error that the filter forgives is a success that rejects, without fallback',
    action: () => Promise.reject(Object.assign(new Error('not found'), {status: 404})),
    options: {errorFilter: (error) => error.status === 404},
    script: async ({of, fire}) => {
      of.fallback(() => 'instead');
      await fire();
    },
    trace: ['fire', 'success: not found', '! not found'],
    stats: {fires: 1, successes: 1},
  },
  {
    what: 'the filter gets the arguments',
    action: () => fail('down'),
    options: {errorFilter: (error, id) => id === 7},
    script: async ({fire}) => fire(7),
    trace: ['fire: 7', 'success: down', '! down'],
    stats: {fires: 1, successes: 1},
  },
  {
    what: 'calls above the capacity are locked out and fail',
    action: (gate) => gate,
    options: {capacity: 2, errorThresholdPercentage: 100},
    script: async ({of, trace, fire, ended}) => {
      const gate = deferred();
      const calls = [ended(of.fire(gate.promise)), ended(of.fire(gate.promise))];
      await fire('third');
      gate.resolve('free');
      trace.push(...await Promise.all(calls));
      await fire('fourth');
    },
    trace: ['fire: [object Promise]', 'fire: [object Promise]', 'fire: third', 'semaphoreLocked: ESEMLOCKED', 'failure: ESEMLOCKED', '! ESEMLOCKED',
      'success: free', 'success: free', '= free', '= free', 'fire: fourth', 'success: fourth', '= fourth'],
    stats: {fires: 4, successes: 3, failures: 1, semaphoreRejections: 1},
  },
  {
    what: 'a timeout makes room within the capacity',
    action: (what) => what === 'hangs' ? new Promise(() => {}) : Promise.resolve(what),
    options: {capacity: 1, timeout: 5, errorThresholdPercentage: 100},
    script: async ({fire}) => {
      await fire('hangs');
      await fire('fine');
    },
    trace: ['fire: hangs', 'timeout: ETIMEDOUT', 'failure: ETIMEDOUT', '! ETIMEDOUT', 'fire: fine', 'success: fine', '= fine'],
    stats: {fires: 2, successes: 1, failures: 1, timeouts: 1},
  },
  {
    what: 'a disabled breaker calls without protection',
    action: (what) => what === 'bad' ? fail() : Promise.resolve(what),
    options: touchy,
    script: async ({of, fire}) => {
      of.disable();
      assert.strictEqual(of.enabled, false);
      await fire('bad');
      await fire('bad');
      of.enable();
      await fire('good');
    },
    trace: ['fire: bad', '! no', 'fire: bad', '! no', 'fire: good', 'success: good', '= good'],
    stats: {fires: 3, successes: 1},
  },
  {
    what: 'after shutdown every call is refused, and nothing is told',
    action: () => Promise.resolve('fine'),
    script: async ({of, fire}) => {
      await fire();
      of.shutdown();
      assert.strictEqual(of.isShutdown, true);
      assert.deepStrictEqual([of.closed, of.opened, of.halfOpen, of.enabled], [false, false, false, false]);
      await fire();
    },
    trace: ['fire', 'success: fine', '= fine', 'shutdown', '! ESHUTDOWN'],
    stats: {fires: 1, successes: 1},
  },
  {
    what: 'an AbortController is aborted by a timeout',
    action: () => new Promise(() => {}),
    options: () => ({timeout: 5, errorThresholdPercentage: 100, abortController: new AbortController()}),
    script: async ({of, fire}) => {
      assert.strictEqual(of.getSignal().aborted, false);
      await fire();
      assert.strictEqual(of.getSignal().aborted, true);
    },
    trace: ['fire', 'timeout: ETIMEDOUT', 'failure: ETIMEDOUT', '! ETIMEDOUT'],
    stats: {fires: 1, failures: 1, timeouts: 1},
  },
  {
    what: 'percentiles that are off are -1',
    action: () => Promise.resolve('fine'),
    options: {rollingPercentilesEnabled: false},
    script: async ({of, fire}) => {
      await fire();
      assert.deepStrictEqual([of.stats.latencyMean, of.stats.percentiles[0.5], of.stats.latencyTimes], [-1, -1, []]);
    },
    trace: ['fire', 'success: fine', '= fine'],
    stats: {fires: 1, successes: 1},
  },
  {
    what: 'a health check that fails is told, and opens',
    action: () => Promise.resolve('fine'),
    options: {resetTimeout: 60_000},
    script: async ({of, fire, trace}) => {
      const opened = once(of, 'open');
      of.healthCheck(() => fail('sick'), 60_000);
      await opened;
      await fire();
      assert.throws(() => of.healthCheck('no function'), TypeError);
      assert.throws(() => of.healthCheck(() => {}, 'no number'), TypeError);
      assert.ok(trace.length > 0);
    },
    trace: ['healthCheckFailed: sick', 'open', 'fire', 'reject: EOPENBREAKER', '! EOPENBREAKER'],
    stats: {fires: 1, rejects: 1},
  },
  {
    what: 'open() rejects, and after the reset timeout one call is tried; its success closes',
    action: () => Promise.resolve('fine'),
    options: {resetTimeout: 10},
    script: async ({of, fire}) => {
      const half = once(of, 'halfOpen');
      of.open();
      assert.ok(of.opened && !of.closed);
      await half;
      assert.ok(of.halfOpen && of.pendingClose);
      await fire();
      assert.ok(of.closed);
    },
    trace: ['open', 'halfOpen', 'fire', 'close', 'success: fine', '= fine'],
    stats: {fires: 1, successes: 1},
  },
  {
    what: 'close() ends what open() began',
    action: () => Promise.resolve('fine'),
    options: {resetTimeout: 60_000},
    script: async ({of, fire}) => {
      of.open();
      of.open();
      await fire();
      of.close();
      of.close();
      await fire();
    },
    trace: ['open', 'fire', 'reject: EOPENBREAKER', '! EOPENBREAKER', 'close', 'fire', 'success: fine', '= fine'],
    stats: {fires: 2, successes: 1, rejects: 1},
  },
  {
    what: 'open: a fallback answers instead',
    action: () => Promise.resolve('fine'),
    options: {resetTimeout: 60_000},
    script: async ({of, fire}) => {
      of.fallback((a, error) => `${a} ${error.code}`);
      of.open();
      await fire('x');
    },
    trace: ['open', 'fire: x', 'reject: EOPENBREAKER', 'fallback: x EOPENBREAKER for EOPENBREAKER', '= x EOPENBREAKER'],
    stats: {fires: 1, rejects: 1, fallbacks: 1},
  },
  {
    what: 'a breaker as the fallback of another',
    action: () => fail('down'),
    options: {errorThresholdPercentage: 100},
    script: async ({of, fire, another}) => {
      of.fallback(another((...args) => Promise.resolve(args.length)));
      await fire('a', 'b');
    },
    trace: ['fire: a,b', 'failure: down', 'fallback: promise for down', '= 3'],
    stats: {fires: 1, failures: 1, fallbacks: 1},
  },
  {
    what: 'opens above the threshold, the failure first', alone: true,
    action: (what) => what === 'bad' ? fail() : Promise.resolve(what),
    options: {errorThresholdPercentage: 50, resetTimeout: 60_000, volumeThreshold: 0},
    script: async ({fire}) => {
      for (const each of ['good', 'bad', 'bad', 'good']) await fire(each);
    },
    trace: ['fire: good', 'success: good', '= good', 'fire: bad', 'failure: no', '! no', 'fire: bad', 'failure: no', 'open', '! no', 'fire: good',
      'reject: EOPENBREAKER', '! EOPENBREAKER'],
    stats: {fires: 4, successes: 1, failures: 2, rejects: 1},
  },
  {
    what: 'below the volume threshold nothing opens', alone: true,
    action: () => fail(),
    options: {errorThresholdPercentage: 1, resetTimeout: 60_000, volumeThreshold: 3},
    script: async ({of, fire}) => {
      await fire();
      await fire();
      assert.ok(of.closed);
      await fire();
      assert.ok(of.opened);
    },
    trace: ['fire', 'failure: no', '! no', 'fire', 'failure: no', '! no', 'fire', 'failure: no', 'open', '! no'],
    stats: {fires: 3, failures: 3},
  },
  {
    what: 'within the warm-up nothing opens', alone: true,
    action: () => fail(),
    options: {...touchy, allowWarmUp: true, rollingCountTimeout: 60_000},
    script: async ({of, fire}) => {
      await fire();
      await fire();
      assert.ok(of.closed && of.warmUp);
    },
    trace: ['fire', 'failure: no', '! no', 'fire', 'failure: no', '! no'],
    stats: {fires: 2, failures: 2},
  },
  {
    what: 'opening comes before the fallback', alone: true,
    action: () => fail(),
    options: touchy,
    script: async ({of, fire}) => {
      of.fallback(() => 'instead');
      await fire();
    },
    trace: ['fire', 'failure: no', 'open', 'fallback: instead for no', '= instead'],
    stats: {fires: 1, failures: 1, fallbacks: 1},
  },
  {
    what: 'a timeout opens as a failure does', alone: true,
    action: () => new Promise(() => {}),
    options: {...touchy, timeout: 5},
    script: async ({fire}) => fire(),
    trace: ['fire', 'timeout: ETIMEDOUT', 'failure: ETIMEDOUT', 'open', '! ETIMEDOUT'],
    stats: {fires: 1, failures: 1, timeouts: 1},
  },
  {
    what: 'half-open: one call at a time, the others are rejected; its failure opens again', alone: true,
    action: (what) => what,
    options: {...touchy, resetTimeout: 10},
    script: async ({of, trace, fire, ended}) => {
      const half = once(of, 'halfOpen');
      await fire(fail());
      await half;
      const gate = deferred();
      const probe = ended(of.fire(gate.promise));
      await fire('another');
      const again = once(of, 'halfOpen');
      gate.reject(new Error('still down'));
      trace.push(await probe);
      await again;
      await fire('fine');
      assert.ok(of.closed);
    },
    trace: ['fire: [object Promise]', 'failure: no', 'open', '! no', 'halfOpen', 'fire: [object Promise]', 'fire: another', 'reject: EOPENBREAKER',
      '! EOPENBREAKER', 'failure: still down', 'open', '! still down', 'halfOpen', 'fire: fine', 'close', 'success: fine', '= fine'],
    stats: {fires: 4, successes: 1, failures: 2, rejects: 1},
  },
  {
    what: 'half-open: an error that is forgiven closes', alone: true,
    action: (what) => fail(what),
    options: {...touchy, resetTimeout: 10, errorFilter: (error) => error.message === '404'},
    script: async ({of, fire}) => {
      const half = once(of, 'halfOpen');
      await fire('500');
      await half;
      await fire('404');
      assert.ok(of.closed);
    },
    trace: ['fire: 500', 'failure: 500', 'open', '! 500', 'halfOpen', 'fire: 404', 'close', 'success: 404', '! 404'],
    stats: {fires: 2, successes: 1, failures: 1},
  },
];

const counted = ['fires', 'successes', 'failures', 'timeouts', 'rejects', 'fallbacks', 'semaphoreRejections', 'cacheHits', 'cacheMisses'];

async function run({script, trace, stats, latencies}, of, another) {
  const watched = watch(of);
  const {status} = of;
  await script({...watched, another});
  assert.deepStrictEqual(watched.trace, trace);
  const all = status.stats;
  for (const name of counted) assert.strictEqual(all[name], stats[name] ?? 0, name);
  if (latencies !== undefined) assert.strictEqual(all.latencyTimes.length, latencies);
}

const optionsOf = (each) => typeof each.options === 'function' ? each.options() : {...each.options};

test('a script of calls shows the same on opossum, on ours with the server there, and on ours with it away', async (t) => {
  const server = await serve(t);
  const client = new PortcullisClient({address: server.address});
  const lonely = new PortcullisClient({address: 'unix:/nowhere/portcullis.sock', unreachableAfterMs: 0});
  let last = 0;
  for (const each of cases) {
    await t.test(`${each.what}: opossum`, async () => {
      const of = new opossum(each.action, optionsOf(each));
      const others = [];
      await run(each, of, (action) => (others.push(new opossum(action)), others.at(-1)));
      for (const one of [of, ...others]) one.shutdown();
    });
    const ours = async (options, prepare) => {
      const made = [];
      const make = (action, more) => (made.push(breaker(action, {service: 'alike', name: `b${++last}`, ...options, ...more})), made.at(-1));
      const of = make(each.action, optionsOf(each));
      await prepare(of);
      await run(each, of, make);
      for (const one of made) await one.shutdown();
    };
    if (!each.alone) {
      await t.test(`${each.what}: ours, with the server`, () => ours({client}, async (of) => {
        assert.strictEqual(await of.flush(), true);
        assert.strictEqual(of.degraded, undefined);
      }));
    }
    await t.test(`${each.what}: ours, alone`, () => ours({client: lonely}, async (of) => {
      if (!of.degraded) await once(of, 'degraded');
    }));
  }
  await client.close();
  await lonely.close();
});

test('a rejection is opossum\'s error and a PortcullisError', async (t) => {
  const server = await serve(t);
  const client = new PortcullisClient({address: server.address});
  const of = breaker(async () => 'fine', {client, service: 'errors', resetTimeout: 30_000});
  of.open();
  const error = await of.fire().catch((reason) => reason);
  assert.strictEqual(error.code, 'EOPENBREAKER');
  assert.ok(error instanceof PortcullisError);
  assert.ok(isPortcullisError(error) && isPortcullisError(error, 'BREAKER_OPEN') && !isPortcullisError(error, 'TIMEOUT'));
  assert.strictEqual(error.status, 503);
  assert.ok(error.retryAfterMs > 0 && error.retryAfterMs <= 30_000);
  assert.deepStrictEqual(JSON.parse(JSON.stringify(error)),
    {code: 5001, message: 'The circuit breaker is open.', data: {error: 'BREAKER_OPEN', status: 503, severity: 'medium', retryable: true, retry_after_ms: error.retryAfterMs}});
  assert.ok(Breaker.isOurError(error));
  assert.ok(!Breaker.isOurError(new Error('theirs')) && !Breaker.isOurError(undefined));
  await of.shutdown();
  await client.close();
});

/** Collects what is thrown where nobody catches it, for the time of `during`. */
async function uncaught(during) {
  const heard = [];
  const hear = (error) => heard.push(error.message);
  // The test runner would take it for its own.
  const others = ['uncaughtException', 'unhandledRejection'].map((event) => [event, process.listeners(event)]);
  for (const [event] of others) process.removeAllListeners(event).on(event, hear);
  try {
    await during(heard);
    await new Promise(setImmediate);
  } finally {
    for (const [event, all] of others) {
      process.removeAllListeners(event);
      for (const each of all) process.on(event, each);
    }
  }
  return heard;
}

test('a listener that throws is heard of, and changes nothing for the caller, the counts and the places of a capacity', async (t) => {
  const server = await serve(t);
  const client = new PortcullisClient({address: server.address});
  const hangs = () => new Promise(() => {});
  for (const [event, action, end, counted, more] of [
    ['fire', async () => 'fine', 'fine', {success: 2}], ['success', async () => 'fine', 'fine', {success: 2}], ['failure', async () => fail('down'), 'down', {failure: 2}],
    ['timeout', hangs, 'ETIMEDOUT', {timeout: 2}, {timeout: 5}], ['fallback', async () => fail('down'), 'instead', {failure: 2}, {fallback: () => 'instead'}],
  ]) {
    const of = breaker(action, {client, service: 'listeners', name: event, capacity: 1, ...more});
    of.on(event, () => { throw new Error('the listener'); });
    assert.deepStrictEqual(await uncaught(async () => {
      for (let i = 0; i < 2; ++i) assert.strictEqual(await of.fire().catch((error) => error.code ?? error.message), end, event);
    }), ['the listener', 'the listener'], event);
    assert.ok(await of.flush());
    const {counts} = await client.breakers.status({service: 'listeners', breaker: event});
    assert.deepStrictEqual(Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0)), counted, event);
    await of.shutdown();
  }
  const busy = breaker((gate) => gate, {client, service: 'listeners', name: 'busy', capacity: 1});
  busy.on('semaphoreLocked', () => { throw new Error('the listener'); });
  const gate = deferred();
  const first = busy.fire(gate.promise);
  assert.deepStrictEqual(await uncaught(async () => {
    assert.strictEqual(await busy.fire().catch((error) => error.code), 'ESEMLOCKED');
  }), ['the listener']);
  gate.resolve('fine');
  assert.strictEqual(await first, 'fine');
  await busy.shutdown();
  await client.close();
});

test('a listener of a change of state that throws, with the server away, keeps nobody waiting', async () => {
  const client = new PortcullisClient({address: '127.0.0.1:1'});
  const of = breaker(async (good) => good ? 'fine' : fail('down'), {client, service: 'listeners', volumeThreshold: 1, resetTimeout: 5, capacity: 1});
  for (const event of ['degraded', 'open', 'halfOpen', 'close', 'reject', 'shutdown']) of.on(event, () => { throw new Error(event); });
  const heard = await uncaught(async () => {
    while (!of.degraded) await new Promise((done) => setTimeout(done, 5));
    assert.strictEqual(await of.fire(false).catch((error) => error.message), 'down');
    assert.ok(of.opened);
    assert.strictEqual(await of.fire(true).catch((error) => error.code), 'EOPENBREAKER');
    while (!of.halfOpen) await new Promise((done) => setTimeout(done, 5));
    assert.strictEqual(await of.fire(true), 'fine');
    assert.ok(of.closed);
    assert.strictEqual(await of.fire(true), 'fine');
    await of.shutdown();
  });
  assert.deepStrictEqual(heard, ['degraded', 'open', 'reject', 'halfOpen', 'close', 'shutdown']);
  await client.close();
});

test('whatever has a `then` settles once, also one that settles twice, or throws', async (t) => {
  const server = await serve(t);
  const client = new PortcullisClient({address: server.address});
  const kinds = {
    twice: {then(good) { good('fine'); good('again'); }},
    both: {then(good, bad) { good('fine'); bad(new Error('and bad')); }},
    throws: {then() { throw new Error('thrown'); }},
    gets: {get then() { throw new Error('thrown'); }},
  };
  for (const [name, thenable] of Object.entries(kinds)) {
    const of = breaker(() => thenable, {client, service: 'thenables', name, capacity: 1, timeout: false});
    const end = name === 'twice' || name === 'both' ? 'fine' : 'thrown';
    for (let i = 0; i < 2; ++i) assert.strictEqual(await of.fire().catch((error) => error.message), end, name);
    assert.deepStrictEqual([of.stats.successes, of.stats.failures], end === 'fine' ? [2, 0] : [0, 2], name);
    assert.ok(await of.flush());
    const {counts} = await client.breakers.status({service: 'thenables', breaker: name});
    assert.deepStrictEqual([counts.success, counts.failure], end === 'fine' ? [2, 0] : [0, 2], name);
    await of.shutdown();
  }
  await client.close();
});

test('shutdown() waits for the calls under way and tells their results; a second one waits as the first', async (t) => {
  const server = await serve(t);
  const client = new PortcullisClient({address: server.address});
  const of = breaker((gate) => gate, {client, service: 'ending', name: 'good', reportEveryMs: 60_000});
  const gate = deferred();
  const call = of.fire(gate.promise);
  const again = [];
  of.on('shutdown', () => again.push(of.shutdown()));
  const ends = [of.shutdown(), of.shutdown(), ...again];
  assert.strictEqual(await of.fire().catch((error) => error.code), 'ESHUTDOWN');
  gate.resolve('fine');
  await ends[1];
  assert.strictEqual((await client.breakers.status({service: 'ending', breaker: 'good'})).counts.success, 1);
  assert.strictEqual(await call, 'fine');
  await Promise.all(ends);
  assert.strictEqual(again.length, 1);
  // One that hangs has its timeout.
  const late = breaker(() => new Promise(() => {}), {client, service: 'ending', name: 'late', timeout: 20});
  const hanging = late.fire().catch((error) => error.code);
  await late.shutdown();
  assert.strictEqual(await hanging, 'ETIMEDOUT');
  assert.strictEqual((await client.breakers.status({service: 'ending', breaker: 'late'})).counts.timeout, 1);
  await client.close();
  // What cannot be told is counted.
  const lost = new PortcullisClient({address: '127.0.0.1:1'});
  const alone = breaker(async () => 'fine', {client: lost, service: 'ending'});
  for (let i = 0; i < 3; ++i) await alone.fire();
  await alone.shutdown();
  assert.strictEqual(alone.droppedReports, 3);
  await lost.close();
});

test('options that cannot be are refused by their name when the breaker is made', () => {
  const client = new PortcullisClient();
  const good = {client, service: 'shop'};
  const action = async () => {};
  for (const [wrong, kind, name] of [
    [{client: undefined}, TypeError, 'client'], [{service: undefined}, TypeError, 'service'], [{service: 'no spaces'}, TypeError, 'service'],
    [{name: 'x'.repeat(65)}, TypeError, 'name'], [{timeout: -1}, RangeError, 'timeout'], [{timeout: '5'}, TypeError, 'timeout'],
    [{timeout: Infinity}, RangeError, 'timeout'], [{capacity: 0}, RangeError, 'capacity'], [{errorThresholdPercentage: 101}, RangeError, 'errorThresholdPercentage'],
    [{volumeThreshold: NaN}, RangeError, 'volumeThreshold'], [{resetTimeout: 0}, RangeError, 'resetTimeout'], [{rollingCountBuckets: 0}, RangeError, 'rollingCountBuckets'],
    [{reportEveryMs: 1}, RangeError, 'reportEveryMs'], [{errorFilter: 'x'}, TypeError, 'errorFilter'], [{fallback: 1}, TypeError, 'fallback'],
    [{cache: true}, TypeError, 'cache'], [{coalesce: true}, TypeError, 'coalesce'], [{state: {}}, TypeError, 'state'],
    [{abortController: {}}, TypeError, 'abortController'],
  ]) {
    assert.throws(() => breaker(action, {...good, ...wrong}), (error) => error instanceof kind && error.message.startsWith(name), name);
  }
  assert.throws(() => breaker(undefined, good), TypeError);
  assert.throws(() => breaker(action), TypeError);
});

test('status emits snapshots while somebody listens', async (t) => {
  const server = await serve(t);
  const client = new PortcullisClient({address: server.address});
  const of = breaker(async () => 'fine', {client, service: 'snapshots', rollingCountTimeout: 1000, rollingCountBuckets: 100});
  await of.fire();
  const [stats] = await once(of.status, 'snapshot');
  assert.ok(stats.fires >= 0 && Array.isArray(stats.latencyTimes));
  assert.strictEqual(of.status.window.length, 100);
  await of.shutdown();
  const json = JSON.parse(JSON.stringify(of));
  assert.deepStrictEqual([json.state.name, json.state.shutdown, json.shared.service], ['default', true, 'snapshots']);
  await client.close();
});

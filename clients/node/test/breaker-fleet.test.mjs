// Fifty processes and one breaker: it opens everywhere, one of them tries at a time, it closes everywhere; with the server killed each
// goes on alone, and all are one again when it is back.
import assert from 'node:assert';
import {fork} from 'node:child_process';
import http from 'node:http';
import path from 'node:path';
import test from 'node:test';
import {fileURLToPath} from 'node:url';

import {PortcullisClient} from '../dist/esm/index.js';
import {sum, until} from './support/breakers.mjs';
import {serve} from './support/server.mjs';

const many = 50;
const child = path.join(path.dirname(fileURLToPath(import.meta.url)), 'support', 'breaker-child.mjs');

/** What the children call: it knows how many calls of a kind are with it at once. */
class Downstream {
  constructor() {
    this.good = true;
    this.callers = new Set();
    this.forget();
    this.probing = this.inFlight = 0;
    this.server = http.createServer((request, response) => {
      const probe = request.headers['x-state'] === 'half_open';
      this.callers.add(request.headers['x-child']);
      ++this.calls;
      ++this.inFlight;
      this.atOnce = Math.max(this.atOnce, this.inFlight);
      if (probe) {
        ++this.probes;
        this.probesAtOnce = Math.max(this.probesAtOnce, ++this.probing);
      }
      const answer = () => {
        --this.inFlight;
        if (probe) --this.probing;
        response.writeHead(this.good ? 200 : 503).end();
      };
      // Long enough for another probe to come, were it let through.
      if (probe) setTimeout(answer, 30);
      else answer();
    });
  }

  forget() { this.calls = this.probes = this.probesAtOnce = this.atOnce = 0; }

  async start(t) {
    await new Promise((listening) => this.server.listen(0, '127.0.0.1', listening));
    t.after(() => {
      this.server.closeAllConnections();
      this.server.close();
    });
    this.port = this.server.address().port;
    return this;
  }
}

/** The children, and what each told last of every event. */
class Fleet {
  constructor(t, address, port, {size = many, defaults = false} = {}) {
    this.told = [];
    this.size = size;
    this.waiting = new Set();
    this.children = Array.from({length: size}, (_, i) => {
      const one = fork(child, [address, port, `c${i}`, ...defaults ? ['defaults'] : []], {execArgv: ['--max-old-space-size=64']});
      one.on('message', (message) => {
        this.told.push(message);
        for (const look of this.waiting) look();
      });
      one.on('exit', (code) => {
        if (code !== 0 && !this.ended) this.failed = new Error(`c${i} ended with ${code}`);
        for (const look of this.waiting) look();
      });
      return one;
    });
    t.after(() => { for (const one of this.children) one.kill('SIGKILL'); });
  }

  send(order) { for (const one of this.children) one.send(order); }

  /** From now on: waits until all have told an event. Gives the last message of each. */
  all(event, since = this.told.length) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const last = new Map(this.told.slice(since).filter((each) => each.event === event).map((each) => [each.name, each]));
        if (last.size < this.size && !this.failed) return;
        this.waiting.delete(look);
        if (this.failed) reject(this.failed);
        else resolve([...last.values()]);
      };
      this.waiting.add(look);
      look();
    });
  }

  async end() {
    this.ended = true;
    const gone = this.children.map((one) => new Promise((done) => one.once('exit', done)));
    this.send('end');
    return Promise.all(gone);
  }
}

test(`${many} processes share one breaker, with the server, without it, and with it again`, async (t) => {
  const server = await serve(t, {config: '[breaker]\nopen_wait_s = 1\nopen_wait_max_s = 1\nopen_wait_jitter = 0.0\nmin_calls = 20\nhalf_open_permits = 3\n' +
    'half_open_concurrency = 1\nwindow_s = 10\nmax_half_open_s = 300\npermit_ttl_s = 300\n'});
  const downstream = await new Downstream().start(t);
  const fleet = new Fleet(t, server.address, downstream.port);
  await fleet.all('ready', 0);
  let since = 0;
  const from = () => { since = fleet.told.length; };
  fleet.send('go');
  await fleet.all('calling', since);

  // Opens everywhere. What was on its way arrives; from then on only probes come.
  from();
  downstream.good = false;
  const opened = await fleet.all('open', since);
  assert.strictEqual(new Set(opened.map((each) => each.name)).size, many);
  await until(() => downstream.inFlight === 0);
  const client = new PortcullisClient({address: server.address, timeoutMs: 120_000});
  const halves = async () => (await client.events.query({types: ['breaker_half_opened']})).events.length;
  const before = await halves();
  downstream.forget();
  await until(async () => downstream.probesAtOnce > 1 || (await halves() >= before + 3 && downstream.probes >= 2));
  assert.deepStrictEqual(fleet.told.filter((each) => each.event === 'degraded'), []);
  assert.deepStrictEqual([downstream.probesAtOnce, downstream.atOnce, downstream.calls - downstream.probes], [1, 1, 0]);
  t.diagnostic(`${downstream.probes} probes, never two at once`);

  // Closes everywhere; until it does the probes are three, one after the other.
  from();
  downstream.good = true;
  await fleet.all('close', since);
  assert.strictEqual(downstream.probesAtOnce, 1);
  const closed = await client.breakers.status({service: 'downstream', breaker: 'shared'});
  assert.deepStrictEqual([closed.state, closed.sources.length], ['closed', many]);

  // Nobody lost a call, and none was told twice.
  from();
  fleet.send('pause');
  const paused = await fleet.all('paused', since);
  const made = {success: 0, failure: 0, timeout: 0, ignored: 0, rejected: 0};
  for (const {totals, dropped, epoch} of paused) {
    for (const name of Object.keys(made)) made[name] += totals[name];
    assert.deepStrictEqual([dropped, epoch], [0, closed.epoch]);
  }
  const {counts} = await client.breakers.status({service: 'downstream', breaker: 'shared'});
  assert.deepStrictEqual(counts, {...made, slow_success: 0, slow_failure: 0});
  t.diagnostic(`${sum(made)} calls, all counted once: ${JSON.stringify(made)}`);
  fleet.send('go');

  // Killed: each says so, and goes on by itself.
  from();
  await server.kill9();
  await fleet.all('degraded', since);
  downstream.callers.clear();
  await until(() => downstream.callers.size === many);
  from();
  downstream.good = false;
  await fleet.all('open', since);
  from();
  downstream.good = true;
  await fleet.all('close', since);

  // Back: all have the server's state, and one breaker again.
  from();
  await server.start();
  const recovered = await fleet.all('recovered', since);
  assert.deepStrictEqual([...new Set(recovered.map(({state, epoch}) => `${state} ${epoch}`))], [`closed ${closed.epoch}`]);
  from();
  downstream.good = false;
  await fleet.all('open', since);
  await until(async () => (await client.breakers.status({service: 'downstream', breaker: 'shared'})).epoch > closed.epoch);
  from();
  downstream.good = true;
  await fleet.all('close', since);
  from();
  fleet.send('pause');
  const states = await fleet.all('paused', since);
  const last = await client.breakers.status({service: 'downstream', breaker: 'shared'});
  assert.deepStrictEqual([...new Set(states.map(({state, epoch, dropped}) => `${state} ${epoch} ${dropped}`))], [`closed ${last.epoch} 0`]);
  assert.deepStrictEqual((await fleet.end()).filter((code) => code !== 0), []);
  await client.close();
});

test('ten processes with the default times, and a server that stands still for a while when the breaker is half-open', async (t) => {
  const server = await serve(t, {config: '[breaker]\nopen_wait_s = 1\nopen_wait_max_s = 1\nopen_wait_jitter = 0.0\nmin_calls = 20\nhalf_open_permits = 3\n' +
    'half_open_concurrency = 1\nwindow_s = 10\nmax_half_open_s = 300\npermit_ttl_s = 300\n'});
  const downstream = await new Downstream().start(t);
  const fleet = new Fleet(t, server.address, downstream.port, {size: 10, defaults: true});
  await fleet.all('ready', 0);
  let since = fleet.told.length;
  fleet.send('go');
  await fleet.all('calling', since);
  since = fleet.told.length;
  downstream.good = false;
  await fleet.all('open', since);
  await fleet.all('halfOpen', since);
  await until(() => downstream.inFlight === 0);
  downstream.forget();
  since = fleet.told.length;
  await server.standStill();
  try {
    // Each has asked for a permit, and was turned away.
    fleet.send('refused');
    await fleet.all('refused', since);
  } finally {
    server.goOn();
  }
  // A permit that was on its way when the server stopped is one call; nobody tries without.
  assert.ok(downstream.probesAtOnce <= 1 && downstream.calls <= 1, `${downstream.probesAtOnce} at once, ${downstream.calls} calls`);
  since = fleet.told.length;
  downstream.good = true;
  await fleet.all('close', since);
  assert.strictEqual(downstream.probesAtOnce, 1);
  since = fleet.told.length;
  fleet.send('pause');
  const paused = await fleet.all('paused', since);
  assert.deepStrictEqual(paused.filter(({state, dropped}) => state !== 'closed' || dropped > 0), []);
  // A call that had given up before its permit came is told as ignored: it is one of those that were turned away.
  const made = {success: 0, failure: 0, timeout: 0, rejected: 0};
  for (const {totals} of paused) for (const name of Object.keys(made)) made[name] += totals[name];
  const client = new PortcullisClient({address: server.address});
  const {counts} = await client.breakers.status({service: 'downstream', breaker: 'shared'});
  assert.deepStrictEqual({success: counts.success, failure: counts.failure, timeout: counts.timeout, rejected: counts.rejected + counts.ignored}, made);
  assert.deepStrictEqual((await fleet.end()).filter((code) => code !== 0), []);
  await client.close();
});

// opossum breakers go through all that can happen to a call; what the server shows at the end is
// compared, call by call, with what did happen. Reports come twice and in another order.
import assert from 'node:assert';
import {once} from 'node:events';

import {Reporter, Watcher} from './opossum_bridge.mjs';

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const failure = (fields) => Object.assign(new Error('the dependency says no'), fields);

/** What the dependency does: the caller knows it before opossum does. */
const dependency = {
  answers: () => Promise.resolve('fine'),
  answers_an_error: () => Promise.resolve(new Error('a value like others')),
  takes_a_while: () => sleep(10),
  fails: () => Promise.reject(failure({})),
  fails_without_an_error: () => Promise.reject('no'),
  throws: () => { throw failure({}); },
  loses_its_socket: () => Promise.reject(failure({code: 'ETIMEDOUT'})),  // not opossum's own timeout
  is_locked_inside: () => Promise.reject(failure({code: 'ESEMLOCKED'})),
  finds_nothing: () => Promise.reject(failure({status: 404})),  // forgiven by the filter
  hangs: () => new Promise(() => {}),
};
const ends_as = {answers: 'success', answers_an_error: 'success', takes_a_while: 'success', finds_nothing: 'ignored', hangs: 'timeout'};

/** Calls through a breaker, and what became of each: a call that never reached the dependency was rejected. */
class Caller {
  constructor(opossum, options) {
    this.happened = {success: 0, failure: 0, timeout: 0, ignored: 0, rejected: 0, slow_success: 0, slow_failure: 0};
    this.breaker = new opossum((call) => {
      call.began = true;
      return dependency[call.what]();
    }, {errorFilter: (error) => error.status === 404, ...options});
    this.transitions = [];
    for (const event of ['open', 'halfOpen', 'close'])
      this.breaker.on(event, () => this.transitions.push({open: 'open', halfOpen: 'half_open', close: 'closed'}[event]));
  }

  async fire(what) {
    const call = {what, began: false};
    await this.breaker.fire(call).catch(() => {});
    ++this.happened[call.began ? ends_as[what] ?? 'failure' : 'rejected'];
    return call.began;
  }

  async each(...all) {
    for (const what of all) await this.fire(what);
  }
}

/** Delivers every report twice, and each that comes right after another one before it. */
class BadNetwork {
  constructor(reporter) {
    this.reporter = reporter;
    this.answers = [];
    this.sent = 0;
  }

  send(report) {
    if (this.held === undefined && ++this.sent % 3 === 0) {
      this.held = report;
      return;
    }
    this.deliver(report);
    if (this.held !== undefined) this.deliver(this.held);
    this.held = undefined;
  }

  deliver(report) {
    for (let time = 0; time < 2; ++time) this.answers.push(this.reporter.call('breaker.observe', report));
  }

  /** All answers: each report was taken once. */
  async settled() {
    if (this.held !== undefined) this.deliver(this.held);
    this.held = undefined;
    const replies = await Promise.all(this.answers);
    for (const [i, {result}] of replies.entries())
      assert.deepStrictEqual(result, i % 2 ? {accepted: false, duplicate: true} : {accepted: true, duplicate: false});
    return replies.length / 2;
  }
}

async function drive(caller) {
  const {breaker} = caller;
  await caller.each('answers', 'answers', 'answers_an_error', 'answers', 'finds_nothing', 'fails', 'answers', 'finds_nothing', 'throws',
    'fails_without_an_error', 'answers');
  assert.ok(breaker.closed);
  // Three at a time: the others find the semaphore locked.
  const began = await Promise.all(Array.from({length: 5}, () => caller.fire('takes_a_while')));
  assert.deepStrictEqual(began, [true, true, true, false, false]);
  await caller.each('hangs', 'hangs', 'answers');
  assert.ok(breaker.closed);
  while (!breaker.opened) await caller.each('loses_its_socket', 'is_locked_inside');
  await caller.each('answers', 'fails', 'hangs', 'answers');
  await once(breaker, 'halfOpen');
  const probe = caller.fire('hangs');
  await caller.fire('answers');  // rejected: one at a time
  await probe;
  assert.ok(breaker.opened);
  await once(breaker, 'halfOpen');
  await caller.each('finds_nothing');  // to opossum a success
  assert.ok(breaker.closed);
  await caller.each('answers', 'fails', 'answers');
}

/** The value of one series. */
const series = (text, name, labels) => {
  const line = text.split('\n').find((each) => each.startsWith(`${name}{`) &&
    Object.entries(labels).every(([label, value]) => each.includes(`${label}="${value}"`)));
  return line === undefined ? 0 : Number(line.slice(line.lastIndexOf(' ') + 1));
};

export default async function prove(opossum, {port, http}) {
  const reporter = new Reporter(port);
  const network = new BadNetwork(reporter);
  const options = {timeout: 40, errorThresholdPercentage: 50, resetTimeout: 60, volumeThreshold: 10, capacity: 3};
  const long = new Caller(opossum, {...options, name: 'long'});
  // A life of a few milliseconds' openings: no scrape meets one.
  const brief = new Caller(opossum, {...options, name: 'brief', resetTimeout: 3});
  const watchers = [long, brief].map(({breaker}) => new Watcher(breaker, {service: 'shop', source: 'test-1',
    send: (report) => network.send(report)}));
  const regular = setInterval(() => watchers.forEach((each) => each.report()), 7);

  await drive(long);
  for (let round = 0; round < 5; ++round) {
    while (!brief.breaker.opened) await brief.fire('fails');
    await once(brief.breaker, 'halfOpen');
    await brief.fire('answers');
  }
  clearInterval(regular);
  watchers.forEach((each) => each.report());
  const reports = await network.settled();
  assert.strictEqual(reports, watchers[0].seq + watchers[1].seq);

  assert.deepStrictEqual(long.transitions, ['open', 'half_open', 'open', 'half_open', 'closed']);
  for (const {breaker, happened, transitions} of [long, brief]) {
    const names = {service: 'shop', breaker: breaker.name};
    const shown = (await reporter.call('breaker.status', names)).result;
    assert.deepStrictEqual(shown.counts, happened);
    assert.deepStrictEqual([shown.kind, shown.state, shown.sources.length], ['observed', 'closed', 1]);
    // Named with its own time each, and none that did not happen.
    const {events} = (await reporter.call('events.query', {service: 'shop', limit: 1000})).result;
    const own = events.filter((each) => each.breaker === breaker.name);
    assert.strictEqual(own.length, transitions.length);
    const of_type = {open: 'breaker_opened', half_open: 'breaker_half_opened', closed: 'breaker_closed'};
    for (const [state, type] of Object.entries(of_type))
      assert.strictEqual(own.filter((each) => each.type === type).length, transitions.filter((each) => each === state).length);

    const text = await (await fetch(`http://127.0.0.1:${http}/metrics`)).text();
    for (const [result, count] of Object.entries(happened))
      assert.strictEqual(series(text, 'circuit_breaker_requests_total', {...names, result}), count, result);
    for (const [from, to] of [['closed', 'open'], ['open', 'half_open'], ['half_open', 'open'], ['half_open', 'closed']]) {
      const moves = transitions.filter((each, i) => each === to && (i === 0 ? 'closed' : transitions[i - 1]) === from);
      assert.strictEqual(series(text, 'circuit_breaker_transitions_total', {...names, from, to}), moves.length, `${from} ${to}`);
    }
    assert.ok(series(text, 'circuit_breaker_open_seconds_total', names) > 0);
  }

  // Who was cut off for more calls than one report may have goes on, and counts what comes.
  const cut_off = new Watcher(long.breaker, {service: 'shop', name: 'cut_off', source: 'test-2',
    send: (report) => reporter.call('breaker.observe', report)});
  await cut_off.report();
  cut_off.counts.success += 1_000_001;
  await cut_off.report();
  await long.each('answers', 'fails', 'answers');
  await cut_off.report();
  const {counts} = (await reporter.call('breaker.status', {service: 'shop', breaker: 'cut_off'})).result;
  assert.deepStrictEqual([counts.success, counts.failure], [2, 1]);
  reporter.close();
}

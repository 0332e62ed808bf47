// The parts of a breaker that decide and count, without a server and with time as an argument.
import assert from 'node:assert';
import test from 'node:test';

import {LocalBreaker} from '../dist/esm/breaker/local.js';
import {bucketOf, callsAReportMax, callsKeptMax, outcomes, Reports, staleEpoch} from '../dist/esm/breaker/reports.js';
import {latencySamplesMax, RollingWindow} from '../dist/esm/breaker/window.js';
import {sum} from './support/breakers.mjs';

const policy = {errorThresholdPercentage: 50, volumeThreshold: 4, resetTimeoutMs: 100, windowMs: 1000, windowSlices: 10, warmUntil: 0};

/** One step: time, what happens, and the state after it. `call` asks for admission, counts, and ends as it says. */
function play(steps, more = {}) {
  const local = new LocalBreaker({...policy, ...more}, 0);
  for (const [now, what, state] of steps) {
    const where = `at ${now} ${what}`;
    if (what === 'ok' || what === 'bad') {
      local.fired(now);
      local.tick(now);
      assert.strictEqual(local.admit(now), true, where);
      if (what === 'ok') local.succeeded(local.generation);
      else {
        local.countFailure(now);
        local.failed(local.generation, now);
      }
    } else if (what === 'denied') {
      local.fired(now);
      local.tick(now);
      assert.strictEqual(local.admit(now), false, where);
    } else if (what === 'taken') {
      local.tick(now);
      assert.strictEqual(local.admit(now), true, where);
    } else if (what === 'tick') local.tick(now);
    else if (what === 'open') local.open(now);
    else if (what === 'close') local.close();
    else if (what === 'given back') local.giveBack(local.generation);
    else assert.fail(what);
    assert.strictEqual(local.state, state, where);
  }
  return local;
}

test('the local breaker goes by the table', async (t) => {
  const cases = {
    'more than the threshold opens, exactly the threshold does not': [
      [0, 'ok', 'closed'], [1, 'ok', 'closed'], [2, 'bad', 'closed'], [3, 'bad', 'closed'], [4, 'bad', 'open'], [5, 'denied', 'open'],
    ],
    'too few calls open nothing': [[0, 'bad', 'closed'], [1, 'bad', 'closed'], [2, 'bad', 'closed'], [3, 'bad', 'open']],
    'calls leave the window': [[0, 'bad', 'closed'], [1, 'bad', 'closed'], [2, 'bad', 'closed'], [1100, 'bad', 'closed'], [1101, 'ok', 'closed'], [1102, 'ok', 'closed']],
    'calls leave the window slice by slice': [
      [0, 'bad', 'closed'], [50, 'bad', 'closed'], [150, 'bad', 'closed'], [999, 'ok', 'closed'], [1000, 'ok', 'closed'], [1001, 'bad', 'closed'],
    ],
    'a window that nobody looked at for long is empty': [[0, 'bad', 'closed'], [1, 'bad', 'closed'], [2, 'bad', 'closed'], [1e9, 'bad', 'closed'], [1e9 + 1, 'bad', 'closed']],
    'after the wait one call is tried': [[0, 'open', 'open'], [99, 'denied', 'open'], [100, 'taken', 'half_open'], [101, 'denied', 'half_open']],
    'its success closes': [[0, 'open', 'open'], [100, 'ok', 'closed']],
    'its failure opens, for the whole wait': [[0, 'open', 'open'], [100, 'bad', 'open'], [199, 'denied', 'open'], [200, 'ok', 'closed']],
    'a call that never ends keeps the place for one wait only': [[0, 'open', 'open'], [100, 'taken', 'half_open'], [199, 'denied', 'half_open'], [200, 'taken', 'half_open']],
    'a place that is given back is free': [[0, 'open', 'open'], [100, 'taken', 'half_open'], [101, 'given back', 'half_open'], [102, 'taken', 'half_open']],
    'close() closes from everywhere': [[0, 'open', 'open'], [1, 'close', 'closed'], [2, 'ok', 'closed']],
    'open() twice does not make the wait longer': [[0, 'open', 'open'], [50, 'open', 'open'], [100, 'tick', 'half_open']],
  };
  for (const [what, steps] of Object.entries(cases)) await t.test(what, () => play(steps));
  await t.test('in the warm-up nothing opens', () => play([[0, 'bad', 'closed'], [1, 'bad', 'closed'], [2, 'bad', 'closed'], [9, 'bad', 'closed'], [10, 'bad', 'open']], {warmUntil: 10}));
});

test('a call of an earlier phase decides nothing', () => {
  const local = play([[0, 'open', 'open'], [100, 'taken', 'half_open']]);
  const before = local.generation - 1;
  assert.strictEqual(local.succeeded(before), false);
  assert.strictEqual(local.failed(before, 101), false);
  assert.strictEqual(local.state, 'half_open');
});

test('a state that others decided goes on with what is left of its wait', () => {
  const local = new LocalBreaker(policy, 0);
  local.begin('open', 1000, 30);
  assert.strictEqual(local.retryAfterMs(1010), 20);
  assert.strictEqual(local.tick(1029), false);
  assert.strictEqual(local.tick(1030), true);
  assert.strictEqual(local.state, 'half_open');
});

test('each duration has its bucket, the bound itself included', () => {
  for (const [ms, bucket] of [[0, 0], [5, 0], [5.01, 1], [10, 1], [250, 5], [1000, 7], [10_000, 10], [10_001, 11], [1e9, 11]]) assert.strictEqual(bucketOf(ms), bucket, `${ms}`);
});

test('a batch keeps its number and its calls until it is answered; what comes meanwhile is the next one\'s', () => {
  const reports = new Reports();
  reports.add(outcomes.success, 1, true);
  const first = reports.next(7);
  assert.deepStrictEqual([first.seq, first.epoch, first.tally.countsOnWire()], [1, 7, {success: 1}]);
  reports.add(outcomes.timeout, 300, true);
  assert.strictEqual(reports.next(8), first);
  reports.acknowledged();
  const second = reports.next(8);
  assert.deepStrictEqual([second.seq, second.epoch, second.tally.countsOnWire(), second.tally.buckets[6]], [2, 8, {timeout: 1}, 1]);
  assert.strictEqual(reports.waiting, 1);
  reports.acknowledged();
  assert.strictEqual(reports.waiting, 0);
  assert.deepStrictEqual(reports.next(8).tally.countsOnWire(), {});
});

test('calls of an earlier phase, and those decided alone, go under an epoch that decides nothing', () => {
  const reports = new Reports();
  reports.add(outcomes.failure, 1, true);
  reports.age();
  reports.add(outcomes.failure, 1, false);
  reports.add(outcomes.success, 1, true);
  const batches = [];
  while (reports.waiting > 0) {
    const {epoch, tally} = reports.next(9);
    batches.push([epoch, tally.countsOnWire()]);
    reports.acknowledged();
  }
  assert.deepStrictEqual(batches, [[9, {success: 1}], [staleEpoch, {failure: 2}]]);
});

test('no batch has more calls than the server takes, and none is lost up to the bound; past it they are counted as dropped', () => {
  const reports = new Reports();
  const over = 1234;
  for (let i = 0; i < callsKeptMax + over; ++i) reports.add(i % 3 === 0 ? outcomes.failure : outcomes.success, 20, i % 2 === 0);
  assert.strictEqual(reports.dropped, over);
  let told = 0;
  let timed = 0;
  while (reports.waiting > 0) {
    const {tally} = reports.next(1);
    assert.ok(sum(tally.countsOnWire()) <= callsAReportMax && sum(tally.buckets) <= callsAReportMax);
    assert.strictEqual(sum(tally.countsOnWire()), tally.total);
    told += tally.total;
    timed += sum(tally.buckets);
    reports.acknowledged();
  }
  assert.deepStrictEqual([told, timed], [callsKeptMax, callsKeptMax]);
});

test('the rolling window sums its slices, and forgets them', () => {
  const rolling = new RollingWindow(1000, 10, true, 0);
  const call = (now, ms) => {
    const slice = rolling.at(now);
    ++slice.fires;
    rolling.took(slice, ms);
  };
  for (let i = 1; i <= 100; ++i) call(i * 9, i);
  let stats = rolling.stats(901);
  assert.deepStrictEqual([stats.fires, stats.latencyMean, stats.percentiles[0], stats.percentiles[0.5], stats.percentiles[0.99], stats.percentiles[1]],
    [100, 50.5, 1, 50, 99, 100]);
  stats = rolling.stats(1000);
  assert.strictEqual(stats.fires, 100 - 11);
  assert.strictEqual(rolling.slices(1000)[0].fires, 0);
  assert.strictEqual(rolling.stats(5000).fires, 0);
  assert.strictEqual(rolling.stats(5000).latencyMean, 0);
});

test('a slice keeps a bounded sample of latencies', () => {
  let seed = 1;
  const rolling = new RollingWindow(1000, 1, true, 0, () => (seed = seed * 48271 % 2147483647) / 2147483647);
  const slice = rolling.at(0);
  for (let i = 0; i < 100_000; ++i) rolling.took(slice, i % 100);
  const {latencyTimes, latencyMean} = rolling.stats(0);
  assert.strictEqual(latencyTimes.length, latencySamplesMax);
  assert.ok(Math.abs(latencyMean - 49.5) < 5, `${latencyMean}`);
});

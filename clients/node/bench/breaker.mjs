// What `fire()` costs in closed state: ours against opossum, the same action, in turns, medians of several rounds.
// usage: node bench/breaker.mjs [rounds=9] [fires=200000]      (needs `npm run build`, and the server's binary as the tests do)
import opossum from 'opossum';

import {PortcullisClient} from '../dist/esm/index.js';
import {breaker} from '../dist/esm/breaker/breaker.js';
import {TestServer} from '../test/support/server.mjs';

const rounds = Number(process.argv[2] ?? 9);
const fires = Number(process.argv[3] ?? 200_000);
const action = async (value) => value;

const server = await new TestServer().start();
const client = new PortcullisClient({address: server.address});
const made = [];
const ours = (options) => {
  const one = breaker(action, {client, service: 'bench', ...options});
  made.push(one);
  return one;
};
const theirs = (options) => {
  const one = new opossum(action, {...options});
  made.push(one);
  return one;
};
const contestants = [
  {what: 'the action alone', timeout: '-', fire: action},
  {what: 'opossum', timeout: 'off', of: theirs({timeout: false})},
  {what: 'ours', timeout: 'off', of: ours({timeout: false, name: 'off'})},
  {what: 'opossum', timeout: '10 s (default)', of: theirs({})},
  {what: 'ours', timeout: '10 s (default)', of: ours({name: 'on'})},
];
for (const each of contestants) {
  each.fire ??= (value) => each.of.fire(value);
  each.one = [];
  each.many = [];
}

/** ns a call: one after the other, and 100 at a time. As in an application the event loop turns in between. */
async function measure(fire, atOnce) {
  const began = process.hrtime.bigint();
  for (let done = 0; done < fires;) {
    for (let i = 0; i < 1000; i += atOnce, done += atOnce) {
      if (atOnce === 1) await fire(done);
      else await Promise.all(Array.from({length: atOnce}, () => fire(done)));
    }
    await new Promise(setImmediate);
  }
  return Number(process.hrtime.bigint() - began) / fires;
}

const median = (all) => [...all].sort((a, b) => a - b)[all.length >> 1];
for (let round = 0; round <= rounds; ++round) {
  for (const each of contestants) {
    const one = await measure(each.fire, 1);
    const many = await measure(each.fire, 100);
    if (round === 0) continue;  // warms up
    each.one.push(one);
    each.many.push(many);
  }
}

const ns = (value) => `${Math.round(value)} ns`;
console.log(`${rounds} rounds of ${fires} calls each, in turns; medians (lowest to highest). Node ${process.version}`);
console.log('| breaker | timeout | one at a time | 100 at a time |\n|---|---|---|---|');
const cell = (all) => `${ns(median(all))} (${Math.round(Math.min(...all))}-${Math.round(Math.max(...all))})`;
for (const {what, timeout, one, many} of contestants) console.log(`| ${what} | ${timeout} | ${cell(one)} | ${cell(many)} |`);
for (const at of [1, 3]) {
  const [other, own] = [contestants[at], contestants[at + 1]];
  console.log(`ours / opossum, timeout ${own.timeout}: ${(median(own.one) / median(other.one)).toFixed(2)} one at a time, ` +
    `${(median(own.many) / median(other.many)).toFixed(2)} at 100`);
}
await Promise.all(made.map((each) => each.shutdown()));
await client.close();
await server.stop();

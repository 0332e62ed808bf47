// Validations through this client against GETs of a session record through ioredis: one process a side, in turns, the same
// concurrency, one command a request, both over TCP on this machine, or both over Unix sockets.
// usage: node bench/client.mjs [--rounds N] [--seconds N] [--concurrency N] [--unix]
import {fork} from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';

import {redis, scratch, TestServer} from '../test/support/server.mjs';

const self = fileURLToPath(import.meta.url);
const sessions = 10_000;
const context = (i) => ({ip: `10.0.${(i >> 8) & 255}.${i & 255}`,
  userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0', acceptLanguage: 'en-GB,en;q=0.7,de;q=0.3'});
const data = {cart: [1, 2, 3], theme: 'dark', locale: 'en-GB', csrf: 'f2c1b6a0e7d94f0ab8'};
const median = (all) => [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)];

const sides = {
  /** Validations, each on a random session. */
  async portcullis({address, file}) {
    const {PortcullisClient} = await import('../dist/esm/index.js');
    const client = new PortcullisClient({address});
    const ids = JSON.parse(fs.readFileSync(file, 'utf8'));
    return {
      async once() {
        const i = Math.floor(Math.random() * ids.length);
        const answer = await client.sessions.validate({sessionId: ids[i], context: context(i)});
        if (!answer.valid) throw new Error(answer.reason);
      },
      close: () => client.close(),
    };
  },
  /** What a session store does at least: one GET and JSON.parse. */
  async ioredis({cache}) {
    const {Redis} = await import('ioredis');
    const client = new Redis(cache);
    return {
      async once() {
        const found = await client.get(`sess:${Math.floor(Math.random() * sessions)}`);
        if (JSON.parse(found).cart.length !== 3) throw new Error('not the record');
      },
      close: () => client.quit(),
    };
  },
};

/** Free a moment ago. */
const freePort = () => new Promise((found) => {
  const taker = net.createServer().listen(0, '127.0.0.1', () => {
    const {port} = taker.address();
    taker.close(() => found(port));
  });
});

/** Drives one side for a while: `concurrency` requests are always under way. */
async function drive({side, concurrency, seconds, ...where}) {
  const {once, close} = await sides[side](where);
  await Promise.all(Array.from({length: concurrency}, once));
  const latencies = [];
  let count = 0;
  const worker = async (end) => {
    while (performance.now() < end) {
      const begun = performance.now();
      await once();
      if (++count % 64 === 0) latencies.push(performance.now() - begun);
    }
  };
  const pass = async (length) => {
    count = 0;
    latencies.length = 0;
    const cpu = process.cpuUsage();
    const begun = performance.now();
    await Promise.all(Array.from({length: concurrency}, () => worker(begun + length)));
    const used = process.cpuUsage(cpu);
    return {rate: count / (performance.now() - begun) * 1000, cpu_us: (used.user + used.system) / count, p50: median(latencies)};
  };
  await pass(500);
  const result = await pass(seconds * 1000);
  await close();
  return result;
}

if (process.env.PORTCULLIS_BENCH_SIDE) {
  process.send(await drive(JSON.parse(process.env.PORTCULLIS_BENCH_SIDE)));
  process.disconnect();
} else {
  const {values} = parseArgs({options: {rounds: {type: 'string', default: '5'}, seconds: {type: 'string', default: '3'},
    concurrency: {type: 'string', default: '50'}, unix: {type: 'boolean', default: false}}});
  const concurrency = Number(values.concurrency);
  const seconds = Number(values.seconds);
  const socket = `${scratch()}/rpc.sock`;
  const server = new TestServer({config: `[listen.rpc_unix]\npath = "${socket}"\n`});
  await server.start();
  const port = await freePort();
  const cache = await redis(undefined, port);
  const {PortcullisClient} = await import('../dist/esm/index.js');
  const client = new PortcullisClient({address: server.address, timeoutMs: 60_000});
  const {Redis} = await import('ioredis');
  const store = new Redis({path: cache.socket});
  const made = [];
  for (let i = 0; i < sessions; i += 500) {
    made.push(...await Promise.all(Array.from({length: 500}, (_, k) =>
      client.sessions.create({tenantId: 'acme', userId: `user-${i + k}`, context: context(i + k), data}))));
  }
  await Promise.all(made.map((_, i) => store.set(`sess:${i}`, JSON.stringify({...data, user: `user-${i}`, ...context(i)}))));
  const file = `${scratch()}/ids.json`;
  fs.writeFileSync(file, JSON.stringify(made.map((each) => each.sessionId)));
  await client.close();
  await store.quit();

  const where = values.unix ? {address: `unix:${socket}`, cache: {path: cache.socket}, file} :
    {address: server.address, cache: {host: '127.0.0.1', port}, file};
  const measured = {portcullis: [], ioredis: []};
  for (let round = 0; round < Number(values.rounds); ++round) {
    for (const side of round % 2 ? ['ioredis', 'portcullis'] : ['portcullis', 'ioredis']) {
      measured[side].push(await new Promise((resolve, reject) => {
        const child = fork(self, {env: {...process.env, PORTCULLIS_BENCH_SIDE: JSON.stringify({side, concurrency, seconds, ...where})}});
        child.once('message', resolve);
        child.once('exit', (code) => { if (code) reject(new Error(`${side}: ${code}`)); });
      }));
    }
  }
  const ratios = measured.portcullis.map((each, i) => each.rate / measured.ioredis[i].rate);
  const row = (name, all) => `| ${name} | ${Math.round(median(all.map((each) => each.rate)))} | ` +
    `${median(all.map((each) => each.cpu_us)).toFixed(1)} | ${median(all.map((each) => each.p50)).toFixed(2)} |`;
  console.log(`concurrency ${concurrency}, ${values.unix ? 'Unix sockets' : 'TCP'}, ${values.rounds} rounds of ${seconds} s\n| side | requests/s | CPU us a request | p50 ms |\n|---|---|---|---|`);
  console.log(row('portcullis-client, session.validate', measured.portcullis));
  console.log(row('ioredis, GET + JSON.parse', measured.ioredis));
  console.log(`ratio: median ${median(ratios).toFixed(2)}x, ${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`);
  await server.kill9();
  cache.stop();
  process.exit(0);
}

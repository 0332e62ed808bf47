#!/usr/bin/env node
// Requests per second of one Express application: express-session with connect-redis, with our store, and with our guard where it is
// built. One run, in turns: each side's application process is pinned to one core, the stores and the load to another.
//
//   npm run build && node bench/sessions.mjs [--rounds 5] [--seconds 4] [--connections 50]
//
// Needs redis-server, taskset and an optimised server (PORTCULLIS_TEST_BINARY). Only ratios of one round count: the machine is shared.
import {execFileSync, fork, spawn} from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import readline from 'node:readline';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';

const self = fileURLToPath(import.meta.url);
const guardFile = new URL('../dist/esm/guard/express.js', import.meta.url);

/** What the application keeps: some 300 bytes, as a user with roles and a basket. */
const kept = {
  roles: ['editor', 'billing'], locale: 'en-GB', csrf: 'b2f7a9d6c1e84f03a5d2', basket: [{sku: 'A-1001', n: 2}, {sku: 'B-2002', n: 1}],
  seen: {news: '2026-01-01T00:00:00.000Z', terms: 7},
};
const userAgent = 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0';

// ---- the application, in a process of its own ----

async function application(kind, address) {
  const {default: express} = await import('express');
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  if (kind === 'guard') {
    const {default: routes} = await import('./sessions-guard.mjs');
    await routes(app, address, kept);
  } else {
    const {default: session} = await import('express-session');
    let store;
    if (kind === 'memory') {
      store = new session.MemoryStore();
    } else if (kind === 'redis') {
      const [{createClient}, {RedisStore}] = await Promise.all([import('redis'), import('connect-redis')]);
      store = new RedisStore({client: await createClient({socket: socketOf(address)}).connect()});
    } else {
      const {PortcullisClient} = await import('../dist/esm/index.js');
      const {PortcullisStore} = await import('../dist/esm/stores/express-session.js');
      store = new PortcullisStore({client: new PortcullisClient({address}), tenantId: 'bench'});
    }
    const sessions = session({store, secret: 'bench', resave: false, saveUninitialized: false, cookie: {maxAge: 600_000}});
    if (kind === 'portcullis-als') app.use(store.context());
    app.use(kind === 'portcullis' ? store.context(sessions) : sessions);
    app.get('/login', (req, res, next) => req.session.regenerate((error) => {
      if (error) return next(error);
      Object.assign(req.session, {userId: req.query.user, n: 0}, kept);
      return res.json({});
    }));
    app.get('/read', (req, res) => res.json({user: req.session.userId, n: req.session.n}));
    app.get('/write', (req, res) => res.json({user: req.session.userId, n: ++req.session.n}));
  }
  process.on('message', () => process.send({cpu: process.cpuUsage()}));
  const server = app.listen(0, '127.0.0.1', () => process.send({port: server.address().port}));
}

function socketOf(address) {
  const [host, port] = address.split(':');
  return {host, port: Number(port)};
}

// ---- the run ----

function pin(pid, core) { execFileSync('taskset', ['-a', '-c', '-p', String(core), String(pid)], {stdio: 'ignore'}); }

function start(kind, address, core, execArgv) {
  const child = fork(self, ['--serve', kind, '--address', address], {execArgv, env: {...process.env, NODE_ENV: 'benchmark'}});
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the application of ${kind} ended with ${code}`)));
    child.once('message', ({port}) => {
      pin(child.pid, core);
      resolve({kind, child, port});
    });
  });
}

function login(port, user) {
  return new Promise((resolve, reject) => {
    http.get({port, path: `/login?user=${user}`, agent: false, headers: {'user-agent': userAgent}}, (response) => {
      response.resume();
      response.on('end', () => {
        const cookie = response.headers['set-cookie']?.[0].split(';')[0];
        if (cookie === undefined) reject(new Error(`no cookie of ${user}: ${response.statusCode}`));
        else resolve(cookie);
      });
    }).on('error', reject);
  });
}

function get(port, path, cookie) {
  return new Promise((resolve, reject) => {
    http.get({port, path, agent: false, headers: {cookie, 'user-agent': userAgent}}, (response) => {
      let text = '';
      response.on('data', (chunk) => { text += chunk; });
      response.on('end', () => resolve(text));
    }).on('error', reject);
  });
}

/** Microseconds of processor that the application's process has used. */
function cpuOf({child}) {
  return new Promise((resolve) => {
    child.once('message', ({cpu}) => resolve(cpu.user + cpu.system));
    child.send('cpu');
  });
}

async function load(side, path, {connections, seconds}) {
  const {default: autocannon} = await import('autocannon');
  let next = 0;
  const before = await cpuOf(side);
  const result = await autocannon({url: `http://127.0.0.1:${side.port}${path}`, connections, duration: seconds,
    setupClient: (client) => client.setHeaders({cookie: side.cookies[next++ % side.cookies.length], 'user-agent': userAgent})});
  const used = await cpuOf(side) - before;
  if (result.non2xx > 0 || result.errors > 0) throw new Error(`${side.kind}: ${result.non2xx} answers that are not 2xx, ${result.errors} errors`);
  // The answers are what was asked for, not somebody's new session.
  const body = await get(side.port, path, side.cookies[0]);
  if (JSON.parse(body).user !== 'user-0') throw new Error(`${side.kind}: ${body}`);
  return {perSecond: result.requests.total / result.duration, cpu: used / result.requests.total};
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Over TCP, as Portcullis is asked; without persistence. */
async function startRedis(folder) {
  const port = await new Promise((resolve) => {
    const probe = net.createServer().listen(0, '127.0.0.1', () => {
      const free = probe.address().port;
      probe.close(() => resolve(free));
    });
  });
  const child = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder],
    {stdio: ['ignore', 'pipe', 'inherit']});
  await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`redis-server ended with ${code}`)));
    readline.createInterface({input: child.stdout}).on('line', (line) => { if (/ready to accept connections/i.test(line)) resolve(); });
  });
  return {child, address: `127.0.0.1:${port}`};
}

async function run({rounds, seconds, connections, profile}) {
  const {scratch, TestServer} = await import('../test/support/server.mjs');
  const [appCore, otherCore] = [0, 1];
  pin(process.pid, otherCore);  // the load, and whatever is started from here until it is pinned elsewhere
  const redisServer = await startRedis(scratch());
  const server = await new TestServer().start();
  const sides = [];
  try {
    const flags = (kind) => profile ? ['--cpu-prof', '--cpu-prof-dir', profile, '--cpu-prof-name', `${kind}.cpuprofile`] : [];
    sides.push(await start('redis', redisServer.address, appCore, flags('redis')));
    sides.push(await start('portcullis', server.address, appCore, flags('portcullis')));
    // No call to anybody: what Express and express-session cost by themselves, which no store can save.
    if (values.als) sides.push(await start('portcullis-als', server.address, appCore, flags('als')));
    sides.push(await start('memory', '', appCore, flags('memory')));
    if (fs.existsSync(guardFile) && fs.existsSync(new URL('./sessions-guard.mjs', import.meta.url))) {
      sides.push(await start('guard', server.address, appCore, flags('guard')));
    }
    for (const side of sides) side.cookies = await Promise.all(Array.from({length: connections}, (_, i) => login(side.port, `user-${i}`)));

    console.log(`node ${process.version}, ${rounds} rounds of ${seconds} s, ${connections} connections; requests/s\n`);
    console.log(`| | ${sides.map(({kind}) => kind).join(' | ')} | ratios of the rounds | median |\n|---|${'---|'.repeat(sides.length + 2)}`);
    for (const [name, path] of [['read the session', '/read'], ['change the session', '/write']]) {
      for (const side of sides) await load(side, path, {connections, seconds: 1});  // warm
      const found = new Map(sides.map(({kind}) => [kind, []]));
      for (let round = 0; round < rounds; ++round) {
        // Each side begins as often as it ends.
        for (const side of round % 2 ? [...sides].reverse() : sides) found.get(side.kind).push(await load(side, path, {connections, seconds}));
      }
      for (const [what, field, more] of [[`${name}: requests/s`, 'perSecond', 1], [`${name}: microseconds of CPU a request`, 'cpu', -1]]) {
        const of = (kind) => found.get(kind).map((each) => each[field]);
        const ratios = sides.slice(1).map(({kind}) => of(kind).map((value, i) => (value / of('redis')[i]) ** more));
        console.log(`| ${what} | ${sides.map(({kind}) => Math.round(median(of(kind)))).join(' | ')} | ` +
          `${ratios.map((each) => each.map((value) => value.toFixed(2)).join(' ')).join(' / ')} | ` +
          `${ratios.map((each) => `${median(each).toFixed(2)}x`).join(' / ')} |`);
      }
    }
  } finally {
    // Applications end before what they ask, which would be an error to them.
    await Promise.all(sides.map(({child}) => new Promise((resolve) => {
      child.removeAllListeners('exit').once('exit', resolve);
      child.kill('SIGINT');
    })));
    redisServer.child.kill('SIGKILL');
    await server.kill9();
  }
}

const {values} = parseArgs({options: {
  serve: {type: 'string'}, address: {type: 'string'}, rounds: {type: 'string', default: '5'}, seconds: {type: 'string', default: '4'},
  connections: {type: 'string', default: '50'}, profile: {type: 'string'}, als: {type: 'boolean'},
}});
if (values.serve !== undefined) {
  process.on('SIGINT', () => process.exit(0));  // writes the profile, where one is taken
  process.on('disconnect', () => process.exit(0));
  await application(values.serve, values.address);
} else {
  await run({rounds: Number(values.rounds), seconds: Number(values.seconds), connections: Number(values.connections), profile: values.profile});
}

// What only our store has: activity, lifetimes, a move from another store, contexts that must not leak, and wrong options.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import http from 'node:http';
import {createRequire} from 'node:module';
import {after, test} from 'node:test';
import v8 from 'node:v8';

import {RedisStore} from 'connect-redis';
import express from 'express';
import session from 'express-session';
import {createClient} from 'redis';

import {PortcullisClient} from '../dist/esm/index.js';
import {PortcullisStore} from '../dist/esm/stores/express-session.js';
import {PortcullisStore as FastifyStore} from '../dist/esm/stores/fastify-session.js';
import {redis, serve, TestServer} from './support/server.mjs';
import {gate, listen, raw, Visitor} from './support/stores.mjs';

const server = await new TestServer({
  config: '[session]\nidle_ttl_s = 900\n\n[tenant."short".session]\nidle_ttl_s = 2\ntouch_granularity_s = 1\n',
}).start();
const portcullis = new PortcullisClient({address: server.address});
after(async () => {
  await portcullis.close();
  server.kill9();
});

v8.setFlagsFromString('--expose-gc');
const cookie = {originalMaxAge: null};
const context = {ip: '198.51.100.7', userAgent: 'Firefox'};
const newSid = () => crypto.randomBytes(24).toString('base64url');
const storeOf = (options) => new PortcullisStore({client: portcullis, tenantId: crypto.randomUUID(), trustProxy: ['loopback'], ...options});
/** Runs as one request, or as another one. */
const inRequest = (store, work, where = context) => store.withContext(where, work);

/** A client that tells what it is asked. */
function spied(calls) {
  const sessions = {};
  for (const name of ['create', 'validate', 'update', 'revoke']) {
    sessions[name] = (params, options) => {
      calls.push({name, ...params});
      return portcullis.sessions[name](params, options);
    };
  }
  return {sessions};
}

function application(store, {options, routes, paths} = {}) {
  const app = express();
  const sessions = session({store, secret: 'secret', resave: false, saveUninitialized: false, ...options});
  if (paths) app.use(paths, store.context()).use(sessions);
  else app.use(store.context(sessions));
  app.get('/login', (req, res) => req.session.regenerate(() => {
    req.session.userId = 'ada';
    res.json({});
  }));
  routes?.(app);
  app.get(/.*/, (req, res) => res.json({userId: req.session.userId}));
  app.use((error, req, res, next) => res.status(error.status ?? 500).json({error: error.message, code: error.code}));
  return app;
}

test('requests that do not count as activity are validated without a touch, and not touched at their end', async (t) => {
  const calls = [];
  const store = storeOf({client: spied(calls), touch: (request) => !request.url.startsWith('/poll')});
  const visitor = new Visitor(await listen(t, application(store)));
  await visitor.get('/login');
  calls.length = 0;
  await visitor.get('/poll');
  await visitor.get('/page');
  assert.deepEqual(calls.map(({name, touch}) => [name, touch]), [['validate', false], ['validate', undefined]]);
});

test('a page that only polls lets its session end, with the server\'s own clock', async (t) => {
  const store = storeOf({tenantId: 'short', touch: (request) => request.url !== '/poll'});
  const visitor = new Visitor(await listen(t, application(store)));
  await visitor.get('/login');
  // Polling much faster than the idle time; were it activity, this would not end.
  let polls = 0;
  while ((await visitor.get('/poll')).userId === 'ada') {
    assert.ok(++polls < 200, 'the session outlived ten times its idle time');
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
  assert.ok(polls > 0);
});

test('touch tells again of activity that is older than half a minute, as at the end of a long response', async (t) => {
  const calls = [];
  const store = storeOf({client: spied(calls)});
  const sid = newSid();
  await inRequest(store, () => store.set(sid, {cookie}));
  await inRequest(store, async () => {
    await store.get(sid);
    await store.touch(sid, {cookie});
    const now = performance.now.bind(performance);
    t.mock.method(performance, 'now', () => now() + 31_000);
    await store.touch(sid, {cookie});
  });
  assert.deepEqual(calls.map(({name}) => name), ['create', 'validate', 'validate']);
});

test('touch of a session that ended meanwhile is no error', async () => {
  const store = storeOf();
  const sid = newSid();
  await inRequest(store, () => store.set(sid, {cookie}));
  await store.destroy(sid);
  await inRequest(store, () => store.touch(sid, {cookie}));
});

test('a cookie\'s maxAge is the session\'s idle time, up to the policy\'s; the limit is asked for once', async () => {
  const calls = [];
  const tenantId = crypto.randomUUID();
  const store = storeOf({client: spied(calls), tenantId});
  const living = async (userId, maxAge) => {
    await inRequest(store, () => store.set(newSid(), {userId, cookie: {originalMaxAge: maxAge, expires: new Date(Date.now() + maxAge)}}));
    const {sessions: [found]} = await portcullis.sessions.list({tenantId, userId});
    return Math.round((found.expiresAtMs - found.createdAtMs) / 1000);
  };
  assert.equal(await living('short', 60_000), 60);
  assert.equal(await living('long', 86_400_000), 900);
  assert.equal(calls.length, 3);
  assert.equal(await living('longer', 864_000_000), 900);
  assert.equal(calls.length, 4);
});

test('idleTtlS and absoluteTtlS shorten, and longer ones than the policy\'s are the policy\'s', async () => {
  const tenantId = crypto.randomUUID();
  const life = async (options) => {
    const store = storeOf({tenantId, ...options});
    const userId = crypto.randomUUID();
    await inRequest(store, () => store.set(newSid(), {userId, cookie}));
    const {sessions: [found]} = await portcullis.sessions.list({tenantId, userId});
    return Math.round((found.expiresAtMs - found.createdAtMs) / 1000);
  };
  assert.equal(await life({idleTtlS: 30}), 30);
  assert.equal(await life({absoluteTtlS: 20}), 20);
  assert.equal(await life({idleTtlS: 1_000_000, absoluteTtlS: 10_000_000}), 900);
});

test('a set outside of any request that read the session is judged as one: user, binding and end count', async () => {
  const store = storeOf({denials: {ip_mismatch: 'absent'}});
  const sid = newSid();
  await inRequest(store, () => store.set(sid, {userId: 'ada', n: 1, cookie}));
  await inRequest(store, () => store.set(sid, {userId: 'ada', n: 2, cookie}));
  await assert.rejects(inRequest(store, () => store.set(sid, {userId: 'eve', cookie})), /regenerate/);
  await assert.rejects(inRequest(store, () => store.set(sid, {userId: 'ada', n: 3, cookie}), {...context, ip: '203.0.113.66'}),
    {code: 'SESSION_IP_MISMATCH', status: 401});
  assert.equal((await inRequest(store, () => store.get(sid))).n, 2);
  await store.destroy(sid);
  const dropped = [];
  store.on('dropped', ({reason}) => dropped.push(reason));
  await inRequest(store, () => store.set(sid, {userId: 'ada', n: 4, cookie}));
  assert.deepEqual(dropped, ['revoked']);
  assert.equal(await inRequest(store, () => store.get(sid)), null);
});

test('a session that has no cookie of a framework gets one', async () => {
  const tenantId = crypto.randomUUID();
  const store = storeOf({tenantId});
  const sid = newSid();
  await portcullis.sessions.create({tenantId, userId: 'ada', context, alias: sid});
  assert.deepEqual(await inRequest(store, () => store.get(sid)), {cookie: {originalMaxAge: null}});
});

test('ids that no alias can have are absent, and nobody is asked', async () => {
  const calls = [];
  const store = storeOf({client: spied(calls)});
  assert.equal(await inRequest(store, () => store.get('short')), null);
  assert.equal(await inRequest(store, () => store.get('x'.repeat(257))), null);
  await store.destroy('short');
  assert.deepEqual(calls, []);
});

test('what is wrong between the application and the server is 500, not the visitor\'s 401', async (t) => {
  const locked = await serve(t, {auth: 'token'});
  const client = new PortcullisClient({address: locked.address, timeoutMs: 500});
  t.after(() => client.close());
  const store = storeOf({client});
  await assert.rejects(inRequest(store, () => store.get(newSid())), {code: 'AUTH_REQUIRED', status: 500});
});

test('only a path with the middleware has a context: a later request of the same connection cannot use an earlier one\'s', async (t) => {
  const store = storeOf();
  const app = application(store, {paths: ['/login', '/with']});
  const port = await listen(t, app);
  const visitor = new Visitor(port);
  await visitor.get('/login');
  const ask = (path, more = '') => `GET ${path} HTTP/1.1\r\nHost: x\r\nUser-Agent: Firefox\r\nX-Forwarded-For: ${visitor.ip}\r\n` +
    `Cookie: connect.sid=${visitor.cookies['connect.sid']}\r\n${more}\r\n`;
  const bodies = (answer) => answer.match(/\{"(?:userId|error)":.*?\}(?=HTTP|$)/gs).map((body) => JSON.parse(body));
  const pipelined = bodies(await raw(port, ask('/with') + ask('/without') + ask('/with') + ask('/without', 'Connection: close\r\n')));
  assert.equal(pipelined.length, 4);
  for (const [i, body] of pipelined.entries()) {
    if (i % 2 === 0) assert.equal(body.userId, 'ada');
    else assert.match(body.error, /app\.use\(store\.context\(session/);
  }

  const agent = new http.Agent({keepAlive: true, maxSockets: 1});
  t.after(() => agent.destroy());
  for (const path of ['/with', '/without', '/without']) {
    const body = await new Promise((resolve, reject) => {
      http.get({port, path, agent, headers: visitor.headers()}, (response) => {
        let text = '';
        response.on('data', (chunk) => { text += chunk; });
        response.on('end', () => resolve(JSON.parse(text)));
      }).on('error', reject);
    });
    if (path === '/with') assert.equal(body.userId, 'ada');
    else assert.match(body.error, /app\.use\(store\.context\(session/);
  }
});

/** Lets one request in at a time, the next one from within the one before: as queues of requests do. */
function queue() {
  const waiting = [];
  let busy = false;
  return (req, res, next) => {
    const enter = () => {
      busy = true;
      res.once('finish', () => {
        busy = false;
        waiting.shift()?.();
      });
      next();
    };
    if (busy) waiting.push(enter);
    else enter();
  };
}

test('a request that a queue lets in from within another one is never validated as that one', async (t) => {
  const tenantId = crypto.randomUUID();
  const secret = {secret: 'secret', resave: false, saveUninitialized: false};
  const found = {};
  for (const form of ['before', 'before, on other paths', 'around']) {
    const store = storeOf({tenantId});
    const app = express();
    const sessions = session({...secret, store});
    const arrived = [gate(), gate()];
    const leave = gate();
    app.get('/login', store.context(sessions), (req, res) => {
      req.session.userId = 'ada';
      res.json({});
    });
    // What the first request goes on with at its end is the second one: the queue's listener is there before the store's.
    if (form === 'before') app.use(store.context(), queue(), (req, res, next) => { arrived[0].open(); next(); }, sessions);
    else if (form === 'around') app.use(queue(), (req, res, next) => { arrived[0].open(); next(); }, store.context(sessions));
    else app.use('/first', store.context()).use(queue(), (req, res, next) => { arrived[0].open(); next(); }, sessions);
    app.get('/first', async (req, res) => {
      await leave.opened;
      res.json({userId: req.session.userId});
    });
    app.get('/second', (req, res) => res.json({userId: req.session.userId ?? 'nobody'}));
    app.use((error, req, res, next) => res.json({error: error.message}));
    const port = await listen(t, (req, res) => {
      if (req.url === '/second') setImmediate(() => arrived[1].open());
      app(req, res);
    });
    const visitor = new Visitor(port);
    await visitor.get('/login');
    const first = visitor.copy().get('/first');
    await arrived[0].opened;
    const second = visitor.copy({ip: '203.0.113.66'}).get('/second');
    await arrived[1].opened;
    leave.open();
    assert.equal((await first).userId, 'ada');
    const answer = await second;
    found[form] = answer.userId ?? /store\.context\(session/.exec(answer.error)?.[0];
  }
  assert.deepEqual(found, {before: 'store.context(session', 'before, on other paths': 'store.context(session', around: 'nobody'});
});

test('what a request wanted destroyed it does not save, also where the server could not be told', async () => {
  const calls = [];
  const client = spied(calls);
  client.sessions.revoke = async () => { throw new Error('away'); };
  const store = storeOf({client});
  const sid = newSid();
  await inRequest(store, () => store.set(sid, {cookie}));
  await inRequest(store, async () => {
    await store.get(sid);
    await assert.rejects(store.destroy(sid), /away/);
    await store.set(sid, {n: 1, cookie});
  });
  assert.deepEqual(calls.map(({name}) => name), ['create', 'validate']);
});

test('a WebSocket\'s upgrade has no response that ends: its messages may reload the session, and see that it was revoked', async (t) => {
  const tenantId = crypto.randomUUID();
  const store = storeOf({tenantId});
  const app = application(store);
  const middleware = store.context(session({store, secret: 'secret', resave: false, saveUninitialized: false}));
  const upgraded = gate();
  let request;
  const port = await new Promise((resolve) => {
    const web = http.createServer(app).listen(0, '127.0.0.1', () => resolve(web.address().port));
    web.on('upgrade', (req, socket) => {
      middleware(req, {}, () => {
        request = req;
        upgraded.open();
        socket.destroy();
      });
    });
    t.after(() => new Promise((done) => { web.close(done); web.closeAllConnections(); }));
  });
  const visitor = new Visitor(port);
  await visitor.get('/login');
  http.get({port, headers: {...visitor.headers(), connection: 'upgrade', upgrade: 'websocket'}}).on('error', () => {});
  await upgraded.opened;
  assert.equal(request.session.userId, 'ada');
  const reload = () => new Promise((resolve) => { request.session.reload((error) => resolve(error?.message ?? request.session.userId)); });
  assert.equal(await reload(), 'ada');
  await portcullis.sessions.revokeUser({tenantId, userId: 'ada'});
  assert.equal(await reload(), 'failed to load session');
});

test('sessions move from connect-redis at their first request, once, and are gone there', async (t) => {
  const server = await redis(t);
  const client = await createClient({socket: {path: server.socket}}).connect();
  t.after(() => client.destroy());
  const old = new RedisStore({client});
  const options = {resave: false, saveUninitialized: false, secret: 'secret'};
  const before = express();
  before.use(session({...options, store: old}));
  before.get('/login', (req, res) => {
    req.session.userId = 'ada';
    req.session.cart = [1, 2];
    res.json({});
  });
  const visitor = new Visitor(await listen(t, before));
  await visitor.get('/login');

  const tenantId = crypto.randomUUID();
  const store = storeOf({tenantId, migrateFrom: old});
  const port = await listen(t, application(store, {routes: (app) => app.get('/cart', (req, res) => res.json({...req.session, cookie: undefined}))}));
  const moved = visitor.copy({port});
  // A page that loads: many requests at once, none of which may lose the session.
  const found = await Promise.all(Array.from({length: 10}, () => moved.copy().get('/cart')));
  for (const each of found) assert.deepEqual(each, {userId: 'ada', cart: [1, 2]});
  assert.equal(store.stats().migrated, 1);
  assert.deepEqual(await old.all(), []);
  assert.equal((await portcullis.sessions.list({tenantId, userId: 'ada'})).sessions.length, 1);
  assert.deepEqual(await moved.copy({ip: '203.0.113.66'}).get('/cart'), {});

  // One that ended here is not brought back by a copy that was left there.
  await portcullis.sessions.revokeUser({tenantId, userId: 'ada'});
  const [, sid] = /^s:([^.]+)/.exec(decodeURIComponent(visitor.cookies['connect.sid']));
  await old.set(sid, {userId: 'ada', cookie});
  assert.deepEqual(await moved.copy().get('/cart'), {});
});

test('a move whose old store cannot be asked is an error, not a logout', async () => {
  const failure = new Error('the old store is away');
  const store = storeOf({migrateFrom: {get: (sid, callback) => callback(failure), destroy: (sid, callback) => callback()}});
  await assert.rejects(inRequest(store, () => store.get(newSid())), failure);
});

test('of a move that another request makes meanwhile the second look finds the session', async () => {
  const tenantId = crypto.randomUUID();
  const plain = storeOf({tenantId});
  const sid = newSid();
  const old = {
    get: (_, callback) => { void inRequest(plain, () => plain.set(sid, {n: 1, cookie})).then(() => callback(null, null)); },
    destroy: (_, callback) => callback(),
  };
  const store = storeOf({tenantId, migrateFrom: old});
  assert.equal((await inRequest(store, () => store.get(sid))).n, 1);
});

test('a session that is over in the old store is not moved', async () => {
  const destroyed = [];
  const old = {
    get: (_, callback) => callback(null, {n: 1, cookie: {originalMaxAge: 1000, expires: new Date(Date.now() - 1000).toISOString()}}),
    destroy: (sid, callback) => { destroyed.push(sid); callback(); },
  };
  const store = storeOf({migrateFrom: old});
  assert.equal(await inRequest(store, () => store.get(newSid())), null);
  assert.equal(store.stats().created, 0);
});

test('options that cannot be are refused by their name', () => {
  for (const Store of [PortcullisStore, FastifyStore]) {
    const made = (options) => () => new Store({client: portcullis, tenantId: 'acme', ...options});
    assert.throws(made({client: undefined}), /^TypeError: client/);
    assert.throws(made({tenantId: ''}), /^TypeError: tenantId/);
    assert.throws(made({tenantId: 'x'.repeat(129)}), /^RangeError: tenantId/);
    assert.throws(made({dataBytesMax: 60_000}), /^RangeError: dataBytesMax/);
    assert.throws(made({idleTtlS: 0}), /^RangeError: idleTtlS/);
    assert.throws(made({absoluteTtlS: 1.5}), /^RangeError: absoluteTtlS/);
    assert.throws(made({concurrentSaves: 'merge'}), /^TypeError: concurrentSaves/);
    assert.throws(made({denials: {expired: 'error'}}), /^TypeError: denials/);
    assert.throws(made({denials: {ip_mismatch: 'logout'}}), /^TypeError: denials\.ip_mismatch/);
    assert.throws(made({trustProxy: ['everybody']}), /^TypeError: trustProxy/);
    assert.throws(made({fields: ['cookie']}), /^TypeError: fields/);
    assert.throws(() => new Store(), /^TypeError: client/);
  }
  assert.throws(() => storeOf({onUserChange: 'ignore'}), /^TypeError: onUserChange/);
});

test('both forms of the package have the stores', () => {
  const require = createRequire(import.meta.url);
  const {PortcullisStore: Common} = require('portcullis-client/express-session');
  const {PortcullisStore: CommonFastify} = require('portcullis-client/fastify-session');
  assert.ok(new Common({client: portcullis, tenantId: 'acme'}) instanceof session.Store);
  assert.equal(typeof new CommonFastify({client: portcullis, tenantId: 'acme'}).context(), 'function');
});

test('a store holds nothing of the requests that are over', async (t) => {
  const store = storeOf();
  const port = await listen(t, application(store, {paths: ['/login', '/page']}));
  const visitor = new Visitor(port);
  await visitor.get('/login');
  const collect = new Promise((resolve) => {
    const registry = new FinalizationRegistry(resolve);
    const {createSession} = store;
    store.createSession = function(request, data) {
      registry.register(request, 'collected');
      return createSession.call(this, request, data);
    };
  });
  await visitor.get('/page');
  globalThis.gc ??= (await import('node:vm')).runInNewContext('gc');
  let seen;
  void collect.then((value) => { seen = value; });
  for (let i = 0; i < 100 && seen === undefined; ++i) {
    await new Promise((resolve) => { setImmediate(resolve); });
    globalThis.gc();
  }
  assert.equal(seen, 'collected');
});

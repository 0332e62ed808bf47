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

/** The data of a session whose cookie lives for `maxAge` ms from now. */
const aged = (maxAge, data) => ({...data, cookie: {originalMaxAge: maxAge, expires: new Date(Date.now() + maxAge)}});

test('a session is its cookie\'s: activity renews it in steps, without it is ended at the server', async (t) => {
  t.mock.timers.enable({apis: ['Date'], now: Date.now()});
  const calls = [];
  const tenantId = crypto.randomUUID();
  const store = storeOf({client: spied(calls), tenantId});
  const sid = newSid();
  const visit = (maxAge = 60_000) => inRequest(store, async () => {
    const found = await store.get(sid);
    if (found) await store.touch(sid, aged(maxAge, found));
    return found?.n;
  });
  await inRequest(store, () => store.set(sid, aged(60_000, {userId: 'ada', n: 1})));
  const {sessions: [found]} = await portcullis.sessions.list({tenantId, userId: 'ada'});
  assert.equal(Math.round((found.expiresAtMs - found.createdAtMs) / 1000), 900);
  calls.length = 0;
  for (let i = 0; i < 5; ++i) {
    t.mock.timers.tick(5000);
    assert.equal(await visit(), 1);
  }
  assert.deepEqual(calls.map(({name}) => name), ['validate', 'validate', 'update', 'validate', 'validate', 'update', 'validate']);
  for (let i = 0; i < 4; ++i) {
    t.mock.timers.tick(40_000);
    assert.equal(await visit(), 1);
  }
  t.mock.timers.tick(1000);
  assert.equal(await visit(5000), 1);  // shortened, and nothing else
  t.mock.timers.tick(5000);
  assert.equal(await visit(), undefined);
  assert.deepEqual((await portcullis.sessions.list({tenantId, userId: 'ada'})).sessions, []);
});

test('a renewed lifetime overwrites no other request\'s data, and is no conflict for one that changes them', async (t) => {
  t.mock.timers.enable({apis: ['Date'], now: Date.now()});
  const store = storeOf({concurrentSaves: 'error'});
  const sid = newSid();
  await inRequest(store, () => store.set(sid, aged(60_000, {userId: 'ada', n: 1})));
  t.mock.timers.tick(30_000);
  await inRequest(store, async () => {
    const reader = await store.get(sid);
    await inRequest(store, async () => {
      const writer = await store.get(sid);
      await inRequest(store, async () => { await store.touch(sid, aged(60_000, await store.get(sid))); });
      await store.set(sid, aged(60_000, {...writer, n: 2}));
    });
    await store.touch(sid, aged(60_000, reader));
    await assert.rejects(store.set(sid, aged(60_000, {...reader, n: 3})), {code: 'SESSION_VERSION_CONFLICT', status: 409});
    await assert.rejects(store.set(sid, aged(60_000, {...reader, n: 3})), {code: 'SESSION_VERSION_CONFLICT', status: 409});
  });
  assert.equal((await inRequest(store, () => store.get(sid))).n, 2);
});

test('the policy\'s limit is asked for once', async () => {
  const calls = [];
  const store = storeOf({client: spied(calls), idleTtlS: 86_400});
  await inRequest(store, () => store.set(newSid(), {cookie}));
  assert.equal(calls.length, 2);
  await inRequest(store, () => store.set(newSid(), {cookie}));
  assert.equal(calls.length, 3);
});

test('where the framework saves at each request, one that is not to count as activity is not saved, unless it changed something', async (t) => {
  const calls = [];
  const store = storeOf({client: spied(calls), touch: (request) => !request.url.startsWith('/poll')});
  const visitor = new Visitor(await listen(t, application(store, {options: {resave: true, rolling: true, cookie: {maxAge: 60_000}},
    routes: (app) => app.get('/poll/set', (req, res) => {
      req.session.n = 1;
      res.json({});
    })})));
  await visitor.get('/login');
  const asked = async (path) => {
    calls.length = 0;
    await visitor.get(path);
    return calls.map(({name, touch}) => [name, touch]);
  };
  assert.deepEqual(await asked('/poll'), [['validate', false]]);
  assert.deepEqual(await asked('/poll/set'), [['validate', false], ['update', undefined]]);
  assert.deepEqual(await asked('/page'), [['validate', undefined], ['update', undefined]]);
});

test('withContext holds also in a handler that runs within the middleware', async (t) => {
  const store = storeOf();
  let sid;
  const visitor = new Visitor(await listen(t, application(store, {routes: (app) => {
    app.get('/id', (req, res) => res.json({id: req.sessionID}));
    app.get('/operator', async (req, res) => {
      const found = await store.withContext({ip: visitor.ip, userAgent: visitor.userAgent}, () => store.get(sid));
      res.json({userId: found?.userId});
    });
  }})));
  await visitor.get('/login');
  sid = (await visitor.get('/id')).id;
  assert.deepEqual(await new Visitor(visitor.port, {ip: '192.0.2.50', userAgent: 'Operator'}).get('/operator'), {userId: 'ada'});
  assert.equal(store.stats().denied, 0);
});

test('a get waits for what its own request saves', async () => {
  const sent = gate();
  const client = spied([]);
  const {update} = client.sessions;
  client.sessions.update = async (...values) => {
    await sent.opened;
    return update(...values);
  };
  const store = storeOf({client});
  const sid = newSid();
  await inRequest(store, () => store.set(sid, {n: 1, cookie}));
  await inRequest(store, async () => {
    await store.get(sid);
    const saved = store.set(sid, {n: 2, cookie});
    const found = store.get(sid);
    // All that a validation of its own would take.
    await inRequest(store, () => store.get(sid));
    sent.open();
    await saved;
    assert.equal((await found).n, 2);
  });
});

test('a request\'s old id leads to the one that took its place, in get, set, touch and destroy', async (t) => {
  const calls = [];
  const store = storeOf({client: spied(calls), onUserChange: 'reissue'});
  const asked = [];
  const visitor = new Visitor(await listen(t, application(store, {routes: (app) => {
    app.get('/set', (req, res) => {
      req.session.n = 1;
      res.json({});
    });
    app.get('/up', async (req, res) => {
      const old = req.sessionID;
      req.session.userId = 'ada';
      await new Promise((resolve) => { req.session.save(resolve); });
      const own = req.session;
      calls.length = 0;
      const now = performance.now.bind(performance);
      const moved = t.mock.method(performance, 'now', () => now() + 31_000);
      await store.touch(old, own);
      moved.mock.restore();
      await new Promise((resolve) => { own.reload(resolve); });
      await store.set(old, own);
      await new Promise((resolve) => { own.destroy(resolve); });
      asked.push(...calls.map(({name, alias}) => [name, alias === req.sessionID && alias !== old]));
      res.json({});
    });
  }})));
  await visitor.get('/set');
  await visitor.get('/up');
  assert.deepEqual(asked, [['validate', true], ['validate', true], ['update', true], ['revoke', true]]);
});

test('a session that its request destroyed is not asked for by touch', async () => {
  const calls = [];
  const store = storeOf({client: spied(calls)});
  const sid = newSid();
  await inRequest(store, async () => {
    await store.set(sid, {cookie});
    await store.destroy(sid);
    await store.touch(sid, {cookie});
  });
  assert.deepEqual(calls.map(({name}) => name), ['create', 'revoke']);
});

test('a login that the store does not see is warned of, once, and never where userOf is given', async (t) => {
  const warnings = [];
  const hear = (warning) => { if (warning.code === 'PORTCULLIS_SESSION_USER') warnings.push(warning.message); };
  process.on('warning', hear);
  t.after(() => process.off('warning', hear));
  const save = (store, data) => inRequest(store, () => store.set(newSid(), {...data, cookie}));
  const store = storeOf();
  await save(store, {cart: [1], account: null, csrf: 'x', profiles: 2});
  await save(store, {userId: 'ada', account: {id: 7}});
  await save(storeOf({userOf: () => undefined}), {account: {id: 7}});
  await save(store, {account: {id: 7}});
  await save(store, {user_name: 'ada'});
  await save(storeOf(), {user_name: 'ada'});
  await new Promise((resolve) => { setImmediate(resolve); });
  assert.equal(warnings.length, 2);
  assert.match(warnings[0], /"account".*userOf/);
  assert.match(warnings[1], /"user_name".*userOf/);
});

test('a request whose client is gone before it is looked at is no error of the application', async (t) => {
  const store = storeOf();
  const errors = [];
  const entered = [];
  const app = express();
  const looked = gate();
  app.use((req, res, next) => {
    if (req.url === '/gone') req.socket.destroy();
    next();
    if (req.url === '/gone') setImmediate(looked.open);
  });
  app.use(store.context(session({store, secret: 'secret', resave: false, saveUninitialized: false})));
  app.use((req, res) => {
    entered.push(req.url);
    res.json({});
  });
  app.use((error, req, res, next) => {
    errors.push(error);
    res.status(500).json({});
  });
  const visitor = new Visitor(await listen(t, app));
  await assert.rejects(visitor.send('/gone'));
  await looked.opened;
  await visitor.get('/here');
  assert.deepEqual([errors, entered], [[], ['/here']]);
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

test('the same where the queue lets in at the very end of a response, before that was sent', async (t) => {
  const store = storeOf();
  const app = express();
  const arrived = [gate(), gate()];
  const leave = gate();
  const ends = [];
  let waiting;
  const sessions = session({store, secret: 'secret', resave: false, saveUninitialized: false});
  app.get('/login', store.context(sessions), (req, res) => {
    req.session.userId = 'ada';
    res.json({});
  });
  app.use('/first', store.context());
  app.use((req, res, next) => {
    if (req.url === '/second') {
      waiting = next;
      arrived[1].open();
      return;
    }
    const {end} = res;
    let finished = false;
    res.once('finish', () => { finished = true; });
    res.end = (...values) => {
      end.apply(res, values);
      ends.push(res.writableEnded, finished);
      waiting();
    };
    next();
  }, sessions);
  app.get('/first', async (req, res) => {
    arrived[0].open();
    await leave.opened;
    res.json({userId: req.session.userId});
  });
  app.get('/second', (req, res) => res.json({userId: req.session.userId ?? 'nobody'}));
  app.use((error, req, res, next) => res.json({error: error.message}));
  const visitor = new Visitor(await listen(t, app));
  await visitor.get('/login');
  const first = visitor.copy().get('/first');
  await arrived[0].opened;
  const second = visitor.copy({ip: '203.0.113.66'}).get('/second');
  await arrived[1].opened;
  leave.open();
  assert.equal((await first).userId, 'ada');
  assert.match((await second).error, /store\.context\(session/);
  assert.deepEqual(ends, [true, false]);
});

test('where repeated mistakes collapse, as README advises for users who move, a page on another network locks nobody out', async (t) => {
  const found = {};
  for (const seconds of [900, 0]) {
    const {address} = await serve(t, {config: `[lockout]\nrepeat_collapse_s = ${seconds}\n`});
    const client = new PortcullisClient({address});
    t.after(() => client.close());
    const visitor = new Visitor(await listen(t, application(storeOf({client}))));
    await visitor.get('/login');
    const moved = visitor.copy({ip: '203.0.113.66'});
    for (let i = 0; i < 15; ++i) await moved.get('/page');
    const {status, json} = await visitor.send('/page');
    found[seconds > 0 ? 'collapsed' : 'each counts'] = [status, json.userId];
  }
  assert.deepEqual(found, {collapsed: [200, 'ada'], 'each counts': [429, undefined]});
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

/** A store in memory, with faults. */
function oldStore(sessions) {
  const old = {
    sessions,
    destroyed: 0,
    get: (sid, callback) => callback(old.broken?.get, old.sessions[sid] && structuredClone(old.sessions[sid])),
    destroy: (sid, callback) => {
      ++old.destroyed;
      if (old.broken?.destroy) return callback(old.broken.destroy);
      delete old.sessions[sid];
      return callback();
    },
  };
  return old;
}

test('a session that is over in the old store is not moved', async () => {
  const sid = newSid();
  const old = oldStore({[sid]: {n: 1, cookie: {originalMaxAge: null, expires: new Date(Date.now() - 1000).toISOString()}}});
  const store = storeOf({migrateFrom: old});
  assert.equal(await inRequest(store, () => store.get(sid)), null);
  assert.equal(store.stats().created, 0);
});

test('one that the old store kept alive is moved, however old the end is that its cookie has', async () => {
  const sid = newSid();
  const old = oldStore({[sid]: {n: 1, cookie: {originalMaxAge: 60_000, expires: new Date(Date.now() - 1000).toISOString()}}});
  const store = storeOf({migrateFrom: old});
  assert.equal((await inRequest(store, () => store.get(sid))).n, 1);
  const {cookie: {expires}} = await inRequest(store, () => store.get(sid));
  assert.ok(Date.parse(expires) > Date.now());
});

test('destroy ends a session that has not moved yet, in the old store too', async () => {
  const sid = newSid();
  const old = oldStore({[sid]: {userId: 'ada', cookie}});
  const store = storeOf({migrateFrom: old});
  await store.destroy(sid);
  assert.deepEqual(old.sessions, {});
  assert.equal(await inRequest(store, () => store.get(sid)), null);
  assert.equal(store.stats().migrated, 0);
  // A request that had read it there before.
  old.sessions[sid] = {userId: 'ada', cookie};
  assert.equal(await inRequest(store, () => store.get(sid)), null);
});

test('destroy is done also where the old store cannot be asked or written to, and is told', async () => {
  for (const method of ['get', 'destroy']) {
    const sid = newSid();
    const old = oldStore({[sid]: {userId: 'ada', cookie}});
    const store = storeOf({migrateFrom: old});
    const failures = [];
    store.on('failed', ({what, error}) => failures.push([what, error.message]));
    const failure = new Error('away');
    old.broken = {[method]: failure, destroy: failure};
    await store.destroy(sid);
    assert.deepEqual(failures, [['migrate_destroy', 'away']]);
    assert.equal(old.destroyed, 3);
    old.broken = undefined;
    assert.equal(await inRequest(store, () => store.get(sid)), null);
    assert.deepEqual([old.sessions, store.stats().migrated], [{}, 0]);
  }
});

test('destroy of a session that has moved takes a copy with it that another process left in the old store', async () => {
  const sid = newSid();
  const tenantId = crypto.randomUUID();
  const old = oldStore({[sid]: {userId: 'ada', cookie}});
  old.broken = {destroy: new Error('away')};
  const other = storeOf({tenantId, migrateFrom: old});
  assert.equal((await inRequest(other, () => other.get(sid))).userId, 'ada');
  old.broken = undefined;
  const store = storeOf({tenantId, migrateFrom: old});
  await inRequest(store, async () => {
    assert.equal((await store.get(sid)).userId, 'ada');
    await store.destroy(sid);
  });
  assert.deepEqual(old.sessions, {});
});

test('a move that cannot destroy the old copy goes on, tells, and tries again', async (t) => {
  const sid = newSid();
  const old = oldStore({[sid]: {userId: 'ada', cookie}});
  old.broken = {destroy: new Error('read only')};
  const store = storeOf({migrateFrom: old});
  const failures = [];
  store.on('failed', ({what, error}) => failures.push([what, error.message]));
  const visit = () => inRequest(store, () => store.get(sid));
  assert.equal((await visit()).userId, 'ada');
  assert.deepEqual(failures, [['migrate_destroy', 'read only']]);
  assert.equal((await visit()).userId, 'ada');
  assert.equal(failures.length, 2);
  old.broken = undefined;
  assert.equal((await visit()).userId, 'ada');
  assert.deepEqual([old.sessions, store.stats().migrated, failures.length], [{}, 1, 2]);
});

test('a session that is too large to be moved is absent, and told', async () => {
  const sid = newSid();
  const old = oldStore({[sid]: {userId: 'ada', big: 'x'.repeat(20_000), cookie}});
  const store = storeOf({migrateFrom: old});
  const failures = [];
  store.on('failed', ({what, error}) => failures.push([what, error.code]));
  assert.equal(await inRequest(store, () => store.get(sid)), null);
  assert.deepEqual(failures, [['migrate', 'DATA_TOO_LARGE']]);
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

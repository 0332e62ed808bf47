// @fastify/session on its MemoryStore, on connect-redis and on ours: the same table as for express-session, as far as it applies.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import {EventEmitterAsyncResource, once} from 'node:events';
import http from 'node:http';
import {after, test} from 'node:test';

import fastifyCookie from '@fastify/cookie';
import fastifySession from '@fastify/session';
import {RedisStore} from 'connect-redis';
import express from 'express';
import session from 'express-session';
import Fastify from 'fastify';
import {createClient} from 'redis';

import {PortcullisClient} from '../dist/esm/index.js';
import {PortcullisStore as ExpressStore} from '../dist/esm/stores/express-session.js';
import {PortcullisStore} from '../dist/esm/stores/fastify-session.js';
import {redis, TestServer} from './support/server.mjs';
import {gate, listen, raw, sign, Visitor} from './support/stores.mjs';

const server = await new TestServer().start();
const redisServer = await redis();
const redisClient = await createClient({socket: {path: redisServer.socket}}).connect();
const portcullis = new PortcullisClient({address: server.address});
after(async () => {
  redisClient.destroy();
  redisServer.stop();
  await portcullis.close();
  server.kill9();
});

const secret = 'a secret of at least thirty-two characters';
const stores = {
  memory: () => ({store: new fastifySession.MemoryStore()}),
  redis: () => ({store: new RedisStore({client: redisClient, prefix: `${crypto.randomUUID()}:`})}),
  portcullis(options) {
    const tenantId = crypto.randomUUID();
    return {store: new PortcullisStore({client: portcullis, tenantId, trustProxy: ['loopback'], ...options}), tenantId};
  },
};

async function application(t, world, store, options, {routes} = {}) {
  const app = Fastify({trustProxy: 'loopback'});
  await app.register(fastifyCookie);
  world.early?.(app, world);
  if (store.context && !world.withoutContext) await app.register(store.context());
  await app.register(fastifySession, {secret, saveUninitialized: false, cookie: {secure: false}, store, ...options});
  const show = ({session: own}) => ({id: own.sessionId, ...JSON.parse(JSON.stringify({...own, cookie: undefined}))});
  app.get('/show', async (request) => show(request));
  app.get('/set', async (request) => {
    for (const [name, value] of Object.entries(request.query)) request.session.set(name, value);
    return show(request);
  });
  app.get('/destroy', async (request) => {
    await request.session.destroy();
    return {destroyed: true};
  });
  app.get('/login', async (request) => {
    await request.session.regenerate();
    request.session.userId = request.query.user;
    return show(request);
  });
  app.get('/login-without-regenerate', async (request) => {
    request.session.userId = request.query.user;
    return show(request);
  });
  app.get('/slow', async (request) => {
    world.arrived.open();
    await world.leave.opened;
    Object.assign(request.session, request.query);
    return show(request);
  });
  app.post('/length', async (request) => {
    request.session.length = request.body.length;
    await request.session.save();
    await request.session.reload();
    return show(request);
  });
  app.post('/body', async (request) => {
    request.session.body = request.body;
    await request.session.save();
    await request.session.reload();
    return show(request);
  });
  routes?.(app, world);
  app.setErrorHandler((error, request, reply) => {
    world.errors.push(error);
    return reply.status(error.status ?? error.statusCode ?? 500).send({error: error.code ?? error.name, message: error.message});
  });
  await app.listen({port: 0, host: '127.0.0.1'});
  t.after(() => app.close());
  return app.server.address().port;
}

const absent = (shown) => shown.n === undefined && shown.userId === undefined;

const cases = [
  {
    name: 'what a request keeps, the next one finds',
    expect: '1',
    run: async ({visitor}) => {
      await visitor.get('/set?n=1');
      return (await visitor.get('/show')).n;
    },
  },
  {
    name: 'a visit that keeps nothing sets no cookie',
    expect: {},
    run: async ({visitor}) => {
      await visitor.get('/show');
      return visitor.cookies;
    },
  },
  {
    name: 'a cookie that was signed with an old secret is read',
    expect: '1',
    run: async ({visitor, serve, store}) => {
      await visitor.get('/set?n=1');
      return (await visitor.copy({port: await serve(store, {secret: ['a new secret of at least thirty-two characters', secret]})}).get('/show')).n;
    },
  },
  {
    name: 'a cookie with another signature is nobody\'s',
    expect: true,
    run: async ({visitor}) => {
      const {id} = await visitor.get('/set?n=1');
      visitor.cookies.sessionId = encodeURIComponent(sign(id, 'guessed'));
      return absent(await visitor.get('/show'));
    },
  },
  {
    name: 'an id that is signed but unknown gets a new id',
    expect: true,
    run: async ({visitor}) => {
      const sid = crypto.randomBytes(24).toString('base64url');
      visitor.cookies.sessionId = encodeURIComponent(sign(sid, secret));
      return (await visitor.get('/set?n=1')).id !== sid;
    },
  },
  {
    name: 'a destroyed session is gone',
    expect: true,
    run: async ({visitor}) => {
      await visitor.get('/set?n=1');
      const copy = visitor.copy();
      await visitor.get('/destroy');
      return absent(await copy.get('/show'));
    },
  },
  {
    name: 'regenerate gives another id, and the old one is nobody\'s',
    expect: {otherId: true, userId: 'ada', old: true},
    run: async ({visitor}) => {
      const {id} = await visitor.get('/set?n=1');
      const old = visitor.copy();
      await visitor.get('/login?user=ada');
      const shown = await visitor.get('/show');
      return {otherId: shown.id !== id, userId: shown.userId, old: absent(await old.get('/show'))};
    },
  },
  {
    name: 'a body that is parsed keeps the session\'s request: save and reload in the handler',
    expect: {first: [1, 2, 3], second: {a: 'x'.repeat(10_000)}, length: 900_000},
    run: async ({visitor}) => {
      const large = {method: 'POST', body: JSON.stringify('x'.repeat(900_000)), headers: {'content-type': 'application/json'}};
      const post = async (body) => (await visitor.send('/body', {method: 'POST', body: JSON.stringify(body),
        headers: {'content-type': 'application/json'}})).json.body;
      return {first: await post([1, 2, 3]), second: await post({a: 'x'.repeat(10_000)}), length: (await visitor.send('/length', large)).json.length};
    },
  },
  {
    name: 'a session that is destroyed while another request is under way stays destroyed when that one saves',
    expect: {memory: [200, 'ada'], redis: [200, 'ada'], portcullis: [200, undefined]},
    run: async ({visitor, arrived, leave}) => {
      await visitor.get('/login?user=ada');
      const copy = visitor.copy();
      const slow = visitor.copy().send('/slow?n=1');
      await arrived.opened;
      await visitor.get('/destroy');
      leave.open();
      return [(await slow).status, (await copy.get('/show')).userId];
    },
  },
  {
    name: 'a stolen cookie at another address or on another device has no session, and the user keeps theirs',
    expect: {memory: ['ada', 'ada', 'ada'], redis: ['ada', 'ada', 'ada'], portcullis: [undefined, undefined, 'ada']},
    run: async ({visitor}) => {
      await visitor.get('/login?user=ada');
      const found = [];
      for (const thief of [{ip: '203.0.113.66'}, {userAgent: 'curl'}, {}]) found.push((await visitor.copy(thief).get('/show')).userId);
      return found;
    },
  },
  {
    name: 'the application can see why there is no session',
    routes: (app, {store}) => app.get('/why', async (request) => ({why: store.denialOf(request) ?? null})),
    expect: {portcullis: ['fingerprint_mismatch', null]},
    run: async ({visitor}) => {
      await visitor.get('/login?user=ada');
      return [(await visitor.copy({userAgent: 'curl'}).get('/why')).why.reason, (await visitor.get('/why')).why];
    },
  },
  {
    name: 'a login without regenerate does not sign in whoever knew the id before; where it is refused the response says so',
    expect: {memory: [200, 'ada'], redis: [200, 'ada'], portcullis: [500, undefined]},
    run: async ({visitor}) => {
      await visitor.get('/set?n=1');
      const attacker = visitor.copy();
      return [(await visitor.send('/login-without-regenerate?user=ada')).status, (await attacker.get('/show')).userId];
    },
  },
  {
    name: 'requests on one connection, one behind the other, each have their own context',
    expect: {memory: ['ada', 'ada', 'ada'], redis: ['ada', 'ada', 'ada'], portcullis: ['ada', undefined, 'ada']},
    run: async ({visitor, port}) => {
      await visitor.get('/login?user=ada');
      const from = (ip) => `GET /show HTTP/1.1\r\nHost: x\r\nUser-Agent: Firefox\r\nX-Forwarded-For: ${ip}\r\n` +
        `Cookie: sessionId=${visitor.cookies.sessionId}\r\n`;
      const answer = await raw(port, `${from(visitor.ip)}\r\n${from('203.0.113.66')}\r\n${from(visitor.ip)}Connection: close\r\n\r\n`);
      return answer.match(/\{"id":[^}]*\}/g).map((body) => JSON.parse(body).userId);
    },
  },
  {
    name: 'more data than the server keeps is an error that says so',
    expect: {memory: [200], redis: [200], portcullis: [500, 'DATA_TOO_LARGE']},
    run: async ({visitor, errors}) => {
      const body = JSON.stringify('x'.repeat(20_000));
      const {status} = await visitor.send('/body', {method: 'POST', body, headers: {'content-type': 'application/json'}});
      return [status, ...errors.slice(0, 1).map((error) => error.code)];
    },
  },
  {
    name: 'regenerate keeps what it is told to, before and after a user is put in',
    options: {saveUninitialized: true},
    routes: (app) => app.get('/regenerate', async (request) => {
      await request.session.regenerate(['n']);
      if (request.query.user) request.session.userId = request.query.user;
      await request.session.save();
      await request.session.reload();
      return {n: request.session.n, userId: request.session.userId};
    }),
    expect: [{n: '1'}, {n: '1'}, {n: '1', userId: 'ada'}, {n: '1', userId: 'ada'}],
    run: async ({visitor}) => {
      await visitor.get('/set?n=1');
      const shown = async () => {
        const {id, ...rest} = await visitor.get('/show');
        return rest;
      };
      return [await visitor.get('/regenerate'), await shown(), await visitor.get('/regenerate?user=ada'), await shown()];
    },
  },
  {
    name: 'an unchanged session is read with one call, and saved with one more where rolling asks for it',
    options: {rolling: false},
    expect: {portcullis: [1, 2]},
    run: async ({visitor, serve, store}) => {
      await visitor.get('/set?n=1');
      const calls = async (who) => {
        const before = portcullis.stats().calls;
        await who.get('/show');
        return portcullis.stats().calls - before;
      };
      return [await calls(visitor), await calls(visitor.copy({port: await serve(store, {rolling: true})}))];
    },
  },
  {
    name: 'a lifetime that the application changes is the session\'s: a shortened one ends, a lengthened one goes on',
    options: {cookie: {secure: false, maxAge: 2000}},
    routes: (app) => app.get('/age', async (request) => {
      request.session.cookie.maxAge = Number(request.query.ms);
      return {};
    }),
    expect: ['ada', undefined],
    run: async ({visitor, port, serve, store}) => {
      await visitor.get('/login?user=ada');
      await visitor.get('/age?ms=60000');
      const short = new Visitor(await serve(store, {cookie: {secure: false, maxAge: 60_000}}));
      await short.get('/login?user=ada');
      await short.get('/age?ms=1000');
      // What is tested is that time passes: more of it changes nothing.
      const copies = [visitor.copy(), short.copy()];
      await new Promise((resolve) => { setTimeout(resolve, 2200); });
      return [(await copies[0].get('/show')).userId, (await copies[1].get('/show')).userId];
    },
  },
  {
    name: 'what a request does after its client went away is done: a save by itself, save(), reload(), regenerate() and destroy()',
    routes: (app, world) => {
      const slow = (path, work) => app.get(path, async (request) => {
        world.arrived.open();
        await once(request.raw.socket, 'close');
        try {
          await work(request);
        } catch (error) {
          world.errors.push(error);
        }
        return {};
      });
      slow('/gone/set', (request) => { request.session.n = 5; });
      slow('/gone/save', async (request) => {
        await request.session.reload();
        request.session.n = 6;
        await request.session.save();
      });
      slow('/gone/regenerate', async (request) => {
        await request.session.regenerate(['n']);
        request.session.userId = 'eve';
        world.regenerated = request.session.encryptedSessionId;
      });
      slow('/gone/destroy', (request) => request.session.destroy());
      app.addHook('onSend', async () => { world.over?.open(); });
    },
    expect: {set: 5, save: 6, regenerated: 'eve', old: undefined, destroyed: undefined, errors: []},
    run: async (world) => {
      const {visitor, port, errors} = world;
      const leave = async (path) => {
        Object.assign(world, {arrived: gate(), over: gate()});
        const request = http.get({port, path, agent: false, headers: visitor.headers()}).on('error', () => {});
        await world.arrived.opened;
        request.destroy();
        await world.over.opened;
      };
      await visitor.get('/login?user=ada');
      await leave('/gone/set');
      const set = (await visitor.copy().get('/show')).n;
      await leave('/gone/save');
      const save = (await visitor.copy().get('/show')).n;
      await leave('/gone/regenerate');
      const old = (await visitor.copy().get('/show')).userId;
      visitor.cookies.sessionId = encodeURIComponent(world.regenerated);
      const regenerated = (await visitor.copy().get('/show')).userId;
      await leave('/gone/destroy');
      return {set, save, old, regenerated, destroyed: (await visitor.copy().get('/show')).userId, errors};
    },
  },
  {
    name: 'a hook that runs when the response was sent saves',
    routes: (app, world) => {
      app.addHook('onResponse', async (request) => {
        if (request.url !== '/late') return;
        request.session.n = 9;
        await request.session.save().catch((error) => world.errors.push(error));
        world.leave.open();
      });
      app.get('/late', async () => ({}));
    },
    expect: [9, []],
    run: async ({visitor, leave, errors}) => {
      await visitor.get('/login?user=ada');
      await visitor.get('/late');
      await leave.opened;
      return [(await visitor.get('/show')).n, errors];
    },
  },
  {
    name: 'a handler that lost the asynchronous context saves, by itself and by its own call',
    routes: (app) => {
      // Made before any request: what it is given is run in the context of here.
      const outside = new EventEmitterAsyncResource({name: 'outside'});
      outside.on('work', (work) => work());
      app.get('/lost', (request, reply) => {
        outside.emit('work', () => setImmediate(() => {
          request.session.n = 1;
          request.session.save((error) => {
            request.session.m = 2;
            reply.send({error: error?.message});
          });
        }));
      });
    },
    expect: [{}, 1, 2],
    run: async ({visitor}) => {
      await visitor.get('/login?user=ada');
      const said = await visitor.get('/lost');
      const {n, m} = await visitor.get('/show');
      return [said, n, m];
    },
  },
  {
    name: 'a session without a user exists when save() resolves, and where the reply is the handler\'s own',
    routes: (app, {store}) => {
      app.get('/saved', async (request) => {
        request.session.n = 1;
        await request.session.save();
        return {created: store.stats().created};
      });
      app.get('/hijack', async (request, reply) => {
        if (request.query.regenerate) await request.session.regenerate();
        request.session.n = 7;
        if (!request.query.regenerate) await request.session.save();
        reply.hijack();
        reply.raw.setHeader('set-cookie', `sessionId=${encodeURIComponent(request.session.encryptedSessionId)}; Path=/`);
        reply.raw.end('x');
      });
    },
    expect: {portcullis: [1, 7, true]},
    run: async ({visitor, port, store}) => {
      const other = new Visitor(port);
      const third = new Visitor(port);
      const {created} = await visitor.get('/saved');
      await other.send('/hijack');
      await third.send('/hijack?regenerate=1');
      // That it was told of at the response's end does not mean that it is done.
      let found;
      for (let i = 0; i < 500 && found?.n !== 7; ++i) found = await third.copy().get('/show');
      return [created, (await other.get('/show')).n, found.n === 7 && store.stats().created === 3];
    },
  },
  {
    name: 'a request that is not to count as activity saves nothing by rolling, and what it changes it saves',
    store: {touch: (request) => !request.url.startsWith('/poll')},
    routes: (app) => app.get('/poll', async (request) => {
      if (request.query.n) request.session.n = request.query.n;
      if (request.query.ms) request.session.cookie.maxAge = Number(request.query.ms);
      return {n: request.session.n};
    }),
    options: {cookie: {secure: false, maxAge: 60_000}},
    expect: {portcullis: [[1, 0], [1, 1], [1, 1], '3']},
    run: async ({visitor, store}) => {
      await visitor.get('/login?user=ada');
      const calls = async (path) => {
        const before = store.stats();
        await visitor.get(path);
        const {validated, updated} = store.stats();
        return [validated - before.validated, updated - before.updated];
      };
      return [await calls('/poll'), await calls('/poll?n=3'), await calls('/poll?ms=30000'), (await visitor.get('/show')).n];
    },
  },
  {
    name: 'a request whose client is gone before it is looked at is no error of the application',
    routes: (app) => app.addHook('onRequest', async () => {}),
    world: {early: (app, world) => app.addHook('onRequest', async (request) => {
      if (request.url !== '/early') return;
      request.raw.socket.destroy();
      setImmediate(() => world.leave.open());
    })},
    expect: {portcullis: []},
    run: async ({visitor, leave, errors}) => {
      await assert.rejects(visitor.send('/early'));
      await leave.opened;
      await visitor.get('/show');
      return errors;
    },
  },
  {
    name: 'without the plugin that reads the context the error names the line to add',
    world: {withoutContext: true},
    expect: {portcullis: [500, true]},
    run: async ({visitor}) => {
      const {status, json} = await visitor.send('/set?n=1');
      return [status, json.message.includes('await app.register(store.context())')];
    },
  },
  {
    name: 'a session of express-session goes on in Fastify, with the same cookie',
    options: {cookieName: 'connect.sid', cookiePrefix: 's:', secret},
    expect: {portcullis: ['1', '2']},
    run: async ({visitor, tenantId}) => {
      const app = express();
      const store = new ExpressStore({client: portcullis, tenantId, trustProxy: ['loopback']});
      app.use(store.context(), session({store, secret, resave: false, saveUninitialized: false}));
      app.get('/set', (req, res) => {
        Object.assign(req.session, req.query);
        res.json({});
      });
      app.get('/show', (req, res) => res.json(req.session));
      const before = visitor.copy({port: await listen({after: (f) => afters.push(f)}, app)});
      await before.get('/set?n=1');
      const shown = await before.copy({port: visitor.port}).get('/show');
      const moved = before.copy({port: visitor.port});
      await moved.get('/set?m=2');
      return [shown.n, (await before.get('/show')).m];
    },
  },
];

const afters = [];
after(async () => { for (const each of afters) await each(); });

for (const each of cases) {
  const perStore = typeof each.expect === 'object' && each.expect !== null && ['memory', 'redis', 'portcullis'].some((kind) => kind in each.expect);
  for (const kind of Object.keys(stores)) {
    if (perStore && !(kind in each.expect)) continue;
    test(`${kind}: ${each.name}`, async (t) => {
      const world = {kind, errors: [], arrived: gate(), leave: gate(), ...each.world, ...stores[kind](each.store)};
      world.serve = (store, options) => application(t, world, store, {...each.options, ...options}, each);
      world.port = await world.serve(world.store);
      world.visitor = new Visitor(world.port);
      assert.deepEqual(await each.run(world), perStore ? each.expect[kind] : each.expect);
    });
  }
}

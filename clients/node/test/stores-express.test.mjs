// The table of behaviours: what applications expect of express-session and a store, run alike on its MemoryStore, on connect-redis with a
// real Redis, and on ours. Where stores differ on purpose, the case says what each does.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import {once} from 'node:events';
import {after, test} from 'node:test';

import {RedisStore} from 'connect-redis';
import express from 'express';
import express4 from 'express4';
import session from 'express-session';
import {createClient} from 'redis';

import {PortcullisClient, PortcullisError} from '../dist/esm/index.js';
import {PortcullisStore} from '../dist/esm/stores/express-session.js';
import {redis, TestServer} from './support/server.mjs';
import {gate, listen, raw, sign, Visitor} from './support/stores.mjs';

const server = await new TestServer({config: '[session]\nidle_ttl_s = 900\n'}).start();
const redisServer = await redis();
const redisClient = await createClient({socket: {path: redisServer.socket}}).connect();
const portcullis = new PortcullisClient({address: server.address});
after(async () => {
  redisClient.destroy();
  redisServer.stop();
  await portcullis.close();
  server.kill9();
});

/** Where the middleware of our store stands: around that of express-session, or before it. */
const forms = {memory: [undefined], redis: [undefined], portcullis: ['around', 'before']};

/** How a case gets a store of its own; `again()` is another instance on the same sessions, as in a second process. */
const stores = {
  memory() {
    const store = new session.MemoryStore();
    return {store, again: () => new session.MemoryStore()};
  },
  redis() {
    const prefix = `${crypto.randomUUID()}:`;
    const again = () => new RedisStore({client: redisClient, prefix});
    return {store: again(), again};
  },
  portcullis(options) {
    const tenantId = crypto.randomUUID();
    const again = (more) => new PortcullisStore({client: portcullis, tenantId, trustProxy: ['loopback'], ...options, ...more});
    return {store: again(), again, tenantId};
  },
};

/** An application with routes that every case may use, and those of the case. */
function application(world, store, options, {routes, before, framework = express} = {}) {
  const app = framework();
  app.set('trust proxy', 'loopback');
  const sessions = session({secret: 'secret', resave: false, saveUninitialized: false, store, ...options});
  const ours = store instanceof PortcullisStore;
  if (ours && world.form === 'before') app.use(store.context());
  before?.(app, world);
  app.use(ours && world.form === 'around' ? store.context(sessions) : sessions);
  const show = (req) => ({id: req.sessionID, ...JSON.parse(JSON.stringify({...req.session, cookie: undefined}))});
  app.get('/show', (req, res) => res.json(show(req)));
  app.get('/set', (req, res) => {
    Object.assign(req.session, req.query);
    res.json(show(req));
  });
  app.get('/destroy', (req, res, next) => req.session.destroy((error) => error ? next(error) : res.json({destroyed: true})));
  app.get('/login', (req, res, next) => req.session.regenerate((error) => {
    if (error) return next(error);
    req.session.userId = req.query.user;
    return res.json(show(req));
  }));
  app.get('/login-without-regenerate', (req, res) => {
    req.session.userId = req.query.user;
    res.json(show(req));
  });
  app.get('/logout-by-removal', (req, res) => {
    delete req.session.userId;
    res.json({ok: true});
  });
  // Waits between reading the session and saving it, until the case says so.
  app.get('/slow', async (req, res) => {
    const data = {...req.query};
    world.arrived.open();
    await world.leave.opened;
    Object.assign(req.session, data);
    res.json(show(req));
  });
  routes?.(app, world);
  app.use((error, req, res, next) => {
    world.errors.push(error);
    if (res.headersSent) return next(error);
    return res.status(error.status ?? 500).json({error: error.code ?? error.name, message: error.message});
  });
  return app;
}

async function prepare(t, kind, form, each) {
  const world = {kind, form, errors: [], arrived: gate(), leave: gate()};
  Object.assign(world, await (each.make?.[kind] ?? stores[kind])(each.store, t));
  world.serve = (store, options, more) => listen(t, application(world, store, {...each.session, ...options}, {...each, ...more}));
  world.port = await world.serve(world.store);
  world.visitor = new Visitor(world.port);
  return world;
}

const absent = (shown) => shown.n === undefined && shown.userId === undefined;

/** `expect`: what `run` finds, for all stores or for each. A store that is not named has nothing to say to the case. */
const cases = [
  {
    name: 'a visit that keeps nothing sets no cookie',
    expect: {cookies: {}},
    run: async ({visitor}) => {
      await visitor.get('/show');
      return {cookies: visitor.cookies};
    },
  },
  {
    name: 'with saveUninitialized each visitor gets a session, and has the same one at the next request',
    session: {saveUninitialized: true},
    expect: true,
    run: async ({visitor}) => (await visitor.get('/show')).id === (await visitor.get('/show')).id,
  },
  {
    name: 'what a request keeps, the next one finds, as JSON has it',
    routes: (app) => app.get('/keep', (req, res) => {
      req.session.kept = {text: 'ä \u2028 "', list: [1, null, [true]], at: new Date(0), none: undefined, nested: {a: {b: {}}}};
      res.json({});
    }),
    expect: {text: 'ä \u2028 "', list: [1, null, [true]], at: '1970-01-01T00:00:00.000Z', nested: {a: {b: {}}}},
    run: async ({visitor}) => {
      await visitor.get('/keep');
      return (await visitor.get('/show')).kept;
    },
  },
  {
    name: 'two visitors have a session each',
    expect: ['1', '2'],
    run: async ({visitor, port}) => {
      const other = new Visitor(port);
      await visitor.get('/set?n=1');
      await other.get('/set?n=2');
      return [(await visitor.get('/show')).n, (await other.get('/show')).n];
    },
  },
  {
    name: 'an id that is signed but unknown gets a new id, never a session under the old one',
    expect: true,
    run: async ({visitor}) => {
      const sid = crypto.randomBytes(24).toString('base64url');
      visitor.cookies['connect.sid'] = encodeURIComponent(`s:${sign(sid, 'secret')}`);
      const {id} = await visitor.get('/set?n=1');
      return id !== sid && (await visitor.get('/show')).id === id;
    },
  },
  {
    name: 'a cookie with another signature is nobody\'s',
    expect: true,
    run: async ({visitor}) => {
      const {id} = await visitor.get('/set?n=1');
      visitor.cookies['connect.sid'] = encodeURIComponent(`s:${sign(id, 'guessed')}`);
      return absent(await visitor.get('/show'));
    },
  },
  {
    name: 'a cookie without a signature is nobody\'s',
    expect: true,
    run: async ({visitor}) => {
      visitor.cookies['connect.sid'] = (await visitor.get('/set?n=1')).id;
      return absent(await visitor.get('/show'));
    },
  },
  {
    name: 'a cookie that another application of the same store signed with the old secret is read, and signed with the new one when it is set again',
    session: {cookie: {maxAge: 60_000}},
    expect: {n: '1', sameId: true, signedAnew: true},
    run: async ({visitor, serve, store}) => {
      const {id} = await visitor.get('/set?n=1');
      const after = visitor.copy({port: await serve(store, {secret: ['new secret', 'secret'], rolling: true})});
      const {json, cookie} = await after.send('/show');
      return {n: json.n, sameId: json.id === id, signedAnew: decodeURIComponent(cookie.value) === `s:${sign(id, 'new secret')}`};
    },
  },
  {
    name: 'a session cookie of an application that runs on MemoryStore is no error after the change of the store',
    expect: true,
    run: async ({visitor, serve}) => {
      const before = visitor.copy({port: await serve(new session.MemoryStore())});
      await before.get('/set?n=1');
      const {status, json} = await before.copy({port: visitor.port}).send('/show');
      return status === 200 && absent(json);
    },
  },
  {
    name: 'a second instance of the store finds the session',
    expect: {memory: undefined, redis: '1', portcullis: '1'},
    run: async ({visitor, serve, again}) => {
      await visitor.get('/set?n=1');
      return (await visitor.copy({port: await serve(again())}).get('/show')).n;
    },
  },
  {
    name: 'a destroyed session is gone, with all that it held',
    expect: true,
    run: async ({visitor}) => {
      const {id} = await visitor.get('/set?n=1');
      await visitor.get('/destroy');
      const shown = await visitor.get('/show');
      return absent(shown) && shown.id !== id;
    },
  },
  {
    name: 'destroying twice is no error',
    expect: [200, 200],
    run: async ({visitor}) => {
      await visitor.get('/set?n=1');
      const thief = visitor.copy();
      return [(await visitor.send('/destroy')).status, (await thief.send('/destroy')).status];
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
    name: 'reload brings back what was saved',
    routes: (app) => app.get('/reload', (req, res, next) => {
      req.session.n = 'changed';
      req.session.reload((error) => error ? next(error) : res.json({n: req.session.n}));
    }),
    expect: {reloaded: {n: '1'}, after: '1'},
    run: async ({visitor}) => {
      await visitor.get('/set?n=1');
      return {reloaded: await visitor.get('/reload'), after: (await visitor.get('/show')).n};
    },
  },
  {
    name: 'reload of a session that another request destroyed meanwhile fails',
    routes: (app, world) => app.get('/reload', async (req, res, next) => {
      world.arrived.open();
      await world.leave.opened;
      req.session.reload((error) => error ? next(error) : res.json({n: req.session.n}));
    }),
    expect: 'failed to load session',
    run: async ({visitor, arrived, leave}) => {
      await visitor.get('/set?n=1');
      const reload = visitor.copy().send('/reload');
      await arrived.opened;
      await visitor.get('/destroy');
      leave.open();
      return (await reload).json.message;
    },
  },
  {
    name: 'save() is done before its callback: a redirect finds it',
    routes: (app) => app.get('/save', (req, res, next) => {
      req.session.n = '1';
      req.session.save((error) => error ? next(error) : res.json({id: req.sessionID}));
    }),
    expect: '1',
    run: async ({visitor}) => {
      await visitor.get('/save');
      return (await visitor.get('/show')).n;
    },
  },
  {
    name: 'several saves of one request that nobody waits for end with the last one',
    routes: (app) => app.get('/saves', (req, res) => {
      for (let n = 0; n < 20; ++n) {
        req.session.n = n;
        req.session.save();
      }
      req.session.n = 'last';
      res.json({});
    }),
    expect: ['last', 'last'],
    run: async ({visitor}) => {
      await visitor.get('/saves');
      const first = (await visitor.get('/show')).n;
      await visitor.get('/saves');
      return [first, (await visitor.get('/show')).n];
    },
  },
  {
    name: 'unset "destroy" ends the session, "keep" leaves it in the store',
    session: {unset: 'destroy'},
    routes: (app) => app.get('/unset', (req, res) => {
      req.session = null;
      res.json({});
    }),
    expect: {destroyed: true, kept: '2'},
    run: async ({visitor, serve, store}) => {
      await visitor.get('/set?n=1');
      await visitor.get('/unset');
      const destroyed = absent(await visitor.get('/show'));
      const keeping = new Visitor(await serve(store, {unset: 'keep'}));
      await keeping.get('/set?n=2');
      await keeping.get('/unset');
      return {destroyed, kept: (await keeping.get('/show')).n};
    },
  },
  {
    name: 'a session whose cookie is saved as expired is gone',
    routes: (app) => app.get('/expire', (req, res, next) => {
      const {cookie} = req.session;
      cookie.expires = new Date(Date.now() - 1000);
      req.sessionStore.set(req.sessionID, {n: 1, cookie}, (error) => error ? next(error) : res.json({}));
    }),
    expect: true,
    run: async ({visitor}) => {
      await visitor.get('/set?n=1');
      const copy = visitor.copy();
      await visitor.get('/expire');
      return absent(await copy.get('/show'));
    },
  },
  {
    name: 'rolling sets the cookie with a new expiry at each response, and the session keeps its maxAge',
    session: {rolling: true, cookie: {maxAge: 60_000}},
    routes: (app) => app.get('/max-age', (req, res) => res.json({maxAge: req.session.cookie.originalMaxAge})),
    expect: {set: true, maxAge: 60_000, later: true},
    run: async ({visitor}) => {
      const {cookie: first} = await visitor.send('/set?n=1');
      const {cookie, json} = await visitor.send('/max-age');
      return {set: cookie?.name === 'connect.sid', maxAge: json.maxAge, later: cookie?.expires >= first.expires};
    },
  },
  {
    name: 'without rolling an unchanged session sets no cookie',
    session: {cookie: {maxAge: 60_000}},
    expect: undefined,
    run: async ({visitor}) => {
      await visitor.send('/set?n=1');
      return (await visitor.send('/show')).cookie;
    },
  },
  {
    name: 'a cookie that lives longer than the policy of the server is no error',
    session: {cookie: {maxAge: 365 * 86_400_000}},
    expect: ['1', '2'],
    run: async ({visitor, port}) => {
      const other = new Visitor(port);
      await visitor.get('/set?n=1');
      await other.get('/set?n=2');
      return [(await visitor.get('/show')).n, (await other.get('/show')).n];
    },
  },
  {
    name: 'of two requests that change a session at once the last one\'s data stays, whole',
    expect: {b: '2', id: undefined},
    run: async ({visitor, arrived, leave}) => {
      await visitor.get('/set?a=0');
      const slow = visitor.copy().get('/slow?b=2');
      await arrived.opened;
      await visitor.get('/set?a=1&c=3');
      leave.open();
      await slow;
      const {id, a, ...rest} = await visitor.get('/show');
      assert.equal(a, '0');
      return {...rest, id: undefined};
    },
  },
  {
    name: 'of two requests that change a session at once the second is told, where concurrentSaves is "error"',
    store: {concurrentSaves: 'error'},
    routes: (app, world) => app.get('/slow-save', async (req, res, next) => {
      world.arrived.open();
      await world.leave.opened;
      req.session.b = 2;
      req.session.save((error) => error ? next(error) : res.json({}));
    }),
    expect: {portcullis: {status: 409, error: 'SESSION_VERSION_CONFLICT', c: '3'}},
    run: async ({visitor, arrived, leave}) => {
      await visitor.get('/set?a=0');
      const slow = visitor.copy().send('/slow-save');
      await arrived.opened;
      await visitor.get('/set?c=3');
      leave.open();
      const {status, json} = await slow;
      return {status, error: json.error, c: (await visitor.get('/show')).c};
    },
  },
  {
    // express-session#632, connect-redis#328: whoever has the cookie is signed in again.
    name: 'a session that is destroyed while another request is under way stays destroyed when that one saves',
    expect: {memory: {status: 200, userId: 'ada'}, redis: {status: 200, userId: 'ada'}, portcullis: {status: 200, userId: undefined, dropped: 1}},
    run: async ({visitor, arrived, leave, store}) => {
      await visitor.get('/login?user=ada');
      const other = visitor.copy();
      const slow = other.send('/slow?n=1');
      await arrived.opened;
      await visitor.get('/destroy');
      leave.open();
      const {status} = await slow;
      const {userId} = await visitor.get('/show');
      return {status, userId, ...(store.stats && {dropped: store.stats().dropped})};
    },
  },
  {
    name: 'the same, when regenerate took its place',
    expect: {memory: 'ada', redis: 'ada', portcullis: undefined},
    run: async ({visitor, arrived, leave}) => {
      await visitor.get('/login?user=ada');
      const old = visitor.copy();
      const slow = visitor.copy().get('/slow?n=1');
      await arrived.opened;
      await visitor.get('/login?user=ada');
      leave.open();
      await slow;
      return (await old.get('/show')).userId;
    },
  },
  {
    name: 'the same, when the request itself destroyed it and a stale session object saves',
    routes: (app) => app.get('/destroy-and-save', (req, res, next) => {
      const stale = req.session;
      stale.destroy((error) => error ? next(error) : stale.save((failure) => failure ? next(failure) : res.json({saved: true})));
    }),
    expect: {memory: ['1', true], redis: ['1', true], portcullis: [undefined, true]},
    run: async ({visitor}) => {
      await visitor.get('/set?n=1');
      const {saved} = await visitor.get('/destroy-and-save');
      return [(await visitor.get('/show')).n, saved];
    },
  },
  {
    name: 'a stolen cookie at another address has no session, and the user keeps theirs',
    expect: {memory: ['ada', 'ada'], redis: ['ada', 'ada'], portcullis: [undefined, 'ada']},
    run: async ({visitor}) => {
      await visitor.get('/login?user=ada');
      const thief = visitor.copy({ip: '203.0.113.66'});
      return [(await thief.get('/show')).userId, (await visitor.get('/show')).userId];
    },
  },
  {
    name: 'a stolen cookie on another device has no session, and the user keeps theirs',
    expect: {memory: ['ada', 'ada'], redis: ['ada', 'ada'], portcullis: [undefined, 'ada']},
    run: async ({visitor}) => {
      await visitor.get('/login?user=ada');
      const thief = visitor.copy({userAgent: 'curl'});
      return [(await thief.get('/show')).userId, (await visitor.get('/show')).userId];
    },
  },
  {
    name: 'a denied visitor gets a session of their own when they keep something, and the user\'s is untouched',
    expect: {portcullis: {n: '2', otherId: true, user: 'ada', users: undefined}},
    run: async ({visitor}) => {
      const {id} = await visitor.get('/login?user=ada');
      const thief = visitor.copy({ip: '203.0.113.66'});
      await thief.get('/set?n=2');
      const shown = await thief.get('/show');
      const own = await visitor.get('/show');
      return {n: shown.n, otherId: shown.id !== id, user: own.userId, users: own.n};
    },
  },
  {
    name: 'the application can see why there is no session',
    routes: (app, {store}) => app.get('/why', (req, res) => res.json({why: store.denialOf(req) ?? null})),
    expect: {portcullis: {why: 'ip_mismatch', user: null, told: ['ip_mismatch'], denied: 1}},
    run: async ({visitor, store}) => {
      const told = [];
      store.on('denied', ({reason}, req) => told.push(req.url === '/why' && reason));
      await visitor.get('/login?user=ada');
      const {why} = await visitor.copy({ip: '203.0.113.66'}).get('/why');
      return {why: why.reason, user: (await visitor.get('/why')).why, told, denied: store.stats().denied};
    },
  },
  {
    name: 'denials can be errors, which leave the cookie alone',
    store: {denials: {ip_mismatch: 'error'}},
    session: {saveUninitialized: true},
    expect: {portcullis: {status: 401, error: 'SESSION_IP_MISMATCH', cookie: undefined}},
    run: async ({visitor}) => {
      await visitor.get('/login?user=ada');
      const {status, json, cookie} = await visitor.copy({ip: '203.0.113.66'}).send('/show');
      return {status, error: json.error, cookie};
    },
  },
  {
    name: 'after ten attempts from elsewhere the user is locked out: 429, and the cookie stays',
    expect: {portcullis: {status: 429, error: 'USER_LOCKED_OUT', cookie: undefined, stranger: 200}},
    run: async ({visitor, port}) => {
      await visitor.get('/login?user=ada');
      const thief = visitor.copy({ip: '203.0.113.66'});
      for (let i = 0; i < 10; ++i) await thief.send('/show');
      const {status, json, cookie} = await visitor.send('/show');
      return {status, error: json.error, cookie, stranger: (await new Visitor(port).send('/set?n=1')).status};
    },
  },
  {
    name: 'anonymous visitors do not share a lockout',
    expect: {portcullis: '2'},
    run: async ({visitor, port}) => {
      await visitor.get('/set?n=1');
      const other = new Visitor(port, {ip: '198.51.100.8'});
      await other.get('/set?n=2');
      const thief = visitor.copy({ip: '203.0.113.66'});
      for (let i = 0; i < 10; ++i) await thief.send('/show');
      assert.equal((await visitor.send('/show')).status, 429);
      return (await other.get('/show')).n;
    },
  },
  {
    name: 'a session that an administrator ended is over at the next request',
    expect: {portcullis: true},
    run: async ({visitor, tenantId}) => {
      await visitor.get('/login?user=ada');
      assert.deepEqual(await portcullis.sessions.revokeUser({tenantId, userId: 'ada'}), {revoked: 1});
      return absent(await visitor.get('/show'));
    },
  },
  {
    name: 'a login without regenerate does not sign in whoever knew the id before',
    expect: {memory: 'ada', redis: 'ada', portcullis: undefined},
    run: async ({visitor, errors, kind}) => {
      await visitor.get('/set?n=1');
      const attacker = visitor.copy();
      await visitor.send('/login-without-regenerate?user=ada').catch(() => {});  // express cuts the connection: see the next case
      if (kind === 'portcullis') assert.match(errors[0].message, /req\.session\.regenerate\(\)/);
      return (await attacker.get('/show')).userId;
    },
  },
  {
    name: 'a login without regenerate is refused to the application when it saves, and the session stays as it was',
    routes: (app) => app.get('/save-login', (req, res, next) => {
      req.session.userId = 'ada';
      req.session.save((error) => {
        req.session.userId = undefined;
        if (error) next(error);
        else res.json({});
      });
    }),
    expect: {portcullis: {status: 500, error: 'TypeError', n: '1'}},
    run: async ({visitor}) => {
      await visitor.get('/set?n=1');
      const {status, json} = await visitor.send('/save-login').catch((error) => ({status: error.code}));
      const {n, userId} = await visitor.get('/show');
      assert.equal(userId, undefined);
      return {status, error: json?.error, n};
    },
  },
  {
    name: 'a login without regenerate gets a new id where onUserChange is "reissue", and the old one is nobody\'s',
    store: {onUserChange: 'reissue'},
    expect: {portcullis: {otherId: true, userId: 'ada', n: '1', attacker: true, errors: 0}},
    run: async ({visitor, errors}) => {
      const {id} = await visitor.get('/set?n=1');
      const attacker = visitor.copy();
      await visitor.get('/login-without-regenerate?user=ada');
      const shown = await visitor.get('/show');
      return {otherId: shown.id !== id, userId: shown.userId, n: shown.n, attacker: absent(await attacker.get('/show')), errors: errors.length};
    },
  },
  {
    name: 'the same when the login saves, goes on to change the session and reloads it',
    store: {onUserChange: 'reissue'},
    routes: (app) => app.get('/save-login', (req, res, next) => {
      req.session.user = {id: 7};
      req.session.save((error) => {
        if (error) return next(error);
        return req.session.reload((failure) => {
          if (failure) return next(failure);
          req.session.more = 'yes';
          return res.json({});
        });
      });
    }),
    expect: {portcullis: {otherId: true, user: {id: 7}, more: 'yes', attacker: true}},
    run: async ({visitor}) => {
      const {id} = await visitor.get('/set?n=1');
      const attacker = visitor.copy();
      await visitor.get('/save-login');
      const shown = await visitor.get('/show');
      return {otherId: shown.id !== id, user: shown.user, more: shown.more, attacker: absent(await attacker.get('/show'))};
    },
  },
  {
    name: 'reissue cannot be done when the head was sent: it is refused',
    store: {onUserChange: 'reissue'},
    routes: (app) => app.get('/stream-login', (req, res) => {
      res.write('x');
      req.session.userId = 'ada';
      res.end('y');
    }),
    expect: {portcullis: {refused: true, attacker: undefined, n: '1'}},
    run: async ({visitor, errors}) => {
      await visitor.get('/set?n=1');
      await visitor.send('/stream-login').catch(() => {});
      return {refused: errors[0] instanceof TypeError, attacker: (await visitor.copy().get('/show')).userId, n: (await visitor.get('/show')).n};
    },
  },
  {
    name: 'a logout that only removes the user ends the session: its copy is nobody\'s',
    expect: {memory: '1', redis: '1', portcullis: undefined},
    run: async ({visitor}) => {
      await visitor.get('/login?user=ada');
      await visitor.get('/set?n=1');
      const copy = visitor.copy();
      await visitor.get('/logout-by-removal');
      return (await copy.get('/show')).n;
    },
  },
  {
    name: 'a session is its user\'s by userId, user, user.id, user._id, passport.user, or as userOf says',
    store: {userOf: undefined},
    routes: (app) => app.get('/as', (req, res) => req.session.regenerate(() => {
      Object.assign(req.session, JSON.parse(req.query.session));
      res.json({});
    })),
    expect: {portcullis: ['a', '7', 'c', 'd', 'e', '6', 'g', undefined]},
    run: async ({port, tenantId, serve, again}) => {
      const found = [];
      const sign = async (at, content) => {
        await new Visitor(at).get(`/as?session=${encodeURIComponent(JSON.stringify(content))}`);
      };
      for (const content of [{userId: 'a'}, {user: 7}, {user: {id: 'c'}}, {user: {_id: 'd'}}, {passport: {user: 'e'}}, {passport: {user: {id: 6}}}]) {
        await sign(port, content);
      }
      await sign(await serve(again({userOf: ({account}) => account})), {userId: 'not', account: 'g'});
      for (const userId of ['a', '7', 'c', 'd', 'e', '6', 'g', 'not']) {
        const {sessions} = await portcullis.sessions.list({tenantId, userId});
        found.push(sessions.length === 1 ? userId : undefined);
      }
      return found;
    },
  },
  {
    name: 'a store that cannot be reached is an error, not a logout',
    session: {saveUninitialized: true},
    make: {
      redis: async (_, t) => {
        const own = await redis(t);
        const client = createClient({socket: {path: own.socket, reconnectStrategy: false}});
        client.on('error', () => {});
        await client.connect();
        const ended = once(client, 'error');
        return {store: new RedisStore({client}), break: async () => { own.stop(); await ended; }};
      },
      portcullis: async (_, t) => {
        const own = await new TestServer().start();
        const client = new PortcullisClient({address: own.address, timeoutMs: 500, unreachableAfterMs: 0});
        t.after(() => { own.kill9(); return client.close(); });
        return {store: new PortcullisStore({client, tenantId: 'acme', trustProxy: ['loopback']}), break: () => own.kill9()};
      },
    },
    expect: {redis: {status: 500, cookie: undefined, again: 500}, portcullis: {status: 503, cookie: undefined, again: 503}},
    run: async (world) => {
      await world.visitor.get('/set?n=1');
      await world.break();
      const {status, cookie} = await world.visitor.send('/show');
      return {status, cookie, again: (await world.visitor.send('/show')).status};
    },
  },
  {
    name: 'a response that is sent in parts saves what changes between them',
    routes: (app) => app.get('/stream', (req, res) => {
      req.session.n = 'first';
      res.write('x');
      setImmediate(() => {
        req.session.n = 'second';
        res.end('y');
      });
    }),
    expect: {text: 'xy', n: 'second'},
    run: async ({visitor}) => {
      const {text} = await visitor.send('/stream');
      return {text, n: (await visitor.get('/show')).n};
    },
  },
  {
    name: 'a body that is read by events, and middleware that waits, keep the session\'s request',
    before: (app) => app.use(async (req, res, next) => {
      await new Promise((resolve) => { setImmediate(resolve); });
      next();
    }),
    routes: (app) => app.post('/body', (req, res, next) => {
      let length = 0;
      req.on('data', (chunk) => { length += chunk.length; });
      req.on('end', () => {
        req.session.length = length;
        req.session.save((error) => error ? next(error) : req.session.reload((failure) => {
          if (failure) next(failure);
          else res.json({length: req.session.length});
        }));
      });
    }),
    expect: {first: {length: 100_000}, second: {length: 5}, kept: 5},
    run: async ({visitor}) => {
      const first = (await visitor.send('/body', {method: 'POST', body: 'x'.repeat(100_000)})).json;
      const second = (await visitor.send('/body', {method: 'POST', body: 'xxxxx'})).json;
      return {first, second, kept: (await visitor.get('/show')).length};
    },
  },
  {
    name: 'requests on one connection, one behind the other, each have their own context and session',
    expect: {memory: ['ada', 'ada', 'eve', 'eve'], redis: ['ada', 'ada', 'eve', 'eve'], portcullis: ['ada', undefined, 'eve', undefined]},
    run: async ({visitor, port}) => {
      const eve = new Visitor(port, {ip: '203.0.113.66'});
      await visitor.get('/login?user=ada');
      await eve.get('/login?user=eve');
      // As a proxy does it: all users' requests over one connection. The second and the fourth have the cookie of another address.
      const from = (cookies, ip) => `GET /show HTTP/1.1\r\nHost: x\r\nUser-Agent: Firefox\r\nX-Forwarded-For: ${ip}\r\n` +
        `Cookie: connect.sid=${cookies['connect.sid']}\r\n`;
      const answer = await raw(port, `${from(visitor.cookies, visitor.ip)}\r\n${from(visitor.cookies, eve.ip)}\r\n${from(eve.cookies, eve.ip)}\r\n` +
        `${from(eve.cookies, visitor.ip)}Connection: close\r\n\r\n`);
      return answer.match(/\{"id":[^}]*\}/g).map((body) => JSON.parse(body).userId);
    },
  },
  {
    name: 'more data than the server keeps is an error that says so, and no other request suffers',
    routes: (app) => app.get('/grow', (req, res, next) => {
      req.session.big = 'ä'.repeat(Number(req.query.n));
      req.session.save((error) => {
        delete req.session.big;
        if (error) next(error);
        else res.json({saved: true});
      });
    }),
    expect: {
      memory: [200, 200, '1'], redis: [200, 200, '1'],
      portcullis: ['DATA_TOO_LARGE', 'DATA_TOO_LARGE', '1'],
    },
    run: async ({visitor, kind}) => {
      await visitor.get('/set?n=1');
      const {connectionsLost} = portcullis.stats();
      const results = [];
      for (const n of [8_200, 500_000]) {
        const {status, json} = await visitor.copy().send(`/grow?n=${n}`);
        results.push(status === 200 ? 200 : json.error);
      }
      if (kind === 'portcullis') assert.equal(portcullis.stats().connectionsLost, connectionsLost);
      return [...results, (await visitor.get('/show')).n];
    },
  },
  {
    name: 'data that is nested deeper than the server reads is an error that says so, and no other request suffers',
    routes: (app) => app.get('/nest', (req, res, next) => {
      let value = 1;
      for (let i = 0; i < Number(req.query.levels); ++i) value = i % 2 ? {value} : [value];
      req.session.nested = value;
      req.session.save((error) => {
        delete req.session.nested;
        if (error) next(error);
        else res.json({saved: true});
      });
    }),
    expect: {memory: [200, 200, 200], redis: [200, 200, 200], portcullis: [200, 'NESTING_TOO_DEEP', 'NESTING_TOO_DEEP']},
    run: async ({visitor, kind}) => {
      const {connectionsLost} = portcullis.stats();
      const results = [];
      for (const levels of [13, 14, 1000]) {
        const {status, json} = await visitor.send(`/nest?levels=${levels}`);
        results.push(status === 200 ? 200 : json.error);
      }
      if (kind === 'portcullis') assert.equal(portcullis.stats().connectionsLost, connectionsLost);
      return results;
    },
  },
  {
    name: 'text that was cut in the middle of a character is kept, where that must be Unicode with a mark in its place',
    routes: (app) => app.get('/half', (req, res) => {
      Object.assign(req.session, {half: 'hi \u{1f600}'.slice(0, 4), 'k\ud800': [{deep: '\udc00'}], whole: '\u{1f600}', escaped: '\\ud800'});
      res.json({});
    }),
    expect: {
      memory: {half: 'hi \ud83d', 'k\ud800': [{deep: '\udc00'}], whole: '\u{1f600}', escaped: '\\ud800'},
      redis: {half: 'hi \ud83d', 'k\ud800': [{deep: '\udc00'}], whole: '\u{1f600}', escaped: '\\ud800'},
      portcullis: {half: 'hi \ufffd', 'k\ufffd': [{deep: '\ufffd'}], whole: '\u{1f600}', escaped: '\\ud800'},
    },
    run: async ({visitor}) => {
      await visitor.get('/half');
      const {id, ...kept} = await visitor.get('/show');
      return kept;
    },
  },
  {
    name: 'a lifetime that the application changes is the session\'s: a shortened one ends, also for a copied cookie, a lengthened one goes on',
    session: {cookie: {maxAge: 2000}},
    routes: (app) => app.get('/age', (req, res) => {
      req.session.cookie.maxAge = Number(req.query.ms);
      if (req.query.n) req.session.n = req.query.n;
      res.json({});
    }),
    expect: {lengthened: ['ada', 'ada'], shortened: [undefined, undefined], unchanged: undefined},
    run: async ({port, again, serve}) => {
      const signedIn = async (where = port) => {
        const visitor = new Visitor(where);
        await visitor.get('/login?user=ada');
        return visitor;
      };
      const long = await serve(again(), {cookie: {maxAge: 60_000}});
      const visitors = {lengthened: [await signedIn(), await signedIn()], shortened: [await signedIn(long), await signedIn(long)]};
      for (const [what, ms] of [['lengthened', 60_000], ['shortened', 1000]]) {
        await visitors[what][0].get(`/age?ms=${ms}&n=1`);
        await visitors[what][1].get(`/age?ms=${ms}`);
      }
      const unchanged = await signedIn();
      const copies = Object.entries(visitors).map(([what, both]) => [what, both.map((each) => each.copy())]);
      const copy = unchanged.copy();
      // What is tested is that time passes: more of it changes nothing.
      await new Promise((resolve) => { setTimeout(resolve, 3100); });
      const users = async (both) => [(await both[0].get('/show')).userId, (await both[1].get('/show')).userId];
      const found = {unchanged: (await copy.get('/show')).userId};
      for (const [what, both] of copies) found[what] = await users(both);
      return found;
    },
  },
  {
    name: 'a new id is the session\'s only when it exists: an outage meanwhile is an error, and the visitor keeps cookie and session',
    store: {onUserChange: 'reissue'},
    make: {portcullis: (options) => {
      const made = stores.portcullis(options);
      const sessions = Object.create(portcullis.sessions);
      return {...made, store: new PortcullisStore({client: {sessions}, tenantId: made.tenantId, trustProxy: ['loopback'], ...options}), sessions};
    }},
    routes: (app, world) => app.get('/up', (req, res) => {
      world.sessions.create = async () => { throw new PortcullisError('UNREACHABLE'); };
      req.session.userId = 'ada';
      res.set('Location', '/').json({});
    }),
    expect: {portcullis: {status: 503, location: undefined, cookie: undefined, n: '1', userId: undefined, errors: 1, again: 'ada'}},
    run: async ({visitor, sessions, errors}) => {
      await visitor.get('/set?n=1');
      const {status, cookie, headers} = await visitor.send('/up');
      delete sessions.create;
      const {n, userId} = await visitor.get('/show');
      const told = errors.length;
      await visitor.get('/login-without-regenerate?user=ada');
      return {status, cookie, location: headers.location, n, userId, errors: told, again: (await visitor.get('/show')).userId};
    },
  },
  {
    name: 'a login that failed in an outage can be saved again by the same request',
    store: {onUserChange: 'reissue'},
    make: {portcullis: (options) => {
      const made = stores.portcullis(options);
      const sessions = Object.create(portcullis.sessions);
      return {...made, store: new PortcullisStore({client: {sessions}, tenantId: made.tenantId, trustProxy: ['loopback'], ...options}), sessions};
    }},
    routes: (app, world) => app.get('/up', async (req, res) => {
      const save = () => new Promise((resolve) => { req.session.save((error) => resolve(error?.status)); });
      world.sessions.create = async () => { throw new PortcullisError('UNREACHABLE'); };
      req.session.userId = 'ada';
      const saved = [await save()];
      delete world.sessions.create;
      saved.push(await save());
      res.json({saved: saved.map(String)});
    }),
    expect: {portcullis: [['503', 'undefined'], 'ada']},
    run: async ({visitor}) => {
      await visitor.get('/set?n=1');
      return [(await visitor.get('/up')).saved, (await visitor.get('/show')).userId];
    },
  },
  {
    name: 'a logout in the request that got another id ends that one',
    store: {onUserChange: 'reissue'},
    routes: (app) => app.get('/in-out', (req, res, next) => {
      req.session.userId = 'bob';
      const held = req.session;
      held.save((error) => {
        if (error) return next(error);
        res.write('x');
        return held.destroy((failure) => failure ? next(failure) : res.end('y'));
      });
    }),
    expect: {portcullis: [true, true]},
    run: async ({visitor}) => {
      await visitor.get('/set?n=1');
      const old = visitor.copy();
      await visitor.send('/in-out');
      return [absent(await visitor.get('/show')), absent(await old.get('/show'))];
    },
  },
  {
    name: 'a request that reads its session is one call of the store, one that changes it two',
    expect: {redis: [2, 2], portcullis: [1, 2]},
    run: async ({visitor, kind}) => {
      const count = async () => {
        if (kind === 'portcullis') return portcullis.stats().calls;
        const stats = await redisClient.info('commandstats');
        return [...stats.matchAll(/^cmdstat_(?:get|set|expire|del):calls=(\d+)/gm)].reduce((sum, [, calls]) => sum + Number(calls), 0);
      };
      await visitor.get('/set?n=1');
      const found = [await count()];
      await visitor.get('/show');
      found.push(await count());
      await visitor.get('/set?n=2');
      found.push(await count());
      return [found[1] - found[0], found[2] - found[1]];
    },
  },
  {
    name: 'ids that are too short to be a secret are refused with the option to change',
    session: {genid: () => crypto.randomBytes(6).toString('hex')},
    routes: (app) => app.get('/save', (req, res, next) => {
      req.session.n = 1;
      req.session.save((error) => {
        delete req.session.n;
        if (error) next(error);
        else res.json({});
      });
    }),
    expect: {memory: 200, redis: 200, portcullis: 'genid'},
    run: async ({visitor}) => {
      const {status, json} = await visitor.send('/save');
      return status === 200 ? 200 : /genid/.exec(json.message)[0];
    },
  },
  {
    name: 'genid of the application is kept where it is long enough',
    session: {genid: () => crypto.randomUUID()},
    expect: true,
    run: async ({visitor}) => {
      const {id} = await visitor.get('/set?n=1');
      const shown = await visitor.get('/show');
      return id.length === 36 && shown.id === id && shown.n === '1';
    },
  },
  {
    name: 'a callback that throws is called once',
    // Redis: what the callback throws is taken for a failure of the store, and told to the callback.
    expect: {memory: 1, redis: 2, portcullis: 1},
    run: async ({store, kind}) => {
      const thrown = new Error('of the callback');
      let calls = 0;
      const caught = new Promise((resolve) => process.setUncaughtExceptionCaptureCallback(resolve));
      const done = new Promise((resolve) => {
        const callback = () => {
          if (++calls === 2) resolve();
          throw thrown;
        };
        const ask = () => { store.get('x'.repeat(32), callback)?.catch?.(resolve); };
        if (store.withContext) store.withContext({ip: '198.51.100.7'}, ask);
        else ask();
      });
      try {
        await (kind === 'redis' ? done : caught);
        // Whatever would come a second time has come by now.
        await new Promise((resolve) => { setImmediate(resolve); });
      } finally {
        process.setUncaughtExceptionCaptureCallback(null);
      }
      return calls;
    },
  },
  {
    name: 'without a callback the methods return promises',
    expect: {redis: [{n: 1}, null], portcullis: [{n: 1}, null]},
    run: async ({store}) => {
      const sid = crypto.randomUUID();
      const work = async () => {
        await store.set(sid, {n: 1, cookie: {originalMaxAge: null}});
        const {cookie, ...found} = await store.get(sid);
        await store.destroy(sid);
        return [found, await store.get(sid)];
      };
      return store.withContext ? store.withContext({ip: '198.51.100.7', userAgent: 'job'}, work) : work();
    },
  },
  {
    name: 'clear ends all sessions',
    expect: true,
    run: async ({visitor, store}) => {
      await visitor.get('/set?n=1');
      await new Promise((resolve, reject) => { store.clear((error) => error ? reject(error) : resolve()); });
      return absent(await visitor.get('/show'));
    },
  },
  {
    name: 'what a thief would want is not offered: all sessions at once',
    expect: {memory: ['function', 'function'], redis: ['function', 'function'], portcullis: ['undefined', 'undefined']},
    run: ({store}) => [typeof store.all, typeof store.length],
  },
  {
    name: 'without the middleware that reads the context the error names the line to add',
    form: undefined,
    expect: {portcullis: {first: 200, status: 500, named: true}},
    run: async ({visitor}) => {
      const first = await visitor.send('/show');
      visitor.cookies['connect.sid'] = encodeURIComponent(`s:${sign('x'.repeat(32), 'secret')}`);
      const {status, json} = await visitor.send('/show');
      return {first: first.status, status, named: json.message.includes('app.use(store.context(session({store, ...})))')};
    },
  },
  {
    name: 'it works in Express 4 as in Express 5',
    framework: express4,
    expect: ['1', 'ada'],
    run: async ({visitor}) => {
      await visitor.get('/set?n=1');
      const {n} = await visitor.get('/show');
      await visitor.get('/login?user=ada');
      return [n, (await visitor.get('/show')).userId];
    },
  },
];

for (const each of cases) {
  const perStore = typeof each.expect === 'object' && each.expect !== null && Object.keys(stores).some((kind) => kind in each.expect);
  for (const kind of Object.keys(stores)) {
    if (perStore && !(kind in each.expect)) continue;
    for (const form of 'form' in each ? [each.form] : forms[kind]) {
      test(`${form ? `${kind}, ${form}` : kind}: ${each.name}`, async (t) => {
        const world = await prepare(t, kind, form, each);
        assert.deepEqual(await each.run(world), perStore ? each.expect[kind] : each.expect);
      });
    }
  }
}

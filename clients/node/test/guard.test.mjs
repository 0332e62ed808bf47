// The guard in Express 5, Express 4 and Fastify 5, from one table of cases, against a real server.
import assert from 'node:assert/strict';
import {once} from 'node:events';
import http from 'node:http';
import net from 'node:net';
import test, {after, before} from 'node:test';
import {inspect} from 'node:util';

import {PortcullisClient} from 'portcullis-client';
import {ask, Browser, frameworks, guarded} from './support/guarded.mjs';
import {serve, TestServer} from './support/server.mjs';

let server;
let client;
before(async () => {
  server = await new TestServer({config: '[lockout]\nthreshold = 3\n'}).start();
  client = new PortcullisClient({address: server.address});
});
after(async () => {
  await client.close();
  await server.stop();
});

let users = 0;
/** A user of its own for each case: failed attempts are counted a user. */
const someone = () => `user-${++users}`;
const unknown = 'ab'.repeat(32);
const generic = {code: 2001, message: 'Log in first.', data: {error: 'AUTH_REQUIRED', status: 401, severity: 'low', retryable: false}};
const withoutId = ({code, message, data: {correlation_id, ...data}}) => {
  assert.match(correlation_id, /^[A-Za-z0-9._-]{1,64}$/);
  return {code, message, data};
};
const cleared = (answer) => answer.setCookies.some((line) => /^__Host-sid=;.*Max-Age=0/.test(line));
const untouched = (answer) => assert.deepEqual(answer.setCookies, []);
/** As Browser sends it, for a socket. */
const plainRequest = (id, agent = 'Firefox/1') => ['GET /private/me HTTP/1.1', 'Host: x', `User-Agent: ${agent}`, 'Accept-Language: en',
  `Cookie: __Host-sid=${id}`, '', ''].join('\r\n');
/** The calls that a client was asked for meanwhile. */
const asked = async (of, work) => {
  const {calls} = of.stats();
  await work();
  return of.stats().calls - calls;
};
const denials = (list) => ({log: (denial) => { list.push(denial); }});

/** name -> (t, start: (options, more) => port) */
const cases = {
  'without a cookie a required route answers 401 with the unified body, an optional one goes on, and the server is not asked': async (t, start) => {
    const port = await start();
    assert.equal(await asked(client, async () => {
      const refused = await ask(port, '/private/me');
      assert.equal(refused.status, 401);
      assert.deepEqual(withoutId(refused.json), generic);
      assert.equal(refused.headers['content-type'], 'application/json');
      assert.equal(refused.headers['cache-control'], 'no-store');
      assert.equal(refused.headers['www-authenticate'], 'Cookie');
      assert.equal(refused.headers['x-content-type-options'], 'nosniff');
      assert.match(refused.headers.vary, /Cookie/);
      untouched(refused);
      const open = await ask(port, '/open');
      assert.equal(open.status, 200);
      assert.equal(open.json.valid, false);
      assert.equal(open.json.reason, 'no_cookie');
      assert.equal(open.json.userId, undefined);
    }), 0);
  },

  'by default every route needs a session': async (t, start) => {
    const port = await start({required: undefined});
    assert.equal((await ask(port, '/private/me')).status, 401);
    const strict = await start({required: true});
    assert.equal((await ask(strict, '/open')).status, 401);
  },

  'a value that is not a session id is refused and taken away, and the server is not asked': async (t, start) => {
    const port = await start();
    assert.equal(await asked(client, async () => {
      for (const value of ['', 'x', unknown.slice(1), `${unknown}0`, unknown.toUpperCase(), `"${unknown}"`, `s:${unknown}.signature`,
        `${unknown.slice(2)}%61`, '{}', '../..', `${unknown.slice(1)}\xe9`]) {
        const refused = await ask(port, '/private/me', {headers: {cookie: `__Host-sid=${value}`}});
        assert.equal(refused.status, 401, value);
        assert.deepEqual(withoutId(refused.json), generic);
        assert.ok(cleared(refused));
      }
    }), 0);
  },

  'two cookies of the name with different values are refused and left alone, the same one twice is one': async (t, start) => {
    const port = await start();
    const browser = new Browser(port);
    await browser.login(someone());
    const go = (cookie) => ask(port, '/private/me', {headers: {...browser.headers, cookie}});
    for (const cookie of [`__Host-sid=${browser.id}; __Host-sid=${unknown}`, `__Host-sid=${unknown}; a=b; __Host-sid=${browser.id}`]) {
      assert.equal(await asked(client, async () => {
        const refused = await go(cookie);
        assert.equal(refused.status, 401);
        untouched(refused);
      }), 0);
    }
    assert.equal((await go(`__Host-sid=${browser.id}; __Host-sid=${browser.id}`)).status, 200);
  },

  'a name that only looks like the cookie\'s to a sloppy reader is not it': async (t, start) => {
    const port = await start();
    const browser = new Browser(port);
    await browser.login(someone());
    for (const name of ['\xa0__Host-sid', '\x85__Host-sid', '=__Host-sid', '__host-sid', '$Version=1; x="; y']) {
      const answer = await ask(port, '/open', {headers: {...browser.headers, cookie: `${name}=${browser.id}`}});
      assert.equal(answer.json.reason, 'no_cookie', name);
    }
  },

  'login sets the cookie with its attributes, and the next request is the user\'s': async (t, start) => {
    const port = await start();
    const browser = new Browser(port);
    const user = someone();
    const answer = await browser.login(user, '&data={"cart":3}');
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.setCookies, [`__Host-sid=${browser.id}; Path=/; HttpOnly; Secure; SameSite=Lax`]);
    assert.match(browser.id, /^[0-9a-f]{64}$/);
    assert.equal(answer.headers['cache-control'], 'no-store');
    for (const {json} of [answer, await browser.go('/private/me')]) {
      assert.equal(json.valid, true);
      assert.equal(json.userId, user);
      assert.equal(json.tenantId, 'acme');
      assert.match(json.handle, /^s_[\w-]{22}$/);
      assert.deepEqual(json.data, {cart: 3});
      assert.equal(json.version, 1);
      assert.equal(json.rotated, false);
      assert.deepEqual(json.signals, []);
      assert.equal(json.expiresAtMs, json.createdAtMs + 900_000);
    }
    const me = await browser.go('/private/me');
    untouched(me);
    assert.equal(me.headers['cache-control'], 'no-store');
  },

  'a cookie that shall outlive the browser has the session\'s absolute expiry, one for plain HTTP has no Secure': async (t, start) => {
    const port = await start({cookie: {secure: false, persistent: true, name: 'my-id'}});
    const answer = await new Browser(port).login(someone(), '&ttl=600');
    const [, maxAge] = /^my-id=[0-9a-f]{64}; Path=\/; HttpOnly; SameSite=Lax; Max-Age=(\d+)$/.exec(answer.setCookies[0]);
    assert.ok(Number(maxAge) <= 600 && Number(maxAge) > 0, maxAge);
  },

  'the session id is not in what a handler can print of the session': async (t, start) => {
    let printed = '';
    const port = await start({log: () => undefined}, {more: (app) => app.get('/print', (req, res) => {
      printed = inspect(req.portcullis, {depth: 10, showHidden: true}) + JSON.stringify(req.portcullis);
      res.end();
    })});
    const browser = new Browser(port);
    const answer = await browser.login(someone());
    assert.ok(!answer.text.includes(browser.id));
    await browser.go('/print');
    assert.ok(!printed.includes(browser.id));
  },

  'an id that an attacker planted is worth nothing after a login (fixation)': async (t, start) => {
    const port = await start();
    const attacker = new Browser(port);
    await attacker.login(someone());
    const victim = attacker.copy();
    const user = someone();
    await victim.login(user);
    assert.notEqual(victim.id, attacker.id);
    assert.equal((await victim.go('/private/me')).json.userId, user);
    assert.equal((await attacker.go('/open')).json.reason, 'revoked');
  },

  'a login of the same user gives the same session a new id without grace, and keeps its data unless other is given': async (t, start) => {
    const port = await start();
    const browser = new Browser(port);
    const user = someone();
    const first = (await browser.login(user, '&data={"a":1}')).json;
    const old = browser.copy();
    const second = (await browser.login(user)).json;
    assert.notEqual(browser.id, old.id);
    assert.equal(second.handle, first.handle);
    assert.deepEqual((await browser.go('/private/me')).json.data, {a: 1});
    const before = browser.copy();
    const third = (await browser.login(user, '&data={"b":2}')).json;
    assert.equal(third.handle, first.handle);
    assert.deepEqual((await browser.go('/private/me')).json.data, {b: 2});
    // No grace: the id before is refused at once. That is reuse, and ends the session.
    assert.equal((await before.go('/open')).json.reason, 'revoked');
    assert.equal((await browser.go('/private/me')).status, 401);
  },

  'a login with a TTL makes a session of its own and ends the one before': async (t, start) => {
    const port = await start();
    const browser = new Browser(port);
    const user = someone();
    const first = (await browser.login(user)).json;
    const old = browser.copy();
    const second = (await browser.login(user, '&ttl=300')).json;
    assert.notEqual(second.handle, first.handle);
    assert.equal(second.expiresAtMs, second.createdAtMs + 300_000);
    assert.equal((await old.go('/open')).json.reason, 'revoked');
    assert.equal((await browser.go('/private/me')).status, 200);
  },

  'a login form that is sent twice at once leaves the browser logged in': async (t, start) => {
    const port = await start();
    const browser = new Browser(port);
    const user = someone();
    await browser.login(user);
    const again = [browser.copy(), browser.copy()];
    // Both are validated before either rotates.
    let arrived = 0;
    let both;
    const meet = new Promise((resolve) => { both = resolve; });
    const original = client.sessions.rotate;
    client.sessions.rotate = async function (...args) {
      if (++arrived === 2) both();
      await meet;
      return original.apply(this, args);
    };
    t.after(() => { client.sessions.rotate = original; });
    const answers = await Promise.all(again.map((each) => each.login(user)));
    assert.deepEqual(answers.map(({status}) => status), [200, 200]);
    const left = await Promise.all(again.map(async (each) => (await each.go('/open')).json.valid));
    assert.ok(left.includes(true));
  },

  'two logins in one request set one cookie, and leave those of the application': async (t, start) => {
    const port = await start();
    const browser = new Browser(port);
    const answer = await browser.go(`/login-twice?user=${someone()}`, {method: 'POST'});
    assert.equal(answer.setCookies.length, 2);
    assert.ok(answer.setCookies.includes('theme=dark'));
    assert.equal((await browser.go('/private/me')).status, 200);
  },

  'a login of nobody is a mistake of the application, and makes no session': async (t, start) => {
    const port = await start();
    const answer = await new Browser(port).login('');
    assert.equal(answer.status, 500);
    untouched(answer);
  },

  'logout ends the session on the server and takes the cookie away; without a session it is no error': async (t, start) => {
    const port = await start();
    const browser = new Browser(port);
    await browser.login(someone());
    const thief = browser.copy();
    const answer = await browser.go('/logout', {method: 'POST'});
    assert.equal(answer.json.valid, false);
    assert.equal(answer.json.reason, 'logged_out');
    assert.equal(answer.headers['clear-site-data'], '"cache"');
    assert.equal(answer.headers['cache-control'], 'no-store');
    assert.ok(cleared(answer));
    assert.equal(browser.id, undefined);
    const late = await thief.go('/private/me');
    assert.equal(late.status, 401);
    assert.deepEqual(withoutId(late.json), generic);
    untouched(late);
    assert.equal(late.headers['clear-site-data'], '"cache"');
    assert.equal((await browser.go('/logout', {method: 'POST'})).status, 200);
  },

  'logging out everywhere ends the user\'s other sessions, and this one unless it is excepted': async (t, start) => {
    const port = await start();
    const user = someone();
    const [here, there, third] = [new Browser(port), new Browser(port), new Browser(port)];
    for (const each of [here, there, third]) await each.login(user);
    const others = await here.go('/logout-everywhere?except=1', {method: 'POST'});
    assert.deepEqual(others.json, {revoked: 2, valid: true});
    untouched(others);
    assert.equal((await there.go('/private/me')).status, 401);
    assert.equal((await here.go('/private/me')).status, 200);
    await there.login(user);
    const all = await here.go('/logout-everywhere', {method: 'POST'});
    assert.deepEqual(all.json, {revoked: 2, valid: false});
    assert.ok(cleared(all));
    assert.equal((await there.go('/private/me')).status, 401);
    const nobody = await here.go('/logout-everywhere', {method: 'POST'});
    assert.equal(nobody.status, 401);
    assert.deepEqual(withoutId(nobody.json), generic);
  },

  'another device and another address are refused with the words that say nothing, and the cookie stays': async (t, start) => {
    const told = [];
    const port = await start({trustProxy: ['loopback'], ...denials(told)});
    const browser = new Browser(port, {'x-forwarded-for': '203.0.113.7'});
    await browser.login(someone());
    for (const [other, reason] of [[{'user-agent': 'curl/8'}, 'fingerprint_mismatch'], [{'x-forwarded-for': '198.51.100.9'}, 'ip_mismatch']]) {
      const refused = await browser.copy(other).go('/private/me');
      assert.equal(refused.status, 401);
      assert.deepEqual(withoutId(refused.json), generic);
      untouched(refused);
      assert.equal(told.at(-1).reason, reason);
      assert.equal(told.at(-1).correlationId, refused.json.data.correlation_id);
    }
    assert.equal((await browser.go('/private/me')).status, 200);
  },

  'who someone is, and where, comes from no header that a client can write': async (t, start) => {
    const port = await start();
    const user = someone();
    const forged = {
      'x-portcullis-user': user, 'x-portcullis-tenant': 'acme', 'x-portcullis-handle': 's_AAAAAAAAAAAAAAAAAAAAAA', 'x-user': user, 'x-user-id': user,
      'x-remote-user': user, 'remote-user': user, 'x-forwarded-user': user, authorization: `Bearer ${user}`, 'x-session-id': unknown,
    };
    const open = await ask(port, '/open', {headers: forged});
    assert.equal(open.json.valid, false);
    assert.equal((await ask(port, '/private/me', {headers: forged})).status, 401);
    // Of the session's own request nothing of it counts, either.
    const browser = new Browser(port);
    await browser.login(user);
    const me = (await browser.go('/private/me', {headers: {...forged, 'x-portcullis-user': 'admin', 'x-user': 'admin',
      'x-forwarded-for': '198.51.100.9', 'x-real-ip': '198.51.100.9', forwarded: 'for=198.51.100.9', 'cf-connecting-ip': '198.51.100.9'}})).json;
    assert.equal(me.valid, true);
    assert.equal(me.userId, user);
    const {sessions} = (await browser.go('/list')).json;
    assert.equal(sessions[0].ip, '127.0.0.1');
  },

  'behind a trusted proxy the address is what that proxy wrote, not what the client wrote before': async (t, start) => {
    const port = await start({trustProxy: ['loopback']});
    const browser = new Browser(port, {'x-forwarded-for': '198.51.100.9, 203.0.113.7'});
    await browser.login(someone());
    assert.equal((await browser.go('/list')).json.sessions[0].ip, '203.0.113.7');
    assert.equal((await browser.copy({'x-forwarded-for': '203.0.113.7'}).go('/private/me')).status, 200);
    // The thief writes the victim's address in front of his own.
    assert.equal((await browser.copy({'x-forwarded-for': '203.0.113.7, 198.51.100.9'}).go('/private/me')).status, 401);
  },

  'a user who is locked out is told to wait where a session is needed, and goes on without one elsewhere': async (t, start) => {
    const told = [];
    const port = await start(denials(told));
    const browser = new Browser(port);
    await browser.login(someone());
    for (let i = 0; i < 3; ++i) await browser.copy({'user-agent': 'curl/8'}).go('/private/me');
    const refused = await browser.go('/private/me');
    assert.equal(refused.status, 429);
    assert.equal(refused.json.data.error, 'USER_LOCKED_OUT');
    assert.equal(refused.json.code, 4001);
    const waitS = Number(refused.headers['retry-after']);
    assert.ok(waitS > 800 && waitS <= 900, String(waitS));
    assert.equal(waitS, Math.ceil(refused.json.data.retry_after_ms / 1000));
    untouched(refused);
    const open = await browser.go('/open');
    assert.equal(open.status, 200);
    assert.equal(open.json.reason, 'locked_out');
    untouched(open);
  },

  'a session of another tenant is 403 and no user, its cookie stays': async (t, start) => {
    const user = someone();
    const acme = await start();
    const other = await start({tenant: 'other'});
    const nobody = await start({tenant: () => undefined});
    const browser = new Browser(acme);
    await browser.login(user);
    for (const [port, reason] of [[other, 'other_tenant'], [nobody, 'unknown_tenant']]) {
      const there = browser.copy();
      there.port = port;
      const refused = await there.go('/private/me');
      assert.equal(refused.status, 403);
      assert.equal(refused.json.data.error, 'FORBIDDEN');
      untouched(refused);
      const open = await there.go('/open');
      assert.equal(open.json.reason, reason);
      assert.equal(open.json.userId, undefined);
      assert.equal(open.json.data, undefined);
    }
    const login = new Browser(nobody);
    assert.equal((await login.login(user)).status, 500);
    assert.equal((await browser.go('/private/me')).json.userId, user);
  },

  'the tenant may come from the request': async (t, start) => {
    const port = await start({tenant: (request) => request.headers.host?.split(':')[0]});
    const browser = new Browser(port, {host: `one.example:${port}`});
    await browser.login(someone());
    assert.equal((await browser.go('/private/me')).json.tenantId, 'one.example');
    assert.equal((await browser.copy({host: `two.example:${port}`}).go('/private/me')).status, 403);
  },

  'what the server refuses the application is 500, in either mode, and no word of it reaches the user': async (t, start) => {
    const strict = new TestServer({auth: 'token'});
    const [app, observer] = [strict.token('app'), strict.token('observer')];
    t.after(() => strict.kill9());
    await strict.start();
    const good = new PortcullisClient({address: strict.address, token: app});
    const bad = new PortcullisClient({address: strict.address, token: observer});
    t.after(() => Promise.all([good.close(), bad.close()]));
    const told = [];
    const browser = new Browser(await start({client: good}));
    await browser.login(someone());
    browser.port = await start({client: bad, ...denials(told)});
    for (const path of ['/private/me', '/open']) {
      const refused = await browser.go(path);
      assert.equal(refused.status, 500);
      assert.deepEqual(withoutId(refused.json), {code: -32603, message: 'The server failed.',
        data: {error: 'INTERNAL', status: 500, severity: 'critical', retryable: true}});
      untouched(refused);
      assert.equal(told.at(-1).reason, 'misconfigured');
      assert.equal(told.at(-1).error.cause.code, 'FORBIDDEN');
    }
    const login = await new Browser(browser.port).login(someone());
    assert.equal(login.status, 500);
    assert.equal(login.json.data.error, 'INTERNAL');
  },

  'while the server is out the answer is 503, nobody is logged out or anonymous; when it is back all are still logged in': async (t, start) => {
    const mortal = await serve(t);
    const own = new PortcullisClient({address: mortal.address, unreachableAfterMs: 0, timeoutMs: 1000, reconnect: {capMs: 50}});
    t.after(() => own.close());
    const told = [];
    const port = await start({client: own, ...denials(told)});
    const browser = new Browser(port);
    const user = someone();
    await browser.login(user);
    const {id} = browser;
    await mortal.kill9();
    for (const path of ['/private/me', '/open', '/logout', '/logout-everywhere', '/list', `/login?user=${user}`]) {
      const refused = await browser.go(path, {method: 'POST'});
      assert.equal(refused.status, 503, path);
      assert.deepEqual(withoutId(refused.json), {code: 7001, message: 'The store is not available.',
        data: {error: 'STORE_UNAVAILABLE', status: 503, severity: 'critical', retryable: true, retry_after_ms: 1000}});
      assert.equal(refused.headers['retry-after'], '1');
      untouched(refused);
      assert.equal(told.at(-1).reason, 'unavailable');
    }
    // Who brings no cookie needs no answer of the server.
    assert.equal((await new Browser(port).go('/open')).status, 200);
    assert.equal((await new Browser(port).login(user)).status, 503);
    const back = once(own, 'connect');
    await mortal.start();
    await back;
    assert.equal(browser.id, id);
    assert.equal((await browser.go('/private/me')).json.userId, user);
  },

  'without an error handler of the guard an outage in a handler is 503 too, and names no address': async (t, start) => {
    const mortal = await serve(t);
    const own = new PortcullisClient({address: mortal.address, unreachableAfterMs: 0, timeoutMs: 1000});
    t.after(() => own.close());
    await own.connect();
    const port = await start({client: own}, {errors: false});
    await mortal.kill9();
    const refused = await new Browser(port).login(someone());
    assert.equal(refused.status, 503);
    assert.doesNotMatch(refused.text, /ECONN|127\.0\.0\.1|UNREACHABLE/);
  },

  'errors that are not of this package go to the application\'s own handlers, those that are to the log with their cause': async (t, start) => {
    const seen = [];
    const port = await start({errorLog: (error) => { seen.push(error); }});
    const broken = await ask(port, '/broken');
    assert.equal(broken.status, 500);
    assert.notEqual(broken.json?.code, -32603);
    assert.deepEqual(seen, []);
    const refused = await ask(port, '/signed-in');
    assert.equal(refused.status, 401);
    assert.deepEqual(withoutId(refused.json), generic);
    assert.equal(seen[0].code, 'AUTH_REQUIRED');
  },

  'of two requests that save what they read, the second is told of the conflict (409), reads again and saves': async (t, start) => {
    const port = await start();
    const browser = new Browser(port);
    await browser.login(someone(), '&data={"n":0}');
    let arrived = 0;
    let both;
    const meet = new Promise((resolve) => { both = resolve; });
    // Both are validated before either saves.
    const original = client.sessions.update;
    client.sessions.update = async function (...args) {
      if (++arrived === 2) both();
      await meet;
      return original.apply(this, args);
    };
    t.after(() => { client.sessions.update = original; });
    const answers = await Promise.all([browser.go('/save?data={"n":1}', {method: 'POST'}), browser.go('/save?data={"n":2}', {method: 'POST'})]);
    client.sessions.update = original;
    assert.deepEqual(answers.map(({status}) => status).sort(), [200, 409]);
    const lost = answers.find(({status}) => status === 409);
    assert.equal(lost.json.data.error, 'SESSION_VERSION_CONFLICT');
    assert.equal(lost.json.code, 3006);
    const won = answers.find(({status}) => status === 200).json;
    assert.equal(won.version, 2);
    assert.deepEqual((await browser.go('/private/me')).json.data, won.data);
    assert.equal((await browser.go('/save-after-reload?data={"n":3}', {method: 'POST'})).json.version, 3);
    assert.equal((await browser.go('/save?overwrite=1&data={"n":4}', {method: 'POST'})).json.version, 4);
    assert.deepEqual((await browser.go('/private/me')).json.data, {n: 4});
    assert.equal((await browser.go('/save?data=[1]', {method: 'POST'})).status, 500);
    const large = await browser.go('/save-too-much', {method: 'POST'});
    assert.equal(large.status, 413);
    assert.equal(large.json.data.error, 'DATA_TOO_LARGE');
    assert.equal((await browser.go('/private/me')).json.version, 4);
  },

  'rotation gives a new id at once, with grace also to requests that are under way with the old one': async (t, start) => {
    const port = await start();
    const browser = new Browser(port);
    await browser.login(someone());
    const old = browser.copy();
    await browser.go('/rotate?grace=1', {method: 'POST'});
    assert.notEqual(browser.id, old.id);
    // The answer with the new id was lost, say: the old one still goes, and brings the same new one.
    const late = await old.go('/private/me');
    assert.equal(late.json.rotated, true);
    assert.equal(old.id, browser.id);
    const before = browser.copy();
    await browser.go('/rotate', {method: 'POST'});
    assert.equal((await browser.go('/private/me')).status, 200);
    assert.equal((await before.go('/private/me')).status, 401);
  },

  'ids that are older than they may be are replaced; requests at the same time get the same new one': async (t, start) => {
    const port = await start({rotateEveryS: 60, touch: (request) => !request.url.includes('poll')});
    const browser = new Browser(port);
    await browser.login(someone());
    const first = browser.id;
    assert.ok(Math.abs(Number(browser.cookies.get('__Host-sid-at')) - Date.now() / 1000) < 60);
    untouched(await browser.go('/private/me'));
    // An hour ago, by the cookie beside it.
    browser.cookies.set('__Host-sid-at', String(Math.floor(Date.now() / 1000) - 3600));
    untouched(await browser.go('/private/me?poll'));
    const tabs = Array.from({length: 8}, () => browser.copy());
    const answers = await Promise.all(tabs.map((each) => each.go('/private/me')));
    assert.deepEqual(answers.map(({status}) => status), Array(8).fill(200));
    assert.equal(new Set(tabs.map(({id}) => id)).size, 1);
    assert.notEqual(tabs[0].id, first);
    assert.ok(Number(tabs[0].cookies.get('__Host-sid-at')) > Date.now() / 1000 - 60);
    untouched(await tabs[0].go('/private/me'));
    // What it says is not believed when it cannot be: then the session's creation counts, which is of just now, and then an hour ago.
    const original = client.sessions.validate;
    t.after(() => { client.sessions.validate = original; });
    for (const value of ['x', '-1', '', String(Math.floor(Date.now() / 1000) + 86_400)]) {
      tabs[1].cookies.set('__Host-sid-at', value);
      untouched(await tabs[1].go('/private/me'));
      client.sessions.validate = async function (...args) {
        const answer = await original.apply(this, args);
        return {...answer, createdAtMs: answer.createdAtMs - 3_600_000};
      };
      const {id} = tabs[1];
      const renewed = await tabs[1].go('/private/me');
      client.sessions.validate = original;
      assert.equal(renewed.setCookies.length, 2, value);
      assert.notEqual(tabs[1].id, id);
    }
    const out = await tabs[1].go('/logout', {method: 'POST'});
    assert.equal(out.setCookies.length, 2);
    assert.equal(tabs[1].cookies.size, 0);
  },

  'a rotation that cannot be done refuses nothing and is done later': async (t, start) => {
    const told = [];
    const original = client.sessions.rotate;
    t.after(() => { client.sessions.rotate = original; });
    const port = await start({rotateEveryS: 60, ...denials(told)});
    const browser = new Browser(port);
    await browser.login(someone());
    browser.cookies.set('__Host-sid-at', '1');
    client.sessions.rotate = function (key) { return original.call(this, key, {timeoutMs: 1, signal: AbortSignal.abort()}); };
    const answer = await browser.go('/private/me');
    client.sessions.rotate = original;
    assert.equal(answer.status, 200);
    untouched(answer);
    assert.equal(told.at(-1).error.cause.code, 'ABORTED');
    assert.equal((await browser.go('/private/me')).setCookies.length, 2);
  },

  'polling does not count as activity': async (t, start) => {
    const seen = [];
    const original = client.sessions.validate;
    client.sessions.validate = function (key, ...more) {
      seen.push(key.touch);
      return original.call(this, key, ...more);
    };
    t.after(() => { client.sessions.validate = original; });
    const port = await start({touch: (request) => !request.url.startsWith('/open')});
    const browser = new Browser(port);
    await browser.login(someone());
    await browser.go('/private/me');
    await browser.go('/open');
    assert.deepEqual(seen, [undefined, false]);
  },

  'two guards on one way ask the server once': async (t, start) => {
    const port = await start();
    const browser = new Browser(port);
    await browser.login(someone());
    assert.equal(await asked(client, () => browser.go('/private/me')), 1);
  },

  'the trace of a request is in the body, in the log and in the server\'s events': async (t, start) => {
    const told = [];
    const port = await start(denials(told));
    const browser = new Browser(port);
    const user = someone();
    await browser.login(user);
    const trace = '4bf92f3577b34da6a3ce929d0e0e4736'.replace(/^..../, () => String(users).padStart(4, '0'));
    const headers = {traceparent: `00-${trace}-00f067aa0ba902b7-01`};
    const refused = await browser.copy({'user-agent': 'curl/8'}).go('/private/me', {headers});
    assert.equal(refused.json.data.correlation_id, trace);
    assert.equal(told.at(-1).correlationId, trace);
    // A failed validation is answered before its event is durable, and shown when it is.
    let events;
    do ({events} = await client.events.query({tenantId: 'acme', userId: user, types: ['validation_failed']})); while (events.length === 0);
    assert.equal(events[0].correlation_id, trace);
    for (const traceparent of ['x', `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`, `ff-${trace}-00f067aa0ba902b7-01`,
      `00-${trace}-00f067aa0ba902b7-01\xe9`]) {
      const {json} = await ask(port, '/private/me', {headers: {traceparent}});
      assert.match(json.data.correlation_id, /^[0-9a-f]{16}$/, traceparent);
    }
    const own = await start({correlationId: (request) => request.headers['x-request-id']});
    assert.equal((await ask(own, '/private/me', {headers: {'x-request-id': 'req-1.a_B', ...headers}})).json.data.correlation_id, 'req-1.a_B');
    assert.equal((await ask(own, '/private/me', {headers: {'x-request-id': 'a b', ...headers}})).json.data.correlation_id, trace);
  },

  'HEAD is refused without a body, OPTIONS like any other': async (t, start) => {
    const port = await start();
    const head = await ask(port, '/private/me', {method: 'HEAD'});
    assert.equal(head.status, 401);
    assert.equal(head.text, '');
    assert.equal((await ask(port, '/private/me', {method: 'OPTIONS'})).status, 401);
  },

  'an application may answer a refusal itself; what it does not answer gets the body': async (t, start) => {
    const port = await start({onDenied: async (denial, request, reply) => {
      await Promise.resolve();
      if (request.headers.accept !== 'text/html' || denial.status !== 401) return false;
      reply.redirect('/login-page');
      return true;
    }});
    const page = await ask(port, '/private/me', {headers: {accept: 'text/html'}});
    assert.equal(page.status, 302);
    assert.equal(page.headers.location, '/login-page');
    const api = await ask(port, '/private/me', {headers: {accept: 'application/json'}});
    assert.deepEqual(withoutId(api.json), generic);
    const broken = await start({onDenied: () => { throw new Error('in the hook'); }});
    assert.equal((await ask(broken, '/private/me')).status, 500);
    const thrower = await start({tenant: () => { throw new Error('in the tenant'); }});
    assert.equal((await ask(thrower, '/private/me')).status, 500);
    const noisy = await start({log: () => { throw new Error('in the log'); }});
    assert.equal((await ask(noisy, '/private/me')).status, 401);
  },

  'a user sees the own sessions and ends one of them, and none of another user by its handle': async (t, start) => {
    const port = await start();
    const [ada, bob] = [someone(), someone()];
    const [here, there, bobs] = [new Browser(port), new Browser(port), new Browser(port)];
    const handles = [];
    for (const [browser, user] of [[here, ada], [there, ada], [bobs, bob]]) handles.push((await browser.login(user)).json.handle);
    const {sessions} = (await here.go('/list')).json;
    assert.deepEqual(sessions.map(({handle, current}) => [handle, current]), [[handles[0], true], [handles[1], false]]);
    assert.equal(sessions[0].userAgent, 'Firefox/1');
    const end = async (handle) => (await here.go(`/revoke?handle=${handle}`, {method: 'POST'})).json;
    assert.deepEqual(await end(handles[2]), {revoked: 0, valid: true});
    assert.equal((await bobs.go('/private/me')).status, 200);
    assert.deepEqual(await end('nonsense'), {revoked: 0, valid: true});
    assert.deepEqual(await end(handles[1]), {revoked: 1, valid: true});
    assert.equal((await there.go('/private/me')).status, 401);
    assert.deepEqual(await end(handles[0]), {revoked: 1, valid: false});
    assert.equal(here.id, undefined);
  },

  'of a client that is gone before its address was read nothing is asked, and nothing counts against its user': async (t, start) => {
    let gone;
    const seen = new Promise((resolve) => { gone = resolve; });
    const told = [];
    let hold = false;
    const port = await start({log: (denial) => {
      told.push(denial.reason);
      gone();
    }}, {before: [async (request) => {
      if (!hold) return;
      await once(request.socket, 'close');
    }]});
    const browser = new Browser(port);
    const user = someone();
    await browser.login(user);
    hold = true;
    assert.equal(await asked(client, async () => {
      const socket = net.connect(port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.write(plainRequest(browser.id), () => socket.destroy());
      await seen;
    }), 0);
    hold = false;
    assert.deepEqual(told, ['client_closed']);
    assert.equal((await client.lockouts.status({tenantId: 'acme', userId: user})).failedAttempts, 0);
    assert.equal((await browser.go('/private/me')).status, 200);
  },

  'of a client that goes while the server is asked nothing breaks': async (t, start) => {
    const port = await start();
    const browser = new Browser(port);
    await browser.login(someone());
    const original = client.sessions.validate;
    t.after(() => { client.sessions.validate = original; });
    for (const agent of ['Firefox/1', 'curl/8']) {
      const socket = net.connect(port, '127.0.0.1');
      socket.on('error', () => undefined);
      const settled = new Promise((resolve) => {
        client.sessions.validate = async function (...args) {
          client.sessions.validate = original;
          const answer = await original.apply(this, args);
          socket.destroy();
          await once(socket, 'close');
          setImmediate(() => setImmediate(resolve));
          return answer;
        };
      });
      socket.write(plainRequest(browser.id, agent));
      await settled;
    }
    assert.equal((await browser.go('/private/me')).status, 200);
  },

  'a login that cannot end the session before leaves nothing behind, and no new cookie': async (t, start) => {
    const port = await start();
    const browser = new Browser(port);
    const [before, user] = [someone(), someone()];
    await browser.login(before);
    const original = client.sessions.revoke;
    t.after(() => { client.sessions.revoke = original; });
    client.sessions.revoke = function (key) {
      client.sessions.revoke = original;
      return original.call(this, key, {signal: AbortSignal.abort()});
    };
    const refused = await browser.login(user);
    assert.equal(refused.status, 503);
    untouched(refused);
    assert.deepEqual((await client.sessions.list({tenantId: 'acme', userId: user})).sessions, []);
    assert.equal((await browser.go('/private/me')).json.userId, before);
  },

  'a login whose data cannot be saved brings the new id all the same, for the old one is over': async (t, start) => {
    const port = await start();
    const browser = new Browser(port);
    const user = someone();
    await browser.login(user);
    const {id} = browser;
    const original = client.sessions.update;
    t.after(() => { client.sessions.update = original; });
    client.sessions.update = function (key) { return original.call(this, key, {signal: AbortSignal.abort()}); };
    const half = await browser.login(user, '&data={"a":1}');
    client.sessions.update = original;
    assert.equal(half.status, 503);
    assert.notEqual(browser.id, id);
    assert.equal((await browser.go('/private/me')).json.userId, user);
  },

  'an unknown id is refused and taken away': async (t, start) => {
    const port = await start();
    const browser = new Browser(port);
    browser.id = unknown;
    const open = await browser.go('/open');
    assert.equal(open.json.reason, 'not_found');
    assert.ok(cleared(open));
  },
};

for (const framework of Object.keys(frameworks)) {
  test(framework, async (t) => {
    for (const [name, run] of Object.entries(cases)) {
      // What prints needs a route of its own; one framework says it for all, the object is the same.
      if (name.startsWith('the session id is not in') && framework.startsWith('Fastify')) continue;
      await t.test(name, (each) => run(each, (options = {}, more) => guarded(each, framework, {client, tenant: 'acme', ...options}, more)));
    }
  });
}

test('a login after the answer began fails before anything is done', async (t) => {
  const {expressGuard} = await import('portcullis-client/express');
  const guard = expressGuard({client, tenant: 'acme', required: false});
  let failure;
  const user = someone();
  const app = http.createServer((request, response) => guard(request, response, async () => {
    response.write('begun');
    failure = await request.portcullis.login({userId: user}).catch((error) => error);
    response.end();
  }));
  await new Promise((resolve) => { app.listen(0, '127.0.0.1', resolve); });
  t.after(() => app.close());
  const answer = await ask(app.address().port, '/');
  assert.equal(answer.text, 'begun');
  assert.match(failure.message, /the answer has begun/);
  assert.deepEqual((await client.sessions.list({tenantId: 'acme', userId: user})).sessions, []);
});

test('Fastify: the guard holds for the scope that registers it and not beside it, and injected requests pass through it', async (t) => {
  const {default: fastify} = await import('fastify');
  const {fastifyGuard} = await import('portcullis-client/fastify');
  const app = fastify();
  t.after(() => app.close());
  app.register(async (inner) => {
    await inner.register(fastifyGuard, {client, tenant: 'acme'});
    inner.get('/inside', () => 'inside');
    inner.post('/login', {config: {portcullis: {required: false}}}, async (request) => {
      await request.portcullis.login({userId: someone()});
      return 'in';
    });
    inner.register(async (deeper) => { deeper.get('/deeper', (request) => request.portcullis.userId); });
  });
  app.get('/outside', () => 'outside');
  const status = async (url, headers) => (await app.inject({url, headers})).statusCode;
  assert.deepEqual([await status('/outside'), await status('/inside'), await status('/deeper')], [200, 401, 401]);
  const login = await app.inject({method: 'POST', url: '/login'});
  const cookie = [login.headers['set-cookie']].flat()[0].split(';')[0];
  assert.deepEqual([await status('/inside', {cookie}), await status('/deeper', {cookie})], [200, 200]);
  await assert.rejects(async () => { await fastify().register(fastifyGuard, {client}); }, /tenant/);
});

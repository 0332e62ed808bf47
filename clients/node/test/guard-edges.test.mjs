// Around the guard: connections that are gone, answers that have begun, a server that refuses the application, two copies of the package.
import assert from 'node:assert/strict';
import {once} from 'node:events';
import http from 'node:http';
import {createRequire} from 'node:module';
import net from 'node:net';
import path from 'node:path';
import test, {after, before} from 'node:test';

import {isPortcullisError, PortcullisClient, PortcullisError} from 'portcullis-client';
import {expressGuard, guardErrors, signedIn} from 'portcullis-client/express';
import {ask, Browser, frameworks, guarded} from './support/guarded.mjs';
import {scratch, TestServer} from './support/server.mjs';

const require = createRequire(import.meta.url);
let server;
let client;
before(async () => {
  server = await new TestServer().start();
  client = new PortcullisClient({address: server.address});
});
after(async () => {
  await client.close();
  await server.stop();
});

let users = 0;
const someone = () => `edge-${++users}`;

/** Node's own server behind the guard. `handler`: (request, response, error of the guard). @returns the port, or nothing at `where` */
async function bare(t, options, handler, where) {
  const guard = expressGuard({client, tenant: 'acme', required: false, ...options});
  const app = http.createServer((request, response) => guard(request, response, (error) => handler(request, response, error)));
  await new Promise((resolve) => { app.listen(...(where === undefined ? [0, '127.0.0.1'] : [where]), resolve); });
  t.after(async () => {
    app.closeAllConnections();
    await new Promise((resolve) => { app.close(resolve); });
  });
  return app.address().port;
}

/** A browser that is logged in, at a server of its own framework. */
async function signedInBrowser(t, options = {}, user = someone()) {
  const browser = new Browser(await guarded(t, 'Express 5', {client, tenant: 'acme', ...options}));
  assert.equal((await browser.login(user)).status, 200);
  return browser;
}

test('a client that resets its connection right behind the request is gone, and no mistake of the application', async (t) => {
  const user = someone();
  const browser = await signedInBrowser(t, {}, user);
  const outcomes = [];
  let settle;
  const port = await bare(t, {log: (denial) => settle(denial.reason)}, (request, response, error) => {
    settle(error?.code ?? 'went on');
    response.end();
  });
  for (let i = 0; i < 20; ++i) {
    const settled = new Promise((resolve) => { settle = resolve; });
    const socket = net.connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    socket.write(`GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: Firefox/1\r\nAccept-Language: en\r\nCookie: __Host-sid=${browser.id}\r\n\r\n`);
    socket.resetAndDestroy();
    outcomes.push(await settled);
  }
  assert.deepEqual([...new Set(outcomes)], ['client_closed']);
  assert.equal((await client.lockouts.status({tenantId: 'acme', userId: user})).failedAttempts, 0);
  // The same, whatever Node says of the socket besides.
  const reasons = [];
  const guard = expressGuard({client, tenant: 'acme', log: (denial) => settle(denial)});
  for (const socket of [{destroyed: false, localAddress: '127.0.0.1', localPort: 80}, {destroyed: false, localPort: 80}, {destroyed: true}]) {
    const request = new http.IncomingMessage(new net.Socket());
    request.headers.cookie = `__Host-sid=${browser.id}`;
    Object.defineProperty(request, 'socket', {value: socket});
    const settled = new Promise((resolve) => { settle = resolve; });
    guard(request, new http.ServerResponse(request), (error) => settle({reason: error?.code ?? 'went on'}));
    const {reason, status} = await settled;
    reasons.push([reason, status]);
  }
  assert.deepEqual(reasons, Array(3).fill(['client_closed', 400]));
});

test('over a Unix socket without X-Forwarded-For, which nobody trusted, the application is misconfigured: 500, also without an error handler',
  async (t) => {
    const told = [];
    const socketPath = path.join(scratch(), 'app.sock');
    await bare(t, {log: (denial) => { told.push(denial); }}, (request, response, error) => {
      response.statusCode = error?.status ?? 200;
      response.end();
    }, socketPath);
    const status = await new Promise((resolve, reject) => {
      http.get({socketPath, path: '/', headers: {cookie: `__Host-sid=${'ab'.repeat(32)}`}}, (response) => {
        response.resume().on('end', () => resolve(response.statusCode));
      }).on('error', reject);
    });
    assert.equal(status, 500);
    assert.deepEqual(told.map(({reason}) => reason), ['misconfigured']);
    assert.equal(told[0].error.code, 'INTERNAL');
    assert.equal(told[0].error.cause.details.field, 'ip');
  });

test('a token that the server does not know is the application\'s fault: misconfigured, 500, and the cookie stays', async (t) => {
  const strict = new TestServer({auth: 'token'});
  const token = strict.token('app');
  t.after(() => strict.kill9());
  await strict.start();
  const good = new PortcullisClient({address: strict.address, token});
  const told = [];
  // No address is tried a second time while the test runs.
  const bad = new PortcullisClient({address: strict.address, token: 'A'.repeat(43), connections: 1, reconnect: {baseMs: 60_000, capMs: 60_000}});
  const none = new PortcullisClient({address: strict.address});
  t.after(() => Promise.all([good.close(), bad.close(), none.close()]));
  const browser = await signedInBrowser(t, {client: good});
  const codes = (error) => (error === undefined ? [] : [error.code, ...codes(error.cause)]);
  for (const [wrong, code] of [[bad, 'AUTH_FAILED'], [none, 'AUTH_REQUIRED']]) {
    browser.port = await guarded(t, 'Express 5', {client: wrong, tenant: 'acme', log: (denial) => { told.push(denial); }});
    for (const at of ['/private/me', '/open']) {
      const refused = await browser.go(at);
      assert.equal(refused.status, 500);
      assert.equal(refused.json.data.error, 'INTERNAL');
      assert.deepEqual(refused.setCookies, []);
      assert.equal(told.at(-1).reason, 'misconfigured');
      assert.ok(codes(told.at(-1).error).includes(code), codes(told.at(-1).error).join(' <- '));
    }
    assert.equal((await new Browser(browser.port).login(someone())).status, 500);
  }
});

test('an answer that begins while an id is replaced by time is left whole, and the old id is still good', async (t) => {
  const browser = await signedInBrowser(t);
  let failure = 'not called';
  let answering;
  const original = client.sessions.rotate;
  t.after(() => { client.sessions.rotate = original; });
  // As a middleware does that answers after a time limit.
  client.sessions.rotate = async function (...args) {
    const made = await original.apply(this, args);
    answering.write('slow, ');
    return made;
  };
  const guard = expressGuard({client, tenant: 'acme', rotateEveryS: 60});
  const app = http.createServer((request, response) => {
    answering = response;
    guard(request, response, (error) => {
      failure = error;
      response.end('but whole');
    });
  });
  await new Promise((resolve) => { app.listen(0, '127.0.0.1', resolve); });
  t.after(() => app.close());
  browser.port = app.address().port;
  browser.cookies.set('__Host-sid-at', '1');
  const answer = await browser.go('/');
  client.sessions.rotate = original;
  assert.equal(failure, undefined);
  assert.equal(answer.text, 'slow, but whole');
  assert.deepEqual(answer.setCookies, []);
  // With grace: the next request brings the same id, and is given the new one.
  assert.equal((await browser.go('/')).setCookies.length, 2);
});

test('with two copies of the package, a client of one and a guard of the other, nothing of the engine\'s errors is shown', async (t) => {
  const other = new (require('portcullis-client').PortcullisClient)({address: server.address});
  let failure;
  const port = await bare(t, {client: other}, async (request, response) => {
    await other.close();
    failure = await request.portcullis.login({userId: someone()}).catch((error) => error);
    response.end();
  });
  await ask(port, '/');
  assert.equal(failure.code, 'STORE_UNAVAILABLE');
  assert.equal(failure.cause.code, 'CLOSED');
});

test('what one copy of the package says may be shown is shown as it is by the other\'s guardErrors, and what a server says is not', async () => {
  const answered = (handler, error) => {
    const response = new http.ServerResponse(new http.IncomingMessage(new net.Socket()));
    handler(error, response.req, response, (passed) => { throw passed; });
    return response.statusCode;
  };
  const thrownBy = (work) => {
    try {
      return work();
    } catch (error) {
      return error;
    }
  };
  const cjs = require('portcullis-client/express');
  for (const [thrower, handler] of [[cjs.signedIn, guardErrors()], [signedIn, cjs.guardErrors()], [signedIn, guardErrors()]]) {
    const error = thrownBy(() => thrower({}));
    assert.ok(isPortcullisError(error, 'AUTH_REQUIRED'));
    assert.equal(answered(handler, error), 401);
    assert.deepEqual(Object.keys(error).filter((key) => /public|shown/i.test(key)), []);
  }
  // The application's own login at the server failed: that is no reason to send the user to log in.
  for (const code of ['AUTH_REQUIRED', 'FORBIDDEN', 'AUTH_FAILED']) assert.equal(answered(guardErrors(), new PortcullisError(code)), 500);
});

for (const framework of Object.keys(frameworks)) {
  test(`${framework}: a late answer to the id before a login takes nothing away from the login of another tab`, async (t) => {
    const port = await guarded(t, framework, {client, tenant: 'acme'});
    const browser = new Browser(port);
    await browser.login(someone());
    const poll = browser.copy();
    const next = someone();
    await browser.login(next);
    // Sent before, answered after: what it sets, the browser takes last.
    for (const at of ['/open', '/private/me']) {
      const late = await poll.go(at);
      assert.deepEqual(late.setCookies, [], at);
      assert.equal(late.headers['clear-site-data'], at === '/open' ? undefined : '"cache"');
      for (const line of late.setCookies) if (/Max-Age=0/.test(line)) browser.cookies.delete('__Host-sid');
    }
    assert.equal((await browser.go('/private/me')).json?.userId, next);
  });

  test(`${framework}: an id that has expired is refused and stays, one that nobody knows goes`, async (t) => {
    const port = await guarded(t, framework, {client, tenant: 'acme'});
    const browser = new Browser(port);
    await browser.login(someone());
    const original = client.sessions.validate;
    t.after(() => { client.sessions.validate = original; });
    for (const [reason, lines] of [['expired', 0], ['revoked', 0], ['not_found', 1]]) {
      client.sessions.validate = async () => ({valid: false, reason});
      const refused = await browser.copy().go('/private/me');
      client.sessions.validate = original;
      assert.equal(refused.status, 401);
      assert.equal(refused.setCookies.length, lines, reason);
      assert.equal(refused.headers['clear-site-data'], '"cache"', reason);
    }
  });

  test(`${framework}: whoever holds an id may end its session, also where it is refused: another device's logout is a logout`, async (t) => {
    const port = await guarded(t, framework, {client, tenant: 'acme'});
    const browser = new Browser(port);
    await browser.login(someone());
    const moved = browser.copy({'user-agent': 'curl/8'});
    assert.equal((await moved.go('/private/me')).status, 401);
    const out = await moved.go('/logout', {method: 'POST'});
    assert.equal(out.json.reason, 'logged_out');
    assert.equal(moved.id, undefined);
    assert.equal((await browser.go('/open')).json.reason, 'revoked');
  });

  test(`${framework}: a login with data that cannot be kept changes nothing`, async (t) => {
    const port = await guarded(t, framework, {client, tenant: 'acme'});
    const browser = new Browser(port);
    const user = someone();
    await browser.login(user, '&data={"a":1}');
    const {id} = browser;
      const long = (bytes) => encodeURIComponent(JSON.stringify({x: 'x'.repeat(bytes - '{"x":""}'.length)}));
    for (const data of [long(8_193), '[1]', '1', '"text"']) {
      const tight = new Browser(await guarded(t, framework, {client, tenant: 'acme', dataBytesMax: 8_192}));
      tight.cookies = new Map(browser.cookies);
      const refused = await tight.login(user, `&data=${data}`);
      assert.equal(refused.status, data.startsWith('%7B') ? 413 : 500, data.slice(0, 20));
      assert.deepEqual(refused.setCookies, []);
      if (refused.status === 413) assert.equal(refused.json.data.error, 'DATA_TOO_LARGE');
    }
    assert.equal(browser.id, id);
    assert.deepEqual((await browser.go('/private/me')).json.data, {a: 1});
    assert.equal((await browser.login(user, `&data=${long(8_192)}`)).status, 200);
    assert.notEqual(browser.id, id);
  });
}

test('the bound of a login\'s data is the server\'s default unless said, and data that is no JSON is told before anything is done', async (t) => {
  for (const dataBytesMax of [-1, 65_537, 1.5, '1']) assert.throws(() => expressGuard({client, tenant: 'acme', dataBytesMax}), /dataBytesMax/);
  const user = someone();
  const browser = await signedInBrowser(t, {}, user);
  const seen = [];
  const port = await bare(t, {}, async (request, response) => {
    const round = {};
    round.round = round;
    for (const data of [{x: 'x'.repeat(16_384)}, round, {n: 1n}, new Date(), [], null, 'text']) {
      seen.push(await request.portcullis.login({userId: user, data}).then(() => 'done', (error) => error.code ?? error.name));
    }
    response.end();
  });
  browser.port = port;
  const answer = await browser.go('/');
  assert.deepEqual(seen, ['DATA_TOO_LARGE', ...Array(6).fill('TypeError')]);
  assert.deepEqual(answer.setCookies, []);
  assert.deepEqual((await client.sessions.list({tenantId: 'acme', userId: user})).sessions.length, 1);
});

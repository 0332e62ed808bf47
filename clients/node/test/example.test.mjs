// The example application as its users meet it: one command, and a real browser (Chromium without a window).
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import readline from 'node:readline';
import test, {after, before} from 'node:test';
import {fileURLToPath} from 'node:url';
import puppeteer from 'puppeteer-core';

import {binary, scratch, TestServer} from './support/server.mjs';

const start = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', 'examples', 'express', 'start.mjs');
const chromium = process.env.PORTCULLIS_CHROMIUM ?? '/usr/bin/chromium';
if (!fs.existsSync(chromium)) throw new Error(`${chromium} is not there: install chromium (Debian), or set PORTCULLIS_CHROMIUM`);

/** Starts the example on a free port: its origin, the address of its sessions, its lines. */
async function example(env) {
  const child = spawn(process.execPath, [start], {stdio: ['ignore', 'pipe', 'pipe'],
    env: {...process.env, PORT: '0', PORTCULLIS_BINARY: binary, ...env}});
  // Not SIGKILL: it ends the server that it started.
  process.on('exit', () => child.kill('SIGTERM'));
  const log = [];
  readline.createInterface({input: child.stderr}).on('line', (line) => { log.push(line); });
  const exited = once(child, 'exit');
  const first = await Promise.race([once(readline.createInterface({input: child.stdout}), 'line'), exited]);
  const [, origin, address] = /^Open (http:\/\/localhost:\d+)\/ \(sessions: (\S+)\)$/.exec(first[0]) ?? [];
  assert.ok(origin, `${first}\n${log.join('\n')}`);
  return {origin, address, log, async stop() {
    child.kill('SIGTERM');
    return exited;
  }};
}

let server;
let app;
let browser;
before(async () => {
  server = await new TestServer().start();
  app = await example({PORTCULLIS_ADDRESS: server.address});
  browser = await puppeteer.launch({executablePath: chromium, args: ['--no-sandbox'], userDataDir: scratch('portcullis-chromium-')});
});
after(async () => {
  await browser?.close();
  assert.deepEqual(await app?.stop(), [0, null]);
  await server?.stop();
});

/** A browser of its own: another profile of the same Chromium. */
async function profile(t) {
  const context = await browser.createBrowserContext();
  t.after(() => context.close());
  return context;
}

const here = (page) => new URL(page.url()).pathname;
const text = (page, selector) => page.$eval(selector, (element) => element.textContent);
/** Clicks what leads to another page, and waits for that. */
const press = async (page, selector) => (await Promise.all([page.waitForNavigation(), page.click(selector)]))[0];

async function login(context, name = 'ada', password = 'portcullis') {
  const page = await context.newPage();
  await page.goto(`${app.origin}/`);
  assert.equal(here(page), '/login');
  await page.type('[name=name]', name);
  await page.type('[name=password]', password);
  await press(page, '#login button');
  return page;
}

const sessionCookie = async (context) => (await context.cookies()).find(({name}) => name === '__Host-sid');

test('one command starts server and application; it ends both', async () => {
  const own = await example({PORTCULLIS_ADDRESS: undefined, PORTCULLIS_DATA: path.join(scratch(), 'data')});
  const answer = await fetch(`${own.origin}/login`, {method: 'POST', redirect: 'manual', headers: {origin: own.origin},
    body: new URLSearchParams({name: 'ada', password: 'portcullis'})});
  assert.equal(answer.status, 303, await answer.text());
  assert.match(answer.headers.get('set-cookie'), /^__Host-sid=[0-9a-f]{64};/);
  assert.deepEqual(await own.stop(), [0, null]);
  // The server was told to end; that it has, its port says.
  const [, port] = own.address.split(':');
  for (;;) {
    const socket = net.connect(Number(port), '127.0.0.1');
    const open = await new Promise((resolve) => { socket.once('connect', () => resolve(true)).once('error', () => resolve(false)); });
    if (!open) break;
    await new Promise((resolve) => { socket.on('error', () => undefined).once('close', resolve).resume(); });
  }
});

test('a user signs in, and every tab of the browser is signed in', async (t) => {
  const context = await profile(t);
  const page = await login(context);
  assert.equal(here(page), '/account');
  assert.equal(await text(page, 'h1'), 'Hello ada');
  assert.equal(await text(page, '#visits'), '1');
  const cookie = await sessionCookie(context);
  assert.deepEqual([cookie.httpOnly, cookie.secure, cookie.sameSite, cookie.path, cookie.domain, cookie.session],
    [true, true, 'Lax', '/', 'localhost', true]);
  assert.equal(await page.evaluate('document.cookie'), '');
  const tab = await context.newPage();
  await tab.goto(`${app.origin}/account`);
  assert.equal(await text(tab, 'h1'), 'Hello ada');
  assert.equal(await text(tab, '#visits'), '2');
});

test('a wrong password and a name that nobody has get the same words and no session', async (t) => {
  for (const [name, password] of [['ada', 'wrong'], ['nobody', 'portcullis']]) {
    const context = await profile(t);
    const page = await login(context, name, password);
    assert.equal(await text(page, '#wrong'), 'Name or password is wrong.');
    assert.equal(await sessionCookie(context), undefined);
  }
});

test('a copied cookie is worth nothing in another user agent, and the user does not notice', async (t) => {
  const context = await profile(t);
  const page = await login(context);
  const thief = await profile(t);
  await thief.setCookie(await sessionCookie(context));
  const other = await thief.newPage();
  await other.setUserAgent('Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0');
  await other.goto(`${app.origin}/account`);
  assert.equal(here(other), '/login');
  assert.ok(app.log.some((line) => line.includes('"reason":"fingerprint_mismatch"')));
  assert.doesNotMatch(await other.content(), /fingerprint|device|ada</);
  // The same cookie with the same agent, to know that it was the agent.
  const twin = await profile(t);
  await twin.setCookie(await sessionCookie(context));
  const same = await twin.newPage();
  await same.goto(`${app.origin}/account`);
  assert.equal(await text(same, 'h1'), 'Hello ada');
  await page.reload();
  assert.equal(await text(page, 'h1'), 'Hello ada');
});

test('a new login gives the browser a new cookie', async (t) => {
  const context = await profile(t);
  const page = await login(context, 'bob');
  const first = (await sessionCookie(context)).value;
  await page.goto(`${app.origin}/login`);
  await page.type('[name=name]', 'bob');
  await page.type('[name=password]', 'portcullis');
  await press(page, '#login button');
  assert.equal(await text(page, 'h1'), 'Hello bob');
  assert.notEqual((await sessionCookie(context)).value, first);
});

test('logging out everywhere in one browser ends the other browser\'s session', async (t) => {
  const [one, two] = [await profile(t), await profile(t)];
  const page = await login(one);
  const other = await login(two);
  assert.equal(here(other), '/account');
  await press(page, '#everywhere button');
  assert.equal(here(page), '/login');
  assert.equal(await sessionCookie(one), undefined);
  await other.reload();
  assert.equal(here(other), '/login');
  // What is left is the id of a session that is over; the next login replaces it.
  const dead = await sessionCookie(two);
  await other.reload();
  assert.equal(here(other), '/login');
  await other.type('[name=name]', 'ada');
  await other.type('[name=password]', 'portcullis');
  await press(other, '#login button');
  assert.equal(here(other), '/account');
  assert.notEqual((await sessionCookie(two)).value, dead.value);
});

test('a user sees the own sessions and ends another one, and then all others', async (t) => {
  const [one, two, three] = [await profile(t), await profile(t), await profile(t)];
  const page = await login(one, 'bob');
  await press(page, '#others button');
  const [second, third] = [await login(two, 'bob'), await login(three, 'bob')];
  await page.reload();
  const rows = await page.$$eval('#sessions tr td:first-child', (cells) => cells.map((cell) => cell.textContent));
  assert.equal(rows.length, 3);
  assert.match(rows[0], /this one/);
  await press(page, `#end-${rows[1]} button`);
  await second.reload();
  assert.equal(here(second), '/login');
  await third.reload();
  assert.equal(here(third), '/account');
  await press(page, '#others button');
  assert.equal(here(page), '/account');
  await third.reload();
  assert.equal(here(third), '/login');
});

test('after logging out the back button shows nothing of the account', async (t) => {
  const context = await profile(t);
  const page = await login(context);
  await press(page, 'a[href="/quote"]');
  assert.match(await text(page, '#quote'), /verify/);
  await press(page, 'a[href="/account"]');
  await press(page, '#logout button');
  assert.equal(here(page), '/login');
  for (let back = 0; back < 3; ++back) {
    await page.goBack();
    assert.equal(here(page), '/login');
    assert.doesNotMatch(await page.content(), /Hello ada|verify/);
  }
});

test('another site\'s form, and that of another port of this one, change nothing', async (t) => {
  const context = await profile(t);
  await login(context);
  const {value} = await sessionCookie(context);
  const evil = http.createServer((request, response) => response.setHeader('content-type', 'text/html')
    .end(`<form method="post" action="${app.origin}/logout"><button id="go">Win</button></form>`));
  await new Promise((resolve) => { evil.listen(0, '127.0.0.1', resolve); });
  t.after(() => {
    evil.close();
    evil.closeAllConnections();
  });
  for (const host of ['127.0.0.1', 'localhost']) {
    const page = await context.newPage();
    await page.goto(`http://${host}:${evil.address().port}/`);
    const answer = await press(page, '#go');
    assert.equal(answer.status(), 403, host);
    assert.equal((await sessionCookie(context)).value, value);
    await page.goto(`${app.origin}/account`);
    assert.equal(await text(page, 'h1'), 'Hello ada');
  }
});

test('the server is killed: the page says 503; it is back: the user is still signed in', async (t) => {
  const context = await profile(t);
  const page = await login(context);
  const {value} = await sessionCookie(context);
  await server.kill9();
  const out = await page.reload();
  assert.equal(out.status(), 503);
  assert.equal(out.headers()['retry-after'], '1');
  assert.match(await text(page, '#failure'), /still signed in/);
  assert.equal((await sessionCookie(context)).value, value);
  const logout = await page.goto(`${app.origin}/`);
  assert.equal(logout.status(), 503);
  await server.start();
  // The application comes back to the server by itself; until then the answer stays 503.
  let answer;
  do answer = await page.goto(`${app.origin}/account`); while (answer.status() === 503);
  assert.equal(answer.status(), 200);
  assert.equal(await text(page, 'h1'), 'Hello ada');
  assert.equal(await text(page, '#visits'), '2');
  assert.equal((await sessionCookie(context)).value, value);
});

test('a form that is too large or of an unknown charset gets a page or JSON of this application, and no stack', async () => {
  const post = (accept, body, more) => fetch(`${app.origin}/login`, {method: 'POST', redirect: 'manual', body,
    headers: {origin: app.origin, accept, 'content-type': `application/x-www-form-urlencoded${more}`}});
  for (const accept of ['text/html', 'application/json']) {
    for (const [answer, status] of [[await post(accept, `name=${'x'.repeat(9000)}`, ''), 413],
      [await post(accept, 'name=ada', '; charset=bogus'), 415]]) {
      const body = await answer.text();
      assert.equal(answer.status, status, body);
      assert.equal(answer.headers.get('cache-control'), 'no-store');
      assert.doesNotMatch(body, /node_modules|\bat |Error:|our fault/);
      assert.match(body, accept === 'text/html' ? /id="failure"/ : /^\{"status":4\d\d\}$/);
    }
  }
});

// The cookie's parser and writer, and what the guard's options refuse: no server is needed.
import assert from 'node:assert/strict';
import test from 'node:test';

import {PortcullisClient} from 'portcullis-client';
import {expressGuard} from 'portcullis-client/express';
import {cookieSettings, clearCookie, findCookie, writeCookie} from '../dist/esm/guard/cookie.js';

test('a cookie is found wherever it stands, with blanks and tabs around it', () => {
  const one = (value) => ({kind: 'one', value});
  for (const [header, found] of [
    ['sid=1', one('1')], ['a=b; sid=1', one('1')], ['sid=1; a=b', one('1')], ['a=b;sid=1;c=d', one('1')], [' \t sid \t=\t 1 \t; a', one('1')],
    ['sid=a=b', one('a=b')], ['sid=', one('')], ['sid=1; sid=1', one('1')], ['sid="1"', one('"1"')], [';;; ; sid=1;', one('1')],
    ['sid=1; sid=2', {kind: 'several'}], ['sid=; sid=2', {kind: 'several'}],
    ['', {kind: 'none'}], [undefined, {kind: 'none'}], ['sid', {kind: 'none'}], ['xsid=1', {kind: 'none'}], ['sidx=1', {kind: 'none'}],
    ['SID=1', {kind: 'none'}], ['=sid=1', {kind: 'none'}], ['a=sid=1', {kind: 'none'}], ['$Version=1; a="; sid=1"', one('1"')],
  ]) assert.deepEqual(findCookie(header, 'sid'), found, String(header));
});

test('no character but blank and tab is taken away from a name: a neighbour may write what then begins otherwise', () => {
  for (const odd of ['\xa0', '\x85', '\ufeff', '\u2003', '\v', '\f', '\0']) {
    assert.deepEqual(findCookie(`${odd}__Host-sid=1`, '__Host-sid'), {kind: 'none'}, JSON.stringify(odd));
  }
});

test('a field of a million cookies is read in one pass', () => {
  assert.deepEqual(findCookie(`${'a=b;'.repeat(1_000_000)}sid=1`, 'sid'), {kind: 'one', value: '1'});
  assert.deepEqual(findCookie(`${'a;'.repeat(1_000_000)}sid=1`, 'sid'), {kind: 'one', value: '1'});
});

test('the cookie has the attributes that the options say, by default those of __Host-', () => {
  const line = (options, maxAgeS) => {
    const settings = cookieSettings(options);
    return writeCookie(settings, settings.name, 'v', maxAgeS);
  };
  assert.equal(line(), '__Host-sid=v; Path=/; HttpOnly; Secure; SameSite=Lax');
  assert.equal(line({secure: false}), 'sid=v; Path=/; HttpOnly; SameSite=Lax');
  assert.equal(line({path: '/app', sameSite: 'strict'}), 'sid=v; Path=/app; HttpOnly; Secure; SameSite=Strict');
  assert.equal(line({domain: 'example.com', name: '__Secure-id', sameSite: 'none'}, 60.9),
    '__Secure-id=v; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=None; Max-Age=60');
  assert.equal(clearCookie(cookieSettings(), '__Host-sid'),
    '__Host-sid=; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT');
});

test('cookie options that a browser would not keep are refused by name', () => {
  for (const [options, name] of [
    [{name: 'a b'}, /cookie\.name/], [{name: ''}, /cookie\.name/], [{name: 'a;b'}, /cookie\.name/],
    [{sameSite: 'none', secure: false}, /cookie\.sameSite/],
    [{sameSite: 'Lax'}, /cookie\.sameSite/], [{path: 'x'}, /cookie\.path/], [{path: '/;Secure'}, /cookie\.path/],
    [{path: '/\r\nX: y'}, /cookie\.path/],
    [{domain: 'a;b'}, /cookie\.domain/], [{name: '__Host-sid', secure: false}, /__Host-/], [{name: '__host-sid', path: '/a'}, /__Host-/],
    [{name: '__Host-sid', domain: 'example.com'}, /__Host-/], [{name: '__Secure-sid', secure: false}, /__Secure-/],
    [{secure: 'yes'}, /cookie\.secure/],
    [{persistent: 1}, /cookie\.persistent/],
  ]) assert.throws(() => cookieSettings(options), (error) => error instanceof TypeError && name.test(error.message), JSON.stringify(options));
});

test('options of the guard that cannot be are refused by name when it is made', async () => {
  const client = new PortcullisClient();
  for (const [options, name] of [
    [undefined, /client/], [{tenant: 'acme'}, /client/], [{client}, /tenant/], [{client, tenant: ''}, /tenant/], [{client, tenant: 7}, /tenant/],
    [{client, tenant: 'acme', required: 'no'}, /required/], [{client, tenant: 'acme', rotateEveryS: 9}, /rotateEveryS/],
    [{client, tenant: 'acme', rotateEveryS: NaN}, /rotateEveryS/], [{client, tenant: 'acme', touch: true}, /touch/],
    [{client, tenant: 'acme', trustProxi: []}, /trustProxi/], [{client, tenant: 'acme', onDenied: '/login'}, /onDenied/], [{client, tenant: 'acme', trustProxy: ['nonsense']}, /trustProxy/],
    [{client, tenant: 'acme', fields: ['cookie']}, /fields/], [{client, tenant: 'acme', cookie: {name: 'a b'}}, /cookie\.name/],
  ]) {
    const named = (error) => (error instanceof TypeError || error instanceof RangeError) && name.test(error.message);
    assert.throws(() => expressGuard(options), named, String(name));
  }
  await client.close();
});

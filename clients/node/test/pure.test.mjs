// Rules without a socket: addresses, waits, budgets, contexts, what may be sent twice, the text of a validation.
import assert from 'node:assert/strict';
import test from 'node:test';

import {isPrivate, parseAddress} from '../dist/esm/address.js';
import {backoffMs, RetryBudget} from '../dist/esm/backoff.js';
import {contextReader, isPortcullisError, PortcullisClient, PortcullisError} from '../dist/esm/index.js';
import {isSafe} from '../dist/esm/safety.js';
import {fromWire, toWire, validationToWire} from '../dist/esm/wire.js';

test('an address is parsed in every form', () => {
  const parsed = (text, tls) => {
    const {host, port, path, tls: secure} = parseAddress(text, tls);
    return [host, port, path, secure];
  };
  assert.deepEqual(parsed('db.example:7000'), ['db.example', 7000, undefined, false]);
  assert.deepEqual(parsed('db.example'), ['db.example', 7420, undefined, false]);
  assert.deepEqual(parsed('[2001:db8::1]:7000'), ['2001:db8::1', 7000, undefined, false]);
  assert.deepEqual(parsed('portcullis://10.0.0.1'), ['10.0.0.1', 7420, undefined, false]);
  assert.deepEqual(parsed('portcullis+tls://db.example:7421/'), ['db.example', 7421, undefined, true]);
  assert.deepEqual(parsed('db.example:7421', true), ['db.example', 7421, undefined, true]);
  assert.deepEqual(parsed('unix:/run/portcullis/rpc.sock', true), [undefined, undefined, '/run/portcullis/rpc.sock', false]);
});

test('an address that is none says what is wrong', () => {
  for (const [text, says] of [['', /host:port/], ['http://x:1', /scheme/], ['a b:1', /host:port/], ['::1:7420', /host:port/], ['x:70000', /1\.\.65535/],
    ['x:0', /1\.\.65535/], ['unix:relative', /absolute/], ['portcullis+tls://x', /no default port/], ['portcullis://token@x:1', /option token/]]) {
    assert.throws(() => parseAddress(text), (failure) => failure instanceof TypeError && says.test(failure.message), text);
  }
  assert.throws(() => parseAddress('redis://u:hunter2@h'), (failure) => !failure.message.includes('hunter2'));
});

test('only TLS, Unix sockets and loopback are private', () => {
  for (const text of ['127.0.0.1:1', '127.9.9.9:1', '[::1]:1', 'localhost:1', 'unix:/x', 'portcullis+tls://example.org:1']) {
    assert.ok(isPrivate(parseAddress(text)), text);
  }
  for (const text of ['10.0.0.1:1', 'example.org:1', '[2001:db8::1]:1', '127.example.org:1', 'localhost.example.org:1']) {
    assert.ok(!isPrivate(parseAddress(text)), text);
  }
});

test('waits grow, are capped, and spread from 0 on', () => {
  assert.equal(backoffMs(0, 25, 1000, 0.999), 24);
  assert.equal(backoffMs(3, 25, 1000, 0.5), 100);
  assert.equal(backoffMs(50, 25, 1000, 0.999), 999);
  assert.equal(backoffMs(1000, 25, 1000, 0), 0);
});

test('a retry budget follows the load, and not the failures', () => {
  const budget = new RetryBudget(0.1, 0, 10, 0);
  let retries = 0;
  for (let call = 0; call < 1000; ++call) {
    budget.deposit();
    if (budget.withdraw(0)) ++retries;  // every call fails
  }
  assert.ok(retries >= 100 && retries <= 111, `${retries}`);
  const idle = new RetryBudget(0.1, 10, 10, 0);
  for (let i = 0; i < 10; ++i) assert.ok(idle.withdraw(0));
  assert.ok(!idle.withdraw(0));
  assert.ok(idle.withdraw(100));  // one more came by itself
  assert.ok(!idle.withdraw(100));
});

test('what changes something is not sent twice', () => {
  for (const method of ['session.validate', 'session.revoke', 'breaker.report_batch', 'server.ping']) assert.ok(isSafe(method, ''), method);
  for (const method of ['session.create', 'session.update', 'breaker.acquire', 'breaker.report', 'breaker.override', 'admin.drain', 'new.method']) {
    assert.ok(!isSafe(method, ''), method);
  }
  assert.ok(isSafe('session.rotate', '"params":{"session_id":"x"}'));
  assert.ok(!isSafe('session.rotate', '"params":{"session_id":"x","grace":false}'));
});

test('the text of a validation is JSON, whatever is in it', () => {
  const nasty = 'quote " backslash \\ newline \n tab \t nul \u0000 lone \ud800 emoji \u{1f600} </script> \u2028';
  const context = {ip: nasty, userAgent: nasty, accept: nasty, acceptLanguage: '', acceptEncoding: nasty, ja3: nasty, ja4: nasty};
  assert.deepEqual(JSON.parse(validationToWire({sessionId: nasty}, context, false, {correlation_id: nasty})), {
    session_id: nasty, touch: false, _meta: {correlation_id: nasty},
    context: {ip: nasty, user_agent: nasty, accept: nasty, accept_language: '', accept_encoding: nasty, ja3: nasty, ja4: nasty},
  });
  assert.deepEqual(JSON.parse(validationToWire({alias: nasty, tenantId: 'acme'}, {ip: '::1'}, undefined, undefined)),
    {alias: nasty, tenant_id: 'acme', context: {ip: '::1'}});
  // What TypeScript would have refused becomes text, never another parameter.
  assert.deepEqual(JSON.parse(validationToWire({sessionId: undefined}, {ip: null}, true, undefined)), {session_id: 'undefined', context: {ip: 'null'}});
});

test('names are translated, and the content of data is not', () => {
  assert.deepEqual(toWire({tenantId: 'a', idleTtlS: 3, data: {userId: 1}, limit: undefined}), {tenant_id: 'a', idle_ttl_s: 3, data: {userId: 1}});
  assert.deepEqual(fromWire({created_at_ms: 1, data: {user_id: 1}, sources: [{last_report_at_ms: 2}]}),
    {createdAtMs: 1, data: {user_id: 1}, sources: [{lastReportAtMs: 2}]});
});

test('an option that cannot be is refused by name', () => {
  for (const [options, says] of [[{connections: 0}, /connections/], [{timeoutMs: NaN}, /timeoutMs/], [{maxInFlight: 2000}, /maxInFlight/],
    [{address: []}, /address/], [{address: 'x:y'}, /address/], [{retry: {ratio: 2}}, /retry.ratio/]]) {
    assert.throws(() => new PortcullisClient(options), says);
  }
});

test('an error shows to strangers what is fixed, and is known by its shape', () => {
  const error = new PortcullisError('USER_LOCKED_OUT', {retryAfterMs: 5, correlationId: 'abc', method: 'session.update', cause: new Error('inner')});
  assert.deepEqual(JSON.parse(JSON.stringify(error)), {code: 4001, message: 'The user is locked out after failed attempts.',
    data: {error: 'USER_LOCKED_OUT', status: 429, severity: 'high', retryable: true, correlation_id: 'abc', retry_after_ms: 5}});
  assert.equal(new PortcullisError('TIMEOUT').toJSON().code, -32603);
  assert.ok(error.retryable && isPortcullisError(error) && isPortcullisError(error, 'TIMEOUT', 'USER_LOCKED_OUT') && !isPortcullisError(error, 'TIMEOUT'));
  assert.ok(!isPortcullisError(new Error('x')) && !isPortcullisError(undefined));
});

const request = (remoteAddress, headers = {}) => ({socket: {remoteAddress}, headers});

test('the address of a request is the connection\'s unless a trusted proxy says another', () => {
  const direct = contextReader();
  assert.equal(direct(request('203.0.113.7', {'x-forwarded-for': '1.2.3.4'})).ip, '203.0.113.7');
  assert.equal(direct(request('::ffff:203.0.113.7')).ip, '203.0.113.7');
  const behind = contextReader({trustProxy: ['loopback', '10.0.0.0/8', '2001:db8::/32']});
  const of = (peer, forwarded) => behind(request(peer, {'x-forwarded-for': forwarded})).ip;
  assert.equal(of('127.0.0.1', '198.51.100.9'), '198.51.100.9');
  assert.equal(of('203.0.113.7', '198.51.100.9'), '203.0.113.7');
  // What the client wrote itself stands left of what the proxy saw.
  assert.equal(of('10.1.1.1', '6.6.6.6, 198.51.100.9'), '198.51.100.9');
  assert.equal(of('10.1.1.1', '6.6.6.6, 198.51.100.9, 10.2.2.2'), '198.51.100.9');
  assert.equal(of('10.1.1.1', '10.3.3.3, 10.2.2.2'), '10.3.3.3');
  assert.equal(of('10.1.1.1', 'nonsense, 10.2.2.2'), '10.2.2.2');
  assert.equal(of('10.1.1.1', '198.51.100.9:4711'), '198.51.100.9');
  assert.equal(of('10.1.1.1', '[2001:db9::1]:4711'), '2001:db9::1');
  assert.equal(of('2001:db8::5', '::ffff:198.51.100.9'), '198.51.100.9');
  assert.equal(of('10.1.1.1', ''), '10.1.1.1');
  assert.equal(of('10.1.1.1', `198.51.100.9${', 10.0.0.1'.repeat(100)}`), '10.0.0.1');  // bounded
  assert.equal(contextReader({trustProxy: ['unix']})(request(undefined, {'x-forwarded-for': '198.51.100.9'})).ip, '198.51.100.9');
  const gone = {socket: {remoteAddress: undefined, destroyed: true}, headers: {}};
  for (const each of [gone, request(undefined)]) {
    assert.throws(() => direct(each), (failure) => failure.code === 'INVALID_PARAMS' && failure.details.field === 'ip' && !failure.sent);
  }
  for (const trustProxy of [true, 1, 'loopback']) assert.throws(() => contextReader({trustProxy}), /trustProxy: a list/);
  for (const entry of ['10.0.0.0/33', 'example.org', '10.0.0', '10.0.0.0/8/8', '*']) {
    assert.throws(() => contextReader({trustProxy: [entry]}), (failure) => failure instanceof TypeError && failure.message.includes(entry));
  }
});

test('a context has the fields that were asked for, cut to what the server takes', () => {
  const headers = {'user-agent': Buffer.from('ä'.repeat(2000)).toString('latin1'), accept: 'text/html', 'accept-language': '', 'accept-encoding': 'gzip'};
  const context = contextReader()(request('::1', headers));
  assert.deepEqual(Object.keys(context), ['ip', 'userAgent']);
  assert.equal(context.userAgent, 'ä'.repeat(512));
  assert.equal(contextReader()(request('::1', {'user-agent': Buffer.from('Café').toString('latin1')})).userAgent, 'Café');
  assert.deepEqual(contextReader({fields: ['accept', 'acceptEncoding']})(request('::1', headers)), {ip: '::1', accept: 'text/html', acceptEncoding: 'gzip'});
  assert.throws(() => contextReader({fields: ['cookie']}), /cookie/);
});

// JSON-RPC clients and circuit breakers of others against the real binary. usage: node run.js BINARY FOLDER-WITH-node_modules CLIENT
'use strict';

const assert = require('node:assert');
const {spawn} = require('node:child_process');
const fs = require('node:fs');
const {createRequire} = require('node:module');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');

const [binary, installed, wanted] = process.argv.slice(2);
const need = createRequire(path.join(installed, 'package.json'));
const context = {ip: '192.0.2.1', user_agent: 'agent/1'};
const user = (user_id) => ({tenant_id: 'acme', user_id, context});

/** Starts a server on ports of its own choice; resolves to {port, http, stop}. */
function serve() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'portcullis-npm-'));
  const server = spawn(binary, ['serve', '--data-dir', path.join(folder, 'data'), '--listen', '127.0.0.1:0', '--http',
    '127.0.0.1:0', '--set', 'server.environment=development', '--set', 'auth.mode=none'], {stdio: ['ignore', 'ignore', 'pipe']});
  const stop = () => {
    server.kill('SIGKILL');
    fs.rmSync(folder, {recursive: true, force: true});
  };
  process.on('exit', stop);
  return new Promise((resolve, reject) => {
    server.on('exit', (code) => reject(new Error(`the server ended with ${code}`)));
    readline.createInterface({input: server.stderr}).on('line', (line) => {
      const entry = JSON.parse(line);
      const port_of = (address) => Number(address.split(':').pop());
      if (entry.message === 'The node is ready.') resolve({port: port_of(entry.rpc), http: port_of(entry.http), stop});
    });
  });
}

/** jayson's own promise of a call that uses its two-argument callback. */
const call = (client, ...request) => new Promise((resolve, reject) => {
  client.request(...request, (failure, response) => (failure ? reject(failure) : resolve(response)));
});

async function jayson(name, port) {
  const client = need(name).Client.tcp({host: '127.0.0.1', port});
  const made = (await call(client, 'session.create', {...user('ada'), data: {role: 'editor'}})).result;
  assert.match(made.session_id, /^[0-9a-f]{64}$/);
  const who = {session_id: made.session_id, context};

  const valid = (await call(client, 'session.validate', who)).result;
  assert.deepStrictEqual([valid.valid, valid.user_id, valid.data], [true, 'ada', {role: 'editor'}]);
  const elsewhere = (await call(client, 'session.validate', {...who, context: {ip: '198.51.100.1'}})).result;
  assert.deepStrictEqual(elsewhere, {valid: false, reason: 'ip_mismatch'});

  // Errors: of the protocol, of a method, of a parameter.
  assert.strictEqual((await call(client, 'no.such.method', {})).error.code, -32601);
  const refused = (await call(client, 'session.update', {...who, data: {}, version: 9})).error;
  assert.deepStrictEqual([refused.code, refused.data.error, refused.data.retryable], [3006, 'SESSION_VERSION_CONFLICT', true]);
  assert.strictEqual((await call(client, 'session.validate', {})).error.data.details.field, 'session_id');
  assert.strictEqual((await call(client, 'session.stats', [])).result.live, 1);

  // Ids of the client's own choice come back as they are.
  for (const id of [7, 'seven', 0]) assert.strictEqual((await call(client, 'server.ping', {}, id)).id, id);

  // A batch: the answers that are due, each with its id.
  const batch = [client.request('session.validate', who, 'a'), client.request('session.revoke', {handle: 'x'}, 'b'),
    client.request('session.stats', {}, null), client.request('server.version', [], 'c')];
  const answers = await call(client, batch);
  assert.deepStrictEqual(answers.map((each) => each.id).sort(), ['a', 'b', 'c']);
  const of = (id) => answers.find((each) => each.id === id);
  assert.strictEqual(of('a').result.valid, true);
  assert.strictEqual(of('b').error.code, -32602);
  assert.strictEqual(of('c').result.protocol, 1);

  // A notification is executed: it closes right after sending, without waiting for anything.
  await call(client, 'session.revoke', {session_id: made.session_id}, null);
  for (let i = 0; ; ++i) {
    const now = (await call(client, 'session.validate', who)).result;
    if (now.reason === 'revoked') break;
    assert.ok(i < 1000, 'the notification was not executed');
  }
}

/** Sends no delimiter between requests, pipelines them on one connection, and knows positional parameters only. */
async function jsonRpc2(port) {
  const rpc = need('json-rpc2');
  const connection = await new Promise((resolve, reject) => {
    const client = rpc.Client.$create(port, '127.0.0.1');
    client.connectSocket((failure, conn) => (failure ? reject(failure) : resolve(conn)));
  });
  const ask = (method, params) => new Promise((resolve, reject) => {
    connection.call(method, params, (failure, result) => (failure ? reject(failure) : resolve(result)));
  });
  const all = await Promise.all([...Array(100).keys()].map((i) => ask(i % 2 ? 'server.version' : 'session.stats', [])));
  all.forEach((each, i) => assert.strictEqual(i % 2 ? each.protocol : each.live, i % 2 ? 1 : 0));
  assert.deepStrictEqual(await ask('server.ping', ['any', 'thing']), {});
  await assert.rejects(ask('session.validate', [{session_id: 'x'}]), (failure) => failure.code === -32602);
  connection.end();
}

/** Begins with server.version and keeps the line alive with server.ping, both with positional parameters. */
async function electrum(port) {
  const Client = need('@mempool/electrum-client');
  const client = new Client(port, '127.0.0.1', 'tcp', null, {onLog: () => {}});
  await client.initElectrum({client: 'test', version: '1.4'}, {retryPeriod: 1000, maxRetry: 0, pingPeriod: 120000, callback: null});
  assert.strictEqual(client.versionInfo.protocol, 1);
  assert.deepStrictEqual(await client.server_ping(), {});
  const made = await client.request('session.create', user('eve'));
  const valid = await client.request('session.validate', {session_id: made.session_id, context});
  assert.strictEqual(valid.user_id, 'eve');
  await assert.rejects(client.request('no.such.method', []));
  client.close();
}

const clients = {
  'jayson-5': (port) => jayson('jayson-5', port),
  'jayson-4': (port) => jayson('jayson-4', port),
  'json-rpc2': jsonRpc2,
  'electrum-client': electrum,
  opossum: async (port, ports) => (await import('./opossum_proof.mjs')).default(need('opossum'), ports),
};

serve().then(async ({stop, ...ports}) => {
  await clients[wanted](ports.port, ports);
  console.log(`${wanted}: ok`);
  stop();
  process.exit(0);
}).catch((failure) => {
  console.error(failure);
  process.exit(1);
});

// One of many processes that share a breaker: calls a downstream again and again, and tells its parent what it sees.
// arguments: address of the server, port of the downstream, name of this child, `defaults`: all times but the window as they are by default
import http from 'node:http';

import {breaker} from '../../dist/esm/breaker/breaker.js';
import {PortcullisClient} from '../../dist/esm/index.js';

const [address, port, name, defaults] = process.argv.slice(2);
const agent = new http.Agent({keepAlive: true, maxSockets: 4});
// Fifty processes on two cores: what is slow is not lost.
const patient = {timeoutMs: 120_000, connectTimeoutMs: 120_000, unreachableAfterMs: 200};
const client = new PortcullisClient({address, connections: 1, ...!defaults && patient});
const totals = {success: 0, failure: 0, timeout: 0, ignored: 0, rejected: 0};

const ask = () => new Promise((resolve, reject) => {
  const request = http.get({port, agent, headers: {'x-child': name, 'x-state': of.state}}, (response) => {
    response.resume();
    response.on('end', () => response.statusCode === 200 ? resolve('fine') : reject(new Error(`${response.statusCode}`)));
  });
  request.on('error', reject);
});
const quick = {timeout: 120_000, acquireTimeoutMs: 120_000, resetTimeout: 300, volumeThreshold: 3, rollingCountTimeout: 2000};
const of = breaker(ask, {client, service: 'downstream', name: 'shared', ...!defaults && quick});

const tell = (event, more) => process.send({name, event, state: of.state, epoch: of.epoch, ...more});
for (const event of ['open', 'halfOpen', 'close', 'degraded', 'recovered']) of.on(event, () => tell(event));

let pending = 0;
let idle;
async function fire() {
  ++pending;
  try {
    await of.fire();
    ++totals.success;
    if (totals.success === 5) tell('calling');
  } catch (error) {
    ++totals[error.code === 'EOPENBREAKER' ? 'rejected' : error.code === 'ETIMEDOUT' ? 'timeout' : 'failure'];
  }
  if (--pending === 0) idle?.();
}

let timer;
// A parent that is killed takes its children along.
process.on('disconnect', () => process.exit());
process.on('message', async (order) => {
  if (order === 'go') timer = setInterval(fire, 150 + 100 * Math.random());
  if (order === 'refused') {
    const before = totals.rejected;
    while (totals.rejected < before + 3) await new Promise((done) => setTimeout(done, 5));
    tell('refused');
  }
  if (order === 'pause') {
    clearInterval(timer);
    if (pending > 0) await new Promise((done) => { idle = done; });
    idle = undefined;
    while (!await of.flush()) await new Promise((done) => setTimeout(done, 20));
    tell('paused', {totals, dropped: of.droppedReports});
  }
  if (order === 'end') {
    await of.shutdown();
    await client.close();
    agent.destroy();
    process.disconnect();
  }
});
await of.flush();
while (!of.toJSON().shared.pushing) await new Promise((done) => setTimeout(done, 5));
tell('ready');

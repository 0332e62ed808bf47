// Calls of every kind, and the heap after the first tenth of them and at the end.
import {PortcullisClient} from '../../dist/esm/index.js';
import {TestServer} from './server.mjs';

const calls = Number(process.argv[2]);
const server = await new TestServer().start();
const portcullis = new PortcullisClient({address: server.address, timeoutMs: 60_000});
const context = {ip: '192.0.2.1', userAgent: 'agent/1'};
const {sessionId} = await portcullis.sessions.create({tenantId: 'acme', userId: 'ada', context});
const heap = () => {
  global.gc();
  return process.memoryUsage().heapUsed;
};
const controller = new AbortController();
let done = 0;
const run = (until) => Promise.all(Array.from({length: 50}, async () => {
  while (done < until) {
    ++done;
    if (done % 1000 === 0) await portcullis.call('no.such', {}).catch(() => {});
    else if (done % 1001 === 0) await portcullis.server.ping({timeoutMs: 1}).catch(() => {});
    else await portcullis.sessions.validate({sessionId, context}, done % 10 ? undefined : {signal: controller.signal});
  }
}));
await run(calls / 10);
const early = heap();
await run(calls);
process.send({early, late: heap(), calls: done});
await portcullis.close();
await server.kill9();
process.disconnect();

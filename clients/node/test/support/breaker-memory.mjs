// Fires a breaker many times and tells its parent how much of the heap is left over. To be run with --expose-gc.
// arguments: address of the server, calls
import {breaker} from '../../dist/esm/breaker/breaker.js';
import {PortcullisClient} from '../../dist/esm/index.js';

const [address, calls] = [process.argv[2], Number(process.argv[3])];
const client = new PortcullisClient({address});
const of = breaker(async (what) => {
  if (what % 100 === 0) throw new Error('bad');
  return what;
}, {client, service: 'memory', timeout: 60_000});

async function fire(many) {
  for (let i = 0; i < many;) {
    for (const end = i + 1000; i < end; i += 100) await Promise.allSettled(Array.from({length: 100}, (_, j) => of.fire(i + j)));
    await new Promise(setImmediate);
  }
  while (!await of.flush()) await new Promise((done) => setTimeout(done, 10));
}

const used = () => {
  for (let i = 0; i < 3; ++i) globalThis.gc();
  return process.memoryUsage().heapUsed;
};
await fire(100_000);
const before = used();
await fire(calls);
const after = used();
const {counts} = await client.breakers.status({service: 'memory'});
process.send({before, after, counts, dropped: of.droppedReports});
await of.shutdown();
await client.close();
process.disconnect();

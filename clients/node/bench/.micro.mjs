import {TestServer, scratch} from '../test/support/server.mjs';
import {spawn} from 'node:child_process'; import {createClient} from 'redis'; import {RedisStore} from 'connect-redis';
import {PortcullisClient} from '../dist/esm/index.js'; import {PortcullisStore} from '../dist/esm/stores/express-session.js';
const server = await new TestServer().start(); const port = 17999;
const r = spawn('redis-server', ['--port', String(port), '--save', '', '--appendonly', 'no', '--dir', scratch()], {stdio: 'ignore'}); await new Promise(f => setTimeout(f, 500));
const rc = await createClient({socket: {port}}).connect(); const pc = new PortcullisClient({address: server.address});
const rs = new RedisStore({client: rc}); const ps = new PortcullisStore({client: pc, tenantId: 'b'});
const kept = {userId: 'u', n: 1, roles: ['editor', 'billing'], locale: 'en-GB', csrf: 'b2f7a9d6c1e84f03a5d2', basket: [{sku: 'A-1001', n: 2}, {sku: 'B-2002', n: 1}], seen: {news: '2026-01-01T00:00:00.000Z', terms: 7}, cookie: {originalMaxAge: 600000, expires: new Date(Date.now()+600000)}};
const ua = 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0';
const mkreq = () => ({socket: {remoteAddress: '127.0.0.1'}, headers: {'user-agent': ua}, url: '/'});
const mw = ps.context((req, res, next) => next());
const ids = Array.from({length: 50}, (_, i) => `sid-${i}-`.padEnd(32, 'x'));
for (const id of ids) { await rs.set(id, kept); await new Promise((f, r) => ps.context((q, s2, n) => ps.set(id, kept, (e) => e ? r(e) : f()))(mkreq(), undefined, f)); }
const one = {
  redis: (id) => new Promise(f => rs.get(id, (e, s) => { if (e || !s) throw e ?? new Error('none'); rs.touch(id, s, () => f()); })),
  portcullis: (id) => new Promise(f => { const req = mkreq(); const m = ps.context((q, s, next) => ps.get(id, (e, s) => { if (e || !s) throw e ?? new Error('none'); Object.defineProperty(s, 'req', {value: req}); ps.touch(id, s, () => f()); })); m(req, undefined, () => {}); }),
};
async function round(kind, n) { const c = process.cpuUsage(); let left = n; await Promise.all(ids.map(async id => { while (left-- > 0) await one[kind](id); })); const u = process.cpuUsage(c); return (u.user + u.system) / n; }
const N = Number(process.argv[2] ?? 30000); const only = process.argv[3];
for (const k of Object.keys(one)) await round(k, 5000);
for (let i = 0; i < 4; ++i) { const out = []; for (const k of Object.keys(one)) if (!only || only === k) out.push(`${k} ${(await round(k, N)).toFixed(1)}`); console.log(out.join('  ')); }
rc.destroy(); await pc.close(); r.kill(); await server.kill9(); process.exit();

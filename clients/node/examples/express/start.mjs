// Starts the demo: node examples/express/start.mjs
// A Portcullis server of its own comes with it, unless PORTCULLIS_ADDRESS names one. Ctrl-C ends both.
import {execFileSync, spawn} from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import readline from 'node:readline';
import {fileURLToPath} from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const packageRoot = path.join(here, '..', '..');
const {PORTCULLIS_ADDRESS, PORTCULLIS_TOKEN, PORTCULLIS_DATA = path.join(here, 'data'), PORT = '3000', COOKIE_SECURE = 'yes', TRUST_PROXY = '',
} = process.env;
const binary = process.env.PORTCULLIS_BINARY ?? path.join(packageRoot, '..', '..', 'build', 'release', 'portcullis');

function giveUp(text) {
  console.error(text);
  process.exit(1);
}
if (!fs.existsSync(path.join(packageRoot, 'node_modules', 'express'))) giveUp(`First: (cd ${packageRoot} && npm ci)`);
if (!fs.existsSync(path.join(packageRoot, 'dist', 'esm', 'index.js'))) {
  execFileSync(process.execPath, [path.join(packageRoot, 'scripts', 'build.mjs')], {stdio: 'inherit'});
}
const {PortcullisClient} = await import('portcullis-client');
const {createApp} = await import('./app.mjs');
const {quoteOf} = await import('./downstream.mjs');

/** Starts a server on free ports; its address. */
async function startPortcullis() {
  if (!fs.existsSync(binary)) {
    giveUp(`${binary} is not there: run scripts/build, or set PORTCULLIS_BINARY to a server, or PORTCULLIS_ADDRESS to one that runs.`);
  }
  const child = spawn(binary, ['serve', '--config', path.join(here, 'portcullis.toml'), '--data-dir', PORTCULLIS_DATA, '--listen', '127.0.0.1:0',
    '--http', '127.0.0.1:0'], {stdio: ['ignore', 'ignore', 'pipe']});
  const lines = readline.createInterface({input: child.stderr});
  const address = await new Promise((resolve) => {
    const last = [];
    child.once('error', (error) => giveUp(String(error)));
    child.once('exit', (code) => giveUp(`Portcullis ended with ${code}:\n${last.join('\n')}`));
    lines.on('line', (line) => {
      last.push(line);
      if (last.length > 20) last.shift();
      if (line.includes('The node is ready.')) resolve(JSON.parse(line).rpc);
    });
  });
  child.removeAllListeners('exit');
  child.once('exit', (code, signal) => { if (!ending) console.error(`Portcullis ended with ${code ?? signal}; the demo goes on and answers 503.`); });
  return {child, address};
}

const listen = (server, port) => new Promise((resolve, reject) => {
  // One address, not the name: a browser that comes as ::1 once and as 127.0.0.1 then would be another address to its session.
  server.once('error', reject).listen(Number(port), '127.0.0.1', () => resolve(server.address().port));
});

let ending = false;
const own = PORTCULLIS_ADDRESS === undefined ? await startPortcullis() : undefined;
const address = PORTCULLIS_ADDRESS ?? own.address;
const client = new PortcullisClient({address, ...(PORTCULLIS_TOKEN && {token: PORTCULLIS_TOKEN})});

const quotes = http.createServer((request, response) => response.end('Trust, but verify. On each request.'));
const quotesPort = await listen(quotes, 0);
const guarded = quoteOf(`http://127.0.0.1:${quotesPort}/`, client);
const app = http.createServer(createApp({
  client, quote: () => guarded.fire(), secure: COOKIE_SECURE !== 'no',
  trustProxy: TRUST_PROXY === '' ? [] : TRUST_PROXY.split(','),
  log: (entry) => console.error(JSON.stringify(entry)),
}));
const port = await listen(app, PORT).catch((error) => {
  own?.child.kill('SIGTERM');
  giveUp(`Port ${PORT}: ${error.message}. Set PORT to another.`);
});
console.log(`Open http://localhost:${port}/ (sessions: ${address})`);

async function end() {
  if (ending) return;
  ending = true;
  app.close();
  quotes.close();
  app.closeAllConnections();
  quotes.closeAllConnections();
  await guarded.shutdown();
  await client.close();
  own?.child.kill('SIGTERM');
}
process.on('SIGINT', end);
process.on('SIGTERM', end);

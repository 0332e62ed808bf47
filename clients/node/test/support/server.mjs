// The real server binary, on free ports and with files of its own.
import {execFileSync, spawn} from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import {fileURLToPath} from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../../..');
export const binary = process.env.PORTCULLIS_TEST_BINARY ?? path.join(root, 'build', 'release', 'portcullis');
if (!fs.existsSync(binary)) throw new Error(`${binary} is not there: run scripts/build, or set PORTCULLIS_TEST_BINARY`);

const running = new Set();
const folders = new Set();
const children = new Set();
process.on('exit', () => {
  for (const server of running) server.kill9();
  for (const child of children) child.kill('SIGKILL');
  for (const folder of folders) fs.rmSync(folder, {recursive: true, force: true});
});

/** A folder that is gone when the process ends. */
export function scratch(name = 'portcullis-client-') {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), name));
  folders.add(folder);
  return folder;
}

/** One server. `start()` again after `kill9()` or `stop()` keeps data and ports. */
export class TestServer {
  /**
   * @param config text of TOML beside what is needed to start; `auth` is "none" (every caller is admin) or "token"
   */
  constructor({config = '', auth = 'none', args = [], env = {}} = {}) {
    this.folder = scratch();
    this.args = args;
    this.env = env;
    this.listen = '127.0.0.1:0';
    this.http = '127.0.0.1:0';
    this.lines = [];
    this.config = path.join(this.folder, 'portcullis.toml');
    this.tokens = {};
    // `config` begins with sections of its own; [server] and [auth] are made here.
    this.head = `[server]\nenvironment = "development"\n\n[auth]\nmode = "${auth}"\n`;
    this.body = config;
    this.write();
  }

  write() { fs.writeFileSync(this.config, `${this.head}\n${this.body}\n`); }

  /** Adds a token for a role before start(); returns it. `more` is TOML of its table. */
  token(role, name = role, more = '') {
    const token = crypto.randomBytes(32).toString('base64url');
    const sha256 = crypto.createHash('sha256').update(token).digest('hex');
    this.body += `\n[[auth.token]]\nname = "${name}"\nrole = "${role}"\nsha256 = "${sha256}"\n${more}\n`;
    this.write();
    return token;
  }

  async start() {
    const child = spawn(binary, ['serve', '--config', this.config, '--data-dir', path.join(this.folder, 'data'), '--listen', this.listen,
      '--http', this.http, ...this.args], {stdio: ['ignore', 'ignore', 'pipe'], env: {...process.env, ...this.env}});
    this.child = child;
    running.add(this);
    this.gone = new Promise((resolve) => child.once('exit', (code, signal) => {
      running.delete(this);
      resolve(code ?? signal);
    }));
    await new Promise((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the server ended with ${code}:\n${this.lines.slice(-20).join('\n')}`)));
      readline.createInterface({input: child.stderr}).on('line', (line) => {
        this.lines.push(line);
        if (this.lines.length > 10_000) this.lines.splice(0, 5_000);
        if (!line.includes('The node is ready.')) return;
        const ready = JSON.parse(line);
        this.listen = this.address = ready.rpc;
        this.http = ready.http;
        this.ready = ready;
        this.port = Number(ready.rpc.split(':').pop());
        resolve();
      });
    });
    return this;
  }

  /** SIGSTOP; resolves when every thread stands still: on a busy machine one that has not been told yet goes on for a while. */
  async standStill() {
    const {pid} = this.child;
    process.kill(pid, 'SIGSTOP');
    const stands = (thread) => {
      try {
        return fs.readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8').split(') ').pop()[0] === 'T';
      } catch {
        return true;  // it ended meanwhile
      }
    };
    while (!fs.readdirSync(`/proc/${pid}/task`).every(stands)) await new Promise((wake) => setImmediate(wake));
  }

  /** SIGCONT. */
  goOn() { process.kill(this.child.pid, 'SIGCONT'); }

  kill9() {
    this.child?.kill('SIGKILL');
    return this.gone;
  }

  /** SIGTERM: drains and ends. */
  stop() {
    this.child?.kill('SIGTERM');
    return this.gone;
  }

  /** A command line of the binary; its standard output. */
  static run(...args) { return execFileSync(binary, args, {encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe']}); }
}

/** A server that is stopped after the test. */
export async function serve(t, options) {
  const server = new TestServer(options);
  t.after(() => server.kill9());
  return server.start();
}

/** A real Redis server without persistence, on a Unix socket of its own, and on a TCP port where one is given. */
export async function redis(t, port = 0) {
  const folder = scratch();
  const socket = path.join(folder, 'redis.sock');
  const child = spawn('redis-server', ['--port', `${port}`, '--bind', '127.0.0.1', '--unixsocket', socket, '--save', '', '--appendonly', 'no', '--dir', folder],
    {stdio: ['ignore', 'pipe', 'inherit']});
  const stop = () => child.kill('SIGKILL');
  children.add(child);
  t?.after(stop);
  await new Promise((resolve, reject) => {
    child.once('error', (cause) => reject(new Error('redis-server is needed (Debian: redis-server)', {cause})));
    child.once('exit', (code) => reject(new Error(`redis-server ended with ${code}`)));
    readline.createInterface({input: child.stdout}).on('line', (line) => {
      if (/ready to accept connections/i.test(line)) resolve();
    });
  });
  return {socket, stop, url: `unix:${socket}`};
}

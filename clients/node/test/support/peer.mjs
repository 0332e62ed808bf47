// Peers that misbehave on purpose: a TCP proxy that cuts and stalls, and a server whose every answer a test writes.
import net from 'node:net';
import readline from 'node:readline';

const listening = (server) => new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));

/** Between a client and a server: `cut()` resets all connections, `stall()` passes nothing on, `refuse()` takes no new ones. */
export class Proxy {
  constructor(target) {
    this.target = target;
    this.pairs = new Set();
    this.accepted = 0;
    this.stalled = false;
    this.refusing = false;
    this.server = net.createServer((socket) => this.accept(socket));
  }

  static async to(t, target) {
    const proxy = new Proxy(target);
    proxy.port = await listening(proxy.server);
    proxy.address = `127.0.0.1:${proxy.port}`;
    t.after(() => proxy.close());
    return proxy;
  }

  accept(socket) {
    ++this.accepted;
    if (this.refusing) {
      socket.destroy();
      return;
    }
    const [host, port] = this.target.split(':');
    const onward = net.connect(Number(port), host);
    const pair = {socket, onward};
    this.pairs.add(pair);
    for (const [from, to] of [[socket, onward], [onward, socket]]) {
      from.on('data', (chunk) => { if (!this.stalled) to.write(chunk); });
      from.on('error', () => {});
      from.on('close', () => {
        this.pairs.delete(pair);
        to.destroy();
      });
    }
  }

  cut() {
    for (const {socket, onward} of this.pairs) {
      socket.resetAndDestroy();
      onward.destroy();
    }
  }

  stall(yes = true) { this.stalled = yes; }
  refuse(yes = true) { this.refusing = yes; }

  close() {
    this.cut();
    this.server.close();
  }
}

/** A server of `answer(request, write, socket)`; the greeting (server.version, auth.login) is answered as a real one does. */
export async function scripted(t, answer, {protocol = 1} = {}) {
  const sockets = new Set();
  const seen = [];
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    const write = (value) => socket.write(typeof value === 'string' ? value : `${JSON.stringify(value)}\n`);
    readline.createInterface({input: socket}).on('line', (line) => {
      const request = JSON.parse(line);
      if (request.method === 'server.version') write({jsonrpc: '2.0', id: request.id, result: {name: 'portcullis', version: '0.0.0', protocol}});
      else if (request.method === 'auth.login') write({jsonrpc: '2.0', id: request.id, result: {role: 'app', name: 'test'}});
      else {
        seen.push(request);
        answer(request, write, socket);
      }
    }).on('error', () => {});
  });
  const port = await listening(server);
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {address: `127.0.0.1:${port}`, seen, sockets};
}

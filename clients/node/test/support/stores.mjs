// The same session store behaviours on several stores: a browser with a jar of cookies, and one application for each case.
import crypto from 'node:crypto';
import http from 'node:http';
import net from 'node:net';

/** A browser: keeps cookies, comes from an address, with a user agent. */
export class Visitor {
  constructor(port, {ip = '198.51.100.7', userAgent = 'Firefox', cookies = {}} = {}) {
    Object.assign(this, {port, ip, userAgent, cookies: {...cookies}});
  }

  /** The same cookies elsewhere: a thief, or the same user on another network. */
  copy(changes = {}) {
    return new Visitor(changes.port ?? this.port, {ip: this.ip, userAgent: this.userAgent, cookies: this.cookies, ...changes});
  }

  headers() {
    const cookie = Object.entries(this.cookies).map(([name, value]) => `${name}=${value}`).join('; ');
    return {'x-forwarded-for': this.ip, 'user-agent': this.userAgent, ...(cookie && {cookie})};
  }

  /** One request on a connection of its own; `json` is the body of the answer where that is JSON, `cookie` what it sets. */
  send(path, {method = 'GET', body, headers = {}} = {}) {
    return new Promise((resolve, reject) => {
      const request = http.request({port: this.port, path, method, agent: false, headers: {...this.headers(), ...headers}}, (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const cookies = (response.headers['set-cookie'] ?? []).map(parseCookie);
          for (const each of cookies) {
            if (each.expires && each.expires <= Date.now()) delete this.cookies[each.name];
            else this.cookies[each.name] = each.value;
          }
          resolve({status: response.statusCode, text, json: parse(text), cookie: cookies[0], headers: response.headers});
        });
      });
      request.on('error', reject);
      request.end(body);
    });
  }

  async get(path) { return (await this.send(path)).json; }
}

function parse(text) {
  try { return JSON.parse(text); } catch { return undefined; }
}

function parseCookie(text) {
  const [pair, ...attributes] = text.split('; ');
  const at = pair.indexOf('=');
  const expires = attributes.find((each) => each.startsWith('Expires='));
  return {name: pair.slice(0, at), value: pair.slice(at + 1), attributes, expires: expires && Date.parse(expires.slice(8))};
}

/** Sends raw bytes on one connection; resolves to the whole answer when the server ends it. */
export function raw(port, bytes) {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = net.connect(port, '127.0.0.1', () => socket.write(bytes));
    socket.on('data', (chunk) => { answer += chunk; });
    socket.on('error', reject);
    socket.on('close', () => resolve(answer));
  });
}

/** A value signed as both frameworks sign their cookies: `value.` and its HMAC in base64 without padding. */
export function sign(value, secret) {
  return `${value}.${crypto.createHmac('sha256', secret).update(value).digest('base64').replace(/=+$/, '')}`;
}

/** Something that one side waits for and another says. */
export function gate() {
  let open;
  const opened = new Promise((resolve) => { open = resolve; });
  return {opened, open};
}

/** Listens on a free port. */
export function listen(t, handler) {
  return new Promise((resolve) => {
    const server = http.createServer(handler).listen(0, '127.0.0.1', () => resolve(server.address().port));
    t.after(() => new Promise((done) => { server.close(done); server.closeAllConnections(); }));
  });
}

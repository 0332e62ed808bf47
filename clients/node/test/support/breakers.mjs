// What the tests of breakers share: a TCP proxy that cuts connections, waiting for what is due, sums of counts.
import {EventEmitter, on} from 'node:events';
import net from 'node:net';

/** A proxy to a port; `cut()` ends every connection at once, in the middle of whatever is under way. */
export class CuttingProxy {
  constructor(port) {
    this.port = port;
    this.pairs = new Set();
    this.cuts = 0;
    this.open = true;
    this.server = net.createServer((inner) => {
      if (!this.open) {
        inner.destroy();
        return;
      }
      const outer = net.connect(this.port, '127.0.0.1');
      const pair = {inner, outer};
      this.pairs.add(pair);
      const end = () => {
        inner.destroy();
        outer.destroy();
        this.pairs.delete(pair);
      };
      inner.on('error', end).on('close', end).pipe(outer);
      outer.on('error', end).on('close', end).pipe(inner);
    });
  }

  async start(t) {
    await new Promise((listening) => this.server.listen(0, '127.0.0.1', listening));
    this.address = `127.0.0.1:${this.server.address().port}`;
    t.after(() => this.stop());
    return this;
  }

  /** From now on answers get lost: what is asked is done, and nobody hears of it. Until the cut. */
  mute() {
    for (const {inner, outer} of this.pairs) outer.unpipe(inner).resume();
  }

  cut() {
    ++this.cuts;
    for (const {inner, outer} of this.pairs) {
      inner.destroy();
      outer.destroy();
    }
  }

  /** Nobody gets through until `restore()`. */
  sever() {
    this.open = false;
    this.cut();
  }

  restore() { this.open = true; }

  stop() {
    this.cut();
    this.server.close();
  }
}

/** Looks again and again, as fast as the machine allows, until something is so. */
export async function until(so) {
  for (;;) {
    const value = await so();
    if (value) return value;
    await new Promise((done) => setTimeout(done, 5));
  }
}

export const once = (emitter, event) => new Promise((done) => emitter.once(event, (...args) => done(args)));
export const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);

/** A promise and its ends. */
export function deferred() {
  const one = {};
  one.promise = new Promise((resolve, reject) => Object.assign(one, {resolve, reject}));
  return one;
}

/** A client whose server is the test: every request waits for what the test makes of it, every event is the test's. */
export class ScriptedClient extends EventEmitter {
  closed = false;
  connected = 1;
  /** All requests, as [method, parameters]. */
  requests = [];
  streams = [];
  /** By method: what a request comes to; replaced by the tests. */
  answers = {
    status: () => ({kind: 'hosted', state: 'closed', epoch: 1}),
    acquire: () => ({allowed: true, state: 'half_open', epoch: 3, permit: 'p'}),
    report: () => ({state: 'closed', epoch: 1}),
    reportBatch: () => ({state: 'closed', epoch: 1, accepted: true, duplicate: false}),
    observe: () => ({accepted: true, duplicate: false}),
  };

  constructor() {
    super();
    this.breakers = Object.fromEntries(Object.keys(this.answers).map((method) => [method, async (parameters) => {
      this.requests.push([method, parameters]);
      return this.answers[method](parameters);
    }]));
    this.events = {subscribe: () => this.subscribe()};
  }

  stats() { return {connected: this.connected}; }

  /** The parameters of all requests of a method. */
  of(method) { return this.requests.filter(([name]) => name === method).map(([, parameters]) => parameters); }

  push(event) { this.streams.at(-1).events.emit('event', event); }

  subscribe() {
    const events = new EventEmitter();
    const ended = new AbortController();
    const ready = deferred();
    const read = on(events, 'event', {signal: ended.signal});
    const stream = {
      events, ready: ready.promise, begin: () => ready.resolve(), end: () => ended.abort(),
      return: async () => { ended.abort(); },
      async *[Symbol.asyncIterator]() { for await (const [event] of read) yield {event}; },
    };
    this.streams.push(stream);
    return stream;
  }
}

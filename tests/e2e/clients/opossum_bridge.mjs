// Tells Portcullis (breaker.observe) of opossum's circuit breakers: what was called and how it
// ended, each call in one count, and each change of state with its own time.
import net from 'node:net';
import os from 'node:os';
import readline from 'node:readline';

const bounds_ms = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000];
const none = Symbol('no error');  // equal to nothing that a call gives

/** Watches one opossum breaker and hands reports to `send`, whenever its state changes and on report(). */
export class Watcher {
  /** `source` names this process among those that share the breaker's name and is the same after a restart. */
  constructor(breaker, {service, name = breaker.name, source = os.hostname(), send}) {
    this.breaker = breaker;
    this.send = send;
    this.names = {service, breaker: name, source};
    this.begin();
    this.late = this.locked = none;
    this.forgiven = false;
    this.state = breaker.opened ? 'open' : breaker.halfOpen ? 'half_open' : 'closed';

    // opossum emits `timeout` and then `failure` for one call, `semaphoreLocked` and then `failure` for one that never began,
    // and `success` for an error that the filter forgives. The last event of the two says that the call is over; which call
    // it was is known by the error itself: errors of a breaker inside this one, or of a socket, have the same codes.
    const filter = breaker.options.errorFilter;
    breaker.options.errorFilter = (error, ...args) => {
      this.forgiven = Boolean(filter(error, ...args));
      return this.forgiven;
    };
    breaker.on('timeout', (error) => { this.late = error; });
    breaker.on('semaphoreLocked', (error) => { this.locked = error; });
    breaker.on('failure', (error, took_ms) => {
      if (error === this.locked) this.count('rejected');
      else this.count(error === this.late ? 'timeout' : 'failure', took_ms);
    });
    breaker.on('success', (value, took_ms) => {
      if (value === this.locked) this.count('rejected');
      else this.count(this.forgiven ? 'ignored' : 'success', this.forgiven ? undefined : took_ms);
    });
    breaker.on('reject', () => this.count('rejected'));
    breaker.on('open', () => this.moved('open'));
    breaker.on('halfOpen', () => this.moved('half_open'));
    breaker.on('close', () => this.moved('closed'));
  }

  /** A new life: counts from 0. */
  begin() {
    this.names.source_epoch = Math.max(Date.now(), (this.names.source_epoch ?? 0) + 1);
    this.seq = 0;
    this.counts = {success: 0, failure: 0, timeout: 0, ignored: 0, rejected: 0};
    this.durations = Array(bounds_ms.length + 1).fill(0);
  }

  count(result, took_ms) {
    this.forgiven = false;
    this.late = this.locked = none;
    ++this.counts[result];
    if (took_ms === undefined) return;
    const bucket = bounds_ms.findIndex((bound) => took_ms <= bound);
    ++this.durations[bucket < 0 ? bounds_ms.length : bucket];
  }

  moved(to) {
    const transition = {from: this.state, to, at_ms: Date.now()};
    this.state = to;
    this.report(transition);
  }

  /** Totals since this watcher began, never opossum's own `stats`, which are sums over a rolling window. */
  async report(transition) {
    const {source_epoch} = this.names;
    const reply = await this.send({...this.names, seq: ++this.seq, state: this.state, counts: {...this.counts},
      duration_buckets: [...this.durations], ...(transition && {transition})});
    // Cut off for more calls than one report may have: they are lost, and the server refuses all that has them in it.
    if (reply?.error?.data.details?.rule === 'delta_max' && source_epoch === this.names.source_epoch) {
      this.begin();
      await this.report();
    }
  }
}

/** A connection that keeps what was not answered and sends it again over the next one. The server knows what it had. */
export class Reporter {
  constructor(port, {host = '127.0.0.1', token} = {}) {
    this.where = {port, host};
    this.token = token;
    this.waiting = new Map();  // by id: what to send, and what to call
    this.last = 0;
    this.connect();
  }

  connect() {
    this.socket = net.connect(this.where);
    this.socket.on('error', () => {});
    this.socket.on('close', () => { if (!this.closed) setTimeout(() => this.connect(), 100); });
    this.socket.on('connect', () => {
      if (this.token) this.socket.write(`${JSON.stringify({jsonrpc: '2.0', id: 0, method: 'auth.login', params: {token: this.token}})}\n`);
      for (const {line} of this.waiting.values()) this.socket.write(line);
    });
    readline.createInterface({input: this.socket}).on('line', (text) => {
      const reply = JSON.parse(text);
      const asked = this.waiting.get(reply.id);
      if (!asked) return;
      if (reply.error?.data.retryable) {
        setTimeout(() => this.socket.write(asked.line), reply.error.data.retry_after_ms ?? 100);
        return;
      }
      this.waiting.delete(reply.id);
      asked.done(reply);
    });
  }

  /** Resolves to the reply: `{result}`, or `{error}` where trying again is of no use. */
  call(method, params) {
    const id = ++this.last;
    const line = `${JSON.stringify({jsonrpc: '2.0', id, method, params})}\n`;
    return new Promise((done) => {
      this.waiting.set(id, {line, done});
      if (this.socket.readyState === 'open') this.socket.write(line);
    });
  }

  close() {
    this.closed = true;
    this.socket.destroy();
  }
}

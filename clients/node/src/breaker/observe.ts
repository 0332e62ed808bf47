// Tells the server of a breaker that the application runs itself with opossum: each call in one count, each change of state with
// its own time, also over outages of the server.
import os from 'node:os';

import {backoffMs} from '../backoff.js';
import {isPortcullisError, PortcullisError} from '../errors.js';
import type {PortcullisClient} from '../portcullis.js';
import type {BreakerCounts, BreakerObservation, BreakerState} from '../types.js';
import {checkNumber, checkWord} from './options.js';
import {bucketCount, bucketOf, callsAReportMax, names, outcomes, type Outcome} from './reports.js';

/** What is used of an opossum breaker (versions 5 to 9). */
export interface ObservedBreaker {
  readonly name: string;
  readonly opened: boolean;
  readonly halfOpen: boolean;
  /** False after disable(): shown as `disabled`. */
  readonly enabled?: boolean;
  readonly options?: unknown;
  /** As an EventEmitter's. (Types of opossum differ in their overloads.) */
  on(...args: never[]): unknown;
  /** As an EventEmitter's. */
  off(...args: never[]): unknown;
}

/** What an ObservedBreaker is to this file. */
type Emitter = Record<'on' | 'off', (event: string, listener: (...args: never[]) => void) => unknown>;

/** How a breaker is reported. */
export interface ObserveOptions {
  client: PortcullisClient;
  /** 1..64 of `[A-Za-z0-9_.-]`. */
  service: string;
  /** Default: the breaker's own name. 1..64 of `[A-Za-z0-9_.-]`. */
  name?: string;
  /**
   * This process among those that report the breaker, by a name that is the same after a restart; default the host's name. Processes of
   * one host (a cluster) need one each. At most 64 a breaker.
   */
  source?: string;
  /** Between two reports while nothing changes, ms, 100..600000, default 5000. Each change of state is reported at once. */
  reportEveryMs?: number;
}

/** What observe() gives. */
export interface Observation {
  /** Tells what there is, and ends. Resolves when it is told, or when the server cannot be reached. Never rejects. */
  stop(): Promise<void>;
  /** Tells now; resolves to whether all is told. Never rejects. */
  report(): Promise<boolean>;
  /** `renewals`: counting began anew, as where another process uses the same source; nothing is lost by that. */
  stats(): {reports: number; renewals: number; droppedTransitions: number; lastError: PortcullisError | undefined};
}

/** Changes of state kept for a server that is away; of more, the oldest goes and is counted. The server, too, knows the last 64 reports. */
export const transitionsKeptMax = 64;
const retryCapMs = 10_000;
/** Source epochs tried in a row: the last is some weeks ahead. */
const refusalsMax = 22;

interface Totals {
  counts: number[];
  buckets: number[];
}

interface Entry extends Totals {
  state: BreakerState;
  transition: {from: BreakerState; to: BreakerState; at_ms: number} | undefined;
  /** Given at the first try, and kept. */
  seq: number | undefined;
}

interface Filtered {
  errorFilter?: (error: unknown, ...args: unknown[]) => unknown;
}

class Observer implements Observation {
  private totals: Totals = empty();
  /** Of this source epoch, what the server has. */
  private told: Totals = empty();
  private readonly queue: Entry[] = [];
  private sourceEpoch = Date.now();
  private seq = 0;
  private state: BreakerState;
  private toldState: BreakerState;
  private working: Promise<boolean> | undefined;
  private readonly timer: NodeJS.Timeout;
  private retry: NodeJS.Timeout | undefined;
  private attempt = 0;
  private refusals = 0;
  private stopped = false;
  private ending: Promise<void> | undefined;
  /** As it was at stop(): opossum's shutdown disables, too. */
  private disabledAtStop = false;
  private readonly counted = {reports: 0, renewals: 0, droppedTransitions: 0};
  private lastError: PortcullisError | undefined;

  // opossum emits `timeout` and then `failure` for one call, `semaphoreLocked` and then `failure` for one that never began, and
  // `success` for an error that the filter forgives. Which call an event is of is known by the error itself: it is a new object each
  // time, where errors of a breaker inside this one, or of a socket, have the same codes. An error that was counted may be thrown again
  // by another call: its mark goes with the count.
  private readonly late = new WeakSet<object>();
  private readonly locked = new WeakSet<object>();
  private readonly forgiven = new Set<unknown>();
  private readonly listeners: Record<string, (...args: never[]) => void> = {
    timeout: (error: object) => { this.late.add(error); },
    semaphoreLocked: (error: object) => { this.locked.add(error); },
    failure: (error: unknown, ms: number) => {
      if (this.locked.delete(error as object)) this.count(outcomes.rejected);
      else this.count(this.late.delete(error as object) ? outcomes.timeout : outcomes.failure, ms);
    },
    success: (value: unknown, ms: number) => {
      if (this.forgiven.delete(value)) {
        this.late.delete(value as object);
        this.count(this.locked.delete(value as object) ? outcomes.rejected : outcomes.ignored);
      } else this.count(outcomes.success, ms);
    },
    reject: () => this.count(outcomes.rejected),
    open: () => this.moved('open'),
    halfOpen: () => this.moved('half_open'),
    close: () => this.moved('closed'),
    // opossum drops its listeners itself.
    shutdown: () => { void this.stop(); },
  };
  private readonly filtered: Filtered | undefined;
  private readonly filter: Filtered['errorFilter'];
  private readonly watchedFilter = (error: unknown, ...args: unknown[]): unknown => {
    const verdict = this.filter?.(error, ...args);
    if (verdict && !this.stopped) {
      // opossum emits `success` before anything else runs; breakers that were given the same options share this filter.
      if (this.forgiven.size === 0) queueMicrotask(() => this.forgiven.clear());
      this.forgiven.add(error);
    }
    return verdict;
  };
  private readonly onConnect = (): void => {
    if (this.retry !== undefined) this.work();
  };

  constructor(private readonly breaker: ObservedBreaker, private readonly client: PortcullisClient,
    private readonly name: {service: string; breaker: string; source: string}, reportEveryMs: number) {
    this.state = this.toldState = breaker.opened ? 'open' : breaker.halfOpen ? 'half_open' : 'closed';
    const emitter = breaker as unknown as Emitter;
    for (const [event, listener] of Object.entries(this.listeners)) emitter.on(event, listener);
    this.filtered = breaker.options as Filtered | undefined;
    this.filter = this.filtered?.errorFilter;
    if (this.filtered) this.filtered.errorFilter = this.watchedFilter;
    client.on('connect', this.onConnect);
    this.timer = setInterval(() => this.regular(), reportEveryMs);
    this.timer.unref();
    this.regular();
  }

  async report(): Promise<boolean> {
    // What is under way was counted before.
    if (this.working) await this.working;
    this.push(undefined);
    return this.work();
  }

  stop(): Promise<void> { return this.ending ??= this.end(); }

  private async end(): Promise<void> {
    this.disabledAtStop = this.breaker.enabled === false;
    this.stopped = true;
    clearInterval(this.timer);
    const emitter = this.breaker as unknown as Emitter;
    for (const [event, listener] of Object.entries(this.listeners)) emitter.off(event, listener);
    // Somebody may have put another filter around ours.
    if (this.filtered && this.filtered.errorFilter === this.watchedFilter) {
      if (this.filter) this.filtered.errorFilter = this.filter;
      else delete this.filtered.errorFilter;
    }
    if (this.working) await this.working;
    this.push(undefined);
    await this.work();
    this.client.off('connect', this.onConnect);
    clearTimeout(this.retry);
  }

  stats(): ReturnType<Observation['stats']> { return {...this.counted, lastError: this.lastError}; }

  private count(outcome: Outcome, ms: number | undefined = undefined): void {
    ++(this.totals.counts[outcome] as number);
    if (ms !== undefined) ++(this.totals.buckets[bucketOf(ms)] as number);
  }

  private moved(to: BreakerState): void {
    const transition = {from: this.state, to, at_ms: Date.now()};
    this.state = to;
    this.push(transition);
    void this.work();
  }

  private regular(): void {
    if (this.client.closed) {
      clearInterval(this.timer);
      return;
    }
    if (this.queue.length === 0) this.push(undefined);
    void this.work();
  }

  private push(transition: Entry['transition']): void {
    const last = this.queue.at(-1);
    if (transition === undefined && last !== undefined && last.transition === undefined && last.seq === undefined) this.queue.pop();
    if (this.queue.length >= transitionsKeptMax) {
      // The first one may be on its way.
      this.queue.splice(1, 1);
      ++this.counted.droppedTransitions;
    }
    const disabled = this.stopped ? this.disabledAtStop : this.breaker.enabled === false;
    // A change is told as it was, the rest as it is.
    const state = transition === undefined && disabled ? 'disabled' : this.state;
    this.queue.push({state, counts: [...this.totals.counts], buckets: [...this.totals.buckets], transition, seq: undefined});
  }

  /** Tells what is queued, in order. Resolves to whether all was told. */
  private work(): Promise<boolean> {
    this.working ??= this.tell().finally(() => { this.working = undefined; });
    return this.working;
  }

  private async tell(): Promise<boolean> {
    clearTimeout(this.retry);
    this.retry = undefined;
    while (this.queue.length > 0) {
      this.slice();
      const entry = this.queue[0] as Entry;
      entry.seq ??= ++this.seq;
      try {
        const reply = await this.client.breakers.observe(this.observation(entry));
        // Neither: this source was heard with a later epoch.
        if (!reply.accepted && !reply.duplicate) {
          this.renew();
          if (this.refusals < refusalsMax) continue;
          this.later(new PortcullisError('INTERNAL', {message: 'The source is reported by another process, too.'}));
          return false;
        }
      } catch (reason) {
        const error = isPortcullisError(reason) ? reason : new PortcullisError('INTERNAL', {cause: reason});
        if (error.code === 'BREAKER_COUNTS_DECREASED' || error.details?.rule === 'delta_max') {
          this.renew();
          if (this.refusals < refusalsMax) continue;
        }
        this.later(error);
        return false;
      }
      ++this.counted.reports;
      this.attempt = this.refusals = 0;
      this.lastError = undefined;
      this.told = entry;
      this.toldState = entry.state;
      this.queue.splice(this.queue.indexOf(entry), 1);
    }
    return true;
  }

  private later(reason: PortcullisError): void {
    this.lastError = reason;
    if (this.stopped || this.client.closed) return;
    const waitMs = Math.max(reason.retryAfterMs ?? 0, 100 + backoffMs(this.attempt++, 200, retryCapMs, Math.random()));
    this.retry = setTimeout(() => void this.work(), waitMs);
    this.retry.unref();
  }

  /** More calls than a report may have are told in several. */
  private slice(): void {
    const first = this.queue[0] as Entry;
    if (first.seq !== undefined || total(first.counts) - total(this.told.counts) <= callsAReportMax) return;
    this.queue.unshift({
      state: this.toldState, transition: undefined, seq: undefined,
      counts: towards(this.told.counts, first.counts, callsAReportMax), buckets: towards(this.told.buckets, first.buckets, callsAReportMax),
    });
  }

  /** Counts anew from what was told, under a later source epoch than any that the server can have. */
  private renew(): void {
    ++this.counted.renewals;
    // By leaps: the clock may have gone back while this process was not running.
    this.sourceEpoch = Math.max(Date.now(), this.sourceEpoch + 1) + (this.refusals === 0 ? 0 : 1000 * 2 ** Math.min(this.refusals, 30));
    ++this.refusals;
    this.seq = 0;
    const {told} = this;
    for (const each of [...this.queue, this.totals]) {
      each.counts = each.counts.map((count, i) => Math.max(0, count - (told.counts[i] as number)));
      each.buckets = each.buckets.map((count, i) => Math.max(0, count - (told.buckets[i] as number)));
    }
    for (const each of this.queue) each.seq = undefined;
    this.told = empty();
  }

  private observation({seq, state, counts, buckets, transition}: Entry): BreakerObservation {
    const shown: BreakerCounts = {};
    for (const [i, name] of names.entries()) shown[name] = counts[i] as number;
    return {...this.name, sourceEpoch: this.sourceEpoch, seq: seq as number, state, counts: shown, durationBuckets: buckets, transition};
  }
}

function empty(): Totals {
  return {counts: new Array<number>(names.length).fill(0), buckets: new Array<number>(bucketCount).fill(0)};
}

function total(all: number[]): number {
  let sum = 0;
  for (const each of all) sum += each;
  return sum;
}

/** From `from` at most `most` steps towards `to`. */
function towards(from: number[], to: number[], most: number): number[] {
  let left = most;
  return from.map((count, i) => {
    const step = Math.min(left, (to[i] as number) - count);
    left -= step;
    return count + step;
  });
}

/**
 * Reports an opossum breaker to the server, which shows it (status, metrics, events) and decides nothing. Ends with stop(), or with
 * the breaker's own shutdown(). The breaker's `errorFilter` is wrapped: it is the only place where it shows which errors are forgiven.
 *
 * ```ts
 * const observation = observe(opossumBreaker, {client, service: 'shop', source: 'web-1'});
 * ```
 * @throws TypeError, RangeError for an option that cannot be, by its name
 */
export function observe(breaker: ObservedBreaker, options: ObserveOptions): Observation {
  if (typeof breaker?.on !== 'function' || typeof breaker.off !== 'function' || typeof breaker.name !== 'string')
    throw new TypeError('observe: an opossum breaker is needed');
  if (typeof options?.client?.breakers?.observe !== 'function') throw new TypeError('client: a PortcullisClient is needed');
  const host = os.hostname().replace(/[^A-Za-z0-9_.-]/g, '_').slice(0, 64);
  return new Observer(breaker, options.client, {
    service: checkWord('service', options.service), breaker: checkWord('name', options.name ?? breaker.name),
    source: checkWord('source', options.source ?? host),
  }, checkNumber('reportEveryMs', options.reportEveryMs, 5000, 100, 600_000));
}

// The object that wraps a function: opossum's surface over a breaker that many processes share.
import {EventEmitter} from 'node:events';
import {isPromise} from 'node:util/types';

import type {PortcullisError} from '../errors.js';
import type {PortcullisClient} from '../portcullis.js';
import type {BreakerState} from '../types.js';
import {breakerError, BreakerOpenError, isBreakerError} from './errors.js';
import type {LocalState} from './local.js';
import {optionsOf, type BreakerOptions, type Settings} from './options.js';
import {outcomes, type Outcome} from './reports.js';
import {Shared, verdicts, type Phase} from './shared.js';
import {RollingWindow, Status, type Stats} from './window.js';

/** How long shutdown() waits for calls that have no timeout, ms. */
const shutdownWaitMs = 10_000;

/** What a breaker tells its listeners; the first twelve as opossum does. */
export interface BreakerEvents<Args extends unknown[] = unknown[], Result = unknown> {
  fire: [args: Args];
  /** Also for an error that `errorFilter` forgives: then the error is the result. */
  success: [result: Result, latencyMs: number];
  failure: [error: unknown, latencyMs: number, args: Args];
  timeout: [error: Error, latencyMs: number, args: Args];
  reject: [error: BreakerOpenError];
  open: [];
  close: [];
  /** `resetTimeout`, as opossum passes it; a shared breaker's wait is the server's. */
  halfOpen: [resetTimeout: number];
  fallback: [result: unknown, error: unknown];
  semaphoreLocked: [error: Error, latencyMs: number];
  healthCheckFailed: [error: unknown];
  shutdown: [];
  /** The server cannot be asked, or takes no results of this process: from now on this process decides by itself, beginning with the state that was last known. */
  degraded: [reason: PortcullisError];
  /** The server is back, or takes results again, and its state holds. */
  recovered: [state: BreakerState, downMs: number];
}

/** What `JSON.stringify(breaker)` shows: opossum's fields, and what is shared. */
export interface BreakerJson {
  state: {
    name: string; enabled: boolean; closed: boolean; open: boolean; halfOpen: boolean; warmUp: boolean; shutdown: boolean;
    lastTimerAt: number | undefined;
  };
  status: Stats;
  shared: {service: string; breaker: string; state: BreakerState; epoch: number; degraded: boolean; pushing: boolean; droppedReports: number};
}

/**
 * A circuit breaker around a function, shared with every process that uses the same service and name. Closed and open are decided in
 * this process by what the server pushed; half-open asks the server for each call; results are told in batches.
 * An outage of the server fails no call of a closed breaker: the process goes on alone (`degraded`), by opossum's rules. Of a half-open one no
 * process tries before it has waited for `resetTimeout`.
 */
export class Breaker<Args extends unknown[] = unknown[], Result = unknown> extends EventEmitter<BreakerEvents<Args, Result>> {
  /** Whether a breaker made this error; false for what the action itself rejected with. */
  static isOurError(error: unknown): boolean { return isBreakerError(error); }

  readonly service: string;
  readonly name: string;
  readonly group: string;
  /** The rolling counts; emits `snapshot`. */
  readonly status: Status;
  /** The options in force, opossum's names; to be read only. */
  readonly options: Readonly<Settings>;

  private readonly shared: Shared;
  private readonly rolling: RollingWindow;
  private alternative: ((...args: [...Args, unknown]) => unknown) | undefined;
  private isOn = true;
  private stopped = false;
  private ending: Promise<void> | undefined;
  private running = 0;
  private readonly whenIdle: (() => void)[] = [];
  private readonly warmUntil: number;
  private health: NodeJS.Timeout | undefined;
  private abortController: AbortController | undefined;
  private readonly heard = {
    moved: (to: LocalState): void => this.moved(to),
    degraded: (reason: PortcullisError): void => { this.tell('degraded', reason); },
    recovered: (state: BreakerState, downMs: number): void => { this.tell('recovered', state, downMs); },
  };

  /** @throws TypeError, RangeError for an option that cannot be, by its name */
  constructor(private readonly action: (...args: Args) => Result | PromiseLike<Result>, options: BreakerOptions<Args>) {
    super();
    if (typeof action !== 'function') throw new TypeError('breaker: the action has to be a function');
    const settings = optionsOf(options);
    const now = performance.now();
    this.options = settings;
    this.service = options.service;
    this.name = settings.name;
    this.group = settings.group;
    this.isOn = settings.enabled;
    this.warmUntil = settings.allowWarmUp ? now + settings.rollingCountTimeout : 0;
    this.abortController = settings.abortController;
    this.rolling = new RollingWindow(settings.rollingCountTimeout, settings.rollingCountBuckets, settings.rollingPercentilesEnabled, now);
    this.status = new Status(this.rolling, settings.rollingCountTimeout / settings.rollingCountBuckets, settings.enableSnapshots);
    if (options.fallback) this.fallback(options.fallback);
    this.shared = Shared.of(options.client, options.service, settings.name, {
      policy: {
        errorThresholdPercentage: settings.errorThresholdPercentage, volumeThreshold: settings.volumeThreshold,
        resetTimeoutMs: settings.resetTimeout, windowMs: settings.rollingCountTimeout, windowSlices: settings.rollingCountBuckets,
        warmUntil: this.warmUntil,
      },
      reportEveryMs: settings.reportEveryMs, acquireTimeoutMs: settings.acquireTimeoutMs,
    }, this.heard);
  }

  /**
   * Calls the action. Rejects with its error; with BreakerOpenError (`EOPENBREAKER`) while open; with `ETIMEDOUT` after `timeout`;
   * with `ESEMLOCKED` above `capacity`; with `ESHUTDOWN` after shutdown(). With a fallback it gives that one's result instead.
   */
  fire(...args: Args): Promise<Result> { return this.run(this.action, args); }

  /** As fire(), with `this` for the action. */
  call(context: unknown, ...args: Args): Promise<Result> { return this.run(context, args); }

  /** What is called with the arguments and the error instead of failing; another breaker is fired. */
  fallback(alternative: ((...args: [...Args, unknown]) => unknown) | {fire(...args: never[]): Promise<unknown>}): this {
    if (typeof alternative === 'function') this.alternative = alternative;
    else if (typeof alternative?.fire === 'function') this.alternative = (...args) => (alternative.fire as (...all: unknown[]) => unknown)(...args);
    else throw new TypeError('fallback: has to be a function or a breaker');
    return this;
  }

  get closed(): boolean { return !this.stopped && this.shared.effective === 'closed'; }
  get opened(): boolean { return !this.stopped && this.shared.effective === 'open'; }
  get halfOpen(): boolean { return !this.stopped && this.shared.effective === 'half_open'; }
  /** Half-open: whether a call may still be tried is the server's to say, so this is `halfOpen`. */
  get pendingClose(): boolean { return this.halfOpen; }
  get isShutdown(): boolean { return this.stopped; }
  get enabled(): boolean { return this.isOn; }
  get warmUp(): boolean { return performance.now() < this.warmUntil; }
  get volumeThreshold(): number { return this.options.volumeThreshold; }
  /** Sums over the rolling window of this object, in opossum's fields. */
  get stats(): Stats { return this.status.stats; }

  /** The server's word for the state, overrides included; what was last known while `degraded`. */
  get state(): BreakerState { return this.shared.state; }
  /** The number of the state, one more with each change; 0 before the first answer. */
  get epoch(): number { return this.shared.epoch; }
  /**
   * Why this process decides alone: the server is away, or (`BREAKER_SOURCE_LIMIT`) takes no results of one more process. With the latter
   * the breaker still opens where others open it.
   */
  get degraded(): PortcullisError | undefined { return this.shared.degraded; }
  /** Results that will not reach the server: too many while it was away, refused by it, or not told at the end of shutdown(). */
  get droppedReports(): number { return this.shared.dropped; }

  /**
   * Opens the breaker in this process only, as opossum does: after `resetTimeout` one call is tried. It does not move the shared
   * state: that is an operator's to do, `client.breakers.override` (role admin).
   */
  open(): void { if (!this.stopped) this.shared.hold(); }

  /** Ends what open() began; while degraded it closes the local breaker. What the server has open stays open. */
  close(): void { if (!this.stopped) this.shared.release(); }

  /** Calls go through the breaker (again). */
  enable(): void { this.isOn = true; }

  /** Calls go to the action unprotected, and are not counted; of this object only. */
  disable(): void { this.isOn = false; }

  /**
   * Runs `check` now and every `intervalMs`; where it rejects, `healthCheckFailed` is emitted and open() called. Ends at shutdown().
   * @throws TypeError for a check that is no function, or an interval that is no number
   */
  healthCheck(check: (this: this) => Promise<unknown>, intervalMs = 5000): void {
    if (typeof check !== 'function') throw new TypeError('Health check function must be a function');
    if (typeof intervalMs !== 'number' || !(intervalMs > 0)) throw new TypeError('Health check interval must be a number');
    const look = (): void => {
      Promise.resolve().then(() => check.call(this)).catch((reason: unknown) => {
        if (this.stopped) return;
        this.tell('healthCheckFailed', reason);
        this.open();
      });
    };
    clearInterval(this.health);
    this.health = setInterval(look, intervalMs);
    this.health.unref();
    look();
  }

  /** The signal that is aborted when a call times out, where `abortController` was given. */
  getSignal(): AbortSignal | undefined { return this.abortController?.signal; }
  /** Whose signal that is. */
  getAbortController(): AbortController | undefined { return this.abortController; }

  /** Resolves when the server has all results of this name: true; false where it is away or asked to come later. Never rejects. */
  flush(): Promise<boolean> { return this.shared.drain(); }

  /**
   * Ends this object: further calls reject with `ESHUTDOWN`. The promise (opossum has none) resolves when the calls under way have ended
   * (with `timeout: false`: after 10 s at the latest) and their results are told, or cannot be: those are in `droppedReports`. Never rejects.
   */
  shutdown(): Promise<void> {
    if (this.ending) return this.ending;
    let ended: (() => void) | undefined;
    // Before the listeners hear of it: one may call this again.
    this.ending = new Promise((resolve) => { ended = resolve; });
    this.tell('shutdown');
    this.disable();
    this.stopped = true;
    this.removeAllListeners();
    this.status.shutdown();
    clearInterval(this.health);
    void this.idle().then(() => this.shared.leave(this.heard)).finally(ended);
    return this.ending;
  }

  /** The state of the breaker, and what it counted, as opossum has it; `shared` is of what the server said. */
  toJSON(): BreakerJson {
    const {shared} = this;
    return {
      state: {
        name: this.name, enabled: this.enabled, closed: this.closed, open: this.opened, halfOpen: this.halfOpen, warmUp: this.warmUp,
        shutdown: this.stopped, lastTimerAt: shared.openedAtMs,
      },
      status: this.stats,
      shared: {
        service: this.service, breaker: this.name, state: this.state, epoch: this.epoch, degraded: shared.degraded !== undefined,
        pushing: shared.pushing, droppedReports: this.droppedReports,
      },
    };
  }

  /** Resolves when no call is under way. Each ends by its timeout; without one not all may. */
  private async idle(): Promise<void> {
    if (this.running === 0) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((wake) => {
      this.whenIdle.push(wake);
      if (this.options.timeout === 0) timer = setTimeout(wake, shutdownWaitMs);
    });
    clearTimeout(timer);
  }

  private oneLess(): void {
    if (--this.running === 0 && this.stopped) for (const wake of this.whenIdle.splice(0)) wake();
  }

  /** Emits. A listener that throws is a fault of its own: the process hears of it, and the call, its permit and other breakers do not. */
  private tell(event: keyof BreakerEvents, ...args: unknown[]): void {
    try {
      (this as EventEmitter).emit(event, ...args);
    } catch (thrown) {
      queueMicrotask(() => { throw thrown; });
    }
  }

  private run(context: unknown, args: Args): Promise<Result> {
    if (this.stopped) return Promise.reject(breakerError('The circuit has been shutdown.', 'ESHUTDOWN'));
    const now = performance.now();
    ++this.rolling.at(now).fires;
    this.tell('fire', args);
    if (!this.isOn) return new Promise((resolve) => resolve(this.action.apply(context, args)));
    const {shared} = this;
    const verdict = shared.admit(now);
    if (verdict === verdicts.admit) {
      const {phase} = shared;
      if (this.running < this.options.capacity) {
        ++this.running;
        return this.execute(context, args, phase, now, undefined);
      }
      shared.unused(phase);
      return this.locked(args);
    }
    if (verdict === verdicts.ask) return this.asking(context, args);
    shared.rejected();
    return this.refuse(args, shared.retryAfterMs(now));
  }

  /** A half-open breaker's call: with a permit of the server's, or not at all. */
  private asking(context: unknown, args: Args): Promise<Result> {
    const {shared} = this;
    if (this.running >= this.options.capacity) {
      shared.rejected();
      return this.locked(args);
    }
    ++this.running;
    return shared.acquire().then((leave) => {
      if (leave.allowed) return this.execute(context, args, leave.phase, performance.now(), leave.permit);
      this.oneLess();
      return this.refuse(args, leave.retryAfterMs);
    });
  }

  private execute(context: unknown, args: Args, phase: Phase, beganAt: number, permit: string | undefined): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      let over = false;
      let timer: NodeJS.Timeout | undefined;
      const {timeout} = this.options;
      if (timeout > 0) {
        timer = setTimeout(() => {
          over = true;
          const error = breakerError(`Timed out after ${timeout}ms`, 'ETIMEDOUT');
          this.failed(error, outcomes.timeout, args, phase, beganAt, permit, resolve, reject);
        }, timeout);
      }
      const fail = (error: unknown): void => {
        if (over) return;
        over = true;
        clearTimeout(timer);
        this.failed(error, outcomes.failure, args, phase, beganAt, permit, resolve, reject);
      };
      let result: Result | PromiseLike<Result>;
      try {
        result = this.action.apply(context, args);
      } catch (error) {
        fail(error);
        return;
      }
      const succeed = (value: Result): void => {
        if (over) return;
        over = true;
        clearTimeout(timer);
        resolve(value);
        this.succeeded(value, outcomes.success, phase, beganAt, permit);
      };
      // Only a promise is known to settle once, and never to throw.
      (isPromise(result) ? result as Promise<Result> : Promise.resolve(result)).then(succeed, fail);
    });
  }

  private succeeded(value: unknown, outcome: Outcome, phase: Phase, beganAt: number, permit: string | undefined): void {
    const now = performance.now();
    const ms = now - beganAt;
    this.oneLess();
    const latencyMs = Math.round(ms);
    const slice = this.rolling.at(now);
    ++slice.successes;
    this.rolling.took(slice, latencyMs);
    const slow = outcome === outcomes.success && ms > this.options.slowCallMs;
    this.shared.done(slow ? outcomes.slowSuccess : outcome, ms, phase, now, permit);
    this.tell('success', value, latencyMs);
  }

  private failed(error: unknown, outcome: Outcome, args: Args, phase: Phase, beganAt: number, permit: string | undefined,
    resolve: (result: Result | PromiseLike<Result>) => void, reject: (reason: unknown) => void): void {
    let forgiven: boolean;
    try {
      forgiven = Boolean(this.options.errorFilter?.(error, ...args));
    } catch {
      // A filter that throws forgives nothing.
      forgiven = false;
    }
    if (outcome === outcomes.timeout) this.timedOut(error as Error, beganAt, args);
    if (forgiven) {
      reject(error);
      this.succeeded(error, outcomes.ignored, phase, beganAt, permit);
      return;
    }
    const now = performance.now();
    const ms = now - beganAt;
    this.oneLess();
    const slice = this.rolling.at(now);
    ++slice.failures;
    this.rolling.took(slice, Math.round(ms));
    this.tell('failure', error, Math.round(ms), args);
    const slow = outcome === outcomes.failure && ms > this.options.slowCallMs;
    this.shared.done(slow ? outcomes.slowFailure : outcome, ms, phase, now, permit);
    this.instead(error, args, resolve, reject);
  }

  private timedOut(error: Error, beganAt: number, args: Args): void {
    const now = performance.now();
    const latencyMs = Math.round(now - beganAt);
    const slice = this.rolling.at(now);
    ++slice.timeouts;
    this.rolling.took(slice, latencyMs);
    this.tell('timeout', error, latencyMs, args);
    this.abortController?.abort();
  }

  private locked(args: Args): Promise<Result> {
    const error = breakerError('Semaphore locked', 'ESEMLOCKED');
    const slice = this.rolling.at(performance.now());
    ++slice.semaphoreRejections;
    ++slice.failures;
    this.rolling.took(slice, 0);
    this.tell('semaphoreLocked', error, 0);
    this.tell('failure', error, 0, args);
    return new Promise((resolve, reject) => this.instead(error, args, resolve, reject));
  }

  private refuse(args: Args, retryAfterMs: number): Promise<Result> {
    const error = new BreakerOpenError(retryAfterMs);
    ++this.rolling.at(performance.now()).rejects;
    this.tell('reject', error);
    return new Promise((resolve, reject) => this.instead(error, args, resolve, reject));
  }

  /** The fallback's result, or the error. */
  private instead(error: unknown, args: Args, resolve: (result: Result | PromiseLike<Result>) => void, reject: (reason: unknown) => void): void {
    if (this.alternative === undefined) {
      reject(error);
      return;
    }
    let result: unknown;
    try {
      result = this.alternative(...args, error);
    } catch (thrown) {
      reject(thrown);
      return;
    }
    resolve(result as Result | PromiseLike<Result>);
    ++this.rolling.at(performance.now()).fallbacks;
    this.tell('fallback', result, error);
  }

  private moved(to: LocalState): void {
    if (to !== 'open' && this.options.autoRenewAbortController && this.abortController?.signal.aborted) this.abortController = new AbortController();
    if (to === 'open') this.tell('open');
    else if (to === 'closed') this.tell('close');
    else this.tell('halfOpen', this.options.resetTimeout);
  }
}

/**
 * Wraps a function in a breaker that is shared by all processes which use the same service and name.
 * Several objects of one client, service and name are one breaker, too: `errorThresholdPercentage`, `volumeThreshold`, `resetTimeout`,
 * `rollingCountTimeout`, `rollingCountBuckets`, `allowWarmUp`, `reportEveryMs` and `acquireTimeoutMs` of the first made hold for what they share.
 * A listener that throws changes nothing for the caller: its error is thrown again by itself (`uncaughtException`).
 *
 * ```ts
 * const charge = breaker((card: string, cents: number) => payments.charge(card, cents), {client, service: 'payments', name: 'cards'});
 * charge.fallback(() => ({queued: true}));
 * await charge.fire('tok_1', 4200);
 * ```
 * @throws TypeError, RangeError for an option that cannot be, by its name
 */
export function breaker<Args extends unknown[], Result>(action: (...args: Args) => Result | PromiseLike<Result>, options: BreakerOptions<Args>):
  Breaker<Args, Result> {
  return new Breaker<Args, Result>(action, options);
}

export type {BreakerOptions} from './options.js';
export type {PortcullisClient};

// One breaker of the server's as this process sees it, whatever number of Breaker objects use it: the state that was told, the
// results to tell, the permits, and the local breaker that decides while the server is away.
import crypto from 'node:crypto';
import os from 'node:os';

import {backoffMs} from '../backoff.js';
import {isPortcullisError, PortcullisError, type ErrorName} from '../errors.js';
import type {PortcullisClient} from '../portcullis.js';
import type {Acquired, BreakerName, BreakerOutcome, BreakerState, PortcullisEvent, StateAndEpoch} from '../types.js';
import {feedOf, keyOf, type Feed, type Follower} from './feed.js';
import {LocalBreaker, type LocalPolicy, type LocalState} from './local.js';
import {callsAReportMax, outcomes, Reports, type Outcome} from './reports.js';

/** What a shared breaker is made with; of several Breaker objects those of the first hold. */
export interface SharedOptions {
  policy: LocalPolicy;
  /** How long results wait for others to be told with, ms. */
  reportEveryMs: number;
  /** How long a half-open call waits for its permit, ms. */
  acquireTimeoutMs: number;
}

/** A Breaker object, to be told what concerns all of one name. */
export interface Listener {
  moved(to: LocalState): void;
  degraded(reason: PortcullisError): void;
  recovered(state: BreakerState, downMs: number): void;
}

/** What held when a call was admitted; a new one with each change. */
export interface Phase {
  readonly epoch: number;
  /** Decided by this process alone. */
  readonly local: boolean;
  readonly generation: number;
}

/** Leave to make one call, or when to ask again. */
export type Leave = {allowed: true; phase: Phase; permit: string | undefined} | {allowed: false; retryAfterMs: number};

/** The call may be made, may not, or the server is to be asked. */
export const verdicts = {admit: 0, reject: 1, ask: 2} as const;
export type Verdict = (typeof verdicts)[keyof typeof verdicts];

/** Requests for a permit under way; more calls than that in a half-open phase are turned away here. */
export const acquiresMax = 64;
/** Results of permits that could not be told; one more is dropped and counted. */
export const unsettledMax = 1000;
/** So many calls are told without waiting for `reportEveryMs`. */
const reportAtOnce = 10_000;
/** Said where the server did not say yet when a call is worth a try. */
const retryAfterUnknownMs = 1000;
/** After an open breaker's wait: its event should have come. */
const eventGraceMs = 250;
/** How often the state is asked for where an event is due, at most. */
const pollMs = 2000;
/** Errors of the server in a row (of a kind that does not say that it is away) after which the process goes on alone. */
const failuresMax = 3;
const rejoinBaseMs = 100;
const rejoinCapMs = 5000;

/** The server cannot be reached, or will not have this client. */
const lostCodes = new Set<ErrorName>(['TIMEOUT', 'CONNECTION_LOST', 'UNREACHABLE', 'CLOSED', 'PROTOCOL', 'TOKEN_IN_CLEAR', 'AUTH_REQUIRED',
  'AUTH_FAILED', 'FORBIDDEN', 'BREAKER_KIND_CONFLICT', 'BREAKER_LIMIT', 'TLS_REQUIRED', 'CERTIFICATE_REJECTED']);
const outcomeNames: BreakerOutcome[] = ['success', 'failure', 'timeout', 'ignored', 'ignored', 'success', 'failure'];

interface Settlement {
  permit: string;
  epoch: number;
  outcome: Outcome;
  ms: number;
}

/** @internal */
export class Shared implements Follower {
  readonly key: string;
  /** As the server said last. */
  state: BreakerState = 'closed';
  epoch = 0;
  /** The server is away: `local` decides. */
  away: PortcullisError | undefined;
  /** open() holds it in this process. */
  held = false;
  phase: Phase = {epoch: 0, local: false, generation: 0};
  /** When it became open here, Unix ms. */
  openedAtMs: number | undefined;
  readonly reports = new Reports();
  readonly local: LocalBreaker;

  private readonly listeners = new Set<Listener>();
  private readonly name: BreakerName & {breaker: string};
  private readonly source: string;
  private readonly feed: Feed;
  /** Calls are admitted without a second look. */
  private free = true;
  private shown: LocalState = 'closed';
  /** When an open breaker's wait is over, by performance.now(). */
  private until = Infinity;
  private awaySince = 0;
  private asking = 0;
  private failures = 0;
  private attempt = 0;
  private over = false;
  private sending: Promise<void> | undefined;
  private asked: Promise<void> | undefined;
  private askAgain = false;
  private readonly unsettled: Settlement[] = [];
  private settling = 0;
  private settled: (() => void) | undefined;
  private flushTimer: NodeJS.Timeout | undefined;
  private pollTimer: NodeJS.Timeout | undefined;
  private tickTimer: NodeJS.Timeout | undefined;

  private constructor(private readonly client: PortcullisClient, service: string, breaker: string, private readonly options: SharedOptions) {
    this.key = keyOf(service, breaker);
    this.name = {service, breaker};
    // The server takes a source for one life of one process.
    const host = os.hostname().replace(/[^A-Za-z0-9_.-]/g, '_').slice(0, 24);
    this.source = `${host}-${process.pid}-${crypto.randomBytes(6).toString('hex')}`;
    this.local = new LocalBreaker(options.policy, performance.now());
    this.feed = feedOf(client);
  }

  /** The one of this name that the client has, or a new one. */
  static of(client: PortcullisClient, service: string, breaker: string, options: SharedOptions, listener: Listener): Shared {
    const feed = feedOf(client);
    const known = feed.get(keyOf(service, breaker));
    const shared = known instanceof Shared ? known : new Shared(client, service, breaker, options);
    shared.listeners.add(listener);
    if (known === undefined) {
      feed.add(shared);
      shared.refresh();
    }
    return shared;
  }

  /** Changes come by themselves. */
  get pushing(): boolean { return this.feed.live; }

  /** As callers of opossum know it. */
  get effective(): LocalState { return this.shown; }

  /** May the call be made? Counts it. A half-open local breaker's one place is taken by the answer. */
  admit(now: number): Verdict {
    this.local.fired(now);
    return this.free ? verdicts.admit : this.judge(now);
  }

  /** Asks the server for leave. Never rejects: without an answer the local breaker decides. */
  async acquire(): Promise<Leave> {
    if (this.asking >= acquiresMax) {
      this.rejected();
      return {allowed: false, retryAfterMs: retryAfterUnknownMs};
    }
    ++this.asking;
    const known = this.epoch;
    try {
      const reply = await this.permit(performance.now() + this.options.acquireTimeoutMs);
      this.learn(reply, known, reply.retryAfterMs);
      // A denied one is counted by the server.
      if (!reply.allowed) return {allowed: false, retryAfterMs: reply.retryAfterMs ?? retryAfterUnknownMs};
      const phase = reply.epoch === this.phase.epoch ? this.phase : {epoch: reply.epoch, local: false, generation: 0};
      return {allowed: true, phase, permit: reply.permit};
    } catch (reason) {
      this.degrade(asError(reason));
      if (this.judge(performance.now()) === verdicts.admit) return {allowed: true, phase: this.phase, permit: undefined};
      this.rejected();
      return {allowed: false, retryAfterMs: this.retryAfterMs(performance.now())};
    } finally {
      --this.asking;
    }
  }

  /** A call that was admitted ended. @param ms how long it took */
  done(outcome: Outcome, ms: number, phase: Phase, now: number, permit: string | undefined): void {
    const failed = outcome === outcomes.failure || outcome === outcomes.timeout || outcome === outcomes.slowFailure;
    if (failed) this.local.countFailure(now);
    if (permit !== undefined) this.settle({permit, epoch: phase.epoch, outcome, ms});
    else this.count(outcome, ms, phase);
    if (!phase.local || !this.alone) return;
    if (failed ? this.local.failed(phase.generation, now) : this.local.succeeded(phase.generation)) this.localMoved(now);
  }

  /** A call that was admitted was not made after all: there was no room for it. */
  unused(phase: Phase): void {
    if (phase.local) this.local.giveBack(phase.generation);
    this.rejected();
  }

  /** A call was turned away by this process. */
  rejected(): void { this.count(outcomes.rejected, -1, this.phase); }

  /** In how many ms a call may be worth a try. */
  retryAfterMs(now: number): number {
    if (this.alone) return Math.ceil(this.local.retryAfterMs(now));
    return this.until === Infinity ? retryAfterUnknownMs : Math.max(0, Math.ceil(this.until - now));
  }

  /** Opens it in this process, whatever the server says, until a call tried after the reset timeout succeeds, or release(). */
  hold(): void {
    const now = performance.now();
    if (this.shown === 'open') return;
    this.held = true;
    this.local.begin('open', now, this.options.policy.resetTimeoutMs);
    this.localMoved(now);
  }

  /** Ends a hold; while the server is away it closes the local breaker. */
  release(): void {
    if (!this.alone) return;
    this.held = false;
    this.local.close();
    this.localMoved(performance.now());
  }

  pushed(event: PortcullisEvent): void {
    if (this.away) {
      this.refresh();
      return;
    }
    const {type, epoch, mode} = event as PortcullisEvent & {epoch: number; mode?: BreakerState};
    if (event['kind'] === 'observed') return;
    if (type === 'breaker_retired') {
      // The next of this name counts its epochs anew.
      this.apply({state: 'closed', epoch: 0});
      return;
    }
    const state = type === 'breaker_opened' ? 'open' : type === 'breaker_half_opened' ? 'half_open' : type === 'breaker_override_set' ? mode : 'closed';
    if (state !== undefined && epoch > this.epoch) this.apply({state, epoch});
  }

  check(): void { if (!this.away) this.refresh(); }

  connected(): void { if (this.away) this.refresh(); }

  /** Asks for the state; one request at a time, one more behind it where it was asked for meanwhile. */
  refresh(): void {
    if (this.over) return;
    if (this.asked) {
      this.askAgain = true;
      return;
    }
    this.askAgain = false;
    this.asked = this.ask().finally(() => {
      this.asked = undefined;
      if (this.askAgain && !this.away) this.refresh();
    });
  }

  /** Tells what is counted. Resolves when the server has it all (true), or when it is away (false). */
  async drain(): Promise<boolean> {
    while (!this.over && !this.away && (this.reports.waiting > 0 || this.unsettled.length > 0 || this.settling > 0)) {
      if (this.asked) await this.asked;
      else {
        this.flush();
        if (this.sending) await this.sending;
        if (this.settling > 0) await new Promise<void>((wake) => { this.settled = wake; });
        // The server is there and asked to come later.
        if (this.failures > 0) return false;
      }
    }
    return this.reports.waiting === 0 && this.unsettled.length === 0;
  }

  /** The last listener to go takes the breaker with it. Resolves when its results are told, or cannot be. */
  async leave(listener: Listener): Promise<void> {
    this.listeners.delete(listener);
    if (this.listeners.size > 0) return;
    await this.drain();
    if (this.listeners.size > 0 || this.over) return;
    this.over = true;
    this.feed.remove(this);
    for (const timer of [this.flushTimer, this.pollTimer, this.tickTimer]) clearTimeout(timer);
  }

  /** The local breaker decides. An override is an operator's word and outlives the connection. */
  private get alone(): boolean { return this.held || (this.away !== undefined && !isOverride(this.state)); }

  private judge(now: number): Verdict {
    if (this.alone) {
      if (this.local.tick(now)) this.localMoved(now);
      return this.state !== 'forced_open' && this.local.admit(now) ? verdicts.admit : verdicts.reject;
    }
    switch (this.state) {
      case 'open': return now >= this.until ? verdicts.ask : verdicts.reject;
      case 'half_open': return verdicts.ask;
      case 'forced_open': return verdicts.reject;
      case 'closed':
      case 'disabled':
      case 'metrics_only': return verdicts.admit;
    }
  }

  /** One permit, or the denial. What was refused before anything was done is asked again while there is time. */
  private async permit(deadline: number): Promise<Acquired> {
    for (;;) {
      const left = deadline - performance.now();
      try {
        return await this.client.breakers.acquire(this.name, {timeoutMs: Math.max(1, left)});
      } catch (reason) {
        const waitMs = Math.max(10, asError(reason).retryAfterMs ?? rejoinBaseMs);
        if (!isPortcullisError(reason, 'OVERLOADED', 'NODE_DRAINING') || waitMs >= deadline - performance.now()) throw reason;
        await new Promise((wake) => setTimeout(wake, waitMs));
      }
    }
  }

  private count(outcome: Outcome, ms: number, phase: Phase): void {
    // How long it took to say what says nothing of the service is no duration of it.
    this.reports.add(outcome, outcome === outcomes.ignored ? -1 : ms, phase === this.phase && !phase.local);
    if (this.flushTimer === undefined && this.sending === undefined) this.arm(this.options.reportEveryMs);
    else if (this.reports.waiting >= reportAtOnce && this.sending === undefined && this.failures === 0) this.flush();
  }

  private arm(ms: number): void {
    if (this.away || this.over) return;
    clearTimeout(this.flushTimer);
    this.flushTimer = setTimeout(() => this.flush(), ms);
    this.flushTimer.unref();
  }

  private flush(): void {
    if (this.sending || this.away || this.over || this.asked) {
      if (this.asked && !this.sending) this.arm(this.options.reportEveryMs);
      return;
    }
    clearTimeout(this.flushTimer);
    this.flushTimer = undefined;
    for (const each of this.unsettled.splice(0)) this.settle(each);
    if (this.reports.waiting === 0) return;
    this.sending = this.send().then(() => {}, (reason: unknown) => this.failed(asError(reason))).finally(() => {
      this.sending = undefined;
      if (this.failures === 0 && this.reports.waiting > 0) this.arm(this.reports.waiting >= callsAReportMax ? 0 : this.options.reportEveryMs);
    });
  }

  /** Sends one batch; an empty one makes a breaker that is not there, and tells the epoch in which calls count. */
  private async send(empty = false): Promise<StateAndEpoch> {
    const known = this.epoch;
    const {seq, epoch, tally} = this.reports.next(known, empty);
    const durationBuckets = tally.buckets.some((each) => each > 0) ? tally.buckets : undefined;
    try {
      const reply = await this.client.breakers.reportBatch({...this.name, source: this.source, seq, epoch, counts: tally.countsOnWire(), durationBuckets});
      this.reports.acknowledged();
      this.failures = 0;
      if (!this.away) this.learn(reply, known, undefined);
      return reply;
    } catch (reason) {
      if (isPortcullisError(reason, 'INVALID_PARAMS')) this.reports.refused();
      throw reason;
    }
  }

  private settle(end: Settlement): void {
    const known = this.epoch;
    ++this.settling;
    const {permit, epoch} = end;
    const report = {...this.name, permit, epoch, outcome: outcomeNames[end.outcome] as BreakerOutcome, durationMs: Math.min(86_400_000, Math.round(end.ms))};
    this.client.breakers.report(report).then((reply) => {
      this.failures = 0;
      if (!this.away) this.learn(reply, known, undefined);
    }, (reason: unknown) => {
      // The server was started again and knows no permits: the call is told with the others.
      if (isPortcullisError(reason, 'BREAKER_PERMIT_INVALID')) this.reports.add(end.outcome, end.ms, false);
      // A permit that is settled already counts once, however often it is told.
      else if (this.unsettled.length < unsettledMax) this.unsettled.push(end);
      else ++this.reports.dropped;
      if (!isPortcullisError(reason, 'BREAKER_PERMIT_INVALID')) this.failed(asError(reason));
      else this.arm(this.options.reportEveryMs);
    }).finally(() => { if (--this.settling === 0) this.settled?.(); });
  }

  private async ask(): Promise<void> {
    const known = this.epoch;
    let told: StateAndEpoch & {retryAfterMs?: number};
    try {
      // Never while a batch is under way: what the two say must be of one order.
      if (this.sending) await this.sending;
      try {
        const status = await this.client.breakers.status(this.name);
        if (status.kind === 'observed') throw new PortcullisError('BREAKER_KIND_CONFLICT', {method: 'breaker.status'});
        told = {...status, retryAfterMs: status.retryAfterMs ?? retryAfterUnknownMs};
      } catch (reason) {
        if (!isPortcullisError(reason, 'BREAKER_NOT_FOUND')) throw reason;
        told = {...await this.send(true), retryAfterMs: retryAfterUnknownMs};
      }
    } catch (reason) {
      this.failed(asError(reason));
      return;
    }
    this.failures = 0;
    // While this was asked something newer may have been pushed.
    if (this.epoch === known || told.epoch > this.epoch || this.away) this.apply(told);
    if (this.away) this.recover();
  }

  /** The state in a reply to what was asked when `known` was the epoch. */
  private learn(told: StateAndEpoch, known: number, retryAfterMs: number | undefined): void {
    if (told.epoch > this.epoch || (told.epoch === this.epoch && told.state !== this.state)) this.apply({...told, ...(retryAfterMs !== undefined && {retryAfterMs})});
    // An older epoch than the one that was known when it was asked: the breaker was made anew. The status says so, or not.
    else if (told.epoch < this.epoch && known === this.epoch) this.refresh();
  }

  private apply(told: StateAndEpoch & {retryAfterMs?: number}): void {
    const now = performance.now();
    if (told.epoch !== this.epoch) {
      // What was counted before anything was known is of now.
      if (this.epoch !== 0) this.reports.age();
      this.until = Infinity;
    }
    if (told.state !== this.state) this.until = Infinity;
    this.state = told.state;
    this.epoch = told.epoch;
    if (told.retryAfterMs !== undefined && (told.state === 'open' || told.state === 'forced_open')) this.until = now + told.retryAfterMs;
    this.announce();
    this.poll(now);
  }

  /** Events come by themselves; this is for what was missed, and for waits that nobody tells the end of. */
  private poll(now: number, leastMs = 0): void {
    clearTimeout(this.pollTimer);
    this.pollTimer = undefined;
    if (this.away || this.over) return;
    const rejecting = this.state === 'open' || this.state === 'forced_open';
    if (rejecting && this.until === Infinity && leastMs === 0) this.refresh();
    else if (rejecting || this.state === 'half_open') {
      const dueMs = rejecting ? this.until === Infinity ? 0 : Math.max(0, this.until - now) + eventGraceMs : pollMs;
      const waitMs = Math.max(leastMs, dueMs);
      this.pollTimer = setTimeout(() => this.refresh(), Math.min(waitMs, 2 ** 31 - 1));
      this.pollTimer.unref();
    }
  }

  private failed(reason: PortcullisError): void {
    ++this.failures;
    const full = reason.code === 'BREAKER_SOURCE_LIMIT';
    if (this.away || lostCodes.has(reason.code) || (this.failures >= failuresMax && !full)) this.degrade(reason);
    else {
      const waitMs = Math.max(reason.retryAfterMs ?? 0, full ? rejoinCapMs : rejoinBaseMs * 2 ** Math.min(this.failures, 5));
      this.arm(waitMs);
      this.poll(performance.now(), waitMs);
    }
  }

  private degrade(reason: PortcullisError): void {
    if (this.over) return;
    const first = this.away === undefined;
    this.away = reason;
    if (first) {
      const now = performance.now();
      this.awaySince = now;
      this.attempt = 0;
      clearTimeout(this.flushTimer);
      this.flushTimer = undefined;
      this.reports.age();
      if (!this.held && !isOverride(this.state)) this.local.begin(this.state as LocalState, now, this.localWaitMs(now));
      this.announce();
      this.wakeLocal(now);
      for (const each of this.listeners) each.degraded(reason);
    }
    clearTimeout(this.pollTimer);
    if (this.client.closed) return;
    this.pollTimer = setTimeout(() => this.refresh(), rejoinBaseMs + backoffMs(this.attempt++, rejoinBaseMs, rejoinCapMs, Math.random()));
    this.pollTimer.unref();
  }

  private localWaitMs(now: number): number {
    return this.until === Infinity ? this.options.policy.resetTimeoutMs : Math.max(0, this.until - now);
  }

  private recover(): void {
    const downMs = performance.now() - this.awaySince;
    this.away = undefined;
    this.announce();
    this.poll(performance.now());
    for (const each of this.listeners) each.recovered(this.state, downMs);
    if (this.reports.waiting > 0 || this.unsettled.length > 0) this.arm(0);
  }

  private localMoved(now: number): void {
    if (this.held && this.local.state === 'closed') this.held = false;
    this.announce();
    this.wakeLocal(now);
  }

  /** So that `halfOpen` is told in time, not only at the next call. */
  private wakeLocal(now: number): void {
    clearTimeout(this.tickTimer);
    if (!this.alone || this.local.state !== 'open') return;
    this.tickTimer = setTimeout(() => {
      const then = performance.now();
      if (!this.alone) return;
      if (this.local.tick(then)) this.localMoved(then);
      else this.wakeLocal(then);
    }, Math.max(1, this.local.retryAfterMs(now)));
    this.tickTimer.unref();
  }

  /** Works out what holds now, and tells the listeners when that is another state. */
  private announce(): void {
    const {alone} = this;
    const to = alone && this.state !== 'forced_open' ? this.local.state : this.state === 'open' || this.state === 'forced_open' ? 'open' :
      this.state === 'half_open' ? 'half_open' : 'closed';
    this.free = to === 'closed';
    const generation = this.local.generation;
    if (this.phase.epoch !== this.epoch || this.phase.local !== alone || this.phase.generation !== generation)
      this.phase = {epoch: this.epoch, local: alone, generation};
    if (to === this.shown) return;
    this.shown = to;
    if (to === 'open') this.openedAtMs = Date.now();
    for (const each of this.listeners) each.moved(to);
  }
}

function isOverride(state: BreakerState): boolean { return state === 'forced_open' || state === 'disabled' || state === 'metrics_only'; }

function asError(reason: unknown): PortcullisError {
  return isPortcullisError(reason) ? reason : new PortcullisError('INTERNAL', {cause: reason, message: String(reason)});
}

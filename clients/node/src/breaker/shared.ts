// One breaker of the server's as this process sees it, whatever number of Breaker objects use it: the state that was told, and the
// local breaker that decides while the server is away, or takes no results of this process.
import {backoffMs} from '../backoff.js';
import {isPortcullisError, PortcullisError, type ErrorName} from '../errors.js';
import type {PortcullisClient} from '../portcullis.js';
import type {BreakerName, BreakerState, PortcullisEvent, StateAndEpoch} from '../types.js';
import {asError} from './errors.js';
import {feedOf, keyOf, type Feed, type Follower} from './feed.js';
import {LocalBreaker, type LocalPolicy, type LocalState} from './local.js';
import {Permits, type PermitHost, type PermitResult} from './permits.js';
import {Reporting, type ReportingHost} from './reporting.js';
import {outcomes, type Outcome} from './reports.js';
import {isOverride, retryAfterUnknownMs, toldByEvent, toldByStatus, type Told} from './told.js';

/** What a shared breaker is made with; of several Breaker objects those of the first hold. */
export interface SharedOptions {
  policy: LocalPolicy;
  /** How long results wait for others to be told with, ms. */
  reportEveryMs: number;
  /** How long a half-open call waits for its permit, ms. */
  acquireTimeoutMs: number;
}

/** A Breaker object, to be told what concerns all of one name. None of these may throw. */
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

/** After an open breaker's wait: its event should have come. */
const eventGraceMs = 250;
/** How often the state is asked for where an event is due, at most. */
const pollMs = 2000;
/** Errors of the server in a row (of a kind that does not say that it is away) after which the process goes on alone. */
const failuresMax = 3;
const rejoinBaseMs = 100;
const rejoinCapMs = 5000;
/** Between two tries where the server takes no more sources: one that is silent makes room after 15 minutes. */
const sourceRetryMs = 30_000;
const timerMax = 2 ** 31 - 1;

/** The server cannot be reached, or will not have this client. */
const lostCodes = new Set<ErrorName>(['TIMEOUT', 'CONNECTION_LOST', 'UNREACHABLE', 'CLOSED', 'PROTOCOL', 'TOKEN_IN_CLEAR', 'AUTH_REQUIRED',
  'AUTH_FAILED', 'FORBIDDEN', 'BREAKER_KIND_CONFLICT', 'BREAKER_LIMIT', 'TLS_REQUIRED', 'CERTIFICATE_REJECTED']);

/** @internal */
export class Shared implements Follower, PermitHost, ReportingHost {
  readonly key: string;
  readonly name: BreakerName & {breaker: string};
  /** As the server said last. */
  state: BreakerState = 'closed';
  epoch = 0;
  /** open() holds it in this process. */
  held = false;
  phase: Phase = {epoch: 0, local: false, generation: 0};
  /** When it became open here, Unix ms. */
  openedAtMs: number | undefined;
  /** The state is being asked for. */
  inquiry: Promise<void> | undefined;
  readonly local: LocalBreaker;
  private readonly permits: Permits;
  private readonly reporting: Reporting;

  private readonly listeners = new Set<Listener>();
  private readonly feed: Feed;
  /** Calls are admitted without a second look. */
  private free = true;
  private shown: LocalState = 'closed';
  /** When an open breaker's wait is over, by performance.now(). */
  private until = Infinity;
  /** When an override ends, by performance.now(); undefined: not told yet. */
  private overrideUntil: number | undefined;
  /** The server is away: `local` decides. */
  private away: PortcullisError | undefined;
  /** The server takes no results of this process: `local` decides where nobody else has opened the breaker. */
  private refused: PortcullisError | undefined;
  private degradedSince = 0;
  /** A permit was asked for in vain; not known yet whether the server is away. */
  private unanswered = false;
  private failures = 0;
  private attempt = 0;
  private over = false;
  private inquireAgain = false;
  private pollTimer: NodeJS.Timeout | undefined;
  private tickTimer: NodeJS.Timeout | undefined;

  private constructor(readonly client: PortcullisClient, service: string, breaker: string, private readonly options: SharedOptions) {
    this.key = keyOf(service, breaker);
    this.name = {service, breaker};
    this.local = new LocalBreaker(options.policy, performance.now());
    this.permits = new Permits(this, options.acquireTimeoutMs);
    this.reporting = new Reporting(this, this.permits, options.reportEveryMs);
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

  /** Why this process decides by itself. */
  get degraded(): PortcullisError | undefined { return this.away ?? this.refused; }

  /** Results that will not reach the server. */
  get dropped(): number { return this.reporting.reports.dropped; }

  get muted(): boolean { return this.away !== undefined || this.over; }

  get failing(): boolean { return this.failures > 0 || this.refused !== undefined; }

  /** Asks the server for leave. Never rejects: without an answer the call is turned away, for the others that wait have none either. */
  async acquire(): Promise<Leave> {
    if (this.unanswered || this.permits.busy) return this.turnAway(retryAfterUnknownMs);
    try {
      const reply = await this.permits.request();
      if (reply === undefined) {
        // Slow, or away? The answer to this one says; the call is counted when its own comes.
        this.unanswered = true;
        this.refresh();
        return {allowed: false, retryAfterMs: retryAfterUnknownMs};
      }
      // A denied one is counted by the server.
      if (!reply.allowed) return {allowed: false, retryAfterMs: reply.retryAfterMs ?? retryAfterUnknownMs};
      const phase = reply.epoch === this.phase.epoch && !this.phase.local ? this.phase : {epoch: reply.epoch, local: false, generation: 0};
      return {allowed: true, phase, permit: reply.permit};
    } catch (reason) {
      this.degrade(asError(reason));
      const now = performance.now();
      if (this.judge(now) === verdicts.admit) return {allowed: true, phase: this.phase, permit: undefined};
      return this.turnAway(this.retryAfterMs(now));
    }
  }

  /** A call that was admitted ended. @param ms how long it took */
  done(outcome: Outcome, ms: number, phase: Phase, now: number, permit: string | undefined): void {
    const failed = outcome === outcomes.failure || outcome === outcomes.timeout || outcome === outcomes.slowFailure;
    if (failed) this.local.countFailure(now);
    if (permit !== undefined) this.permits.tell({permit, epoch: phase.epoch, outcome, ms});
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
    const told = toldByEvent(event);
    // The same override for another time is no other epoch; the next breaker of a name that was retired counts its epochs anew.
    if (told === undefined) return;
    const sameOverride = told.epoch === this.epoch && told.state === this.state && isOverride(told.state);
    if (told.epoch > this.epoch || told.epoch === 0 || sameOverride) this.apply(told);
  }

  check(): void { if (!this.away) this.refresh(); }

  connected(): void { if (this.away) this.refresh(); }

  /** Asks for the state; one request at a time, one more behind it where it was asked for meanwhile. */
  refresh(): void {
    if (this.over) return;
    if (this.inquiry) {
      this.inquireAgain = true;
      return;
    }
    this.inquireAgain = false;
    this.inquiry = this.inquire().finally(() => {
      this.inquiry = undefined;
      if (this.inquireAgain && !this.away) this.refresh();
    });
  }

  /** Tells what is counted. Resolves when the server has it all (true), or when it is away or asked to come later (false). */
  drain(): Promise<boolean> { return this.reporting.drain(); }

  /** The last listener to go takes the breaker with it. Resolves when its results are told, or cannot be. */
  async leave(listener: Listener): Promise<void> {
    this.listeners.delete(listener);
    if (this.listeners.size > 0) return;
    await this.reporting.drain();
    if (this.listeners.size > 0 || this.over) return;
    this.over = true;
    this.feed.remove(this);
    this.reporting.abandon();
    for (const timer of [this.pollTimer, this.tickTimer]) clearTimeout(timer);
  }

  heard(told: StateAndEpoch, known: number, retryAfterMs?: number): void {
    this.failures = 0;
    this.unanswered = false;
    if (this.away || this.over) return;
    const {epoch, state} = told;
    if (epoch > this.epoch || (epoch === this.epoch && state !== this.state)) this.apply({epoch, state, ...(retryAfterMs !== undefined && {retryAfterMs})});
    // An older epoch than the one that was known when it was asked: the breaker was made anew. The status says so, or not.
    else if (epoch < this.epoch && known === this.epoch) this.refresh();
  }

  permitForgotten(result: PermitResult): void {
    this.reporting.reports.add(result.outcome, result.ms, false);
    this.reporting.arm();
  }

  resultDropped(): void { ++this.reporting.reports.dropped; }

  failed(reason: PortcullisError): void {
    ++this.failures;
    if (reason.code === 'BREAKER_SOURCE_LIMIT' && !this.away) this.refuse(reason);
    else if (this.away || lostCodes.has(reason.code) || this.failures >= failuresMax) this.degrade(reason);
    else {
      const waitMs = Math.max(reason.retryAfterMs ?? 0, rejoinBaseMs * 2 ** Math.min(this.failures, 5));
      this.reporting.arm(waitMs);
      this.poll(performance.now(), waitMs);
    }
  }

  sourceAccepted(): void {
    if (this.refused === undefined) return;
    this.refused = undefined;
    if (this.away === undefined) this.rejoined();
  }

  /** The local breaker decides. An override is an operator's word and outlives the connection, for as long as it is good. */
  private get alone(): boolean {
    if (this.held) return true;
    return this.away ? !isOverride(this.state) : this.refused !== undefined && this.state === 'closed';
  }

  private turnAway(retryAfterMs: number): Leave {
    this.rejected();
    return {allowed: false, retryAfterMs};
  }

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

  private count(outcome: Outcome, ms: number, phase: Phase): void {
    // It ended after shutdown() had waited long enough.
    if (this.over) this.resultDropped();
    else this.reporting.count(outcome, ms, phase === this.phase && !phase.local);
  }

  private async inquire(): Promise<void> {
    const known = this.epoch;
    let told: Told;
    try {
      // Never while a batch is under way: what the two say must be of one order.
      await this.reporting.answered();
      try {
        const status = await this.client.breakers.status(this.name);
        if (status.kind === 'observed') throw new PortcullisError('BREAKER_KIND_CONFLICT', {method: 'breaker.status'});
        told = toldByStatus(status);
      } catch (reason) {
        if (!isPortcullisError(reason, 'BREAKER_NOT_FOUND')) throw reason;
        told = {...await this.reporting.send(true), retryAfterMs: retryAfterUnknownMs};
      }
    } catch (reason) {
      this.failed(asError(reason));
      return;
    }
    if (this.over) return;
    this.failures = 0;
    this.unanswered = false;
    // While this was asked something newer may have been pushed.
    if (this.epoch === known || told.epoch > this.epoch || this.away) this.apply(told);
    if (this.away) this.recover();
  }

  private apply(told: Told): void {
    const now = performance.now();
    const changed = told.state !== this.state;
    if (told.epoch !== this.epoch) {
      // What was counted before anything was known is of now.
      if (this.epoch !== 0) this.reporting.reports.age();
      this.until = Infinity;
    }
    if (changed) this.until = Infinity;
    if (changed || told.epoch !== this.epoch) this.overrideUntil = undefined;
    this.state = told.state;
    this.epoch = told.epoch;
    if (told.retryAfterMs !== undefined && (told.state === 'open' || told.state === 'forced_open')) this.until = now + told.retryAfterMs;
    if (told.overrideMs !== undefined) this.overrideUntil = now + told.overrideMs;
    // Others tried it, and closed it.
    if (changed && told.state === 'closed' && this.refused && !this.away && !this.held) this.local.begin('closed', now, 0);
    this.announce();
    this.poll(now);
  }

  /** Events come by themselves; this is for what was missed, and for waits that nobody tells the end of. */
  private poll(now: number, leastMs = 0): void {
    clearTimeout(this.pollTimer);
    this.pollTimer = undefined;
    if (this.away || this.over) return;
    const rejecting = this.state === 'open' || this.state === 'forced_open';
    const unknown = (rejecting && this.until === Infinity) || (isOverride(this.state) && this.overrideUntil === undefined);
    if (unknown && leastMs === 0) this.refresh();
    else if (rejecting || this.state === 'half_open') {
      const dueMs = rejecting ? this.until === Infinity ? 0 : Math.max(0, this.until - now) + eventGraceMs : pollMs;
      const waitMs = Math.max(leastMs, dueMs);
      this.pollTimer = setTimeout(() => this.refresh(), Math.min(waitMs, timerMax));
      this.pollTimer.unref();
    }
  }

  private degrade(reason: PortcullisError): void {
    if (this.over) return;
    const first = this.away === undefined;
    if (first) {
      const now = performance.now();
      const {alone, degraded} = this;
      this.away = reason;
      this.attempt = 0;
      this.unanswered = false;
      this.reporting.disarm();
      if (!alone && !isOverride(this.state)) this.takeOver(now);
      this.wentAlone(now, reason, degraded === undefined);
    } else this.away = reason;
    clearTimeout(this.pollTimer);
    if (this.client.closed) return;
    this.pollTimer = setTimeout(() => this.refresh(), rejoinBaseMs + backoffMs(this.attempt++, rejoinBaseMs, rejoinCapMs, Math.random()));
    this.pollTimer.unref();
  }

  /** No more sources are taken: as on its own, but for the state, which still comes. */
  private refuse(reason: PortcullisError): void {
    if (this.over) return;
    const {alone, degraded} = this;
    const now = performance.now();
    this.refused = reason;
    if (!alone && this.state === 'closed') this.takeOver(now);
    if (degraded === undefined) this.wentAlone(now, reason, true);
    this.reporting.arm(sourceRetryMs * (1 + Math.random() / 4), true);
  }

  /** The local breaker goes on from the state that was last known. */
  private takeOver(now: number): void {
    const {resetTimeoutMs} = this.options.policy;
    // Who may try was the server's to say. That all processes try at once is worse than that they wait, each for another time.
    const tries = this.state === 'half_open' || (this.state === 'open' && now >= this.until);
    if (tries) this.local.begin('open', now, resetTimeoutMs * (1 + Math.random() / 4));
    else this.local.begin(this.state as LocalState, now, this.until === Infinity ? resetTimeoutMs : this.until - now);
  }

  private wentAlone(now: number, reason: PortcullisError, tell: boolean): void {
    this.reporting.reports.age();
    this.announce();
    this.wakeLocal(now);
    if (!tell) return;
    this.degradedSince = now;
    for (const each of this.listeners) each.degraded(reason);
  }

  private recover(): void {
    this.away = undefined;
    this.reporting.arm(0);
    this.rejoined();
  }

  private rejoined(): void {
    const now = performance.now();
    this.announce();
    this.poll(now);
    if (this.refused) return;
    for (const each of this.listeners) each.recovered(this.state, now - this.degradedSince);
  }

  private localMoved(now: number): void {
    if (this.held && this.local.state === 'closed') this.held = false;
    this.announce();
    this.wakeLocal(now);
  }

  /** So that `halfOpen`, and the end of an override, are told in time, not only at the next call. */
  private wakeLocal(now: number): void {
    clearTimeout(this.tickTimer);
    const dueMs = this.alone ? this.local.state === 'open' ? this.local.retryAfterMs(now) : Infinity :
      this.away && isOverride(this.state) ? (this.overrideUntil ?? Infinity) - now : Infinity;
    if (dueMs === Infinity) return;
    this.tickTimer = setTimeout(() => {
      const then = performance.now();
      if (this.away && isOverride(this.state) && !this.held) this.endOverride(then);
      else if (this.alone && this.local.tick(then)) this.localMoved(then);
      else this.wakeLocal(then);
    }, Math.min(timerMax, Math.max(1, dueMs)));
    this.tickTimer.unref();
  }

  /** Its time is over, and the server that would clear it is away. */
  private endOverride(now: number): void {
    if (now >= (this.overrideUntil ?? Infinity)) {
      this.state = 'closed';
      this.overrideUntil = undefined;
      this.local.begin('closed', now, 0);
      this.announce();
    }
    this.wakeLocal(now);
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

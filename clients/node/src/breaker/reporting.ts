// Tells the server what was counted, in batches: when, and again where it failed. What there is to tell is kept in Reports.
import crypto from 'node:crypto';
import os from 'node:os';

import {isPortcullisError, type PortcullisError} from '../errors.js';
import type {PortcullisClient} from '../portcullis.js';
import type {BreakerName, StateAndEpoch} from '../types.js';
import {asError} from './errors.js';
import type {Permits} from './permits.js';
import {callsAReportMax, outcomes, Reports, type Outcome} from './reports.js';

/** So many calls are told without waiting for `reportEveryMs`. */
const reportAtOnce = 10_000;

/** The breaker whose calls these are. */
export interface ReportingHost {
  readonly client: PortcullisClient;
  readonly name: BreakerName & {breaker: string};
  readonly epoch: number;
  /** Nothing is to be told now: the server is away, or the breaker is over. */
  readonly muted: boolean;
  /** What was told last failed: the next try has its time. */
  readonly failing: boolean;
  /** The state is being asked for. */
  readonly inquiry: Promise<void> | undefined;
  heard(told: StateAndEpoch, known: number): void;
  /** A batch of this source was taken. */
  sourceAccepted(): void;
  failed(reason: PortcullisError): void;
}

/** @internal */
export class Reporting {
  readonly reports = new Reports();
  private readonly source: string;
  private batch: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly host: ReportingHost, private readonly permits: Permits, private readonly reportEveryMs: number) {
    // The server takes a source for one life of one process.
    const name = os.hostname().replace(/[^A-Za-z0-9_.-]/g, '_').slice(0, 24);
    this.source = `${name}-${process.pid}-${crypto.randomBytes(6).toString('hex')}`;
  }

  /** @param fresh of the phase of now */
  count(outcome: Outcome, ms: number, fresh: boolean): void {
    // How long it took to say what says nothing of the service is no duration of it.
    this.reports.add(outcome, outcome === outcomes.ignored ? -1 : ms, fresh);
    if (this.batch !== undefined) return;
    if (this.timer === undefined) this.arm(this.reportEveryMs);
    else if (this.reports.waiting >= reportAtOnce && !this.host.failing) this.flush();
  }

  /** Tells in so many ms; `evenNothing`: to see whether it is taken. */
  arm(ms = this.reportEveryMs, evenNothing = false): void {
    if (this.host.muted) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(evenNothing), ms);
    this.timer.unref();
  }

  disarm(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  /** Tells now what there is; one batch at a time. */
  flush(evenNothing = false): void {
    const {host} = this;
    if (this.batch || host.muted) return;
    // Never while the state is asked for: what the two say must be of one order.
    if (host.inquiry) {
      this.arm(this.reportEveryMs, evenNothing);
      return;
    }
    this.disarm();
    this.permits.tellAgain();
    if (this.reports.waiting === 0 && !evenNothing) return;
    this.batch = this.send(this.reports.waiting === 0).then(() => {}, (reason: unknown) => host.failed(asError(reason))).finally(() => {
      this.batch = undefined;
      if (!host.failing && this.reports.waiting > 0) this.arm(this.reports.waiting >= callsAReportMax ? 0 : this.reportEveryMs);
    });
  }

  /** Resolves when no batch is under way. */
  async answered(): Promise<void> { await this.batch; }

  /** Sends one batch; an empty one makes a breaker that is not there, and tells the epoch in which calls count. */
  async send(empty = false): Promise<StateAndEpoch> {
    const known = this.host.epoch;
    const {seq, epoch, tally} = this.reports.next(known, empty);
    const durationBuckets = tally.buckets.some((each) => each > 0) ? tally.buckets : undefined;
    try {
      const batch = {...this.host.name, source: this.source, seq, epoch, counts: tally.countsOnWire(), durationBuckets};
      const reply = await this.host.client.breakers.reportBatch(batch);
      this.reports.acknowledged();
      this.host.sourceAccepted();
      this.host.heard(reply, known);
      return reply;
    } catch (reason) {
      if (isPortcullisError(reason, 'INVALID_PARAMS')) this.reports.refused();
      // It was not taken. When there is room for it, it is of an earlier time.
      if (isPortcullisError(reason, 'BREAKER_SOURCE_LIMIT')) this.reports.takeBack();
      throw reason;
    }
  }

  /** Tells all. Resolves when the server has it (true), or when it is away or asked to come later (false). */
  async drain(): Promise<boolean> {
    while (!this.host.muted && this.waiting > 0) {
      if (this.host.inquiry) await this.host.inquiry;
      else {
        this.flush();
        await this.batch;
        await this.permits.answered();
        if (this.host.failing) return false;
      }
    }
    return this.waiting === 0;
  }

  /** Nothing more is told: what was not is lost. */
  abandon(): void {
    this.disarm();
    this.reports.abandon();
    this.reports.dropped += this.permits.abandon();
  }

  private get waiting(): number { return this.reports.waiting + this.permits.waiting; }
}

// What a process has counted and not yet told the server: numbers only, so that an outage of any length takes no memory. Each call
// is in one count, each batch is sent under one `seq` until it is answered.
import type {BreakerCounts} from '../types.js';

/** Bounds of the duration buckets in ms; the last bucket has none. */
const boundsMs = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];
export const bucketCount = boundsMs.length + 1;
/** The server refuses a report of more calls. */
export const callsAReportMax = 1_000_000;
/** Calls kept for a server that is away; what comes on top is counted as dropped. */
export const callsKeptMax = 10 * callsAReportMax;
/** An epoch that no breaker has: such calls count in the totals, and decide nothing. */
export const staleEpoch = 0;

export const names = ['success', 'failure', 'timeout', 'ignored', 'rejected', 'slow_success', 'slow_failure'] as const;
/** How a call ended, as an index of `names`. */
export const outcomes = {success: 0, failure: 1, timeout: 2, ignored: 3, rejected: 4, slowSuccess: 5, slowFailure: 6} as const;
export type Outcome = (typeof outcomes)[keyof typeof outcomes];

/** The bucket of a duration. */
export function bucketOf(ms: number): number {
  for (let i = 0; i < boundsMs.length; ++i) if (ms <= (boundsMs[i] as number)) return i;
  return boundsMs.length;
}

/** Counts of calls, and of how long they took. */
export class Tally {
  total = 0;
  readonly counts: number[] = new Array<number>(names.length).fill(0);
  readonly buckets: number[] = new Array<number>(bucketCount).fill(0);

  /** @param ms negative: the call has no duration, it was not made */
  add(outcome: Outcome, ms: number): void {
    ++this.total;
    ++(this.counts[outcome] as number);
    if (ms >= 0) ++(this.buckets[bucketOf(ms)] as number);
  }

  /** Moves at most `calls` calls out of this tally into `other`. */
  moveTo(other: Tally, calls: number): void {
    const moved = move(this.counts, other.counts, calls);
    move(this.buckets, other.buckets, calls);
    this.total -= moved;
    other.total += moved;
  }

  countsOnWire(): BreakerCounts {
    const wire: BreakerCounts = {};
    for (const [i, name] of names.entries()) if (this.counts[i] !== 0) wire[name] = this.counts[i] as number;
    return wire;
  }
}

function move(from: number[], to: number[], most: number): number {
  let moved = 0;
  for (let i = 0; i < from.length && moved < most; ++i) {
    const part = Math.min(from[i] as number, most - moved);
    from[i] = (from[i] as number) - part;
    to[i] = (to[i] as number) + part;
    moved += part;
  }
  return moved;
}

/** A batch that was, or is about to be, sent. */
export interface Batch {
  readonly seq: number;
  readonly epoch: number;
  readonly tally: Tally;
}

/** What is not told yet, and the batch that is being told. */
export class Reports {
  /** Calls that could not be kept, or were refused. */
  dropped = 0;
  /** Of the phase of now: the server judges by them. */
  private current = new Tally();
  /** Of earlier phases, and of those decided without the server. */
  private stale = new Tally();
  private sent: Batch | undefined;
  private seq = 0;
  private lastFresh = false;

  get waiting(): number { return this.current.total + this.stale.total + (this.sent?.tally.total ?? 0); }

  add(outcome: Outcome, ms: number, fresh: boolean): void {
    if (this.current.total + this.stale.total >= callsKeptMax) {
      ++this.dropped;
      return;
    }
    (fresh ? this.current : this.stale).add(outcome, ms);
  }

  /** The phase is over: what it counted and did not tell is of an old one. */
  age(): void { this.current.moveTo(this.stale, Infinity); }

  /** The batch to send: the one that was not answered yet, else the next; with nothing to tell, or to make the breaker known, an empty one. */
  next(epoch: number, empty = false): Batch {
    if (this.sent) return this.sent;
    if (empty) return this.sent = {seq: ++this.seq, epoch, tally: new Tally()};
    // In turns: what decides must not wait for what was left over, nor keep it waiting.
    const fresh = this.stale.total === 0 || (this.current.total > 0 && !this.lastFresh);
    this.lastFresh = fresh;
    const batch: Batch = {seq: ++this.seq, epoch: fresh ? epoch : staleEpoch, tally: new Tally()};
    (fresh ? this.current : this.stale).moveTo(batch.tally, callsAReportMax);
    this.sent = batch;
    return batch;
  }

  /** The server has it, or had it already. */
  acknowledged(): void { this.sent = undefined; }

  /** The server will never take it. */
  refused(): void {
    this.dropped += this.sent?.tally.total ?? 0;
    this.sent = undefined;
  }

  /** The server did not take it, and may later: its calls are then of an old phase. */
  takeBack(): void {
    this.sent?.tally.moveTo(this.stale, Infinity);
    this.sent = undefined;
  }

  /** Nothing more will be told. */
  abandon(): void {
    this.dropped += this.waiting;
    this.current = new Tally();
    this.stale = new Tally();
    this.sent = undefined;
  }
}

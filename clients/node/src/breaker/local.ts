// The breaker of this process alone, with opossum's rules: in charge while the server is away, or while open() holds it. Pure: the
// time is an argument, in ms of a monotonic clock.

/** When the breaker of this process opens, and how long it stays so. */
export interface LocalPolicy {
  /** Opens when more than so many percent of the calls in the window failed. */
  errorThresholdPercentage: number;
  /** Fewer calls in the window than that never open it. */
  volumeThreshold: number;
  /** How long it is open before one call may try, ms. */
  resetTimeoutMs: number;
  windowMs: number;
  windowSlices: number;
  /** Until then nothing opens it, but open(). */
  warmUntil: number;
}

export type LocalState = 'closed' | 'open' | 'half_open';

/**
 * Closed, open, half-open. Half-open lets one call through: its end decides. A call that began in an earlier phase (`generation`)
 * counts in the window and decides nothing.
 */
export class LocalBreaker {
  state: LocalState = 'closed';
  /** Grows by one with each change of state. */
  generation = 0;
  private until = 0;
  private probing = false;
  private readonly fires: number[];
  private readonly failures: number[];
  private readonly sliceMs: number;
  private slice = 0;
  private sliceEnds: number;

  constructor(private readonly policy: LocalPolicy, now: number) {
    this.fires = new Array<number>(policy.windowSlices).fill(0);
    this.failures = new Array<number>(policy.windowSlices).fill(0);
    this.sliceMs = policy.windowMs / policy.windowSlices;
    this.sliceEnds = now + this.sliceMs;
  }

  /** Counts a call. */
  fired(now: number): void {
    if (now >= this.sliceEnds) this.turn(now);
    ++(this.fires[this.slice] as number);
  }

  /** Counts a failure, whoever decides. */
  countFailure(now: number): void {
    if (now >= this.sliceEnds) this.turn(now);
    ++(this.failures[this.slice] as number);
  }

  /** Takes over in a state that others decided. @param waitMs what is left of an open one's wait; of a half-open one no call is out */
  begin(state: LocalState, now: number, waitMs: number): void {
    this.move(state);
    this.until = now + waitMs;
  }

  /** Whether a call may be made now; of a half-open breaker it takes the one place there is. To be asked after `tick`. */
  admit(now: number): boolean {
    if (this.state === 'closed') return true;
    if (this.state === 'open') return false;
    // A call that never ends must not keep the place for ever.
    if (this.probing && now < this.until) return false;
    this.probing = true;
    this.until = now + this.policy.resetTimeoutMs;
    return true;
  }

  /** The call that took a half-open breaker's place was not made. */
  giveBack(generation: number): void { if (generation === this.generation) this.probing = false; }

  /** Open becomes half-open once its wait is over; whether it did. */
  tick(now: number): boolean {
    if (this.state !== 'open' || now < this.until) return false;
    this.move('half_open');
    return true;
  }

  /** A call of the phase `generation` succeeded; whether that closed the breaker. */
  succeeded(generation: number): boolean {
    if (generation !== this.generation || this.state !== 'half_open') return false;
    this.move('closed');
    return true;
  }

  /** A call of the phase `generation` failed and was counted; whether that opened the breaker. */
  failed(generation: number, now: number): boolean {
    if (generation !== this.generation || this.state === 'open' || now < this.policy.warmUntil) return false;
    if (this.state === 'closed') {
      const fires = sum(this.fires);
      if (fires < this.policy.volumeThreshold) return false;
      if (sum(this.failures) / Math.max(1, fires) * 100 <= this.policy.errorThresholdPercentage) return false;
    }
    return this.open(now);
  }

  /** Whether it was not open before. */
  open(now: number): boolean {
    if (this.state === 'open') return false;
    this.move('open');
    this.until = now + this.policy.resetTimeoutMs;
    return true;
  }

  /** Whether it was not closed before. */
  close(): boolean {
    if (this.state === 'closed') return false;
    this.move('closed');
    return true;
  }

  /** What is left of the wait, or until a half-open breaker has a place at the latest. */
  retryAfterMs(now: number): number { return this.state === 'closed' ? 0 : Math.max(0, this.until - now); }

  private move(state: LocalState): void {
    this.state = state;
    this.probing = false;
    ++this.generation;
  }

  private turn(now: number): void {
    const steps = Math.floor((now - this.sliceEnds) / this.sliceMs) + 1;
    for (let i = Math.min(steps, this.fires.length); i > 0; --i) {
      this.slice = (this.slice + 1) % this.fires.length;
      this.fires[this.slice] = this.failures[this.slice] = 0;
    }
    this.sliceEnds += steps * this.sliceMs;
  }
}

function sum(all: number[]): number {
  let total = 0;
  for (const each of all) total += each;
  return total;
}

// How long to wait before the next try, and how often one may try at all. Pure: randomness and time are arguments.

/**
 * Full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"): uniform in [0, min(cap, base * 2^attempt)].
 * @param attempt 0 for the first wait
 * @param random in [0, 1)
 */
export function backoffMs(attempt: number, baseMs: number, capMs: number, random: number): number {
  return Math.floor(random * Math.min(capMs, baseMs * 2 ** Math.min(attempt, 30)));
}

/**
 * A retry budget (Finagle's): each call puts `ratio` of a token in, each retry takes one out; `perSecond` tokens come by themselves.
 * When most calls fail, retries stay below `ratio` of the load and cannot make an outage worse.
 */
export class RetryBudget {
  private tokens: number;
  private at: number;

  /** @param now ms of a monotonic clock */
  constructor(private readonly ratio: number, private readonly perSecond: number, private readonly burst: number, now: number) {
    this.tokens = burst;
    this.at = now;
  }

  /** Notes a first attempt. */
  deposit(): void {
    this.tokens = Math.min(this.burst, this.tokens + this.ratio);
  }

  /** Takes a retry out; false when there is none left. */
  withdraw(now: number): boolean {
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.at) / 1000) * this.perSecond);
    this.at = now;
    if (this.tokens < 1) return false;
    this.tokens -= 1;
    return true;
  }
}

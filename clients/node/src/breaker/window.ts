// What opossum calls `status`: counts of one breaker object over a rolling window. Time is an argument; nothing here runs by itself
// but the snapshots, and these only while somebody listens.
import {EventEmitter} from 'node:events';

/** Counts of one slice of the window; `latencyTimes` in ms. */
export interface Bucket {
  failures: number;
  fallbacks: number;
  successes: number;
  rejects: number;
  fires: number;
  timeouts: number;
  cacheHits: number;
  cacheMisses: number;
  coalesceCacheHits: number;
  coalesceCacheMisses: number;
  semaphoreRejections: number;
  percentiles: Record<string, number>;
  latencyTimes: number[];
}

/** Sums over the window. `latencyMean` and percentiles are -1 where they are off. */
export interface Stats extends Bucket {
  latencyMean: number;
}

const percentiles = [0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 1];
/** Latencies kept a slice; of more calls than that, a uniform sample (Vitter's algorithm R). */
export const latencySamplesMax = 1000;

function bucket(): Bucket {
  return {
    failures: 0, fallbacks: 0, successes: 0, rejects: 0, fires: 0, timeouts: 0, cacheHits: 0, cacheMisses: 0,
    coalesceCacheHits: 0, coalesceCacheMisses: 0, semaphoreRejections: 0, percentiles: {}, latencyTimes: [],
  };
}

const sums = ['failures', 'fallbacks', 'successes', 'rejects', 'fires', 'timeouts', 'semaphoreRejections'] as const;

/** The slices of a window of `windowMs`, newest first. */
export class RollingWindow {
  private readonly buckets: Bucket[];
  private readonly sliceMs: number;
  /** When the newest slice ends. */
  private until: number;
  /** Latencies that the newest slice was told of. */
  private told = 0;

  /** @param random in [0, 1): which latencies a full slice keeps */
  constructor(windowMs: number, slices: number, private readonly latencies: boolean, now: number, private readonly random: () => number = Math.random) {
    this.sliceMs = windowMs / slices;
    this.until = now + this.sliceMs;
    this.buckets = Array.from({length: slices}, bucket);
  }

  /** The slice of now. */
  at(now: number): Bucket {
    if (now >= this.until) this.turn(now);
    return this.buckets[0] as Bucket;
  }

  /** Notes how long a call took. */
  took(slice: Bucket, ms: number): void {
    if (!this.latencies) return;
    ++this.told;
    if (slice.latencyTimes.length < latencySamplesMax) {
      slice.latencyTimes.push(ms);
      return;
    }
    const at = Math.floor(this.random() * this.told);
    if (at < latencySamplesMax) slice.latencyTimes[at] = ms;
  }

  slices(now: number): Bucket[] {
    this.at(now);
    return this.buckets.slice();
  }

  stats(now: number): Stats {
    this.at(now);
    const total: Stats = {...bucket(), latencyMean: -1};
    for (const each of this.buckets) for (const name of sums) total[name] += each[name];
    if (!this.latencies) {
      for (const each of percentiles) total.percentiles[each] = -1;
      return total;
    }
    const times = this.buckets.flatMap((each) => each.latencyTimes).sort((a, b) => a - b);
    total.latencyTimes = times;
    total.latencyMean = times.length === 0 ? 0 : times.reduce((a, b) => a + b, 0) / times.length;
    for (const each of percentiles) total.percentiles[each] = times[Math.max(0, Math.ceil(each * times.length) - 1)] ?? 0;
    return total;
  }

  private turn(now: number): void {
    const steps = Math.floor((now - this.until) / this.sliceMs) + 1;
    for (let i = Math.min(steps, this.buckets.length); i > 0; --i) {
      this.buckets.pop();
      this.buckets.unshift(bucket());
    }
    this.until += steps * this.sliceMs;
    this.told = 0;
  }
}

/** `breaker.status`: emits `snapshot(stats)` once a slice while it has a listener. */
export class Status extends EventEmitter<{snapshot: [Stats]}> {
  private timer: NodeJS.Timeout | undefined;

  /** @internal */
  constructor(private readonly rolling: RollingWindow, sliceMs: number, snapshots: boolean) {
    super();
    if (!snapshots) return;
    const listening = this as EventEmitter;
    listening.on('newListener', (event) => {
      if (event !== 'snapshot' || this.timer) return;
      this.timer = setInterval(() => this.emit('snapshot', this.stats), sliceMs);
      this.timer.unref();
    });
    listening.on('removeListener', () => { if (this.listenerCount('snapshot') === 0) this.stop(); });
  }

  /** Sums over the window. */
  get stats(): Stats { return this.rolling.stats(performance.now()); }

  /** The slices of the window, newest first. */
  get window(): Bucket[] { return this.rolling.slices(performance.now()); }

  /** @internal */
  shutdown(): void {
    this.removeAllListeners();
    this.stop();
  }

  private stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }
}

// The options of a breaker: opossum's names where they mean the same, checked when the breaker is made.
import type {PortcullisClient} from '../portcullis.js';

/** How a breaker is made. What opens the shared breaker stands in the server's configuration (`breaker.*`), not here. */
export interface BreakerOptions<Args extends unknown[] = unknown[]> {
  client: PortcullisClient;
  /** What is called, 1..64 of `[A-Za-z0-9_.-]`; a token may be bound to some. */
  service: string;
  /** Which of its breakers, 1..64 of `[A-Za-z0-9_.-]`. Default `default`. */
  name?: string;
  /** As opossum's: for those who group by it. Default: the name. */
  group?: string;
  /** A call that takes longer fails with `ETIMEDOUT`, ms, default 10000; `false`: none. The action itself goes on. */
  timeout?: number | false;
  /** True: the error says nothing of the service (a 404). It is told as ignored, `success` is emitted, and the call rejects all the same. */
  // `any`, as opossum's types have it: filters that read `error.statusCode` are taken over as they are.
  errorFilter?: (error: any, ...args: Args) => boolean;
  /** Called instead where a call fails or is not made; gets its arguments and the error. */
  fallback?: (...args: [...Args, unknown]) => unknown;
  /** Calls of this object at once; more are `ESEMLOCKED`. Default: no bound. */
  capacity?: number;
  /** Default true. */
  enabled?: boolean;
  /** A call that took longer is told as a slow one, ms; to be the server's `breaker.slow_call_ms`. Default: none is. */
  slowCallMs?: number;
  /** How long results wait to be told together, ms, 10..60000, default 200. */
  reportEveryMs?: number;
  /** How long a half-open call waits for its permit before it is turned away, ms, default 1000. */
  acquireTimeoutMs?: number;
  /** While the server is away, and after open(): above so many percent of failed calls it opens, default 50. */
  errorThresholdPercentage?: number;
  /** While the server is away: with fewer calls in the window it never opens. Default 20 as the server's `min_calls` (opossum: 0). */
  volumeThreshold?: number;
  /** While the server is away, and after open(): how long it is open before one call is tried, ms, default 30000. */
  resetTimeout?: number;
  /** The window of `stats` and, while the server is away, of the decision, ms, default 10000. */
  rollingCountTimeout?: number;
  /** Slices of that window, default 10. */
  rollingCountBuckets?: number;
  /** While the server is away: no failure opens it within the first window. Default false. */
  allowWarmUp?: boolean;
  /** Whether latencies are kept for `stats`, default true. */
  rollingPercentilesEnabled?: boolean;
  /** Whether `status` emits `snapshot`, default true. */
  enableSnapshots?: boolean;
  /** Aborted when a call times out. */
  abortController?: AbortController;
  /** A new AbortController when the breaker closes or tries, where the old one was aborted. */
  autoRenewAbortController?: boolean;
}

/** The options with their defaults. */
export interface Settings {
  name: string;
  group: string;
  /** 0: none. */
  timeout: number;
  /** As it was given. */
  errorFilter: ((error: unknown, ...args: unknown[]) => boolean) | undefined;
  capacity: number;
  enabled: boolean;
  slowCallMs: number;
  reportEveryMs: number;
  acquireTimeoutMs: number;
  errorThresholdPercentage: number;
  volumeThreshold: number;
  resetTimeout: number;
  rollingCountTimeout: number;
  rollingCountBuckets: number;
  allowWarmUp: boolean;
  rollingPercentilesEnabled: boolean;
  enableSnapshots: boolean;
  abortController: AbortController | undefined;
  autoRenewAbortController: boolean;
}

/** Options of opossum that would be something else here: better refused than ignored. */
const absent: Record<string, string> = {
  cache: 'put a cache around the action', cacheTransport: 'put a cache around the action', coalesce: 'join equal calls in the action',
  state: 'the state is the server\'s', status: 'counts begin with the object', rotateBucketController: 'no timer rotates the window',
};
const timerMax = 2 ** 31 - 1;
const wordForm = /^[A-Za-z0-9_.-]{1,64}$/;

/** @throws TypeError for a name that is none */
export function checkWord(field: string, value: unknown): string {
  if (typeof value !== 'string' || !wordForm.test(value)) throw new TypeError(`${field}: 1..64 of [A-Za-z0-9_.-], not ${JSON.stringify(value)}`);
  return value;
}

/** @throws RangeError, TypeError */
export function checkNumber(field: string, value: unknown, otherwise: number, least: number, most: number): number {
  if (value === undefined) return otherwise;
  if (typeof value !== 'number') throw new TypeError(`${field}: a number, not ${typeof value}`);
  if (!(value >= least && value <= most)) throw new RangeError(`${field}: ${least}..${most}, not ${value}`);
  return value;
}

/** @throws TypeError, RangeError that name the option */
export function optionsOf<Args extends unknown[]>(options: BreakerOptions<Args>): Settings {
  if (typeof options?.client?.breakers?.reportBatch !== 'function') throw new TypeError('client: a PortcullisClient is needed');
  for (const [name, advice] of Object.entries(absent)) {
    if ((options as unknown as Record<string, unknown>)[name]) throw new TypeError(`${name}: is not an option of this breaker; ${advice}`);
  }
  checkWord('service', options.service);
  const name = checkWord('name', options.name ?? 'default');
  for (const each of ['errorFilter', 'fallback'] as const) {
    if (options[each] !== undefined && typeof options[each] !== 'function') throw new TypeError(`${each}: has to be a function`);
  }
  const renew = options.autoRenewAbortController === true;
  const abortController = options.abortController ?? (renew ? new AbortController() : undefined);
  if (abortController && typeof abortController.abort !== 'function') throw new TypeError('abortController: does not contain `abort()` method');
  const number = (field: keyof BreakerOptions, otherwise: number, least: number, most: number): number =>
    checkNumber(field, options[field], otherwise, least, most);
  return {
    name,
    group: options.group ?? name,
    timeout: options.timeout === false ? 0 : number('timeout', 10_000, 0, timerMax),
    errorFilter: options.errorFilter as Settings['errorFilter'],
    capacity: number('capacity', Number.MAX_SAFE_INTEGER, 1, Number.MAX_SAFE_INTEGER),
    enabled: options.enabled !== false,
    slowCallMs: number('slowCallMs', Infinity, 0, Infinity),
    reportEveryMs: number('reportEveryMs', 200, 10, 60_000),
    acquireTimeoutMs: number('acquireTimeoutMs', 1000, 1, 3_600_000),
    errorThresholdPercentage: number('errorThresholdPercentage', 50, 0, 100),
    volumeThreshold: number('volumeThreshold', 20, 0, Number.MAX_SAFE_INTEGER),
    resetTimeout: number('resetTimeout', 30_000, 1, timerMax),
    rollingCountTimeout: number('rollingCountTimeout', 10_000, 1, timerMax),
    rollingCountBuckets: Math.floor(number('rollingCountBuckets', 10, 1, 1000)),
    allowWarmUp: options.allowWarmUp === true,
    rollingPercentilesEnabled: options.rollingPercentilesEnabled !== false,
    enableSnapshots: options.enableSnapshots !== false,
    abortController,
    autoRenewAbortController: renew,
  };
}

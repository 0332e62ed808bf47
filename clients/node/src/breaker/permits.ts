// The permits of one breaker: each call of a half-open one takes one from the server, and its result goes back with it.
import {isPortcullisError, type PortcullisError} from '../errors.js';
import {timeoutMsMax} from '../options.js';
import type {PortcullisClient} from '../portcullis.js';
import type {Acquired, BreakerName, BreakerOutcome, StateAndEpoch} from '../types.js';
import {asError} from './errors.js';
import {outcomes, type Outcome} from './reports.js';

/** Requests for a permit under way; more calls than that in a half-open phase are turned away here. */
export const acquiresMax = 64;
/** Results of permits that could not be told; one more is dropped and counted. */
export const untoldMax = 1000;
/** For how long after its caller gave up an answer is waited for, ms: the server's default for how long a permit is good. */
const lateAnswerMs = 30_000;
/** Between two tries of a request that was refused before anything was done, at least. */
const askAgainMs = 100;
/** The server refuses a longer one. */
const durationMsMax = 86_400_000;
const outcomeNames: BreakerOutcome[] = ['success', 'failure', 'timeout', 'ignored', 'ignored', 'success', 'failure'];

/** How the call ended that was made with a permit. */
export interface PermitResult {
  readonly permit: string;
  readonly epoch: number;
  readonly outcome: Outcome;
  readonly ms: number;
}

/** The breaker whose permits these are. */
export interface PermitHost {
  readonly client: PortcullisClient;
  readonly name: BreakerName & {breaker: string};
  readonly epoch: number;
  /** The state in a reply to what was asked when `known` was the epoch. */
  heard(told: StateAndEpoch, known: number, retryAfterMs?: number): void;
  failed(reason: PortcullisError): void;
  /** A call was turned away by this process. */
  rejected(): void;
  /** The server does not know the permit: the call is to be told with the others. */
  permitForgotten(result: PermitResult): void;
  /** A result is lost. */
  resultDropped(): void;
}

/** @internal */
export class Permits {
  private requests = 0;
  private readonly untold: PermitResult[] = [];
  private tellsUnderWay = 0;
  private readonly whenTold: (() => void)[] = [];

  constructor(private readonly host: PermitHost, private readonly acquireTimeoutMs: number) {}

  /** No more may be asked for now. */
  get busy(): boolean { return this.requests >= acquiresMax; }

  /** Results that the server may not have. */
  get waiting(): number { return this.untold.length + this.tellsUnderWay; }

  /**
   * Asks for one permit. Resolves to undefined where there is no answer in time; a permit that comes later is given back, and the call
   * is then counted, once. @throws PortcullisError
   */
  request(): Promise<Acquired | undefined> {
    const known = this.host.epoch;
    ++this.requests;
    return new Promise((resolve, reject) => {
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        resolve(undefined);
      }, this.acquireTimeoutMs);
      this.ask(performance.now() + this.acquireTimeoutMs).then((reply) => {
        --this.requests;
        clearTimeout(timer);
        this.host.heard(reply, known, reply.retryAfterMs);
        if (!late) resolve(reply);
        else if (reply.allowed) this.giveBack(reply);
      }, (reason: unknown) => {
        --this.requests;
        clearTimeout(timer);
        if (late) this.host.rejected();
        else reject(reason as Error);
      });
    });
  }

  /** Tells the result of a call that was made with a permit; where that fails, with the next tellAgain(). */
  tell(result: PermitResult): void {
    const {host} = this;
    const known = host.epoch;
    ++this.tellsUnderWay;
    const {permit, epoch} = result;
    const outcome = outcomeNames[result.outcome] as BreakerOutcome;
    const report = {...host.name, permit, epoch, outcome, durationMs: Math.min(durationMsMax, Math.round(result.ms))};
    host.client.breakers.report(report).then((reply) => host.heard(reply, known), (reason: unknown) => {
      // The server was started again and knows no permits.
      if (isPortcullisError(reason, 'BREAKER_PERMIT_INVALID')) {
        host.permitForgotten(result);
        return;
      }
      // A permit that is settled already counts once, however often it is told.
      if (this.untold.length < untoldMax) this.untold.push(result);
      else host.resultDropped();
      host.failed(asError(reason));
    }).finally(() => {
      if (--this.tellsUnderWay === 0) for (const wake of this.whenTold.splice(0)) wake();
    });
  }

  /** Tells what could not be told. */
  tellAgain(): void { for (const each of this.untold.splice(0)) this.tell(each); }

  /** Resolves when no result is under way. */
  async answered(): Promise<void> {
    if (this.tellsUnderWay > 0) await new Promise<void>((wake) => this.whenTold.push(wake));
  }

  /** What will not be told; how many. */
  abandon(): number { return this.untold.splice(0).length; }

  /** Nobody waits for the call any more: its permit must not keep others from trying. Told as ignored, it is the call's one count. */
  private giveBack(reply: Acquired): void {
    if (reply.permit === undefined) this.host.rejected();
    else this.tell({permit: reply.permit, epoch: reply.epoch, outcome: outcomes.ignored, ms: 0});
  }

  /** What was refused before anything was done is asked again while there is time. */
  private async ask(deadline: number): Promise<Acquired> {
    for (;;) {
      const leftMs = Math.max(1, deadline - performance.now());
      try {
        return await this.host.client.breakers.acquire(this.host.name, {timeoutMs: Math.min(timeoutMsMax, leftMs + lateAnswerMs)});
      } catch (reason) {
        const waitMs = Math.max(10, asError(reason).retryAfterMs ?? askAgainMs);
        if (!isPortcullisError(reason, 'OVERLOADED', 'NODE_DRAINING') || waitMs >= deadline - performance.now()) throw reason;
        await new Promise((wake) => setTimeout(wake, waitMs));
      }
    }
  }
}

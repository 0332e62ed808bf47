// What the server says of a breaker's state: by a status, or by an event.
import type {BreakerState, BreakerStatus, PortcullisEvent, StateAndEpoch} from '../types.js';

/** Said where the server did not say yet when a call is worth a try. */
export const retryAfterUnknownMs = 1000;

/** What is known of a state: a status says all of it, a reply state and epoch only. */
export type Told = StateAndEpoch & {
  retryAfterMs?: number;
  /** How long an override is still good; Infinity: until it is cleared. */
  overrideMs?: number;
};

/** An operator's word, which no count changes. */
export function isOverride(state: BreakerState): boolean { return state === 'forced_open' || state === 'disabled' || state === 'metrics_only'; }

export function toldByStatus(status: BreakerStatus): Told {
  const {state, epoch, override, retryAfterMs} = status;
  const endsAtMs = override?.expiresAtMs;
  // `retry_after_ms` does not depend on what this host takes for the time.
  const overrideMs = endsAtMs === undefined ? Infinity : state === 'forced_open' ? retryAfterMs ?? 0 : Math.max(0, endsAtMs - Date.now());
  return {state, epoch, retryAfterMs: retryAfterMs ?? retryAfterUnknownMs, ...(isOverride(state) && {overrideMs})};
}

/** Of an event of a hosted breaker; epoch 0: it is no longer there. */
export function toldByEvent(event: PortcullisEvent): Told | undefined {
  if (event['kind'] === 'observed') return undefined;
  const {type, epoch, mode, at_ms: atMs, expires_at_ms: endsAtMs} = event as unknown as
    {type: string; epoch: number; mode?: BreakerState; at_ms: number; expires_at_ms?: number};
  switch (type) {
    case 'breaker_retired': return {state: 'closed', epoch: 0};
    case 'breaker_opened': return {state: 'open', epoch};
    case 'breaker_half_opened': return {state: 'half_open', epoch};
    // Both times are the server's.
    case 'breaker_override_set': return mode && {state: mode, epoch, overrideMs: endsAtMs === undefined ? Infinity : Math.max(0, endsAtMs - atMs)};
    default: return {state: 'closed', epoch};
  }
}

// The one call to another service that the demo makes. All that is about its failing stands here.

import {breaker} from 'portcullis-client';

/** How long the quote may take, ms. */
const timeoutMs = 1000;

/**
 * A circuit breaker around the service at `url`: `fire()` gives a quote, and rejects when that does not answer well or in time. All
 * processes of the application share its state; while it is open they do not ask at all.
 */
export function quoteOf(url, client) {
  return breaker(async () => {
    const answer = await fetch(url, {signal: AbortSignal.timeout(timeoutMs)});
    if (!answer.ok) throw new Error(`the downstream answered ${answer.status}`);
    return answer.text();
  }, {client, service: 'quotes', timeout: timeoutMs});
}

// The one call to another service that the demo makes. All that is about its failing stands here.

/** How long the quote may take, ms. */
const timeoutMs = 1000;

/** A function that gives a quote of the service at `url`; rejects when that does not answer well, or in time. */
export function quoteOf(url) {
  return async () => {
    const answer = await fetch(url, {signal: AbortSignal.timeout(timeoutMs)});
    if (!answer.ok) throw new Error(`the downstream answered ${answer.status}`);
    return answer.text();
  };
}

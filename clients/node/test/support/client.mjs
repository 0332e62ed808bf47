// A client that is closed after its test, what it sends and is answered, and what its errors are.
import assert from 'node:assert/strict';

import {PortcullisClient} from '../../dist/esm/index.js';

/** The request of a user. */
export const context = {ip: '192.0.2.1', userAgent: 'agent/1'};
/** A session that no server knows. */
export const key = {sessionId: '0'.repeat(64), context};
/** The answer to a request. */
export const reply = ({id}, result = {}) => ({jsonrpc: '2.0', id, result});

/** Closed after the test. */
export const client = (t, options) => {
  const made = new PortcullisClient({timeoutMs: 20_000, ...options});
  t.after(() => made.close());
  return made;
};

/** A check of what a call rejects with: its code, and more of its fields. */
export const coded = (code, more = {}) => (failure) => {
  assert.equal(failure.code, code, failure.stack);
  for (const [name, value] of Object.entries(more)) assert.deepEqual(failure[name], value, name);
  return true;
};

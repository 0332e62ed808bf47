// Which calls may be sent again when it is unknown whether the first was carried out.

/**
 * Reads, and what has the same effect twice. Not: session.create (a second session), session.update (it could overwrite what another
 * wrote meanwhile), breaker.acquire and report (a permit, a call more), admin.*. `session.validate` is: of a request that is denied
 * for its address or device the server may then count two attempts.
 */
const safe = new Set([
  'session.validate', 'session.revoke', 'session.revoke_user', 'session.revoke_tenant', 'session.list', 'session.find', 'session.stats',
  'lockout.status', 'lockout.list', 'lockout.clear', 'breaker.report_batch', 'breaker.observe', 'breaker.status', 'breaker.list',
  'events.query', 'server.ping', 'server.version', 'server.info', 'server.connections',
]);

/** Whether a request with this body may be sent a second time. */
export function isSafe(method: string, body: string): boolean {
  // In grace the same id gives the same successor; without, the second request would present an id that was replaced: reuse.
  if (method === 'session.rotate') return !body.includes('"grace":false');
  return safe.has(method);
}

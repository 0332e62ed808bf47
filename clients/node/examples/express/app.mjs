// An Express application whose sessions are Portcullis': sign in, a page for users, own sessions, log out here and everywhere.
import express from 'express';
import {isPortcullisError} from 'portcullis-client';
import {expressGuard, guardErrors, signedIn} from 'portcullis-client/express';

import {accountPage, failurePage, loginPage, quotePage, style} from './pages.mjs';
import {isPassword} from './users.mjs';

/** More of a form than this demo has. */
const formBytesMax = '4kb';

/**
 * @param client a PortcullisClient
 * @param quote gives a text, or rejects
 * @param secure false where the browser comes over plain HTTP and not to localhost
 * @param trustProxy who may say X-Forwarded-For
 */
export function createApp({client, quote, secure = true, trustProxy = [], log = () => undefined}) {
  const app = express();
  app.disable('x-powered-by');
  const wantsPage = (request) => request.accepts(['json', 'html']) === 'html';
  const fail = (response, status, correlationId) => response.status(status).send(failurePage(status, correlationId));

  app.use((request, response, next) => {
    response.set({'Content-Security-Policy': "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
      'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'same-origin'});
    next();
  });
  app.get('/style.css', (request, response) => response.type('css').set('Cache-Control', 'max-age=3600').send(style));

  // Cross-site request forgery: SameSite=Lax keeps the cookie from other sites' forms, but not from other hosts of the same site. So what
  // changes something must come from a page of this very origin.
  app.use((request, response, next) => {
    if (request.method === 'GET' || request.method === 'HEAD') return next();
    const {origin, host, 'sec-fetch-site': site} = request.headers;
    const own = origin === undefined ? site === 'same-origin' : URL.canParse(origin) && new URL(origin).host === host;
    if (own) return next();
    return fail(response, 403);
  });

  const guard = {
    client, tenant: 'demo', trustProxy, cookie: {secure}, rotateEveryS: 900,
    // What the page asks by itself does not keep the session alive.
    touch: (request) => request.path !== '/api/me',
    log: (denial, request) => log({at: 'guard', path: request.path, reason: denial.reason, status: denial.status,
      correlation_id: denial.correlationId, cause: denial.error.cause?.message}),
    onDenied: (denial, request, response) => {
      if (!wantsPage(request)) return false;
      if (denial.status === 401) response.redirect(303, '/login');
      else {
        if (denial.error.retryAfterMs !== undefined) response.set('Retry-After', String(Math.ceil(denial.error.retryAfterMs / 1000)));
        response.set('Cache-Control', 'no-store');
        fail(response, denial.status, denial.correlationId);
      }
      return true;
    },
  };
  app.use(expressGuard({...guard, required: false}));
  app.use(express.urlencoded({extended: false, limit: formBytesMax}));

  app.get('/', (request, response) => response.redirect(303, request.portcullis.valid ? '/account' : '/login'));
  app.get('/login', (request, response) => response.set('Cache-Control', 'no-store').send(loginPage(false)));
  app.post('/login', async (request, response) => {
    const {name, password} = request.body ?? {};
    if (typeof name !== 'string' || typeof password !== 'string' || !await isPassword(name, password)) {
      response.status(401).set('Cache-Control', 'no-store').send(loginPage(true));
      return;
    }
    await request.portcullis.login({userId: name, data: {visits: 0}});
    response.redirect(303, '/account');
  });
  app.post('/logout', async (request, response) => {
    await request.portcullis.logout();
    response.redirect(303, '/login');
  });

  // From here on there is a user.
  app.use(expressGuard({...guard, required: true}));
  app.get('/account', async (request, response) => {
    const session = signedIn(request);
    // Two tabs that load at once may both add to what they read; a count of visits may lose one.
    await session.save({...session.data, visits: (session.data?.visits ?? 0) + 1}, {overwrite: true});
    response.send(accountPage(session, await session.list()));
  });
  app.get('/api/me', (request, response) => {
    const {userId, handle, expiresAtMs} = signedIn(request);
    response.json({userId, handle, expiresAtMs});
  });
  app.post('/sessions/end', async (request, response) => {
    await request.portcullis.revoke(String(request.body?.handle));
    response.redirect(303, '/account');
  });
  app.post('/logout-others', async (request, response) => {
    await request.portcullis.logoutEverywhere({exceptCurrent: true});
    response.redirect(303, '/account');
  });
  app.post('/logout-everywhere', async (request, response) => {
    await request.portcullis.logoutEverywhere();
    response.redirect(303, '/login');
  });
  app.get('/quote', async (request, response) => {
    let text;
    try {
      text = await quote();
    } catch (error) {
      log({at: 'downstream', error: String(error)});
      fail(response, 502, request.portcullis.correlationId);
      return;
    }
    response.send(quotePage(text));
  });

  app.use((error, request, response, next) => {
    if (!isPortcullisError(error) || response.headersSent || !wantsPage(request)) return next(error);
    log({at: 'handler', path: request.path, code: error.code, cause: error.cause?.message});
    if (error.status === 401) return response.redirect(303, '/login');
    if (error.retryAfterMs !== undefined) response.set('Retry-After', String(Math.ceil(error.retryAfterMs / 1000)));
    return fail(response.set('Cache-Control', 'no-store'), error.status, error.correlationId);
  });
  app.use(guardErrors({log: (error, request) => log({at: 'handler', path: request.url, code: error.code, cause: error.cause?.message})}));
  // Everything else: a form that is too large, a mistake in here. Express itself would send the stack to the browser.
  app.use((error, request, response, next) => {
    log({at: 'handler', path: request.url, error: String(error?.stack ?? error)});
    if (response.headersSent) return next(error);
    const status = error?.status >= 400 && error.status < 500 ? error.status : 500;
    response.set('Cache-Control', 'no-store');
    return wantsPage(request) ? fail(response, status) : response.status(status).json({status});
  });
  return app;
}

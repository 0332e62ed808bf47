// One small application in each framework behind the guard, and a browser that is only its cookies.
import http from 'node:http';
import express5 from 'express';
import express4 from 'express4';
import fastify from 'fastify';
import {caught, expressGuard, guardErrors as expressErrors, signedIn} from 'portcullis-client/express';
import {fastifyGuard, guardErrors as fastifyErrors} from 'portcullis-client/fastify';

/** What the application does at a path, whatever the framework: (session, query, request, set a cookie of its own) -> JSON. */
export const routes = {
  '/open': (session) => session,
  '/private/me': (session) => session,
  '/login': async (session, query) => {
    const {user: userId, data, ttl} = query;
    await session.login({userId, ...(data && {data: JSON.parse(data)}), ...(ttl && {absoluteTtlS: Number(ttl)})});
    return session;
  },
  '/login-twice': async (session, query, set) => {
    set('theme=dark');
    await session.login({userId: query.user});
    await session.login({userId: query.user});
    return session;
  },
  '/logout': async (session) => { await session.logout(); return session; },
  '/logout-everywhere': async (session, query) => {
    const revoked = await session.logoutEverywhere({exceptCurrent: query.except === '1'});
    return {revoked, valid: session.valid};
  },
  '/save': async (session, query) => { await session.save(JSON.parse(query.data), {overwrite: query.overwrite === '1'}); return session; },
  '/save-too-much': async (session) => { await session.save({x: 'x'.repeat(20_000)}); return session; },
  '/save-after-reload': async (session, query) => { await session.reload(); await session.save(JSON.parse(query.data)); return session; },
  '/rotate': async (session, query) => { await session.rotate({grace: query.grace === '1'}); return session; },
  '/list': async (session) => ({sessions: await session.list()}),
  '/revoke': async (session, query) => ({revoked: await session.revoke(query.handle), valid: session.valid}),
  '/signed-in': (session) => ({userId: signedIn({portcullis: session}).userId}),
  '/broken': () => { throw new Error('the application itself'); },
};

const express = (framework, wrap) => ({errorLog, ...options}, {before = [], errors = true, more} = {}) => {
  const app = framework();
  app.set('env', 'production');
  for (const each of before) app.use((req, res, next) => { Promise.resolve(each(req, res)).then(() => next(), next); });
  app.use(expressGuard({required: false, ...options}));
  if (options.required === undefined) app.use('/private', expressGuard(options));
  for (const [path, handler] of Object.entries(routes)) {
    app.all(path, wrap(async (req, res) => {
      res.json(await handler(req.portcullis, req.query, (cookie) => res.append('Set-Cookie', cookie)));
    }));
  }
  more?.(app);
  if (errors) app.use(expressErrors(errorLog ? {log: errorLog} : {}));
  const server = http.createServer(app);
  return {server, ready: Promise.resolve()};
};

/** framework -> (options of the guard, {before: functions of Node's (req, res) ahead of the guard, errors: with guardErrors}) */
export const frameworks = {
  'Express 5': express(express5, (handler) => handler),
  'Express 4': express(express4, caught),
  'Fastify 5': ({errorLog, ...options}, {before = [], errors = true} = {}) => {
    const app = fastify({forceCloseConnections: true});
    for (const each of before) app.addHook('onRequest', (request, reply) => each(request.raw, reply.raw));
    app.register(fastifyGuard, {required: false, ...options});
    if (errors) app.setErrorHandler(fastifyErrors(errorLog ? {log: errorLog} : {}));
    app.register(async (scope) => {
      for (const [path, handler] of Object.entries(routes)) {
        const config = options.required === undefined && path.startsWith('/private') ? {portcullis: {required: true}} : {};
        scope.route({method: ['GET', 'POST', 'HEAD', 'OPTIONS'], url: path, config, exposeHeadRoute: false, handler: async (request, reply) =>
          JSON.parse(JSON.stringify(await handler(request.portcullis, request.query, (cookie) => reply.header('set-cookie', cookie))))});
      }
    });
    return {server: app.server, ready: app.ready(), app};
  },
};

/** Starts one of them on a free port; it is closed after the test. */
export async function guarded(t, framework, options, more) {
  const {server, ready, app} = frameworks[framework](options, more);
  await ready;
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  t.after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => { server.close(resolve); });
    await app?.close();
  });
  return server.address().port;
}

/** One request; the answer with its fields, cookies and body. */
export function ask(port, path, {method = 'GET', headers = {}} = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request({host: '127.0.0.1', port, path, method, headers, agent: false}, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part) => { text += part; }).on('end', () => {
        const json = /json/.test(response.headers['content-type'] ?? '') && text !== '' ? JSON.parse(text) : undefined;
        resolve({status: response.statusCode, headers: response.headers, setCookies: response.headers['set-cookie'] ?? [], text, json});
      }).on('error', reject);
    });
    request.on('error', reject).end();
  });
}

/** Cookies by name, kept from answer to answer, and the fields that the browser always sends. */
export class Browser {
  constructor(port, headers = {}) {
    this.port = port;
    this.headers = {'user-agent': 'Firefox/1', 'accept-language': 'en', ...headers};
    this.cookies = new Map();
  }

  /** Another one with the same cookies: what a thief has. */
  copy(headers = {}) {
    const other = new Browser(this.port, {...this.headers, ...headers});
    other.cookies = new Map(this.cookies);
    return other;
  }

  get id() { return this.cookies.get('__Host-sid'); }
  set id(value) { this.cookies.set('__Host-sid', value); }

  async go(path, {method, headers} = {}) {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const answer = await ask(this.port, path, {method, headers: {...this.headers, ...(cookie !== '' && {cookie}), ...headers}});
    for (const line of answer.setCookies) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (/; Max-Age=0/.test(line)) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    return answer;
  }

  login(user, more = '') { return this.go(`/login?user=${user}${more}`, {method: 'POST'}); }
}

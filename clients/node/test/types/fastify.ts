// Compiled only: what a Fastify application in strict TypeScript writes.
import fastify from 'fastify';
import {PortcullisClient} from 'portcullis-client';
import {fastifyGuard, guardErrors, signedIn} from 'portcullis-client/fastify';

const client = new PortcullisClient();
const app = fastify();
await app.register(fastifyGuard, {
  client, tenant: (request) => request.hostname, required: false,
  onDenied: (denial, request, reply) => {
    if (denial.status !== 401 || request.method !== 'GET') return false;
    reply.redirect('/login');
    return true;
  },
});
// @ts-expect-error a client is needed
await app.register(fastifyGuard, {tenant: 'acme'});
app.setErrorHandler(guardErrors());
app.get('/', {config: {portcullis: {required: true}}}, async (request) => {
  if (!request.portcullis.valid) return {reason: request.portcullis.reason};
  const user: string = request.portcullis.userId;
  return {user};
});
app.post('/login', async (request) => {
  await request.portcullis.login({userId: 'ada', data: {cart: 1}, absoluteTtlS: 600});
  return {handle: signedIn(request).handle};
});

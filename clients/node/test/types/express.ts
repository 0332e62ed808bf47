// Compiled only: what an Express application in strict TypeScript writes.
import express, {type Request, type Response} from 'express';
import {PortcullisClient} from 'portcullis-client';
import {caught, expressGuard, guardErrors, signedIn, type Denial} from 'portcullis-client/express';

const client = new PortcullisClient();
const app = express();
app.use(expressGuard({client, tenant: 'acme', required: false}));
app.use('/private', expressGuard<Request, Response>({
  client, tenant: (request) => request.hostname, trustProxy: ['loopback'], rotateEveryS: 900, cookie: {sameSite: 'strict'},
  touch: (request) => request.path !== '/poll',
  onDenied: (denial: Denial, request, response) => {
    if (denial.status !== 401 || request.accepts('html') !== 'html') return false;
    response.redirect('/login');
    return true;
  },
}));
app.get('/', (request, response) => {
  const session = request.portcullis;
  // @ts-expect-error of a request that may be nobody's the user may be undefined
  const before: string = session.userId;
  if (!session.valid) {
    const reason: string = session.reason;
    response.json({reason, before});
    return;
  }
  const user: string = session.userId;
  const expires: Date = new Date(session.expiresAtMs);
  response.json({user, expires, version: session.version + 1});
});
interface Cart { cart: number }
app.post('/cart', caught(async (request: Request, response: Response) => {
  const session = signedIn<Cart>(request);
  const cart: number = session.data?.cart ?? 0;
  await session.save({cart: cart + 1});
  // @ts-expect-error not what this session keeps
  await session.save({cart: 'x'});
  // @ts-expect-error what the guard says is not written to
  session.userId = 'root';
  response.json(await session.list());
}));
app.use(guardErrors({log: (error, request) => { console.error(request.url, error); }}));

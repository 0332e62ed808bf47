// The side of sessions.mjs that has our guard instead of express-session: the same routes and the same data.
import {expressGuard} from '../dist/esm/guard/express.js';
import {PortcullisClient} from '../dist/esm/index.js';

export default async function routes(app, address, kept) {
  const guard = expressGuard({client: new PortcullisClient({address}), tenant: 'bench', required: false, cookie: {secure: false, name: 'sid'}});
  app.use(guard);
  app.get('/login', async (req, res) => {
    await req.portcullis.login({userId: req.query.user, data: {n: 0, ...kept}});
    res.json({});
  });
  app.get('/read', (req, res) => res.json({user: req.portcullis.userId, n: req.portcullis.data.n}));
  app.get('/write', async (req, res) => {
    const {data, userId} = req.portcullis;
    const n = data.n + 1;
    await req.portcullis.save({...data, n}, {overwrite: true});
    res.json({user: userId, n});
  });
}

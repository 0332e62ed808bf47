// The guard's types, as an application in strict TypeScript sees them, and both kinds of module.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {createRequire} from 'node:module';
import path from 'node:path';
import test from 'node:test';
import {fileURLToPath} from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

test('strict TypeScript takes what an application writes, and refuses its mistakes', () => {
  const run = () => execFileSync(process.execPath, [path.join(root, 'node_modules/typescript/bin/tsc'), '--noEmit', '--strict', '--target', 'es2022',
    '--module', 'nodenext', '--moduleResolution', 'nodenext', '--types', 'node', '--skipLibCheck', '--exactOptionalPropertyTypes',
    'test/types/express.ts', 'test/types/fastify.ts'], {cwd: root, encoding: 'utf8', stdio: 'pipe'});
  assert.doesNotThrow(run, (error) => { throw new Error(error.stdout); });
});

test('both guards come as CommonJS, too, and load neither Express nor Fastify', () => {
  const script = 'for (const each of ["express", "fastify"]) { const {signedIn, guardErrors} = require("portcullis-client/" + each);' +
    ' if (!signedIn || !guardErrors) throw new Error(each); }' +
    ' const loaded = Object.keys(require.cache).filter((file) => file.includes("node_modules")); if (loaded.length) throw new Error(loaded.join());';
  execFileSync(process.execPath, ['--input-type=commonjs', '-e', script], {cwd: root, stdio: 'pipe'});
  const require = createRequire(import.meta.url);
  assert.equal(typeof require('portcullis-client/express').expressGuard, 'function');
  assert.equal(require('portcullis-client/fastify').fastifyGuard[Symbol.for('skip-override')], true);
});

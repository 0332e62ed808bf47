// The reference can be made without a warning: every exported name is documented, every link leads somewhere.
import assert from 'node:assert/strict';
import {spawnSync} from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import {test} from 'node:test';

import config from '../typedoc.config.mjs';
import {entries, root} from './support/repository.mjs';
import {scratch} from './support/server.mjs';

test('every export is in the reference, and it is made without a warning', () => {
  const out = path.join(scratch(), 'reference');
  const made = spawnSync(process.execPath, [path.join(root, 'node_modules', 'typedoc', 'bin', 'typedoc'), '--out', out], {cwd: root,
    encoding: 'utf8'});
  assert.equal(made.status, 0, made.stdout + made.stderr);
  // An export without a source is package.test.mjs's to tell.
  assert.deepEqual(config.entryPoints, entries.map((each) => each.source).filter((each) => fs.existsSync(path.join(root, each))));
  assert.ok(fs.existsSync(path.join(out, 'classes')) && fs.existsSync(path.join(out, 'index.html')));
});

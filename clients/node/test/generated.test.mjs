// What is generated is what it would be if it were generated now.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import {test} from 'node:test';

import {serverErrors} from '../dist/esm/index.js';
import {repository, root} from './support/repository.mjs';
import {binary} from './support/server.mjs';

const generated = (source) => execFileSync(process.execPath, [path.join(root, 'scripts', 'generate-errors.mjs'), '--print', source],
  {encoding: 'utf8'});

test('the table of errors is that of docs/errors.md', () => {
  assert.equal(fs.readFileSync(path.join(root, 'src', 'generated', 'errors.ts'), 'utf8'), generated(path.join(repository, 'docs', 'errors.md')));
});

test('the table of errors is that of the server that is tested with', () => {
  assert.equal(fs.readFileSync(path.join(root, 'src', 'generated', 'errors.ts'), 'utf8'), generated(binary));
});

test('the compiled table has every name of the contract, with its code', () => {
  const protocol = fs.readFileSync(path.join(repository, 'docs', 'protocol.md'), 'utf8');
  const rows = [...protocol.matchAll(/^\| (-?\d+) \| ([A-Z_]+) \| (\d+) \| (\w+) \| (yes|no) \|$/gm)];
  assert.ok(rows.length >= 40, `only ${rows.length} rows`);
  for (const [, code, name, status, severity, retryable] of rows) {
    const row = serverErrors[name];
    assert.ok(row, name);
    assert.deepEqual([row.code, row.status, row.severity, row.retryable], [Number(code), Number(status), severity, retryable === 'yes'], name);
  }
});

// A million calls leave nothing behind, and each is told.
import assert from 'node:assert';
import {fork} from 'node:child_process';
import path from 'node:path';
import test from 'node:test';
import {fileURLToPath} from 'node:url';

import {once, sum} from './support/breakers.mjs';
import {serve} from './support/server.mjs';

const program = path.join(path.dirname(fileURLToPath(import.meta.url)), 'support', 'breaker-memory.mjs');
const calls = 1_000_000;
/** What a full window of latencies, code that was compiled meanwhile and the like may take. Two numbers a call would be 16 MB. */
const growthMax = 4 * 1024 * 1024;

test('the heap is as large after a million calls as before, and the server has counted every one', async (t) => {
  const server = await serve(t, {config: '[breaker]\nmin_calls = 1000000\nwindow_s = 5\n'});
  const child = fork(program, [server.address, calls], {execArgv: ['--expose-gc']});
  t.after(() => child.kill('SIGKILL'));
  const told = once(child, 'message');
  const gone = once(child, 'exit');
  const [{before, after, counts, dropped}] = await told;
  assert.deepStrictEqual([sum(counts), counts.failure, dropped], [calls + 100_000, (calls + 100_000) / 100, 0]);
  assert.ok(after - before < growthMax, `${before} ${after}`);
  t.diagnostic(`${(before / 1024 / 1024).toFixed(1)} MB before, ${(after / 1024 / 1024).toFixed(1)} MB after`);
  assert.strictEqual((await gone)[0], 0);
});

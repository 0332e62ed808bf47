#!/usr/bin/env node
// The command `portcullis-client doctor`.
import fs from 'node:fs';

import {examine} from './doctor.js';
import {optionsOf, usage, UsageError} from './options.js';
import {render, reportOf} from './report.js';

const {version} = JSON.parse(fs.readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {version: string};

async function main(): Promise<number> {
  let options;
  try {
    options = optionsOf(process.argv.slice(2), process.env, version);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`portcullis-client: ${error.message}\n\n${usage}`);
    return 2;
  }
  if ('print' in options) {
    process.stdout.write(options.print);
    return 0;
  }
  // The first Ctrl-C ends the checks in order, a session that was made is revoked; the second ends the process.
  const interruption = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interruption.abort());
  const report = reportOf(version, await examine(options, interruption.signal));
  process.stdout.write(render(report, options.json));
  return report.healthy && !interruption.signal.aborted ? 0 : 1;
}

process.exitCode = await main();

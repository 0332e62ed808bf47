// Runs the doctor as a user does: the built command, its output and its exit code.
import {execFileSync, spawn} from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import {fileURLToPath} from 'node:url';

import {ended} from './child.mjs';
import {scratch, TestServer} from './server.mjs';

const main = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../dist/esm/doctor/main.js');

/** @returns {Promise<{code: number, out: string, err: string}>} `onChild` gets the process. */
export function run(args, {env = {}, nodeArgs = [], uid, onChild} = {}) {
  const {PORTCULLIS_TOKEN, PORTCULLIS_ADDRESS, ...rest} = process.env;
  const child = spawn(process.execPath, [...nodeArgs, main, ...args], {env: {...rest, ...env}, stdio: ['ignore', 'pipe', 'pipe'],
    ...(uid !== undefined && {uid})});
  onChild?.(child);
  return ended(child);
}

/** Runs it for addresses and reads its JSON. */
export async function doctor(addresses, {args = [], ...options} = {}) {
  const ran = await run(['doctor', '--json', ...[addresses].flat().flatMap((each) => ['--address', each]), ...args], options);
  if (ran.err !== '') throw new Error(`exit code ${ran.code}: ${ran.err}`);
  return {...ran, report: JSON.parse(ran.out)};
}

/** The findings of a check in a report, one line each: `status: seen | why | advice`. */
export function of(report, check) {
  return report.sections.flatMap((each) => each.findings).filter((each) => each.check === check)
    .map((each) => `${each.status}: ${[each.seen, each.why, each.advice].filter((part) => part !== undefined).join(' | ')}`);
}

/** Certificates for tests: an authority, a server at localhost, a client; `days` that they are good for. */
export function authority({days = 30, hosts = []} = {}) {
  const folder = scratch();
  TestServer.run('certs', 'dev', '--out', folder, '--days', String(days), ...hosts.flatMap((each) => ['--host', each]));
  const file = (name) => path.join(folder, name);
  /** Signs one more certificate with openssl. @returns names of two files */
  const sign = (name, {names, days: left}) => {
    const quiet = {stdio: ['ignore', 'pipe', 'pipe']};
    execFileSync('openssl', ['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', file(`${name}-key.pem`),
      '-out', file(`${name}.csr`), '-subj', `/CN=${name}`], quiet);
    fs.writeFileSync(file(`${name}.ext`), `subjectAltName=${names}\n`);
    execFileSync('openssl', ['x509', '-req', '-in', file(`${name}.csr`), '-CA', file('ca.pem'), '-CAkey', file('ca-key.pem'), '-days', String(left),
      '-extfile', file(`${name}.ext`), '-out', file(`${name}.pem`)], quiet);
    return {cert: file(`${name}.pem`), key: file(`${name}-key.pem`)};
  };
  return {folder, ca: file('ca.pem'), server: {cert: file('server.pem'), key: file('server-key.pem')}, file, sign};
}

/** Lines of configuration of a server with TLS listeners. */
export function tlsConfig(identity, {more = '', sections = ''} = {}) {
  return `[listen.rpc_tls]\naddress = "127.0.0.1:0"\n[listen.https]\naddress = "127.0.0.1:0"\n` +
    `[tls]\ncertificate_file = "${identity.cert}"\nkey_file = "${identity.key}"\n${more}\n${sections}`;
}

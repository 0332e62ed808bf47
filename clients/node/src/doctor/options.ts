// The doctor's command line and environment.
import fs from 'node:fs';
import tls from 'node:tls';
import {parseArgs} from 'node:util';

import type {TlsOptions} from '../connection.js';

export interface DoctorOptions {
  /** As they were given; not yet parsed. */
  addresses: string[];
  token: string | undefined;
  /** Addresses without a scheme are TLS ones. */
  secure: boolean;
  tls: TlsOptions;
  tenant: string;
  timeoutMs: number;
  json: boolean;
}

/** The command line cannot be carried out as it is: exit code 2. */
export class UsageError extends Error {}

/** More is no list of nodes that a person wrote. */
const addressesMax = 64;
export const defaultTenant = 'portcullis-doctor';

export const usage = `usage: portcullis-client doctor [OPTIONS]

Checks how this machine reaches a Portcullis server, and says what is wrong and what to do.

  --address A       host:port, portcullis+tls://host:port or unix:/path; may be repeated
                    (default: PORTCULLIS_ADDRESS, several with commas; else 127.0.0.1:7420)
  --token-file F    the file with the token (default: the variable PORTCULLIS_TOKEN; none: no login)
  --tls             addresses without a scheme are those of TLS listeners
  --ca F            whom to believe, PEM (default: Node's list)
  --cert F --key F  a client certificate and its key, PEM
  --servername N    the name that the server's certificate must have (default: the address's host)
  --tenant T        where the test session is made (default: ${defaultTenant})
  --timeout-ms N    patience of each step, 100..60000 (default: 3000)
  --json            the report as JSON
  --help, --version

It makes a session of a user of its own ("doctor-..."), validates it from two addresses and revokes it: that leaves events in the
server's log. Exit code: 0 nothing failed, 1 something failed, 2 the command line is wrong.
`;

function read(option: string, file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (cause) {
    throw new UsageError(`${option}: ${(cause as Error).message}`);
  }
}

function pem(option: string, file: string | undefined, kind: RegExp): string | undefined {
  if (file === undefined) return undefined;
  const text = read(option, file);
  if (!kind.test(text)) throw new UsageError(`${option}: ${file} is not PEM of the kind that is needed`);
  return text;
}

/** Never repeats what was given where a token was expected: it would be on the terminal and in logs. */
function tokenOf(file: string | undefined, variable: string | undefined): string | undefined {
  const token = (file === undefined ? variable ?? '' : read('--token-file', file)).trim();
  if (token === '' && file !== undefined) throw new UsageError('--token-file: the file is empty');
  return token === '' ? undefined : token;
}

/**
 * What was asked for, or the text to print instead.
 * @throws UsageError
 */
export function optionsOf(args: string[], environment: NodeJS.ProcessEnv, version: string): DoctorOptions | {print: string} {
  const text = {type: 'string'} as const;
  const flag = {type: 'boolean'} as const;
  const parsed = (() => {
    try {
      return parseArgs({args, allowPositionals: true, strict: true, options: {
        address: {type: 'string', multiple: true}, 'token-file': text, tls: flag, ca: text, cert: text, key: text, servername: text,
        tenant: text, 'timeout-ms': text, json: flag, help: {...flag, short: 'h'}, version: flag}});
    } catch (cause) {
      if (args.some((each) => /^--token(=|$)/.test(each))) {
        throw new UsageError('a token on the command line is seen by every process of this machine: use --token-file or PORTCULLIS_TOKEN');
      }
      throw new UsageError((cause as Error).message);
    }
  })();
  const {values, positionals} = parsed;
  if (values.help) return {print: usage};
  if (values.version) return {print: `${version}\n`};
  if (positionals.length !== 1 || positionals[0] !== 'doctor') throw new UsageError('the one command is: doctor');

  const addresses = values.address ?? (environment['PORTCULLIS_ADDRESS'] ?? '').split(',').map((each) => each.trim()).filter((each) => each !== '');
  if (addresses.length > addressesMax) throw new UsageError(`--address: at most ${addressesMax}`);
  const timeout = values['timeout-ms'] ?? '3000';
  const timeoutMs = /^\d{1,5}$/.test(timeout) ? Number(timeout) : 0;
  if (timeoutMs < 100 || timeoutMs > 60_000) throw new UsageError('--timeout-ms: 100..60000');
  if ((values.cert === undefined) !== (values.key === undefined)) throw new UsageError('--cert and --key go together');

  const ca = pem('--ca', values.ca, /-----BEGIN (TRUSTED )?CERTIFICATE-----/);
  const cert = pem('--cert', values.cert, /-----BEGIN (TRUSTED )?CERTIFICATE-----/);
  const key = pem('--key', values.key, /-----BEGIN [A-Z ]*PRIVATE KEY-----/);
  const identity: TlsOptions = {
    ...(ca !== undefined && {ca}), ...(cert !== undefined && {cert}), ...(key !== undefined && {key}),
    ...(values.servername !== undefined && {servername: values.servername}),
  };
  try {
    tls.createSecureContext({...identity});
  } catch (cause) {
    throw new UsageError(`--ca, --cert, --key: ${(cause as Error).message}`);
  }
  return {
    addresses: addresses.length > 0 ? addresses : ['127.0.0.1:7420'], token: tokenOf(values['token-file'], environment['PORTCULLIS_TOKEN']),
    secure: values.tls === true, tls: identity, tenant: values.tenant ?? defaultTenant, timeoutMs, json: values.json === true,
  };
}

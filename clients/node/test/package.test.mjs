// The tarball that npm would publish: what is in it, and that it works where nothing else is installed.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import {before, test} from 'node:test';

import {entries, manifest, repository, root} from './support/repository.mjs';
import {scratch, serve} from './support/server.mjs';

const work = scratch();
/** npm and node as a user runs them, without this machine's caches and settings, and without a registry. */
const env = {...process.env, HOME: work, npm_config_cache: path.join(work, 'cache'), npm_config_offline: 'true', npm_config_update_notifier: 'false',
  npm_config_audit: 'false', npm_config_fund: 'false'};
const run = (cwd, command, ...args) => {
  try {
    return execFileSync(command, args, {cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe']});
  } catch (failure) {
    throw new Error(`${command} ${args.join(' ')}: ${failure.status}\n${failure.stdout}${failure.stderr}`);
  }
};
let packed;
let consumer;

/** A folder with the package and nothing else. */
function install(name) {
  const folder = path.join(work, name);
  fs.mkdirSync(folder);
  fs.writeFileSync(path.join(folder, 'package.json'), '{"private": true}\n');
  run(folder, 'npm', 'install', '--ignore-scripts', path.join(work, packed.filename));
  return folder;
}
/** Puts packages of this folder's node_modules there: what an application has besides. */
function link(folder, ...names) {
  for (const name of names) {
    const to = path.join(folder, 'node_modules', name);
    fs.mkdirSync(path.dirname(to), {recursive: true});
    fs.symlinkSync(path.join(root, 'node_modules', name), to);
  }
}

before(() => {
  // Not built here: other tests use what is built.
  [packed] = JSON.parse(run(root, 'npm', 'pack', '--ignore-scripts', '--json', '--pack-destination', work));
  consumer = install('consumer');
});

test('only what is needed is in it: compiled code with its types, README, CHANGELOG, LICENSE, package.json', () => {
  const files = packed.files.map((each) => each.path);
  const unexpected = files.filter((file) => !/^dist\/(esm|cjs)\/[a-z0-9/-]+(\.d)?\.(js|ts)$/.test(file) &&
    !['dist/cjs/package.json', 'README.md', 'CHANGELOG.md', 'LICENSE', 'package.json'].includes(file));
  assert.deepEqual(unexpected, []);
  for (const needed of ['README.md', 'CHANGELOG.md', 'LICENSE', 'dist/esm/index.js', 'dist/cjs/index.js', 'dist/cjs/package.json',
    'dist/esm/doctor/main.js']) {
    assert.ok(files.includes(needed), needed);
  }
  for (const file of files.filter((each) => each.endsWith('.js'))) assert.ok(files.includes(file.replace(/\.js$/, '.d.ts')), `${file} has no types`);
  // Nothing is left of a source that is gone.
  for (const file of files.filter((each) => each.endsWith('.js'))) {
    assert.ok(fs.existsSync(path.join(root, file.replace(/^dist\/(esm|cjs)/, 'src').replace(/\.js$/, '.ts'))), `${file} has no source`);
  }
  assert.ok(packed.size < 200_000, `${packed.size} bytes packed`);
});

test('it depends on nothing at run time, and says what it needs', () => {
  assert.equal(manifest.dependencies, undefined);
  assert.equal(manifest.optionalDependencies, undefined);
  assert.equal(manifest.bundledDependencies ?? manifest.bundleDependencies, undefined);
  for (const name of Object.keys(manifest.peerDependencies)) assert.equal(manifest.peerDependenciesMeta[name].optional, true, name);
  for (const [name, version] of Object.entries(manifest.devDependencies)) assert.match(version, /^(npm:[a-z-]+@)?\d+\.\d+\.\d+$/,
    `${name} is not pinned`);
  assert.equal(manifest.engines.node, '>=20');
  for (const hook of ['preinstall', 'install', 'postinstall']) assert.equal(manifest.scripts[hook], undefined);
  assert.deepEqual(fs.readdirSync(path.join(consumer, 'node_modules')).filter((each) => !each.startsWith('.')), [manifest.name]);
});

test('its version is the server\'s; its license is the repository\'s', () => {
  const [, version] = /^project\(portcullis VERSION (\S+)/m.exec(fs.readFileSync(path.join(repository, 'CMakeLists.txt'), 'utf8'));
  assert.equal(manifest.version, version);
  assert.match(fs.readFileSync(path.join(root, 'CHANGELOG.md'), 'utf8'), new RegExp(`^## \\[${version.replaceAll('.', '\\.')}\\]`, 'm'));
  assert.equal(fs.readFileSync(path.join(root, 'LICENSE'), 'utf8'), fs.readFileSync(path.join(repository, 'LICENSE'), 'utf8'));
  assert.equal(manifest.license, 'Apache-2.0');
});

for (const {name, specifier, kinds} of entries) {
  test(`"${specifier}" can be imported and required, and gives the same names both ways`, () => {
    for (const kind of ['import', 'require']) {
      for (const file of [kinds[kind].types, kinds[kind].default]) assert.ok(fs.existsSync(path.join(root, file)), `${name}: ${file} is not there`);
    }
    let folder = consumer;
    if (name === './express-session') {
      // The one that needs its framework: its store extends that one's class.
      folder = install('with-express-session');
      link(folder, 'express-session');
    }
    const show = 'console.log(JSON.stringify(Object.keys(m).filter((name) => !["default", "module.exports", "__esModule"].includes(name)).sort()))';
    const imported = JSON.parse(run(folder, process.execPath, '--input-type=module', '-e',
      `import * as m from ${JSON.stringify(specifier)}; ${show}`));
    const required = JSON.parse(run(folder, process.execPath, '--input-type=commonjs', '-e',
      `const m = require(${JSON.stringify(specifier)}); ${show}`));
    assert.ok(imported.length > 0, 'it exports nothing');
    assert.deepEqual(required, imported);
  });
}

test('what is not exported cannot be reached', () => {
  assert.throws(() => run(consumer, process.execPath, '-e', `require("${manifest.name}/dist/cjs/engine.js")`), /ERR_PACKAGE_PATH_NOT_EXPORTED/);
  assert.equal(run(consumer, process.execPath, '-p', `require("${manifest.name}/package.json").version`).trim(), manifest.version);
});

test('the installed package works against a server, as ES module and as CommonJS, and so does its command', async (t) => {
  const server = await serve(t);
  const use = `(async () => {
    const portcullis = new PortcullisClient({address: ${JSON.stringify(server.address)}});
    const context = {ip: '203.0.113.7', userAgent: 'Firefox'};
    const {sessionId} = await portcullis.sessions.create({tenantId: 'acme', userId: 'ada', context});
    const answer = await portcullis.sessions.validate({sessionId, context});
    await portcullis.close();
    console.log(answer.userId);
  })();`;
  assert.equal(run(consumer, process.execPath, '--input-type=module', '-e', `import {PortcullisClient} from '${manifest.name}'; ${use}`), 'ada\n');
  assert.equal(run(consumer, process.execPath, '--input-type=commonjs', '-e', `const {PortcullisClient} = require('${manifest.name}'); ${use}`),
    'ada\n');
  const told = run(consumer, 'npx', '--no-install', 'portcullis-client', 'doctor', '--address', server.address);
  assert.match(told, /\d+ ok, 0 warnings, 0 failed, 0 skipped\n$/);
});

test('the types of every export hold in strict projects, with node16, bundler and the older node10 resolution', () => {
  const folder = install('typed');
  link(folder, '@types', 'express-session', 'fastify', '@fastify/session', '@fastify/cookie', 'opossum');
  // One that is not there is told above.
  const known = entries.filter(({kinds}) => fs.existsSync(path.join(root, kinds.import.types)));
  const uses = `import {PortcullisClient, PortcullisError, isPortcullisError, type Context} from '${manifest.name}';
    const context: Context = {ip: '203.0.113.7'};
    export async function user(client: PortcullisClient, sessionId: string): Promise<string | undefined> {
      const answer = await client.sessions.validate<{cart: number}>({sessionId, context});
      if (!answer.valid) return answer.reason === 'locked_out' ? String(answer.retryAfterMs) : undefined;
      const cart: number | undefined = answer.data?.cart;
      return answer.userId + String(cart);
    }
    export function code(error: unknown): string { return isPortcullisError(error, 'TIMEOUT') ? error.code satisfies PortcullisError['code'] : ''; }
    export const usual = (): PortcullisClient => new PortcullisClient({address: process.env['ADDRESS'], token: process.env['TOKEN']});
    // @ts-expect-error an option that there is not
    new PortcullisClient({adress: 'x'});
    // @ts-expect-error an address is needed
    export const none: Context = {};
  `;
  fs.writeFileSync(path.join(folder, 'uses.mts'), uses);
  fs.writeFileSync(path.join(folder, 'uses.cts'), uses);
  for (const [i, {specifier}] of known.entries()) {
    fs.writeFileSync(path.join(folder, `all${i}.mts`), `import * as all from '${specifier}';\nexport const names: string[] = Object.keys(all);\n`);
    fs.writeFileSync(path.join(folder, `all${i}.cts`), `import all = require('${specifier}');\nexport const names: string[] = Object.keys(all);\n`);
  }
  const compile = (options, files) => {
    const config = path.join(folder, 'tsconfig.json');
    fs.writeFileSync(config, JSON.stringify({files, compilerOptions: {strict: true, noEmit: true, target: 'ES2022', lib: ['ES2022'],
      exactOptionalPropertyTypes: true,
      types: ['node'], skipLibCheck: false, preserveSymlinks: false, ...options}}));
    run(folder, process.execPath, path.join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', config);
  };
  const names = fs.readdirSync(folder);
  compile({module: 'node16', moduleResolution: 'node16'}, names.filter((each) => /\.[mc]ts$/.test(each)));
  compile({module: 'esnext', moduleResolution: 'bundler'}, names.filter((each) => /\.mts$/.test(each)));
  // It knows no `exports`: what is below the package's name it finds by `typesVersions`. Of other packages it may not find all.
  compile({module: 'commonjs', moduleResolution: 'node10', skipLibCheck: true, esModuleInterop: true}, names.filter((each) => /\.cts$/.test(each)));
  // It is able to fail.
  fs.writeFileSync(path.join(folder, 'wrong.mts'), `import {NoSuchName} from '${manifest.name}';\nexport default NoSuchName;\n`);
  assert.throws(() => compile({module: 'node16', moduleResolution: 'node16'}, ['wrong.mts']), /NoSuchName/);
});

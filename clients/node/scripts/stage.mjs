// Makes a copy of this package in a build folder: its sources, what they depend on, and what is compiled; the source tree stays clean.
// What is there already and has not changed is left: a second run takes no time.
// FOLDER is one that this made, one with nothing in it, or one with CMake's own files alone; another is refused, and nothing is removed but
// what an earlier run copied.
// usage: node scripts/stage.mjs FOLDER
import {execFileSync} from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import {fileURLToPath} from 'node:url';

const source = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const [folder, ...more] = process.argv.slice(2);
if (folder === undefined || more.length > 0) {
  console.error('usage: node scripts/stage.mjs FOLDER');
  process.exit(64);
}
const target = path.resolve(folder);
/** Made, not written: never copied. */
const made = new Set(['node_modules', 'dist', 'reference', '.stage']);
const madeForms = /^\.cjs-|\.tgz$|^isolate-.*\.log$|\.cpuprofile$/;
/** What CMake and its generators put into a build folder. */
const ofCMake = new Set(['CMakeFiles', 'cmake_install.cmake', 'CTestTestfile.cmake', 'Makefile']);

/** Every file below `root`, by its name relative to it. */
function files(root, below = '') {
  const found = [];
  for (const entry of fs.readdirSync(path.join(root, below), {withFileTypes: true})) {
    const name = path.join(below, entry.name);
    if (made.has(entry.name) || madeForms.test(entry.name)) continue;
    if (entry.isDirectory()) found.push(...files(root, name));
    else if (entry.isFile()) found.push(name);
  }
  return found.sort();
}

/** One text for the content of these files. */
function digest(root, names) {
  const hash = crypto.createHash('sha256');
  for (const name of names) hash.update(`${name}\0`).update(fs.readFileSync(path.join(root, name))).update('\0');
  return hash.digest('hex');
}

const stamps = path.join(target, '.stage');
const stampOf = (step) => { try { return fs.readFileSync(path.join(stamps, step), 'utf8'); } catch { return ''; } };
/** Does a step where what it depends on is not what it was when it last succeeded. */
function once(step, state, work) {
  if (stampOf(step) === state) return;
  fs.rmSync(path.join(stamps, step), {force: true});
  work();
  fs.writeFileSync(path.join(stamps, step), state);
}

if (fs.existsSync(target) && !fs.existsSync(stamps)) {
  const strange = fs.readdirSync(target).filter((name) => !ofCMake.has(name));
  if (strange.length > 0) {
    console.error(`${target} was not made by this script and is not empty (${strange.slice(0, 3).join(', ')}): name another folder`);
    process.exit(64);
  }
}
fs.mkdirSync(stamps, {recursive: true});
const wanted = files(source);
// A name a line: what is in the folder because of this script. Written before anything is copied, so that no file is forgotten.
const copied = stampOf('files').split('\n').filter((name) => name !== '');
const stale = copied.filter((name) => !wanted.includes(name));
for (const name of stale) {
  const to = path.join(target, name);
  // The list is a file like any other: nothing outside is removed because of it.
  if (!path.relative(target, to).startsWith('..') && to !== target) fs.rmSync(to, {force: true});
}
fs.writeFileSync(path.join(stamps, 'files'), `${wanted.join('\n')}\n`);
for (const name of wanted) {
  const to = path.join(target, name);
  if (fs.existsSync(to) && fs.readFileSync(to).equals(fs.readFileSync(path.join(source, name)))) continue;
  fs.mkdirSync(path.dirname(to), {recursive: true});
  fs.copyFileSync(path.join(source, name), to);
}

const run = (command, args) => execFileSync(command, args, {cwd: target, stdio: 'inherit'});
// Of package.json only what npm installs by: another script or export is no reason to fetch everything anew.
const {devDependencies, peerDependencies} = JSON.parse(fs.readFileSync(path.join(source, 'package.json'), 'utf8'));
const installed = digest(target, ['package-lock.json']) + JSON.stringify({devDependencies, peerDependencies});
once('installed', installed, () => run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund']));
const compiled = wanted.filter((name) => /^(src|scripts)\//.test(name) || ['tsconfig.json', 'package.json', 'package-lock.json'].includes(name));
once('compiled', digest(target, compiled), () => run(process.execPath, ['scripts/build.mjs']));

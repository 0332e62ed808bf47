// scripts/stage.mjs removes nothing that it did not bring.
import assert from 'node:assert/strict';
import {spawnSync} from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import {test} from 'node:test';

import {root} from './support/repository.mjs';
import {scratch} from './support/server.mjs';

/** Copies only: an `npm` that fails ends the script behind that. The package is a small one of its own with the real script. */
function small() {
  const folder = scratch();
  const source = path.join(folder, 'source');
  const write = (name, text = name) => {
    fs.mkdirSync(path.dirname(path.join(source, name)), {recursive: true});
    fs.writeFileSync(path.join(source, name), text);
  };
  write('scripts/stage.mjs', fs.readFileSync(path.join(root, 'scripts', 'stage.mjs')));
  write('package.json', '{"type": "module"}');
  for (const name of ['package-lock.json', 'src/a.ts', 'src/deep/b.ts', 'isolate-0xe5fce00-1-v8.log', 'src/CPU.cpuprofile', 'dist/c.js',
    'node_modules/d.js']) write(name);
  const bin = path.join(folder, 'bin');
  fs.mkdirSync(bin);
  fs.writeFileSync(path.join(bin, 'npm'), '#!/bin/sh\nexit 7\n', {mode: 0o755});
  const stage = (target) => spawnSync(process.execPath, [path.join(source, 'scripts', 'stage.mjs'), target],
    {encoding: 'utf8', env: {...process.env, PATH: `${bin}${path.delimiter}${process.env.PATH}`}});
  return {folder, source, stage};
}
const list = (folder) => fs.readdirSync(folder, {recursive: true, withFileTypes: true}).filter((each) => each.isFile())
  .map((each) => path.relative(folder, path.join(each.parentPath ?? each.path, each.name))).filter((name) => !name.startsWith('.stage')).sort();
const copy = ['package-lock.json', 'package.json', 'scripts/stage.mjs', 'src/a.ts', 'src/deep/b.ts'];

test('a folder of somebody else is refused, and everything in it stays', () => {
  const {folder, source, stage} = small();
  const other = path.join(folder, 'other');
  fs.mkdirSync(path.join(other, 'letters'), {recursive: true});
  fs.writeFileSync(path.join(other, 'letters', 'one.txt'), 'dear');
  const {status, stderr} = stage(other);
  assert.equal(status, 64);
  assert.match(stderr, /was not made by this script and is not empty \(letters\)/);
  assert.deepEqual(list(other), ['letters/one.txt']);
  const before = list(source);
  assert.equal(stage(source).status, 64);
  assert.deepEqual(list(source), before);
});

test('into a new folder, and into CMake\'s, the sources are copied, without what was made, logged or profiled', () => {
  const {folder, stage} = small();
  const fresh = path.join(folder, 'fresh');
  stage(fresh);
  assert.deepEqual(list(fresh), copy);
  const build = path.join(folder, 'build');
  const ofCMake = ['CMakeFiles/rules.cmake', 'CTestTestfile.cmake', 'cmake_install.cmake'];
  fs.mkdirSync(path.join(build, 'CMakeFiles'), {recursive: true});
  for (const name of ofCMake) fs.writeFileSync(path.join(build, name), name);
  stage(build);
  assert.deepEqual(list(build), [...ofCMake, ...copy].sort());
});

test('a second run removes what it brought and is gone from the sources, and nothing that came otherwise', () => {
  const {folder, source, stage} = small();
  const target = path.join(folder, 'target');
  stage(target);
  fs.writeFileSync(path.join(target, 'src', 'mine.txt'), 'mine');
  fs.mkdirSync(path.join(target, 'CMakeFiles'));
  fs.writeFileSync(path.join(target, 'CMakeFiles', 'x'), 'x');
  fs.writeFileSync(path.join(target, 'src', 'a.ts'), 'changed there');
  fs.rmSync(path.join(source, 'src', 'deep'), {recursive: true});
  // A list that names what is outside removes nothing there.
  fs.writeFileSync(path.join(folder, 'outside'), 'outside');
  fs.appendFileSync(path.join(target, '.stage', 'files'), '../outside\n');
  stage(target);
  assert.deepEqual(list(target), ['CMakeFiles/x', ...copy.filter((name) => name !== 'src/deep/b.ts'), 'src/mine.txt'].sort());
  assert.equal(fs.readFileSync(path.join(target, 'src', 'a.ts'), 'utf8'), 'src/a.ts');
  assert.ok(fs.existsSync(path.join(folder, 'outside')));
});

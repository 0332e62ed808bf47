// README.md does what it says: its programs are run against a server, its commands in a folder that has the package installed.
//
// A block of js or ts with an import or require begins a program; one without goes on with the program before it. What a block prints
// is compared where a block without a language follows it at once; there `...` stands for anything. A comment <!-- not run: REASON -->
// above a block leaves it out.
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import {after, before, test} from 'node:test';

import ts from 'typescript';

import {ended} from './support/child.mjs';
import {manifest, root} from './support/repository.mjs';
import {scratch, TestServer} from './support/server.mjs';

const page = fs.readFileSync(path.join(root, 'README.md'), 'utf8');

/** The fenced blocks of a page. `shown`: what the block right behind it says that it prints. */
export function blocksOf(text) {
  const blocks = [];
  let fence;
  let between = '';
  for (const [i, line] of text.split('\n').entries()) {
    const opened = /^```(\w*)$/.exec(line);
    if (fence === undefined && opened) {
      fence = {line: i + 2, language: opened[1], text: '', reason: /<!-- not run: (.*?) -->\s*$/.exec(between)?.[1]};
      if (opened[1] === '' && between.trim() === '' && blocks.length > 0) {
        blocks.at(-1).shown = fence;
        fence.isShown = true;
      }
    } else if (fence !== undefined && line === '```') {
      if (!fence.isShown) blocks.push(fence);
      fence = undefined;
      between = '';
    } else if (fence !== undefined) {
      fence.text += `${line}\n`;
    } else {
      between += `${line}\n`;
    }
  }
  if (fence !== undefined) throw new Error(`line ${fence.line}: a fence that is not closed`);
  return blocks;
}

/** Whether what came is what the page shows. */
export function isAsShown(shown, came) {
  const pattern = shown.trim().split('...').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[^]*?');
  return new RegExp(`^${pattern}$`).test(came.trim());
}

const mark = '\u0001';
const kindOf = ({text}) => (/^(const|let) .*= require\(/m.test(text) ? 'cjs' : /^import /m.test(text) ? 'mjs' : undefined);

/** Programs: the blocks that are run together, in their order. */
export function programsOf(blocks) {
  const programs = [];
  for (const block of blocks.filter((each) => ['js', 'ts'].includes(each.language) && each.reason === undefined)) {
    const kind = kindOf(block);
    if (kind !== undefined) programs.push({kind, blocks: [block]});
    else if (programs.length > 0) programs.at(-1).blocks.push(block);
    else throw new Error(`line ${block.line}: begins no program`);
  }
  return programs;
}

const folder = scratch();
let server;
let token;
const env = () => ({...process.env, PORTCULLIS_TOKEN: token, PATH: `${path.join(folder, 'node_modules', '.bin')}:${process.env.PATH}`});

before(async () => {
  for (const name of Object.keys(manifest.devDependencies)) {
    const to = path.join(folder, 'node_modules', name);
    fs.mkdirSync(path.dirname(to), {recursive: true});
    fs.symlinkSync(path.join(root, 'node_modules', name), to);
  }
  fs.symlinkSync(root, path.join(folder, 'node_modules', manifest.name));
  const bin = path.join(folder, 'node_modules', '.bin');
  fs.mkdirSync(bin);
  for (const [name, file] of Object.entries(manifest.bin)) fs.symlinkSync(path.join(root, file), path.join(bin, name));
  fs.writeFileSync(path.join(folder, 'package.json'), '{"private": true}\n');
  server = new TestServer({auth: 'token'});
  token = server.token('app');
  await server.start();
});
after(() => server?.kill9());

/** The page's address is this server's. */
const adapt = (text) => text.replaceAll('127.0.0.1:7420', server.address);

function run(command, args) {
  return ended(spawn(command, args, {cwd: folder, env: env(), stdio: ['ignore', 'pipe', 'pipe']}));
}

const blocks = blocksOf(page);

test('types of the programs hold', () => {
  const files = {js: [], ts: []};
  for (const [i, {kind, blocks: parts}] of programsOf(blocks).entries()) {
    const language = parts.some((each) => each.language === 'ts') ? 'ts' : 'js';
    const file = path.join(folder, `typed${i}.${kind.replace('js', language)}`);
    fs.writeFileSync(file, parts.map((each) => each.text).join('\n'));
    files[language].push(file);
  }
  for (const [language, names] of Object.entries(files).filter(([, all]) => all.length > 0)) {
    // A program in JavaScript is checked as far as types are known without being written.
    const js = language === 'js';
    const program = ts.createProgram(names, {strict: true, noImplicitAny: !js, allowJs: js, checkJs: js, noEmit: true, target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, types: ['node'], skipLibCheck: true,
      typeRoots: [path.join(root, 'node_modules', '@types')], maxNodeModuleJsDepth: 0});
    const wrong = ts.getPreEmitDiagnostics(program).map((each) => `${each.file?.text}\n${ts.flattenDiagnosticMessageText(each.messageText, '\n')}`);
    assert.deepEqual(wrong, []);
  }
});

for (const {kind, blocks: parts} of programsOf(blocks)) {
  test(`README.md:${parts.map((each) => each.line).join(', ')}: the program runs`, async () => {
    let text = parts.map((each) => `${each.text}\nconsole.log('${mark}');\n`).join('');
    // What goes on listening, a server or a client, would go on here.
    if (kind === 'mjs') text += 'process.exit(0);\n';
    if (parts.some((each) => each.language === 'ts')) {
      text = ts.transpileModule(text, {compilerOptions: {target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext}}).outputText;
    }
    const file = path.join(folder, `program${parts[0].line}.${kind}`);
    fs.writeFileSync(file, adapt(text));
    const {code, out, err} = await run(process.execPath, [file]);
    assert.equal(code, 0, `${out}${err}`);
    const printed = kind === 'mjs' ? out.split(`${mark}\n`) : [out.replaceAll(`${mark}\n`, '')];
    for (const [i, {shown, line}] of parts.entries()) {
      if (shown !== undefined) assert.ok(isAsShown(adapt(shown.text), printed[i]), `line ${line}: shown is\n${shown.text}\ncame has\n${printed[i]}`);
    }
  });
}

for (const block of blocks.filter((each) => each.language === 'sh')) {
  test(`README.md:${block.line}: the commands run${block.reason === undefined ? '' : ` (not run: ${block.reason})`}`,
    {skip: block.reason}, async () => {
    const {code, out, err} = await run('bash', ['-euc', adapt(block.text)]);
    assert.equal(code, 0, `${out}${err}`);
    if (block.shown !== undefined) assert.ok(isAsShown(adapt(block.shown.text), out),
      `line ${block.line}: shown is\n${block.shown.text}\ncame has\n${out}`);
  });
}

test('what is not run has a language that this test knows of, and what is shown is compared', () => {
  for (const {language, line} of blocks) assert.ok(['js', 'ts', 'sh', 'json', 'toml', 'diff', 'html'].includes(language),
    `line ${line}: "${language}"`);
  const [first] = blocksOf('<!-- not run: why -->\n```js\nx\n```\n```\nshown\n```\n');
  assert.deepEqual([first.reason, first.text, first.shown.text], ['why', 'x\n', 'shown\n']);
  assert.throws(() => blocksOf('```js\nx\n'), /not closed/);
  assert.ok(isAsShown('a ... (c)\n', 'a 1.5 (c)\n'));
  assert.ok(!isAsShown('a ... (c)\n', 'a 1.5 (d)\n'));
  assert.ok(programsOf(blocks).length >= 3);
});

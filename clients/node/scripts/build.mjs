// Compiles src/ twice, as ES modules and as CommonJS; the types of each stand beside it.
import {execFileSync} from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import {fileURLToPath} from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
fs.rmSync(path.join(root, 'dist'), {recursive: true, force: true});

const compile = (config) => execFileSync(process.execPath, [tsc, '-p', config], {cwd: root, stdio: 'inherit'});
compile('tsconfig.json');

// tsc takes the kind of module from the nearest package.json: the sources are compiled from a folder that says "commonjs".
const stage = fs.mkdtempSync(path.join(root, '.cjs-'));
try {
  fs.cpSync(path.join(root, 'src'), path.join(stage, 'src'), {recursive: true});
  fs.writeFileSync(path.join(stage, 'package.json'), '{"type": "commonjs"}\n');
  fs.writeFileSync(path.join(stage, 'tsconfig.json'), JSON.stringify({
    extends: '../tsconfig.json',
    compilerOptions: {rootDir: 'src', outDir: '../dist/cjs'},
    include: ['src'],
    exclude: ['src/doctor'],  // a command: it is run, not required
  }));
  compile(path.join(stage, 'tsconfig.json'));
} finally {
  fs.rmSync(stage, {recursive: true, force: true});
}
fs.chmodSync(path.join(root, 'dist', 'esm', 'doctor', 'main.js'), 0o755);
fs.writeFileSync(path.join(root, 'dist', 'cjs', 'package.json'), '{"type": "commonjs"}\n');

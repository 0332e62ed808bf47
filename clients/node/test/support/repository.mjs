// Where the package and the repository are: the tests also run in a copy of the package in a build folder.
import fs from 'node:fs';
import path from 'node:path';
import {fileURLToPath} from 'node:url';

/** The package that is tested. */
export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
/** The repository. */
export const repository = process.env.PORTCULLIS_SOURCE_DIR ?? path.resolve(root, '../..');
export const manifest = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
/** `{name: './express', source: 'src/guard/express.ts', kinds: {import: {...}, require: {...}}}` for each export that is code. */
export const entries = Object.entries(manifest.exports).filter(([, kinds]) => typeof kinds === 'object')
  .map(([name, kinds]) => ({name, specifier: path.posix.join(manifest.name, name), kinds,
    source: kinds.import.default.replace('./dist/esm/', 'src/').replace(/\.js$/, '.ts')}));

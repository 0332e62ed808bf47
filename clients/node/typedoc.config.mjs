// The reference: every export of package.json, from its source. Whatever is exported and says nothing of itself is an error.
import fs from 'node:fs';
import path from 'node:path';
import {fileURLToPath} from 'node:url';

const root = path.dirname(fileURLToPath(import.meta.url));
const {exports} = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
const entryPoints = Object.values(exports).filter((kinds) => typeof kinds === 'object')
  .map((kinds) => kinds.import.default.replace('./dist/esm/', 'src/').replace(/\.js$/, '.ts'));

export default {
  highlightLanguages: ['js', 'ts', 'sh', 'json', 'diff'],
  entryPoints: entryPoints.filter((each) => fs.existsSync(path.join(root, each))),
  out: 'reference',
  disableSources: true,  // a clone may have no remote, or a package no repository
  includeVersion: true,
  excludeInternal: true,
  excludePrivate: true,
  excludeExternals: true,
  sort: ['source-order'],
  validation: {notExported: true, invalidLink: true, rewrittenLink: true, notDocumented: true, unusedMergeModuleWith: true},
  requiredToBeDocumented: ['Class', 'Interface', 'Function', 'Variable', 'TypeAlias', 'Method'],
  treatWarningsAsErrors: true,
  treatValidationWarningsAsErrors: true,
};

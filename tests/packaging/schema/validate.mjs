// Exits 0 where FILE is valid by the strict JSON schema of the CycloneDX version that it says it has.
// usage: node validate.mjs FOLDER FILE   (FOLDER: where npm has installed package.json)
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const [folder, file] = process.argv.slice(2);
const library = createRequire(resolve(folder, 'package.json'))('@cyclonedx/cyclonedx-library');
const text = readFileSync(file, 'utf8');
const validator = new library.Validation.JsonStrictValidator(JSON.parse(text).specVersion);
const errors = await validator.validate(text);
if (errors !== null) {
  console.error(JSON.stringify(errors, null, 2));
  process.exit(1);
}

// What a process said, and how it ended.

/** @returns {Promise<{code: number | string, out: string, err: string}>} `code` is the signal's name where one ended it */
export function ended(child) {
  let out = '';
  let err = '';
  child.stdout.on('data', (text) => { out += text; });
  child.stderr.on('data', (text) => { err += text; });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({code: code ?? signal, out, err}));
  });
}

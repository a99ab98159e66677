// Workbox as a site has it: its packages' own production builds in one file, and a precache of some files.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { sha256File } from './site.mjs';

const { resolve } = createRequire(new URL('../../package.json', import.meta.url));

/** The library as one classic script. */
export function library() {
  return ['core', 'routing', 'strategies', 'precaching'].map(name => {
    const home = path.dirname(resolve(`workbox-${name}/package.json`));
    return readFileSync(path.join(home, 'build', `workbox-${name}.prod.js`), 'utf8').replace(/\/\/# sourceMappingURL.*/, '');
  }).join('\n');
}

/** The line that precaches and routes the files `names` of `folder`. */
export function precache(folder, names) {
  const manifest = names.map(url => ({ url, revision: sha256File(folder, url).slice(0, 32) }));
  return `workbox.precaching.precacheAndRoute(${JSON.stringify(manifest)});\n`;
}

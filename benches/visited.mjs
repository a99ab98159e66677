// A page that somebody visits for the first time: without a worker, and with Peerage, registered in two ways.
import { publish } from '../tests/browser/lib/peerage.mjs';
import { temporaryFolder } from '../tests/browser/lib/processes.mjs';
import { randomBytes, REGISTER, writeFiles } from '../tests/browser/lib/site.mjs';

const SCRIPTS = 40, PICTURES = 20;

/** What stands in the page's head. */
export const CASES = {
  'no worker': '',
  'Peerage, registered in the page': REGISTER,
  'Peerage, by page.js': '<script src="peerage/page.js" async></script>',
};

/** Adds up by how much more than 50 ms frames came after one another: the same of every browser, also of those that tell of no long tasks. */
const BEAT = `<script>{ let last = performance.now(); window.late = 0; const beat = () => { const now = performance.now(); window.late += Math.max(0, now - last - 50); last = now; requestAnimationFrame(beat); }; requestAnimationFrame(beat); }</script>`;

/** A page of 40 scripts of 10 KiB that do a little, and 20 pictures. */
function makeSite(folder, head) {
  const scripts = Array.from({ length: SCRIPTS }, (_, i) => `s/${i}.js`), pictures = Array.from({ length: PICTURES }, (_, i) => `p/${i}.svg`);
  writeFiles(folder, {
    'index.html': `<!doctype html><html lang="en"><meta charset="utf-8"><title>A visit</title><link rel="icon" href="data:,">${BEAT}${head}
${scripts.map(name => `<script defer src="${name}"></script>`).join('\n')}
${pictures.map(name => `<img src="${name}" width="20" height="20" alt="">`).join('\n')}`,
  });
  for (const name of scripts) {
    const work = 'for (let i = 0, n = 0; i < 2e4; i++) window.sum = n += Math.sqrt(i); //';
    writeFiles(folder, { [name]: work + randomBytes(7000, name).toString('base64') });
  }
  for (const name of pictures) writeFiles(folder, { [name]: `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="4"/><!--${randomBytes(2000, name).toString('base64')}--></svg>` });
}

/** Makes the cases' sites: `{name: folder}`. */
export async function visitedSites() {
  const folders = {};
  for (const [name, head] of Object.entries(CASES)) {
    folders[name] = temporaryFolder('site');
    makeSite(folders[name], head);
    if (head !== '') await publish(folders[name], temporaryFolder('beside'));
  }
  return folders;
}

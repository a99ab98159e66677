// What a release costs one visitor who has the version before and nobody to take it from: the bytes that the origin sends,
// beside the bytes that differ, those of the files that differ (what a worker that precaches by file fetches, as Workbox's
// does), and the whole site again.
// usage: node benches/release.mjs [--mb=100] [--runs=3] [--npm=monaco-editor@0.54.0..0.55.1,PACKAGE@OLD..NEW]
//        (--npm= leaves those out: they are fetched from the registry)
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { BROWSERS, option, RUNS, Table } from './measure.mjs';
import { Origin, publish, served } from '../tests/browser/lib/peerage.mjs';
import { removeFolder, temporaryFolder } from '../tests/browser/lib/processes.mjs';
import { filesBelow, html, randomBytes, sha256File, writeFiles } from '../tests/browser/lib/site.mjs';
import { Visitor } from '../tests/browser/lib/visitor.mjs';
import { until } from '../tests/browser/lib/wait.mjs';

const MB = Number(option('mb', '100'));
const NPM = option('npm', 'monaco-editor@0.54.0..0.55.1,pdfjs-dist@5.3.31..5.4.54,three@0.178.0..0.179.1').split(',').filter(Boolean);
const config = '[share]\ninclude = ["**"]\n[precache]\ninclude = ["**"]\n[old]\nversions = 0\n';

/** A game of `MB` files of a megabyte, of which one in a hundred bytes changes in the way that `edit` says. */
function game(edit) {
  const files = {};
  for (let i = 0; i < MB; i++) files[`levels/${i}.bin`] = randomBytes(1_000_000, `level ${i}`);
  return { before: folder => writeFiles(folder, files), after: folder => edit(folder, files) };
}

const RELEASES = {
  [`a game of ${MB} MB, one file in a hundred replaced`]: game((folder, files) => {
    for (let i = 0; i < MB / 100; i++) writeFiles(folder, { [`levels/${i}.bin`]: randomBytes(files['levels/0.bin'].length, `new ${i}`) });
  }),
  [`a game of ${MB} MB, 1 % changed, in runs of 250 KB`]: game((folder, files) => {
    for (let i = 0; i < MB / 25; i++) {
      const bytes = Buffer.from(files[`levels/${i}.bin`]);
      randomBytes(250_000, `new ${i}`).copy(bytes, 300_000);
      writeFiles(folder, { [`levels/${i}.bin`]: bytes });
    }
  }),
  [`a game of ${MB} MB, all files renamed, 1 % inserted at their beginnings`]: game((folder, files) => {
    for (let i = 0; i < MB; i++) {
      renameSync(path.join(folder, `levels/${i}.bin`), path.join(folder, `levels/renamed-${i}.bin`));
      if (i % 10 === 0) writeFiles(folder, { [`levels/renamed-${i}.bin`]: Buffer.concat([randomBytes(100_000, `new ${i}`), files[`levels/${i}.bin`]]) });
    }
  }),
  ...Object.fromEntries(NPM.map(name => {
    const [, which, old, next] = /^(.+)@(.+)\.\.(.+)$/.exec(name);
    const put = version => folder => {
      const packed = temporaryFolder('npm');
      const [{ filename }] = JSON.parse(execFileSync('npm', ['pack', '--json', `${which}@${version}`], { cwd: packed, stdio: ['ignore', 'pipe', 'ignore'] }));
      execFileSync('tar', ['xzf', filename], { cwd: packed });
      rmSync(path.join(folder, 'app'), { recursive: true, force: true });
      mkdirSync(folder, { recursive: true });
      cpSync(path.join(packed, 'package'), path.join(folder, 'app'), { recursive: true });
      removeFolder(packed);
    };
    return [`${which} ${old} to ${next}, the whole package`, { before: put(old), after: put(next) }];
  })),
};

/** The bytes of `folder` now in no run of 64 that the release before had: what any delta must carry at least, more or less. */
function different(before, folder) {
  const RUN = 64, PRIME = 16777619;
  let power = 1;
  for (let i = 1; i < RUN; i++) power = Math.imul(power, PRIME);
  const hash = (bytes, at) => {
    let value = 0;
    for (let i = 0; i < RUN; i++) value = Math.imul(value, PRIME) + bytes[at + i] | 0;
    return value;
  };
  const known = new Set();
  for (const bytes of before.values()) for (let at = 0; at + RUN <= bytes.length; at += RUN) known.add(hash(bytes, at));
  const same = new Set([...before.keys()]);
  let count = 0;
  for (const name of filesBelow(folder).filter(file => !isOwn(file))) {
    if (same.has(sha256File(folder, name))) continue;
    const bytes = readFileSync(path.join(folder, name));
    let at = 0, value = bytes.length < RUN ? 0 : hash(bytes, 0);
    while (at + RUN <= bytes.length) {
      if (known.has(value)) {
        at += RUN;
        if (at + RUN <= bytes.length) value = hash(bytes, at);
        continue;
      }
      value = Math.imul(value - Math.imul(bytes[at], power), PRIME) + bytes[at + RUN] | 0;
      count++;
      at++;
    }
    count += bytes.length - at;
  }
  return count;
}

const isOwn = file => file.startsWith('peerage');

const table = new Table();
for (const [name, { before, after }] of Object.entries(RELEASES)) {
  for (let run = 0; run < RUNS; run++) {
    for (const kind of BROWSERS) {
      const folder = temporaryFolder('site'), beside = temporaryFolder('beside');
      writeFiles(folder, { 'index.html': html('Release') });
      before(folder);
      await publish(folder, beside, { config });
      const names = filesBelow(folder).filter(file => !isOwn(file));
      const old = new Map(names.map(file => [sha256File(folder, file), readFileSync(path.join(folder, file))]));
      const origin = await Origin.start(folder);
      const visitor = await Visitor.start(kind, { allow: [origin.url] });
      await visitor.enter(origin.url);
      after(folder);
      const { version } = await publish(folder, beside, { config });
      const now = filesBelow(folder).filter(file => !isOwn(file));
      const sizes = now.map(file => readFileSync(path.join(folder, file)).length);
      const counters = await origin.counters();
      const from = performance.now();
      await visitor.page.reload();
      await visitor.ready();
      await until('the update', async () => (await visitor.stats()).version === version, { deadline: 300_000 });
      const took = performance.now() - from;
      const { bytes } = served(counters, await origin.counters());
      const changed = different(old, folder);
      const byFile = now.reduce((sum, file, i) => sum + (old.has(sha256File(folder, file)) ? 0 : sizes[i]), 0);
      const renamed = now.reduce((sum, file, i) => sum + (names.includes(file) && old.has(sha256File(folder, file)) ? 0 : sizes[i]), 0);
      const at = `${kind}: ${name}`;
      table.add(`${at}: bytes that differ`, changed, 'B');
      table.add(`${at}: sent by the origin, in all`, bytes, 'B');
      table.add(`${at}: sent / bytes that differ`, bytes / changed, 'x');
      table.add(`${at}: files that differ / sent`, byFile / bytes, 'x');
      table.add(`${at}: files that differ or are renamed / sent`, renamed / bytes, 'x');
      table.add(`${at}: the whole site / sent`, sizes.reduce((a, b) => a + b, 0) / bytes, 'x');
      table.add(`${at}: from the navigation to the new version`, took, 'ms');
      await visitor.close();
      await origin.stop();
      removeFolder(folder);
      removeFolder(beside);
    }
  }
}
table.print();

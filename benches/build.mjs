// How long a build takes, and what a visitor downloads of it.
// usage: node benches/build.mjs [--runs=1]   (a cold build takes minutes, so one run is the default here)
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync, utimesSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync } from 'node:zlib';
import { option, round, Table } from './measure.mjs';
import { temporaryFolder } from '../tests/browser/lib/processes.mjs';
import { writeSite } from '../tests/browser/lib/site.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const table = new Table();
let target;

function build(what) {
  const from = performance.now();
  const { status, stderr } = spawnSync('cargo', ['build', '--release', '--locked', '--quiet', '--target-dir', target], { cwd: root, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  table.add(what, (performance.now() - from) / 1000, 's');
}

for (let run = 0; run < Number(option('runs', '1')); run++) {
  target = temporaryFolder('target');
  build('cold build (cargo build --release, crates downloaded, native and wasm)');
  build('nothing changed');
  const now = new Date();
  utimesSync(path.join(root, 'sw/main.rs'), now, now);
  build('one file of the bundle touched');
}

const site = temporaryFolder('site');
writeSite(site, {});
const { status, stderr } = spawnSync(path.join(target, 'release/peerage'), ['publish', site, '--key', path.join(temporaryFolder('beside'), 'site.key.pem')], { encoding: 'utf8' });
if (status !== 0) throw new Error(stderr);
table.print();
console.log('\n| file | raw bytes | brotli bytes |\n| --- | --- | --- |');
for (const name of ['peerage-sw.js', ...readdirSync(path.join(site, 'peerage')).filter(name => /\.(js|wasm|html)$/.test(name)).map(name => `peerage/${name}`)]) {
  const bytes = readFileSync(path.join(site, name));
  console.log(`| ${name.replace(/\.[0-9a-f]{16}\./, '.<hash>.')} | ${round(bytes.length)} | ${round(brotliCompressSync(bytes).length)} |`);
}

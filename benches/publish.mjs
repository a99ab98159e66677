// `peerage publish` against `sha256sum` and `openssl dgst -sha256` over the same trees, all in the page cache; and how
// much memory it needs for trees and files of growing size.
// usage: node benches/publish.mjs [--runs=7] [--mib=600] [--memory=100,1000,4000]   (MiB; --memory= leaves that part out)
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { option, round, Table } from './measure.mjs';
import { PEERAGE } from '../tests/browser/lib/peerage.mjs';
import { removeFolder, temporaryFolder } from '../tests/browser/lib/processes.mjs';

const RUNS = Number(option('runs', '7'));
const MIB = Number(option('mib', '600'));

/** Bytes that do not repeat, quickly: a random megabyte with a counter through it. */
const megabyte = Buffer.alloc(1 << 20);
for (let at = 0, state = 1n; at < megabyte.length; at += 8) {
  state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
  megabyte.writeBigUInt64LE(state ^ (state >> 29n), at);
}
let counter = 0;
function write(file, size) {
  mkdirSync(path.dirname(file), { recursive: true });
  const handle = openSync(file, 'w');
  for (let left = size; left > 0; left -= megabyte.length) {
    for (let at = 0; at < megabyte.length; at += 4096) megabyte.writeUInt32LE(counter++ >>> 0, at + (at >> 12) % 4000);
    writeSync(handle, megabyte, 0, Math.min(left, megabyte.length));
  }
  closeSync(handle);
}

const TREES = {
  // Every file is one piece: below the shortest length at which one is cut.
  small: folder => {
    for (let n = 0, total = 0; total < (MIB << 20) / 4; n++) {
      const size = 1000 + (n * 7919) % 63_000;
      write(path.join(folder, `${n % 50}`, `${n}.bin`), size);
      total += size;
    }
  },
  // Sizes as of pages, scripts and pictures, up to a few megabytes.
  mixed: folder => {
    for (let n = 0, total = 0; total < MIB << 20; n++) {
      const size = Math.round(2000 * 2 ** ((n * 0.618034) % 1 * 11));
      write(path.join(folder, `${n % 50}`, `${n}.bin`), size);
      total += size;
    }
  },
  large: folder => {
    for (let n = 0; n < 6; n++) write(path.join(folder, `${n}.bin`), Math.round((MIB << 20) / 6));
  },
};

const table = new Table();

/** Runs a command to its end: seconds on the clock, and seconds of processor time over all cores. */
function time(name, command, args, cwd) {
  const timed = spawnSync('bash', ['-c', 'TIMEFORMAT="%R %U %S"; time "$@" > /dev/null', 'bash', command, ...args], { cwd, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (timed.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${timed.stderr}`);
  const [real, user, system] = timed.stderr.trim().split('\n').at(-1).split(' ').map(Number);
  table.add(name, real, 's');
  table.add(`${name}, processor time`, user + system, 's');
}

for (const [kind, make] of Object.entries(TREES)) {
  const beside = temporaryFolder('publish-bench');
  const site = path.join(beside, 'site');
  make(site);
  const bare = path.join(beside, 'bare.toml');
  writeFileSync(bare, '[old]\nversions = 0\n');
  const afresh = () => { for (const own of ['peerage', 'peerage-sw.js']) rmSync(path.join(site, own), { recursive: true, force: true }); };
  for (let run = -1; run < RUNS; run++) {
    const name = what => (run < 0 ? 'warming up' : `${kind}: ${what}`);
    afresh();
    time(name('sha256sum'), 'bash', ['-c', 'find . -type f -print0 | xargs -0 sha256sum'], site);
    time(name('openssl'), 'bash', ['-c', 'find . -type f -print0 | xargs -0 openssl dgst -sha256'], site);
    time(name('publish'), PEERAGE, ['publish', site, '--config', bare]);
    afresh();
    rmSync(path.join(beside, 'site.peerage-key.kept'), { recursive: true, force: true });
    time(name('publish, copies kept'), PEERAGE, ['publish', site]);
    time(name('publish, nothing changed'), PEERAGE, ['publish', site]);
  }
  for (const other of ['sha256sum', 'openssl']) {
    table.addRatio(`${kind}: ${other} / publish`, `${kind}: ${other}`, `${kind}: publish`);
  }
  removeFolder(beside);
}
table.print();

/** The most memory that a process had, in MiB: its own high-water mark, read while it runs. */
function peak(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(PEERAGE, args, { stdio: 'ignore' });
    let most = 0;
    const reading = setInterval(() => {
      try {
        const [, kib] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8')) ?? [];
        most = Math.max(most, Number(kib ?? 0) / 1024);
      } catch {
        // It has ended.
      }
    }, 5);
    child.on('exit', code => {
      clearInterval(reading);
      if (code === 0) resolve(most);
      else reject(new Error(`${PEERAGE} ${args.join(' ')} exited with ${code}`));
    });
  });
}

const sizes = option('memory', '100,1000,4000').split(',').filter(Boolean).map(Number);
if (sizes.length > 0) console.log('\n| tree | peak memory |\n| --- | --- |');
for (const mib of sizes) {
  for (const [kind, files] of [['one file', 1], ['files of 1 MiB', mib]]) {
    const beside = temporaryFolder('publish-bench');
    const site = path.join(beside, 'site');
    for (let n = 0; n < files; n++) write(path.join(site, `${n}.bin`), (mib << 20) / files);
    console.log(`| ${mib} MiB, ${kind} | ${round(await peak(['publish', site]))} MiB |`);
    removeFolder(beside);
  }
}

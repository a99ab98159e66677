// SHA-256 in a worker of each browser: WebCrypto beside the `sha2` crate in wasm, by the size of the buffer, one buffer after
// another and eight at once. What the wasm is given is copied into its memory, as a piece would have to be.
// usage: node benches/hash.mjs [--runs=7]
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { fileURLToPath } from 'node:url';
import { BROWSERS, RUNS, Table } from './measure.mjs';
import { launch } from '../tests/browser/lib/browsers.mjs';
import { temporaryFolder } from '../tests/browser/lib/processes.mjs';
import { within } from '../tests/browser/lib/wait.mjs';

const KIB = [1, 4, 16, 32, 64, 256, 1024, 4096];
/** How much is hashed for one figure, in bytes. */
const WORK = 32 << 20;

const target = temporaryFolder('hash');
execFileSync('cargo', ['build', '--release', '--target', 'wasm32-unknown-unknown', '--manifest-path', fileURLToPath(new URL('hash/Cargo.toml', import.meta.url)), '--target-dir', target], {
  stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, RUSTFLAGS: '-C target-feature=+simd128' },
});
const wasm = readFileSync(`${target}/wasm32-unknown-unknown/release/hash.wasm`);

const WORKER = `
const ready = WebAssembly.instantiateStreaming(fetch('/hash.wasm')).then(({ instance }) => instance.exports);
const hex = bytes => [...new Uint8Array(bytes)].map(byte => byte.toString(16).padStart(2, '0')).join('');
onmessage = ({ data }) => measure(data).catch(error => postMessage({ error: String(error) }));
async function measure({ way, size, count, width }) {
  const { memory, input, hash } = await ready;
  const buffer = crypto.getRandomValues(new Uint8Array(Math.min(size, 65536)));
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += buffer.length) bytes.set(buffer, at);
  const one = way === 'WebCrypto' ? () => crypto.subtle.digest('SHA-256', bytes) : () => {
    const to = input(size);
    // The memory may have grown: only now is this its buffer.
    new Uint8Array(memory.buffer, to, size).set(bytes);
    const at = hash();
    return memory.buffer.slice(at, at + 32);
  };
  const same = hex(await one()) === hex(await crypto.subtle.digest('SHA-256', bytes));
  const from = performance.now();
  for (let i = 0; i < count; i += width) await Promise.all(Array.from({ length: width }, one));
  postMessage({ ms: performance.now() - from, same });
}`;
const types = { '/hash.wasm': ['application/wasm', wasm], '/worker.js': ['text/javascript', WORKER], '/': ['text/html', '<!doctype html><title>Hashing</title><link rel="icon" href="data:,">'] };
const server = http.createServer((request, response) => {
  const [type, body] = types[request.url] ?? ['text/plain', ''];
  response.writeHead(200, { 'content-type': type }).end(body);
});
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));

const table = new Table();
for (const kind of BROWSERS) {
  const { browser, close } = await launch(kind, { prefs: { 'privacy.reduceTimerPrecision': false } });
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.evaluate(() => { window.worker = new Worker('/worker.js'); });
  const ask = order => within(60_000, 'a hash', page.evaluate(asked => new Promise((resolve, reject) => {
    window.worker.onmessage = ({ data }) => (data.error === undefined ? resolve(data) : reject(new Error(data.error)));
    window.worker.postMessage(asked);
  }), order));
  for (let run = -1; run < RUNS; run++) {
    for (const kib of KIB) {
      const size = kib << 10, count = Math.min(2048, Math.ceil(WORK / size / 8) * 8);
      for (const [way, width] of [['WebCrypto', 1], ['WebCrypto', 8], ['sha2 in wasm', 1]]) {
        const { ms, same } = await ask({ way, size, count, width });
        if (!same) throw new Error(`${way} hashes ${size} bytes to something else`);
        // The first round only warms up.
        if (run >= 0) table.add(`${kind}: ${kib} KiB, ${way}${width > 1 ? `, ${width} at once` : ''}`, size * count / 1048.576 / ms, 'MiB/s');
      }
    }
  }
  await close();
}
server.close();
table.print();
process.exit();

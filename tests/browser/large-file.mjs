// A file of 1 GiB is streamed to the page and never held whole; where a browser's worker can't stream, it is the network's
// (docs/differences.md).
import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, readdirSync } from 'node:fs';
import { served } from './lib/peerage.mjs';
import { randomBytes } from './lib/site.mjs';
import { story } from './lib/story.mjs';
import { until } from './lib/wait.mjs';

const BLOCK = 64 << 20;
/** Chromium streams; Firefox leaves what is larger than 256 MiB to the network. */
const SIZES = { chromium: 1 << 30, firefox: 320 << 20 };
/** The most that all of the browser's processes may grow by while the file passes through them, in bytes. */
const GROWTH = 640 << 20;

/** Bytes in memory of the browser's processes, the group that `leader` leads, without the files that they map. */
function resident(leader) {
  let sum = 0;
  for (const pid of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    try {
      // `pid (name) state ppid pgrp …`; the name may hold anything.
      const group = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ')[2];
      if (Number(group) !== leader) continue;
      for (const [, kib] of readFileSync(`/proc/${pid}/status`, 'utf8').matchAll(/^Rss(?:Anon|Shmem):\s+(\d+) kB/gm)) sum += Number(kib) * 1024;
    } catch {
      // It has ended meanwhile.
    }
  }
  return sum;
}

/** Starts to read `url` in the page, which keeps the byte at each MiB and no others. */
function startReading(visitor, url) {
  return visitor.page.evaluate(asked => {
    window.reading = { size: 0, samples: [], state: 'reading' };
    (async () => {
      const response = await fetch(asked);
      window.reading.listed = response.headers.has('server-timing');
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const { samples, size } = window.reading;
        while (samples.length * 1048576 < size + value.length) samples.push(value[samples.length * 1048576 - size]);
        window.reading.size += value.length;
      }
      window.reading.state = 'whole';
    })().catch(error => { window.reading.state = `error: ${error}`; });
  }, url);
}

story('a file of 1 GiB is streamed in bounded memory, or left to the network where a worker cannot stream', async (stage, kind) => {
  const size = SIZES[kind];
  const site = await stage.site({});
  const samples = [];
  for (let i = 0; i < size / BLOCK; i++) {
    const block = randomBytes(BLOCK, `film ${i}`);
    appendFileSync(`${site.folder}/film.bin`, block);
    for (let at = 0; at < BLOCK; at += 1 << 20) samples.push(block[at]);
  }
  await site.publish();
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind, { own: true });
  await visitor.enter(origin.url);
  const leader = visitor.running.browser.process().pid;
  const before = resident(leader);
  let most = before;
  const film = site.url(origin.url, 'film.bin');
  const readAll = async from => {
    const began = performance.now();
    await startReading(visitor, film);
    await until('all of it', async () => {
      most = Math.max(most, resident(leader));
      return visitor.page.evaluate(() => window.reading.state !== 'reading');
    }, { every: 100 });
    const reading = await visitor.page.evaluate(() => window.reading);
    stage.report(`from ${from}: ${Math.round((performance.now() - began) / 1000)} s; ${Math.round(before / 2 ** 20)} MiB before, ${Math.round(most / 2 ** 20)} MiB at most`);
    assert.deepEqual([reading.state, reading.size], ['whole', size]);
    assert.deepEqual(reading.samples, samples);
    assert.equal(reading.listed, kind === 'chromium', 'who answered');
  };
  await readAll('the origin');
  // Firefox itself holds what a page reads from the network, with a worker twice.
  if (kind !== 'chromium') return;
  assert.ok(most - before < GROWTH, `${most - before} bytes more than before`);

  const sent = await origin.counters();
  await readAll('the cache');
  assert.ok(most - before < GROWTH, `${most - before} bytes more than before, from the cache`);
  assert.ok(served(sent, await origin.counters(), name => name.endsWith('film.bin')).bytes < size / 100, 'the cache has it');

  const end = await visitor.take([film], { init: { headers: { range: `bytes=${size - 1000}-` } } });
  assert.deepEqual([end[0].status, end[0].size], [206, 1000]);
  assert.ok((await visitor.explain(film)).bytes.cache > 0, 'it was stored on its way');
});

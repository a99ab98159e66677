// The service worker is stopped in the middle of a 64 MB response: the page gets the whole file or an error, never a
// short body that looks whole.
import assert from 'node:assert/strict';
import { slowly } from './lib/front.mjs';
import { story } from './lib/story.mjs';

const SIZE = 64 * 1024 * 1024;

/** Starts to read `url` in the page; `window.reading` tells how far it is. */
function startReading(visitor, url) {
  return visitor.page.evaluate(asked => {
    window.reading = { size: 0, state: 'reading' };
    (async () => {
      const response = await fetch(asked);
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        window.reading.size += value.length;
      }
      window.reading.state = 'whole';
    })().catch(error => { window.reading.state = `error: ${error}`; });
  }, url);
}

story('a worker that is stopped in the middle of 64 MB never leaves a short body', async (stage, kind) => {
  const site = await stage.site({ 'film.bin': SIZE, 'other.bin': 500_000 });
  const front = await stage.front(await stage.serve(site));
  const visitor = await stage.visitor(kind);
  await visitor.enter(front.url);
  const film = site.url(front.url, 'film.bin');

  const fast = front.when('/film.bin', slowly(8 << 20));
  await startReading(visitor, film);
  await visitor.wait('4 MB of it', () => window.reading.size > 4_000_000);
  await visitor.stopWorker();
  // A visitor goes on using the page: whatever wakes the worker must not make the lost answer look whole either.
  const [other] = await visitor.take([site.url(front.url, 'other.bin')]);
  assert.equal(other.sha256, site.sha256('other.bin'));
  fast();
  await visitor.wait('the answer to end', () => window.reading.state !== 'reading');
  const { size, state } = await visitor.page.evaluate(() => window.reading);
  stage.report(`stopped while the origin sends: ${size} bytes, ${state}`);
  assert.ok(state.startsWith('error') || size === SIZE, `${size} bytes and "${state}"`);

  const [whole] = await visitor.take([film]);
  assert.equal(whole.sha256, site.sha256('film.bin'), JSON.stringify(whole));

  await startReading(visitor, film);
  await visitor.wait('a start', () => window.reading.size > 0 || window.reading.state !== 'reading');
  await visitor.stopWorker();
  await visitor.wait('the cached answer to end', () => window.reading.state !== 'reading');
  const cached = await visitor.page.evaluate(() => window.reading);
  stage.report(`stopped while the cache sends: ${cached.size} bytes, ${cached.state}`);
  assert.ok(cached.state.startsWith('error') || cached.size === SIZE, `${cached.size} bytes and "${cached.state}"`);
});

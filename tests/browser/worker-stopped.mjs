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

/** Starts to read `url` into `window.readings[url]`. */
function startText(visitor, url) {
  return visitor.page.evaluate(asked => {
    window.readings ??= {};
    const reading = window.readings[asked] = { text: '', state: 'reading' };
    (async () => {
      for await (const part of (await fetch(asked)).body.pipeThrough(new TextDecoderStream())) reading.text += part;
      reading.state = 'whole';
    })().catch(error => { reading.state = `error: ${error}`; });
  }, url);
}

story('what is not listed goes on when the worker is stopped, or breaks off loudly', async (stage, kind) => {
  const site = await stage.site({ 'listed/file.bin': 1000 });
  const front = await stage.front(await stage.serve(site));
  let end;
  const ended = new Promise(resolve => { end = resolve; });
  front.when('/listed/events', (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    let sent = 0;
    const timer = setInterval(() => response.write(`data: ${sent += 1}\n\n`), 50);
    response.on('close', () => clearInterval(timer));
  });
  front.when(/\/stream$/, async (_, response) => {
    response.writeHead(200, { 'content-type': 'text/plain', 'cache-control': 'no-store' });
    response.write('first');
    await ended;
    response.end('last');
  });
  const visitor = await stage.visitor(kind);
  await visitor.enter(front.url);
  await visitor.page.evaluate(() => {
    window.events = [];
    const source = new EventSource('/listed/events');
    source.onmessage = ({ data }) => window.events.push(Number(data));
    source.onerror = () => window.events.push('error');
  });
  await visitor.wait('the first events', () => window.events.length > 2);
  for (const url of ['/api/stream', '/listed/stream']) await startText(visitor, url);
  await visitor.wait('the first parts', () => Object.values(window.readings).every(({ text }) => text === 'first'));
  await visitor.stopWorker();
  const had = await visitor.page.evaluate(() => window.events.length);
  await visitor.wait('more events', count => window.events.length > count + 5, had);
  const events = await visitor.page.evaluate(() => window.events);
  assert.deepEqual(events, events.map((_, i) => i + 1), 'one stream of events, without a break');
  end();
  await visitor.wait('the answers to end', () => Object.values(window.readings).every(({ state }) => state !== 'reading'));
  const readings = await visitor.page.evaluate(() => window.readings);
  assert.deepEqual(readings['/api/stream'], { text: 'firstlast', state: 'whole' }, 'in a folder without listed files');
  const { text, state } = readings['/listed/stream'];
  stage.report(`an unlisted answer in a folder with listed files: ${text}, ${state}`);
  assert.ok(state.startsWith('error') || text === 'firstlast', `"${text}" and "${state}"`);
});

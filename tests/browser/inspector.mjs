// The inspector shows what the site's visitors did for each other, and its controls work.
import assert from 'node:assert/strict';
import { many } from './lib/site.mjs';
import { story } from './lib/story.mjs';

const files = many('plate', 3, 500_000);

story('the inspector shows peers and sources, and takes consent back', async (stage, kind) => {
  const site = await stage.site(files);
  const origin = await stage.serve(site);
  const urls = Object.keys(files).map(name => site.url(origin.url, name));
  const giver = await stage.visitor(kind, { name: 'giver' });
  await giver.enter(origin.url);
  await giver.consent();
  assert.deepEqual(site.differences(await giver.take(urls), origin.url), []);
  const taker = await stage.visitor(kind, { name: 'taker' });
  await taker.enter(origin.url);
  await taker.consent();
  await taker.neighbours(1);
  assert.deepEqual(site.differences(await taker.take(urls), origin.url), []);

  await taker.newTab(`${origin.url}peerage/inspector`);
  await taker.ready();
  const text = id => taker.page.evaluate(wanted => document.getElementById(wanted).textContent, id);
  const { bytes } = await taker.stats();
  assert.ok(bytes.peer >= 500_000, JSON.stringify(bytes));
  const megabytes = bytes.peer < 1e6 ? `${bytes.peer / 1000} kB` : `${(bytes.peer / 1e6).toFixed(1)} MB`;
  await taker.wait(`what came from others: ${megabytes}`, wanted => document.getElementById('share').textContent.startsWith(wanted), megabytes);
  await taker.wait('the mesh to be drawn', () => /^Connected to 1 visitor/.test(document.getElementById('mesh-text').textContent));
  assert.match(await text('peers'), /[\d.]+ [kM]B/);
  const requests = await taker.page.evaluate(() => [...document.querySelectorAll('#recent li')].map(row => row.textContent));
  for (const name of Object.keys(files)) {
    const { bytes: sources } = await taker.explain(site.url(origin.url, name));
    const from = Object.entries({ peer: 'other visitors', origin: 'the server' }).filter(([source]) => sources[source] > 0);
    const row = requests.find(one => one.includes(name));
    for (const [, words] of from) assert.ok(row?.includes(`from ${words}`), `${name}: ${row}`);
  }
  assert.equal(await taker.page.evaluate(() => document.querySelector('peerage-consent')), null);

  await taker.page.click('#pause');
  await taker.wait('pausing', () => document.getElementById('pause').textContent === 'Send again');
  await taker.page.click('#consent');
  await taker.wait('the refusal', async () => (await window.peerage.stats()).consent === 'denied');
  await taker.wait('no neighbour', async () => (await window.peerage.stats()).peers === 0);
  await taker.page.click('#forget');
  await taker.page.keyboard.press('Tab');
  await taker.page.keyboard.press('Enter');
  await taker.wait('everything to be forgotten', async () => {
    const { consent, bytes } = await window.peerage.stats();
    return consent === 'unasked' && bytes.peer === 0;
  });
  assert.deepEqual(taker.complaints(), []);
});

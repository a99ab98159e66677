// No consent: not one RTCPeerConnection is made, and everything else works. The bar that asks is a part of the page that
// a keyboard and a screen reader can use, and its answer is remembered and can be taken back.
import assert from 'node:assert/strict';
import { many } from './lib/site.mjs';
import { story } from './lib/story.mjs';

const files = many('level', 3, 700_000);

story('without consent not one peer connection is made and everything else works', async (stage, kind) => {
  const site = await stage.site(files);
  const origin = await stage.serve(site);
  const urls = Object.keys(files).map(name => site.url(origin.url, name));
  const sharer = await stage.visitor(kind, { name: 'sharer' });
  await sharer.enter(origin.url);
  await sharer.consent();
  assert.deepEqual(site.differences(await sharer.take(urls), origin.url), []);

  const visitor = await stage.visitor(kind, { name: 'visitor' });
  const quiet = async when => {
    assert.deepEqual(site.differences(await visitor.take(urls), origin.url), [], when);
    assert.deepEqual(await visitor.connections(), [], `${when}: connections`);
    const { peers, bytes } = await visitor.stats();
    assert.equal(peers, 0, when);
    assert.equal(bytes.peer + bytes.uploaded, 0, when);
  };
  await visitor.enter(origin.url);
  assert.equal((await visitor.stats()).consent, 'unasked');
  await quiet('unasked');
  await visitor.consent(false);
  assert.equal((await visitor.stats()).consent, 'denied');
  await quiet('denied');
  await visitor.page.reload();
  await visitor.ready();
  assert.equal((await visitor.stats()).consent, 'denied', 'the answer is remembered');
  await quiet('denied, after a reload');

  await visitor.consent(true);
  await visitor.neighbours(1);
  const made = await visitor.connections();
  assert.ok(made.length > 0, 'with consent there are connections');
  for (const configuration of made) assert.deepEqual(configuration?.iceServers ?? [], [], 'no server is asked that the owner did not name');
  await visitor.consent(false);
  await visitor.wait('no neighbour any more', async () => (await window.peerage.stats()).peers === 0);
});

story('while data is saved not one peer connection is made', async (stage, kind) => {
  const site = await stage.site(files);
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.page.evaluateOnNewDocument(() => {
    Object.defineProperty(Navigator.prototype, 'connection', { value: { saveData: true, addEventListener() {} }, configurable: true });
  });
  await visitor.enter(origin.url);
  await visitor.consent();
  const names = site.files().filter(name => name !== 'index.html');
  assert.deepEqual(site.differences(await visitor.take(names.map(name => site.url(origin.url, name))), origin.url), []);
  const { workers } = await visitor.page.evaluate(() => ({ workers: window.storyMade.workers.length }));
  assert.deepEqual([(await visitor.connections()).length, workers], [0, 0]);
});

story('the bar asks, can be used by keyboard, and is remembered', async (stage, kind) => {
  const site = await stage.site(files);
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.enter(origin.url);
  const bar = () => visitor.page.evaluate(() => {
    const host = document.querySelector('peerage-consent');
    if (host === null) return null;
    const region = host.shadowRoot.querySelector('section');
    return { label: region.getAttribute('aria-label'), buttons: [...region.querySelectorAll('button')].map(button => button.textContent) };
  });
  await visitor.wait('the bar', () => document.querySelector('peerage-consent') !== null);
  const { label, buttons } = await bar();
  assert.match(label, /share/i);
  assert.equal(buttons.length, 2);

  // Two buttons on from the link, from wherever the document's own focus is.
  for (const label of ['What is this?', 'Share', 'No thanks']) {
    await visitor.page.keyboard.press('Tab');
    assert.equal(await visitor.page.evaluate(() => document.querySelector('peerage-consent').shadowRoot.activeElement?.textContent), label);
  }
  // Headless Firefox never has the active window: there keys move the focus but press nothing.
  if (kind === 'chromium') await visitor.page.keyboard.press('Enter');
  else await visitor.page.evaluate(() => document.querySelector('peerage-consent').shadowRoot.activeElement.click());
  await visitor.wait('the answer', async () => (await window.peerage.stats()).consent === 'denied');
  await visitor.page.reload();
  await visitor.ready();
  assert.equal(await bar(), null, 'who has answered is not asked again');

  await visitor.page.evaluate(() => window.peerage.forget());
  await visitor.page.reload();
  await visitor.ready();
  await visitor.wait('the bar again', () => document.querySelector('peerage-consent') !== null);
  await visitor.page.evaluate(() => document.querySelector('peerage-consent').shadowRoot.querySelectorAll('button')[0].click());
  await visitor.wait('the answer', async () => (await window.peerage.stats()).consent === 'granted');
});

story('a site that never asks makes no connections whatever its scripts say', async (stage, kind) => {
  const site = await stage.site(files, { config: '[policy]\nconsent = "never"\n' });
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.enter(origin.url);
  await visitor.consent(true);
  assert.deepEqual(site.differences(await visitor.take(Object.keys(files).map(name => site.url(origin.url, name))), origin.url), []);
  assert.equal(await visitor.page.evaluate(() => document.querySelector('peerage-consent')), null);
  assert.deepEqual(await visitor.connections(), []);
});

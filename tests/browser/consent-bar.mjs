// The bar that asks for consent stays out of the way: it takes no focus, can be put off without an answer, and is left out
// where the site asks by itself.
import assert from 'node:assert/strict';
import { html } from './lib/site.mjs';
import { story } from './lib/story.mjs';

const shown = () => document.querySelector('peerage-consent') !== null;

story('the bar takes no focus, and Escape puts the question off', async (stage, kind) => {
  const site = await stage.site({ 'index.html': html('A form', '<input id="name" autofocus>') });
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.enter(origin.url);
  await visitor.wait('the bar', shown);
  const focused = () => visitor.page.evaluate(() => document.activeElement.id || document.activeElement.localName);
  assert.equal(await focused(), 'name', 'the focus stays where it was');

  await visitor.page.keyboard.press('Tab');
  assert.equal(await focused(), 'peerage-consent', 'the bar is reached by keyboard');
  await visitor.page.keyboard.press('Escape');
  assert.equal(await visitor.page.evaluate(shown), false);
  assert.equal(await focused(), 'name', 'the focus is back');
  assert.equal((await visitor.stats()).consent, 'unasked', 'no answer is an answer');

  await visitor.page.reload();
  await visitor.ready();
  await visitor.wait('the question to be asked again', shown);
  assert.deepEqual(visitor.complaints(), []);
});

story('an answer in one tab ends the question in the others', async (stage, kind) => {
  const site = await stage.site({});
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.enter(origin.url);
  await visitor.wait('the bar', shown);
  const first = visitor.page;
  await visitor.newTab(origin.url);
  await visitor.ready();
  await visitor.wait('the bar in the second tab', shown);
  await first.evaluate(() => document.querySelector('peerage-consent').shadowRoot.querySelectorAll('button')[1].click());
  await visitor.wait('no bar any more', () => document.querySelector('peerage-consent') === null);
  assert.equal((await visitor.stats()).consent, 'denied');
});

story('a site that asks by itself has no bar, and its policy may forbid foreign styles', async (stage, kind) => {
  const policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'self\'; img-src data:; require-trusted-types-for \'script\'; trusted-types peerage">';
  const own = '<script src="peerage/page.js" async data-peerage-consent="none"></script>';
  const site = await stage.site({
    'own.html': html('Asks by itself', '', own),
    'strict.html': html('Strict', '', `${policy}<script src="peerage/page.js" async></script>`),
  });
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.enter(`${origin.url}own.html`);
  assert.equal((await visitor.stats()).consent, 'unasked');
  assert.equal(await visitor.page.evaluate(shown), false);

  await visitor.goto(`${origin.url}strict.html`);
  await visitor.ready();
  await visitor.wait('the bar', shown);
  const place = await visitor.page.evaluate(() => getComputedStyle(document.querySelector('peerage-consent')).position);
  assert.equal(place, 'fixed', 'its style is applied under the strict policy');
  await visitor.page.evaluate(() => document.querySelector('peerage-consent').shadowRoot.querySelector('button').click());
  await visitor.wait('the answer', async () => (await window.peerage.stats()).consent === 'granted');
  await visitor.wait('this tab to lead', () => window.peerage.leader);
  assert.deepEqual(visitor.complaints(), []);
});

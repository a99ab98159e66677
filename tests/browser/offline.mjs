// The origin is stopped after a visit: the site loads, in full, from a new tab, and after the worker was stopped too.
import assert from 'node:assert/strict';
import { html } from './lib/site.mjs';
import { story } from './lib/story.mjs';

const files = {
  'index.html': html('At home', `<link rel="stylesheet" href="style/site.css"><a href="about.html">about</a>
    <img src="picture.svg" width="80" height="80" alt=""><script type="module" src="script/main.mjs"></script>`),
  'about.html': html('About', '<a href="./">home</a>'),
  'style/site.css': 'h1 { color: rgb(1, 2, 3) }\n',
  'script/main.mjs': 'import { word } from "./part.mjs"; document.body.dataset.word = word;\n',
  'script/part.mjs': 'export const word = "loaded";\n',
  'picture.svg': '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="4"/></svg>\n',
  'level.bin': 5_000_000,
};

story('the site loads in full from a new tab when the origin is stopped', async (stage, kind) => {
  const site = await stage.site(files);
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.enter(origin.url);
  const all = site.files().map(name => site.url(origin.url, name));
  assert.deepEqual(site.differences(await visitor.take(all), origin.url), []);
  await visitor.goto(site.url(origin.url, 'about.html'));
  await visitor.ready();
  await origin.stop();

  const looksRight = async when => {
    await visitor.wait(`${when}: the page's script`, () => document.body.dataset.word === 'loaded');
    assert.deepEqual(await visitor.page.evaluate(() => ({
      title: document.title, colour: getComputedStyle(document.querySelector('h1')).color,
      picture: document.querySelector('img').complete && document.querySelector('img').naturalWidth > 0,
    })), { title: 'At home', colour: 'rgb(1, 2, 3)', picture: true }, when);
    assert.deepEqual(site.differences(await visitor.take(all), origin.url), [], when);
  };
  await visitor.newTab(origin.url);
  await looksRight('in a new tab');
  await visitor.page.click('a');
  await visitor.wait('the other page', () => document.title === 'About');
  await visitor.stopWorker();
  await visitor.newTab(origin.url);
  await looksRight('after the worker was stopped');
});

story('what is labelled precache is there offline without having been asked for', async (stage, kind) => {
  const site = await stage.site(files, { config: '[precache]\ninclude = ["index.html", "style/**", "script/**", "*.svg"]\n' });
  const origin = await stage.serve(site);
  const visitor = await stage.visitor(kind);
  await visitor.goto(origin.url);
  await visitor.installed();
  await origin.stop();
  await visitor.newTab(origin.url);
  await visitor.wait('the page and its scripts', () => document.title === 'At home' && document.body.dataset.word === 'loaded');
});

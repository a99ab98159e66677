// A site whose host answers for about.html at /about: what every such host does is answered by the worker, what they do
// differently is left to the origin.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { compare, enterLab, EVERYWHERE, folderOf, observe, readable, siteOf } from './lib/differential.mjs';
import { html } from './lib/site.mjs';
import { story } from './lib/story.mjs';

const page = title => `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>${title}</title><p>This is ${title}.</p>`;
const at = (name, url, files, more = {}) => ({ name, files, run: `(lab, base) => lab.look(base + ${JSON.stringify(url)})`, ...more });
const about = base => ({ 'about.html': page(`about ${base}`) });
const blog = base => ({ 'blog.html': page(`the blog of ${base}`), 'blog/a post.html': page(`a post in ${base}`) });
const docs = base => ({ 'docs.html': page(`docs beside ${base}`), 'docs/index.html': page(`docs in ${base}`) });
const online = { needs: 'network' };

const cases = [
  at('a page', 'about', about, { headers: { about: { 'X-Mark': 'signed' } } }),
  at('a page by its full name', 'about.html', about, online),
  at('a page by its full name, redirect manual', 'about.html', about, { ...online, run: (lab, base) => lab.look(`${base}about.html`, { redirect: 'manual' }) }),
  at('a page with a query that is ignored', 'about?utm_source=x', about),
  at('a page as a folder', 'about/', about, online),
  at('a page beside a folder', 'blog', blog),
  at('a page in a folder', 'blog/a%20post', blog),
  at('a page whose name an index takes', 'docs', docs, online),
  at('its full name', 'docs.html', docs, online),
  at('an index', 'docs/', docs),
  at('an index by its full name', 'docs/index.html', docs, online),
  at('a file whose name a page has too', 'LICENSE', base => ({ LICENSE: `terms of ${base}`, 'LICENSE.html': page(`the terms of ${base}`) })),
  at('what is not there', 'missing', about, online),
  { name: 'a document', files: about, page: 'about?utm_source=x#part' },
  { name: 'a document by its full name', files: about, page: 'about.html?a=b#part', ...online },
  { name: 'a document that is not there', files: about, page: 'missing', ...online },
].map(one => ({ ...one, theme: 'clean' }));

story('with clean URLs a page cannot tell Peerage from the origin', async (stage, kind) => {
  const files = { 'index.html': html('Home'), 'lab.html': html('Lab', '', ''), '404.html': page('nothing'), 'favicon.ico': '' };
  const config = "[share]\ninclude = ['**', '**/*.html']\n[site]\nclean_urls = true\n[ignore_query]\ninclude = ['*.html']\n";
  const site = await stage.site({ ...files, ...siteOf(cases) }, { config });
  const origin = await stage.serve(site, { args: ['--clean-urls'] });
  // A document that is as new as that can't be told from one that has no date.
  await pause(2500);
  const [plain, front, takers] = [await stage.front(origin), await stage.front(origin), await stage.front(origin)];
  const visitor = await stage.visitor(kind);
  const extra = { lab: 'lab' };
  const direct = await observe(visitor, plain.url, cases, extra);
  await enterLab(visitor, front.url, extra.lab);
  const listed = cases.filter(({ needs }) => needs !== 'network');
  const found = [];
  const asked = {};
  const taker = await stage.visitor(kind, { name: 'taker' });
  for (const state of ['cold', 'warm', 'woken', 'peer', 'offline']) {
    // It ends when its sockets to the tracker do.
    if (state === 'offline') front.stop();
    if (state === 'peer') {
      await enterLab(taker, takers.url, extra.lab);
      await visitor.goto(new URL(extra.lab, front.url).href);
      await visitor.ready();
      for (const who of [visitor, taker]) await who.consent();
      await taker.neighbours(1);
      // The mesh ends with its document: this tab stays, another one shows the cases.
      await taker.newTab();
    }
    const list = state === 'cold' ? cases : state === 'warm' ? listed.filter(one => one.page === undefined) : listed;
    const [who, at] = state === 'peer' ? [taker, takers] : [visitor, front];
    const behind = await observe(who, at.url, list, extra, state === 'woken' ? () => visitor.stopWorker() : undefined);
    found.push(...compare({ state, kind, direct, behind, everywhere: EVERYWHERE }));
    asked[state] = front.requests(`/${folderOf(cases[0])}/about`);
  }
  assert.ok((await taker.stats()).bytes.peer > 0, 'the neighbour gives pages');
  assert.ok(found.length === 0, readable(found));
  assert.deepEqual(asked, { cold: 1, warm: 1, woken: 1, peer: 1, offline: 1 }, 'the page is asked for by its clean URL, and once');
});

// A site whose host wants a password for everything (HTTP Basic authentication, RFC 7617): the browser that has given it
// gives it for the worker's own requests as well, but for those of files that may be shared.
import assert from 'node:assert/strict';
import { html, many } from './lib/site.mjs';
import { story } from './lib/story.mjs';

const levels = many('level', 3, 400_000);
const PASSWORD = `Basic ${Buffer.from('member:word').toString('base64')}`;

story('a site behind a password is kept and given again like any, where its files are not to be shared', async (stage, kind) => {
  const site = await stage.site({ 'index.html': html('Members'), ...levels, 'open.bin': 300_000 }, { config: "[cache]\ninclude = ['level-*', '*.html']\n" });
  const front = await stage.front(await stage.serve(site));
  const refused = new Map();
  let password = PASSWORD;
  front.when(/./, (request, response, pass) => {
    if (request.headers.authorization === password) return pass();
    const path = new URL(request.url, front.url).pathname;
    refused.set(path, (refused.get(path) ?? 0) + 1);
    response.writeHead(401, { 'content-type': 'text/plain', 'www-authenticate': 'Basic realm="members"' });
    return response.end('who is there?');
  });
  const names = Object.keys(levels);
  const urls = names.map(name => site.url(front.url, name));

  const visitor = await stage.visitor(kind);
  const withPassword = new URL(front.url);
  Object.assign(withPassword, { username: 'member', password: 'word' });
  await visitor.goto(withPassword.href);
  await visitor.enter(front.url);
  assert.deepEqual(site.differences(await visitor.take(urls), front.url), []);
  // Chromium asks so for a worker's script, too.
  assert.deepEqual([...refused.keys()].filter(path => path !== '/peerage-sw.js'), ['/'], 'the first document is asked for without the password');
  const asked = names.map(name => front.requests(`/${name}`));
  assert.deepEqual(asked, names.map(() => 1));
  assert.deepEqual(site.differences(await visitor.take(urls), front.url), []);
  assert.deepEqual(names.map(name => front.requests(`/${name}`)), asked, 'then they are here');

  // What may be shared is fetched as a stranger would get it, so here it isn't: the page gets it from the origin, each time.
  const open = [site.url(front.url, 'open.bin')];
  for (let times = 1; times <= 2; times++) {
    assert.deepEqual(site.differences(await visitor.take(open), front.url), []);
    assert.deepEqual([refused.get('/open.bin'), front.requests('/open.bin')], [times, 2 * times]);
  }
  assert.equal([...refused.keys()].some(path => path.startsWith('/peerage/')), false, 'nor is an older copy asked for');

  // Another password: what the site answers now is no reason to give up what it gave.
  password = 'Basic of somebody else';
  await visitor.stopWorker();
  await visitor.goto(front.url);
  assert.equal(await visitor.page.title(), 'Members', 'when the password is another');
  assert.ok(refused.get('/peerage/root.jws') > 0, 'the origin was asked for news, and refused');
  assert.deepEqual(site.differences(await visitor.take(urls), front.url), [], 'when the password is another');

  await front.stop();
  await visitor.stopWorker();
  await visitor.goto(front.url);
  assert.equal(await visitor.page.title(), 'Members', 'offline');
  assert.deepEqual(site.differences(await visitor.take(urls), front.url), [], 'offline');
});

// Requests that the manifest does not list are untouched: POST, a JSON API, a WebSocket, server-sent events, cookies, a
// method other than GET on a listed file, a path that does not exist.
import assert from 'node:assert/strict';
import { html } from './lib/site.mjs';
import { story } from './lib/story.mjs';

const files = { 'index.html': html('Application', '<form action="api/form" method="post"><input name="word" value="hello"></form>'), 'data.bin': 100_000 };

story('requests that the manifest does not list are untouched', async (stage, kind) => {
  const site = await stage.site(files);
  const front = await stage.front(await stage.serve(site));
  front.addApplication();
  const visitor = await stage.visitor(kind);
  await visitor.enter(front.url);
  await visitor.consent();
  const { page } = visitor;

  assert.deepEqual(await page.evaluate(async () => {
    const body = new Uint8Array(70_000).map((_, i) => i);
    const response = await fetch('/api/echo', { method: 'POST', body, headers: { 'content-type': 'application/x-test' } });
    const back = new Uint8Array(await response.arrayBuffer());
    return { status: response.status, type: response.headers.get('content-type'), same: back.length === body.length && back.every((byte, i) => byte === body[i]) };
  }), { status: 201, type: 'application/x-test', same: true });

  assert.deepEqual(await page.evaluate(async () => {
    document.cookie = 'who=visitor';
    const first = await (await fetch('/api/json?a=b%20c')).json();
    const second = await (await fetch('/api/json?a=b%20c')).json();
    return { search: first.search, cookie: first.cookie, apart: second.asked - first.asked };
  }), { search: '?a=b%20c', cookie: 'who=visitor', apart: 1 });

  assert.equal(await page.evaluate(() => new Promise((resolve, reject) => {
    const source = new EventSource('/api/events');
    const got = [];
    source.onmessage = event => { got.push(event.data); if (got.length === 3) { source.close(); resolve(got.join()); } };
    source.onerror = () => reject(new Error('the event source failed'));
  })), '1,2,3');

  assert.equal(await page.evaluate(() => new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://${location.host}/api/socket`);
    socket.onopen = () => socket.send('hello');
    socket.onmessage = event => { resolve(event.data); socket.close(); };
    socket.onerror = () => reject(new Error('the socket failed'));
  })), 'echo hello');

  assert.equal(await page.evaluate(async () => (await fetch('/api/echo', { method: 'PUT', body: 'x' })).headers.get('x-method')), 'PUT');
  assert.equal(await page.evaluate(async () => (await fetch('/not-there.html')).status), 404);

  // Another method than GET on a listed file is the origin's affair, too.
  const methods = (await page.evaluate(async () => {
    const head = await fetch('/data.bin', { method: 'HEAD' });
    const post = await fetch('/data.bin', { method: 'POST', body: 'x' });
    return { head: head.status, length: head.headers.get('content-length'), post: post.status };
  }));
  assert.deepEqual([methods.head, methods.length], [200, '100000']);
  const direct = await fetch(site.url(front.url, 'data.bin'), { method: 'POST', body: 'x' });
  assert.equal(methods.post, direct.status);

  // A form is a navigation with a body.
  await Promise.all([page.waitForNavigation(), page.evaluate(() => document.querySelector('form').submit())]);
  assert.match(await page.evaluate(() => document.body.textContent), /word=hello/);
});

story('an unfinished upload and an abandoned download end as they do without a worker', async (stage, kind) => {
  const site = await stage.site({ ...files, 'large.bin': 20_000_000 });
  const front = await stage.front(await stage.serve(site));
  front.addApplication();
  const visitor = await stage.visitor(kind);
  await visitor.enter(front.url);
  assert.equal(await visitor.page.evaluate(async url => {
    const abort = new AbortController();
    const response = await fetch(url, { signal: abort.signal });
    const reader = response.body.getReader();
    await reader.read();
    abort.abort();
    try {
      for (;;) if ((await reader.read()).done) return 'read to the end';
    } catch (error) {
      return error.name;
    }
  }, site.url(front.url, 'large.bin')), 'AbortError');
  const [whole] = await visitor.take([site.url(front.url, 'large.bin')]);
  assert.equal(whole.sha256, site.sha256('large.bin'));
});

// Who asks for a part of a file that another request is reading waits neither for its bytes nor for its reader.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { slowly } from './lib/front.mjs';
import { html } from './lib/site.mjs';
import { story } from './lib/story.mjs';

const SIZE = 24 << 20;
const PART = { from: SIZE - 200_000, end: SIZE - 100_000 };

story('a part far ahead does not wait for who reads from the beginning, nor for who reads no more', async (stage, kind) => {
  const site = await stage.site({ 'index.html': html('Two films'), 'read.bin': SIZE, 'left.bin': SIZE });
  const origin = await stage.serve(site);
  const front = await stage.front(origin);
  // Of what it has the beginning of, Chromium's HTTP cache asks first whether that is still so.
  const ranges = new Set();
  for (const name of ['/read.bin', '/left.bin']) {
    front.when(name, (request, response, pass) => {
      ranges.add(request.headers.range ?? 'whole');
      return slowly(4 << 20)(request, response, pass);
    });
  }
  const visitor = await stage.visitor(kind);
  await visitor.enter(front.url);
  await visitor.page.evaluate(range => {
    const sha256 = async bytes => [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))].map(byte => byte.toString(16).padStart(2, '0')).join('');
    window.part = async url => {
      const response = await fetch(url, { headers: { range } });
      return { status: response.status, range: response.headers.get('content-range'), sha256: await sha256(await response.arrayBuffer()) };
    };
    window.whole = async response => sha256(await new Response(response.body).arrayBuffer());
  }, `bytes=${PART.from}-${PART.end - 1}`);
  const expected = name => {
    const bytes = readFileSync(`${site.folder}/${name}`);
    const part = createHash('sha256').update(bytes.subarray(PART.from, PART.end)).digest('hex');
    return { part: { status: 206, range: `bytes ${PART.from}-${PART.end - 1}/${SIZE}`, sha256: part }, whole: site.sha256(name) };
  };

  const read = await visitor.page.evaluate(async url => {
    const order = [];
    const whole = fetch(url).then(window.whole).finally(() => order.push('whole'));
    await new Promise(resolve => { setTimeout(resolve, 500); });
    const part = await window.part(url).finally(() => order.push('part'));
    return { order, part, whole: await whole };
  }, site.url(front.url, 'read.bin'));
  assert.deepEqual(read, { order: ['part', 'whole'], ...expected('read.bin') });
  assert.ok(ranges.size <= 3, `asked for ${[...ranges].join(', ')}`);

  // Firefox gives a body when it has come whole: there nobody leaves it.
  const left = await visitor.page.evaluate(async url => {
    const response = await fetch(url);
    const reader = response.clone().body.getReader();
    await reader.read();
    const part = await window.part(url);
    return { part, whole: await window.whole(response) };
  }, site.url(front.url, 'left.bin'));
  assert.deepEqual(left, expected('left.bin'));
});

// What the origin sends is checked, too: a tampered root, index, shard or file, a truncated answer, a root of an unknown
// format, of another key, of an older version, HTML in place of a root. The page goes on with the network each time.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { CompactSign, decodeProtectedHeader, generateKeyPair, importPKCS8 } from 'jose';
import { cutAfter } from './lib/front.mjs';
import { html, many, randomBytes, sha256 } from './lib/site.mjs';
import { story } from './lib/story.mjs';
import { until } from './lib/wait.mjs';

const files = { 'index.html': html('Checked'), ...many('level', 3, 400_000) };

async function scene(stage, kind, options) {
  const site = await stage.site(files, options);
  const front = await stage.front(await stage.serve(site));
  const visitor = await stage.visitor(kind);
  const urls = Object.keys(files).map(name => site.url(front.url, name));
  return { site, front, visitor, urls, whole: async when => assert.deepEqual(site.differences(await visitor.take(urls), front.url), [], when) };
}

/** The same length, other bytes, no encoding: a file as somebody else would have it. */
function altered(answer) {
  const { 'content-encoding': _, ...headers } = answer.headers;
  // A browser that was interrupted asks for the rest by Range: that must go on with the same bytes.
  const start = Number(/^bytes (\d+)-/.exec(headers['content-range'] ?? '')?.[1] ?? 0);
  return { ...answer, headers, body: randomBytes(start + answer.body.length, 'somebody else').subarray(start) };
}

const alter = (_, __, pass) => pass(altered);

story('a file that differs at the origin is passed on, counted, and neither cached nor shared', async (stage, kind) => {
  const { site, front, visitor } = await scene(stage, kind);
  await visitor.enter(front.url);
  const undo = front.when('/level-1.bin', alter);
  const url = site.url(front.url, 'level-1.bin');
  for (const round of [1, 2]) {
    const before = front.requests('/level-1.bin');
    const [answer] = await visitor.take([url]);
    assert.equal(answer.status, 200);
    assert.equal(answer.sha256, sha256(randomBytes(400_000, 'somebody else')), 'the origin has its say');
    assert.ok(front.requests('/level-1.bin') > before, `round ${round} must ask the origin`);
  }
  assert.ok((await visitor.stats()).rejected > 0);
  assert.equal((await visitor.explain(url)).verified, false);
  undo();
  await until('the right file', async () => (await visitor.take([url]))[0].sha256 === site.sha256('level-1.bin'));
});

story('integrity = "strict" refuses a file that differs', async (stage, kind) => {
  const { site, front, visitor, whole } = await scene(stage, kind, { config: '[policy]\nintegrity = "strict"\n' });
  await visitor.enter(front.url);
  const undo = front.when('/level-1.bin', alter);
  const [answer] = await visitor.take([site.url(front.url, 'level-1.bin')]);
  assert.ok(answer.error, JSON.stringify(answer));
  undo();
  await whole('after the origin was mended');
});

story('an answer that is cut short is an error or whole, never short', async (stage, kind) => {
  const { site, front, visitor, whole } = await scene(stage, kind);
  await visitor.enter(front.url);
  const undo = front.when('/level-2.bin', cutAfter(150_000));
  const [answer] = await visitor.take([site.url(front.url, 'level-2.bin')]);
  assert.ok(answer.error || answer.sha256 === site.sha256('level-2.bin'), JSON.stringify(answer));
  undo();
  await whole('after the origin was mended');
});

for (const part of ['shard', 'index']) {
  story(`a visit works when the ${part} is not the one that the root names`, async (stage, kind) => {
    const { front, visitor, whole } = await scene(stage, kind);
    front.when(new RegExp(`^/peerage/${part}/`), alter);
    await visitor.goto(front.url);
    await until('the worker to be asked for', () => front.requests('/peerage-sw.js') > 0);
    for (const round of ['first', 'second', 'third']) {
      await whole(round);
      await visitor.goto(front.url);
    }
  });
}

/** Roots that must not be accepted: `{name: (claims, header, key) => text}`. */
const BAD_ROOTS = {
  'tampered with': ({ token }) => token.replace(/\.(.)/, (_, first) => `.${first === 'A' ? 'B' : 'A'}`),
  'of an unknown format version': ({ claims, sign }) => sign({ ...claims, format: 999, version: claims.version + 10 }),
  'of another key': async ({ claims, header }) => {
    const { privateKey } = await generateKeyPair('ES256');
    return new CompactSign(Buffer.from(JSON.stringify({ ...claims, version: claims.version + 10 }))).setProtectedHeader(header).sign(privateKey);
  },
  'of an older version': ({ claims, sign }) => sign({ ...claims, version: claims.version - 10 }),
  'of another site': ({ claims, sign }) => sign({ ...claims, site: 'A'.repeat(43), version: claims.version + 10 }),
  'not a root but HTML': () => '<!doctype html><title>A single-page application</title>',
  'too large': ({ claims, sign }) => sign({ ...claims, version: claims.version + 10, filler: 'x'.repeat(100_000) }),
  'empty': () => '',
};

story('a root that cannot be accepted means the network for everything, and a good one mends it', async (stage, kind) => {
  const { site, front, visitor, urls, whole } = await scene(stage, kind);
  await visitor.enter(front.url);
  await whole('with the right root');
  const token = readFileSync(path.join(site.folder, 'peerage/root.jws'), 'utf8').trim();
  const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
  const header = decodeProtectedHeader(token);
  const key = await importPKCS8(readFileSync(path.join(site.beside, 'site.key.pem'), 'utf8'), 'ES256');
  const sign = changed => new CompactSign(Buffer.from(JSON.stringify(changed))).setProtectedHeader(header).sign(key);

  for (const [what, make] of Object.entries(BAD_ROOTS)) {
    const bad = await make({ token, claims, header, sign });
    const undo = front.when('/peerage/root.jws', (_, __, pass) => pass(({ status, headers: { etag, 'content-encoding': _, ...headers } }) => ({ status: status === 304 ? 200 : status, headers, body: Buffer.from(bad) })));
    await until(`a root ${what} to be refused`, async () => {
      await visitor.goto(front.url);
      const before = front.requests('/level-0.bin');
      await whole(`a root ${what}`);
      return front.requests('/level-0.bin') > before;
    });
    undo();
    await until(`the right root to be taken up after one ${what}`, async () => {
      await visitor.goto(front.url);
      const before = front.requests('/level-0.bin');
      await whole(`mended after a root ${what}`);
      return front.requests('/level-0.bin') === before;
    });
  }
  assert.equal(urls.length, 4);
}, { timeout: 400_000 });

story('a root that never comes to its end keeps no later one away', async (stage, kind) => {
  const { front, visitor, whole } = await scene(stage, kind);
  await visitor.enter(front.url);
  const asked = () => front.requests('/peerage/root.jws');
  let before = asked();
  const undo = front.when('/peerage/root.jws', (_, __, pass) => pass(({ headers: { etag, 'last-modified': _, ...headers } }) => ({
    status: 200, headers, body: Buffer.alloc(500, 'e'), hang: 10,
  })));
  await visitor.goto(front.url);
  await whole('while the root hangs');
  await until('the root that hangs to be asked for', () => asked() > before);
  undo();
  before = asked();
  // Browsers wait for some five minutes for the rest of an answer.
  await until('the origin to be asked again', async () => {
    await visitor.goto(front.url);
    await whole('after a root that hung');
    return asked() > before;
  });
});

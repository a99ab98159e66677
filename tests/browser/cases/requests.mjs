// What a script asks for: methods, ranges, conditions, the modes of the Fetch standard, aborts.
import { createHash } from 'node:crypto';

const data = { 'data.bin': 400_000 };
const text = base => ({ 'text.txt': `déjà vu in ${base}\n`.repeat(9) });
const page = { 'table.json': 300_000 };

const range = (name, value, more = {}) => ({
  name, files: data,
  run: `(lab, base) => lab.look(base + 'data.bin', { headers: { range: ${JSON.stringify(value)} } })`, ...more,
});
const init = (name, options, more = {}) => ({
  name, files: text, run: `(lab, base) => lab.look(base + 'text.txt', ${JSON.stringify(options)})`, ...more,
});

/** Why a case's warm cache asks the origin. */
const GIVEN_UP = 'what was given up need not have been fetched to its end';

const known = 'what is written here is known beforehand\n';
const integrity = text => `sha384-${createHash('sha384').update(text).digest('base64')}`;
const inFirefox = (reason, states) => ({ reason, states, kinds: ['firefox'] });
const COUNTED = inFirefox('Firefox counts what it decodes by other steps than what it is given');
const withIntegrity = (name, of, more = {}) => ({
  name, files: base => ({ 'known.txt': base + known }), ...more,
  run: `(lab, base) => lab.look(base + 'known.txt', { integrity: '${integrity(of)}' })`,
});

export default [
  { name: 'GET of a small file', files: text, run: (lab, base) => lab.look(`${base}text.txt`), requests: { file: 'text.txt', cold: 1, warm: 0 } },
  { name: 'GET of a file of several pieces', files: data, run: (lab, base) => lab.look(`${base}data.bin`), requests: { file: 'data.bin', cold: 1, warm: 0 } },
  { name: 'GET of a compressible file', files: page, run: (lab, base) => lab.look(`${base}table.json`) },
  { name: 'HEAD', files: data, needs: 'network', run: (lab, base) => lab.look(`${base}data.bin`, { method: 'HEAD' }) },
  ...Object.entries({ 'data.bin': data, 'table.json': page }).map(([file, files]) => ({
    name: `HEAD after GET of ${file}`, files,
    run: `async (lab, base) => { await lab.look(base + '${file}'); return lab.look(base + '${file}', { method: 'HEAD' }); }`,
  })),
  range('a single range', 'bytes=100-199'),
  range('an open range', 'bytes=250000-'),
  range('a suffix range', 'bytes=-1000'),
  range('a range across pieces', 'bytes=1000-350000'),
  range('a range past the end', 'bytes=399999-9999999'),
  range('an unsatisfiable range', 'bytes=9999999-', { needs: 'network' }),
  range('several ranges', 'bytes=0-9,20-29', { needs: 'network' }),
  range('a reversed range', 'bytes=5-1', { needs: 'network' }),
  range('a range of lines', 'lines=1-2', { needs: 'network' }),
  range('a range of an empty file', 'bytes=0-9', { files: { 'data.bin': '' }, needs: 'network' }),
  {
    name: 'If-Range of the current version', files: data, needs: 'network',
    run: async (lab, base) => {
      const etag = (await fetch(`${base}data.bin`, { method: 'HEAD', cache: 'no-store' })).headers.get('etag');
      return lab.look(`${base}data.bin`, { headers: { range: 'bytes=0-99', 'if-range': etag } });
    },
  },
  { name: 'If-Range of another version', files: data, needs: 'network', run: (lab, base) => lab.look(`${base}data.bin`, { headers: { range: 'bytes=0-99', 'if-range': '"other"' } }) },
  ...['default', 'no-cache', 'force-cache'].map(cache => init(`cache ${cache}`, { cache })),
  ...['no-store', 'reload'].map(cache => init(`cache ${cache}`, { cache }, { needs: 'network' })),
  init('cache only-if-cached across origins', { cache: 'only-if-cached' }),
  init('cache only-if-cached', { cache: 'only-if-cached', mode: 'same-origin' }, { needs: 'network' }),
  ...['cors', 'no-cors', 'same-origin', 'navigate'].map(mode => init(`mode ${mode}`, { mode })),
  ...['omit', 'same-origin', 'include'].map(credentials => init(`credentials ${credentials}`, { credentials })),
  ...['follow', 'error', 'manual'].map(redirect => init(`redirect ${redirect}`, { redirect })),
  withIntegrity('integrity that is right', `/requests/integrity-that-is-right/${known}`),
  withIntegrity('integrity that is wrong', 'something else'),
  withIntegrity('integrity with no-cors', `/requests/integrity-with-no-cors/${known}`),
  {
    name: 'abort before', files: text,
    run: (lab, base) => lab.look(`${base}text.txt`, { signal: AbortSignal.abort() }),
  },
  {
    name: 'abort at once', files: data, asks: GIVEN_UP, differs: { resources: { reason: 'what is given up so early has an entry or none', sometimes: true } },
    run: async (lab, base) => {
      const abort = new AbortController();
      const looking = fetch(`${base}data.bin`, { signal: abort.signal });
      abort.abort(new RangeError('enough'));
      await lab.pause(100);
      return looking.then(lab.head, lab.failure);
    },
  },
  {
    name: 'abort while the body is read', files: { 'large.bin': 6_000_000 }, asks: GIVEN_UP,
    run: async (lab, base) => {
      const abort = new AbortController();
      const response = await fetch(`${base}large.bin`, { signal: abort.signal });
      const reader = response.body.getReader();
      const first = await reader.read();
      abort.abort();
      const seen = { ...lab.head(response), first: first.value.length > 0 };
      try {
        for (;;) if ((await reader.read()).done) return { ...seen, end: 'read to the end' };
      } catch (error) {
        await lab.pause(100);
        return { ...seen, end: lab.failure(error) };
      }
    },
  },
  {
    name: 'abort after', files: data,
    run: async (lab, base) => {
      const abort = new AbortController();
      const seen = await lab.look(`${base}data.bin`, { signal: abort.signal });
      abort.abort();
      return { seen, again: await lab.look(`${base}data.bin`) };
    },
  },
  {
    name: 'cancelled body', files: { 'large.bin': 3_000_000 },
    run: async (lab, base) => {
      const response = await fetch(`${base}large.bin`);
      const reader = response.body.getReader();
      await reader.read();
      await reader.cancel('enough');
      return { closed: await reader.closed.then(() => 'closed', lab.failure), again: await lab.look(`${base}large.bin`) };
    },
  },
  init('keepalive', { keepalive: true }, {
    asks: 'Firefox shows such a request to no worker',
    differs: { value: inFirefox('Firefox shows such a request to no worker: offline it fails', ['offline']) },
  }),
  ...['high', 'low'].map(priority => init(`priority ${priority}`, { priority })),
  init('a header of the page\'s own', { headers: { 'x-own': 'yes', accept: 'text/plain' } }),
  init('authorization', { headers: { authorization: 'Bearer x' } }, { needs: 'network' }),
  init('no referrer', { referrerPolicy: 'no-referrer' }),
  {
    name: 'concurrent requests for one file', files: { 'large.bin': 2_000_000 }, requests: { file: 'large.bin', cold: 1, warm: 0, peer: 0, offline: 0 },
    run: async (lab, base) => {
      const all = await Promise.all(Array.from({ length: 6 }, () => lab.look(`${base}large.bin`)));
      return { first: all[0], same: all.every(one => one.body === all[0].body && one.status === 200) };
    },
  },
  {
    name: 'If-None-Match of the current version', files: data, needs: 'network',
    run: async (lab, base) => {
      const etag = (await fetch(`${base}data.bin`)).headers.get('etag');
      return lab.look(`${base}data.bin`, { headers: { 'if-none-match': etag } });
    },
  },
  init('If-None-Match of another version', { headers: { 'if-none-match': '"other"' } }, { needs: 'network' }),
  init('If-Modified-Since', { headers: { 'if-modified-since': 'Tue, 01 Jan 2036 00:00:00 GMT' } }, { needs: 'network' }),
  init('If-Unmodified-Since', { headers: { 'if-unmodified-since': 'Mon, 01 Jan 1990 00:00:00 GMT' } }, { needs: 'network' }),
  init('If-Match of another version', { headers: { 'if-match': '"other"' } }, { needs: 'network' }),
  {
    name: 'a Request object with a fragment', files: text,
    run: (lab, base) => lab.look(new Request(`${base}text.txt#part`).url),
  },
  {
    name: 'a user name in the URL', files: text,
    run: (lab, base) => lab.look(`${location.protocol}//user:word@${location.host}${base}text.txt`),
  },
  {
    name: 'Response.clone and both bodies', files: data,
    run: async (lab, base) => {
      const response = await fetch(`${base}data.bin`);
      const copy = response.clone();
      return { one: await lab.read(response), other: await lab.read(copy), used: response.bodyUsed };
    },
  },
  {
    name: 'a reader with buffers of its own', files: data,
    run: async (lab, base) => {
      const response = await fetch(`${base}data.bin`);
      const reader = response.body.getReader({ mode: 'byob' });
      const { value, done } = await reader.read(new Uint8Array(10));
      await reader.cancel();
      return { length: value.length, first: value[0], done };
    },
  },
  {
    name: 'text, json and blob', files: { 'value.json': '{"a": [1, "é"]}', 'broken.json': '{"a":', 'page.txt': 'ein Wört' },
    run: async (lab, base) => ({
      json: await (await fetch(`${base}value.json`)).json(),
      broken: await (await fetch(`${base}broken.json`)).json().catch(lab.failure),
      text: await (await fetch(`${base}page.txt`)).text(),
      blob: (await (await fetch(`${base}page.txt`)).blob()).type,
    }),
  },
  { name: 'XMLHttpRequest', files: data, run: (lab, base) => lab.xhr(`${base}data.bin`) },
  { name: 'XMLHttpRequest for a compressible file', files: page, differs: { loaded: COUNTED }, run: (lab, base) => lab.xhr(`${base}table.json`) },
  { name: 'XMLHttpRequest for a blob', files: page, differs: { loaded: COUNTED }, run: (lab, base) => lab.xhr(`${base}table.json`, { type: 'blob' }) },
  { name: 'XMLHttpRequest with a range', files: data, run: (lab, base) => lab.xhr(`${base}data.bin`, { headers: { range: 'bytes=5-14' } }) },
  { name: 'XMLHttpRequest for HEAD', files: data, needs: 'network', run: (lab, base) => lab.xhr(`${base}data.bin`, { method: 'HEAD' }) },
  {
    name: 'XMLHttpRequest that is aborted', files: { 'large.bin': 3_000_000 }, asks: GIVEN_UP,
    run: async (lab, base) => {
      const use = request => { request.onreadystatechange = () => { if (request.readyState === 2) request.abort(); }; };
      const seen = await lab.xhr(`${base}large.bin`, { use });
      await lab.pause(100);
      return seen;
    },
  },
  {
    // Browsers don't show such a request to a worker.
    name: 'synchronous XMLHttpRequest', files: text, needs: 'network',
    run: (lab, base) => {
      const request = new XMLHttpRequest();
      request.open('GET', `${base}text.txt`, false);
      request.send();
      return { status: request.status, text: request.responseText, url: request.responseURL };
    },
  },
  {
    name: 'a page keeps an answer in a cache of its own', files: data,
    run: async (lab, base) => {
      const cache = await caches.open('own');
      await cache.add(`${base}data.bin`);
      const seen = await lab.read(await cache.match(`${base}data.bin`));
      await caches.delete('own');
      return seen;
    },
  },
];

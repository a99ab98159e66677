// What the manifest doesn't list: it goes to the network as it would without Peerage.
import { setTimeout as pause } from 'node:timers/promises';

const page = (title, body = '', head = '') => `<!doctype html><html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,"><title>${title}</title>${head}</head><body><p>This is ${title}.</p>${body}</body></html>`;
const collect = async stream => {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
};
const answer = (response, status, headers, body = '') => { response.writeHead(status, headers); response.end(body); };
/** Tells what it was asked. */
const echo = async (request, response) => {
  const body = await collect(request);
  const { accept, cookie, authorization, origin, referer, 'content-type': type, 'sec-fetch-mode': mode, 'sec-fetch-dest': destination, 'sec-fetch-site': site, 'x-own': own } = request.headers;
  answer(response, 200, { 'content-type': 'application/json', 'cache-control': 'no-store', 'x-method': request.method },
    JSON.stringify({ method: request.method, url: request.url, size: /multipart/.test(type) ? 'of some boundary' : body.length, text: body.toString('latin1').replaceAll(/-{4,}\w+/g, '').slice(0, 200), accept, cookie, authorization, origin, referer, type: type?.replace(/boundary=.*/, ''), mode, destination, site, own }));
};
const ask = (name, init, more = {}) => ({
  name, server: { echo }, run: `async (lab, base) => { const response = await fetch(base + 'echo?a=b%20c', ${init}); return { ...lab.head(response), json: await response.json() }; }`, ...more,
});
const at = (name, handler, more = {}) => ({ name, server: { 'it.bin': handler }, run: (lab, base) => lab.look(`${base}it.bin`), ...more });
const redirect = (status, location) => (_, response) => answer(response, status, { location });
const REDIRECTED = "async (lab, base) => { const response = await fetch(base + 'it.bin', {}); return { ...lab.head(response), json: await response.json() }; }";
// `it.bin` may be listed for all that the browser and the guard know: other files of this folder end so. What was asked for once
// by a document is left to the browser the next time, and what ends as no listed file does, as `bare`, the first time.
const NO_NAME = { reason: 'Chromium names the URL and the end of what a worker fetched otherwise', kinds: ['chromium'], states: ['cold'] };
const NO_STATUS = { reason: 'Firefox has no status of what a worker could not fetch', kinds: ['firefox'], states: ['cold'] };

const cases = [
  ask('GET', '{}'),
  { name: 'HEAD', server: { echo }, run: (lab, base) => lab.look(`${base}echo`, { method: 'HEAD' }) },
  ask('POST with bytes', "{ method: 'POST', body: new Uint8Array(70_000), headers: { 'content-type': 'application/x-test' } }"),
  ask('POST with a form', "{ method: 'POST', body: new URLSearchParams({ a: 'b c' }) }"),
  ask('POST with parts', "{ method: 'POST', body: (() => { const form = new FormData(); form.set('file', new File(['content'], 'name.txt')); return form; })() }"),
  ...['PUT', 'PATCH', 'DELETE', 'OPTIONS'].map(method => ask(method, `{ method: '${method}' }`)),
  ask('credentials omitted', "{ credentials: 'omit' }"),
  ask('a header and an accept', "{ headers: { 'x-own': 'yes', accept: 'application/json' } }"),
  ask('authorization', "{ headers: { authorization: 'Basic dTpw' } }"),
  ask('a referrer', "{ referrer: '/lab.html?from' }"),
  {
    name: 'POST to a listed file', files: { 'data.bin': 1000 },
    run: (lab, base) => lab.look(`${base}data.bin`, { method: 'POST', body: 'x' }),
  },
  {
    name: 'an upload as a stream', server: { echo },
    run: (lab, base) => lab.look(`${base}echo`, { method: 'POST', duplex: 'half', body: new ReadableStream({ start(c) { c.enqueue(new Uint8Array(10)); c.close(); } }) }).then(({ error, status }) => ({ error, status })),
  },
  {
    name: 'a beacon', server: { '*': echo },
    run: (lab, base) => navigator.sendBeacon(`${base}beacon`, 'x'),
  },
  {
    name: 'a cookie that the origin sets', server: { set: (_, response) => answer(response, 204, { 'set-cookie': 'lab=1; path=/unlisted' }), echo },
    run: async (lab, base) => {
      await fetch(`${base}set`);
      const seen = { cookie: document.cookie, json: (await (await fetch(`${base}echo`)).json()).cookie };
      document.cookie = 'lab=; path=/unlisted; max-age=0';
      return seen;
    },
  },
  at('204', (_, response) => answer(response, 204, {})),
  at('201 with a body', (_, response) => answer(response, 201, { 'content-type': 'text/plain', 'x-a': 'b' }, 'made')),
  at('an empty 200', (_, response) => answer(response, 200, { 'content-length': 0 })),
  at('206', (request, response) => answer(response, 206, { 'content-type': 'text/plain', 'content-range': 'bytes 1-3/9' }, 'bcd'), {
    run: (lab, base) => lab.look(`${base}it.bin`, { headers: { range: 'bytes=1-3' } }),
  }),
  at('401', (_, response) => answer(response, 401, { 'content-type': 'text/plain' }, 'who?')),
  at('a challenge', (request, response) => (request.headers.authorization === 'Basic dTpw'
    ? answer(response, 200, { 'content-type': 'text/plain' }, 'u')
    : answer(response, 401, { 'content-type': 'text/plain', 'www-authenticate': 'Basic realm="lab"' }, 'who?')), {
    // Without credentials nobody is asked for a password.
    run: async (lab, base) => ({
      out: await lab.look(`${base}it.bin`, { credentials: 'omit' }),
      member: await lab.look(`${base}it.bin`, { credentials: 'omit', headers: { authorization: 'Basic dTpw' } }),
    }),
  }),
  at('403', (_, response) => answer(response, 403, { 'content-type': 'text/plain' }, 'no')),
  at('500', (_, response) => answer(response, 500, { 'content-type': 'text/plain' }, 'broken')),
  at('503 with Retry-After', (_, response) => answer(response, 503, { 'retry-after': '1' })),
  ...[301, 302, 303, 307, 308].map(status => ({
    name: `redirect ${status}`, server: { 'it.bin': redirect(status, 'echo'), echo }, run: REDIRECTED,
  })),
  { name: 'redirect of a POST', server: { 'it.bin': redirect(307, 'echo'), echo }, run: REDIRECTED.replace('{}', "{ method: 'POST', body: 'x' }") },
  { name: 'redirect to a listed file', files: { 'data.bin': 1000 }, server: { 'it.bin': redirect(302, 'data.bin') }, run: (lab, base) => lab.look(`${base}it.bin`) },
  { name: 'redirect in a circle', differs: { timing: NO_STATUS }, server: { 'it.bin': redirect(302, 'it.bin') }, run: (lab, base) => lab.look(`${base}it.bin`) },
  { name: 'redirect in a circle, bare', server: { bare: redirect(302, 'bare') }, run: (lab, base) => lab.look(`${base}bare`) },
  { name: 'redirect of a document, bare', files: base => ({ 'page.html': page(base) }), server: { bare: redirect(302, 'page.html?x#y') }, page: 'bare' },
  { name: 'redirect to another origin, bare', run: (lab, base) => lab.look(`${base}bare`), server: { bare: redirect(302, 'http://localhost:1/') } },
  { name: 'redirect to a listed file, bare', files: { 'data.bin': 1000 }, server: { bare: redirect(302, 'data.bin') }, run: (lab, base) => lab.look(`${base}bare`) },
  { name: 'redirect of a document', files: base => ({ 'page.html': page(base) }), server: { 'it.bin': redirect(302, 'page.html?x#y') }, page: 'it.bin' },
  { name: 'redirect to another origin', differs: { console: { reason: 'neither browser says of a worker\'s request where its redirect led', states: ['cold'] }, timing: NO_STATUS }, run: (lab, base, { other }) => lab.look(`${base}it.bin`).then(seen => ({ ...seen, other: other.length > 0 })), server: { 'it.bin': redirect(302, 'http://localhost:1/') } },
  at('a connection that breaks at once', (request, response) => response.destroy()),
  at('a connection that breaks in the body', (_, response) => { response.writeHead(200, { 'content-length': 1000 }); response.write('x'.repeat(100)); setTimeout(() => response.destroy(), 50); }, { differs: { console: NO_NAME, decodedBodySize: NO_NAME } }),
  { name: 'a connection that breaks in the body, bare', server: { bare: (_, response) => { response.writeHead(200, { 'content-length': 1000 }); response.write('x'.repeat(100)); setTimeout(() => response.destroy(), 50); } }, run: (lab, base) => lab.look(`${base}bare`) },
  at('a body that comes slowly', async (_, response) => {
    response.writeHead(200, { 'content-type': 'text/plain' });
    for (let i = 0; i < 5; i++) { response.write(`${i}\n`); await pause(30); }
    response.end();
  }),
  {
    name: 'the first part of a body that goes on',
    server: { 'it.bin': (_, response) => { response.writeHead(200, { 'content-type': 'text/plain' }); response.write('first'); const timer = setTimeout(() => response.end(), 20_000); response.on('close', () => clearTimeout(timer)); } },
    run: async (lab, base) => {
      const abort = new AbortController();
      const reader = (await fetch(`${base}it.bin`, { signal: abort.signal })).body.getReader();
      const { value } = await reader.read();
      abort.abort();
      return { first: new TextDecoder().decode(value), then: await reader.read().catch(lab.failure) };
    },
  },
  {
    name: 'server-sent events',
    server: { 'it.bin': (request, response) => { response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' }); for (let i = 1; i < 4; i++) response.write(`id: ${i}\ndata: ${i} ${request.headers.accept}\n\n`); response.on('close', () => response.end()); } },
    run: (lab, base) => lab.within(5000, new Promise(resolve => {
      const source = new EventSource(`${base}it.bin`);
      const got = [];
      source.onmessage = ({ data, lastEventId, origin }) => { got.push([data, lastEventId, origin]); if (got.length === 3) { source.close(); resolve(got); } };
      source.onerror = () => resolve('error');
    })),
  },
  {
    name: 'a WebSocket',
    run: () => new Promise(resolve => {
      const socket = new WebSocket(`ws://${location.host}/api/socket`);
      socket.onopen = () => socket.send('hello');
      socket.onmessage = event => { resolve({ data: event.data, url: socket.url }); socket.close(); };
      socket.onerror = event => resolve(event.type);
    }),
  },
  {
    name: 'a WebSocket to a listed file', files: { 'data.bin': 1000 },
    run: (lab, base) => new Promise(resolve => {
      const socket = new WebSocket(`ws://${location.host}${base}data.bin`);
      socket.onopen = () => resolve('open');
      socket.onclose = event => resolve({ code: event.code, clean: event.wasClean });
    }),
  },
  { name: 'another origin without CORS', run: (lab, base, { other }) => lab.look(`${other}lab.html`, { mode: 'no-cors' }) },
  { name: 'another origin that refuses', run: (lab, base, { other }) => lab.look(`${other}lab.html`) },
  { name: 'another origin as an image', run: (lab, base, { other }) => lab.element('img', { src: `${other}missing.png` }) },
  {
    name: 'a folder behind a login', files: base => ({ 'members/photo.bin': 5000, 'members/page.html': page(base) }),
    server: { 'members/*': (request, response, pass) => (/member=1/.test(request.headers.cookie ?? '') ? pass() : answer(response, 302, { location: '../login' })), login: (_, response) => answer(response, 200, { 'content-type': 'text/html' }, '<title>log in</title>') },
    run: async (lab, base) => {
      const out = await lab.look(`${base}members/photo.bin`);
      document.cookie = 'member=1; path=/unlisted';
      const seen = { out, member: await lab.look(`${base}members/photo.bin`), frame: await lab.frame(`${base}members/page.html`) };
      document.cookie = 'member=; path=/unlisted; max-age=0';
      return { ...seen, again: await lab.look(`${base}members/photo.bin`) };
    },
  },
  {
    name: 'a listed file that wants a login', files: { 'photo.bin': 5000 },
    server: { 'photo.bin': (request, response, pass) => (/visitor=1/.test(request.headers.cookie ?? '') ? pass() : answer(response, 403, { 'content-type': 'text/plain' }, 'no')) },
    run: async (lab, base) => {
      const out = await lab.look(`${base}photo.bin`);
      document.cookie = 'visitor=1; path=/unlisted';
      const member = await lab.look(`${base}photo.bin`);
      document.cookie = 'visitor=; path=/unlisted; max-age=0';
      return { out, member };
    },
  },
  {
    name: 'a form', files: { 'page.html': page('a form', '<form action="form" method="post"><input name="word" value="hello"></form>') },
    server: { form: async (request, response) => answer(response, 200, { 'content-type': 'text/html; charset=utf-8' }, page(`posted ${await collect(request)}`)) },
    page: 'page.html',
    drive: async visitor => {
      await visitor.page.evaluate(() => { setTimeout(() => document.querySelector('form').submit()); });
      await visitor.wait('the answer to the form', () => document.title.startsWith('posted'));
      return visitor.page.evaluate(() => ({ title: document.title, url: document.URL, referrer: document.referrer, origin: document.origin }));
    },
  },
  { name: 'a document that is made anew each time', server: { 'it.bin': (_, response) => answer(response, 200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' }, page('made anew', '<script src="part.js"></script>')) }, files: base => ({ 'part.js': `document.title += ${JSON.stringify(base)};` }), page: 'it.bin' },
  { name: 'a document that is made anew each time, bare', server: { bare: (_, response) => answer(response, 200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' }, page('made anew', '<script src="part.js"></script>')) }, files: base => ({ 'part.js': `document.title += ${JSON.stringify(base)};` }), page: 'bare' },
  { name: 'an error as a document', server: { 'it.bin': (_, response) => answer(response, 500, { 'content-type': 'text/html; charset=utf-8' }, page('broken')) }, page: 'it.bin' },
  {
    // The frame has a worker of its own there, where the browser lets it: storage is kept apart for each embedding site.
    // Without the origin as well: its files are kept there like those of any site.
    name: 'a frame in a page of another site', page: 'frame.html', needs: undefined, differs: { controlled: 'a page can see that it has a worker' },
    asks: 'a frame that finds its worker installing comes from the network itself, and is kept the next time',
    files: base => ({
      'frame.html': page(base, `<script type="module">
        if (top !== window) {
          const workers = navigator.serviceWorker;
          try {
            if (location.hash === '#behind') {
              await workers.register('/peerage-sw.js');
              if (!workers.controller) await new Promise(resolve => { workers.addEventListener('controllerchange', resolve); setTimeout(resolve, 3000); });
            }
          } catch {}
          const response = await fetch('data.bin');
          parent.postMessage({ status: response.status, type: response.type, length: response.headers.get('content-length'), size: (await response.arrayBuffer()).byteLength, origin, controlled: Boolean(navigator.serviceWorker.controller), referrer: document.referrer, cookie: document.cookie, text: document.body.textContent.trim().slice(0, 30) }, '*');
        }
      </script>`),
      'data.bin': 200_000,
      'outer.html': page('another site', '<script>window.said = new Promise(resolve => { onmessage = event => resolve(event.data); }); document.body.append(Object.assign(document.createElement("iframe"), { src: decodeURIComponent(location.hash.slice(1)) }));</script>'),
    }),
    drive: async (visitor, { other }) => {
      const { page: tab } = visitor;
      const behind = await tab.evaluate(() => navigator.serviceWorker.controller !== null);
      const outer = new URL(new URL('outer.html', tab.url()).pathname, other);
      outer.hostname = 'localhost';
      outer.hash = encodeURIComponent(`${tab.url()}${behind ? '#behind' : ''}`);
      await visitor.goto(outer.href);
      return tab.evaluate(() => Promise.race([window.said, new Promise(resolve => { setTimeout(resolve, 10_000, 'nothing said'); })]));
    },
  },
  {
    name: 'the worker\'s own files', run: async (lab) => Promise.all(['/peerage-sw.js', '/peerage/root.jws', '/peerage/none', '/peerage/'].map(url => lab.look(url))),
  },
  { name: 'blob and data URLs', run: async lab => [await lab.look(URL.createObjectURL(new Blob(['x'], { type: 'text/plain' }))).then(({ status, headers, body }) => ({ status, headers, body })), await lab.look('data:text/plain,hello')] },
];

export default cases.map(one => ({ needs: 'network', ...one }));

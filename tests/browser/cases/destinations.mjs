// Everything in a page that loads a file: each sort of `Request.destination`.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { png, wasm, wav, webm } from '../lib/media.mjs';
import { randomBytes } from '../lib/site.mjs';
import { until } from '../lib/wait.mjs';

const font = readFileSync(fileURLToPath(new URL('../../node_modules/pdfjs-dist/standard_fonts/LiberationSans-Regular.ttf', import.meta.url)));
const page = (title, body = '', head = '') => `<!doctype html><html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,"><title>${title}</title>${head}</head><body><p>This is ${title}.</p>${body}</body></html>`;
const svg = (id, more = '') => `<svg xmlns="http://www.w3.org/2000/svg" width="30" height="20"><rect id="${id}" width="30" height="20" fill="#0a0"/>${more}</svg>`;
const WORKER = `postMessage({ href: location.href, origin: self.origin, isolated: self.crossOriginIsolated, name: self.name, secure: self.isSecureContext });`;

/**
 * Plays the end of a media element first. What it leaves out is read at the end of the case, so that nothing is left to be
 * asked for in a later state.
 */
const SEEK = `async element => {
  const came = name => lab.within(8000, new Promise(resolve => { element.addEventListener(name, () => resolve(name), { once: true }); }));
  const seen = { duration: Math.round(element.duration), currentSrc: element.currentSrc };
  element.muted = true;
  const seeked = came('seeked');
  element.currentTime = element.duration - 0.3;
  seen.seeked = await seeked;
  seen.time = Math.round(element.currentTime * 10) / 10;
  const ended = came('ended');
  seen.played = await element.play().then(() => 'played', lab.failure);
  seen.ended = await ended;
  const back = came('seeked');
  element.currentTime = 1;
  seen.back = await back;
  seen.error = element.error?.code ?? null;
  seen.seekable = element.seekable.length && Math.round(element.seekable.end(0));
  element.removeAttribute('src');
  element.load();
  return seen;
}`;

const SAID_ONCE = { reason: 'Firefox says once for a document that it refuses a module, and when it comes to it', kinds: ['firefox'], sometimes: true };
const OWN_WORDS = { reason: 'Firefox calls an intercepted request failed in the place of saying which type it refuses', kinds: ['firefox'] };
const SHOWN_TO_NONE = 'what object and embed load is shown to no worker';
const NO_CLIENT = { reason: `${SHOWN_TO_NONE}: offline it fails`, states: ['offline'] };

export default [
  { name: 'document', files: base => ({ 'page.html': page(base) }), page: 'page.html' },
  { name: 'a document of several pieces', files: base => ({ 'page.html': page(base, `<p>${base}</p>`.repeat(30_000)) }), page: 'page.html', run: async lab => ({ ...await lab.inside(window), paragraphs: document.querySelectorAll('p').length }) },
  {
    name: 'a document that is loaded again', differs: { referrer: { reason: 'as of any document that a worker answers', kinds: ['firefox'], sometimes: true } }, files: base => ({ 'page.html': page(base) }), page: 'page.html',
    drive: async visitor => {
      await visitor.page.reload();
      return visitor.page.evaluate(() => ({ title: document.title, referrer: document.referrer, type: performance.getEntriesByType('navigation')[0].type }));
    },
  },
  {
    name: 'frames', files: base => ({ 'frames.html': `<!doctype html><link rel="icon" href="data:,"><title>frames</title><frameset cols="50%,50%"><frame src="one.html"><frame src="other.html"></frameset>`, 'one.html': page(`one ${base}`), 'other.html': page(`other ${base}`) }),
    page: 'frames.html', run: async lab => [document.body.tagName, await lab.inside(window.frames[0]), await lab.inside(window.frames[1])],
  },
  { name: 'iframe', files: base => ({ 'page.html': page(base) }), run: (lab, base) => lab.frame(`${base}page.html`) },
  {
    name: 'iframe in an iframe', files: base => ({ 'outer.html': page(base, '<iframe src="inner.html"></iframe>'), 'inner.html': page(`inside ${base}`) }),
    run: (lab, base) => lab.frame(`${base}outer.html`, async view => [await lab.inside(view), await lab.inside(view.frames[0])]),
  },
  {
    // Its document is no client of the worker: offline it fails.
    name: 'sandboxed iframe', needs: 'network', files: base => ({ 'page.html': page(base, `<script>parent.postMessage({ title: document.title, origin: self.origin, url: document.URL }, '*')</script>`) }),
    run: async (lab, base) => {
      const said = new Promise(resolve => { addEventListener('message', event => resolve({ data: event.data, origin: event.origin }), { once: true }); });
      const { event } = await lab.frame(`${base}page.html`, () => ({}), { sandbox: 'allow-scripts' });
      return { event, said: await lab.within(5000, said) };
    },
  },
  { name: 'iframe without credentials', files: base => ({ 'page.html': page(base) }), needs: 'network', run: (lab, base) => lab.frame(`${base}page.html`, undefined, { credentialless: '' }) },
  {
    name: 'srcdoc iframe', asks: 'Chromium now and then asks the origin as well while it starts the worker for such a document, and throws that answer away', files: { 'image.png': png(5, 4, [9, 9, 9], 'srcdoc') },
    run: (lab, base) => lab.element('iframe', { srcdoc: `<base href="${location.origin}${base}"><img src="image.png">` }, async frame => {
      const image = frame.contentDocument.images[0];
      return { width: image.naturalWidth, controlled: undefined };
    }),
  },
  {
    name: 'classic script', files: base => ({ 'script.js': `window.seen = [${JSON.stringify(base)}, document.currentScript.src, document.currentScript.getAttribute('src')];` }),
    run: (lab, base) => lab.element('script', { src: `${base}script.js` }, async () => ({ seen: window.seen, timing: await lab.timing(`${base}script.js`) })),
  },
  {
    name: 'script with CORS and integrity', files: base => ({ 'script.js': `window.seen = 1; // ${base}` }),
    run: async (lab, base) => {
      const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(`window.seen = 1; // ${base}`));
      const integrity = `sha256-${btoa(String.fromCharCode(...new Uint8Array(digest)))}`;
      return [
        await lab.element('script', { src: `${base}script.js`, integrity, crossorigin: 'anonymous' }),
        await lab.element('script', { src: `${base}script.js`, integrity: integrity.replace('sha256-', 'sha256-A'), crossorigin: '' }),
      ];
    },
  },
  {
    name: 'script that throws', files: base => ({ 'script.js': `// ${base}\n\nthrow new RangeError('on purpose');` }),
    run: async (lab, base) => {
      const failed = new Promise(resolve => {
        window.onerror = (message, source, line, column, error) => { resolve({ message, source, line, name: error?.name }); return true; };
      });
      const { event } = await lab.element('script', { src: `${base}script.js` });
      const said = await lab.within(2000, failed);
      window.onerror = null;
      return { event, said };
    },
  },
  {
    name: 'script of another type', differs: { console: OWN_WORDS }, files: base => ({ 'script.js': `window.other = ${JSON.stringify(base)};` }), headers: { 'script.js': { 'Content-Type': 'text/html', 'X-Content-Type-Options': 'nosniff' } },
    run: async (lab, base) => ({ ...await lab.element('script', { src: `${base}script.js` }), other: window.other }),
  },
  { name: 'script that is not there', needs: 'network', run: (lab, base) => lab.element('script', { src: `${base}missing.js` }) },
  {
    name: 'module with imports', files: base => ({ 'main.mjs': `import value, { url } from './part/value.mjs'; window.module = [value, url, import.meta.url];`, 'part/value.mjs': `export default ${JSON.stringify(base)}; export const url = import.meta.url;` }),
    run: (lab, base) => lab.element('script', { src: `${base}main.mjs`, type: 'module' }, () => ({ module: window.module })),
  },
  {
    name: 'import()', differs: { console: SAID_ONCE },
    files: base => ({ 'value.mjs': `export default ${JSON.stringify(base)};`, 'broken.mjs': 'export default ;', 'data.json': '{"a": 1}', 'throws.mjs': 'throw new RangeError("on purpose")' }),
    run: async (lab, base) => ({
      value: (await import(`${base}value.mjs`)).default,
      broken: await import(`${base}broken.mjs`).catch(lab.failure),
      throws: await import(`${base}throws.mjs`).catch(lab.failure),
      json: await import(`${base}data.json`).catch(lab.failure),
    }),
  },
  { name: 'import() of what is not there', needs: 'network', differs: { console: SAID_ONCE }, run: (lab, base) => import(`${base}missing.mjs`).catch(lab.failure) },
  {
    name: 'JSON and CSS modules', files: { 'data.json': '{"a": 1}', 'style.css': 'p { color: red }' },
    run: async (lab, base) => ({
      json: await (0, eval)(`import('${base}data.json', { with: { type: 'json' } })`).then(({ default: value }) => value, lab.failure),
      css: await (0, eval)(`import('${base}style.css', { with: { type: 'css' } })`).then(({ default: sheet }) => sheet.cssRules.length, lab.failure),
    }),
  },
  {
    name: 'style sheet with @import, font and image',
    files: base => ({
      'style.css': `@import "more/part.css"; .lab-style { color: rgb(1, 2, 3); background-image: url(image.png) } @font-face { font-family: Lab; src: url(font.ttf) }`,
      'more/part.css': `.lab-style { width: 77px } /* ${base} */`, 'image.png': png(3, 3, [0, 0, 200], base), 'font.ttf': Buffer.concat([font, Buffer.from(base)]),
    }),
    run: (lab, base) => lab.element('link', { rel: 'stylesheet', href: `${base}style.css` }, async link => {
      const box = document.createElement('div');
      box.className = 'lab-style';
      box.textContent = 'text';
      document.body.append(box);
      const { color, width, backgroundImage } = getComputedStyle(box);
      const fonts = await document.fonts.load('12px Lab').then(found => found.map(({ family, status }) => [family, status]), lab.failure);
      box.remove();
      return {
        color, width, backgroundImage, fonts, rules: link.sheet.cssRules.length, href: link.sheet.href, inner: link.sheet.cssRules[0].styleSheet?.href,
        timing: [await lab.timing(`${base}style.css`), await lab.timing(`${base}more/part.css`), await lab.timing(`${base}font.ttf`)],
      };
    }, { into: document.head }),
  },
  {
    name: 'style sheet of another type', files: { 'style.txt': 'p { color: red }' },
    run: (lab, base) => lab.element('link', { rel: 'stylesheet', href: `${base}style.txt` }, () => ({}), { into: document.head }),
  },
  {
    name: 'FontFace', files: base => ({ 'font.ttf': Buffer.concat([font, Buffer.from(base)]), 'broken.ttf': 'no font' }),
    run: async (lab, base) => ({
      font: await new FontFace('A', `url(${base}font.ttf)`).load().then(({ status }) => status, lab.failure),
      broken: await new FontFace('B', `url(${base}broken.ttf)`).load().then(({ status }) => status, lab.failure),
    }),
  },
  {
    name: 'image', files: base => ({ 'image.png': png(40, 30, [200, 10, 20], base), 'broken.png': `no image ${base}` }),
    run: async (lab, base) => {
      const look = image => {
        const context = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d');
        context.drawImage(image, 0, 0);
        return { size: [image.naturalWidth, image.naturalHeight], currentSrc: image.currentSrc, colour: [...context.getImageData(0, 0, 1, 1).data], complete: image.complete };
      };
      return [
        await lab.element('img', { src: `${base}image.png` }, look), await lab.element('img', { src: `${base}image.png`, crossorigin: '' }, look),
        await lab.element('img', { src: `${base}broken.png` }), await lab.timing(`${base}image.png`),
      ];
    },
  },
  {
    name: 'images in other places', files: base => ({ 'poster.png': png(31, 21, [1, 2, 3], base), 'button.png': png(17, 11, [3, 2, 1], base), 'inner.png': png(9, 9, [1, 1, 9], base), 'shapes.svg': svg('shape', `<symbol id="part"><rect width="5" height="5"/></symbol><!-- ${base} -->`) }),
    run: async (lab, base) => {
      const box = document.createElement('div');
      box.innerHTML = `<video poster="${base}poster.png"></video><svg width="50" height="50"><use href="${base}shapes.svg#part"/><image href="${base}inner.png"/></svg>`;
      document.body.append(box);
      const button = await lab.element('input', { type: 'image', src: `${base}button.png` }, input => ({ size: [input.width, input.height] }));
      // Of a poster and a reference there is no event.
      const seen = [button, await lab.timing(`${base}poster.png`), await lab.timing(`${base}inner.png`), await lab.timing(`${base}shapes.svg`), box.querySelector('video').clientWidth];
      box.remove();
      return seen;
    },
  },
  { name: 'image that is not there', needs: 'network', run: (lab, base) => lab.element('img', { src: `${base}missing.png` }) },
  {
    name: 'srcset and picture', differs: { resources: { reason: 'Firefox may have shown what `src` names, and be done, before it looks at the sources', kinds: ['firefox'], sometimes: true } }, files: base => ({ 'one.png': png(10, 10, [1, 1, 1], base), 'two.png': png(20, 20, [2, 2, 2], base), 'wide.png': png(30, 10, [3, 3, 3], base) }),
    run: async (lab, base) => {
      const picture = document.createElement('picture');
      picture.innerHTML = `<source srcset="${base}wide.png" media="(min-width: 1px)" type="image/png">`;
      document.body.append(picture);
      const look = image => ({ currentSrc: image.currentSrc, width: image.naturalWidth });
      const seen = [await lab.element('img', { srcset: `${base}one.png 1x, ${base}two.png 2x` }, look), await lab.element('img', { src: `${base}one.png` }, look, { into: picture })];
      picture.remove();
      return seen;
    },
  },
  {
    name: 'SVG as an image and as an object', asks: SHOWN_TO_NONE, differs: { 'value.1': NO_CLIENT, resources: { ...NO_CLIENT, kinds: ['firefox'], sometimes: true } }, files: base => ({ 'image.svg': svg('shape', `<!-- ${base} -->`) }),
    run: async (lab, base) => [
      await lab.element('img', { src: `${base}image.svg` }, image => ({ size: [image.naturalWidth, image.naturalHeight] })),
      await lab.element('object', { data: `${base}image.svg`, type: 'image/svg+xml' }, object => ({ root: object.contentDocument?.documentElement.nodeName, type: object.contentDocument?.contentType })),
    ],
  },
  {
    name: 'object and embed', asks: SHOWN_TO_NONE, differs: { value: NO_CLIENT, console: { ...NO_CLIENT, kinds: ['chromium'] }, resources: { ...NO_CLIENT, kinds: ['firefox'], sometimes: true } }, files: base => ({ 'page.html': page(base), 'image.png': png(6, 7, [0, 1, 0], base) }),
    run: async (lab, base) => [
      await lab.element('object', { data: `${base}page.html`, type: 'text/html' }, object => lab.inside(object.contentWindow)),
      await lab.element('embed', { src: `${base}page.html`, type: 'text/html' }),
      await lab.element('object', { data: `${base}image.png`, type: 'image/png' }, object => ({ width: object.offsetWidth })),
    ],
  },
  { name: 'object that is not there', needs: 'network', run: (lab, base) => lab.element('object', { data: `${base}missing.svg`, type: 'image/svg+xml' }) },
  {
    name: 'audio, its end first', files: { 'tone.wav': wav(120) },
    run: `async (lab, base) => [await lab.element('audio', { src: base + 'tone.wav', preload: 'auto' }, ${SEEK}, { events: ['loadedmetadata', 'error'] }), (await lab.look(base + 'tone.wav')).body]`,
  },
  {
    name: 'video, its end first', files: base => ({ 'film.webm': webm(60, 40_000, (i, size) => randomBytes(size, `${base}${i}`)) }),
    run: `async (lab, base) => [await lab.element('video', { src: base + 'film.webm', preload: 'auto' }, ${SEEK}, { events: ['loadedmetadata', 'error'] }), (await lab.look(base + 'film.webm')).body]`,
  },
  { name: 'media that is broken', files: { 'broken.wav': 10_000 }, run: (lab, base) => lab.element('audio', { src: `${base}broken.wav`, preload: 'auto' }, audio => ({ code: audio.error?.code }), { events: ['loadedmetadata', 'error'] }) },
  {
    name: 'track', files: base => ({ 'words.vtt': `WEBVTT\n\n00:00.000 --> 00:09.000\n${base}\n` }),
    run: async (lab, base) => {
      const video = document.createElement('video');
      document.body.append(video);
      const seen = await lab.element('track', { src: `${base}words.vtt`, kind: 'subtitles', srclang: 'en', default: '' }, track => ({ cues: [...track.track.cues ?? []].map(({ text }) => text), state: track.readyState }), { into: video });
      video.remove();
      return seen;
    },
  },
  {
    name: 'worker', files: base => ({ 'worker.js': `${WORKER} // ${base}`, 'throws.js': `// ${base}\nthrow new RangeError('on purpose')` }),
    run: async (lab, base) => [await lab.worker(`${base}worker.js`, { name: 'a name' }), await lab.worker(`${base}throws.js`)],
  },
  {
    name: 'module worker', files: base => ({ 'worker.mjs': `import value from './value.mjs'; postMessage([value, import.meta.url]);`, 'value.mjs': `export default ${JSON.stringify(base)};` }),
    run: (lab, base) => lab.worker(`${base}worker.mjs`, { type: 'module' }),
  },
  { name: 'worker that is not there', needs: 'network', differs: { console: OWN_WORDS }, run: (lab, base) => lab.worker(`${base}missing.js`) },
  {
    name: 'worker of another type', differs: { console: OWN_WORDS }, files: { 'worker.txt': 'postMessage(1)' },
    run: (lab, base) => lab.worker(`${base}worker.txt`),
  },
  {
    name: 'nested worker with importScripts and fetch', differs: { 'timing.0.2': { reason: 'Firefox has no status of what a worker fetches and a service worker answers', kinds: ['firefox'] } },
    files: base => ({
      'outer.js': `const inner = new Worker('below/inner.js'); inner.onmessage = event => postMessage(event.data);`,
      'below/inner.js': `importScripts('part.js', '../part.js'); fetch('data.bin').then(async response => { const size = (await response.arrayBuffer()).byteLength; for (let tries = 0; tries < 20 && performance.getEntriesByType('resource').length < 3; tries++) await new Promise(resolve => { setTimeout(resolve, 50); }); postMessage({ parts, url: response.url, size, status: response.status, href: location.href, timing: performance.getEntriesByType('resource').map(({ name, initiatorType, responseStatus }) => [name, initiatorType, responseStatus]).sort() }); });`,
      'below/part.js': `self.parts = [${JSON.stringify(base)}];`, 'part.js': `self.parts.push('outer');`, 'below/data.bin': 200_000,
    }),
    run: (lab, base) => lab.worker(`${base}outer.js`),
  },
  {
    name: 'importScripts of what is not there', files: { 'worker.js': `try { importScripts('missing.js') } catch (error) { postMessage(error.name) }` }, needs: 'network',
    run: (lab, base) => lab.worker(`${base}worker.js`),
  },
  {
    name: 'shared worker', files: base => ({ 'shared.js': `onconnect = ({ ports: [port] }) => fetch('data.bin').then(async r => port.postMessage({ href: location.href, size: (await r.arrayBuffer()).byteLength, name: self.name, base: ${JSON.stringify(base)} }));`, 'data.bin': 100_000 }),
    run: (lab, base) => lab.worker(null, null, () => new SharedWorker(`${base}shared.js`, 'shared')),
  },
  {
    name: 'worker out of a blob', files: { 'part.js': 'self.part = 1;' },
    run: (lab, base) => lab.worker(URL.createObjectURL(new Blob([`importScripts('${location.origin}${base}part.js'); postMessage({ part: self.part, origin: self.origin })`], { type: 'text/javascript' }))),
  },
  {
    name: 'audio worklet', files: base => ({ 'worklet.js': `registerProcessor('lab', class extends AudioWorkletProcessor { process() { return false; } }); // ${base}` }),
    run: async (lab, base) => {
      const context = new OfflineAudioContext(1, 128, 44100);
      return context.audioWorklet.addModule(`${base}worklet.js`).then(() => new AudioWorkletNode(context, 'lab').numberOfOutputs, lab.failure);
    },
  },
  {
    name: 'WebAssembly.instantiateStreaming', differs: { 'resources.module.bin': { reason: 'Firefox makes no entry of an answer whose type it refuses, but of a worker\'s', kinds: ['firefox'], sometimes: true } }, files: base => ({ 'small.wasm': wasm(Buffer.from(base)), 'large.wasm': wasm(randomBytes(700_000, base)), 'broken.wasm': `no wasm ${base}`, 'module.bin': wasm(Buffer.from(`${base}bin`)) }),
    run: async (lab, base) => Object.fromEntries(await Promise.all(['small.wasm', 'large.wasm', 'broken.wasm', 'module.bin'].map(async name => (
      [name, await WebAssembly.instantiateStreaming(fetch(`${base}${name}`)).then(({ instance }) => instance.exports.f(), lab.failure)])))),
  },
  {
    name: 'web manifest', files: base => ({ 'page.html': page(base, '', '<link rel="manifest" href="site.webmanifest">'), 'site.webmanifest': JSON.stringify({ name: base, start_url: '.', display: 'standalone' }) }),
    page: 'page.html',
    drive: async visitor => {
      // No protocol tells what Firefox makes of a manifest, which it fetches for an installed application only.
      if (visitor.kind !== 'chromium') return null;
      const session = await visitor.page.createCDPSession();
      const { url, data, errors } = await session.send('Page.getAppManifest');
      await session.detach();
      return { url, data, errors };
    },
  },
  ...[['script', 'part.js', 'window.preloaded = 1;'], ['style', 'part.css', 'p {}'], ['fetch', 'part.bin', 50_000], ['image', 'part.png', png(4, 4, [5, 5, 5], 'preload')], ['font', 'part.ttf', font]].map(([as, file, content]) => ({
    name: `preload as ${as}`, files: { [file]: content },
    run: `async (lab, base) => ({
      ...await lab.element('link', { rel: 'preload', as: '${as}', href: base + '${file}', ${as === 'fetch' || as === 'font' ? 'crossorigin: ""' : ''} }, () => ({}), { into: document.head }),
      timing: await lab.timing(base + '${file}'),
    })`,
  })),
  {
    name: 'modulepreload', files: base => ({ 'part.mjs': `export default ${JSON.stringify(base)};` }),
    run: async (lab, base) => ({ ...await lab.element('link', { rel: 'modulepreload', href: `${base}part.mjs` }, () => ({}), { into: document.head }), value: (await import(`${base}part.mjs`)).default }),
  },
  {
    name: 'prefetch', differs: { event: { reason: 'Firefox keeps the answer of a worker, and none with no-cache', kinds: ['firefox'] } }, files: base => ({ 'part.js': `1; // ${base}`, 'page.html': page(base) }),
    run: async (lab, base) => [
      await lab.element('link', { rel: 'prefetch', href: `${base}part.js` }, () => ({}), { into: document.head }), await lab.timing(`${base}part.js`),
      await lab.element('link', { rel: 'prefetch', href: `${base}page.html`, as: 'document' }, () => ({}), { into: document.head }), await lab.frame(`${base}page.html`),
    ],
  },
  {
    name: 'speculation rules', differs: { referrer: { reason: 'Firefox forgets the referrer of a document that a worker answers while it looks for a newer worker', kinds: ['firefox'], sometimes: true } }, files: base => ({
      'page.html': page(base, '<a href="next.html">next</a>', '<script type="speculationrules">{"prefetch": [{"urls": ["next.html"], "eagerness": "immediate"}]}</script>'), 'next.html': page(`next of ${base}`),
    }),
    page: 'page.html',
    drive: async visitor => {
      await visitor.page.evaluate(() => new Promise(resolve => { setTimeout(resolve, 300); }));
      await visitor.page.evaluate(() => { setTimeout(() => document.querySelector('a').click()); });
      await visitor.wait('the next page', () => document.title.startsWith('next of') && document.readyState === 'complete');
      return visitor.page.evaluate(() => ({ title: document.title, referrer: document.referrer, type: performance.getEntriesByType('navigation')[0].type }));
    },
  },
  {
    // Firefox knows no speculation rules: there the link is followed as any.
    name: 'speculation rules that prerender', differs: { referrer: { reason: 'as of any document that a worker answers', kinds: ['firefox'], sometimes: true } }, files: base => ({
      'page.html': page(base, '<a href="next.html">next</a>', '<script type="speculationrules">{"prerender": [{"urls": ["next.html"], "eagerness": "immediate"}]}</script>'),
      // Channels and locks of a prerendered page wait until it is shown; what it stores doesn't.
      'next.html': page(`next of ${base}`, `<script src="part.js"></script><script>
        const key = new URL('.', location).pathname, before = document.prerendering ?? false;
        const fetched = fetch('data.bin').then(async response => (await response.arrayBuffer()).byteLength);
        fetched.then(() => { if (before) localStorage.setItem(key + 'prerendered', 'yes'); });
        const shown = before ? new Promise(resolve => { document.onprerenderingchange = resolve; }) : null;
        Promise.all([fetched, shown]).then(([fetched]) => {
          const [{ type, activationStart = 0 }] = performance.getEntriesByType('navigation');
          localStorage.setItem(key + 'shown', JSON.stringify({ title: document.title, referrer: document.referrer, type, activated: activationStart > 0, before, part: window.part, fetched }));
        });
      </script>`), 'part.js': `window.part = ${JSON.stringify(base)};`, 'data.bin': 30_000,
    }),
    page: 'page.html',
    // In a tab without a debugger that is told of service workers: in one that is, Chromium prerenders nothing.
    drive: async visitor => {
      const tab = await visitor.running.context.newPage();
      await tab.goto(visitor.page.url());
      const stored = async what => {
        let value = null;
        await until(`the next page to be ${what}`, async () => {
          value = await visitor.page.evaluate(wanted => localStorage.getItem(new URL('.', location).pathname + wanted), what);
          return value !== null;
        }, { deadline: 10_000 });
        return value;
      };
      if (visitor.kind === 'chromium') await stored('prerendered');
      await tab.evaluate(() => { setTimeout(() => document.querySelector('a').click()); });
      const seen = JSON.parse(await stored('shown'));
      await visitor.page.evaluate(() => { localStorage.clear(); });
      await tab.close();
      if (seen.activated !== (visitor.kind === 'chromium')) throw new Error(`prerendered: ${JSON.stringify(seen)}`);
      return seen;
    },
  },
];

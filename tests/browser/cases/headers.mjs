// Headers that the origin sends with a file, and what the browser makes of them.
const page = (title, body = '', head = '') => `<!doctype html><html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,"><title>${title}</title>${head}</head><body><p>This is ${title}.</p>${body}</body></html>`;
const signed = (name, headers, file = 'data.txt', more = {}) => ({
  name, files: base => ({ [file]: `${file} in ${base}\n` }), headers: { [file]: headers }, run: `(lab, base) => lab.look(base + '${file}')`, ...more,
});
const INJECTED = { injected: true }, NOT_INJECTED = { injected: false };
const ISOLATED = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };
/** What the policy of the document lets it do. */
const POLICY = `async (lab, base) => {
  const violations = [];
  addEventListener('securitypolicyviolation', event => violations.push([event.effectiveDirective, event.blockedURI, event.disposition]));
  const seen = {
    inside: await lab.inside(window), inline: window.inline ?? null, script: window.script ?? null,
    fetch: await fetch('data.txt').then(response => response.status, lab.failure),
    eval: (() => { try { return (0, eval)('1 + 1'); } catch (error) { return error.name; } })(),
    style: await lab.element('link', { rel: 'stylesheet', href: 'style.css' }, () => ({}), { into: document.head }),
    more: await lab.element('script', { src: 'script.js' }),
    image: await lab.element('img', { src: 'data:image/gif;base64,R0lGODlhAQABAAAAACw=' }),
  };
  await lab.pause(50);
  return { ...seen, violations: violations.sort() };
}`;
const policy = (name, value, more = {}, head = '') => ({
  name, page: 'page.html', run: POLICY,
  files: base => ({ 'page.html': page(base, '<script src="script.js"></script>', `${head}<script nonce="abc">window.inline = 1</script>`), 'script.js': `window.script = ${JSON.stringify(base)};`, 'style.css': `p {} /* ${base} */`, 'data.txt': base }),
  headers: value === null ? {} : { 'page.html': { 'Content-Security-Policy': value } }, ...more,
});

export default [
  signed('a header of the owner\'s own', { 'X-Mark': 'signed', 'X-Other': 'a, b' }),
  signed('Cache-Control', { 'Cache-Control': 'public, max-age=60' }),
  signed('Cache-Control: no-store', { 'Cache-Control': 'no-store' }, undefined, { needs: 'network' }),
  signed('Content-Disposition', { 'Content-Disposition': 'attachment; filename="other.txt"' }),
  signed('Content-Type', { 'Content-Type': 'text/x-special; charset=iso-8859-1' }),
  signed('Content-Language and Link', { 'Content-Language': 'de', Link: '</lab.html>; rel=canonical' }),
  signed('CORS', { 'Access-Control-Allow-Origin': '*', 'Access-Control-Expose-Headers': 'X-Mark', 'X-Mark': 'seen' }),
  signed('CORP', { 'Cross-Origin-Resource-Policy': 'same-origin' }),
  signed('ETag', { ETag: '"my own"' }),
  signed('Vary', { Vary: 'Origin' }),
  signed('Server-Timing of the owner\'s own', { 'Server-Timing': 'cache;desc="hit"' }),
  signed('Timing-Allow-Origin', { 'Timing-Allow-Origin': '*' }),
  signed('a range of a file with headers', { 'X-Mark': 'signed' }, 'data.bin', { files: { 'data.bin': 300_000 }, run: "(lab, base) => lab.look(base + 'data.bin', { headers: { range: 'bytes=9-99' } })" }),
  {
    name: 'a page of another encoding', files: { 'page.html': Buffer.from('<!doctype html><link rel="icon" href="data:,"><title>caf\xe9</title><p>na\xefve', 'latin1') },
    headers: { 'page.html': { 'Content-Type': 'text/html; charset=iso-8859-1' } }, page: 'page.html',
  },
  { name: 'a page as plain text', files: base => ({ 'page.html': page(base) }), headers: { 'page.html': { 'Content-Type': 'text/plain; charset=utf-8' } }, page: 'page.html' },
  policy('no policy', null, INJECTED),
  policy('CSP that allows own scripts', "default-src 'self'; script-src 'self' 'nonce-abc'; img-src data:", INJECTED),
  policy('CSP that blocks page.js by nonces', "default-src 'self'; script-src 'nonce-abc'", NOT_INJECTED),
  policy('CSP with strict-dynamic', "script-src 'self' 'nonce-abc' 'strict-dynamic'", NOT_INJECTED),
  policy('CSP default-src none', "default-src 'none'", NOT_INJECTED),
  policy('CSP connect-src none', "connect-src 'none'", INJECTED),
  policy('CSP sandbox', 'sandbox allow-scripts', {
    ...NOT_INJECTED,
    asks: 'what a document of no origin loads is shown to no worker',
    run: lab => lab.inside(window), differs: { console: { reason: 'what a document of no origin loads is shown to no worker: offline it fails', states: ['offline'], kinds: ['chromium'] } },
  }),
  policy('CSP sandbox with own origin', 'sandbox allow-scripts allow-same-origin', INJECTED),
  policy('CSP that wants trusted types', "require-trusted-types-for 'script'; trusted-types default", { ...NOT_INJECTED, run: async lab => {
    const set = (() => { try { document.createElement('p').innerHTML = 'x'; return 'set'; } catch (error) { return error.name; } })();
    await lab.pause(50);
    return { ...await lab.inside(window), set };
  } }),
  policy('CSP in a meta element', null, NOT_INJECTED, `<meta http-equiv="Content-Security-Policy" content="script-src 'nonce-abc'">`),
  policy('CSP that only reports', null, {
    ...NOT_INJECTED,
    differs: Object.fromEntries(['violations', 'console'].map(field => [field, { reason: 'Chromium reports once more when a worker has answered, Firefox when it looks for a newer worker', sometimes: true }])),
    headers: { 'page.html': { 'Content-Security-Policy-Report-Only': "script-src 'nonce-abc'" } },
  }),
  policy('CSP of two lines', "script-src 'self' 'nonce-abc', script-src 'nonce-abc'", NOT_INJECTED),
  ...['Integrity-Policy', 'Integrity-Policy-Report-Only'].map(name => policy(name, null, {
    ...NOT_INJECTED,
    differs: name.endsWith('Only') ? { reports: { reason: 'Chromium reports once more when a worker has answered', kinds: ['chromium'] } } : {},
    headers: { 'page.html': { [name]: 'blocked-destinations=(script)' } },
    run: async lab => {
      const reports = [];
      try {
        const observer = new ReportingObserver(list => reports.push(...list.map(({ type, body }) => [type, body.blockedURL ?? body.message])), { buffered: true });
        observer.observe();
      } catch {
        // A browser without it.
      }
      const seen = { ...await lab.inside(window), script: window.script ?? null, more: await lab.element('script', { src: 'script.js' }) };
      await lab.pause(100);
      return { ...seen, reports: reports.sort() };
    },
  })),
  {
    name: 'an isolated page with SharedArrayBuffer', page: 'page.html', ...INJECTED,
    files: base => ({ 'page.html': page(base), 'worker.js': 'onmessage = ({ data }) => { new Int32Array(data)[0] = 7; postMessage(self.crossOriginIsolated); };', 'inner.html': page(`inner ${base}`), 'image.txt': base }),
    headers: { 'page.html': ISOLATED, 'inner.html': ISOLATED, 'worker.js': { 'Cross-Origin-Embedder-Policy': 'require-corp' } },
    run: async lab => {
      const shared = new SharedArrayBuffer(8);
      const worker = new Worker('worker.js');
      const isolated = await lab.within(5000, new Promise(resolve => {
        worker.onmessage = event => resolve(event.data);
        worker.onerror = event => resolve(event.type);
        worker.postMessage(shared);
      }));
      return {
        ...await lab.inside(window), worker: isolated, value: new Int32Array(shared)[0], frame: await lab.frame('inner.html'),
        fetched: await lab.look('image.txt'),
      };
    },
  },
  {
    name: 'an isolated page and what lacks the header', page: 'page.html', needs: 'network',
    files: base => ({ 'page.html': page(base), 'worker.js': `postMessage(1); // ${base}`, 'inner.html': page(`inner ${base}`) }), headers: { 'page.html': ISOLATED },
    run: async (lab, base, { other }) => {
      const seen = {
        isolated: crossOriginIsolated, worker: await lab.worker('worker.js'),
        other: await lab.element('img', { src: `${other}favicon.ico` }), fetched: await fetch(`${other}lab.html`, { mode: 'no-cors' }).then(({ type }) => type, lab.failure),
      };
      // Firefox says why a moment later.
      await lab.pause(300);
      return seen;
    },
  },
  {
    name: 'an isolated page without credentials elsewhere', page: 'page.html',
    files: base => ({ 'page.html': page(base) }), headers: { 'page.html': { ...ISOLATED, 'Cross-Origin-Embedder-Policy': 'credentialless' } },
    run: async lab => ({ ...await lab.inside(window), shared: typeof SharedArrayBuffer }),
  },
  ...[['same-origin', ISOLATED], ['same-origin', { 'Cross-Origin-Opener-Policy': 'same-origin' }], ['same-origin-allow-popups', { 'Cross-Origin-Opener-Policy': 'same-origin-allow-popups' }], ['none', {}]].map(([value, headers], at) => ({
    name: `a window with Cross-Origin-Opener-Policy ${value}${at === 0 ? ', isolated' : ''}`, headers: { 'page.html': headers },
    differs: value === 'none' ? {} : { referrer: { reason: 'Firefox forgets the referrer of a document that a worker answers and that gets a process of its own', kinds: ['firefox'] } },
    files: base => ({ 'page.html': page(base, `<script>
      const channel = new BroadcastChannel(${JSON.stringify(base)});
      channel.onmessage = ({ data }) => data === 'end' && close();
      channel.postMessage({ opener: opener !== null, name: window.name, isolated: crossOriginIsolated, referrer: document.referrer, length: history.length });
    </script>`) }),
    run: async (lab, base) => {
      const channel = new BroadcastChannel(base);
      const said = new Promise(resolve => { channel.onmessage = ({ data }) => resolve(data); });
      const view = open(`${base}page.html`, 'lab-window');
      const seen = { said: await lab.within(8000, said) };
      // A window in a group of its own is as good as closed, when that is known here.
      if (!seen.said.opener) for (let tries = 0; tries < 40 && !view.closed; tries++) await lab.pause(50);
      Object.assign(seen, { closed: view.closed, reach: (() => { try { return view.document.title; } catch (error) { return error.name; } })() });
      channel.postMessage('end');
      channel.close();
      return seen;
    },
  })),
  { name: 'X-Frame-Options', files: base => ({ 'page.html': page(base) }), headers: { 'page.html': { 'X-Frame-Options': 'DENY' } }, run: (lab, base) => lab.frame(`${base}page.html`, view => ({ blocked: (() => { try { return view.document.URL; } catch (error) { return error.name; } })() })) },
  { name: 'frame-ancestors', differs: { resources: { reason: 'Firefox makes no entry of a frame whose document came from a worker and is refused', kinds: ['firefox'] } }, files: base => ({ 'page.html': page(base) }), headers: { 'page.html': { 'Content-Security-Policy': "frame-ancestors 'none'" } }, run: (lab, base) => lab.frame(`${base}page.html`, view => ({ blocked: (() => { try { return view.document.URL; } catch (error) { return error.name; } })() })) },
  {
    name: 'Permissions-Policy', files: base => ({ 'page.html': page(base) }), headers: { 'page.html': { 'Permissions-Policy': 'geolocation=(), camera=(), fullscreen=()' } }, page: 'page.html',
    run: async lab => ({ ...await lab.inside(window), allowed: document.featurePolicy?.allowedFeatures().filter(name => /geolocation|camera|fullscreen/.test(name)) ?? null, fullscreen: document.fullscreenEnabled, head: await lab.look('page.html') }),
  },
  {
    name: 'Referrer-Policy', files: base => ({ 'page.html': page(base), 'inner.html': page(`inner ${base}`) }), headers: { 'page.html': { 'Referrer-Policy': 'no-referrer' } }, page: 'page.html',
    run: async lab => [await lab.inside(window), await lab.frame('inner.html')],
  },
  {
    name: 'Link: preload', files: base => ({ 'page.html': page(base, '<script src="part.js"></script>'), 'part.js': `window.part = ${JSON.stringify(base)};` }), page: 'page.html',
    headers: { 'page.html': { Link: '<part.js>; rel=preload; as=script' } },
    run: async lab => ({ ...await lab.inside(window), part: window.part, timing: await lab.timing('part.js') }),
  },
  {
    name: 'Link: stylesheet and modulepreload', page: 'page.html',
    files: base => ({ 'page.html': page(base), 'style.css': `p { width: 71px } /* ${base} */`, 'part.mjs': `export default ${JSON.stringify(base)};` }),
    headers: { 'page.html': { Link: '<style.css>; rel=stylesheet, <part.mjs>; rel=modulepreload' } },
    run: async (lab, base) => ({ ...await lab.inside(window), width: getComputedStyle(document.querySelector('p')).width, part: (await import(`${base}part.mjs`)).default }),
  },
  {
    name: 'CSP of a worker', files: base => ({ 'worker.js': `fetch('data.txt').then(({ status }) => postMessage(status), error => postMessage(error.name)); // ${base}`, 'data.txt': base }),
    headers: { 'worker.js': { 'Content-Security-Policy': "connect-src 'none'" } }, run: (lab, base) => lab.worker(`${base}worker.js`),
  },
  { name: 'Refresh', files: base => ({ 'page.html': page(base), 'next.html': page(`next of ${base}`) }), headers: { 'page.html': { Refresh: '0; url=next.html' } }, run: (lab, base) => lab.frame(`${base}page.html`, async view => { await lab.pause(500); return { url: view.document.URL }; }) },
  { name: 'Origin-Agent-Cluster', files: base => ({ 'page.html': page(base) }), headers: { 'page.html': { 'Origin-Agent-Cluster': '?1' } }, page: 'page.html' },
  { name: 'an attachment in a frame', files: { 'data.bin': 5000 }, headers: { 'data.bin': { 'Content-Disposition': 'attachment' } }, needs: 'network', run: (lab, base) => lab.within(700, lab.frame(`${base}data.bin`, view => ({ url: view.document.URL }))) },
  {
    name: 'a file of this site in a page of another', files: base => ({ 'open.txt': base, 'closed.txt': base, 'image.png': 300 }), headers: { 'open.txt': { 'Access-Control-Allow-Origin': '*' } }, needs: 'network',
    run: async (lab, base, { other }) => [await lab.look(`${other}${base.slice(1)}open.txt`), await lab.look(`${other}${base.slice(1)}closed.txt`), await lab.look(`${other}${base.slice(1)}closed.txt`, { mode: 'no-cors' })],
  },
];

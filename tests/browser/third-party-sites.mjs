// Sites that we did not write, published unchanged: pdf.js with its viewer, and the Monaco editor, as their packages
// bring them. They must work without an error in the console: first, from the cache, from peers and offline.
import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { served } from './lib/peerage.mjs';
import { pdf } from './lib/pdf.mjs';
import { html, REGISTER } from './lib/site.mjs';
import { story } from './lib/story.mjs';

const modules = fileURLToPath(new URL('../node_modules', import.meta.url));

const SITES = {
  'pdf.js': {
    copy: ['build', 'web', 'cmaps', 'standard_fonts', 'wasm', 'iccs'].map(name => [`pdfjs-dist/${name}`, name]),
    files: {
      'document.pdf': pdf(['The first page', 'The second page', 'The third page']),
      'app.html': `<!doctype html><meta charset="utf-8"><title>Viewer</title><link rel="icon" href="data:,">${REGISTER}
<link rel="stylesheet" href="web/pdf_viewer.css"><style>#container { position: absolute; inset: 0; overflow: auto }</style>
<div id="container"><div id="viewer" class="pdfViewer"></div></div>
<script type="module">
  import * as pdfjsLib from './build/pdf.min.mjs';
  globalThis.pdfjsLib = pdfjsLib;
  const { EventBus, PDFLinkService, PDFViewer } = await import('./web/pdf_viewer.mjs');
  pdfjsLib.GlobalWorkerOptions.workerSrc = './build/pdf.worker.min.mjs';
  const eventBus = new EventBus(), linkService = new PDFLinkService({ eventBus });
  const viewer = new PDFViewer({ container: document.getElementById('container'), eventBus, linkService });
  eventBus.on('pagesinit', () => { viewer.currentScaleValue = 'page-width'; });
  const asset = name => new URL(name, location).href;
  viewer.setDocument(await pdfjsLib.getDocument({ url: 'document.pdf', cMapUrl: asset('cmaps/'), cMapPacked: true,
    standardFontDataUrl: asset('standard_fonts/'), wasmUrl: asset('wasm/'), iccUrl: asset('iccs/') }).promise);
</script>`,
    },
    /** In the page: the first page is painted and its text is there. */
    works: () => {
      const canvas = document.querySelector('.page canvas');
      const text = document.querySelector('.textLayer')?.textContent ?? '';
      if (!canvas || !canvas.width || !text.includes('The first page')) return false;
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return data.some(value => value !== 255);
    },
    // Its images are loaded only where a page takes long to paint.
    assets: path => /^\/(build|web(?!\/images)|standard_fonts|wasm)\/|\.pdf$/.test(path),
  },
  'Monaco editor': {
    copy: [['monaco-editor/min/vs', 'vs']],
    files: {
      'app.html': `<!doctype html><meta charset="utf-8"><title>Editor</title><link rel="icon" href="data:,">${REGISTER}
<div id="editor" style="position: absolute; inset: 0"></div>
<script src="vs/loader.js"></script>
<script>
  require.config({ paths: { vs: 'vs' } });
  require(['vs/editor/editor.main'], () => {
    monaco.editor.create(document.getElementById('editor'), { value: 'const word: number = "not a number";', language: 'typescript' });
  });
</script>`,
    },
    /** In the page: the text is coloured, and the language's worker found the mistake in it. */
    works: () => document.querySelectorAll('.view-line span[class*="mtk"]').length > 3 && window.monaco.editor.getModelMarkers({}).length > 0,
    assets: path => path.startsWith('/vs/'),
  },
};

for (const [name, { copy, files, works, assets }] of Object.entries(SITES)) {
  story(`${name}, published unchanged, works from the origin, the cache, peers and offline`, async (stage, kind) => {
    const folder = stage.folder('copied');
    for (const [from, to] of copy) cpSync(`${modules}/${from}`, `${folder}/${to}`, { recursive: true });
    const site = await stage.site({ 'index.html': html('Start'), ...files }, { copyOf: folder });
    const origin = await stage.serve(site);
    const app = site.url(origin.url, 'app.html');
    const shows = async (visitor, when) => {
      await visitor.wait(`${name} to work, ${when}`, works);
      // A tracker that cannot be reached is the browser's own line, which no script can prevent.
      assert.deepEqual(visitor.complaints().filter(text => !/WebSocket|peerage\/tracker/.test(text)), [], `${name}, ${when}`);
    };

    const giver = await stage.visitor(kind, { name: 'giver' });
    await giver.goto(app);
    await shows(giver, 'during the installation');
    await giver.installed();
    await giver.enter(app);
    await giver.consent();
    await shows(giver, 'under control');
    const before = await origin.counters();
    await giver.page.reload();
    await shows(giver, 'from the cache');
    assert.equal(served(before, await origin.counters(), assets).bytes, 0, 'from the cache');
    await giver.ready();

    const taker = await stage.visitor(kind, { name: 'taker' });
    await taker.enter(origin.url);
    await taker.consent();
    await taker.neighbours(1);
    const start = await origin.counters();
    const startBytes = (await taker.stats()).bytes;
    await taker.newTab(app);
    await shows(taker, 'from peers');
    const { bytes } = served(start, await origin.counters(), assets);
    const fromPeers = (await taker.stats()).bytes.peer - startBytes.peer;
    stage.report(`${name}: ${fromPeers} bytes from peers, ${bytes} from the origin`);
    // Not all: where a machine is busy, answers are hedged (second-browser.mjs has the share).
    assert.ok(fromPeers >= 0.5 * (fromPeers + bytes), `${bytes} bytes from the origin`);

    await origin.stop();
    await taker.newTab(app);
    await shows(taker, 'offline');
  });
}

// How a URL names a file: folders, escapes, letters, queries, what isn't there.
const small = name => base => ({ [name]: `${name} in ${base}\n` });
const at = (name, url, files, more = {}) => ({ name, files, run: `(lab, base) => lab.look(base + ${JSON.stringify(url)})`, ...more });
const page = title => `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>${title}</title><p>This is ${title}.</p>`;
const folder = base => ({ 'index.html': page(`the index of ${base}`), 'docs/index.html': page(`the docs in ${base}`), 'docs/page.html': page(`a page in ${base}`) });
const online = { needs: 'network' };
const EMPTY = { reason: 'nothing is fetched of an empty file, so only the headers that were signed are known', states: ['cold', 'warm', 'woken', 'offline'] };

export default [
  { name: 'the root of the site', run: lab => lab.look('/') },
  at('a folder', '', folder),
  at('a folder\'s index', 'index.html', folder),
  at('a folder below', 'docs/', folder),
  at('a folder without its slash', 'docs', folder, online),
  at('a folder without its slash, with a query', 'docs?a=b', folder, online),
  ...['error', 'manual'].map(redirect => ({
    name: `a folder without its slash, redirect ${redirect}`, files: folder, needs: 'network',
    run: `(lab, base) => lab.look(base + 'docs', { redirect: '${redirect}' })`,
    differs: redirect === 'error' ? {
      console: { reason: 'Chromium names the first URL of what a worker fetched', kinds: ['chromium'], states: ['cold'] },
      timing: { reason: 'Firefox has no status of what a worker could not fetch', kinds: ['firefox'], states: ['cold'] },
    } : {},
  })),
  at('a file with a slash at its end', 'text.txt/', small('text.txt'), online),
  at('a name with spaces', 'a%20b%20c.txt', small('a b c.txt')),
  at('a name with signs', 'a+b%26c%3Dd%3B%40%2C%24!(x)\'.txt', small('a+b&c=d;@,$!(x)\'.txt')),
  at('a name with a percent sign', '50%25%20off.txt', small('50% off.txt')),
  at('a name with a question mark', 'what%3F.txt', small('what?.txt')),
  at('a name with a hash', 'no%23one.txt', small('no#one.txt')),
  at('a name escaped where it needn\'t be', '%74ext%2Etxt', small('text.txt')),
  at('escapes in lower case', 'sp%c3%a4%c3%9fe.txt', small('späße.txt')),
  at('Unicode as it is', 'späße/日本語/🙂.txt', small('späße/日本語/🙂.txt')),
  at('Unicode composed otherwise', 'spa\u0308ße.txt', small('späße.txt'), online),
  at('another case', 'TEXT.txt', small('text.txt'), online),
  { name: 'two files that differ in case', files: base => ({ 'a.txt': `small ${base}`, 'A.txt': `large ${base}` }), run: async (lab, base) => [await lab.look(`${base}a.txt`), await lab.look(`${base}A.txt`)] },
  at('a double slash', 'docs//page.html', folder, online),
  at('dots', './docs/../docs/./page.html', folder),
  at('escaped dots', '%2e/docs/%2E%2e/docs/page.html', folder),
  at('an escaped slash', 'docs%2Fpage.html', folder, online),
  at('a backslash', 'docs\\page.html', folder),
  at('an escape that is none', '50%zz.txt', small('text.txt'), online),
  at('an escaped zero', 'text.txt%00', small('text.txt'), online),
  at('bytes that are no text', '%ff%fe.txt', small('text.txt'), online),
  at('a query', 'text.txt?v=2', small('text.txt'), online),
  at('an empty query', 'text.txt?', small('text.txt')),
  {
    name: 'queries that are ignored', files: small('ignored/text.txt'), requests: { file: 'ignored/text.txt', cold: 1, warm: 0 },
    run: async (lab, base) => [await lab.look(`${base}ignored/text.txt?v=1`), await lab.look(`${base}ignored/text.txt?v=a%20b#part`), await lab.look(`${base}ignored/text.txt`)],
  },
  {
    name: 'modules whose queries are ignored', files: { 'ignored/part.mjs': 'export default import.meta.url;' },
    run: async (lab, base) => [(await import(`${base}ignored/part.mjs?v=1`)).default, (await import(`${base}ignored/part.mjs?v=2`)).default],
  },
  at('a fragment', 'text.txt#part', small('text.txt')),
  at('a semicolon', 'text.txt;v=2', small('text.txt'), online),
  at('an empty file', 'empty.txt', { 'empty.txt': '' }, {
    differs: { headers: EMPTY },
  }),
  at('an empty style sheet', 'empty.css', { 'empty.css': '' }, {
    differs: { headers: EMPTY },
  }),
  at('a name without an ending', 'LICENSE', small('LICENSE')),
  at('a name with many dots', 'a.b.c.min.js', small('a.b.c.min.js')),
  at('a name that starts with a dot', '.hidden', small('.hidden'), online),
  at('a well-known file', '.well-known/text.txt', small('.well-known/text.txt'), online),
  at('a file that is not there', 'missing.txt', folder, online),
  at('a folder that is not there', 'missing/', folder, online),
  at('the headers file', '../../_headers', folder, online),
  {
    name: 'two files with the same bytes', files: { 'one.txt': 'the same bytes\n', 'other.txt': 'the same bytes\n' },
    differs: { headers: { ...EMPTY, reason: 'bytes that are there already are not fetched, so the headers of their second name are not known' } },
    run: async (lab, base) => [await lab.look(`${base}one.txt`), await lab.look(`${base}other.txt`)],
  },
  {
    name: 'clean URLs', files: base => ({ 'about.html': page(`about ${base}`) }), needs: 'network',
    server: { about: (request, _, pass) => { request.url += '.html'; pass(); } },
    run: (lab, base) => lab.look(`${base}about`),
  },
  {
    name: 'a clean URL as a document', files: base => ({ 'about.html': page(`about ${base}`) }), needs: 'network',
    server: { about: (request, _, pass) => { request.url += '.html'; pass(); } },
    page: 'about#part',
  },
  { name: 'a document in a folder', files: folder, page: '' },
  { name: 'a document with a fragment', files: folder, page: 'docs/page.html#part' },
  { name: 'a document whose URL has a query', files: folder, page: 'docs/page.html?a=b', needs: 'network' },
  { name: 'a document whose query is ignored', files: base => ({ 'ignored/page.html': page(`a page in ${base}`) }), page: 'ignored/page.html?utm_source=a%20b#part' },
  { name: 'a document in a folder without its slash', files: folder, page: 'docs#part', needs: 'network' },
  { name: 'a document in a folder without its slash, with a query', files: folder, page: 'docs?x=y#part', needs: 'network' },
  { name: 'a document that is not there', files: folder, page: 'missing.html', needs: 'network' },
  { name: 'a text file as a document', files: small('text.txt'), page: 'text.txt' },
  { name: 'JSON as a document', files: { 'value.json': '{"a": 1}' }, page: 'value.json', run: () => ({ type: document.contentType, url: document.URL }) },
  { name: 'a document in quirks mode', files: { 'old.html': '<title>old</title><link rel="icon" href="data:,"><p>old' }, page: 'old.html' },
  { name: 'a document without a head', files: { 'bare.html': 'only text' }, page: 'bare.html' },
];

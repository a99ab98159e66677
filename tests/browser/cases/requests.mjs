// What a script asks for: methods, ranges, conditions, the modes of the Fetch standard, aborts.
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
  ...['cors', 'no-cors', 'same-origin', 'navigate'].map(mode => init(`mode ${mode}`, { mode })),
  ...['omit', 'same-origin', 'include'].map(credentials => init(`credentials ${credentials}`, { credentials })),
  ...['follow', 'error', 'manual'].map(redirect => init(`redirect ${redirect}`, { redirect })),
];

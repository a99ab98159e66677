// The server of the benches that compare workers: the same for all, and nothing but files.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { sha256File } from '../tests/browser/lib/site.mjs';

const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.wasm': 'application/wasm', '.jws': 'application/jose' };

/**
 * A plain static server. What is addressed or never changes here may be kept for a year; the worker and the root not.
 * `more`: `{path: handler(request, response)}`, what it answers beside the files.
 */
export function serve(folder, more = {}) {
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://x');
    if (more[pathname] !== undefined) return more[pathname](request, response);
    const name = decodeURIComponent(pathname).replace(/\/$/, '/index.html').slice(1);
    let bytes;
    try {
      bytes = readFileSync(path.join(folder, name));
    } catch {
      return response.writeHead(404).end();
    }
    const fresh = name === 'peerage-sw.js' || name.endsWith('.jws');
    const etag = `"${bytes.length}-${sha256File(folder, name).slice(0, 8)}"`;
    if (request.headers['if-none-match'] === etag) return response.writeHead(304, { etag }).end();
    return response.writeHead(200, {
      'content-type': TYPES[path.extname(name)] ?? 'application/octet-stream', 'content-length': bytes.length, etag,
      'cache-control': fresh ? 'no-cache' : 'public, max-age=31536000, immutable',
    }).end(bytes);
  });
  return new Promise(resolve => server.listen(0, '127.0.0.1', () => resolve({
    url: `http://127.0.0.1:${server.address().port}/`, stop: () => { server.closeAllConnections(); server.close(); },
  })));
}

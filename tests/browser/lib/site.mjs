// Sites made for the stories: deterministic bytes, pages that know nothing of Peerage but the one line.
import { createCipheriv, createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** The one line that a site owner adds. */
export const REGISTER = '<script>addEventListener("load", () => navigator.serviceWorker?.register("peerage-sw.js"))</script>';

/** `size` bytes that look random, and are the same for the same `seed` on every run. */
export function randomBytes(size, seed) {
  const key = createHash('sha256').update(String(seed)).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size));
}

/** A page with the one line in it. */
export function html(title, body = '', head = REGISTER) {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${title}</title><link rel="icon" href="data:,">${head}</head>
<body><h1>${title}</h1>${body}</body></html>
`;
}

/** Writes `files` below `folder`, and a plain `index.html` with the one line where they have none. */
export function writeSite(folder, files) {
  writeFiles(folder, { 'index.html': html('A site'), ...files });
}

/** Writes `files` below `folder`: `{path: content}`, where a number stands for that many random bytes. */
export function writeFiles(folder, files) {
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(folder, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, typeof content === 'number' ? randomBytes(content, name) : content);
  }
}

/** `{'name-0.bin': size, …}`: `count` files of `size` bytes. */
export function many(name, count, size) {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`${name}-${i}.bin`, size]));
}

export function sha256(bytes) {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The SHA-256 of a file on disk, in hex. */
export function sha256File(...parts) {
  return sha256(readFileSync(path.join(...parts)));
}

/** A URL path for a file name: every character that has a meaning in URLs is escaped. */
export function urlPath(name) {
  return name.split('/').map(encodeURIComponent).join('/');
}

/** Every regular file below `folder`, as paths relative to it. */
export function filesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => path.relative(folder, path.join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
}

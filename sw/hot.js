// Answers that need no wasm: small whole files that were answered lately, and that a URL which was asked for lately isn't
// listed, for documents that are known to be on the version which this belongs to.
//
// A worker that wakes would have to read and compile its wasm before it could answer anything, and each call into the wasm
// costs a request several turns of the event loop; docs/hot-path.md has the figures. So what the wasm answered from the
// store is kept here: the headers, the place, the SHA-256 that the signed manifest gives. Nothing is decided here: the wasm
// says which answers may be given again, to whom, and when all of this is void. Bytes in memory were verified when they
// came; bytes that are read back from Cache Storage are hashed before they are answered, against the table. The table
// itself is checked against the signed manifest when the wasm is told what was answered, at most a second later: one that
// says otherwise is thrown away. It lies where only scripts of the site's own origin can write (docs/threat-model.md).

/** @typedef {{headers: [string, string][], segment: number, offset: number, length: number, sha256: string, bytes: Uint8Array?, statusText: string}} HotFile */

const peerageHot = (scope, cacheName) => {
  "use strict";
  /** Largest file that is kept, and most bytes in memory. */
  const LARGEST = 256 << 10;
  const MEMORY = 8 << 20;
  const FILES = 512;
  const CLIENTS = 256;
  const UNLISTED = 256;
  /** A longer URL is not remembered. */
  const LONGEST = 512;
  const NOTES = 1000;
  /** How long after a change the table is written, in ms. */
  const LATER = 1000;
  const STORE = `${scope.href}peerage/store/`;
  const TABLE = `${STORE}hot`;
  /** What `route::decide` asks of a request beyond its URL. */
  const EXPLICIT = ["no-store", "reload", "only-if-cached"];
  const CONDITIONS = ["range", "authorization", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"];

  let version = 0;
  /** @type {Map<string, HotFile>} by absolute URL */
  const files = new Map();
  const clients = new Set();
  /** Absolute URLs that the version doesn't list. */
  const unlisted = new Set();
  /** What `find` says of them. */
  const NETWORK = Symbol("network");
  let memory = 0;
  /** Segments on their way: several files of one are one read. @type {Map<number, Promise<ArrayBuffer?>>} */
  const reading = new Map();
  let requests = 0;
  let notes = [];
  /** Raised by `cool`: what was under way then is not taken up. */
  let life = 0;
  let timer = null;
  /** Settles when the table that an earlier life wrote has been read. @type {Promise<void>?} */
  let restored = null;
  let isRestored = false;

  const cache = () => caches.open(cacheName);
  /** Looks up without making the cache where there is none. */
  const match = (url) => caches.match(url, { cacheName });

  const isOurs = (url) => url.startsWith(scope.href);

  function isPlain({ method, mode, cache: cacheMode, headers, credentials, url }) {
    if (mode === "cors" && credentials === "include" && !isOurs(url)) return false;
    return method === "GET" && mode !== "navigate" && !EXPLICIT.includes(cacheMode) && !CONDITIONS.some((name) => headers.has(name));
  }

  function remember(file, bytes) {
    file.bytes = bytes;
    memory += file.length;
    if (memory <= MEMORY) return;
    for (const other of files.values()) {
      if (other.bytes === null || other === file) continue;
      other.bytes = null;
      memory -= other.length;
      if (memory <= MEMORY) return;
    }
  }

  function drop(url) {
    const file = files.get(url);
    if (!file) return;
    if (file.bytes) memory -= file.length;
    files.delete(url);
  }

  function empty() {
    files.clear();
    clients.clear();
    unlisted.clear();
    memory = 0;
  }

  /** The response, and a note for the wasm's books. */
  function respond(url, file) {
    const id = ++requests;
    if (notes.length < NOTES) notes.push([url, id, file.length, file.segment, version, file.sha256]);
    const own = [["server-timing", `peerage;desc="${id}"`]];
    if (isOurs(url)) own.push(["date", new Date().toUTCString()]);
    return new Response(file.bytes, { headers: [...file.headers, ...own], statusText: file.statusText });
  }

  async function segment(number) {
    const stored = await match(STORE + number.toString(16).padStart(16, "0"));
    return stored ? stored.arrayBuffer() : null;
  }

  async function read(url, file) {
    let pending = reading.get(file.segment);
    if (!pending) {
      pending = segment(file.segment).catch(() => null);
      reading.set(file.segment, pending);
      // The other files of a page that loads are asked for at about the same time.
      setTimeout(() => reading.delete(file.segment), LATER);
    }
    const buffer = await pending;
    if (files.get(url) !== file) return null;
    if (file.bytes) return respond(url, file);
    if (buffer && file.offset + file.length <= buffer.byteLength) {
      const bytes = new Uint8Array(buffer.slice(file.offset, file.offset + file.length));
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
      if (files.get(url) !== file) return null;
      if (file.sha256 === `sha256-${btoa(String.fromCharCode(...digest))}`) {
        if (!file.bytes) remember(file, bytes);
        return respond(url, file);
      }
    }
    // Gone or damaged: the wasm finds out in its own way.
    drop(url);
    return null;
  }

  async function restore() {
    const began = life;
    try {
      const stored = await match(TABLE);
      if (!stored) return;
      const table = await stored.json();
      if (version !== 0 || life !== began) return;
      version = table.version;
      for (const id of table.clients) clients.add(id);
      for (const url of table.unlisted) unlisted.add(url);
      for (const [url, headers, at, offset, length, sha256, statusText] of table.files) {
        files.set(url, { headers, segment: at, offset, length, sha256, bytes: null, statusText });
      }
    } catch {
      // As good as none.
      empty();
    } finally {
      isRestored = true;
    }
  }

  async function write() {
    timer = null;
    if (files.size + unlisted.size === 0) return;
    const began = life;
    const list = [...files].map(([url, { headers, segment: at, offset, length, sha256, statusText }]) => [url, headers, at, offset, length, sha256, statusText]);
    const text = JSON.stringify({ version, clients: [...clients], unlisted: [...unlisted], files: list });
    const to = await cache();
    // Without room it is the wasm's turn after each wake.
    if (life === began) await to.put(TABLE, new Response(text)).catch(() => {});
  }

  function writeSoon() {
    timer ??= setTimeout(() => write().catch(() => {}), LATER);
  }

  /** Whether the table is of this version from now on. */
  function isOf(number) {
    if (number < version) return false;
    if (number > version) empty();
    version = number;
    return true;
  }

  return {
    NETWORK,

    /** A response, `NETWORK`, the promise of one of them or of null, or null: then it is the wasm's turn. */
    find(event) {
      const { request, clientId } = event;
      if (event.resultingClientId || !isPlain(request)) return null;
      if (!isRestored) {
        restored ??= restore();
        return restored.then(() => this.find(event));
      }
      if (!clients.has(clientId)) return null;
      const { url } = request;
      if (unlisted.has(url)) return NETWORK;
      const file = files.get(url);
      if (!file) return null;
      return file.bytes ? respond(url, file) : read(url, file);
    },

    /** A number for a request that the wasm answers. */
    number: () => ++requests,

    /** To be handed to `learn` and `keep` with an answer that was begun now. */
    life: () => life,

    /** The wasm answered `client` from version `number`: it does so for as long as the client lives. */
    learn(began, client, number) {
      if (began !== life || !client || !number || !isOf(number) || clients.has(client)) return;
      if (clients.size >= CLIENTS) clients.delete(clients.values().next().value);
      clients.add(client);
      writeSoon();
    },

    /** The wasm says that a URL is not listed in version `number`. */
    pass(began, { request: { url } }, number) {
      if (began !== life || url.length > LONGEST || !isOf(number) || unlisted.has(url)) return;
      if (unlisted.size >= UNLISTED) unlisted.delete(unlisted.values().next().value);
      unlisted.add(url);
      writeSoon();
    },

    /** An answer of the wasm that may be given again. */
    keep(began, { request }, number, { headers, body, place, statusText }) {
      if (began !== life || request.url.includes("#") || !isPlain(request) || place.length > LARGEST || !isOf(number) || files.has(request.url)) return;
      if (files.size >= FILES) drop(files.keys().next().value);
      const isOwn = ([name]) => name === "server-timing" || name === "date";
      const file = { ...place, headers: headers.filter((header) => !isOwn(header)), bytes: null, statusText };
      files.set(request.url, file);
      remember(file, body.slice());
      writeSoon();
    },

    /** All of this is void: another version, or none, or the visitor wants nothing kept. */
    cool() {
      life++;
      empty();
      clearTimeout(timer);
      timer = null;
      isRestored = true;
      return caches.has(cacheName).then(async (there) => there && (await cache()).delete(TABLE)).catch(() => {});
    },

    /** What was answered since this was last asked: `[url, number, bytes, segment, version, sha256]` each. */
    answered() {
      const out = notes;
      notes = [];
      return out;
    },
  };
};

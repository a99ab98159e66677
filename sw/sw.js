// The service worker's shim: what wasm can't do. It guards requests synchronously, boots the wasm, builds responses out of
// what the wasm answers, and sends everything to the network when any of that fails.
//
// `PEERAGE` (constants) and `peerageGlue` (wasm-bindgen's glue, evaluated anew for each wasm instance) stand above it.
(() => {
  "use strict";
  const SCOPE = new URL("./", self.location.href);
  /**
   * A worker of the site's own imports this script. It stays the master of its life: its handlers are asked first, it
   * takes over when it wants to, and what fails in here is not its failure.
   */
  const IS_GUEST = self.location.pathname !== new URL("peerage-sw.js", SCOPE).pathname;
  const CACHE = `peerage:${SCOPE.pathname}:${PEERAGE.site}`;
  const { clean_urls: HAS_CLEAN_URLS, ignore_query: IGNORE_QUERY } = PEERAGE.scope;
  /** Whether patterns select a file, by its path or by the clean URL of a page. */
  const selector = (patterns) => {
    const [include, exclude] = [patterns.include, patterns.exclude].map((sources) => sources.map((source) => new RegExp(source)));
    const selects = (path) => include.some((glob) => glob.test(path)) && !exclude.some((glob) => glob.test(path));
    return HAS_CLEAN_URLS ? (path) => selects(path) || selects(`${path}.html`) : selects;
  };
  const isPublished = selector(PEERAGE.scope.regex);
  const ignoresQuery = selector(IGNORE_QUERY);
  /** Listed files that come from other hosts: `[URL prefix, folder]`. */
  const ELSEWHERE = PEERAGE.scope.cross_origin;
  /**
   * Folders at the top that have listed files, where they are few enough to be named, and the endings of these, or null for
   * any; of the version before, too, which open tabs may be on.
   */
  const LISTED = PEERAGE.listed && new Map(PEERAGE.listed);
  for (const [folder, endings] of (LISTED && PEERAGE.before) ?? []) {
    const now = LISTED.has(folder) ? LISTED.get(folder) : [];
    LISTED.set(folder, now && endings && [...new Set([...now, ...endings])]);
  }
  const [OURS, NOT_OURS, LEFT] = ["ours", "not ours", "left"];
  /** What asks for files itself, of the version that is decided when it is asked for. */
  const CONTEXTS = ["worker", "sharedworker"];

  const hot = peerageHot(SCOPE, CACHE);
  /** How long the wasm may wait to be told what was answered without it, in ms: not while a page loads. */
  const BOOKS = 1000;
  let books = null;

  /** How long the origin may take over its root, in ms (`PATIENCE_MS` of the wasm). */
  const PATIENCE = 10_000;
  const askForRoot = () => fetch(new URL("peerage/root.jws", SCOPE), { cache: "no-cache", credentials: "same-origin", signal: AbortSignal.timeout(PATIENCE) });
  /** What the wasm remembers; it knows what the names mean. */
  const MEMOS = ["dirty", "state", "state-2", "table", "table-2", "headers", "headers-2"];

  async function remembered() {
    const cache = await caches.open(CACHE);
    const read = async (name) => (await cache.match(new URL(`peerage/store/${name}`, SCOPE)))?.arrayBuffer();
    // What can't be read is as good as not there.
    return [cache, ...(await Promise.all(MEMOS.map((name) => read(name).catch(() => {}))))];
  }

  // A wasm instance, while it lives. `failed` rejects when it traps: its futures would never settle by themselves.
  let instance = null;
  let traps = 0;
  const MOST_TRAPS = 3;

  const sha256 = async (bytes) => {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    return "sha256-" + btoa(String.fromCharCode(...digest));
  };

  // Bytes of a file of the bundle: from the cache or the network, whichever has those that this script names.
  async function bundled({ url, sha256: want }) {
    const at = new URL(url, SCOPE).href;
    const cache = await caches.open(CACHE);
    const stored = await cache.match(at);
    if (stored) {
      const bytes = await stored.arrayBuffer();
      if ((await sha256(bytes)) === want) return bytes;
    }
    for (const mode of ["default", "reload"]) {
      const response = await fetch(at, { cache: mode, credentials: "same-origin" });
      if (!response.ok) continue;
      const bytes = await response.arrayBuffer();
      if ((await sha256(bytes)) !== want) continue;
      const headers = { "content-type": response.headers.get("content-type") ?? "application/octet-stream" };
      // A page without room for this is served by the network: a full quota is no reason to fail.
      await cache.put(at, new Response(bytes, { headers })).catch(() => {});
      return bytes;
    }
    throw new Error(`${at} is not the file that this worker was published with`);
  }

  // `isNavigation`: it will ask the origin for its root first of all. What it reads and asks for at its start is on its way
  // while it is read and compiled itself.
  function boot(isNavigation) {
    if (instance) return instance;
    const [memory, wasm] = [remembered(), bundled(PEERAGE.wasm)];
    const root = isNavigation ? askForRoot() : undefined;
    for (const early of [memory, wasm, root]) early?.catch(() => {});
    const streams = new Set();
    let fail;
    const failed = new Promise((_, reject) => (fail = reject));
    failed.catch(() => {});
    const fresh = { failed, streams };
    const onTrap = (error) => {
      if (instance === fresh) instance = null;
      traps++;
      console.error("peerage: the service worker's wasm failed; requests go to the network", error);
      for (const controller of streams) {
        try {
          controller.error(error);
        } catch {
          // already closed
        }
      }
      fail(error);
    };
    fresh.onTrap = onTrap;
    fresh.worker = (async () => {
      const glue = peerageGlue();
      await glue({ module_or_path: await WebAssembly.compile(await wasm) });
      return glue.start_worker({ ...PEERAGE, guest: IS_GUEST }, SCOPE.href, CACHE, await memory, root, (message) => onTrap(new Error(message)), () => hot.cool());
    })();
    // A boot that failed (no network, a half-finished upload) is tried again by the next request.
    fresh.worker.catch(() => {
      if (instance === fresh) instance = null;
    });
    instance = fresh;
    return fresh;
  }

  // Calls into the wasm; a trap in it rejects.
  async function call(run, isNavigation = false) {
    const current = boot(isNavigation);
    try {
      const worker = await Promise.race([current.worker, current.failed]);
      const answered = hot.answered();
      if (answered.length > 0) worker.answered(answered);
      return await Promise.race([run(worker, current), current.failed]);
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) current.onTrap(error);
      throw error;
    }
  }

  function stream(reader, current) {
    let controller;
    const end = () => {
      current.streams.delete(controller);
    };
    return new ReadableStream(
      {
        start(c) {
          controller = c;
          current.streams.add(c);
        },
        async pull(c) {
          try {
            const chunk = await reader.pull();
            if (chunk) return c.enqueue(chunk);
            end();
            c.close();
          } catch (error) {
            // Never close short: a body that was cut must not look whole.
            end();
            c.error(error);
          }
        },
        cancel() {
          end();
          reader.cancel();
        },
      },
      { highWaterMark: 1 },
    );
  }

  async function answer(event) {
    const life = hot.life();
    let reply;
    try {
      // Where the wasm traps again and again, the network is the better answer for the rest of this worker's life.
      if (traps < MOST_TRAPS) {
        reply = await call(async (worker, current) => {
          const said = await worker.fetch(event, hot.number(), ignoresQuery(pathOf(event.request.url)));
          if (said?.reader) said.body = stream(said.reader, current);
          return said;
        }, event.request.mode === "navigate");
      }
    } catch (error) {
      console.warn("peerage: passed to the network:", error);
    }
    if (reply?.unlisted) {
      hot.learn(life, event.clientId, reply.unlisted);
      hot.pass(life, event, reply.unlisted);
    }
    if (!reply || reply.unlisted) return fetch(event.request);
    if (reply.done) event.waitUntil(reply.done);
    if (reply.refused) return Response.error();
    // Without a body: the network tells more of it.
    const first = reply.second && (await fetch(event.request).catch(() => null));
    if (first) return first;
    hot.learn(life, event.resultingClientId || event.clientId, reply.version);
    if (reply.place && reply.body) hot.keep(life, event, reply.version, reply);
    // Of another host's answer no page reads it.
    if (event.request.url.startsWith(SCOPE.href)) reply.headers.push(["date", new Date().toUTCString()]);
    return new Response(reply.body ?? null, { status: reply.status, statusText: reply.statusText, headers: reply.headers });
  }

  /** The path of a file that a URL may name, decoded; null where it can't be the site's. */
  function pathOf(url) {
    const host = url.startsWith(SCOPE.href) ? [SCOPE.href, ""] : ELSEWHERE.find(([prefix]) => url.startsWith(prefix));
    if (!host) return null;
    try {
      const path = decodeURIComponent(host[1] + new URL(url).pathname.slice(new URL(host[0]).pathname.length));
      return path === "" || path.endsWith("/") ? `${path}index.html` : path;
    } catch {
      return null;
    }
  }

  /** Whether a file may be listed, by its folder at the top and its ending. */
  function isListed(path) {
    const endings = LISTED.get(path.slice(0, Math.max(0, path.indexOf("/"))));
    return endings === null || endings?.includes(path.slice(path.lastIndexOf(".") + 1)) === true;
  }

  // Whose a request is, said synchronously: `OURS`, or not, or a document that certainly isn't listed (`LEFT`) and needn't wait
  // for us, though what it loads may be ours.
  function concerns(request) {
    if (request.method !== "GET" && request.method !== "HEAD") return NOT_OURS;
    const { url, headers } = request;
    const path = pathOf(url);
    if (path === null) return NOT_OURS;
    if (request.cache === "only-if-cached" && request.mode !== "same-origin") return NOT_OURS;
    if ((headers.get("accept") ?? "").includes("text/event-stream")) return NOT_OURS;
    if (path.startsWith("peerage/")) {
      const isBundled = path === "peerage/inspector" || [PEERAGE.page, PEERAGE.mesh, PEERAGE.wasm].some((file) => file.url === path);
      return isBundled ? OURS : NOT_OURS;
    }
    if (CONTEXTS.includes(request.destination) || mayBeListed(url, path)) return OURS;
    return request.mode === "navigate" ? LEFT : NOT_OURS;
  }

  /** Whether a URL may name a listed file: by its query, and as far as is known here by its path. */
  function mayBeListed(url, path) {
    if (LISTED && !isListed(path)) return false;
    if (new URL(url).search !== "" && !ignoresQuery(path)) return false;
    return isPublished(path);
  }

  // A site that was retired, or whose root is gone, installs nothing, not even a cache. Unverified: all that a forger of it
  // gains is no worker.
  async function isRetired() {
    try {
      const root = await askForRoot();
      if ([404, 410].includes(root.status)) return true;
      const claims = (await root.text()).split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
      return JSON.parse(atob(claims)).retired === true;
    } catch {
      return false;
    }
  }

  // Where the browser can be told beforehand (Service Workers, InstallEvent.addRoutes), what can't be ours doesn't even wake
  // the worker: what is sent, and what lies outside the site or in a folder of it without listed files, or ends as none of
  // them does, and where no query is ignored what has one. Documents and workers always wake it, since the version of what
  // they load is decided with them. A folder's name that URLs may write in several ways is left to the guard.
  async function route(event) {
    const below = ({ protocol, hostname, port, pathname }, path = "*", search = "*") => {
      const escaped = pathname.replace(/[\\{}()*+?:]/g, "\\$&");
      const pattern = { protocol: protocol.slice(0, -1), hostname, port, pathname: escaped + path, search };
      return { urlPattern: new URLPattern(pattern) };
    };
    const methods = ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"].map((requestMethod) => ({ requestMethod }));
    const elsewhere = ELSEWHERE.map(([prefix]) => below(new URL(prefix)));
    await event.addRoutes({ condition: { or: methods }, source: "network" });
    await event.addRoutes({ condition: { not: { or: [below(SCOPE), ...elsewhere] } }, source: "network" });

    /** `any` for each ending. A folder's own name is that of its index.html. */
    const ended = (any, folders, endings) => {
      if (endings === null) return [any, folders[0]];
      return [...endings.map((ending) => `${any}.${ending}`), ...(endings.includes("html") ? folders : [])];
    };
    /** The paths of what may be listed in a folder at the top. */
    const within = ([folder, endings]) =>
      folder === "" ? ended(":file", [""], endings) : ended(`${folder}/*`, [`${folder}/`, `${folder}/*/`], endings);
    const search = IGNORE_QUERY.include.length > 0 ? "*" : "";
    /** The same below another host's prefix, which stands for a folder. */
    const beyond = ([prefix, folder]) => {
      const top = folder.slice(0, Math.max(0, folder.indexOf("/")));
      const endings = (top !== "" && LISTED?.get(top)) || null;
      return ended("*", ["", "*/"], endings).map((path) => below(new URL(prefix), path, search));
    };
    const plain = LISTED && [...LISTED].filter(([folder]) => /^[\w.~-]*$/.test(folder));
    const paths = ["peerage/*", ...(plain?.flatMap(within) ?? ["*"])];
    const own = paths.map((path) => below(SCOPE, path, search));
    const files = [...(plain?.length === LISTED?.size ? own : [below(SCOPE, "*", search)]), ...ELSEWHERE.flatMap(beyond)];
    const contexts = [{ requestMode: "navigate" }, ...CONTEXTS.map((requestDestination) => ({ requestDestination }))];
    await event.addRoutes({ condition: { not: { or: [...contexts, ...files] } }, source: "network" });
    // A document that may be listed waits for the worker. Else Chromium would ask the origin for it beside starting the
    // worker (ServiceWorkerAutoPreload), each time, and throw that answer away.
    const documents = own.map((condition) => ({ ...condition, requestMode: "navigate" }));
    await event.addRoutes({ condition: { or: documents }, source: "fetch-event" });
  }

  async function install() {
    if (await isRetired()) throw new Error("this site no longer uses Peerage");
    const files = [PEERAGE.wasm, PEERAGE.page, PEERAGE.mesh, PEERAGE.inspector];
    await Promise.all(files.map(bundled));
    await call((worker) => worker.install());
  }

  self.addEventListener("install", (event) => {
    if (IS_GUEST) return event.waitUntil(install().catch((error) => console.warn("peerage: not installed:", error)));
    event.waitUntil(
      (async () => {
        // A browser that knows other conditions than these asks the worker.
        if (event.addRoutes) await route(event).catch((error) => console.info("peerage: no static routes:", error));
        await install();
        await self.skipWaiting();
      })(),
    );
  });

  // A site whose first key was replaced has another id: what was kept under the old one is nobody's.
  async function forgetOthers() {
    const prefix = CACHE.slice(0, -PEERAGE.site.length);
    const others = (await caches.keys()).filter((name) => name !== CACHE && name.startsWith(prefix) && !name.slice(prefix.length).includes("/"));
    await Promise.all(others.map((name) => caches.delete(name)));
  }

  self.addEventListener("activate", (event) => {
    event.waitUntil(
      (async () => {
        await call((worker) => worker.activate()).catch((error) => console.warn("peerage:", error));
        await forgetOthers().catch((error) => console.warn("peerage:", error));
        if (!IS_GUEST) await self.clients.claim();
      })(),
    );
  });

  // What was answered without the wasm is told to it a little later, which also wakes it for the mesh.
  function keepBooks() {
    books ??= setTimeout(() => {
      books = null;
      call(() => {}).catch(() => {});
    }, BOOKS);
  }

  async function answerFrom(event, pending) {
    const known = await pending;
    if (known === hot.NETWORK) return fetch(event.request);
    if (known) keepBooks();
    return known ?? answer(event);
  }

  function onFetch(event) {
    const concern = concerns(event.request);
    if (concern === LEFT && traps < MOST_TRAPS) event.waitUntil(call((worker) => worker.left(event), true).catch(() => {}));
    if (concern !== OURS) return;
    const known = hot.find(event);
    if (known === hot.NETWORK) return;
    if (known instanceof Response) {
      keepBooks();
      event.respondWith(known);
    } else event.respondWith(known ? answerFrom(event, known) : answer(event));
  }

  self.addEventListener("fetch", onFetch);
  // Behind the listeners that the rest of the site's script adds: the first that answers is the last that is asked.
  if (IS_GUEST) {
    queueMicrotask(() => {
      self.removeEventListener("fetch", onFetch);
      self.addEventListener("fetch", onFetch);
    });
  }

  self.addEventListener("message", (event) => {
    if (typeof event.data?.peerage !== "string") return;
    const reply = (value) => event.ports[0]?.postMessage(value);
    const asked = event.data.peerage !== "port";
    event.waitUntil(
      call((worker) => worker.message(event)).then(
        (value) => asked && reply(value),
        (error) => asked && reply({ error: String(error?.message ?? error) }),
      ),
    );
  });
})();

// What a case uses inside of the page: `lab.look(url)` and its like perform one thing that a site's script or markup does
// and return everything that the script could observe of it. The function is sent to the page as text: nothing outside
// of it can be used.

/** Defines `window.lab`. */
export function defineLab() {
  const hex = buffer => [...new Uint8Array(buffer)].map(byte => byte.toString(16).padStart(2, '0')).join('');
  const failure = error => ({ error: error instanceof DOMException || error instanceof Error ? error.name : String(error) });
  const within = (ms, promise) => Promise.race([promise, new Promise(resolve => { setTimeout(resolve, ms, { timedOut: ms }); })]);
  const added = [];

  const lab = {
    hex, failure, within,
    pause: ms => new Promise(resolve => { setTimeout(resolve, ms); }),
    hash: async body => hex(await crypto.subtle.digest('SHA-256', body instanceof Blob ? await body.arrayBuffer() : body)).slice(0, 16),

    /** What `PerformanceResourceTiming` tells of a URL: of moments and bytes on the wire, which differ each time, whether there are any. */
    async timing(url) {
      const name = new URL(url, location.href);
      name.hash = '';
      // Entries come a moment after the body.
      let entries = [];
      for (let i = 0; i < 20 && entries.length === 0; i++) {
        entries = performance.getEntriesByName(name.href, 'resource');
        if (entries.length === 0) await lab.pause(10);
      }
      const last = entries.at(-1);
      return last === undefined ? 'no entry' : {
        initiatorType: last.initiatorType, responseStatus: last.responseStatus, decodedBodySize: last.decodedBodySize,
        transferSize: last.transferSize > 0, nextHopProtocol: last.nextHopProtocol, workerStart: last.workerStart > 0, contentType: last.contentType ?? null,
        ordered: last.startTime <= last.fetchStart && last.fetchStart <= last.responseStart && last.responseStart <= last.responseEnd,
      };
    },

    /**
     * Which files below `base` the view has a `PerformanceResourceTiming` of, and for whom, since `from`: `{file: initiatorTypes}`.
     * Entries come when they come: `count` files are waited for, a quarter of a second at most.
     */
    async resources(base, { from = 0, count = 0, view = window } = {}) {
      const found = () => {
        const types = {};
        for (const { name, startTime, initiatorType } of view.performance.getEntriesByType('resource')) {
          const [, file] = name.split(base);
          if (file !== undefined && startTime >= from) types[file] = [...new Set([...types[file] ?? [], initiatorType])].sort();
        }
        return Object.fromEntries(Object.entries(types).map(([file, some]) => [file, some.join()]));
      };
      for (let tries = 0; tries < 10 && Object.keys(found()).length < count; tries++) await lab.pause(25);
      return found();
    },

    /** A response without its body. */
    head(response) {
      const { status, statusText, ok, type, redirected, url } = response;
      return { status, statusText, ok, type, redirected, url, headers: Object.fromEntries(response.headers), hasBody: response.body !== null };
    },

    /** A response with its body. */
    async read(response) {
      const seen = lab.head(response);
      try {
        const body = await response.arrayBuffer();
        return { ...seen, size: body.byteLength, body: await lab.hash(body) };
      } catch (error) {
        return { ...seen, body: failure(error) };
      }
    },

    /** `fetch(url, init)` and all that comes of it. */
    async look(url, init = {}) {
      try {
        return { ...await lab.read(await fetch(url, init)), timing: await lab.timing(url) };
      } catch (error) {
        return { ...failure(error), timing: await lab.timing(url) };
      }
    },

    /** The same by `XMLHttpRequest`. */
    xhr(url, { method = 'GET', headers = {}, type = 'arraybuffer', use } = {}) {
      return new Promise(resolve => {
        const request = new XMLHttpRequest();
        const events = [];
        let progress;
        for (const name of ['loadstart', 'load', 'error', 'abort', 'timeout', 'loadend']) request.addEventListener(name, () => events.push(name));
        request.onprogress = ({ lengthComputable, total, loaded }) => { progress = { lengthComputable, total, loaded }; };
        request.onloadend = async () => resolve({
          events, progress, status: request.status, statusText: request.statusText, url: request.responseURL,
          headers: Object.fromEntries(request.getAllResponseHeaders().trim().split('\r\n').map(line => line.split(/: (.*)/s))),
          body: request.response instanceof ArrayBuffer ? await lab.hash(request.response) : request.response instanceof Blob ? request.response.type : typeof request.response,
        });
        request.open(method, url);
        request.responseType = type;
        for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
        use?.(request);
        request.send();
      });
    },

    /** Adds an element, and says which event came of it, with `look(element)`'s words added. */
    async element(tag, properties, look = () => ({}), { into = document.body, events = ['load', 'error'] } = {}) {
      const element = document.createElement(tag);
      const came = new Promise(resolve => {
        for (const name of events) element.addEventListener(name, () => resolve(name), { once: true });
      });
      for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
      into.append(element);
      added.push(element);
      const event = await within(8000, came);
      return { event, ...await look(element) };
    },

    /** Opens a frame and says what is in it. */
    async frame(src, look = lab.inside, properties = {}) {
      return lab.element('iframe', { src, ...properties }, async frame => {
        try {
          return await look(frame.contentWindow);
        } catch (error) {
          return failure(error);
        }
      });
    },

    /** What a document tells of itself. */
    async inside(view) {
      const { document: inner } = view;
      const [navigation] = view.performance.getEntriesByType('navigation');
      const ours = inner.querySelectorAll('script[src$="/peerage/page.js"]').length;
      return {
        url: inner.URL, title: inner.title, contentType: inner.contentType, characterSet: inner.characterSet, compatMode: inner.compatMode,
        lastModified: Date.now() - new Date(inner.lastModified).getTime() < 2000 ? 'now' : inner.lastModified,
        referrer: inner.referrer, isolated: view.crossOriginIsolated, secure: view.isSecureContext, origin: view.origin,
        text: inner.body?.textContent.trim().slice(0, 200), scripts: inner.scripts.length - ours,
        navigation: navigation && {
          type: navigation.type, redirectCount: navigation.redirectCount, responseStatus: navigation.responseStatus,
          initiatorType: navigation.initiatorType,
        },
      };
    },

    /** What a worker posts first; or how it failed. */
    async worker(url, options, make = () => new Worker(url, options)) {
      let worker;
      const said = new Promise(resolve => {
        try {
          worker = make();
        } catch (error) {
          resolve(failure(error));
          return;
        }
        const port = worker.port ?? worker;
        port.onmessage = event => resolve({ message: event.data });
        worker.onerror = event => { event.preventDefault?.(); resolve({ error: event.type, message: event.message }); };
      });
      const answer = await within(20_000, said);
      worker?.terminate?.();
      return answer;
    },

    /** Takes away what the case has added. */
    clear() {
      for (const element of added.splice(0)) element.remove();
    },
  };
  window.lab = lab;
  performance.setResourceTimingBufferSize(10_000);
}

// A visitor: one browser with storage of its own, driven as a person and the site's scripts would.
import { allowLoopback, launch, stopServiceWorkers } from './browsers.mjs';
import { PATIENCE, until, within } from './wait.mjs';

export class Visitor {
  /** Starts a browser. `allow` lists the origins whose pages may connect over loopback. */
  static async start(kind, { name = kind, allow = [], ...options } = {}) {
    const visitor = new Visitor();
    Object.assign(visitor, { kind, name, allow, options, log: [], tabs: [] });
    await visitor.#launch(options);
    return visitor;
  }

  async #launch(options) {
    this.running = await launch(this.kind, options);
    for (const origin of this.allow) await allowLoopback(this.running, new URL(origin).origin);
    this.page = (await this.running.context.pages())[0] ?? await this.running.context.newPage();
    await this.#watch(this.page);
  }

  /** The browser is killed with all its processes; {@link Visitor#comeBack} starts it again, with what its profile holds. */
  async crash() {
    this.profile = await this.running.kill();
    this.tabs = [];
  }

  /** Starts the browser anew after a crash, with one empty tab. */
  async comeBack() {
    await this.#launch({ ...this.options, profile: this.profile });
  }

  async close() {
    await this.running.close();
  }

  /** Opens another tab and makes it the one that the other methods speak of. */
  async newTab(url) {
    this.page = await this.running.context.newPage();
    await this.#watch(this.page);
    if (url !== undefined) await this.goto(url);
    return this.page;
  }

  async goto(url) {
    await this.page.goto(url, { waitUntil: 'load', timeout: PATIENCE });
  }

  /** Presses the back button and waits for the page with this title, which may come from the back/forward cache. */
  async back(title) {
    await this.page.evaluate(() => { setTimeout(() => history.back()); });
    await this.wait(`the page "${title}"`, wanted => document.title === wanted, title);
  }

  /**
   * Opens `url` until the service worker controls the document and `window.peerage` is there. The first document of a
   * first visit comes from the network, without our script: then, as a person would, it is loaded once more.
   */
  async enter(url) {
    await this.goto(url);
    await this.installed();
    if (!await this.page.evaluate(() => navigator.serviceWorker.controller !== null && 'peerage' in window)) await this.goto(url);
    await this.ready();
  }

  /** Waits until a service worker is active for this page. */
  async installed() {
    await this.wait('an active service worker', async () => {
      const registration = await navigator.serviceWorker.getRegistration();
      return registration?.active?.state === 'activated';
    });
  }

  /** Waits until `window.peerage` is there and says that it is ready. */
  async ready() {
    await this.wait('window.peerage', () => 'peerage' in window);
    await within(PATIENCE, `${this.name}: peerage.ready`, this.page.evaluate(async () => { await window.peerage.ready; }));
  }

  /** Gives or withdraws the visitor's consent through the site's API. */
  async consent(value = true) {
    await this.page.evaluate(async given => { await window.peerage.consent(given); }, value);
  }

  /** Waits until the mesh has at least `count` neighbours; returns how long that took in ms. */
  async neighbours(count = 1) {
    const from = performance.now();
    await until(`${this.name} to have ${count} neighbour(s)`, async () => (await this.stats()).peers >= count);
    return performance.now() - from;
  }

  /**
   * Waits for a neighbour that came after `moment` (by `performance.now()`) and has told what it holds: after a reload of
   * the other side the old neighbour may still be counted for a while.
   */
  async newNeighbour(moment) {
    await until(`${this.name} to have a new neighbour that holds something`, async () => {
      const { neighbours } = await this.inspect();
      return neighbours.some(({ since, have }) => since < performance.now() - moment && have > 0);
    });
  }

  /** What the inspector is told. */
  inspect() {
    return this.ask('inspect');
  }

  /** Asks the service worker as `page.js` does (docs/protocol.md). */
  ask(verb) {
    return this.page.evaluate(question => {
      const { port1, port2 } = new MessageChannel();
      const answer = new Promise(resolve => { port1.onmessage = event => resolve(event.data); });
      navigator.serviceWorker.controller.postMessage({ peerage: question }, [port2]);
      return answer;
    }, verb);
  }

  stats() {
    return this.page.evaluate(async () => window.peerage.stats());
  }

  explain(url) {
    return this.page.evaluate(async asked => window.peerage.explain(asked), url);
  }

  /** Waits, in the page, for a condition with arguments that can be cloned. */
  wait(what, condition, ...args) {
    return until(`${this.name}: ${what}`, () => this.page.evaluate(condition, ...args));
  }

  /**
   * Fetches the URLs in the page, `parallel` at a time: `[{url, status, size, sha256, headers, ms, error}]` in the order
   * asked. Nothing throws: a request that failed has an `error`.
   */
  take(urls, { parallel = 4, init = {} } = {}) {
    return within(240_000, `${this.name} to fetch ${urls.length} files`, this.page.evaluate(async (asked, lanes, options) => {
      const answers = [];
      const hex = buffer => [...new Uint8Array(buffer)].map(byte => byte.toString(16).padStart(2, '0')).join('');
      let next = 0;
      const lane = async () => {
        while (next < asked.length) {
          const at = next++;
          const from = performance.now();
          const answer = { url: asked[at] };
          answers[at] = answer;
          try {
            const response = await fetch(asked[at], options);
            answer.status = response.status;
            answer.headers = Object.fromEntries(response.headers);
            const body = await response.arrayBuffer();
            answer.size = body.byteLength;
            answer.sha256 = hex(await crypto.subtle.digest('SHA-256', body));
          } catch (error) {
            answer.error = String(error);
          }
          answer.ms = performance.now() - from;
        }
      };
      await Promise.all(Array.from({ length: lanes }, lane));
      return answers;
    }, urls, parallel, init));
  }

  /** RTCPeerConnections that this tab's document has made: the number, and the configuration of each. */
  connections() {
    return this.page.evaluate(() => window.storyMade.connections);
  }

  /** The parts of the manifest that the visitor keeps, as paths. */
  async manifestParts() {
    const urls = await this.page.evaluate(async () => {
      const cache = await caches.open((await caches.keys()).find(name => name.startsWith('peerage:')));
      return (await cache.keys()).map(({ url }) => new URL(url).pathname);
    });
    return urls.filter(url => /^\/peerage\/(index|shard)\//.test(url));
  }

  /** Ends the service worker as the browser does with idle ones. */
  async stopWorker() {
    await stopServiceWorkers(this.running, this.page);
  }

  /** Ends the dedicated workers of this tab's document (the mesh lives in one); returns how many there were. */
  killMesh() {
    return this.page.evaluate(() => {
      for (const worker of window.storyMade.workers) worker.terminate();
      return window.storyMade.workers.length;
    });
  }

  /** What the consoles and pages complained about so far, without the network's own lines for failed requests. */
  complaints() {
    return this.log.filter(({ type }) => type === 'error' || type === 'pageerror').map(({ text }) => text);
  }

  /** Everything that helps to understand a failure, as text. */
  async diagnosis() {
    const lines = [`--- ${this.name} (${this.kind}) at ${this.page.url()}`];
    const state = await within(5000, 'the page to answer', this.page.evaluate(async () => {
      const registration = await navigator.serviceWorker?.getRegistration();
      return {
        worker: registration && { installing: registration.installing?.state, waiting: registration.waiting?.state, active: registration.active?.state },
        controlled: Boolean(navigator.serviceWorker?.controller),
        made: { connections: window.storyMade?.connections.length, workers: window.storyMade?.workers.length },
      };
    })).catch(error => ({ error: error.message }));
    state.inspect = await within(5000, 'the worker to answer', this.inspect()).catch(error => ({ error: error.message }));
    const { timeline, recent = [], ...rest } = state.inspect;
    lines.push(JSON.stringify({ ...state, inspect: rest }));
    for (const request of recent.slice(0, 20)) lines.push(`  ${JSON.stringify(request)}`);
    for (const { type, text } of this.log.slice(-60)) lines.push(`[${type}] ${text}`);
    return lines.join('\n');
  }

  async #watch(page) {
    this.tabs.push(page);
    const note = (type, text) => {
      this.log.push({ type, text });
      if (process.env.PEERAGE_VERBOSE) console.error(`${this.name} [${type}] ${text}`);
    };
    page.on('console', message => note(message.type(), `${message.text()} (${message.location()?.url ?? ''})`));
    page.on('pageerror', error => note('pageerror', error.stack ?? String(error)));
    if (this.kind === 'chromium') {
      const session = await page.createCDPSession();
      session.on('ServiceWorker.workerErrorReported', ({ errorMessage: e }) => note('worker', `${e.errorMessage} (${e.sourceURL}:${e.lineNumber})`));
      await session.send('ServiceWorker.enable');
    }
    await page.evaluateOnNewDocument(() => {
      // What the document makes is counted where it is made: neither constructor exists in a worker's scope.
      const made = { connections: [], workers: [] };
      Object.defineProperty(window, 'storyMade', { value: made });
      window.RTCPeerConnection = class RTCPeerConnection extends window.RTCPeerConnection {
        constructor(...args) {
          super(...args);
          made.connections.push(JSON.parse(JSON.stringify(args[0] ?? null)));
        }
      };
      window.Worker = class Worker extends window.Worker {
        constructor(...args) {
          super(...args);
          made.workers.push(this);
        }
      };
    });
  }
}

// Peerage in the page: registers the service worker, asks for consent, elects one tab to lead, and makes peer
// connections when the leader's mesh worker says so. It decides nothing about pieces, peers or bytes: a window is
// merely the only place where RTCPeerConnection exists and where a visitor can be asked.
//
// Whatever goes wrong in here, the site must not notice: nothing throws into the page, every question to the service
// worker has a deadline, and where something is missing the site is simply what it was without Peerage.
//
// The messages are described in docs/protocol.md.
(() => {
  "use strict";

  const LOADED = Symbol.for("peerage");
  const script = document.currentScript || document.querySelector('script[src$="peerage/page.js"]');
  if (!script?.src || window[LOADED]) return;
  window[LOADED] = true;

  // Everything hangs off this script's own place, so that a site under a sub-path works.
  const SCOPE = new URL("..", script.src).href;
  const WORKER = SCOPE + "peerage-sw.js";
  const MESH = SCOPE + "peerage/mesh.js";
  const NAME = "peerage:" + new URL(SCOPE).pathname;

  const REPLY_MS = 5000; // a service worker that must start, compile and read its manifest first answers within this
  const FORGET_MS = 30000; // deleting gigabytes takes longer
  const HELLO_TRIES = 6;
  const BEAT_MS = 500; // the leader's heartbeat to the other tabs
  const WATCH_MS = 250; // how often the others look at it
  const DOUBT_MS = 900; // silence after which they ask: answering is not throttled in a hidden tab, timers are
  const SILENCE_MS = 1400; // silence after which the lock is taken from the leader
  const JITTER_MS = 200; // spreads the takers
  const MESH_START_MS = 20000; // the mesh worker's first beat may wait for its wasm
  const MESH_SILENCE_MS = 6000; // later ones come every second
  const GATHER_MS = 2000;
  const LOW_WATER = 32 * 1024; // bytes, for channels that the page relays

  // ---------------------------------------------------------------------------------------------- window.peerage

  const EMPTY = {
    version: 0,
    peers: 0,
    bytes: { cache: 0, peer: 0, origin: 0, uploaded: 0, wasted: 0 },
    rejected: 0,
    consent: "unasked",
    leader: false,
  };

  let state = null; // the service worker's last answer to hello
  let becomeReady;

  class Peerage extends EventTarget {
    #ready = new Promise((resolve) => (becomeReady = resolve));

    /** Resolves to true when a service worker has answered, to false where none will (see `reason`). Never rejects. */
    get ready() {
      return this.#ready;
    }
    /** Why there is no service worker, as a sentence; null where there is one or it is too early to say. */
    get reason() {
      return reason;
    }
    /** Whether this tab holds the mesh at the moment. */
    get leader() {
      return mesh !== null;
    }
    /** Bytes by source, peers, version and consent. Where no service worker answers: what was last known, or zeros. */
    async stats() {
      const stats = await ask("stats");
      return stats && !stats.error ? stats : (state?.stats ?? EMPTY);
    }
    /** Where the bytes of the last answer for `url` came from; null where nothing is known about it. */
    async explain(url) {
      const asked = resolveUrl(url);
      return asked && (await ask("explain", { url: asked }));
    }
    /** The visitor's answer, whoever asked the question. Resolves to the consent now in force. */
    async consent(value) {
      await update("consent", { value: Boolean(value) });
      return state?.consent ?? "unasked";
    }
    /** Stops sending to other visitors until `resume()`. Resolves to whether it is paused now. */
    async pause() {
      await update("pause", { value: true });
      return state?.paused ?? false;
    }
    /** Takes sending up again. Resolves to whether it is paused now. */
    async resume() {
      await update("pause", { value: false });
      return state?.paused ?? false;
    }
    /** Deletes everything stored on this device, consent included. Resolves to whether the service worker said so. */
    async forget() {
      const reply = await ask("forget", {}, FORGET_MS);
      await refresh();
      return reply !== null && !reply.error;
    }
  }

  let reason = null;
  const api = new Peerage();
  Object.defineProperty(window, "peerage", { value: api, configurable: true, enumerable: true });

  function emit(type, detail) {
    api.dispatchEvent(new CustomEvent(type, { detail }));
  }
  function complain(what) {
    emit("error", { at: Date.now(), text: String(what?.message ?? what) });
  }
  /** For promises that nobody awaits. */
  function quietly(promise) {
    promise.catch(complain);
  }
  function resolveUrl(url) {
    try {
      return new URL(url, document.baseURI).href;
    } catch {
      return null;
    }
  }

  // ------------------------------------------------------------------------------------------ the service worker

  let registration = null;

  /** Peerage's own worker: the page's controller, or one that is active but does not control this page yet. */
  function worker() {
    const controller = navigator.serviceWorker.controller;
    return controller?.scriptURL === WORKER ? controller : registration?.active;
  }

  /** Asks the service worker; null where there is no answer in time. */
  function ask(verb, fields = {}, ms = REPLY_MS) {
    return new Promise((resolve) => {
      const { port1, port2 } = new MessageChannel();
      const finish = (reply) => {
        clearTimeout(timer);
        port1.close();
        resolve(reply ?? null);
      };
      const timer = setTimeout(finish, ms, null);
      port1.onmessage = (event) => finish(event.data);
      try {
        worker().postMessage({ peerage: verb, ...fields }, [port2]);
      } catch {
        finish(null);
      }
    });
  }

  /** A question whose answer is the whole state. Resolves to whether it was answered. */
  async function update(verb, fields) {
    const reply = await ask(verb, fields);
    if (!reply || reply.error) {
      if (reply?.error) complain(reply.error);
      return false;
    }
    state = reply;
    reason = null;
    becomeReady(true);
    showOrHideBar();
    joinOrLeave();
    mesh?.adopt(state);
    return true;
  }

  let refreshing = null;

  /** Says hello until it is answered. A burst of causes (an update, a new controller) is one round of asking. */
  function refresh() {
    refreshing ??= (async () => {
      for (let attempt = 0; attempt < HELLO_TRIES; attempt++) {
        if (attempt > 0) await sleep(500 * 2 ** attempt);
        if (await update("hello")) return;
      }
      giveUp("the service worker does not answer");
    })().finally(() => (refreshing = null));
    return refreshing;
  }

  function giveUp(why) {
    if (!state) reason = why;
    becomeReady(false);
  }

  function sleep(ms) {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  /** Script URLs are a Trusted Types sink; a site that enforces them without allowing "peerage" has no Peerage. */
  const trusted = (() => {
    try {
      const policy = window.trustedTypes?.createPolicy("peerage", { createScriptURL: (url) => url });
      return (url) => (policy ? policy.createScriptURL(url) : url);
    } catch {
      return (url) => url;
    }
  })();

  async function register() {
    if (!("serviceWorker" in navigator)) return giveUp("this browser offers no service workers here");
    if (!location.href.startsWith(SCOPE)) return giveUp("this page lies outside " + SCOPE);
    // A prerendered page may never be shown: it is no visit yet.
    if (document.prerendering) await once(document, "prerenderingchange");

    navigator.serviceWorker.addEventListener("message", onWorkerMessage);
    navigator.serviceWorker.addEventListener("controllerchange", () => quietly(refresh().then(() => mesh?.connect())));
    navigator.serviceWorker.startMessages();
    try {
      registration = await navigator.serviceWorker.register(trusted(WORKER), { scope: SCOPE, updateViaCache: "none" });
      await activated(registration);
    } catch (error) {
      return giveUp("the service worker could not be registered: " + error.message);
    }
    await refresh();
  }

  function once(target, type) {
    return new Promise((resolve) => target.addEventListener(type, resolve, { once: true }));
  }

  async function activated(registration) {
    const coming = registration.installing || registration.waiting;
    while (!registration.active) {
      if (!coming || coming.state === "redundant") throw new Error("its installation failed");
      await once(coming, "statechange");
    }
  }

  function onWorkerMessage(event) {
    const message = event.data;
    if (event.source?.scriptURL !== WORKER || !message?.peerage) return;
    if (message.peerage === "port?") {
      // It was stopped and has woken: its end of the old port went with it.
      mesh?.connect(event.source);
    } else if (message.peerage === "event") {
      emit(message.type, message.detail);
      if (message.type === "consent" || message.type === "update") quietly(refresh());
    }
  }

  // ------------------------------------------------------------------------------------------------- consent bar

  let bar = null;

  function showOrHideBar() {
    const wanted =
      state.policy.consent === "ask" &&
      state.consent === "unasked" &&
      window.top === window &&
      canConnect() &&
      !document.querySelector('[data-peerage-consent="none"]');
    if (wanted && !bar) {
      bar = makeBar();
      document.documentElement.append(bar);
    } else if (!wanted && bar) {
      bar.remove();
      bar = null;
    }
  }

  // A sheet made by script is allowed under every Content-Security-Policy; a <style> element is not.
  const BAR_STYLE = `
    :host {
      all: initial; position: fixed; z-index: 2147483647; inset: auto 0 0 0; display: block; pointer-events: none;
      padding: 12px max(12px, env(safe-area-inset-right)) max(12px, env(safe-area-inset-bottom)) max(12px, env(safe-area-inset-left));
      font: 15px/1.45 system-ui, sans-serif; color-scheme: light dark;
      --paper: #fff; --ink: #1c2230; --quiet: #4d566b; --line: #d4d9e4; --strong: #1f4fd1; --on-strong: #fff;
    }
    @media (prefers-color-scheme: dark) {
      :host { --paper: #1b202c; --ink: #eef1f8; --quiet: #b4bdd0; --line: #3b4459; --strong: #9db8ff; --on-strong: #0d1426; }
    }
    section {
      pointer-events: auto; box-sizing: border-box; max-width: 46rem; margin: 0 auto; padding: 14px 16px; display: flex;
      flex-wrap: wrap; align-items: center; gap: 10px 20px; color: var(--ink); background: var(--paper);
      border: 1px solid var(--line); border-radius: 14px; box-shadow: 0 8px 30px rgb(0 0 0 / .22);
      animation: rise .3s ease-out;
    }
    @keyframes rise { from { transform: translateY(24px); opacity: 0; } }
    @media (prefers-reduced-motion: reduce) { section { animation: none; } }
    @media print { :host { display: none; } }
    p { margin: 0; flex: 1 1 20rem; color: var(--quiet); }
    strong { display: block; color: var(--ink); }
    a { color: var(--strong); white-space: nowrap; }
    div { display: flex; flex: 0 0 auto; gap: 10px; margin-inline-start: auto; }
    button {
      font: inherit; font-weight: 600; min-height: 44px; padding: 0 18px; border-radius: 10px; cursor: pointer;
      border: 1px solid var(--line); background: transparent; color: var(--ink);
    }
    button.share { border-color: var(--strong); background: var(--strong); color: var(--on-strong); }
    :focus-visible { outline: 3px solid var(--strong); outline-offset: 2px; }
    @media (max-width: 30rem) { div, button { flex: 1 1 auto; } div { width: 100%; } }
  `;

  function makeBar() {
    const host = document.createElement("peerage-consent");
    const root = host.attachShadow({ mode: "open" });
    try {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(BAR_STYLE);
      root.adoptedStyleSheets = [sheet];
    } catch {
      root.append(element("style", {}, BAR_STYLE));
    }

    // A region, not a dialog: the page stays usable, and whoever ignores the question has answered nothing.
    const share = element("button", { type: "button", class: "share" }, "Share");
    const refuse = element("button", { type: "button" }, "No thanks");
    const region = element(
      "section",
      { "aria-label": "Share this site's files with other visitors" },
      element(
        "p",
        {},
        element("strong", {}, "Help carry this site?"),
        "Your browser would also send this site\u2019s public files to other visitors. They may see your IP address. ",
        element("a", { href: SCOPE + "peerage/inspector", target: "_blank", rel: "noopener" }, "What is this?"),
      ),
      element("div", {}, share, refuse),
    );
    root.append(region);

    let before = null; // what had the focus before the visitor came here by keyboard
    region.addEventListener("focusin", (event) => (before ??= event.relatedTarget));
    const answer = (value) => {
      dismiss();
      quietly(api.consent(value));
    };
    const dismiss = () => {
      const focused = root.activeElement !== null;
      // `bar` stays set: this page does not ask again, even if the answer gets lost.
      host.remove();
      if (focused) before?.focus?.();
    };
    share.addEventListener("click", () => answer(true));
    refuse.addEventListener("click", () => answer(false));
    region.addEventListener("keydown", (event) => {
      if (event.key === "Escape") dismiss();
    });
    return host;
  }

  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // ---------------------------------------------------------------------------------------------------- election
  //
  // One tab per browser holds the mesh. A Web Lock says which: it passes to the next tab when its holder closes or
  // crashes. But a frozen tab keeps its lock, so the leader's heart is listened to as well, and the lock is stolen
  // from one whose heart has stopped.

  let candidacy = null; // this tab's part in the election, null while it takes none

  function canConnect() {
    const connection = navigator.connection;
    const metered = connection?.saveData === true || connection?.type === "cellular";
    return !metered && typeof RTCPeerConnection === "function" && "locks" in navigator && typeof Worker === "function";
  }

  function mayConnect() {
    if (!state || !canConnect()) return false;
    const { consent, policy } = state;
    return consent === "granted" ? policy.consent !== "never" : consent === "unasked" && policy.consent === "granted";
  }

  let suspended = false; // in the back/forward cache, frozen, or on the way out

  function joinOrLeave() {
    const wanted = mayConnect() && !suspended;
    if (wanted && !candidacy) candidacy = new Candidacy();
    if (!wanted && candidacy) {
      candidacy.leave();
      candidacy = null;
    }
  }

  class Candidacy {
    #channel = new BroadcastChannel(NAME);
    #abort = null; // takes back a waiting request
    #release = null; // gives back the lock
    #heard = performance.now();
    #looked = performance.now();
    #left = false;
    #timer = setInterval(() => this.#look(), WATCH_MS);

    constructor() {
      this.#channel.onmessage = ({ data }) => {
        if (data?.beat) this.#heard = performance.now();
        if (data?.ask && this.#release) this.beat();
      };
      this.#request({});
    }

    leave() {
      this.#left = true;
      clearInterval(this.#timer);
      this.#abort?.abort();
      this.#depose();
      this.#channel.close();
    }

    beat() {
      if (!this.#left) this.#channel.postMessage({ beat: true });
    }

    #request(options) {
      const abort = options.steal ? null : new AbortController();
      this.#abort = abort;
      if (abort) options.signal = abort.signal;
      let release;
      const held = new Promise((resolve) => (release = resolve));
      const lead = () => {
        if (this.#left) return;
        this.#release = release;
        this.beat();
        mesh = new Mesh(state);
        return held;
      };
      navigator.locks.request(NAME, options, lead).then(
        () => {},
        () => {
          // Taken back by this tab (which asks anew itself), or stolen by another one.
          if (this.#release !== release) return;
          this.#depose();
          if (!this.#left) this.#request({});
        },
      );
    }

    #depose() {
      if (!this.#release) return;
      mesh?.stop();
      mesh = null;
      this.#release();
      this.#release = null;
      this.#heard = performance.now();
    }

    #look() {
      const now = performance.now();
      const slept = now - this.#looked > DOUBT_MS;
      this.#looked = now;
      if (this.#release) {
        if (now - this.#heard >= BEAT_MS) {
          this.#heard = now;
          this.beat();
        }
        mesh?.look(now, slept);
        return;
      }
      const silence = now - this.#heard;
      // A tab whose own timers were held up has no right to blame the leader.
      if (slept) this.#heard = Math.max(this.#heard, now - DOUBT_MS);
      if (silence > DOUBT_MS) this.#channel.postMessage({ ask: true });
      if (silence > SILENCE_MS && !slept) {
        this.#heard = now;
        setTimeout(() => this.#steal(now), Math.random() * JITTER_MS);
      }
    }

    #steal(since) {
      if (this.#left || this.#release || this.#heard > since) return;
      this.#abort?.abort();
      this.#request({ steal: true });
    }
  }

  // -------------------------------------------------------------------------------------------- the mesh worker

  let mesh = null; // while this tab leads

  class Mesh {
    #state;
    #worker = null;
    #links = new Map(); // connection number → Link
    #beat = 0; // when the worker was last heard
    #alive = false; // whether it was heard since it started
    #failures = 0;
    #restart = 0; // timer

    constructor(state) {
      this.#state = state;
      this.#start();
    }

    /** Sends one end of a fresh MessagePort to the mesh and the other to the service worker. */
    connect(to = worker()) {
      if (!this.#worker || !to) return;
      const { port1, port2 } = new MessageChannel();
      this.#worker.postMessage({ port: port1 }, [port1]);
      to.postMessage({ peerage: "port" }, [port2]);
    }

    /** Takes a newer state over: a change of limits is told to the worker, any other change starts it anew. */
    adopt(state) {
      const old = this.#state;
      this.#state = state;
      if (!this.#worker) return;
      const essence = ({ wasm, infoHash, site, policy: { trackers, ice } }) =>
        JSON.stringify([wasm, infoHash, site, trackers, ice]);
      if (essence(old) !== essence(state)) {
        this.#failures = 0;
        this.#halt();
        this.#start();
        return;
      }
      this.#worker.postMessage({ policy: limits(state) });
    }

    stop() {
      clearTimeout(this.#restart);
      this.#halt();
    }

    /** Called several times a second: has the worker gone quiet? */
    look(now, slept) {
      if (!this.#worker) return;
      if (slept) this.#beat = now;
      if (now - this.#beat > (this.#alive ? MESH_SILENCE_MS : MESH_START_MS)) this.#fail("the mesh worker went quiet");
    }

    #start() {
      const { wasm, infoHash, site, policy } = this.#state;
      this.#beat = performance.now();
      this.#alive = false;
      try {
        const started = new Worker(trusted(MESH), { name: "peerage mesh" });
        this.#worker = started;
        started.onmessage = (event) => {
          if (this.#worker === started) this.#obey(event.data);
        };
        started.onerror = (event) => {
          // Else the browser would report it as the page's own error.
          event.preventDefault?.();
          if (this.#worker === started) this.#fail(event.message || "the mesh worker could not start");
        };
        const { port1, port2 } = new MessageChannel();
        const start = {
          wasm,
          infoHash,
          site,
          trackers: policy.trackers,
          ice: policy.ice,
          policy: limits(this.#state),
          port: port1,
        };
        started.postMessage({ start }, [port1]);
        worker()?.postMessage({ peerage: "port" }, [port2]);
      } catch (error) {
        this.#fail(error);
      }
    }

    #fail(why) {
      complain(why);
      this.#halt();
      const wait = Math.min(1000 * 2 ** this.#failures++, 60000);
      clearTimeout(this.#restart);
      this.#restart = setTimeout(() => this.#start(), wait);
    }

    #halt() {
      for (const link of this.#links.values()) link.close();
      this.#links.clear();
      const halted = this.#worker;
      this.#worker = null;
      try {
        halted?.postMessage({ stop: true });
      } catch {
        // It is gone already.
      }
      // In a page that is going away no timer fires any more, and an open socket in its worker would keep it out of the
      // back/forward cache: there the socket's end is the goodbye.
      if (suspended) halted?.terminate();
      else setTimeout(() => halted?.terminate(), 500);
    }

    #obey(message) {
      const link = this.#links.get(message.conn);
      switch (message.cmd) {
        case "beat":
          this.#beat = performance.now();
          this.#alive = true;
          // Messages reach a hidden tab at once while its timers are held back, so the heart beats by this, too.
          candidacy?.beat();
          break;
        case "offer":
        case "accept":
          link?.close();
          // Asked again here, at the only place where connections are made.
          if (mayConnect() && !suspended) this.#link(message.conn, message.cmd === "accept" ? message.sdp : null);
          else this.#tell({ gone: { conn: message.conn, why: "no connections at the moment" } });
          break;
        case "answered":
          link?.answered(message.sdp);
          break;
        case "send":
          link?.send(message.data);
          break;
        case "close":
          link?.close();
          this.#links.delete(message.conn);
          break;
        case "error":
          this.#fail(message.text);
          break;
      }
    }

    #tell(message, transfer = []) {
      this.#worker?.postMessage(message, transfer);
    }

    #link(conn, offer) {
      const link = new Link(conn, this.#state.policy.ice, (message, transfer) => {
        if (this.#links.get(conn) === link) this.#tell(message, transfer);
      });
      this.#links.set(conn, link);
      link.gone = () => this.#links.get(conn) === link && this.#links.delete(conn);
      quietly(link.negotiate(offer));
    }
  }

  function limits({ policy, paused }) {
    return { upload_rate: policy.upload_rate, upload_budget: policy.upload_budget, paused };
  }

  // ------------------------------------------------------------------------------------------- a peer connection

  class Link {
    #conn;
    #ice;
    #tell;
    #connection = null;
    #channel = null; // only where the page relays
    gone = () => {};

    constructor(conn, ice, tell) {
      this.#conn = conn;
      this.#ice = ice ?? [];
      this.#tell = tell;
    }

    /** Makes an offer, or answers the given one; tells the description once its candidates are in it. */
    async negotiate(offer) {
      try {
        const connection = new RTCPeerConnection({ iceServers: this.#ice });
        this.#connection = connection;
        connection.onconnectionstatechange = () => {
          if (connection.connectionState === "failed") this.#lose("the connection failed");
        };
        if (offer === null) {
          this.#hand(connection.createDataChannel("peerage", { ordered: true }));
        } else {
          connection.ondatachannel = (event) => this.#hand(event.channel);
          await connection.setRemoteDescription({ type: "offer", sdp: offer });
        }
        await connection.setLocalDescription();
        await gathered(connection);
        const { type, sdp } = connection.localDescription;
        this.#tell({ sdp: { conn: this.#conn, type, sdp } });
      } catch (error) {
        this.#lose(error.message);
      }
    }

    answered(sdp) {
      this.#connection?.setRemoteDescription({ type: "answer", sdp }).catch((error) => this.#lose(error.message));
    }

    send(data) {
      const channel = this.#channel;
      try {
        channel.send(data);
        // Below the threshold no event comes, and the worker cannot see the buffer.
        if (channel.bufferedAmount <= LOW_WATER) this.#low();
      } catch (error) {
        this.#lose(error.message);
      }
    }

    close() {
      const connection = this.#connection;
      this.#connection = null;
      this.#channel = null;
      if (!connection) return;
      connection.onconnectionstatechange = null;
      connection.ondatachannel = null;
      connection.close();
    }

    #lose(why) {
      if (!this.#connection) return;
      this.close();
      this.#tell({ gone: { conn: this.#conn, why } });
      this.gone();
    }

    /** A channel can be transferred only in the task that made it, before anything is sent over it. */
    #hand(channel) {
      const conn = this.#conn;
      try {
        this.#tell({ channel: { conn, channel } }, [channel]);
        return;
      } catch {
        // This browser cannot transfer channels: the page relays.
      }
      this.#channel = channel;
      channel.binaryType = "arraybuffer";
      channel.bufferedAmountLowThreshold = LOW_WATER;
      channel.onopen = () => this.#tell({ open: { conn } });
      channel.onclose = () => this.#tell({ closed: { conn } });
      channel.onbufferedamountlow = () => this.#low();
      channel.onmessage = ({ data }) => {
        // Peerage sends no text; a peer that does gets no copy of it made.
        if (data instanceof ArrayBuffer) this.#tell({ msg: { conn, data } }, [data]);
        else this.#lose("a text message");
      };
      this.#tell({ relay: { conn } });
      if (channel.readyState === "open") this.#tell({ open: { conn } });
    }

    #low() {
      if (this.#channel) this.#tell({ low: { conn: this.#conn, buffered: this.#channel.bufferedAmount } });
    }
  }

  /** All candidates are in, or as many as came in time: descriptions are sent once, whole. */
  function gathered(connection) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, GATHER_MS);
      const look = () => {
        if (connection.iceGatheringState !== "complete") return;
        clearTimeout(timer);
        resolve();
      };
      connection.onicegatheringstatechange = look;
      look();
    });
  }

  // --------------------------------------------------------------------------------------------------- lifecycle

  function suspend() {
    suspended = true;
    joinOrLeave();
  }

  function resume() {
    if (!suspended) return;
    suspended = false;
    joinOrLeave();
    // Consent or policy may have changed in another tab meanwhile.
    if (registration) quietly(refresh());
  }

  // An open connection, a held lock or a channel would keep the page out of the back/forward cache. A tab about to be
  // frozen hands over at once rather than after a silence.
  window.addEventListener("pagehide", suspend);
  window.addEventListener("pageshow", resume);
  document.addEventListener("freeze", suspend);
  document.addEventListener("resume", resume);
  navigator.connection?.addEventListener?.("change", () => {
    if (state) showOrHideBar();
    joinOrLeave();
  });

  quietly(register());
})();

// Peerage in the page: registers the service worker, asks for consent, elects one tab to lead, and makes peer
// connections when the leader's mesh worker says so. It decides nothing about pieces, peers or bytes: a window is
// merely the only place where RTCPeerConnection exists and where a visitor can be asked.
//
// Whatever goes wrong in here, the site must not notice: nothing throws into the page, every question to the service
// worker has a deadline, and where something is missing the site is simply what it was without Peerage.
//
// The messages are described in docs/protocol.md. The published file is sw/consent.js, sw/connection.js and this, in one
// function's scope.
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
  const OWN_MS = 1000; // how long after `load` a worker of the site's own is waited for, the first time
  const BEAT_MS = 500; // the leader's heartbeat to the other tabs
  const WATCH_MS = 250; // how often the others look at it
  const DOUBT_MS = 900; // silence after which they ask: answering is not throttled in a hidden tab, timers are
  const SILENCE_MS = 1400; // silence after which the lock is taken from the leader
  const JITTER_MS = 200; // spreads the takers
  const NEWS_MS = [3 * 60000, 5 * 60000]; // a page that stays open asks for a newer version about this often, if nobody would tell
  const NEWS_ANYWAY = 8; // and each time after so many
  const MESH_START_MS = 20000; // the mesh worker's first beat may wait for its wasm
  const MESH_SILENCE_MS = 6000; // later ones come every second
  const STEADY_MS = 30000; // a mesh worker that ran this long may fail once more as if for the first time
  const HOPELESS = 5; // failures, after which one that never starts is given up

  // ---------------------------------------------------------------------------------------------- window.peerage

  let state = null; // the service worker's last answer to hello
  let becomeReady;

  class Peerage extends EventTarget {
    /** Resolves to true when a service worker has answered, to false where none will. Never rejects. */
    ready = new Promise((resolve) => (becomeReady = resolve));
    /** Why `ready` is false, as a sentence. */
    reason = null;

    /** Whether this tab holds the mesh at the moment. */
    get leader() {
      return mesh !== null;
    }
    /** Bytes by source, peers, version and consent. Where no service worker answers: what was last known, or zeros. */
    async stats() {
      const stats = await ask("stats");
      const bytes = { cache: 0, peer: 0, origin: 0, uploaded: 0, wasted: 0 };
      const nothing = { version: null, peers: 0, bytes, rejected: 0, consent: "unasked" };
      return { ...nothing, ...(stats && !stats.error ? stats : state?.stats), leader: this.leader };
    }
    /** Where the bytes of the last answer for `url` came from; null where nothing is known about it. */
    async explain(url) {
      try {
        return await ask("explain", { url: new URL(url, document.baseURI).href });
      } catch {
        return null; // not a URL
      }
    }
    /** The visitor's answer, whoever asked. Resolves to the consent now in force: granted, denied or unasked. */
    async consent(value) {
      await update("consent", { value: Boolean(value) });
      return state?.consent ?? "unasked";
    }
    /** Stops sending to other visitors until `resume()`. Resolves to whether it is paused now. */
    async pause(value = true) {
      await update("pause", { value });
      return state?.paused ?? false;
    }
    /** Takes sending up again. Resolves to whether it is paused now. */
    async resume() {
      return this.pause(false);
    }
    /** Deletes what was visited (files, headers, figures) from this device, and consent. Resolves to whether the service worker said so. */
    async forget() {
      const reply = await ask("forget", {}, FORGET_MS);
      await refresh();
      return reply !== null && !reply.error;
    }
  }

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

  // ------------------------------------------------------------------------------------------ the service worker

  let registration = null;

  /**
   * The site's worker: Peerage's own script where it controls this page, else what is active in our scope, whatever its
   * script (the site's own may import ours), whether it controls this page yet or not.
   */
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
    api.reason = null;
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
        if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** attempt));
        if (await update("hello")) return;
      }
      giveUp("the service worker does not answer");
    })().finally(() => (refreshing = null));
    return refreshing;
  }

  function giveUp(why) {
    if (!state) api.reason = why;
    becomeReady(false);
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

    try {
      // In a sandboxed frame the mere look at it throws.
      const workers = navigator.serviceWorker;
      workers.addEventListener("message", onWorkerMessage);
      workers.addEventListener("controllerchange", () => quietly(refresh().then(() => mesh?.connect())));
      workers.startMessages();
      // What the site registered stays as it is: registering with other options would have the browser fetch the script
      // anew each time, and fail offline; and a worker of the site's own that imports ours must not be replaced.
      registration = (await registered()) || (await registeredLater());
      if (!registration) registration = await workers.register(trusted(WORKER), { scope: SCOPE });
      await activated(registration);
    } catch (error) {
      return giveUp("the service worker could not be registered: " + error.message);
    }
    await refresh();
  }

  /** The registration of our own script that covers this page, whatever scope the site gave it, or what has all of ours. */
  async function registered() {
    const [near, found] = await Promise.all([location.href, SCOPE].map((url) => navigator.serviceWorker.getRegistration(url)));
    const isOurs = [near?.active, near?.waiting, near?.installing].some((worker) => worker?.scriptURL === WORKER);
    if (isOurs) return near;
    return found?.scope === SCOPE ? found : null;
  }

  /** A site registers its own worker when its page has loaded, or has begun to: that can't be seen before it is there. */
  async function registeredLater() {
    if (document.readyState !== "complete") await once(window, "load");
    await Promise.race([navigator.serviceWorker.ready, new Promise((resolve) => setTimeout(resolve, OWN_MS))]);
    return registered();
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
    // On a host of several sites their workers reach this page, too.
    if (!message?.peerage || !event.source || event.source.scriptURL !== worker()?.scriptURL) return;
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
    // A bar that was answered or put off stays set: this page does not ask again, even if the answer gets lost.
    if (wanted && !bar) {
      bar = makeConsentBar(SCOPE + "peerage/inspector", (value) => quietly(api.consent(value)));
      document.documentElement.append(bar);
    } else if (!wanted && bar) {
      bar.remove();
      bar = null;
    }
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
    if (!state || hopeless || !canConnect()) return false;
    const { consent, policy } = state;
    return consent === "granted" ? policy.consent !== "never" : consent === "unasked" && policy.consent === "granted";
  }

  let hopeless = false; // the mesh worker never starts in this page
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
    #waiting = null; // takes back a request that waits for the lock
    #release = null; // gives the lock back; null while this tab does not lead
    #heard = performance.now(); // when the leader's heart last beat
    #looked = performance.now();
    #timer = setInterval(() => this.#look(), WATCH_MS);
    #left = false;

    constructor() {
      this.#channel.onmessage = ({ data }) => {
        if (data?.beat) this.#heard = performance.now();
        if (data?.ask && this.#release) this.beat();
      };
      this.#request(false);
    }

    leave() {
      this.#left = true;
      clearInterval(this.#timer);
      this.#waiting?.abort();
      this.#depose();
      this.#channel.close();
    }

    beat() {
      if (!this.#left) this.#channel.postMessage({ beat: true });
    }

    #request(steal) {
      let release;
      const held = new Promise((resolve) => (release = resolve));
      const lead = () => {
        if (this.#left) return undefined;
        this.#release = release;
        this.beat();
        mesh = new Mesh(state);
        return held;
      };
      this.#waiting = steal ? null : new AbortController();
      const options = steal ? { steal } : { signal: this.#waiting.signal };
      navigator.locks.request(NAME, options, lead).catch(() => {
        // Taken back by this tab itself, or else stolen by another: then it waits like the others.
        if (this.#release !== release) return;
        this.#depose();
        this.#request(false);
      });
    }

    #depose() {
      if (!this.#release) return;
      mesh.stop();
      mesh = null;
      this.#release();
      this.#release = null;
      this.#heard = performance.now();
    }

    #look() {
      const now = performance.now();
      // A tab whose own timers were held up has no right to blame anyone.
      const slept = now - this.#looked > DOUBT_MS;
      this.#looked = now;
      if (slept) this.#heard = now;
      const silence = now - this.#heard;
      if (this.#release) {
        mesh.look(now, slept);
        if (!slept && silence < BEAT_MS) return;
        this.#heard = now;
        this.beat();
      } else if (silence > SILENCE_MS) {
        this.#heard = now;
        setTimeout(() => this.#steal(now), Math.random() * JITTER_MS);
      } else if (silence > DOUBT_MS) {
        this.#channel.postMessage({ ask: true });
      }
    }

    #steal(since) {
      if (this.#left || this.#release || this.#heard > since) return;
      this.#waiting?.abort();
      this.#request(true);
    }
  }

  // -------------------------------------------------------------------------------------------- the mesh worker

  let mesh = null; // while this tab leads

  /** Keeps the mesh worker running, tells it what the service worker says, and makes the connections it asks for. */
  class Mesh {
    #state;
    #worker = null;
    #links = new Map(); // connection number → link
    #heard = 0; // when the worker was last heard
    #silence = MESH_START_MS; // how long it may be silent
    #started = 0;
    #failures = 0; // since it last ran for a while
    #restart = 0; // timer

    constructor(state) {
      this.#state = state;
      this.#start();
    }

    /** Sends one end of a fresh MessagePort to the mesh and the other to the service worker. */
    connect(to = worker()) {
      if (!this.#worker) return; // it gets one when it starts
      const { port1, port2 } = new MessageChannel();
      this.#tell({ port: port1 }, [port1]);
      to?.postMessage({ peerage: "port" }, [port2]);
    }

    /** Takes a newer state over: new limits are told to the worker, anything else starts it anew. */
    adopt(state) {
      const essence = ({ wasm, infoHash, site, policy: { trackers, ice } }) =>
        JSON.stringify([wasm, infoHash, site, trackers, ice]);
      const changed = essence(this.#state) !== essence(state);
      this.#state = state;
      if (!changed) return this.#tell({ policy: limits(state) });
      this.stop();
      this.#failures = 0;
      this.#start();
    }

    stop() {
      clearTimeout(this.#restart);
      for (const link of this.#links.values()) link.close();
      this.#links.clear();
      this.#tell({ stop: true });
      const stopped = this.#worker;
      this.#worker = null;
      // In a page that is going away no timer fires any more, and an open socket in its worker would keep it out of the
      // back/forward cache: there the end of the socket is the goodbye.
      if (!stopped) return;
      stopped.onmessage = ({ data }) => data.cmd === "stopped" && stopped.terminate();
      if (suspended) stopped.terminate();
      else setTimeout(() => stopped.terminate(), 1000);
    }

    /** Called several times a second: has the worker gone quiet? */
    look(now, slept) {
      if (slept) this.#heard = now;
      if (this.#worker && now - this.#heard > this.#silence) this.#fail("the mesh worker went quiet");
    }

    #start() {
      const { wasm, infoHash, site, policy } = this.#state;
      this.#started = this.#heard = performance.now();
      this.#silence = MESH_START_MS;
      try {
        const started = new Worker(trusted(MESH), { name: "peerage mesh" });
        this.#worker = started;
        started.onmessage = ({ data }) => {
          if (this.#worker === started) this.#obey(data);
        };
        started.onerror = (event) => {
          event.preventDefault(); // else the browser reports it as an error of the page
          if (this.#worker === started) this.#fail(event.message || "the mesh worker could not start");
        };
        const { port1, port2 } = new MessageChannel();
        const { trackers, ice } = policy;
        const start = { wasm, scope: SCOPE, infoHash, site, trackers, ice, policy: limits(this.#state), port: port1 };
        this.#tell({ start }, [port1]);
        worker()?.postMessage({ peerage: "port" }, [port2]);
      } catch (error) {
        this.#fail(error);
      }
    }

    #fail(why) {
      complain(why);
      this.stop();
      if (performance.now() - this.#started > STEADY_MS) this.#failures = 0;
      if (this.#silence === MESH_START_MS && this.#failures >= HOPELESS) {
        // A policy forbids it here, say. Another tab may do better.
        hopeless = true;
        return joinOrLeave();
      }
      this.#restart = setTimeout(() => this.#start(), Math.min(1000 * 2 ** this.#failures++, 60000));
    }

    #tell(message, transfer = []) {
      this.#worker?.postMessage(message, transfer);
    }

    #obey({ cmd, conn, sdp, data, text, peer }) {
      const link = this.#links.get(conn);
      if (cmd === "beat") {
        this.#heard = performance.now();
        this.#silence = MESH_SILENCE_MS;
        // Messages reach a hidden tab at once while its timers are held back: so the leader's heart beats by these, too.
        candidacy?.beat();
      } else if (cmd === "offer" || cmd === "accept") {
        link?.close();
        this.#connect(conn, sdp);
      } else if (cmd === "close") {
        link?.close();
        this.#links.delete(conn);
      } else if (cmd === "answered") {
        link?.answered(sdp);
      } else if (cmd === "send") {
        link?.send(data);
      } else if (cmd === "root") {
        // By the page, since this wakes a service worker that sleeps; its port to the mesh would not.
        worker()?.postMessage({ peerage: "root", text, peer });
      } else if (cmd === "error") {
        this.#fail(text);
      }
    }

    #connect(conn, offer) {
      // Consent is looked at here once more, at the only place where connections are made.
      if (!mayConnect() || suspended) return this.#tell({ gone: { conn, why: "no connections at the moment" } });
      const link = makeLink(conn, this.#state.policy.ice, offer, (message, transfer) => {
        if (this.#links.get(conn) !== link) return;
        this.#tell(message, transfer);
        if (message.gone) this.#links.delete(conn);
      });
      this.#links.set(conn, link);
      link.negotiate();
    }
  }

  function limits({ policy: { upload_rate, upload_budget }, paused }) {
    return { upload_rate, upload_budget, paused };
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

  // An open connection, a held lock or a channel would keep the page out of the back/forward cache. Firefox looks when a
  // navigation starts, long before `pagehide`: so a tab that waits for the lock steps back at `beforeunload`, and returns
  // if the page stays after all (a download, say). The leader is beyond help there, since its connections and its
  // worker's socket count for some 100 ms after they are closed: it is loaded anew, out of the service worker's cache.
  window.addEventListener("beforeunload", () => {
    if (!candidacy || mesh) return;
    suspend();
    setTimeout(resume, 1000);
  });
  // A tab about to be frozen hands over at once rather than after a silence.
  window.addEventListener("pagehide", suspend);
  window.addEventListener("pageshow", resume);
  document.addEventListener("freeze", suspend);
  document.addEventListener("resume", resume);
  navigator.connection?.addEventListener?.("change", () => {
    if (state) showOrHideBar();
    joinOrLeave();
  });

  function listenForNews(turn = 1) {
    const [least, most] = NEWS_MS;
    setTimeout(() => {
      // A hidden tab learns of it from its neighbours, or when it is looked at again.
      if (state && document.visibilityState === "visible") quietly(ask(turn % NEWS_ANYWAY === 0 ? "renew" : "news"));
      listenForNews(turn + 1);
    }, least + Math.random() * (most - least));
  }

  quietly(register());
  listenForNews();
})();

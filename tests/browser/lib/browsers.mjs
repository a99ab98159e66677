// Stock Chromium and Firefox, headless, each visitor with storage of its own on disk, kept on loopback.
import { cpSync, existsSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import puppeteer from 'puppeteer-core';
import { adopt, removeFolder, stop, temporaryFolder } from './processes.mjs';
import { until, within } from './wait.mjs';

/** The browsers that this run covers. */
export const BROWSERS = (process.env.PEERAGE_BROWSERS ?? 'chromium,firefox').split(',');

const root = process.getuid?.() === 0;

const CHROMIUM_ARGS = [
  // As root there is no sandbox to be had.
  ...(root ? ['--no-sandbox'] : []),
  '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  // 127.0.0.1 is offered as an ICE candidate only with this, and only to a page with a media permission.
  '--allow-loopback-in-peer-connection', '--disable-features=WebRtcHideLocalIpsWithMdns',
  // Every page stands for a visitor of its own: none is in the background.
  '--disable-background-timer-throttling', '--disable-backgrounding-occluded-windows', '--disable-renderer-backgrounding',
];

const FIREFOX_PREFS = {
  'media.peerconnection.ice.loopback': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  'media.peerconnection.ice.default_address_only': false,
  'permissions.default.camera': 1,
  'permissions.default.microphone': 1,
  'network.manage-offline-status': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'dom.serviceWorkers.enabled': true,
  'dom.min_background_timeout_value': 4,
  'dom.timeout.enable_budget_timer_throttling': false,
};

/** Puppeteer would attach to every service worker, hold its start for a debugger and keep it alive for ever. */
const PAGES_ONLY = {
  autoAttach: true, waitForDebuggerOnStart: false, flatten: true,
  filter: [{ type: 'page', exclude: true }, { type: 'service_worker', exclude: true }, { type: 'shared_worker', exclude: true }, {}],
};

const EXECUTABLES = { chromium: process.env.CHROMIUM || '/usr/bin/chromium', firefox: process.env.FIREFOX || '/usr/bin/firefox-esr' };

/** Processes whose visitor is gone, for the next one: a start costs seconds. `{kind: [running]}` */
const idle = { chromium: [], firefox: [] };

/**
 * Starts a browser; `close()` ends it with all its processes and removes its profile; `kill()` ends it at once, as a
 * crash does, and returns the profile, which is good for another start.
 * `args` and `prefs` add to the defaults (command line; Firefox preferences); `executable` is another Chromium than the usual
 * one, which is driven through pipes. With `shared`, the process may have had other
 * visitors before, one after the other, of which nothing is left: in Firefox each has a container of its own, in Chromium,
 * whose containers are in memory only, all is cleared. {@link closeShared} ends those.
 */
export async function launch(kind, { args = [], prefs = {}, profile, executable, shared = false } = {}) {
  if (shared) {
    const running = idle[kind].pop() ?? await launch(kind, { args, prefs });
    const context = kind === 'firefox' ? await running.browser.createBrowserContext() : running.context;
    const visited = new Set();
    const note = target => { if (target.url().startsWith('http')) visited.add(new URL(target.url()).origin); };
    running.browser.on('targetchanged', note);
    const ended = async () => {
      running.browser.off('targetchanged', note);
      try {
        await within(10_000, `${kind} to forget a visitor`, kind === 'firefox' ? context.close() : forget(running, visited));
        idle[kind].push(running);
      } catch {
        await running.close();
      }
    };
    return { ...running, context, close: ended };
  }
  profile ??= kind === 'firefox' ? await firefoxProfile() : temporaryFolder(kind);
  const browser = await open(kind, { args, prefs, profile, executable });
  const process_ = browser.process();
  return {
    kind, browser, context: browser.defaultBrowserContext(),
    async kill() {
      await stop(process_, 'SIGKILL');
      // What drives Firefox puts the profile's preferences back as they were, in its own time.
      const copies = ['prefs.js', 'user.js'].map(name => path.join(profile, `${name}.puppeteer`));
      await until(`${kind}'s preferences to be put back`, () => !copies.some(file => existsSync(file)));
      return profile;
    },
    async close() {
      await within(10_000, `${kind} to close`, browser.close()).catch(() => {});
      await stop(process_, 'SIGKILL');
      removeFolder(profile);
    },
  };
}

/** Ends the browsers that wait for a visitor. */
export async function closeShared() {
  await Promise.all(Object.values(idle).flatMap(waiting => waiting.splice(0)).map(running => running.close()));
}

/** Leaves a Chromium with one empty tab, and nothing of the origins that were visited. */
async function forget({ context }, visited) {
  const tabs = await context.pages();
  const page = await context.newPage();
  await Promise.all(tabs.map(tab => tab.close()));
  const session = await page.createCDPSession();
  for (const origin of visited) await session.send('Storage.clearDataForOrigin', { origin, storageTypes: 'all' });
  await session.send('Network.clearBrowserCookies');
  await session.send('Network.clearBrowserCache');
  await session.detach();
}

async function open(kind, { args = [], prefs = {}, profile, executable }) {
  const common = {
    headless: true, userDataDir: profile, protocolTimeout: 300_000, handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false,
    executablePath: executable ?? EXECUTABLES[kind], pipe: executable !== undefined,
  };
  const browser = await within(90_000, `${kind} to start`, kind === 'chromium'
    ? puppeteer.launch({
      ...common, browser: 'chrome', ignoreDefaultArgs: ['--disable-dev-shm-usage'], args: [...CHROMIUM_ARGS, ...args],
    })
    : puppeteer.launch({
      // Chrome-privileged evaluation is the only way to stop a service worker in Firefox.
      ...common, browser: 'firefox', args: ['--remote-allow-system-access', ...args], extraPrefsFirefox: { ...FIREFOX_PREFS, ...prefs },
    }));
  adopt(browser.process());
  if (kind === 'chromium') await browser._connection.send('Target.setAutoAttach', PAGES_ONLY);
  return browser;
}

/**
 * A new profile for Firefox. Its first start in an empty one costs two seconds of processor time (its own add-ons, search
 * engines and caches): that is done once for an installed Firefox, and each profile is a copy of the one it left.
 */
async function firefoxProfile() {
  const { mtimeMs, size } = statSync(realpathSync(EXECUTABLES.firefox));
  const started = fileURLToPath(new URL(`../../node_modules/.cache/firefox-${size}-${Math.round(mtimeMs)}`, import.meta.url));
  const profile = temporaryFolder('firefox');
  if (existsSync(started)) {
    cpSync(started, profile, { recursive: true });
    return profile;
  }
  const browser = await open('firefox', { profile });
  const ended = new Promise(resolve => browser.process().once('exit', resolve));
  await browser.close();
  await within(20_000, 'firefox to close', ended);
  await until('its preferences to be put back', () => !existsSync(path.join(profile, 'prefs.js.puppeteer')));
  const copy = `${started}.${process.pid}`;
  cpSync(profile, copy, { recursive: true });
  try {
    renameSync(copy, started);
  } catch {
    // Another process was quicker.
    rmSync(copy, { recursive: true });
  }
  return profile;
}

/** Lets pages of `origin` offer their loopback address to other peers. Firefox is told by preferences. */
export async function allowLoopback({ kind, browser }, origin) {
  if (kind === 'chromium') await browser.defaultBrowserContext().overridePermissions(origin, ['camera', 'microphone']);
}

/** Stops every service worker of the browser, as the browser itself does with idle ones. */
export async function stopServiceWorkers({ kind, browser }, page) {
  if (kind === 'chromium') {
    const session = await page.createCDPSession();
    const running = new Map();
    session.on('ServiceWorker.workerVersionUpdated', ({ versions }) => {
      for (const { versionId, runningStatus } of versions) running.set(versionId, runningStatus);
    });
    await session.send('ServiceWorker.enable');
    // A request that comes meanwhile, an icon's for example, starts one again.
    await until('the service workers to stop', async () => {
      await session.send('ServiceWorker.stopAllWorkers');
      return [...running.values()].every(status => status === 'stopped');
    });
    await session.detach();
    return;
  }
  const { result: { contexts: [window] } } = await browser.connection.send('browsingContext.getTree', { 'moz:scope': 'chrome' });
  await browser.connection.send('script.evaluate', {
    target: { context: window.context }, awaitPromise: true,
    expression: `(async () => {
      const manager = Cc["@mozilla.org/serviceworkers/manager;1"].getService(Ci.nsIServiceWorkerManager);
      const all = manager.getAllRegistrations();
      for (let i = 0; i < all.length; i++) {
        const { activeWorker } = all.queryElementAt(i, Ci.nsIServiceWorkerRegistrationInfo);
        if (activeWorker) await activeWorker.terminateWorker();
      }
    })()`,
  });
}

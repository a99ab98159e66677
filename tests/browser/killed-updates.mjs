// An update is broken off at random moments: the whole browser is killed, or its worker stopped, or the origin killed.
// Whatever opens then is of one version, offline too, and the update is completed later, without fetching again what it
// had. `KILLS=100` for a longer run, `SEED=…` for other moments.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { slowly } from './lib/front.mjs';
import { Origin } from './lib/peerage.mjs';
import { html, randomBytes } from './lib/site.mjs';
import { story } from './lib/story.mjs';
import { until, within } from './lib/wait.mjs';

const KILLS = Number(process.env.KILLS ?? 6);
const SEED = process.env.SEED ?? 'killed-updates';
const SHELL = 10;
const LATER = 3;
const CONFIG = '[policy]\nmode = "offload"\n[precache]\ninclude = ["index.html", "app.js", "shell-*"]\n';

/** A version of a site whose every file says which version it is of; `shell-*` is its offline shell. */
function release(number) {
  const body = `<p id="seen"></p><script>window.release = ${number}</script><script src="app.js"></script>`;
  const json = (name, size) => JSON.stringify({ release: number, filler: randomBytes(size / 2, `${name} ${number}`).toString('hex') });
  return {
    'index.html': html(`Release ${number}`, body),
    'app.js': `window.application = ${number};\n`,
    ...Object.fromEntries(Array.from({ length: SHELL }, (_, i) => [`shell-${i}.json`, json(i, 100_000)])),
    ...Object.fromEntries(Array.from({ length: LATER }, (_, i) => [`later-${i}.json`, json(i, 20_000)])),
  };
}

const shell = Array.from({ length: SHELL }, (_, i) => `shell-${i}.json`);
const everything = [...shell, ...Array.from({ length: LATER }, (_, i) => `later-${i}.json`)];

/** The one release that the open document consists of, its HTML, its script and `names`. */
async function releaseOf(visitor, names, when) {
  const found = await visitor.page.evaluate(async asked => {
    const seen = { 'index.html': window.release, 'app.js': window.application };
    await Promise.all(asked.map(async name => {
      seen[name] = await fetch(name).then(async response => (await response.json()).release).catch(error => `${error}`);
    }));
    return seen;
  }, names);
  const releases = new Set(Object.values(found));
  assert.ok(releases.size === 1 && Number.isInteger([...releases][0]), `${when}: a document of ${JSON.stringify(found)}`);
  return [...releases][0];
}

/** Numbers from 0 to 1, the same for the same seed. */
function* chances(seed) {
  for (let at = 0; ; at++) yield randomBytes(4, `${seed} ${at}`).readUInt32LE() / 2 ** 32;
}

story('whatever is killed in the middle of an update, what opens is one whole version, and the update is completed', async (stage, kind) => {
  const site = await stage.site(release(1), { config: CONFIG });
  const chance = chances(SEED);
  const next = () => chance.next().value;
  let origin = await stage.serve(site);
  const front = await stage.front(origin);
  const visitor = await stage.visitor(kind, { own: true });
  await visitor.enter(front.url);
  assert.equal(await releaseOf(visitor, everything, 'at first'), 1);
  front.when(/shell|app/, slowly(250_000));

  const killOrigin = async () => {
    const { port } = origin;
    await origin.kill();
    front.server.closeAllConnections();
    return async () => {
      origin = await Origin.start(site.root, { port });
      stage.origins.push(origin);
    };
  };
  const counted = {};
  const count = what => { counted[what] = (counted[what] ?? 0) + 1; };
  for (let number = 2; number <= KILLS + 1; number++) {
    site.write(release(number));
    await site.publish({ config: CONFIG });
    // A tab that stays on the version before, and one that is loaded anew: with that the update begins.
    const old = visitor.page;
    const tab = await visitor.newTab();
    const opened = visitor.goto(front.url).catch(() => {});
    const moment = Math.round(next() * 900);
    await pause(moment);
    const victim = ['browser', 'worker', 'origin'][(number - 2) % 3];
    const isOffline = victim === 'origin' || next() < 0.5;
    const when = `release ${number}, ${victim} killed after ${moment} ms${isOffline ? ', offline' : ''}`;
    const from = performance.now();
    const back = isOffline ? await killOrigin() : async () => {};
    if (victim === 'browser') {
      await visitor.crash();
      await visitor.comeBack();
    } else {
      if (victim === 'worker') await visitor.stopWorker();
      // Chromium may leave a navigation hanging whose worker it stopped; a person would load it anew, too.
      await within(3000, 'the tab to open', opened).catch(error => {
        if (process.env.PEERAGE_VERBOSE) console.error(`${when}: ${error.message}, at ${tab.url()}`);
      });
      visitor.page = old;
      assert.equal(await releaseOf(visitor, shell, `${when}, the tab of before`), number - 1, when);
      visitor.page = tab;
    }
    await visitor.goto(front.url);
    const found = await releaseOf(visitor, isOffline ? shell : everything, when);
    assert.ok(found === number - 1 || found === number, `${when}: release ${found}`);
    count(`${victim}: ${found === number ? 'new' : 'old'}`);
    await back();
    let mixed;
    await until(`${when}: the update to be completed`, async () => {
      await visitor.goto(front.url);
      const seen = await releaseOf(visitor, everything, `${when}, completing`).catch(error => { mixed = error; });
      return seen === number || mixed !== undefined;
    }, { every: 100 });
    if (mixed !== undefined) throw mixed;
    if (process.env.PEERAGE_VERBOSE) console.error(`${when}: found ${found}, completed after ${Math.round(performance.now() - from)} ms`);
    if (victim !== 'browser') await old.close();
  }
  stage.report(`${KILLS} kills: ${JSON.stringify(counted)}`);
}, { timeout: 240_000 + KILLS * 20_000 });

story('of two releases within moments the newer one is opened, whole, and a tab of before stays what it was', async (stage, kind) => {
  const site = await stage.site(release(1), { config: CONFIG });
  const front = await stage.front(await stage.serve(site));
  const visitor = await stage.visitor(kind);
  await visitor.enter(front.url);
  assert.equal(await releaseOf(visitor, everything, 'at first'), 1);
  const old = visitor.page;

  // The second release is on its way, and half of its shell there, when the third takes its place at the origin.
  let go;
  const published = new Promise(resolve => { go = resolve; });
  site.write(release(2));
  await site.publish({ config: CONFIG });
  front.seen.clear();
  const asked = half => half.filter(name => front.requests(`/${name}`) > 0).length;
  const [early, late] = [shell.slice(0, SHELL / 2), shell.slice(SHELL / 2)];
  const rules = late.map(name => front.when(`/${name}`, async (_, __, pass) => {
    await published;
    pass();
  }));
  const tab = await visitor.newTab(front.url);
  await until('half of the second release to be here', () => asked(early) === early.length && asked(late) > 0);
  site.write(release(3));
  const { version } = await site.publish({ config: CONFIG });
  assert.equal(await releaseOf(visitor, early, 'while both are on their way'), 1);
  go();
  const seen = [];
  await until('the third release', async () => {
    await visitor.goto(front.url);
    seen.push(await releaseOf(visitor, everything, 'meanwhile').catch(error => error));
    return seen.at(-1) === 3 || seen.at(-1) instanceof Error;
  });
  stage.report(`opened meanwhile: ${seen}`);
  assert.equal(seen.at(-1), 3);
  assert.deepEqual(seen, seen.toSorted(), 'none after a newer one');
  assert.equal((await visitor.stats()).version, version);
  for (const rule of rules) rule();

  front.when(/./, (_, response) => response.destroy());
  await visitor.stopWorker();
  await visitor.goto(front.url);
  assert.equal(await releaseOf(visitor, shell, 'the new one, offline'), 3);
  visitor.page = old;
  assert.equal(await releaseOf(visitor, everything, 'the tab of before, offline'), 1);
  await tab.close();
});

const PARTS = 8;
const HANGING = 2;

/** Publishes a release, of which the visitor gets the first files whole and half of a large one before all hangs. */
async function halfAnUpdate(stage, kind) {
  const config = '[policy]\nmode = "offload"\n[precache]\ninclude = ["*.bin"]\n';
  const content = number => ({
    'film.bin': randomBytes(12_000_000, `film ${number}`),
    ...Object.fromEntries(Array.from({ length: PARTS }, (_, i) => [`part-${i}.bin`, randomBytes(400_000, `${i} ${number}`)])),
  });
  const site = await stage.site(content(1), { config });
  const front = await stage.front(await stage.serve(site));
  const visitor = await stage.visitor(kind, { own: true });
  await visitor.enter(front.url);
  const { version } = await visitor.stats();

  site.write(content(2));
  const { version: newer } = await site.publish({ config });
  const hangAt = hang => (_, __, pass) => pass(answer => ({ ...answer, hang }));
  const rules = [
    ...Array.from({ length: HANGING }, (_, i) => front.when(`/part-${PARTS - 1 - i}.bin`, hangAt(0))),
    front.when('/film.bin', hangAt(8_000_000)),
  ];
  front.seen.clear();
  await visitor.page.reload();
  await visitor.ready();
  const stored = () => visitor.page.evaluate(async () => {
    let bytes = 0;
    const cache = await caches.open((await caches.keys()).find(name => name.startsWith('peerage:')));
    for (const { url } of await cache.keys()) {
      if (/\/store\/[0-9a-f]{16}$/.test(url)) bytes += (await (await cache.match(url)).arrayBuffer()).byteLength;
    }
    return bytes;
  });
  const whole = 12_000_000 + PARTS * 400_000;
  // Of the film all pieces but the one that hangs; no slack that would hide a part.
  const expected = whole + (PARTS - HANGING) * 400_000 + 7_000_000;
  await until('half of the update to be stored', async () => await stored() >= expected);
  assert.equal((await visitor.stats()).version, version);
  return {
    site, front, visitor, newer,
    resume() { for (const rule of rules) rule(); },
    check() {
      for (let i = 0; i < PARTS - HANGING; i++) assert.equal(front.requests(`/part-${i}.bin`), 1, `part-${i}.bin was fetched again`);
      const film = front.bytes('/film.bin');
      stage.report(`of a file of 12,000,000 bytes, 8,000,000 of them sent at first, ${film} bytes were sent in all`);
      assert.ok(film < 15_500_000, `${film} bytes of film.bin`);
    },
  };
}

story('what half an update had fetched is not fetched again when the worker was stopped, and the next start goes on', async (stage, kind) => {
  const { visitor, newer, resume, check } = await halfAnUpdate(stage, kind);
  await visitor.stopWorker();
  resume();
  // Not a navigation: any question starts the worker.
  await until('the update to be completed', async () => (await visitor.inspect()).stats.version === newer);
  check();
});

story('what half an update had fetched is not fetched again when the browser was killed', async (stage, kind) => {
  const { site, front, visitor, newer, resume, check } = await halfAnUpdate(stage, kind);
  await visitor.crash();
  resume();
  await visitor.comeBack();
  await visitor.goto(front.url);
  await visitor.ready();
  await until('the update to be completed', async () => (await visitor.inspect()).stats.version === newer);
  check();
  await visitor.goto(front.url);
  const names = site.files().filter(name => name.endsWith('.bin'));
  assert.deepEqual(site.differences(await visitor.take(names.map(name => site.url(front.url, name))), front.url), []);
});

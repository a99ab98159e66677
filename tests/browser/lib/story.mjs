// A story is a test over each browser (or pair of browsers), with a stage that holds everything it starts and clears it
// away afterwards.
import assert from 'node:assert/strict';
import { cpSync, statSync } from 'node:fs';
import test, { after } from 'node:test';
import { BROWSERS, closeShared } from './browsers.mjs';
import { Front } from './front.mjs';
import { Origin, publish, served } from './peerage.mjs';
import { removeFolder, temporaryFolder } from './processes.mjs';
import { filesBelow, sha256File, urlPath, writeFiles, writeSite } from './site.mjs';
import { Visitor } from './visitor.mjs';

/** `[[kind], …]` and `[[kind, other], …]`: every browser, and every ordered pair, of this run. */
export const EACH = BROWSERS.map(kind => [kind]);
export const PAIRS = BROWSERS.flatMap(from => BROWSERS.map(to => [from, to]));

/**
 * Declares a story. `body(stage, ...kinds)` runs once for each element of `over`; what goes wrong is reported together
 * with what each visitor saw.
 */
export function story(name, body, { over = EACH, timeout = 240_000 } = {}) {
  for (const kinds of over) {
    test(`${name} (${kinds.join(' <- ')})`, { timeout }, async context => {
      const stage = new Stage(context);
      try {
        await body(stage, ...kinds);
      } catch (error) {
        console.error(await stage.diagnosis());
        throw error;
      } finally {
        await stage.clear();
      }
    });
  }
}

after(closeShared);

class Stage {
  constructor(context) {
    this.context = context;
    this.origins = [];
    this.visitors = [];
    this.folders = [];
  }

  /** A line in the test report: a figure that is measured but not asserted. */
  report(line) {
    this.context.diagnostic(line);
  }

  folder(name) {
    const folder = temporaryFolder(name);
    this.folders.push(folder);
    return folder;
  }

  /**
   * Writes a site (see `writeSite`) and publishes it: a {@link Site}. `at`: it lies in this folder of a larger server;
   * `copyOf`: it has everything that lies in that folder, too; `beside`: it shares the server of that site.
   */
  async site(files, { at = '', copyOf, beside, ...options } = {}) {
    const site = new Site(beside?.root ?? this.folder('site'), this.folder('beside'), at);
    if (copyOf !== undefined) cpSync(copyOf, site.folder, { recursive: true });
    writeSite(site.folder, files);
    await site.publish(options);
    return site;
  }

  /** `peerage serve` for a site or a folder. */
  async serve(site, options) {
    const origin = await Origin.start(site.root ?? site, options);
    this.origins.push(origin);
    return origin;
  }

  /** A {@link Front} before an origin. */
  async front(origin) {
    const front = await Front.start(origin.url);
    this.origins.push(front);
    return front;
  }

  /**
   * A visitor, who may connect to others from pages of the origins started so far. No two have one browser at a time; with
   * any option but a name, `own: true` for example, nobody had it before.
   */
  async visitor(kind, { name = `${kind} ${this.visitors.length + 1}`, ...options } = {}) {
    const shared = Object.keys(options).length === 0;
    const visitor = await Visitor.start(kind, { name, shared, allow: this.origins.map(({ url }) => url), ...options });
    this.visitors.push(visitor);
    return visitor;
  }

  /**
   * The visitor fetches the files `names` of the site at `base`; they must be right, and some of them must not have come
   * from the origin. (How many may is the matter of other stories: on a busy machine answers are hedged.)
   */
  async takesFromPeers(visitor, origin, site, names, { base = origin.url, when = 'from peers' } = {}) {
    const before = await origin.counters();
    const answers = await visitor.take(names.map(name => site.url(base, name)));
    assert.deepEqual(site.differences(answers, base), [], when);
    const ends = new Set(names.map(name => `/${name}`));
    const { bytes } = served(before, await origin.counters(), path => [...ends].some(end => path.endsWith(end)));
    const size = names.reduce((sum, name) => sum + site.size(name), 0);
    assert.ok(bytes < size, `${when}: ${bytes} of ${size} bytes came from the origin`);
  }

  async diagnosis() {
    const parts = await Promise.all(this.visitors.map(visitor => visitor.diagnosis().catch(error => `${visitor.name}: ${error.message}`)));
    return parts.join('\n\n');
  }

  async clear() {
    await Promise.allSettled(this.visitors.map(visitor => visitor.close()));
    await Promise.allSettled(this.origins.map(origin => origin.stop()));
    for (const folder of this.folders) removeFolder(folder);
  }
}

/** A published folder; with `at`, one that lies in a folder of a larger server. */
class Site {
  constructor(root, beside, at) {
    Object.assign(this, { root, beside, at });
    this.folder = at === '' ? root : `${root}/${at}`;
  }

  /** Publishes again what the folder holds now. */
  async publish(options) {
    this.report = await publish(this.folder, this.beside, options);
    return this.report;
  }

  /** Writes further files, or other versions of those that are there. */
  write(files) {
    writeFiles(this.folder, files);
  }

  sha256(name) {
    return sha256File(this.folder, name);
  }

  size(name) {
    return statSync(`${this.folder}/${name}`).size;
  }

  /** Whether each of a visitor's answers is a whole file, as it is on disk. Returns the differences as text. */
  differences(answers, base) {
    return answers.flatMap(({ url, status, sha256, error }) => {
      const name = decodeURIComponent(new URL(url, base).pathname.slice(new URL(base).pathname.length));
      const wanted = this.sha256(name);
      return error === undefined && status === 200 && sha256 === wanted ? [] : [`${name}: ${error ?? `status ${status}, ${sha256}`} instead of ${wanted}`];
    });
  }

  /** The site's own files, without what `publish` added. */
  files() {
    return filesBelow(this.folder).filter(name => !name.startsWith('peerage/') && name !== 'peerage-sw.js' && name !== '_headers');
  }

  /** The URL of a file below `base`. */
  url(base, name) {
    return new URL(urlPath(name), base).href;
  }
}

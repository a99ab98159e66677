// What the benches share: options, aligned passes, medians, a table.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { BROWSERS } from '../tests/browser/lib/browsers.mjs';
import { Visitor } from '../tests/browser/lib/visitor.mjs';

/** `--name=value` on the command line, or `other`. */
export function option(name, other) {
  const given = process.argv.find(argument => argument.startsWith(`--${name}=`));
  return given === undefined ? other : given.slice(name.length + 3);
}

/** How often everything is measured: the cases of a pass follow each other directly, so that ratios can be formed in it. */
export const RUNS = Number(option('runs', '5'));

export { BROWSERS };

/** Series of figures by name, printed as a table: median [least .. most]. */
export class Table {
  #series = new Map();

  add(name, value, unit) {
    const series = this.#series.get(name) ?? { unit, values: [] };
    series.values.push(value);
    this.#series.set(name, series);
    console.error(`  ${name}: ${round(value)} ${unit}`);
  }

  has(name) {
    return this.#series.has(name);
  }

  /** The figures of a series; none where there is none. */
  values(name) {
    return this.#series.get(name)?.values ?? [];
  }

  /** What stands between `start` and `end` in the names of the series that have both. */
  names(start, end) {
    return [...this.#series.keys()].filter(name => name.startsWith(start) && name.endsWith(end)).map(name => name.slice(start.length, -end.length));
  }

  /**
   * The ratio of two series, formed pass by pass; `aim` is the most that is wanted. With `spread` a quarter of the passes that
   * keep to it are enough: the difference lies inside the spread.
   */
  addRatio(name, over, under, aim, { spread = false } = {}) {
    this.#addPaired(name, over, under, { unit: 'x', aim, spread }, (a, b) => a / b);
  }

  /** The same of their difference. */
  addDifference(name, over, under, aim) {
    this.#addPaired(name, over, under, { unit: this.#series.get(over).unit, aim }, (a, b) => a - b);
  }

  #addPaired(name, over, under, about, pair) {
    const [a, b] = [this.#series.get(over), this.#series.get(under)];
    this.#series.set(name, { ...about, values: a.values.map((value, i) => pair(value, b.values[i])) });
  }

  print() {
    console.log('\n| what | median [least .. most] | runs | aim | verdict |\n| --- | --- | --- | --- | --- |');
    for (const [name, { unit, values, aim, spread }] of this.#series) {
      const sorted = [...values].sort((a, b) => a - b);
      const ends = `| ${name} | ${round(sorted[sorted.length >> 1])} [${round(sorted[0])} .. ${round(sorted.at(-1))}] ${unit} | ${values.length} |`;
      console.log(aim === undefined ? `${ends} – | – |` : `${ends} ${aim} ${unit} | ${verdict(sorted, aim, spread)} |`);
    }
  }
}

/** Whether a median keeps to an aim, or with `spread` at least the lower quartile. */
function verdict(sorted, aim, spread) {
  if (sorted[sorted.length >> 1] <= aim) return 'met';
  return spread && sorted[Math.floor((sorted.length - 1) / 4)] <= aim ? 'met, inside the spread' : 'missed';
}

/** The cases of pass `run` in its own order: each pass begins with the next one, so that none always comes first. */
export function rotated(cases, run) {
  const by = run % cases.length;
  return [...cases.slice(by), ...cases.slice(0, by)];
}

export function round(value) {
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en') : Number(value.toPrecision(3));
}

/**
 * Runs a command to its end: `{seconds, processor, mib, stdout}`, the time on the clock, that of the processor over all cores,
 * and the most memory it had (Linux: what the process says of itself while it runs).
 */
export function measured(command, args) {
  return new Promise((resolve, reject) => {
    const from = performance.now();
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let [mib, processor, stdout] = [0, 0, ''];
    child.stdout.on('data', chunk => { stdout += chunk; });
    const read = () => {
      try {
        const [user, system] = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1].split(' ').slice(11, 13).map(Number);
        processor = (user + system) / 100;
        const [, kib] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8')) ?? [];
        mib = Math.max(mib, Number(kib ?? 0) / 1024);
      } catch {
        // It has ended.
      }
    };
    const reading = setInterval(read, 10);
    child.on('error', reject);
    child.on('close', code => {
      clearInterval(reading);
      if (code === 0) resolve({ seconds: (performance.now() - from) / 1000, processor, mib, stdout });
      else reject(new Error(`${command} ${args.join(' ')} exited with ${code}`));
    });
  });
}

/** Two visitors: `giver` has taken `urls` from the origin and has consented; `taker` has entered and not consented yet. */
export async function pair([takerKind, giverKind], url, urls, allow = [url]) {
  const giver = await Visitor.start(giverKind, { name: 'giver', allow });
  await giver.enter(url);
  await giver.consent();
  for (const { status, error } of await giver.take(urls)) if (status !== 200) throw new Error(`giver: ${status} ${error}`);
  const taker = await Visitor.start(takerKind, { name: 'taker', allow });
  await taker.enter(url);
  return { giver, taker, close: () => Promise.all([giver.close(), taker.close()]) };
}

// What the benches share: options, aligned passes, medians, a table.
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

  /** What stands between `start` and `end` in the names of the series that have both. */
  names(start, end) {
    return [...this.#series.keys()].filter(name => name.startsWith(start) && name.endsWith(end)).map(name => name.slice(start.length, -end.length));
  }

  /** The ratio of two series, formed pass by pass. */
  addRatio(name, over, under) {
    const [a, b] = [this.#series.get(over), this.#series.get(under)];
    const values = a.values.map((value, i) => value / b.values[i]);
    this.#series.set(name, { unit: 'x', values });
  }

  print() {
    console.log('\n| what | median [least .. most] | runs |\n| --- | --- | --- |');
    for (const [name, { unit, values }] of this.#series) {
      const sorted = [...values].sort((a, b) => a - b);
      console.log(`| ${name} | ${round(sorted[sorted.length >> 1])} [${round(sorted[0])} .. ${round(sorted.at(-1))}] ${unit} | ${values.length} |`);
    }
  }
}

export function round(value) {
  return value >= 100 ? Math.round(value).toLocaleString('en') : Number(value.toPrecision(3));
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

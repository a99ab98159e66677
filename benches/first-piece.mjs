// How long it takes from a visitor's consent to the first neighbour, and to the first piece from a peer in the page.
// usage: node benches/first-piece.mjs [--runs=5]
import { BROWSERS, pair, RUNS, Table } from './measure.mjs';
import { Origin, publish } from '../tests/browser/lib/peerage.mjs';
import { temporaryFolder } from '../tests/browser/lib/processes.mjs';
import { writeSite } from '../tests/browser/lib/site.mjs';

const folder = temporaryFolder('site');
writeSite(folder, { 'level.bin': 50_000 });
await publish(folder, temporaryFolder('beside'));
const origin = await Origin.start(folder);
const file = `${origin.url}level.bin`;
const table = new Table();

for (let run = 0; run < RUNS; run++) {
  for (const kind of BROWSERS) {
    const { taker, close } = await pair([kind, kind], origin.url, [file]);
    const { neighbour, piece, fromPeer } = await taker.page.evaluate(async url => {
      const from = performance.now();
      await window.peerage.consent(true);
      while ((await window.peerage.stats()).peers < 1) await new Promise(resolve => setTimeout(resolve, 5));
      const neighbour = performance.now() - from;
      await (await fetch(url)).arrayBuffer();
      const piece = performance.now() - from;
      return { neighbour, piece, fromPeer: (await window.peerage.explain(url)).bytes.peer };
    }, file);
    if (fromPeer === 0) throw new Error('the piece did not come from the peer');
    table.add(`${kind}: consent to first neighbour`, neighbour, 'ms');
    table.add(`${kind}: consent to first piece in the page`, piece, 'ms');
    await close();
  }
}
await origin.stop();
table.print();

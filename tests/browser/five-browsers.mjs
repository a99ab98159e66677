// The bandwidth bill: five fresh browsers, one after another, ask for the same 50 MB of lazily loaded files.
import assert from 'node:assert/strict';
import { served } from './lib/peerage.mjs';
import { many } from './lib/site.mjs';
import { EACH, story } from './lib/story.mjs';

const lazy = { ...many('track', 20, 2_000_000), ...many('sprite', 50, 200_000) };

story('five browsers take at most 1.2 copies from the origin', async (stage, ...kinds) => {
  const site = await stage.site(lazy);
  const origin = await stage.serve(site);
  const urls = Object.keys(lazy).map(name => site.url(origin.url, name));
  const isLazy = path => /\/(track|sprite)-/.test(path);
  const size = 50_000_000;
  const start = await origin.counters();
  let last = start;
  for (let i = 0; i < 5; i++) {
    const kind = kinds[i % kinds.length];
    const visitor = await stage.visitor(kind, { name: `visitor ${i + 1}, ${kind}` });
    await visitor.enter(origin.url);
    await visitor.consent();
    if (i > 0) await visitor.neighbours(1);
    const before = await origin.counters();
    const from = performance.now();
    assert.deepEqual(site.differences(await visitor.take(urls), origin.url), [], visitor.name);
    const took = performance.now() - from;
    const after = await origin.counters();
    const { bytes } = await visitor.stats();
    stage.report(`${visitor.name}: first load ${served(last, before).bytes} bytes; of 50 MB ${served(before, after, isLazy).bytes} bytes from the origin, ${bytes.peer} from peers, in ${Math.round(took)} ms`);
    last = after;
  }
  const total = served(start, last, isLazy).bytes;
  stage.report(`copies from the origin in all: ${(total / size).toFixed(3)}`);
  assert.ok(total >= size, 'somebody must have taken them from the origin');
  assert.ok(total <= size * 1.2, `${total} bytes are ${(total / size).toFixed(2)} copies`);
}, { over: [EACH.flat()], timeout: 600_000 });

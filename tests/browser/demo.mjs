// `peerage demo`: makes, publishes and serves a site in one go; the site works with and without other visitors.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { PEERAGE } from './lib/peerage.mjs';
import { start, stop } from './lib/processes.mjs';
import { story } from './lib/story.mjs';
import { until } from './lib/wait.mjs';

story('the demo opens its plates, says who carried them, and cleans up', async (stage, kind) => {
  const child = start(PEERAGE, ['demo', '--listen', '127.0.0.1:0']);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => { output += chunk; });
  const origin = {
    stop: () => stop(child),
    url: await until('the demo to be served', () => {
      assert.equal(child.exitCode, null, output);
      return /(http:\/\/127\.0\.0\.1:\d+\/)\n/.exec(output)?.[1];
    }, { deadline: 180_000 }),
  };
  stage.origins.push(origin);
  const folder = /The site is in (\S+)/.exec(output)[1];

  const openPlate = async (visitor, name) => {
    await visitor.wait('the islands', wanted => {
      const card = [...document.querySelectorAll('.card')].find(one => one.textContent.includes(wanted));
      card?.click();
      return card !== undefined;
    }, name);
    await visitor.wait('what is told of its bytes', () => /^Carried here/.test(document.getElementById('carried').textContent));
    return visitor.page.evaluate(() => document.getElementById('carried').textContent);
  };
  const first = await stage.visitor(kind, { name: 'first' });
  await first.enter(origin.url);
  await first.consent();
  assert.match(await openPlate(first, 'Saltmarrow'), /^Carried here: [\d.]+ MB from the server\.$/);
  const second = await stage.visitor(kind, { name: 'second' });
  await second.enter(origin.url);
  await second.consent();
  await second.neighbours(1);
  // On a busy machine the server may be asked for a part.
  assert.match(await openPlate(second, 'Saltmarrow'), /^Carried here: [\d.]+ [kM]B from other visitors/);
  await second.wait('the panel', () => document.getElementById('peers').textContent === '1');
  assert.deepEqual([...first.complaints(), ...second.complaints()], []);

  await origin.stop();
  assert.equal(existsSync(folder), false, `${folder} is left behind`);
  await second.goto(origin.url);
  assert.match(await openPlate(second, 'Saltmarrow'), /^Carried here: [\d.]+ MB from this device\.$/);
});

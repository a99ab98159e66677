// What the site's owner prefers: a fast origin answers by itself, and a slow one is made up for by peers.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { many } from './lib/site.mjs';
import { story } from './lib/story.mjs';

const files = { ...many('early', 4, 400_000), ...many('late', 8, 400_000) };

story('in speed mode peers bring what the origin would bring later', async (stage, kind) => {
  // On one machine a peer is as fast as the origin, so this one is held back: a second for a file.
  const site = await stage.site(files, { config: '[policy]\nmode = "speed"\nupload_rate = 400000\n' });
  const front = await stage.front(await stage.serve(site));
  const urls = prefix => Object.keys(files).filter(name => name.startsWith(prefix)).map(name => site.url(front.url, name));
  const [giver, taker] = [await stage.visitor(kind, { name: 'giver' }), await stage.visitor(kind, { name: 'taker' })];
  await giver.enter(front.url);
  await giver.consent();
  assert.deepEqual(site.differences(await giver.take([...urls('early'), ...urls('late')]), front.url), []);
  await taker.enter(front.url);
  await taker.consent();
  await taker.neighbours(1);

  const takes = async prefix => {
    const before = (await taker.stats()).bytes;
    for (const url of urls(prefix)) assert.deepEqual(site.differences(await taker.take([url]), front.url), []);
    const { peer, origin } = (await taker.stats()).bytes;
    return { peer: peer - before.peer, origin: origin - before.origin };
  };
  const fast = await takes('early');
  const { origin } = await taker.inspect();
  stage.report(`fast origin (${origin.rtt} ms, ${origin.rate} bytes/s): ${fast.origin} bytes from it, ${fast.peer} from the peer`);
  assert.ok(origin.rtt < 500 && origin.rate > 400_000, JSON.stringify(origin));
  // On a busy machine it is late now and then, and the peer brings what it owes.
  assert.ok(fast.origin >= 400_000, JSON.stringify(fast));

  front.when(/^\/late/, async (_, __, pass) => {
    await pause(4000);
    pass();
  });
  const began = performance.now();
  const slow = await takes('late');
  const took = Math.round(performance.now() - began);
  stage.report(`origin of 4 s: ${slow.origin} bytes from it, ${slow.peer} from the peer, ${took} ms`);
  assert.ok(slow.peer >= 6 * 400_000, JSON.stringify(slow));
  assert.deepEqual([...giver.complaints(), ...taker.complaints()], []);
});

// The mesh worker is killed while it fetches: requests go on, from the origin, and the mesh comes back.
import assert from 'node:assert/strict';
import { many } from './lib/site.mjs';
import { story } from './lib/story.mjs';

const files = { ...many('level', 12, 3_000_000), ...many('later', 4, 200_000) };

for (const victim of ['taker', 'giver']) {
  story(`requests go on when the ${victim}'s mesh worker is killed`, async (stage, kind) => {
    const site = await stage.site(files);
    const origin = await stage.serve(site);
    const urls = prefix => Object.keys(files).filter(name => name.startsWith(prefix)).map(name => site.url(origin.url, name));
    const people = {};
    for (const name of ['giver', 'taker']) {
      people[name] = await stage.visitor(kind, { name });
      await people[name].enter(origin.url);
      await people[name].consent();
      if (name === 'giver') assert.deepEqual(site.differences(await people.giver.take([...urls('level'), ...urls('later')]), origin.url), []);
    }
    const { taker } = people;
    await taker.neighbours(1);
    const taking = taker.take(urls('level'));
    await taker.wait('bytes from the peer', async () => (await window.peerage.stats()).bytes.peer > 0);
    assert.ok(await people[victim].killMesh() > 0, 'there was no mesh worker to kill');
    assert.deepEqual(site.differences(await taking, origin.url), []);
    assert.deepEqual(site.differences(await taker.take(urls('later')), origin.url), []);
    await people[victim].neighbours(1);
  });
}

// Where a browser cannot transfer a data channel to a worker, the page relays what goes over it.
import assert from 'node:assert/strict';
import { many } from './lib/site.mjs';
import { story } from './lib/story.mjs';

const files = many('level', 4, 1_500_000);

/** In the page, before its scripts: a browser that transfers everything but channels. */
function refuseChannels() {
  const { postMessage } = Worker.prototype;
  Worker.prototype.postMessage = function (message, transfer = []) {
    if ([...(transfer.transfer ?? transfer)].some(object => object instanceof RTCDataChannel)) {
      throw new DOMException('RTCDataChannel could not be transferred', 'DataCloneError');
    }
    return postMessage.call(this, message, transfer);
  };
}

for (const [relaying, others] of [[['giver', 'taker'], 'both sides'], [['taker'], 'the taker alone']]) {
  story(`files travel between browsers when the pages of ${others} must relay`, async (stage, kind) => {
    const site = await stage.site(files);
    const origin = await stage.serve(site);
    const urls = Object.keys(files).map(name => site.url(origin.url, name));
    const people = {};
    for (const name of ['giver', 'taker']) {
      people[name] = await stage.visitor(kind, { name });
      if (relaying.includes(name)) await people[name].page.evaluateOnNewDocument(refuseChannels);
      await people[name].enter(origin.url);
      await people[name].consent();
      if (name === 'giver') assert.deepEqual(site.differences(await people.giver.take(urls), origin.url), []);
    }
    await people.taker.neighbours(1);
    await stage.takesFromPeers(people.taker, origin, site, Object.keys(files));
  });
}

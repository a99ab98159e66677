// A tracker introduces each visitor to one other, and dies: the visitors find the others through each other.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { WebSocketServer } from 'ws';
import { many } from './lib/site.mjs';
import { story } from './lib/story.mjs';
import { until } from './lib/wait.mjs';

const files = { ...many('x', 8, 300_000) };

/**
 * A tracker that introduces who comes to who came just before, by one offer, and to nobody else. With its `last` answer
 * carried it is gone.
 */
class MiserlyTracker {
  static async start(last) {
    const tracker = new MiserlyTracker();
    tracker.left = last;
    tracker.came = [];
    tracker.introduced = new Set();
    tracker.server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(tracker.server, 'listening');
    tracker.server.on('connection', socket => socket.on('message', text => tracker.#hear(socket, JSON.parse(text))));
    tracker.url = `ws://127.0.0.1:${tracker.server.address().port}/`;
    return tracker;
  }

  #hear(socket, { info_hash, peer_id, offers, answer, to_peer_id, offer_id }) {
    const say = (to, message) => to?.socket.send(JSON.stringify({ action: 'announce', info_hash, ...message }));
    if (answer) {
      say(this.came.find(({ peer }) => peer === to_peer_id), { peer_id, offer_id, answer });
      this.left -= 1;
      if (this.left === 0) this.stop();
      return;
    }
    if (!this.came.some(({ peer }) => peer === peer_id)) this.came.push({ peer: peer_id, socket });
    say({ socket }, { interval: 120, complete: 0, incomplete: this.came.length });
    const before = this.came[this.came.findIndex(({ peer }) => peer === peer_id) - 1];
    if (before === undefined || !offers?.length || this.introduced.has(peer_id)) return;
    this.introduced.add(peer_id);
    say(before, { peer_id, offer_id: offers[0].offer_id, offer: offers[0].offer });
  }

  get stopped() {
    return this.left === 0;
  }

  stop() {
    this.left = 0;
    this.server.close();
    for (const client of this.server.clients) client.terminate();
  }
}

story('visitors who know one other find the rest, and do without whom they knew', async (stage, kind) => {
  const tracker = await MiserlyTracker.start(2);
  stage.context.after(() => tracker.stop());
  const site = await stage.site(files, { config: `[trackers]\nurls = ["${tracker.url}"]\n` });
  const origin = await stage.serve(site);
  const names = Object.keys(files);
  const urls = names.map(name => site.url(origin.url, name));
  const visitors = [];
  for (const name of ['first', 'second', 'third']) {
    const visitor = await stage.visitor(kind, { name });
    await visitor.enter(origin.url);
    await visitor.consent();
    visitors.push(visitor);
    if (name === 'first') assert.deepEqual(site.differences(await visitor.take(urls), origin.url), []);
    await until(`the tracker to know the ${name}`, async () => tracker.stopped || tracker.came.length === visitors.length);
  }
  const [first, second, third] = visitors;
  await until('the tracker to be gone', async () => tracker.stopped);
  const took = await third.neighbours(2);
  await first.neighbours(2);
  stage.report(`the third visitor found the first through the second, ${Math.round(took)} ms after the tracker was gone`);
  await second.close();
  await stage.takesFromPeers(third, origin, site, names);
});

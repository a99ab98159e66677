// A file from one page to others by other means than Peerage, for benches/throughput.mjs: each is a `{give, take}` of
// `window.others`. `give(config, bytes)` resolves to what a taker must know; `take(config, id, size, told)` calls
// `told.connected`, `told.first` (byte) and `told.verified` (piece) when they come to pass, and resolves to a function that
// returns the file once all of it is there.

const SEGMENT = 1 << 20;

/** p2p-media-loader-core: the file as a stream of 1 MiB segments of four seconds, asked for one after the other as a player does. */
const p2pMediaLoader = {
  async start({ tracker }, swarm, count, kept) {
    const { Core } = await import('/p2p-media-loader-core/dist/p2p-media-loader-core.es.min.js');
    const storage = {
      async initialize() {}, onPlaybackUpdated() {}, onSegmentRequested() {}, destroy() {},
      async storeSegment(_swarm, stream, id, data) { kept.set(id, data); this.changed?.(stream); },
      async getSegmentData(_swarm, _stream, id) { return kept.get(id); },
      hasSegment(_swarm, _stream, id) { return kept.has(id); },
      getStoredSegmentIds() { return [...kept.keys()]; },
      getUsage() { return { totalCapacity: 4096, usedCapacity: 0 }; },
      setSegmentChangeCallback(callback) { this.changed = callback; },
    };
    const core = new Core({
      announceTrackers: [tracker], rtcConfig: { iceServers: [] }, customSegmentStorageFactory: () => storage,
      // Nothing comes over HTTP, and everything may be fetched ahead.
      simultaneousHttpDownloads: 0, httpErrorRetries: 0, highDemandTimeWindow: 0, httpDownloadTimeWindow: 0, p2pDownloadTimeWindow: 100_000,
    });
    core.setManifestResponseUrl(`${location.origin}/${swarm}.m3u8`);
    core.addStreamIfNoneExists({ runtimeId: 'stream', type: 'main', index: '0' });
    const segments = Array.from({ length: count }, (_, i) => ({ runtimeId: `${i}`, externalId: i, url: `${location.origin}/nowhere/${i}`, startTime: 4 * i, endTime: 4 * i + 4 }));
    core.updateStream('stream', segments);
    return { core, load: i => new Promise((resolve, reject) => { core.loadSegment(`${i}`, { onSuccess: resolve, onError: reject }); }) };
  },

  async give(config, bytes) {
    const id = { swarm: crypto.randomUUID(), count: Math.ceil(bytes.length / SEGMENT) };
    const kept = new Map(Array.from({ length: id.count }, (_, i) => [i, bytes.slice(i * SEGMENT, (i + 1) * SEGMENT).buffer]));
    const { core, load } = await this.start(config, id.swarm, id.count, kept);
    await load(0);
    core.updatePlayback(0, 1);
    return id;
  },

  async take(config, { swarm, count }, size, told) {
    const kept = new Map();
    const { core, load } = await this.start(config, swarm, count, kept);
    core.addEventListener('onPeerConnect', told.connected);
    core.addEventListener('onChunkDownloaded', told.first);
    core.addEventListener('onSegmentLoaded', told.verified);
    for (let i = 0; i < count; i++) await load(i);
    return () => new Blob(Array.from({ length: count }, (_, i) => kept.get(i))).arrayBuffer();
  },
};

/** WebTorrent's published bundle; the .torrent is handed over, as a signed manifest would be. */
const webTorrent = {
  async start() {
    const { default: WebTorrent } = await import('/webtorrent/dist/webtorrent.min.js');
    return new WebTorrent({ dht: false, lsd: false, utPex: false, tracker: { rtcConfig: { iceServers: [] } } });
  },

  async give({ tracker }, bytes) {
    const client = await this.start();
    return new Promise((resolve, reject) => {
      client.on('error', reject);
      client.seed(new File([bytes], 'file.bin'), { announce: [tracker], name: 'file.bin' }, torrent => resolve([...torrent.torrentFile]));
    });
  },

  async take({ tracker }, id, size, told) {
    const client = await this.start();
    const torrent = client.add(new Uint8Array(id), { announce: [tracker] });
    torrent.on('wire', told.connected);
    torrent.on('download', told.first);
    torrent.on('verified', told.verified);
    await new Promise((resolve, reject) => {
      client.on('error', reject);
      torrent.on('error', reject);
      torrent.on('done', resolve);
    });
    return async () => (await torrent.files[0].blob()).arrayBuffer();
  },
};

/** One data channel between two workers, where each 64 KiB is hashed and kept in memory: the least that it can take. */
const bare = {
  async give() {
    return null;
  },

  /** The taker's description; {@link bare.answer} makes the giver's of it. */
  async offer(size) {
    this.connection = new RTCPeerConnection();
    this.end = this.hand(this.connection.createDataChannel('bare'), { role: 'take', size });
    return this.described(this.connection);
  },

  async answer(offer, size) {
    const connection = new RTCPeerConnection();
    // More than one may take.
    (this.connections ??= []).push(connection);
    connection.ondatachannel = ({ channel }) => this.hand(channel, { role: 'give', size });
    await connection.setRemoteDescription(offer);
    return this.described(connection);
  },

  async take(_config, answer, size, told) {
    this.told = told;
    await this.connection.setRemoteDescription(answer);
    const bytes = await this.end;
    return async () => bytes;
  },

  async described(connection) {
    await connection.setLocalDescription();
    await new Promise(resolve => {
      const look = () => connection.iceGatheringState === 'complete' && resolve();
      connection.onicegatheringstatechange = look;
      look();
    });
    return connection.localDescription.toJSON();
  },

  hand(channel, task) {
    const worker = new Worker('/worker.js');
    worker.postMessage({ ...task, channel }, [channel]);
    return new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => {
        if (data.error) reject(new Error(data.error));
        else if (data.bytes) resolve(data.bytes);
        else this.told[data.told]();
      };
    });
  },
};

const others = { 'p2p-media-loader': p2pMediaLoader, WebTorrent: webTorrent, bare };
let content;

async function digest(bytes) {
  return [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))].map(byte => byte.toString(16).padStart(2, '0')).join('');
}

window.give = async (name, config, file) => {
  content = new Uint8Array(await (await fetch(file)).arrayBuffer());
  return others[name].give(config, content);
};
window.offer = size => bare.offer(size);
window.answer = (offer, size) => bare.answer(offer, size);
/** When what came to pass, in ms from now: `{connected, first, verified, done, sha256}`. */
window.take = async (name, config, id, size) => {
  const from = performance.now();
  const at = {};
  const told = Object.fromEntries(['connected', 'first', 'verified'].map(what => [what, () => { at[what] ??= performance.now() - from; }]));
  const file = await others[name].take(config, id, size, told);
  at.done = performance.now() - from;
  return { ...at, sha256: await digest(await file()) };
};

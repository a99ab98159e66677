// One end of the bare channel of page.js. The giver keeps 64 KiB buffered: with more, Chromium's sender stalls at first.
const PART = 65_536;

onmessage = ({ data: { role, channel, size } }) => {
  channel.binaryType = 'arraybuffer';
  if (role === 'give') give(channel, size);
  else take(channel, size);
};

function give(channel, size) {
  const part = content(PART);
  channel.bufferedAmountLowThreshold = PART / 2;
  channel.onmessage = () => {
    let sent = 0;
    const pump = () => { while (sent < size && channel.bufferedAmount < PART) { channel.send(part); sent += PART; } };
    channel.onbufferedamountlow = pump;
    pump();
  };
  // What comes to the side that answered before its channel is handed on is lost in Chromium, so it speaks first.
  const ready = () => channel.send('ready');
  if (channel.readyState === 'open') ready();
  else channel.onopen = ready;
}

async function take(channel, size) {
  const kept = new Uint8Array(size);
  const expected = new Uint8Array(await crypto.subtle.digest('SHA-256', content(PART)));
  let at = 0, checked = 0;
  channel.onmessage = async ({ data }) => {
    if (data === 'ready') {
      postMessage({ told: 'connected' });
      channel.send('go');
      return;
    }
    if (at === 0) postMessage({ told: 'first' });
    const here = at;
    at += data.byteLength;
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
    if (hash.some((byte, i) => byte !== expected[i])) return postMessage({ error: 'a part does not match' });
    if (here === 0) postMessage({ told: 'verified' });
    kept.set(new Uint8Array(data), here);
    checked += PART;
    if (checked >= size) postMessage({ bytes: kept }, [kept.buffer]);
  };
}

function content(size) {
  return new Uint8Array(size).map((_, i) => (i * 31) & 255);
}

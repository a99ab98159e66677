// Small media files made by hand: none of the browsers' decoders needs more than these have.
import { deflateSync } from 'node:zlib';

/** A PNG of one colour; `note` makes it unlike others of the same look. */
export function png(width, height, [red, green, blue], note) {
  const chunk = (type, body) => {
    const bytes = Buffer.concat([Buffer.alloc(4), Buffer.from(type), body, Buffer.alloc(4)]);
    bytes.writeUInt32BE(body.length, 0);
    bytes.writeUInt32BE(crc32(bytes.subarray(4, -4)), bytes.length - 4);
    return bytes;
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2], 8);
  const line = Buffer.concat([Buffer.from([0]), ...Array.from({ length: width }, () => Buffer.from([red, green, blue]))]);
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', header), chunk('tEXt', Buffer.from(`Comment\0${note}`)),
    chunk('IDAT', deflateSync(Buffer.concat(Array.from({ length: height }, () => line)))), chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** `seconds` of a tone, PCM in a WAV: 8,000 bytes a second. */
export function wav(seconds, period = 20) {
  const rate = 8000;
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + seconds * rate, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(rate, 28);
  header.writeUInt16LE(1, 32);
  header.writeUInt16LE(8, 34);
  header.write('data', 36);
  header.writeUInt32LE(seconds * rate, 40);
  return Buffer.concat([header, Buffer.from(Uint8Array.from({ length: seconds * rate }, (_, i) => 128 + 60 * Math.sin((2 * Math.PI * i) / period + i * i / 1e9)))]);
}

/** One VP8 key frame of 1 × 1 pixels: the payload of the smallest lossy WebP. */
const FRAME = Buffer.from('UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA', 'base64').subarray(20, 42);

/**
 * A WebM of `seconds` clusters of one second, ten key frames each, with `padding` bytes of `fill(i)` in each cluster, and
 * an index (Matroska, RFC 9559).
 */
export function webm(seconds, padding, fill) {
  const clusters = Array.from({ length: seconds }, (_, i) => element(0x1F43B675,
    element(0xE7, number(i * 1000)),
    element(0xEC, fill(i, padding)),
    ...Array.from({ length: 10 }, (_, frame) => element(0xA3, Buffer.from([0x81, 0, 0, 0x80]).fill(frame * 100 >> 8, 1, 2).fill(frame * 100 & 255, 2, 3), FRAME))));
  const info = element(0x1549A966, element(0x2AD7B1, number(1_000_000)), element(0x4489, double(seconds * 1000)), element(0x4D80, 'by hand'), element(0x5741, 'by hand'));
  const tracks = element(0x1654AE6B, element(0xAE, element(0xD7, number(1)), element(0x73C5, number(1)), element(0x83, number(1)), element(0x86, 'V_VP8'),
    element(0xE0, element(0xB0, number(1)), element(0xBA, number(1)))));
  const cues = from => {
    let at = from;
    return element(0x1C53BB6B, ...clusters.map((cluster, i) => {
      const point = element(0xBB, element(0xB3, number(i * 1000, 4)), element(0xB7, element(0xF7, number(1)), element(0xF1, number(at, 8))));
      at += cluster.length;
      return point;
    }));
  };
  const before = info.length + tracks.length;
  return Buffer.concat([
    element(0x1A45DFA3, element(0x4286, number(1)), element(0x42F7, number(1)), element(0x42F2, number(4)), element(0x42F3, number(8)),
      element(0x4282, 'webm'), element(0x4287, number(2)), element(0x4285, number(2))),
    element(0x18538067, info, tracks, cues(before + cues(0).length), ...clusters),
  ]);
}

/** An EBML element (RFC 8794) with an eight-byte size. */
function element(id, ...content) {
  const body = Buffer.concat(content.map(part => Buffer.from(part)));
  const name = Buffer.from(id.toString(16), 'hex');
  const size = Buffer.alloc(8);
  size.writeBigUInt64BE(BigInt(body.length) | (1n << 56n));
  return Buffer.concat([name, size, body]);
}

function number(value, bytes = 4) {
  const out = Buffer.alloc(8);
  out.writeBigUInt64BE(BigInt(value));
  return out.subarray(8 - bytes);
}

function double(value) {
  const out = Buffer.alloc(8);
  out.writeDoubleBE(value);
  return out;
}

/** A WebAssembly module that exports `f() -> 42`, with `padding` (a Buffer) in a custom section. */
export function wasm(padding) {
  const leb = n => (n < 128 ? [n] : [(n & 127) | 128, ...leb(n >> 7)]);
  const custom = Buffer.concat([Buffer.from([1, 0x70]), padding]);
  return Buffer.concat([
    Buffer.from('0061736d0100000001050160000 17f030201000705010166 00000a06010400412a0b'.replaceAll(' ', ''), 'hex'),
    Buffer.from([0, ...leb(custom.length)]), custom,
  ]);
}

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0xEDB88320 : 0);
  }
  return ~crc >>> 0;
}

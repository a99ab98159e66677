// The real binary: `peerage publish` and `peerage serve`, with the origin's own counters.
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { start, stop } from './processes.mjs';
import { PATIENCE, until } from './wait.mjs';

export const PEERAGE = process.env.PEERAGE ?? fileURLToPath(new URL('../../../target/release/peerage', import.meta.url));

/** Runs the binary to its end: `{code, stdout, stderr}`, whatever the exit code. */
export function peerage(...args) {
  return new Promise((resolve, reject) => {
    execFile(PEERAGE, args, { maxBuffer: 64 << 20, timeout: 120_000 }, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== 'number') reject(new Error(`${PEERAGE} ${args.join(' ')}: ${error.message}`));
      else resolve({ code: error?.code ?? 0, stdout, stderr });
    });
  });
}

/**
 * The policy where a story has none of its own. On one machine the origin is faster than any peer, so by the default mode it
 * would be asked for everything.
 */
const MESH = '[policy]\nmode = "offload"\n';

/** Publishes `folder` with the key `key` and the configuration kept in `beside` (a folder outside it); returns the `--json` report. */
export async function publish(folder, beside, { config = '', key = 'site.key.pem', args = [] } = {}) {
  const toml = path.join(beside, 'peerage.toml');
  writeFileSync(toml, config.includes('[policy]') ? config : MESH + config);
  const { code, stdout, stderr } = await peerage('publish', folder, '--key', path.join(beside, key), '--json',
    '--config', toml, ...args);
  if (code !== 0) throw new Error(`peerage publish exited with ${code}:\n${stderr}${stdout}`);
  return JSON.parse(stdout);
}

/** A running `peerage serve`. */
export class Origin {
  /** Starts one on a free port, or on `port` (to come back where an earlier one was). */
  static async start(folder, { port = 0, args = [] } = {}) {
    const child = start(PEERAGE, ['serve', folder, '--listen', `127.0.0.1:${port}`, '--metrics-listen', '127.0.0.1:0', ...args]);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => { output += chunk; });
    const address = pattern => pattern.exec(output)?.[1];
    const origin = new Origin();
    Object.assign(origin, { folder, child });
    await until(`peerage serve to listen; it said:\n${output}`, () => {
      if (child.exitCode !== null) throw new Error(`peerage serve exited with ${child.exitCode}: ${output}`);
      const metrics = address(/(http:\/\/127\.0\.0\.1:\d+\/metrics)/);
      const url = [...output.matchAll(/http:\/\/127\.0\.0\.1:\d+(?=\/(?!metrics)|\s)/g)][0]?.[0];
      return metrics && url && Object.assign(origin, { metrics, url: `${url}/` });
    });
    origin.port = Number(new URL(origin.url).port);
    return origin;
  }

  /** What was served since the start, by decoded path: `{path: {requests, bytes}}`. */
  async counters() {
    const text = await (await fetch(this.metrics, { signal: AbortSignal.timeout(PATIENCE) })).text();
    return parseCounters(text);
  }

  async stop() {
    await stop(this.child);
  }

  /** Ends it as a crash does. */
  async kill() {
    await stop(this.child, 'SIGKILL');
  }
}

/** Bytes and requests of the paths that `wanted` accepts, in what was served between two readings. */
export function served(before, after, wanted = () => true) {
  const sum = { requests: 0, bytes: 0 };
  for (const [url, { requests, bytes }] of Object.entries(after)) {
    if (!wanted(url)) continue;
    sum.requests += requests - (before[url]?.requests ?? 0);
    sum.bytes += bytes - (before[url]?.bytes ?? 0);
  }
  return sum;
}

/** Reads the Prometheus text format, as far as `peerage serve` uses it for its paths. */
function parseCounters(text) {
  const counters = {};
  for (const line of text.split('\n')) {
    const match = /^peerage_(requests|response_bytes)_total\{path="((?:[^"\\]|\\.)*)".*\} ([\d.e+]+)$/.exec(line);
    if (match === null) continue;
    const [, what, escaped, value] = match;
    const path = escaped.replace(/\\(.)/g, (_, c) => (c === 'n' ? '\n' : c));
    counters[path] ??= { requests: 0, bytes: 0 };
    counters[path][what === 'requests' ? 'requests' : 'bytes'] += Number(value);
  }
  return counters;
}

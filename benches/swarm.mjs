// A flash crowd of real browsers at an origin with a limited uplink, and the simulator's prediction of the very same
// visits: who comes when, consents when, and asks for what when is what `peerage simulate --plan` says. The origin is in a
// network namespace of its own, behind a token bucket (tc-tbf); the browsers are in another and see each other over loopback.
// usage, as root: node benches/swarm.mjs [--peers=10] [--mbit=20] [--mode=offload] [--seed=1] [--browsers=chromium]
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { option, Table } from './measure.mjs';
import { Origin, PEERAGE, peerage, publish, served } from '../tests/browser/lib/peerage.mjs';
import { start, temporaryFolder } from '../tests/browser/lib/processes.mjs';
import { html, many, writeSite } from '../tests/browser/lib/site.mjs';
import { Visitor } from '../tests/browser/lib/visitor.mjs';
import { until } from '../tests/browser/lib/wait.mjs';

const [PEERS, MBIT, SEED] = ['peers:10', 'mbit:20', 'seed:1'].map(o => o.split(':')).map(([name, other]) => Number(option(name, other)));
const MODE = option('mode', 'offload');
const KINDS = option('browsers', 'chromium').split(',');

if (process.env.SWARM_NAMESPACE === undefined) {
  // Everything that follows is in a network of its own.
  const again = ['-n', '--', process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  const { status } = spawnSync('unshare', again, { stdio: 'inherit', env: { ...process.env, SWARM_NAMESPACE: '1' } });
  process.exit(status ?? 1);
}

const folder = temporaryFolder('swarm');
const beside = temporaryFolder('beside');
writeSite(folder, {
  'index.html': html('Flash crowd', '', '<script src="/peerage/page.js" async></script>'),
  'style.css': 'body { color: #234 }\n',
  ...many('level', 20, 2_000_000),
});
await publish(folder, beside, { config: `[policy]\nmode = "${MODE}"\n` });
const names = ['index.html', ...Object.keys(many('level', 20, 1)).sort(), 'style.css'];

const url = await limitedOrigin();
const origin = Object.assign(new Origin(), { metrics: 'http://10.77.0.1:9090/metrics' });
await until('the origin to listen', () => origin.counters().catch(() => false));

const scenario = path.join(beside, 'swarm.toml');
writeFileSync(scenario, scenarioText());
await run('simulate', scenario, '--site', folder, '--seed', SEED, '--plan', path.join(beside, 'plan.json'));
const plan = JSON.parse(readFileSync(path.join(beside, 'plan.json'), 'utf8'));
const asked = plan.flatMap(({ steps }) => steps.flatMap(([, files]) => files));
const bytesOf = numbers => numbers.reduce((sum, number) => sum + (names[number].startsWith('level') ? 2_000_000 : 0), 0);

const visitors = [];
for (const [number] of plan.entries()) {
  visitors.push(await Visitor.start(KINDS[number % KINDS.length], { name: `visitor ${number}`, allow: [url] }));
}
const before = await origin.counters();
const began = performance.now();
const told = await Promise.all(plan.map((visit, number) => go(visitors[number], visit)));
const figures = served(before, await origin.counters(), name => name.startsWith('/level'));
const all = served(before, await origin.counters());

const table = new Table();
const delays = told.flatMap(({ delays }) => delays).sort((a, b) => a - b);
const predicted = JSON.parse(await run('simulate', scenario, '--site', folder, '--seed', SEED, '--json')).consenting;
table.add('asked for by pages, levels', bytesOf(asked), 'bytes');
table.add('of which different', bytesOf([...new Set(asked)]), 'bytes');
table.add('the origin sent of levels', figures.bytes, 'bytes');
table.add('copies', figures.bytes / bytesOf([...new Set(asked)]), '');
table.add('the origin sent in all', all.bytes, 'bytes');
table.add('the simulator says, in all', predicted.origin + predicted.overhead, 'bytes');
table.add('measured / simulated', all.bytes / (predicted.origin + predicted.overhead), '×');
table.add('from peers', told.reduce((sum, { peer }) => sum + peer, 0), 'bytes');
table.add('the simulator says', predicted.peer, 'bytes');
for (const [share, name] of [[0.5, 'median'], [0.95, '95th percentile']]) {
  table.add(`${name} delay of a level`, delays[Math.round((delays.length - 1) * share)], 'ms');
}
table.add('the simulator says, median', predicted.delay_ms.p50, 'ms');
table.add('without peers, it says, median', predicted.http_delay_ms.p50, 'ms');
table.print();
for (const visitor of visitors) await visitor.close();
process.exit(0);

/** A visit as it was planned. */
async function go(visitor, { at_s, consents, consent_s, steps, linger_s }) {
  await pause(Math.max(0, began + at_s * 1000 - performance.now()));
  await visitor.goto(url);
  await visitor.ready();
  await pause(consent_s * 1000);
  if (consents) await visitor.consent();
  const delays = [];
  for (const [think, files] of steps) {
    await pause(think * 1000);
    await Promise.all(files.map(async number => {
      const from = performance.now();
      const size = await visitor.page.evaluate(async name => (await (await fetch(name)).arrayBuffer()).byteLength, `/${names[number]}`);
      if (names[number].startsWith('level') && size !== 2_000_000) throw new Error(`${names[number]}: ${size} bytes`);
      delays.push(performance.now() - from);
    }));
  }
  const { bytes } = await visitor.stats();
  await pause(linger_s * 1000);
  await visitor.page.goto('about:blank');
  return { delays, peer: bytes.peer };
}

/** `peerage serve` in a namespace that sends at most MBIT out; what is sent to the returned loopback URL goes there. */
async function limitedOrigin() {
  const holder = start('unshare', ['-n', 'sleep', '100000']);
  const inside = ['nsenter', `--net=/proc/${holder.pid}/ns/net`];
  await until('the namespace', () => !same(holder.pid));
  sh('ip', 'link', 'set', 'lo', 'up');
  sh('ip', 'link', 'add', 'home', 'type', 'veth', 'peer', 'name', 'out', 'netns', holder.pid);
  sh('ip', 'addr', 'add', '10.77.0.2/24', 'dev', 'home');
  sh('ip', 'link', 'set', 'home', 'up');
  for (const args of [['link', 'set', 'lo', 'up'], ['addr', 'add', '10.77.0.1/24', 'dev', 'out'], ['link', 'set', 'out', 'up']]) {
    sh(...inside, 'ip', ...args);
  }
  sh(...inside, 'tc', 'qdisc', 'add', 'dev', 'out', 'root', 'tbf', 'rate', `${MBIT}mbit`, 'burst', '64kb', 'latency', '200ms');
  start(inside[0], [...inside.slice(1), PEERAGE, 'serve', folder, '--listen', '10.77.0.1:8080', '--metrics-listen', '10.77.0.1:9090']);
  const forward = net.createServer(socket => {
    const onward = net.connect(8080, '10.77.0.1');
    socket.pipe(onward).pipe(socket);
    for (const [one, other] of [[socket, onward], [onward, socket]]) one.on('error', () => other.destroy()).on('close', () => other.destroy());
  });
  await new Promise(resolve => forward.listen(8080, '127.0.0.1', resolve));
  return 'http://127.0.0.1:8080/';
}

function same(pid) {
  const of = who => spawnSync('readlink', [`/proc/${who}/ns/net`], { encoding: 'utf8' }).stdout;
  return of(pid) === of('self');
}

function sh(command, ...args) {
  const { status, stderr } = spawnSync(command, args.map(String), { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
}

async function run(...args) {
  const { code, stdout, stderr } = await peerage(...args.map(String));
  if (code !== 0) throw new Error(`peerage ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** The flash crowd that comes with the program, on one machine's network. */
function scenarioText() {
  const { stdout } = spawnSync(PEERAGE, ['simulate', 'flash-crowd', '--print'], { encoding: 'utf8' });
  const set = {
    count: PEERS, rate_mbit: MBIT, hours: 1, down_mbit: 2000, up_mbit: 400, delay_ms: 0.1,
    jitter_ms: 0, answer_ms: 2, channel_mbit: 200,
  };
  let text = stdout.replace(/^distance_ms = \[.*$/m, 'distance_ms = [0, 0.1]').replace(/^distance_ms = 10$/m, 'distance_ms = 0.1');
  for (const [key, value] of Object.entries(set)) {
    text = text.replace(new RegExp(`^${key} = .*$`, 'm'), `${key} = ${value}`);
  }
  return text.replace('[peerage]', `[peerage]\nmode = "${MODE}"`);
}

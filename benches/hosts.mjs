// Hosts for benches: network namespaces on one bridge, each with an uplink of its own, which a token bucket limits (tc-tbf).
// A page must be on loopback for the browser to give it a service worker, so in each host the bench's servers are passed on
// at their own addresses. Linux, as root, and inside a network namespace of the bench's own.
import { spawnSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { start, temporaryFolder } from '../tests/browser/lib/processes.mjs';
import { until } from '../tests/browser/lib/wait.mjs';

const BRIDGE = '10.78.0.254';

/** Passes connections on: `port` at `host`, to the same port of `to`; for this process's own servers and for a host's. */
const PASS = `const net = require('node:net');
const [host, to, ...ports] = process.argv.slice(1);
for (const port of ports) net.createServer(socket => {
  const onward = net.connect(+port, to);
  socket.pipe(onward).pipe(socket);
  for (const [one, other] of [[socket, onward], [onward, socket]]) one.on('error', () => other.destroy()).on('close', () => other.destroy());
}).listen(+port, host);`;

export class Hosts {
  /** `count` hosts that send `mbit` Mbit/s at most. */
  static async start(mbit, count) {
    const hosts = new Hosts();
    const folder = temporaryFolder('hosts');
    hosts.passed = new Set();
    run('ip', 'link', 'set', 'lo', 'up');
    run('ip', 'link', 'add', 'middle', 'type', 'bridge');
    run('ip', 'addr', 'add', `${BRIDGE}/24`, 'dev', 'middle');
    run('ip', 'link', 'set', 'middle', 'up');
    hosts.all = [];
    for (let at = 0; at < count; at++) {
      const holder = start('unshare', ['-n', 'sleep', '100000']);
      await until('a namespace', () => namespace(holder.pid) !== '' && namespace(holder.pid) !== namespace('self'));
      const inside = ['nsenter', `--net=/proc/${holder.pid}/ns/net`];
      run('ip', 'link', 'add', `host${at}`, 'type', 'veth', 'peer', 'name', 'out', 'netns', holder.pid);
      run('ip', 'link', 'set', `host${at}`, 'master', 'middle');
      run('ip', 'link', 'set', `host${at}`, 'up');
      for (const args of [['link', 'set', 'lo', 'up'], ['addr', 'add', `10.78.0.${at + 1}/24`, 'dev', 'out'], ['link', 'set', 'out', 'up'], ['route', 'add', 'default', 'via', BRIDGE]]) {
        run(...inside, 'ip', ...args);
      }
      run(...inside, 'tc', 'qdisc', 'add', 'dev', 'out', 'root', 'tbf', 'rate', `${mbit}mbit`, 'burst', '64kb', 'latency', '200ms');
      // Puppeteer speaks to it through pipes, which lead anywhere.
      const executable = path.join(folder, `chromium-${at}`);
      writeFileSync(executable, `#!/bin/sh\nexec ${inside.join(' ')} ${process.env.CHROMIUM || '/usr/bin/chromium'} "$@"\n`);
      chmodSync(executable, 0o755);
      hosts.all.push({ inside, executable });
    }
    return hosts;
  }

  /** How a browser is started on the host with this number. */
  options(at) {
    return { executable: this.all[at].executable };
  }

  /** Makes servers on this process's loopback reachable at the same address on each host. */
  async reach(urls) {
    const ports = urls.map(url => new URL(url).port).filter(port => !this.passed.has(port));
    if (ports.length === 0) return;
    for (const port of ports) this.passed.add(port);
    start(process.execPath, ['-e', PASS, BRIDGE, '127.0.0.1', ...ports], { stdio: ['ignore', 'ignore', 'inherit'] });
    for (const { inside } of this.all) {
      start(inside[0], [...inside.slice(1), process.execPath, '-e', PASS, '127.0.0.1', BRIDGE, ...ports], { stdio: ['ignore', 'ignore', 'inherit'] });
    }
    await until('the servers to be passed on', () => new Promise(resolve => {
      const probe = net.connect(Number(ports[0]), BRIDGE, () => { probe.destroy(); resolve(true); }).on('error', () => resolve(false));
    }));
    for (const { inside } of this.all) {
      await until('them to be passed on in a host', () => spawnSync(inside[0], [...inside.slice(1), process.execPath, '-e', `require('node:net').connect(${ports[0]}, '127.0.0.1', () => process.exit(0)).on('error', () => process.exit(1))`]).status === 0);
    }
  }
}

function namespace(pid) {
  return spawnSync('readlink', [`/proc/${pid}/ns/net`], { encoding: 'utf8' }).stdout;
}

function run(command, ...args) {
  const { status, stderr } = spawnSync(command, args.map(String), { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
}

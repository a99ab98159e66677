// Processes and folders that a story makes. Whatever happens to the story, none of them outlives this process.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const running = new Set();
const folders = new Set();

/** A process in a group of its own, so that its children (browsers have many) end with it. */
export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options, detached: true });
  adopt(child);
  return child;
}

/** Makes sure that `child`, the leader of its own process group, ends with this process. */
export function adopt(child) {
  running.add(child);
  child.once('exit', () => running.delete(child));
}

/** Ends a process group and waits until its leader is gone: politely first unless `signal` is SIGKILL. */
export async function stop(child, signal = 'SIGTERM', patience = 5000) {
  if (child.exitCode !== null || child.signalCode !== null) {
    signalGroup(child, 'SIGKILL');
    return;
  }
  const gone = new Promise(resolve => child.once('exit', resolve));
  signalGroup(child, signal);
  const timer = setTimeout(() => signalGroup(child, 'SIGKILL'), patience);
  await gone;
  clearTimeout(timer);
  signalGroup(child, 'SIGKILL');
}

/** A new folder below the platform's temporary folder, removed at the end. */
export function temporaryFolder(name) {
  const folder = mkdtempSync(path.join(os.tmpdir(), `peerage-${name}-`));
  folders.add(folder);
  return folder;
}

export function removeFolder(folder) {
  folders.delete(folder);
  rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}

function signalGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // The group is gone already.
  }
}

function clear() {
  for (const child of running) signalGroup(child, 'SIGKILL');
  for (const folder of [...folders]) {
    try {
      removeFolder(folder);
    } catch {
      // A browser that is still ending may write into it; the platform cleans its temporary folder.
    }
  }
}

process.on('exit', clear);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(130));

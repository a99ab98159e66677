// Firefox's own profiler, told through the browser's privileged scripts: what each thread's processor time went to. A build
// without symbols names a sample by the innermost function of a script or label of Gecko's, or "native".
import { within } from '../tests/browser/lib/wait.mjs';

/** Time between samples, in ms: the shortest that the profiler keeps to on two cores. */
const INTERVAL = 0.25;
const ENTRIES = 8 << 20;
const FEATURES = ['js', 'cpu', 'ipcmessages', 'nomarkerstacks'];

async function privileged({ browser }, expression) {
  const { result: { contexts: [window] } } = await browser.connection.send('browsingContext.getTree', { 'moz:scope': 'chrome' });
  const { result } = await browser.connection.send('script.evaluate', { target: { context: window.context }, awaitPromise: true, expression });
  if (result.type === 'exception') throw new Error(result.exceptionDetails.text);
  return result.result.value;
}

/** Starts the profiler in all processes. */
export const startProfiler = running => privileged(running, `(async () => {
  await Services.profiler.StartProfiler(${ENTRIES}, ${INTERVAL}, ${JSON.stringify(FEATURES)}, ["*"]);
})()`);

/** Stops it and returns the profile, as text in the form that profiler.firefox.com reads. */
export const stopProfiler = running => within(60_000, 'the profile', privileged(running, `(async () => {
  Services.profiler.Pause();
  const profile = await Services.profiler.getProfileDataAsync();
  await Services.profiler.StopProfiler();
  return JSON.stringify(profile);
})()`));

/** All processes of a profile. */
const processes = profile => [profile, ...profile.processes.flatMap(processes)];

/** Per thread: the name of each stack. */
function namesOf({ stackTable, frameTable, stringTable }) {
  const known = new Map();
  const { prefix, frame } = stackTable.schema;
  const { location } = frameTable.schema;
  return stack => {
    if (stack === null) return 'none';
    if (known.has(stack)) return known.get(stack);
    let name = null;
    for (let at = stack; at !== null && name === null; at = stackTable.data[at][prefix]) {
      const here = stringTable[frameTable.data[stackTable.data[at][frame]][location]];
      if (!here.startsWith('0x') && here !== '(root)') name = here;
    }
    name = (name ?? 'native').replace(/https?:\/\/[^/]*\/(.*\/)?(?=[^/])/, '').slice(0, 90);
    known.set(stack, name);
    return name;
  };
}

/**
 * What ran from `begin`, the epoch's time in ms, on for `length` ms: events as those of a trace, one for each sample, with
 * the thread's processor time since the one before it.
 */
export function eventsOfProfile(text, begin, length) {
  const all = processes(JSON.parse(text));
  const events = [];
  for (const { meta, threads } of all) {
    const unit = { ns: 1e-6, 'µs': 1e-3, us: 1e-3 }[meta.sampleUnits?.threadCPUDelta];
    if (unit === undefined) throw new Error(`processor time in ${meta.sampleUnits?.threadCPUDelta}`);
    for (const thread of threads) {
      const { time, stack, threadCPUDelta } = thread.samples.schema;
      const nameOf = namesOf(thread);
      const who = `${thread.processType === 'default' ? 'parent' : thread.processName ?? thread.processType}: ${thread.name.replace(/ ?#\d+$/, '')}`;
      for (const sample of thread.samples.data) {
        const at = meta.startTime + sample[time] - begin;
        if (at < 0 || at > length) continue;
        const ms = (sample[threadCPUDelta] ?? 0) * unit;
        if (ms > 0) events.push({ thread: who, pid: `${thread.pid}`, name: nameOf(sample[stack]), at, ms, self: ms, depth: 0, end: (at + ms) * 1000 });
      }
    }
  }
  return events;
}

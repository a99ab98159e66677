// Waiting for conditions: every wait in the stories has a deadline and says what it waited for.
import { setTimeout as pause } from 'node:timers/promises';

/** Noisy two-core machines, two browsers and a compiler beside them: deadlines are generous, conditions are exact. */
export const PATIENCE = Number(process.env.PEERAGE_PATIENCE ?? 60_000);

/** Calls `probe` until it returns something truthy, and returns that. Errors of the probe count as "not yet". */
export async function until(what, probe, { deadline = PATIENCE, every = 50 } = {}) {
  const end = performance.now() + deadline;
  let last;
  for (;;) {
    try {
      last = await within(Math.max(1000, end - performance.now()), what, Promise.resolve(probe()));
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) {
      throw new Error(`not in ${deadline / 1000} s: ${what} (last seen: ${last instanceof Error ? last.message : JSON.stringify(last)})`);
    }
    await pause(every);
  }
}

/** `promise`, or an error naming `what` after `ms`. */
export function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took more than ${Math.round(ms / 1000)} s: ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { basename } from 'node:path';

/**
 * Threads that work for the main thread give way to it: whoever talks to the server waits for the main thread, and nobody waits for a
 * picture or a collection of garbage as urgently. Otherwise, where there are more busy threads than cores, the main thread has a slice of time (some
 * milliseconds) and then waits for one of each of the others.
 *
 * Linux has a priority for each thread (`setpriority(2)`, "C library/kernel differences"), elsewhere nothing changes. Lowering it needs no
 * permission. Threads that a thread starts afterwards, such as those of a library, have its priority.
 */

/** A third of the weight of a thread of the default priority, 0. */
const NICE = 5;
/** Threads of V8's platform, which mark and copy objects beside the main thread, by the name that Node gives them. */
const V8_THREADS = ['V8Worker'];

/** The thread that calls gives way to those of the default priority. False: this machine does not allow it, or has no such thing. */
export function lowerThisThread(): boolean {
  return attempt(() => lower(Number(basename(readlinkSync('/proc/thread-self')))));
}

/** The same for the threads of V8's platform, for a program that is a server and nothing else. */
export function lowerV8Threads(): boolean {
  return attempt(() => {
    for (const id of readdirSync('/proc/self/task')) {
      // Threads come and go.
      if (V8_THREADS.includes(threadName(id) ?? '')) lower(Number(id));
    }
  });
}

function threadName(id: string): string | undefined {
  try {
    return readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** On top of what the process was started with. */
function lower(threadId: number): void {
  setPriority(threadId, Math.min(19, getPriority(process.pid) + NICE));
}

function attempt(change: () => void): boolean {
  if (process.platform !== 'linux') return false;
  try {
    change();
    return true;
  } catch {
    return false;
  }
}

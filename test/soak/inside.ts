import { renameSync, writeFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { BroadcastChannel, isMainThread, threadName } from 'node:worker_threads';

/**
 * Loaded into the server before its own code, and so into each of its threads (`--import …/inside.ts?file=<path>`). Nothing of it is part of
 * Sightline. SIGUSR2: collects garbage and writes what the main thread still has into the file. SIGPWR: one inference worker dies by an
 * error that nobody catches, as by a fault of a program that it runs.
 */

/** What collections have left. */
export interface Left {
  /** Rises with every signal. */
  readonly count: number;
  readonly bytes: number;
}

const COLLECTIONS = 3;
const INFERENCE = 'sightline-inference';
const killer = new BroadcastChannel('sightline-soak-kill');
killer.unref();

if (isMainThread) {
  const file = new URL(import.meta.url).searchParams.get('file')!;
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  let count = 0;
  const write = (): void => {
    const { heapUsed, external } = process.memoryUsage();
    const left: Left = { count: (count += 1), bytes: heapUsed + external };
    writeFileSync(`${file}.part`, JSON.stringify(left));
    renameSync(`${file}.part`, file);
  };
  /** What finalisers free is gone a turn of the event loop after the collection that found it. */
  const collectTimes = (times: number): void => {
    if (times === 0) return write();
    collect();
    setImmediate(() => collectTimes(times - 1));
  };
  process.on('SIGUSR2', () => collectTimes(COLLECTIONS));
  process.on('SIGPWR', () => {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is for windows
    killer.postMessage(new Int32Array(new SharedArrayBuffer(4)));
  });
} else if (threadName === INFERENCE) {
  killer.addEventListener('message', (event) => {
    const { data } = event as unknown as { readonly data: Int32Array };
    // One of them: whoever is told first.
    if (Atomics.compareExchange(data, 0, 0, 1) === 0) throw new Error('killed by the soak');
  });
}

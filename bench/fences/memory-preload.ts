import { renameSync, writeFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

/**
 * Loaded into the server before its own code (`--import …/memory-preload.ts?file=<path> --expose-gc`): at SIGUSR2 it collects garbage and
 * writes what the main thread still has into the file. Nothing of it is part of Sightline.
 */

/** What a collection left. */
export interface MemoryLeft {
  /** Rises with every signal. */
  readonly count: number;
  readonly heapBytes: number;
  readonly externalBytes: number;
}

const COLLECTIONS = 3;

let count = 0;

function onSignal(): void {
  collect(COLLECTIONS, () => {
    const { heapUsed, external } = process.memoryUsage();
    const left: MemoryLeft = { count: (count += 1), heapBytes: heapUsed, externalBytes: external };
    const file = new URL(import.meta.url).searchParams.get('file')!;
    writeFileSync(`${file}.part`, JSON.stringify(left));
    renameSync(`${file}.part`, file);
  });
}

/** What finalisers free is gone a turn of the event loop after the collection that found it. */
function collect(times: number, done: () => void): void {
  if (times === 0) return done();
  globalThis.gc!();
  setImmediate(() => collect(times - 1, done));
}

// Worker threads take over the arguments of their process.
if (isMainThread && globalThis.gc !== undefined) process.on('SIGUSR2', onSignal);

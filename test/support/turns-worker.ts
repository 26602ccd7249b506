import { workerData } from 'node:worker_threads';
import { Turns } from '../../src/inference/engine/turns.ts';

/** Counts in memory that it shares with others, in two steps between which they could come in; or ends with the turn in its hand. */

export interface TurnsWorkerData {
  readonly memory: SharedArrayBuffer;
  readonly me: number;
  readonly counter: SharedArrayBuffer;
  readonly counts: number;
  readonly keepsTurn: boolean;
}

const { memory, me, counter, counts, keepsTurn } = workerData as TurnsWorkerData;
const turns = new Turns(memory, me);
const cell = new Int32Array(counter);
const nobodyWakes = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
for (let i = 0; i < counts; i++) {
  await turns.in(async () => {
    const before = cell[0]!;
    Atomics.wait(nobodyWakes, 0, 0, 0.1);
    cell[0] = before + 1;
  });
}
if (keepsTurn) turns.take();
